//! From a producer's message set to the batch that is stored.

use bytes::Bytes;
use types::Timestamp;

use super::parse::{CorruptMessage, Message, MessagePosition, Messages};
use super::{MessageFormat, attribute, lz4_checksum};
use crate::builder::BatchBuilder;
use crate::compression::{DecompressError, decompress};
use crate::header::Codec;

/// What a conversion may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpConversionLimits {
    /// Bound for what all wrappers of the set put out together.
    pub max_decompressed_bytes: usize,
}

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

/// Largest batch that is built, before it is compressed: with what a codec adds to data that it cannot compress, it still has a
/// length that fits an `i32`. So has the number of its records.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// Turns a message set as old producers send it into one batch, as [`BatchBuilder`] builds it: base offset 0, no producer, leader
/// epoch -1.
///
/// Keys, values, timestamps and the order are kept; messages of format 0 get no timestamp. Offsets are not looked at, nor are
/// wrappers' keys and timestamps. The batch is compressed with the codec of the set's last wrapper. More than one wrapper is
/// accepted, also beside uncompressed messages: Kafka refuses that only since 2.4, and the clients concerned are older.
///
/// # Errors
/// See [`MessageSetError`]. A message that is cut off at the end of the set, or of a wrapper, is corrupt: the producer would believe
/// it stored.
pub fn up_convert(set: &Bytes, limits: &UpConversionLimits) -> Result<Bytes, MessageSetError> {
    if set.is_empty() {
        return Err(MessageSetError::Empty);
    }
    let mut builder = BatchBuilder::new(Codec::None);
    let mut set_codec = Codec::None;
    let mut set_format = None;
    let mut left = limits.max_decompressed_bytes;
    for message in Messages::new(set) {
        let (at, message) = message?;
        let format = *set_format.get_or_insert(message.format);
        check_format(at, &message, format)?;
        check_timestamp_type(at, &message)?;
        let codec = codec_of(at, &message)?;
        if codec == Codec::None {
            push(&mut builder, at, &message)?;
            continue;
        }
        let inner_set = open_wrapper(set, at, &message, codec, left, limits)?;
        left -= inner_set.len();
        set_codec = codec;
        for inner in Messages::inside(at, &inner_set) {
            let (at, inner) = inner?;
            check_format(at, &inner, format)?;
            if inner.codec_id() != Codec::None.id() {
                return Err(MessageSetError::Invalid { at, fault: InvalidMessage::Nested });
            }
            push(&mut builder, at, &inner)?;
        }
    }
    Ok(builder.codec(set_codec).build())
}

fn check_format(at: MessagePosition, message: &Message<'_>, expected: MessageFormat) -> Result<(), MessageSetError> {
    if message.format == expected {
        return Ok(());
    }
    let fault = InvalidMessage::MixedFormats { expected: expected.magic(), found: message.format.magic() };
    Err(MessageSetError::Invalid { at, fault })
}

/// Of messages that are not inside a wrapper: there the bit means nothing, as in format 0.
fn check_timestamp_type(at: MessagePosition, message: &Message<'_>) -> Result<(), MessageSetError> {
    if message.format == MessageFormat::V1 && message.attributes & attribute::LOG_APPEND_TIME != 0 {
        return Err(MessageSetError::TimestampType { at });
    }
    Ok(())
}

fn codec_of(at: MessagePosition, message: &Message<'_>) -> Result<Codec, MessageSetError> {
    match Codec::from_id(message.codec_id()) {
        Some(codec @ (Codec::None | Codec::Gzip | Codec::Snappy | Codec::Lz4)) => Ok(codec),
        Some(Codec::Zstd) | None => Err(MessageSetError::UnsupportedCodec { at, codec: message.codec_id() }),
    }
}

/// The set inside a wrapper, which lies in `set`.
fn open_wrapper(
    set: &Bytes,
    at: MessagePosition,
    wrapper: &Message<'_>,
    codec: Codec,
    left: usize,
    limits: &UpConversionLimits,
) -> Result<Bytes, MessageSetError> {
    let invalid = |fault| MessageSetError::Invalid { at, fault };
    let value = set.slice_ref(wrapper.value.ok_or(invalid(InvalidMessage::NullWrapper))?);
    let value = match (wrapper.format, codec) {
        (MessageFormat::V0, Codec::Lz4) => lz4_checksum::mended(value),
        _ => value,
    };
    match decompress(codec, value, left) {
        Ok(inner_set) if inner_set.is_empty() => Err(invalid(InvalidMessage::EmptyWrapper)),
        Ok(inner_set) => Ok(inner_set),
        Err(DecompressError::TooLarge { .. }) => Err(MessageSetError::TooLarge { at, limit: limits.max_decompressed_bytes }),
        Err(source @ DecompressError::Damaged { .. }) => Err(MessageSetError::Undecodable { at, source }),
    }
}

fn push(builder: &mut BatchBuilder, at: MessagePosition, message: &Message<'_>) -> Result<(), MessageSetError> {
    if !(Timestamp::NONE..Timestamp(i64::MAX)).contains(&message.timestamp) {
        return Err(MessageSetError::Invalid { at, fault: InvalidMessage::Timestamp(message.timestamp.0) });
    }
    builder.push(message.timestamp, message.key, message.value, &[]);
    if MAX_BATCH_BYTES < builder.uncompressed_bytes() {
        return Err(MessageSetError::TooLarge { at, limit: MAX_BATCH_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
