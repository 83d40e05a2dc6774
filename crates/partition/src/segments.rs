//! Reads published records: which segments there are, from metadata, and their batches, from the store. Pages of the list and large
//! segments' indexes are kept in bounded caches; objects are immutable, so what is cached can be out of use but never wrong.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use metadata_api::{MetadataClient, SegmentPage};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use records::{Batch, batches, verify_crc};
use segment::Index;
use store::{RangeRead, RangeReader, RangeRequest, ReadClass};
use tokio::sync::Semaphore;
use types::{ObjectKey, Offset, SegmentRef, Timestamp, TopicPartition};

use crate::{Limits, ReadError};

/// Segments asked for at once: a reader of history comes back for the next ones.
const PAGE_SEGMENTS: u32 = 32;
/// A segment up to this size is fetched whole, and its index never.
const WHOLE_SEGMENT_BYTES: u64 = 1 << 20;
/// So much of a large segment is fetched ahead of a reader of history.
const READ_AHEAD_BYTES: u64 = 4 << 20;
/// Reads that go on although their reader has gone. Beyond that they end with their readers.
const LINGERING_READS: usize = 64;
/// No single fetch is larger, whatever a consumer asks for.
const MAX_FETCH_BYTES: usize = 8 << 20;
/// How often bytes that turn out to be damaged are fetched before the reader is told.
const FETCHES_OF_DAMAGE: u32 = 3;
/// An index has 32 bytes for 256 KiB of batches at most: no index of a segment that exists comes near this.
const MAX_INDEX_BYTES: u32 = 16 << 20;

/// Batches of one segment.
pub(crate) struct SegmentRead {
    /// At least one, unless nothing follows the offset in the segment.
    pub(crate) batches: Vec<Batch>,
    pub(crate) next: Next,
    /// So many of the bytes read came from the read cache.
    pub(crate) cached: u64,
}

/// A part of a partition's segment list.
pub(crate) struct Page {
    page: Arc<SegmentPage>,
    /// It was asked for earlier: objects it names may have been replaced since.
    pub(crate) kept: bool,
}

impl Deref for Page {
    type Target = SegmentPage;

    fn deref(&self) -> &SegmentPage {
        &self.page
    }
}

/// Where to read on after a segment's batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Next {
    pub(crate) offset: Offset,
    /// It is the end of the segment.
    pub(crate) is_segment_end: bool,
}

/// An index is named by where it lies: an object holds many.
type IndexPlace = (ObjectKey, u64);

#[derive(Clone)]
struct IndexWeight;

impl Weighter<IndexPlace, Arc<CachedIndex>> for IndexWeight {
    fn weight(&self, _: &IndexPlace, index: &Arc<CachedIndex>) -> u64 {
        index.bytes
    }
}

struct CachedIndex {
    index: Index,
    bytes: u64,
}

pub(crate) struct Segments {
    metadata: Arc<dyn MetadataClient>,
    ranges: RangeReader,
    lingering: Arc<Semaphore>,
    pages: Cache<TopicPartition, Arc<SegmentPage>>,
    indexes: Cache<IndexPlace, Arc<CachedIndex>, IndexWeight>,
}

impl Segments {
    pub(crate) fn new(metadata: Arc<dyn MetadataClient>, ranges: RangeReader, limits: &Limits) -> Self {
        /// Only a guess for the cache's first allocation.
        const USUAL_INDEX_BYTES: u64 = 8 << 10;
        let usual_indexes = usize::try_from(limits.segment_index_bytes / USUAL_INDEX_BYTES).unwrap_or(usize::MAX);
        Self {
            metadata,
            ranges,
            lingering: Arc::new(Semaphore::new(LINGERING_READS)),
            pages: Cache::new(limits.segment_pages),
            indexes: Cache::with_weighter(usual_indexes, limits.segment_index_bytes, IndexWeight),
        }
    }

    #[cfg(test)]
    pub(crate) fn ranges(&self) -> &RangeReader {
        &self.ranges
    }

    /// Segments from the one that answers for `offset`, or the next above it. Empty if there is none.
    pub(crate) async fn page(&self, partition: TopicPartition, offset: Offset) -> Result<Page, ReadError> {
        if let Some(page) = self.pages.get(&partition)
            && page.segments.first().is_some_and(|first| first.base <= offset)
            && page.segments.last().is_some_and(|last| offset < last.end)
        {
            return Ok(Page { page, kept: true });
        }
        self.fresh_page(partition, offset).await
    }

    /// The same as metadata knows it now.
    pub(crate) async fn fresh_page(&self, partition: TopicPartition, offset: Offset) -> Result<Page, ReadError> {
        let page = self.metadata.segments(partition, offset, PAGE_SEGMENTS).await;
        let page = Arc::new(page.map_err(|source| ReadError::Lookup { partition, source })?);
        self.pages.insert(partition, Arc::clone(&page));
        Ok(Page { page, kept: false })
    }

    /// The kept page names something that is gone.
    pub(crate) fn forget_page(&self, partition: TopicPartition) {
        self.pages.remove(&partition);
    }

