//! Opening the log. The order matters: nothing is believed before it is synced, and nothing is changed for good before the log is
//! found whole.
//!
//! 1. The directory is locked, its identity read, an opening that did not end undone.
//! 2. The database's files are set aside (hard links). Every WAL file and the directory is synced: what a killed process left in the
//!    page cache must not be served, or used to call a retry a duplicate, and then be lost to a power cut (rule R1).
//! 3. RocksDB replays its WAL files.
//! 4. Every generation is read: dense LSNs, seals that match, no entry that cannot be decoded.
//! 5. The end is compared with everything that says how far the log was synced (rule R11).
//! 6. What the last run left open is sealed, a new generation begins, the copy is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use types::{Lsn, WalId};

use super::control::{Control, ControlWrites, Seal};
use super::engine::{Engine, Mode, Settings};
use super::log_file::{self, Evidence};
use super::mark::MarkFile;
use super::shared::{Chores, Generation, Generations, Queue, Shared, SyncState};
use super::{Options, aside, identity, manifest};
use crate::codec::{self, Decoded};
use crate::tail::Tail;
use crate::{Entry, EntryKind, Progress, WalError};

/// A log ready for its threads.
pub(crate) struct Recovered {
    pub(crate) shared: Shared,
    /// Empty, begins at the log's end.
    pub(crate) open_generation: u64,
    pub(crate) mark: MarkFile,
}

/// Where the database lies in the log's directory.
pub(crate) fn database_dir(dir: &Path) -> PathBuf {
    dir.join("db")
}

/// See [`super::RocksDbWal::open`].
pub(crate) fn open(dir: &Path, options: Options, progress: &mut dyn FnMut(u64, u64)) -> Result<Recovered, WalError> {
    let failed = |err: io::Error| open_error(dir, err);
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let db = database_dir(dir);
    let id = identify(dir, &db, &options)?;
    let mark = MarkFile::open(dir, id).map_err(failed)?;
    aside::roll_back(dir, &db).map_err(failed)?;
    fs::create_dir_all(&db).map_err(failed)?;
    aside::sync_dir(dir).map_err(failed)?;
    let settings =
        Settings { generation_bytes: options.generation_bytes, memtable_bytes: options.memtable_bytes, recycle: options.recycle };
    let total = aside::recoverable_bytes(&db).map_err(failed)?;
    progress(0, total);
    aside::set_aside(dir, &db).map_err(failed)?;
    let mut tail = Tail::new(options.tail);
    let (engine, read) = match replay(dir, &settings, &mark, &mut tail, &mut |done| progress(done.min(total), total)) {
        Ok(replayed) => replayed,
        Err(refused) => {
            // RocksDB has begun new files; the next opening must see what this one saw.
            aside::roll_back(dir, &db).map_err(failed)?;
            return Err(refused);
        }
    };
    aside::forget(dir).map_err(failed)?;
    progress(total, total);
    let open_generation = read.active;
    let shared = share(dir, id, options, settings, lock, engine, tail, read);
    // The janitor looks again soon, and tells.
    let _ = shared.look_at_free_space();
    Ok(Recovered { shared, open_generation, mark })
}

/// Steps 2 to 6: whatever goes wrong here is undone.
fn replay(
    dir: &Path,
    settings: &Settings,
    mark: &MarkFile,
    tail: &mut Tail,
    done: &mut dyn FnMut(u64),
) -> Result<(Engine, ReadLog), WalError> {
    let db = database_dir(dir);
    let failed = |err: io::Error| open_error(dir, err);
    let engine_failed = |err| engine_error(dir, &err);
    aside::sync_logs(&db).map_err(failed)?;
    manifest::cut_torn_end(&db).map_err(failed)?;
    aside::cut_leftovers(&db).map_err(failed)?;
    let engine = Engine::open(&db, settings, Mode::Normal).map_err(engine_failed)?;
    let read = read_log(&engine, &mut |lsn, entry| tail.push(lsn, entry), done);
    let mut read = read.map_err(|detail| WalError::Damaged { detail })?;
    if read.accepted.is_none() {
        check_end(dir, mark, read.end)?;
    }
    begin(&engine, settings, &mut read).map_err(engine_failed)?;
    Ok((engine, read))
}

