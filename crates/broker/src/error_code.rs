//! The only place where an internal error becomes a Kafka error code, chosen by what Java's clients and librdkafka do with each.
//!
//! - What passes by itself gets a code that both retry: NOT_LEADER_OR_FOLLOWER where a look at fresh metadata helps,
//!   NOT_ENOUGH_REPLICAS where only time does, KAFKA_STORAGE_ERROR where a person may have to.
//! - Nothing becomes UNKNOWN_SERVER_ERROR: librdkafka's idempotent producer ends for good on it, and Java's reports a record as
//!   failed that may be in the log.
//!
//! No `_` arm: a new variant must stop the build here.

#![deny(clippy::wildcard_enum_match_arm)]

use group::GroupError;
use metadata_api::MetadataError;
use partition::{AppendError, CloseReason, DeleteRecordsError, ReadError};
use protocol::ErrorCode;
use records::{BatchError, DecodeError, DecompressError, DownConversionError, MessageSetError};

use crate::coordinator::CoordinatorError;

fn closed(reason: CloseReason) -> ErrorCode {
    match reason {
        CloseReason::Deleted => ErrorCode::UnknownTopicOrPartition,
        CloseReason::LeadershipLost { .. } | CloseReason::Stopping => ErrorCode::NotLeaderOrFollower,
    }
}

/// Produce: why a batch was not appended, or is not known to be durable.
pub(crate) fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Closed { reason, .. } => closed(*reason),
        AppendError::Recovering { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        AppendError::ControlFromClient => ErrorCode::InvalidRecord,
        AppendError::TooManyProducers { .. }
        | AppendError::TooManyWaiting { .. }
        | AppendError::TooManyUnpublished { .. }
        | AppendError::TooFarAhead { .. }
        | AppendError::LogFull { .. }
        | AppendError::DiskFull { .. } => ErrorCode::NotEnoughReplicas,
        AppendError::Halted { .. } | AppendError::LogStopped { .. } => ErrorCode::KafkaStorageError,
    }
}

/// Produce: why a batch was refused before it reached its partition.
pub(crate) fn batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Truncated { .. } | BatchError::Length(_) | BatchError::Corrupt(_) => ErrorCode::CorruptMessage,
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::UnsupportedCompression(_) => ErrorCode::UnsupportedCompressionType,
        BatchError::InvalidTimestamp { .. } | BatchError::TimestampType => ErrorCode::InvalidTimestamp,
        // Bytes that passed their checksum are what the producer meant: sending them again cannot help.
        BatchError::Empty
        | BatchError::NotOneBatch { .. }
        | BatchError::UnsupportedMagic(_)
        | BatchError::InvalidRecord(_)
        | BatchError::InvalidRecords(_)
        | BatchError::Undecodable(_) => ErrorCode::InvalidRecord,
    }
}

/// Produce up to version 2: why a message set did not become a batch.
pub(crate) fn message_set(error: &MessageSetError) -> ErrorCode {
    match error {
        MessageSetError::Corrupt { .. } => ErrorCode::CorruptMessage,
        MessageSetError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        MessageSetError::UnsupportedCodec { .. } => ErrorCode::UnsupportedCompressionType,
        MessageSetError::TimestampType { .. } => ErrorCode::InvalidTimestamp,
        MessageSetError::Empty | MessageSetError::Invalid { .. } | MessageSetError::Undecodable { .. } => ErrorCode::InvalidRecord,
    }
}

/// Fetch up to version 3: why batches did not become messages. A batch that is too large to be opened stays so; consumers that read
/// batches get past it.
pub(crate) fn down_conversion(error: &DownConversionError) -> ErrorCode {
    match error {
        DownConversionError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        DownConversionError::Batch { source, .. } => match source {
            DecodeError::Decompress(DecompressError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
            DecodeError::Decompress(DecompressError::Damaged { .. })
            | DecodeError::Header(_)
            | DecodeError::Length { .. }
            | DecodeError::Crc(_)
            | DecodeError::Record(_) => ErrorCode::CorruptMessage,
        },
    }
}

/// Fetch, ListOffsets, OffsetForLeaderEpoch: why a partition could not be read.
pub(crate) fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Closed { reason, .. } => closed(*reason),
        // Never OFFSET_OUT_OF_RANGE while the end of the log is not known: consumers would reset their position (rule R17).
        ReadError::Recovering { .. } | ReadError::Unsettled { .. } => ErrorCode::NotLeaderOrFollower,
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Lookup { source, .. } => lookup(source),
        ReadError::Store { .. } | ReadError::Log { .. } => ErrorCode::KafkaStorageError,
        ReadError::Damaged { .. } => ErrorCode::CorruptMessage,
    }
}

/// DeleteRecords: why a log start was not moved.
pub(crate) fn delete_records(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::Read(error) => read(error),
        DeleteRecordsError::NotPublished { .. } => ErrorCode::RequestTimedOut,
        DeleteRecordsError::Metadata { source, .. } => lookup(source),
    }
}

