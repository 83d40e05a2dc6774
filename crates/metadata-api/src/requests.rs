//! Requests and answers other than publish.

use std::collections::BTreeMap;

use types::{
    BrokerEpoch, BrokerId, ClusterId, Durability, LeaderEpoch, Lsn, Offset, ProducerWindows, Revision, SegmentRef, TopicId, TopicPartition,
    WalId,
};

use crate::{Endpoint, EpochHistory};

/// A broker announces itself, at every start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBroker {
    /// `node.id`.
    pub broker: BrokerId,
    /// Of its write-ahead log.
    pub wal: WalId,
    /// From its data directory; `None` at the very first start. Another cluster's is refused.
    pub cluster: Option<ClusterId>,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The highest metadata revision its WAL has seen: a journal that ends below was rolled back (rule R8).
    pub revision_seen: Revision,
    /// Partitions with entries in its WAL, with the end of their log there; none of them is given away.
    pub unpublished: Vec<(TopicPartition, Offset)>,
}

/// Answer to a registration. The event behind it fences the broker's older epochs, so `last_published` is final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The cluster.
    pub cluster: ClusterId,
    /// The new epoch.
    pub epoch: BrokerEpoch,
    /// Highest LSN of this WAL id that a publish covered; `Lsn::ZERO` if none. Exactly the entries at or below it are done.
    pub last_published: Lsn,
    /// Metadata was rebuilt from the store since this WAL id last published: it may be published further than `last_published`, up to
    /// where the log has been trimmed.
    pub rebuilt: bool,
    /// Highest LSN that this WAL id ever reported as synced; a log that ends below it has lost acknowledged entries (rule R11).
    pub synced_seen: Lsn,
    /// Journal index of the registration.
    pub revision: Revision,
    /// Every partition the broker leads now.
    pub partitions: Vec<PartitionState>,
}

/// What a leader needs to serve a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Which partition.
    pub partition: TopicPartition,
    /// The leader epoch in force.
    pub leader_epoch: LeaderEpoch,
    /// Epochs of published batches.
    pub epochs: EpochHistory,
    /// First offset that may be read.
    pub log_start: Offset,
    /// The published end.
    pub next_offset: Offset,
    /// The level in force.
    pub durability: Durability,
    /// Producers as of `next_offset`.
    pub producers: ProducerWindows,
}

/// A session's sign of life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatRequest {
    /// Who.
    pub broker: BrokerId,
    /// In which epoch.
    pub epoch: BrokerEpoch,
    /// Highest LSN synced (rule R11).
    pub synced: Lsn,
    /// Bytes acknowledged that only the WAL holds.
    pub unoffloaded_bytes: u64,
}

/// Answer to a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// The newest revision.
    pub revision: Revision,
}

/// A topic to create. The service checks names, counts and configs it understands; the caller has checked the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    /// Kafka's rule: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`, not colliding with another in metrics.
    pub name: String,
    /// At least 1.
    pub partitions: i32,
    /// 1 to 16; the store replicates.
    pub replication_factor: i16,
    /// Only what differs from the broker's defaults.
    pub configs: BTreeMap<String, String>,
    /// The level in force from the start: the topic's config or the broker's default.
    pub durability: Durability,
    /// Check only.
    pub validate_only: bool,
}

/// A created (or validated) topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicCreated {
    /// Its id; the nil id when only validated.
    pub topic: TopicId,
    /// Journal index.
    pub revision: Revision,
}

/// Grows a topic. Shrinking is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatePartitions {
    /// Which topic.
    pub topic: TopicId,
    /// New total.
    pub total: i32,
    /// Durability in force for the new partitions.
    pub durability: Durability,
    /// Check only.
    pub validate_only: bool,
}

/// Replaces a topic's configs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterTopicConfigs {
    /// Which topic.
    pub topic: TopicId,
    /// Refused unless the topic's config revision is still this one.
    pub expected: Revision,
    /// The new set, whole.
    pub configs: BTreeMap<String, String>,
}

/// Lets partitions' configured durability come into force (rule R5). Asked by their leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnforceDurability {
    /// Who leads them.
    pub broker: BrokerId,
    /// In which epoch.
    pub epoch: BrokerEpoch,
    /// At least one; each partition at most once.
    pub changes: Vec<DurabilityChange>,
}

/// One partition's part of [`EnforceDurability`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurabilityChange {
    /// Which partition.
    pub partition: TopicPartition,
    /// The level that is to be in force.
    pub level: Durability,
    /// Revision of the topic's configs that ask for it, themselves or by leaving it to the leader's default.
    pub config_revision: Revision,
    /// Below it records may have been acknowledged or shown by the weaker level: it must be published before a stronger one comes
    /// into force. 0 where the level falls.
    pub log_end: Offset,
}

/// Moves a partition's log start forward (DeleteRecords). Never above its published end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvanceLogStart {
    /// Who leads it.
    pub broker: BrokerId,
    /// In which epoch.
    pub epoch: BrokerEpoch,
    /// Which partition.
    pub partition: TopicPartition,
    /// The new log start; a lower one than the present is answered without effect.
    pub log_start: Offset,
}

/// Segments of a partition in offset order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentPage {
    /// The state that this page is of.
    pub revision: Revision,
    /// First offset that may be read.
    pub log_start: Offset,
    /// The published end.
    pub next_offset: Offset,
    /// Those that end above the offset asked for, in order.
    pub segments: Vec<SegmentRef>,
    /// More follow after the last one.
    pub more: bool,
}
