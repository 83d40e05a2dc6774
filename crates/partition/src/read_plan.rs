//! Where an offset is to be read from. Pure: the plan is tested without I/O, and the reader is spared the corner cases.

use store::ReadClass;
use types::{Lsn, Offset, Timestamp};

use crate::tail::Tail;
use crate::{Isolation, Offsets};

/// What was appended no longer ago than this is read on the budget of the tail.
const TAIL_AGE_MS: u64 = 60_000;

/// What a partition knows about its offsets at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) log_start: Offset,
    /// Offsets below may be seen: the high watermark or the last stable offset.
    pub(crate) visible_end: Offset,
    pub(crate) log_end: Offset,
    /// Offsets below are in segments.
    pub(crate) published_end: Offset,
    pub(crate) tail: &'a Tail,
}

impl<'a> View<'a> {
    pub(crate) fn new(offsets: &Offsets, isolation: Isolation, tail: &'a Tail) -> Self {
        let Offsets { log_start, log_end, published_end, .. } = *offsets;
        Self { log_start, visible_end: offsets.visible_end(isolation), log_end, published_end, tail }
    }
}

/// Where to read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// From the write-ahead log, beginning with this entry of the tail.
    InWal { index: usize },
    /// From the segment that answers for the offset, or the next one.
    InSegment,
    /// There is nothing to see yet.
    AtEnd,
    /// There is no such offset.
    OutOfRange,
}

/// Where `offset` is. An offset inside a batch is where the batch is, one in a gap where the next batch is.
pub(crate) fn locate(offset: Offset, view: &View<'_>) -> Place {
    if offset < view.log_start || view.log_end < offset {
        return Place::OutOfRange;
    }
    if view.visible_end <= offset {
        return Place::AtEnd;
    }
    let begins_in_tail = view.tail.first().is_some_and(|first| first <= offset);
    if !begins_in_tail && offset < view.published_end {
        return Place::InSegment;
    }
    let index = view.tail.find(offset);
    match view.tail.get(index) {
        Some(entry) if entry.end() <= view.visible_end => Place::InWal { index },
        Some(_) | None => Place::AtEnd,
    }
}

/// One batch to be read from the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TailRead {
    pub(crate) lsn: Lsn,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

/// The batches from `index` on that may be seen and fit into `room` bytes; the first one even if it does not, when `at_least_one`.
pub(crate) fn tail_reads(view: &View<'_>, index: usize, room: usize, at_least_one: bool) -> Vec<TailRead> {
    let mut bytes = 0;
    let mut reads = Vec::new();
    for entry in view.tail.iter_from(index).take_while(|entry| entry.end() <= view.visible_end) {
        bytes += entry.bytes as usize;
        if room < bytes && !(at_least_one && reads.is_empty()) {
            break;
        }
        reads.push(TailRead { lsn: entry.lsn, base: entry.base, end: entry.end() });
    }
    reads
}

/// On whose budget a segment is read. Age tells who is a little behind from who reads history, whatever a consumer did before: the
/// first is soon to be served from memory again, and must not wait behind the others until then.
pub(crate) fn read_class(asked: ReadClass, last_append: Timestamp, now: Timestamp) -> ReadClass {
    match asked {
        ReadClass::CatchUp if now.millis_since(last_append) <= TAIL_AGE_MS => ReadClass::Tail,
        asked => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::TailEntry;

    /// Log start 5; segments to 40, a gap inside the tail from 45 to 50, the tail from 30 to 60, visible to 55.
    fn check(offset: i64, expected: Place) {
        let mut tail = Tail::default();
        for (base, end) in [(30, 35), (35, 45), (50, 55), (55, 60)] {
            tail.push(TailEntry {
                base: Offset(base),
                lsn: Lsn(base as u64),
                max_timestamp: Timestamp(0),
                append_time: Timestamp(0),
                last_offset_delta: end - base as i32 - 1,
                bytes: 100,
            });
        }
        let view = View { log_start: Offset(5), visible_end: Offset(55), log_end: Offset(60), published_end: Offset(35), tail: &tail };
        assert_eq!(locate(Offset(offset), &view), expected, "offset {offset}");
    }

    #[test]
    fn offsets_are_out_of_range_only_below_the_log_start_and_above_the_log_end() {
        for (offset, expected) in
            [(4, Place::OutOfRange), (5, Place::InSegment), (55, Place::AtEnd), (60, Place::AtEnd), (61, Place::OutOfRange)]
        {
            check(offset, expected);
        }
    }

    #[test]
    fn the_write_ahead_log_is_preferred_where_both_have_the_offset() {
        for (offset, expected) in [(29, Place::InSegment), (30, Place::InWal { index: 0 }), (44, Place::InWal { index: 1 })] {
            check(offset, expected);
        }
    }

    #[test]
    fn t19_an_offset_inside_a_batch_finds_it_and_one_in_a_gap_the_next() {
        for (offset, index) in [(34, 0), (35, 1), (40, 1), (45, 2), (49, 2), (50, 2)] {
            check(offset, Place::InWal { index });
        }
    }

    #[test]
    fn a_gap_between_the_published_end_and_the_tail_leads_into_the_tail() {
        let mut tail = Tail::default();
        tail.push(TailEntry {
            base: Offset(100),
            lsn: Lsn(1),
            max_timestamp: Timestamp(0),
            append_time: Timestamp(0),
            last_offset_delta: 9,
            bytes: 100,
        });
        let view = View { log_start: Offset(0), visible_end: Offset(110), log_end: Offset(110), published_end: Offset(40), tail: &tail };
        assert_eq!(locate(Offset(39), &view), Place::InSegment);
        assert_eq!(locate(Offset(40), &view), Place::InWal { index: 0 });
        let hidden = View { visible_end: Offset(40), ..view };
        assert_eq!(locate(Offset(40), &hidden), Place::AtEnd);
    }

    #[test]
    fn what_was_appended_within_the_last_minute_is_the_tails() {
        let now = Timestamp(1_000_000);
        for (asked, last_append, expected) in [
            (ReadClass::CatchUp, 940_000, ReadClass::Tail),
            (ReadClass::CatchUp, 939_999, ReadClass::CatchUp),
            // Another broker's clock is ahead.
            (ReadClass::CatchUp, 1_000_001, ReadClass::Tail),
            (ReadClass::CatchUp, Timestamp::NONE.0, ReadClass::CatchUp),
            (ReadClass::Tail, 0, ReadClass::Tail),
            (ReadClass::Rewrite, 1_000_000, ReadClass::Rewrite),
        ] {
            assert_eq!(read_class(asked, Timestamp(last_append), now), expected, "{asked:?} {last_append}");
        }
    }

    #[test]
    fn t21_the_first_batch_is_read_whatever_its_size_only_when_asked_for() {
        let mut tail = Tail::default();
        for base in [0, 10, 20] {
            tail.push(TailEntry {
                base: Offset(base),
                lsn: Lsn(1 + base as u64),
                max_timestamp: Timestamp(0),
                append_time: Timestamp(0),
                last_offset_delta: 9,
                bytes: 100,
            });
        }
        let view = View { log_start: Offset(0), visible_end: Offset(30), log_end: Offset(30), published_end: Offset(0), tail: &tail };
        let count = |room, at_least_one| tail_reads(&view, 0, room, at_least_one).len();
        assert_eq!([count(0, true), count(99, true), count(100, true), count(200, true), count(1000, true)], [1, 1, 1, 2, 3]);
        assert_eq!([count(0, false), count(99, false), count(100, false), count(299, false)], [0, 0, 1, 2]);
    }
}
