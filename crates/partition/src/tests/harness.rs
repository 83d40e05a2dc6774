//! A broker's log without the broker: [`Bench`] appends, syncs, publishes, trims and crashes at a call.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use metadata_api::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClusterImage, CreatePartitions, CreateTopic,
    DurabilityChange, EnforceDurability, HeartbeatAnswer, HeartbeatRequest, MetadataClient, MetadataError, PartitionImage, PartitionState,
    PartitionVerdict, PublishAnswer, PublishRequest, RegisterBroker, Registration, ReplaceAnswer, ReplaceSegments, RowPage, SaveRows,
    SegmentPage, SlotRows, SlotTaken, TakeSlot, TopicCreated, TopicImage,
};
use parking_lot::Mutex;
use records::{BatchBuilder, BatchHeader, Codec, TimestampType};
use runtime::{Background, ManualClock};
use segment::{ObjectBuilder, ObjectHeader, SegmentInput};
use store::faults::FaultyStore;
use store::{MemoryStore, ObjectStore, RangeReader, RangeReaderOptions, ReadClass};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::{
    BrokerEpoch, BrokerId, ClusterId, Durability, EpochStart, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, ObjectOrigin, Offset,
    ProducerBatch, ProducerId, ProducerWindows, PublishSequence, Revision, SegmentRef, Timestamp, TopicId, TopicPartition, WalId,
};
use wal::{Entry, EntryKind, MemoryOptions, MemoryWal, Origin, Urgency, WriteAheadLog};

use crate::*;

pub(super) const START_MS: i64 = 1_700_000_000_000;

/// Partition `index` of the topic that every bench has.
pub(super) fn id(index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([7; 16]), index)
}

/// Partitions the bench's topic has in metadata.
const PARTITIONS: usize = 4;

