//! A directory, what processes did to it under the shim, and the check of what power cuts could have left.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::Random;

use crate::child::{self, command, said, scratch, variable};
use crate::disk::{Disk, Image};
use crate::expected::{Expected, Note, describe};
use crate::trace::{self, Record};
use crate::workload::{self, Settings};

/// Files of a scenario, in a directory of its own.
pub(crate) struct Scenario {
    dir: tempfile::TempDir,
    settings: Settings,
}

/// The directory as the processes use it.
fn log(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// What it held before the first of them, all of it durable.
fn base(dir: &Path) -> PathBuf {
    dir.join("base")
}

/// Records of the processes.
fn trace(dir: &Path) -> PathBuf {
    dir.join("trace")
}

/// Notes from before, one a line.
fn notes(dir: &Path) -> PathBuf {
    dir.join("notes")
}

impl Scenario {
    /// An empty directory.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::after(settings, &Image::default(), "")
    }

    fn after(settings: Settings, image: &Image, told: &str) -> Self {
        let dir = scratch();
        image.write(&base(dir.path()));
        image.write(&log(dir.path()));
        fs::write(notes(dir.path()), told).unwrap();
        Self { dir, settings }
    }

    /// Runs a process on the directory until it has ended, been killed after so many records, or met the shim's failure.
    pub(crate) fn run(&self, kill_after: Option<u64>, fail: Option<&str>) {
        self.run_with(kill_after, fail, &[]);
    }

    /// The same with further variables.
    pub(crate) fn run_with(&self, kill_after: Option<u64>, fail: Option<&str>, variables: &[(&str, &str)]) {
        let dir = self.dir.path();
        let expected = History::load(dir).all();
        let mut child = command("child_workload", &log(dir));
        child.env("SHIM_TRACE", trace(dir)).env("SHIM_NOTES", dir.join("said")).env("WAL_CRASH_NOTES", dir.join("said"));
        child.envs(self.settings.environment()).env("WAL_CRASH_LOG", log(dir)).env("WAL_CRASH_FAILS", u8::from(fail.is_some()).to_string());
        child.env("WAL_CRASH_RUN", expected.next_run().to_string()).env("WAL_CRASH_PUBLISHED", expected.published.0.to_string());
        child.envs(kill_after.map(|records| ("SHIM_KILL", records.to_string()))).envs(fail.map(|fail| ("SHIM_FAIL", fail)));
        child.envs(variables.iter().map(|(name, value)| (format!("WAL_CRASH_{name}"), value)));
        let output = child::output(&mut child);
        let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
        if !killed {
            panic!("seed {}: the process on {} failed: {}", self.settings.seed, self.kept().display(), said(&output));
        }
        History::load(dir).disk().seen().check(&log(dir));
    }

    /// Checks `cases` power cuts after the last process began (`since_last`) or anywhere.
    pub(crate) fn check_cuts(&self, cases: u64, since_last: bool) {
        let mut child = command("child_cuts", self.dir.path());
        child.envs(self.settings.environment()).env("WAL_CRASH_DIR", self.dir.path()).env("WAL_CRASH_CASES", cases.to_string());
        child.env("WAL_CRASH_SINCE_LAST", u8::from(since_last).to_string());
        let output = child::output(&mut child);
        if !output.status.success() {
            let (again, kept) = (repeat(&self.settings, since_last), self.kept());
            let said = said(&output);
            panic!("{said}\nTo repeat one case: WAL_CRASH_DIR={} WAL_CRASH_CASE=<number> {again}", kept.display());
        }
    }

    /// The directory as one power cut left it, for a further process.
    pub(crate) fn cut(&self, case: u64) -> Self {
        let history = History::load(self.dir.path());
        let case = Case::choose(&history, self.settings.seed, case, false);
        let (disk, told) = history.until(case.position);
        let (image, _) = disk.cut(&case.random);
        Self::after(self.settings, &image, &told)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What lies in the log of the scenario in `dir`, and what must.
    pub(crate) fn seen(dir: &Path) -> (Image, Expected) {
        let history = History::load(dir);
        (history.disk().seen(), history.all())
    }

    /// How many syncs or writes there were, for injecting a failure into one.
    pub(crate) fn count(&self, kind: impl Fn(&Record) -> bool) -> u64 {
        trace::read(&trace(self.dir.path())).iter().filter(|record| kind(record)).count() as u64
    }

    /// The same, until the log was open.
    pub(crate) fn count_while_opening(&self, kind: impl Fn(&Record) -> bool) -> u64 {
        let opened = |record: &Record| matches!(record, Record::Note(note) if matches!(Note::parse(note), Some(Note::Recovered { .. })));
        trace::read(&trace(self.dir.path())).iter().take_while(|record| !opened(record)).filter(|record| kind(record)).count() as u64
    }

    /// Path of the file or directory whose sync failed.
    pub(crate) fn failed_sync(&self) -> Option<String> {
        let records = trace::read(&trace(self.dir.path()));
        let failed = records.iter().find_map(|record| match record {
            Record::SyncEnds { ticket, failed: true } => Some(*ticket),
            _ => None,
        })?;
        let begins = records.iter().position(|record| matches!(record, Record::SyncBegins { ticket, .. } if *ticket == failed))?;
        let Record::SyncBegins { fd: synced, .. } = records[begins] else { unreachable!("it was found as one") };
        records[..begins].iter().rev().find_map(|record| match record {
            Record::Open { fd, path, .. } if *fd == synced => Some(path.clone()),
            _ => None,
        })
    }

    /// A copy of the directory that stays.
    pub(crate) fn kept(&self) -> PathBuf {
        let name = self.dir.path().file_name().unwrap().to_string_lossy();
        let target = std::env::temp_dir().join(format!("kept-{name}"));
        let copied = std::process::Command::new("cp").args(["-a", "--"]).args([self.dir.path(), &target]).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy {}", self.dir.path().display());
        target
    }
}

fn repeat(settings: &Settings, since_last: bool) -> String {
    let variables: Vec<_> = settings.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let since_last = u8::from(since_last);
    format!(
        "{} WAL_CRASH_SINCE_LAST={since_last} cargo test --release --test wal_crash child_cuts -- --ignored --exact --nocapture",
        variables.join(" ")
    )
}

/// All that happened to a directory.
struct History {
    dir: PathBuf,
    told: String,
    records: Vec<Record>,
}

impl History {
    fn load(dir: &Path) -> Self {
        let records = if trace(dir).exists() { trace::read(&trace(dir)) } else { Vec::new() };
        Self { dir: dir.to_owned(), told: fs::read_to_string(notes(dir)).unwrap(), records }
    }

    fn disk(&self) -> Disk {
        self.until(self.records.len()).0
    }

    /// The disk after so many records, and the notes until then.
    fn until(&self, position: usize) -> (Disk, String) {
        let mut disk = Disk::holding(&base(&self.dir));
        let mut told = self.told.clone();
        for record in &self.records[..position] {
            disk.apply(record);
            if let Record::Note(note) = record {
                told.push_str(note);
                told.push('\n');
            }
        }
        (disk, told)
    }

    /// What follows from the notes from before the first record.
    fn expected_at_first(&self) -> Expected {
        let mut expected = Expected::default();
        for note in self.told.lines().filter_map(Note::parse) {
            expected.note(note).unwrap();
        }
        expected
    }

    fn all(&self) -> Expected {
        let mut expected = self.expected_at_first();
        for record in &self.records {
            if let Record::Note(note) = record
                && let Some(note) = Note::parse(note)
            {
                expected.note(note).unwrap_or_else(|problem| panic!("{problem}"));
            }
        }
        expected
    }
}

/// One power cut.
struct Case {
    number: u64,
    /// After so many records.
    position: usize,
    random: Random,
}

impl Case {
    /// The same for the same history, seed and number. Half of the cuts lie close to a sync, a name's change or a note.
    fn choose(history: &History, seed: u64, number: u64, since_last: bool) -> Self {
        let random = Random::seeded(seed.wrapping_mul(0x9E37_79B9).wrapping_add(number));
        let records = &history.records;
        let started = records.iter().rposition(|record| matches!(record, Record::Start)).unwrap_or(0);
        let from = if since_last { started } else { 0 };
        let any = |random: &Random| from + random.below((records.len() - from) as u64 + 1) as usize;
        let mut position = any(&random);
        if random.chance(0.5) {
            let next = records[position..].iter().position(Record::is_turning_point).unwrap_or(0);
            position = (position + next + random.below(2) as usize).min(records.len());
        }
        Self { number, position, random }
    }
}

/// The body of the process that checks power cuts.
pub(crate) fn check_cuts() {
    let dir = PathBuf::from(variable("DIR").unwrap());
    let settings = Settings::from_environment();
    let history = History::load(&dir);
    let since_last = child::number("SINCE_LAST", 0) == 1;
    let numbers = variable("CASE").map_or(0..child::number("CASES", 1), |_| {
        let case = child::number("CASE", 0);
        case..case + 1
    });
    let mut cases: Vec<_> = numbers.map(|number| Case::choose(&history, settings.seed, number, since_last)).collect();
    cases.sort_by_key(|case| case.position);
    let mut disk = Disk::holding(&base(&dir));
    let mut expected = history.expected_at_first();
    let mut done = 0;
    let mut failed = 0;
    for case in cases {
        for record in &history.records[done..case.position] {
            disk.apply(record);
            if let Record::Note(note) = record
                && let Some(note) = Note::parse(note)
            {
                expected.note(note).unwrap();
            }
        }
        done = case.position;
        if variable("CASE").is_some() {
            history.records[done.saturating_sub(100)..done].iter().for_each(|record| eprintln!("  {}", brief(record)));
        }
        let (image, fates) = disk.cut(&case.random);
        let Case { number, position, random } = case;
        // Told before, in case the opening ends this process.
        eprintln!("case {number}: after {position} of {} records", history.records.len());
        if let Err(problem) = check_image(&image, &settings, expected.clone(), &random) {
            failed += 1;
            eprintln!(
                "case {number} FAILED: {problem}\n  after {:?}{fates}",
                position.checked_sub(1).map(|at| brief(&history.records[at]))
            );
        }
        assert!(failed < 5, "enough");
    }
    assert_eq!(failed, 0, "cases failed");
}

fn brief(record: &Record) -> String {
    format!("{record:?}").chars().take(120).collect()
}

/// Opens the log on what the cut left, twice where the broker goes on.
fn check_image(image: &Image, settings: &Settings, mut expected: Expected, random: &Random) -> Result<(), String> {
    let dir = scratch();
    image.write(dir.path());
    let (options, _) = settings.options();
    let opened = workload::open(dir.path(), &options).map_err(|err| format!("refused: {err}"))?;
    expected.compare(&opened, false).map_err(|problem| format!("{problem}; {}", describe(&opened)))?;
    opened.verify_end(expected.durable).map_err(|err| format!("refused by what metadata has seen: {err}"))?;
    if random.chance(0.3) {
        expected.go_on(&opened).map_err(|problem| format!("going on: {problem}"))?;
        drop(opened);
        let opened = workload::open(dir.path(), &options).map_err(|err| format!("refused at the second opening: {err}"))?;
        expected.compare(&opened, false).map_err(|problem| format!("at the second opening: {problem}; {}", describe(&opened)))?;
    }
    Ok(())
}
