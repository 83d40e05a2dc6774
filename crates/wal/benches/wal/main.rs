//! How fast the log on disk is beside the least that a log must do: append to a file and fdatasync.
//!
//! Sixteen producers, each with one batch under way. All logs are measured in one run, in turns, each warmed up, because disks and
//! machines differ and change: read the ratios. Numbers among the arguments are sizes of batches in KiB. `docs/benchmarks/wal.md` has
//! a report and the command.
//!
//! The plain logs write in the same two stages as the real one, one thread that appends and one that syncs, and sum no bytes. All
//! logs end a file after the same number of bytes. One more thread reads every byte back and copies it, as an upload would, before the
//! space is given back.
#![allow(clippy::print_stdout)] // the report

mod raw;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use runtime::{Clock, Random, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, Revision};
use wal::conformance::batch_entry;
use wal::{Options, Progress, RocksDbWal, Urgency, WriteAheadLog};

use self::raw::RawLog;

const PRODUCERS: usize = 16;
const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;
/// After so many bytes a log begins another file: few enough that a short warm-up is enough for files to be recycled.
const FILE_BYTES: u64 = 64 * MIB;
/// Read back at once.
const OBJECT_BYTES: usize = 4 << 20;

/// How much is written, and how often.
struct Effort {
    rounds: usize,
    warm_up: u64,
    measured: u64,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    PlainRecycled,
    RocksDb,
    RocksDbRecycled,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Plain, Self::PlainRecycled, Self::RocksDb, Self::RocksDbRecycled];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "append file",
            Self::PlainRecycled => "append file, recycled",
            Self::RocksDb => "RocksDbWal",
            Self::RocksDbRecycled => "RocksDbWal, recycled",
        }
    }
}

/// A log under measurement. `append` returns a position; the batch is durable once everything up to and with it is.
trait Log: Send + Sync {
    fn append(&self, batch: &Bytes) -> u64;
}

/// Who waits for which position. One thread tells how far the log is synced, and wakes those who need no more.
#[derive(Default)]
struct Waiters {
    below: AtomicU64,
    parked: Mutex<Vec<(u64, Thread)>>,
}

impl Waiters {
    fn wait(&self, position: u64) {
        self.parked.lock().push((position, std::thread::current()));
        while self.below.load(Ordering::Acquire) <= position {
            std::thread::park();
        }
    }

    /// Everything below is durable.
    fn release(&self, below: u64) {
        self.below.store(below, Ordering::Release);
        self.parked.lock().retain(|(position, thread)| {
            let waits = below <= *position;
            if !waits {
                thread.unpark();
            }
            waits
        });
    }
}

struct Real {
    wal: Arc<RocksDbWal>,
}

impl Real {
    fn open(dir: &Path, recycle: bool, waiters: &Arc<Waiters>) -> Self {
        let mut options = Options::new(Arc::new(SystemClock), Arc::new(Random::seeded(1)));
        options.generation_bytes = FILE_BYTES;
        options.recycle = recycle;
        let wal = Arc::new(RocksDbWal::open(dir, options, &mut |_, _| {}).expect("open the log"));
        wal.begin_epoch(BrokerEpoch(1), Lsn::ZERO, Revision(1)).expect("begin an epoch");
        follow(&wal, waiters.clone());
        upload(&wal);
        Self { wal }
    }
}

/// As the broker's one task does: follows the log's progress for all who wait.
fn follow(wal: &Arc<RocksDbWal>, waiters: Arc<Waiters>) {
    let mut progress = wal.progress();
    let body = move || each_synced(&mut progress, |synced| waiters.release(synced.0));
    runtime::spawn_thread("follow", body).expect("start a thread");
}

