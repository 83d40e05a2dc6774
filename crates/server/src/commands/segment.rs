//! `siltstone segment list|dump`: a topic's segments, from the metadata service, and what lies in an object.

mod dump;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;
use types::TopicPartition;

use super::services::{Metadata, Store, list_segments};
use super::{print_json, print_table, show_time};
use crate::Place;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List a topic's segments: offsets, sizes and objects
    List {
        /// Topic name
        topic: String,
        /// Only this partition
        #[arg(long)]
        partition: Option<i32>,
        #[command(flatten)]
        metadata: Metadata,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what an object holds: header, segments and batches; status 1 if it is damaged
    Dump {
        /// A file, or else the key of an object in the store, as `segment list` shows it
        object: String,
        /// Also print every record
        #[arg(long)]
        records: bool,
        #[command(flatten)]
        store: Store,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List { topic, partition, metadata, json } => list(&topic, partition, &metadata, json).await,
        Command::Dump { object, records, store, json } => dump::run(&object, records, store, json).await,
    }
}

async fn list(topic: &str, partition: Option<i32>, metadata: &Metadata, json: bool) -> Result<()> {
    // The environment alone says where it is: everything else is about the store.
    let client = metadata.connect(&Place::default()).await?;
    let image = client.image().borrow().clone();
    let found =
        image.topic_named(topic).with_context(|| format!("topic '{topic}' does not exist; `siltstone topic list` shows those that do"))?;
    let count = i32::try_from(found.partitions.len()).context("count partitions")?;
    if let Some(partition) = partition
        && !(0..count).contains(&partition)
    {
        anyhow::bail!("topic '{topic}' has no partition {partition}, only 0 to {}", count - 1);
    }
    let mut segments = Vec::new();
    for index in (0..count).filter(|index| partition.is_none_or(|only| only == *index)) {
        let listed = list_segments(client.as_ref(), TopicPartition::new(found.id, index)).await?;
        segments.extend(listed.segments.into_iter().map(|segment| (index, segment)));
    }
    if json {
        let rows = segments.iter().map(|(index, segment)| {
            json!({
                "partition": index, "base": segment.base.0, "end": segment.end.0, "records": segment.records, "bytes": segment.bytes,
                "object": segment.object.to_string(), "origin": segment.origin.to_string(), "position": segment.position,
                "max_timestamp": segment.max_timestamp.0,
            })
        });
        return Ok(print_json(&rows.collect())?);
    }
    let rows: Vec<_> = segments
        .iter()
        .map(|(index, segment)| {
            let numbers = [i64::from(*index), segment.base.0, segment.end.0 - 1].map(|number| number.to_string());
            let sizes = [segment.records, segment.bytes].map(|number| number.to_string());
            let texts = [show_time(segment.max_timestamp), segment.origin.to_string(), segment.object.to_string()];
            numbers.into_iter().chain(sizes).chain(texts).collect()
        })
        .collect();
    Ok(print_table(&["PARTITION", "FIRST", "LAST", "RECORDS", "BYTES", "MAX TIMESTAMP", "ORIGIN", "OBJECT"], &rows)?)
}
