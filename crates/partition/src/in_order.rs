//! Readers of history that go on in order. Where one of them left off is remembered, so that the next read begins there without the
//! segment's index; only for them is fetched ahead, and the read cache is shared out among them: whoever fetches more than its share
//! drops what was fetched for others before they read it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use types::{ObjectKey, Offset, SegmentRef, TopicPartition};

/// So much is fetched ahead of a reader in order, if its share of the read cache allows it.
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Bytes per GET, between the least for many readers and the most for few.
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=4 << 20;
/// A partition counts as read for so long after its last read.
const READ_FOR: Duration = Duration::from_secs(10);

/// A segment's place: an object holds many.
pub(crate) type SegmentPlace = (ObjectKey, u64);

pub(crate) fn place_of(segment: &SegmentRef) -> SegmentPlace {
    (segment.object, segment.position)
}

/// Where the batches up to an offset end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeftOff {
    pub(crate) segment: SegmentPlace,
    /// Position in the object.
    pub(crate) at: u64,
}

/// In what pieces a partition is read, and how far ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pace {
    pub(crate) block_bytes: u64,
    pub(crate) read_ahead: u64,
}

impl Pace {
    /// Of each of so many readers that share a cache of so many bytes. A reader has a block that it reads and what is ahead of it.
    fn of(readers: u64, cache_bytes: u64) -> Self {
        let share = cache_bytes / readers.max(1);
        let half = 1 << (share / 2).max(1).ilog2();
        let block_bytes = half.clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end());
        Self { block_bytes, read_ahead: READ_AHEAD_BYTES.min(share.saturating_sub(block_bytes)) }
    }

    /// The same for a reader of whom nobody knows whether it goes on.
    pub(crate) fn without_read_ahead(self) -> Self {
        Self { read_ahead: 0, ..self }
    }
}

pub(crate) struct InOrder {
    left_off: Cache<(TopicPartition, Offset), LeftOff>,
    /// The blocks of a segment keep the size that they were first given, or those in the cache would not be found.
    block_bytes: Cache<SegmentPlace, u64>,
    read: Mutex<Read>,
    cache_bytes: u64,
}

/// Partitions that are read, and when they were last.
#[derive(Default)]
struct Read {
    last: HashMap<TopicPartition, Duration>,
    swept: Duration,
}

impl InOrder {
    /// `readers` are remembered of a broker whose read cache has so many bytes.
    pub(crate) fn new(readers: usize, cache_bytes: u64) -> Self {
        Self { left_off: Cache::new(readers), block_bytes: Cache::new(readers), read: Mutex::default(), cache_bytes }
    }

    /// Where a reader left off who read up to `offset`; `None` if nobody did, so that whoever begins there does not go on in order.
    pub(crate) fn left_off(&self, partition: TopicPartition, offset: Offset) -> Option<LeftOff> {
        self.left_off.get(&(partition, offset))
    }

    pub(crate) fn leave_off(&self, partition: TopicPartition, offset: Offset, at: LeftOff) {
        self.left_off.insert((partition, offset), at);
    }

    /// `partition` is read at `now`.
    pub(crate) fn pace(&self, partition: TopicPartition, now: Duration) -> Pace {
        Pace::of(self.read.lock().count(partition, now), self.cache_bytes)
    }

    /// Bytes per block of a segment that is read at this pace.
    pub(crate) fn block_bytes(&self, segment: SegmentPlace, pace: Pace) -> u64 {
        if let Some(bytes) = self.block_bytes.get(&segment) {
            return bytes;
        }
        self.block_bytes.insert(segment, pace.block_bytes);
        pace.block_bytes
    }
}

impl Read {
    /// How many partitions are read, this one included.
    fn count(&mut self, partition: TopicPartition, now: Duration) -> u64 {
        self.last.insert(partition, now);
        // Not at each read: there may be thousands.
        if self.swept + READ_FOR / 10 <= now {
            self.last.retain(|_, last| now <= *last + READ_FOR);
            self.swept = now;
        }
        self.last.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use types::TopicId;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn readers_share_the_cache_out_and_fetch_by_smaller_pieces_the_more_they_are() {
        for (readers, block, ahead) in [(1, 4, 8), (4, 4, 8), (8, 4, 4), (16, 2, 2), (32, 1, 1), (64, 1, 0), (1000, 1, 0)] {
            let expected = Pace { block_bytes: block * MIB, read_ahead: ahead * MIB };
            assert_eq!(Pace::of(readers, 64 * MIB), expected, "{readers} readers");
        }
        for readers in 1..100 {
            let Pace { block_bytes, read_ahead } = Pace::of(readers, 64 * MIB);
            assert!(64 < readers || readers * (block_bytes + read_ahead) <= 64 * MIB, "{readers} readers have more than there is");
        }
        assert_eq!(Pace::of(1, 0), Pace { block_bytes: MIB, read_ahead: 0 });
    }

    #[test]
    fn a_partition_counts_as_read_until_it_has_not_been_for_a_while() {
        let partition = |index| TopicPartition::new(TopicId::from_bytes([1; 16]), index);
        let mut read = Read::default();
        let counts = [(0, 100), (1, 101), (1, 101), (2, 110), (2, 111), (2, 119), (2, 121)]
            .map(|(index, second)| read.count(partition(index), Duration::from_secs(second)));
        assert_eq!(counts, [1, 2, 2, 3, 2, 1, 1]);
    }
}
