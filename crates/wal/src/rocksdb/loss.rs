//! Going on with a damaged log: what `siltstone wal accept-loss` does. Nothing is destroyed, the damaged files are kept aside.
//!
//! What can be read is copied into a new database. Mending the old one would leave damaged SST files in it, which RocksDB can neither
//! rewrite nor read past.

use std::path::{Path, PathBuf};

use types::Lsn;

use super::control::{Control, ControlWrites, Seal};
use super::engine::{Engine, Mode, Settings};
use super::mark::MarkFile;
use super::recovery::{self, database_dir, engine_error, open_error};
use super::{Options, aside, identity, manifest};
use crate::{WalError, codec};

/// Written to the new database at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What became of a damaged log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// End (exclusive) of the entries kept: all before the damage.
    pub end: Lsn,
    /// Entries below this are known to have been synced, as far as this directory tells.
    pub synced: Lsn,
    /// Entries after the damage that can still be read and were given up, because what lies between is missing.
    pub given_up: u64,
    /// Where the files lie as they were.
    pub aside: PathBuf,
}

/// Keeps the entries of `dir` before the first damage and gives up the rest; the log opens afterwards. LSNs given up are not given
/// out again. A log that is whole keeps all of its entries.
pub fn accept_loss(dir: &Path, options: &Options) -> Result<Accepted, WalError> {
    let failed = |err| open_error(dir, err);
    let engine_failed = |err| engine_error(dir, &err);
    let refused = |detail: String| WalError::Open { path: dir.display().to_string(), detail };
    let _lock = recovery::lock(dir)?;
    let id = identity::read(dir).map_err(refused)?.ok_or_else(|| refused("no write-ahead log is there".to_owned()))?;
    let mut mark = MarkFile::open(dir, id).map_err(failed)?;
    let db = database_dir(dir);
    aside::roll_back(dir, &db).map_err(failed)?;
    std::fs::create_dir_all(&db).map_err(failed)?;
    let kept_aside = aside::keep_aside(dir, &db).map_err(failed)?;
    let mut synced = mark.synced();
    for (number, path) in aside::logs(&kept_aside).map_err(failed)? {
        synced = synced.max(super::log_file::intact_entries(&path, number).map_err(failed)?.synced);
    }
    let settings = Settings { generation_bytes: options.generation_bytes, memtable_bytes: options.memtable_bytes, recycle: false };
    let damaged = open_what_is_left(dir, &kept_aside, &settings)?;
    let replacement = aside::begin_replacement(dir).map_err(failed)?;
    let engine = Engine::open(&replacement, &settings, Mode::Salvage { skip: false }).map_err(engine_failed)?;
    let salvaged = salvage(damaged.as_ref(), &engine, &settings, mark.synced()).map_err(engine_failed)?;
    drop(damaged);
    let Salvaged { end, highest, given_up } = salvaged;
    let mut rows = engine.batch(64);
    rows.put_accepted(highest.max(synced).max(end));
    rows.write().and_then(|()| engine.flush_all()).and_then(|()| engine.sync()).map_err(engine_failed)?;
    drop(engine);
    aside::replace(dir, &db).map_err(failed)?;
    // Last: with the row `accepted` in place, a higher mark refuses nothing.
    mark.reset(end).map_err(failed)?;
    aside::sync_dir(dir).map_err(failed)?;
    tracing::warn!(%end, %synced, given_up, aside = %kept_aside.display(), "a loss of the write-ahead log was accepted");
    Ok(Accepted { end, synced, given_up, aside: kept_aside })
}

/// Opens a copy of the database with as much as it can read; `None` where it can read nothing. The database itself stays as it is until
/// all is done: after a crash, it must be refused again.
fn open_what_is_left(dir: &Path, kept_aside: &Path, settings: &Settings) -> Result<Option<Engine>, WalError> {
    let failed = |err| open_error(dir, err);
    for skip in [false, true] {
        let salvage = aside::begin_salvage(dir, kept_aside).map_err(failed)?;
        manifest::cut_torn_end(&salvage).map_err(failed)?;
        match Engine::open(&salvage, settings, Mode::Salvage { skip }) {
            Ok(engine) => return Ok(Some(engine)),
            Err(err) => tracing::warn!(error = %err, skip, "the write-ahead log's database does not open"),
        }
    }
    Ok(None)
}

