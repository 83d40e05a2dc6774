//! Reads ranges of immutable objects through a bounded cache: one GET for many waiting readers, and budgets of requests and of memory
//! that keep readers of history from slowing readers of the tail.
//!
//! A read names its *extent*, a part of the object that is read as a whole sooner or later (a segment). Extents are cut evenly into
//! blocks; a block is what is fetched, waited for and kept.
//!
//! A fetch is driven by those who wait for it and by nobody else. When the last of them goes away the request is dropped, its permit
//! is free and nothing of it is remembered.

mod gets;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared, try_join_all};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};

use self::gets::{Cause, Gets};
use crate::block_cache::{BlockCache, BlockId, Share};
use crate::{DiskCache, ObjectStore, StoreError};

/// Who reads, the most urgent first. Each class has its own budget of requests; the first two share the cache, half of it for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReadClass {
    /// Consumers near the end of the log.
    Tail,
    /// Consumers of history, all together.
    CatchUp,
    /// Background rewrites. What only they fetch is not kept: they read everything once.
    Rewrite,
}

impl ReadClass {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Tail, Self::CatchUp, Self::Rewrite];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tail => "tail",
            Self::CatchUp => "catch_up",
            Self::Rewrite => "rewrite",
        }
    }
}

/// Sizes and budgets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeReaderOptions {
    /// Bytes kept. What readers hold of blocks that were dropped since comes on top.
    pub cache_bytes: u64,
    /// Bytes per block, and so per GET, about: blocks of an extent are alike, and at most half as long again. At least 1.
    pub block_bytes: u64,
    /// GETs at once for [`ReadClass::Tail`].
    pub tail_requests: usize,
    /// GETs at once for [`ReadClass::CatchUp`]: the one budget that all readers of history share.
    pub catch_up_requests: usize,
    /// GETs at once for [`ReadClass::Rewrite`].
    pub rewrite_requests: usize,
}

impl Default for RangeReaderOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, block_bytes: 4 << 20, tail_requests: 64, catch_up_requests: 16, rewrite_requests: 4 }
    }
}

/// What is to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeRequest<'a> {
    /// The object.
    pub key: &'a str,
    /// The part of it that belongs together. Requests for the same bytes share blocks when they name the same extent.
    pub extent: Range<u64>,
    /// The bytes wanted; within the extent.
    pub range: Range<u64>,
    /// Bytes per block if that is less than [`RangeReaderOptions::block_bytes`]. Requests for the same bytes share blocks when they
    /// name the same here, too.
    pub block_bytes: u64,
    /// So many bytes after the range, within the extent, are fetched in the background if the class has permits to spare.
    pub read_ahead: u64,
    /// For whom.
    pub class: ReadClass,
}

/// Bytes, and where they came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeRead {
    /// Exactly the range.
    pub bytes: Bytes,
    /// How many of them came from the cache, in memory or on disk.
    pub cached: u64,
}

/// What was counted of one class. All values only rise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadCounts {
    /// Bytes handed to readers that were in memory.
    pub cache_bytes: u64,
    /// Bytes handed to readers that came from the disk cache.
    pub disk_bytes: u64,
    /// Bytes handed to readers that came from the store while they waited.
    pub store_bytes: u64,
    /// GETs begun for a reader.
    pub gets: u64,
    /// Blocks for which a reader joined a fetch that was under way.
    pub joined: u64,
    /// GETs begun by read-ahead.
    pub read_ahead_gets: u64,
    /// Second GETs for what the first one was slow to bring; not among the others.
    pub hedges: u64,
    /// Those of them that brought the bytes.
    pub hedges_won: u64,
}

#[derive(Debug, Default)]
struct Counters {
    cache_bytes: AtomicU64,
    disk_bytes: AtomicU64,
    store_bytes: AtomicU64,
    joined: AtomicU64,
}

/// A cache and its budgets; clones are one and the same.
#[derive(Clone)]
pub struct RangeReader(Arc<Inner>);