/// What the control rows and generations hold together.
pub(crate) struct ReadLog {
    pub(crate) seals: BTreeMap<u64, Seal>,
    /// The open generation.
    pub(crate) active: u64,
    pub(crate) active_seal: Seal,
    pub(crate) start: Lsn,
    /// End (exclusive) of the entries.
    pub(crate) end: Lsn,
    pub(crate) accepted: Option<Lsn>,
    /// Column families of no use: trimmed, or made ahead.
    pub(crate) unused: Vec<u64>,
}

/// Reads all entries in order, or says what is wrong with them.
pub(crate) fn read_log(engine: &Engine, entry: &mut dyn FnMut(Lsn, Arc<Entry>), done: &mut dyn FnMut(u64)) -> Result<ReadLog, String> {
    let control = Control::read(engine)?;
    let families = engine.generations().map_err(|err| format!("list column families: {err}"))?;
    let Some((active, active_first)) = control.active else {
        if !control.sealed.is_empty() || control.start.is_some() {
            return Err("the control row active is missing".to_owned());
        }
        let unused = families.into_iter().collect();
        let first = Lsn(1);
        let active_seal = Seal::empty(first);
        return Ok(ReadLog { seals: BTreeMap::new(), active: 0, active_seal, start: first, end: first, accepted: None, unused });
    };
    let oldest = control.sealed.keys().next().copied().unwrap_or(active);
    let mut expected = control.sealed.get(&oldest).map_or(active_first, |seal| seal.first);
    let start = control.start.unwrap_or(Lsn(1));
    if start != expected {
        return Err(format!("the log is trimmed up to LSN {start} and begins at LSN {expected}"));
    }
    let mut read_bytes = 0;
    let mut read = |number: u64, expected: &mut Lsn| -> Result<Seal, String> {
        let mut seal = Seal::empty(*expected);
        read_generation(engine, number, expected, &mut |lsn, _, decoded| {
            seal.add(lsn, decoded.checksum, decoded.batch_len);
            read_bytes += decoded.batch_len as u64;
            if let Some(decoded) = decoded.entry {
                entry(lsn, Arc::new(decoded));
            }
        })?;
        done(read_bytes);
        Ok(seal)
    };
    for number in oldest..active {
        let Some(written) = control.sealed.get(&number) else {
            return Err(format!("generation {number} is missing between {oldest} and {active}"));
        };
        let found = read(number, &mut expected)?;
        if found != *written {
            return Err(format!("generation {number} was closed as {written:?} and holds {found:?}"));
        }
    }
    if let Some((number, _)) = control.sealed.range(active..).next() {
        return Err(format!("generation {number} is closed and {active} is being written"));
    }
    if expected != active_first {
        return Err(format!("generation {active} should begin at LSN {active_first} and the one before ends at {expected}"));
    }
    let active_seal = read(active, &mut expected)?;
    let unused: Vec<u64> = families.into_iter().filter(|number| !(oldest..=active).contains(number)).collect();
    for number in unused.iter().copied().filter(|number| active < *number) {
        if is_used(engine, number)? {
            return Err(format!("generation {number} has entries and generation {active} was not closed"));
        }
    }
    Ok(ReadLog { seals: control.sealed, active, active_seal, start, end: expected, accepted: control.accepted, unused })
}

/// Is given an entry: its LSN, its bytes, and what they say.
type Each<'a> = dyn FnMut(Lsn, &Bytes, Decoded) + 'a;

