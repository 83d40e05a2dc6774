//! `siltstone store check`: what metadata says of the store, held against what is there.
//!
//! The store is listed before metadata is asked. An object that is published in between is then referenced, not an orphan; one that
//! retention takes away in between is asked for again before it is called missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use metadata_api::MetadataClient;
use runtime::{Clock, SystemClock};
use segment::ObjectContents;
use serde_json::json;
use store::{ObjectMeta, ObjectStore, StoreError, read_marker};
use types::{ClusterId, ObjectKey, Revision, SegmentRef, Timestamp, TopicId, TopicPartition};

use crate::commands::services::{Listed, Metadata, Store, list_segments};
use crate::commands::{byte_progress, print_json, print_line, print_table};

/// Objects asked for at once.
const PAGE: usize = 1000;
/// Objects are a small part of this; what is larger is not one.
const MAX_OBJECT_BYTES: u64 = 2 << 30;
/// Where segment objects are.
const FOLDERS: [&str; 2] = ["shared/", "topic/"];

/// A segment as metadata has it.
struct Reference {
    partition: TopicPartition,
    segment: SegmentRef,
}

/// Something that is not as metadata says.
struct Problem {
    partition: TopicPartition,
    object: Option<ObjectKey>,
    what: String,
}

#[derive(Default)]
struct Findings {
    objects: u64,
    segments: u64,
    bytes: u64,
    problems: Vec<Problem>,
    orphans: Vec<ObjectMeta>,
}

pub(super) async fn run(metadata: &Metadata, store: Store, json: bool) -> Result<()> {
    let client = metadata.connect().await?;
    let (store, url) = store.open().await?;
    let cluster = client.image().borrow().cluster_id;
    same_cluster(store.as_ref(), &url, cluster).await?;
    let there = list(store.as_ref()).await?;
    let names: HashMap<TopicId, String> = client.image().borrow().topics.values().map(|topic| (topic.id, topic.name.clone())).collect();
    let mut findings = Findings::default();
    let referenced = references(client.as_ref(), &mut findings).await?;
    check(store.as_ref(), client.as_ref(), cluster, &there, &referenced, &mut findings).await?;
    findings.orphans = there.into_values().filter(|object| !referenced.contains_key(&object.key)).collect();
    report(&findings, &names, json)?;
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

/// Where a partition's segments do not follow one another from its log start to its published end.
fn gaps(partition: TopicPartition, listed: &Listed) -> Vec<Problem> {
    let problem = |object: Option<ObjectKey>, what: String| Problem { partition, object, what };
    let mut problems = Vec::new();
    let mut next = listed.log_start;
    for (index, segment) in listed.segments.iter().enumerate() {
        // The first may begin below the log start, which moves within segments too.
        if next < segment.base {
            problems.push(problem(Some(segment.object), format!("offsets {next} to {} are in no segment", segment.base.0 - 1)));
        } else if 0 < index && segment.base < next {
            problems.push(problem(Some(segment.object), format!("offsets {} to {} are in two segments", segment.base, next.0 - 1)));
        }
        next = next.max(segment.end);
    }
    if next < listed.published_end {
        problems.push(problem(None, format!("offsets {next} to {} are in no segment", listed.published_end.0 - 1)));
    } else if listed.published_end < next && !listed.segments.is_empty() {
        problems.push(problem(None, format!("segments reach to {}, behind the published end {}", next.0 - 1, listed.published_end)));
    }
    problems
}

/// Reads every object that metadata names.
async fn check(
    store: &dyn ObjectStore,
    client: &dyn MetadataClient,
    cluster: ClusterId,
    there: &BTreeMap<String, ObjectMeta>,
    referenced: &BTreeMap<String, Vec<Reference>>,
    findings: &mut Findings,
) -> Result<()> {
    let length = referenced.keys().filter_map(|key| there.get(key)).map(|object| object.length).sum();
    let progress = byte_progress(Some(length));
    for (key, references) in referenced {
        let wrong = check_object(store, cluster, key, references).await?;
        for (reference, what) in wrong {
            if is_still_referenced(client, reference).await? {
                findings.problems.push(Problem { partition: reference.partition, object: Some(reference.segment.object), what });
            }
        }
        let bytes = there.get(key).map_or(0, |object| object.length);
        findings.objects += 1;
        findings.bytes += bytes;
        progress.inc(bytes);
    }
    progress.finish_and_clear();
    Ok(())
}

/// What is wrong with an object, for each segment that it should hold.
async fn check_object<'a>(
    store: &dyn ObjectStore,
    cluster: ClusterId,
    key: &str,
    references: &'a [Reference],
) -> Result<Vec<(&'a Reference, String)>> {
    let all = |what: String| references.iter().map(|reference| (reference, what.clone())).collect();
    let object = match store.get(key, MAX_OBJECT_BYTES).await {
        Ok(object) => object,
        Err(StoreError::NotFound { .. }) => return Ok(all("the object is missing".to_owned())),
        Err(error @ StoreError::Corrupt { .. }) => return Ok(all(error.to_string())),
        Err(error) => return Err(error).context("read the store"),
    };
    let contents = match segment::verify(&object) {
        Ok(contents) => contents,
        Err(damage) => return Ok(all(damage.to_string())),
    };
    if contents.key.to_string() != key {
        return Ok(all(format!("the object is a copy of {}", contents.key)));
    }
    if contents.header.cluster != cluster {
        return Ok(all(format!("the object is of cluster {}", contents.header.cluster)));
    }
    Ok(references
        .iter()
        .filter(|reference| !holds(&contents, reference))
        .map(|reference| (reference, disagreement(&contents, reference)))
        .collect())
}

