//! The bytes of version 1 of everything that is stored: they stay what they are. `UPDATE_GOLDEN=1 cargo test -p metadata-service golden`
//! writes the files of a new version; those of a released one are never written again. What came later lies in files beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata_api::{
    ClientQuotaEntity, ConfigResource, Endpoint, PartitionRefusal, ProducerDelta, PublishedObject, QuotaEntityName, QuotaValue,
};
use proptest::prelude::*;
use runtime::ManualClock;
use store::{MemoryStore, ObjectStore};
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorKind, CoordinatorSlot, Durability, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey,
    ObjectNumber, ObjectOrigin, Offset, ProducerBatch, ProducerWindow, PublishSequence, Revision, SaveSequence, SegmentFlags, SegmentRef,
    SlotEpoch, Timestamp, TopicId, TopicPartition, WalId,
};

use crate::proto;
use crate::snapshot::{
    self, decode_root, decode_rows, decode_shard, encode_manifest, encode_root, encode_rows, encode_shard, number_of_row_shard,
};
use crate::state::{
    Accepted, Elected, Event, NewPartition, PartitionDurability, Published, ROW_SHARDS, Replaced, RowsSaved, SHARDS, SegmentsReplaced,
    SnapshotRef, State, decode_events, encode_event, shard_of_row,
};

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

fn slot(kind: CoordinatorKind, number: u8) -> CoordinatorSlot {
    CoordinatorSlot::new(kind, number).unwrap()
}

/// The same for coordinator slots, after the events above.
fn slot_events() -> Vec<Event> {
    let taken = |slot, epoch, broker, broker_epoch| Event::SlotTaken {
        slot,
        epoch: SlotEpoch(epoch),
        broker: BrokerId(broker),
        broker_epoch: BrokerEpoch(broker_epoch),
    };
    let saved = |slot, epoch, sequence, rows: &[(&str, Option<&[u8]>)]| {
        let rows = rows.iter().map(|(key, value)| (key.as_bytes().into(), value.map(Into::into))).collect();
        let (epoch, sequence) = (SlotEpoch(epoch), SaveSequence(sequence));
        Event::RowsSaved(Box::new(RowsSaved { slot, epoch, sequence, digest: 0x8877_6655_4433_2211, rows }))
    };
    let (first, last) = (slot(CoordinatorKind::Group, 0), slot(CoordinatorKind::Transaction, 49));
    vec![
        taken(first, 1, 1, 4),
        taken(last, 1, 2, 5),
        taken(slot(CoordinatorKind::Group, 49), 1, 2, 5),
        saved(first, 1, 1, &[("key", Some(b"value")), ("key 2", Some(b"")), ("key 3", Some(&[0, 0xff]))]),
        saved(last, 1, 1, &[("key", Some(b"other"))]),
        saved(first, 1, 2, &[("key", None), ("key 2", Some(b"2")), ("never was", None)]),
        taken(first, 1 << 20, 2, 5),
        saved(first, 1 << 20, 1, &[]),
    ]
}

/// The same for altered durability.
fn durability_events() -> Vec<Event> {
    let changed = |index, level| PartitionDurability {
        partition: TopicPartition::new(TopicId::from_bytes([1; 16]), index),
        level,
        config_revision: Revision(10),
    };
    vec![Event::DurabilityChanged { partitions: vec![changed(0, Durability::Object), changed(1, Durability::Wal)] }]
}

/// The same for rewritten segments.
fn replace_events() -> Vec<Event> {
    let partition = |index| TopicPartition::new(TopicId::from_bytes([1; 16]), index);
    let object = ObjectKey::Topic {
        partition: partition(0),
        base: Offset(1 << 33),
        broker: BrokerId(1),
        epoch: BrokerEpoch(4),
        number: ObjectNumber(9),
    };
    let segment = |base, end, position| SegmentRef {
        base: Offset(base),
        end: Offset(end),
        object,
        position,
        bytes: 64 << 20,
        index_bytes: 8204,
        records: 1_000_000,
        batches: 3000,
        max_timestamp: NOW,
        min_timestamp: MinTimestamp { value: Timestamp(NOW.0 - 5), exact: false },
        append_times: (Timestamp(NOW.0 - 3), Timestamp(NOW.0 + 3)),
        leader_epochs: vec![
            EpochStart { epoch: LeaderEpoch(3), offset: Offset(base + 1) },
            EpochStart { epoch: LeaderEpoch(7), offset: Offset(base + 2) },
        ],
        stable_end: Offset(end),
        aborted: 0,
        flags: SegmentFlags(0b1_0001),
        state_from: Offset(base - 1),
        origin: ObjectOrigin::Rewrite,
        offset_shift: 0,
        leader_epoch: None,
        added: Revision(0),
    };
    let replaced = vec![
        Replaced { partition: partition(0), old: 640, new: segment(1 << 33, (1 << 33) + (1 << 32), 16) },
        Replaced { partition: partition(2), old: 1, new: segment(7, 8, 68 << 20) },
    ];
    vec![Event::SegmentsReplaced(Box::new(SegmentsReplaced {
        broker: BrokerId(1),
        object: PublishedObject { key: object, length: 140 << 20, crc: 0x99aa_bbcc },
        object_floor: ObjectNumber(8),
        not_before: Timestamp(NOW.0 + 60_000),
        replaced,
    }))]
}

