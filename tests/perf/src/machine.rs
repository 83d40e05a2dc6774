//! The machine that measures: what it is, and who had its processors meanwhile.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;
use serde::{Deserialize, Serialize};

use crate::statistics::Spread;

/// What a report says of the machine.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// Whether a virtual machine gives the pages that it frees back to its host. Each is then found anew when it is used again, at several
    /// times the price, and by far the most by who uses memory and files in memory for a short while.
    pub(crate) returns_free_pages: bool,
}

/// What Linux counts a disk's reads and writes in, whatever the disk has.
const SECTOR_BYTES: f64 = 512.0;

/// The largest free block that Linux knows, as a power of two of pages.
const MAX_PAGE_ORDER: u32 = 10;

impl Machine {
    pub(crate) fn describe() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let value_of = |text: &str, key: &str| Some(text.lines().find(|line| line.starts_with(key))?.split_once(':')?.1.trim().to_owned());
        let memory = value_of(&read("/proc/meminfo")?, "MemTotal").context("find MemTotal in /proc/meminfo")?;
        let kib: u64 = memory.trim_end_matches(" kB").parse().context("read MemTotal")?;
        Ok(Self {
            cores: thread::available_parallelism()?.get(),
            processor: value_of(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "processor of unknown make".to_owned()),
            memory_bytes: kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            returns_free_pages: read("/sys/module/page_reporting/parameters/page_reporting_order")
                .is_ok_and(|order| order.trim().parse().is_ok_and(|order: u32| order <= MAX_PAGE_ORDER)),
        })
    }
}

/// Clock ticks that /proc counts in a second.
fn ticks_per_second() -> f64 {
    clock_ticks_per_second() as f64
}

/// CPU time that a process has used so far, its threads' together, in seconds; 0 if it has ended.
fn used(pid: u32, with_children: bool) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    process_ticks(&stat, with_children).unwrap_or(0.0) / ticks_per_second()
}

/// User and system time of a line of /proc/PID/stat, those of children that ended too if need be. The second field is the name in
/// parentheses, which may hold anything.
fn process_ticks(stat: &str, with_children: bool) -> Option<f64> {
    let fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks: Vec<f64> = fields.take(if with_children { 4 } else { 2 }).map(str::parse).collect::<Result<_, _>>().ok()?;
    (!ticks.is_empty()).then(|| ticks.iter().sum())
}

/// A line of /proc/PID/status in bytes: `VmRSS`, `VmHWM`; 0 if the process has ended.
pub(crate) fn memory_bytes(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes that the disk of this path has been told to write since the machine started, whoever told it; `None` where it is no disk of its
/// own.
pub(crate) fn disk_written_bytes(path: &Path) -> Option<f64> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    sectors_written(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?).map(|sectors| sectors * SECTOR_BYTES)
}

/// The seventh field of a block device's `stat`.
fn sectors_written(stat: &str) -> Option<f64> {
    stat.split_ascii_whitespace().nth(6)?.parse().ok()
}

/// The whole machine's time since it started, in ticks of one processor.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Ticks {
    all: f64,
    idle: f64,
    steal: f64,
}

impl Ticks {
    fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Of the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<f64> = line.split_ascii_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
        let at = |index: usize| fields.get(index).copied().unwrap_or(0.0);
        Self { all: fields.iter().sum(), idle: at(3) + at(4), steal: at(7) }
    }
}

/// Who had the machine's processors in a stretch of time, as shares of all of them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Shares {
    /// The watched processes.
    pub(crate) ours: f64,
    /// All other processes, and the kernel where it works for nobody in particular.
    pub(crate) others: f64,
    /// The host of this virtual machine.
    pub(crate) stolen: f64,
}

impl Shares {
    /// What neither the watched processes had nor nobody.
    pub(crate) fn of_others(self) -> f64 {
        self.others + self.stolen
    }
}

/// Above this share of others, a report says more of them than of what it measured.
const BUSY: f64 = 0.2;

