//! Reads published records: which segments there are, from metadata, and their batches, from the store. Pages of the list and large
//! segments' indexes are kept in bounded caches; objects are immutable, so what is cached can be out of use but never wrong.

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata_api::{MetadataClient, SegmentPage};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use records::{Batch, DamagedBatch, batches, verify_crc};
use runtime::Background;
use segment::Index;
use store::{RangeRead, RangeReader, RangeRequest, ReadClass};
use tokio::sync::Semaphore;
use types::{ObjectKey, Offset, SegmentRef, Timestamp, TopicPartition};

use crate::in_order::{InOrder, LeftOff, Pace, SegmentPlace, place_of};
use crate::{Limits, ReadError};

/// Segments asked for at once: a reader of history comes back for the next ones.
const PAGE_SEGMENTS: u32 = 32;
/// A segment up to this size is fetched whole, and its index never.
const WHOLE_SEGMENT_BYTES: u64 = 1 << 20;
/// Reads that go on although their reader has gone. Beyond that they end with their readers.
const LINGERING_READS: usize = 64;
/// No single fetch is larger, whatever a consumer asks for.
const MAX_FETCH_BYTES: usize = 8 << 20;
/// How often bytes that turn out to be damaged are fetched before the reader is told.
const FETCHES_OF_DAMAGE: u32 = 3;
/// An index has 32 bytes for 256 KiB of batches at most: no index of a segment that exists comes near this.
const MAX_INDEX_BYTES: u32 = 16 << 20;

/// What is to be read of a segment.
pub(crate) struct SegmentRequest<'a> {
    pub(crate) segment: &'a SegmentRef,
    /// The first offset wanted.
    pub(crate) offset: Offset,
    /// Where in the object its batch begins, if that is known.
    pub(crate) start: Option<u64>,
    /// About so many bytes of batches.
    pub(crate) room: usize,
    /// One batch is read even if it alone is larger than the room.
    pub(crate) at_least_one: bool,
    /// On whose budget.
    pub(crate) class: ReadClass,
    pub(crate) pace: Pace,
    /// Segments behind this one, which what is read ahead goes on into.
    pub(crate) following: &'a [SegmentRef],
}

/// Batches of one segment.
pub(crate) struct SegmentRead {
    /// At least one if that was asked for, unless nothing follows the offset in the segment.
    pub(crate) batches: Vec<Batch>,
    /// Where in the object the first of them begins.
    pub(crate) start: u64,
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

#[derive(Clone)]
struct IndexWeight;

impl Weighter<SegmentPlace, Arc<CachedIndex>> for IndexWeight {
    fn weight(&self, _: &SegmentPlace, index: &Arc<CachedIndex>) -> u64 {
        index.bytes
    }
}

struct CachedIndex {
    index: Index,
    bytes: u64,
}

/// A range of an object on its way through the read cache.
#[derive(Clone)]
struct Fetch {
    object: ObjectKey,
    extent: Range<u64>,
    range: Range<u64>,
    block_bytes: u64,
    read_ahead: u64,
    class: ReadClass,
}

impl Fetch {
    fn request<'a>(&self, key: &'a str) -> RangeRequest<'a> {
        let Self { extent, range, block_bytes, read_ahead, class, .. } = self.clone();
        RangeRequest { key, extent, range, block_bytes, read_ahead, class }
    }
}

pub(crate) struct Segments {
    metadata: Arc<dyn MetadataClient>,
    ranges: RangeReader,
    lingering: Arc<Semaphore>,
    background: Background,
    pages: Cache<TopicPartition, Arc<SegmentPage>>,
    indexes: Cache<SegmentPlace, Arc<CachedIndex>, IndexWeight>,
    in_order: InOrder,
}

