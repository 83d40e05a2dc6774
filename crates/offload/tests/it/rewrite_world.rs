//! A broker's offload and rewriter over the real metadata service, whose journal is in memory and which deletes without any grace, and
//! a model of what was appended. A *life* is what lies between two kills of the broker; the metadata service lives on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata_api::*;
use metadata_service::{MemoryJournal, MetadataService};
use offload::*;
use parking_lot::Mutex;
use records::{BatchBuilder, Codec, stamp};
use runtime::{Clock, ManualClock, Random, Shutdown};
use store::faults::FaultyStore;
use store::{CountingStore, MemoryStore, ObjectStore, RangeReader, RangeReaderOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::*;
use wal::{Entry, EntryKind, MemoryOptions, MemoryWal, Origin, Urgency, WriteAheadLog};

use crate::world::{Lost, StopAt, until};

pub(crate) const NOW: i64 = 1_700_000_000_000;
const BROKER: BrokerId = BrokerId(1);

/// Ends the rewriter once, at one step of one rewrite.
pub(crate) struct KillAt(pub(crate) Option<(RewriteStep, u64)>);

impl RewriteFailpoints for KillAt {
    fn stop_at(&self, step: RewriteStep, rewrite: u64) -> bool {
        self.0 == Some((step, rewrite))
    }
}

struct Nobody;

impl PublishObserver for Nobody {
    fn published(&self, _: Revision, _: Lsn, _: &[Published]) {}
}

/// What happens before a replacement arrives.
type Sooner = Box<dyn FnMut() -> Option<AdvanceLogStart> + Send>;

/// The metadata service, with answers of replacements that get lost.
pub(crate) struct LossyMetadata {
    inner: Arc<dyn MetadataClient>,
    lost_answers: AtomicUsize,
    /// Called before a replacement is recorded.
    before_replace: Mutex<Option<Sooner>>,
}

pub(crate) struct RewriteWorld {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metadata: Arc<LossyMetadata>,
    _service: MetadataService,
    wal: Arc<MemoryWal>,
    leader_epoch: LeaderEpoch,
    epoch: BrokerEpoch,
    /// What was appended, by base offset.
    appended: BTreeMap<TopicPartition, BTreeMap<Offset, Bytes>>,
    next: BTreeMap<TopicPartition, Offset>,
    sequence: i32,
    seed: u64,
}

pub(crate) struct RewriteLife {
    pub(crate) offload: OffloadHandle,
    pub(crate) rewrites: RewriteHandle,
    pub(crate) rewriter: JoinHandle<()>,
    task: JoinHandle<Result<(), OffloadError>>,
    pub(crate) counters: Arc<store::StoreCounters>,
}

impl RewriteWorld {
    pub(crate) async fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::following_tokio(NOW));
        let memory = Arc::new(MemoryStore::new(clock.clone()));
        let store = Arc::new(FaultyStore::new(memory.clone()));
        let options = metadata_service::Options {
            deletion_grace: Duration::ZERO,
            retention: None,
            garbage_snapshot_interval: Duration::from_secs(1),
            orphan_interval: Duration::from_secs(5),
            ..metadata_service::Options::default()
        };
        let random = Arc::new(Random::seeded(seed));
        let journal = Arc::new(MemoryJournal::new());
        // Its own calls of the store do not fail: that is tested elsewhere.
        let service = MetadataService::start(options, journal, memory.clone(), None, clock.clone(), random).await.unwrap();
        let inner = service.client();
        let metadata = Arc::new(LossyMetadata { inner, lost_answers: AtomicUsize::new(0), before_replace: Mutex::default() });
        let wal = Arc::new(MemoryWal::new(WalId::from_bytes([5; 16]), MemoryOptions::default()));
        // Topics can be created from now on.
        metadata.register_broker(registration_of(wal.id())).await.unwrap();
        Self {
            store,
            memory,
            clock,
            metadata,
            _service: service,
            wal,
            leader_epoch: LeaderEpoch(0),
            epoch: BrokerEpoch(0),
            appended: BTreeMap::new(),
            next: BTreeMap::new(),
            sequence: 0,
            seed,
        }
    }

    /// Registers and starts an offload with a rewriter beside it.
    pub(crate) async fn start(&mut self, failpoint: KillAt, options: RewriteOptions) -> RewriteLife {
        let registration = self.metadata.register_broker(registration_of(self.wal.id())).await.unwrap();
        self.epoch = registration.epoch;
        self.leader_epoch = registration.partitions.first().map_or(LeaderEpoch(0), |state| state.leader_epoch);
        self.wal.begin_epoch(registration.epoch, registration.last_published, registration.revision).unwrap();
        self.seed += 1;
        let random = Arc::new(Random::seeded(self.seed));
        let counting = CountingStore::new(self.store.clone(), self.clock.clone());
        let counters = counting.counters();
        let store: Arc<dyn ObjectStore> = Arc::new(counting);
        let deps = Deps {
            wal: self.wal.clone(),
            store: self.store.clone(),
            metadata: self.metadata.clone(),
            clock: self.clock.clone(),
            random: random.clone(),
            observer: Arc::new(Nobody),
            lost: Arc::new(Lost::default()),
            failpoints: Arc::new(StopAt { at: None }),
            broker: BROKER,
        };
        let offload = Offload::new(deps, &registration, Options { max_age: Duration::from_millis(50), ..Options::default() });
        let handle = offload.handle();
        let deps = RewriteDeps {
            ranges: RangeReader::new(store.clone(), RangeReaderOptions::default()),
            store,
            metadata: self.metadata.clone(),
            clock: self.clock.clone(),
            random,
            failpoints: Arc::new(failpoint),
            broker: BROKER,
            wal: self.wal.id(),
        };
        let rewriter = Rewriter::new(deps, &registration, &handle, options);
        RewriteLife {
            offload: handle,
            rewrites: rewriter.handle(),
            rewriter: tokio::spawn(rewriter.run(Shutdown::new())),
            task: tokio::spawn(offload.run(Shutdown::new())),
            counters,
        }
    }

    /// A topic whose rewritten segments are to reach 1 MiB.
    pub(crate) async fn create(&mut self, name: &str, partitions: i32) -> TopicId {
        let configs = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
        let request = CreateTopic {
            name: name.to_owned(),
            partitions,
            replication_factor: 1,
            configs: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            durability: Durability::Object,
            validate_only: false,
        };
        let topic = self.metadata.create_topic(request).await.unwrap().topic;
        for index in 0..partitions {
            self.appended.insert(TopicPartition::new(topic, index), BTreeMap::new());
        }
        topic
    }

    /// The partition's next batch, of about `bytes`: two records of one of three producers.
    pub(crate) fn append(&mut self, partition: TopicPartition, bytes: usize) {
        let base = *self.next.entry(partition).or_default();
        let producer = i64::from(partition.partition) * 10 + base.0 / 2 % 3;
        let mut builder = BatchBuilder::new(Codec::None).producer(producer, 0, self.sequence);
        self.sequence += 2;
        let value: Vec<u8> = (0..bytes / 2).map(|at| (at as i64 + base.0) as u8).collect();
        let now = Timestamp(self.clock.wall_ms());
        (0..2).for_each(|_| builder.push(now, None, Some(&value), &[]));
        let batch = stamp(builder.build(), base, self.leader_epoch, None);
        let kind = EntryKind::Batch {
            partition,
            origin: Origin::Client,
            leader_epoch: self.leader_epoch,
            base_offset: base,
            last_offset: base + 1,
        };
        self.wal.append(Entry { kind, append_time: now, batch: batch.clone() }, Urgency::SyncAndUpload).unwrap();
        self.appended.get_mut(&partition).unwrap().insert(base, batch);
        self.next.insert(partition, base + 2);
    }

    /// Everything appended is published; what was appended since the last call is one segment of each partition.
    pub(crate) async fn publish(&self, life: &RewriteLife) {
        let end = self.wal.progress().borrow().appended;
        life.offload.flush(end).await.unwrap();
    }

    /// `count` segments of one batch each, of about `bytes`, in all partitions.
    pub(crate) async fn publish_segments(&mut self, life: &RewriteLife, count: usize, bytes: usize) {
        let partitions: Vec<_> = self.appended.keys().copied().collect();
        for _ in 0..count {
            partitions.iter().for_each(|partition| self.append(*partition, bytes));
            self.publish(life).await;
        }
    }

    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        self.appended.keys().copied().collect()
    }

    /// The next answer of a replacement gets lost, after it was recorded.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.metadata.lost_answers.store(count, Ordering::Relaxed);
    }

    /// The log start moves once, after the next rewrite was read and before it is recorded.
    pub(crate) fn delete_records_before_replace(&self, partition: TopicPartition, log_start: Offset) {
        let mut request = Some(AdvanceLogStart { broker: BROKER, epoch: self.epoch, partition, log_start });
        *self.metadata.before_replace.lock() = Some(Box::new(move || request.take()));
    }

    pub(crate) async fn delete_records(&self, partition: TopicPartition, log_start: Offset) {
        let request = AdvanceLogStart { broker: BROKER, epoch: self.epoch, partition, log_start };
        self.metadata.advance_log_start(request).await.unwrap();
    }

    /// The broker's process dies.
    pub(crate) async fn kill(&mut self, life: RewriteLife) {
        life.rewriter.abort();
        life.task.abort();
        let _ = life.rewriter.await;
        let _ = life.task.await;
        self.wal = Arc::new(self.wal.crash(usize::MAX));
    }

    pub(crate) async fn segments(&self, partition: TopicPartition) -> (Offset, Vec<SegmentRef>) {
        let page = self.metadata.segments(partition, Offset::ZERO, 10_000).await.unwrap();
        assert!(!page.more);
        (page.log_start, page.segments)
    }

    /// Rewriting has come to rest: what is left is not worth it.
    pub(crate) async fn settle(&self, life: &RewriteLife) {
        let mut before = life.rewrites.status();
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = life.rewrites.status();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Every offset from the log start on has the bytes that were appended there, in objects that are sound, and producers are known as
    /// the metadata service knows them from objects alone.
    pub(crate) async fn check(&self) {
        for (partition, appended) in &self.appended {
            self.check_partition(*partition, appended).await;
        }
    }

    async fn check_partition(&self, partition: TopicPartition, appended: &BTreeMap<Offset, Bytes>) {
        let (log_start, segments) = self.segments(partition).await;
        let mut found = BTreeMap::new();
        let mut windows = BTreeMap::new();
        let mut next = segments.first().map_or(log_start, |first| first.base);
        for segment in &segments {
            assert_eq!(segment.base, next, "no gap and no overlap in {partition}");
            next = segment.end;
            let object = self.memory.get(&segment.object.to_string(), u64::MAX).await.unwrap();
            let contents = segment::verify(&object).unwrap();
            let entry = contents.segments.iter().find(|entry| entry.partition == partition && entry.segment.base == segment.base).unwrap();
            assert_eq!(entry.segment, SegmentRef { added: Revision(0), ..segment.clone() });
            let range = segment::data_range(segment);
            for batch in records::batches(object.slice(range.start as usize..range.end as usize)) {
                let batch = batch.unwrap();
                found.insert(batch.header.base_offset, batch.bytes);
            }
            if entry.producers.full {
                windows.clear();
            }
            windows.extend(entry.producers.windows.iter().cloned());
        }
        assert_eq!(Some(&next), self.next.get(&partition).or(Some(&Offset::ZERO)), "everything is published");
        for (base, batch) in appended.range(log_start..) {
            assert_eq!(found.get(base), Some(batch), "{partition} at {base} (seed {})", self.seed);
        }
        if Offset::ZERO < log_start {
            return;
        }
        let states = self.metadata.partition_states(BROKER, self.epoch, vec![partition]).await.unwrap();
        let known: BTreeMap<_, _> = states[0].producers.iter().map(|(id, window)| (id, window.clone())).collect();
        assert_eq!(windows, known, "producers of {partition}");
    }

    /// Objects in the store are those that segments lie in, once what is garbage was deleted.
    pub(crate) async fn check_no_garbage(&self) {
        let mut referenced = BTreeSet::new();
        for partition in self.partitions() {
            referenced.extend(self.segments(partition).await.1.iter().map(|segment| segment.object.to_string()));
        }
        let stored = || {
            let listed = ["shared/", "topic/"].map(|folder| self.memory.list(folder, None, 10_000));
            futures::future::join_all(listed)
        };
        for _ in 0..120 {
            let keys: BTreeSet<_> = stored().await.into_iter().flat_map(Result::unwrap).map(|object| object.key).collect();
            if keys == referenced {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let keys: BTreeSet<_> = stored().await.into_iter().flat_map(Result::unwrap).map(|object| object.key).collect();
        panic!("stored and not referenced: {:?}; missing: {:?}", &keys - &referenced, &referenced - &keys);
    }

    pub(crate) async fn delete_topic(&mut self, topic: TopicId) {
        self.metadata.delete_topic(topic).await.unwrap();
        self.appended.retain(|partition, _| partition.topic != topic);
    }
}

/// The broker of these tests, with this log.
pub(crate) fn registration_of(wal: WalId) -> RegisterBroker {
    RegisterBroker {
        broker: BROKER,
        wal,
        cluster: None,
        endpoints: Vec::new(),
        rack: None,
        revision_seen: Revision(0),
        unpublished: Vec::new(),
    }
}

/// Waits until so many rewrites are done.
pub(crate) async fn rewritten(life: &RewriteLife, rewrites: u64) {
    until("rewrites", || rewrites <= life.rewrites.status().rewrites).await;
}

/// The other calls are passed on as they are.
macro_rules! metadata_client {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl MetadataClient for LossyMetadata {
            async fn replace_segments(&self, request: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
                let sooner = self.before_replace.lock().as_mut().and_then(|before| before());
                if let Some(advance) = sooner {
                    self.inner.advance_log_start(advance).await.unwrap();
                }
                let answer = self.inner.replace_segments(request).await;
                let lost = self.lost_answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
                if lost { Err(MetadataError::Unknown { detail: "the answer got lost".to_owned() }) } else { answer }
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, MetadataError> {
                self.inner.$name($($argument),*).await
            })*

            fn image(&self) -> watch::Receiver<Arc<ClusterImage>> {
                self.inner.image()
            }
        }
    };
}

metadata_client! {
    register_broker(request: RegisterBroker) -> Registration;
    heartbeat(request: HeartbeatRequest) -> HeartbeatAnswer;
    resign_broker(broker: BrokerId, epoch: BrokerEpoch) -> Revision;
    publish(request: PublishRequest) -> PublishAnswer;
    create_topic(request: CreateTopic) -> TopicCreated;
    create_partitions(request: CreatePartitions) -> Revision;
    delete_topic(topic: TopicId) -> Revision;
    alter_topic_configs(request: AlterTopicConfigs) -> Revision;
    alter_resource_configs(request: AlterResourceConfigs) -> Revision;
    alter_client_quotas(request: AlterClientQuotas) -> Revision;
    enforce_durability(request: EnforceDurability) -> Revision;
    advance_log_start(request: AdvanceLogStart) -> Offset;
    elect_unclean(partitions: Vec<TopicPartition>) -> Revision;
    partition_states(broker: BrokerId, epoch: BrokerEpoch, partitions: Vec<TopicPartition>) -> Vec<PartitionState>;
    segments(partition: TopicPartition, from: Offset, limit: u32) -> SegmentPage;
    segment_at(partition: TopicPartition, timestamp: Timestamp) -> SegmentPage;
    segment_of_max_timestamp(partition: TopicPartition) -> SegmentPage;
    allocate_producer_ids(count: u32) -> Range<ProducerId>;
    take_slot(request: TakeSlot) -> SlotTaken;
    slot_rows(request: SlotRows) -> RowPage;
    save_rows(request: SaveRows) -> Revision;
}
