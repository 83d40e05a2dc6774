//! What can happen. An event says what happened, not what was asked: newer code may decide a command differently, but applies an old
//! event as it was meant. Kinds, versions and bodies are documented in docs/formats-metadata.md.

use std::collections::BTreeMap;

use metadata_api::{ClientQuotaEntity, ConfigResource, Endpoint, EntityQuotas, PartitionRefusal, ProducerDelta, PublishedObject};
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorSlot, Durability, EpochStart, Lsn, ObjectKey, ObjectNumber, Offset, ProducerId,
    PublishSequence, Revision, SaveSequence, SegmentRef, SlotEpoch, Timestamp, TopicId, TopicPartition, WalId,
};

use super::SnapshotRef;
use super::rows::RowBytes;

/// One step of the state.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// A server took over: sessions within the former server's process are over.
    LeaderStarted,
    /// The first event of a journal.
    ClusterCreated {
        cluster: ClusterId,
    },
    /// The store's marker was written: from now on a store without it is not this cluster's.
    StoreClaimed,
    /// A broker epoch begins: it is the event's revision.
    BrokerRegistered {
        broker: BrokerId,
        wal: WalId,
        endpoints: Vec<Endpoint>,
        rack: Option<String>,
        local: bool,
    },
    /// A session is over.
    BrokerEnded {
        broker: BrokerId,
        epoch: BrokerEpoch,
        clean: bool,
    },
    /// A log reported a higher synced LSN.
    SyncedReported {
        wal: WalId,
        synced: Lsn,
    },
    /// An object is part of the accepted partitions.
    Published(Box<Published>),
    TopicCreated {
        topic: TopicId,
        name: String,
        replication_factor: i16,
        configs: BTreeMap<String, String>,
        partitions: Vec<NewPartition>,
    },
    PartitionsAdded {
        topic: TopicId,
        partitions: Vec<NewPartition>,
    },
    TopicDeleted {
        topic: TopicId,
        not_before: Timestamp,
    },
    TopicConfigsAltered {
        topic: TopicId,
        configs: BTreeMap<String, String>,
    },
    /// By DeleteRecords or retention.
    LogStartsAdvanced {
        partitions: Vec<(TopicPartition, Offset)>,
        not_before: Timestamp,
    },
    /// Partitions go to another log without their old log's unpublished entries.
    PartitionsElected {
        partitions: Vec<Elected>,
    },
    /// Producer ids below `end` are given out.
    ProducerIdsAllocated {
        end: ProducerId,
    },
    /// Objects that no publish can name any more.
    ObjectsDead {
        keys: Vec<ObjectKey>,
        not_before: Timestamp,
    },
    /// Garbage that is gone from the store.
    ObjectsDeleted {
        keys: Vec<ObjectKey>,
    },
    SnapshotTaken {
        snapshot: SnapshotRef,
    },
    /// The journal's clock went to `to` over time that did not pass: what was stamped before looks older than it is by that much.
    ClockJumped {
        to: Timestamp,
        skipped_ms: i64,
    },
    /// A slot epoch begins.
    SlotTaken {
        slot: CoordinatorSlot,
        epoch: SlotEpoch,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
    },
    /// What is set on brokers or a group, whole.
    ResourceConfigsAltered {
        resource: ConfigResource,
        configs: BTreeMap<String, String>,
    },
    /// Client quotas changed.
    ClientQuotasAltered {
        /// Sorted by entity, each at most once; what is set now, whole.
        altered: Vec<(ClientQuotaEntity, EntityQuotas)>,
    },
    /// The level in force of partitions is another (rule R5).
    DurabilityChanged {
        partitions: Vec<PartitionDurability>,
    },
    /// A coordinator saved rows.
    RowsSaved(Box<RowsSaved>),
    /// A rewritten object is in the place of older segments.
    SegmentsReplaced(Box<SegmentsReplaced>),
    /// The first event of a journal that was made of what the store held: the state after it is the snapshot's.
    Rebuilt {
        cluster: ClusterId,
        snapshot: SnapshotRef,
    },
}

