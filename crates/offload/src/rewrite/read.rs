//! Reads the segments that are to be merged, and what their objects' footers say of them. What lies close together in an object is one
//! request, however many partitions it belongs to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};
use runtime::IoBudget;
use segment::{ObjectContents, ObjectError, SegmentEntry, TRAILER_BYTES, Trailer, data_range};
use store::{ObjectStore, RangeReader, RangeRequest, ReadClass, StoreError};
use types::{ObjectKey, Offset, Revision, SegmentRef, TopicPartition};

use super::Counters;

/// Bytes between two wanted pieces that are read along rather than asked for around.
const GAP_BYTES: u64 = 64 << 10;
/// Most bytes that are read for several pieces together; a piece alone may be larger.
const REQUEST_BYTES: u64 = 16 << 20;
/// Read of an object's end in the hope that its footer is in it.
const TAIL_BYTES: u64 = 64 << 10;
/// Objects read at the same time.
const OBJECTS_AT_ONCE: usize = 4;

/// Why segments cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("object {key}: {source}")]
    Object { key: ObjectKey, source: Box<ObjectError> },
    #[error("object {key}: {detail}")]
    Disagrees { key: ObjectKey, detail: String },
}

impl ReadError {
    /// The key of an object that is not there.
    pub(super) fn missing(&self) -> Option<&str> {
        match self {
            Self::Store(StoreError::NotFound { key }) => Some(key),
            Self::Store(_) | Self::Object { .. } | Self::Disagrees { .. } => None,
        }
    }

    /// Trying again does not help.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::Corrupt { .. }),
            Self::Object { .. } | Self::Disagrees { .. } => true,
        }
    }
}

/// A segment with all that its object says of it.
pub(super) struct OldSegment {
    pub(super) entry: SegmentEntry,
    /// Its batches.
    pub(super) data: Bytes,
}

/// A segment is named by its partition and base.
pub(super) type Place = (TopicPartition, Offset);

/// What reads are done with.
pub(super) struct Source {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) ranges: RangeReader,
    pub(super) budget: Arc<IoBudget>,
    pub(super) counters: Arc<Counters>,
}

