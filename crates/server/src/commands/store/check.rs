//! `siltstone store check`: what metadata says of the store, held against what is there.
//!
//! The store is listed before metadata is asked. An object that is published in between is then referenced, not an orphan; one that
//! retention takes away in between is asked for again before it is called missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use async_trait::async_trait;
use audit::{ObjectReader, Pace, Problem, Reference, examine, shortest_object};
use clap::Args;
use indicatif::ProgressBar;
use metadata_api::MetadataClient;
use runtime::{Clock, Random, SystemClock};
use serde_json::json;
use store::{ObjectMeta, ObjectStore, read_marker};
use types::{ClusterId, ObjectKey, Offset, Timestamp, TopicId, TopicPartition};

use super::sample::choose;
use crate::commands::services::{Listed, Metadata, Store, list_segments};
use crate::commands::{byte_progress, print_json, print_line, print_table};

/// Objects asked for at once.
const PAGE: usize = 1000;
/// Where segment objects are.
const FOLDERS: [&str; 2] = ["shared/", "topic/"];

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    metadata: Metadata,
    #[command(flatten)]
    store: Store,
    /// List everything, and read only so many segments, chosen by chance: of two bytes each is as likely to be read. 0 only lists
    #[arg(long, value_name = "SEGMENTS")]
    sample: Option<usize>,
    /// Choose what an earlier --sample chose that printed this seed
    #[arg(long, requires = "sample")]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Something that is not as metadata says.
struct Finding {
    partition: TopicPartition,
    object: Option<ObjectKey>,
    /// First and last offset concerned.
    offsets: (Offset, Offset),
    kind: &'static str,
    what: String,
}

impl From<Problem> for Finding {
    fn from(Problem { reference, kind, detail }: Problem) -> Self {
        let Reference { partition, segment } = reference;
        let offsets = (segment.base, Offset(segment.end.0 - 1));
        Self { partition, object: Some(segment.object), offsets, kind: kind.as_str(), what: detail }
    }
}

#[derive(Default)]
struct Findings {
    objects: u64,
    segments: u64,
    bytes: u64,
    read_segments: u64,
    read_bytes: u64,
    /// Repeats the choice of segments, if there was one.
    seed: Option<u64>,
    problems: Vec<Finding>,
    orphans: Vec<ObjectMeta>,
}

/// What the store has, what metadata has there, and what of it is to be read.
struct Scope {
    there: BTreeMap<String, ObjectMeta>,
    referenced: BTreeMap<String, Vec<Reference>>,
    /// Segments by partition and base; `None` for all.
    chosen: Option<HashSet<(TopicPartition, Offset)>>,
}

impl Scope {
    fn length(&self, key: &str) -> Option<u64> {
        self.there.get(key).map(|object| object.length)
    }

