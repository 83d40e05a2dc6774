//! One partition's state, and its segments with the two orders they are looked up in.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{BrokerId, Durability, EpochStart, LeaderEpoch, Offset, ProducerWindows, SegmentRef, Timestamp, WalId};

/// A partition.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Partition {
    /// Who leads it, if its session lives and its log is `owner`.
    pub(crate) leader: BrokerId,
    pub(crate) leader_epoch: LeaderEpoch,
    /// The log whose unpublished entries belong to the partition; outlives its broker's session (rule R3).
    pub(crate) owner: WalId,
    /// First leader epoch of the ownership: runs of older ones come from a tail that was dropped.
    pub(crate) owned_from: LeaderEpoch,
    pub(crate) replicas: Vec<BrokerId>,
    /// The level in force.
    pub(crate) durability: Durability,
    pub(crate) log_start: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) clean_end: Offset,
    /// A publish of this ownership was refused for its offset: its gaps are no longer believed (rule R16).
    pub(crate) refused: bool,
    /// Leader epochs of published batches, ascending.
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) producers: ProducerWindows,
    pub(crate) segments: Segments,
}

impl Partition {
    /// A segment, unless it is only kept for the state at its end: the log start has passed it.
    pub(crate) fn readable(&self, segment: Option<&Arc<SegmentRef>>) -> Option<SegmentRef> {
        segment.filter(|segment| self.log_start < segment.end).map(|segment| segment.as_ref().clone())
    }
}

/// A partition's segments. Every lookup takes time proportional to its answer and the logarithm of the rest.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Segments {
    by_base: BTreeMap<Offset, Arc<SegmentRef>>,
    /// Segments with a larger timestamp than all before them, by that timestamp: the first segment at or above a timestamp is
    /// always one of these.
    rises: BTreeMap<Timestamp, Offset>,
    bytes: u64,
}

impl Segments {
    /// Adds a segment after all others.
    pub(crate) fn push(&mut self, segment: SegmentRef) {
        if let Some((_, last)) = self.by_base.last_key_value() {
            assert!(last.end <= segment.base, "segment at {} follows one that ends at {}", segment.base, last.end);
        }
        if self.rises.last_key_value().is_none_or(|(largest, _)| *largest < segment.max_timestamp) {
            self.rises.insert(segment.max_timestamp, segment.base);
        }
        self.bytes += segment.bytes;
        self.by_base.insert(segment.base, Arc::new(segment));
    }

    /// Puts `new` in the place of all segments between its base and its end. Answers what was removed, in order.
    pub(crate) fn replace(&mut self, new: SegmentRef) -> Vec<Arc<SegmentRef>> {
        let (base, end) = (new.base, new.end);
        let mut behind = self.by_base.split_off(&base);
        let mut after = behind.split_off(&end);
        if let Some((_, before)) = self.by_base.last_key_value() {
            assert!(before.end <= base, "segment at {base} follows one that ends at {}", before.end);
        }
        let removed: Vec<_> = behind.into_values().collect();
        assert!(removed.iter().all(|segment| segment.end <= end), "no segment is replaced in part");
        self.bytes = self.bytes + new.bytes - removed.iter().map(|segment| segment.bytes).sum::<u64>();
        self.rises.retain(|_, rise| !(base..end).contains(rise));
        self.by_base.insert(base, Arc::new(new));
        self.by_base.append(&mut after);
        self.find_rises(base);
        removed
    }

    /// Removes the first segment.
    pub(crate) fn pop_first(&mut self) -> Option<Arc<SegmentRef>> {
        let (base, segment) = self.by_base.pop_first()?;
        self.bytes -= segment.bytes;
        if self.rises.first_key_value().is_some_and(|(_, rise)| *rise == base) {
            self.rises.pop_first();
            self.find_rises(base);
        }
        Some(segment)
    }

    /// The segments between `from` and the next rise were in the shadow of one that was removed at `from`: some of them are rises now.
    fn find_rises(&mut self, from: Offset) {
        let until = self.rises.values().find(|rise| from < **rise).map_or(Offset(i64::MAX), |base| *base);
        let mut largest = self.rises.iter().rev().find(|(_, rise)| **rise < from).map(|(largest, _)| *largest);
        for (base, segment) in self.by_base.range(from..until) {
            if largest.is_none_or(|largest| largest < segment.max_timestamp) {
                largest = Some(segment.max_timestamp);
                self.rises.insert(segment.max_timestamp, *base);
            }
        }
    }

    /// Segments that end above `from`, in order.
    pub(crate) fn from(&self, from: Offset) -> impl Iterator<Item = &Arc<SegmentRef>> {
        let holder = self.by_base.range(..=from).next_back().filter(|(_, segment)| from < segment.end).map(|(base, _)| *base);
        self.by_base.range(holder.unwrap_or(from)..).map(|(_, segment)| segment)
    }

    /// Segments that begin at or above `base` and below `end`, in order.
    pub(crate) fn within(&self, base: Offset, end: Offset) -> impl Iterator<Item = &Arc<SegmentRef>> {
        self.by_base.range(base..end).map(|(_, segment)| segment)
    }

    /// The first segment in offset order whose largest timestamp is at or above `timestamp`.
    pub(crate) fn at(&self, timestamp: Timestamp) -> Option<&Arc<SegmentRef>> {
        self.rises.range(timestamp..).next().and_then(|(_, base)| self.by_base.get(base))
    }

    /// The first segment with the largest timestamp of all.
    pub(crate) fn of_max_timestamp(&self) -> Option<&Arc<SegmentRef>> {
        self.rises.last_key_value().and_then(|(_, base)| self.by_base.get(base))
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<SegmentRef>> {
        self.by_base.values()
    }

    /// Their number.
    pub(crate) fn len(&self) -> usize {
        self.by_base.len()
    }

    /// Bytes of their batches.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
