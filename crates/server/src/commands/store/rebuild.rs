//! `siltstone store rebuild`: a new metadata directory from the store alone, after the old one was lost.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use metadata_api::ProducerDelta;
use metadata_service::{FoundObject, FoundSegment, Journal, Rebuild, Report, RocksDbJournal};
use runtime::{Clock, Random, SystemClock};
use segment::{ObjectContents, TRAILER_BYTES, Trailer};
use serde_json::{Value, json};
use store::ObjectStore;
use tokio::task::JoinSet;
use types::{ClusterId, ObjectKey};

use crate::commands::services::must_be_there;
use crate::commands::{print_json, print_line, show_time};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::{Place, Settings};

/// Objects that are read at once.
const READS: usize = 32;
/// Of an object's end, read first; the footer of a range of many partitions may be longer.
const END_BYTES: u64 = 64 << 10;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Say what would be rebuilt, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// An object that says nothing.
struct Unreadable {
    key: ObjectKey,
    why: String,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let config = Config::resolve(&Settings::from(arguments.place).raw()?)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random = Arc::new(Random::from_os());
    let directory = config.data_dir.join("metadata");
    // Held to the end: a broker of this directory is stopped. A directory that is not there has none.
    let data_dir =
        if arguments.dry_run && !config.data_dir.is_dir() { None } else { Some(DataDir::open(&config.data_dir, config.node_id)?) };
    must_be_there(&config.store)?;
    let store = store::open(&config.store.url, &config.store.s3_options(), Arc::clone(&clock), Arc::clone(&random)).await?;
    let journal = empty_journal(&directory).await?;
    let rebuild = Rebuild::begin(store.as_ref()).await.with_context(|| format!("rebuild from {}", config.store.url))?;
    let cluster = rebuild.cluster();
    if let Some(bound) = data_dir.as_ref().and_then(DataDir::cluster).filter(|bound| *bound != cluster) {
        bail!(
            "data directory {} belongs to cluster {bound}, store {} to cluster {cluster}; name the one that fits with --data-dir or --store",
            config.data_dir.display(),
            config.store.url
        );
    }
    let (found, unreadable) = read_all(&store, cluster, rebuild.objects()).await?;
    let unplaced: Vec<_> = unreadable.iter().map(|object| object.key).collect();
    let rebuilt = rebuild.finish(&found, &unplaced);
    let report = rebuilt.report().clone();
    if !arguments.dry_run {
        let journal = match journal {
            Some(journal) => journal,
            None => open(&directory).await?,
        };
        rebuilt.write(&journal, store.as_ref(), &random).await?;
    }
    if arguments.json {
        return Ok(print_json(&as_json(&report, &unreadable, arguments.dry_run))?);
    }
    print(&report, &unreadable)?;
    let written = if arguments.dry_run { "nothing was written" } else { "metadata is rebuilt: start the broker with `siltstone serve`" };
    Ok(print_line(written)?)
}

/// The journal if there is one, which must hold nothing: what it holds is newer than any rebuild.
async fn empty_journal(directory: &Path) -> Result<Option<RocksDbJournal>> {
    let shown = directory.display();
    let is_absent = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("read {shown}")),
    };
    if is_absent {
        return Ok(None);
    }
    let journal = open(directory).await.with_context(|| format!("move {shown} away if the metadata in it is lost"))?;
    if !journal.read(metadata_service::FIRST_SLOT, 1).await?.is_empty() {
        bail!("{shown} holds metadata: start the broker with `siltstone serve`, or move the directory away if it is older than the store");
    }
    Ok(Some(journal))
}

async fn open(directory: &Path) -> Result<RocksDbJournal> {
    let directory = directory.to_owned();
    let opened = tokio::task::spawn_blocking(move || RocksDbJournal::open(&directory)).await.context("open the metadata journal")?;
    Ok(opened?)
}