fn holds(contents: &ObjectContents, reference: &Reference) -> bool {
    // Only the publish says in which revision a segment was added.
    let written = SegmentRef { added: Revision::default(), ..reference.segment.clone() };
    contents.segments.iter().any(|entry| entry.partition == reference.partition && entry.segment == written)
}

fn disagreement(contents: &ObjectContents, reference: &Reference) -> String {
    let (base, end) = (reference.segment.base, reference.segment.end);
    let held = contents.segments.iter().find(|entry| entry.partition == reference.partition && entry.segment.base == base);
    match held {
        None => format!("the object holds no segment from offset {base}"),
        Some(entry) if entry.segment.end != end => {
            format!("the object's segment from offset {base} ends at {}, metadata has {end}", entry.segment.end)
        }
        Some(_) => format!("the object's footer and metadata do not agree on the segment from offset {base}"),
    }
}

/// Whether metadata has not let go of a segment since it was listed.
async fn is_still_referenced(client: &dyn MetadataClient, reference: &Reference) -> Result<bool> {
    let Reference { partition, segment } = reference;
    match client.segments(*partition, segment.base, 1).await {
        Ok(page) => Ok(page.segments.iter().any(|now| now.object == segment.object && now.base == segment.base)),
        Err(_) if !client.image().borrow().topics.contains_key(&partition.topic) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("list segments of {partition}")),
    }
}

fn report(findings: &Findings, names: &HashMap<TopicId, String>, json: bool) -> Result<()> {
    let now = Timestamp(SystemClock.wall_ms());
    let name = |topic: &TopicId| names.get(topic).cloned().unwrap_or_else(|| topic.to_string());
    let age = |object: &ObjectMeta| now.millis_since(object.modified) / 1000;
    let Findings { objects, segments, bytes, problems, orphans } = findings;
    if json {
        let problems = problems.iter().map(|Problem { partition, object, what }| {
            json!({
                "topic": name(&partition.topic), "partition": partition.partition, "object": object.map(|object| object.to_string()),
                "problem": what,
            })
        });
        let orphans = orphans.iter().map(|object| json!({"object": object.key, "bytes": object.length, "age_seconds": age(object)}));
        return Ok(print_json(&json!({
            "objects": objects, "segments": segments, "bytes": bytes, "problems": problems.collect::<Vec<_>>(),
            "orphans": orphans.collect::<Vec<_>>(),
        }))?);
    }
    if !problems.is_empty() {
        let rows: Vec<_> = problems
            .iter()
            .map(|Problem { partition, object, what }| {
                let object = object.map_or_else(|| "-".to_owned(), |object| object.to_string());
                vec![format!("{}-{}", name(&partition.topic), partition.partition), object, what.clone()]
            })
            .collect();
        print_table(&["PARTITION", "OBJECT", "PROBLEM"], &rows)?;
    }
    if !orphans.is_empty() {
        let rows: Vec<_> =
            orphans.iter().map(|object| vec![object.key.clone(), object.length.to_string(), age(object).to_string()]).collect();
        print_table(&["ORPHAN", "BYTES", "AGE (S)"], &rows)?;
    }
    let told = format!("{objects} objects with {segments} segments and {bytes} bytes checked");
    Ok(print_line(format_args!("{told}: {} problems, {} orphans", problems.len(), orphans.len()))?)
}

#[cfg(test)]
mod tests {
    use types::{BrokerEpoch, BrokerId, MinTimestamp, ObjectNumber, ObjectOrigin, Offset, SegmentFlags};

    use super::*;

    fn segment(base: i64, end: i64) -> SegmentRef {
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
    fn segments_must_cover_every_offset_from_log_start_to_published_end() {
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
            (0, 15, &[(0, 20)], &["segments reach to 19, behind the published end 15"]),
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
