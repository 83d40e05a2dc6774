//! Publish: the atomic step by which uploaded batches become part of their partitions.

use types::{
    BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, Offset, ProducerId, ProducerWindow, PublishSequence,
    Revision, SegmentRef, TopicPartition,
};

/// Batches of one leader epoch that follow each other in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Leader epoch of the batches.
    pub leader_epoch: LeaderEpoch,
    /// Offset of the first record.
    pub base: Offset,
    /// Offset after the last record.
    pub end: Offset,
}

/// State of one producer at the end of the published segment: its whole window, not only what the segment added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerDelta {
    /// Producer id.
    pub producer: ProducerId,
    /// Its window as of the segment's end.
    pub window: ProducerWindow,
}

/// One partition's part of a publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionPublish {
    /// Which partition.
    pub partition: TopicPartition,
    /// Where the batches are. `added` is ignored; the service sets it.
    pub segment: SegmentRef,
    /// Ascending, contiguous.
    pub runs: Vec<Run>,
    /// `segment.base` lies above the partition's next offset on purpose.
    pub gap: bool,
    /// Producers that the segment touched.
    pub producers: Vec<ProducerDelta>,
}

/// One uploaded object. Sent again with the same sequence and content it is answered, never redone (rule R12).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishRequest {
    /// Who publishes.
    pub broker: BrokerId,
    /// In which epoch; a stale one is refused as a whole.
    pub epoch: BrokerEpoch,
    /// Dense within the epoch, from 1; one in flight.
    pub sequence: PublishSequence,
    /// The object's key. A range without batches of live partitions still publishes, to let its log positions go: then `None`.
    pub object: Option<PublishedObject>,
    /// First LSN of the range: where this WAL id's last published range ended, or an `EpochStart` entry.
    pub first_lsn: Lsn,
    /// LSN after the range.
    pub end_lsn: Lsn,
    /// Objects of this epoch with a lower number that are not published yet never will be (rule R6).
    pub object_floor: ObjectNumber,
    /// Highest LSN synced, for rule R11.
    pub synced: Lsn,
    /// Sorted by partition, each at most once.
    pub partitions: Vec<PartitionPublish>,
}

/// The uploaded object as verified after its upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishedObject {
    /// Where it is.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32C of the whole object.
    pub crc: u32,
}

/// What became of one partition's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionVerdict {
    /// Part of the partition now; the new next offset.
    Accepted {
        /// Equals the segment's end.
        next_offset: Offset,
    },
    /// Not part of it.
    Refused(PartitionRefusal),
}

/// Why one partition's part was refused. Gone and not owned never block trimming; a wrong offset stops the partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionRefusal {
    /// The topic was deleted.
    Gone,
    /// Another WAL id owns the partition, or the runs' epochs lie outside the publisher's ownership.
    NotOwned {
        /// The epoch in force.
        leader_epoch: LeaderEpoch,
    },
    /// The base offset is neither the next one nor above it and marked as a gap.
    WrongOffset {
        /// What would have been accepted.
        next_offset: Offset,
    },
}

/// Answer to a publish, the same for every repeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishAnswer {
    /// Journal index of the publish.
    pub revision: Revision,
    /// In the order of the request's partitions.
    pub verdicts: Vec<PartitionVerdict>,
    /// Above 0 brokers stretch `upload.interval.ms` by this factor in percent.
    pub pressure: u32,
}

/// Leader epochs of a partition with the base offset of each epoch's first batch, ascending.
pub type EpochHistory = Vec<EpochStart>;
