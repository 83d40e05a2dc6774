//! ListOffsets by time: the first record at or after a timestamp, and the record with the largest one. Segments are found by what
//! metadata knows of them; only the batch that holds the answer is opened.

use records::{Batch, DecodeError, Record, decode_records, first_at_or_after};
use store::{ReadClass, StoreError};
use types::{LeaderEpoch, Offset, SegmentRef, Timestamp};

use crate::read_plan::TailRead;
use crate::segments::{SegmentRead, SegmentRequest};
use crate::tail::TailEntry;
use crate::{Isolation, Offsets, Partition, ReadError};

/// A record found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// How much of a segment is fetched at once.
const CHUNK_BYTES: usize = 1 << 20;
/// A batch that decompresses to more is not opened: a lookup must not cost what a hostile producer likes.
const MAX_OPENED_BYTES: usize = 64 << 20;
/// How often a lookup follows batches that move to the store while it looks.
const MAX_ROUNDS: usize = 64;
/// How often it follows objects that are replaced. One that is missing for good is an error.
const MAX_MOVES: usize = 2;

/// What a lookup in the segments brought.
enum Search {
    Found(TimestampOffset),
    Nothing,
    /// An object was replaced since metadata named it; the read's error.
    Moved(ReadError),
}

impl Partition {
    /// The first record with `timestamp` or a later one, among those that may be seen. `None` when all are older.
    pub async fn offset_for_timestamp(&self, timestamp: Timestamp, isolation: Isolation) -> Result<Option<TimestampOffset>, ReadError> {
        let (mut from, mut moves) = (Offset::ZERO, 0);
        for _ in 0..MAX_ROUNDS {
            // The view of the write-ahead log before that of the segments: nothing is lost between them (rule R23).
            let (entry, marks) = self.first_unpublished(from, isolation, |entry| timestamp <= entry.max_timestamp)?;
            match self.search_segments(timestamp, &marks, marks.visible_end(isolation)).await? {
                Search::Found(found) => return Ok(Some(found)),
                Search::Moved(error) => {
                    self.moved(&mut moves, error)?;
                    continue;
                }
                Search::Nothing => {}
            }
            let Some(entry) = entry else { return Ok(None) };
            let Some(batch) = self.open_entry(&entry)? else { continue };
            if let Some(found) = self.search_batch(&batch, timestamp, marks.log_start)? {
                return Ok(Some(found));
            }
            // The header promised a record that is not there; go on behind it.
            from = entry.end();
        }
        Err(ReadError::Unsettled { partition: self.id, offset: from, attempts: MAX_ROUNDS })
    }

    /// The first record with the largest timestamp of all that may be seen (KIP-734). `None` in an empty log, and where no record
    /// has a timestamp.
    pub async fn offset_of_max_timestamp(&self, isolation: Isolation) -> Result<Option<TimestampOffset>, ReadError> {
        let mut moves = 0;
        for _ in 0..MAX_ROUNDS {
            let (entry, marks) = self.latest_unpublished(isolation)?;
            let in_log = entry.map_or(Timestamp::NONE, |entry| entry.max_timestamp);
            match self.search_latest(&marks, in_log).await? {
                Search::Found(found) => return Ok(Some(found)),
                Search::Moved(error) => {
                    self.moved(&mut moves, error)?;
                    continue;
                }
                Search::Nothing => {}
            }
            let Some(entry) = entry.filter(|_| Timestamp::NONE < in_log) else { return Ok(None) };
            let Some(batch) = self.open_entry(&entry)? else { continue };
            return self.search_batch(&batch, in_log, marks.log_start);
        }
        Err(ReadError::Unsettled { partition: self.id, offset: Offset::ZERO, attempts: MAX_ROUNDS })
    }

    /// The log start as metadata has it now: retention moves it there. Where metadata cannot be asked, as it was last heard.
    pub async fn refresh_log_start(&self) -> Result<Offset, ReadError> {
        let known = self.readable_offsets()?.log_start;
        match self.shared.segments.fresh_page(self.id, known).await {
            Ok(page) => self.advance_log_start(page.log_start),
            Err(error) => tracing::debug!(partition = %self.id, %error, "the log start could not be refreshed"),
        }
        Ok(self.readable_offsets()?.log_start)
    }

    fn first_unpublished(
        &self,
        from: Offset,
        isolation: Isolation,
        matches: impl Fn(&TailEntry) -> bool,
    ) -> Result<(Option<TailEntry>, Offsets), ReadError> {
        let log = self.readable()?;
        let marks = crate::partition::offsets(&log);
        let visible_end = marks.visible_end(isolation);
        let first = log.tail.find(from.max(marks.published_end));
        let mut visible = log.tail.iter_from(first).take_while(|entry| entry.end() <= visible_end);
        Ok((visible.find(|entry| matches(entry)).copied(), marks))
    }

