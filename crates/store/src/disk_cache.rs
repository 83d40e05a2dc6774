//! Blocks of immutable objects on a local disk, below those in memory: what one reader of history has fetched is there for the next.
//!
//! Blocks are appended to files, and when the bytes run out the oldest file goes whole: nothing is deleted block by block, nothing is
//! compacted. A file is of one share, and which share gives way is decided as in memory.
//!
//! All of it may be lost, because the store has it: nothing is synced, a start begins empty, so that there is no format to keep and no
//! index to read back, and a block whose checksum differs is a miss. A disk that fails or is full ends the cache and nothing else.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::block_cache::{BlockId, Share};
use crate::read_at::read_exact_at;

/// What the names of cache files end with; nothing else in the folder is touched.
const SUFFIX: &str = ".blocks";

/// Files in a full cache, about. With fewer, more is lost at once; with more, there are more to open.
const FILES: u64 = 32;

/// Blocks on the disk. Each costs about 200 bytes of memory, so this bounds what small segments make of a large disk: 50 MiB.
const MAX_BLOCKS: usize = 1 << 18;

/// Blocks that wait to be written; those that come while so many do are not kept.
const WRITES: usize = 8;

/// Blocks in a folder, at most so many bytes of them. Clones are one and the same.
#[derive(Clone)]
pub struct DiskCache(Arc<Inner>);

/// What was counted of a disk cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCacheCounts {
    /// Bytes on the disk now.
    pub held: u64,
    /// Bytes written since the start.
    pub written: u64,
    /// Blocks since the start that did not come back as they were written.
    pub damaged: u64,
    /// Blocks since the start that were not kept, because too many waited to be written.
    pub skipped: u64,
}

struct Inner {
    folder: PathBuf,
    max_bytes: u64,
    file_bytes: u64,
    state: Mutex<State>,
    /// Taken by one write after the other, before the state.
    writer: Mutex<Writer>,
    waiting: Arc<Semaphore>,
    written: AtomicU64,
    damaged: AtomicU64,
    skipped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// By number: the first is the oldest.
    files: BTreeMap<u64, CacheFile>,
    blocks: HashMap<BlockId, Place>,
    held: [u64; 2],
    /// The disk failed.
    ended: bool,
}

struct CacheFile {
    file: Arc<File>,
    path: PathBuf,
    share: Share,
    length: u64,
    blocks: Vec<BlockId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    file: u64,
    position: u64,
    checksum: u32,
}

#[derive(Default)]
struct Writer {
    /// The file that each share appends to.
    open: [Option<u64>; 2],
    last: u64,
}

