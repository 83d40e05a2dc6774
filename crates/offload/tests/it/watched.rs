//! A log that watches how it is used, and can hide an entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, Revision, WalId};
use wal::{Entry, MemoryWal, Progress, ReadFrom, Urgency, Usage, WalError, WriteAheadLog};

use crate::ledger::Ledger;

pub(crate) struct WatchedWal {
    pub(crate) inner: Arc<MemoryWal>,
    ledger: Arc<Ledger>,
    /// The end of what the observer was told.
    pub(crate) told: AtomicU64,
    /// The highest argument of `trim`.
    pub(crate) trimmed: AtomicU64,
    /// An entry that scans do not find.
    pub(crate) hidden: AtomicU64,
}

impl WatchedWal {
    pub(crate) fn new(inner: Arc<MemoryWal>, ledger: Arc<Ledger>) -> Arc<Self> {
        let told = AtomicU64::new(ledger.published_end().0);
        Arc::new(Self { inner, ledger, told, trimmed: AtomicU64::new(0), hidden: AtomicU64::new(0) })
    }
}

impl WriteAheadLog for WatchedWal {
    fn trim(&self, below: Lsn) {
        assert!(below <= self.ledger.published_end(), "trim never passes publish");
        assert!(below.0 <= self.told.load(Ordering::Relaxed), "R23: the observer is told before the log is trimmed");
        self.trimmed.fetch_max(below.0, Ordering::Relaxed);
        self.inner.trim(below);
    }
    fn scan(&self, from: Lsn, below: Lsn, max_bytes: usize) -> Result<Vec<(Lsn, Arc<Entry>)>, WalError> {
        let mut entries = self.inner.scan(from, below, max_bytes)?;
        entries.retain(|(lsn, _)| lsn.0 != self.hidden.load(Ordering::Relaxed));
        Ok(entries)
    }
    fn id(&self) -> WalId {
        self.inner.id()
    }
    fn begin_epoch(&self, epoch: BrokerEpoch, last_published: Lsn, revision: Revision) -> Result<Lsn, WalError> {
        self.inner.begin_epoch(epoch, last_published, revision)
    }
    fn append(&self, entry: Entry, urgency: Urgency) -> Result<Lsn, WalError> {
        self.inner.append(entry, urgency)
    }
    fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress()
    }
    fn start(&self) -> Lsn {
        self.inner.start()
    }
    fn read(&self, lsn: Lsn) -> Result<Option<(Arc<Entry>, ReadFrom)>, WalError> {
        self.inner.read(lsn)
    }
    fn release_memory(&self, below: Lsn) {
        self.inner.release_memory(below);
    }
    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}
