//! What waits for the store, for metrics and health.

use std::collections::BTreeMap;

use types::{Lsn, Timestamp, TopicId};

/// How far the offload has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Everything below is published (or was refused for good).
    pub published_end: Lsn,
    /// Everything below belongs to a range that is published or in flight.
    pub sealed_end: Lsn,
    /// Batch bytes that only the log holds.
    pub unoffloaded_bytes: u64,
    /// The same by topic; topics without any are left out.
    pub unoffloaded_by_topic: BTreeMap<TopicId, u64>,
    /// The broker's clock when the oldest of them was appended, or earlier by at most one range.
    pub oldest: Option<Timestamp>,
    /// Ranges sealed and not yet published.
    pub ranges_in_flight: usize,
    /// Why uploads or publishes fail at the moment, if they do.
    pub failing: Option<String>,
    /// Ranges published since the start.
    pub published_ranges: u64,
    /// Bytes of the objects published since the start.
    pub published_bytes: u64,
    /// Partitions that were stopped because metadata expected another offset. A person must look.
    pub stopped_partitions: usize,
    /// The log is not trimmed past this LSN although more is published: entries of a stopped partition, or entries that could not be
    /// kept aside, lie there.
    pub trim_held_at: Option<Lsn>,
}
