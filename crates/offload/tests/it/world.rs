//! A broker's surroundings for one test: the log, the store, the metadata service, and a model of what was appended. A *life* is what
//! lies between two crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use metadata_api::{MetadataClient, PartitionVerdict, RegisterBroker};
use offload::*;
use parking_lot::Mutex;
use records::{BatchBuilder, Codec, stamp};
use runtime::{ManualClock, Random, Shutdown};
use store::faults::FaultyStore;
use store::{CountingStore, MemoryStore, ObjectStore, StoreCounters};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use types::*;
use wal::{Entry, EntryKind, MemoryOptions, MemoryWal, Origin, Urgency, WriteAheadLog};

use crate::ledger::Ledger;
use crate::watched::WatchedWal;

/// Every batch of these tests has this many bytes.
pub(crate) const BATCH: u64 = 123;

pub(crate) fn partition(topic: u8, index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([topic; 16]), index)
}

/// Ranges of four batches.
pub(crate) fn small() -> Options {
    Options { bytes: 4 * BATCH, max_bytes: 4 * BATCH, memory_bytes: u64::MAX, uploads: 3, ..Options::default() }
}

/// Waits for what the tasks of a test bring about.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "this never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One batch as appended.
struct Appended {
    lsn: Lsn,
    end: Offset,
    batch: Bytes,
    urgency: Urgency,
}

#[derive(Default)]
struct ModelPartition {
    next: Offset,
    sequence: i32,
    /// By base offset.
    batches: BTreeMap<Offset, Appended>,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) told: Mutex<Vec<(Lsn, Vec<Published>)>>,
    wal: Mutex<Option<Arc<WatchedWal>>>,
}

impl Recorder {
    pub(crate) fn verdicts_of(&self, partition: TopicPartition) -> Vec<PartitionVerdict> {
        let told = self.told.lock();
        let parts = told.iter().flat_map(|(_, parts)| parts).filter(|part| part.partition == partition);
        parts.map(|part| part.verdict.clone()).collect()
    }
}

impl PublishObserver for Recorder {
    fn published(&self, _revision: Revision, end_lsn: Lsn, partitions: &[Published]) {
        assert!(partitions.is_sorted_by(|a, b| a.partition < b.partition));
        let wal = self.wal.lock();
        let ledger = &wal.as_ref().unwrap().ledger;
        assert!(end_lsn <= ledger.published_end(), "T1: what is told was recorded before, and the ledger has seen its object");
        for Published { partition, end, verdict, .. } in partitions {
            if let PartitionVerdict::Accepted { .. } = verdict {
                assert!(ledger.partition(*partition).is_none_or(|part| *end <= part.next), "T1: {partition} ends below {end}");
            }
        }
        let before = wal.as_ref().unwrap().told.fetch_max(end_lsn.0, Ordering::Relaxed);
        assert!(before < end_lsn.0, "publishes are told in order, each once");
        self.told.lock().push((end_lsn, partitions.to_vec()));
    }
}

/// Keeps lost entries in memory.
#[derive(Default)]
pub(crate) struct Lost {
    pub(crate) kept: Mutex<BTreeMap<TopicPartition, Vec<Bytes>>>,
    pub(crate) fails: Mutex<bool>,
}

impl LostEntries for Lost {
    fn keep(&self, partition: TopicPartition, entries: &[Arc<Entry>]) -> io::Result<()> {
        if *self.fails.lock() {
            return Err(io::Error::other("no space"));
        }
        self.kept.lock().entry(partition).or_default().extend(entries.iter().map(|entry| entry.batch.clone()));
        Ok(())
    }
}

/// Stops once, at one step of one range.
pub(crate) struct StopAt {
    pub(crate) at: Option<(Step, PublishSequence)>,
}

impl Failpoints for StopAt {
    fn stop_at(&self, step: Step, sequence: PublishSequence) -> bool {
        self.at == Some((step, sequence))
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) counters: Arc<StoreCounters>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) lost: Arc<Lost>,
    pub(crate) observer: Arc<Recorder>,
    pub(crate) wal: Arc<WatchedWal>,
    leader_epoch: LeaderEpoch,
    model: BTreeMap<TopicPartition, ModelPartition>,
    seed: u64,
}

