//! The metadata directory, or the whole disk, is lost: what the store makes of it (rule R15).

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_ok, siltstone_with_input};
use crate::retries::Repeater;

const SETTINGS: &[(&str, &str)] = &[
    ("upload.max.age.ms", "100"),
    ("wal.generation.ms", "100"),
    ("wal.generation.bytes", "1MiB"),
    ("log.retention.check.interval.ms", "100"),
    ("metadata.snapshot.max.interval.ms", "1000"),
];

async fn write(broker: &Broker, topic: &str, lines: std::ops::Range<u32>) {
    let input: String = lines.map(|line| format!("{topic} {line}\n")).collect();
    let output = siltstone_with_input(&["produce", topic, "--bootstrap", &broker.bootstrap], &input).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every record with partition, offset and time, in an order of their own.
async fn read(broker: &Broker, topic: &str) -> Vec<String> {
    let text = siltstone_ok(&["consume", topic, "--partitions", "--offsets", "--timestamps", "--bootstrap", &broker.bootstrap]).await;
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn create(broker: &Broker, topic: &str, configs: &[&str]) {
    let mut arguments = vec!["topic", "create", topic, "--partitions", "3", "--bootstrap", &broker.bootstrap];
    configs.iter().for_each(|config| arguments.extend(["--config", config]));
    siltstone_ok(&arguments).await;
}

async fn described(broker: &Broker, topic: &str) -> Value {
    serde_json::from_str(&siltstone_ok(&["topic", "describe", topic, "--json", "--bootstrap", &broker.bootstrap]).await).unwrap()
}

/// What the group has committed, by partition.
async fn committed(broker: &Broker) -> Vec<(u64, u64)> {
    let described = siltstone_ok(&["group", "describe", "readers", "--json", "--bootstrap", &broker.bootstrap]).await;
    let described: Value = serde_json::from_str(&described).unwrap();
    let offsets = described["offsets"].as_array().unwrap().iter();
    offsets.map(|offset| (offset["partition"].as_u64().unwrap(), offset["committed"].as_u64().unwrap())).collect()
}

/// The newest snapshot in a store directory.
fn newest_manifest(store: &Path) -> Option<String> {
    let entries = fs::read_dir(store.join("meta/manifest")).ok()?;
    entries.filter_map(|entry| entry.unwrap().file_name().into_string().ok()).filter(|name| !name.starts_with('.')).max()
}

/// A snapshot that was begun after this call.
async fn next_snapshot(broker: &Broker, store: &Path) {
    for line in 0..2 {
        // One may be under way; and there is none without news.
        let before = newest_manifest(store);
        write(broker, "news", line..line + 1).await;
        eventually("a snapshot", async || before < newest_manifest(store)).await;
    }
}

async fn rebuild(data: &Path, store: &Path, more: &[&str]) -> String {
    let url = format!("file://{}", store.display());
    let mut arguments = vec!["store", "rebuild", "--data-dir", data.to_str().unwrap(), "--store", &url];
    arguments.extend(more);
    siltstone_ok(&arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_lost_metadata_is_rebuilt_from_the_store_and_everybody_goes_on() {
    let site = tempfile::tempdir().unwrap();
    let (data, store) = (site.path().join("data"), site.path().join("data/store"));
    let broker = Broker::start(&data, SETTINGS).await;
    let ports = Ports { kafka: broker.port() };
    create(&broker, "synced", &["durability=wal"]).await;
    create(&broker, "uploaded", &["durability=object"]).await;
    create(&broker, "gone", &[]).await;
    create(&broker, "expired", &[]).await;
    siltstone_ok(&["topic", "create", "repeated", "--bootstrap", &broker.bootstrap]).await;
    for topic in ["synced", "uploaded", "gone", "expired"] {
        write(&broker, topic, 0..300).await;
    }
    siltstone_ok(&["consume", "synced", "--group", "readers", "--bootstrap", &broker.bootstrap]).await;
    let read_up_to = committed(&broker).await;
    assert_eq!(read_up_to.len(), 3);
    next_snapshot(&broker, &store).await;

    // All of this is newer than any snapshot, or may be.
    let repeater = Repeater::connect(&broker, None).await;
    let producer = repeater.producer;
    for number in 0..7 {
        assert_eq!(repeater.send(number).await.error_code, 0);
    }
    create(&broker, "late", &["retention.ms=123456789"]).await;
    siltstone_ok(&["topic", "delete", "gone", "--bootstrap", &broker.bootstrap]).await;
    siltstone_ok(&["topic", "alter", "expired", "--set", "retention.ms=1", "--bootstrap", &broker.bootstrap]).await;
    eventually("retention", async || read(&broker, "expired").await.is_empty()).await;
    for topic in ["synced", "uploaded", "late"] {
        write(&broker, topic, 300..400).await;
    }
    let topics = ["synced", "uploaded", "late", "repeated"];
    let mut before = Vec::new();
    for topic in topics {
        before.push(read(&broker, topic).await);
    }
    broker.kill().await;
    fs::remove_dir_all(data.join("metadata")).unwrap();

    let told: Value = serde_json::from_str(&rebuild(&data, &store, &["--dry-run", "--json"]).await).unwrap();
    assert_eq!((&told["topics"], &told["holes"], &told["unreadable"]), (&6.into(), &Value::Array(vec![]), &Value::Array(vec![])));
    assert!(!data.join("metadata").exists(), "a dry run writes nothing");
    let told = rebuild(&data, &store, &[]).await;
    assert!(told.contains("metadata     6 topics, 14 partitions") && told.contains("siltstone serve"), "{told}");
    // How long the broker was gone says nothing of what is lost: a time does.
    let (_, until) = told.lines().next().unwrap().rsplit_once(", with every change until ").unwrap();
    assert!(told.contains(&format!("lost         offsets that groups committed after {until}, and")), "{told}");

    let broker = Broker::start_on(ports, &data, SETTINGS).await;
    for (topic, before) in topics.into_iter().zip(&before) {
        assert!(read(&broker, topic).await == *before, "{topic}: the same bytes at the same offsets");
    }
    assert_eq!(read(&broker, "expired").await, [] as [String; 0], "what was retained away stays away");
    assert_eq!(described(&broker, "late").await["configs"]["retention.ms"], "123456789");
    let listed = siltstone_ok(&["topic", "list", "--bootstrap", &broker.bootstrap]).await;
    assert!(!listed.contains("gone"), "{listed}");
    assert_eq!(committed(&broker).await, read_up_to, "as of the snapshot");
    let repeater = Repeater::connect(&broker, Some(producer)).await;
    repeater.repeat("after the rebuild").await;
    let next = repeater.send(7).await;
    assert_eq!((next.error_code, next.base_offset), (0, 21), "and then it goes on");
    let other = Repeater::connect(&broker, None).await;
    assert!(producer < other.producer, "no producer id is given out again");
    for topic in ["synced", "uploaded"] {
        write(&broker, topic, 400..500).await;
        assert_eq!(read(&broker, topic).await.len(), 500);
    }
    eventually("everything to be in the store, and nothing else", async || {
        let url = format!("file://{}", store.display());
        let checked = siltstone(&["store", "check", "--metadata", &broker.metadata, "--store", &url]).await;
        checked.status.success()
    })
    .await;
    assert!(broker.terminate().await.status.success());
    let broker = Broker::start_on(ports, &data, SETTINGS).await;
    assert_eq!(read(&broker, "synced").await.len(), 500);
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_with_the_disk_gone_uploaded_topics_go_on_and_synced_ones_wait_for_an_election() {
    let site = tempfile::tempdir().unwrap();
    let (data, store) = (site.path().join("data"), site.path().join("store"));
    let url = format!("file://{}", store.display());
    let settings: Vec<_> = SETTINGS.iter().copied().chain([("store.url", url.as_str())]).collect();
    let broker = Broker::start(&data, &settings).await;
    create(&broker, "synced", &["durability=wal"]).await;
    create(&broker, "uploaded", &["durability=object"]).await;
    for topic in ["synced", "uploaded"] {
        write(&broker, topic, 0..100).await;
    }
    let segments = async || siltstone_ok(&["segment", "list", "synced", "--json", "--metadata", &broker.metadata]).await;
    let published = async || {
        let listed: Value = serde_json::from_str(&segments().await).unwrap();
        let ends = listed.as_array().unwrap().iter().map(|segment| segment["records"].as_u64().unwrap());
        ends.sum::<u64>() == 100
    };
    eventually("the publish of all", published).await;
    let before = (read(&broker, "synced").await, read(&broker, "uploaded").await);
    broker.kill().await;
    fs::remove_dir_all(&data).unwrap();

    rebuild(&data, &store, &[]).await;
    let broker = Broker::start(&data, &settings).await;
    assert!(read(&broker, "uploaded").await == before.1);
    write(&broker, "uploaded", 100..200).await;
    assert_eq!(read(&broker, "uploaded").await.len(), 200);
    assert!(described(&broker, "synced").await["partitions"][0]["leader"].is_null(), "the lost log may have held more");
    let said = async || siltstone_ok(&["health", "--http", &broker.http]).await;
    eventually("a note in health", async || said().await.contains("partitions: 3 have no leader") && said().await.contains("synced-0"))
        .await;
    for partition in ["0", "1", "2"] {
        siltstone_ok(&["topic", "elect", "synced", partition, "--unclean", "--bootstrap", &broker.bootstrap]).await;
    }
    assert!(read(&broker, "synced").await == before.0, "what was uploaded is there");
    let checked = siltstone_ok(&["store", "check", "--metadata", &broker.metadata, "--store", &url]).await;
    assert!(checked.contains(": 0 problems"), "what an unclean election gives up is no damage: {checked}");
    eventually("no note in health", async || said().await == "ready\n").await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_there_is_not_rebuilt() {
    let site = tempfile::tempdir().unwrap();
    let (data, other) = (site.path().join("data"), site.path().join("other"));
    let refused = async |data: &Path, store: &Path, expected: &str| {
        let url = format!("file://{}", store.display());
        let output = siltstone(&["store", "rebuild", "--data-dir", data.to_str().unwrap(), "--store", &url]).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(expected), "{stderr}");
    };
    let broker = Broker::start(&data, &[]).await;
    refused(&data, &data.join("store"), "stop that broker").await;
    assert!(broker.terminate().await.status.success());
    refused(&data, &data.join("store"), "holds metadata: start the broker").await;
    refused(&other, &site.path().join("nowhere"), "there is no store in").await;
    fs::create_dir(site.path().join("empty")).unwrap();
    refused(&other, &site.path().join("empty"), "carries no marker of a cluster").await;
    let broker = Broker::start(&other, &[]).await;
    assert!(broker.terminate().await.status.success());
    fs::remove_dir_all(other.join("metadata")).unwrap();
    refused(&other, &data.join("store"), "belongs to cluster").await;
    tokio::time::timeout(Duration::from_secs(60), rebuild(&other, &other.join("store"), &[])).await.unwrap();
}