    /// Batches of `segment` from the one that holds `offset`, about `room` bytes of them and at least one.
    pub(crate) async fn read(
        &self,
        partition: TopicPartition,
        segment: &SegmentRef,
        offset: Offset,
        room: usize,
        class: ReadClass,
    ) -> Result<SegmentRead, ReadError> {
        let key = segment.object.to_string();
        let damaged = |detail: String| ReadError::Damaged { partition, detail: format!("object {key}: {detail}") };
        if segment.offset_shift != 0 || segment.leader_epoch.is_some() {
            return Err(damaged("offset shift and leader epoch override are reserved".to_owned()));
        }
        let index = match segment.bytes {
            0..=WHOLE_SEGMENT_BYTES => None,
            _ => Some(self.index(partition, segment, class).await?),
        };
        let data = segment.position..segment.position + segment.bytes;
        let range = match &index {
            None => data.clone(),
            Some(cached) => cached.index.range_for(offset, room.min(MAX_FETCH_BYTES) as u64),
        };
        let at_end = range.end == data.end;
        let sound = |bytes| sound_batches(bytes, offset, segment.base..segment.end).map_err(&damaged);
        let ((batches, last), cached) = self.fetch_sound(partition, segment.object, data, range, class, sound).await?;
        if batches.is_empty() && !at_end {
            return Err(damaged(format!("the index leads from offset {offset} to no batch")));
        }
        let next = if at_end { segment.end } else { last };
        Ok(SegmentRead { batches, next: Next { offset: next, is_segment_end: at_end }, cached })
    }

    async fn index(&self, partition: TopicPartition, segment: &SegmentRef, class: ReadClass) -> Result<Arc<CachedIndex>, ReadError> {
        let place = (segment.object, segment.position);
        if let Some(index) = self.indexes.get(&place) {
            return Ok(index);
        }
        let key = segment.object.to_string();
        let damaged = |detail: String| ReadError::Damaged { partition, detail: format!("index in object {key}: {detail}") };
        if MAX_INDEX_BYTES < segment.index_bytes {
            return Err(damaged(format!("{} bytes, at most {MAX_INDEX_BYTES} are possible", segment.index_bytes)));
        }
        let extent = segment::index_range(segment);
        let sound = |bytes: Bytes| Index::parse(&bytes, segment).map_err(|error| damaged(error.to_string()));
        let (index, _) = self.fetch_sound(partition, segment.object, extent.clone(), extent, class, sound).await?;
        let index = Arc::new(CachedIndex { index, bytes: u64::from(segment.index_bytes) });
        self.indexes.insert(place, Arc::clone(&index));
        Ok(index)
    }

    /// What `sound` makes of an object's bytes, and how many of them came from the read cache. Bytes that are damaged are asked for
    /// again: it may have been the way from the store, and what is kept of them would be wrong for every reader.
    async fn fetch_sound<T>(
        &self,
        partition: TopicPartition,
        object: ObjectKey,
        extent: Range<u64>,
        range: Range<u64>,
        class: ReadClass,
        sound: impl Fn(Bytes) -> Result<T, ReadError>,
    ) -> Result<(T, u64), ReadError> {
        let mut attempt = 1;
        loop {
            let read = self.fetch(partition, object, extent.clone(), range.clone(), class).await?;
            match sound(read.bytes) {
                Ok(sound) => return Ok((sound, read.cached)),
                Err(error) => {
                    self.ranges.forget(&object.to_string(), &extent, &range);
                    if attempt == FETCHES_OF_DAMAGE {
                        return Err(error);
                    }
                    tracing::warn!("{error}; asking the store again");
                    attempt += 1;
                }
            }
        }
    }

    /// Bytes of an object, through the read cache. A reader gives up sooner than a slow store answers, and must not begin anew each
    /// time: the fetch goes on without it, and the next try finds the bytes in the cache.
    async fn fetch(
        &self,
        partition: TopicPartition,
        object: ObjectKey,
        extent: Range<u64>,
        range: Range<u64>,
        class: ReadClass,
    ) -> Result<RangeRead, ReadError> {
        let ranges = self.ranges.clone();
        let read = async move {
            let key = object.to_string();
            ranges.read(RangeRequest { key: &key, extent, range, read_ahead: READ_AHEAD_BYTES, class }).await
        };
        let read = match Arc::clone(&self.lingering).try_acquire_owned() {
            Err(_) => read.await,
            Ok(permit) => {
                let lingering = runtime::spawn("segment-read", async move {
                    let read = read.await;
                    drop(permit);
                    read
                });
                lingering.await.expect("the task is never aborted, and its panic stops the process")
            }
        };
        read.map_err(|source| ReadError::Store { partition, source })
    }

    /// From which offset on `segment` must be searched for a record at or after `timestamp`; `None` if all are older.
    pub(crate) async fn seek_timestamp(
        &self,
        partition: TopicPartition,
        segment: &SegmentRef,
        timestamp: Timestamp,
        class: ReadClass,
    ) -> Result<Option<Offset>, ReadError> {
        if segment.max_timestamp < timestamp {
            return Ok(None);
        }
        if segment.bytes <= WHOLE_SEGMENT_BYTES {
            return Ok(Some(segment.base));
        }
        let cached = self.index(partition, segment, class).await?;
        let blocks = cached.index.entries();
        let first = blocks.partition_point(|block| block.max_timestamp < timestamp);
        Ok(blocks.get(first).map(|block| block.offset))
    }
}
/// The batches that end above `offset`, and the end of the last batch there was. Each is held to its checksum, and, since that does not
/// cover the base offset, to the order of batches within `segment`.
fn sound_batches(bytes: Bytes, offset: Offset, segment: Range<Offset>) -> Result<(Vec<Batch>, Offset), String> {
    let mut found = Vec::new();
    let (mut last, mut end) = (offset, segment.start);
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        let base = batch.header.base_offset;
        last = batch.header.next_offset();
        if base < end || segment.end < last {
            return Err(format!("a batch from offset {base} to {last}, behind offset {end} of a segment that ends at {}", segment.end));
        }
        end = last;
        if offset < last {
            verify_crc(&batch.bytes).map_err(|error| format!("batch at offset {base}: {error}"))?;
            found.push(batch);
        }
    }
    Ok((found, last))
}