struct Inner {
    gets: Arc<Gets>,
    disk: Option<DiskCache>,
    block_bytes: u64,
    cache_bytes: u64,
    counters: [Counters; ReadClass::ALL.len()],
    state: Arc<Mutex<State>>,
}

/// Nothing that owns a fetch may be dropped under the lock: dropping the last one takes the lock itself.
struct State {
    cache: BlockCache,
    fetches: HashMap<BlockId, Fetch>,
    /// Number of the last fetch.
    last: u64,
}

type FetchFuture = BoxFuture<'static, Result<Fetched, StoreError>>;
type Fetching = Shared<FetchFuture>;

/// What is on its way, from the disk or the store, because somebody waits for it.
struct Fetch {
    number: u64,
    fetching: WeakShared<FetchFuture>,
    /// The most urgent of those who wait.
    class: watch::Sender<ReadClass>,
}

/// Where bytes were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Memory,
    Disk,
    Store,
}

#[derive(Clone, Debug)]
struct Fetched {
    bytes: Bytes,
    from: Source,
}

/// Where a block is to be had.
enum Block {
    Cached(Bytes),
    Fetched(Fetching),
}

impl RangeReader {
    /// Reads from `store`, and keeps blocks in memory.
    pub fn new(store: Arc<dyn ObjectStore>, options: RangeReaderOptions) -> Self {
        Self::with_disk(store, options, None)
    }

    /// The same, and keeps blocks on a disk as well, if there is one.
    pub fn with_disk(store: Arc<dyn ObjectStore>, options: RangeReaderOptions, disk: Option<DiskCache>) -> Self {
        assert!(1 <= options.block_bytes, "blocks have at least one byte");
        Self(Arc::new(Inner {
            gets: Arc::new(Gets::new(store, &options)),
            disk,
            block_bytes: options.block_bytes,
            cache_bytes: options.cache_bytes,
            counters: Default::default(),
            state: Arc::new(Mutex::new(State { cache: BlockCache::new(options.cache_bytes), fetches: HashMap::new(), last: 0 })),
        }))
    }

    /// Reads a range. A range within one block is a slice of it; a longer one is gathered, so the caller bounds its length. Fails as
    /// the store's `get_range` does, and refuses a range outside its extent.
    pub async fn read(&self, request: RangeRequest<'_>) -> Result<RangeRead, StoreError> {
        let cut = self.cut(&request);
        let RangeRequest { key, extent, range, read_ahead, class, .. } = request;
        if range.start < extent.start || extent.end < range.end || range.end < range.start {
            let detail = format!("the range {range:?} is not within the extent {extent:?}");
            return Err(StoreError::refused(crate::Operation::GetRange, key, detail));
        }
        let reads = cut.blocks(&range).map(async |block| {
            let part = range.start.max(block.range.start) - block.range.start..range.end.min(block.range.end) - block.range.start;
            let Fetched { bytes, from } = self.block(block, class).await?;
            Ok::<_, StoreError>(Fetched { bytes: bytes.slice(part.start as usize..part.end as usize), from })
        });
        let parts = try_join_all(reads).await?;
        // Afterwards, so that it never takes the permits that this read needs.
        self.begin_ahead(&cut, range.end..range.end.saturating_add(read_ahead).min(extent.end), class);
        if Share::of(class).is_some() {
            let mut state = self.0.state.lock();
            cut.blocks(&range).filter(|block| block.range.end <= range.end).for_each(|block| state.cache.pass(&block));
        }

        let sum = |source| parts.iter().filter(|part| part.from == source).map(|part| part.bytes.len() as u64).sum::<u64>();
        let (memory, disk) = (sum(Source::Memory), sum(Source::Disk));
        let counters = &self.0.counters[class as usize];
        counters.cache_bytes.fetch_add(memory, Ordering::Relaxed);
        counters.disk_bytes.fetch_add(disk, Ordering::Relaxed);
        counters.store_bytes.fetch_add(sum(Source::Store), Ordering::Relaxed);
        Ok(RangeRead { bytes: gather(parts.into_iter().map(|part| part.bytes).collect()), cached: memory + disk })
    }

