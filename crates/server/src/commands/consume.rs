//! `siltstone consume`: a topic's records to standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use client::{Consumer, ConsumerOptions, ConsumerRecord, GroupConsumer, OffsetSpec, OutOfRange};

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
    /// Read as a member of this consumer group: its partitions, from what it has committed (--from says where else), and commit what
    /// was printed
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["only", "until"])]
    group: Option<String>,
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
    fn writer(self, columns: Columns) -> RecordWriter {
        RecordWriter { topic: self.topic, format: self.format, columns, key_separator: self.key_separator, null: self.null }
    }

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
    if let Some(group) = arguments.group.clone() {
        let ends = if arguments.follow { None } else { Some(Position::End.resolve(&client, &arguments.topic, &bounds).await?) };
        let (start, out_of_range) = where_nothing_is_committed(arguments.from)?;
        let options = ConsumerOptions { out_of_range, ..ConsumerOptions::default() };
        let member = GroupConsumer::join(client, &group, &arguments.topic, start, options).await?;
        let max = arguments.max_records.unwrap_or(u64::MAX);
        return copy_as_member(member, ends.as_ref(), max, &arguments.writer(columns)).await;
    }
    let starts = arguments.from.resolve(&client, &arguments.topic, &bounds).await?;
    if matches!(arguments.from, Position::Offset(_)) {
        check_starts(&arguments.topic, &starts, &bounds)?;
    }
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
    let max = arguments.max_records.unwrap_or(u64::MAX);
    copy(consumer, &ends, max, &arguments.writer(columns)).await
}

/// Where a group begins a partition, and where it goes on when what it committed is deleted.
fn where_nothing_is_committed(from: Position) -> Result<(OffsetSpec, OutOfRange), WrongUse> {
    match from {
        Position::Beginning => Ok((OffsetSpec::Earliest, OutOfRange::Earliest)),
        Position::End => Ok((OffsetSpec::Latest, OutOfRange::Latest)),
        Position::Time(time) => Ok((OffsetSpec::Timestamp(time), OutOfRange::Earliest)),
        Position::Offset(_) | Position::Last(_) => {
            Err(WrongUse("with --group, --from is beginning, end or @TIME; `siltstone group reset` sets a group's offsets".to_owned()))
        }
    }
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

/// The same as a member of a group, which commits what was written. Ends too when it is interrupted, and leaves the group in any case.
async fn copy_as_member(mut member: GroupConsumer, ends: Option<&BTreeMap<i32, i64>>, max: u64, writer: &RecordWriter) -> Result<()> {
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut left = max;
    let outcome = loop {
        let is_there = |(partition, position): (&i32, &i64)| ends.and_then(|ends| ends.get(partition)).is_some_and(|end| end <= position);
        if left == 0 || ends.is_some() && member.positions().iter().all(is_there) {
            break Ok(());
        }
        let records = tokio::select! {
            polled = member.poll() => match polled {
                Ok(records) => records,
                Err(error) => break Err(error.into()),
            },
            _ = &mut interrupted => break Ok(()),
        };
        if let Err(error) = write_and_commit(&mut member, &records, &mut left, writer).await {
            break Err(error);
        }
    };
    let gone = member.leave().await;
    outcome.and(gone.map_err(Into::into))
}

/// Writes `records`, at most `left` of them, and commits what was written.
async fn write_and_commit(member: &mut GroupConsumer, records: &[ConsumerRecord], left: &mut u64, writer: &RecordWriter) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let taken = &records[..records.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
    let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    taken.iter().try_for_each(|record| writer.write(&mut out, record))?;
    out.flush()?;
    drop(out);
    *left -= taken.len() as u64;
    // What was polled ends behind control batches and gaps, which the last record does not.
    let offsets = if taken.len() == records.len() {
        member.positions().clone()
    } else {
        taken.iter().map(|record| (record.partition, record.offset + 1)).collect()
    };
    member.commit(&offsets).await?;
    Ok(())
}
