//! What the traced process does: a broker's use of its log, in a small way and in one thread, and a note of everything that counts.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::{ManualClock, Random};
use types::{BrokerEpoch, Lsn, Revision};
use wal::conformance::wait_for;
use wal::{Faults, Options, RocksDbWal, TailLimits, Urgency, WalError, WriteAheadLog};

use crate::child::{let_go_of_closed_files, number, variable};
use crate::expected::{Note, entry};

/// Said by a process that met a failure and has checked that the log behaves.
pub(crate) const STOPPED: &str = "stopped";

/// What a process appends, unless told otherwise.
pub(crate) const STEPS: u64 = 300;

/// What the tests choose about a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) recycle: bool,
    /// Nothing but `object` topics: nobody waits for a sync.
    pub(crate) object_only: bool,
}

impl Settings {
    /// As an environment that [`Self::from_environment`] reads.
    pub(crate) fn environment(&self) -> [(String, String); 3] {
        let number = |value: bool| u64::from(value).to_string();
        [("SEED", self.seed.to_string()), ("RECYCLE", number(self.recycle)), ("OBJECT_ONLY", number(self.object_only))]
            .map(|(name, value)| (format!("WAL_CRASH_{name}"), value))
    }

    pub(crate) fn from_environment() -> Self {
        Self { seed: number("SEED", 1), recycle: number("RECYCLE", 0) == 1, object_only: number("OBJECT_ONLY", 0) == 1 }
    }

    /// Small generations, and sometimes so little memory that they go to SST files. The clock stands still.
    pub(crate) fn options(&self) -> (Options, Arc<ManualClock>) {
        let random = Random::seeded(self.seed);
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let mut options = Options::new(clock.clone(), Arc::new(random.fork()));
        options.generation_bytes = 8_000 << random.below(5);
        options.memtable_bytes = if random.chance(0.25) { 2 << 20 } else { 256 << 20 };
        options.tail = TailLimits { keep_bytes: 1 << 16, max_bytes: 1 << 18 };
        options.recycle = self.recycle;
        options.free_space = Arc::new(|_| Ok(u64::MAX));
        (options, clock)
    }
}

/// Opens the log, or says why not.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Arc<RocksDbWal>, WalError> {
    let_go_of_closed_files();
    RocksDbWal::open(dir, options.clone(), &mut |_, _| {}).map(Arc::new)
}

/// The body of the traced process. Ends with the process, by the shim's hand.
pub(crate) fn run() {
    let settings = Settings::from_environment();
    let run = number("RUN", 1);
    let notes = Notes(Arc::new(File::options().write(true).open(variable("NOTES").unwrap()).unwrap()));
    let (options, clock) = settings.options();
    let wal = match open(Path::new(&variable("LOG").unwrap()), &options) {
        Ok(wal) => wal,
        Err(err) => {
            assert!(number("FAILS", 0) == 1, "{err}");
            notes.tell(STOPPED);
            notes.kill();
        }
    };
    let random = Random::seeded(settings.seed ^ run << 20);
    let mut broker = Broker { wal, notes, random, run, clock, faults: options.faults, published: number("PUBLISHED", 0) };
    let outcome = broker.begin().and_then(|next| broker.work(next, settings.object_only));
    if let Err(err) = outcome {
        assert!(number("FAILS", 0) == 1, "{err}");
        broker.check_stopped();
        broker.notes.tell(STOPPED);
    }
    broker.notes.kill();
}

/// Writes to the shim.
#[derive(Clone)]
struct Notes(Arc<File>);

impl Notes {
    fn say(&self, note: Note) {
        self.tell(&note.to_string());
    }

    fn tell(&self, text: &str) {
        (&*self.0).write_all(text.as_bytes()).unwrap();
    }

    fn kill(&self) -> ! {
        (&*self.0).write_all(b"kill").unwrap();
        unreachable!("the shim has killed this process");
    }
}

struct Broker {
    wal: Arc<RocksDbWal>,
    notes: Notes,
    random: Random,
    run: u64,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    published: u64,
}

impl Broker {
    fn begin(&mut self) -> Result<Lsn, WalError> {
        let end = self.wal.progress().borrow().appended;
        self.notes.say(Note::Recovered { start: self.wal.start(), end });
        self.notes.say(Note::Begins { run: self.run, previous_end: end });
        self.acknowledge();
        let begun = self.wal.begin_epoch(BrokerEpoch(self.run), Lsn(self.published), Revision(self.run))?;
        assert!(self.published < begun.0, "an LSN that was published is given out again");
        Ok(begun.next())
    }

