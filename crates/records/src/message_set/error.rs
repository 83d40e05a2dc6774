//! What may be wrong with a producer's message set, and where in it.

use std::fmt;

use crate::compression::DecompressError;

/// Why a set was refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageSetError {
    /// There is no message at all.
    #[error("a partition's message set must hold at least one message, found none")]
    Empty,
    /// A message is damaged or the set is cut (Kafka's CORRUPT_MESSAGE).
    #[error("{at}: {fault}")]
    Corrupt {
        /// The message.
        at: MessagePosition,
        /// What is wrong with it.
        fault: CorruptMessage,
    },
    /// A message is what its producer wrote and must not be (Kafka's INVALID_RECORD).
    #[error("{at}: {fault}")]
    Invalid {
        /// The message.
        at: MessagePosition,
        /// What is wrong with it.
        fault: InvalidMessage,
    },
    /// Not gzip, snappy or lz4 (Kafka's UNSUPPORTED_COMPRESSION_TYPE). Zstd came with format 2 (KIP-110).
    #[error("{at}: compression codec {codec} does not exist in message sets")]
    UnsupportedCodec {
        /// The wrapper.
        at: MessagePosition,
        /// Its number.
        codec: u8,
    },
    /// Only brokers set append times (Kafka's INVALID_TIMESTAMP).
    #[error("{at}: a producer must not set the timestamp type to LogAppendTime")]
    TimestampType {
        /// The message.
        at: MessagePosition,
    },
    /// A wrapper's checksum is right and its value is not what its codec writes (Kafka's INVALID_RECORD: the same bytes come again).
    #[error("{at}: {source}")]
    Undecodable {
        /// The wrapper.
        at: MessagePosition,
        /// What the decompressor says.
        source: DecompressError,
    },
    /// More than the limits allow, or than a batch can hold (Kafka's MESSAGE_TOO_LARGE).
    #[error("{at}: with it the messages of the set exceed {limit} bytes")]
    TooLarge {
        /// The first message that is too much.
        at: MessagePosition,
        /// The bound.
        limit: usize,
    },
}

/// Where a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessagePosition {
    /// Byte of the set where it begins, or where the wrapper begins that it is in.
    pub byte: usize,
    /// Byte of the wrapper's decompressed content where it begins.
    pub inner: Option<usize>,
}

impl fmt::Display for MessagePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner {
            None => write!(f, "message at byte {}", self.byte),
            Some(inner) => write!(f, "message at byte {inner} inside the one at byte {}", self.byte),
        }
    }
}

/// How a message is not what its producer wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CorruptMessage {
    /// The set ends inside it.
    #[error("cut: {bytes} bytes announced, {found} found")]
    Truncated {
        /// Length by its size field, offset and size included; the shortest possible where that field is cut.
        bytes: usize,
        /// Bytes there.
        found: usize,
    },
    /// The size field is impossible.
    #[error("size {size} is below the {least} bytes that an empty message takes")]
    Size {
        /// The field.
        size: i32,
        /// What its format takes.
        least: usize,
    },
    /// The checksum does not match.
    #[error("checksum mismatch, expected {stored:#010x}, found {computed:#010x}")]
    Crc {
        /// The value in the message.
        stored: u32,
        /// The CRC-32 of the bytes there.
        computed: u32,
    },
    /// The lengths of key and value do not add up to its size.
    #[error("key and value do not fill the message")]
    Lengths,
}

/// What a producer's message may not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// A format that never was.
    #[error("message format {0} does not exist, only 0 and 1")]
    Magic(i8),
    /// Format 2, which takes Produce 3 or above.
    #[error("a record batch where a message is expected")]
    RecordBatch,
    /// The messages of a set have one format, inner messages included.
    #[error("message format {found} in a set of format {expected}")]
    MixedFormats {
        /// The first message's.
        expected: u8,
        /// This one's.
        found: u8,
    },
    /// A compressed message inside a compressed message.
    #[error("a message inside a compressed one must not be compressed itself")]
    Nested,
    /// A compressed message without a value.
    #[error("a compressed message must have a value")]
    NullWrapper,
    /// A compressed message with no message in it.
    #[error("a compressed message must hold at least one message")]
    EmptyWrapper,
    /// Times before 1970 do not exist, apart from -1 for none; nor does the last, whose distance from -1 is no `i64`.
    #[error("timestamp {0} is neither -1 nor between 0 and 2^63-2")]
    Timestamp(i64),
}
