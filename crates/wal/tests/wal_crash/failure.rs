//! A disk that fails a sync or a write, or is full: the log stops for good, nothing more is acknowledged, what was acknowledged is
//! kept (rule R4). What the stopped log itself must do, `workload` checks.

use runtime::Random;

use crate::child::number;
use crate::scenario::Scenario;
use crate::trace::Record;
use crate::workload::{STOPPED, Settings};

const EIO: u64 = 5;
const ENOSPC: u64 = 28;
const CUTS_PER_HISTORY: u64 = 20;

/// What the shim fails.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Sync,
    Write,
}

impl Failing {
    fn is(self, record: &Record) -> bool {
        match self {
            Self::Sync => matches!(record, Record::SyncBegins { .. }),
            Self::Write => matches!(record, Record::Write { .. }),
        }
    }

    fn command(self, number: u64, errno: u64) -> String {
        match self {
            Self::Sync => format!("sync:{number}:{errno}"),
            Self::Write => format!("write:{number}:{errno}"),
        }
    }
}

/// A process meets the failure at any of its syncs or writes, also while it opens the log. Another one goes on where it stopped, or a
/// power cut comes first.
fn a_failure_takes_nothing_acknowledged(failing: Failing, errno: u64) {
    let histories = number("CUTS", 80).div_ceil(CUTS_PER_HISTORY);
    let first = number("SEED", 1);
    let mut stopped = 0;
    for seed in first..first + histories {
        let settings = Settings { seed, recycle: false, object_only: false };
        let random = Random::seeded(seed);
        let healthy = Scenario::new(settings);
        healthy.run(None, None);
        let fail = failing.command(1 + random.below(healthy.count(|record| failing.is(record))), errno);
        eprintln!("seed {seed}, {fail}");
        let scenario = Scenario::new(settings);
        scenario.run(None, Some(&fail));
        stopped += scenario.count(|record| matches!(record, Record::Note(note) if note == STOPPED));
        scenario.check_cuts(CUTS_PER_HISTORY, false);
        scenario.run(None, None);
        scenario.check_cuts(CUTS_PER_HISTORY, true);
    }
    // Threads take turns differently in every run, so a late failure may not be reached.
    assert!(histories <= 2 * stopped, "{stopped} of {histories} processes met the failure");
}

#[test]
fn r4_a_failed_sync_takes_nothing_acknowledged() {
    a_failure_takes_nothing_acknowledged(Failing::Sync, EIO);
}

#[test]
fn r4_a_failed_write_takes_nothing_acknowledged() {
    a_failure_takes_nothing_acknowledged(Failing::Write, EIO);
}

#[test]
fn r4_a_full_disk_takes_nothing_acknowledged() {
    a_failure_takes_nothing_acknowledged(Failing::Write, ENOSPC);
}