/// A read of metadata on the way to records.
fn lookup(error: &MetadataError) -> ErrorCode {
    match error {
        MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
        MetadataError::Fenced { .. } => ErrorCode::NotLeaderOrFollower,
        MetadataError::Unavailable { .. }
        | MetadataError::Unknown { .. }
        | MetadataError::SlotFenced { .. }
        | MetadataError::DuplicateBroker { .. }
        | MetadataError::WrongCluster { .. }
        | MetadataError::RolledBack { .. }
        | MetadataError::TopicExists { .. }
        | MetadataError::InvalidTopicName { .. }
        | MetadataError::InvalidPartitions { .. }
        | MetadataError::InvalidReplicationFactor { .. }
        | MetadataError::ConfigConflict { .. }
        | MetadataError::ResourceConfigConflict { .. }
        | MetadataError::Invalid { .. } => ErrorCode::KafkaStorageError,
    }
}

/// Topics, partitions, configs: why metadata did not do it.
pub(crate) fn admin(error: &MetadataError) -> ErrorCode {
    match error {
        MetadataError::Unavailable { .. }
        | MetadataError::Fenced { .. }
        | MetadataError::SlotFenced { .. }
        | MetadataError::DuplicateBroker { .. }
        | MetadataError::WrongCluster { .. }
        | MetadataError::RolledBack { .. } => ErrorCode::NotController,
        MetadataError::Unknown { .. } => ErrorCode::RequestTimedOut,
        MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
        MetadataError::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
        MetadataError::InvalidTopicName { .. } => ErrorCode::InvalidTopicException,
        MetadataError::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
        MetadataError::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        MetadataError::ConfigConflict { .. } | MetadataError::ResourceConfigConflict { .. } => ErrorCode::InvalidUpdateVersion,
        MetadataError::Invalid { .. } => ErrorCode::InvalidRequest,
    }
}

/// InitProducerId: metadata gave no block. Producers retry it like a coordinator that is still loading.
pub(crate) fn producer_id(error: &MetadataError) -> ErrorCode {
    match error {
        MetadataError::Invalid { .. } => ErrorCode::InvalidRequest,
        MetadataError::Unavailable { .. }
        | MetadataError::Unknown { .. }
        | MetadataError::Fenced { .. }
        | MetadataError::SlotFenced { .. }
        | MetadataError::DuplicateBroker { .. }
        | MetadataError::WrongCluster { .. }
        | MetadataError::RolledBack { .. }
        | MetadataError::UnknownTopic { .. }
        | MetadataError::UnknownPartition { .. }
        | MetadataError::TopicExists { .. }
        | MetadataError::InvalidTopicName { .. }
        | MetadataError::InvalidPartitions { .. }
        | MetadataError::InvalidReplicationFactor { .. }
        | MetadataError::ConfigConflict { .. }
        | MetadataError::ResourceConfigConflict { .. } => ErrorCode::CoordinatorLoadInProgress,
    }
}

/// Group APIs: why a coordinator did not do it. Clients look for the coordinator again and ask it, but where the group itself refused.
pub(crate) fn coordinator(error: &CoordinatorError) -> ErrorCode {
    match error {
        CoordinatorError::NotCoordinator => ErrorCode::NotCoordinator,
        CoordinatorError::Loading => ErrorCode::CoordinatorLoadInProgress,
        CoordinatorError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        // As Kafka's: to try again with as many members cannot help.
        CoordinatorError::TooLarge => ErrorCode::UnknownServerError,
        CoordinatorError::Group(error) => group(error),
    }
}

/// Group APIs: why a group refused a request, a member or a partition.
pub(crate) fn group(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownMemberId { .. } => ErrorCode::UnknownMemberId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::MemberIdRequired { .. } => ErrorCode::MemberIdRequired,
        GroupError::FencedInstanceId(_) => ErrorCode::FencedInstanceId,
        GroupError::UnreleasedInstanceId(_) => ErrorCode::UnreleasedInstanceId,
        GroupError::GroupMaxSizeReached { .. } | GroupError::GroupTooLarge { .. } => ErrorCode::GroupMaxSizeReached,
        GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::GroupIdNotFound(_) => ErrorCode::GroupIdNotFound,
        GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        GroupError::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupError::CommitTooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupError::FencedMemberEpoch(_) => ErrorCode::FencedMemberEpoch,
        GroupError::StaleMemberEpoch(_) => ErrorCode::StaleMemberEpoch,
        GroupError::UnsupportedAssignor(_) => ErrorCode::UnsupportedAssignor,
        GroupError::InvalidRegularExpression(_) => ErrorCode::InvalidRegularExpression,
        GroupError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        GroupError::UnsupportedVersion(_) => ErrorCode::UnsupportedVersion,
    }
}
