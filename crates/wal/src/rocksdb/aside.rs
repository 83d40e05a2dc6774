//! A copy of the database's files as they were, made of hard links: what an opening must not spoil before it has found the log whole.
//!
//! RocksDB never changes an SST file, and never again writes to a WAL file of an earlier run (those it recycles are its own), so a
//! link keeps them. The small files it rewrites are copied.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::log_file;

/// The name under which an opening keeps the copy until it has ended well.
const RECOVERY: &str = "recovery";

/// The name under which a damaged database is read: RocksDB changes what it opens.
const SALVAGE: &str = "salvage";

/// Makes the copy of `db` as `<dir>/recovery`, whole or not at all.
pub(crate) fn set_aside(dir: &Path, db: &Path) -> io::Result<()> {
    copy(db, &dir.join(RECOVERY))
}

/// Makes a copy of `db` that stays, as `<dir>/aside-<n>`.
pub(crate) fn keep_aside(dir: &Path, db: &Path) -> io::Result<PathBuf> {
    let free = (1u32..).map(|n| dir.join(format!("aside-{n}"))).find(|path| !path.exists());
    let target = free.expect("there are more numbers than directories");
    copy(db, &target)?;
    Ok(target)
}

/// If an earlier opening did not end well, puts `db` back to what it was before it. Nothing was appended since: the copy is gone
/// before the first append.
pub(crate) fn roll_back(dir: &Path, db: &Path) -> io::Result<()> {
    let copy = dir.join(RECOVERY);
    if copy.exists() {
        restore(&copy, db)?;
        forget(dir)?;
    }
    remove_if_there(&dir.join(SALVAGE))?;
    remove_if_there(&unfinished(&copy))
}

/// A database that holds what `copy` holds, for reading what is left of it. Goes with the next [`roll_back`].
pub(crate) fn begin_salvage(dir: &Path, copy: &Path) -> io::Result<PathBuf> {
    let salvage = dir.join(SALVAGE);
    restore(copy, &salvage)?;
    Ok(salvage)
}

/// An empty directory for what [`replace`] puts in place of the database.
pub(crate) fn begin_replacement(dir: &Path) -> io::Result<PathBuf> {
    let target = unfinished(&dir.join(RECOVERY));
    remove_if_there(&target)?;
    fs::create_dir(&target)?;
    Ok(target)
}

/// Makes `db` what the replacement holds: all of it or nothing, whenever a crash comes, as an opening that did not end is undone.
pub(crate) fn replace(dir: &Path, db: &Path) -> io::Result<()> {
    let copy = dir.join(RECOVERY);
    let replacement = unfinished(&copy);
    sync_logs(&replacement)?;
    fs::rename(&replacement, &copy)?;
    sync_dir(dir)?;
    roll_back(dir, db)
}

/// Makes `db` what `copy` holds; may be repeated after a crash.
pub(crate) fn restore(copy: &Path, db: &Path) -> io::Result<()> {
    fs::create_dir_all(db)?;
    for file in files(db)? {
        fs::remove_file(file)?;
    }
    place_files(copy, db)?;
    sync_dir(db)
}

/// The opening has ended well. Once this returns, no later one rolls back.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    let copy = dir.join(RECOVERY);
    let gone = unfinished(&copy);
    remove_if_there(&gone)?;
    match fs::rename(&copy, &gone) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    }
    sync_dir(dir)?;
    fs::remove_dir_all(gone)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Syncs every WAL file and its directory, while RocksDB is closed. What a killed process left in the page cache is read only
/// afterwards, and from the disk: where the sync of an earlier process failed, the kernel may take pages for clean that it never
/// wrote, so that this sync succeeds and proves nothing. Without its cached pages, the file reads as a power cut would leave it.
pub(crate) fn sync_logs(db: &Path) -> io::Result<()> {
    for file in files(db)?.into_iter().filter(|file| extension(file) == Some("log")) {
        let log = File::open(&file)?;
        log.sync_data()?;
        // Only advice: where the kernel knows none, nothing is lost but that certainty.
        let _ = rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed);
    }
    sync_dir(db)
}