impl Event {
    /// Whether the event is put into the store by itself, beside the journal: a rebuild learns of it from nothing else until the next
    /// snapshot (rule R15). Of publishes and rewrites the objects themselves tell.
    pub(crate) fn is_mirrored(&self) -> bool {
        match self {
            Self::BrokerRegistered { .. }
            | Self::BrokerEnded { .. }
            | Self::TopicCreated { .. }
            | Self::PartitionsAdded { .. }
            | Self::TopicDeleted { .. }
            | Self::TopicConfigsAltered { .. }
            | Self::ResourceConfigsAltered { .. }
            | Self::ClientQuotasAltered { .. }
            | Self::DurabilityChanged { .. }
            | Self::LogStartsAdvanced { .. }
            | Self::PartitionsElected { .. } => true,
            Self::LeaderStarted
            | Self::ClusterCreated { .. }
            | Self::StoreClaimed
            | Self::SyncedReported { .. }
            | Self::Published(_)
            | Self::SegmentsReplaced(_)
            | Self::ProducerIdsAllocated { .. }
            | Self::ObjectsDead { .. }
            | Self::ObjectsDeleted { .. }
            | Self::SnapshotTaken { .. }
            | Self::ClockJumped { .. }
            | Self::SlotTaken { .. }
            | Self::RowsSaved(_)
            | Self::Rebuilt { .. } => false,
        }
    }
}

/// See [`Event::Published`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Published {
    pub(crate) broker: BrokerId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) sequence: PublishSequence,
    pub(crate) digest: u64,
    pub(crate) object: Option<PublishedObject>,
    pub(crate) end_lsn: Lsn,
    pub(crate) object_floor: ObjectNumber,
    pub(crate) synced: Lsn,
    pub(crate) pressure: u32,
    pub(crate) producers_expire_before: Timestamp,
    /// For the object, if no partition was accepted.
    pub(crate) not_before: Timestamp,
    /// Sorted by partition.
    pub(crate) accepted: Vec<Accepted>,
    /// Sorted by partition.
    pub(crate) refused: Vec<(TopicPartition, PartitionRefusal)>,
}

/// A partition's part of a publish.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Accepted {
    pub(crate) partition: TopicPartition,
    pub(crate) segment: SegmentRef,
    /// Leader epochs that are new to the partition's history.
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) producers: Vec<ProducerDelta>,
}

/// See [`Event::RowsSaved`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RowsSaved {
    pub(crate) slot: CoordinatorSlot,
    pub(crate) epoch: SlotEpoch,
    pub(crate) sequence: SaveSequence,
    pub(crate) digest: u64,
    /// Sorted by key, each at most once; without value where the row is removed.
    pub(crate) rows: Vec<(RowBytes, Option<RowBytes>)>,
}

/// A partition's new level in force.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PartitionDurability {
    pub(crate) partition: TopicPartition,
    pub(crate) level: Durability,
    /// Of the topic's configs that asked for it.
    pub(crate) config_revision: Revision,
}
/// See [`Event::SegmentsReplaced`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct SegmentsReplaced {
    /// Who wrote the object.
    pub(crate) broker: BrokerId,
    pub(crate) object: PublishedObject,
    pub(crate) object_floor: ObjectNumber,
    /// For objects of which no segment is left.
    pub(crate) not_before: Timestamp,
    /// Sorted by partition.
    pub(crate) replaced: Vec<Replaced>,
}

/// A partition's part of a replacement.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Replaced {
    pub(crate) partition: TopicPartition,
    /// How many segments there were between the base and the end of the new one.
    pub(crate) old: u32,
    pub(crate) new: SegmentRef,
}

/// A partition as it is created.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct NewPartition {
    pub(crate) leader: BrokerId,
    pub(crate) owner: WalId,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) durability: Durability,
}

/// A partition's new owner.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Elected {
    pub(crate) partition: TopicPartition,
    pub(crate) leader: BrokerId,
    pub(crate) owner: WalId,
    /// From where the new leader epoch assigns offsets.
    pub(crate) next_offset: Offset,
}
