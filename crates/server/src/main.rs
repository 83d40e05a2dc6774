//! The `siltstone` program: reads the command line, runs one command, turns its outcome into an exit status.

mod commands;
mod config;
mod data_dir;
mod health;
mod http;
mod logging;
mod malloc;
mod metadata;
mod metrics;
mod ports;
mod recovery;
mod serve;
mod whereabouts;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigError, Layers, Raw};

/// A Kafka broker whose log lives in object storage.
#[derive(Parser)]
#[command(name = "siltstone", version, max_term_width = 120)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker and its metadata service in one process
    Serve(Settings),
    /// Create, list, describe, alter and delete topics, and elect leaders
    #[command(subcommand)]
    Topic(commands::topic::Command),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(commands::group::Command),
    /// List and alter client quotas
    #[command(subcommand)]
    Quota(commands::quota::Command),
    /// Write lines from standard input or a file into a topic
    Produce(commands::produce::Arguments),
    /// Read a topic's records to standard output
    Consume(commands::consume::Arguments),
    /// Look at what lies in the store
    #[command(subcommand)]
    Segment(commands::segment::Command),
    /// Create and probe a store, check it against the metadata, or rebuild the metadata from it
    #[command(subcommand)]
    Store(commands::store::Command),
    /// Look at and repair a write-ahead log
    #[command(subcommand)]
    Wal(commands::wal::Command),
    /// Say where an offset's record is: in memory, in the write-ahead log, or in which object
    Where(commands::where_is::Arguments),
    /// Ask a running broker how it is; status 0 if it is ready
    Health(commands::health::Arguments),
    /// List every configuration key, check a configuration, or change that of running brokers and of groups
    #[command(subcommand)]
    Config(commands::config::Command),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Where the configuration comes from. Stronger sources last: file, environment (SILTSTONE_ and the key in capitals, dots as
/// underscores), command line.
#[derive(Args, Clone, Default)]
pub(crate) struct Settings {
    #[command(flatten)]
    place: Place,
    /// Short for --set listeners=LISTENERS
    #[arg(long, value_name = "LISTENERS")]
    listen: Option<String>,
    /// Short for --set http.listen=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
}

/// Those that say which broker it is: where its files and its store are.
#[derive(Args, Clone, Default)]
pub(crate) struct Place {
    /// The broker's file of key=value lines
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Set one key of its configuration; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Short for --set data.dir=DIR
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Short for --set store.url=URL
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl From<Place> for Settings {
    fn from(place: Place) -> Self {
        Self { place, ..Self::default() }
    }
}

impl Settings {
    /// Merges all sources.
    fn raw(self) -> Result<Raw, ConfigError> {
        let Self { place: Place { config, set, data_dir, store }, listen, http } = self;
        let mut command_line = Vec::new();
        for (flag, key, value) in [
            ("--data-dir", "data.dir", data_dir),
            ("--store", "store.url", store),
            ("--listen", "listeners", listen),
            ("--http", "http.listen", http),
        ] {
            if let Some(value) = value {
                let argument = format!("{flag} {value}");
                command_line.push((key.to_owned(), value, argument));
            }
        }
        for setting in set {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(ConfigError(format!("--set {setting}: write --set KEY=VALUE")));
            };
            command_line.push((key.trim().to_owned(), value.trim().to_owned(), format!("--set {setting}")));
        }
        Layers { file: config, environment: std::env::vars().collect(), command_line }.merge()
    }

    /// Merges all sources, sets the log up as configured, so that warnings go there, and resolves the rest. The second value holds a
    /// line for each thing that was accepted without effect.
    fn resolve(self) -> anyhow::Result<(Config, Vec<String>)> {
        let raw = self.raw()?;
        logging::init(raw.get("log.format"), raw.get("log.level")).map_err(|why| raw.refuse("log.level", why))?;
        Ok((Config::resolve(&raw)?, raw.warnings))
    }
}

/// Wrong use or configuration.
const EXIT_USAGE: u8 = 2;
/// The write-ahead log stopped after a failed write or sync: nothing restarts this by itself, a person looks at the disk first.
const EXIT_WAL_STOPPED: u8 = 3;
/// The write-ahead log is damaged or ends too early: a person decides whether to go on without what is missing (rule R11).
const EXIT_WAL_DAMAGED: u8 = 4;

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        // Help and version are asked for, and have lines of their own.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        Err(error) => {
            eprintln!("siltstone: {}", in_one_line(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(command_line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("siltstone: {error:#}");
            if error.is::<ConfigError>() || error.is::<commands::WrongUse>() {
                ExitCode::from(EXIT_USAGE)
            } else if error.is::<serve::WalStopped>() {
                ExitCode::from(EXIT_WAL_STOPPED)
            } else if matches!(error.downcast_ref(), Some(wal::WalError::Damaged { .. })) {
                ExitCode::from(EXIT_WAL_DAMAGED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// A refused command line as every other error is told: in one line that says what to do.
fn in_one_line(error: &clap::Error) -> String {
    let rendered = error.to_string();
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Usage:"));
    let told: Vec<_> = lines.filter(|line| !line.starts_with("For more information")).collect();
    let told = told.join(" ");
    format!("{}; --help says more", told.strip_prefix("error: ").unwrap_or(&told))
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(settings) => {
            let (config, warnings) = settings.resolve()?;
            serve::run(config, warnings)
        }
        Command::Config(command) => commands::block_on(commands::config::run(command)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut CommandLine::command(), "siltstone", &mut std::io::stdout());
            Ok(())
        }
        Command::Wal(command) => commands::forgive_closed_pipe(commands::wal::run(command)),
        Command::Topic(command) => commands::block_on(commands::topic::run(command)),
        Command::Group(command) => commands::block_on(commands::group::run(command)),
        Command::Quota(command) => commands::block_on(commands::quota::run(command)),
        Command::Produce(arguments) => commands::block_on(commands::produce::run(arguments)),
        Command::Consume(arguments) => commands::block_on(commands::consume::run(arguments)),
        Command::Segment(command) => commands::block_on(commands::segment::run(command)),
        Command::Store(command) => commands::block_on(commands::store::run(command)),
        Command::Where(arguments) => commands::block_on(commands::where_is::run(arguments)),
        Command::Health(arguments) => commands::block_on(commands::health::run(arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
