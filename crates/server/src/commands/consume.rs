//! `siltstone consume`: a topic's records to standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use client::{Consumer, ConsumerOptions};

use super::WrongUse;
use super::position::{Bounds, Position};
use super::record_format::{Columns, RecordFormat, RecordWriter};
use super::topic::Cluster;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Topic name
    topic: String,
    /// Read only this partition; may be repeated
    #[arg(long = "partition", value_name = "PARTITION", value_delimiter = ',')]
    only: Vec<i32>,
    /// Where to begin: beginning, end, an offset, -N for the last N of each partition, or @TIME (RFC 3339, or milliseconds since 1970)
    #[arg(long, visible_alias = "offset", value_name = "WHERE", default_value = "beginning", allow_hyphen_values = true, value_parser = Position::parse)]
    from: Position,
    /// Where to end, before the record there; written as for --from. Without it: what is there now
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = Position::parse, conflicts_with = "follow")]
    until: Option<Position>,
    /// Go on waiting for new records
    #[arg(long)]
    follow: bool,
    /// End after this many records
    #[arg(long, visible_alias = "max", value_name = "N")]
    max_records: Option<u64>,
    /// text, json (a line a record), or a format string: %t topic, %p partition, %o offset, %T timestamp, %h headers, %k key,
    /// %K its length, %s value, %S its length; \n, \t and \xNN. Nothing is added to a format string, not even an end of line
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = RecordFormat::parse)]
    format: RecordFormat,
    /// In text, print each record's partition
    #[arg(long)]
    partitions: bool,
    /// In text, print each record's offset
    #[arg(long)]
    offsets: bool,
    /// In text, print each record's timestamp, in milliseconds since 1970
    #[arg(long)]
    timestamps: bool,
    /// In text, print each record's headers
    #[arg(long)]
    headers: bool,
    /// In text, print each record's key
    #[arg(long)]
    keys: bool,
    /// Short for --partitions --offsets --keys
    #[arg(long)]
    long: bool,
    /// What stands between key and value in text
    #[arg(long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    key_separator: String,
    /// What stands for a null, in text and in format strings
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: String,
    #[command(flatten)]
    cluster: Cluster,
}

impl Arguments {
    fn columns(&self) -> Columns {
        Columns {
            partition: self.partitions || self.long,
            offset: self.offsets || self.long,
            timestamp: self.timestamps,
            headers: self.headers,
            key: self.keys || self.long,
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let columns = arguments.columns();
    if arguments.format != RecordFormat::Text && columns != Columns::default() {
        return Err(WrongUse("--partitions, --offsets, --timestamps, --headers, --keys and --long choose what text shows; leave out --format, or say it with a format string".to_owned()).into());
    }
    let client = arguments.cluster.connect(false).await?;
    let described = super::topic::describe_topic(&client, &arguments.topic).await?;
    let partitions = match arguments.only.as_slice() {
        [] => described.partitions.iter().map(|partition| partition.partition).collect(),
        only => only.to_vec(),
    };
    let bounds = Bounds::ask(&client, &arguments.topic, &partitions).await?;
    let starts = arguments.from.resolve(&client, &arguments.topic, &bounds).await?;
    check_starts(&arguments.topic, &starts, &bounds)?;
    // Records that came after the command began are the next command's, unless they are followed.
    let ends = match arguments.until {
        _ if arguments.follow => BTreeMap::new(),
        None => Position::End.resolve(&client, &arguments.topic, &bounds).await?,
        Some(until) => {
            let mut ends = until.resolve(&client, &arguments.topic, &bounds).await?;
            for (partition, end) in &mut ends {
                *end = bounds.0.get(partition).map_or(*end, |(_, now)| (*end).min(*now));
            }
            ends
        }
    };
    let consumer = Consumer::at(client, &arguments.topic, starts, ConsumerOptions::default());
    let writer = RecordWriter {
        topic: arguments.topic,
        format: arguments.format,
        columns,
        key_separator: arguments.key_separator,
        null: arguments.null,
    };
    copy(consumer, &ends, arguments.max_records.unwrap_or(u64::MAX), &writer).await
}

/// An offset that a partition does not have would end the command in the middle, or never.
fn check_starts(topic: &str, starts: &BTreeMap<i32, i64>, bounds: &Bounds) -> Result<()> {
    for (partition, start) in starts {
        if let Some((first, end)) = bounds.0.get(partition)
            && !(*first..=*end).contains(start)
        {
            bail!("{topic}-{partition} has offsets from {first} to {end}, not {start}; give one of them, or --from beginning or end");
        }
    }
    Ok(())
}

/// Writes records until every partition is at its end, or `max` of them. Partitions without an end are followed.
async fn copy(mut consumer: Consumer, ends: &BTreeMap<i32, i64>, max: u64, writer: &RecordWriter) -> Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut left = max;
    loop {
        for (partition, end) in ends {
            if consumer.positions().get(partition).is_some_and(|position| end <= position) {
                consumer.unassign(*partition);
            }
        }
        if left == 0 || consumer.positions().is_empty() {
            break;
        }
        for record in consumer.poll().await? {
            if left == 0 {
                break;
            }
            if ends.get(&record.partition).is_none_or(|end| record.offset < *end) {
                writer.write(&mut out, &record)?;
                left -= 1;
            }
        }
        if ends.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(())
}