    /// What is read of an object; all that it should hold if the listing says that something is wrong.
    fn to_read(&self, key: &str, references: &[Reference]) -> Vec<Reference> {
        let looks_right = self.length(key).is_some_and(|length| shortest_object(references) <= length);
        match &self.chosen {
            Some(chosen) if looks_right => {
                let is_chosen = |reference: &&Reference| chosen.contains(&(reference.partition, reference.segment.base));
                references.iter().filter(is_chosen).cloned().collect()
            }
            _ => references.to_vec(),
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.metadata.connect(arguments.store.place()).await?;
    let (store, url) = arguments.store.open().await?;
    let cluster = client.image().borrow().cluster_id;
    same_cluster(store.as_ref(), &url, cluster).await?;
    let there = list(store.as_ref()).await?;
    let names: HashMap<TopicId, String> = client.image().borrow().topics.values().map(|topic| (topic.id, topic.name.clone())).collect();
    let mut findings = Findings::default();
    let referenced = references(client.as_ref(), &mut findings).await?;
    // Of 32 bits: a reader of JSON may keep no more than 53.
    findings.seed = arguments.sample.map(|_| arguments.seed.unwrap_or_else(|| Random::from_os().below(1 << 32)));
    let chosen = arguments.sample.zip(findings.seed).map(|(count, seed)| {
        let chosen = choose(referenced.values().flatten(), count, seed);
        chosen.into_iter().map(|reference| (reference.partition, reference.segment.base)).collect()
    });
    let mut scope = Scope { there, referenced, chosen };
    check(store.as_ref(), client.as_ref(), cluster, &scope, &mut findings).await?;
    scope.there.retain(|key, _| !scope.referenced.contains_key(key));
    findings.orphans = scope.there.into_values().collect();
    findings.problems.sort_by_key(|finding| (names.get(&finding.partition.topic), finding.partition.partition, finding.offsets));
    report(&findings, &names, arguments.json)?;
    match findings.problems.len() {
        0 => Ok(()),
        count => bail!("store {url} is not what the metadata says, in {count} places; delete nothing there before they are understood"),
    }
}

/// The wrong store would only show that everything is missing.
async fn same_cluster(store: &dyn ObjectStore, url: &str, cluster: ClusterId) -> Result<()> {
    match read_marker(store).await? {
        Some(marker) if marker.cluster == cluster => Ok(()),
        Some(marker) => bail!(
            "store {url} is of cluster {}, the metadata service of cluster {cluster}; name the right one with --store or --metadata",
            marker.cluster
        ),
        None => bail!("{url} is no cluster's store; name the right one with --store, or give the broker's --data-dir or --config"),
    }
}

/// Every segment object in the store, by key.
async fn list(store: &dyn ObjectStore) -> Result<BTreeMap<String, ObjectMeta>> {
    let mut there = BTreeMap::new();
    for folder in FOLDERS {
        let mut after: Option<String> = None;
        loop {
            let page = store.list(folder, after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|object| object.key.clone());
            there.extend(page.into_iter().map(|object| (object.key.clone(), object)));
            if is_last {
                break;
            }
        }
    }
    Ok(there)
}

/// Every segment, by its object's key. Offsets that no segment answers for are noted.
async fn references(client: &dyn MetadataClient, findings: &mut Findings) -> Result<BTreeMap<String, Vec<Reference>>> {
    let image: Arc<_> = client.image().borrow().clone();
    let mut referenced: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for topic in image.topics.values() {
        for (index, _) in (0..).zip(&topic.partitions) {
            let partition = TopicPartition::new(topic.id, index);
            let listed = match list_segments(client, partition).await {
                Ok(listed) => listed,
                // Deleted meanwhile.
                Err(_) if !client.image().borrow().topics.contains_key(&topic.id) => break,
                Err(error) => return Err(error),
            };
            findings.problems.extend(gaps(partition, &listed));
            findings.segments += listed.segments.len() as u64;
            for segment in listed.segments {
                referenced.entry(segment.object.to_string()).or_default().push(Reference { partition, segment });
            }
        }
    }
    Ok(referenced)
}

/// Whether these are offsets that unclean elections left free, one or several in a row (rule R18): nothing was ever published there.
fn is_given_up(first: Offset, end: Offset) -> bool {
    (end.0 - first.0) % Offset::UNCLEAN_GAP == 0
}

/// Where a partition's segments do not follow one another from its log start to its published end, but for what unclean elections gave up.
fn gaps(partition: TopicPartition, listed: &Listed) -> Vec<Finding> {
    let finding = |object, first: Offset, end: Offset, what: &str| {
        let offsets = (first, Offset(end.0 - 1));
        let what = format!("offsets {} to {} {what}", offsets.0, offsets.1);
        Finding { partition, object, offsets, kind: "offsets", what }
    };
    let mut findings = Vec::new();
    let mut next = listed.log_start;
    for (index, segment) in listed.segments.iter().enumerate() {
        // The first may begin below the log start, which moves within segments too.
        if next < segment.base {
            if !is_given_up(next, segment.base) {
                findings.push(finding(Some(segment.object), next, segment.base, "are in no segment"));
            }
        } else if 0 < index && segment.base < next {
            findings.push(finding(Some(segment.object), segment.base, next, "are in two segments"));
        }
        next = next.max(segment.end);
    }
    if next < listed.published_end {
        if !is_given_up(next, listed.published_end) {
            findings.push(finding(None, next, listed.published_end, "are in no segment"));
        }
    } else if listed.published_end < next && !listed.segments.is_empty() {
        findings.push(finding(None, listed.published_end, next, "are in a segment, and behind the published end"));
    }
    findings
}

/// Shows and counts what is read.
struct Progress {
    bar: ProgressBar,
    bytes: AtomicU64,
}

#[async_trait]
impl Pace for Progress {
    async fn request(&self, _: u64) {}

    fn received(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Reads what is to be read of every object that metadata names.
async fn check(
    store: &dyn ObjectStore,
    client: &dyn MetadataClient,
    cluster: ClusterId,
    scope: &Scope,
    findings: &mut Findings,
) -> Result<()> {
    let segment_bytes = |reference: &Reference| reference.segment.bytes + u64::from(reference.segment.index_bytes);
    let expected = scope.referenced.iter().flat_map(|(key, references)| scope.to_read(key, references)).map(|read| segment_bytes(&read));
    let progress = Progress { bar: byte_progress(Some(expected.sum())), bytes: AtomicU64::new(0) };
    let reader = ObjectReader { store, cluster, pace: &progress };
    for (key, references) in &scope.referenced {
        let read = scope.to_read(key, references);
        if let Some(first) = read.first() {
            let problems = examine(&reader, client, first.segment.object, scope.length(key), &read).await?;
            findings.problems.extend(problems.into_iter().map(Finding::from));
        }
        findings.objects += 1;
        findings.bytes += scope.length(key).unwrap_or(0);
        findings.read_segments += read.len() as u64;
    }
    findings.read_bytes = progress.bytes.load(Ordering::Relaxed);
    progress.bar.finish_and_clear();
    Ok(())
}

fn report(findings: &Findings, names: &HashMap<TopicId, String>, json: bool) -> Result<()> {
    let now = Timestamp(SystemClock.wall_ms());
    let name = |topic: &TopicId| names.get(topic).cloned().unwrap_or_else(|| topic.to_string());
    let age = |object: &ObjectMeta| now.millis_since(object.modified) / 1000;
    let Findings { objects, segments, bytes, read_segments, read_bytes, seed, problems, orphans } = findings;
    if json {
        let problems = problems.iter().map(|Finding { partition, object, offsets, kind, what }| {
            json!({
                "topic": name(&partition.topic), "partition": partition.partition, "object": object.map(|object| object.to_string()),
                "first_offset": offsets.0.0, "last_offset": offsets.1.0, "kind": kind, "problem": what,
            })
        });
        let orphans = orphans.iter().map(|object| json!({"object": object.key, "bytes": object.length, "age_seconds": age(object)}));
        return Ok(print_json(&json!({
            "objects": objects, "segments": segments, "bytes": bytes, "read_segments": read_segments, "read_bytes": read_bytes,
            "seed": seed, "problems": problems.collect::<Vec<_>>(), "orphans": orphans.collect::<Vec<_>>(),
        }))?);
    }
    if !problems.is_empty() {
        let rows: Vec<_> = problems
            .iter()
            .map(|Finding { partition, object, offsets, what, .. }| {
                let object = object.map_or_else(|| "-".to_owned(), |object| object.to_string());
                let offsets = format!("{} to {}", offsets.0, offsets.1);
                vec![format!("{}-{}", name(&partition.topic), partition.partition), offsets, object, what.clone()]
            })
            .collect();
        print_table(&["PARTITION", "OFFSETS", "OBJECT", "PROBLEM"], &rows)?;
    }
    if !orphans.is_empty() {
        let rows: Vec<_> =
            orphans.iter().map(|object| vec![object.key.clone(), object.length.to_string(), age(object).to_string()]).collect();
        print_table(&["ORPHAN", "BYTES", "AGE (S)"], &rows)?;
    }
    let read = seed.map_or_else(String::new, |seed| format!(", {read_segments} segments read (seed {seed})"));
    let told = format!("{objects} objects with {segments} segments and {bytes} bytes checked{read}");
    Ok(print_line(format_args!("{told}: {} problems, {} orphans", problems.len(), orphans.len()))?)
}

#[cfg(test)]
pub(super) mod tests {
    use types::{BrokerEpoch, BrokerId, MinTimestamp, ObjectNumber, ObjectOrigin, Revision, SegmentFlags, SegmentRef};

    use super::*;

    pub(in crate::commands::store) fn segment(base: i64, end: i64) -> SegmentRef {
        SegmentRef {
            base: Offset(base),
            end: Offset(end),
            object: ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(1) },
            position: 16,
            bytes: 100,
            index_bytes: 0,
            records: 1,
            batches: 1,
            max_timestamp: Timestamp::NONE,
            min_timestamp: MinTimestamp { value: Timestamp::NONE, exact: true },
            append_times: (Timestamp::NONE, Timestamp::NONE),
            leader_epochs: Vec::new(),
            stable_end: Offset(end),
            aborted: 0,
            flags: SegmentFlags::default(),
            state_from: Offset(base),
            origin: ObjectOrigin::Range,
            offset_shift: 0,
            leader_epoch: None,
            added: Revision::default(),
        }
    }

    #[test]
    fn segments_must_cover_every_offset_from_log_start_to_published_end_but_those_of_unclean_elections() {
        const GAP: i64 = Offset::UNCLEAN_GAP;
        for (log_start, published_end, segments, expected) in [
            (0, 0, &[][..], &[][..]),
            (0, 20, &[(0, 10), (10, 20)], &[]),
            (5, 20, &[(0, 10), (10, 20)], &[]),
            (20, 20, &[], &[]),
            (0, 20, &[(0, 10), (12, 20)], &["offsets 10 to 11 are in no segment"]),
            (0, 20, &[(2, 20)], &["offsets 0 to 1 are in no segment"]),
            (0, 20, &[(0, 10)], &["offsets 10 to 19 are in no segment"]),
            (3, 20, &[], &["offsets 3 to 19 are in no segment"]),
            (0, 20, &[(0, 10), (8, 20)], &["offsets 8 to 9 are in two segments"]),
            (0, 15, &[(0, 20)], &["offsets 15 to 19 are in a segment, and behind the published end"]),
            (0, 10 + GAP, &[(0, 10)], &[]),
            (0, 20 + 2 * GAP, &[(0, 10), (10 + 2 * GAP, 20 + 2 * GAP)], &[]),
            (0, 11 + GAP, &[(0, 10)], &["offsets 10 to 4294967306 are in no segment"]),
            (0, 20 + GAP, &[(0, 10), (9 + GAP, 20 + GAP)], &["offsets 10 to 4294967304 are in no segment"]),
        ] {
            let listed = Listed {
                log_start: Offset(log_start),
                published_end: Offset(published_end),
                segments: segments.iter().map(|(base, end)| segment(*base, *end)).collect(),
            };
            let found: Vec<_> = gaps(TopicPartition::new(TopicId::default(), 0), &listed).into_iter().map(|problem| problem.what).collect();
            assert_eq!(found, expected, "log start {log_start}, published end {published_end}, segments {segments:?}");
        }
    }
}
