//! The log that survives a crash: RocksDB used as a log.
//!
//! ```text
//! append ─► queue ─► append thread ─► RocksDB, unsynced ─► sync thread ─► synced
//!              └──► tail (memory) ◄── readers ──► generations (RocksDB)      │
//!                                     janitor: makes and drops generations ◄─┘
//! ```
//!
//! An append takes its place in the queue and in the tail under one lock, so that both are in LSN order. `recovery` opens the log;
//! everything in memory, also why it may refuse, begins there.

mod recovery;

mod shared;

mod janitor;
mod syncer;
mod writer;

mod dump;
mod loss;

mod aside;
mod control;
mod engine;
mod faults;
mod ffi;
mod identity;
mod log_file;
mod manifest;
mod mark;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use runtime::{Clock, Random};
use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, Revision, Timestamp, WalId};

pub use dump::{Dump, Dumped, DumpedGeneration};
pub use faults::Faults;
pub use loss::{Accepted, accept_loss};

use self::shared::{Generation, Pending, Shared};
use crate::codec;
use crate::{Entry, EntryKind, EpochStart, Progress, ReadFrom, TailLimits, Urgency, Usage, WalError, WriteAheadLog};

/// Reads the bytes that may still be written to the disk of a path.
pub type FreeSpace = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// How a [`RocksDbWal`] is run.
#[derive(Clone)]
pub struct Options {
    /// `wal.generation.bytes`: batch bytes after which a generation is closed.
    pub generation_bytes: u64,
    /// `wal.generation.ms`: age of its first entry after which a generation is closed.
    pub generation_age: Duration,
    /// `wal.max.bytes`: batch bytes that may wait to be trimmed; above it appends are [`WalError::Full`].
    pub max_bytes: u64,
    /// Memory for the newest entries.
    pub tail: TailLimits,
    /// Memory for RocksDB's memtables. A backlog above it goes to SST files, written a second time.
    pub memtable_bytes: u64,
    /// Overwrite old WAL files instead of making new ones: faster, because a sync then changes no file size. A few files of the size of
    /// a generation stay on the disk for it.
    pub recycle: bool,
    /// Free bytes on the disk below which appends are [`WalError::DiskFull`]: what uploading, publishing and RocksDB itself need to
    /// make room again.
    pub reserve_bytes: u64,
    /// How free space is read; [`free_space`] but in tests.
    pub free_space: FreeSpace,
    /// Ages generations.
    pub clock: Arc<dyn Clock>,
    /// Makes the id of a new log.
    pub random: Arc<Random>,
    /// Faults to inject.
    pub faults: Arc<Faults>,
}

impl Options {
    /// The defaults of the configuration.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self {
            generation_bytes: 16 << 20,
            generation_age: Duration::from_secs(60),
            max_bytes: 10 << 30,
            tail: TailLimits { keep_bytes: 64 << 20, max_bytes: 192 << 20 },
            memtable_bytes: 512 << 20,
            recycle: true,
            reserve_bytes: 1 << 30,
            free_space: Arc::new(free_space),
            clock,
            random,
            faults: Arc::default(),
        }
    }
}

/// Bytes that this process may still write to the file system of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The log in a directory of its own, which one process at a time has open. Dropping it syncs what is written and closes it.
pub struct RocksDbWal {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    syncer: JoinHandle<()>,
    janitor: JoinHandle<()>,
}

