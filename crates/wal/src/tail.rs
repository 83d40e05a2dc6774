//! The newest entries in memory, for readers at the tail and for uploads.

use std::collections::VecDeque;
use std::sync::Arc;

use types::Lsn;

use crate::Entry;

/// What an entry costs beyond its batch, roughly, so that many small ones are bounded too.
const ENTRY_OVERHEAD: u64 = 160;

/// How much memory the tail may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailLimits {
    /// Bytes kept for readers once uploads no longer need them.
    pub keep_bytes: u64,
    /// Bytes never exceeded: above it even entries that an upload still needs go, and it reads them from disk.
    pub max_bytes: u64,
}

/// A suffix of the log, oldest first. Entries leave only at the old end.
pub(crate) struct Tail {
    limits: TailLimits,
    entries: VecDeque<(Lsn, Arc<Entry>)>,
    cost: u64,
    batch_bytes: u64,
    released: Lsn,
}

impl Tail {
    pub(crate) fn new(limits: TailLimits) -> Self {
        Self { limits, entries: VecDeque::new(), cost: 0, batch_bytes: 0, released: Lsn::ZERO }
    }

    /// Adds the entry after all others.
    pub(crate) fn push(&mut self, lsn: Lsn, entry: Arc<Entry>) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < lsn));
        self.cost += cost(&entry);
        self.batch_bytes += entry.batch.len() as u64;
        self.entries.push_back((lsn, entry));
        self.shrink();
    }

    pub(crate) fn get(&self, lsn: Lsn) -> Option<&Arc<Entry>> {
        let index = self.entries.binary_search_by_key(&lsn, |(at, _)| *at).ok()?;
        Some(&self.entries[index].1)
    }

    /// First LSN held: everything from here to the end of the log is here.
    pub(crate) fn start(&self) -> Option<Lsn> {
        self.entries.front().map(|(lsn, _)| *lsn)
    }

    /// Entries at or above `from`, in order.
    #[cfg(any(test, feature = "rocksdb"))]
    pub(crate) fn from(&self, from: Lsn) -> impl Iterator<Item = &(Lsn, Arc<Entry>)> {
        let index = self.entries.partition_point(|(lsn, _)| *lsn < from);
        self.entries.range(index..)
    }

    /// Uploads need nothing below `below` any more.
    pub(crate) fn release(&mut self, below: Lsn) {
        self.released = self.released.max(below);
        self.shrink();
    }

    /// Entries below `below` are no longer part of the log.
    pub(crate) fn trim(&mut self, below: Lsn) {
        while self.start().is_some_and(|start| start < below) {
            self.pop();
        }
    }

    /// Batch bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.batch_bytes
    }

    fn shrink(&mut self) {
        while self.limits.max_bytes < self.cost
            || (self.limits.keep_bytes < self.cost && self.start().is_some_and(|start| start < self.released))
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, entry)) = self.entries.pop_front() {
            self.cost -= cost(&entry);
            self.batch_bytes -= entry.batch.len() as u64;
        }
    }
}

fn cost(entry: &Entry) -> u64 {
    entry.batch.len() as u64 + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::batch_entry;

    fn tail(keep: u64, max: u64) -> Tail {
        let unit = 100 + ENTRY_OVERHEAD;
        let mut tail = Tail::new(TailLimits { keep_bytes: keep * unit, max_bytes: max * unit });
        for lsn in 1..=8 {
            tail.push(Lsn(lsn), Arc::new(batch_entry(lsn.cast_signed(), 100)));
        }
        tail
    }

    #[test]
    fn what_an_upload_needs_stays_up_to_the_bound() {
        let mut tail = tail(2, 5);
        assert_eq!((tail.start(), tail.bytes()), (Some(Lsn(4)), 500));
        tail.release(Lsn(6));
        assert_eq!(tail.start(), Some(Lsn(6)), "above the readers' share only released entries go");
        tail.release(Lsn(9));
        assert_eq!((tail.start(), tail.bytes()), (Some(Lsn(7)), 200), "readers keep their share of released ones");
    }

    #[test]
    fn entries_are_found_by_number_across_a_jump() {
        let mut tail = tail(100, 100);
        tail.push(Lsn(50), Arc::new(batch_entry(50, 100)));
        assert!(tail.get(Lsn(20)).is_none());
        assert!(tail.get(Lsn(50)).is_some());
        assert_eq!(tail.from(Lsn(9)).map(|(lsn, _)| *lsn).collect::<Vec<_>>(), [Lsn(50)]);
        tail.trim(Lsn(9));
        assert_eq!((tail.start(), tail.bytes()), (Some(Lsn(50)), 100));
    }
}
