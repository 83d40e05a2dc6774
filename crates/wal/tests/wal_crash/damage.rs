//! Whatever byte of the directory is damaged: everything acknowledged is there, or the log refuses and says what to do (rule R11).
//!
//! A log that was closed knows its own end. One that was killed may have lost its newest entries without a trace in the directory;
//! there the end that metadata has seen must refuse it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use runtime::Random;
use types::Lsn;
use wal::conformance::{batch_entry, wait_for};
use wal::{RocksDbWal, Urgency, WalError, WriteAheadLog, accept_loss};

use crate::child::{command, number, output, said, scratch, variable};
use crate::disk::{Disk, Image};
use crate::expected::Expected;
use crate::scenario::Scenario;
use crate::workload::{self, Settings};

/// What is done to one file.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Zero { from: usize, to: usize },
    Cut { at: usize },
    Remove,
}

impl Damage {
    /// Three kinds at every position, by number.
    fn at(kind: u64, at: usize, len: usize, random: &Random) -> Self {
        match kind {
            0 => Self::Flip { at, bit: random.below(8) as u8 },
            1 => Self::Zero { from: at, to: (at + 1 + (1 << random.below(13)) as usize).min(len) },
            _ => Self::Cut { at },
        }
    }

    fn choose(len: usize, random: &Random) -> Self {
        match random.below(20) {
            0 => Self::Remove,
            _ if len == 0 => Self::Remove,
            kind => Self::at(kind % 3, random.below(len as u64) as usize, len, random),
        }
    }

