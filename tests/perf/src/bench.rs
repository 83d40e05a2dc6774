//! Runs the cases: round by round, each on every peer in turn, so that what the machine does meanwhile meets all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cases::{CASES, Case, Peer};
use crate::kafka;
use crate::machine::{Shares, Watch};
use crate::report::Run;
use crate::siltstone::work_directory;
use crate::work;

/// What one case came to on one peer in one round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) case: String,
    pub(crate) peer: String,
    /// From 1.
    pub(crate) round: u32,
    /// By name; the unit is the name's end.
    pub(crate) measures: BTreeMap<String, f64>,
    /// Set-up and warm-up included.
    pub(crate) shares: Shares,
}

/// What could not be measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) case: String,
    pub(crate) peer: String,
    pub(crate) round: u32,
    pub(crate) why: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct BenchReport {
    pub(crate) run: Run,
    /// Version; empty where it was not measured.
    pub(crate) kafka: String,
    /// That were done.
    pub(crate) rounds: u32,
    /// That were done of cases that no bar hangs on.
    pub(crate) rounds_without_bar: u32,
    pub(crate) seconds: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<Failure>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// Kafka's jars; `None` leaves its peers out.
    pub(crate) libraries: Option<PathBuf>,
    /// Names; none for all.
    pub(crate) cases: Vec<String>,
    pub(crate) only_quick: bool,
    pub(crate) rounds: u32,
    /// Of cases that no bar hangs on, the first of the others.
    pub(crate) rounds_without_bar: u32,
    /// Of one measurement, warm-up apart.
    pub(crate) seconds: u64,
}

impl Plan {
    /// The cases in the order of their table.
    ///
    /// # Errors
    ///
    /// Where a name is not in it.
    fn selected(&self) -> Result<Vec<&'static Case>> {
        for name in &self.cases {
            ensure!(CASES.iter().any(|case| case.name == name), "there is no case {name}; `tests/perf/run cases` lists them");
        }
        let is_selected = |case: &&Case| match self.cases.as_slice() {
            [] => case.is_quick || !self.only_quick,
            names => names.iter().any(|name| name == case.name),
        };
        Ok(CASES.iter().filter(is_selected).collect())
    }

    fn has(&self, peer: Peer) -> bool {
        self.libraries.is_some() || !matches!(peer, Peer::Kafka | Peer::KafkaFsync)
    }
}

/// What a case needs to run on one peer.
pub(crate) struct Bench<'a> {
    pub(crate) program: &'a Path,
    pub(crate) libraries: Option<&'a Path>,
    /// Empty, for this measurement alone, on the disk.
    pub(crate) place: &'a Path,
    pub(crate) time: Duration,
}

/// Calls `after_round` with what there is so far: hours of measuring are not to be lost with the last of them.
///
/// # Errors
///
/// Where nothing could be measured at all; what fails alone stands in the report.
pub(crate) fn measure(plan: &Plan, run: Run, after_round: impl Fn(&BenchReport) -> Result<()>) -> Result<BenchReport> {
    let selected = plan.selected()?;
    let kafka = plan.libraries.as_deref().map(kafka::version).unwrap_or_default();
    let mut report =
        BenchReport { run, kafka, rounds: 0, rounds_without_bar: 0, seconds: plan.seconds, samples: Vec::new(), failures: Vec::new() };
    let (_directory, work) = work_directory()?;
    let begun = Instant::now();
    for round in 1..=plan.rounds {
        for case in selected.iter().filter(|case| round <= plan.rounds_without_bar || case.has_bar()) {
            for peer in case.peers.iter().filter(|peer| plan.has(**peer)) {
                eprintln!("{:>5} s  round {round} of {}: {} on {}", begun.elapsed().as_secs(), plan.rounds, case.name, peer.name());
                let place = work.join(format!("{}-{}-{round}", case.name, peer.name()));
                fs::create_dir_all(&place)?;
                let (libraries, time) = (plan.libraries.as_deref(), Duration::from_secs(plan.seconds));
                let bench = Bench { program: &plan.program, libraries, place: &place, time };
                let watch = Watch::start_with_children();
                let measured = work::measure(&bench, case, *peer);
                let (case, peer) = (case.name.to_owned(), peer.name().to_owned());
                match measured {
                    Ok(measures) => report.samples.push(Sample { case, peer, round, measures, shares: watch.shares() }),
                    Err(error) => {
                        eprintln!("         failed: {error:#}");
                        report.failures.push(Failure { case, peer, round, why: format!("{error:#}") });
                    }
                }
                fs::remove_dir_all(&place)?;
            }
        }
        (report.rounds, report.rounds_without_bar) = (round, round.min(plan.rounds_without_bar));
        ensure!(!report.samples.is_empty(), "nothing could be measured");
        after_round(&report)?;
    }
    Ok(report)
}