/// How a journal begins that was made of what the store held.
fn rebuilt_events() -> Vec<Event> {
    let revision = Revision(18 + (1 << 32));
    let snapshot = SnapshotRef { revision, slot: 1, manifest: format!("meta/manifest/{revision:020}-00000001") };
    vec![Event::Rebuilt { cluster: ClusterId::from_bytes(CLUSTER), snapshot: snapshot.clone() }, Event::SnapshotTaken { snapshot }]
}

fn state_with_slots() -> State {
    let mut state = state();
    for event in slot_events() {
        state.apply(&event, NOW);
    }
    state
}

/// The same for configs of brokers and groups, after those.
fn config_events() -> Vec<Event> {
    let altered = |resource: ConfigResource, entries: &[(&str, &str)]| Event::ResourceConfigsAltered {
        resource,
        configs: entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let group = |id: &str| ConfigResource::Group(id.to_owned());
    vec![
        altered(group("g"), &[("consumer.session.timeout.ms", "50000"), ("consumer.heartbeat.interval.ms", "6000")]),
        altered(ConfigResource::Broker(BrokerId(1)), &[("message.max.bytes", "1000"), ("max.connections.per.ip.overrides", "")]),
        altered(ConfigResource::AllBrokers, &[("log.retention.ms", "-1")]),
        altered(group("f"), &[("consumer.session.timeout.ms", "45000")]),
        altered(group("f"), &[]),
    ]
}

fn state_with_configs() -> State {
    let mut state = state_with_slots();
    for event in config_events() {
        state.apply(&event, NOW);
    }
    state
}

/// The same for client quotas, after those.
fn quota_events() -> Vec<Event> {
    let named = |name: &str| QuotaEntityName::Named(name.to_owned());
    let set = |entity, quotas: &[(&str, f64)]| {
        let quotas = quotas.iter().map(|(key, value)| ((*key).to_owned(), QuotaValue::new(*value).unwrap())).collect();
        (entity, quotas)
    };
    vec![
        Event::ClientQuotasAltered {
            altered: vec![
                set(ClientQuotaEntity::ClientId(QuotaEntityName::Default), &[("producer_byte_rate", 1_048_576.0)]),
                set(ClientQuotaEntity::ClientId(named("a")), &[("consumer_byte_rate", 1.0), ("request_percentage", 0.5)]),
                set(ClientQuotaEntity::User(named("u")), &[("controller_mutation_rate", f64::MAX)]),
                set(ClientQuotaEntity::UserClientId(QuotaEntityName::Default, named("a")), &[("producer_byte_rate", 2.0)]),
                set(ClientQuotaEntity::UserClientId(named("u"), QuotaEntityName::Default), &[("producer_byte_rate", 3.0)]),
                set(ClientQuotaEntity::Ip(named("127.0.0.1")), &[("connection_creation_rate", 10.0)]),
            ],
        },
        Event::ClientQuotasAltered {
            altered: vec![
                set(ClientQuotaEntity::ClientId(named("a")), &[]),
                set(ClientQuotaEntity::Ip(QuotaEntityName::Default), &[("connection_creation_rate", 100.0)]),
            ],
        },
    ]
}

fn state_with_quotas() -> State {
    let mut state = state_with_configs();
    for event in quota_events() {
        state.apply(&event, NOW);
    }
    state
}

/// Every shard of rows, an empty one as no bytes.
fn rows(state: &State) -> Vec<u8> {
    state.slots.values().flat_map(|slot| slot.rows.shards()).flat_map(|shard| encode_rows(shard)).collect()
}

fn encoded(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encode_event(event, &mut bytes));
    bytes
}

fn shards(state: &State) -> Vec<u8> {
    state.shards.iter().flat_map(|shard| encode_shard(shard)).collect()
}

