//! A partition on the broker that leads it. A struct with a short mutex, not a task: an append runs on its connection's task and
//! fixes offset, producer sequence and LSN in one step under the mutex; the ticket resolves when the log has come far enough.

use std::sync::Arc;

use bytes::Bytes;
use metadata_api::{DurabilityChange, PartitionState};
use parking_lot::{Mutex, MutexGuard};
use records::BatchHeader;
use types::{Durability, LeaderEpoch, Lsn, Offset, ProducerBatch, ProducerId, ProducerWindow, Timestamp, TopicPartition};
use wal::{Entry, EntryKind, Origin, Urgency};

use crate::log::{Level, Log, Service};
use crate::producers::Sequenced;
use crate::shared::Shared;
use crate::tail::TailEntry;
use crate::{
    AppendError, AppendTicket, CloseReason, DurabilityLevels, EpochEnd, Isolation, LogConfig, PartitionUsage, PendingDurability,
    ProgressWatch, ReadError,
};

/// How far above the published end offsets may run. A leader that is elected without the older one's unpublished records begins
/// this far above it, so that no offset gets a second record.
const MAX_AHEAD_OF_PUBLISHED: i64 = 1 << 32;

/// When the producer wants its answer (Kafka's `acks`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// 0: it does not wait.
    None,
    /// 1: after the sync of the leader's write-ahead log, whatever the topic's level.
    Leader,
    /// -1, `all`: at the topic's level.
    All,
}

/// One batch to append.
#[derive(Debug)]
pub struct AppendRequest {
    /// A whole v2 record batch that passed `records::validate`.
    pub batch: Bytes,
    /// Its header.
    pub header: BatchHeader,
    /// When the ticket resolves.
    pub acks: Acks,
    /// Who wrote it.
    pub origin: Origin,
    /// The broker's wall clock.
    pub now: Timestamp,
}

/// A batch that has its place in the log; it is durable when the ticket says so.
#[derive(Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// With `message.timestamp.type=LogAppendTime` the timestamp all its records got.
    pub log_append_time: Option<Timestamp>,
    /// First offset that may be read.
    pub log_start: Offset,
    /// It was there already: nothing was appended, offsets and time are the original's.
    pub duplicate: bool,
    /// Resolves when the batch is as durable as `acks` asks for; for a duplicate too.
    pub ticket: AppendTicket,
}

/// A partition's marks, all of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    /// First offset that may be read. Retention moves it in metadata: [`Partition::refresh_log_start`] asks.
    pub log_start: Offset,
    /// The end of what has reached the topic's level: consumers see what lies below. Never moves back while the partition is open.
    pub high_watermark: Offset,
    /// What read-committed consumers see lies below.
    pub last_stable_offset: Offset,
    /// Next offset to be assigned.
    pub log_end: Offset,
    /// The end of what is published.
    pub published_end: Offset,
}

impl Offsets {
    /// Records below may be seen.
    pub fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }
}

/// One partition's log. Made by [`Partitions::open`](crate::Partitions::open).
pub struct Partition {
    pub(crate) id: TopicPartition,
    leader_epoch: LeaderEpoch,
    pub(crate) shared: Arc<Shared>,
    log: Mutex<Log>,
}

impl Partition {
    pub(crate) fn new(state: PartitionState, config: LogConfig, shared: Arc<Shared>) -> Arc<Self> {
        let (id, leader_epoch) = (state.partition, state.leader_epoch);
        let log = Mutex::new(Log::new(state, config, shared.clock.monotonic()));
        Arc::new(Self { id, leader_epoch, shared, log })
    }

    /// Which partition it is.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// The leader epoch in force. A newer one is another [`Partition`].
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The level that `acks=all` waits for and the high watermark follows: the stronger of the one in force and the configured one
    /// (rule R5).
    pub fn durability(&self) -> Durability {
        self.log.lock().durability.effective()
    }

    /// Takes over the levels of a newer cluster image. Until the first call the partition acts by the level that it was opened with.
    pub fn follow_durability(self: &Arc<Self>, levels: DurabilityLevels) {
        let uncounted = self.log.lock().follow_durability(levels);
        if let Some(last) = uncounted {
            self.shared.pending.catch_up(last.lsn, self, last.end());
            // The sync may have been told before the entry was queued.
            let synced = self.shared.wal.progress().borrow().synced;
            self.shared.pending.synced(synced);
        }
    }

