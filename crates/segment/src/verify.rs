//! Reads a whole object, for `segment dump`, and checks it against itself, for `store check`.

use bytes::Bytes;
use records::batches;
use types::SegmentRef;

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
        verify_segment(object, entry)?;
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

fn verify_segment(object: &Bytes, entry: &SegmentEntry) -> Result<(), ObjectError> {
    let SegmentEntry { partition, segment, data_crc, .. } = entry;
    let (partition, base) = (*partition, segment.base);
    let layout = |source| ObjectError::Layout { partition, source };
    let mut summary = Summary::new(segment.base, segment.end).map_err(layout)?;
    for batch in batches(slice(object, data_range(segment))) {
        let batch = batch.map_err(|source| ObjectError::Batches { partition, base, source })?;
        summary.add(&batch.bytes).map_err(layout)?;
        let offset = batch.header.base_offset;
        records::verify_crc(&batch.bytes).map_err(|source| ObjectError::Batch { partition, offset, source })?;
    }
    if summary.data_crc() != *data_crc {
        return Err(ObjectError::Checksum { part: "segment data", stored: *data_crc, computed: summary.data_crc() });
    }
    let index = slice(object, index_range(segment));
    Index::parse(&index, segment)?;
    if index != summary.encode_index() {
        return Err(ObjectError::Disagrees { partition, base, what: "its index" });
    }
    if *segment != as_summed_up(&summary, segment) {
        return Err(ObjectError::Disagrees { partition, base, what: "its footer entry" });
    }
    Ok(())
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
