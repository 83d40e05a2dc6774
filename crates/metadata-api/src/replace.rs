//! Replacing segments: the atomic step by which a rewritten object takes the place of older segments of its partitions.

use types::{BrokerEpoch, BrokerId, ObjectNumber, Revision, SegmentRef, TopicPartition};

use crate::PublishedObject;

/// One partition's part of a replacement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionReplacement {
    /// Which partition.
    pub partition: TopicPartition,
    /// The segments to be replaced, exactly as metadata has them: all of the partition's between the first one's base and the last one's
    /// end, in order.
    pub old: Vec<SegmentRef>,
    /// What takes their place. It answers for the same offsets, from the first one's base to the last one's end, and lies in the
    /// request's object. `added` is ignored; the service sets it.
    pub new: SegmentRef,
}

/// One rewritten object. Offsets, leader epochs and producers stay what they are: only the place of the batches changes, and batches
/// below the log start may be gone.
///
/// Sent again with the same content it is answered, never redone: what was replaced holds the object's segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplaceSegments {
    /// Who rewrote; the object's key is of this broker and epoch.
    pub broker: BrokerId,
    /// In which epoch; a stale one is refused as a whole.
    pub epoch: BrokerEpoch,
    /// The object as verified after its upload. A dead key is refused (rule R6).
    pub object: PublishedObject,
    /// Objects of this epoch with a lower number that are not published yet never will be (rule R6).
    pub object_floor: ObjectNumber,
    /// Sorted by partition, each at most once; at least one.
    pub partitions: Vec<PartitionReplacement>,
}

/// What became of one partition's part. A part that was refused changes nothing, and holds up no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplaceVerdict {
    /// The new segment is in the place of the old ones.
    Replaced,
    /// The topic was deleted.
    Gone,
    /// Another broker leads the partition.
    NotLeader,
    /// The old segments are not there any more as they were listed: retention, DeleteRecords or another rewrite was sooner.
    Changed,
}

/// Answer to a replacement. If no part was replaced the object is as good as never uploaded: it is deleted once its key is dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplaceAnswer {
    /// The state that the verdicts are of.
    pub revision: Revision,
    /// In the order of the request's partitions.
    pub verdicts: Vec<ReplaceVerdict>,
}
