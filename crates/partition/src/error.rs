//! What can go wrong in a partition. Variants say what happened; `broker` alone knows which Kafka code each becomes.

use std::fmt;
use std::sync::Arc;

use metadata_api::MetadataError;
use store::StoreError;
use types::{LeaderEpoch, Lsn, Offset, ProducerEpoch, ProducerId, TopicPartition};
use wal::WalError;

/// Why a partition is not served here any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// Its topic was deleted.
    Deleted,
    /// A newer leader epoch is in force, here or at another broker: whoever asks must refresh its metadata and ask again.
    LeadershipLost {
        /// The newer epoch.
        current: LeaderEpoch,
    },
    /// The broker is going down.
    Stopping,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("its topic was deleted"),
            Self::LeadershipLost { current } => write!(f, "leader epoch {current} is in force"),
            Self::Stopping => f.write_str("the broker is stopping"),
        }
    }
}

/// The broker does not lead the partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("partition {partition} is not led by this broker")]
pub struct NotLed {
    /// Which partition.
    pub partition: TopicPartition,
}

/// Why a batch was not appended, or why its ticket failed. Nothing of the batch is in the log unless the variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The partition is not served here any more. From a ticket: the batch may or may not survive.
    #[error("partition {partition} is closed: {reason}")]
    Closed {
        /// Which partition.
        partition: TopicPartition,
        /// Why.
        reason: CloseReason,
    },
    /// The broker is still reading back its write-ahead log.
    #[error("partition {partition} is being recovered")]
    Recovering {
        /// Which partition.
        partition: TopicPartition,
    },
    /// Metadata refused a publish although this broker leads: the two disagree about the log, a person has to look. From a ticket:
    /// the batch is in the write-ahead log and not published.
    #[error("partition {partition} is halted: its log goes on at {published} for metadata, at {found} here")]
    Halted {
        /// Which partition.
        partition: TopicPartition,
        /// Metadata's next offset.
        published: Offset,
        /// The base offset that was to be published.
        found: Offset,
    },
    /// The batch does not follow the producer's last one.
    #[error("producer {producer}: sequence {expected} was expected, {found} came")]
    OutOfOrderSequence {
        /// Whose batch.
        producer: ProducerId,
        /// The sequence that would have been accepted.
        expected: i32,
        /// The batch's first sequence.
        found: i32,
    },
    /// The batch is older than the kept ones: it is in the log, its offset is forgotten.
    #[error("producer {producer}: sequences {first} to {last} were appended before the {kept} batches that are remembered")]
    DuplicateSequence {
        /// Whose batch.
        producer: ProducerId,
        /// Its first sequence.
        first: i32,
        /// Its last sequence.
        last: i32,
        /// Number of batches remembered.
        kept: usize,
    },
    /// A newer epoch of the producer has written already.
    #[error("producer {producer}: epoch {found} is older than {current}")]
    InvalidProducerEpoch {
        /// Whose batch.
        producer: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's.
        found: ProducerEpoch,
    },
    /// A transactional batch, or a plain one within a transaction of the same producer.
    #[error("producer {producer}: the batch does not fit the state of its transaction")]
    InvalidTransactionState {
        /// Whose batch.
        producer: ProducerId,
    },
    /// A client sent a control batch.
    #[error("a client may not write control batches")]
    ControlFromClient,
    /// The partition remembers as many live producers as it may; the ones it knows go on.
    #[error("the partition has {limit} live idempotent producers, no other can begin until one of them expires")]
    TooManyProducers {
        /// The most that are remembered.
        limit: usize,
    },
    /// As many appends of the partition wait as may.
    #[error("{limit} appends of the partition wait to become durable, no other can")]
    TooManyWaiting {
        /// The most that may wait.
        limit: usize,
    },
    /// The broker holds as many batches that are not in the store as it may.
    #[error("{entries} batches wait for the store, {limit} may")]
    TooManyUnpublished {
        /// How many do.
        entries: usize,
        /// How many may.
        limit: usize,
    },
    /// Offsets may not run further ahead of the published end: that is how far a new leader jumps to be clear of them.
    #[error("offset {last} lies more than {limit} above the published end {published}")]
    TooFarAhead {
        /// The last offset that would have been assigned.
        last: Offset,
        /// The published end.
        published: Offset,
        /// The allowed distance.
        limit: i64,
    },
    /// `wal.max.bytes` is reached; appends go on when the store has taken some of it.
    #[error("the write-ahead log is full: {used} of {limit} bytes wait for the store")]
    LogFull {
        /// Bytes that wait.
        used: u64,
        /// Bytes that may.
        limit: u64,
    },
    /// The disk's reserve would be touched.
    #[error("the write-ahead log's disk is nearly full: {free} bytes are free, {reserve} are kept back")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes kept back.
        reserve: u64,
    },
    /// The write-ahead log stopped for good. From a ticket: whether the batch survives is not known.
    #[error("the write-ahead log stopped: {reason}")]
    LogStopped {
        /// The first failure.
        reason: Arc<str>,
    },
}

