//! How long `object` takes, beside its upload interval and the store's PUTs in the same time.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::load::{Load, create_topic};
use crate::machine::{Shares, Watch};
use crate::siltstone::{Setup, Siltstone, Store};
use crate::statistics::Delays;

const TOPIC: &str = "delayed";
const PARTITIONS: i32 = 16;
const RECORDS_PER_SECOND: f64 = 2000.0;
/// The default of upload.interval.ms.
const INTERVAL_MS: f64 = 250.0;
/// Not counted: connections are made, the first upload is under way.
const WARM_UP: Duration = Duration::from_secs(3);

/// From the moment a record was due to its acknowledgement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ObjectDelay {
    pub(crate) store: String,
    pub(crate) records_per_second: f64,
    pub(crate) interval_ms: f64,
    /// Records that went to one partition before the next had its turn.
    pub(crate) run: u64,
    pub(crate) delays: Delays,
    /// As the broker saw its PUTs in the same time.
    pub(crate) put_mean_ms: f64,
    pub(crate) puts: f64,
    pub(crate) shares: Shares,
}

impl ObjectDelay {
    /// What the p99 is held against: the interval and one and a half PUTs.
    pub(crate) fn bar_ms(&self) -> f64 {
        self.interval_ms + 1.5 * self.put_mean_ms
    }
}

/// `data` is the broker's directory; `run` records go to one partition before the next has its turn.
pub(crate) fn measure(program: &Path, data: &Path, store: &Store, run: u64, time: Duration) -> Result<ObjectDelay> {
    let broker = Siltstone::start(Setup { program, data, store: Some(store), settings: &[] })?;
    create_topic(&broker.bootstrap, TOPIC, PARTITIONS, &[("durability", "object")])?;
    let load = Load { run, rate: Some(RECORDS_PER_SECOND), ..Load::of_one(&broker.bootstrap, TOPIC, PARTITIONS) };
    let producing = load.start()?;
    thread::sleep(WARM_UP);
    let pids: Vec<u32> = store.pid().into_iter().chain([broker.pid()]).collect();
    let (watch, from, before) = (Watch::start(&pids), producing.micros(), broker.metrics()?);
    thread::sleep(time);
    let (to, risen, shares) = (producing.micros(), broker.metrics()?.since(&before), watch.shares());
    let delays = Delays::of(producing.finish(from, to)?).context("no record was acknowledged")?;
    let puts = risen.sum("siltstone_store_requests_total", &[("operation", "put")]);
    let put_seconds = risen.sum("siltstone_store_seconds_total", &[("operation", "put")]);
    Ok(ObjectDelay {
        store: store.name(),
        records_per_second: RECORDS_PER_SECOND,
        interval_ms: INTERVAL_MS,
        run,
        delays,
        put_mean_ms: put_seconds / puts.max(1.0) * 1000.0,
        puts,
        shares,
    })
}
