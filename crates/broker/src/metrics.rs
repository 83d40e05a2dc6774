//! What the broker counts, registered once in the registry it is given. A metric counts what happened, not what was planned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use group::{GroupState, GroupType, Listed};
use partition::ReadSources;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, PullingGauge,
    Registry, exponential_buckets,
};
use protocol::{ApiKey, ErrorCode};

use crate::connection_slots::Limit;
use crate::memory_budget::MemoryBudget;

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: Result<C, prometheus::Error>) -> Result<C, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Connections of all listeners.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    open: IntGauge,
    accepted: IntCounter,
    refused: IntCounterVec,
    closed: IntCounterVec,
}

/// Counts a connection as open for as long as it lives.
pub(crate) struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ConnectionMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = register(
            registry,
            IntCounterVec::new(
                Opts::new("siltstone_connections_refused_total", "Connections closed at once, by the limit that was reached."),
                &["reason"],
            ),
        )?;
        // Shown from the start, so that the first refusal is an increase.
        Limit::ALL.iter().for_each(|limit| drop(refused.with_label_values(&[limit.label()])));
        Ok(Self {
            accepted: register(registry, IntCounter::new("siltstone_connections_accepted_total", "Client connections let in."))?,
            refused,
            open: register(registry, IntGauge::new("siltstone_connections", "Client connections open."))?,
            closed: register(
                registry,
                IntCounterVec::new(
                    Opts::new("siltstone_connections_closed_total", "Client connections closed, by who or what ended them."),
                    &["reason"],
                ),
            )?,
        })
    }

    pub(crate) fn opened(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    pub(crate) fn refused(&self, limit: Limit) {
        self.refused.with_label_values(&[limit.label()]).inc();
    }

    pub(crate) fn closed(&self, reason: &str) {
        self.closed.with_label_values(&[reason]).inc();
    }
}

/// One API's requests.
#[derive(Clone)]
pub(crate) struct ApiMetrics {
    requests: IntCounter,
    duration: Histogram,
    throttled: Counter,
}

impl ApiMetrics {
    /// A request was answered after `taken`.
    pub(crate) fn answered(&self, taken: Duration) {
        self.requests.inc();
        self.duration.observe(taken.as_secs_f64());
    }

    /// Its client was asked to pause, or its connection pauses without a word.
    pub(crate) fn throttled(&self, pause: Duration) {
        self.throttled.inc_by(pause.as_secs_f64());
    }
}

/// Requests by API. Every served API has its children from the start, so that none is looked up by a label while serving.
pub(crate) struct RequestMetrics {
    apis: HashMap<ApiKey, ApiMetrics>,
    errors: IntCounterVec,
}

impl RequestMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests =
            register(registry, IntCounterVec::new(Opts::new("siltstone_requests_total", "Requests answered, by API."), &["api"]))?;
        // 0.25 ms to 32 s: from a read in memory to a long poll.
        let buckets = exponential_buckets(0.000_25, 2.0, 18)?;
        let duration = register(
            registry,
            HistogramVec::new(
                HistogramOpts::new(
                    "siltstone_request_duration_seconds",
                    "From a decoded request to its answer, waiting for data included.",
                )
                .buckets(buckets),
                &["api"],
            ),
        )?;
        let throttled = register(
            registry,
            CounterVec::new(
                Opts::new(
                    "siltstone_throttled_seconds_total",
                    "Time for which clients were asked to pause, by API: quotas and a filling log.",
                ),
                &["api"],
            ),
        )?;
        let errors = register(
            registry,
            IntCounterVec::new(
                Opts::new("siltstone_request_errors_total", "Error codes sent, by API: one request may carry several."),
                &["api", "error"],
            ),
        )?;
        let children = |api: ApiKey| ApiMetrics {
            requests: requests.with_label_values(&[api.name()]),
            duration: duration.with_label_values(&[api.name()]),
            throttled: throttled.with_label_values(&[api.name()]),
        };
        let apis = ApiKey::ALL.iter().map(|api| (*api, children(*api))).collect();
        Ok(Self { apis, errors })
    }

    pub(crate) fn api(&self, api: ApiKey) -> &ApiMetrics {
        self.apis.get(&api).expect("every API has its children from the start")
    }

    /// An error code goes out in an answer.
    pub(crate) fn error(&self, api: ApiKey, code: ErrorCode) {
        self.errors.with_label_values(&[api.name(), code.name()]).inc();
    }
}

/// One topic's traffic.
#[derive(Clone)]
pub(crate) struct TopicMetrics {
    pub(crate) bytes_in: IntCounter,
    pub(crate) records_in: IntCounter,
    pub(crate) bytes_out: IntCounter,
    pub(crate) records_out: IntCounter,
}

/// Traffic by topic; the children of a topic are made when it appears and go when it is deleted.
pub(crate) struct TrafficMetrics {
    bytes_in: IntCounterVec,
    records_in: IntCounterVec,
    bytes_out: IntCounterVec,
    records_out: IntCounterVec,
}

