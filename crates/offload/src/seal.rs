//! Sealing: which entries become the next range, and what is published of each partition in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use metadata_api::{ClusterImage, PartitionState, ProducerDelta, Run};
use records::BatchHeader;
use tokio::sync::watch;
use types::{
    LeaderEpoch, Lsn, Offset, ProducerBatch, ProducerEpoch, ProducerId, ProducerWindow, ProducerWindows, PublishSequence, Timestamp,
    TopicId, TopicPartition,
};
use wal::{Entry, EntryKind, WriteAheadLog};

use crate::OffloadError;
use crate::handle::Change;

/// Batch bytes asked of the log at once while a range is gathered.
const SCAN_BYTES: u64 = 8 << 20;

/// A segment carries the windows of all producers, not only of those it touched, at least this often per partition: whoever rebuilds
/// producer state from objects reads at most this many footers.
const FULL_STATE_EVERY: u32 = 64;

/// A closed range of the log.
#[derive(Debug)]
pub(crate) struct SealedRange {
    pub(crate) sequence: PublishSequence,
    /// First LSN.
    pub(crate) first: Lsn,
    /// After the last LSN.
    pub(crate) end: Lsn,
    pub(crate) batches: u64,
    /// Batch bytes, those left out included.
    pub(crate) bytes: u64,
    /// Batch bytes by topic, those left out included.
    pub(crate) topics: BTreeMap<TopicId, u64>,
    /// When the first and the last batch were appended.
    pub(crate) append_times: Option<(Timestamp, Timestamp)>,
    /// By partition, sorted.
    pub(crate) partitions: BTreeMap<TopicPartition, SealedPartition>,
    /// Offsets of partitions whose topic was deleted: left out.
    pub(crate) gone: BTreeMap<TopicPartition, (Offset, Offset)>,
}

/// One partition's batches in a range: a segment.
#[derive(Debug)]
pub(crate) struct SealedPartition {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) runs: Vec<Run>,
    /// `base` lies above the end of what was sealed before, because a leader epoch began there after an unclean election.
    pub(crate) gap: bool,
    /// Producers that appended here, with their windows as of `end`.
    pub(crate) touched: Vec<ProducerDelta>,
    /// Windows of all producers as of `end`, where the segment carries them.
    pub(crate) full: Option<Vec<(ProducerId, ProducerWindow)>>,
    /// Base offset of the newest segment with all windows, this one included.
    pub(crate) state_from: Offset,
    producers: BTreeSet<ProducerId>,
}

/// One partition as of the sealed end.
struct PartitionLog {
    next: Offset,
    /// Of the last sealed batch.
    leader_epoch: Option<LeaderEpoch>,
    producers: ProducerWindows,
    /// Base offset of the newest segment with all windows, and the number of segments since.
    full_state: Option<(Offset, u32)>,
}

impl PartitionLog {
    fn new() -> Self {
        Self { next: Offset::ZERO, leader_epoch: None, producers: ProducerWindows::default(), full_state: None }
    }

    fn of(state: &PartitionState) -> Self {
        Self {
            next: state.next_offset,
            leader_epoch: state.epochs.last().map(|start| start.epoch),
            producers: state.producers.clone(),
            full_state: None,
        }
    }
}

/// Cuts the log into ranges, and keeps of every partition what the next range must continue.
pub(crate) struct Sealer {
    wal: Arc<dyn WriteAheadLog>,
    images: watch::Receiver<Arc<ClusterImage>>,
    /// As of the last range; what it has and the newest lacks was deleted in between.
    image: Arc<ClusterImage>,
    /// Deleted topics, with the LSN up to which entries are expected. Later ones are refused by the metadata service.
    deleted: HashMap<TopicId, Lsn>,
    partitions: HashMap<TopicPartition, PartitionLog>,
    producer_expiration: Duration,
    end: Lsn,
    next_sequence: PublishSequence,
}

/// Whether an entry belongs to the range at hand.
enum Fits {
    Yes,
    /// The range ends before it.
    Cut,
}

