//! `siltstone segment list`: a topic's segments, from the metadata service.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use metadata_api::{GrpcClient, MetadataClient};
use serde_json::json;
use types::{Offset, SegmentRef, TopicPartition};

use super::{DEFAULT_METADATA, print_json, print_table};

/// Segments asked for at once.
const PAGE: u32 = 1000;
/// How long the metadata service may take for one answer.
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List a topic's segments: offsets, sizes and objects
    List {
        /// Topic name
        topic: String,
        /// Only this partition
        #[arg(long)]
        partition: Option<i32>,
        /// The metadata service's URL
        #[arg(long, default_value = DEFAULT_METADATA)]
        metadata: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: Command) -> Result<()> {
    let Command::List { topic, partition, metadata, json } = command;
    let client = GrpcClient::connect(metadata.clone(), DEADLINE)?;
    let ready = client.ready().await;
    ready.with_context(|| {
        format!("no metadata service answers on {metadata}; start a broker with `siltstone serve`, or name it with --metadata")
    })?;
    let image = client.image().borrow().clone();
    let found = image.topic_named(&topic).with_context(|| format!("topic '{topic}' does not exist"))?;
    let count = i32::try_from(found.partitions.len()).context("count partitions")?;
    let mut segments = Vec::new();
    for index in 0..count {
        if partition.is_none_or(|only| only == index) {
            segments.extend(list(&client, TopicPartition::new(found.id, index)).await?.into_iter().map(|segment| (index, segment)));
        }
    }
    if json {
        let rows = segments.iter().map(|(index, segment)| {
            json!({
                "partition": index, "base": segment.base.0, "end": segment.end.0, "records": segment.records, "bytes": segment.bytes,
                "object": segment.object.to_string(), "position": segment.position, "max_timestamp": segment.max_timestamp.0,
            })
        });
        return Ok(print_json(&rows.collect())?);
    }
    let rows: Vec<_> = segments
        .iter()
        .map(|(index, segment)| {
            let numbers = [i64::from(*index), segment.base.0, segment.end.0 - 1].map(|number| number.to_string());
            let sizes = [segment.records, segment.bytes].map(|number| number.to_string());
            numbers.into_iter().chain(sizes).chain([segment.object.to_string()]).collect()
        })
        .collect();
    Ok(print_table(&["PARTITION", "FIRST", "LAST", "RECORDS", "BYTES", "OBJECT"], &rows)?)
}

async fn list(client: &dyn MetadataClient, partition: TopicPartition) -> Result<Vec<SegmentRef>> {
    let mut segments: Vec<SegmentRef> = Vec::new();
    let mut from = Offset::ZERO;
    loop {
        let page = client.segments(partition, from, PAGE).await.with_context(|| format!("list segments of {partition}"))?;
        let Some(last) = page.segments.last() else { return Ok(segments) };
        from = last.end;
        segments.extend(page.segments);
        if !page.more {
            return Ok(segments);
        }
    }
}