impl DiskCache {
    /// Makes the folder if it is not there, and removes what an earlier process kept in it. Blocks larger than a
    /// 32nd of `max_bytes` are not kept.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Self::clear(folder)?;
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            max_bytes,
            file_bytes: max_bytes / FILES,
            state: Mutex::default(),
            writer: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WRITES)),
            written: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        })))
    }

    /// Removes what an earlier process kept in the folder; nothing if there is none.
    pub fn clear(folder: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.to_str().is_some_and(|path| path.ends_with(SUFFIX)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// As of now.
    pub fn counts(&self) -> DiskCacheCounts {
        DiskCacheCounts {
            held: self.0.state.lock().held.iter().sum(),
            written: self.0.written.load(Ordering::Relaxed),
            damaged: self.0.damaged.load(Ordering::Relaxed),
            skipped: self.0.skipped.load(Ordering::Relaxed),
        }
    }

    /// Nothing waits to be written any more.
    #[cfg(test)]
    pub(crate) async fn written(&self) {
        drop(self.0.waiting.acquire_many(WRITES as u32).await.expect("the semaphore is never closed"));
    }

    /// The block, exactly as it was written; `None` if it is not there any more, was never, or came back otherwise.
    pub(crate) async fn get(&self, id: &BlockId) -> Option<Bytes> {
        let (file, place) = {
            let state = self.0.state.lock();
            let place = *state.blocks.get(id)?;
            (state.files.get(&place.file)?.file.clone(), place)
        };
        let length = usize::try_from(id.range.end - id.range.start).expect("it was in memory when it was written");
        let read = tokio::task::spawn_blocking(move || read_exact_at(&file, place.position, length));
        let damage = match read.await.expect("reading a file does not panic") {
            Ok(block) if crc32c::crc32c(&block) == place.checksum => return Some(block),
            Ok(_) => "its checksum differs".to_owned(),
            Err(error) => error.to_string(),
        };
        self.0.damaged.fetch_add(1, Ordering::Relaxed);
        warn!(object = %id.key, range = ?id.range, "a block of the disk cache is fetched anew: {damage}");
        let mut state = self.0.state.lock();
        if state.blocks.get(id) == Some(&place) {
            state.blocks.remove(id);
        }
        None
    }

    /// The block is not used any more, if it is there.
    pub(crate) fn remove(&self, id: &BlockId) {
        self.0.state.lock().blocks.remove(id);
    }

    /// Writes the block in the background, if not too many wait for that.
    pub(crate) fn put(&self, id: &BlockId, block: &Bytes, share: Share) {
        let Ok(waiting) = self.0.waiting.clone().try_acquire_owned() else {
            self.0.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let (inner, id, block) = (self.0.clone(), id.clone(), block.clone());
        let write = tokio::task::spawn_blocking(move || {
            inner.write(id, &block, share);
            drop(waiting);
        });
        runtime::spawn("disk-cache-write", async { write.await.expect("writing a block does not panic") });
    }
}

impl Inner {
    fn write(&self, id: BlockId, block: &Bytes, share: Share) {
        let mut writer = self.writer.lock();
        {
            let state = self.state.lock();
            if state.ended || state.blocks.contains_key(&id) || self.file_bytes < block.len() as u64 {
                return;
            }
        }
        match self.append(&mut writer, id, block, share) {
            Ok(()) => {
                self.written.fetch_add(block.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                warn!("the disk cache in {} ends until the next start: {error}", self.folder.display());
                self.end();
            }
        }
    }

    fn append(&self, writer: &mut Writer, id: BlockId, block: &Bytes, share: Share) -> io::Result<()> {
        let length = block.len() as u64;
        while let Some(removed) = self.make_room(length, share) {
            // Without the lock: the file system may take its time.
            fs::remove_file(&removed.path)?;
        }
        let number = self.file_with_room(writer, length, share)?;
        let (file, position) = {
            let state = self.state.lock();
            let open = &state.files[&number];
            (open.file.clone(), open.length)
        };
        file.write_all_at(block, position)?;
        let mut state = self.state.lock();
        let state = &mut *state;
        let open = state.files.get_mut(&number).expect("only the writer removes files");
        open.length += length;
        open.blocks.push(id.clone());
        state.held[share as usize] += length;
        state.blocks.insert(id, Place { file: number, position, checksum: crc32c::crc32c(block) });
        Ok(())
    }

    /// Takes out the oldest file of the share that gives way, if there is too little room for `length` bytes or one more block.
    fn make_room(&self, length: u64, share: Share) -> Option<CacheFile> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.held.iter().sum::<u64>() + length <= self.max_bytes && state.blocks.len() < MAX_BLOCKS {
            return None;
        }
        let victim = Share::gives_way(share, state.held[share as usize], length, self.max_bytes);
        let oldest_of = |share| state.files.iter().find(|(_, file)| file.share == share).map(|(number, _)| *number);
        let number = oldest_of(victim).or_else(|| oldest_of(victim.other()))?;
        let removed = state.files.remove(&number)?;
        for id in &removed.blocks {
            // A damaged block was forgotten, and may have been written again elsewhere.
            if state.blocks.get(id).is_some_and(|place| place.file == number) {
                state.blocks.remove(id);
            }
        }
        state.held[removed.share as usize] -= removed.length;
        Some(removed)
    }

    /// The file that the share appends to; a new one when there is none, or no room in it.
    fn file_with_room(&self, writer: &mut Writer, length: u64, share: Share) -> io::Result<u64> {
        let open = writer.open[share as usize];
        if let Some(number) = open
            && self.state.lock().files.get(&number).is_some_and(|file| file.length + length <= self.file_bytes)
        {
            return Ok(number);
        }
        writer.last += 1;
        let path = self.folder.join(format!("{:08}{SUFFIX}", writer.last));
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        let file = CacheFile { file: Arc::new(file), path, share, length: 0, blocks: Vec::new() };
        self.state.lock().files.insert(writer.last, file);
        writer.open[share as usize] = Some(writer.last);
        Ok(writer.last)
    }

    /// Gives the space back: what else is on this disk needs it more.
    fn end(&self) {
        let files = {
            let mut state = self.state.lock();
            let ended = State { ended: true, ..State::default() };
            std::mem::replace(&mut *state, ended).files
        };
        for file in files.into_values() {
            // It may be gone, or the disk be out of order; nothing more can be done.
            drop(fs::remove_file(file.path));
        }
    }
}