/// Gives every entry of a generation to `each`. Stops at the first that cannot be decoded or that is not the next: an entry is never
/// skipped (trap T9). `expected` is the LSN of the next entry, before and after.
pub(crate) fn read_generation(engine: &Engine, number: u64, expected: &mut Lsn, each: &mut Each<'_>) -> Result<(), String> {
    let Some(mut rows) = engine.rows(number, Lsn::ZERO) else {
        return Err(format!("generation {number} has no column family"));
    };
    while let Some((key, value)) = rows.next().map_err(|err| format!("generation {number}: {err}"))? {
        let key: &[u8; codec::KEY_LEN] =
            key.as_slice().try_into().map_err(|_| format!("generation {number}: a key of {} bytes", key.len()))?;
        let lsn = codec::lsn_of(key).ok_or_else(|| format!("generation {number}: a key of another stream"))?;
        let decoded = codec::decode(key, &value).map_err(|err| format!("LSN {lsn}: {err}"))?;
        check_follows(*expected, lsn, decoded.entry.as_ref())?;
        *expected = lsn.next();
        each(lsn, &value, decoded);
    }
    Ok(())
}

/// LSNs are dense; only the start of an epoch jumps, and says from where.
fn check_follows(expected: Lsn, lsn: Lsn, entry: Option<&Entry>) -> Result<(), String> {
    let jumps_from = match entry.map(|entry| &entry.kind) {
        Some(EntryKind::EpochStart(start)) => Some(start.previous_end),
        _ => None,
    };
    if lsn == expected && jumps_from.is_none_or(|end| end == expected) || expected < lsn && jumps_from == Some(expected) {
        return Ok(());
    }
    Err(format!("LSN {lsn} follows where LSN {expected} belongs"))
}

fn is_used(engine: &Engine, number: u64) -> Result<bool, String> {
    let Some(mut rows) = engine.rows(number, Lsn::ZERO) else { return Ok(false) };
    rows.next().map(|row| row.is_some()).map_err(|err| format!("generation {number}: {err}"))
}

/// Compares the log's end with the mark file and with what lies beyond the end in the WAL files.
fn check_end(dir: &Path, mark: &MarkFile, end: Lsn) -> Result<(), WalError> {
    if end < mark.synced() {
        return Err(too_short(end, mark.synced(), "the mark file"));
    }
    let evidence = evidence_beyond(dir, end).map_err(|err| open_error(dir, err))?;
    if end < evidence.synced {
        return Err(too_short(end, evidence.synced, "an entry beyond the damage"));
    }
    Ok(())
}

/// What intact entries in the WAL files prove, newest file first, back to the file where the recovered entries end: older ones end
/// before it, or RocksDB would have refused them.
pub(crate) fn evidence_beyond(dir: &Path, end: Lsn) -> io::Result<Evidence> {
    let mut all = Evidence::default();
    for (number, path) in aside::logs(&aside::recovery_dir(dir))? {
        let evidence = log_file::intact_entries(&path, number)?;
        all.synced = all.synced.max(evidence.synced);
        all.highest = all.highest.max(evidence.highest);
        if evidence.lowest.is_some_and(|lowest| lowest < end) {
            break;
        }
    }
    Ok(all)
}

/// The error for a log that ends before what `witness` knows to be synced.
pub(crate) fn too_short(end: Lsn, synced: Lsn, witness: &str) -> WalError {
    WalError::Damaged { detail: format!("it ends at LSN {end}, and {witness} says that everything below LSN {synced} was synced") }
}

/// Seals what the last run left open and begins a generation at the log's end. All of it is synced afterwards.
fn begin(engine: &Engine, settings: &Settings, read: &mut ReadLog) -> Result<(), ::rocksdb::Error> {
    for number in std::mem::take(&mut read.unused) {
        engine.drop_generation(number)?;
    }
    let mut rows = engine.batch(256);
    if 0 < read.active_seal.entries {
        rows.put_sealed(read.active, &read.active_seal);
        read.seals.insert(read.active, read.active_seal);
    }
    if read.active == 0 || 0 < read.active_seal.entries {
        read.active += 1;
        engine.create_generation(read.active, settings)?;
    }
    read.active_seal = Seal::empty(read.end);
    rows.put_active(read.active, read.end);
    rows.put_start(read.start);
    rows.write()?;
    engine.flush_control(true)?;
    engine.sync()
}

