//! A disk that fails a sync or a write, or is full: the log stops for good, nothing more is acknowledged, what was acknowledged is
//! kept (rule R4). What the stopped log itself must do, `workload` checks.

use runtime::Random;

use crate::child::number;
use crate::scenario::Scenario;
use crate::trace::Record;
use crate::workload::{STEPS, STOPPED, Settings};

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

/// How it fails, and the step of the work before it; `None` while the log is being opened. Threads take turns differently in every
/// run, so a number of syncs since the process began is sure to be reached in the opening alone.
fn choose(failing: Failing, errno: u64, healthy: &Scenario, random: &Random) -> (String, Option<u64>) {
    if random.chance(0.3) {
        return (failing.command(1 + random.below(healthy.count_while_opening(|record| failing.is(record))), errno), None);
    }
    let step = random.below(STEPS * 2 / 3);
    (failing.command(1 + random.below(3), errno) + ":noted", Some(step))
}

/// Where dropping a trimmed generation fails, the log goes on and the next opening drops it: RocksDB begins another MANIFEST, and
/// nothing depends on the OPTIONS. Whatever holds entries, or says how far they are synced, must stop the log.
fn may_be_survived(synced: &str) -> bool {
    let name = synced.rsplit('/').next().unwrap_or_default();
    name == "db" || name.starts_with("MANIFEST-") || name.starts_with("OPTIONS-")
}

/// A process meets the failure at any of its syncs or writes, also while it opens the log. Another one goes on where it stopped, or a
/// power cut comes first.
fn a_failure_takes_nothing_acknowledged(failing: Failing, errno: u64) {
    let histories = number("CUTS", 80).div_ceil(CUTS_PER_HISTORY);
    let first = number("SEED", 1);
    for seed in first..first + histories {
        let settings = Settings { seed, recycle: true, object_only: false };
        let random = Random::seeded(seed);
        let healthy = Scenario::new(settings);
        healthy.run(None, None);
        let (fail, step) = choose(failing, errno, &healthy, &random);
        eprintln!("seed {seed}, {fail}, step {step:?}");
        let scenario = Scenario::new(settings);
        let step = step.map(|step| step.to_string());
        scenario.run_with(None, Some(&fail), &step.iter().map(|step| ("FAIL_STEP", step.as_str())).collect::<Vec<_>>());
        let stopped = scenario.count(|record| matches!(record, Record::Note(note) if note == STOPPED));
        let survived = scenario.failed_sync().filter(|path| may_be_survived(path));
        assert!(stopped == 1 || survived.is_some(), "the process met no failure, or went on after {:?}", scenario.failed_sync());
        scenario.check_cuts(CUTS_PER_HISTORY, false);
        scenario.run(None, None);
        scenario.check_cuts(CUTS_PER_HISTORY, true);
    }
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
