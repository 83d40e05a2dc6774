//! /metrics: what the broker counts as it goes, and what its parts hold, read when somebody asks.

mod audit;

use std::sync::{Arc, OnceLock};

use ::audit::AuditHandle;
use anyhow::{Context, Result};
use metadata_api::MetadataClient;
use metadata_service::MetadataService;
use offload::{OffloadHandle, RewriteHandle};
use partition::Partitions;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use runtime::Clock;
use store::{DiskCache, LATENCY_BOUNDS, Operation, Outcome, RangeReader, ReadClass, StoreCounters};
use types::Timestamp;
use wal::WriteAheadLog;

/// Parts that hold something worth showing. They exist once the broker has recovered.
pub(crate) struct Parts {
    pub(crate) wal: Arc<dyn WriteAheadLog>,
    pub(crate) offload: OffloadHandle,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) metadata_service: Arc<MetadataService>,
    pub(crate) store: Arc<StoreCounters>,
    pub(crate) ranges: RangeReader,
    pub(crate) disk_cache: Option<DiskCache>,
    /// `None`: segments are not rewritten.
    pub(crate) rewrites: Option<RewriteHandle>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The registry behind /metrics. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    parts: Arc<OnceLock<Parts>>,
}

impl Metrics {
    /// With the process's own figures; the parts follow.
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self())).context("register metrics")?;
        let parts = Arc::new(OnceLock::new());
        registry.register(Box::new(PartsCollector::new(Arc::clone(&parts))?)).context("register metrics")?;
        Ok(Self { registry, parts })
    }

    /// Where others register what they count.
    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// From now on the parts are shown.
    pub(crate) fn show(&self, parts: Parts) {
        let first = self.parts.set(parts);
        assert!(first.is_ok(), "a broker recovers once");
    }

    /// From now on the auditor is shown too.
    pub(crate) fn show_audit(&self, handle: AuditHandle) -> Result<()> {
        audit::register(&self.registry, handle)
    }

    /// Everything in Prometheus' text form.
    pub(crate) fn encode(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).context("encode metrics")
    }
}

/// Reads the parts at each scrape.
struct PartsCollector {
    parts: Arc<OnceLock<Parts>>,
    wal_bytes: IntGauge,
    wal_generations: IntGauge,
    wal_syncs: IntGauge,
    memory: IntGaugeVec,
    unoffloaded_bytes: IntGaugeVec,
    unoffloaded_seconds: GaugeVec,
    ranges_in_flight: IntGauge,
    published: IntGaugeVec,
    stopped_partitions: IntGauge,
    partitions: IntGauge,
    topics: IntGauge,
    snapshot_age: Gauge,
    segments: IntGauge,
    store_requests: IntCounterVec,
    store_bytes: IntCounterVec,
    store_seconds: GaugeVec,
    store_latency: IntGaugeVec,
    read_bytes: IntCounterVec,
    read_requests: IntCounterVec,
    disk_cache_bytes: IntGauge,
    disk_cache_lost: IntCounterVec,
    rewrites: IntCounterVec,
    rewrite_bytes: IntCounterVec,
    rewrite_segments: IntCounterVec,
}

