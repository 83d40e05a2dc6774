//! Objects: put, ranged get, list, delete, a bounded cache over ranges, credentials. The only crate that knows `object_store` and
//! `aws-config`. It knows no segment and no Kafka: keys are strings below the configured prefix.
//!
//! [`ObjectStore`] is the seam. [`open`] makes one of a URL; [`CountingStore`], [`GatedStore`] and [`faults::FaultyStore`] go around
//! any. On top of the seam: [`put_verified`] for uploads that survive lost answers, [`RangeReader`] for reads, with or without a
//! [`DiskCache`], [`claim`] for the mark that ties a prefix to one cluster, [`Probe`] for what a store really does.

mod directory;
mod key;
mod memory;
mod open;
mod s3;

mod counters;
pub mod faults;
mod gate;

mod block_cache;
mod disk_cache;
mod hedging;
mod marker;
mod probe;
mod range_reader;
mod read_at;
mod upload;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use types::Timestamp;

pub use counters::{CountingStore, LATENCY_BOUNDS, OperationCounts, Outcome, StoreCounters};
pub use directory::DirectoryStore;
pub use disk_cache::{DiskCache, DiskCacheCounts};
pub use gate::GatedStore;
pub use key::MAX_KEY_BYTES;
pub use marker::{ClaimError, FORMAT_VERSION, MARKER_KEY, Marker, claim, is_empty, read_marker};
pub use memory::MemoryStore;
pub use open::{Created, OpenError, S3Options, check, create, open, open_unasked};
pub use probe::{Finding, Measurement, Need, Probe, RelianceError, ReportCard, Verdict, check_reliance};
pub use range_reader::{RangeRead, RangeReader, RangeReaderOptions, RangeRequest, ReadClass, ReadCounts};
pub use upload::{Body, UPLOAD_BACKOFF, put_verified};

/// An object as a listing or a HEAD shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// Key below the prefix.
    pub key: String,
    /// Length in bytes.
    pub length: u64,
    /// By the store's clock.
    pub modified: Timestamp,
}

/// The calls of [`ObjectStore`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// [`ObjectStore::put`].
    Put,
    /// [`ObjectStore::get_range`].
    GetRange,
    /// [`ObjectStore::get`].
    Get,
    /// [`ObjectStore::head`].
    Head,
    /// [`ObjectStore::list`].
    List,
    /// [`ObjectStore::delete`].
    Delete,
}

impl Operation {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 6] = [Self::Put, Self::GetRange, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The name in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::GetRange => "get_range",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call to the store failed. Kinds differ by what the caller does.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("object {key} does not exist")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// Put if absent: something is there already. It may be our own earlier attempt: compare length and checksum, as
    /// [`put_verified`] does (rule R9).
    #[error("object {key} exists already")]
    AlreadyExists {
        /// Its key.
        key: String,
    },
    /// It may or may not have happened (time-out, lost answer). Ask, or repeat with identical bytes.
    #[error("{operation} of object {key}: outcome unknown: {detail}")]
    Unknown {
        /// Which call.
        operation: Operation,
        /// Which object.
        key: String,
        /// What was seen.
        detail: String,
    },
    /// The store refuses for now (throttling, outage, full disk): nothing happened; back off and repeat.
    #[error("{operation} of object {key}: {detail}")]
    Unavailable {
        /// Which call.
        operation: Operation,
        /// Which object or prefix.
        key: String,
        /// What was seen.
        detail: String,
    },
    /// The store refuses for good (permission, no such bucket, bad request); a person has to act.
    #[error("{operation} of object {key}: {detail}")]
    Refused {
        /// Which call.
        operation: Operation,
        /// Which object or prefix.
        key: String,
        /// What was seen, and the way out where it is known.
        detail: String,
    },
    /// What came back is not what was asked for: shorter, longer, or with another checksum.
    #[error("object {key}: {detail}")]
    Corrupt {
        /// Which object.
        key: String,
        /// What differs.
        detail: String,
    },
}

impl StoreError {
    pub(crate) fn not_found(key: &str) -> Self {
        Self::NotFound { key: key.to_owned() }
    }

    pub(crate) fn already_exists(key: &str) -> Self {
        Self::AlreadyExists { key: key.to_owned() }
    }

    pub(crate) fn unknown(operation: Operation, key: &str, detail: impl Into<String>) -> Self {
        Self::Unknown { operation, key: key.to_owned(), detail: detail.into() }
    }

    pub(crate) fn unavailable(operation: Operation, key: &str, detail: impl Into<String>) -> Self {
        Self::Unavailable { operation, key: key.to_owned(), detail: detail.into() }
    }

    pub(crate) fn refused(operation: Operation, key: &str, detail: impl Into<String>) -> Self {
        Self::Refused { operation, key: key.to_owned(), detail: detail.into() }
    }

    pub(crate) fn corrupt(key: &str, detail: impl Into<String>) -> Self {
        Self::Corrupt { key: key.to_owned(), detail: detail.into() }
    }
}

/// The seam to object storage. Implementations: directory, S3 and memory by [`open`], and [`faults::FaultyStore`] around any.
///
/// Keys are folders and a name joined by `/`, at most [`MAX_KEY_BYTES`] long, of ASCII letters, digits, `-`, `_` and `.`; no part is
/// empty or begins with a dot. Other keys are refused. A key that is another's folder (`x` beside `x/y`) is refused where the store
/// can tell; S3's kinds differ, so no such pair may ever be asked for.
///
/// Objects are immutable: there is no way to replace one. A `put` that returned success is durable (a directory store has
/// fsynced file and folders, also when it found the object after an unknown outcome: R1).
///
/// A call that is dropped before it resolves may still take effect.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts `parts`, gathered in order, if nothing is there yet. One attempt; [`put_verified`] repeats.
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError>;

    /// Exactly the bytes of `range`; fewer are an error (`Corrupt`). An empty range is answered without asking.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// The whole object. Fails with `Corrupt` above `limit` bytes before reading them.
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError>;

    /// Length and time.
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// At most `limit` objects whose keys begin with `prefix` (any string, not only whole folders), in the order of their keys'
    /// bytes, those after `after` if it is given. Fewer than `limit` means that no more follow.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Deletes; an object that is not there counts as deleted. Answers per key, in order. A deletion need not be durable: an object
    /// that comes back after a power cut is an orphan like any other.
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>>;

    /// The store's own idea of the time, asked now, where it is a machine of its own with a clock of its own. A second opinion for
    /// a clock that jumped (rule R22).
    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}
