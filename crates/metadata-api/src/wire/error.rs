//! Errors as gRPC statuses with a typed detail.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use types::{BrokerEpoch, BrokerId, Revision, SlotEpoch, TopicPartition};

use super::{WireError, cluster_id, id_bytes, required, topic_id};
use crate::{MetadataError, proto};

use proto::error_detail::{Fenced, Kind, RolledBack, SlotFenced, WrongCluster};

/// The status that carries `err`.
pub fn status_from_error(err: &MetadataError) -> Status {
    let (code, kind) = match err.clone() {
        MetadataError::Unavailable { detail } => (Code::Unavailable, Kind::Unavailable(detail)),
        MetadataError::Unknown { detail } => (Code::Unknown, Kind::Unknown(detail)),
        MetadataError::Fenced { broker, epoch, current } => {
            (Code::FailedPrecondition, Kind::Fenced(Fenced { broker: broker.0, epoch: epoch.0, current: current.0 }))
        }
        MetadataError::SlotFenced { slot, epoch, current } => {
            let fenced = SlotFenced { slot: Some(slot.into()), epoch: epoch.0, current: current.0 };
            (Code::FailedPrecondition, Kind::SlotFenced(fenced))
        }
        MetadataError::DuplicateBroker { broker } => (Code::AlreadyExists, Kind::DuplicateBroker(broker.0)),
        MetadataError::WrongCluster { ours, theirs } => (
            Code::FailedPrecondition,
            Kind::WrongCluster(WrongCluster { ours: id_bytes(ours.as_bytes()), theirs: id_bytes(theirs.as_bytes()) }),
        ),
        MetadataError::RolledBack { current, seen } => (Code::DataLoss, Kind::RolledBack(RolledBack { current: current.0, seen: seen.0 })),
        MetadataError::UnknownTopic { topic } => (Code::NotFound, Kind::UnknownTopic(id_bytes(topic.as_bytes()))),
        MetadataError::UnknownPartition { topic, partition } => {
            (Code::NotFound, Kind::UnknownPartition(proto::TopicPartition { topic: id_bytes(topic.as_bytes()), partition }))
        }
        MetadataError::TopicExists { name } => (Code::AlreadyExists, Kind::TopicExists(name)),
        MetadataError::InvalidTopicName { detail } => (Code::InvalidArgument, Kind::InvalidTopicName(detail)),
        MetadataError::InvalidPartitions { detail } => (Code::InvalidArgument, Kind::InvalidPartitions(detail)),
        MetadataError::InvalidReplicationFactor { detail } => (Code::InvalidArgument, Kind::InvalidReplicationFactor(detail)),
        MetadataError::ConfigConflict { topic } => (Code::Aborted, Kind::ConfigConflict(id_bytes(topic.as_bytes()))),
        MetadataError::ResourceConfigConflict { resource } => (Code::Aborted, Kind::ResourceConfigConflict((&resource).into())),
        MetadataError::Invalid { detail } => (Code::InvalidArgument, Kind::Invalid(detail)),
    };
    let detail = proto::ErrorDetail { kind: Some(kind) };
    Status::with_details(code, err.to_string(), Bytes::from(detail.encode_to_vec()))
}

/// The error that a status carries. A status of the transport leaves a write's outcome unknown; a read can simply be repeated.
pub fn error_from_status(status: &Status, is_write: bool) -> MetadataError {
    let typed = (!status.details().is_empty()).then(|| typed_error(status.details())).and_then(Result::ok);
    let detail = || format!("{}: {}", status.code(), status.message());
    match typed {
        Some(err) => err,
        None if is_write => MetadataError::Unknown { detail: detail() },
        None => MetadataError::Unavailable { detail: detail() },
    }
}

fn typed_error(details: &[u8]) -> Result<MetadataError, WireError> {
    let detail = proto::ErrorDetail::decode(details).map_err(|err| WireError(err.to_string()))?;
    Ok(match required(detail.kind, "kind of error")? {
        Kind::Unavailable(detail) => MetadataError::Unavailable { detail },
        Kind::Unknown(detail) => MetadataError::Unknown { detail },
        Kind::Fenced(Fenced { broker, epoch, current }) => {
            MetadataError::Fenced { broker: BrokerId(broker), epoch: BrokerEpoch(epoch), current: BrokerEpoch(current) }
        }
        Kind::SlotFenced(SlotFenced { slot, epoch, current }) => {
            MetadataError::SlotFenced { slot: required(slot, "slot")?.try_into()?, epoch: SlotEpoch(epoch), current: SlotEpoch(current) }
        }
        Kind::DuplicateBroker(broker) => MetadataError::DuplicateBroker { broker: BrokerId(broker) },
        Kind::WrongCluster(WrongCluster { ours, theirs }) => {
            MetadataError::WrongCluster { ours: cluster_id(&ours)?, theirs: cluster_id(&theirs)? }
        }
        Kind::RolledBack(RolledBack { current, seen }) => MetadataError::RolledBack { current: Revision(current), seen: Revision(seen) },
        Kind::UnknownTopic(topic) => MetadataError::UnknownTopic { topic: topic_id(&topic)? },
        Kind::UnknownPartition(partition) => {
            let TopicPartition { topic, partition } = partition.try_into()?;
            MetadataError::UnknownPartition { topic, partition }
        }
        Kind::TopicExists(name) => MetadataError::TopicExists { name },
        Kind::InvalidTopicName(detail) => MetadataError::InvalidTopicName { detail },
        Kind::InvalidPartitions(detail) => MetadataError::InvalidPartitions { detail },
        Kind::InvalidReplicationFactor(detail) => MetadataError::InvalidReplicationFactor { detail },
        Kind::ConfigConflict(topic) => MetadataError::ConfigConflict { topic: topic_id(&topic)? },
        Kind::ResourceConfigConflict(resource) => MetadataError::ResourceConfigConflict { resource: resource.try_into()? },
        Kind::Invalid(detail) => MetadataError::Invalid { detail },
    })
}
