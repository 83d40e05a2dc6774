//! `siltstone produce`: a line a record, from standard input or files.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use client::{Acks, Codec, Delivery, Producer, ProducerOptions, ProducerRecord, RecordHeader};
use tokio::sync::mpsc;

use super::record_json::{self, JsonRecord};
use super::topic::Cluster;
use super::{WrongUse, byte_progress};

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;
/// Deliveries not looked at yet; their records are bounded by the producer's own buffer.
const DELIVERIES: usize = 100_000;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Topic name; created if the broker allows that
    topic: String,
    /// Files to read lines from, one after the other; - is standard input, which is also what is read without any
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same as naming the file without this flag
    #[arg(long = "file", value_name = "FILE", conflicts_with = "files")]
    file: Option<PathBuf>,
    /// What a line is: text, or json as `consume --format json` writes it (key, value, headers and timestamp count)
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Write all records to this partition; otherwise by key, or in turns
    #[arg(long)]
    partition: Option<i32>,
    /// What stands before this text in a line is the record's key
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A key or value of exactly this text is null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// A header for every record, before those of its line; may be repeated
    #[arg(long = "header", value_name = "KEY=VALUE")]
    headers: Vec<String>,
    /// How batches are compressed
    #[arg(long, default_value = "none", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"])]
    compression: String,
    /// What to wait for
    #[arg(long, default_value = "all", allow_hyphen_values = true, value_parser = ["0", "1", "all", "-1"])]
    acks: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// What a line becomes.
enum LineFormat {
    Json,
    Text { key_separator: Option<String>, null: Option<String> },
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let acks = match arguments.acks.as_str() {
        "0" => Acks::None,
        "1" => Acks::Leader,
        _ => Acks::All,
    };
    let codec = match arguments.compression.as_str() {
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => Codec::None,
    };
    let format = line_format(&arguments)?;
    let headers = arguments.headers.iter().map(|header| parse_header(header)).collect::<Result<Vec<_>, WrongUse>>()?;
    let files: Vec<PathBuf> = arguments.files.iter().chain(&arguments.file).cloned().collect();
    let (inputs, length) = open(&files)?;
    let client = arguments.cluster.connect(true).await?;
    let options = ProducerOptions { acks, idempotent: acks == Acks::All, codec, ..ProducerOptions::default() };
    let producer = Producer::start(client, options).await?;

    let progress = byte_progress(length);
    let mut lines = read_lines(inputs)?;
    let mut waiting: VecDeque<Delivery> = VecDeque::new();
    let mut records = 0_u64;
    while let Some(line) = lines.recv().await {
        let line = line.context("read the input")?;
        progress.inc(line.len() as u64 + 1);
        let read = format.read(line).map_err(|reason| anyhow::anyhow!("line {}: {reason}", records + 1))?;
        let record = ProducerRecord {
            topic: arguments.topic.clone(),
            partition: arguments.partition,
            key: read.key,
            value: read.value,
            headers: headers.iter().cloned().chain(read.headers).collect(),
            timestamp: read.timestamp,
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

fn line_format(arguments: &Arguments) -> Result<LineFormat, WrongUse> {
    let (key_separator, null) = (arguments.key_separator.clone(), arguments.null.clone());
    if arguments.format == "text" {
        return Ok(LineFormat::Text { key_separator, null });
    }
    if key_separator.is_some() || null.is_some() {
        return Err(WrongUse("--key-separator and --null say how text is read; a line of JSON has members key and value".to_owned()));
    }
    Ok(LineFormat::Json)
}

/// Takes the oldest delivery; its failure ends the command, because what follows would stand in front of it.
async fn delivered(waiting: &mut VecDeque<Delivery>) -> Result<()> {
    if let Some(delivery) = waiting.pop_front() {
        delivery.await?;
    }
    Ok(())
}

/// One of the inputs.
type Source = Box<dyn Read + Send>;

/// The inputs, all opened before anything is written, and their length together where all of them are files.
fn open(paths: &[PathBuf]) -> Result<(Vec<Source>, Option<u64>)> {
    if paths.is_empty() {
        return Ok((vec![Box::new(io::stdin())], None));
    }
    let mut inputs: Vec<Source> = Vec::with_capacity(paths.len());
    let mut length = Some(0);
    for path in paths {
        if path == Path::new("-") {
            inputs.push(Box::new(io::stdin()));
            length = None;
            continue;
        }
        let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
        let metadata = file.metadata().with_context(|| format!("open {}", path.display()))?;
        if metadata.is_dir() {
            bail!("{} is a directory; name files", path.display());
        }
        length = length.filter(|_| metadata.is_file()).map(|length| length + metadata.len());
        inputs.push(Box::new(file));
    }
    Ok((inputs, length))
}

/// Reads lines on a thread of their own: standard input cannot be waited for otherwise. A file's last line ends with the file.
fn read_lines(inputs: Vec<Source>) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let read = move || {
        for input in inputs {
            let mut input = BufReader::with_capacity(1 << 20, input);
            loop {
                let mut line = Vec::new();
                let outcome = match input.read_until(b'\n', &mut line) {
                    Ok(0) => break,
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
        }
    };
    runtime::spawn_thread("read lines", read).context("start a thread")?;
    Ok(receiver)
}

impl LineFormat {
    fn read(&self, line: Vec<u8>) -> Result<JsonRecord, String> {
        let (key_separator, null) = match self {
            Self::Json => return record_json::from_json(&line),
            Self::Text { key_separator, null } => (key_separator.as_deref(), null.as_deref().map(str::as_bytes)),
        };
        let (key, value) = split_key(line, key_separator);
        let unless_null = |bytes: Bytes| Some(bytes).filter(|bytes| null != Some(&bytes[..]));
        Ok(JsonRecord { key: key.and_then(unless_null), value: unless_null(value), headers: Vec::new(), timestamp: None })
    }
}

fn split_key(line: Vec<u8>, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let line = Bytes::from(line);
    let Some(separator) = separator.filter(|separator| !separator.is_empty()).map(str::as_bytes) else { return (None, line) };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
        None => (None, line),
    }
}

fn parse_header(text: &str) -> Result<RecordHeader, WrongUse> {
    let (key, value) = text.split_once('=').ok_or_else(|| WrongUse(format!("--header {text}: write --header KEY=VALUE")))?;
    Ok(RecordHeader { key: key.to_owned().into(), value: Some(Bytes::from(value.to_owned())) })
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

    #[test]
    fn the_text_for_null_stands_alone() {
        let format = LineFormat::Text { key_separator: Some(":".to_owned()), null: Some("NULL".to_owned()) };
        let read = |line: &str| format.read(line.as_bytes().to_vec()).map(|read| (read.key, read.value)).unwrap();
        assert_eq!(read("k:NULL"), (Some(Bytes::from("k")), None));
        assert_eq!(read("NULL:v"), (None, Some(Bytes::from("v"))));
        assert_eq!(read("k:not NULL"), (Some(Bytes::from("k")), Some(Bytes::from("not NULL"))));
    }
}