/// A running offload.
pub(crate) struct Life {
    pub(crate) handle: OffloadHandle,
    pub(crate) task: JoinHandle<Result<(), OffloadError>>,
    pub(crate) shutdown: Shutdown,
}

impl Life {
    /// The end of a task that ends by itself.
    pub(crate) async fn ended(self) -> Result<(), OffloadError> {
        tokio::time::timeout(Duration::from_secs(3600), self.task).await.expect("it ends").unwrap()
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::following_tokio(1_700_000_000_000));
        let memory = Arc::new(MemoryStore::new(clock.clone()));
        let counting = CountingStore::new(memory.clone(), clock.clone());
        let counters = counting.counters();
        let store = Arc::new(FaultyStore::new(Arc::new(counting)));
        let ledger = Ledger::new(memory.clone());
        let options = MemoryOptions { generation_bytes: 3 * BATCH, ..MemoryOptions::default() };
        let wal = MemoryWal::new(WalId::from_bytes([5; 16]), options);
        let wal = WatchedWal::new(Arc::new(wal), ledger.clone());
        Self {
            store,
            memory,
            counters,
            ledger,
            clock,
            lost: Arc::default(),
            observer: Arc::default(),
            wal,
            leader_epoch: LeaderEpoch(0),
            model: BTreeMap::new(),
            seed,
        }
    }

    pub(crate) fn create(&mut self, partition: TopicPartition, durability: Durability) {
        self.ledger.create(partition, durability);
        self.model.insert(partition, ModelPartition::default());
    }

    /// Registers and starts an offload.
    pub(crate) async fn start(&mut self, options: Options) -> Life {
        self.start_with(options, StopAt { at: None }).await
    }

    pub(crate) async fn start_with(&mut self, options: Options, failpoints: impl Failpoints + 'static) -> Life {
        let request = RegisterBroker {
            broker: BrokerId(1),
            wal: self.wal.id(),
            cluster: None,
            endpoints: Vec::new(),
            rack: None,
            revision_seen: Revision(0),
            unpublished: Vec::new(),
        };
        let registration = self.ledger.register_broker(request).await.unwrap();
        self.leader_epoch = LeaderEpoch(i32::try_from(registration.epoch.0).unwrap());
        self.wal.begin_epoch(registration.epoch, registration.last_published, registration.revision).unwrap();
        self.observer.wal.lock().replace(self.wal.clone());
        self.seed += 1;
        let deps = Deps {
            wal: self.wal.clone(),
            store: self.store.clone(),
            metadata: self.ledger.clone(),
            clock: self.clock.clone(),
            random: Arc::new(Random::seeded(self.seed)),
            observer: self.observer.clone(),
            lost: self.lost.clone(),
            failpoints: Arc::new(failpoints),
            broker: BrokerId(1),
        };
        let offload = Offload::new(deps, &registration, options);
        let (handle, shutdown) = (offload.handle(), Shutdown::new());
        let task = tokio::spawn(offload.run(shutdown.clone()));
        Life { handle, task, shutdown }
    }

    /// The partition's next batch: two records of an idempotent producer.
    pub(crate) fn next_entry(&self, partition: TopicPartition) -> Entry {
        let model = &self.model[&partition];
        let base = model.next;
        let mut builder = BatchBuilder::new(Codec::None).producer(i64::from(partition.partition) + 100, 0, model.sequence);
        // Of one length, so that a test can tell what fits into a range.
        let value = format!("{partition} {:>11} {:>3}", base.0, self.leader_epoch.0);
        for _ in 0..2 {
            builder.push(Timestamp(1_700_000_000_000 + base.0), None, Some(&value.as_bytes()[30..]), &[]);
        }
        let batch = stamp(builder.build(), base, self.leader_epoch, None);
        assert_eq!(batch.len() as u64, BATCH);
        Entry {
            kind: EntryKind::Batch {
                partition,
                origin: Origin::Client,
                leader_epoch: self.leader_epoch,
                base_offset: base,
                last_offset: base + 1,
            },
            append_time: Timestamp(1_700_000_000_000 + base.0),
            batch,
        }
    }

    /// Appends the partition's next batch. Answers its LSN.
    pub(crate) fn append(&mut self, partition: TopicPartition, urgency: Urgency) -> Lsn {
        let entry = self.next_entry(partition);
        let batch = entry.batch.clone();
        let lsn = self.wal.append(entry, urgency).unwrap();
        let model = self.model.get_mut(&partition).unwrap();
        let base = model.next;
        model.batches.insert(base, Appended { lsn, end: base + 2, batch, urgency });
        model.next = base + 2;
        model.sequence += 2;
        lsn
    }

    /// The next batch begins higher than the last one ended.
    pub(crate) fn skip_offsets(&mut self, partition: TopicPartition, offsets: i64) {
        let model = self.model.get_mut(&partition).unwrap();
        model.next = model.next + offsets;
    }

    pub(crate) fn append_many(&mut self, partition: TopicPartition, count: usize, urgency: Urgency) {
        for _ in 0..count {
            self.append(partition, urgency);
        }
    }

    /// Everything appended.
    pub(crate) fn end(&self) -> Lsn {
        self.wal.progress().borrow().appended
    }

    /// The process dies, and the host with it: `kept_unsynced` entries of those never synced are there all the same. Whatever was
    /// acknowledged must have survived.
    pub(crate) async fn crash(&mut self, life: Life, kept_unsynced: usize) {
        life.task.abort();
        // Aborting takes effect when the task is next polled; dead for sure once joined.
        if let Err(error) = life.task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        let synced = self.wal.progress().borrow().synced;
        let inner = Arc::new(self.wal.inner.crash(kept_unsynced));
        let kept_end = inner.progress().borrow().appended;
        for (partition, model) in &mut self.model {
            let Some(published) = self.ledger.partition(*partition).map(|part| part.next) else { continue };
            model.batches.retain(|_, appended| {
                let survives = appended.lsn < kept_end || appended.end <= published;
                let acknowledged = appended.lsn < synced && appended.urgency != Urgency::Lazy;
                assert!(survives || !acknowledged, "acknowledged batch {} of {partition} is lost", appended.lsn);
                survives
            });
            model.next = model.batches.last_key_value().map_or(published, |(_, last)| last.end.max(published));
        }
        self.wal = WatchedWal::new(inner, self.ledger.clone());
    }

    /// Everything appended that was not lost with a crash is published, once, at its offset, with its bytes.
    pub(crate) async fn check_all_published(&self) {
        for partition in self.model.keys() {
            if self.ledger.partition(*partition).is_some() {
                self.check_published(*partition).await;
            }
        }
    }

    pub(crate) async fn check_published(&self, partition: TopicPartition) {
        let part = self.ledger.partition(partition).unwrap();
        let model = &self.model[&partition];
        let mut next = Offset::ZERO;
        for segment in &part.segments {
            assert_eq!(segment.base, next, "no gap and no overlap in {partition}");
            let expected: Vec<u8> = model.batches.range(segment.base..segment.end).flat_map(|(_, batch)| batch.batch.to_vec()).collect();
            let range = segment::data_range(segment);
            let found = self.memory.get_range(&segment.object.to_string(), range).await.unwrap();
            assert_eq!(found, expected, "{partition} from {} is what was appended (seed {})", segment.base, self.seed);
            next = segment.end;
        }
        assert_eq!((part.next, next), (model.next, model.next), "all of {partition} is published (seed {})", self.seed);
    }

    /// Everything appended that was not lost with a crash is published, or was kept aside for somebody to look at.
    pub(crate) async fn check_published_or_kept(&self, partition: TopicPartition) {
        let part = self.ledger.partition(partition).unwrap();
        let mut found: BTreeSet<Bytes> = self.lost.kept.lock().get(&partition).into_iter().flatten().cloned().collect();
        for segment in &part.segments {
            let data = self.memory.get_range(&segment.object.to_string(), segment::data_range(segment)).await.unwrap();
            found.extend(data.chunks(BATCH as usize).map(|batch| data.slice_ref(batch)));
        }
        for (base, appended) in &self.model[&partition].batches {
            assert!(found.contains(&appended.batch), "{partition} at {base} is neither published nor kept (seed {})", self.seed);
        }
    }

    /// Objects in the store.
    pub(crate) async fn stored(&self) -> Vec<ObjectKey> {
        let objects = self.memory.list("", None, 10_000).await.unwrap();
        objects.iter().map(|object| object.key.parse().unwrap()).collect()
    }
}