    /// Fetches the blocks of a range in the background, as far as they are not there and the class has permits to spare. False when
    /// it has none. What is to be read ahead of the range itself is not looked at.
    pub fn read_ahead(&self, request: &RangeRequest<'_>) -> bool {
        let RangeRequest { extent, range, class, .. } = request;
        let within = range.start.max(extent.start)..range.end.min(extent.end);
        self.begin_ahead(&self.cut(request), within, *class)
    }

    /// What is kept of a request's range turned out to be damaged: the next read asks the store again.
    pub fn forget(&self, request: &RangeRequest<'_>) {
        for block in self.cut(request).blocks(&request.range) {
            self.0.state.lock().cache.remove(&block);
            if let Some(disk) = &self.0.disk {
                disk.remove(&block);
            }
        }
    }

    fn cut(&self, request: &RangeRequest<'_>) -> Cut {
        Cut::new(request.key, &request.extent, request.block_bytes.min(self.0.block_bytes))
    }

    /// Bytes that are kept in memory at most.
    pub fn cache_bytes(&self) -> u64 {
        self.0.cache_bytes
    }

    /// As of now.
    pub fn counts(&self, class: ReadClass) -> ReadCounts {
        let (counters, gets) = (&self.0.counters[class as usize], self.0.gets.counters(class));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadCounts {
            cache_bytes: read(&counters.cache_bytes),
            disk_bytes: read(&counters.disk_bytes),
            store_bytes: read(&counters.store_bytes),
            gets: read(&gets.for_readers),
            joined: read(&counters.joined),
            read_ahead_gets: read(&gets.ahead),
            hedges: read(&gets.hedges),
            hedges_won: read(&gets.hedges_won),
        }
    }

    /// Bytes kept in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.0.state.lock().cache.held()
    }

    /// Blocks that somebody waits for, those that wait for a permit included.
    pub fn fetches(&self) -> usize {
        self.0.state.lock().fetches.len()
    }

    async fn block(&self, id: BlockId, class: ReadClass) -> Result<Fetched, StoreError> {
        match self.0.find_or_fetch(id, class) {
            Block::Cached(bytes) => Ok(Fetched { bytes, from: Source::Memory }),
            Block::Fetched(fetching) => fetching.await,
        }
    }

    /// Begins fetches in the background for blocks that are neither there nor on their way. Each takes its permit first, so readers
    /// ahead of their time are bounded by the class's budget and never make anybody wait longer than one block does.
    fn begin_ahead(&self, cut: &Cut, ahead: Range<u64>, class: ReadClass) -> bool {
        for block in cut.blocks(&ahead) {
            let Some(permit) = self.0.gets.try_permit(class) else { return false };
            if let Some(fetching) = self.0.fetch_if_absent(block, class, permit) {
                // Errors come back when somebody reads the block.
                runtime::spawn("read-ahead", fetching.map(drop));
            }
        }
        true
    }
}

/// How an extent is cut into blocks: evenly, so that none is a small rest that costs a GET of its own.
struct Cut {
    key: Arc<str>,
    extent: Range<u64>,
    size: u64,
}

impl Cut {
    fn new(key: &str, extent: &Range<u64>, block_bytes: u64) -> Self {
        let (length, wanted) = (extent.end.saturating_sub(extent.start), block_bytes.max(1));
        let count = (length / wanted + u64::from(wanted.div_ceil(2) <= length % wanted)).max(1);
        Self { key: key.into(), extent: extent.clone(), size: length.div_ceil(count).max(1) }
    }

