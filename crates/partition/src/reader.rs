//! Executes read plans: batches from memory or disk of the write-ahead log, else from segment objects, as slices and never
//! re-encoded. A read that finds its plan overtaken, because an entry was trimmed or an object replaced, plans again.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use metadata_api::MetadataError;
use records::{Batch, BatchBuilder, Codec};
use store::{ReadClass, StoreError};
use tokio::time::{Instant, timeout_at};
use types::{ObjectKey, Offset, SegmentRef, Timestamp};
use wal::{EntryKind, ReadFrom};

use crate::in_order::{LeftOff, place_of};
use crate::read_plan::{Place, TailRead, View, locate, read_class, tail_reads};
use crate::segments::{SegmentRead, SegmentRequest};
use crate::{Offsets, Partition, ReadError};

/// Which records a consumer may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// What to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadRequest {
    /// The first offset wanted. Inside a batch the whole batch is answered, inside a gap the next one.
    pub offset: Offset,
    /// Batches are added while they fit.
    pub max_bytes: usize,
    /// The first batch is answered even if it alone is larger than `max_bytes`: else a consumer would never get past it.
    pub at_least_one: bool,
    /// What may be seen.
    pub isolation: Isolation,
    /// On whose budget objects are read. What was appended within the last minute is read on the tail's, whoever reads history.
    pub class: ReadClass,
    /// From then on nothing more is waited for, once there is a batch to answer. `None`: however long it takes.
    pub answer_by: Option<Instant>,
}

/// Bytes of an answer by where they came from, counted when they arrived and not when they were planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadSources {
    /// Memory of the write-ahead log.
    pub memory: u64,
    /// Disk of the write-ahead log.
    pub wal: u64,
    /// The read cache.
    pub cache: u64,
    /// The store.
    pub store: u64,
}

/// Batches of a partition and its marks at the moment of the last of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadResult {
    /// Whole batches in offset order, each as appended.
    pub batches: Vec<Bytes>,
    /// Sum of their lengths.
    pub bytes: usize,
    /// Where to read on: after the last batch, and after a gap that follows it as far as that is known.
    pub next_offset: Offset,
    /// The partition's marks.
    pub offsets: Offsets,
    /// Where the bytes came from.
    pub sources: ReadSources,
}

/// Segments of one answer that are fetched at the same time: after short upload intervals they are small.
const SEGMENTS_AT_ONCE: usize = 8;
/// For less room than this another segment is not asked for.
const LEAST_ROOM: u64 = 64 << 10;
/// How often one read plans again before it gives up; each round either adds batches or follows a change of place.
const MAX_ROUNDS: usize = 64;

/// What to do next, decided under the partition's lock.
enum Step {
    Tail(Vec<TailRead>),
    Segments { tail_begins: Option<Offset> },
    Enough,
    OutOfRange,
}

struct Answer {
    request: ReadRequest,
    next: Offset,
    batches: Vec<Bytes>,
    bytes: usize,
    sources: ReadSources,
    /// Whether somebody was answered up to the offset that is asked for.
    is_in_order: bool,
    /// Where `next` is, once a segment was read.
    left_off: Option<LeftOff>,
    /// The object, and the place in it, that a fresh list named and that was not there.
    missing: Option<(ObjectKey, u64)>,
}

impl Answer {
    fn room(&self) -> usize {
        self.request.max_bytes.saturating_sub(self.bytes)
    }

    /// Whether a batch must be answered whatever its size.
    fn owes_one(&self) -> bool {
        self.request.at_least_one && self.batches.is_empty()
    }

    /// Adds a batch if it fits.
    fn add(&mut self, batch: Bytes, next: Offset) -> bool {
        if self.room() < batch.len() && !self.owes_one() {
            return false;
        }
        self.bytes += batch.len();
        self.batches.push(batch);
        self.next = next;
        true
    }

    /// Waits for something that may become part of the answer; `None` where the answer goes out without it.
    async fn in_time<F: Future>(&self, awaited: F) -> Option<F::Output> {
        match self.request.answer_by.filter(|_| !self.batches.is_empty()) {
            Some(at) => timeout_at(at, awaited).await.ok(),
            None => Some(awaited.await),
        }
    }