impl RocksDbWal {
    /// Opens the log of `dir`, or makes one there. Everything it then holds is synced. Reads all of it, and tells `progress` how many
    /// bytes of how many are done.
    ///
    /// Fails with [`WalError::Open`] where the directory cannot be used, and with [`WalError::Damaged`] where entries are missing that
    /// are known to have been synced, or one in the middle cannot be read; the directory is then as it was.
    pub fn open(dir: &Path, options: Options, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, WalError> {
        let recovery::Recovered { shared, open_generation, mark } = recovery::open(dir, options, progress)?;
        let shared = Arc::new(shared);
        let first = shared.progress.borrow().appended;
        shared.make_generation(open_generation + 1);
        let threads = Threads {
            writer: spawn(&shared, "wal-append", move |shared| writer::run(shared, open_generation, first))?,
            syncer: spawn(&shared, "wal-sync", syncer::run)?,
            janitor: spawn(&shared, "wal-janitor", move |shared| janitor::run(shared, mark))?,
        };
        Ok(Self { shared, threads: Mutex::new(Some(threads)) })
    }

    /// Compares the log's end with what was known elsewhere to be synced (exclusive end), as metadata remembers it from heartbeats
    /// and publishes. Call it after registration and before [`WriteAheadLog::begin_epoch`].
    pub fn verify_end(&self, synced_seen: Lsn) -> Result<(), WalError> {
        let mut queue = self.shared.queue.lock();
        if queue.next < synced_seen && queue.accepted.is_none() {
            return Err(recovery::too_short(queue.next, synced_seen, "metadata"));
        }
        // After an accepted loss its LSNs must not name other entries.
        queue.floor = queue.floor.max(synced_seen);
        Ok(())
    }

    /// Writes and syncs what was appended, and closes the log. Appends fail afterwards. Blocks until done.
    pub fn close(&self) {
        let Some(Threads { writer, syncer, janitor }) = self.threads.lock().take() else { return };
        let shared = &self.shared;
        shared.options.faults.close();
        shared.queue.lock().closing = true;
        shared.queue_changed.notify_all();
        join(writer);
        shared.sync.lock().closing = true;
        shared.sync_changed.notify_all();
        join(syncer);
        shared.chores.lock().closing = true;
        shared.chores_changed.notify_all();
        join(janitor);
    }

    fn append_locked(&self, queue: &mut shared::Queue, lsn: Lsn, entry: Entry, urgency: Urgency, ends_loss: bool) {
        let entry = Arc::new(entry);
        queue.used += entry.batch.len() as u64;
        queue.free = queue.free.saturating_sub(entry.batch.len() as u64);
        queue.next = lsn.next();
        self.shared.tail.lock().push(lsn, entry.clone());
        queue.pending.push_back(Pending { lsn, entry, urgency, ends_loss });
        self.shared.queue_changed.notify_all();
    }

    /// The generation that holds `lsn`, for showing where an entry lies; `None` when it is trimmed or does not exist.
    pub fn generation_of(&self, lsn: Lsn) -> Option<u64> {
        if lsn < self.start() || self.shared.progress.borrow().appended <= lsn {
            return None;
        }
        self.shared.generations.read().at(lsn).map(|generation| generation.number)
    }

    /// Reads entries of one generation into `found` until it holds `left` bytes; returns where to go on.
    fn scan_generation(&self, generation: &Generation, scan: &mut Scan, below: Lsn) -> Result<(), WalError> {
        let failed = |lsn, detail: String| WalError::Read { lsn, detail };
        let end = generation.end.unwrap_or(below).min(below);
        let Some(mut rows) = self.shared.engine.rows(generation.number, scan.at) else {
            scan.at = end;
            return Ok(());
        };
        while let Some((key, value)) = rows.next().map_err(|err| failed(scan.at, err.to_string()))? {
            let key: &[u8; codec::KEY_LEN] =
                key.as_slice().try_into().map_err(|_| failed(scan.at, format!("a key of {} bytes", key.len())))?;
            let lsn = codec::lsn_of(key).ok_or_else(|| failed(scan.at, "a key of another stream".to_owned()))?;
            if end <= lsn {
                break;
            }
            let decoded = codec::decode(key, &value).map_err(|err| failed(lsn, err.to_string()))?;
            if let Some(entry) = decoded.entry
                && !scan.take(lsn, Arc::new(entry))
            {
                return Ok(());
            }
            scan.at = lsn.next();
        }
        scan.at = scan.at.max(end);
        Ok(())
    }
}

impl Drop for RocksDbWal {
    fn drop(&mut self) {
        self.close();
    }
}

/// A scan under way: what it has found, and how much more it may.
struct Scan {
    at: Lsn,
    left: usize,
    full: bool,
    found: Vec<(Lsn, Arc<Entry>)>,
}

impl Scan {
    /// Adds the entry unless it is one too many; at least one is taken.
    fn take(&mut self, lsn: Lsn, entry: Arc<Entry>) -> bool {
        self.full = !self.found.is_empty() && self.left < entry.batch.len();
        if self.full {
            return false;
        }
        self.left = self.left.saturating_sub(entry.batch.len());
        self.found.push((lsn, entry));
        self.at = lsn.next();
        true
    }
}

fn spawn(shared: &Arc<Shared>, name: &str, body: impl FnOnce(&Shared) + Send + 'static) -> Result<JoinHandle<()>, WalError> {
    let owned = shared.clone();
    runtime::spawn_thread(name, move || body(&owned)).map_err(|err| {
        shared.stop(&format!("start thread {name}: {err}"));
        WalError::Open { path: shared.dir.display().to_string(), detail: format!("start thread {name}: {err}") }
    })
}

fn join(thread: JoinHandle<()>) {
    // A panic of the thread has stopped the process, or was told to the test's hook.
    let _ = thread.join();
}

impl WriteAheadLog for RocksDbWal {
    fn id(&self) -> WalId {
        self.shared.id
    }

