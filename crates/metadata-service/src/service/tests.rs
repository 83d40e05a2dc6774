//! The service over a journal in memory and a store with faults. Time is tokio's paused clock, which the service's clock follows.

mod away;
mod calls;
mod clock;
mod conformance;
mod garbage;
mod snapshots;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata_api::{
    CreateTopic, MetadataClient, MetadataError, PartitionPublish, PublishAnswer, PublishRequest, PublishedObject, RegisterBroker,
    Registration, Run,
};
use runtime::{Clock, ManualClock, Random};
use store::faults::FaultyStore;
use store::{MARKER_KEY, MemoryStore, ObjectStore};
use tokio::sync::oneshot;
use types::{
    BrokerId, Durability, LeaderEpoch, Lsn, MinTimestamp, ObjectKey, ObjectNumber, ObjectOrigin, Offset, PublishSequence, Revision,
    SegmentFlags, SegmentRef, Timestamp, TopicId, TopicPartition, WalId,
};

use super::driver::Message;
use super::load::{Loaded, load};
use super::{MetadataService, Options, StartError, server};
use crate::journal::{AppendFault, Appended, Assembler, Entry, FIRST_SLOT, Journal, JournalError, MemoryJournal, encode_entry};
use crate::snapshot::{CHUNKS, MANIFESTS, TOPICS};
use crate::state::{Event, State, decode_events};

const NOW: i64 = 1_700_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// What outlives a service: journal, store and clock.
struct Machine {
    journal: MemoryJournal,
    store: Arc<FaultyStore>,
    /// For a start while the store is away.
    copies: Option<Arc<FaultyStore>>,
    clock: Arc<ManualClock>,
    options: Options,
    /// Of the next start: ids are not made twice.
    seed: AtomicU64,
}

impl Machine {
    /// Housekeeping does nothing by itself until a test gives it an interval.
    fn new() -> Self {
        let never = Duration::from_secs(1 << 40);
        let clock = Arc::new(ManualClock::following_tokio(NOW));
        let options = Options {
            deletion_grace: Duration::ZERO,
            retention: None,
            retention_interval: never,
            snapshot_bytes: u64::MAX,
            snapshot_interval: never,
            garbage_snapshot_interval: never,
            orphan_interval: never,
            ..Options::default()
        };
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(clock.clone()))));
        Self { journal: MemoryJournal::new(), store, copies: None, clock, options, seed: AtomicU64::new(1) }
    }

    async fn start(&self) -> Result<MetadataService, StartError> {
        self.start_on(Arc::new(self.journal.clone())).await
    }

    async fn start_on(&self, journal: Arc<dyn Journal>) -> Result<MetadataService, StartError> {
        let copies = self.copies.clone().map(|copies| copies as Arc<dyn ObjectStore>);
        MetadataService::start(self.options, journal, self.store.clone(), copies, self.clock.clone(), self.random()).await
    }

    fn random(&self) -> Arc<Random> {
        Arc::new(Random::seeded(self.seed.fetch_add(1, Ordering::Relaxed)))
    }

    /// The same store and clock, with another journal.
    fn with_journal(&self, journal: MemoryJournal) -> Self {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        Self { journal, store, copies: self.copies.clone(), clock, options: self.options, seed: AtomicU64::new(1000) }
    }

    /// Why a start is refused; it must leave journal and store as they were.
    async fn refused(&self) -> StartError {
        let before = (self.journal.slots(), self.keys("").await);
        let refused = self.start().await.err().expect("the start is refused");
        assert_eq!((self.journal.slots(), self.keys("").await), before, "nothing is written before it is clear what belongs together");
        refused
    }

    /// The state that a server would find now, without its own takeover.
    async fn state(&self) -> State {
        let loaded = load(&self.journal.copy(), self.store.as_ref(), None, self.clock.clone(), &Random::seeded(2)).await;
        let Loaded { mut state, .. } = loaded.expect("loads");
        state.revision = Revision(state.revision.0 - 1);
        state
    }

    /// Everything that the journal holds.
    async fn events(&self) -> Vec<Event> {
        let mut assembler = Assembler::default();
        let mut events = Vec::new();
        for (slot, bytes) in self.journal.read(FIRST_SLOT, usize::MAX).await.unwrap() {
            if let Some(step) = assembler.push(slot, &bytes).unwrap() {
                events.extend(decode_events(step.body).unwrap());
            }
        }
        events
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.list(prefix, None, 100_000).await.unwrap().into_iter().map(|object| object.key).collect()
    }

    async fn upload(&self, key: ObjectKey) {
        self.store.put(&key.to_string(), vec![Bytes::from_static(b"object")]).await.unwrap();
    }

    async fn has(&self, key: ObjectKey) -> bool {
        !self.keys(&key.to_string()).await.is_empty()
    }
}