    /// What is left to be done until the configured level is in force; `None` when it is.
    pub fn pending_durability(&self) -> Option<PendingDurability> {
        let log = self.log.lock();
        let (level, config_revision, log_end) = log.durability.pending()?;
        let unpublished = (log.published_end() < log_end).then(|| log.tail.get(log.tail.find(log_end + -1))).flatten();
        Some(PendingDurability {
            change: DurabilityChange { partition: self.id, level, config_revision, log_end },
            publish_below: unpublished.map(|entry| entry.lsn.next()),
        })
    }

    /// Appends a batch: on return its place in the log is fixed, and batches appended later come after it. Does not wait for any
    /// I/O.
    ///
    /// Idempotent batches are checked in Kafka's order. A repeat of one of the producer's last five batches is answered with the
    /// original's offsets, and its ticket resolves only when the original is durable: to answer earlier would acknowledge a record
    /// that a crash could still take.
    pub fn append(self: &Arc<Self>, request: AppendRequest) -> Result<Appended, AppendError> {
        let AppendRequest { batch, header, acks, origin, now } = request;
        refuse_kind(&header, origin)?;
        let limits = &self.shared.limits;
        let mut log = self.log.lock();
        self.writable(&log)?;
        let durability = log.durability.effective();
        let level = level(acks, durability);

        let sequenced = sequenced(&header);
        if let Some(sequenced) = sequenced {
            if let Some(original) = log.producers.check(sequenced)? {
                return self.answer_duplicate(&mut log, original, level);
            }
            let (expiration, monotonic) = (limits.producer_expiration, self.shared.clock.monotonic());
            if !log.producers.make_room_for(sequenced.producer, limits.producers_per_partition, expiration, monotonic) {
                return Err(AppendError::TooManyProducers { limit: limits.producers_per_partition });
            }
        }
        if !log.has_room_to_wait(level, limits.waiting_per_partition) {
            return Err(AppendError::TooManyWaiting { limit: limits.waiting_per_partition });
        }
        let (base_offset, last_offset) = assign_offsets(&log, &header)?;
        self.shared.indexed.reserve()?;

        let log_append_time = log.config.log_append_time(now);
        let batch = records::stamp(batch, base_offset, self.leader_epoch, log_append_time);
        let indexed = TailEntry {
            base: base_offset,
            lsn: Lsn::ZERO,
            max_timestamp: log_append_time.unwrap_or(header.max_timestamp),
            append_time: now,
            last_offset_delta: header.last_offset_delta,
            bytes: u32::try_from(batch.len()).expect("a batch's length is 31 bits in its header"),
        };
        let kind = EntryKind::Batch { partition: self.id, origin, leader_epoch: self.leader_epoch, base_offset, last_offset };
        let entry = Entry { kind, append_time: now, batch };
        let counts_sync = durability == Durability::Wal || level == Level::LeaderSynced;
        let lsn = match self.append_to_wal(entry, urgency(acks, durability, &log), counts_sync, indexed.end()) {
            Ok(lsn) => lsn,
            Err(error) => {
                self.shared.indexed.release(1);
                return Err(error.into());
            }
        };

        // From here on nothing can fail: the entry has its place, and with it the producer's sequence.
        log.appended(self.leader_epoch, TailEntry { lsn, ..indexed });
        if let Some(sequenced) = sequenced {
            let appended = ProducerBatch {
                first_sequence: sequenced.first,
                last_sequence: sequenced.last,
                base_offset,
                last_offset,
                append_time: now,
            };
            log.producers.appended(sequenced, appended, self.shared.clock.monotonic());
        }
        let ticket = match level {
            Level::Nothing => AppendTicket::written(self.shared.wal.progress(), lsn),
            level => log.wait(level, indexed.end()),
        };
        Ok(Appended { base_offset, last_offset, log_append_time, log_start: log.log_start, duplicate: false, ticket })
    }

    /// Where the log stands.
    pub fn offsets(&self) -> Offsets {
        offsets(&self.log.lock())
    }

    /// Wakes `watch` at the next change of the high watermark or log start, or when the partition is closed. An append that nobody
    /// else waits for is synced at once while somebody watches (rule R24).
    pub fn register(&self, watch: &ProgressWatch) {
        self.log.lock().watchers.register(watch);
    }

