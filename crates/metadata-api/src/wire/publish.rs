//! Publish requests, answers and verdicts.

use types::{BrokerEpoch, BrokerId, LeaderEpoch, Lsn, ObjectNumber, Offset, PublishSequence, Revision};

use super::{WireError, required, segment_from_proto, segment_to_proto, wrong};
use crate::{
    PartitionPublish, PartitionRefusal, PartitionVerdict, ProducerDelta, PublishAnswer, PublishRequest, PublishedObject, Run, proto,
};

impl From<Run> for proto::Run {
    fn from(value: Run) -> Self {
        Self { leader_epoch: value.leader_epoch.0, base: value.base.0, span: value.end.0.abs_diff(value.base.0) }
    }
}

impl TryFrom<proto::Run> for Run {
    type Error = WireError;
    fn try_from(value: proto::Run) -> Result<Self, WireError> {
        let end = value.base.checked_add_unsigned(value.span).ok_or_else(|| wrong(format!("run {} + {}", value.base, value.span)))?;
        Ok(Self { leader_epoch: LeaderEpoch(value.leader_epoch), base: Offset(value.base), end: Offset(end) })
    }
}

impl From<&PublishRequest> for proto::PublishRequest {
    /// A segment keeps its own key if it differs from the publish's, so that the service sees and refuses it.
    fn from(value: &PublishRequest) -> Self {
        let object = value.object.map(|object| object.key);
        let partition = |part: &PartitionPublish| proto::PartitionPublish {
            partition: Some(part.partition.into()),
            segment: Some(segment_to_proto(&part.segment, Some(part.segment.object) != object)),
            runs: part.runs.iter().map(|run| (*run).into()).collect(),
            gap: part.gap,
            producers: part.producers.iter().map(proto::Producer::from).collect(),
        };
        Self {
            broker: value.broker.0,
            epoch: value.epoch.0,
            sequence: value.sequence.0,
            object: value.object.map(proto::PublishedObject::from),
            first_lsn: value.first_lsn.0,
            end_lsn: value.end_lsn.0,
            object_floor: value.object_floor.0,
            synced: value.synced.0,
            partitions: value.partitions.iter().map(partition).collect(),
        }
    }
}

impl TryFrom<proto::PublishRequest> for PublishRequest {
    type Error = WireError;
    fn try_from(value: proto::PublishRequest) -> Result<Self, WireError> {
        let object = value.object.map(PublishedObject::try_from).transpose()?;
        let partition = |part: proto::PartitionPublish| -> Result<PartitionPublish, WireError> {
            Ok(PartitionPublish {
                partition: required(part.partition, "partition")?.try_into()?,
                segment: segment(part.segment, object)?,
                runs: part.runs.into_iter().map(Run::try_from).collect::<Result<_, _>>()?,
                gap: part.gap,
                producers: part.producers.into_iter().map(ProducerDelta::try_from).collect::<Result<_, _>>()?,
            })
        };
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            sequence: PublishSequence(value.sequence),
            object,
            first_lsn: Lsn(value.first_lsn),
            end_lsn: Lsn(value.end_lsn),
            object_floor: ObjectNumber(value.object_floor),
            synced: Lsn(value.synced),
            partitions: value.partitions.into_iter().map(partition).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PartitionRefusal> for proto::Refusal {
    fn from(value: &PartitionRefusal) -> Self {
        use proto::refusal::Kind;
        Self {
            kind: Some(match value {
                PartitionRefusal::Gone => Kind::Gone(true),
                PartitionRefusal::NotOwned { leader_epoch } => Kind::NotOwned(leader_epoch.0),
                PartitionRefusal::WrongOffset { next_offset } => Kind::WrongOffset(next_offset.0),
            }),
        }
    }
}

impl TryFrom<proto::Refusal> for PartitionRefusal {
    type Error = WireError;
    fn try_from(value: proto::Refusal) -> Result<Self, WireError> {
        use proto::refusal::Kind;
        Ok(match required(value.kind, "refusal")? {
            Kind::Gone(_) => Self::Gone,
            Kind::NotOwned(epoch) => Self::NotOwned { leader_epoch: LeaderEpoch(epoch) },
            Kind::WrongOffset(next) => Self::WrongOffset { next_offset: Offset(next) },
        })
    }
}

impl From<&PartitionVerdict> for proto::Verdict {
    fn from(value: &PartitionVerdict) -> Self {
        use proto::verdict::Kind;
        Self {
            kind: Some(match value {
                PartitionVerdict::Accepted { next_offset } => Kind::Accepted(next_offset.0),
                PartitionVerdict::Refused(refusal) => Kind::Refused(refusal.into()),
            }),
        }
    }
}

impl TryFrom<proto::Verdict> for PartitionVerdict {
    type Error = WireError;
    fn try_from(value: proto::Verdict) -> Result<Self, WireError> {
        use proto::verdict::Kind;
        Ok(match required(value.kind, "verdict")? {
            Kind::Accepted(next) => Self::Accepted { next_offset: Offset(next) },
            Kind::Refused(refusal) => Self::Refused(refusal.try_into()?),
        })
    }
}

impl From<&PublishAnswer> for proto::PublishResponse {
    fn from(value: &PublishAnswer) -> Self {
        Self { revision: value.revision.0, verdicts: value.verdicts.iter().map(proto::Verdict::from).collect(), pressure: value.pressure }
    }
}

impl TryFrom<proto::PublishResponse> for PublishAnswer {
    type Error = WireError;
    fn try_from(value: proto::PublishResponse) -> Result<Self, WireError> {
        Ok(Self {
            revision: Revision(value.revision),
            verdicts: value.verdicts.into_iter().map(PartitionVerdict::try_from).collect::<Result<_, _>>()?,
            pressure: value.pressure,
        })
    }
}

/// A segment of the publish's object, or of the one it names itself: the service refuses that, but in its own words.
fn segment(segment: Option<proto::Segment>, object: Option<PublishedObject>) -> Result<types::SegmentRef, WireError> {
    let segment = required(segment, "segment")?;
    let inherited = object.map(|object| object.key).filter(|_| segment.object.is_empty());
    segment_from_proto(segment, inherited)
}
