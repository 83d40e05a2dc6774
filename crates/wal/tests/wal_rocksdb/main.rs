//! The log on disk, as its callers see it: the contract, faults, damage, and what `wal dump` and `wal accept-loss` do.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

use std::path::Path;
use std::sync::Arc;

use runtime::{ManualClock, Random};
use wal::conformance::{self, Factory, Sizes, Subject};
use wal::{Options, RocksDbWal, WalError, WriteAheadLog};

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