/// Cuts off what lies behind the last intact record of each WAL file, of which there is a copy aside.
///
/// RocksDB notes in each WAL file how long the one before it is, and so finds out that the end of one is missing while the next is there,
/// as a power cut before the sync that was to cover both may leave them. A recycled file is longer than what was written to it until it
/// is closed: without the cut it would be taken for damaged, or its missing end for what it held before.
pub(crate) fn cut_leftovers(db: &Path) -> io::Result<()> {
    for (number, path) in logs(db)? {
        let log = File::open(&path)?;
        let written = log_file::written_len(&log, number)?;
        if written == log.metadata()?.len() {
            continue;
        }
        // A new file: the copy aside is a link to this one.
        let unfinished = path.with_extension("unfinished");
        let mut cut = File::create(&unfinished)?;
        io::copy(&mut log.take(written), &mut cut)?;
        cut.sync_all()?;
        fs::rename(&unfinished, &path)?;
    }
    sync_dir(db)
}

/// The WAL files of a copy, newest first.
pub(crate) fn logs(copy: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut logs: Vec<_> = files(copy)?
        .into_iter()
        .filter(|file| extension(file) == Some("log"))
        .filter_map(|file| Some((file.file_stem()?.to_str()?.parse().ok()?, file)))
        .collect();
    logs.sort_by_key(|(number, _): &(u64, _)| std::cmp::Reverse(*number));
    Ok(logs)
}

/// Where the copy of an opening lies while it lasts.
pub(crate) fn recovery_dir(dir: &Path) -> PathBuf {
    dir.join(RECOVERY)
}

/// Bytes that an opening of `db` reads.
pub(crate) fn recoverable_bytes(db: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in files(db)?.into_iter().filter(|file| matches!(extension(file), Some("log" | "sst"))) {
        bytes += fs::metadata(file)?.len();
    }
    Ok(bytes)
}

fn copy(db: &Path, target: &Path) -> io::Result<()> {
    let temporary = unfinished(target);
    remove_if_there(&temporary)?;
    fs::create_dir(&temporary)?;
    place_files(db, &temporary)?;
    sync_dir(&temporary)?;
    fs::rename(&temporary, target)?;
    sync_dir(target.parent().expect("a copy lies in the log's directory"))
}

fn unfinished(copy: &Path) -> PathBuf {
    copy.with_extension("unfinished")
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn place_files(from: &Path, to: &Path) -> io::Result<()> {
    for file in files(from)? {
        let name = file.file_name().expect("a listed file has a name");
        let target = to.join(name);
        if matches!(extension(&file), Some("log" | "sst")) {
            fs::hard_link(&file, &target)?;
        } else if is_state(name) {
            fs::copy(&file, &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

/// Files that say which others count. RocksDB's own log of events and its lock are not among them.
fn is_state(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name == "CURRENT" || name == "IDENTITY" || name.starts_with("MANIFEST-") || name.starts_with("OPTIONS-")
}

fn extension(file: &Path) -> Option<&str> {
    file.extension().and_then(OsStr::to_str)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = files(dir).unwrap().iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_opening_that_did_not_end_is_undone_whatever_it_did() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::create_dir(&db).unwrap();
        for (name, content) in [("000004.log", "entries"), ("CURRENT", "MANIFEST-1"), ("MANIFEST-1", "families"), ("LOG", "chatter")] {
            fs::write(db.join(name), content).unwrap();
        }
        set_aside(dir.path(), &db).unwrap();
        fs::remove_file(db.join("000004.log")).unwrap();
        fs::write(db.join("MANIFEST-1"), "appended to").unwrap();
        fs::write(db.join("000009.log"), "new").unwrap();
        roll_back(dir.path(), &db).unwrap();
        assert_eq!(names(&db), ["000004.log", "CURRENT", "MANIFEST-1"]);
        assert_eq!(fs::read(db.join("000004.log")).unwrap(), b"entries");
        assert_eq!(fs::read(db.join("MANIFEST-1")).unwrap(), b"families");
        assert!(!dir.path().join(RECOVERY).exists());
    }

    #[test]
    fn an_opening_that_ended_well_is_not_undone() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::create_dir(&db).unwrap();
        fs::write(db.join("000004.log"), "entries").unwrap();
        set_aside(dir.path(), &db).unwrap();
        fs::write(db.join("000009.log"), "new").unwrap();
        forget(dir.path()).unwrap();
        roll_back(dir.path(), &db).unwrap();
        assert_eq!(names(&db), ["000004.log", "000009.log"]);
    }

    #[test]
    fn a_copy_that_was_not_finished_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::create_dir(&db).unwrap();
        fs::write(db.join("000004.log"), "entries").unwrap();
        fs::create_dir(dir.path().join("recovery.unfinished")).unwrap();
        roll_back(dir.path(), &db).unwrap();
        assert_eq!(names(&db), ["000004.log"]);
        set_aside(dir.path(), &db).unwrap();
        assert_eq!(names(&dir.path().join(RECOVERY)), ["000004.log"]);
    }
}
