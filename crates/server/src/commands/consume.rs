//! `siltstone consume`: values to standard output, a line a record.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use client::{Consumer, ConsumerOptions, OffsetSpec};

use super::topic::Cluster;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Topic name
    topic: String,
    /// Read only this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Where to begin: beginning, end, or an offset
    #[arg(long, default_value = "beginning")]
    offset: String,
    /// Go on waiting for new records instead of ending at what is there now
    #[arg(long)]
    follow: bool,
    /// End after this many records
    #[arg(long)]
    max: Option<u64>,
    /// Print partition, offset and key before each value, separated by tabs
    #[arg(long)]
    long: bool,
    #[command(flatten)]
    cluster: Cluster,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.cluster.connect(false).await?;
    let partitions: Vec<i32> = match arguments.partition {
        Some(partition) => vec![partition],
        None => client.describe_topic(&arguments.topic).await?.partitions.iter().map(|partition| partition.partition).collect(),
    };
    let options = ConsumerOptions::default();
    let mut consumer = match arguments.offset.as_str() {
        "beginning" => assign(client, &arguments.topic, &partitions, OffsetSpec::Earliest, options).await?,
        "end" => assign(client, &arguments.topic, &partitions, OffsetSpec::Latest, options).await?,
        offset => {
            let offset: i64 = offset.parse().map_err(|_| anyhow::anyhow!("--offset {offset}: must be beginning, end, or an offset"))?;
            Consumer::at(client, &arguments.topic, partitions.iter().map(|partition| (*partition, offset)).collect(), options)
        }
    };
    let ends = consumer.ends().await?;
    let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut left = arguments.max.unwrap_or(u64::MAX);
    while 0 < left && (arguments.follow || !consumer.has_reached(&ends)) {
        for record in consumer.poll().await? {
            // Records that came after the command began are the next command's, unless they are followed.
            if left == 0 || (!arguments.follow && ends.get(&record.partition).is_some_and(|end| *end <= record.offset)) {
                continue;
            }
            if arguments.long {
                write!(out, "{}\t{}\t", record.partition, record.offset)?;
                out.write_all(record.key.as_deref().unwrap_or_default())?;
                out.write_all(b"\t")?;
            }
            out.write_all(record.value.as_deref().unwrap_or_default())?;
            out.write_all(b"\n")?;
            left -= 1;
        }
        if arguments.follow {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn assign(client: client::Client, topic: &str, partitions: &[i32], start: OffsetSpec, options: ConsumerOptions) -> Result<Consumer> {
    let starts: Vec<_> = partitions.iter().map(|partition| (*partition, start)).collect();
    Ok(Consumer::assign(client, topic, &starts, options).await?)
}
