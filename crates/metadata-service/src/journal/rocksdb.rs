//! A journal in RocksDB, in the process of whoever leads: the default, with nothing else to install.
//!
//! Every append is one synced write. What a restart finds in RocksDB's write-ahead log is written to a synced file before anything
//! of it is answered (RocksDB flushes while it recovers): after kill -9 the page cache holds what a power cut would still take
//! (rule R1). A failed write stops the journal until it is opened again.

use std::path::Path;
use std::sync::Arc;

use ::rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, Direction, IteratorMode, Options,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Appended, FIRST_SLOT, Journal, JournalError};

/// Row of the format version, u16 little-endian.
const FORMAT_KEY: &[u8] = b"f";
const FORMAT: u16 = 1;
/// An entry's key: this byte, then the slot, big-endian.
const SLOT_PREFIX: u8 = b'j';
/// Entries in memory before RocksDB writes them to a file.
const MEMTABLE_BYTES: usize = 8 << 20;

/// See the module's comment. One process opens it at a time: the data directory is locked by its owner.
pub struct RocksDbJournal {
    inner: Arc<Inner>,
}

struct Inner {
    db: DB,
    end: Mutex<End>,
    /// Makes the next append fail before it reaches RocksDB.
    #[cfg(test)]
    fail_next: std::sync::atomic::AtomicBool,
}

struct End {
    /// Slot after the last entry.
    next: u64,
    /// The first failure.
    stopped: Option<String>,
}

impl RocksDbJournal {
    /// Opens the journal in `path`, or makes one there. Blocks on the disk. A journal of another format is refused.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let refuse = |detail: String| JournalError::Open { path: path.display().to_string(), detail };
        let failed = |err: ::rocksdb::Error| refuse(err.into_string());
        // Named, so that it can be asked for when entries are trimmed.
        let entries = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options());
        let db = DB::open_cf_descriptors(&options(), path, [entries]).map_err(failed)?;
        match db.get(FORMAT_KEY).map_err(failed)? {
            Some(version) if version == FORMAT.to_le_bytes() => {}
            Some(version) => {
                return Err(refuse(format!("format {version:?} is not {FORMAT}; run the release that wrote it, or a newer one")));
            }
            // An entry without the row cannot be: the row is written first, by a synced write of its own.
            None => db.put_opt(FORMAT_KEY, FORMAT.to_le_bytes(), &synced()).map_err(failed)?,
        }
        let next = last_slot(&db).map_err(failed)?.map_or(FIRST_SLOT, |last| last + 1);
        let end = Mutex::new(End { next, stopped: None });
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                end,
                #[cfg(test)]
                fail_next: std::sync::atomic::AtomicBool::new(false),
            }),
        })
    }

    /// Runs `call` where it may wait for the disk. It ends even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(&self, call: impl FnOnce(&Inner) -> T + Send + 'static) -> T {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || call(&inner)).await {
            Ok(result) => result,
            Err(err) => std::panic::resume_unwind(err.into_panic()),
        }
    }
}

impl Inner {
    fn append(&self, slot: u64, entry: &Bytes) -> Appended {
        let mut end = self.end.lock();
        if let Some(reason) = &end.stopped {
            return Appended::Unknown { detail: reason.clone() };
        }
        if slot != end.next {
            return Appended::Taken;
        }
        match self.write(slot, entry) {
            Ok(()) => {
                end.next += 1;
                Appended::Done
            }
            Err(detail) => {
                end.stopped = Some(detail.clone());
                Appended::Unknown { detail }
            }
        }
    }

    fn write(&self, slot: u64, entry: &Bytes) -> Result<(), String> {
        #[cfg(test)]
        if self.fail_next.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Err("injected".to_owned());
        }
        self.db.put_opt(key(slot), entry, &synced()).map_err(::rocksdb::Error::into_string)
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        if let Some(reason) = &self.end.lock().stopped {
            return Err(JournalError::Stopped { reason: reason.clone() });
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for row in self.db.iterator(IteratorMode::From(&key(from), Direction::Forward)) {
            let (key, entry) = row.map_err(|err| failed("read", err))?;
            let Some(slot) = slot(&key) else { break };
            bytes += entry.len();
            if !entries.is_empty() && max_bytes < bytes {
                break;
            }
            entries.push((slot, Bytes::from(entry)));
        }
        Ok(entries)
    }

