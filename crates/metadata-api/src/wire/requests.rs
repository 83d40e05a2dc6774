//! Requests and answers other than publish.

use types::{BrokerEpoch, BrokerId, LeaderEpoch, Lsn, Offset, ProducerWindows, Revision};

use super::{
    WireError, cluster_id, configs_from_proto, configs_to_proto, durability, endpoints_from_proto, endpoints_to_proto, id_bytes, required,
    segment_from_proto, segment_to_proto, topic_id, wal_id, wrong,
};
use crate::{
    AdvanceLogStart, AlterTopicConfigs, CreatePartitions, CreateTopic, DurabilityChange, EnforceDurability, HeartbeatAnswer,
    HeartbeatRequest, PartitionState, ProducerDelta, RegisterBroker, Registration, SegmentPage, TopicCreated, proto,
};

impl From<&RegisterBroker> for proto::RegisterBrokerRequest {
    fn from(value: &RegisterBroker) -> Self {
        Self {
            broker: value.broker.0,
            wal: id_bytes(value.wal.as_bytes()),
            cluster: value.cluster.map(|cluster| id_bytes(cluster.as_bytes())).unwrap_or_default(),
            endpoints: endpoints_to_proto(&value.endpoints),
            rack: value.rack.clone(),
            revision_seen: value.revision_seen.0,
            unpublished: value
                .unpublished
                .iter()
                .map(|(partition, end)| proto::PartitionEnd { partition: Some((*partition).into()), end: end.0 })
                .collect(),
        }
    }
}