impl Sealer {
    /// Begins at `start`, the first LSN that is not published, with every partition as it is published.
    pub(crate) fn new(
        wal: Arc<dyn WriteAheadLog>,
        images: watch::Receiver<Arc<ClusterImage>>,
        partitions: &[PartitionState],
        producer_expiration: Duration,
        start: Lsn,
    ) -> Self {
        let image = Arc::clone(&images.borrow());
        Self {
            wal,
            images,
            image,
            deleted: HashMap::new(),
            partitions: partitions.iter().map(|state| (state.partition, PartitionLog::of(state))).collect(),
            producer_expiration,
            end: start,
            next_sequence: PublishSequence(1),
        }
    }

    /// Takes up what was learnt since the last range.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Open(state) => {
                self.partitions.insert(state.partition, PartitionLog::of(&state));
            }
            Change::Forget(partition) => {
                self.partitions.remove(&partition);
            }
        }
    }

    /// Closes the range that begins where the last one ended, ends at or before `below`, and holds at most `limit` bytes, but at
    /// least one batch. It also ends where a partition's offsets do not continue, since a segment has none but its own offsets.
    /// Blocks on reads of the log.
    pub(crate) fn seal(&mut self, below: Lsn, limit: u64) -> Result<SealedRange, OffloadError> {
        self.notice_deletions(below);
        let mut range = SealedRange {
            sequence: self.next_sequence,
            first: self.end,
            end: self.end,
            batches: 0,
            bytes: 0,
            topics: BTreeMap::new(),
            append_times: None,
            partitions: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        'gather: while range.end < below {
            let wanted = limit.saturating_sub(range.bytes).clamp(1, SCAN_BYTES);
            let entries = self.wal.scan(range.end, below, usize::try_from(wanted).unwrap_or(usize::MAX))?;
            if entries.is_empty() {
                return Err(OffloadError::Damaged { lsn: range.end, detail: format!("no entry is there or above, below {below}") });
            }
            for (lsn, entry) in entries {
                check_dense(range.end, lsn, &entry)?;
                if let Fits::Cut = self.add(&mut range, lsn, entry, limit)? {
                    break 'gather;
                }
                range.end = lsn.next();
            }
        }
        self.finish(&mut range);
        Ok(range)
    }

    fn notice_deletions(&mut self, below: Lsn) {
        let newest = Arc::clone(&self.images.borrow());
        // An older image lacks what was created since: that is no deletion (trap T10).
        if newest.revision <= self.image.revision {
            return;
        }
        for topic in self.image.topics.keys().filter(|topic| !newest.topics.contains_key(topic)) {
            self.deleted.insert(*topic, below);
        }
        let deleted = &self.deleted;
        self.partitions.retain(|partition, _| !deleted.contains_key(&partition.topic));
        self.image = newest;
    }

    fn add(&mut self, range: &mut SealedRange, lsn: Lsn, entry: Arc<Entry>, limit: u64) -> Result<Fits, OffloadError> {
        let EntryKind::Batch { partition, leader_epoch, base_offset: base, last_offset, .. } = entry.kind else { return Ok(Fits::Yes) };
        let bytes = entry.batch.len() as u64;
        if range.batches > 0 && limit < range.bytes + bytes {
            return Ok(Fits::Cut);
        }
        let end = last_offset + 1;
        if end <= base {
            return Err(OffloadError::Damaged { lsn, detail: format!("batch of {partition} with offsets {base} to {last_offset}") });
        }
        if self.deleted.contains_key(&partition.topic) {
            let gone = range.gone.entry(partition).or_insert((base, end));
            gone.1 = gone.1.max(end);
        } else {
            let part = match range.partitions.get_mut(&partition) {
                Some(part) if part.end != base || part.runs.last().is_some_and(|run| leader_epoch < run.leader_epoch) => {
                    return Ok(Fits::Cut);
                }
                Some(part) => part,
                None => {
                    let part = SealedPartition::begin(base, leader_epoch, self.partitions.get(&partition));
                    range.partitions.entry(partition).or_insert(part)
                }
            };
            let log = self.partitions.entry(partition).or_insert_with(PartitionLog::new);
            if let Some((producer, epoch, batch)) = producer_batch(&entry).map_err(|detail| OffloadError::Damaged { lsn, detail })? {
                log.producers.observe(producer, epoch, batch);
                part.producers.insert(producer);
            }
            log.next = end;
            log.leader_epoch = Some(leader_epoch);
            part.extend(leader_epoch, end, &entry);
        }
        range.batches += 1;
        range.bytes += bytes;
        *range.topics.entry(partition.topic).or_default() += bytes;
        let first = range.append_times.map_or(entry.append_time, |(first, _)| first);
        range.append_times = Some((first, entry.append_time));
        Ok(Fits::Yes)
    }

    /// Adds the producers' windows as of the end of each segment, and moves on.
    fn finish(&mut self, range: &mut SealedRange) {
        for (partition, part) in &mut range.partitions {
            let log = self.partitions.get_mut(partition).expect("every partition of the range was entered with its first batch");
            let window = |producer: &ProducerId| {
                let window = log.producers.get(*producer).expect("a producer of the range was observed").clone();
                ProducerDelta { producer: *producer, window }
            };
            part.touched = part.producers.iter().map(window).collect();
            match &mut log.full_state {
                Some((from, segments)) if *segments < FULL_STATE_EVERY => {
                    *segments += 1;
                    part.state_from = *from;
                }
                full_state => {
                    *full_state = Some((part.base, 1));
                    part.state_from = part.base;
                    // By the times of the log, not by the clock: a clock that jumps must not make anybody forgotten.
                    let newest = part.entries.last().map_or(Timestamp::NONE, |entry| entry.append_time);
                    let expiration = i64::try_from(self.producer_expiration.as_millis()).unwrap_or(i64::MAX);
                    log.producers.expire(Timestamp(newest.0.saturating_sub(expiration)));
                    part.full = Some(log.producers.iter().map(|(producer, window)| (producer, window.clone())).collect());
                }
            }
        }
        self.end = range.end;
        self.next_sequence = PublishSequence(self.next_sequence.0 + 1);
        self.deleted.retain(|_, until| range.end < *until);
    }
}

