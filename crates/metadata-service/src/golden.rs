//! The bytes of version 1 of everything that is stored: they stay what they are. `UPDATE_GOLDEN=1 cargo test -p metadata-service golden`
//! writes the files of a new version; those of a released one are never written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata_api::{Endpoint, PartitionRefusal, ProducerDelta, PublishedObject};
use proptest::prelude::*;
use runtime::ManualClock;
use store::{MemoryStore, ObjectStore};
use types::{
    BrokerEpoch, BrokerId, ClusterId, Durability, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey, ObjectNumber, ObjectOrigin,
    Offset, ProducerBatch, ProducerWindow, PublishSequence, Revision, SegmentFlags, SegmentRef, Timestamp, TopicId, TopicPartition, WalId,
};

use crate::proto;
use crate::snapshot::{self, decode_root, decode_shard, encode_manifest, encode_root, encode_shard};
use crate::state::{Accepted, Elected, Event, NewPartition, Published, SHARDS, SnapshotRef, State, decode_events, encode_event};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const CLUSTER: [u8; 16] = [7; 16];

/// Compares with the file, byte for byte, and answers what it holds.
fn golden(name: &str, bytes: &[u8]) -> Bytes {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let difference = golden.iter().zip(bytes).position(|(a, b)| a != b);
    assert_eq!((difference, bytes.len()), (None, golden.len()), "{name} changed");
    golden.into()
}

fn wal(number: u8) -> WalId {
    WalId::from_bytes([number; 16])
}

fn key(epoch: u64, number: u64) -> ObjectKey {
    ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(epoch), number: ObjectNumber(number) }
}

/// Every kind of event, with every field set, as a journal may hold them.
fn events() -> Vec<Event> {
    let (orders, other) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    let partition = |index| TopicPartition::new(orders, index);
    let configs = |value: &str| BTreeMap::from([("a".to_owned(), value.to_owned()), ("retention.ms".to_owned(), "-1".to_owned())]);
    let new = |durability| NewPartition { leader: BrokerId(1), owner: wal(1), replicas: vec![BrokerId(1), BrokerId(2)], durability };
    let register = |broker: i32, local| Event::BrokerRegistered {
        broker: BrokerId(broker),
        wal: wal(broker as u8),
        endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: "host".to_owned(), port: 9092 }],
        rack: Some("rack".to_owned()),
        local,
    };
    let segment = SegmentRef {
        base: Offset(0),
        end: Offset(1 << 40),
        object: key(4, 3),
        position: 64,
        bytes: 1_000_000,
        index_bytes: 500,
        records: 10,
        batches: 2,
        max_timestamp: NOW,
        min_timestamp: MinTimestamp { value: Timestamp(NOW.0 - 5), exact: true },
        append_times: (Timestamp(NOW.0 - 3), Timestamp(NOW.0 + 3)),
        leader_epochs: vec![EpochStart { epoch: LeaderEpoch(0), offset: Offset(0) }],
        stable_end: Offset((1 << 40) - 1),
        aborted: 1,
        flags: SegmentFlags(0b1_0000_0001),
        state_from: Offset(0),
        origin: ObjectOrigin::Rewrite,
        offset_shift: 0,
        leader_epoch: None,
        added: Revision(0),
    };
    let batch = ProducerBatch {
        first_sequence: 5,
        last_sequence: 9,
        base_offset: Offset(100),
        last_offset: Offset(104),
        append_time: Timestamp(NOW.0 + 1),
    };
    let window = ProducerWindow {
        epoch: 3,
        batches: [batch].into(),
        coordinator_epoch: 2,
        open_transaction: Some(Offset(99)),
        last_append_time: Timestamp(NOW.0 + 1),
    };
    let published = Published {
        broker: BrokerId(1),
        epoch: BrokerEpoch(4),
        sequence: PublishSequence(1),
        digest: 0x1122_3344_5566_7788,
        object: Some(PublishedObject { key: key(4, 3), length: 2_000_000, crc: 0x99aa_bbcc }),
        end_lsn: Lsn(500),
        object_floor: ObjectNumber(2),
        synced: Lsn(600),
        pressure: 17,
        producers_expire_before: Timestamp(NOW.0 - 86_400_000),
        not_before: Timestamp(NOW.0 + 60_000),
        accepted: vec![Accepted {
            partition: partition(0),
            segment,
            epochs: vec![EpochStart { epoch: LeaderEpoch(0), offset: Offset(0) }],
            producers: vec![ProducerDelta { producer: 77, window }],
        }],
        refused: vec![
            (partition(1), PartitionRefusal::WrongOffset { next_offset: Offset(0) }),
            (partition(2), PartitionRefusal::NotOwned { leader_epoch: LeaderEpoch(5) }),
            (TopicPartition::new(other, 0), PartitionRefusal::Gone),
        ],
    };
    vec![
        Event::ClusterCreated { cluster: ClusterId::from_bytes(CLUSTER) },
        Event::LeaderStarted,
        Event::StoreClaimed,
        register(1, true),
        register(2, false),
        Event::BrokerEnded { broker: BrokerId(2), epoch: BrokerEpoch(5), clean: true },
        Event::SyncedReported { wal: wal(1), synced: Lsn(550) },
        Event::TopicCreated {
            topic: orders,
            name: "orders".to_owned(),
            replication_factor: 2,
            configs: configs("1"),
            partitions: vec![new(Durability::Wal), new(Durability::Object)],
        },
        Event::PartitionsAdded { topic: orders, partitions: vec![new(Durability::Wal)] },
        Event::TopicConfigsAltered { topic: orders, configs: configs("2") },
        Event::TopicCreated {
            topic: other,
            name: "other".to_owned(),
            replication_factor: 1,
            configs: BTreeMap::new(),
            partitions: vec![new(Durability::Wal)],
        },
        Event::TopicDeleted { topic: other, not_before: NOW },
        Event::Published(Box::new(published)),
        Event::LogStartsAdvanced { partitions: vec![(partition(0), Offset(1000))], not_before: NOW },
        Event::PartitionsElected {
            partitions: vec![Elected { partition: partition(2), leader: BrokerId(2), owner: wal(2), next_offset: Offset(1 << 32) }],
        },
        Event::ProducerIdsAllocated { end: 1000 },
        Event::ObjectsDead { keys: vec![key(3, 1), key(3, 2)], not_before: NOW },
        Event::ObjectsDeleted { keys: vec![key(3, 1)] },
        Event::SnapshotTaken {
            snapshot: SnapshotRef { revision: Revision(18), slot: 9, manifest: "meta/manifest/00000000000000000018-00000001".to_owned() },
        },
        Event::ClockJumped { to: Timestamp(NOW.0 + 86_400_000), skipped_ms: 86_000_000 },
    ]
}

