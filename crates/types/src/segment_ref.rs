//! What metadata knows of a segment: where its bytes are and what can be decided without opening the object.

use crate::{LeaderEpoch, ObjectKey, ObjectOrigin, Offset, Revision, Timestamp};

/// Where a leader epoch begins in a partition: at the base offset of its first batch, never at a published end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Base offset of its first batch.
    pub offset: Offset,
}

/// The smallest timestamp of a segment, as far as it is known without decompressing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinTimestamp {
    /// The value; a lower bound is not promised where `exact` is false, because a batch header's base timestamp is that of the
    /// first record, not of the smallest.
    pub value: Timestamp,
    /// Whether every record was looked at.
    pub exact: bool,
}

/// Properties of the batches in a segment, as bits that are part of the formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentFlags(pub u32);

impl SegmentFlags {
    /// Bits 0 to 4: a batch with codec none, gzip, snappy, lz4, zstd is there.
    pub const CODECS: u32 = 0b1_1111;
    /// A transactional batch is there.
    pub const TRANSACTIONAL: u32 = 1 << 8;
    /// A control batch is there.
    pub const CONTROL: u32 = 1 << 9;
    /// Written by compaction.
    pub const COMPACTED: u32 = 1 << 10;
    /// A record without a value is there; only compaction looks.
    pub const TOMBSTONES: u32 = 1 << 11;
}

/// One segment of one partition, as metadata references it. Offsets are explicit and independent of the batches: gaps are legal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRef {
    /// First offset the segment answers for.
    pub base: Offset,
    /// First offset it no longer answers for; `base < end`.
    pub end: Offset,
    /// The object that holds it.
    pub object: ObjectKey,
    /// Where its batches begin in the object.
    pub position: u64,
    /// Length of its batches; the index follows directly.
    pub bytes: u64,
    /// Length of its index, which lies at `position + bytes`.
    pub index_bytes: u32,
    /// Records in it (sum of the batches' counts, not the offset span).
    pub records: u64,
    /// Batches in it.
    pub batches: u32,
    /// Largest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Smallest timestamp of its records.
    pub min_timestamp: MinTimestamp,
    /// The broker's clock at the first and at the last append.
    pub append_times: (Timestamp, Timestamp),
    /// Leader epochs of its batches, ascending, each with the base offset of its first batch in this segment.
    pub leader_epochs: Vec<EpochStart>,
    /// First offset of a transaction still open at the segment's end; `end` when there is none.
    pub stable_end: Offset,
    /// Aborted transactions whose marker lies in the segment.
    pub aborted: u32,
    /// Properties of its batches.
    pub flags: SegmentFlags,
    /// In the oldest segment needed to rebuild the producer state at `end`: its base offset when this segment was built. That segment may
    /// have become part of a rewritten one since, which answers for the offset.
    pub state_from: Offset,
    /// How the batches came into the object.
    pub origin: ObjectOrigin,
    /// Reserved for prepared objects: added to every offset while reading. Always 0 for now.
    pub offset_shift: i64,
    /// Reserved for prepared objects: replaces the batches' leader epoch while reading. Always `None` for now.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Revision of the publish or replacement that added it.
    pub added: Revision,
}

impl SegmentRef {
    /// Whether the segment answers for `offset`.
    pub fn contains(&self, offset: Offset) -> bool {
        self.base <= offset && offset < self.end
    }
}
