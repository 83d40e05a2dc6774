//! What can go wrong between a client and its brokers, each in one line.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::client::ClientCodecError;

/// A failed operation of the client. Cloned to every record that shared a batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address.
    #[error("{0:?} is not an address: write host:port, several separated by commas")]
    Address(String),
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("{address} closed the connection")]
    Disconnected {
        /// Whose.
        address: String,
    },
    /// No answer in time. The connection is given up, because a late answer would be taken for another request's.
    #[error("{address} did not answer {api} within {} ms", .timeout.as_millis())]
    TimedOut {
        /// Who.
        address: String,
        /// What.
        api: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// No version of an API that both sides know.
    #[error("{address} and this client have no version of {api} in common")]
    NoCommonVersion {
        /// Who.
        address: String,
        /// What.
        api: String,
    },
    /// A request that cannot be encoded, or an answer that cannot be decoded.
    #[error("{address}: {source}")]
    Codec {
        /// Who.
        address: String,
        /// What is wrong.
        source: ClientCodecError,
    },
    /// The broker refused.
    #[error("{what}: {code}{}", .message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// What was asked.
        what: String,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
    /// The broker answered without saying anything of what was asked.
    #[error("{what}: the answer does not mention it")]
    Missing {
        /// What was asked.
        what: String,
    },
    /// The partition is not among the topic's.
    #[error("topic {topic} has no partition {partition}, only 0 to {}", .partitions - 1)]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many it has.
        partitions: i32,
    },
    /// A single record too large for the producer's buffer.
    #[error("a record of {bytes} bytes does not fit the producer's buffer of {limit} bytes")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The buffer's.
        limit: u32,
    },
    /// Not acknowledged in time, after retries; the record may have been appended or not.
    #[error("not acknowledged within {} ms, last: {last}", .timeout.as_millis())]
    Undelivered {
        /// The delivery timeout.
        timeout: Duration,
        /// What the last attempt met.
        last: Box<ClientError>,
    },
    /// An earlier batch of the partition failed for good. Sending on would leave a hole in the producer's sequence.
    #[error("{topic}-{partition}: an earlier batch failed: {first}")]
    Stopped {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why the earlier batch failed.
        first: Box<ClientError>,
    },
    /// Batches that cannot be read.
    #[error("{topic}-{partition} at offset {offset}: {reason}")]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset from which reading was tried.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
}

impl ClientError {
    /// The error for code `code` of a response, or nothing where it says that nothing failed.
    pub(crate) fn check(what: impl FnOnce() -> String, code: i16, message: Option<&str>) -> Result<(), Self> {
        match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Refused { what: what(), code, message: message.map(str::to_owned) }),
        }
    }

    /// Whether the same request may succeed later, on another connection or with another leader.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Kafka's code, where the broker refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}
