//! RocksDB as this log uses it: one column family per generation, the control rows in the default one, nothing compacted, nothing
//! deleted key by key. The only file that calls RocksDB, with `ffi`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ::rocksdb::{
    BlockBasedOptions, BoundColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, DBRecoveryMode, Error,
    FlushOptions, Options, WriteBatch, WriteBufferManager,
};
use bytes::Bytes;
use types::Lsn;

use super::ffi;
use crate::codec::{KEY_LEN, key};

const CONTROL: &str = "default";
const GENERATION_DIGITS: usize = 20;
/// Larger than any log: RocksDB must never flush to shorten its WAL.
const NO_WAL_LIMIT: u64 = 1 << 50;
/// WAL files kept for reuse.
const RECYCLED_FILES: usize = 4;
/// A memtable holds at least this much, so that one large batch in a small generation flushes nothing.
const MIN_MEMTABLE_BYTES: usize = 64 << 20;

/// How an opening treats what it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Stops at the first damage, keeps what was recovered in memory and in the old WAL files. Nothing may lie behind the last record
    /// of a WAL file.
    Normal,
    /// Shows what is there, of a log that another process may be writing.
    ReadOnly,
    /// Writes everything that can be read into SST files, so that no damaged WAL file is left. `skip` goes on after damage too.
    Salvage { skip: bool },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) generation_bytes: u64,
    /// All memtables together; above it the oldest generation goes to an SST file.
    pub(crate) memtable_bytes: u64,
    pub(crate) recycle: bool,
}

/// A generation's column family, for writing.
pub(crate) type Handle<'a> = Arc<BoundColumnFamily<'a>>;

pub(crate) struct Engine {
    db: DB,
}

/// Writes that become durable together, in order.
pub(crate) struct Batch<'a> {
    engine: &'a Engine,
    writes: WriteBatch,
}

/// A key with its value.
type Row = (Vec<u8>, Vec<u8>);

impl Engine {
    /// Opens or creates the database with every column family it has.
    pub(crate) fn open(path: &Path, settings: &Settings, mode: Mode) -> Result<Self, Error> {
        let options = database_options(settings, mode);
        let names = column_families(path, &options)?;
        let families = names.into_iter().map(|name| {
            let options = if name == CONTROL { control_options() } else { generation_options(settings) };
            ColumnFamilyDescriptor::new(name, options)
        });
        Ok(Self { db: DB::open_cf_descriptors(&options, path, families)? })
    }

    /// A view of the database as it is now, which may be open elsewhere. Writes nothing.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, Error> {
        let settings = Settings { generation_bytes: 0, memtable_bytes: u64::MAX, recycle: false };
        let options = database_options(&settings, Mode::ReadOnly);
        let names = DB::list_cf(&options, path)?;
        let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, generation_options(&settings)));
        Ok(Self { db: DB::open_cf_descriptors_read_only(&options, path, families, false)? })
    }

    /// Numbers of the generations that have a column family.
    pub(crate) fn generations(&self) -> Result<BTreeSet<u64>, Error> {
        let names = DB::list_cf(&Options::default(), self.db.path())?;
        Ok(names.iter().filter_map(|name| generation_number(name)).collect())
    }

    /// Takes several file operations; never on the append path.
    pub(crate) fn create_generation(&self, number: u64, settings: &Settings) -> Result<(), Error> {
        self.db.create_cf(generation_name(number), &generation_options(settings))
    }

    /// No write to it may be under way or come later: RocksDB would stop for good.
    pub(crate) fn drop_generation(&self, number: u64) -> Result<(), Error> {
        self.db.drop_cf(&generation_name(number))
    }

    pub(crate) fn handle(&self, number: u64) -> Option<Handle<'_>> {
        self.db.cf_handle(&generation_name(number))
    }

    pub(crate) fn batch(&self, capacity: usize) -> Batch<'_> {
        Batch { engine: self, writes: WriteBatch::with_capacity_bytes(capacity) }
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.db.flush_wal(true)
    }

    /// Writes the control rows to an SST file and begins a new WAL file. Old WAL files that back nothing are deleted or recycled.
    pub(crate) fn flush_control(&self, wait: bool) -> Result<(), Error> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db.flush_cf_opt(&self.control(), &options)
    }

    /// Writes everything in memory to SST files.
    pub(crate) fn flush_all(&self) -> Result<(), Error> {
        for number in self.generations()? {
            if let Some(handle) = self.handle(number) {
                self.db.flush_cf(&handle)?;
            }
        }
        self.flush_control(true)
    }

    pub(crate) fn control_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf(&self.control(), key)
    }

    /// Control rows whose key begins with `prefix`, in order.
    pub(crate) fn control_rows(&self, prefix: &[u8]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut at = self.db.raw_iterator_cf(&self.control());
        at.seek(prefix);
        while let Some((key, value)) = at.item().filter(|(key, _)| key.starts_with(prefix)) {
            rows.push((key.to_vec(), value.to_vec()));
            at.next();
        }
        at.status()?;
        Ok(rows)
    }

    /// The value at `lsn`; `None` too when the generation is gone.
    pub(crate) fn get(&self, generation: u64, lsn: Lsn) -> Result<Option<Bytes>, Error> {
        let Some(handle) = self.handle(generation) else { return Ok(None) };
        Ok(self.db.get_pinned_cf(&handle, key(lsn))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// The generation's rows from `from` on; `None` when the generation is gone.
    pub(crate) fn rows(&self, generation: u64, from: Lsn) -> Option<Rows<'_>> {
        let handle = self.handle(generation)?;
        let mut iterator = self.db.raw_iterator_cf(&handle);
        iterator.seek(key(from));
        Some(Rows { iterator })
    }

    fn control(&self) -> Handle<'_> {
        self.db.cf_handle(CONTROL).expect("the default column family is always open")
    }
}