impl SealedPartition {
    fn begin(base: Offset, leader_epoch: LeaderEpoch, log: Option<&PartitionLog>) -> Self {
        Self {
            base,
            end: base,
            entries: Vec::new(),
            runs: Vec::new(),
            // Any other hole is not marked, so that the metadata service refuses it instead of recording it.
            gap: log.is_some_and(|log| base == log.next + Offset::UNCLEAN_GAP && log.leader_epoch < Some(leader_epoch)),
            touched: Vec::new(),
            full: None,
            state_from: base,
            producers: BTreeSet::new(),
        }
    }

    fn extend(&mut self, leader_epoch: LeaderEpoch, end: Offset, entry: &Arc<Entry>) {
        match self.runs.last_mut() {
            Some(run) if run.leader_epoch == leader_epoch => run.end = end,
            _ => self.runs.push(Run { leader_epoch, base: self.end, end }),
        }
        self.end = end;
        self.entries.push(Arc::clone(entry));
    }
}

/// The next entry has the next LSN, except where a broker epoch begins: what an older epoch may have published from memory and then
/// lost is jumped over there (rule R2). Any other jump is a hole.
pub(crate) fn check_dense(expected: Lsn, found: Lsn, entry: &Entry) -> Result<(), OffloadError> {
    let dense = match &entry.kind {
        EntryKind::Batch { .. } => found == expected,
        EntryKind::EpochStart(start) => found == expected || (expected < found && start.previous_end <= expected),
    };
    if dense { Ok(()) } else { Err(OffloadError::Damaged { lsn: expected, detail: format!("the next entry is {found}") }) }
}

/// What a batch of an idempotent producer adds to its window. Fails with the reason where entry and batch contradict each other: one
/// of the two is what was acknowledged, and publishing would choose blindly.
fn producer_batch(entry: &Entry) -> Result<Option<(ProducerId, ProducerEpoch, ProducerBatch)>, String> {
    let EntryKind::Batch { partition, leader_epoch, base_offset, last_offset, .. } = entry.kind else { return Ok(None) };
    let header = BatchHeader::parse(&entry.batch).map_err(|error| format!("batch of {partition}: {error}"))?;
    let stamped = (header.base_offset, header.last_offset(), header.leader_epoch, header.bytes);
    let logged = (base_offset, last_offset, leader_epoch, entry.batch.len());
    if stamped != logged {
        return Err(format!("batch of {partition} says {stamped:?}, its entry {logged:?}"));
    }
    if !header.has_producer() || header.base_sequence < 0 {
        return Ok(None);
    }
    let batch = ProducerBatch {
        first_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        base_offset,
        last_offset,
        append_time: entry.append_time,
    };
    Ok(Some((header.producer_id, header.producer_epoch, batch)))
}
