//! What the state machine may be asked, and what it answers.

use std::ops::Range;

use metadata_api::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, CreatePartitions, CreateTopic, EnforceDurability,
    HeartbeatAnswer, HeartbeatRequest, PartitionState, PublishAnswer, PublishRequest, RegisterBroker, Registration, ReplaceAnswer,
    ReplaceSegments, RowPage, SaveRows, SegmentPage, SlotRows, SlotTaken, TakeSlot, TopicCreated,
};
use types::{BrokerEpoch, BrokerId, ObjectKey, Offset, ProducerId, Revision, Timestamp, TopicId, TopicPartition};

use super::SnapshotRef;

/// A command. What chance decides (ids) is in it already.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    RegisterBroker {
        request: RegisterBroker,
        local: bool,
    },
    Heartbeat(HeartbeatRequest),
    ResignBroker {
        broker: BrokerId,
        epoch: BrokerEpoch,
    },
    /// The session was silent for too long.
    ExpireBroker {
        broker: BrokerId,
        epoch: BrokerEpoch,
    },
    Publish(Box<PublishRequest>),
    ReplaceSegments(Box<ReplaceSegments>),
    CreateTopic {
        request: CreateTopic,
        topic: TopicId,
    },
    CreatePartitions(CreatePartitions),
    DeleteTopic(TopicId),
    AlterTopicConfigs(AlterTopicConfigs),
    AlterResourceConfigs(AlterResourceConfigs),
    AlterClientQuotas(AlterClientQuotas),
    EnforceDurability(EnforceDurability),
    AdvanceLogStart(AdvanceLogStart),
    ElectUnclean(Vec<TopicPartition>),
    PartitionStates {
        broker: BrokerId,
        epoch: BrokerEpoch,
        partitions: Vec<TopicPartition>,
    },
    AllocateProducerIds {
        count: u32,
    },
    Segments {
        partition: TopicPartition,
        from: Offset,
        limit: u32,
    },
    SegmentAt {
        partition: TopicPartition,
        timestamp: Timestamp,
    },
    SegmentOfMaxTimestamp(TopicPartition),
    TakeSlot(TakeSlot),
    SlotRows(SlotRows),
    SaveRows(SaveRows),
    /// Let retention do its work.
    Retain,
    /// Objects found in the store that nothing references.
    Orphans(Vec<ObjectKey>),
    /// Objects deleted from the store.
    Deleted(Vec<ObjectKey>),
    SnapshotTaken(SnapshotRef),
}

impl Command {
    /// Whether its answer waits until what it did is in the store too, where the store is remote: somebody asked for it and must not
    /// see it undone by a rebuild. A broker starts and stops, and retention goes on, whether or not the store is there.
    pub(crate) fn waits_for_mirror(&self) -> bool {
        !matches!(self, Self::RegisterBroker { .. } | Self::ResignBroker { .. } | Self::ExpireBroker { .. } | Self::Retain)
    }
}

/// The answer to a command; each kind of command has one kind of answer.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Done,
    Registration(Registration),
    Heartbeat(HeartbeatAnswer),
    Revision(Revision),
    Publish(PublishAnswer),
    SegmentsReplaced(ReplaceAnswer),
    TopicCreated(TopicCreated),
    LogStart(Offset),
    PartitionStates(Vec<PartitionState>),
    Page(SegmentPage),
    ProducerIds(Range<ProducerId>),
    SlotTaken(SlotTaken),
    RowPage(RowPage),
}

/// What decisions depend on besides the state. Nothing here may be read by `apply`: options change between two runs, events do not.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Rules {
    /// From retirement to deletion, for readers that know the old location, in milliseconds.
    pub(crate) grace_ms: i64,
    /// `metadata.max.segments`.
    pub(crate) max_segments: u64,
    /// `log.retention.ms`, -1 for ever.
    pub(crate) retention_ms: i64,
    /// `log.retention.bytes`, -1 for no bound.
    pub(crate) retention_bytes: i64,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_expiration_ms: i64,
    /// Whether the clock is believed: while it is not, nothing is retired by time (rule R22).
    pub(crate) clock_trusted: bool,
}
