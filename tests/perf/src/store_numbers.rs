//! What the store is asked for and how it is felt: requests, bytes and metadata by partitions, rate and durability; the delay of `object`;
//! reading what no cache holds.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cold_read::{self, ColdRead};
use crate::load::{Load, Reading, Until, create_topic};
use crate::machine::{Shares, Watch};
use crate::metrics::Metrics;
use crate::object_delay::{self, ObjectDelay};
use crate::report::Run;
use crate::siltstone::{Setup, Siltstone, Store, work_directory};

const MIB: f64 = 1024.0 * 1024.0;
const TOPIC: &str = "load";
const RECORD_BYTES: usize = 1024;
/// 16 KiB, the size of a batch that producers have by default.
const RUN: u64 = 16;
const PARTITIONS: [i32; 3] = [10, 1_000, 10_000];
/// Records per second and their bytes: 1, 8 and 32 MiB/s.
const RATES: [f64; 3] = [1024.0, 8192.0, 32_768.0];
const DURABILITIES: [&str; 2] = ["object", "wal"];
/// Not counted: connections are made, queues fill, the first upload is under way.
const WARM_UP: Duration = Duration::from_secs(3);
/// At least, of reading back.
const READ: Duration = Duration::from_secs(5);
/// Of the S3s; `None` is a directory.
const LATENCIES_MS: [Option<u64>; 5] = [None, Some(0), Some(10), Some(30), Some(100)];
const COLD_LATENCIES_MS: [Option<u64>; 3] = [None, Some(0), Some(30)];

/// The measurements of one run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct StoreReport {
    pub(crate) run: Run,
    pub(crate) requests: Vec<Requests>,
    pub(crate) delays: Vec<ObjectDelay>,
    pub(crate) cold_reads: Vec<ColdRead>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// What a broker asked of the store while it took records in, and while they were read back after a restart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) durability: String,
    pub(crate) partitions: i32,
    /// What producers were to send.
    pub(crate) asked_mib_per_second: f64,
    pub(crate) seconds: f64,
    /// Batches that were taken in.
    pub(crate) bytes_in: f64,
    pub(crate) puts: f64,
    pub(crate) put_bytes: f64,
    /// Of the PUTs: those of ranges and of rewriting; the rest are snapshots of the metadata.
    pub(crate) uploads: f64,
    pub(crate) rewrites: f64,
    /// GETs of rewriting: nobody else reads meanwhile.
    pub(crate) gets: f64,
    /// Segment entries that metadata has more at the end than at the beginning.
    pub(crate) segments: f64,
    /// What lies in the bucket after the broker was stopped, without what rewriting put once more, and the batches that it is of.
    pub(crate) stored_bytes: f64,
    pub(crate) stored_of: f64,
    /// Read back, until all or so many seconds are over.
    pub(crate) read_bytes: f64,
    pub(crate) read_gets: f64,
    pub(crate) shares: Shares,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) program: PathBuf,
    /// Of one measurement, warm-up apart.
    pub(crate) seconds: u64,
    /// Written for each cold read.
    pub(crate) cold_mib: u64,
}

/// What fails alone stands in the report.
pub(crate) fn measure(scope: &Scope, run: Run) -> Result<StoreReport> {
    let (_directory, work) = work_directory()?;
    let begun = Instant::now();
    let mut report = StoreReport { run, requests: Vec::new(), delays: Vec::new(), cold_reads: Vec::new(), failures: Vec::new() };
    let mut failures = Vec::new();
    // Each measurement has a directory of its own, which goes with it: what they write together is more than a disk has to hold.
    let mut one = |what: String, measure: &mut dyn FnMut(&Path) -> Result<()>| -> Result<()> {
        eprintln!("{:>5} s  {what}", begun.elapsed().as_secs());
        let place = tempfile::tempdir_in(&work)?;
        if let Err(error) = measure(&place.path().join("data")) {
            eprintln!("         failed: {error:#}");
            failures.push(format!("{what}: {error:#}"));
        }
        Ok(())
    };
    for durability in DURABILITIES {
        for partitions in PARTITIONS {
            for rate in RATES {
                one(format!("requests: {durability}, {partitions} partitions, {} MiB/s", mib(rate)), &mut |data| {
                    report.requests.push(requests(scope, &work, data, durability, partitions, rate)?);
                    Ok(())
                })?;
            }
        }
    }
    for latency in LATENCIES_MS {
        for run in [RUN, 1] {
            let store = store(&work, latency)?;
            one(format!("delay of object: {}, runs of {run}", store.name()), &mut |data| {
                report.delays.push(object_delay::measure(&scope.program, data, &store, run, Duration::from_secs(scope.seconds))?);
                Ok(())
            })?;
        }
    }
    for latency in COLD_LATENCIES_MS {
        let store = store(&work, latency)?;
        one(format!("cold read: {}", store.name()), &mut |data| {
            report.cold_reads.push(cold_read::measure(&scope.program, data, &store, scope.cold_mib)?);
            Ok(())
        })?;
    }
    eprintln!("{:>5} s  done", begun.elapsed().as_secs());
    report.failures = failures;
    Ok(report)
}