impl PartsCollector {
    fn new(parts: Arc<OnceLock<Parts>>) -> Result<Self> {
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let options = |name: &str, help: &str| Opts::new(name, help);
        let make = || -> prometheus::Result<Self> {
            Ok(Self {
                parts,
                wal_bytes: gauge("siltstone_wal_bytes", "Batch bytes in the write-ahead log that are not trimmed")?,
                wal_generations: gauge("siltstone_wal_generations", "Generations of the write-ahead log on disk")?,
                wal_syncs: gauge("siltstone_wal_syncs_total", "Syncs of the write-ahead log since the start")?,
                memory: IntGaugeVec::new(options("siltstone_memory_bytes", "Memory in use"), &["use"])?,
                unoffloaded_bytes: IntGaugeVec::new(
                    options("siltstone_unoffloaded_bytes", "Batch bytes that only the write-ahead log holds"),
                    &["topic"],
                )?,
                unoffloaded_seconds: GaugeVec::new(options("siltstone_unoffloaded_age_seconds", "Age of the oldest of them"), &["topic"])?,
                ranges_in_flight: gauge("siltstone_upload_ranges_in_flight", "Ranges sealed and not yet published")?,
                published: IntGaugeVec::new(
                    options("siltstone_published_total", "Objects and bytes published since the start"),
                    &["unit"],
                )?,
                stopped_partitions: gauge(
                    "siltstone_stopped_partitions",
                    "Partitions that were stopped because metadata expected another offset",
                )?,
                partitions: gauge("siltstone_partitions", "Partitions that this broker leads")?,
                topics: gauge("siltstone_topics", "Topics")?,
                snapshot_age: Gauge::new(
                    "siltstone_metadata_snapshot_age_seconds",
                    "Age of the oldest change of the metadata that no snapshot in the store holds; 0 if they hold all",
                )?,
                segments: gauge(
                    "siltstone_metadata_segments",
                    "Segment entries that the metadata holds; metadata.max.segments bounds them",
                )?,
                store_requests: IntCounterVec::new(options("siltstone_store_requests_total", "Store requests"), &["operation", "outcome"])?,
                store_bytes: IntCounterVec::new(
                    options("siltstone_store_bytes_total", "Bytes sent to and received from the store"),
                    &["operation"],
                )?,
                store_seconds: GaugeVec::new(options("siltstone_store_seconds_total", "Time spent in store requests"), &["operation"])?,
                store_latency: IntGaugeVec::new(
                    options("siltstone_store_requests_within_total", "Store requests that took at most so many milliseconds"),
                    &["operation", "milliseconds"],
                )?,
                read_bytes: IntCounterVec::new(
                    options("siltstone_read_bytes_total", "Bytes of objects handed to readers"),
                    &["class", "from"],
                )?,
                read_requests: IntCounterVec::new(
                    options(
                        "siltstone_read_requests_total",
                        "Store requests for readers; joined: that others had begun; hedge: second ones",
                    ),
                    &["class", "kind"],
                )?,
                disk_cache_bytes: gauge("siltstone_disk_cache_bytes", "Bytes in the disk cache")?,
                disk_cache_lost: IntCounterVec::new(
                    options(
                        "siltstone_disk_cache_blocks_lost_total",
                        "Blocks that came back damaged, or were not written for want of time",
                    ),
                    &["cause"],
                )?,
                rewrites: IntCounterVec::new(
                    options("siltstone_rewrites_total", "Rewrites of small segments into one object, done or failed"),
                    &["outcome"],
                )?,
                rewrite_bytes: IntCounterVec::new(
                    options("siltstone_rewrite_bytes_total", "Bytes that rewriting read from and wrote to the store"),
                    &["direction"],
                )?,
                rewrite_segments: IntCounterVec::new(
                    options("siltstone_rewrite_segments_total", "Segments that rewriting replaced, and those that took their place"),
                    &["side"],
                )?,
            })
        };
        make().context("make metrics")
    }

    fn families(&self) -> [&dyn Collector; 24] {
        [
            &self.wal_bytes,
            &self.wal_generations,
            &self.wal_syncs,
            &self.memory,
            &self.unoffloaded_bytes,
            &self.unoffloaded_seconds,
            &self.ranges_in_flight,
            &self.published,
            &self.stopped_partitions,
            &self.partitions,
            &self.topics,
            &self.snapshot_age,
            &self.segments,
            &self.store_requests,
            &self.store_bytes,
            &self.store_seconds,
            &self.store_latency,
            &self.read_bytes,
            &self.read_requests,
            &self.disk_cache_bytes,
            &self.disk_cache_lost,
            &self.rewrites,
            &self.rewrite_bytes,
            &self.rewrite_segments,
        ]
    }

