//! A bit that turned in the store is found by the broker itself, told in every place where somebody looks, and forgotten once it is back. One
//! that a consumer meets first is looked at then.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Broker, eventually, siltstone, siltstone_behind, siltstone_ok, siltstone_with_input};

/// What is written is uploaded soon, and the auditor is fast.
const SETTINGS: &[(&str, &str)] = &[("upload.max.age.ms", "100"), ("store.audit.max.bytes.per.second", "1GiB")];

async fn metric(broker: &Broker, name: &str) -> Option<f64> {
    let text = reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn objects(broker: &Broker, topic: &str) -> Vec<String> {
    let listed = siltstone_ok(&["segment", "list", topic, "--json", "--metadata", &broker.metadata]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed.as_array().unwrap().iter().map(|segment| segment["object"].as_str().unwrap().to_owned()).collect()
}

async fn ready(broker: &Broker) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}/health/ready", broker.http)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Waits for the end of a first round.
async fn audited(broker: &Broker) {
    eventually("a round", async || metric(broker, "siltstone_store_audit_rounds_total").await.is_some_and(|rounds| 1.0 <= rounds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_turned_in_the_store_is_found_told_and_forgotten_once_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let off = [SETTINGS, &[("store.audit.enable", "false")]].concat();
    let broker = Broker::start(directory.path(), &off).await;
    for topic in ["sound", "turned"] {
        let written = siltstone_with_input(&["produce", topic, "--bootstrap", &broker.bootstrap], "one\ntwo\n").await;
        assert!(written.status.success());
        eventually("an upload", async || !objects(&broker, topic).await.is_empty()).await;
    }
    assert_eq!(metric(&broker, "siltstone_store_audit_rounds_total").await, None, "it is switched off");
    let key = objects(&broker, "turned").await.remove(0);
    broker.kill().await;

    let file: PathBuf = directory.path().join("store").join(&key);
    let whole = std::fs::read(&file).unwrap();
    let put = |bytes: &[u8]| {
        // An object may be read-only.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
    };
    let mut turned = whole.clone();
    turned[16 + 70] ^= 1;
    put(&turned);

    let broker = Broker::start(directory.path(), SETTINGS).await;
    audited(&broker).await;
    for (kind, expected) in [("damage", 1.0), ("missing", 0.0), ("length", 0.0), ("mismatch", 0.0), ("unsupported", 0.0)] {
        let shown = metric(&broker, &format!("siltstone_store_audit_problems{{kind=\"{kind}\"}}")).await;
        assert_eq!(shown, Some(expected), "{kind}");
    }
    let read = metric(&broker, "siltstone_store_audit_segments_total").await.unwrap();
    assert!(2.0 <= read, "{read} segments");
    eventually("the note", async || ready(&broker).await.1.contains("store: ")).await;
    let (status, text) = ready(&broker).await;
    assert!(status == 200 && text.starts_with("ready\n"), "{status} {text}");
    assert!(text.contains(&format!("first object {key}, turned-0 offsets 0 to ")) && text.contains("checksum"), "{text}");
    assert!(siltstone_ok(&["health", "--http", &broker.http]).await.contains(&key));

    let check = siltstone(&["store", "check", "--sample", "1000", "--json", "--metadata", &broker.metadata, "--data-dir", data]).await;
    assert_eq!(check.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&check.stdout).unwrap();
    let problems = found["problems"].as_array().unwrap();
    assert!(problems.len() == 1 && problems[0]["object"] == key.as_str() && problems[0]["kind"] == "damage", "{found}");

    let stderr = String::from_utf8(broker.terminate().await.stderr).unwrap();
    let errors: Vec<_> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains(&key) && errors[0].contains("recovery.md"), "{stderr}");

    put(&whole);
    let broker = Broker::start(directory.path(), SETTINGS).await;
    audited(&broker).await;
    assert_eq!(metric(&broker, "siltstone_store_audit_problems{kind=\"damage\"}").await, Some(0.0));
    assert_eq!(ready(&broker).await, (200, "ready\n".to_owned()));
    let stderr = String::from_utf8(broker.terminate().await.stderr).unwrap();
    assert!(!stderr.contains("ERROR"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_could_not_read_is_told_before_the_next_round() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), SETTINGS).await;
    for topic in ["turned", "missing"] {
        let written = siltstone_with_input(&["produce", topic, "--bootstrap", &broker.bootstrap], "one\ntwo\n").await;
        assert!(written.status.success());
        eventually("an upload", async || !objects(&broker, topic).await.is_empty()).await;
    }
    let keys = [objects(&broker, "turned").await.remove(0), objects(&broker, "missing").await.remove(0)];
    assert_ne!(keys[0], keys[1]);
    broker.kill().await;
    // What is read from here on is in the store only. The round after the first one is a day away.
    let broker = Broker::start(directory.path(), SETTINGS).await;
    audited(&broker).await;
    let files = keys.each_ref().map(|key| directory.path().join("store").join(key));
    let mut turned = std::fs::read(&files[0]).unwrap();
    turned[16 + 70] ^= 1;
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[0], turned).unwrap();
    std::fs::remove_file(&files[1]).unwrap();

    for (topic, key, kind) in [("turned", &keys[0], "damage"), ("missing", &keys[1], "missing")] {
        // It goes on asking, as clients do.
        let _asking = siltstone_behind(&["consume", topic, "--bootstrap", &broker.bootstrap]);
        let problems = format!("siltstone_store_audit_problems{{kind=\"{kind}\"}}");
        eventually("the finding", async || metric(&broker, &problems).await == Some(1.0)).await;
        eventually("the note", async || ready(&broker).await.1.contains("store: ")).await;
        assert_eq!(metric(&broker, "siltstone_store_audit_rounds_total").await, Some(1.0), "{key}");
    }
    let stderr = String::from_utf8(broker.terminate().await.stderr).unwrap();
    for key in &keys {
        let errors: Vec<_> = stderr.lines().filter(|line| line.contains("ERROR") && line.contains(key.as_str())).collect();
        assert!(errors.len() == 1 && errors[0].contains("recovery.md"), "{stderr}");
    }
}
