//! The write-ahead log: every batch a broker accepted and no published object holds yet, in one order across all partitions.
//!
//! [`WriteAheadLog`] is the contract; [`conformance`] checks it against every implementation. [`RocksDbWal`] is the one that
//! survives a crash, [`MemoryWal`] the one for tests and simulations.

mod entry;

pub mod codec;
pub mod conformance;

mod memory;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod tail;

#[cfg(feature = "rocksdb")]
pub use self::rocksdb::{Accepted, Dump, Dumped, DumpedGeneration, Faults, FreeSpace, Options, RocksDbWal, accept_loss, free_space};
pub use entry::{Entry, EntryKind, Origin};
pub use memory::{MemoryOptions, MemoryWal};
pub use tail::TailLimits;

use std::sync::Arc;

use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, WalId};

/// What somebody waits for after an append. It only decides *when*: every entry is synced within 100 ms all the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// Nobody waits (`acks=0`, and a `wal` topic).
    Lazy,
    /// Somebody waits for the sync.
    Sync,
    /// Somebody waits for the upload: any entry of an `object` topic, whatever its acks. Syncing it waits for nobody.
    Upload,
    /// Somebody waits for both: `acks=1` on an `object` topic.
    SyncAndUpload,
}

/// How far the log has come. All positions are exclusive ends: every entry *below* them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Next LSN to be given out as seen by the append thread: everything below is readable with [`WriteAheadLog::read`].
    pub appended: Lsn,
    /// Everything below would survive a crash of this process and host.
    pub synced: Lsn,
    /// Batch bytes appended since the log was opened; monotonic.
    pub appended_bytes: u64,
    /// The end of the last entry appended with `Urgency::Upload` or `SyncAndUpload`; `Lsn::ZERO` when there was none.
    pub upload_wanted: Lsn,
    /// Why the log stopped for good, once it has. `synced` never moves again.
    pub stopped: Option<Arc<str>>,
}

/// Where an entry's bytes were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadFrom {
    /// Still in memory.
    Memory,
    /// Read back from disk.
    Disk,
}

/// What lies in the log, for metrics and `wal.max.bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Batch bytes of all entries that are not trimmed.
    pub bytes: u64,
    /// Generations on disk, the active one included.
    pub generations: u32,
    /// Batch bytes held in memory for readers and uploads.
    pub memory_bytes: u64,
    /// Syncs done since the log was opened.
    pub syncs: u64,
}

/// Why an append was refused or the log could not be opened or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// A write or a sync failed. Nothing is ever acknowledged afterwards; the outcome of what was in flight is unknown.
    #[error("the write-ahead log stopped: {reason}")]
    Stopped {
        /// The first failure.
        reason: Arc<str>,
    },
    /// `wal.max.bytes` is reached, or free disk space is short; appends go on when trimming has made room.
    #[error("the write-ahead log is full: {used} of {limit} bytes wait for the store")]
    Full {
        /// Bytes not yet trimmed.
        used: u64,
        /// What may be there.
        limit: u64,
    },
    /// Free space on the disk is below the reserve.
    #[error("the disk of the write-ahead log is nearly full: {free} bytes free, {reserve} are kept back")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes below which nothing is appended.
        reserve: u64,
    },
    /// The log ends before what is known to have been synced, or an entry in its middle is damaged.
    #[error("the write-ahead log is damaged: {detail}; restore the disk, or run `siltstone wal accept-loss` to go on with what is left")]
    Damaged {
        /// What is missing, with LSNs.
        detail: String,
    },
    /// The directory could not be used: absent, not writable, held by another process, of another format.
    #[error("open write-ahead log {path}: {detail}")]
    Open {
        /// The log's directory.
        path: String,
        /// What failed.
        detail: String,
    },
    /// A read failed.
    #[error("read write-ahead log at {lsn}: {detail}")]
    Read {
        /// Which entry.
        lsn: Lsn,
        /// What failed.
        detail: String,
    },
}

/// Contract, checked against every implementation by [`conformance`]:
/// - [`append`](Self::append) gives out dense LSNs in call order and never blocks on the disk; the order of LSNs is the order of
///   durability.
/// - [`Progress::synced`] moves only after the bytes would survive a crash of this process and host, and never over a gap.
/// - After one failed write or sync every later append fails with the first reason, and `synced` never moves again.
/// - An entry is readable from the moment `Progress::appended` passes it until [`trim`](Self::trim) has passed its generation.
/// - Every entry is synced within 100 ms, whatever its urgency.
/// - [`trim`](Self::trim) drops whole generations, never part of one; it drops none that holds an entry at or above its argument.
pub trait WriteAheadLog: Send + Sync {
    /// Made with the log; another id means other entries.
    fn id(&self) -> WalId;

    /// Begins a broker epoch after registration and before the first append: appends an [`EpochStart`] entry whose LSN is above
    /// both the log's end and `last_published` (the metadata service's answer for this WAL id), so that no LSN that was published
    /// from memory and lost by a power cut is ever given out again. Returns once the entry is synced.
    fn begin_epoch(&self, epoch: BrokerEpoch, last_published: Lsn, metadata_revision: types::Revision) -> Result<Lsn, WalError>;

    /// Fixes the entry's place in the order. Bytes in flight are bounded by the caller's permits, not here.
    fn append(&self, entry: Entry, urgency: Urgency) -> Result<Lsn, WalError>;

    /// How far the log has come, and a way to wait for more.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// The first LSN that may still be read; entries below are trimmed.
    fn start(&self) -> Lsn;

    /// One entry. `None` once it is trimmed, or when it does not exist.
    fn read(&self, lsn: Lsn) -> Result<Option<(Arc<Entry>, ReadFrom)>, WalError>;

    /// Entries from `from` in order, at least one if there is one, until their batches exceed `max_bytes` or `below` is reached.
    /// Starts at the first entry at or above `from` (LSNs jump where a broker epoch starts).
    fn scan(&self, from: Lsn, below: Lsn, max_bytes: usize) -> Result<Vec<(Lsn, Arc<Entry>)>, WalError>;

    /// Entries below `below` are published: generations that hold nothing else are dropped, in the background.
    fn trim(&self, below: Lsn);

    /// Bytes below `below` need no longer be kept in memory for an upload; the memory budget decides what stays for readers.
    fn release_memory(&self, below: Lsn);

    /// Sizes, for metrics.
    fn usage(&self) -> Usage;
}

/// The `EpochStart` entry that every opening of a log appends first, after registration: it says from where this epoch's LSNs run
/// and what was known of metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    /// The epoch that begins.
    pub epoch: BrokerEpoch,
    /// The end (exclusive) of the log before this entry; LSNs between it and this entry were never kept.
    pub previous_end: Lsn,
    /// The highest metadata revision this broker has seen.
    pub metadata_revision: types::Revision,
}