    fn trim(&self, before: u64) -> Result<(), JournalError> {
        let last = self.end.lock().next - 1;
        let before = before.min(last);
        let entries = self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).expect("it was opened by this name");
        self.db.delete_range_cf(&entries, key(0), key(before)).map_err(|err| failed("trim", err))?;
        // Gives the disk space back now: so little is written here that RocksDB would not come to it for days.
        self.db.compact_range(Some(key(0)), Some(key(before)));
        Ok(())
    }
}

#[async_trait]
impl Journal for RocksDbJournal {
    async fn append(&self, slot: u64, entry: Bytes) -> Appended {
        self.blocking(move |inner| inner.append(slot, &entry)).await
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        self.blocking(move |inner| inner.read(from, max_bytes)).await
    }

    async fn trim(&self, before: u64) -> Result<(), JournalError> {
        self.blocking(move |inner| inner.trim(before)).await
    }
}

fn key(slot: u64) -> [u8; 9] {
    let mut key = [SLOT_PREFIX; 9];
    key[1..].copy_from_slice(&slot.to_be_bytes());
    key
}

fn slot(key: &[u8]) -> Option<u64> {
    let (prefix, slot) = key.split_first()?;
    (*prefix == SLOT_PREFIX).then(|| slot.try_into().ok().map(u64::from_be_bytes))?
}

fn last_slot(db: &DB) -> Result<Option<u64>, ::rocksdb::Error> {
    let last = db.iterator(IteratorMode::From(&key(u64::MAX), Direction::Reverse)).next().transpose()?;
    Ok(last.and_then(|(key, _)| slot(&key)))
}

fn failed(operation: &'static str, err: ::rocksdb::Error) -> JournalError {
    JournalError::Failed { operation, detail: err.into_string() }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // A torn tail was never answered. Damage further up ends the journal early too: brokers and snapshots know how far it once
    // reached, and refuse a shorter one (rule R8).
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Recovery puts what it finds into a synced file before anything is answered, because flushing then is left on: what a killed
    // process wrote and never synced is durable before it counts (rule R1).
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_keep_log_file_num(4);
    options
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::journal::conformance;

    #[tokio::test]
    async fn the_rocksdb_journal_conforms() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        conformance::check(|| async move { Arc::new(RocksDbJournal::open(path).unwrap()) as Arc<dyn Journal> }).await;
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_answered_until_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let journal = RocksDbJournal::open(directory.path()).unwrap();
        assert_eq!(journal.append(1, Bytes::from_static(b"one")).await, Appended::Done);
        journal.inner.fail_next.store(true, Ordering::Relaxed);
        let failed = Appended::Unknown { detail: "injected".to_owned() };
        assert_eq!(journal.append(2, Bytes::from_static(b"two")).await, failed);
        assert_eq!(journal.append(2, Bytes::from_static(b"two")).await, failed, "not even a write that would work");
        assert!(matches!(journal.read(1, usize::MAX).await, Err(JournalError::Stopped { .. })));
        drop(journal);
        let journal = RocksDbJournal::open(directory.path()).unwrap();
        assert_eq!(journal.read(1, usize::MAX).await.unwrap(), [(1, Bytes::from_static(b"one"))]);
    }

    #[tokio::test]
    async fn a_journal_of_another_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let journal = RocksDbJournal::open(directory.path()).unwrap();
        journal.inner.db.put_opt(FORMAT_KEY, 2_u16.to_le_bytes(), &synced()).unwrap();
        drop(journal);
        let refused = RocksDbJournal::open(directory.path()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("run the release that wrote it"), "{refused}");
    }

    #[tokio::test]
    async fn trimming_gives_the_disk_back() {
        let directory = tempfile::tempdir().unwrap();
        let journal = RocksDbJournal::open(directory.path()).unwrap();
        let entry = Bytes::from(vec![7; 1 << 20]);
        for slot in 1..=40 {
            assert_eq!(journal.append(slot, entry.clone()).await, Appended::Done);
        }
        journal.trim(40).await.unwrap();
        drop(journal);
        let journal = RocksDbJournal::open(directory.path()).unwrap();
        assert_eq!(journal.read(1, usize::MAX).await.unwrap().len(), 1);
        let files = std::fs::read_dir(directory.path()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 20 << 20, "{bytes} bytes for one entry of 1 MiB");
    }
}
