//! Many small uploads become few large segments while a broker runs, is killed, and runs again; nobody who reads can tell.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use client::{Acks, Client, ClientOptions, NewTopic, Producer, ProducerOptions, ProducerRecord};
use serde_json::Value;

use crate::harness::{Broker, eventually, siltstone_ok};

const SEGMENTS: usize = 320;
/// What is not referenced is deleted at once; everything that waits is uploaded at once.
const SETTINGS: &[(&str, &str)] = &[
    ("upload.interval.ms", "1"),
    ("log.segment.delete.delay.ms", "0"),
    ("log.retention.check.interval.ms", "100"),
    ("metadata.snapshot.min.interval.ms", "100"),
];

fn line(number: usize) -> String {
    format!("{number:0>8000}")
}

/// Every record is an upload of its own: it is waited for.
async fn write(broker: &Broker) {
    let client = Client::connect(&broker.bootstrap, ClientOptions::default()).await.unwrap();
    let configs = [("segment.bytes", "1048576"), ("durability", "object"), ("retention.ms", "-1")];
    let configs: BTreeMap<_, _> = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let topic = NewTopic { name: "lines".to_owned(), partitions: Some(1), replication_factor: None, configs };
    client.create_topic(&topic).await.unwrap();
    let options = ProducerOptions { acks: Acks::All, ..ProducerOptions::default() };
    let producer = Producer::start(client, options).await.unwrap();
    for number in 0..SEGMENTS {
        let value = Some(Bytes::from(line(number)));
        let record =
            ProducerRecord { topic: "lines".to_owned(), partition: Some(0), key: None, value, headers: Vec::new(), timestamp: None };
        let delivery = producer.send(record).await.unwrap();
        producer.flush().await;
        delivery.await.unwrap();
    }
}

async fn segments(broker: &Broker) -> Vec<Value> {
    let listed = siltstone_ok(&["segment", "list", "lines", "--json", "--metadata", &broker.metadata]).await;
    serde_json::from_str(&listed).unwrap()
}

async fn metric(broker: &Broker, name: &str) -> u64 {
    let text = reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().parse::<f64>().unwrap());
    value.unwrap_or(0.0) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_segments_become_few_also_when_the_broker_is_killed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let with = |more: &[(&'static str, &'static str)]| [SETTINGS, more].concat();
    let broker = Broker::start(directory.path(), &with(&[("rewrite.enable", "false")])).await;
    write(&broker).await;
    let before = segments(&broker).await;
    assert!(SEGMENTS * 9 / 10 <= before.len(), "{} segments", before.len());
    assert!(before.iter().all(|segment| segment["origin"] == "range"));
    assert!(before.len() as u64 <= metric(&broker, "siltstone_metadata_segments").await);
    let all: String = (0..SEGMENTS).map(|number| line(number) + "\n").collect();
    assert!(siltstone_ok(&["consume", "lines", "--bootstrap", &broker.bootstrap]).await == all);
    assert_eq!(metric(&broker, "siltstone_rewrites_total{outcome=\"done\"}").await, 0, "it was switched off");
    broker.kill().await;

    // Slow enough to be killed in the middle.
    let broker = Broker::start(directory.path(), &with(&[("rewrite.max.bytes.per.second", "1MiB")])).await;
    let read = "siltstone_rewrite_bytes_total{direction=\"read\"}";
    eventually("a rewrite", async || 0 < metric(&broker, read).await).await;
    broker.kill().await;

    let broker = Broker::start(directory.path(), &with(&[("rewrite.max.bytes.per.second", "1GiB")])).await;
    eventually("few segments", async || segments(&broker).await.len() <= 80).await;
    let after = segments(&broker).await;
    let large: Vec<_> = after.iter().filter(|segment| 1 << 20 <= segment["bytes"].as_u64().unwrap()).collect();
    assert!(!large.is_empty() && large.iter().all(|segment| segment["origin"] == "rewrite"), "{after:?}");
    assert!(large.iter().all(|segment| segment["object"].as_str().unwrap().starts_with("topic/")), "{after:?}");
    assert!(siltstone_ok(&["consume", "lines", "--bootstrap", &broker.bootstrap]).await == all, "the same, byte for byte");
    assert!(0 < metric(&broker, "siltstone_rewrites_total{outcome=\"done\"}").await);
    assert_eq!(metric(&broker, "siltstone_rewrites_total{outcome=\"failed\"}").await, 0);

    // What was replaced is deleted. The killed rewrite may have left one object, of an epoch that is over; the sweep finds it.
    let check = async || -> Value {
        let found = siltstone_ok(&["store", "check", "--json", "--metadata", &broker.metadata, "--data-dir", data]).await;
        serde_json::from_str(&found).unwrap()
    };
    eventually("the end of the old objects", async || check().await["orphans"].as_array().unwrap().len() <= 1).await;
    let checked = check().await;
    assert_eq!(checked["problems"], serde_json::json!([]));
    assert!(checked["objects"].as_u64().unwrap() <= 80, "{checked}");

    siltstone_ok(&["topic", "delete", "lines", "--bootstrap", &broker.bootstrap]).await;
    let left = async || check().await["orphans"].as_array().unwrap().len() + check().await["objects"].as_u64().unwrap() as usize;
    eventually("the deleted topic's objects go", async || left().await <= 1).await;
    tokio::time::timeout(Duration::from_secs(60), broker.terminate()).await.unwrap();
}
