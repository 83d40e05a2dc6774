//! A log that watches how it is used, can hide an entry, can be followed slowly, and can append an entry while a range is being sealed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, Revision, WalId};
use wal::{Entry, MemoryWal, Progress, ReadFrom, Urgency, Usage, WalError, WriteAheadLog};

use crate::ledger::Ledger;

pub(crate) struct WatchedWal {
    pub(crate) inner: Arc<MemoryWal>,
    pub(crate) ledger: Arc<Ledger>,
    /// The end of what the observer was told.
    pub(crate) told: AtomicU64,
    /// The highest argument of `trim`.
    pub(crate) trimmed: AtomicU64,
    /// An entry that scans do not find.
    pub(crate) hidden: AtomicU64,
    /// Whether the task is shown one entry at a time.
    pub(crate) one_by_one: AtomicBool,
    /// Appended when the next range is sealed, which goes on once the task has looked at it.
    pub(crate) during_seal: Mutex<Option<(Entry, Urgency)>>,
    /// The task runs here; ranges are sealed on other threads.
    home: ThreadId,
    /// Where the task has not looked yet.
    looked: Mutex<Lsn>,
    looks: Condvar,
}

impl WatchedWal {
    pub(crate) fn new(inner: Arc<MemoryWal>, ledger: Arc<Ledger>) -> Arc<Self> {
        let told = AtomicU64::new(ledger.published_end().0);
        Arc::new(Self {
            inner,
            ledger,
            told,
            trimmed: AtomicU64::new(0),
            hidden: AtomicU64::new(0),
            one_by_one: AtomicBool::new(false),
            during_seal: Mutex::default(),
            home: thread::current().id(),
            looked: Mutex::new(Lsn::ZERO),
            looks: Condvar::new(),
        })
    }

    fn append_during_seal(&self) {
        let Some((entry, urgency)) = self.during_seal.lock().take() else { return };
        let lsn = self.inner.append(entry, urgency).unwrap();
        let mut looked = self.looked.lock();
        let timed_out = self.looks.wait_while_for(&mut looked, |looked| *looked <= lsn, Duration::from_secs(60)).timed_out();
        assert!(!timed_out, "the task looks at what is appended while a range is being sealed");
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
        if thread::current().id() == self.home {
            if self.one_by_one.load(Ordering::Relaxed) {
                entries.truncate(1);
            }
            *self.looked.lock() = entries.last().map_or(from, |(last, _)| last.next());
            self.looks.notify_all();
        } else {
            self.append_during_seal();
        }
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