    /// Where `epoch` ends (OffsetForLeaderEpoch): the largest epoch at or below it and the offset after that one's last batch.
    /// `None` for an epoch that is not known yet.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Result<Option<EpochEnd>, ReadError> {
        let log = self.readable()?;
        Ok(log.epochs.end_of(epoch, self.leader_epoch, log.end))
    }

    /// The marks for whoever may read; fails like a read.
    pub fn readable_offsets(&self) -> Result<Offsets, ReadError> {
        Ok(offsets(&*self.readable()?))
    }

    /// The log, if it may be read. While the broker recovers nobody knows where the log ends, so that no offset can be called out of
    /// range (rule R17).
    pub(crate) fn readable(&self) -> Result<MutexGuard<'_, Log>, ReadError> {
        let log = self.log.lock();
        match log.service {
            Service::Closed(reason) => Err(ReadError::Closed { partition: self.id, reason }),
            Service::Open | Service::Halted { .. } if self.shared.is_recovering() => Err(ReadError::Recovering { partition: self.id }),
            Service::Open | Service::Halted { .. } => Ok(log),
        }
    }

    fn writable(&self, log: &Log) -> Result<(), AppendError> {
        match log.service {
            Service::Closed(reason) => Err(AppendError::Closed { partition: self.id, reason }),
            Service::Halted { published, found } => Err(self.halted(published, found)),
            Service::Open if self.shared.is_recovering() => Err(AppendError::Recovering { partition: self.id }),
            Service::Open => Ok(()),
        }
    }

    fn halted(&self, published: Offset, found: Offset) -> AppendError {
        AppendError::Halted { partition: self.id, published, found }
    }

    /// `counts_sync`: the sync moves something or answers somebody. Else the entry need not be queued.
    fn append_to_wal(self: &Arc<Self>, entry: Entry, urgency: Urgency, counts_sync: bool, end: Offset) -> Result<Lsn, wal::WalError> {
        if counts_sync {
            self.shared.pending.append(self.shared.wal.as_ref(), entry, urgency, self, end)
        } else {
            self.shared.wal.append(entry, urgency)
        }
    }

    fn answer_duplicate(&self, log: &mut Log, original: ProducerBatch, level: Level) -> Result<Appended, AppendError> {
        let limit = self.shared.limits.waiting_per_partition;
        if !log.has_room_to_wait(level, limit) {
            return Err(AppendError::TooManyWaiting { limit });
        }
        Ok(Appended {
            base_offset: original.base_offset,
            last_offset: original.last_offset,
            log_append_time: log.config.log_append_time(original.append_time),
            log_start: log.log_start,
            duplicate: true,
            ticket: log.wait(level, original.last_offset + 1),
        })
    }

    /// Takes up an entry that was read back from the write-ahead log. False if its offsets do not follow the log: they belong to
    /// somebody else by now.
    pub(crate) fn recover(&self, lsn: Lsn, leader_epoch: LeaderEpoch, header: &BatchHeader, entry: &Entry) -> bool {
        let mut log = self.log.lock();
        let base = header.base_offset;
        if matches!(log.service, Service::Closed(_)) || base < log.end || self.leader_epoch < leader_epoch {
            return false;
        }
        let indexed = TailEntry {
            base,
            lsn,
            max_timestamp: header.max_timestamp,
            append_time: entry.append_time,
            last_offset_delta: header.last_offset_delta,
            bytes: u32::try_from(entry.batch.len()).expect("a batch's length is 31 bits in its header"),
        };
        if let Some(sequenced) = sequenced(header) {
            let appended = ProducerBatch {
                first_sequence: sequenced.first,
                last_sequence: sequenced.last,
                base_offset: base,
                last_offset: indexed.last(),
                append_time: entry.append_time,
            };
            log.producers.recovered(sequenced, appended);
        }
        log.recovered(leader_epoch, indexed);
        self.shared.indexed.count(1);
        true
    }

    pub(crate) fn synced_to(&self, end: Offset) {
        self.log.lock().synced_to(end);
    }

    pub(crate) fn published_to(&self, end: Offset) {
        let mut log = self.log.lock();
        log.published_to(end);
        // Published batches can be read from their objects: when the index is full, room for new ones comes first.
        if self.shared.indexed.is_crowded() {
            let published_end = log.published_end();
            let forgotten = log.tail.prune(Lsn(u64::MAX), published_end);
            self.shared.indexed.release(forgotten);
        }
    }

    pub(crate) fn halt(&self, published: Offset, found: Offset) {
        self.log.lock().halt(published, found, &self.halted(published, found));
    }

    pub(crate) fn log_stopped(&self, synced: Lsn, error: &AppendError) {
        self.log.lock().log_stopped(synced, error);
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        let mut log = self.log.lock();
        log.close(reason, &AppendError::Closed { partition: self.id, reason });
        self.shared.indexed.release(log.tail.len());
        log.tail = crate::tail::Tail::default();
    }

    pub(crate) fn update_config(&self, config: LogConfig) {
        self.log.lock().config = config;
    }

    /// The write-ahead log begins at `start` now.
    pub(crate) fn prune(&self, start: Lsn) {
        let mut log = self.log.lock();
        let published_end = log.published_end();
        let forgotten = log.tail.prune(start, published_end);
        self.shared.indexed.release(forgotten);
    }

    pub(crate) fn expire_producers(&self) {
        let (expiration, now) = (self.shared.limits.producer_expiration, self.shared.clock.monotonic());
        self.log.lock().producers.expire(expiration, now);
    }

    pub(crate) fn advance_log_start(&self, log_start: Offset) {
        self.log.lock().advance_log_start(log_start);
    }

    /// The idempotent producers that are remembered, by id.
    pub fn producers(&self) -> Vec<(ProducerId, ProducerWindow)> {
        self.log.lock().producers.windows().iter().map(|(producer, window)| (producer, window.clone())).collect()
    }

    /// What lies in the write-ahead log only. Bytes that are indexed and published do not count.
    pub fn usage(&self) -> PartitionUsage {
        let log = self.log.lock();
        let oldest = log.tail.get(log.tail.find(log.published_end()));
        PartitionUsage {
            partition: self.id,
            unoffloaded_bytes: log.tail.unpublished_bytes(),
            oldest_append: oldest.map(|entry| entry.append_time),
            producers: log.producers.len(),
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.shared.indexed.release(self.log.get_mut().tail.len());
    }
}

