//! Replacements of segments.

use types::{BrokerEpoch, BrokerId, ObjectNumber, Revision};

use super::{WireError, required, segment_from_proto, segment_to_proto, wrong};
use crate::{PartitionReplacement, PublishedObject, ReplaceAnswer, ReplaceSegments, ReplaceVerdict, proto};

use proto::replace_segments_response::Verdict;

impl From<&ReplaceSegments> for proto::ReplaceSegmentsRequest {
    /// A new segment keeps its own key if it differs from the object's, so that the service sees and refuses it.
    fn from(value: &ReplaceSegments) -> Self {
        let partition = |part: &PartitionReplacement| proto::PartitionReplacement {
            partition: Some(part.partition.into()),
            old: part.old.iter().map(|segment| segment_to_proto(segment, true)).collect(),
            new: Some(segment_to_proto(&part.new, part.new.object != value.object.key)),
        };
        Self {
            broker: value.broker.0,
            epoch: value.epoch.0,
            object: Some(value.object.into()),
            object_floor: value.object_floor.0,
            partitions: value.partitions.iter().map(partition).collect(),
        }
    }
}

impl TryFrom<proto::ReplaceSegmentsRequest> for ReplaceSegments {
    type Error = WireError;
    fn try_from(value: proto::ReplaceSegmentsRequest) -> Result<Self, WireError> {
        let object: PublishedObject = required(value.object, "object")?.try_into()?;
        let partition = |part: proto::PartitionReplacement| -> Result<PartitionReplacement, WireError> {
            let new = required(part.new, "new segment")?;
            let inherited = Some(object.key).filter(|_| new.object.is_empty());
            Ok(PartitionReplacement {
                partition: required(part.partition, "partition")?.try_into()?,
                old: part.old.into_iter().map(|segment| segment_from_proto(segment, None)).collect::<Result<_, _>>()?,
                new: segment_from_proto(new, inherited)?,
            })
        };
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            object,
            object_floor: ObjectNumber(value.object_floor),
            partitions: value.partitions.into_iter().map(partition).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&ReplaceAnswer> for proto::ReplaceSegmentsResponse {
    fn from(value: &ReplaceAnswer) -> Self {
        let verdict = |verdict: &ReplaceVerdict| match verdict {
            ReplaceVerdict::Replaced => Verdict::Replaced.into(),
            ReplaceVerdict::Gone => Verdict::Gone.into(),
            ReplaceVerdict::NotLeader => Verdict::NotLeader.into(),
            ReplaceVerdict::Changed => Verdict::Changed.into(),
        };
        Self { revision: value.revision.0, verdicts: value.verdicts.iter().map(verdict).collect() }
    }
}

impl TryFrom<proto::ReplaceSegmentsResponse> for ReplaceAnswer {
    type Error = WireError;
    fn try_from(value: proto::ReplaceSegmentsResponse) -> Result<Self, WireError> {
        let verdict = |verdict: i32| match Verdict::try_from(verdict) {
            Ok(Verdict::Replaced) => Ok(ReplaceVerdict::Replaced),
            Ok(Verdict::Gone) => Ok(ReplaceVerdict::Gone),
            Ok(Verdict::NotLeader) => Ok(ReplaceVerdict::NotLeader),
            Ok(Verdict::Changed) => Ok(ReplaceVerdict::Changed),
            Ok(Verdict::Unspecified) | Err(_) => Err(wrong(format!("verdict {verdict} is unknown"))),
        };
        Ok(Self { revision: Revision(value.revision), verdicts: value.verdicts.into_iter().map(verdict).collect::<Result<_, _>>()? })
    }
}