pub(super) struct Bench {
    pub(super) wal: Arc<MemoryWal>,
    pub(super) store: Arc<FaultyStore>,
    pub(super) metadata: Arc<FakeMetadata>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) limits: Limits,
    follower: JoinHandle<()>,
    epoch: i32,
    published: Lsn,
    objects: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Limits::default(), MemoryOptions::default())
    }

    pub(super) fn with(limits: Limits, options: MemoryOptions) -> Self {
        let wal = Arc::new(MemoryWal::new(WalId::from_bytes([1; 16]), options));
        let clock = Arc::new(ManualClock::new(START_MS));
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(clock.clone()))));
        let metadata = Arc::new(FakeMetadata::new());
        let partitions = new_partitions(&wal, &store, &metadata, &clock, limits);
        partitions.finish_recovery();
        let follower = tokio::spawn(Arc::clone(&partitions).run());
        Self { wal, store, metadata, clock, partitions, limits, follower, epoch: 1, published: Lsn::ZERO, objects: 0 }
    }

    /// Opens a partition as metadata knows it.
    pub(super) fn open(&self, index: i32, durability: Durability) -> Arc<Partition> {
        let state = self.metadata.state(id(index), LeaderEpoch(self.epoch), durability);
        self.partitions.open(state, create_time())
    }

    /// Opens a partition that takes the broker's time.
    pub(super) fn open_with_append_time(&self, index: i32, durability: Durability) -> Arc<Partition> {
        let state = self.metadata.state(id(index), LeaderEpoch(self.epoch), durability);
        self.partitions.open(state, LogConfig { timestamp_type: TimestampType::LogAppendTime })
    }

    /// Lets the follower of the write-ahead log do what there is to do.
    pub(super) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Seals, uploads and publishes everything in the write-ahead log.
    pub(super) async fn publish(&mut self) {
        let end = self.wal.progress().borrow().appended;
        self.publish_below(end).await;
    }

    /// The same for what lies below `end`.
    pub(super) async fn publish_below(&mut self, end: Lsn) {
        let (key, parts) = self.upload(end).await;
        let mut published = Vec::new();
        for (partition, segment, batches) in parts {
            published.push(self.metadata.publish(partition, segment, &batches));
        }
        let _ = key;
        self.published = end;
        self.partitions.published(self.metadata.revision(), end, &published);
    }

    /// Seals and uploads what lies below `end`, without publishing it.
    async fn upload(&mut self, end: Lsn) -> (ObjectKey, Vec<Part>) {
        self.objects += 1;
        let key = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(self.objects) };
        let mut ranges: BTreeMap<TopicPartition, Vec<(Bytes, Timestamp)>> = BTreeMap::new();
        for (_, entry) in self.wal.scan(self.published, end, usize::MAX).unwrap() {
            if let EntryKind::Batch { partition, .. } = entry.kind {
                ranges.entry(partition).or_default().push((entry.batch.clone(), entry.append_time));
            }
        }
        let parts = put_object(self.store.as_ref(), key, ranges).await;
        (key, parts)
    }

    /// Drops what is published from the write-ahead log.
    pub(super) fn trim(&self) {
        self.wal.rotate();
        self.wal.trim(self.published);
    }

    /// Kills the broker, with so many entries beyond the synced ones on its disk, and starts it again: everything is opened and read
    /// back, and recovery is left to be finished by [`Self::recovered`].
    pub(super) fn crash(&mut self, kept_unsynced: usize) -> Vec<Recovered> {
        let open: Vec<_> = self.partitions.all().iter().map(|partition| (partition.id(), partition.durability())).collect();
        self.follower.abort();
        self.wal = Arc::new(self.wal.crash(kept_unsynced));
        self.epoch += 1;
        self.partitions = new_partitions(&self.wal, &self.store, &self.metadata, &self.clock, self.limits);
        for (partition, durability) in open {
            self.open(partition.partition, durability);
        }
        let left = self.wal.scan(self.published, Lsn(u64::MAX), usize::MAX).unwrap();
        let recovered = left.iter().map(|(lsn, entry)| self.partitions.recover(*lsn, entry).unwrap()).collect();
        // The highest published LSN, as the metadata service would answer it.
        let last_published = Lsn(self.published.0.saturating_sub(1));
        self.wal.begin_epoch(BrokerEpoch(self.epoch as u64), last_published, Revision(1)).unwrap();
        recovered
    }

    /// Ends recovery.
    pub(super) fn recovered(&mut self) {
        self.partitions.finish_recovery();
        self.follower = tokio::spawn(Arc::clone(&self.partitions).run());
    }

    pub(super) fn partition(&self, index: i32) -> Arc<Partition> {
        self.partitions.get(id(index)).unwrap()
    }

    /// An entry of `partition` as an earlier run of the broker would have left it.
    pub(super) fn entry(&self, partition: TopicPartition, leader_epoch: i32, base: i64, batch: &Bytes) -> Entry {
        let batch = records::stamp(batch.clone(), Offset(base), LeaderEpoch(leader_epoch), None);
        let header = BatchHeader::parse(&batch).unwrap();
        Entry {
            kind: EntryKind::Batch {
                partition,
                origin: Origin::Client,
                leader_epoch: LeaderEpoch(leader_epoch),
                base_offset: Offset(base),
                last_offset: header.last_offset(),
            },
            append_time: Timestamp(START_MS),
            batch,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

type Part = (TopicPartition, SegmentRef, Vec<Bytes>);

/// Puts one object with a segment for each range.
pub(super) async fn put_object(
    store: &FaultyStore,
    key: ObjectKey,
    ranges: BTreeMap<TopicPartition, Vec<(Bytes, Timestamp)>>,
) -> Vec<Part> {
    let mut builder = ObjectBuilder::new(ObjectHeader {
        cluster: ClusterId::default(),
        wal: WalId::default(),
        first_lsn: Lsn::ZERO,
        end_lsn: Lsn::ZERO,
        sequence: PublishSequence(1),
        metadata_revision: Revision(1),
        created_at: Timestamp(START_MS),
        answered_through: PublishSequence(0),
        refused: Vec::new(),
    });
    for (partition, batches) in &ranges {
        let header = |batch: &Bytes| BatchHeader::parse(batch).unwrap();
        let base = header(&batches.first().unwrap().0).base_offset;
        let end = header(&batches.last().unwrap().0).next_offset();
        let input = SegmentInput {
            partition: *partition,
            base,
            end,
            origin: ObjectOrigin::Range,
            state_from: base,
            producers: Vec::new(),
            producers_full: false,
        };
        builder.add_segment(input, batches.clone()).unwrap();
    }
    let built = builder.finish(key);
    store.put(&key.to_string(), built.parts).await.unwrap();
    let taken = built.segments.into_iter().zip(ranges);
    taken.map(|(entry, (partition, batches))| (partition, entry.segment, batches.into_iter().map(|(batch, _)| batch).collect())).collect()
}

fn new_partitions(
    wal: &Arc<MemoryWal>,
    store: &Arc<FaultyStore>,
    metadata: &Arc<FakeMetadata>,
    clock: &Arc<ManualClock>,
    limits: Limits,
) -> Arc<Partitions> {
    new_partitions_over(Arc::clone(wal) as Arc<dyn WriteAheadLog>, store, metadata, clock, limits)
}

/// Partitions over any log, for tests that wrap it.
pub(super) fn new_partitions_over(
    wal: Arc<dyn WriteAheadLog>,
    store: &Arc<FaultyStore>,
    metadata: &Arc<FakeMetadata>,
    clock: &Arc<ManualClock>,
    limits: Limits,
) -> Arc<Partitions> {
    Partitions::new(deps_over(wal, store, metadata, clock, limits))
}

pub(super) fn deps_over(
    wal: Arc<dyn WriteAheadLog>,
    store: &Arc<FaultyStore>,
    metadata: &Arc<FakeMetadata>,
    clock: &Arc<ManualClock>,
    limits: Limits,
) -> Deps {
    Deps {
        wal,
        metadata: Arc::clone(metadata) as Arc<dyn MetadataClient>,
        ranges: RangeReader::new(Arc::clone(store) as Arc<dyn ObjectStore>, RangeReaderOptions::default()),
        background: Background::default(),
        damage: Arc::new(NoDamageObserver),
        clock: Arc::clone(clock) as Arc<dyn runtime::Clock>,
        broker: BrokerId(1),
        epoch: BrokerEpoch(1),
        limits,
    }
}

pub(super) fn create_time() -> LogConfig {
    LogConfig { timestamp_type: TimestampType::CreateTime }
}

/// A batch of plain records with these values, at `START_MS` plus their position.
pub(super) fn batch_of(values: &[&str]) -> Bytes {
    batch_at(values.iter().enumerate().map(|(position, value)| (START_MS + position as i64, *value)))
}

/// A batch of plain records with these timestamps and values.
pub(super) fn batch_at<'a>(records: impl IntoIterator<Item = (i64, &'a str)>) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for (timestamp, value) in records {
        builder.push(Timestamp(timestamp), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// A batch of `records` records of an idempotent producer.
pub(super) fn idempotent(producer: ProducerId, epoch: i16, sequence: i32, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer, epoch, sequence);
    for n in 0..records {
        builder.push(Timestamp(START_MS), None, Some(format!("{producer}/{epoch}/{}", sequence + n as i32).as_bytes()), &[]);
    }
    builder.build()
}

pub(super) fn request(batch: &Bytes, acks: Acks) -> AppendRequest {
    let header = BatchHeader::parse(batch).unwrap();
    AppendRequest { batch: batch.clone(), header, acks, origin: Origin::Client, now: Timestamp(START_MS) }
}

pub(super) fn append(partition: &Arc<Partition>, batch: &Bytes, acks: Acks) -> Result<Appended, AppendError> {
    partition.append(request(batch, acks))
}

pub(super) fn from_offset(offset: i64) -> ReadRequest {
    ReadRequest {
        offset: Offset(offset),
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
        class: ReadClass::CatchUp,
        answer_by: None,
    }
}

/// Offsets and values of all records in `batches`.
pub(super) fn records_in(batches: &[Bytes]) -> Vec<(i64, String)> {
    let decode = |batch| records::decode_records(batch, 1 << 20).unwrap();
    let text = |record: &records::Record| String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap();
    batches.iter().flat_map(decode).map(|record| (record.offset.0, text(&record))).collect()
}

/// Values from `offset` on, as one read brings them.
pub(super) async fn values(partition: &Partition, offset: i64) -> Vec<String> {
    let read = partition.read(from_offset(offset)).await.unwrap();
    records_in(&read.batches).into_iter().map(|(_, value)| value).collect()
}

/// The metadata service as far as a partition sees it.
pub(super) struct FakeMetadata {
    state: Mutex<HashMap<TopicPartition, Known>>,
    image: watch::Sender<Arc<ClusterImage>>,
    pub(super) lookups: AtomicUsize,
}

#[derive(Clone, Default)]
struct Known {
    log_start: Offset,
    next_offset: Offset,
    segments: Vec<SegmentRef>,
    epochs: Vec<EpochStart>,
    producers: ProducerWindows,
    levels: Option<DurabilityLevels>,
}

impl FakeMetadata {
    fn new() -> Self {
        let mut image = ClusterImage::default();
        let partition = PartitionImage {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(1),
            owner: WalId::from_bytes([1; 16]),
            replicas: vec![BrokerId(1)],
            durability: Durability::Wal,
        };
        image.insert_topic(Arc::new(TopicImage {
            id: id(0).topic,
            name: "topic".to_owned(),
            replication_factor: 1,
            configs: BTreeMap::new(),
            config_revision: Revision(1),
            partitions: vec![partition; PARTITIONS],
        }));
        Self { state: Mutex::default(), image: watch::Sender::new(Arc::new(image)), lookups: AtomicUsize::new(0) }
    }

    /// What the leader is handed. `durability` is that of a new partition.
    pub(super) fn state(&self, partition: TopicPartition, leader_epoch: LeaderEpoch, durability: Durability) -> PartitionState {
        let levels = DurabilityLevels { in_force: durability, configured: durability, config_revision: Revision(1) };
        let levels = *self.state.lock().entry(partition).or_default().levels.get_or_insert(levels);
        let known = self.known(partition);
        PartitionState {
            partition,
            leader_epoch,
            epochs: known.epochs,
            log_start: known.log_start,
            next_offset: known.next_offset,
            durability: levels.in_force,
            producers: known.producers,
        }
    }

    /// The levels as the newest image shows them.
    pub(super) fn levels(&self, partition: TopicPartition) -> DurabilityLevels {
        self.known(partition).levels.expect("the partition was opened")
    }

    pub(super) fn published_end(&self, partition: TopicPartition) -> Offset {
        self.known(partition).next_offset
    }

    /// Somebody alters the topic's durability; each partition here is a topic of its own.
    pub(super) fn alter(&self, partition: TopicPartition, configured: Durability) {
        let DurabilityLevels { in_force, config_revision, .. } = self.levels(partition);
        let levels = DurabilityLevels { in_force, configured, config_revision: Revision(config_revision.0 + 1) };
        self.state.lock().get_mut(&partition).unwrap().levels = Some(levels);
    }

    /// Brings a level into force by the rules of the metadata service. Whether it is now.
    pub(super) fn enforce(&self, change: DurabilityChange) -> bool {
        let (mut levels, published_end) = (self.levels(change.partition), self.published_end(change.partition));
        if change.config_revision == levels.config_revision && change.log_end <= published_end {
            levels.in_force = change.level;
            self.state.lock().get_mut(&change.partition).unwrap().levels = Some(levels);
        }
        levels.in_force == change.level
    }

    fn known(&self, partition: TopicPartition) -> Known {
        self.state.lock().get(&partition).cloned().unwrap_or_default()
    }

    fn revision(&self) -> Revision {
        Revision(1)
    }

    /// Makes a segment part of its partition.
    pub(super) fn publish(&self, partition: TopicPartition, segment: SegmentRef, batches: &[Bytes]) -> Published {
        let mut state = self.state.lock();
        let known = state.entry(partition).or_default();
        assert!(known.next_offset <= segment.base, "offsets are published once");
        for batch in batches {
            let header = BatchHeader::parse(batch).unwrap();
            if known.epochs.last().is_none_or(|last| last.epoch < header.leader_epoch) {
                known.epochs.push(EpochStart { epoch: header.leader_epoch, offset: header.base_offset });
            }
            if header.has_producer() {
                let appended = ProducerBatch {
                    first_sequence: header.base_sequence,
                    last_sequence: header.last_sequence(),
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    append_time: Timestamp(START_MS),
                };
                known.producers.observe(header.producer_id, header.producer_epoch, appended);
            }
        }
        let (base, end) = (segment.base, segment.end);
        known.next_offset = end;
        known.segments.push(segment);
        Published { partition, base, end, verdict: PartitionVerdict::Accepted { next_offset: end } }
    }

    pub(super) fn segments_of(&self, partition: TopicPartition) -> Vec<SegmentRef> {
        self.known(partition).segments
    }

    /// Puts other segments in the place of a partition's.
    pub(super) fn replace_segments(&self, partition: TopicPartition, segments: Vec<SegmentRef>) {
        self.state.lock().get_mut(&partition).unwrap().segments = segments;
    }

    /// Retention moves the log start; the last segment's entry stays for its state.
    pub(super) fn retain_from(&self, partition: TopicPartition, log_start: i64) {
        let mut state = self.state.lock();
        let known = state.get_mut(&partition).unwrap();
        known.log_start = Offset(log_start);
        let last = known.segments.last().cloned();
        known.segments.retain(|segment| Offset(log_start) < segment.end || Some(segment) == last.as_ref());
    }

    /// Starts a partition elsewhere than at 0.
    pub(super) fn begin_at(&self, partition: TopicPartition, offset: i64) {
        let known = Known { log_start: Offset(offset), next_offset: Offset(offset), ..Known::default() };
        self.state.lock().insert(partition, known);
    }

    /// Published up to `from`, and then, by an unclean election that began `epoch`, a gap to `to`.
    pub(super) fn leave_gap(&self, partition: TopicPartition, from: i64, to: i64, epoch: i32) {
        let epochs = vec![EpochStart { epoch: LeaderEpoch(epoch), offset: Offset(from) }];
        let known = Known { log_start: Offset(from), next_offset: Offset(to), epochs, ..Known::default() };
        self.state.lock().insert(partition, known);
    }

    pub(super) fn forget_topic(&self) {
        self.image.send_modify(|image| Arc::make_mut(image).remove_topic(id(0).topic));
    }

    fn page(&self, partition: TopicPartition, choose: impl FnOnce(&[SegmentRef]) -> (Vec<SegmentRef>, bool)) -> SegmentPage {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let known = self.known(partition);
        let (segments, more) = choose(&known.segments);
        SegmentPage { revision: Revision(1), log_start: known.log_start, next_offset: known.next_offset, segments, more }
    }
}

fn unused<T>() -> Result<T, MetadataError> {
    Err(MetadataError::Invalid { detail: "a partition never asks for this".to_owned() })
}

#[async_trait]
impl MetadataClient for FakeMetadata {
    async fn register_broker(&self, _: RegisterBroker) -> Result<Registration, MetadataError> {
        unused()
    }

    async fn heartbeat(&self, _: HeartbeatRequest) -> Result<HeartbeatAnswer, MetadataError> {
        unused()
    }

    async fn resign_broker(&self, _: BrokerId, _: BrokerEpoch) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn publish(&self, _: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        unused()
    }

    async fn replace_segments(&self, _: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
        unused()
    }

    async fn create_topic(&self, _: CreateTopic) -> Result<TopicCreated, MetadataError> {
        unused()
    }

    async fn create_partitions(&self, _: CreatePartitions) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn delete_topic(&self, _: TopicId) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn alter_topic_configs(&self, _: AlterTopicConfigs) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn alter_resource_configs(&self, _: AlterResourceConfigs) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn alter_client_quotas(&self, _: AlterClientQuotas) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn enforce_durability(&self, _: EnforceDurability) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn advance_log_start(&self, request: AdvanceLogStart) -> Result<Offset, MetadataError> {
        let next_offset = self.known(request.partition).next_offset;
        assert!(request.log_start <= next_offset, "a log start never passes the published end");
        self.retain_from(request.partition, request.log_start.0);
        Ok(request.log_start)
    }

    async fn elect_unclean(&self, _: Vec<TopicPartition>) -> Result<Revision, MetadataError> {
        unused()
    }

    async fn partition_states(&self, _: BrokerId, _: BrokerEpoch, _: Vec<TopicPartition>) -> Result<Vec<PartitionState>, MetadataError> {
        unused()
    }

    async fn segments(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<SegmentPage, MetadataError> {
        Ok(self.page(partition, |segments| {
            let first = segments.partition_point(|segment| segment.end <= from);
            let end = segments.len().min(first + limit as usize);
            (segments[first..end].to_vec(), end < segments.len())
        }))
    }

    async fn segment_at(&self, partition: TopicPartition, timestamp: Timestamp) -> Result<SegmentPage, MetadataError> {
        let first = |segments: &[SegmentRef]| segments.iter().find(|segment| timestamp <= segment.max_timestamp).cloned();
        Ok(self.page(partition, |segments| (first(segments).into_iter().collect(), false)))
    }

    async fn segment_of_max_timestamp(&self, partition: TopicPartition) -> Result<SegmentPage, MetadataError> {
        let largest = |segments: &[SegmentRef]| {
            let largest = segments.iter().map(|segment| segment.max_timestamp).max()?;
            segments.iter().find(|segment| segment.max_timestamp == largest).cloned()
        };
        Ok(self.page(partition, |segments| (largest(segments).into_iter().collect(), false)))
    }

    async fn allocate_producer_ids(&self, _: u32) -> Result<Range<ProducerId>, MetadataError> {
        unused()
    }

    async fn take_slot(&self, _: TakeSlot) -> Result<SlotTaken, MetadataError> {
        unused()
    }

    async fn slot_rows(&self, _: SlotRows) -> Result<RowPage, MetadataError> {
        unused()
    }

    async fn save_rows(&self, _: SaveRows) -> Result<Revision, MetadataError> {
        unused()
    }

    fn image(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.image.subscribe()
    }
}

/// The in-memory log, and what each append was said to be waited for by.
pub(super) struct UrgencyLog {
    pub(super) wal: MemoryWal,
    pub(super) seen: Mutex<Vec<Urgency>>,
    /// Called before every read.
    pub(super) before_read: Mutex<Option<Box<dyn FnMut() + Send>>>,
    /// Shown instead of the log's own.
    pub(super) progress: Mutex<Option<watch::Receiver<wal::Progress>>>,
}

impl UrgencyLog {
    pub(super) fn new() -> Arc<Self> {
        let wal = MemoryWal::new(WalId::from_bytes([1; 16]), MemoryOptions::default());
        Arc::new(Self { wal, seen: Mutex::default(), before_read: Mutex::default(), progress: Mutex::default() })
    }
}

impl WriteAheadLog for UrgencyLog {
    fn id(&self) -> WalId {
        self.wal.id()
    }

    fn begin_epoch(&self, epoch: BrokerEpoch, last_published: Lsn, metadata_revision: Revision) -> Result<Lsn, wal::WalError> {
        self.wal.begin_epoch(epoch, last_published, metadata_revision)
    }

    fn append(&self, entry: Entry, urgency: Urgency) -> Result<Lsn, wal::WalError> {
        self.seen.lock().push(urgency);
        self.wal.append(entry, urgency)
    }

    fn progress(&self) -> watch::Receiver<wal::Progress> {
        self.progress.lock().clone().unwrap_or_else(|| self.wal.progress())
    }

    fn start(&self) -> Lsn {
        self.wal.start()
    }

    fn read(&self, lsn: Lsn) -> Result<Option<(Arc<Entry>, wal::ReadFrom)>, wal::WalError> {
        if let Some(before_read) = self.before_read.lock().as_mut() {
            before_read();
        }
        self.wal.read(lsn)
    }

    fn scan(&self, from: Lsn, below: Lsn, max_bytes: usize) -> Result<Vec<(Lsn, Arc<Entry>)>, wal::WalError> {
        self.wal.scan(from, below, max_bytes)
    }

    fn trim(&self, below: Lsn) {
        self.wal.trim(below);
    }

    fn release_memory(&self, below: Lsn) {
        self.wal.release_memory(below);
    }

    fn usage(&self) -> wal::Usage {
        self.wal.usage()
    }
}
