//! One file per command other than `serve`.

pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod produce;
pub(crate) mod quota;
pub(crate) mod segment;
pub(crate) mod store;
pub(crate) mod topic;
pub(crate) mod wal;
pub(crate) mod where_is;

mod position;
mod record_format;
mod record_json;
mod services;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat};
use indicatif::{ProgressBar, ProgressStyle};
use types::Timestamp;

/// Where commands look for a broker.
pub(crate) const DEFAULT_BOOTSTRAP: &str = "127.0.0.1:9092";
/// Where commands look for a broker's HTTP port.
pub(crate) const DEFAULT_HTTP: &str = "127.0.0.1:9644";

/// Arguments that each are right and together are not; status 2, as for those that are not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub(crate) String);

/// Runs a command that waits for others.
pub(crate) fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the I/O runtime")?;
    forgive_closed_pipe(runtime.block_on(command))
}

/// A reader that has seen enough, such as `head`, is not a failure.
pub(crate) fn forgive_closed_pipe(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Ok(()),
        outcome => outcome,
    }
}

/// Prints one line.
pub(crate) fn print_line(line: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Prints rows under their headings, each column as wide as its widest cell.
pub(crate) fn print_table(headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = io::stdout().lock();
    let mut print = |cells: &mut dyn Iterator<Item = &str>| {
        let line: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())
    };
    print(&mut headings.iter().copied())?;
    rows.iter().try_for_each(|row| print(&mut row.iter().map(String::as_str)))
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// A time as people and programs read it; its number where there is no such date.
pub(crate) fn show_time(time: Timestamp) -> String {
    let date = DateTime::from_timestamp_millis(time.0);
    date.map_or_else(|| time.0.to_string(), |date| date.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// How far work on `length` bytes is, where that is known; shown on a terminal only.
pub(crate) fn byte_progress(length: Option<u64>) -> ProgressBar {
    match length {
        Some(length) if io::stderr().is_terminal() => {
            let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}").expect("the template is valid");
            ProgressBar::new(length).with_style(style)
        }
        _ => ProgressBar::hidden(),
    }
}

/// Asks the HTTP port: status and body.
pub(crate) async fn http_get(http: &str, path: &str) -> Result<(u16, String)> {
    let url = format!("http://{http}{path}");
    let answer = reqwest::Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_secs(5))
        .build()
        .context("set up HTTP")?
        .get(&url)
        .send()
        .await
        .with_context(|| format!("no broker answers on {http}; start one with `siltstone serve`, or give its address with --http"))?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await.with_context(|| format!("read the answer of {url}"))?))
}