/// Reads what is synced, from memory where it still is, and trims it.
fn upload(wal: &Arc<RocksDbWal>) {
    let (mut progress, weak) = (wal.progress(), Arc::downgrade(wal));
    let body = move || {
        let mut object = Vec::new();
        let mut uploaded = Lsn::ZERO;
        each_synced(&mut progress, |synced| {
            let Some(wal) = weak.upgrade() else { return };
            while uploaded < synced {
                object.clear();
                for (lsn, entry) in wal.scan(uploaded, synced, OBJECT_BYTES).expect("scan") {
                    object.extend_from_slice(&entry.batch);
                    uploaded = lsn.next();
                }
                std::hint::black_box(&object);
                wal.release_memory(uploaded);
                wal.trim(uploaded);
            }
        });
    };
    runtime::spawn_thread("upload", body).expect("start a thread");
}

/// Calls `moved` whenever more is synced, until the log is gone.
fn each_synced(progress: &mut watch::Receiver<Progress>, mut moved: impl FnMut(Lsn)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime for waiting");
    runtime.block_on(async {
        let mut synced = Lsn::ZERO;
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().synced;
            if now != synced {
                synced = now;
                moved(synced);
            }
        }
    });
}

impl Log for Real {
    fn append(&self, batch: &Bytes) -> u64 {
        let mut entry = batch_entry(0, 0);
        entry.batch = batch.clone();
        self.wal.append(entry, Urgency::Sync).expect("append").0
    }
}

/// One measurement.
#[derive(Clone, Copy, Default)]
struct Figures {
    mib_per_s: f64,
    cpu_s_per_gib: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn measure(kind: Kind, parent: &Path, batches: &[Bytes], effort: &Effort) -> Figures {
    let dir = tempfile::tempdir_in(parent).expect("a directory");
    let waiters = Arc::new(Waiters::default());
    match kind {
        Kind::Plain => run(&RawLog::open(dir.path(), false, &waiters), &waiters, batches, effort),
        Kind::PlainRecycled => run(&RawLog::open(dir.path(), true, &waiters), &waiters, batches, effort),
        Kind::RocksDb => run(&Real::open(dir.path(), false, &waiters), &waiters, batches, effort),
        Kind::RocksDbRecycled => run(&Real::open(dir.path(), true, &waiters), &waiters, batches, effort),
    }
}

fn run(log: &dyn Log, waiters: &Waiters, batches: &[Bytes], effort: &Effort) -> Figures {
    let size = batches[0].len() as u64;
    produce(log, waiters, batches, effort.warm_up / size);
    let (began, cpu) = (SystemClock.monotonic(), cpu_time());
    let mut latencies = produce(log, waiters, batches, effort.measured / size);
    let (took, cpu) = (SystemClock.monotonic() - began, cpu_time() - cpu);
    latencies.sort_unstable();
    let percentile = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let mib = (latencies.len() as u64 * size) as f64 / MIB as f64;
    Figures {
        mib_per_s: mib / took.as_secs_f64(),
        cpu_s_per_gib: cpu.as_secs_f64() / mib * 1024.0,
        p50_ms: percentile(0.5),
        p99_ms: percentile(0.99),
    }
}

/// Writes so many batches in all, and returns how long each took.
fn produce(log: &dyn Log, waiters: &Waiters, batches: &[Bytes], count: u64) -> Vec<Duration> {
    let left = AtomicU64::new(count);
    let producing = AtomicBool::new(true);
    let one = |batch: &Bytes| {
        let mut latencies = Vec::new();
        while producing.load(Ordering::Relaxed) {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
                producing.store(false, Ordering::Relaxed);
                break;
            }
            let began = SystemClock.monotonic();
            waiters.wait(log.append(batch));
            latencies.push(SystemClock.monotonic() - began);
        }
        latencies
    };
    std::thread::scope(|scope| {
        let producers: Vec<_> = batches.iter().map(|batch| scope.spawn(|| one(batch))).collect();
        producers.into_iter().flat_map(|producer| producer.join().expect("a producer")).collect()
    })
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("nanoseconds are below one second"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All rounds of one size, by round and kind.
struct Table {
    size: usize,
    rounds: Vec<[Figures; 4]>,
}

impl Table {
    fn median(&self, kind: Kind, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| figure(&round[kind as usize])).collect())
    }