    fn finish(self, offsets: Offsets) -> ReadResult {
        let Self { batches, bytes, next, sources, .. } = self;
        ReadResult { batches, bytes, next_offset: next, offsets, sources }
    }
}

impl Partition {
    /// Reads batches from `request.offset` on, none above the high watermark or last stable offset. Empty at the end of what may be
    /// seen: waiting for more is the caller's, by [`Partition::register`].
    ///
    /// May be dropped at any time. What was asked of the store arrives in the read cache all the same, so that the next try finds it
    /// there however slow the store is.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        let (next, sources, left_off) = (request.offset, ReadSources::default(), self.shared.segments.left_off(self.id, request.offset));
        let is_in_order = left_off.is_some();
        let mut answer = Answer { request, next, batches: Vec::new(), bytes: 0, sources, is_in_order, left_off, missing: None };
        for _ in 0..MAX_ROUNDS {
            let (step, offsets) = self.plan(&answer)?;
            let goes_on = match step {
                Step::Tail(reads) => self.read_tail(&mut answer, &reads)?,
                Step::Segments { tail_begins } => self.read_segments(&mut answer, tail_begins, &offsets).await?,
                Step::OutOfRange if answer.batches.is_empty() => return Err(out_of_range(request.offset, &offsets)),
                Step::Enough | Step::OutOfRange => false,
            };
            if !goes_on {
                self.leave_off(&answer);
                self.fill_gap(&mut answer)?;
                return Ok(answer.finish(self.readable_offsets()?));
            }
        }
        if answer.batches.is_empty() {
            return Err(ReadError::Unsettled { partition: self.id, offset: answer.next, attempts: MAX_ROUNDS });
        }
        Ok(answer.finish(self.readable_offsets()?))
    }

    /// Whether a read from `offset` on begins in segments: the write-ahead log does not hold it any more.
    pub fn is_in_segments(&self, offset: Offset, isolation: Isolation) -> bool {
        self.readable().is_ok_and(|log| {
            let view = View::new(&crate::partition::offsets(&log), isolation, &log.tail);
            locate(offset, &view) == Place::InSegment
        })
    }

    /// The reader is expected to come back for what follows.
    fn leave_off(&self, answer: &Answer) {
        if let Some(left_off) = answer.left_off.filter(|_| !answer.batches.is_empty()) {
            self.shared.segments.leave_off(self.id, answer.next, left_off);
        }
    }

    /// The view of the write-ahead log is taken here, before any segment is looked up: what is trimmed afterwards is published, and
    /// found there (rule R23).
    fn plan(&self, answer: &Answer) -> Result<(Step, Offsets), ReadError> {
        let log = self.readable()?;
        let offsets = crate::partition::offsets(&log);
        let view = View::new(&offsets, answer.request.isolation, &log.tail);
        let step = match locate(answer.next, &view) {
            Place::OutOfRange => Step::OutOfRange,
            Place::AtEnd => Step::Enough,
            Place::InWal { index } => {
                let reads = tail_reads(&view, index, answer.room(), answer.owes_one());
                if reads.is_empty() { Step::Enough } else { Step::Tail(reads) }
            }
            Place::InSegment => Step::Segments { tail_begins: log.tail.first() },
        };
        Ok((step, offsets))
    }

    /// Adds the planned entries; true if there may be more.
    fn read_tail(&self, answer: &mut Answer, reads: &[TailRead]) -> Result<bool, ReadError> {
        for read in reads {
            let Some((batch, from)) = self.read_entry(read)? else { return Ok(true) };
            let bytes = batch.len() as u64;
            if !answer.add(batch, read.end) {
                return Ok(false);
            }
            answer.left_off = None;
            match from {
                ReadFrom::Memory => answer.sources.memory += bytes,
                ReadFrom::Disk => answer.sources.wal += bytes,
            }
        }
        Ok(true)
    }

    /// An entry's batch; `None` if the entry was published and trimmed since it was looked up.
    pub(crate) fn read_entry(&self, read: &TailRead) -> Result<Option<(Bytes, ReadFrom)>, ReadError> {
        let found = self.shared.wal.read(read.lsn).map_err(|source| ReadError::Log { partition: self.id, source })?;
        let Some((entry, from)) = found else {
            self.forget_trimmed(read)?;
            return Ok(None);
        };
        match entry.kind {
            EntryKind::Batch { partition, base_offset, .. } if partition == self.id && base_offset == read.base => {
                Ok(Some((entry.batch.clone(), from)))
            }
            ref other => {
                let detail = format!("entry {} should hold offset {}, it holds {other:?}", read.lsn, read.base);
                Err(ReadError::Damaged { partition: self.id, detail })
            }
        }
    }

    /// An entry left the write-ahead log between plan and read. That is legal for a published one only.
    fn forget_trimmed(&self, read: &TailRead) -> Result<(), ReadError> {
        self.prune(read.lsn.next());
        let published_end = self.readable()?.published_end();
        if read.end <= published_end {
            return Ok(());
        }
        let detail = format!("offset {} is not published and its entry {} is gone from the write-ahead log", read.base, read.lsn);
        Err(ReadError::Damaged { partition: self.id, detail })
    }

    /// Adds batches of the next few segments; true if there may be more.
    async fn read_segments(&self, answer: &mut Answer, tail_begins: Option<Offset>, offsets: &Offsets) -> Result<bool, ReadError> {
        let Some(page) = answer.in_time(self.shared.segments.page(self.id, answer.next)).await else { return Ok(false) };
        let page = page?;
        self.advance_log_start(page.log_start);
        if answer.next < page.log_start {
            return Ok(true);
        }
        let (wanted, following) = choose(&page.segments, answer, tail_begins);
        if wanted.is_empty() {
            return self.skip_gap(answer, page.next_offset);
        }
        let (segments, clock) = (&self.shared.segments, &self.shared.clock);
        let (pace, now) = (segments.pace(self.id, clock.monotonic()), Timestamp(clock.wall_ms()));
        let mut requests: Vec<SegmentRequest<'_>> = Vec::with_capacity(wanted.len());
        for Wanted { segment, start, room } in wanted {
            let class = read_class(answer.request.class, segment.append_times.1, now);
            let at_least_one = requests.is_empty() && answer.owes_one();
            let offset = answer.next.max(segment.base);
            let pace = pace.without_read_ahead();
            requests.push(SegmentRequest { segment, offset, start, room, at_least_one, class, pace, following: &[] });
        }
        if let Some(last) = requests.last_mut().filter(|_| answer.is_in_order) {
            (last.pace, last.following) = (pace, following);
        }
        let wanted: Vec<&SegmentRef> = requests.iter().map(|request| request.segment).collect();
        let mut reads: FuturesOrdered<_> = requests.into_iter().map(|request| segments.read(self.id, request)).collect();
        let visible_end = offsets.visible_end(answer.request.isolation);
        for segment in wanted {
            // One for each segment; those that are left behind arrive in the read cache.
            let Some(Some(read)) = answer.in_time(reads.next()).await else { return Ok(false) };
            match read {
                Ok(read) => {
                    if !add_segment(answer, segment, read, visible_end) {
                        return Ok(false);
                    }
                }
                Err(error) => return self.segment_failed(answer, segment, error, page.kept),
            }
        }
        Ok(answer.room() > 0)
    }

    /// No segment answers for the offset or any above it: a gap reaches to the published end. If metadata's view ends below the offset,
    /// it is older than the publish we know of, and must not be taken for a gap.
    fn skip_gap(&self, answer: &mut Answer, published_end: Offset) -> Result<bool, ReadError> {
        if published_end <= answer.next {
            let detail = format!("its view of partition {} ends at {published_end}, below offset {}", self.id, answer.next);
            return Err(ReadError::Lookup { partition: self.id, source: MetadataError::Unavailable { detail } });
        }
        answer.next = published_end;
        Ok(true)
    }

    /// The offsets that were asked for lie in a gap that nothing follows yet, as an unclean election leaves it at the log's end. Batches
    /// without records, as compaction leaves them in Kafka, take the reader over it: who reads up to the end would never get there.
    fn fill_gap(&self, answer: &mut Answer) -> Result<(), ReadError> {
        let end = answer.next;
        if !answer.batches.is_empty() || end <= answer.request.offset {
            return Ok(());
        }
        answer.next = answer.request.offset;
        // Of the epoch that the gap belongs to: of an older one, the reader would be told that its position was truncated.
        let leader_epoch = self.readable()?.epochs.at(answer.next);
        while answer.next < end {
            let span = i32::try_from(end.0 - answer.next.0).unwrap_or(i32::MAX);
            let mut empty = BatchBuilder::new(Codec::None).base_offset(answer.next).leader_epoch(leader_epoch);
            empty.skip_offsets(span);
            let next = Offset(answer.next.0 + i64::from(span));
            if !answer.add(empty.build(), next) {
                break;
            }
        }
        Ok(())
    }

    /// What was read before the failure is answered. An object that is gone was replaced or retired since the list was made: a fresh
    /// list says by what. Only one that a fresh list names twice is lost.
    fn segment_failed(&self, answer: &mut Answer, segment: &SegmentRef, error: ReadError, list_was_kept: bool) -> Result<bool, ReadError> {
        let gone = matches!(error, ReadError::Store { source: StoreError::NotFound { .. }, .. });
        if matches!(error, ReadError::Damaged { .. }) {
            self.shared.damage.met(self.id, segment);
        }
        if gone {
            self.shared.segments.forget_page(self.id);
        }
        if !answer.batches.is_empty() {
            return Ok(false);
        }
        let place = Some((segment.object, segment.position));
        if gone {
            if list_was_kept || std::mem::replace(&mut answer.missing, place) != place {
                return Ok(true);
            }
            self.shared.damage.met(self.id, segment);
        }
        Err(error)
    }
}