    fn apply(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match *self {
            Self::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Self::Zero { from, to } => bytes[from..to].fill(0),
            Self::Cut { at } => bytes.truncate(at),
            Self::Remove => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// The body of the process that damages a scenario's log, again and again.
pub(crate) fn check_damages() {
    let settings = Settings::from_environment();
    let closed = number("CLOSE", 0) == 1;
    let (image, expected) = Scenario::seen(Path::new(&variable("DIR").unwrap()));
    let wanted = variable("FILE").unwrap_or_default();
    let files = image.files().filter(|(path, _)| path.to_string_lossy().contains(&wanted));
    let files: Vec<(PathBuf, usize)> = files.map(|(path, bytes)| (path.to_owned(), bytes.len())).collect();
    let every = number("EVERY", 0);
    let all: u64 = files.iter().map(|(_, len)| 3 * *len as u64 + 1).sum();
    let step = every.max(1);
    let cases = if 0 < every { all.div_ceil(step) } else { number("CASES", 1) };
    let numbers = variable("CASE").map_or(0..cases, |_| number("CASE", 0)..number("CASE", 0) + 1);
    let mut failed = 0;
    for case in numbers {
        let random = Random::seeded(settings.seed.wrapping_mul(0x9E37_79B9).wrapping_add(case));
        let (path, damage) = if 0 < every {
            nth(&files, (case * step + random.below(step)).min(all - 1), &random)
        } else {
            let (path, len) = &files[random.below(files.len() as u64) as usize];
            (path.clone(), Damage::choose(*len, &random))
        };
        // Told before, in case the opening ends this process.
        eprintln!("case {case}: {damage:?} in {}", path.display());
        let victim = Victim { image: &image, settings: &settings, closed };
        if let Err(problem) = victim.check(&path, &damage, expected.clone()) {
            failed += 1;
            eprintln!("case {case} FAILED: {problem}");
        }
        assert!(failed < 5, "enough");
    }
    assert_eq!(failed, 0, "cases failed");
}

/// The damage with that number of all there are.
fn nth(files: &[(PathBuf, usize)], mut number: u64, random: &Random) -> (PathBuf, Damage) {
    for (path, len) in files {
        if number == 0 {
            return (path.clone(), Damage::Remove);
        }
        number -= 1;
        if number < 3 * *len as u64 {
            return (path.clone(), Damage::at(number % 3, (number / 3) as usize, *len, random));
        }
        number -= 3 * *len as u64;
    }
    unreachable!("a number below the number of all");
}

struct Victim<'a> {
    image: &'a Image,
    settings: &'a Settings,
    closed: bool,
}

impl Victim<'_> {
    fn check(&self, path: &Path, damage: &Damage, mut expected: Expected) -> Result<(), String> {
        let dir = scratch();
        let dir = dir.path();
        self.image.write(dir);
        damage.apply(&dir.join(path));
        let before = Disk::holding(dir).seen();
        let (options, _) = self.settings.options();
        let refusal = match workload::open(dir, &options) {
            Ok(opened) => match opened.verify_end(expected.durable) {
                Ok(()) => return check_whole(&opened, &mut expected),
                Err(_) if self.closed && path != Path::new("mark") => {
                    let end = opened.progress().borrow().appended;
                    return Err(format!("it opened and ends at {end}; it was closed with {}", expected.durable));
                }
                Err(err) => err,
            },
            Err(err) => {
                let changed = Disk::holding(dir).seen().differs(&before);
                if !changed.is_empty() {
                    return Err(format!("a refused opening has changed {changed:?}: {err}"));
                }
                err
            }
        };
        check_advice(&refusal)?;
        if let WalError::Damaged { .. } = refusal {
            self.check_way_on(dir, expected).map_err(|problem| format!("{problem}; it was refused with: {refusal}"))?;
        }
        Ok(())
    }

    /// After the loss is accepted the log opens, with right entries and no number given out again.
    fn check_way_on(&self, dir: &Path, mut expected: Expected) -> Result<(), String> {
        let (options, _) = self.settings.options();
        let accepted = accept_loss(dir, &options).map_err(|err| format!("the loss could not be accepted: {err}"))?;
        for opening in 1..=2 {
            let opened = workload::open(dir, &options).map_err(|err| format!("refused after the loss was accepted: {err}"))?;
            let end = opened.progress().borrow().appended;
            if opening == 1 && end != accepted.end {
                return Err(format!("accepted with an end at {}, opened with {end}", accepted.end));
            }
            expected.compare(&opened, true).map_err(|problem| format!("after the loss was accepted: {problem}"))?;
            if opening == 1 {
                let known = expected.durable;
                expected.go_on_after_loss(&opened).map_err(|problem| format!("going on after the loss: {problem}"))?;
                let begun = expected.begins_at();
                if begun < known {
                    return Err(format!("the new epoch begins at {begun}, and everything below {known} was given out"));
                }
            }
        }
        Ok(())
    }
}

fn check_whole(opened: &RocksDbWal, expected: &mut Expected) -> Result<(), String> {
    expected.compare(opened, false)?;
    expected.go_on(opened)
}

/// Whoever reads the refusal knows what to do.
fn check_advice(refusal: &WalError) -> Result<(), String> {
    let text = refusal.to_string();
    let advice = ["siltstone wal accept-loss", "restore it"];
    if advice.iter().any(|advice| text.contains(advice)) { Ok(()) } else { Err(format!("the refusal says nothing of what to do: {text}")) }
}

fn damage_is_noticed(recycle: bool, closed: bool) {
    let every = number("EVERY", 0);
    let per_log = 40;
    let logs = if 0 < every { 1 } else { number("DAMAGES", 80).div_ceil(per_log) };
    let first = number("SEED", 1);
    for seed in first..first + logs {
        let settings = Settings { seed, recycle, object_only: false };
        let scenario = Scenario::new(settings);
        scenario.run_with(None, None, &[("STEPS", "60"), ("CLOSE", if closed { "1" } else { "0" })]);
        let mut child = command("child_damages", scenario.dir());
        child.envs(settings.environment()).env("WAL_CRASH_DIR", scenario.dir()).env("WAL_CRASH_CASES", per_log.to_string());
        child.env("WAL_CRASH_CLOSE", u8::from(closed).to_string());
        let output = output(&mut child);
        if !output.status.success() {
            fail(&settings, &scenario, closed, &output);
        }
    }
}

fn fail(settings: &Settings, scenario: &Scenario, closed: bool, output: &Output) -> ! {
    let said = said(output);
    let told: Vec<&str> = said.lines().collect();
    let variables: Vec<_> = settings.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
    panic!(
        "{}\nTo repeat one case: WAL_CRASH_DIR={} WAL_CRASH_CASE=<number> WAL_CRASH_EVERY={} WAL_CRASH_CLOSE={} {} cargo test --release --test \
         wal_crash child_damages -- --ignored --exact --nocapture",
        told[told.len().saturating_sub(60)..].join("\n"),
        scenario.kept().display(),
        number("EVERY", 0),
        u8::from(closed),
        variables.join(" ")
    );
}

/// Neither the mark nor metadata knows yet that the entries were synced; the ones written after that do.
#[test]
fn r11_an_entry_beyond_the_damage_tells_of_it() {
    let (dir, copy) = (scratch(), scratch());
    let settings = Settings { seed: 1, recycle: true, object_only: false };
    let mut options = settings.options().0;
    options.generation_bytes = 1 << 20;
    let wal = workload::open(dir.path(), &options).unwrap();
    for n in 1..=8 {
        wal.append(batch_entry(n, 50_000), Urgency::Sync).unwrap();
        wait_for(&*wal, "the entry to be synced", |progress| progress.synced == Lsn(n.cast_unsigned() + 1));
    }
    Disk::holding(dir.path()).seen().write(copy.path());
    let logs = Disk::holding(copy.path()).seen();
    let (newest, bytes) = logs.files().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log")).max().unwrap();
    Damage::Flip { at: bytes.len() / 2, bit: 0 }.apply(&copy.path().join(newest));
    let refusal = workload::open(copy.path(), &options).map(|_| ()).expect_err("entries are missing");
    assert!(refusal.to_string().contains("an entry beyond the damage says that everything below LSN 8 was synced"), "{refusal}");
}

#[test]
fn r11_damage_to_a_closed_log_is_noticed() {
    damage_is_noticed(false, true);
}

#[test]
fn r11_damage_to_a_closed_log_is_noticed_with_recycled_files() {
    damage_is_noticed(true, true);
}

#[test]
fn r11_damage_to_a_killed_log_is_noticed_by_it_or_by_metadata() {
    damage_is_noticed(false, false);
}

#[test]
fn r11_damage_to_a_killed_log_is_noticed_by_it_or_by_metadata_with_recycled_files() {
    damage_is_noticed(true, false);
}
