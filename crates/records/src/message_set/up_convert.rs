//! From a producer's message set to the batch that is stored.

use bytes::Bytes;
use types::Timestamp;

use super::error::{InvalidMessage, MessagePosition, MessageSetError};
use super::parse::{Message, Messages};
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

/// Largest batch that is built, before it is compressed. With what a codec adds to data that it cannot compress, its length still
/// fits an `i32`, and so does the number of its records.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// Turns a message set as old producers send it into one batch, as [`BatchBuilder`] builds it: base offset 0, no producer, leader
/// epoch -1.
///
/// Keys, values, timestamps and the order are kept; messages of format 0 get no timestamp. Offsets are not looked at, nor are
/// wrappers' keys and timestamps. The batch is compressed with the codec of the set's last wrapper, or not where there is none. More
/// than one wrapper is accepted, also beside uncompressed messages: Kafka refuses that only since 2.4, and the clients concerned are
/// older.
///
/// # Errors
/// See [`MessageSetError`]. A message that is cut off at the end of the set, or of a wrapper, is corrupt: the producer would believe
/// it stored.
pub fn up_convert(set: &Bytes, limits: &UpConversionLimits) -> Result<Bytes, MessageSetError> {
    convert(set, limits, MAX_BATCH_BYTES)
}

fn convert(set: &Bytes, limits: &UpConversionLimits, max_batch_bytes: usize) -> Result<Bytes, MessageSetError> {
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
            push(&mut builder, at, &message, max_batch_bytes)?;
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
            push(&mut builder, at, &inner, max_batch_bytes)?;
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

fn push(builder: &mut BatchBuilder, at: MessagePosition, message: &Message<'_>, max_batch_bytes: usize) -> Result<(), MessageSetError> {
    if !(Timestamp::NONE..Timestamp(i64::MAX)).contains(&message.timestamp) {
        return Err(MessageSetError::Invalid { at, fault: InvalidMessage::Timestamp(message.timestamp.0) });
    }
    builder.push(message.timestamp, message.key, message.value, &[]);
    if max_batch_bytes < builder.uncompressed_bytes() {
        return Err(MessageSetError::TooLarge { at, limit: max_batch_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