    fn begin_epoch(&self, epoch: BrokerEpoch, last_published: Lsn, metadata_revision: Revision) -> Result<Lsn, WalError> {
        let lsn = {
            let mut queue = self.shared.queue.lock();
            check_open(&queue)?;
            let lsn = queue.next.max(last_published.next()).max(queue.floor);
            let start = EpochStart { epoch, previous_end: queue.next, metadata_revision };
            let append_time = Timestamp(self.shared.options.clock.wall_ms());
            let entry = Entry { kind: EntryKind::EpochStart(start), append_time, batch: Bytes::new() };
            let ends_loss = queue.accepted.take().is_some();
            self.append_locked(&mut queue, lsn, entry, Urgency::Sync, ends_loss);
            lsn
        };
        let mut sync = self.shared.sync.lock();
        loop {
            if lsn < self.shared.progress.borrow().synced {
                return Ok(lsn);
            }
            if let Some(stopped) = self.shared.stopped() {
                return Err(stopped);
            }
            self.shared.sync_changed.wait(&mut sync);
        }
    }

    fn append(&self, entry: Entry, urgency: Urgency) -> Result<Lsn, WalError> {
        let mut queue = self.shared.queue.lock();
        check_open(&queue)?;
        let Options { max_bytes: limit, reserve_bytes: reserve, .. } = self.shared.options;
        if limit < queue.used.saturating_add(entry.batch.len() as u64) {
            return Err(WalError::Full { used: queue.used, limit });
        }
        if queue.free < reserve {
            return Err(WalError::DiskFull { free: queue.free, reserve });
        }
        let lsn = queue.next;
        self.append_locked(&mut queue, lsn, entry, urgency, false);
        Ok(lsn)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    fn start(&self) -> Lsn {
        self.shared.generations.read().start
    }

    fn read(&self, lsn: Lsn) -> Result<Option<(Arc<Entry>, ReadFrom)>, WalError> {
        if self.shared.progress.borrow().appended <= lsn {
            return Ok(None);
        }
        if let Some(entry) = self.shared.tail.lock().get(lsn) {
            return Ok(Some((entry.clone(), ReadFrom::Memory)));
        }
        let generations = self.shared.generations.read();
        if lsn < generations.start {
            return Ok(None);
        }
        let Some(generation) = generations.at(lsn) else { return Ok(None) };
        drop(generations);
        let failed = |detail: String| WalError::Read { lsn, detail };
        let Some(value) = self.shared.engine.get(generation.number, lsn).map_err(|err| failed(err.to_string()))? else { return Ok(None) };
        let decoded = codec::decode(&codec::key(lsn), &value).map_err(|err| failed(err.to_string()))?;
        Ok(decoded.entry.map(|entry| (Arc::new(entry), ReadFrom::Disk)))
    }

    fn scan(&self, from: Lsn, below: Lsn, max_bytes: usize) -> Result<Vec<(Lsn, Arc<Entry>)>, WalError> {
        let below = below.min(self.shared.progress.borrow().appended);
        let mut scan = Scan { at: from.max(self.start()), left: max_bytes, full: false, found: Vec::new() };
        while scan.at < below && !scan.full {
            let in_memory_from = {
                let tail = self.shared.tail.lock();
                let start = tail.start();
                if start.is_some_and(|start| start <= scan.at) {
                    for (lsn, entry) in tail.from(scan.at).take_while(|(lsn, _)| *lsn < below) {
                        if !scan.take(*lsn, entry.clone()) {
                            break;
                        }
                    }
                    return Ok(scan.found);
                }
                start.map_or(below, |start| start.min(below))
            };
            let Some(generation) = self.shared.generations.read().at(scan.at) else { break };
            scan.at = scan.at.max(generation.first);
            self.scan_generation(&generation, &mut scan, in_memory_from)?;
        }
        Ok(scan.found)
    }

    fn trim(&self, below: Lsn) {
        let mut queue = self.shared.queue.lock();
        queue.trim_below = queue.trim_below.max(below);
        drop(queue);
        self.shared.queue_changed.notify_all();
    }

    fn release_memory(&self, below: Lsn) {
        self.shared.tail.lock().release(below);
    }

    fn usage(&self) -> Usage {
        let generations = self.shared.generations.read().list.len();
        Usage {
            bytes: self.shared.queue.lock().used,
            generations: u32::try_from(generations).unwrap_or(u32::MAX),
            memory_bytes: self.shared.tail.lock().bytes(),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
        }
    }
}

fn check_open(queue: &shared::Queue) -> Result<(), WalError> {
    match &queue.stopped {
        Some(reason) => Err(WalError::Stopped { reason: reason.clone() }),
        None if queue.closing => Err(WalError::Stopped { reason: "closed".into() }),
        None => Ok(()),
    }
}
