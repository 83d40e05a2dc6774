//! `siltstone wal dump|accept-loss`, on the directory of a broker; only `dump` works beside one that runs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, Subcommand};
use runtime::{Random, SystemClock};
use serde_json::{Value, json};
use types::{Lsn, TopicPartition};
use wal::{Dump, Dumped, Entry, EntryKind, Options, accept_loss};

use super::{print_line, show_time};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print entries, also of a broker that runs
    Dump(DumpArguments),
    /// Go on with what is left of a damaged log. What is cut off is kept aside
    AcceptLoss {
        /// The broker's data.dir
        #[arg(long, default_value = "./data")]
        data_dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct DumpArguments {
    /// The broker's data.dir
    #[arg(long, default_value = "./data")]
    data_dir: PathBuf,
    /// Only batches of the topic with this id, as `topic list` shows it
    #[arg(long, value_name = "ID")]
    topic: Option<String>,
    /// Only batches of this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Begin at this log sequence number
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    from: u64,
    /// End before this log sequence number
    #[arg(long, value_name = "LSN")]
    until: Option<u64>,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Dump(arguments) => dump(&arguments),
        Command::AcceptLoss { data_dir } => {
            let options = Options::new(Arc::new(SystemClock), Arc::new(Random::from_os()));
            let accepted = accept_loss(&data_dir.join("wal"), &options)?;
            print_line(format_args!("the log goes on at {}; {} entries are given up", accepted.end, accepted.given_up))?;
            Ok(print_line(format_args!("its files as they were are in {}", accepted.aside.display()))?)
        }
    }
}

impl DumpArguments {
    /// Whether a row is asked for. What cannot be read may be anything, and is always shown.
    fn wants(&self, row: &Dumped) -> bool {
        let (topic, index) = (self.topic.as_deref(), self.partition);
        let wants = |partition: TopicPartition| {
            topic.is_none_or(|topic| topic == partition.topic.to_string()) && index.is_none_or(|index| index == partition.partition)
        };
        match &row.entry {
            Ok(Some(Entry { kind: EntryKind::Batch { partition, .. }, .. })) => wants(*partition),
            Ok(_) => topic.is_none() && index.is_none(),
            Err(_) => true,
        }
    }
}

fn dump(arguments: &DumpArguments) -> Result<()> {
    let directory: &Path = &arguments.data_dir.join("wal");
    let dump = Dump::open(directory)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if !arguments.json {
        writeln!(out, "log {}, {} generations", dump.id(), dump.generations().len())?;
    }
    let is_over = |row: &Dumped| row.lsn.zip(arguments.until).is_some_and(|(lsn, until)| until <= lsn.0);
    for row in dump.starting_at(Lsn(arguments.from)).take_while(|row| !is_over(row)).filter(|row| arguments.wants(row)) {
        if arguments.json {
            writeln!(out, "{}", as_json(&row))?;
        } else {
            writeln!(out, "{}", as_text(&row))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn as_json(row: &Dumped) -> Value {
    let entry = match &row.entry {
        Ok(Some(entry)) => describe(entry),
        Ok(None) => json!({"kind": "unknown, may be skipped"}),
        Err(damage) => json!({"damaged": damage}),
    };
    json!({"generation": row.generation, "lsn": row.lsn.map(|lsn| lsn.0), "synced": row.synced.0, "entry": entry})
}

fn as_text(row: &Dumped) -> String {
    let lsn = row.lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
    let entry = match &row.entry {
        Ok(Some(Entry {
            kind: EntryKind::Batch { partition, leader_epoch, base_offset, last_offset, .. }, append_time, batch, ..
        })) => format!(
            "batch {partition} offsets {base_offset} to {last_offset}, {} bytes, epoch {leader_epoch}, {}",
            batch.len(),
            show_time(*append_time)
        ),
        Ok(Some(Entry { kind: EntryKind::EpochStart(start), append_time, .. })) => format!(
            "epoch {} starts, the log ended at {}, metadata revision {}, {}",
            start.epoch,
            start.previous_end,
            start.metadata_revision,
            show_time(*append_time)
        ),
        Ok(None) => "of a kind that may be skipped".to_owned(),
        Err(damage) => format!("damaged: {damage}"),
    };
    format!("{}\t{lsn}\t{entry}", row.generation)
}

fn describe(entry: &Entry) -> Value {
    let append_time = entry.append_time.0;
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