    /// Tells every move of `synced`, from a thread of its own.
    fn acknowledge(&self) {
        let (mut progress, notes) = (self.wal.progress(), self.notes.clone());
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                while progress.changed().await.is_ok() {
                    let end = progress.borrow_and_update().synced;
                    notes.say(Note::Acknowledged { end });
                }
            });
        };
        runtime::spawn_thread("acknowledge", body).unwrap();
    }

    fn work(&mut self, mut next: Lsn, object_only: bool) -> Result<(), WalError> {
        let mut dropping = None;
        let held = number("HOLD", 0) == 1;
        if held {
            self.faults.hold_syncs();
        }
        let fail_at = number("FAIL_STEP", u64::MAX);
        for step in 0..number("STEPS", STEPS) {
            if step == fail_at {
                self.notes.tell("fail");
            }
            let urgency = match self.random.below(8) {
                _ if object_only => Urgency::Upload,
                0 => Urgency::Lazy,
                1..4 => Urgency::Upload,
                4 => Urgency::SyncAndUpload,
                _ => Urgency::Sync,
            };
            let lsn = self.wal.append(entry(self.run, next), urgency)?;
            assert_eq!(lsn, next, "the LSN given out");
            next = lsn.next();
            if self.random.chance(0.2) {
                wait_for(&*self.wal, "an append", |progress| lsn < progress.appended || progress.stopped.is_some());
            }
            if urgency == Urgency::Sync && self.random.chance(0.3) && !held {
                wait_for(&*self.wal, "a sync", |progress| lsn < progress.synced || progress.stopped.is_some());
            }
            if self.random.chance(0.1) {
                // Marks are written at most once a second, and generations have an age.
                self.clock.advance(Duration::from_millis(self.random.below(5000)));
            }
            if self.random.chance(0.05) {
                self.publish();
            }
            self.tell_dropped(&mut dropping);
        }
        if number("CLOSE", u64::from(self.random.chance(0.4) && !held)) == 1 {
            self.wal.close();
            // Whoever would acknowledge it now could.
            self.notes.say(Note::Acknowledged { end: self.wal.progress().borrow().synced });
        }
        Ok(())
    }

    /// What is appended is published from memory, synced or not.
    fn publish(&mut self) {
        let appended = self.wal.progress().borrow().appended.0;
        self.published = self.published.max(self.published + self.random.below((appended - 1).saturating_sub(self.published) + 1));
        self.notes.say(Note::Published { last: Lsn(self.published) });
        if self.random.chance(0.8) {
            self.notes.say(Note::Trims { below: Lsn(self.published + 1) });
            self.wal.trim(Lsn(self.published + 1));
            self.wal.release_memory(Lsn(self.published + 1));
        }
    }

    /// Once two syncs have ended since the log began later, one of them began since.
    fn tell_dropped(&self, dropping: &mut Option<(Lsn, u64)>) {
        let syncs = self.wal.usage().syncs;
        if let Some((below, seen)) = *dropping
            && seen + 2 <= syncs
        {
            self.notes.say(Note::Dropped { below });
            *dropping = None;
        }
        dropping.get_or_insert((self.wal.start(), syncs));
    }

    /// A log that has failed acknowledges nothing, whatever is asked of it.
    fn check_stopped(&self) {
        let progress = wait_for(&*self.wal, "the log to stop", |progress| progress.stopped.is_some());
        let first = progress.stopped.unwrap();
        for _ in 0..50 {
            match self.wal.append(entry(self.run, progress.appended), Urgency::Sync) {
                Err(WalError::Stopped { reason }) => assert_eq!(reason, first, "the first reason stays"),
                other => panic!("appended after a failure: {other:?}"),
            }
        }
        assert!(matches!(self.wal.begin_epoch(BrokerEpoch(99), Lsn::ZERO, Revision(0)), Err(WalError::Stopped { .. })));
        assert_eq!(self.wal.progress().borrow().synced, progress.synced, "nothing becomes synced after a failure");
        let synced = self.wal.scan(self.wal.start(), progress.synced, usize::MAX).unwrap();
        let end = synced.last().map_or(progress.synced, |(last, _)| last.next());
        assert_eq!(end, progress.synced, "what was synced can still be read and published");
        self.wal.close();
        assert_eq!(self.wal.progress().borrow().synced, progress.synced, "nor when the log is closed");
    }
}
