//! Going on with a damaged log: what `siltstone wal accept-loss` does. Nothing is destroyed, the damaged files are kept aside.

use std::path::{Path, PathBuf};

use types::Lsn;

use super::control::{Control, ControlWrites, Seal};
use super::engine::{Engine, Mode, Settings};
use super::recovery::{self, database_dir, engine_error, open_error};
use super::{Options, aside};
use crate::mark::MarkFile;
use crate::{WalError, identity};

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
/// out again. A log that is whole stays as it is.
pub fn accept_loss(dir: &Path, options: &Options) -> Result<Accepted, WalError> {
    let failed = |err| open_error(dir, err);
    let refused = |detail: String| WalError::Open { path: dir.display().to_string(), detail };
    let _lock = recovery::lock(dir)?;
    let id = identity::read(dir).map_err(refused)?.ok_or_else(|| refused("no write-ahead log is there".to_owned()))?;
    let mut mark = MarkFile::open(dir, id).map_err(failed)?;
    let db = database_dir(dir);
    aside::roll_back(dir, &db).map_err(failed)?;
    std::fs::create_dir_all(&db).map_err(failed)?;
    let kept_aside = aside::keep_aside(dir, &db).map_err(failed)?;
    let settings = Settings { generation_bytes: options.generation_bytes, memtable_bytes: options.memtable_bytes, recycle: false };
    let (engine, skipped) = open_what_is_left(dir, &kept_aside, &settings)?;
    let salvaged = salvage(&engine, &settings, mark.synced()).map_err(|err| engine_error(dir, &err))?;
    let mut synced = mark.synced();
    for (number, path) in aside::logs(&kept_aside).map_err(failed)? {
        synced = synced.max(super::log_file::intact_entries(&path, number).map_err(failed)?.synced);
    }
    let Salvaged { end, highest, given_up } = salvaged;
    let mut rows = engine.batch(64);
    rows.put_accepted(highest.max(synced).max(end));
    rows.write().and_then(|()| engine.flush_all()).and_then(|()| engine.sync()).map_err(|err| engine_error(dir, &err))?;
    drop(engine);
    mark.reset(end).map_err(failed)?;
    aside::sync_dir(dir).map_err(failed)?;
    tracing::warn!(%end, %synced, given_up, skipped, aside = %kept_aside.display(), "a loss of the write-ahead log was accepted");
    Ok(Accepted { end, synced, given_up, aside: kept_aside })
}

/// Opens the database with as much as it can read; a new one where it can read nothing. True when it skipped damage.
fn open_what_is_left(dir: &Path, kept_aside: &Path, settings: &Settings) -> Result<(Engine, bool), WalError> {
    let failed = |err| open_error(dir, err);
    let db = &database_dir(dir);
    for skip in [false, true] {
        match Engine::open(db, settings, Mode::Salvage { skip }) {
            Ok(engine) => return Ok((engine, skip)),
            Err(err) => tracing::warn!(error = %err, skip, "the write-ahead log's database does not open"),
        }
        aside::restore(kept_aside, db).map_err(failed)?;
    }
    // Nothing opens it: begin anew. The damaged files are kept aside.
    let unusable = db.with_extension("unusable");
    let moved = std::fs::rename(db, &unusable).and_then(|()| std::fs::remove_dir_all(&unusable));
    moved.map_err(failed)?;
    let engine = Engine::open(db, settings, Mode::Salvage { skip: true }).map_err(|err| engine_error(dir, &err))?;
    Ok((engine, true))
}

struct Salvaged {
    end: Lsn,
    /// Above every entry that could be read.
    highest: Lsn,
    given_up: u64,
}

/// Leaves the generations up to the first damage, with seals that match, and an empty open one.
fn salvage(engine: &Engine, settings: &Settings, mark: Lsn) -> Result<Salvaged, ::rocksdb::Error> {
    let control = Control::read(engine).unwrap_or_default();
    let families = engine.generations()?;
    let start = control.start.unwrap_or(Lsn(1));
    let oldest = control.sealed.keys().next().copied().or(control.active.map(|(number, _)| number));
    let first = oldest.or(families.first().copied()).unwrap_or(1);
    // Where no control row is left, the first entry there is begins the log.
    let mut expected = if control.active.is_some() { start } else { first_lsn(engine, first)?.unwrap_or(mark.max(start)) };
    let begin = expected;
    let mut rows = engine.batch(1024);
    let mut salvaged = Salvaged { end: begin, highest: begin, given_up: 0 };
    let mut whole = true;
    for number in families.iter().copied() {
        let mut seal = Seal::empty(expected);
        if first <= number && whole {
            let read = recovery::read_generation(engine, number, &mut expected, &mut |lsn, decoded| {
                seal.add(lsn, decoded.checksum, decoded.batch_len);
            });
            let complete = control.sealed.get(&number).is_none_or(|written| *written == seal);
            whole = read.is_ok() && complete;
        }
        let (after, above) = rows_from(engine, number, if first <= number { expected } else { Lsn(u64::MAX) })?;
        salvaged.given_up += after.len() as u64;
        salvaged.highest = salvaged.highest.max(above);
        if 0 < seal.entries {
            if let Some(handle) = engine.handle(number) {
                after.iter().for_each(|key| rows.delete(&handle, key));
            }
            rows.put_sealed(number, &seal);
        } else {
            rows.delete_sealed(number);
            engine.drop_generation(number)?;
        }
    }
    for number in control.sealed.keys().filter(|number| !families.contains(number)) {
        rows.delete_sealed(*number);
    }
    let next = families.last().copied().unwrap_or(0).max(control.active.map_or(0, |(number, _)| number)) + 1;
    engine.create_generation(next, settings)?;
    salvaged.end = expected;
    salvaged.highest = salvaged.highest.max(expected);
    rows.put_active(next, expected);
    rows.put_start(begin);
    rows.write()?;
    Ok(salvaged)
}

fn first_lsn(engine: &Engine, number: u64) -> Result<Option<Lsn>, ::rocksdb::Error> {
    let Some(mut rows) = engine.rows(number, Lsn::ZERO) else { return Ok(None) };
    Ok(rows.next()?.and_then(|(key, _)| crate::codec::lsn_of(&key)))
}

/// Keys of a generation at or above `from`, and the end above the highest of them.
fn rows_from(engine: &Engine, number: u64, from: Lsn) -> Result<(Vec<Vec<u8>>, Lsn), ::rocksdb::Error> {
    let mut found = (Vec::new(), Lsn::ZERO);
    let Some(mut rows) = engine.rows(number, from) else { return Ok(found) };
    while let Some((key, _)) = rows.next()? {
        found.1 = crate::codec::lsn_of(&key).map_or(found.1, Lsn::next).max(found.1);
        found.0.push(key);
    }
    Ok(found)
}
