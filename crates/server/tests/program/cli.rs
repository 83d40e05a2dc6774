//! The program as a person at a terminal meets it: the tour, and what it says when something is wrong.

use std::net::TcpListener;

use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_in, siltstone_ok};

/// Nothing waits for the clock: whatever is written is uploaded soon.
const SOON: &[(&str, &str)] = &[
    ("upload.max.age.ms", "100"),
    ("log.segment.delete.delay.ms", "100"),
    ("log.retention.check.interval.ms", "100"),
    ("metadata.snapshot.min.interval.ms", "100"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_works_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, SOON).await;
    let ports = Ports { kafka: broker.port() };
    let bootstrap = broker.bootstrap.clone();
    let lines: Vec<String> = (0..20_000).map(|number| format!("/usr/share/doc/{number}")).collect();
    let file = directory.path().join("paths");
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let file = file.to_str().unwrap();

    siltstone_ok(&["topic", "create", "paths", "--partitions", "4", "--bootstrap", &bootstrap]).await;
    siltstone_ok(&["produce", "paths", "--file", file, "--compression", "zstd", "--bootstrap", &bootstrap]).await;
    assert!(siltstone_ok(&["topic", "list", "--bootstrap", &bootstrap]).await.contains("paths"));
    assert!(siltstone_ok(&["topic", "describe", "paths", "--bootstrap", &bootstrap]).await.contains("HIGH WATERMARK"));
    let mut sorted = lines.clone();
    sorted.sort();
    let read_back = async |bootstrap: &str| {
        let text = siltstone_ok(&["consume", "paths", "--bootstrap", bootstrap]).await;
        let mut read: Vec<String> = text.lines().map(str::to_owned).collect();
        read.sort();
        read
    };
    assert!(read_back(&bootstrap).await == sorted, "nothing lost, nothing twice");

    let (http, metadata) = (broker.http.clone(), broker.metadata.clone());
    eventually("an upload", async || siltstone_ok(&["segment", "list", "paths", "--metadata", &metadata]).await.contains("shared/")).await;
    let place = siltstone_ok(&["where", "paths", "0", "100", "--http", &http, "--json"]).await;
    assert!(place.contains("\"place\""), "{place}");
    assert_eq!(siltstone_ok(&["health", "--http", &http]).await.trim(), "ready");

    broker.kill().await;
    let broker = Broker::start_on(ports, &data, SOON).await;
    assert!(read_back(&bootstrap).await == sorted, "still all there after kill -9");

    siltstone_ok(&["topic", "delete", "paths", "--bootstrap", &bootstrap]).await;
    let objects = || walk(&data.join("store").join("shared"));
    eventually("the deletion of its objects", async || objects() == 0).await;
    let stopped = broker.terminate().await;
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
}

fn walk(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_wrong_configuration_is_one_line_and_status_2() {
    for (arguments, expected) in [
        (&["serve", "--set", "upload.bytes=64MB"][..], "upload.bytes=64MB: must be bytes"),
        (&["serve", "--set", "upload.byte=1"], "did you mean upload.bytes?"),
        (&["serve", "--store", "gs://bucket"], "must be file:///path"),
        (&["serve", "--store", "s3://a_b/c"], "--store s3://a_b/c: store.url=s3://a_b/c: \"a_b\" is not a bucket's name"),
        (&["store", "probe", "s3://a_b/c"], "is not a bucket's name"),
        (&["store", "create", "s3://bucket/a//b"], "is not a prefix"),
        (&["store", "probe", "s3://bucket", "--set", "store.s3.endpoint=minio:9000"], "store.s3.endpoint=minio:9000: must be http://"),
        (&["config", "check", "--store", "s3://a_b/c"], "is not a bucket's name"),
        (&["config", "check", "--config", "/nonexistent"], "/nonexistent"),
    ] {
        let output = siltstone(arguments).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_one_line_status_1_and_nothing_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let untouched = directory.path().join("untouched");
    let ports = Ports { kafka: taken.local_addr().unwrap().port() };
    refused(Broker::try_start(ports, &untouched, &[]).await, "listeners");
    assert!(!untouched.exists());

    let used = directory.path().join("used");
    let broker = Broker::start(&used, &[]).await;
    refused(Broker::try_start(Ports::default(), &used, &[]).await, "in use by another process");
    broker.terminate().await;
    refused(Broker::try_start(Ports::default(), &used, &[("node.id", "2")]).await, "belongs to node.id 1");

    // A second cluster on the first one's store.
    let other = directory.path().join("other");
    let store = format!("file://{}", used.join("store").display());
    let before = walk(&used.join("store"));
    refused(Broker::try_start(Ports::default(), &other, &[("store.url", &store)]).await, "store");
    assert_eq!(walk(&used.join("store")), before);

    refused(Broker::try_start(Ports::default(), &directory.path().join("third"), &[("store.url", "file:///proc/nowhere")]).await, "store");
}

fn refused(outcome: Result<Broker, std::process::Output>, expected: &str) {
    let Err(output) = outcome else { panic!("the broker started although {expected}") };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn configuration_is_listed_with_where_it_came_from() {
    let listed = siltstone_ok(&["config", "list"]).await;
    assert!(listed.lines().any(|line| line.starts_with("upload.interval.ms")));
    let checked = siltstone_ok(&["config", "check", "--set", "node.id=7", "--json"]).await;
    let values: serde_json::Value = serde_json::from_str(&checked).unwrap();
    let node = values.as_array().unwrap().iter().find(|value| value["key"] == "node.id").unwrap();
    assert_eq!((node["value"].as_str(), node["source"].as_str()), (Some("7"), Some("--set node.id=7")));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_allocator_is_jemalloc_with_the_options_compiled_in() {
    let output = siltstone_in(&[("MALLOC_CONF", "stats_print:true")], &["--version"]).await;
    let figures = String::from_utf8_lossy(&output.stderr);
    for option in ["malloc_conf: \"narenas_ratio:1,", "opt.thp: \"always\"", "opt.background_thread: true", "opt.dirty_decay_ms: 1000"] {
        assert!(figures.contains(option), "{option} is not among: {figures}");
    }
    assert!(!figures.contains("Invalid"), "an option that jemalloc does not know: {figures}");
}
