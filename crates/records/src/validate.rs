//! What a client's batch must satisfy before it may be appended.

use bytes::Bytes;
use types::Timestamp;

use crate::compression::{DecompressError, decompress};
use crate::header::{BatchHeader, Codec, CrcMismatch, HEADER_BYTES, HeaderError, TimestampType, batch_bytes, verify_crc};
use crate::raw_record::{RawRecord, RawRecords, RecordError, RecordFault};

/// Most bad records that one answer names; a batch may hold a hundred thousand.
pub const MAX_RECORD_ERRORS: usize = 100;

/// What the topic and the request's version allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidationLimits {
    /// `max.message.bytes`: largest batch, header included.
    pub max_message_bytes: usize,
    /// Whether zstd may be used: from Produce 7 on (KIP-110).
    pub zstd: bool,
    /// The broker's clock.
    pub now: Timestamp,
    /// `message.timestamp.type`; the producer's timestamps are only looked at where they will be kept.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how much older than `now` a record may be; `i64::MAX` is no bound.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how much newer than `now`.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains compact: every record needs a key.
    pub compacted: bool,
    /// Bound for decompression where a compressed batch must be opened.
    pub max_decompressed_bytes: usize,
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// There is no batch at all.
    #[error("a partition's records must hold exactly one batch, found none")]
    Empty,
    /// More bytes than the one batch has.
    #[error("a partition's records must hold exactly one batch, found {extra} bytes after it")]
    NotOneBatch {
        /// Bytes after the batch.
        extra: usize,
    },
    /// Fewer bytes than the batch has by its header.
    #[error("batch is cut: {length} bytes announced, {found} found")]
    Truncated {
        /// Announced.
        length: usize,
        /// There.
        found: usize,
    },
    /// The length field is impossible.
    #[error("batch length {0} is below the 49 bytes that a header takes")]
    Length(i32),
    /// The checksum does not match.
    #[error(transparent)]
    Corrupt(#[from] CrcMismatch),
    /// Not format 2.
    #[error("record format {0} is not supported, only 2")]
    UnsupportedMagic(i8),
    /// An unknown codec, or zstd from a client too old to announce it.
    #[error("compression codec {0} is not supported here")]
    UnsupportedCompression(u8),
    /// Larger than the topic allows.
    #[error("batch of {bytes} bytes exceeds max.message.bytes={limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The header contradicts itself or claims what a client may not.
    #[error(transparent)]
    InvalidRecord(#[from] InvalidRecord),
    /// Records are bad; never empty.
    #[error("{} of the batch's records are invalid, the first: {}", .0.len(), .0[0])]
    InvalidRecords(Vec<RecordError>),
    /// The records cannot be decompressed within the bound.
    #[error(transparent)]
    Undecodable(#[from] DecompressError),
    /// A timestamp lies outside what the topic accepts.
    #[error("timestamp {timestamp} lies outside message.timestamp.before.max.ms and after.max.ms around {now}")]
    InvalidTimestamp {
        /// The first that does.
        timestamp: Timestamp,
        /// The broker's clock.
        now: Timestamp,
        /// The records that have such timestamps; empty where only the header's maximum is wrong.
        records: Vec<RecordError>,
    },
    /// Only brokers set append times.
    #[error("a producer must not set the timestamp type to LogAppendTime")]
    TimestampType,
}

/// What a client's header may not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// No record in it.
    #[error("batch holds no records")]
    NoRecords,
    /// Negative, or beyond the largest offset.
    #[error("base offset {base} with last offset delta {delta} is not a range of offsets")]
    Offsets {
        /// The base offset field.
        base: i64,
        /// The last offset delta field.
        delta: i32,
    },
    /// A client's offsets are dense.
    #[error("batch counts {records} records over {offsets} offsets")]
    Count {
        /// The record count field.
        records: i64,
        /// Offsets by the last offset delta.
        offsets: i64,
    },
    /// Only coordinators write markers.
    #[error("clients must not write control batches")]
    Control,
    /// A producer id below -1.
    #[error("producer id {0} does not exist")]
    ProducerId(i64),
    /// A producer id without an epoch.
    #[error("producer id {producer_id} with epoch {epoch}")]
    ProducerEpoch {
        /// The producer id.
        producer_id: i64,
        /// Below 0.
        epoch: i16,
    },
    /// A producer id without a sequence.
    #[error("producer id {producer_id} with sequence {sequence}")]
    Sequence {
        /// The producer id.
        producer_id: i64,
        /// Below 0.
        sequence: i32,
    },
}

impl BatchError {
    /// The records at fault, for KIP-467's answer; at most [`MAX_RECORD_ERRORS`].
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::InvalidRecords(records) | Self::InvalidTimestamp { records, .. } => records,
            _ => &[],
        }
    }
}

impl From<HeaderError> for BatchError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Short { found } => Self::Truncated { length: HEADER_BYTES, found },
            HeaderError::Length(length) => Self::Length(length),
            HeaderError::Magic(magic) => Self::UnsupportedMagic(magic),
            HeaderError::Codec(codec) => Self::UnsupportedCompression(codec),
            HeaderError::Offsets { base, delta } => InvalidRecord::Offsets { base, delta }.into(),
            HeaderError::Records(_) => InvalidRecord::NoRecords.into(),
        }
    }
}

