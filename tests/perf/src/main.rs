//! Measures Siltstone beside what it stands on. `tests/perf/run` builds and calls it; docs/hacking.md says how.

mod bench;
mod bench_page;
mod cases;
mod cold_read;
mod kafka;
mod limits;
mod load;
mod machine;
mod markdown;
mod metrics;
mod object_delay;
mod pages;
mod process;
mod report;
mod siltstone;
mod statistics;
mod stops;
mod store_numbers;
mod store_page;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::Plan;
use crate::cases::CASES;
use crate::report::Run;
use crate::store_numbers::Scope;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests, delays and cold reads of a store, saved for docs/operations/store.md
    Store {
        /// The siltstone binary
        program: PathBuf,
        /// Seconds of each measurement
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// MiB that each cold read reads
        #[arg(long, default_value_t = 1024)]
        cold_mib: u64,
        /// Save the report here instead
        #[arg(long)]
        save: Option<PathBuf>,
    },
    /// Cases beside Apache Kafka and the machine, saved for docs/performance.md
    Bench {
        /// The siltstone binary
        program: PathBuf,
        /// Directory with Kafka's jars; without it Kafka is left out
        #[arg(long)]
        kafka: Option<PathBuf>,
        /// Names of cases, separated by spaces; all if not given. Of some only, nothing is saved unless --save is given
        #[arg(long, default_value = "")]
        cases: String,
        /// Only what takes ten minutes in three rounds
        #[arg(long)]
        quick: bool,
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Rounds of cases that no bar hangs on; as many as of the others if not given
        #[arg(long)]
        rounds_without_bar: Option<u32>,
        /// Seconds of each measurement
        #[arg(long, default_value_t = 6)]
        seconds: u64,
        /// Save the report here instead
        #[arg(long)]
        save: Option<PathBuf>,
    },
    /// List the cases of the bench
    Cases,
    /// Make the pages of the saved reports anew
    Pages {
        /// Only fail where one differs
        #[arg(long)]
        check: bool,
    },
    /// Serve an S3 in memory until standard input ends
    #[command(hide = true)]
    S3 {
        #[arg(long)]
        delay_ms: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Store { program, seconds, cold_mib, save } => {
            let run = Run::of(&program)?;
            let report = store_numbers::measure(&Scope { program, seconds, cold_mib }, run)?;
            report::save(&save.unwrap_or_else(|| pages::saved("store")), &report)
        }
        Command::Bench { program, kafka, cases, quick, rounds, rounds_without_bar, seconds, save } => {
            let run = Run::of(&program)?;
            let save = save.or_else(|| cases.trim().is_empty().then(|| pages::saved("bench")));
            let cases = cases.split_whitespace().map(str::to_owned).collect();
            let plan = Plan {
                program,
                libraries: kafka,
                cases,
                only_quick: quick,
                rounds,
                rounds_without_bar: rounds_without_bar.unwrap_or(rounds),
                seconds,
            };
            let report = bench::measure(&plan, run, |report| save.as_deref().map_or(Ok(()), |path| report::save(path, report)))?;
            print!("{}", bench_page::render(&report));
            Ok(())
        }
        Command::Cases => {
            for case in CASES {
                println!("{:24}{}{}", case.name, case.what, if case.is_quick { " (quick)" } else { "" });
            }
            Ok(())
        }
        Command::Pages { check: true } => pages::check(),
        Command::Pages { check: false } => pages::write(),
        Command::S3 { delay_ms } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(siltstone::serve_s3(Duration::from_millis(delay_ms)))
        }
    }
}
