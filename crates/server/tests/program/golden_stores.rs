//! Data directories that earlier programs left behind, killed in the middle of their work, opened by this one: every record is where it
//! was, groups have what they committed, writing goes on, and the store alone is enough to begin anew.
//!
//! There is one of each version of the manifest, the format whose version rises with what a store may hold; `tests/golden-stores/write`
//! made them and makes the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Broker, eventually, siltstone_ok, siltstone_with_input};

/// Nothing goes by age: these grow older.
const SETTINGS: &[(&str, &str)] = &[
    ("log.retention.ms", "-1"),
    ("offsets.retention.minutes", "2147483647"),
    ("upload.max.age.ms", "100"),
    ("wal.generation.ms", "100"),
    ("metadata.snapshot.max.interval.ms", "1000"),
];

/// Versions of the manifest that programs have written, apart from 1, which none did that could be had.
const VERSIONS: [u16; 2] = [2, 3];

fn golden(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden-stores/manifest-{version}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn manifests(data: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(data.join("store/meta/manifest")).unwrap().map(|entry| entry.unwrap().path())
}

fn newest_manifest(data: &Path) -> PathBuf {
    manifests(data).max().unwrap()
}

/// The format version of each manifest in a store.
fn manifest_versions(data: &Path) -> BTreeSet<u16> {
    let version = |path: PathBuf| {
        let manifest = fs::read(path).unwrap();
        assert_eq!(manifest[..4], *b"SSMM");
        u16::from_le_bytes([manifest[4], manifest[5]])
    };
    manifests(data).map(version).collect()
}

/// Records as `consume --format json` writes them, by partition and offset.
fn records(lines: &str) -> BTreeMap<(u64, u64), Value> {
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| ((record["partition"].as_u64().unwrap(), record["offset"].as_u64().unwrap()), record)).collect()
}

async fn read(broker: &Broker, topic: &str) -> BTreeMap<(u64, u64), Value> {
    records(&siltstone_ok(&["consume", topic, "--format", "json", "--bootstrap", &broker.bootstrap]).await)
}

/// By topic and partition.
fn committed(group: &Value) -> BTreeMap<(&str, u64), u64> {
    let offsets = group["offsets"].as_array().unwrap().iter();
    offsets
        .map(|offset| ((offset["topic"].as_str().unwrap(), offset["partition"].as_u64().unwrap()), offset["committed"].as_u64().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_programs_left_behind_is_opened_read_and_written_on() {
    for version in VERSIONS {
        opens(version).await;
    }
}

async fn opens(version: u16) {
    let (golden, site) = (golden(version), tempfile::tempdir().unwrap());
    let data = site.path().join("data");
    copy(&golden.join("data"), &data);
    assert_eq!(manifest_versions(&data), BTreeSet::from([version]), "its name says what it is");
    let mut expected = BTreeMap::new();
    for entry in fs::read_dir(golden.join("expected")).unwrap() {
        let path = entry.unwrap().path();
        if let Some(topic) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".jsonl") {
            expected.insert(topic.to_owned(), records(&fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(expected.len() == 5 && expected.values().all(|records| !records.is_empty()));
    let group: Value = serde_json::from_str(&fs::read_to_string(golden.join("expected/readers.json")).unwrap()).unwrap();

    let broker = Broker::start(&data, SETTINGS).await;
    let listed: Value = serde_json::from_str(&siltstone_ok(&["topic", "list", "--json", "--bootstrap", &broker.bootstrap]).await).unwrap();
    let listed: BTreeSet<_> = listed.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap()).collect();
    assert_eq!(listed, expected.keys().map(String::as_str).collect(), "version {version}");
    for (topic, records) in &expected {
        assert_eq!(read(&broker, topic).await, *records, "version {version}: {topic}");
    }
    let described = siltstone_ok(&["group", "describe", "readers", "--json", "--bootstrap", &broker.bootstrap]).await;
    assert_eq!(committed(&serde_json::from_str(&described).unwrap()), committed(&group), "version {version}");

    // The next offset follows what only the log held. One snapshot may be under way; the second tells of all that is in the journal.
    let next = expected["synced"].range((0, 0)..(1, 0)).next_back().unwrap().0.1 + 1;
    for offset in [next, next + 1] {
        let before = newest_manifest(&data);
        let written = siltstone_with_input(&["produce", "synced", "--partition", "0", "--bootstrap", &broker.bootstrap], "and on\n").await;
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let synced = read(&broker, "synced").await;
        assert_eq!(synced[&(0, offset)]["value"], "and on");
        expected.insert("synced".to_owned(), synced);
        eventually("a snapshot", async || before < newest_manifest(&data)).await;
    }
    assert!(broker.terminate().await.status.success());

    fs::remove_dir_all(data.join("metadata")).unwrap();
    siltstone_ok(&["store", "rebuild", "--data-dir", data.to_str().unwrap()]).await;
    let broker = Broker::start(&data, SETTINGS).await;
    for (topic, records) in &expected {
        assert_eq!(read(&broker, topic).await, *records, "version {version}, rebuilt: {topic}");
    }
    let checked = siltstone_ok(&["store", "check", "--metadata", &broker.metadata, "--data-dir", data.to_str().unwrap()]).await;
    assert!(checked.contains(" 0 problems"), "{checked}");
    assert!(broker.terminate().await.status.success());
}

/// Whoever raises the version can still make one of the version before, with the program before.
#[test]
fn a_version_that_is_not_the_newest_any_more_has_a_golden_store() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../metadata-service/src/snapshot/mod.rs");
    let source = fs::read_to_string(source).unwrap();
    let newest = source.lines().find_map(|line| line.strip_prefix("const MANIFEST_NEWEST: u16 = ")?.strip_suffix(';')).unwrap();
    let newest: u16 = newest.parse().unwrap();
    let missing: Vec<_> = (VERSIONS[0]..newest).filter(|version| !VERSIONS.contains(version)).collect();
    assert!(missing.is_empty(), "keep one of version {missing:?}, made by the program before: tests/golden-stores/write");
}
