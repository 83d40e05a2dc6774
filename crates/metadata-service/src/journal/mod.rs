//! The journal: entries in dense slots, each written once. What is in it has happened; the state is what it adds up to.
//!
//! [`conformance`] checks the contract against every implementation.

pub mod conformance;
mod entry;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocksdb;

use async_trait::async_trait;
use bytes::Bytes;

pub(crate) use entry::{Assembler, Entry, MAX_ENTRY_BYTES, decode_copy, encode_entry};
pub use memory::{AppendFault, MemoryJournal};
#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksDbJournal;

/// The first slot of every journal.
pub const FIRST_SLOT: u64 = 1;

/// What became of an append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Appended {
    /// The entry is in the slot and survives a crash.
    Done,
    /// Another entry is in the slot: its writer took over, or this one wrote it and did not learn of it.
    Taken,
    /// The entry may or may not be in the slot: read it.
    Unknown {
        /// What failed.
        detail: String,
    },
}

/// A journal that cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A write or sync failed: what is on the disk is not known until it is opened again.
    #[error("the metadata journal stopped: {reason}")]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// It could not be opened.
    #[error("open metadata journal {path}: {detail}")]
    Open {
        /// Its directory.
        path: String,
        /// What failed.
        detail: String,
    },
    /// It could not be read or trimmed.
    #[error("{operation} metadata journal: {detail}")]
    Failed {
        /// `read` or `trim`.
        operation: &'static str,
        /// What failed.
        detail: String,
    },
}

/// Contract:
/// - [`append`](Self::append) writes a slot once, and only the one after the last (or [`FIRST_SLOT`] of an empty journal).
/// - `Done` means durable: the entry survives a crash of process and host.
/// - After one failed sync nothing is answered any more but the failure.
/// - The last slot is never trimmed, so that no late append can find its slot free.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes `entry` into `slot`.
    async fn append(&self, slot: u64, entry: Bytes) -> Appended;

    /// Entries from slot `from` on, in order, at least one if there is one, up to `max_bytes`. Begins at the first slot that is not
    /// trimmed.
    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError>;

    /// Forgets slots below `before`, but never the last.
    async fn trim(&self, before: u64) -> Result<(), JournalError>;
}