impl Segments {
    pub(crate) fn new(metadata: Arc<dyn MetadataClient>, ranges: RangeReader, background: Background, limits: &Limits) -> Self {
        /// Only a guess for the cache's first allocation.
        const USUAL_INDEX_BYTES: u64 = 8 << 10;
        let usual_indexes = usize::try_from(limits.segment_index_bytes / USUAL_INDEX_BYTES).unwrap_or(usize::MAX);
        let in_order = InOrder::new(limits.segment_pages, ranges.cache_bytes());
        Self {
            metadata,
            ranges,
            in_order,
            lingering: Arc::new(Semaphore::new(LINGERING_READS)),
            background,
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

    /// Where a reader left off who read up to `offset`; `None` if nobody is known to have.
    pub(crate) fn left_off(&self, partition: TopicPartition, offset: Offset) -> Option<LeftOff> {
        self.in_order.left_off(partition, offset)
    }

    /// A reader was answered up to `offset`.
    pub(crate) fn leave_off(&self, partition: TopicPartition, offset: Offset, at: LeftOff) {
        self.in_order.leave_off(partition, offset, at);
    }

    /// How `partition` is read that is read at `now`, by the monotonic clock.
    pub(crate) fn pace(&self, partition: TopicPartition, now: Duration) -> Pace {
        self.in_order.pace(partition, now)
    }

    /// Batches of a segment from the one that holds the offset on.
    pub(crate) async fn read(&self, partition: TopicPartition, request: SegmentRequest<'_>) -> Result<SegmentRead, ReadError> {
        let SegmentRequest { segment, offset, room, class, .. } = request;
        let damaged = |detail: String| ReadError::Damaged { partition, detail: format!("object {}: {detail}", segment.object) };
        if segment.offset_shift != 0 || segment.leader_epoch.is_some() {
            return Err(damaged("offset shift and leader epoch override are reserved".to_owned()));
        }
        let data = segment.position..segment.position + segment.bytes;
        let room = room.min(MAX_FETCH_BYTES) as u64;
        if let Some(start) = request.start.or((offset <= segment.base).then_some(data.start)) {
            let least = if request.at_least_one { WHOLE_SEGMENT_BYTES } else { 0 };
            let read = self.read_range(partition, &request, start..data.end.min(start + room.max(least))).await?;
            if !read.batches.is_empty() || read.next.is_segment_end || !request.at_least_one {
                return Ok(read);
            }
            // One batch alone is larger: the index says where it ends.
        }
        let range = match segment.bytes {
            0..=WHOLE_SEGMENT_BYTES => data,
            _ => self.index(partition, segment, class).await?.index.range_for(offset, room),
        };
        let read = self.read_range(partition, &request, range).await?;
        if read.batches.is_empty() && !read.next.is_segment_end {
            return Err(damaged(format!("the index leads from offset {offset} to no batch")));
        }
        Ok(read)
    }

    /// The whole batches of a range that begins with one.
    async fn read_range(
        &self,
        partition: TopicPartition,
        request: &SegmentRequest<'_>,
        range: Range<u64>,
    ) -> Result<SegmentRead, ReadError> {
        let SegmentRequest { segment, offset, class, pace, .. } = *request;
        let data = segment.position..segment.position + segment.bytes;
        let (is_at_end, start) = (range.end == data.end, range.start);
        let (object, offsets) = (segment.object, segment.base..segment.end);
        let sound = move |bytes| {
            let batches = sound_batches(bytes, offset, offsets.clone(), is_at_end);
            batches.map_err(|detail| ReadError::Damaged { partition, detail: format!("object {object}: {detail}") })
        };
        let following = self.following(request, (range.end + pace.read_ahead).saturating_sub(data.end));
        let block_bytes = self.in_order.block_bytes(place_of(segment), pace);
        let fetch = Fetch { object: segment.object, extent: data, range, block_bytes, read_ahead: pace.read_ahead, class };
        let (SoundBatches { batches, skipped, last }, cached) = self.fetch_sound(partition, fetch, following, sound).await?;
        let next = Next { offset: if is_at_end { segment.end } else { last }, is_segment_end: is_at_end };
        Ok(SegmentRead { batches, start: start + skipped, next, cached })
    }

    /// The first `bytes` of what follows the segment.
    fn following(&self, request: &SegmentRequest<'_>, mut bytes: u64) -> Vec<Fetch> {
        let mut fetches = Vec::new();
        for segment in request.following {
            if bytes == 0 {
                break;
            }
            let extent = segment.position..segment.position + segment.bytes;
            let range = extent.start..extent.start + segment.bytes.min(bytes);
            let block_bytes = self.in_order.block_bytes(place_of(segment), request.pace);
            bytes -= range.end - range.start;
            fetches.push(Fetch { object: segment.object, extent, range, block_bytes, read_ahead: 0, class: request.class });
        }
        fetches
    }

    async fn index(&self, partition: TopicPartition, segment: &SegmentRef, class: ReadClass) -> Result<Arc<CachedIndex>, ReadError> {
        let place = place_of(segment);
        if let Some(index) = self.indexes.get(&place) {
            return Ok(index);
        }
        let object = segment.object;
        let damaged = move |detail: String| ReadError::Damaged { partition, detail: format!("index in object {object}: {detail}") };
        if MAX_INDEX_BYTES < segment.index_bytes {
            return Err(damaged(format!("{} bytes, at most {MAX_INDEX_BYTES} are possible", segment.index_bytes)));
        }
        let extent = segment::index_range(segment);
        let (range, of) = (extent.clone(), segment.clone());
        let sound = move |bytes: Bytes| Index::parse(&bytes, &of).map_err(|error| damaged(error.to_string()));
        let fetch = Fetch { object, extent, range, block_bytes: u64::MAX, read_ahead: 0, class };
        let (index, _) = self.fetch_sound(partition, fetch, Vec::new(), sound).await?;
        let index = Arc::new(CachedIndex { index, bytes: u64::from(segment.index_bytes) });
        self.indexes.insert(place, Arc::clone(&index));
        Ok(index)
    }

    /// What `sound` makes of an object's bytes, and how many of them came from the read cache. Bytes that are damaged are asked for
    /// again: it may have been the way from the store, and what is kept of them would be wrong for every reader.
    async fn fetch_sound<T: Send + 'static>(
        &self,
        partition: TopicPartition,
        fetch: Fetch,
        mut following: Vec<Fetch>,
        sound: impl Fn(Bytes) -> Result<T, ReadError> + Clone + Send + 'static,
    ) -> Result<(T, u64), ReadError> {
        let mut attempt = 1;
        loop {
            match self.fetch(partition, fetch.clone(), std::mem::take(&mut following), sound.clone()).await? {
                (Ok(sound), cached) => return Ok((sound, cached)),
                (Err(error), _) => {
                    self.ranges.forget(&fetch.request(&fetch.object.to_string()));
                    if attempt == FETCHES_OF_DAMAGE {
                        return Err(error);
                    }
                    tracing::warn!("{error}; asking the store again");
                    attempt += 1;
                }
            }
        }
    }

    /// Bytes of an object, through the read cache, as `sound` makes something of them. A reader gives up sooner than a slow store answers,
    /// and must not begin anew each time: the fetch goes on without it, and the next try finds the bytes in the cache. What follows is
    /// begun once they are there.
    ///
    /// To gather and check megabytes of history takes milliseconds, in which nobody else would be served: that is left to the background.
    async fn fetch<T: Send + 'static>(
        &self,
        partition: TopicPartition,
        fetch: Fetch,
        following: Vec<Fetch>,
        sound: impl FnOnce(Bytes) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<(Result<T, ReadError>, u64), ReadError> {
        let (ranges, class) = (self.ranges.clone(), fetch.class);
        let read = async move {
            let RangeRead { bytes, cached } = ranges.read(fetch.request(&fetch.object.to_string())).await?;
            for next in following {
                if !ranges.read_ahead(&next.request(&next.object.to_string())) {
                    break;
                }
            }
            Ok((sound(bytes), cached))
        };
        let read = match Arc::clone(&self.lingering).try_acquire_owned() {
            Err(_) => read.await,
            Ok(permit) => {
                let lingering = async move {
                    let read = read.await;
                    drop(permit);
                    read
                };
                let task = match class {
                    ReadClass::Tail => runtime::spawn("segment-read", lingering),
                    ReadClass::CatchUp | ReadClass::Rewrite => self.background.spawn("history-read", lingering),
                };
                task.await.expect("the task is never aborted, and its panic stops the process")
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

struct SoundBatches {
    batches: Vec<Batch>,
    /// Bytes of those before the first of them.
    skipped: u64,
    /// The end of the last batch there was.
    last: Offset,
}

/// The batches that end above `offset`. Each is held to its checksum, and, since that does not cover the base offset, to the order of
/// batches within `segment`. The last one may be cut unless the bytes end where the segment does.
fn sound_batches(bytes: Bytes, offset: Offset, segment: Range<Offset>, is_at_end: bool) -> Result<SoundBatches, String> {
    let mut sound = SoundBatches { batches: Vec::new(), skipped: 0, last: offset };
    let mut end = segment.start;
    for batch in batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(DamagedBatch::Truncated { .. }) if !is_at_end => break,
            Err(error) => return Err(error.to_string()),
        };
        let base = batch.header.base_offset;
        let next = batch.header.next_offset();
        if base < end || segment.end < next {
            return Err(format!("a batch from offset {base} to {next}, behind offset {end} of a segment that ends at {}", segment.end));
        }
        (sound.last, end) = (next, next);
        if offset < next {
            verify_crc(&batch.bytes).map_err(|error| format!("batch at offset {base}: {error}"))?;
            sound.batches.push(batch);
        } else {
            sound.skipped += batch.bytes.len() as u64;
        }
    }
    Ok(sound)
}
