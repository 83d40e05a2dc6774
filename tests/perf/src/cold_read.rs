//! Reading what no cache holds, beside the same ranges asked of the store by as many at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::load::{Load, Reading, Until, create_topic};
use crate::machine::{Shares, Watch};
use crate::siltstone::{Setup, Siltstone, Store};

const MIB: f64 = 1024.0 * 1024.0;
const TOPIC: &str = "history";
const PARTITIONS: i32 = 16;
/// Of the store's own reads.
const STORE_READ: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ColdRead {
    pub(crate) store: String,
    pub(crate) bytes: f64,
    pub(crate) mib_per_second: f64,
    /// The broker's, in seconds.
    pub(crate) cpu_seconds: f64,
    pub(crate) gets: f64,
    pub(crate) get_bytes: f64,
    /// GETs under way at once, on average.
    pub(crate) concurrency: f64,
    /// As many at once by another client, without a broker; at least one.
    pub(crate) store_concurrency: usize,
    pub(crate) store_mib_per_second: f64,
    pub(crate) shares: Shares,
}

/// Writes so many MiB, starts the broker anew, and reads them. `data` is the broker's directory.
pub(crate) fn measure(program: &Path, data: &Path, store: &Store, mib: u64) -> Result<ColdRead> {
    // Rewriting would read and write at the same time.
    let setup = Setup { program, data, store: Some(store), settings: &["rewrite.enable=false"] };
    let broker = Siltstone::start(setup)?;
    create_topic(&broker.bootstrap, TOPIC, PARTITIONS, &[("durability", "wal")])?;
    let written = Load::of_one(&broker.bootstrap, TOPIC, PARTITIONS).write(mib << 20)?;
    broker.stop()?;

    let broker = Siltstone::start(setup)?;
    let pids: Vec<u32> = store.pid().into_iter().chain([broker.pid()]).collect();
    let (watch, before) = (Watch::start(&pids), broker.metrics()?);
    let consumed = Reading::all(&broker.bootstrap, TOPIC, PARTITIONS).run(&Until::Records(written))?;
    let (risen, shares, cpu_seconds) = (broker.metrics()?.since(&before), watch.shares(), watch.used_by(broker.pid()));
    drop(broker);
    let sum = |name: &str| risen.sum(name, &[("operation", "get_range")]);
    let (gets, get_bytes) = (sum("siltstone_store_requests_total"), sum("siltstone_store_bytes_total"));
    ensure!(0.0 < gets, "the broker asked the store for nothing");
    let concurrency = sum("siltstone_store_seconds_total") / consumed.seconds;
    let at_once = (concurrency.round() as usize).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store_rate = runtime.block_on(limits::store_gets(store.client()?, at_once, (get_bytes / gets) as u64, STORE_READ))?;
    Ok(ColdRead {
        store: store.name(),
        bytes: consumed.bytes as f64,
        mib_per_second: consumed.bytes as f64 / MIB / consumed.seconds,
        cpu_seconds,
        gets,
        get_bytes,
        concurrency,
        store_concurrency: at_once,
        store_mib_per_second: store_rate / MIB,
        shares,
    })
}
