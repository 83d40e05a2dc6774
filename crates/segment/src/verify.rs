//! Reads a whole object, for `segment dump`, and checks what an object holds against what it says, for `store check` and the auditor.

use bytes::{Bytes, BytesMut};
use records::{DamagedBatch, batches};
use types::{Offset, SegmentRef};

use crate::contents::{ObjectContents, SegmentEntry, data_range, index_range};
use crate::error::ObjectError;
use crate::index::Index;
use crate::summary::{Placement, Summary};
use crate::trailer::{Trailer, check_head};

/// Checks every byte of `object`: head, trailer, footer, the checksum of every segment and of every batch, and that index and
/// footer say of the batches what the batches say.
pub fn verify(object: &Bytes) -> Result<ObjectContents, ObjectError> {
    let contents = contents(object)?;
    for entry in &contents.segments {
        let mut verifier = SegmentVerifier::new(entry)?;
        verifier.push(slice(object, data_range(&entry.segment).start..index_range(&entry.segment).end))?;
        verifier.finish()?;
    }
    Ok(contents)
}

/// What the whole `object` says of itself. Its segments lie inside it; their bytes are not looked at.
pub fn contents(object: &Bytes) -> Result<ObjectContents, ObjectError> {
    check_head(object)?;
    let trailer = Trailer::parse(object)?;
    if trailer.object_bytes != object.len() as u64 {
        return Err(ObjectError::Short { part: "object", needed: trailer.object_bytes, found: object.len() as u64 });
    }
    ObjectContents::parse(&slice(object, trailer.footer_range()), &trailer)
}

/// Checks one segment while its bytes come in pieces of any size. It keeps the batch that is not whole yet and the index, and nothing
/// else, however long the segment is.
pub struct SegmentVerifier<'a> {
    entry: &'a SegmentEntry,
    summary: Summary,
    /// Of its data, so many bytes have not come yet.
    data_left: u64,
    /// Position of what is walked over next, from the start of the data.
    position: usize,
    after: Option<Offset>,
    /// The beginning of a batch.
    begun: BytesMut,
    /// Length of that batch, as far as it is known.
    wanted: usize,
    index: BytesMut,
}

impl<'a> SegmentVerifier<'a> {
    /// For the segment that a footer describes as `entry`.
    ///
    /// # Errors
    /// If its offsets are no range.
    pub fn new(entry: &'a SegmentEntry) -> Result<Self, ObjectError> {
        let SegmentEntry { partition, segment, .. } = entry;
        let summary = Summary::new(segment.base, segment.end).map_err(|source| ObjectError::Layout { partition: *partition, source })?;
        Ok(Self {
            entry,
            summary,
            data_left: segment.bytes,
            position: 0,
            after: None,
            begun: BytesMut::new(),
            wanted: 0,
            index: BytesMut::new(),
        })
    }

    /// The next bytes of the segment: its data, then its index.
    ///
    /// # Errors
    /// At the first batch that is damaged or does not lie where it must. Nothing may be pushed after that.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<(), ObjectError> {
        let data = bytes.split_to(usize::try_from(self.data_left).unwrap_or(usize::MAX).min(bytes.len()));
        self.data_left -= data.len() as u64;
        self.index.extend_from_slice(&bytes);
        if self.begun.is_empty() {
            return self.walk(&data);
        }
        self.begun.extend_from_slice(&data);
        if self.begun.len() < self.wanted {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.begun).freeze();
        self.walk(&gathered)
    }

    /// Everything was pushed.
    ///
    /// # Errors
    /// If the data ends within a batch or is not what the footer says, or if the index is not that of the data.
    pub fn finish(self) -> Result<(), ObjectError> {
        let SegmentEntry { partition, segment, data_crc, .. } = self.entry;
        let (partition, base) = (*partition, segment.base);
        if !self.begun.is_empty() {
            let (position, after, length, found) = (self.position, self.after, self.wanted, self.begun.len());
            let source = DamagedBatch::Truncated { position, after, length, found };
            return Err(ObjectError::Batches { partition, base, source });
        }
        if self.summary.data_crc() != *data_crc {
            return Err(ObjectError::Checksum { part: "segment data", stored: *data_crc, computed: self.summary.data_crc() });
        }
        Index::parse(&self.index, segment)?;
        if self.index != self.summary.encode_index() {
            return Err(ObjectError::Disagrees { partition, base, what: "its index" });
        }
        if *segment != as_summed_up(&self.summary, segment) {
            return Err(ObjectError::Disagrees { partition, base, what: "its footer entry" });
        }
        Ok(())
    }

    /// Checks the batches that are whole, and keeps the beginning of the last one if it is not.
    fn walk(&mut self, bytes: &Bytes) -> Result<(), ObjectError> {
        let SegmentEntry { partition, segment, .. } = self.entry;
        let (partition, base) = (*partition, segment.base);
        let walked = self.position;
        for batch in batches(bytes.clone()) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(DamagedBatch::Truncated { position, length, .. }) => {
                    self.begun.extend_from_slice(&bytes[position..]);
                    self.wanted = length;
                    break;
                }
                Err(DamagedBatch::Header { position, source, .. }) => {
                    let source = DamagedBatch::Header { position: walked + position, after: self.after, source };
                    return Err(ObjectError::Batches { partition, base, source });
                }
            };
            self.summary.add(&batch.bytes).map_err(|source| ObjectError::Layout { partition, source })?;
            let offset = batch.header.base_offset;
            records::verify_crc(&batch.bytes).map_err(|source| ObjectError::Batch { partition, offset, source })?;
            self.position += batch.bytes.len();
            self.after = Some(batch.header.next_offset());
        }
        Ok(())
    }
}

/// The reference that the batches themselves give, with what only the writer knew taken from `segment`.
fn as_summed_up(summary: &Summary, segment: &SegmentRef) -> SegmentRef {
    let &SegmentRef { object, position, index_bytes, append_times, state_from, origin, .. } = segment;
    summary.segment(object, Placement { position, index_bytes, append_times, state_from, origin })
}

/// The footer was checked to describe ranges inside the object.
fn slice(object: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    object.slice(range.start as usize..range.end as usize)
}