#[allow(clippy::too_many_arguments)] // called once; the parts of an opening come from different steps
fn share(dir: &Path, id: WalId, options: Options, settings: Settings, lock: File, engine: Engine, tail: Tail, read: ReadLog) -> Shared {
    let mut list: VecDeque<Generation> = read.seals.iter().map(|(number, seal)| Generation::sealed(*number, seal)).collect();
    list.push_back(Generation::open(read.active, read.end));
    let used = list.iter().map(|generation| generation.bytes).sum();
    let end = read.end;
    let progress = Progress { appended: end, synced: end, appended_bytes: 0, upload_wanted: Lsn::ZERO, stopped: None };
    Shared {
        id,
        dir: dir.to_owned(),
        options,
        settings,
        queue: Mutex::new(Queue {
            pending: VecDeque::new(),
            next: end,
            floor: read.accepted.unwrap_or(Lsn::ZERO),
            accepted: read.accepted,
            trim_below: Lsn::ZERO,
            reclaim: false,
            closing: false,
            stopped: None,
            used,
            free: u64::MAX,
        }),
        queue_changed: Condvar::new(),
        sync: Mutex::new(SyncState { written: end, dirty: false, urgent: false, closing: false, stopped: false, retired: Vec::new() }),
        sync_changed: Condvar::new(),
        chores: Mutex::new(Chores { made: read.active, ..Chores::default() }),
        chores_changed: Condvar::new(),
        generations: RwLock::new(Generations { list, start: read.start }),
        tail: Mutex::new(tail),
        progress: watch::Sender::new(progress),
        syncs: AtomicU64::new(0),
        engine,
        _lock: lock,
    }
}

/// Takes the directory for this process; the lock goes with the file.
pub(crate) fn lock(dir: &Path) -> Result<File, WalError> {
    let failed = |err: io::Error| open_error(dir, err);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(err) if err == rustix::io::Errno::WOULDBLOCK => {
            Err(WalError::Open { path: dir.display().to_string(), detail: "in use by another process; stop it first".to_owned() })
        }
        Err(err) => Err(failed(err.into())),
    }
}

/// Reads the log's id, or makes one where there is no log.
fn identify(dir: &Path, db: &Path, options: &Options) -> Result<WalId, WalError> {
    let refused = |detail: String| WalError::Open { path: dir.display().to_string(), detail };
    let unreadable = |detail: String| refused(format!("{detail}; restore it, or use another directory"));
    if let Some(id) = identity::read(dir).map_err(unreadable)? {
        return Ok(id);
    }
    if db.exists() {
        return Err(refused("there is a database and no identity file; restore it, or use another directory".to_owned()));
    }
    let id = WalId::from_bytes(options.random.uuid_bytes());
    identity::create(dir, id).map_err(|err| refused(format!("write the identity file: {err}")))?;
    Ok(id)
}

pub(crate) fn open_error(dir: &Path, err: io::Error) -> WalError {
    WalError::Open { path: dir.display().to_string(), detail: err.to_string() }
}

pub(crate) fn engine_error(dir: &Path, err: &::rocksdb::Error) -> WalError {
    // A file that another one names and that is gone is reported as any failed call; the text is all that tells it apart.
    let missing = err.kind() == ::rocksdb::ErrorKind::IOError && err.as_ref().contains("No such file or directory");
    match err.kind() {
        _ if missing => WalError::Damaged { detail: err.to_string() },
        ::rocksdb::ErrorKind::Corruption => WalError::Damaged { detail: err.to_string() },
        _ => WalError::Open { path: dir.display().to_string(), detail: err.to_string() },
    }
}