impl Source {
    /// All of `wanted`, by place. They are held to their objects' footers; their batches are not looked at yet.
    pub(super) async fn read(&self, wanted: Vec<(TopicPartition, SegmentRef)>) -> Result<BTreeMap<Place, OldSegment>, ReadError> {
        let mut by_object: BTreeMap<ObjectKey, Vec<(TopicPartition, SegmentRef)>> = BTreeMap::new();
        for named in wanted {
            by_object.entry(named.1.object).or_default().push(named);
        }
        let reads = by_object.into_iter().map(|(key, segments)| self.read_object(key, segments));
        let read: Vec<Vec<(Place, OldSegment)>> = stream::iter(reads).buffered(OBJECTS_AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_object(
        &self,
        key: ObjectKey,
        mut wanted: Vec<(TopicPartition, SegmentRef)>,
    ) -> Result<Vec<(Place, OldSegment)>, ReadError> {
        wanted.sort_by_key(|(_, segment)| segment.position);
        let length = self.store.head(&key.to_string()).await?.length;
        let tail = length.saturating_sub(TAIL_BYTES)..length;
        let mut pieces: Vec<_> = wanted.iter().map(|(_, segment)| data_range(segment)).collect();
        if pieces.iter().any(|piece| length < piece.end) {
            return Err(ReadError::Disagrees { key, detail: format!("{length} bytes are less than its segments take") });
        }
        pieces.push(tail.clone());
        let mut read = self.pieces(key, length, &pieces).await?;
        let tail_bytes = read.pop().expect("as many as were asked for");
        let contents = self.contents(key, length, &tail, &tail_bytes).await?;
        wanted.into_iter().zip(read).map(|((partition, segment), data)| old_segment(&contents, partition, &segment, data)).collect()
    }

    /// What the object's footer says; the footer is in its tail, or begins before it.
    async fn contents(&self, key: ObjectKey, length: u64, tail: &Range<u64>, tail_bytes: &Bytes) -> Result<ObjectContents, ReadError> {
        let damaged = |source| ReadError::Object { key, source: Box::new(source) };
        let disagrees = |detail: String| ReadError::Disagrees { key, detail };
        if tail_bytes.len() < TRAILER_BYTES {
            return Err(disagrees(format!("{length} bytes are less than a trailer")));
        }
        let trailer = Trailer::parse(tail_bytes).map_err(damaged)?;
        if trailer.object_bytes != length {
            return Err(disagrees(format!("{length} bytes, {} by its trailer", trailer.object_bytes)));
        }
        let range = trailer.footer_range();
        let footer = match range.start.checked_sub(tail.start) {
            Some(start) => tail_bytes.slice(start as usize..(range.end - tail.start) as usize),
            None => self.pieces(key, length, std::slice::from_ref(&range)).await?.remove(0),
        };
        let contents = ObjectContents::parse(&footer, &trailer).map_err(damaged)?;
        if contents.key != key {
            return Err(disagrees(format!("it is a copy of {}", contents.key)));
        }
        Ok(contents)
    }

    /// The bytes of each piece; pieces ascend and may touch or overlap.
    async fn pieces(&self, key: ObjectKey, length: u64, pieces: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let name = key.to_string();
        let mut found = Vec::with_capacity(pieces.len());
        for group in groups(pieces) {
            let whole = group.iter().fold(length..0, |whole, piece| whole.start.min(piece.start)..whole.end.max(piece.end));
            let bytes = whole.end.saturating_sub(whole.start);
            self.budget.take(bytes).await;
            let range = whole.start.min(whole.end)..whole.end;
            let (extent, class) = (range.clone(), ReadClass::Rewrite);
            let request = RangeRequest { key: &name, extent, range, block_bytes: u64::MAX, read_ahead: 0, class };
            let read = self.ranges.read(request).await?.bytes;
            self.counters.read(bytes);
            let wanted: u64 = group.iter().map(|piece| piece.end - piece.start).sum();
            for piece in group {
                let slice = read.slice((piece.start - whole.start) as usize..(piece.end - whole.start) as usize);
                // What was read along must not stay in memory for as long as the pieces do.
                found.push(if wanted < bytes { BytesMut::from(&slice[..]).freeze() } else { slice });
            }
        }
        Ok(found)
    }
}

/// Pieces that lie so close together that they are one request.
fn groups(pieces: &[Range<u64>]) -> Vec<&[Range<u64>]> {
    let mut groups = Vec::new();
    let mut first = 0;
    for next in 1..=pieces.len() {
        let goes_on = pieces.get(next).is_some_and(|piece| {
            piece.start <= pieces[next - 1].end.saturating_add(GAP_BYTES) && piece.end <= pieces[first].start.saturating_add(REQUEST_BYTES)
        });
        if !goes_on {
            groups.push(&pieces[first..next]);
            first = next;
        }
    }
    groups
}

fn old_segment(
    contents: &ObjectContents,
    partition: TopicPartition,
    segment: &SegmentRef,
    data: Bytes,
) -> Result<(Place, OldSegment), ReadError> {
    let key = contents.key;
    let disagrees = |what: &str| ReadError::Disagrees { key, detail: format!("{what} of {partition} from offset {}", segment.base) };
    // Only metadata knows in which revision it was added.
    let written = SegmentRef { added: Revision::default(), ..segment.clone() };
    let found = contents.segments.binary_search_by_key(&(partition, segment.base), |entry| (entry.partition, entry.segment.base));
    let entry = found.ok().map(|index| &contents.segments[index]).filter(|entry| entry.segment == written);
    let entry = entry.ok_or_else(|| disagrees("its footer has no such segment"))?;
    if crc32c::crc32c(&data) != entry.data_crc {
        return Err(disagrees("the checksum is wrong for the segment"));
    }
    Ok(((partition, segment.base), OldSegment { entry: entry.clone(), data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_lie_close_together_are_one_request() {
        let gap = GAP_BYTES;
        let pieces = [16..100, 100..200, 200 + gap..300 + gap, 301 + 2 * gap..302 + 2 * gap, 302 + 2 * gap..303 + 2 * gap];
        let groups: Vec<_> = groups(&pieces).into_iter().map(<[_]>::len).collect();
        assert_eq!(groups, [3, 2]);
        let large = [0..REQUEST_BYTES, REQUEST_BYTES..REQUEST_BYTES + 1, REQUEST_BYTES + 1..2 * REQUEST_BYTES + 1];
        assert_eq!(super::groups(&large).into_iter().map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
