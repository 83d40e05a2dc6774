//! The sparse index of one segment: where to begin reading for an offset or a time.

use std::ops::Range;

use types::{Offset, SegmentRef, Timestamp};

use crate::contents::{data_range, index_range};
use crate::error::{ObjectError, check_crc};
use crate::wire::{Fields, PutFields};

const PART: &str = "index";
const VERSION: u16 = 1;
const ENTRY_BYTES: usize = 32;
/// Version, entry length and count before the entries, the checksum after them.
const AROUND_ENTRIES: usize = 12;

/// A block of batches: from one index entry to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// First offset that the block answers for: the one after the last batch before it, or the segment's base. So a gap in front
    /// of a block belongs to it, and a reader inside the gap finds the next batch.
    pub offset: Offset,
    /// Where the block begins, from the start of the segment's data.
    pub position: u64,
    /// Records in the segment before the block.
    pub records: u64,
    /// Largest timestamp in the segment up to the end of the block.
    pub max_timestamp: Timestamp,
}

/// The index of one segment, parsed and checked against the segment's reference. All positions it returns are in the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    data: Range<u64>,
    entries: Vec<IndexEntry>,
}

impl Index {
    /// Parses the bytes at [`index_range`].
    ///
    /// # Errors
    /// If they are damaged, or are not the index of this segment.
    pub fn parse(bytes: &[u8], segment: &SegmentRef) -> Result<Self, ObjectError> {
        if bytes.len() as u64 != u64::from(segment.index_bytes) {
            let needed = u64::from(segment.index_bytes);
            return Err(ObjectError::Short { part: PART, needed, found: bytes.len() as u64 });
        }
        let mut fields = Fields::new(PART, bytes);
        let covered = fields.bytes(bytes.len().saturating_sub(4))?;
        check_crc(PART, fields.u32()?, covered)?;
        let mut fields = Fields::new(PART, covered);
        let version = fields.u16()?;
        if version != VERSION {
            return Err(ObjectError::Version { part: PART, found: u32::from(version) });
        }
        let entry_bytes = usize::from(fields.u16()?);
        fields.require(entry_bytes == ENTRY_BYTES, "entry length")?;
        let count = fields.u32()? as usize;
        let mut entries = fields.room_for(count, ENTRY_BYTES);
        for _ in 0..count {
            entries.push(IndexEntry {
                offset: fields.offset()?,
                position: fields.u64()?,
                records: fields.u64()?,
                max_timestamp: Timestamp(fields.i64()?),
            });
        }
        check_entries(&entries, segment).map_err(|what| fields.malformed(what))?;
        fields.finish()?;
        Ok(Self { data: data_range(segment), entries })
    }

    /// The blocks, ascending.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Where to begin reading for `offset`: a batch boundary at or before the batch that holds it or, in a gap, that follows it.
    pub fn seek(&self, offset: Offset) -> u64 {
        self.block(self.block_of(offset)).start
    }

    /// The first block that may hold a record of `timestamp` or later. `None` where all records are older.
    pub fn seek_timestamp(&self, timestamp: Timestamp) -> Option<Range<u64>> {
        let block = self.entries.partition_point(|entry| entry.max_timestamp < timestamp);
        (block < self.entries.len()).then(|| self.block(block))
    }

    /// What to fetch for a reader at `offset` who wants about `max_bytes`: from [`Self::seek`] to a batch boundary, as many whole
    /// blocks as fit, one at least. If any batch of the segment ends above `offset`, the range holds the first that does.
    pub fn range_for(&self, offset: Offset, max_bytes: u64) -> Range<u64> {
        let first = self.block_of(offset);
        let start = self.block(first).start;
        let limit = start.saturating_add(max_bytes);
        let fitting = self.entries.partition_point(|entry| self.data.start + entry.position <= limit);
        let end = if self.data.end <= limit { self.data.end } else { self.block(fitting.saturating_sub(1)).start };
        start..end.max(self.block(first).end)
    }

    fn block_of(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| entry.offset <= offset).saturating_sub(1)
    }

    /// The bytes of a block; nothing where there is no such block.
    fn block(&self, block: usize) -> Range<u64> {
        let start = |block: usize| self.entries.get(block).map_or(self.data.end, |entry| self.data.start + entry.position);
        start(block)..start(block + 1)
    }
}

/// The rules that seeking relies on.
fn check_entries(entries: &[IndexEntry], segment: &SegmentRef) -> Result<(), &'static str> {
    if index_range(segment).end.checked_sub(segment.position) != segment.bytes.checked_add(u64::from(segment.index_bytes)) {
        return Err("segment ends beyond the largest position");
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return if segment.bytes == 0 { Ok(()) } else { Err("no entry") };
    };
    if first.offset != segment.base || first.position != 0 || first.records != 0 {
        return Err("first entry is not the segment's beginning");
    }
    if segment.end <= last.offset || segment.bytes <= last.position || segment.records < last.records {
        return Err("last entry lies outside the segment");
    }
    if last.max_timestamp != segment.max_timestamp {
        return Err("largest timestamp is not the segment's");
    }
    let rising = |pair: &[IndexEntry]| {
        let (a, b) = (pair[0], pair[1]);
        a.offset < b.offset && a.position < b.position && a.records <= b.records && a.max_timestamp <= b.max_timestamp
    };
    if entries.windows(2).all(rising) { Ok(()) } else { Err("entries do not rise") }
}

/// The bytes of an index.
pub(crate) fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(AROUND_ENTRIES + entries.len() * ENTRY_BYTES);
    out.put_u16(VERSION);
    out.put_u16(ENTRY_BYTES as u16);
    out.put_count(entries.len());
    for entry in entries {
        out.put_i64(entry.offset.0);
        out.put_u64(entry.position);
        out.put_u64(entry.records);
        out.put_i64(entry.max_timestamp.0);
    }
    out.put_u32(crc32c::crc32c(&out));
    out
}
