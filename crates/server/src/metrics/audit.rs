//! The auditor's part of /metrics.

use ::audit::AuditHandle;
use anyhow::{Context, Result};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntGaugeVec, Opts, Registry};

use super::signed;

/// Reads the auditor's status at each scrape.
struct AuditCollector {
    audit: AuditHandle,
    segments: IntCounter,
    bytes: IntCounter,
    rounds: IntCounter,
    round_age: Gauge,
    problems: IntGaugeVec,
}

/// Shows what the auditor does from now on.
pub(crate) fn register(registry: &Registry, audit: AuditHandle) -> Result<()> {
    let make = || -> prometheus::Result<AuditCollector> {
        Ok(AuditCollector {
            audit,
            segments: IntCounter::new("siltstone_store_audit_segments_total", "Segments that the auditor has held against metadata")?,
            bytes: IntCounter::new("siltstone_store_audit_bytes_total", "Bytes that the auditor has read from the store")?,
            rounds: IntCounter::new("siltstone_store_audit_rounds_total", "Times the auditor has read all objects of its share")?,
            round_age: Gauge::new(
                "siltstone_store_audit_round_age_seconds",
                "Time since the auditor had read all objects of its share, or since the start before it has",
            )?,
            problems: IntGaugeVec::new(
                Opts::new(
                    "siltstone_store_audit_problems",
                    "Segments that are not in the store as metadata has them, as far as is known now, 32 of an object at most",
                ),
                &["kind"],
            )?,
        })
    };
    let collector = make().context("make metrics")?;
    registry.register(Box::new(collector)).context("register metrics")
}

impl AuditCollector {
    fn families(&self) -> [&dyn Collector; 5] {
        [&self.segments, &self.bytes, &self.rounds, &self.round_age, &self.problems]
    }
}

impl Collector for AuditCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.families().iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = self.audit.status();
        for (counter, counted) in [(&self.segments, status.segments), (&self.bytes, status.bytes), (&self.rounds, status.rounds)] {
            counter.inc_by(counted.saturating_sub(counter.get()));
        }
        self.round_age.set(status.round_age.as_secs_f64());
        for (kind, count) in status.problems {
            self.problems.with_label_values(&[kind.as_str()]).set(signed(count));
        }
        self.families().iter().flat_map(|family| family.collect()).collect()
    }
}
