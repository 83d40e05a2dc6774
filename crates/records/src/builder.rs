//! Encoding records into a batch: for our own client, for tools, for tests, and for what old clients send as message sets. The
//! broker never encodes the records of a batch anew.

use bytes::Bytes;
use types::{LeaderEpoch, Offset, Timestamp};

use crate::compression::compress;
use crate::decode::RecordHeader;
use crate::header::{Codec, HEADER_BYTES, attribute, field};
use crate::varint;

/// Collects records and encodes them as one batch, by default as a plain producer sends it: offset 0, no leader epoch, no producer.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: u16,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer: (i64, i16, i32),
    base_timestamp: Option<Timestamp>,
    max_timestamp: Timestamp,
    records: u32,
    next_delta: i32,
    payload: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed with `codec`.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            attributes: u16::from(codec.id()),
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
            producer: (-1, -1, -1),
            base_timestamp: None,
            max_timestamp: Timestamp::NONE,
            records: 0,
            next_delta: 0,
            payload: Vec::new(),
        }
    }

    /// Another codec than the one it was made with.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self.attributes = (self.attributes & !attribute::CODEC) | u16::from(codec.id());
        self
    }

    /// Offset of the first record.
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.base_offset = offset;
        self
    }

    /// Epoch of the leader that appended the batch.
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// An idempotent producer's id, epoch, and the sequence of the first record.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.attributes |= attribute::TRANSACTIONAL;
        self
    }

    /// Marks the batch as a control batch.
    pub fn control(mut self) -> Self {
        self.attributes |= attribute::CONTROL;
        self
    }

    /// Adds a record with the next offset.
    pub fn push(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader]) {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        // Attributes, two deltas, two lengths and the number of headers take at most 31 bytes.
        let mut record = Vec::with_capacity(31 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        record.push(0);
        varint::put(&mut record, timestamp.0 - base.0);
        varint::put(&mut record, i64::from(self.next_delta));
        put_nullable(&mut record, key);
        put_nullable(&mut record, value);
        varint::put(&mut record, headers.len() as i64);
        for header in headers {
            put_nullable(&mut record, Some(&header.key));
            put_nullable(&mut record, header.value.as_deref());
        }
        varint::put(&mut self.payload, record.len() as i64);
        self.payload.extend_from_slice(&record);
        self.records += 1;
        self.next_delta += 1;
    }

    /// Leaves offsets without a record, as compaction does: between records, or after the last.
    pub fn skip_offsets(&mut self, offsets: i32) {
        self.next_delta += offsets;
    }

    /// Number of records so far.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Length of the batch so far, before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// The encoded batch.
    ///
    /// # Panics
    /// If there is no offset in it, or it has 2 GiB or more.
    pub fn build(self) -> Bytes {
        assert!(0 < self.next_delta, "a batch spans at least one offset");
        let records = compress(self.codec, self.payload);
        let length = i32::try_from(HEADER_BYTES - field::LEADER_EPOCH + records.len()).expect("a batch is shorter than 2 GiB");
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
        out.extend_from_slice(&self.base_offset.0.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.0.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.attributes.to_be_bytes());
        out.extend_from_slice(&(self.next_delta - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.unwrap_or(Timestamp::NONE).0.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        out.extend_from_slice(&producer_id.to_be_bytes());
        out.extend_from_slice(&producer_epoch.to_be_bytes());
        out.extend_from_slice(&base_sequence.to_be_bytes());
        out.extend_from_slice(&self.records.to_be_bytes());
        out.extend_from_slice(&records);
        let crc = crc32c::crc32c(&out[field::ATTRIBUTES..]);
        out[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        out.into()
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
