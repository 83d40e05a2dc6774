//! The log on disk, as its callers see it: the contract, faults, damage, and what `wal dump` and `wal accept-loss` do.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::{ManualClock, Random};
use types::Lsn;
use wal::conformance::{self, Factory, Sizes, Subject, batch_entry, wait_for};
use wal::{Options, RocksDbWal, Urgency, WalError, WriteAheadLog};

struct OnDisk;

struct OneOnDisk {
    dir: tempfile::TempDir,
    options: Options,
    wal: Option<Arc<RocksDbWal>>,
}

fn options() -> Options {
    let mut options = Options::new(Arc::new(ManualClock::new(1_700_000_000_000)), Arc::new(Random::seeded(7)));
    options.free_space = Arc::new(|_| Ok(u64::MAX));
    options
}

fn open(dir: &Path, options: &Options) -> Result<RocksDbWal, WalError> {
    RocksDbWal::open(dir, options.clone(), &mut |_, _| {})
}

impl Factory for OnDisk {
    fn create(&self, sizes: Sizes) -> Box<dyn Subject> {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options();
        options.generation_bytes = sizes.generation_bytes;
        options.max_bytes = sizes.max_bytes;
        options.tail = sizes.tail;
        let wal = Some(Arc::new(open(dir.path(), &options).unwrap()));
        Box::new(OneOnDisk { dir, options, wal })
    }
}

impl OneOnDisk {
    fn open_wal(&self) -> &Arc<RocksDbWal> {
        self.wal.as_ref().expect("open but within crash")
    }
}

impl Subject for OneOnDisk {
    fn wal(&self) -> Arc<dyn WriteAheadLog> {
        self.open_wal().clone()
    }
    fn hold_syncs(&self) {
        self.options.faults.hold_syncs();
    }
    fn release_syncs(&self) {
        self.options.faults.release_syncs();
    }
    fn fail_next_sync(&self, reason: &str) {
        self.options.faults.fail_next_sync(reason);
    }
    fn crash(&mut self) {
        self.options.faults.fail_next_sync("crash");
        self.wal = None;
        self.options.faults = Arc::default();
        self.wal = Some(Arc::new(open(self.dir.path(), &self.options).unwrap()));
    }
}

#[test]
fn conformance() {
    conformance::check_all(&OnDisk);
}

/// Appends `count` entries of `bytes` each, one after the other, so that a generation may end after each.
fn append(wal: &RocksDbWal, count: usize, bytes: usize) -> Lsn {
    let mut last = Lsn::ZERO;
    for n in 0..count {
        last = wal.append(batch_entry(n as i64, bytes), Urgency::Sync).unwrap();
        wait_for(wal, "the entry", |progress| last < progress.synced);
    }
    last
}

#[test]
fn a_log_that_the_store_does_not_take_has_few_generations() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), &Options { generation_bytes: 1000, ..options() }).unwrap();
    let end = append(&wal, 1000, 100).next();
    // A hundred times a generation's size.
    let generations = wal.usage().generations;
    assert!((8..40).contains(&generations), "{generations}");
    wal.trim(end);
    append(&wal, 20, 100);
    let generations = wal.usage().generations;
    assert!(generations <= 4, "small ones again: {generations}");
}

#[test]
fn no_generation_ends_by_its_age_while_it_is_a_small_part_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let age = Duration::from_secs(60);
    let options = Options { generation_bytes: 1000, generation_age: age, clock: clock.clone(), ..options() };
    let wal = open(dir.path(), &options).unwrap();
    let end = append(&wal, 20, 100).next();
    let before = wal.usage().generations;
    for _ in 0..10 {
        append(&wal, 1, 10);
        clock.advance(age);
    }
    let last = append(&wal, 1, 10);
    assert!(wal.usage().generations <= before + 1, "{} after {before}", wal.usage().generations);
    // Once the rest is gone it ends, and the next entry lies in another one.
    wal.trim(end);
    clock.advance(age);
    // The log lets go after it has written what waited: the first of these may come before that, and the second ends the generation.
    append(&wal, 2, 10);
    let next = append(&wal, 1, 10);
    assert_ne!(wal.generation_of(next), wal.generation_of(last));
}