struct Salvaged {
    end: Lsn,
    /// Above every entry that could be read.
    highest: Lsn,
    given_up: u64,
}

/// Copies the generations up to the first damage, seals them as they are copied, and begins an open one.
fn salvage(damaged: Option<&Engine>, target: &Engine, settings: &Settings, mark: Lsn) -> Result<Salvaged, ::rocksdb::Error> {
    let control = damaged.and_then(|engine| Control::read(engine).ok()).unwrap_or_default();
    let families = damaged.map(Engine::generations).transpose()?.unwrap_or_default();
    let start = control.start.unwrap_or(Lsn(1));
    let oldest = control.sealed.keys().next().copied().or(control.active.map(|(number, _)| number));
    let first = oldest.or(families.first().copied()).unwrap_or(1);
    // Where no control row is left, the first entry there is begins the log.
    let first_lsn = || damaged.and_then(|engine| first_lsn(engine, first)).unwrap_or(mark.max(start));
    let begin = if control.active.is_some() { start } else { first_lsn() };
    let mut expected = begin;
    let mut salvaged = Salvaged { end: begin, highest: begin, given_up: 0 };
    let mut rows = target.batch(1024);
    let mut next = first;
    let mut whole = true;
    for (engine, number) in damaged.into_iter().flat_map(|engine| families.range(first..).map(move |number| (engine, *number))) {
        if whole {
            let (seal, undamaged) = copy_generation(engine, target, settings, number, &mut expected)?;
            if 0 < seal.entries {
                rows.put_sealed(number, &seal);
                // Generations are a dense run: what follows the last one kept takes its number, whatever had it before.
                next = number + 1;
            }
            whole = undamaged && control.sealed.get(&number).is_none_or(|written| *written == seal);
        }
        let (after, above) = rows_from(engine, number, expected);
        salvaged.given_up += after;
        salvaged.highest = salvaged.highest.max(above);
    }
    target.create_generation(next, settings)?;
    rows.put_active(next, expected);
    rows.put_start(begin);
    rows.write()?;
    salvaged.end = expected;
    salvaged.highest = salvaged.highest.max(expected);
    Ok(salvaged)
}

/// Copies a generation up to its first damage. Returns what was copied, and whether that is all. A generation without entries is
/// not kept.
fn copy_generation(
    from: &Engine,
    to: &Engine,
    settings: &Settings,
    number: u64,
    expected: &mut Lsn,
) -> Result<(Seal, bool), ::rocksdb::Error> {
    let mut seal = Seal::empty(*expected);
    to.create_generation(number, settings)?;
    let handle = to.handle(number).expect("it was made just now");
    let mut batch = to.batch(CHUNK_BYTES);
    let mut written = Ok(());
    let read = recovery::read_generation(from, number, expected, &mut |lsn, value, decoded| {
        seal.add(lsn, decoded.checksum, decoded.batch_len);
        batch.put(&handle, &codec::key(lsn), value);
        if CHUNK_BYTES <= batch.len() && written.is_ok() {
            written = std::mem::replace(&mut batch, to.batch(CHUNK_BYTES)).write();
        }
    });
    written.and_then(|()| batch.write())?;
    drop(handle);
    if seal.entries == 0 {
        to.drop_generation(number)?;
    }
    Ok((seal, read.is_ok()))
}

fn first_lsn(engine: &Engine, number: u64) -> Option<Lsn> {
    let (key, _) = engine.rows(number, Lsn::ZERO)?.next().ok()??;
    codec::lsn_of(&key)
}

/// How many rows of a generation at or above `from` can be read, and the end above the highest of them.
fn rows_from(engine: &Engine, number: u64, from: Lsn) -> (u64, Lsn) {
    let mut found = (0, Lsn::ZERO);
    let Some(mut rows) = engine.rows(number, from) else { return found };
    while let Ok(Some((key, _))) = rows.next() {
        found = (found.0 + 1, codec::lsn_of(&key).map_or(found.1, Lsn::next).max(found.1));
    }
    found
}