/// An S3 with this latency, or a directory.
fn store(work: &Path, latency_ms: Option<u64>) -> Result<Store> {
    latency_ms.map_or_else(Store::directory, |latency| Store::s3(work, Duration::from_millis(latency)))
}

fn mib(records_per_second: f64) -> f64 {
    records_per_second * RECORD_BYTES as f64 / MIB
}

fn requests(scope: &Scope, work: &Path, data: &Path, durability: &str, partitions: i32, rate: f64) -> Result<Requests> {
    let store = Store::s3(work, Duration::ZERO)?;
    let setup = Setup { program: &scope.program, data, store: Some(&store), settings: &[] };
    let broker = Siltstone::start(setup)?;
    create_topic(&broker.bootstrap, TOPIC, partitions, &[("durability", durability)])?;
    let load = Load { record_bytes: RECORD_BYTES, run: RUN, rate: Some(rate), ..Load::of_one(&broker.bootstrap, TOPIC, partitions) };
    let producing = load.start()?;
    thread::sleep(WARM_UP);
    let pids: Vec<u32> = store.pid().into_iter().chain([broker.pid()]).collect();
    let (watch, begun, before) = (Watch::start(&pids), Instant::now(), broker.metrics()?);
    // On `wal` an upload comes every ten seconds: fewer would say little.
    thread::sleep(Duration::from_secs(scope.seconds) * if durability == "wal" { 2 } else { 1 });
    let (after, seconds, shares) = (broker.metrics()?, begun.elapsed().as_secs_f64(), watch.shares());
    producing.give_up()?;
    let risen = after.since(&before);
    let whole = broker.metrics()?;
    broker.stop()?;
    let stored_bytes = store.bytes()? - whole.sum("siltstone_rewrite_bytes_total", &[("direction", "written")]);

    let broker = Siltstone::start(setup)?;
    let before = broker.metrics()?;
    Reading::all(&broker.bootstrap, TOPIC, partitions).run(&Until::Elapsed(READ.max(Duration::from_secs(scope.seconds / 3))))?;
    let read = broker.metrics()?.since(&before);
    drop(broker);
    let (bytes_in, read_bytes) = (risen.sum("siltstone_topic_bytes_in_total", &[]), read.sum("siltstone_topic_bytes_out_total", &[]));
    ensure!(0.0 < bytes_in && 0.0 < read_bytes, "nothing was taken in, or read back");
    Ok(Requests {
        durability: durability.to_owned(),
        partitions,
        asked_mib_per_second: mib(rate),
        seconds,
        bytes_in,
        puts: requests_of(&risen, &["put"]),
        put_bytes: risen.sum("siltstone_store_bytes_total", &[("operation", "put")]),
        uploads: risen.sum("siltstone_published_total", &[("unit", "objects")]),
        rewrites: risen.sum("siltstone_rewrites_total", &[("outcome", "done")]),
        gets: requests_of(&risen, &["get", "get_range", "head"]),
        segments: risen.sum("siltstone_metadata_segments", &[]),
        stored_bytes,
        stored_of: whole.sum("siltstone_topic_bytes_in_total", &[]),
        read_bytes,
        read_gets: reader_gets(&read),
        shares,
    })
}

/// Requests that reached the store, whatever it answered: each is paid for.
fn requests_of(metrics: &Metrics, operations: &[&str]) -> f64 {
    operations.iter().map(|operation| metrics.sum("siltstone_store_requests_total", &[("operation", operation)])).sum()
}

/// GETs for consumers, hedges and what is read ahead included.
fn reader_gets(metrics: &Metrics) -> f64 {
    let of = |class, kind| metrics.sum("siltstone_read_requests_total", &[("class", class), ("kind", kind)]);
    ["tail", "catch_up"].iter().map(|class| of(class, "reader") + of(class, "read_ahead") + of(class, "hedge")).sum()
}