    /// The median of the rounds' ratios: what was measured together is compared.
    fn ratio(&self, kind: Kind, to: Kind, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| figure(&round[kind as usize]) / figure(&round[to as usize])).collect())
    }

    fn print_rows(&self) {
        for kind in Kind::ALL {
            println!(
                "| {} KiB | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                self.size / KIB,
                kind.name(),
                self.median(kind, |f| f.mib_per_s),
                self.ratio(kind, Kind::Plain, |f| f.mib_per_s),
                self.ratio(kind, Kind::PlainRecycled, |f| f.mib_per_s),
                self.median(kind, |f| f.cpu_s_per_gib),
                self.ratio(kind, Kind::PlainRecycled, |f| f.cpu_s_per_gib),
                self.median(kind, |f| f.p50_ms),
                self.median(kind, |f| f.p99_ms),
            );
        }
    }

    fn print_bars(&self) {
        let row = |measure: &str, bar: f64, found: f64, at_least: bool| {
            let met = if at_least { bar <= found } else { found <= bar };
            let (sign, met) = (if at_least { "at least" } else { "at most" }, if met { "met" } else { "missed" });
            println!("| {} KiB | {measure} | {sign} {bar:.2} | {found:.2} | {met} |", self.size / KIB);
        };
        let speed = |f: &Figures| f.mib_per_s;
        let recycled_speed = self.ratio(Kind::PlainRecycled, Kind::Plain, speed);
        row("MiB/s, RocksDbWal to append file", 0.85, self.ratio(Kind::RocksDb, Kind::Plain, speed), true);
        let bar = (0.9 * recycled_speed).min(1.3);
        row("MiB/s, recycled RocksDbWal to append file", bar, self.ratio(Kind::RocksDbRecycled, Kind::Plain, speed), true);
        row("MiB/s, recycled to recycled", 0.70, self.ratio(Kind::RocksDbRecycled, Kind::PlainRecycled, speed), true);
        let cpu = self.ratio(Kind::RocksDbRecycled, Kind::PlainRecycled, |f| f.cpu_s_per_gib);
        row("CPU s/GiB, recycled to recycled", 1.8, cpu, false);
        if self.size == 64 * KIB {
            let late = self.ratio(Kind::RocksDbRecycled, Kind::PlainRecycled, |f| f.p99_ms);
            row("p99, recycled to recycled", 3.0, late, false);
        }
    }
}

fn main() {
    // `cargo test` runs every target it builds: there it only shows that this one works.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let effort = if measures {
        Effort { rounds: 3, warm_up: 256 * MIB, measured: 512 * MIB }
    } else {
        Effort { rounds: 1, warm_up: 2 * MIB, measured: 4 * MIB }
    };
    let parent = std::env::var_os("WAL_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let mut sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![16, 64, 256, 1024];
    }
    let tables: Vec<_> = sizes.into_iter().map(|size| rounds(size * KIB, Path::new(&parent), &effort)).collect();
    if !measures {
        return;
    }
    println!("| batch | log | MiB/s | to append file | to recycled | CPU s/GiB | to recycled | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|---|---|---|");
    tables.iter().for_each(Table::print_rows);
    println!("\n| batch | measure | bar | found | |\n|---|---|---|---|---|");
    tables.iter().for_each(Table::print_bars);
}

fn rounds(size: usize, parent: &Path, effort: &Effort) -> Table {
    let batches: Vec<Bytes> = (0..PRODUCERS).map(|producer| batch_entry(producer as i64, size).batch).collect();
    let rounds = (0..effort.rounds).map(|round| {
        let mut figures = [Figures::default(); 4];
        for turn in 0..Kind::ALL.len() {
            // Another one begins each round: whoever comes after a slow one finds the disk busy.
            let kind = Kind::ALL[(turn + round) % Kind::ALL.len()];
            let found = measure(kind, parent, &batches, effort);
            eprintln!(
                "{} KiB, round {round}, {}: {:.0} MiB/s, {:.2} CPU s/GiB",
                size / KIB,
                kind.name(),
                found.mib_per_s,
                found.cpu_s_per_gib
            );
            figures[kind as usize] = found;
        }
        figures
    });
    Table { size, rounds: rounds.collect() }
}
