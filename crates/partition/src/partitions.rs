//! All partitions that this broker leads: opened, recovered, told of syncs and publishes, closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metadata_api::{MetadataClient, PartitionRefusal, PartitionState, PartitionVerdict};
use parking_lot::RwLock;
use records::{BatchHeader, TimestampType};
use runtime::{Background, Clock};
use store::RangeReader;
use tokio::time::MissedTickBehavior;
use types::{BrokerEpoch, BrokerId, Lsn, Offset, Revision, Timestamp, TopicPartition};
use wal::{Entry, EntryKind, WriteAheadLog};

use crate::completion::PendingAppends;
use crate::segments::Segments;
use crate::shared::{IndexedBatches, Limits, Shared};
use crate::{AppendError, CloseReason, DamageObserver, NotLed, Partition, RecoverError};

/// Topic configs that a partition itself acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `message.timestamp.type`: whether records keep their own time or get the broker's.
    pub timestamp_type: TimestampType,
}

impl LogConfig {
    /// The time that a batch appended at `now` gets, if it does not keep its own.
    pub(crate) fn log_append_time(self, now: Timestamp) -> Option<Timestamp> {
        match self.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(now),
        }
    }
}

/// What partitions work with.
pub struct Deps {
    /// The broker's write-ahead log.
    pub wal: Arc<dyn WriteAheadLog>,
    /// Where segments are.
    pub metadata: Arc<dyn MetadataClient>,
    /// Reads ranges of segment objects.
    pub ranges: RangeReader,
    /// Where history is read.
    pub background: Background,
    /// Told of what readers cannot read; [`crate::NoDamageObserver`] where nobody looks into it.
    pub damage: Arc<dyn DamageObserver>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This broker.
    pub broker: BrokerId,
    /// Its epoch, from its registration.
    pub epoch: BrokerEpoch,
    /// Bounds.
    pub limits: Limits,
}

/// One partition's part of a finished publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Which partition.
    pub partition: TopicPartition,
    /// First of the offsets that were to be published.
    pub base: Offset,
    /// After the last of them.
    pub end: Offset,
    /// What became of them.
    pub verdict: PartitionVerdict,
}

/// What became of an entry read back from the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovered {
    /// It is part of its partition's log again.
    Replayed,
    /// The broker does not lead the partition, or its offsets are taken: another log owns them now. It is not served; who owns
    /// the write-ahead log decides what becomes of it.
    KeptAside,
    /// It is not a batch.
    NotABatch,
}

/// What a partition has in the write-ahead log only, and what it remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionUsage {
    /// Which partition.
    pub partition: TopicPartition,
    /// Batch bytes that no published object holds.
    pub unoffloaded_bytes: u64,
    /// The broker's clock at the append of the oldest of them.
    pub oldest_append: Option<Timestamp>,
    /// Idempotent producers remembered.
    pub producers: usize,
}

/// The partitions of a broker. Order of calls: [`new`](Self::new) after registration, [`open`](Self::open) for what the broker leads,
/// [`recover`](Self::recover) for each entry above the last published LSN, [`finish_recovery`](Self::finish_recovery); from then on
/// partitions are served. [`run`](Self::run) must be running for tickets to resolve.
pub struct Partitions {
    shared: Arc<Shared>,
    open: RwLock<HashMap<TopicPartition, Arc<Partition>>>,
}

/// Trimming happens in the write-ahead log's background without notice: how often an idle broker looks.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);
/// How often expired producers are forgotten.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(600);

impl Partitions {
    /// No partition yet, recovering.
    pub fn new(deps: Deps) -> Arc<Self> {
        let Deps { wal, metadata, ranges, background, damage, clock, broker, epoch, limits } = deps;
        let segments = Segments::new(Arc::clone(&metadata), ranges, background, &limits);
        let shared = Shared {
            wal,
            metadata,
            segments,
            damage,
            clock,
            limits,
            broker,
            epoch,
            pending: PendingAppends::default(),
            indexed: IndexedBatches::new(limits.indexed_batches),
            recovering: AtomicBool::new(true),
        };
        Arc::new(Self { shared: Arc::new(shared), open: RwLock::default() })
    }

    /// Begins to serve a partition, or answers the one that is open under this leader epoch or a newer one. A newer epoch closes the
    /// older partition and starts from `state` alone: another broker may have led in between, and what it wrote is in `state`, what
    /// we had not published is not (rule R16). Entries that are still ours follow by [`Self::recover`].
    pub fn open(&self, state: PartitionState, config: LogConfig) -> Arc<Partition> {
        let mut open = self.open.write();
        let current = state.leader_epoch;
        if let Some(partition) = open.get(&state.partition) {
            if current <= partition.leader_epoch() {
                partition.update_config(config);
                return Arc::clone(partition);
            }
            partition.close(CloseReason::LeadershipLost { current });
        }
        let partition = Partition::new(state, config, Arc::clone(&self.shared));
        open.insert(partition.id(), Arc::clone(&partition));
        partition
    }

    /// A topic config changed. Durability is not among them: [`Partition::follow_durability`].
    pub fn update_config(&self, id: TopicPartition, config: LogConfig) -> Result<(), NotLed> {
        self.get(id).map(|partition| partition.update_config(config))
    }

