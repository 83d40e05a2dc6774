//! `siltstone store probe`: a report card of what a store really does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::{Random, SystemClock};
use serde_json::json;
use store::{Measurement, Probe, ReportCard};

use crate::commands::services::must_be_there;
use crate::commands::{print_json, print_line, print_table};
use crate::config::StoreConfig;

pub(super) async fn run(store: StoreConfig, quick: bool, as_json: bool) -> Result<()> {
    must_be_there(&store)?;
    let probe = Probe::open(&store.url, &store.s3_options(), Arc::new(SystemClock), Arc::new(Random::from_os())).await?;
    let outcome = tokio::select! {
        card = ask(&probe, quick) => Some(card),
        // Whoever has seen enough leaves nothing behind either.
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| None).context("listen for signals")?,
    };
    probe.clean().await.context("remove what the probe has put, below probe-…/")?;
    let Some(card) = outcome.transpose()? else { bail!("interrupted; what the probe had put is removed") };
    report(&store.url, &card, as_json)?;
    let lacking: Vec<&str> = card.lacking().map(|finding| finding.check).collect();
    if !lacking.is_empty() {
        bail!("store {} lacks what a broker relies on, or does not show it: {}; use another one", store.url, lacking.join(", "));
    }
    Ok(())
}

async fn ask(probe: &Probe, quick: bool) -> Result<ReportCard> {
    let mut card = probe.run().await;
    if !quick {
        card.measurements = probe.measure().await.context("measure the store; leave that out with --quick")?;
    }
    Ok(card)
}

fn report(url: &str, card: &ReportCard, as_json: bool) -> Result<()> {
    if as_json {
        let findings = card.findings.iter().map(|finding| {
            json!({
                "check": finding.check, "asks": finding.asks, "need": finding.need.as_str(), "verdict": finding.verdict.as_str(),
                "detail": finding.detail,
            })
        });
        let measurements = card.measurements.iter().map(|measurement| {
            json!({
                "what": measurement.what, "requests": measurement.requests, "parallel": measurement.parallel,
                "p50_ms": ms(measurement.p50), "p99_ms": ms(measurement.p99), "bytes_per_second": measurement.bytes_per_second.round(),
            })
        });
        return Ok(print_json(&json!({
            "store": url, "findings": findings.collect::<Vec<_>>(), "measurements": measurements.collect::<Vec<_>>(),
        }))?);
    }
    let rows: Vec<_> = card
        .findings
        .iter()
        .map(|finding| [finding.check, finding.need.as_str(), finding.verdict.as_str(), &finding.detail].map(str::to_owned).into())
        .collect();
    print_table(&["CHECK", "NEED", "DOES", "SEEN"], &rows)?;
    if !card.measurements.is_empty() {
        print_line("")?;
        let rows: Vec<_> = card.measurements.iter().map(measured).collect();
        print_table(&["REQUEST", "COUNT", "AT ONCE", "P50 (ms)", "P99 (ms)", "MIB/S"], &rows)?;
    }
    Ok(())
}

fn measured(measurement: &Measurement) -> Vec<String> {
    let Measurement { what, requests, parallel, p50, p99, bytes_per_second } = measurement;
    let rate = if *bytes_per_second == 0.0 { "-".to_owned() } else { format!("{:.1}", bytes_per_second / f64::from(1 << 20)) };
    vec![(*what).to_owned(), requests.to_string(), parallel.to_string(), format!("{:.1}", ms(*p50)), format!("{:.1}", ms(*p99)), rate]
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
