//! kill -9 a broker under load, again and again, and compare: every acknowledged record is at its offset, an idempotent producer's
//! records are there once and in order, and there is no hole.
//!
//! `SILTSTONE_TEST_CRASH_ROUNDS` sets the rounds, `SILTSTONE_TEST_SEED` repeats the moments, `SILTSTONE_TEST_S3_URL` (with
//! `SILTSTONE_TEST_S3_ENDPOINT`) runs it on a bucket.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Broker, Ports};
use bytes::Bytes;
use client::{Acks, Client, ClientOptions, Consumer, ConsumerOptions, NewTopic, OffsetSpec, Producer, ProducerOptions, ProducerRecord};
use runtime::Random;

pub(crate) const PARTITIONS: i32 = 4;
/// Rounds in the test run; `make crash` does more.
const ROUNDS: u64 = 4;
/// Small, so that a few seconds go through every step from append to trim many times.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("wal.generation.bytes", "1MiB"),
    ("wal.generation.ms", "300"),
    ("upload.bytes", "256KiB"),
    ("upload.max.bytes", "1MiB"),
    ("upload.max.age.ms", "400"),
    ("upload.interval.ms", "50"),
];
/// Records between two looks at the clock, and the pause after them: about 10,000 records a second.
const BURST: u64 = 50;
const PACE: Pace = Pace { pause: Duration::from_millis(5), delivery_timeout: Duration::from_secs(120) };

/// How a producer goes about it.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) pause: Duration,
    pub(crate) delivery_timeout: Duration,
}