impl TrafficMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_topic = |name: &str, help: &str| register(registry, IntCounterVec::new(Opts::new(name, help), &["topic"]));
        Ok(Self {
            bytes_in: by_topic("siltstone_topic_bytes_in_total", "Bytes of record batches appended, by topic.")?,
            records_in: by_topic("siltstone_topic_records_in_total", "Records appended, by topic.")?,
            bytes_out: by_topic("siltstone_topic_bytes_out_total", "Bytes of record batches fetched, by topic.")?,
            records_out: by_topic("siltstone_topic_records_out_total", "Records fetched, by topic.")?,
        })
    }

    pub(crate) fn topic(&self, name: &str) -> TopicMetrics {
        TopicMetrics {
            bytes_in: self.bytes_in.with_label_values(&[name]),
            records_in: self.records_in.with_label_values(&[name]),
            bytes_out: self.bytes_out.with_label_values(&[name]),
            records_out: self.records_out.with_label_values(&[name]),
        }
    }

    pub(crate) fn forget(&self, name: &str) {
        for family in [&self.bytes_in, &self.records_in, &self.bytes_out, &self.records_out] {
            // Absent when two topics of that name went by in one image.
            let _ = family.remove_label_values(&[name]);
        }
    }
}

/// Where fetched bytes came from, counted when they had arrived.
pub(crate) struct FetchedMetrics {
    memory: IntCounter,
    wal: IntCounter,
    cache: IntCounter,
    store: IntCounter,
}

impl FetchedMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("siltstone_fetched_bytes_total", "Bytes of record batches fetched, by where they were found.");
        let by_source = register(registry, IntCounterVec::new(opts, &["source"]))?;
        Ok(Self {
            memory: by_source.with_label_values(&["memory"]),
            wal: by_source.with_label_values(&["wal"]),
            cache: by_source.with_label_values(&["cache"]),
            store: by_source.with_label_values(&["store"]),
        })
    }

    pub(crate) fn count(&self, sources: &ReadSources) {
        self.memory.inc_by(sources.memory);
        self.wal.inc_by(sources.wal);
        self.cache.inc_by(sources.cache);
        self.store.inc_by(sources.store);
    }
}

/// Fetch sessions (KIP-227), as Kafka's `FetchSessionCache` counts them.
pub(crate) struct FetchSessionMetrics {
    sessions: IntGauge,
    partitions: IntGauge,
    evictions: IntCounter,
}

impl FetchSessionMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            sessions: register(registry, IntGauge::new("siltstone_fetch_sessions", "Incremental fetch sessions kept."))?,
            partitions: register(
                registry,
                IntGauge::new("siltstone_fetch_session_partitions", "Partitions in all incremental fetch sessions."),
            )?,
            evictions: register(
                registry,
                IntCounter::new(
                    "siltstone_fetch_session_evictions_total",
                    "Incremental fetch sessions that made room for others; their clients ask in full again.",
                ),
            )?,
        })
    }

    pub(crate) fn show(&self, sessions: usize, partitions: usize, evicted: u64) {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        self.partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
        self.evictions.inc_by(evicted);
    }
}

/// How many groups there are of each type and state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct GroupCounts(HashMap<(GroupType, GroupState), i64>);

impl GroupCounts {
    pub(crate) fn of(groups: &[Listed]) -> Self {
        let mut counts = HashMap::new();
        groups.iter().for_each(|group| *counts.entry((group.group_type, group.state)).or_default() += 1);
        Self(counts)
    }
}

/// Groups that this broker coordinates.
pub(crate) struct GroupMetrics {
    groups: IntGaugeVec,
    /// Partitions whose offset was committed.
    pub(crate) commits: IntCounter,
    /// Generations of classic groups that began.
    pub(crate) rebalances: IntCounter,
}

impl GroupMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let groups = IntGaugeVec::new(
            Opts::new("siltstone_groups", "Groups coordinated by this broker, by type and state; of the slots that are loaded."),
            &["type", "state"],
        );
        Ok(Self {
            groups: register(registry, groups)?,
            commits: register(
                registry,
                IntCounter::new("siltstone_offset_commits_total", "Offsets committed, counted by partition when they are durable."),
            )?,
            rebalances: register(
                registry,
                IntCounter::new("siltstone_group_rebalances_total", "Generations of classic groups that began."),
            )?,
        })
    }

    /// A slot counted anew.
    pub(crate) fn counted(&self, before: &GroupCounts, now: &GroupCounts) {
        for (counts, sign) in [(before, -1), (now, 1)] {
            for ((group_type, state), count) in &counts.0 {
                self.groups.with_label_values(&[group_type.to_string(), state.to_string()]).add(sign * count);
            }
        }
    }
}

/// What handlers count.
pub(crate) struct BrokerMetrics {
    pub(crate) requests: RequestMetrics,
    pub(crate) fetched: FetchedMetrics,
    pub(crate) groups: Arc<GroupMetrics>,
}

impl BrokerMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: RequestMetrics::new(registry)?,
            fetched: FetchedMetrics::new(registry)?,
            groups: Arc::new(GroupMetrics::new(registry)?),
        })
    }
}

/// Shows how much of both budgets is in use, read when somebody asks.
pub(crate) fn register_budgets(
    registry: &Registry,
    requests: &Arc<MemoryBudget>,
    answers: &Arc<MemoryBudget>,
) -> Result<(), prometheus::Error> {
    for (name, help, budget) in [
        ("siltstone_request_memory_bytes", "Bytes of requests that are read or not yet answered.", requests.clone()),
        ("siltstone_answer_memory_bytes", "Bytes of answers that are made or not yet sent.", answers.clone()),
    ] {
        registry.register(Box::new(PullingGauge::new(name, help, Box::new(move || budget.used_bytes() as f64))?))?;
    }
    Ok(())
}
