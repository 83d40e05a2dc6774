//! What a log must hold: gathered from a process's notes, compared with a log that was opened.

use std::fmt;

use types::{BrokerEpoch, Lsn, Offset, Revision};
use wal::conformance::{batch_entry, wait_for};
use wal::{Entry, EntryKind, EpochStart, RocksDbWal, Urgency, WriteAheadLog};

/// The entry at `lsn` of the run whose broker epoch is `run`. No two runs write the same.
pub(crate) fn entry(run: u64, lsn: Lsn) -> Entry {
    let mix = (run << 32 ^ lsn.0).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let len = match mix % 64 {
        0 => 30_000 + mix / 64 % 80_000,
        1..8 => 4_000 + mix / 64 % 12_000,
        _ => mix / 64 % 700,
    };
    batch_entry((run << 32 | lsn.0).cast_signed(), len as usize)
}

/// Something a process says before or after it does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// The log is open and holds what lies between; all of it counts as durable.
    Recovered { start: Lsn, end: Lsn },
    /// Before `begin_epoch`: entries from `previous_end` on are of this run.
    Begins { run: u64, previous_end: Lsn },
    /// Everything below was reported as synced.
    Acknowledged { end: Lsn },
    /// Metadata knows everything up to and with this LSN as published.
    Published { last: Lsn },
    /// Before `trim`.
    Trims { below: Lsn },
    /// Generations below are dropped, and a sync that began afterwards has ended.
    Dropped { below: Lsn },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered { start, end } => write!(f, "recovered {start} {end}"),
            Self::Begins { run, previous_end } => write!(f, "begins {run} {previous_end}"),
            Self::Acknowledged { end } => write!(f, "acknowledged {end}"),
            Self::Published { last } => write!(f, "published {last}"),
            Self::Trims { below } => write!(f, "trims {below}"),
            Self::Dropped { below } => write!(f, "dropped {below}"),
        }
    }
}

impl Note {
    /// `None` for what says nothing about the log.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, numbers) = text.split_once(' ')?;
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(match (word, numbers.as_slice()) {
            ("recovered", [start, end]) => Self::Recovered { start: Lsn(*start), end: Lsn(*end) },
            ("begins", [run, end]) => Self::Begins { run: *run, previous_end: Lsn(*end) },
            ("acknowledged", [end]) => Self::Acknowledged { end: Lsn(*end) },
            ("published", [last]) => Self::Published { last: Lsn(*last) },
            ("trims", [below]) => Self::Trims { below: Lsn(*below) },
            ("dropped", [below]) => Self::Dropped { below: Lsn(*below) },
            _ => return None,
        })
    }
}

/// What follows from the notes so far.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Everything below must be there, unless it is trimmed.
    pub(crate) durable: Lsn,
    /// Last LSN that metadata knows as published.
    pub(crate) published: Lsn,
    /// The log may begin anywhere between.
    dropped: Lsn,
    trims: Lsn,
    /// Runs, each with the LSN from which on entries are its own.
    runs: Vec<(Lsn, u64)>,
    begun: Lsn,
}

impl Default for Expected {
    fn default() -> Self {
        Self { durable: Lsn(1), published: Lsn::ZERO, dropped: Lsn(1), trims: Lsn(1), runs: Vec::new(), begun: Lsn::ZERO }
    }
}

impl Expected {
    /// Takes a note in, or says why it cannot be true.
    pub(crate) fn note(&mut self, note: Note) -> Result<(), String> {
        match note {
            Note::Recovered { end, .. } if end < self.durable => {
                return Err(format!("a process found the log ending at {end}, and everything below {} was durable", self.durable));
            }
            Note::Recovered { start, .. } if start < self.dropped || self.trims < start => {
                return Err(format!("a process found the log beginning at {start}, not within {}..={}", self.dropped, self.trims));
            }
            Note::Recovered { start, end } => {
                self.durable = end;
                self.dropped = start;
                self.runs.retain(|(first, _)| *first < end);
            }
            Note::Begins { run, previous_end } => self.runs.push((previous_end, run)),
            Note::Acknowledged { end } => self.durable = self.durable.max(end),
            Note::Published { last } => self.published = self.published.max(last),
            Note::Trims { below } => self.trims = self.trims.max(below),
            Note::Dropped { below } => self.dropped = self.dropped.max(below),
        }
        Ok(())
    }

    /// The run that comes after all of them.
    pub(crate) fn next_run(&self) -> u64 {
        self.runs.last().map_or(0, |(_, run)| *run) + 1
    }

    fn run_of(&self, lsn: Lsn) -> Option<u64> {
        self.runs.iter().rev().find(|(first, _)| *first <= lsn).map(|(_, run)| *run)
    }

