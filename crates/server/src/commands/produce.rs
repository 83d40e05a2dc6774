//! `siltstone produce`: a line a record, from standard input or a file.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use client::{Acks, Codec, Delivery, Producer, ProducerOptions, ProducerRecord};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::topic::Cluster;

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;
/// Deliveries not looked at yet; their records are bounded by the producer's own buffer.
const DELIVERIES: usize = 100_000;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Topic name; created if the broker allows that
    topic: String,
    /// Read lines from a file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write all records to this partition; otherwise by key, or in turns
    #[arg(long)]
    partition: Option<i32>,
    /// What stands before this text in a line is the record's key
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, default_value = "none")]
    compression: String,
    /// What to wait for: 0, 1 or all
    #[arg(long, default_value = "all")]
    acks: String,
    #[command(flatten)]
    cluster: Cluster,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let acks = match arguments.acks.as_str() {
        "0" => Acks::None,
        "1" => Acks::Leader,
        "all" | "-1" => Acks::All,
        other => bail!("--acks {other}: must be 0, 1 or all"),
    };
    let codec = match arguments.compression.as_str() {
        "none" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        other => bail!("--compression {other}: must be none, gzip, snappy, lz4 or zstd"),
    };
    let (input, length) = open(arguments.file.as_deref())?;
    let client = arguments.cluster.connect(true).await?;
    let options = ProducerOptions { acks, idempotent: acks == Acks::All, codec, ..ProducerOptions::default() };
    let producer = Producer::start(client, options).await?;

    let progress = progress_bar(length);
    let mut lines = read_lines(input)?;
    let mut waiting: VecDeque<Delivery> = VecDeque::new();
    let mut records = 0_u64;
    while let Some(line) = lines.recv().await {
        let line = line.context("read the input")?;
        progress.inc(line.len() as u64 + 1);
        let (key, value) = split_key(line, arguments.key_separator.as_deref());
        let record = ProducerRecord {
            topic: arguments.topic.clone(),
            partition: arguments.partition,
            key,
            value: Some(value),
            headers: Vec::new(),
            timestamp: None,
        };
        if waiting.len() == DELIVERIES {
            delivered(&mut waiting).await?;
        }
        waiting.push_back(producer.send(record).await?);
        records += 1;
    }
    producer.flush().await;
    while !waiting.is_empty() {
        delivered(&mut waiting).await?;
    }
    progress.finish_and_clear();
    eprintln!("{records} records written to {}", arguments.topic);
    Ok(())
}

/// Takes the oldest delivery; its failure ends the command, because what follows would stand in front of it.
async fn delivered(waiting: &mut VecDeque<Delivery>) -> Result<()> {
    if let Some(delivery) = waiting.pop_front() {
        delivery.await?;
    }
    Ok(())
}

/// The input, and its length if it is a file.
fn open(file: Option<&std::path::Path>) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let Some(path) = file else { return Ok((Box::new(io::stdin()), None)) };
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("open {}", path.display()))?.len();
    Ok((Box::new(file), Some(length)))
}

/// Reads lines on a thread of their own: standard input cannot be waited for otherwise.
fn read_lines(input: Box<dyn Read + Send>) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let read = move || {
        let mut input = BufReader::with_capacity(1 << 20, input);
        loop {
            let mut line = Vec::new();
            let outcome = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    if line.last() == Some(&b'\n') {
                        line.pop();
                    }
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            let ended = outcome.is_err();
            if sender.blocking_send(outcome).is_err() || ended {
                return;
            }
        }
    };
    runtime::spawn_thread("read lines", read).context("start a thread")?;
    Ok(receiver)
}

fn split_key(line: Vec<u8>, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let line = Bytes::from(line);
    let Some(separator) = separator.filter(|separator| !separator.is_empty()).map(str::as_bytes) else { return (None, line) };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
        None => (None, line),
    }
}

/// Shown on a terminal only.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    match length {
        Some(length) if io::stderr().is_terminal() => {
            let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}").expect("the template is valid");
            ProgressBar::new(length).with_style(style)
        }
        _ => ProgressBar::hidden(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_ends_the_key() {
        let split = |line: &str, separator| split_key(line.as_bytes().to_vec(), separator);
        assert_eq!(split("a::b::c", Some("::")), (Some(Bytes::from("a")), Bytes::from("b::c")));
        assert_eq!(split("abc", Some("::")), (None, Bytes::from("abc")));
        assert_eq!(split("a:b", None), (None, Bytes::from("a:b")));
        assert_eq!(split(":b", Some(":")), (Some(Bytes::new()), Bytes::from("b")));
    }
}