/// Rows of one generation in key order.
pub(crate) struct Rows<'a> {
    iterator: DBRawIterator<'a>,
}

impl Rows<'_> {
    /// The next key and value. A key of another length than an entry's is given as it is.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, Bytes)>, Error> {
        let Some((key, value)) = self.iterator.item() else {
            self.iterator.status()?;
            return Ok(None);
        };
        let row = (key.to_vec(), Bytes::copy_from_slice(value));
        self.iterator.next();
        Ok(Some(row))
    }
}

impl Batch<'_> {
    pub(crate) fn put(&mut self, generation: &Handle<'_>, key: &[u8; KEY_LEN], value: &[u8]) {
        self.writes.put_cf(generation, key, value);
    }

    pub(crate) fn put_control(&mut self, key: &[u8], value: &[u8]) {
        self.writes.put_cf(&self.engine.control(), key, value);
    }

    pub(crate) fn delete_control(&mut self, key: &[u8]) {
        self.writes.delete_cf(&self.engine.control(), key);
    }

    /// Bytes this batch takes in the WAL.
    pub(crate) fn len(&self) -> usize {
        self.writes.size_in_bytes()
    }

    /// Writes without syncing. The writes are readable afterwards.
    pub(crate) fn write(self) -> Result<(), Error> {
        self.engine.db.write(self.writes)
    }
}

/// Name of a generation's column family.
fn generation_name(number: u64) -> String {
    format!("g{number:0GENERATION_DIGITS$}")
}

fn generation_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('g')?;
    (digits.len() == GENERATION_DIGITS).then(|| digits.parse().ok())?
}

fn column_families(path: &Path, options: &Options) -> Result<Vec<String>, Error> {
    if path.join("CURRENT").exists() { DB::list_cf(options, path) } else { Ok(vec![CONTROL.to_owned()]) }
}

fn database_options(settings: &Settings, mode: Mode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    let skip = mode == Mode::Salvage { skip: true };
    options.set_wal_recovery_mode(if skip { DBRecoveryMode::SkipAnyCorruptedRecord } else { DBRecoveryMode::PointInTime });
    options.set_recycle_log_file_num(if settings.recycle { RECYCLED_FILES } else { 0 });
    // Compares lengths, and a recycled file is longer than what was written to it until it is closed, or cut before an opening.
    ffi::track_and_verify_wals(&mut options, mode == Mode::Normal);
    ffi::avoid_flush_during_recovery(&mut options, matches!(mode, Mode::Normal | Mode::ReadOnly));
    let memtables = usize::try_from(settings.memtable_bytes).unwrap_or(usize::MAX);
    if memtables < usize::MAX {
        options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(memtables, false));
    }
    options.set_max_total_wal_size(NO_WAL_LIMIT);
    options.set_manual_wal_flush(false);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_keep_log_file_num(4);
    options.set_max_manifest_file_size(64 << 20);
    options
}

fn generation_options(settings: &Settings) -> Options {
    let mut options = Options::default();
    // A backlog is read once, in order, and the operating system has its blocks. By default each generation would keep 32 MiB of them.
    let mut tables = BlockBasedOptions::default();
    tables.disable_cache();
    options.set_block_based_table_factory(&tables);
    options.set_compression_type(DBCompressionType::None);
    let memtable = usize::try_from(settings.generation_bytes).unwrap_or(usize::MAX).saturating_mul(2);
    options.set_write_buffer_size(memtable.max(MIN_MEMTABLE_BYTES));
    options.set_max_write_buffer_number(8);
    options.set_disable_auto_compactions(true);
    options.set_level_zero_slowdown_writes_trigger(100_000);
    options.set_level_zero_stop_writes_trigger(100_000);
    options
}

fn control_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(1 << 20);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be dozens of them, and RocksDB gives each a cache of its own by default, on top of `memory.max.bytes`.
    #[test]
    fn generations_keep_no_blocks_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { generation_bytes: 1 << 20, memtable_bytes: 8 << 20, recycle: false };
        let engine = Engine::open(dir.path(), &settings, Mode::Normal).unwrap();
        engine.create_generation(1, &settings).unwrap();
        drop(engine);
        let engine = Engine::open(dir.path(), &settings, Mode::Normal).unwrap();
        engine.create_generation(2, &settings).unwrap();
        for number in [1, 2] {
            let handle = engine.handle(number).unwrap();
            let capacity = engine.db.property_int_value_cf(&handle, "rocksdb.block-cache-capacity").unwrap();
            assert_eq!(capacity.unwrap_or(0), 0, "of generation {number}");
        }
    }

    #[test]
    fn generations_are_named_in_order_and_nothing_else_is_one() {
        assert_eq!(generation_name(7), "g00000000000000000007");
        assert_eq!(generation_number(&generation_name(u64::MAX)), Some(u64::MAX));
        for other in ["default", "g7", "x00000000000000000007", ""] {
            assert_eq!(generation_number(other), None);
        }
    }
}
