//! A log's directory that is not what it was: an older copy put back, a clone, parts or all of it lost, in use twice. Refused, and
//! nothing changed by the refusal.

use std::fs;
use std::path::Path;

use types::{BrokerEpoch, Lsn, Revision};
use wal::conformance::wait_for;
use wal::{Urgency, WalError, WriteAheadLog, accept_loss};

use crate::child::{command, let_go_of_closed_files, output, said, scratch, variable};
use crate::disk::{Disk, Image};
use crate::expected::entry;
use crate::workload::{self, Settings};

pub(crate) const SETTINGS: Settings = Settings { seed: 7, recycle: true, object_only: false };

/// Opens the log, begins an epoch, appends ten entries and closes. Returns the end of what is synced, which metadata would have seen.
pub(crate) fn write_more(dir: &Path, epoch: u64) -> Lsn {
    let wal = workload::open(dir, &SETTINGS.options().0).unwrap();
    let begun = wal.begin_epoch(BrokerEpoch(epoch), Lsn::ZERO, Revision(epoch)).unwrap();
    for n in 1..=10 {
        wal.append(entry(epoch, begun + n), Urgency::Sync).unwrap();
    }
    let end = begun + 11;
    wait_for(&*wal, "the entries to be synced", |progress| progress.synced == end);
    end
}

fn image(dir: &Path) -> Image {
    Disk::holding(dir).seen()
}

fn open_refused(dir: &Path) -> WalError {
    workload::open(dir, &SETTINGS.options().0).map(|wal| wal.progress().borrow().clone()).expect_err("refused")
}

fn is_damaged_short_of(err: &WalError, end: Lsn, known: Lsn) {
    let text = err.to_string();
    assert!(matches!(err, WalError::Damaged { .. }), "{text}");
    for part in [format!("ends at LSN {end}"), format!("below LSN {known} "), "siltstone wal accept-loss".to_owned()] {
        assert!(text.contains(&part), "{part:?} is not in: {text}");
    }
}

#[test]
fn r11_an_older_copy_put_back_is_refused_by_what_metadata_has_seen() {
    let dir = scratch();
    let dir = dir.path();
    let older_end = write_more(dir, 1);
    let older = image(dir);
    let seen = write_more(dir, 2);
    older.write(dir);
    let (options, _) = SETTINGS.options();
    let wal = workload::open(dir, &options).unwrap();
    is_damaged_short_of(&wal.verify_end(seen).unwrap_err(), older_end, seen);
    drop(wal);
    let_go_of_closed_files();
    let accepted = accept_loss(dir, &options).unwrap();
    assert_eq!(accepted.end, older_end, "a whole log keeps everything");
    let wal = workload::open(dir, &options).unwrap();
    wal.verify_end(seen).unwrap();
    let begun = wal.begin_epoch(BrokerEpoch(3), Lsn::ZERO, Revision(3)).unwrap();
    assert_eq!(begun, seen, "no number is given out again");
}

#[test]
fn r11_an_older_database_put_back_is_refused_by_the_mark() {
    let dir = scratch();
    let dir = dir.path();
    let older_end = write_more(dir, 1);
    let older = image(&dir.join("db"));
    let end = write_more(dir, 2);
    older.write(&dir.join("db"));
    let before = image(dir);
    is_damaged_short_of(&open_refused(dir), older_end, end);
    assert!(before.differs(&image(dir)).is_empty(), "the refusal changes nothing");
    fs::remove_dir_all(dir.join("db")).unwrap();
    is_damaged_short_of(&open_refused(dir), Lsn(1), end);
}

#[test]
fn r26_a_clone_is_refused_once_the_other_has_gone_on() {
    let (one, other) = (scratch(), scratch());
    let end = write_more(one.path(), 1);
    image(one.path()).write(other.path());
    let seen = write_more(one.path(), 2);
    let clone = workload::open(other.path(), &SETTINGS.options().0).unwrap();
    let original = workload::open(one.path(), &SETTINGS.options().0).unwrap();
    assert_eq!(clone.id(), original.id(), "metadata takes them for one");
    is_damaged_short_of(&clone.verify_end(seen).unwrap_err(), end, seen);
    original.verify_end(seen).unwrap();
}

#[test]
fn a_lost_directory_is_another_log() {
    let dir = scratch();
    let dir = dir.path();
    let (options, _) = SETTINGS.options();
    let id = workload::open(dir, &options).unwrap().id();
    assert_eq!(workload::open(dir, &options).unwrap().id(), id, "the id lies in the directory");
    fs::remove_dir_all(dir).unwrap();
    let anew = workload::open(dir, &options).unwrap();
    assert_ne!(anew.id(), id, "what metadata knows of the old one must not be compared with it");
    assert_eq!(anew.progress().borrow().synced, Lsn(1));
}

#[test]
fn a_database_without_its_identity_is_refused() {
    let dir = scratch();
    let dir = dir.path();
    write_more(dir, 1);
    fs::remove_file(dir.join("identity")).unwrap();
    let text = open_refused(dir).to_string();
    assert!(text.contains("no identity file; restore it"), "{text}");
}

/// The body of the second process.
pub(crate) fn open_and_tell() {
    let dir = variable("DIR").unwrap();
    match workload::open(Path::new(&dir), &SETTINGS.options().0) {
        Ok(wal) => eprintln!("told: ends at {}", wal.progress().borrow().synced),
        Err(err) => eprintln!("told: {err}"),
    }
}

#[test]
fn a_second_process_is_refused_with_one_line() {
    let dir = scratch();
    let dir = dir.path();
    let end = write_more(dir, 1);
    let told = || {
        let output = output(command("child_open", dir).env("WAL_CRASH_DIR", dir));
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stderr).unwrap();
        let told: Vec<String> = text.lines().filter_map(|line| Some(line.split_once("told: ")?.1.to_owned())).collect();
        assert_eq!(told.len(), 1, "{text}");
        told[0].clone()
    };
    let wal = workload::open(dir, &SETTINGS.options().0).unwrap();
    let refusal = told();
    assert_eq!(refusal, format!("open write-ahead log {}: in use by another process; stop it first", dir.display()));
    let lsn = wal.append(entry(1, end), Urgency::Sync).unwrap();
    wait_for(&*wal, "an append after the refusal", |progress| lsn < progress.synced);
    drop(wal);
    assert_eq!(told(), format!("ends at {}", end.next()));
}
