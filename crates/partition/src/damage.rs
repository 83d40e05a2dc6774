//! Who is told of what is wrong in the store, as far as readers meet it.

use types::{SegmentRef, TopicPartition};

/// Told of segments that cannot be read as they were written.
pub trait DamageObserver: Send + Sync {
    /// A reader was given `segment`'s bytes damaged three times, or its object is missing although a fresh lookup names it. The reader
    /// knows no more than that: it may have been the way from the store. Told again with every read that meets it, so it must be cheap, and
    /// must not block.
    fn met(&self, partition: TopicPartition, segment: &SegmentRef);
}

/// Tells nobody.
pub struct NoDamageObserver;

impl DamageObserver for NoDamageObserver {
    fn met(&self, _: TopicPartition, _: &SegmentRef) {}
}