/// What the objects say of themselves, and which do not. A store that cannot be asked ends it.
async fn read_all(
    store: &Arc<dyn ObjectStore>,
    cluster: ClusterId,
    objects: &[(ObjectKey, u64)],
) -> Result<(Vec<FoundObject>, Vec<Unreadable>)> {
    let progress = object_progress(objects.len() as u64);
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let mut reads = JoinSet::new();
    let mut left = objects.iter();
    loop {
        while reads.len() < READS
            && let Some((key, length)) = left.next().copied()
        {
            let store = Arc::clone(store);
            reads.spawn(async move { (key, read(store.as_ref(), cluster, key, length).await) });
        }
        let Some(read) = reads.join_next().await else { break };
        let (key, read) = read.context("read an object")?;
        match read? {
            Ok(object) => found.push(object),
            Err(why) => unreadable.push(Unreadable { key, why }),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok((found, unreadable))
}

/// On a terminal; silent in a pipe.
fn object_progress(objects: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("reading objects {bar:40} {pos} of {len}").expect("the template is valid");
    ProgressBar::new(objects).with_style(style)
}

/// The object's footer, or what is wrong with it. The outer failure is the store's.
async fn read(store: &dyn ObjectStore, cluster: ClusterId, key: ObjectKey, length: u64) -> Result<Result<FoundObject, String>> {
    let name = key.to_string();
    let from = length.saturating_sub(END_BYTES);
    let end = store.get_range(&name, from..length).await.with_context(|| format!("read {name}"))?;
    if end.len() < TRAILER_BYTES {
        return Ok(Err(format!("{length} bytes are no object")));
    }
    let trailer = match Trailer::parse(&end) {
        Ok(trailer) if trailer.object_bytes == length => trailer,
        Ok(trailer) => return Ok(Err(format!("it has {length} bytes of {}", trailer.object_bytes))),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let range = trailer.footer_range();
    let footer = if from <= range.start {
        let within = |position: u64| usize::try_from(position - from).expect("it lies in what was read");
        end.slice(within(range.start)..within(range.end))
    } else {
        store.get_range(&name, range).await.with_context(|| format!("read {name}"))?
    };
    Ok(match ObjectContents::parse(&footer, &trailer) {
        Ok(contents) if contents.key != key => Err(format!("it is a copy of {}", contents.key)),
        Ok(contents) if contents.header.cluster != cluster => Err(format!("it is of cluster {}", contents.header.cluster)),
        Ok(contents) => Ok(as_found(contents)),
        Err(error) => Err(error.to_string()),
    })
}

fn as_found(contents: ObjectContents) -> FoundObject {
    let ObjectContents { key, header, segments } = contents;
    let segment = |entry: segment::SegmentEntry| FoundSegment {
        partition: entry.partition,
        segment: entry.segment,
        producers: entry.producers.windows.into_iter().map(|(producer, window)| ProducerDelta { producer, window }).collect(),
    };
    FoundObject {
        key,
        wal: header.wal,
        first_lsn: header.first_lsn,
        end_lsn: header.end_lsn,
        sequence: header.sequence,
        metadata_revision: header.metadata_revision,
        answered_through: header.answered_through,
        refused: header.refused.into_iter().map(|refused| (refused.epoch, refused.sequence, refused.partitions)).collect(),
        segments: segments.into_iter().map(segment).collect(),
    }
}

fn print(report: &Report, unreadable: &[Unreadable]) -> Result<()> {
    match report.snapshot {
        Some((revision, until)) => {
            print_line(format_args!("snapshot     of revision {revision}, with every change until {}", show_time(until)))?;
        }
        None => print_line("snapshot     none was ever taken")?,
    }
    print_line(format_args!(
        "after it     {} steps, {} objects, {} of which are part of a partition",
        report.steps, report.objects, report.used
    ))?;
    let Report { topics, partitions, segments, .. } = report;
    print_line(format_args!("metadata     {topics} topics, {partitions} partitions, {segments} segments"))?;
    match report.snapshot {
        // Not for how long: when the broker stopped, the store does not know.
        Some((_, until)) => print_line(format_args!(
            "lost         offsets that groups committed after {}, and whatever else coordinators saved since",
            show_time(until)
        ))?,
        None => print_line("lost         all offsets that groups committed, and whatever else coordinators saved")?,
    }
    for topic in &report.unknown_topics {
        print_line(format_args!("lost         topic {topic}: its objects are in the store, its name and configs are not"))?;
    }
    for (partition, from, to) in &report.holes {
        print_line(format_args!("lost         offsets {from} to {} of {partition}: their objects are missing", to.0 - 1))?;
    }
    for (partition, object) in &report.misfits {
        print_line(format_args!("left out     {object} of {partition}: another object has its offsets"))?;
    }
    for Unreadable { key, why } in unreadable {
        print_line(format_args!("left out     {key}: {why}"))?;
    }
    Ok(())
}

fn as_json(report: &Report, unreadable: &[Unreadable], dry_run: bool) -> Value {
    let snapshot = report.snapshot.map(|(revision, until)| json!({"revision": revision.0, "taken": until.0}));
    let holes = report.holes.iter().map(|(partition, from, to)| {
        json!({"topic": partition.topic.to_string(), "partition": partition.partition, "from": from.0, "end": to.0})
    });
    let misfits = report.misfits.iter().map(
        |(partition, object)| json!({"topic": partition.topic.to_string(), "partition": partition.partition, "object": object.to_string()}),
    );
    json!({
        "dry_run": dry_run, "snapshot": snapshot, "steps": report.steps, "objects": report.objects, "objects_used": report.used,
        "topics": report.topics, "partitions": report.partitions, "segments": report.segments,
        "unknown_topics": report.unknown_topics.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "holes": holes.collect::<Vec<_>>(), "misfits": misfits.collect::<Vec<_>>(),
        "unreadable": unreadable.iter().map(|object| json!({"object": object.key.to_string(), "problem": object.why})).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_without_a_sound_end_is_told_and_left_out() {
        let store = store::MemoryStore::new(Arc::new(SystemClock));
        let key: ObjectKey = "shared/80/1-7-42".parse().unwrap();
        for (bytes, expected) in [(vec![0; 10], "10 bytes are no object"), (vec![0; 200], "trailer")] {
            let length = bytes.len() as u64;
            store.delete(&[key.to_string()]).await;
            store.put(&key.to_string(), vec![bytes.into()]).await.unwrap();
            let why = read(&store, ClusterId::default(), key, length).await.unwrap().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
