//! Replays recordings against two fresh brokers and compares what they answer.
//!
//!     replay [--all] DIFFERENCES SILTSTONE KAFKA RECORDING…
//!
//! SILTSTONE and KAFKA are host:port. Prints a line for each recording, each difference that the file DIFFERENCES does not declare,
//! and a summary. With --all, the recordings are all there are, and a declared difference that none of them shows is an error too.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use differential::replay::Replay;
use differential::{differences, recording};

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = arguments.first().is_some_and(|first| first == "--all");
    if all {
        arguments.remove(0);
    }
    let [declared, siltstone, kafka, recordings @ ..] = &arguments[..] else {
        bail!("usage: replay [--all] DIFFERENCES SILTSTONE KAFKA RECORDING…");
    };
    let mut replay = Replay::new(siltstone, kafka, differences::read(Path::new(declared))?);
    let mut out = io::stdout();
    let mut failures = 0;
    for path in recordings {
        let exchanges = recording::read(Path::new(path))?;
        let report = replay.run(&exchanges).with_context(|| format!("replay {path}"))?;
        let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        writeln!(
            out,
            "{name}: {} requests, {} compared, {} without an answer, {} not served by Kafka; {} declared differences, {} others",
            exchanges.len(),
            report.compared,
            report.unanswered,
            report.not_served,
            report.declared,
            report.undeclared.len()
        )?;
        for (difference, requests) in &report.undeclared {
            writeln!(out, "  {difference} (request {}{})", requests[0], if requests.len() == 1 { "" } else { " and others" })?;
        }
        failures += report.undeclared.len();
    }
    if all {
        for unseen in replay.unseen() {
            writeln!(out, "line {} of the declared differences does not occur: {}", unseen.line, unseen.reason)?;
            failures += 1;
        }
    }
    writeln!(out, "differential: {} recordings, {failures} failures", recordings.len())?;
    if 0 < failures {
        std::process::exit(1);
    }
    Ok(())
}