    /// Those that hold bytes of `range`, which lies within the extent.
    fn blocks(&self, range: &Range<u64>) -> impl Iterator<Item = BlockId> + use<> {
        let (Range { start, end }, size, key) = (self.extent.clone(), self.size, self.key.clone());
        let first = range.start.saturating_sub(start) / size;
        let last = if range.start < range.end { (range.end - start).div_ceil(size) } else { first };
        (first..last).map(move |number| {
            let from = start + number * size;
            BlockId { key: key.clone(), range: from..end.min(from.saturating_add(size)) }
        })
    }
}

impl Inner {
    fn find_or_fetch(&self, id: BlockId, class: ReadClass) -> Block {
        let mut state = self.state.lock();
        if let Some(bytes) = state.cache.get(&id, class) {
            return Block::Cached(bytes);
        }
        if let Some(fetch) = state.fetches.get(&id)
            && let Some(fetching) = fetch.fetching.upgrade()
        {
            self.counters[class as usize].joined.fetch_add(1, Ordering::Relaxed);
            fetch.class.send_if_modified(|waiting| {
                let urgent = class < *waiting;
                *waiting = class.min(*waiting);
                urgent
            });
            return Block::Fetched(fetching);
        }
        Block::Fetched(self.begin(&mut state, id, class, None))
    }

    fn fetch_if_absent(&self, id: BlockId, class: ReadClass, permit: OwnedSemaphorePermit) -> Option<Fetching> {
        let mut state = self.state.lock();
        if state.cache.contains(&id) || matches!(state.fetches.entry(id.clone()), Entry::Occupied(_)) {
            return None;
        }
        Some(self.begin(&mut state, id, class, Some(permit)))
    }

    /// Enters a fetch, which does nothing until somebody waits for it.
    fn begin(&self, state: &mut State, id: BlockId, class: ReadClass, permit: Option<OwnedSemaphorePermit>) -> Fetching {
        state.last += 1;
        let number = state.last;
        let (waiting, mut waits) = watch::channel(class);
        let entered = Entered { state: self.state.clone(), id: id.clone(), number };
        let (gets, disk) = (self.gets.clone(), self.disk.clone());
        let cause = if permit.is_some() { Cause::ReadAhead } else { Cause::Reader };
        let fetching = async move {
            let on_disk = async { disk.as_ref()?.get(&entered.id).await };
            let fetched = match on_disk.await {
                Some(bytes) => Fetched { bytes, from: Source::Disk },
                None => {
                    let permit = match permit {
                        Some(permit) => Some(permit),
                        None => gets.permit(&mut waits).await,
                    };
                    let class = *waits.borrow();
                    let bytes = gets.get(&entered.id, class, cause).await?;
                    drop(permit);
                    Fetched { bytes, from: Source::Store }
                }
            };
            // By itself: what borrows holds the channel's lock, and who joins this fetch waits for that one under the lock of the state.
            let class = *waits.borrow();
            if let Some(share) = Share::of(class) {
                if let (Some(disk), Source::Store) = (&disk, fetched.from) {
                    disk.put(&entered.id, &fetched.bytes, share);
                }
                entered.state.lock().cache.insert(entered.id.clone(), fetched.bytes.clone(), share);
            }
            Ok(fetched)
        };
        let fetching = fetching.boxed().shared();
        let weak = fetching.downgrade().expect("it has not run yet");
        state.fetches.insert(id, Fetch { number, fetching: weak, class: waiting });
        fetching
    }
}

/// Takes the fetch out of the table when it has ended or nobody waits for it any more.
struct Entered {
    state: Arc<Mutex<State>>,
    id: BlockId,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        // A reader that came just as the last one went may have begun the next fetch of the same block.
        if state.fetches.get(&self.id).is_some_and(|fetch| fetch.number == self.number) {
            state.fetches.remove(&self.id);
        }
    }
}

fn gather(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        0 => Bytes::new(),
        1 => parts.remove(0),
        _ => {
            let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| whole.extend_from_slice(part));
            whole.freeze()
        }
    }
}