    fn read(&self, parts: &Parts) {
        let usage = parts.wal.usage();
        self.wal_bytes.set(signed(usage.bytes));
        self.wal_generations.set(i64::from(usage.generations));
        self.wal_syncs.set(signed(usage.syncs));
        self.memory.with_label_values(&["tail"]).set(signed(usage.memory_bytes));
        self.memory.with_label_values(&["read_cache"]).set(signed(parts.ranges.cached_bytes()));
        self.read_topics(parts);
        let status = parts.offload.status();
        self.ranges_in_flight.set(signed(status.ranges_in_flight as u64));
        self.published.with_label_values(&["objects"]).set(signed(status.published_ranges));
        self.published.with_label_values(&["bytes"]).set(signed(status.published_bytes));
        self.stopped_partitions.set(signed(status.stopped_partitions as u64));
        let now = Timestamp(parts.clock.wall_ms());
        let unsaved_since = parts.metadata_service.unsaved_since();
        self.snapshot_age.set(unsaved_since.map_or(0.0, |since| now.millis_since(since) as f64 / 1000.0));
        self.segments.set(signed(parts.metadata_service.segments()));
        self.read_store(parts);
        if let Some(rewrites) = &parts.rewrites {
            let status = rewrites.status();
            raise(&self.rewrites, &["done"], status.rewrites);
            raise(&self.rewrites, &["failed"], status.failures);
            raise(&self.rewrite_bytes, &["read"], status.read_bytes);
            raise(&self.rewrite_bytes, &["written"], status.written_bytes);
            raise(&self.rewrite_segments, &["replaced"], status.segments_replaced);
            raise(&self.rewrite_segments, &["written"], status.segments_written);
        }
    }

    fn read_topics(&self, parts: &Parts) {
        let image = parts.metadata.image().borrow().clone();
        self.topics.set(signed(image.topics.len() as u64));
        // Topics come and go: what is not there any more is not shown any more.
        self.unoffloaded_bytes.reset();
        self.unoffloaded_seconds.reset();
        let now = Timestamp(parts.clock.wall_ms());
        let usage = parts.partitions.usage();
        self.partitions.set(signed(usage.len() as u64));
        for partition in usage {
            let Some(topic) = image.topics.get(&partition.partition.topic) else { continue };
            self.unoffloaded_bytes.with_label_values(&[&topic.name]).add(signed(partition.unoffloaded_bytes));
            let age = partition.oldest_append.map_or(0.0, |oldest| now.millis_since(oldest) as f64 / 1000.0);
            let oldest = self.unoffloaded_seconds.with_label_values(&[&topic.name]);
            oldest.set(oldest.get().max(age));
        }
    }

    fn read_store(&self, parts: &Parts) {
        for operation in Operation::ALL {
            let (name, counts) = (operation.as_str(), parts.store.get(operation));
            for outcome in Outcome::ALL {
                raise(&self.store_requests, &[name, outcome.as_str()], counts.outcome(outcome));
            }
            raise(&self.store_bytes, &[name], counts.bytes);
            self.store_seconds.with_label_values(&[name]).set(counts.time.as_secs_f64());
            let mut within = 0;
            for (bound, count) in LATENCY_BOUNDS.iter().zip(counts.latency) {
                within += count;
                self.store_latency.with_label_values(&[name, &bound.to_string()]).set(signed(within));
            }
        }
        for class in ReadClass::ALL {
            let counts = parts.ranges.counts(class);
            for (from, bytes) in [("cache", counts.cache_bytes), ("disk", counts.disk_bytes), ("store", counts.store_bytes)] {
                raise(&self.read_bytes, &[class.as_str(), from], bytes);
            }
            for (kind, requests) in [
                ("reader", counts.gets),
                ("read_ahead", counts.read_ahead_gets),
                ("joined", counts.joined),
                ("hedge", counts.hedges),
                ("hedge_won", counts.hedges_won),
            ] {
                raise(&self.read_requests, &[class.as_str(), kind], requests);
            }
        }
        if let Some(disk_cache) = &parts.disk_cache {
            let counts = disk_cache.counts();
            self.disk_cache_bytes.set(signed(counts.held));
            raise(&self.disk_cache_lost, &["damaged"], counts.damaged);
            raise(&self.disk_cache_lost, &["skipped"], counts.skipped);
        }
    }
}

impl Collector for PartsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.families().iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some(parts) = self.parts.get() {
            self.read(parts);
        }
        self.families().iter().flat_map(|family| family.collect()).collect()
    }
}

/// Brings a counter up to what its part has counted.
fn raise(counters: &IntCounterVec, labels: &[&str], counted: u64) {
    let counter = counters.with_label_values(labels);
    counter.inc_by(counted.saturating_sub(counter.get()));
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