/// The committed state.
async fn live(service: &MetadataService) -> State {
    let (reply, state) = oneshot::channel();
    service.handle.send(Message::Snapshot { reply }).await.unwrap();
    *state.await.unwrap().0
}

/// Lets time pass on the paused clock; everything that is due meanwhile happens.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A journal that is never trimmed, so that all of it can be read again.
struct Untrimmed(MemoryJournal);

#[async_trait]
impl Journal for Untrimmed {
    async fn append(&self, slot: u64, entry: Bytes) -> Appended {
        self.0.append(slot, entry).await
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        self.0.read(from, max_bytes).await
    }

    async fn trim(&self, _: u64) -> Result<(), JournalError> {
        Ok(())
    }
}

/// A broker in the service's process, with the partitions it publishes to.
struct Broker {
    client: Arc<dyn MetadataClient>,
    registration: Registration,
    published: u64,
    next: BTreeMap<TopicPartition, i64>,
}

fn register_request() -> RegisterBroker {
    RegisterBroker {
        broker: BrokerId(1),
        wal: WalId::from_bytes([1; 16]),
        cluster: None,
        endpoints: Vec::new(),
        rack: None,
        revision_seen: Revision(0),
        unpublished: Vec::new(),
    }
}

fn create_request(name: &str) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 1,
        configs: BTreeMap::new(),
        durability: Durability::Wal,
        validate_only: false,
    }
}

impl Broker {
    async fn register(service: &MetadataService) -> Self {
        let client = service.client();
        let registration = client.register_broker(register_request()).await.unwrap();
        let next = registration.partitions.iter().map(|state| (state.partition, state.next_offset.0)).collect();
        Self { client, registration, published: 0, next }
    }

    async fn create(&self, name: &str) -> TopicPartition {
        TopicPartition::new(self.client.create_topic(create_request(name)).await.unwrap().topic, 0)
    }

    fn key(&self, number: u64) -> ObjectKey {
        ObjectKey::Shared { broker: BrokerId(1), epoch: self.registration.epoch, number: ObjectNumber(number) }
    }

    /// The next publish: ten records of object `number`.
    fn request(&self, number: u64, partition: TopicPartition, at_ms: i64) -> PublishRequest {
        let base = Offset(self.next.get(&partition).copied().unwrap_or(0));
        let end = Offset(base.0 + 10);
        let stamp = Timestamp(at_ms);
        let first_lsn = Lsn(self.registration.last_published.0 + 1 + self.published * 10);
        let known = self.registration.partitions.iter().find(|state| state.partition == partition);
        let leader_epoch = known.map_or(LeaderEpoch(0), |state| state.leader_epoch);
        let segment = SegmentRef {
            base,
            end,
            object: self.key(number),
            position: 0,
            bytes: 1000,
            index_bytes: 10,
            records: 10,
            batches: 1,
            max_timestamp: stamp,
            min_timestamp: MinTimestamp { value: stamp, exact: true },
            append_times: (stamp, stamp),
            leader_epochs: Vec::new(),
            stable_end: end,
            aborted: 0,
            flags: SegmentFlags(1),
            state_from: base,
            origin: ObjectOrigin::Range,
            offset_shift: 0,
            leader_epoch: None,
            added: Revision(0),
        };
        PublishRequest {
            broker: BrokerId(1),
            epoch: self.registration.epoch,
            sequence: PublishSequence(self.published + 1),
            object: Some(PublishedObject { key: self.key(number), length: 1 << 20, crc: 7 }),
            first_lsn,
            end_lsn: Lsn(first_lsn.0 + 10),
            object_floor: ObjectNumber(0),
            synced: Lsn(0),
            partitions: vec![PartitionPublish {
                partition,
                segment,
                runs: vec![Run { leader_epoch, base, end }],
                gap: false,
                producers: Vec::new(),
            }],
        }
    }

    async fn publish(&mut self, request: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        let answer = self.client.publish(request.clone()).await?;
        self.published += 1;
        self.next.extend(request.partitions.iter().map(|part| (part.partition, part.segment.end.0)));
        Ok(answer)
    }

    /// Uploads and publishes ten records.
    async fn add(&mut self, machine: &Machine, number: u64, partition: TopicPartition, at_ms: i64) {
        machine.upload(self.key(number)).await;
        let answer = self.publish(self.request(number, partition, at_ms)).await.unwrap();
        let end = Offset(self.next[&partition]);
        assert_eq!(answer.verdicts, [metadata_api::PartitionVerdict::Accepted { next_offset: end }]);
    }
}
