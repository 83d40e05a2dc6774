//! Records as they lie in a batch's decompressed payload: borrowed, checked, not yet decoded.

use crate::varint::{take_i32, take_i64};

/// What is wrong with one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    /// A length leads outside the batch.
    #[error("record ends outside the batch")]
    Truncated,
    /// Its fields do not add up to its length.
    #[error("record is malformed")]
    Malformed,
    /// Offsets within a batch rise; from a client they are dense, from 0.
    #[error("offset delta {found} is out of order, expected {expected}")]
    OffsetDelta {
        /// What would have been right; for stored batches the smallest.
        expected: i32,
        /// What stands there.
        found: i32,
    },
    /// The timestamp lies outside what the topic accepts.
    #[error("timestamp {0} is out of the topic's range")]
    Timestamp(i64),
    /// Compaction tells records apart by their keys.
    #[error("a compacted topic takes no record without a key")]
    NoKey,
    /// The batch ends before the records it counts.
    #[error("record is missing")]
    Missing,
    /// The batch goes on after the records it counts.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// A bad record and its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {index}: {fault}")]
pub struct RecordError {
    /// Index in the batch from 0, as KIP-467's answer has it.
    pub index: u32,
    /// What is wrong with it.
    pub fault: RecordFault,
}

/// Shortest possible record: length, attributes, two deltas, key length, value length, header count.
pub(crate) const MIN_RECORD_BYTES: usize = 7;

#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: RawHeaders<'a>,
}

/// The headers of one record, already checked.
#[derive(Clone, Copy)]
pub(crate) struct RawHeaders<'a> {
    rest: &'a [u8],
    left: u32,
}

impl RawHeaders<'_> {
    pub(crate) fn len(&self) -> usize {
        self.left as usize
    }
}

impl<'a> Iterator for RawHeaders<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest)
    }
}

/// The records of a payload. Ends after the first error.
pub(crate) struct RawRecords<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
    failed: bool,
}

impl<'a> RawRecords<'a> {
    pub(crate) fn new(payload: &'a [u8], count: u32) -> Self {
        Self { rest: payload, index: 0, count, failed: false }
    }

    /// What follows the last record, if anything does.
    fn trailing(&mut self) -> Option<Result<RawRecord<'a>, RecordError>> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        Some(self.fail(self.count.saturating_sub(1), RecordFault::Trailing(self.rest.len())))
    }

    fn fail(&mut self, index: u32, fault: RecordFault) -> Result<RawRecord<'a>, RecordError> {
        self.failed = true;
        Err(RecordError { index, fault })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.index == self.count {
            return self.trailing();
        }
        let index = self.index;
        self.index += 1;
        Some(if self.rest.is_empty() {
            self.fail(index, RecordFault::Missing)
        } else {
            take_record(&mut self.rest).or_else(|fault| self.fail(index, fault))
        })
    }
}

fn take_record<'a>(payload: &mut &'a [u8]) -> Result<RawRecord<'a>, RecordFault> {
    let length = take_i32(payload).ok_or(RecordFault::Truncated)?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Malformed)?;
    let (record, rest) = payload.split_at_checked(length).ok_or(RecordFault::Truncated)?;
    *payload = rest;
    parse_record(record).ok_or(RecordFault::Malformed)
}

fn parse_record(mut bytes: &[u8]) -> Option<RawRecord<'_>> {
    let (_attributes, rest) = bytes.split_first()?;
    bytes = rest;
    let timestamp_delta = take_i64(&mut bytes)?;
    let offset_delta = take_i32(&mut bytes)?;
    let key = take_nullable(&mut bytes)?;
    let value = take_nullable(&mut bytes)?;
    let left = u32::try_from(take_i32(&mut bytes)?).ok()?;
    let headers = RawHeaders { rest: bytes, left };
    for _ in 0..left {
        take_header(&mut bytes)?;
    }
    bytes.is_empty().then_some(RawRecord { timestamp_delta, offset_delta, key, value, headers })
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    Some((take_nullable(bytes)??, take_nullable(bytes)?))
}

/// A length of -1 is null; what is below is malformed.
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_i32(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