/// Every kind of event, by the file that its bytes are in.
fn event_files() -> [(&'static str, Vec<Event>); 7] {
    [
        ("events.bin", events()),
        ("slot_events.bin", slot_events()),
        ("config_events.bin", config_events()),
        ("replace_events.bin", replace_events()),
        ("durability_events.bin", durability_events()),
        ("rebuilt_events.bin", rebuilt_events()),
        ("quota_events.bin", quota_events()),
    ]
}

#[test]
fn events_of_version_1_are_written_and_read_as_ever() {
    let kinds: std::collections::BTreeSet<_> =
        event_files().iter().flat_map(|(_, events)| events).map(|event| encoded(std::slice::from_ref(event))[0]).collect();
    assert_eq!(kinds, (1..=25).collect(), "every kind is here");
    for (name, events) in event_files() {
        let file = golden(name, &encoded(&events));
        assert_eq!(decode_events(file).unwrap(), events);
    }
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

#[test]
fn coordinator_slots_in_a_snapshot_are_written_and_read_as_ever() {
    let state = state_with_slots();
    let mut read = decode_root(golden("slot_root.bin", &encode_root(&state))).unwrap();
    golden("slot_rows.bin", &rows(&state));
    for (slot, expected) in &state.slots {
        let held = read.slots.get_mut(slot).unwrap();
        for (index, shard) in expected.rows.shards().iter().enumerate() {
            let mut decoded = decode_rows(encode_rows(shard).into()).unwrap();
            decoded.changed = shard.changed;
            held.rows.load(index, decoded);
        }
    }
    read.shards.clone_from(&state.shards);
    read.derive();
    assert!(read == state);
}

#[test]
fn configs_in_a_snapshots_root_are_written_and_read_as_ever() {
    let state = state_with_configs();
    let read = decode_root(golden("config_root.bin", &encode_root(&state))).unwrap();
    assert_eq!((&read.configs, read.configs.len()), (&state.configs, 3));
}

#[test]
fn client_quotas_in_a_snapshots_root_are_written_and_read_as_ever() {
    let state = state_with_quotas();
    let read = decode_root(golden("quota_root.bin", &encode_root(&state))).unwrap();
    assert_eq!((&read.client_quotas, read.client_quotas.len()), (&state.client_quotas, 6));
}

#[tokio::test]
async fn a_manifest_of_any_version_is_written_and_read_as_ever() {
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
    let store = MemoryStore::new(Arc::new(ManualClock::new(NOW.0)));
    for (name, version) in [("manifest.bin", 1), ("slot_manifest.bin", 2), ("config_manifest.bin", 3), ("quota_manifest.bin", 4)] {
        let file = golden(name, &encode_manifest(&manifest, version));
        let key = format!("meta/manifest/{name}");
        store.put(&key, vec![file.clone()]).await.unwrap();
        assert_eq!(snapshot::read_manifest(&store, &key).await.unwrap(), manifest);
        for at in 0..file.len() {
            let (mut broken, key) = (file.to_vec(), format!("meta/manifest/{name}-{at}"));
            broken[at] ^= 1;
            store.put(&key, vec![broken.into()]).await.unwrap();
            assert!(snapshot::read_manifest(&store, &key).await.is_err(), "byte {at}");
        }
    }
    store.put("meta/manifest/newer", vec![encode_manifest(&manifest, 5)]).await.unwrap();
    let newer = snapshot::read_manifest(&store, "meta/manifest/newer").await.unwrap_err().to_string();
    assert!(newer.contains("format version 5, this program reads up to 4"), "{newer}");
}

#[test]
fn shards_are_where_the_format_says() {
    let partition = TopicPartition::new(TopicId::from_bytes([1; 16]), 2);
    let mut bytes = [1; 20];
    bytes[16..].copy_from_slice(&2_i32.to_be_bytes());
    assert_eq!(crate::state::shard_of_partition(partition), crc32c::crc32c(&bytes) as usize % SHARDS);
    assert_eq!(crate::state::shard_of_object(&key(4, 3)), crc32c::crc32c(key(4, 3).to_string().as_bytes()) as usize % SHARDS);
    assert_eq!(SHARDS, 1024);
    assert_eq!(shard_of_row(b"key"), crc32c::crc32c(b"key") as usize % ROW_SHARDS);
    assert_eq!(number_of_row_shard(slot(CoordinatorKind::Group, 0), 0), 1024);
    assert_eq!(number_of_row_shard(slot(CoordinatorKind::Group, 49), 31), 1024 + 50 * 32 - 1);
    assert_eq!(number_of_row_shard(slot(CoordinatorKind::Transaction, 0), 0), 1024 + 50 * 32);
    assert_eq!(number_of_row_shard(slot(CoordinatorKind::Transaction, 49), 31), 1024 + 100 * 32 - 1);
}

proptest! {
    /// Whatever the bytes, reading them ends in a value or an error.
    #[test]
    fn hostile_bytes_are_refused_and_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let state = state_with_quotas();
        let events = event_files().into_iter().map(|(_, events)| encoded(&events));
        for original in events.chain([encode_root(&state), shards(&state), rows(&state), noise]) {
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
            let _ = decode_rows(bytes.clone());
            let _ = decode_shard(bytes);
        }
    }

    #[test]
    fn an_event_that_is_cut_is_refused(cut in any::<prop::sample::Index>()) {
        for event in event_files().into_iter().flat_map(|(_, events)| events) {
            let bytes = encoded(&[event]);
            let cut = 1 + cut.index(bytes.len() - 1);
            prop_assert!(decode_events(Bytes::from(bytes).slice(..cut)).is_err());
        }
    }
}