impl TryFrom<proto::RegisterBrokerRequest> for RegisterBroker {
    type Error = WireError;
    fn try_from(value: proto::RegisterBrokerRequest) -> Result<Self, WireError> {
        Ok(Self {
            broker: BrokerId(value.broker),
            wal: wal_id(&value.wal)?,
            cluster: if value.cluster.is_empty() { None } else { Some(cluster_id(&value.cluster)?) },
            endpoints: endpoints_from_proto(value.endpoints)?,
            rack: value.rack,
            revision_seen: Revision(value.revision_seen),
            unpublished: value
                .unpublished
                .into_iter()
                .map(|end| Ok((required(end.partition, "partition")?.try_into()?, Offset(end.end))))
                .collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<&Registration> for proto::RegisterBrokerResponse {
    fn from(value: &Registration) -> Self {
        Self {
            cluster: id_bytes(value.cluster.as_bytes()),
            epoch: value.epoch.0,
            last_published: value.last_published.0,
            rebuilt: value.rebuilt,
            synced_seen: value.synced_seen.0,
            revision: value.revision.0,
            partitions: value.partitions.iter().map(proto::PartitionState::from).collect(),
        }
    }
}

impl TryFrom<proto::RegisterBrokerResponse> for Registration {
    type Error = WireError;
    fn try_from(value: proto::RegisterBrokerResponse) -> Result<Self, WireError> {
        Ok(Self {
            cluster: cluster_id(&value.cluster)?,
            epoch: BrokerEpoch(value.epoch),
            last_published: Lsn(value.last_published),
            rebuilt: value.rebuilt,
            synced_seen: Lsn(value.synced_seen),
            revision: Revision(value.revision),
            partitions: value.partitions.into_iter().map(PartitionState::try_from).collect::<Result<_, _>>()?,
        })
    }
}

/// All windows of a partition, by producer id.
fn producers_to_proto(windows: &ProducerWindows) -> Vec<proto::Producer> {
    windows.iter().map(|(producer, window)| proto::Producer::from(&ProducerDelta { producer, window: window.clone() })).collect()
}

impl From<&PartitionState> for proto::PartitionState {
    fn from(value: &PartitionState) -> Self {
        Self {
            partition: Some(value.partition.into()),
            leader_epoch: value.leader_epoch.0,
            epochs: value.epochs.iter().map(|start| (*start).into()).collect(),
            log_start: value.log_start.0,
            next_offset: value.next_offset.0,
            durability: proto::Durability::from(value.durability).into(),
            producers: producers_to_proto(&value.producers),
        }
    }
}

impl TryFrom<proto::PartitionState> for PartitionState {
    type Error = WireError;
    fn try_from(value: proto::PartitionState) -> Result<Self, WireError> {
        let mut producers = ProducerWindows::default();
        for producer in value.producers {
            let ProducerDelta { producer, window } = producer.try_into()?;
            producers.insert(producer, window);
        }
        Ok(Self {
            partition: required(value.partition, "partition")?.try_into()?,
            leader_epoch: LeaderEpoch(value.leader_epoch),
            epochs: value.epochs.into_iter().map(Into::into).collect(),
            log_start: Offset(value.log_start),
            next_offset: Offset(value.next_offset),
            durability: durability(value.durability)?,
            producers,
        })
    }
}

impl From<HeartbeatRequest> for proto::HeartbeatRequest {
    fn from(value: HeartbeatRequest) -> Self {
        Self { broker: value.broker.0, epoch: value.epoch.0, synced: value.synced.0, unoffloaded_bytes: value.unoffloaded_bytes }
    }
}

impl From<proto::HeartbeatRequest> for HeartbeatRequest {
    fn from(value: proto::HeartbeatRequest) -> Self {
        Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            synced: Lsn(value.synced),
            unoffloaded_bytes: value.unoffloaded_bytes,
        }
    }
}

impl From<proto::HeartbeatResponse> for HeartbeatAnswer {
    fn from(value: proto::HeartbeatResponse) -> Self {
        Self { revision: Revision(value.revision) }
    }
}

impl From<&CreateTopic> for proto::CreateTopicRequest {
    fn from(value: &CreateTopic) -> Self {
        Self {
            name: value.name.clone(),
            partitions: value.partitions,
            replication_factor: value.replication_factor.into(),
            configs: configs_to_proto(&value.configs),
            durability: proto::Durability::from(value.durability).into(),
            validate_only: value.validate_only,
        }
    }
}

impl TryFrom<proto::CreateTopicRequest> for CreateTopic {
    type Error = WireError;
    fn try_from(value: proto::CreateTopicRequest) -> Result<Self, WireError> {
        Ok(Self {
            name: value.name,
            partitions: value.partitions,
            replication_factor: i16::try_from(value.replication_factor)
                .map_err(|_| wrong(format!("replication factor {}", value.replication_factor)))?,
            configs: configs_from_proto(value.configs),
            durability: durability(value.durability)?,
            validate_only: value.validate_only,
        })
    }
}

impl TryFrom<proto::CreateTopicResponse> for TopicCreated {
    type Error = WireError;
    fn try_from(value: proto::CreateTopicResponse) -> Result<Self, WireError> {
        Ok(Self { topic: topic_id(&value.topic)?, revision: Revision(value.revision) })
    }
}

impl From<&CreatePartitions> for proto::CreatePartitionsRequest {
    fn from(value: &CreatePartitions) -> Self {
        Self {
            topic: id_bytes(value.topic.as_bytes()),
            total: value.total,
            durability: proto::Durability::from(value.durability).into(),
            validate_only: value.validate_only,
        }
    }
}

impl TryFrom<proto::CreatePartitionsRequest> for CreatePartitions {
    type Error = WireError;
    fn try_from(value: proto::CreatePartitionsRequest) -> Result<Self, WireError> {
        Ok(Self {
            topic: topic_id(&value.topic)?,
            total: value.total,
            durability: durability(value.durability)?,
            validate_only: value.validate_only,
        })
    }
}

impl From<&AlterTopicConfigs> for proto::AlterTopicConfigsRequest {
    fn from(value: &AlterTopicConfigs) -> Self {
        Self { topic: id_bytes(value.topic.as_bytes()), expected: value.expected.0, configs: configs_to_proto(&value.configs) }
    }
}

impl TryFrom<proto::AlterTopicConfigsRequest> for AlterTopicConfigs {
    type Error = WireError;
    fn try_from(value: proto::AlterTopicConfigsRequest) -> Result<Self, WireError> {
        Ok(Self { topic: topic_id(&value.topic)?, expected: Revision(value.expected), configs: configs_from_proto(value.configs) })
    }
}

impl From<&EnforceDurability> for proto::EnforceDurabilityRequest {
    fn from(value: &EnforceDurability) -> Self {
        let change = |change: &DurabilityChange| proto::DurabilityChange {
            partition: Some(change.partition.into()),
            level: proto::Durability::from(change.level).into(),
            config_revision: change.config_revision.0,
            log_end: change.log_end.0,
        };
        Self { broker: value.broker.0, epoch: value.epoch.0, changes: value.changes.iter().map(change).collect() }
    }
}

impl TryFrom<proto::EnforceDurabilityRequest> for EnforceDurability {
    type Error = WireError;
    fn try_from(value: proto::EnforceDurabilityRequest) -> Result<Self, WireError> {
        let change = |change: proto::DurabilityChange| {
            Ok(DurabilityChange {
                partition: required(change.partition, "partition")?.try_into()?,
                level: durability(change.level)?,
                config_revision: Revision(change.config_revision),
                log_end: Offset(change.log_end),
            })
        };
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            changes: value.changes.into_iter().map(change).collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<AdvanceLogStart> for proto::AdvanceLogStartRequest {
    fn from(value: AdvanceLogStart) -> Self {
        Self { broker: value.broker.0, epoch: value.epoch.0, partition: Some(value.partition.into()), log_start: value.log_start.0 }
    }
}

impl TryFrom<proto::AdvanceLogStartRequest> for AdvanceLogStart {
    type Error = WireError;
    fn try_from(value: proto::AdvanceLogStartRequest) -> Result<Self, WireError> {
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            partition: required(value.partition, "partition")?.try_into()?,
            log_start: Offset(value.log_start),
        })
    }
}

impl From<&SegmentPage> for proto::SegmentPage {
    fn from(value: &SegmentPage) -> Self {
        Self {
            revision: value.revision.0,
            log_start: value.log_start.0,
            next_offset: value.next_offset.0,
            segments: value.segments.iter().map(|segment| segment_to_proto(segment, true)).collect(),
            more: value.more,
        }
    }
}

impl TryFrom<proto::SegmentPage> for SegmentPage {
    type Error = WireError;
    fn try_from(value: proto::SegmentPage) -> Result<Self, WireError> {
        Ok(Self {
            revision: Revision(value.revision),
            log_start: Offset(value.log_start),
            next_offset: Offset(value.next_offset),
            segments: value.segments.into_iter().map(|segment| segment_from_proto(segment, None)).collect::<Result<_, _>>()?,
            more: value.more,
        })
    }
}