fn state() -> State {
    let mut state = State::default();
    for event in events() {
        state.apply(&event, NOW);
    }
    state
}

fn encoded(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encode_event(event, &mut bytes));
    bytes
}

fn shards(state: &State) -> Vec<u8> {
    state.shards.iter().flat_map(|shard| encode_shard(shard)).collect()
}

#[test]
fn events_of_version_1_are_written_and_read_as_ever() {
    let kinds: std::collections::BTreeSet<_> = events().iter().map(|event| encoded(std::slice::from_ref(event))[0]).collect();
    assert_eq!(kinds, (1..=18).collect(), "every kind is here");
    let file = golden("events.bin", &encoded(&events()));
    assert_eq!(decode_events(file).unwrap(), events());
}

#[test]
fn a_snapshots_root_and_shards_of_version_1_are_written_and_read_as_ever() {
    let state = state();
    let root = golden("root.bin", &encode_root(&state));
    let mut read = decode_root(root).unwrap();
    golden("shards.bin", &shards(&state));
    for (index, shard) in state.shards.iter().enumerate() {
        let mut decoded = decode_shard(encode_shard(shard).into()).unwrap();
        decoded.changed = shard.changed;
        read.shards[index] = Arc::new(decoded);
    }
    read.derive();
    assert!(read == state);
}

#[tokio::test]
async fn a_manifest_of_version_1_is_written_and_read_as_ever() {
    let piece =
        |position| proto::Piece { key: "meta/chunk/00000000000000000018-00000001-0".to_owned(), position, length: 300, crc: 0x99aa_bbcc };
    let manifest = proto::Manifest {
        cluster: CLUSTER.to_vec(),
        revision: 18,
        slot: 9,
        now: NOW.0,
        root: Some(piece(0)),
        shards: vec![proto::ShardPiece { shard: 1023, changed: 17, piece: Some(piece(300)) }],
    };
    let file = golden("manifest.bin", &encode_manifest(&manifest));
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW.0)));
    store.put("meta/manifest/x", vec![file.clone()]).await.unwrap();
    assert_eq!(snapshot::read_manifest(&store, "meta/manifest/x").await.unwrap(), manifest);
    for at in 0..file.len() {
        let (mut broken, key) = (file.to_vec(), format!("meta/manifest/{at}"));
        broken[at] ^= 1;
        store.put(&key, vec![broken.into()]).await.unwrap();
        assert!(snapshot::read_manifest(&store, &key).await.is_err(), "byte {at}");
    }
}

#[test]
fn shards_are_where_the_format_says() {
    let partition = TopicPartition::new(TopicId::from_bytes([1; 16]), 2);
    let mut bytes = [1; 20];
    bytes[16..].copy_from_slice(&2_i32.to_be_bytes());
    assert_eq!(crate::state::shard_of_partition(partition), crc32c::crc32c(&bytes) as usize % SHARDS);
    assert_eq!(crate::state::shard_of_object(&key(4, 3)), crc32c::crc32c(key(4, 3).to_string().as_bytes()) as usize % SHARDS);
    assert_eq!(SHARDS, 1024);
}

proptest! {
    /// Whatever the bytes, reading them ends in a value or an error.
    #[test]
    fn hostile_bytes_are_refused_and_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let state = state();
        for original in [encoded(&events()), encode_root(&state), shards(&state), noise] {
            let mut bytes = original.clone();
            for (at, value) in &changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
            }
            bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
            let bytes = Bytes::from(bytes);
            let _ = decode_events(bytes.clone());
            let _ = decode_root(bytes.clone());
            let _ = decode_shard(bytes);
        }
    }

    #[test]
    fn an_event_that_is_cut_is_refused(cut in any::<prop::sample::Index>()) {
        for event in events() {
            let bytes = encoded(&[event]);
            let cut = 1 + cut.index(bytes.len() - 1);
            prop_assert!(decode_events(Bytes::from(bytes).slice(..cut)).is_err());
        }
    }
}