    /// Compares with an open log. `lossy`: entries at the end may be missing, because somebody accepted that.
    pub(crate) fn compare(&self, wal: &RocksDbWal, lossy: bool) -> Result<(), String> {
        let start = wal.start();
        let progress = wal.progress().borrow().clone();
        if progress.synced != progress.appended {
            return Err(format!("opened with {progress:?}"));
        }
        if !lossy && (start < self.dropped || self.trims < start) {
            return Err(format!("the log begins at {start}, not within {}..={}", self.dropped, self.trims));
        }
        let mut expected = start;
        let mut run = None;
        for (lsn, entry) in wal.scan(Lsn::ZERO, Lsn(u64::MAX), usize::MAX).map_err(|err| err.to_string())? {
            let begun = match &entry.kind {
                EntryKind::EpochStart(begun) => Some(*begun),
                EntryKind::Batch { .. } => None,
            };
            let follows = lsn == expected || expected < lsn && begun.is_some_and(|begun| begun.previous_end == expected);
            if !follows {
                return Err(format!("LSN {lsn} follows where {expected} belongs"));
            }
            run = begun.map(|begun| begun.epoch.0).or(run);
            self.compare_entry(lsn, &entry, run)?;
            expected = lsn.next();
        }
        if expected != progress.synced {
            return Err(format!("entries end at {expected} and the log says {}", progress.synced));
        }
        if !lossy && expected < self.durable {
            return Err(format!("the log ends at {expected}, and everything below {} was acknowledged", self.durable));
        }
        Ok(())
    }

    fn compare_entry(&self, lsn: Lsn, found: &Entry, run: Option<u64>) -> Result<(), String> {
        let expected = self.run_of(lsn).ok_or_else(|| format!("LSN {lsn} was never written"))?;
        if run.is_some_and(|run| run != expected) {
            return Err(format!("LSN {lsn} stands after the start of epoch {run:?} and belongs to epoch {expected}"));
        }
        if matches!(found.kind, EntryKind::EpochStart(_)) || *found == entry(expected, lsn) {
            return Ok(());
        }
        let wrote = match &found.kind {
            EntryKind::Batch { base_offset: Offset(offset), .. } => format!("LSN {} of epoch {}", offset & 0xFFFF_FFFF, offset >> 32),
            EntryKind::EpochStart(EpochStart { epoch, .. }) => format!("the start of epoch {epoch:?}"),
        };
        Err(format!("LSN {lsn} of epoch {expected} reads as {wrote}, {} bytes", found.batch.len()))
    }

    /// Goes on with an open log as a broker would: registers, appends, trims what is published. Whatever comes back of the published
    /// LSNs must not touch what is written now.
    pub(crate) fn go_on(&mut self, wal: &RocksDbWal) -> Result<(), String> {
        let end = wal.progress().borrow().appended;
        self.note(Note::Recovered { start: wal.start(), end })?;
        self.begin_and_append(wal, end)
    }

    /// The same after a loss was accepted: what is missing is no longer expected.
    pub(crate) fn go_on_after_loss(&mut self, wal: &RocksDbWal) -> Result<(), String> {
        wal.verify_end(self.durable).map_err(|err| err.to_string())?;
        let (start, end) = (wal.start(), wal.progress().borrow().appended);
        (self.durable, self.dropped, self.trims) = (end, start, self.trims.max(start));
        self.begin_and_append(wal, end)
    }

    fn begin_and_append(&mut self, wal: &RocksDbWal, end: Lsn) -> Result<(), String> {
        let text = |err: wal::WalError| err.to_string();
        let run = self.next_run();
        self.note(Note::Begins { run, previous_end: end })?;
        let begun = wal.begin_epoch(BrokerEpoch(run), self.published, Revision(run)).map_err(text)?;
        if begun < end || begun <= self.published {
            return Err(format!("epoch {run} began at {begun}; the log ended at {end} and {} was published", self.published));
        }
        self.begun = begun;
        let mut next = begun.next();
        for _ in 0..3 {
            let lsn = wal.append(entry(run, next), Urgency::Sync).map_err(text)?;
            if lsn != next {
                return Err(format!("LSN {lsn} was given out where {next} was due"));
            }
            next = lsn.next();
        }
        wait_for(wal, "the new entries to be synced", |progress| progress.synced == next);
        self.note(Note::Acknowledged { end: next })?;
        self.note(Note::Trims { below: self.published.next() })?;
        wal.trim(self.published.next());
        Ok(())
    }

    /// The LSN that the last epoch began with.
    pub(crate) fn begins_at(&self) -> Lsn {
        self.begun
    }
}

/// What one opening has found, to be told in a failure.
pub(crate) fn describe(wal: &RocksDbWal) -> String {
    let progress = wal.progress().borrow().clone();
    format!("opened with {}..{}", wal.start(), progress.appended)
}