    fn latest_unpublished(&self, isolation: Isolation) -> Result<(Option<TailEntry>, Offsets), ReadError> {
        let log = self.readable()?;
        let marks = crate::partition::offsets(&log);
        let visible_end = marks.visible_end(isolation);
        let visible = log.tail.iter_from(log.tail.find(marks.published_end)).take_while(|entry| entry.end() <= visible_end);
        // Of equal ones the first.
        let latest = visible.reduce(|latest, entry| if latest.max_timestamp < entry.max_timestamp { entry } else { latest });
        Ok((latest.copied(), marks))
    }

    /// An object was not there: look again, with a fresh list of segments, unless that was done.
    fn moved(&self, moves: &mut usize, error: ReadError) -> Result<(), ReadError> {
        *moves += 1;
        self.shared.segments.forget_page(self.id);
        if *moves <= MAX_MOVES { Ok(()) } else { Err(error) }
    }

    /// The entry's batch; `None` if it was published and trimmed meanwhile.
    fn open_entry(&self, entry: &TailEntry) -> Result<Option<Batch>, ReadError> {
        let read = TailRead { lsn: entry.lsn, base: entry.base, end: entry.end() };
        let Some((bytes, _)) = self.read_entry(&read)? else { return Ok(None) };
        let header = records::BatchHeader::parse(&bytes).map_err(|error| self.cannot_open(entry.base, &error.into()))?;
        Ok(Some(Batch { header, bytes }))
    }

    async fn search_segments(&self, timestamp: Timestamp, marks: &Offsets, visible_end: Offset) -> Result<Search, ReadError> {
        let page = self.shared.metadata.segment_at(self.id, timestamp).await;
        let page = page.map_err(|source| ReadError::Lookup { partition: self.id, source })?;
        self.advance_log_start(page.log_start);
        let log_start = marks.log_start.max(page.log_start);
        let Some(first) = page.segments.first() else { return Ok(Search::Nothing) };
        let mut from = log_start.max(first.base);
        let found = self.search_segment(first, timestamp, from).await;
        if let Some(search) = decided(found, visible_end)? {
            return Ok(search);
        }
        // The record that made metadata name this segment lies below the log start: the later ones, one by one.
        from = from.max(first.end);
        loop {
            let page = self.shared.segments.page(self.id, from).await?;
            for segment in page.segments.iter().filter(|segment| from < segment.end && timestamp <= segment.max_timestamp) {
                let found = self.search_segment(segment, timestamp, log_start).await;
                if let Some(search) = decided(found, visible_end)? {
                    return Ok(search);
                }
            }
            match page.segments.last() {
                Some(last) if page.more => from = last.end,
                Some(_) | None => return Ok(Search::Nothing),
            }
        }
    }

    /// The record with the largest timestamp in the segments, if it is not below `at_least`.
    async fn search_latest(&self, marks: &Offsets, at_least: Timestamp) -> Result<Search, ReadError> {
        let page = self.shared.metadata.segment_of_max_timestamp(self.id).await;
        let page = page.map_err(|source| ReadError::Lookup { partition: self.id, source })?;
        self.advance_log_start(page.log_start);
        let log_start = marks.log_start.max(page.log_start);
        let Some(mut latest) = page.segments.into_iter().next() else { return Ok(Search::Nothing) };
        let mut largest = latest.max_timestamp;
        if latest.base < log_start {
            // Its largest timestamp may be that of a deleted record: look at what is left.
            match self.latest_segment_from(log_start).await {
                Ok(Some(found)) => (latest, largest) = found,
                Ok(None) => return Ok(Search::Nothing),
                Err(error) => return search_failed(error),
            }
        }
        if largest < at_least || largest <= Timestamp::NONE {
            return Ok(Search::Nothing);
        }
        let found = self.search_segment(&latest, largest, log_start).await;
        Ok(decided(found, marks.high_watermark)?.unwrap_or(Search::Nothing))
    }

