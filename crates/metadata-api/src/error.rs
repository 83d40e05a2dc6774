//! What a call may fail with. Few kinds: each is something the caller acts on differently.

use types::{BrokerEpoch, BrokerId, ClusterId, CoordinatorSlot, Revision, SlotEpoch, TopicId};

use crate::ConfigResource;

/// Why a metadata call failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetadataError {
    /// Nothing was written; try again later.
    #[error("the metadata service is not available: {detail}")]
    Unavailable {
        /// What failed.
        detail: String,
    },
    /// It may or may not have been written: ask again with the same request.
    #[error("the outcome of a metadata write is not known: {detail}")]
    Unknown {
        /// What failed.
        detail: String,
    },
    /// The sender's epoch is superseded: another process registered as this broker.
    #[error("broker {broker} is fenced: its epoch {epoch} is superseded by {current}")]
    Fenced {
        /// Who.
        broker: BrokerId,
        /// The epoch sent.
        epoch: BrokerEpoch,
        /// The epoch in force.
        current: BrokerEpoch,
    },
    /// The coordinator slot is not the sender's (any more): it was taken since, or it never was at this epoch. What the sender holds of
    /// the slot is worth nothing now.
    #[error("{slot} is fenced: its epoch {epoch} is not the one in force, {current}")]
    SlotFenced {
        /// Which slot.
        slot: CoordinatorSlot,
        /// The slot epoch sent.
        epoch: SlotEpoch,
        /// The slot epoch in force, 0 if nobody took it yet.
        current: SlotEpoch,
    },
    /// Another process is registered under this node id and its session lives (Kafka's DUPLICATE_BROKER_REGISTRATION).
    #[error("node.id {broker} is in use by a running broker; stop it, or give this one another node.id")]
    DuplicateBroker {
        /// Who.
        broker: BrokerId,
    },
    /// The caller belongs to another cluster.
    #[error("this metadata service is of cluster {ours}, the data directory of cluster {theirs}; point the broker at its own cluster")]
    WrongCluster {
        /// The service's.
        ours: ClusterId,
        /// The caller's.
        theirs: ClusterId,
    },
    /// The journal ends below what the caller has already seen (rule R8).
    #[error("metadata was rolled back: it ends at revision {current}, this broker has seen {seen}; restore the newer metadata directory")]
    RolledBack {
        /// Newest revision of the service.
        current: Revision,
        /// Newest revision that the caller has seen.
        seen: Revision,
    },
    /// The topic does not exist (any more).
    #[error("topic {topic} does not exist")]
    UnknownTopic {
        /// Its id.
        topic: TopicId,
    },
    /// The partition does not exist.
    #[error("partition {partition} of topic {topic} does not exist")]
    UnknownPartition {
        /// Topic id.
        topic: TopicId,
        /// Index.
        partition: i32,
    },
    /// A topic of that name exists.
    #[error("topic '{name}' already exists")]
    TopicExists {
        /// Its name.
        name: String,
    },
    /// The name breaks Kafka's rules; the text is Kafka's.
    #[error("{detail}")]
    InvalidTopicName {
        /// Which rule.
        detail: String,
    },
    /// A partition count that cannot be.
    #[error("{detail}")]
    InvalidPartitions {
        /// Why.
        detail: String,
    },
    /// A replication factor that cannot be.
    #[error("{detail}")]
    InvalidReplicationFactor {
        /// Why.
        detail: String,
    },
    /// A config was changed by somebody else in between.
    #[error("the configs of topic {topic} changed meanwhile")]
    ConfigConflict {
        /// Its id.
        topic: TopicId,
    },
    /// The configs of brokers or of a group were changed by somebody else in between.
    #[error("the configs of {resource} changed meanwhile")]
    ResourceConfigConflict {
        /// Of which.
        resource: ConfigResource,
    },
    /// A request that contradicts an earlier one or itself: a bug or a hostile peer. Retrying cannot help.
    #[error("{detail}")]
    Invalid {
        /// What contradicts.
        detail: String,
    },
}
