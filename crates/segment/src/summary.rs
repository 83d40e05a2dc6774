//! One walk over a segment's batches gives all that footer and index say of it. Building and verifying share it, so that an object
//! is checked by the very rules that made it.

use records::{BatchHeader, HeaderError, TimestampType};
use types::{EpochStart, LeaderEpoch, MinTimestamp, ObjectKey, ObjectOrigin, Offset, Revision, SegmentFlags, SegmentRef, Timestamp};

use crate::index::{self, IndexEntry};

/// Longest distance between index entries, unless a single batch is longer.
pub const INDEX_INTERVAL_BYTES: u64 = 256 * 1024;

/// A rule of a segment's layout that a batch breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutFault {
    /// A segment covers at least one offset.
    #[error("offsets from {base} to {end} are no range")]
    Range {
        /// First offset.
        base: Offset,
        /// Offset after the last.
        end: Offset,
    },
    /// No header can be read.
    #[error("batch after offset {after}: {source}")]
    Header {
        /// Offset after the last batch, or the segment's base.
        after: Offset,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The bytes are not exactly one batch.
    #[error("batch at offset {offset} has {length} bytes, found {found}")]
    Length {
        /// Its base offset.
        offset: Offset,
        /// Its length by its header.
        length: usize,
        /// Bytes there.
        found: usize,
    },
    /// Offsets must rise within the segment's range.
    #[error("batch from offset {base} to {last} does not lie between {from} and {end}")]
    Offsets {
        /// Its first offset.
        base: Offset,
        /// Its last offset.
        last: Offset,
        /// Where it might begin.
        from: Offset,
        /// Where the segment ends.
        end: Offset,
    },
    /// Leader epochs must not fall.
    #[error("batch at offset {offset} has leader epoch {found} after {before}")]
    LeaderEpoch {
        /// Its base offset.
        offset: Offset,
        /// Its epoch.
        found: LeaderEpoch,
        /// The epoch of the batch before it.
        before: LeaderEpoch,
    },
}

/// Grows by one batch at a time.
#[derive(Debug)]
pub(crate) struct Summary {
    base: Offset,
    end: Offset,
    next: Offset,
    bytes: u64,
    records: u64,
    batches: u32,
    max_timestamp: Timestamp,
    min_timestamp: Option<MinTimestamp>,
    leader_epochs: Vec<EpochStart>,
    flags: u32,
    data_crc: u32,
    index: Vec<IndexEntry>,
    block_bytes: u64,
}

/// What the batches themselves cannot tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) position: u64,
    pub(crate) index_bytes: u32,
    pub(crate) append_times: (Timestamp, Timestamp),
    pub(crate) state_from: Offset,
    pub(crate) origin: ObjectOrigin,
}

impl Summary {
    pub(crate) fn new(base: Offset, end: Offset) -> Result<Self, LayoutFault> {
        if end <= base || base < Offset::ZERO {
            return Err(LayoutFault::Range { base, end });
        }
        Ok(Self {
            base,
            end,
            next: base,
            bytes: 0,
            records: 0,
            batches: 0,
            max_timestamp: Timestamp::NONE,
            min_timestamp: None,
            leader_epochs: Vec::new(),
            flags: 0,
            data_crc: 0,
            index: Vec::new(),
            block_bytes: 0,
        })
    }

    pub(crate) fn add(&mut self, batch: &[u8]) -> Result<BatchHeader, LayoutFault> {
        let header = BatchHeader::parse(batch).map_err(|source| LayoutFault::Header { after: self.next, source })?;
        self.check(&header, batch.len())?;
        let length = batch.len() as u64;
        if self.index.is_empty() || INDEX_INTERVAL_BYTES < self.block_bytes + length {
            let (offset, position, records, max_timestamp) = (self.next, self.bytes, self.records, self.max_timestamp);
            self.index.push(IndexEntry { offset, position, records, max_timestamp });
            self.block_bytes = 0;
        }
        self.add_timestamps(&header);
        let block = self.index.last_mut().expect("the first batch opens a block");
        block.max_timestamp = self.max_timestamp;
        if self.leader_epochs.last().is_none_or(|start| start.epoch != header.leader_epoch) {
            self.leader_epochs.push(EpochStart { epoch: header.leader_epoch, offset: header.base_offset });
        }
        self.flags |= 1 << header.codec.id();
        self.flags |= if header.transactional { SegmentFlags::TRANSACTIONAL } else { 0 };
        self.flags |= if header.control { SegmentFlags::CONTROL } else { 0 };
        self.data_crc = crc32c::crc32c_append(self.data_crc, batch);
        self.next = header.next_offset();
        self.bytes += length;
        self.block_bytes += length;
        self.records += u64::from(header.records);
        self.batches += 1;
        Ok(header)
    }

    fn check(&self, header: &BatchHeader, found: usize) -> Result<(), LayoutFault> {
        let offset = header.base_offset;
        if header.bytes != found {
            return Err(LayoutFault::Length { offset, length: header.bytes, found });
        }
        if offset < self.next || self.end < header.next_offset() {
            return Err(LayoutFault::Offsets { base: offset, last: header.last_offset(), from: self.next, end: self.end });
        }
        match self.leader_epochs.last() {
            Some(before) if header.leader_epoch < before.epoch => {
                Err(LayoutFault::LeaderEpoch { offset, found: header.leader_epoch, before: before.epoch })
            }
            _ => Ok(()),
        }
    }

    /// Without opening the batch: its largest timestamp is in the header, its smallest only where all are the same.
    fn add_timestamps(&mut self, header: &BatchHeader) {
        if header.records == 0 {
            return;
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        let min = match header.timestamp_type {
            TimestampType::LogAppendTime => MinTimestamp { value: header.max_timestamp, exact: true },
            TimestampType::CreateTime => MinTimestamp { value: header.base_timestamp, exact: false },
        };
        self.min_timestamp = Some(
            self.min_timestamp
                .map_or(min, |smallest| MinTimestamp { value: smallest.value.min(min.value), exact: smallest.exact && min.exact }),
        );
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn data_crc(&self) -> u32 {
        self.data_crc
    }

    pub(crate) fn encode_index(&self) -> Vec<u8> {
        index::encode(&self.index)
    }

    pub(crate) fn segment(&self, object: ObjectKey, placement: Placement) -> SegmentRef {
        SegmentRef {
            base: self.base,
            end: self.end,
            object,
            position: placement.position,
            bytes: self.bytes,
            index_bytes: placement.index_bytes,
            records: self.records,
            batches: self.batches,
            max_timestamp: self.max_timestamp,
            min_timestamp: self.min_timestamp.unwrap_or(MinTimestamp { value: Timestamp::NONE, exact: true }),
            append_times: placement.append_times,
            leader_epochs: self.leader_epochs.clone(),
            stable_end: self.end,
            aborted: 0,
            flags: SegmentFlags(self.flags),
            state_from: placement.state_from,
            origin: placement.origin,
            offset_shift: 0,
            leader_epoch: None,
            added: Revision(0),
        }
    }
}