/// What a producer knows of its records.
#[derive(Default)]
pub(crate) struct Sent {
    /// By number: where it was acknowledged, or nothing if its outcome is not known.
    pub(crate) records: Vec<Option<(i32, i64)>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_record_survives_kill_9_at_its_offset_and_once() {
    let rounds = variable("SILTSTONE_TEST_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = variable("SILTSTONE_TEST_SEED").unwrap_or_else(|| Random::from_os().u64());
    println!("repeat with SILTSTONE_TEST_SEED={seed}");
    let random = Random::seeded(seed);
    let directory = tempfile::tempdir().unwrap();
    let store = std::env::var("SILTSTONE_TEST_S3_URL").map(|url| format!("{url}/crash-{seed}")).ok();
    let endpoint = std::env::var("SILTSTONE_TEST_S3_ENDPOINT").unwrap_or_default();
    let mut settings = SETTINGS.to_vec();
    if let Some(store) = &store {
        settings.extend([("store.url", store.as_str()), ("store.s3.endpoint", endpoint.as_str()), ("store.s3.path.style", "true")]);
    }

    let mut broker = Broker::start(directory.path(), &settings).await;
    let ports = Ports { kafka: broker.port() };
    let client = connect(&broker.bootstrap).await;
    for (topic, durability) in [("idempotent", "wal"), ("plain", "wal"), ("uploaded", "object")] {
        let configs = BTreeMap::from([("durability".to_owned(), durability.to_owned())]);
        client
            .create_topic(&NewTopic { name: topic.into(), partitions: Some(PARTITIONS), replication_factor: None, configs })
            .await
            .unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = [("idempotent", true), ("plain", false), ("uploaded", true)]
        .map(|(topic, idempotent)| (topic, idempotent, tokio::spawn(load(client.clone(), topic, idempotent, PACE, Arc::clone(&stop)))))
        .into();

    for round in 1..=rounds {
        tokio::time::sleep(Duration::from_millis(100 + random.below(1200))).await;
        broker.kill().await;
        broker = Broker::start_on(ports, directory.path(), &settings).await;
        println!("round {round} of {rounds}");
        // One that has given up says why below, and not only after all rounds.
        if producers.iter().any(|(_, _, producer)| producer.is_finished()) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for (topic, idempotent, producer) in producers {
        let sent = producer.await.unwrap();
        let log = read_all(&client, topic).await;
        compare(topic, &sent, &log, idempotent);
        println!("{topic}: {} records, all there", sent.records.len());
    }
    let output = broker.terminate().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // And once more after an orderly stop, from objects alone.
    let broker = Broker::start_on(ports, directory.path(), &settings).await;
    let once_more = read_all(&connect(&broker.bootstrap).await, "idempotent").await;
    assert_eq!(once_more.len(), PARTITIONS as usize);
    broker.kill().await;
}

pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

pub(crate) async fn connect(bootstrap: &str) -> Client {
    let options = ClientOptions { retry_timeout: Duration::from_secs(60), auto_create_topics: false, ..ClientOptions::default() };
    Client::connect(bootstrap, options).await.unwrap()
}

/// Writes numbered records until it is told to stop; one producer lives through all crashes.
pub(crate) async fn load(client: Client, topic: &'static str, idempotent: bool, pace: Pace, stop: Arc<AtomicBool>) -> Sent {
    let options = ProducerOptions { acks: Acks::All, idempotent, delivery_timeout: pace.delivery_timeout, ..ProducerOptions::default() };
    let producer = Producer::start(client, options).await.unwrap();
    let mut deliveries = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let number = deliveries.len();
            let record = ProducerRecord {
                topic: topic.to_owned(),
                partition: Some((number % PARTITIONS as usize) as i32),
                key: None,
                value: Some(Bytes::from(format!("{number}:{:0>150}", number % 7919))),
                headers: Vec::new(),
                timestamp: None,
            };
            deliveries.push(producer.send(record).await.unwrap());
        }
        tokio::time::sleep(pace.pause).await;
    }
    producer.flush().await;
    let mut sent = Sent::default();
    for delivery in deliveries {
        match delivery.await {
            Ok(acknowledged) => {
                sent.records.push(acknowledged.offset.map(|offset| (acknowledged.partition, offset)));
            }
            Err(error) => {
                assert!(!idempotent, "an idempotent producer outlives every crash: {error}");
                sent.records.push(None);
            }
        }
    }
    sent
}

/// Every partition from its first to its last record: the numbers, by offset.
pub(crate) async fn read_all(client: &Client, topic: &str) -> HashMap<i32, Vec<u64>> {
    let starts: Vec<_> = (0..PARTITIONS).map(|partition| (partition, OffsetSpec::Earliest)).collect();
    let mut consumer = Consumer::assign(client.clone(), topic, &starts, ConsumerOptions::default()).await.unwrap();
    let ends = consumer.ends().await.unwrap();
    let mut log: HashMap<i32, Vec<u64>> = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    while !consumer.has_reached(&ends) {
        for record in consumer.poll().await.unwrap() {
            let records = log.get_mut(&record.partition).unwrap();
            assert_eq!(record.offset, records.len() as i64, "{topic}-{}: no hole, nothing twice", record.partition);
            let value = record.value.unwrap();
            let (number, filling) = std::str::from_utf8(&value).unwrap().split_once(':').unwrap();
            let number: u64 = number.parse().unwrap();
            assert_eq!(filling.trim_start_matches('0'), (number % 7919).to_string().trim_start_matches('0'), "the value is whole");
            records.push(number);
        }
    }
    log
}

pub(crate) fn compare(topic: &str, sent: &Sent, log: &HashMap<i32, Vec<u64>>, idempotent: bool) {
    for (number, acknowledged) in sent.records.iter().enumerate() {
        if let Some((partition, offset)) = acknowledged {
            let found = log[partition].get(*offset as usize);
            assert_eq!(found, Some(&(number as u64)), "{topic}-{partition}: record acknowledged at offset {offset}");
        }
    }
    if !idempotent {
        return;
    }
    for (partition, numbers) in log {
        assert!(numbers.is_sorted_by(|a, b| a < b), "{topic}-{partition}: each record once, in order");
    }
    let there: usize = log.values().map(Vec::len).sum();
    assert_eq!(there, sent.records.len(), "{topic}: exactly what was sent");
}