/// A sentence for a page whose measurements met a busy machine; empty where they did not.
pub(crate) fn warning(measurements: impl IntoIterator<Item = Shares>) -> String {
    match Spread::of(measurements.into_iter().map(Shares::of_others)) {
        Some(others) if BUSY < others.median => {
            let percent = others.median * 100.0;
            format!("**Others had {percent:.0} % of the processors, in the median: this says more of them than of what was measured.**\n")
        }
        Some(_) | None => String::new(),
    }
}

/// Watches who has the processors from its start on.
pub(crate) struct Watch {
    pids: Vec<u32>,
    with_children: bool,
    ours: Vec<f64>,
    begun: Ticks,
}

impl Watch {
    /// `pids` are ours, and so is this process.
    pub(crate) fn start(pids: &[u32]) -> Self {
        let mut pids = pids.to_vec();
        pids.push(std::process::id());
        Self::of(pids, false)
    }

    /// This process is ours, and so are the children of it that have ended by the time that somebody asks.
    pub(crate) fn start_with_children() -> Self {
        Self::of(vec![std::process::id()], true)
    }

    fn of(pids: Vec<u32>, with_children: bool) -> Self {
        let ours = pids.iter().map(|pid| used(*pid, with_children)).collect();
        Self { pids, with_children, ours, begun: Ticks::now() }
    }

    /// CPU seconds of the process with this number since the start.
    pub(crate) fn used_by(&self, pid: u32) -> f64 {
        let before = self.pids.iter().position(|watched| *watched == pid).map_or(0.0, |index| self.ours[index]);
        (used(pid, self.with_children) - before).max(0.0)
    }

    pub(crate) fn shares(&self) -> Shares {
        let ours: f64 = self.pids.iter().map(|pid| self.used_by(*pid)).sum();
        shares(self.begun, Ticks::now(), ours * ticks_per_second())
    }
}

fn shares(begun: Ticks, ended: Ticks, ours: f64) -> Shares {
    let all = (ended.all - begun.all).max(1.0);
    let (idle, stolen) = (ended.idle - begun.idle, ended.steal - begun.steal);
    let share = |ticks: f64| (ticks / all).clamp(0.0, 1.0);
    Shares { ours: share(ours), others: share(all - idle - stolen - ours), stolen: share(stolen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "42 (a) b) 7) S 1 2 3 4 5 6 7 8 9 10 25 17 3 5 20";
        assert_eq!((process_ticks(stat, false), process_ticks(stat, true)), (Some(42.0), Some(50.0)));
        assert_eq!(process_ticks("", false), None);
    }

    #[test]
    fn time_is_ours_others_stolen_or_idle() {
        let begun = Ticks::of("cpu  100 0 50 1000 50 0 0 10 0 0\ncpu0 1 2 3\n");
        assert_eq!(begun, Ticks { all: 1210.0, idle: 1050.0, steal: 10.0 });
        let ended = Ticks::of("cpu  180 0 70 1060 70 0 0 30 0 0\n");
        let shares = shares(begun, ended, 60.0);
        assert_eq!(shares, Shares { ours: 0.3, others: 0.2, stolen: 0.1 });
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let with = |others, stolen| Shares { ours: 0.1, others, stolen };
        assert!(warning([with(0.9, 0.0), with(0.1, 0.15), with(0.0, 0.0)]).starts_with("**Others had 25 % of the processors"));
        assert_eq!(warning([with(0.9, 0.0), with(0.1, 0.1), with(0.0, 0.0)]), "");
        assert_eq!(warning([]), "");
    }

    #[test]
    fn a_disk_counts_in_sectors() {
        assert_eq!(sectors_written(" 5 1 40 2 7 3 88 4 0 5 6\n"), Some(88.0));
        assert_eq!(sectors_written("5 1"), None);
        assert_eq!(disk_written_bytes(Path::new("/proc")), None);
    }

    #[test]
    fn this_process_is_ours_and_takes_memory() {
        let watch = Watch::start(&[]);
        assert!(0.0 <= watch.used_by(std::process::id()));
        assert!(0 < memory_bytes(std::process::id(), "VmRSS"));
        assert_eq!((used(0, false), memory_bytes(0, "VmRSS")), (0.0, 0));
    }
}