    /// Stops serving a partition: everybody who waits for it is answered with `reason`, at once. False if it was not open.
    pub fn close(&self, id: TopicPartition, reason: CloseReason) -> bool {
        let partition = self.open.write().remove(&id);
        // Outside the map's lock: waking its waiters may take a while.
        partition.inspect(|partition| partition.close(reason)).is_some()
    }

    /// Stops serving all of them.
    pub fn close_all(&self, reason: CloseReason) {
        let all = std::mem::take(&mut *self.open.write());
        all.values().for_each(|partition| partition.close(reason));
    }

    /// The partition, if this broker leads it.
    pub fn get(&self, id: TopicPartition) -> Result<Arc<Partition>, NotLed> {
        self.open.read().get(&id).cloned().ok_or(NotLed { partition: id })
    }

    /// All that are open, in no order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.open.read().values().cloned().collect()
    }

    /// Takes up an entry of the write-ahead log again, in LSN order, each at most once. The caller has cut by LSN what is published:
    /// offsets do not say it (rule R12). The log was synced before it was read (rule R1), so its batches count as synced.
    pub fn recover(&self, lsn: Lsn, entry: &Entry) -> Result<Recovered, RecoverError> {
        let EntryKind::Batch { partition: id, leader_epoch, base_offset, last_offset, .. } = entry.kind else {
            return Ok(Recovered::NotABatch);
        };
        let damaged = |detail| RecoverError::Damaged { lsn, partition: id, base: base_offset, detail };
        let header = BatchHeader::parse(&entry.batch).map_err(|error| damaged(error.to_string()))?;
        if header.base_offset != base_offset || header.last_offset() != last_offset {
            let found = format!("its batch goes from {} to {}, its entry says {last_offset}", header.base_offset, header.last_offset());
            return Err(damaged(found));
        }
        if let Ok(partition) = self.get(id) {
            let replayed = partition.recover(lsn, leader_epoch, &header, entry);
            return Ok(if replayed { Recovered::Replayed } else { Recovered::KeptAside });
        }
        match self.shared.metadata.image().borrow().partition(id) {
            Some(_) => Ok(Recovered::KeptAside),
            None => Err(RecoverError::UnknownTopic { lsn, partition: id }),
        }
    }

    /// Everything is read back: from now on partitions are read and written.
    pub fn finish_recovery(&self) {
        self.shared.recovering.store(false, Ordering::Release);
    }

    /// A publish is answered. Must be called in publish order, and before anything is trimmed, so that a reader that no longer finds an
    /// entry in the write-ahead log looks where it is now (rule R23).
    pub fn published(&self, revision: Revision, end_lsn: Lsn, parts: &[Published]) {
        for part in parts {
            let Ok(partition) = self.get(part.partition) else { continue };
            match &part.verdict {
                PartitionVerdict::Accepted { next_offset } => partition.published_to(*next_offset),
                PartitionVerdict::Refused(refusal) => self.refused(&partition, refusal, part, revision, end_lsn),
            }
        }
    }

    fn refused(&self, partition: &Partition, refusal: &PartitionRefusal, part: &Published, revision: Revision, end_lsn: Lsn) {
        match *refusal {
            PartitionRefusal::Gone => _ = self.close(partition.id(), CloseReason::Deleted),
            PartitionRefusal::NotOwned { leader_epoch: current } if current < partition.leader_epoch() => {
                tracing::info!(partition = %partition.id(), %current, "a publish from before this leader epoch was refused");
            }
            PartitionRefusal::NotOwned { leader_epoch: current } => {
                self.close(partition.id(), CloseReason::LeadershipLost { current });
            }
            PartitionRefusal::WrongOffset { next_offset } => {
                tracing::error!(
                    partition = %partition.id(), published = %next_offset, base = %part.base, end = %part.end, %revision, %end_lsn,
                    "metadata refused offsets of a partition that this broker leads: the partition is halted, its entries are kept",
                );
                partition.halt(next_offset, part.base);
            }
        }
    }

    /// Follows the write-ahead log: moves the synced ends, answers producers, forgets what is trimmed. Ends with the log.
    pub async fn run(self: Arc<Self>) {
        let mut progress = self.shared.wal.progress();
        let mut prune = tokio::time::interval(PRUNE_INTERVAL);
        let mut expire = tokio::time::interval(EXPIRE_INTERVAL);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = Lsn::ZERO;
        let mut told_stopped = false;
        loop {
            let (synced, stopped) = {
                let now = progress.borrow_and_update();
                (now.synced, now.stopped.clone())
            };
            self.shared.pending.synced(synced);
            let start = self.shared.wal.start();
            if pruned < start {
                self.all().iter().for_each(|partition| partition.prune(start));
                pruned = start;
            }
            if let Some(reason) = stopped
                && !told_stopped
            {
                self.log_stopped(synced, &AppendError::LogStopped { reason });
                told_stopped = true;
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                _ = prune.tick() => {}
                _ = expire.tick() => self.all().iter().for_each(|partition| partition.expire_producers()),
            }
        }
    }

    /// Nothing above `synced` will ever be synced. Taking each partition's lock after the log refuses appends reaches every ticket:
    /// an append holds that lock from before its entry until after its ticket.
    fn log_stopped(&self, synced: Lsn, error: &AppendError) {
        self.shared.pending.clear();
        self.all().iter().for_each(|partition| partition.log_stopped(synced, error));
    }

    /// What every open partition has in the write-ahead log only.
    pub fn usage(&self) -> Vec<PartitionUsage> {
        self.all().iter().map(|partition| partition.usage()).collect()
    }
}