pub(crate) fn out_of_range(offset: Offset, offsets: &Offsets) -> ReadError {
    let Offsets { log_start, high_watermark, log_end, .. } = *offsets;
    ReadError::OutOfRange { offset, log_start, high_watermark, log_end }
}

/// A segment to be read for an answer.
struct Wanted<'a> {
    segment: &'a SegmentRef,
    /// Where in its object the first offset wanted is, if that is known.
    start: Option<u64>,
    room: usize,
}

/// The segments to fetch for the rest of the answer, and those behind them: as many as fill it, but none whose records the write-ahead
/// log still has.
fn choose<'a>(segments: &'a [SegmentRef], answer: &Answer, tail_begins: Option<Offset>) -> (Vec<Wanted<'a>>, &'a [SegmentRef]) {
    let first = segments.partition_point(|segment| segment.end <= answer.next);
    let in_wal = |segment: &SegmentRef| tail_begins.is_some_and(|begins| begins <= segment.base);
    let published = segments[first..].iter().skip(1).position(in_wal).map_or(segments.len(), |count| first + 1 + count);
    let segments = &segments[first..published];
    let mut room = answer.room() as u64;
    let mut wanted: Vec<Wanted<'a>> = Vec::new();
    for segment in segments.iter().take(SEGMENTS_AT_ONCE) {
        if !wanted.is_empty() && room < LEAST_ROOM {
            break;
        }
        let left_off = answer.left_off.filter(|left_off| left_off.segment == place_of(segment)).map(|left_off| left_off.at);
        let start = left_off.or((answer.next <= segment.base).then_some(segment.position));
        wanted.push(Wanted { segment, start, room: usize::try_from(room).unwrap_or(usize::MAX) });
        // Of a segment that is begun somewhere within, as much is counted as if it was begun at its beginning.
        room = room.saturating_sub(segment.position + segment.bytes - start.unwrap_or(segment.position));
    }
    let following = &segments[wanted.len()..];
    (wanted, following)
}

/// Adds a segment's batches; false when the answer is full or the rest may not be seen.
fn add_segment(answer: &mut Answer, segment: &SegmentRef, read: SegmentRead, visible_end: Offset) -> bool {
    let SegmentRead { batches, start, next, mut cached } = read;
    let mut left_off = LeftOff { segment: place_of(segment), at: start };
    for Batch { header, bytes } in batches {
        let length = bytes.len() as u64;
        if visible_end < header.next_offset() || !answer.add(bytes, header.next_offset()) {
            return false;
        }
        left_off.at += length;
        answer.left_off = Some(left_off);
        let from_cache = length.min(cached);
        cached -= from_cache;
        answer.sources.cache += from_cache;
        answer.sources.store += length - from_cache;
    }
    answer.next = answer.next.max(next.offset);
    next.is_segment_end
}