pub(crate) fn offsets(log: &Log) -> Offsets {
    Offsets {
        log_start: log.log_start,
        high_watermark: log.high_watermark(),
        last_stable_offset: log.last_stable_offset(),
        log_end: log.end,
        published_end: log.published_end(),
    }
}

fn level(acks: Acks, durability: Durability) -> Level {
    match (acks, durability) {
        (Acks::None, _) => Level::Nothing,
        (Acks::Leader, _) => Level::LeaderSynced,
        (Acks::All, Durability::Wal) => Level::Synced,
        (Acks::All, Durability::Object) => Level::Published,
    }
}

/// Who waits for the log because of an append: its producer, a consumer at the high watermark, and on an `object` topic always
/// somebody, because nothing is visible before its upload.
fn urgency(acks: Acks, durability: Durability, log: &Log) -> Urgency {
    match (durability, acks) {
        (Durability::Wal, Acks::None) if !log.watchers.any() => Urgency::Lazy,
        (Durability::Wal, Acks::None | Acks::Leader | Acks::All) => Urgency::Sync,
        (Durability::Object, Acks::Leader) => Urgency::SyncAndUpload,
        (Durability::Object, Acks::None | Acks::All) => Urgency::Upload,
    }
}

fn refuse_kind(header: &BatchHeader, origin: Origin) -> Result<(), AppendError> {
    if header.control && origin == Origin::Client {
        return Err(AppendError::ControlFromClient);
    }
    if header.transactional && origin == Origin::Client {
        return Err(AppendError::InvalidTransactionState { producer: header.producer_id });
    }
    Ok(())
}

fn sequenced(header: &BatchHeader) -> Option<Sequenced> {
    let sequenced = header.has_producer() && !header.control;
    sequenced.then(|| Sequenced {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        first: header.base_sequence,
        last: header.last_sequence(),
    })
}

fn assign_offsets(log: &Log, header: &BatchHeader) -> Result<(Offset, Offset), AppendError> {
    let (base, published) = (log.end, log.published_end());
    let last = base + i64::from(header.last_offset_delta);
    if MAX_AHEAD_OF_PUBLISHED <= last - published {
        return Err(AppendError::TooFarAhead { last, published, limit: MAX_AHEAD_OF_PUBLISHED });
    }
    Ok((base, last))
}