    /// The first segment with the largest timestamp among records from `log_start` on.
    async fn latest_segment_from(&self, log_start: Offset) -> Result<Option<(SegmentRef, Timestamp)>, ReadError> {
        let mut latest: Option<(SegmentRef, Timestamp)> = None;
        let mut from = log_start;
        loop {
            let page = self.shared.segments.page(self.id, from).await?;
            for segment in page.segments.iter().filter(|segment| from < segment.end) {
                let largest =
                    if log_start <= segment.base { segment.max_timestamp } else { self.largest_timestamp_from(segment, log_start).await? };
                if latest.as_ref().is_none_or(|(_, known)| *known < largest) {
                    latest = Some((segment.clone(), largest));
                }
            }
            match page.segments.last() {
                Some(last) if page.more => from = last.end,
                Some(_) | None => return Ok(latest),
            }
        }
    }

    /// The largest timestamp in the part of `segment` from `from` on.
    async fn largest_timestamp_from(&self, segment: &SegmentRef, mut from: Offset) -> Result<Timestamp, ReadError> {
        let log_start = from;
        let mut largest = Timestamp::NONE;
        loop {
            let read = self.read_chunk(segment, from, ReadClass::CatchUp).await?;
            for batch in &read.batches {
                let of_batch = if log_start <= batch.header.base_offset {
                    batch.header.max_timestamp
                } else {
                    let records = self.open(batch)?;
                    let kept = records.iter().filter(|record| log_start <= record.offset);
                    kept.map(|record| record.timestamp).max().unwrap_or(Timestamp::NONE)
                };
                largest = largest.max(of_batch);
            }
            if read.next.is_segment_end {
                return Ok(largest);
            }
            from = read.next.offset;
        }
    }

    async fn read_chunk(&self, segment: &SegmentRef, offset: Offset, class: ReadClass) -> Result<SegmentRead, ReadError> {
        let segments = &self.shared.segments;
        let pace = segments.pace(self.id, self.shared.clock.monotonic()).without_read_ahead();
        let (start, room, at_least_one, following) = (None, CHUNK_BYTES, true, &[][..]);
        segments.read(self.id, SegmentRequest { segment, offset, start, room, at_least_one, class, pace, following }).await
    }

    async fn search_segment(
        &self,
        segment: &SegmentRef,
        timestamp: Timestamp,
        log_start: Offset,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        if segment.end <= log_start {
            return Ok(None);
        }
        let class = ReadClass::CatchUp;
        let Some(sought) = self.shared.segments.seek_timestamp(self.id, segment, timestamp, class).await? else { return Ok(None) };
        let mut from = sought.max(log_start).max(segment.base);
        loop {
            let read = self.read_chunk(segment, from, class).await?;
            for batch in read.batches.iter().filter(|batch| timestamp <= batch.header.max_timestamp) {
                if let Some(found) = self.search_batch(batch, timestamp, log_start)? {
                    return Ok(Some(found));
                }
            }
            if read.next.is_segment_end {
                return Ok(None);
            }
            from = read.next.offset;
        }
    }

    fn search_batch(&self, batch: &Batch, timestamp: Timestamp, log_start: Offset) -> Result<Option<TimestampOffset>, ReadError> {
        let found = if log_start <= batch.header.base_offset {
            first_at_or_after(&batch.bytes, timestamp, MAX_OPENED_BYTES)
                .map_err(|error| self.cannot_open(batch.header.base_offset, &error))?
        } else {
            let records = self.open(batch)?;
            let first = records.iter().find(|record| log_start <= record.offset && timestamp <= record.timestamp);
            first.map(|record| (record.offset, record.timestamp))
        };
        Ok(found.map(|(offset, timestamp)| TimestampOffset { offset, timestamp, leader_epoch: batch.header.leader_epoch }))
    }

    fn open(&self, batch: &Batch) -> Result<Vec<Record>, ReadError> {
        decode_records(&batch.bytes, MAX_OPENED_BYTES).map_err(|error| self.cannot_open(batch.header.base_offset, &error))
    }

    fn cannot_open(&self, base: Offset, error: &DecodeError) -> ReadError {
        ReadError::Damaged { partition: self.id, detail: format!("batch at offset {base}: {error}") }
    }
}

/// What a search of one segment decides; `None`: look further.
fn decided(found: Result<Option<TimestampOffset>, ReadError>, visible_end: Offset) -> Result<Option<Search>, ReadError> {
    match found {
        Ok(Some(found)) if found.offset < visible_end => Ok(Some(Search::Found(found))),
        Ok(Some(_)) => Ok(Some(Search::Nothing)),
        Ok(None) => Ok(None),
        Err(error) => search_failed(error).map(Some),
    }
}

fn search_failed(error: ReadError) -> Result<Search, ReadError> {
    match error {
        ReadError::Store { source: StoreError::NotFound { .. }, .. } => Ok(Search::Moved(error)),
        other => Err(other),
    }
}
