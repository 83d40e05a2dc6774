//! `siltstone wal dump|accept-loss`, on the directory of a broker that does not run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Subcommand;
use runtime::{Random, SystemClock};
use serde_json::json;
use types::Timestamp;
use wal::{Dump, Entry, EntryKind, Options, accept_loss};

use super::print_line;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every entry
    Dump {
        /// The broker's data.dir
        #[arg(long, default_value = "./data")]
        data_dir: PathBuf,
        /// A JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Go on with what is left of a damaged log. What is cut off is kept aside
    AcceptLoss {
        /// The broker's data.dir
        #[arg(long, default_value = "./data")]
        data_dir: PathBuf,
    },
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Dump { data_dir, json } => dump(&data_dir.join("wal"), json),
        Command::AcceptLoss { data_dir } => {
            let options = Options::new(Arc::new(SystemClock), Arc::new(Random::from_os()));
            let accepted = accept_loss(&data_dir.join("wal"), &options)?;
            print_line(format_args!("the log goes on at {}; {} entries are given up", accepted.end, accepted.given_up))?;
            Ok(print_line(format_args!("its files as they were are in {}", accepted.aside.display()))?)
        }
    }
}

fn dump(directory: &std::path::Path, json: bool) -> Result<()> {
    let dump = Dump::open(directory)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if !json {
        writeln!(out, "log {}, {} generations", dump.id(), dump.generations().len())?;
    }
    for row in dump {
        let generation = row.generation;
        let lsn = row.lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
        let entry = match &row.entry {
            Ok(Some(entry)) => describe(entry),
            Ok(None) => json!({"kind": "unknown, may be skipped"}),
            Err(damage) => json!({"damaged": damage}),
        };
        if json {
            writeln!(out, "{}", json!({"generation": generation, "lsn": row.lsn.map(|lsn| lsn.0), "entry": entry}))?;
        } else {
            writeln!(out, "{generation}\t{lsn}\t{entry}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn describe(entry: &Entry) -> serde_json::Value {
    let Timestamp(append_time) = entry.append_time;
    match &entry.kind {
        EntryKind::Batch { partition, leader_epoch, base_offset, last_offset, .. } => json!({
            "kind": "batch", "topic": partition.topic.to_string(), "partition": partition.partition, "leader_epoch": leader_epoch.0,
            "base_offset": base_offset.0, "last_offset": last_offset.0, "bytes": entry.batch.len(), "append_time": append_time,
        }),
        EntryKind::EpochStart(start) => json!({
            "kind": "epoch start", "epoch": start.epoch.0, "previous_end": start.previous_end.0,
            "metadata_revision": start.metadata_revision.0, "append_time": append_time,
        }),
    }
}
