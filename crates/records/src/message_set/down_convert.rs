//! From stored batches to a message set for a consumer that cannot read batches.

use bytes::Bytes;
use types::{Offset, Timestamp};

use super::parse::Message;
use super::{MessageFormat, attribute, checksum, field, lz4_checksum};
use crate::compression::compress;
use crate::decode::{DecodeError, Opened};
use crate::header::{BatchHeader, Codec, TimestampType};

/// What a conversion may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DownConversionLimits {
    /// Soft bound of the set: the conversion stops before a batch that would exceed it, but gives at least the first batch that has a
    /// message.
    pub max_bytes: usize,
    /// Bound for what one batch's codec puts out. As messages it may take five times as much: the shortest record has 7 bytes, the
    /// shortest message 34.
    pub max_decompressed_bytes: usize,
}

/// What a conversion gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DownConverted {
    /// Whole messages; empty where every record was skipped.
    pub set: Bytes,
    /// Number of messages, those inside wrappers counted and wrappers not.
    pub messages: u32,
    /// Where the last converted batch ends. Where every record was skipped, the end of what was looked at: reading goes on there.
    pub next_offset: Offset,
}

/// A batch could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum DownConversionError {
    /// It cannot be opened.
    #[error("batch {index} of those to convert: {source}")]
    Batch {
        /// Its index among the batches.
        index: usize,
        /// Why not.
        source: DecodeError,
    },
    /// Its messages have 2 GiB or more, which no message can hold.
    #[error("batch {index} of those to convert: 2 GiB or more as messages")]
    TooLarge {
        /// Its index among the batches.
        index: usize,
    },
}

/// Turns batches, each whole and in the order of their offsets, into a message set for an old consumer that asked for `from`.
///
/// Control batches, headers and records below `from` are left out; messages keep their records' offsets. A batch keeps its codec,
/// except that zstd becomes uncompressed. Format 0 has no timestamps. In format 1 a timestamp below -1, which no client of the time
/// reads, becomes none.
///
/// # Errors
/// If a batch is damaged or exceeds a bound. Batches that were converted before it are given without an error; the consumer then
/// meets it first.
pub fn down_convert(
    batches: &[Bytes],
    format: MessageFormat,
    from: Offset,
    limits: &DownConversionLimits,
) -> Result<DownConverted, DownConversionError> {
    let mut set = Vec::new();
    let mut messages = 0u32;
    let mut next_offset = from;
    for (index, batch) in batches.iter().enumerate() {
        if 0 < messages && limits.max_bytes <= set.len() {
            break;
        }
        let whole = set.len();
        match convert(batch, index, format, from, limits, &mut set) {
            Ok((0, end)) if messages == 0 => next_offset = next_offset.max(end),
            Ok((0, _)) => {}
            Ok((converted, end)) if messages == 0 || set.len() <= limits.max_bytes => {
                messages = messages.saturating_add(converted);
                next_offset = end;
            }
            Err(error) if messages == 0 => return Err(error),
            Ok(_) | Err(_) => {
                set.truncate(whole);
                break;
            }
        }
    }
    Ok(DownConverted { set: set.into(), messages, next_offset })
}

/// Appends what is left of one batch to `set`. Returns the number of messages and where the batch ends.
fn convert(
    batch: &Bytes,
    index: usize,
    format: MessageFormat,
    from: Offset,
    limits: &DownConversionLimits,
    set: &mut Vec<u8>,
) -> Result<(u32, Offset), DownConversionError> {
    let failed = |source| DownConversionError::Batch { index, source };
    let too_large = || DownConversionError::TooLarge { index };
    let header = BatchHeader::parse(batch).map_err(|error| failed(error.into()))?;
    let end = header.next_offset();
    if header.control || end <= from {
        return Ok((0, end));
    }
    let opened = Opened::new(batch, limits.max_decompressed_bytes).map_err(failed)?;
    let codec = if header.codec == Codec::Zstd { Codec::None } else { header.codec };
    let attributes = match (format, header.timestamp_type) {
        (MessageFormat::V1, TimestampType::LogAppendTime) => attribute::LOG_APPEND_TIME,
        (MessageFormat::V1, TimestampType::CreateTime) | (MessageFormat::V0, _) => 0,
    };
    let wrapped = codec != Codec::None;
    let mut inner_set = Vec::new();
    let out = if wrapped { &mut inner_set } else { &mut *set };
    let (mut messages, mut first, mut last, mut latest) = (0, None, from, Timestamp::NONE);
    for record in opened.records() {
        let (raw, offset, timestamp) = record.map_err(|error| failed(error.into()))?;
        if offset < from {
            continue;
        }
        let base = *first.get_or_insert(offset);
        let relative = wrapped && format == MessageFormat::V1;
        let message = Message { format, attributes, timestamp: timestamp.max(Timestamp::NONE), key: raw.key, value: raw.value };
        put(out, if relative { offset - base } else { offset.0 }, &message).ok_or_else(too_large)?;
        (messages, last, latest) = (messages + 1, offset, latest.max(timestamp));
    }
    if wrapped && 0 < messages {
        let mut value = compress(codec, inner_set);
        if (format, codec) == (MessageFormat::V0, Codec::Lz4) {
            lz4_checksum::spoil(&mut value);
        }
        let wrapper = Message { format, attributes: attributes | codec.id(), timestamp: latest, key: None, value: Some(&value) };
        // Readers tell the offsets inside from the wrapper's, which is that of its last message.
        put(set, last.0, &wrapper).ok_or_else(too_large)?;
    }
    Ok((messages, end))
}

/// Appends a message with its checksum. `None` where it has 2 GiB or more.
pub(super) fn put(out: &mut Vec<u8>, offset: i64, message: &Message<'_>) -> Option<()> {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let size = message.format.overhead().checked_add(length(message.key))?.checked_add(length(message.value))?;
    let size = i32::try_from(size).ok()?;
    let start = out.len();
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0; field::MAGIC - field::CRC]);
    out.push(message.format.magic());
    out.push(message.attributes);
    if message.format == MessageFormat::V1 {
        out.extend_from_slice(&message.timestamp.0.to_be_bytes());
    }
    for bytes in [message.key, message.value] {
        // No more than the size, which fits.
        let length = bytes.map_or(-1, |bytes| bytes.len() as i32);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes.unwrap_or_default());
    }
    let crc = checksum(&out[start + field::MAGIC..]);
    out[start + field::CRC..start + field::MAGIC].copy_from_slice(&crc.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests;