/// Checks what a client sent for one partition in Produce 3 or above: exactly one sound batch of format 2.
///
/// An uncompressed batch is checked record by record. A compressed one is opened only where its header cannot answer: timestamps
/// are bounded below, the header's largest one is refused, keys are needed, or it counts more records than it has bytes.
///
/// # Errors
/// See [`BatchError`]. The checksum is verified before anything that it covers is believed.
pub fn validate(batch: &Bytes, limits: &ValidationLimits) -> Result<BatchHeader, BatchError> {
    if batch.is_empty() {
        return Err(BatchError::Empty);
    }
    let length = batch_bytes(batch)?;
    if batch.len() < length {
        return Err(BatchError::Truncated { length, found: batch.len() });
    }
    if length < batch.len() {
        return Err(BatchError::NotOneBatch { extra: batch.len() - length });
    }
    if limits.max_message_bytes < length {
        return Err(BatchError::TooLarge { bytes: length, limit: limits.max_message_bytes });
    }
    verify_crc(batch)?;
    let header = BatchHeader::parse(batch)?;
    if header.codec == Codec::Zstd && !limits.zstd {
        return Err(BatchError::UnsupportedCompression(header.codec.id()));
    }
    check_header(&header)?;
    if header.timestamp_type == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    let suspicious = limits.refuse(header.max_timestamp);
    let looks_inside = suspicious || limits.compacted || limits.bounded_below() || batch.len() - HEADER_BYTES < header.records as usize;
    if header.codec == Codec::None || looks_inside {
        check_records(batch, &header, limits)?;
    }
    // The records are fine and the header is not. Nobody rewrites it, and lookups by time would believe it.
    if suspicious {
        return Err(BatchError::InvalidTimestamp { timestamp: header.max_timestamp, now: limits.now, records: Vec::new() });
    }
    Ok(header)
}

fn check_header(header: &BatchHeader) -> Result<(), InvalidRecord> {
    let (records, offsets) = (i64::from(header.records), i64::from(header.last_offset_delta) + 1);
    if records == 0 {
        return Err(InvalidRecord::NoRecords);
    }
    if records != offsets {
        return Err(InvalidRecord::Count { records, offsets });
    }
    if header.control {
        return Err(InvalidRecord::Control);
    }
    let producer_id = header.producer_id;
    if producer_id < -1 {
        return Err(InvalidRecord::ProducerId(producer_id));
    }
    if header.has_producer() && header.producer_epoch < 0 {
        return Err(InvalidRecord::ProducerEpoch { producer_id, epoch: header.producer_epoch });
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(InvalidRecord::Sequence { producer_id, sequence: header.base_sequence });
    }
    Ok(())
}

/// Checks every record of a batch whose header is sound: lengths, dense offsets from 0, the count, timestamps. Decompresses to at
/// most `limits.max_decompressed_bytes`.
///
/// # Errors
/// [`BatchError::InvalidRecords`] where a record is damaged, [`BatchError::InvalidTimestamp`] where only timestamps are at fault,
/// [`BatchError::Undecodable`].
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn check_records(batch: &Bytes, header: &BatchHeader, limits: &ValidationLimits) -> Result<(), BatchError> {
    let payload = decompress(header.codec, batch.slice(HEADER_BYTES..), limits.max_decompressed_bytes)?;
    let mut bad: Vec<RecordError> = Vec::new();
    let mut only_timestamps = true;
    for (index, record) in RawRecords::new(&payload, header.records).enumerate() {
        let error = match record {
            Ok(raw) => check_record(index as u32, &raw, header, limits).err(),
            Err(error) => Some(error),
        };
        let Some(error) = error else { continue };
        only_timestamps &= matches!(error.fault, RecordFault::Timestamp(_));
        bad.push(error);
        if bad.len() == MAX_RECORD_ERRORS {
            break;
        }
    }
    match bad.first() {
        None => Ok(()),
        Some(&RecordError { fault: RecordFault::Timestamp(timestamp), .. }) if only_timestamps => {
            Err(BatchError::InvalidTimestamp { timestamp: Timestamp(timestamp), now: limits.now, records: bad })
        }
        Some(_) => Err(BatchError::InvalidRecords(bad)),
    }
}

fn check_record(index: u32, raw: &RawRecord<'_>, header: &BatchHeader, limits: &ValidationLimits) -> Result<(), RecordError> {
    let fault = |fault| Err(RecordError { index, fault });
    if i64::from(raw.offset_delta) != i64::from(index) {
        return fault(RecordFault::OffsetDelta { expected: index.cast_signed(), found: raw.offset_delta });
    }
    if limits.compacted && raw.key.is_none() {
        return fault(RecordFault::NoKey);
    }
    match header.base_timestamp.0.checked_add(raw.timestamp_delta) {
        None => fault(RecordFault::Malformed),
        Some(timestamp) if limits.refuse(Timestamp(timestamp)) => fault(RecordFault::Timestamp(timestamp)),
        Some(_) => Ok(()),
    }
}

impl ValidationLimits {
    fn bounded_below(&self) -> bool {
        self.timestamp_type == TimestampType::CreateTime && self.timestamp_before_max_ms != i64::MAX
    }

    /// Whether a record of this timestamp is refused. None at all is always accepted, as Kafka does.
    fn refuse(&self, timestamp: Timestamp) -> bool {
        let age = self.now.0.saturating_sub(timestamp.0);
        self.timestamp_type == TimestampType::CreateTime
            && timestamp != Timestamp::NONE
            && (self.timestamp_before_max_ms < age || self.timestamp_after_max_ms < age.saturating_neg())
    }
}

#[cfg(test)]
mod tests;