impl From<WalError> for AppendError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Full { used, limit } => Self::LogFull { used, limit },
            WalError::DiskFull { free, reserve } => Self::DiskFull { free, reserve },
            WalError::Stopped { reason } => Self::LogStopped { reason },
            other @ (WalError::Damaged { .. } | WalError::Open { .. } | WalError::Read { .. }) => {
                Self::LogStopped { reason: other.to_string().into() }
            }
        }
    }
}

/// Why a partition could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The partition is not served here any more.
    #[error("partition {partition} is closed: {reason}")]
    Closed {
        /// Which partition.
        partition: TopicPartition,
        /// Why.
        reason: CloseReason,
    },
    /// The broker is still reading back its write-ahead log, so it does not know where the log ends: ask again.
    #[error("partition {partition} is being recovered")]
    Recovering {
        /// Which partition.
        partition: TopicPartition,
    },
    /// No such offset: retention has passed it, or it was never written.
    #[error("offset {offset} is not in the log, which goes from {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// First offset that may be read.
        log_start: Offset,
        /// What consumers may see.
        high_watermark: Offset,
        /// Next offset to be assigned.
        log_end: Offset,
    },
    /// Where the records are could not be learnt.
    #[error("look up segments of partition {partition}")]
    Lookup {
        /// Which partition.
        partition: TopicPartition,
        /// What metadata answered.
        source: MetadataError,
    },
    /// The object could not be read.
    #[error("read a segment of partition {partition}")]
    Store {
        /// Which partition.
        partition: TopicPartition,
        /// What the store answered.
        source: StoreError,
    },
    /// The write-ahead log could not be read.
    #[error("read partition {partition} from the write-ahead log")]
    Log {
        /// Which partition.
        partition: TopicPartition,
        /// What it answered.
        source: WalError,
    },
    /// What was read is not what was written. A person has to look.
    #[error("partition {partition}: {detail}")]
    Damaged {
        /// Which partition.
        partition: TopicPartition,
        /// Where, and what is wrong.
        detail: String,
    },
    /// The segment list changed faster than the read could follow: ask again.
    #[error("partition {partition}: the place of offset {offset} changed {attempts} times while it was read")]
    Unsettled {
        /// Which partition.
        partition: TopicPartition,
        /// What was to be read.
        offset: Offset,
        /// How often it was tried.
        attempts: usize,
    },
}

/// Why DeleteRecords failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// The partition cannot be read, or the offset lies above the high watermark.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The records could not be published before they were to be deleted: nothing is deleted.
    #[error("partition {partition} is published to {published}, records below {before} cannot be deleted yet: {detail}")]
    NotPublished {
        /// Which partition.
        partition: TopicPartition,
        /// The published end.
        published: Offset,
        /// The log start asked for.
        before: Offset,
        /// What the flush said.
        detail: String,
    },
    /// Metadata did not move the log start.
    #[error("move the log start of partition {partition}")]
    Metadata {
        /// Which partition.
        partition: TopicPartition,
        /// What it answered.
        source: MetadataError,
    },
}

/// Why an entry of the write-ahead log could not be taken up again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// Metadata does not know the topic. Either it was deleted, or metadata was put back to an older state; only who knows that the
    /// journal was not rolled back may take it for deleted (rule R8).
    #[error("entry {lsn} of the write-ahead log belongs to topic {}, which metadata does not know", partition.topic)]
    UnknownTopic {
        /// Which entry.
        lsn: Lsn,
        /// Whose it is.
        partition: TopicPartition,
    },
    /// The entry's batch cannot be read.
    #[error("entry {lsn} of the write-ahead log, offset {base} of partition {partition}: {detail}")]
    Damaged {
        /// Which entry.
        lsn: Lsn,
        /// Whose it is.
        partition: TopicPartition,
        /// Its base offset.
        base: Offset,
        /// What is wrong.
        detail: String,
    },
}
