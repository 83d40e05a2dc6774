//! The offset → LSN index of what a partition has in the write-ahead log: unpublished entries, and published ones that are not
//! trimmed yet. It is what makes a tail read cost a lookup and nothing else.

use std::collections::VecDeque;

use types::{Lsn, Offset, Timestamp};

/// One batch in the write-ahead log. Kept to 40 bytes: there is one for each batch that waits for the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TailEntry {
    pub(crate) base: Offset,
    pub(crate) lsn: Lsn,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) append_time: Timestamp,
    pub(crate) last_offset_delta: i32,
    pub(crate) bytes: u32,
}

impl TailEntry {
    pub(crate) fn last(&self) -> Offset {
        self.base + i64::from(self.last_offset_delta)
    }

    /// Offset after the last record.
    pub(crate) fn end(&self) -> Offset {
        self.last() + 1
    }
}

/// In offset order, which is LSN order too; gaps are legal.
#[derive(Default, Debug)]
pub(crate) struct Tail {
    entries: VecDeque<TailEntry>,
    unpublished_bytes: u64,
}

impl Tail {
    /// Adds a batch that is not published yet.
    pub(crate) fn push(&mut self, entry: TailEntry) {
        if let Some(last) = self.entries.back() {
            assert!(last.end() <= entry.base && last.lsn < entry.lsn, "{entry:?} does not follow {last:?}");
        }
        self.unpublished_bytes += u64::from(entry.bytes);
        self.entries.push_back(entry);
    }

    /// Index of the first entry that ends above `offset`: the one that holds it, or the next one after a gap.
    pub(crate) fn find(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| entry.end() <= offset)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&TailEntry> {
        self.entries.get(index)
    }

    /// First offset of the first entry.
    pub(crate) fn first(&self) -> Option<Offset> {
        self.entries.front().map(|entry| entry.base)
    }

    pub(crate) fn last(&self) -> Option<&TailEntry> {
        self.entries.back()
    }

    pub(crate) fn iter_from(&self, index: usize) -> impl Iterator<Item = &TailEntry> {
        self.entries.range(index.min(self.entries.len())..)
    }

    /// End of the last entry whose LSN lies below `below`.
    pub(crate) fn end_below(&self, below: Lsn) -> Option<Offset> {
        let after = self.entries.partition_point(|entry| entry.lsn < below);
        Some(self.entries.get(after.checked_sub(1)?)?.end())
    }

    /// The published end moved from `from` to `to`.
    pub(crate) fn published(&mut self, from: Offset, to: Offset) {
        let (first, after) = (self.find(from), self.find(to));
        let bytes: u64 = self.entries.range(first..after).map(|entry| u64::from(entry.bytes)).sum();
        self.unpublished_bytes -= bytes;
    }

    /// Forgets the published entries below `start`, the first LSN that can still be read. Answers how many it was.
    pub(crate) fn prune(&mut self, start: Lsn, published_end: Offset) -> usize {
        let trimmed = self.entries.partition_point(|entry| entry.lsn < start && entry.end() <= published_end);
        self.entries.drain(..trimmed);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        trimmed
    }

    pub(crate) fn unpublished_bytes(&self) -> u64 {
        self.unpublished_bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base: i64, records: i32, lsn: u64) -> TailEntry {
        TailEntry {
            base: Offset(base),
            lsn: Lsn(lsn),
            max_timestamp: Timestamp(base),
            append_time: Timestamp(base),
            last_offset_delta: records - 1,
            bytes: 100,
        }
    }

    fn tail() -> Tail {
        let mut tail = Tail::default();
        for entry in [entry(10, 5, 3), entry(15, 1, 4), entry(20, 10, 9)] {
            tail.push(entry);
        }
        tail
    }

    #[test]
    fn an_entry_stays_within_forty_bytes() {
        assert_eq!(size_of::<TailEntry>(), 40);
    }

    #[test]
    fn an_offset_in_a_batch_finds_the_batch_and_one_in_a_gap_the_next() {
        let tail = tail();
        let found: Vec<_> = [10, 14, 15, 16, 19, 20, 29, 30].iter().map(|offset| tail.find(Offset(*offset))).collect();
        assert_eq!(found, [0, 0, 1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn published_entries_are_pruned_up_to_the_log_start_and_unpublished_ones_never() {
        let mut tail = tail();
        tail.published(Offset(10), Offset(16));
        assert_eq!(tail.unpublished_bytes(), 100);
        assert_eq!(tail.prune(Lsn(4), Offset(16)), 1);
        assert_eq!(tail.first(), Some(Offset(15)));
        assert_eq!(tail.prune(Lsn(100), Offset(16)), 1);
        assert_eq!((tail.first(), tail.len()), (Some(Offset(20)), 1));
    }

    #[test]
    fn the_end_below_an_lsn_is_that_of_the_last_entry_before_it() {
        let tail = tail();
        let ends: Vec<_> = [3, 4, 8, 9, 10].iter().map(|lsn| tail.end_below(Lsn(*lsn)).map(|end| end.0)).collect();
        assert_eq!(ends, [None, Some(15), Some(16), Some(16), Some(30)]);
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn an_offset_never_gets_a_second_entry() {
        tail().push(entry(29, 1, 10));
    }
}
