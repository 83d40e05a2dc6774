//! Whatever a power cut leaves, every acknowledged entry is there (rules R1, R2, R11, trap T32).

use std::collections::BTreeMap;
use std::fs;

use runtime::Random;
use types::Lsn;
use wal::conformance::{batch_entry, wait_for};
use wal::{Options, Urgency, WriteAheadLog};

use crate::child::{number, scratch};
use crate::disk::Disk;
use crate::rollback::{SETTINGS, write_more};
use crate::scenario::Scenario;
use crate::workload::{self, Settings};

/// Cuts of one recorded history. The rest of the work is recording it.
const CUTS_PER_HISTORY: u64 = 40;

/// Gives `body` one seed after another until there were enough cuts: 80, or as many as `WAL_CRASH_CUTS` says.
fn for_each_history(settings: Settings, mut body: impl FnMut(Settings, Random)) {
    let histories = number("CUTS", 80).div_ceil(CUTS_PER_HISTORY);
    let first = number("SEED", 1);
    for seed in first..first + histories {
        eprintln!("seed {seed}, {settings:?}");
        body(Settings { seed, ..settings }, Random::seeded(seed));
    }
}

fn settings(recycle: bool) -> Settings {
    Settings { seed: 0, recycle, object_only: false }
}

/// Where to kill a process so that it is at work, or still opening.
fn some_records(random: &Random) -> u64 {
    if random.chance(0.4) { 1 + random.below(200) } else { 200 + random.below(1500) }
}

fn acknowledged_entries_survive(recycle: bool) {
    for_each_history(settings(recycle), |settings, _| {
        let scenario = Scenario::new(settings);
        scenario.run(None, None);
        scenario.check_cuts(CUTS_PER_HISTORY, false);
    });
}

#[test]
fn r1_a_power_cut_takes_no_acknowledged_entry() {
    acknowledged_entries_survive(false);
}

#[test]
fn r1_a_power_cut_takes_no_acknowledged_entry_with_recycled_files() {
    acknowledged_entries_survive(true);
}

/// Killed once or twice, at any moment or before a sync has ended, so that what the next process finds was never synced; then the
/// cut.
fn recovered_entries_survive(recycle: bool) {
    for_each_history(settings(recycle), |settings, random| {
        let scenario = Scenario::new(settings);
        for _ in 0..random.below(2) {
            scenario.run(Some(some_records(&random)), None);
        }
        scenario.run_with(None, None, &[("HOLD", "1"), ("STEPS", "100")]);
        scenario.run(random.chance(0.3).then(|| some_records(&random)), None);
        scenario.check_cuts(CUTS_PER_HISTORY, true);
    });
}

#[test]
fn r1_what_a_killed_process_left_is_durable_before_it_counts() {
    recovered_entries_survive(false);
}

#[test]
fn r1_what_a_killed_process_left_is_durable_before_it_counts_with_recycled_files() {
    recovered_entries_survive(true);
}

/// The second and third cuts often come while the log is still recovering from the one before.
fn further_cuts_take_nothing(recycle: bool) {
    for_each_history(settings(recycle), |settings, random| {
        let mut scenario = Scenario::new(settings);
        scenario.run(None, None);
        for _ in 0..1 + random.below(2) {
            scenario = scenario.cut(random.below(1000));
            scenario.run(random.chance(0.6).then(|| some_records(&random)), None);
        }
        scenario.check_cuts(CUTS_PER_HISTORY, false);
    });
}

#[test]
fn r1_a_second_power_cut_takes_no_acknowledged_entry() {
    further_cuts_take_nothing(false);
}

#[test]
fn r1_a_second_power_cut_takes_no_acknowledged_entry_with_recycled_files() {
    further_cuts_take_nothing(true);
}

/// Published from memory, lost by a cut: no later entry may take such an LSN, or it would look published and be trimmed.
fn published_numbers_are_not_given_out_again(recycle: bool) {
    for_each_history(Settings { object_only: true, ..settings(recycle) }, |settings, random| {
        let mut scenario = Scenario::new(settings);
        scenario.run(Some(200 + random.below(600)), None);
        scenario = scenario.cut(random.below(1000));
        scenario.run(None, None);
        scenario.check_cuts(CUTS_PER_HISTORY, false);
    });
}

#[test]
fn r2_no_published_number_is_given_out_again_after_a_power_cut() {
    published_numbers_are_not_given_out_again(false);
}

#[test]
fn r2_no_published_number_is_given_out_again_after_a_power_cut_with_recycled_files() {
    published_numbers_are_not_given_out_again(true);
}

/// A log's first moments, where every file's name is new.
#[test]
fn t32_a_new_log_is_there_whole_or_not_at_all() {
    for_each_history(settings(true), |settings, random| {
        let scenario = Scenario::new(settings);
        scenario.run(Some(60 + random.below(150)), None);
        scenario.check_cuts(CUTS_PER_HISTORY, false);
    });
}

/// RocksDB takes what a recycled file held before for damage, unless an entry in the next file shows that none is missing; where there is
/// a next file without an entry, it refuses the log. The random cuts seldom leave that.
#[test]
fn t32_what_a_recycled_file_held_before_is_no_damage() {
    let dir = scratch();
    let options = Options { generation_bytes: 20_000, ..SETTINGS.options().0 };
    let wal = workload::open(dir.path(), &options).unwrap();
    for n in 1..=5 {
        wal.append(batch_entry(n, 50_000), Urgency::Sync).unwrap();
        wait_for(&*wal, "the entry to be synced", |progress| progress.synced == Lsn(n.cast_unsigned() + 1));
    }
    drop(wal);
    let image = Disk::holding(dir.path()).seen();
    let logs: BTreeMap<_, _> = image.files().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log")).collect();
    let old = logs.values().next().unwrap();
    for (path, written) in logs.iter().take(logs.len() - 1).skip(1) {
        let copy = scratch();
        image.write(copy.path());
        fs::write(copy.path().join(path), [written, &old[..], old].concat()).unwrap();
        let wal = workload::open(copy.path(), &options).unwrap();
        assert_eq!(wal.progress().borrow().synced, Lsn(6), "{}", path.display());
    }
}

/// RocksDB alone would refuse it. The random cuts seldom leave one: the record has to lie across two sectors. Records written before
/// one sync may be kept in any order, so that an intact one follows the torn one.
#[test]
fn t32_torn_records_at_the_end_of_the_manifest_are_no_damage() {
    let dir = scratch();
    let dir = dir.path();
    let end = write_more(dir, 1);
    let manifest = fs::read_to_string(dir.join("db/CURRENT")).unwrap();
    let manifest = dir.join("db").join(manifest.trim_end());
    let written = fs::read(&manifest).unwrap();
    // Checksum, length and kind of a record whose other sector was lost.
    let mut torn = vec![1, 2, 3, 4, 200, 0, 1];
    torn.resize(torn.len() + 200, 0);
    let intact = &written[..7 + usize::from(u16::from_le_bytes([written[4], written[5]]))];
    let image = Disk::holding(dir).seen();
    for unsynced in [torn.clone(), [torn.as_slice(), intact].concat()] {
        let copy = scratch();
        image.write(copy.path());
        let manifest = copy.path().join(manifest.strip_prefix(dir).unwrap());
        fs::write(&manifest, [written.as_slice(), &unsynced].concat()).unwrap();
        let wal = workload::open(copy.path(), &SETTINGS.options().0).unwrap();
        assert_eq!(wal.progress().borrow().synced, end);
    }
}
