//! What an object says of itself.

use std::ops::Range;

use types::{
    BrokerEpoch, ClusterId, Lsn, ObjectKey, ProducerId, ProducerWindow, PublishSequence, Revision, SegmentRef, Timestamp, TopicPartition,
    WalId,
};

/// Who wrote the object, from what, and what the writer knew of its earlier publishes: what a rebuild from the bucket needs to
/// tell what was published from what was only uploaded (rule R15). Broker id, broker epoch and object number are in the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectHeader {
    /// Whose bucket it belongs into.
    pub cluster: ClusterId,
    /// The write-ahead log that the range comes from.
    pub wal: WalId,
    /// First log sequence number of the range, or of the ranges directly before it that needed no object; zero for objects that are not a range.
    pub first_lsn: Lsn,
    /// Log sequence number after the range.
    pub end_lsn: Lsn,
    /// The publish that will make it part of its partitions.
    pub sequence: PublishSequence,
    /// Newest metadata revision that the writer had seen.
    pub metadata_revision: Revision,
    /// The writer's clock.
    pub created_at: Timestamp,
    /// The writer knows the answers to all publishes of its broker epoch up to this one; 0 is none.
    pub answered_through: PublishSequence,
    /// Earlier publishes of this writer in which a partition was refused, ascending. An answered publish that is not here was
    /// accepted as a whole.
    pub refused: Vec<RefusedPublish>,
}

/// Partitions that a publish did not extend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedPublish {
    /// The writer's epoch at that publish.
    pub epoch: BrokerEpoch,
    /// Which publish.
    pub sequence: PublishSequence,
    /// The partitions refused.
    pub partitions: Vec<TopicPartition>,
}

/// Producer windows as of a segment's end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerState {
    /// Every producer of the partition is here; else those that the segment touched.
    pub full: bool,
    /// Ascending by producer id; each with its whole window.
    pub windows: Vec<(ProducerId, ProducerWindow)>,
}

/// One segment as its object's footer has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentEntry {
    /// Whose segment.
    pub partition: TopicPartition,
    /// All that metadata keeps of it; `added` is 0, because only the publish gives it.
    pub segment: SegmentRef,
    /// CRC-32C of the segment's data. The batches' own checksums leave out their offsets and lengths.
    pub data_crc: u32,
    /// Producer state at the segment's end.
    pub producers: ProducerState,
}

/// All that a footer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectContents {
    /// The key it was written under: found under another, it is a copy and not the object.
    pub key: ObjectKey,
    /// Where it comes from.
    pub header: ObjectHeader,
    /// Ascending by partition and base offset; they lie in this order.
    pub segments: Vec<SegmentEntry>,
}

/// Where a segment's batches lie in its object.
pub fn data_range(segment: &SegmentRef) -> Range<u64> {
    segment.position..segment.position.saturating_add(segment.bytes)
}

/// Where a segment's index lies in its object: directly after its batches, so that one range can serve both.
pub fn index_range(segment: &SegmentRef) -> Range<u64> {
    let start = data_range(segment).end;
    start..start.saturating_add(u64::from(segment.index_bytes))
}
