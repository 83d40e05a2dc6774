//! Opening a batch: its records as values, and lookups by timestamp inside it.

use bytes::Bytes;
use types::{Offset, Timestamp};

use crate::compression::{DecompressError, decompress};
use crate::header::{BatchHeader, CrcMismatch, HEADER_BYTES, HeaderError, TimestampType, verify_crc};
use crate::raw_record::{MIN_RECORD_BYTES, RawRecord, RawRecords, RecordError, RecordFault};

/// One record. Keys, values and header keys are any bytes; they share the memory of the batch or of its decompressed form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its offset, after the batch's base offset.
    pub offset: Offset,
    /// The producer's, or the broker's where the batch says so.
    pub timestamp: Timestamp,
    /// Null is not empty.
    pub key: Option<Bytes>,
    /// Null deletes the key where a topic is compacted.
    pub value: Option<Bytes>,
    /// In their order; a key may come more than once.
    pub headers: Vec<RecordHeader>,
}

/// A header of a record (KIP-82).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// Text by convention.
    pub key: Bytes,
    /// Null is not empty.
    pub value: Option<Bytes>,
}

/// A batch could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No header can be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes are not exactly one batch.
    #[error("batch of {length} bytes, found {found}")]
    Length {
        /// Its length by its header.
        length: usize,
        /// Bytes there.
        found: usize,
    },
    /// The content is not what was checksummed.
    #[error(transparent)]
    Crc(#[from] CrcMismatch),
    /// The records cannot be decompressed within the bound.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The records of one batch, checksum verified. Takes at most `max_output_bytes` for what a codec puts out, and a small multiple of
/// the decompressed length for the records' structure. A control batch's record is its marker.
pub fn decode_records(batch: &Bytes, max_output_bytes: usize) -> Result<Vec<Record>, DecodeError> {
    let opened = Opened::new(batch, max_output_bytes)?;
    let possible = opened.payload.len() / MIN_RECORD_BYTES;
    let mut records = Vec::with_capacity(possible.min(opened.header.records as usize));
    let slice = |bytes: &[u8]| opened.payload.slice_ref(bytes);
    for record in opened.records() {
        let (raw, offset, timestamp) = record?;
        let mut headers = Vec::with_capacity(raw.headers.len());
        headers.extend(raw.headers.map(|(key, value)| RecordHeader { key: slice(key), value: value.map(slice) }));
        records.push(Record { offset, timestamp, key: raw.key.map(slice), value: raw.value.map(slice), headers });
    }
    Ok(records)
}

/// The first record of the batch whose timestamp is `timestamp` or later (ListOffsets by timestamp). `None` where all are older.
pub fn first_at_or_after(batch: &Bytes, timestamp: Timestamp, max_output_bytes: usize) -> Result<Option<(Offset, Timestamp)>, DecodeError> {
    for record in Opened::new(batch, max_output_bytes)?.records() {
        let (_, offset, found) = record?;
        if timestamp <= found {
            return Ok(Some((offset, found)));
        }
    }
    Ok(None)
}

/// The first record with the largest timestamp of the batch (KIP-734). `None` where the batch holds no record.
pub fn first_with_max_timestamp(batch: &Bytes, max_output_bytes: usize) -> Result<Option<(Offset, Timestamp)>, DecodeError> {
    let mut latest: Option<(Offset, Timestamp)> = None;
    for record in Opened::new(batch, max_output_bytes)?.records() {
        let (_, offset, timestamp) = record?;
        if latest.is_none_or(|(_, largest)| largest < timestamp) {
            latest = Some((offset, timestamp));
        }
    }
    Ok(latest)
}

/// One batch, checksum verified, decompressed.
pub(crate) struct Opened {
    pub(crate) header: BatchHeader,
    payload: Bytes,
}

impl Opened {
    pub(crate) fn new(batch: &Bytes, max_output_bytes: usize) -> Result<Self, DecodeError> {
        let header = BatchHeader::parse(batch)?;
        if header.bytes != batch.len() {
            return Err(DecodeError::Length { length: header.bytes, found: batch.len() });
        }
        verify_crc(batch)?;
        let payload = decompress(header.codec, batch.slice(HEADER_BYTES..), max_output_bytes)?;
        Ok(Self { header, payload })
    }

    /// The records with offset and timestamp. Offsets rise and stay within the header's range; there may be gaps.
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<(RawRecord<'_>, Offset, Timestamp), RecordError>> {
        let header = self.header;
        let mut smallest = 0;
        RawRecords::new(&self.payload, header.records).enumerate().map(move |(index, record)| {
            let raw = record?;
            let fault = |fault| RecordError { index: index as u32, fault };
            if raw.offset_delta < smallest || header.last_offset_delta < raw.offset_delta {
                return Err(fault(RecordFault::OffsetDelta { expected: smallest, found: raw.offset_delta }));
            }
            smallest = raw.offset_delta.saturating_add(1);
            let timestamp = match header.timestamp_type {
                TimestampType::LogAppendTime => header.max_timestamp.0,
                TimestampType::CreateTime => {
                    header.base_timestamp.0.checked_add(raw.timestamp_delta).ok_or(fault(RecordFault::Malformed))?
                }
            };
            Ok((raw, header.base_offset + i64::from(raw.offset_delta), Timestamp(timestamp)))
        })
    }
}

#[cfg(test)]
mod tests;
