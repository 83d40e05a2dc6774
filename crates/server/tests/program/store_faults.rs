//! A broker on an S3 behind a proxy that does to requests and answers what networks and stores do to them, under load: every
//! acknowledged record is at its offset, an idempotent producer's records are there once and in order, and all goes on unaided.
//!
//! `SILTSTONE_TEST_OUTAGE_SECONDS` sets how long the outage lasts, `SILTSTONE_TEST_SEED` repeats which requests meet a fault as far as
//! their order repeats, `SILTSTONE_TEST_S3_URL` with `SILTSTONE_TEST_S3_ENDPOINT` takes that bucket instead of one in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::NewTopic;
use runtime::Random;
use s3_server::{Quirks, S3Server};

use crate::crash::{PARTITIONS, Pace, SETTINGS, compare, connect, load, read_all, variable};
use crate::harness::{Broker, Ports, eventually, siltstone};
use crate::proxy::{Fault, Proxy};
use crate::store_away::{check, credentials};

/// How often each fault strikes before the next phase.
const STRIKES: u64 = 20;

/// What happens to requests while records are written, one after the other.
const PHASES: &[(&str, &[(Fault, f64)])] = &[
    ("a storm of SlowDown", &[(Fault::SlowDown, 0.9)]),
    ("lost answers", &[(Fault::LoseAnswer, 0.3), (Fault::FailAfter, 0.3)]),
    ("credentials that expire", &[(Fault::ExpiredToken, 0.5)]),
    ("seconds of latency", &[(Fault::Slow(Duration::from_secs(2)), 1.0)]),
];

/// What happens to those that read.
const READ_FAULTS: &[(Fault, f64)] = &[(Fault::Short, 0.2), (Fault::Corrupt, 0.2), (Fault::SlowDown, 0.2)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_the_network_and_the_store_do() {
    let seed = variable("SILTSTONE_TEST_SEED").unwrap_or_else(|| Random::from_os().u64());
    println!("repeat with SILTSTONE_TEST_SEED={seed}");
    let outage = Duration::from_secs(variable("SILTSTONE_TEST_OUTAGE_SECONDS").unwrap_or(2));
    let server = S3Server::start(&["siltstone"], Quirks::default()).await;
    let elsewhere = std::env::var("SILTSTONE_TEST_S3_URL").ok();
    let url = format!("{}/faults-{seed}", elsewhere.as_deref().unwrap_or("s3://siltstone"));
    let store = match &elsewhere {
        Some(_) => std::env::var("SILTSTONE_TEST_S3_ENDPOINT").expect("SILTSTONE_TEST_S3_ENDPOINT goes with SILTSTONE_TEST_S3_URL"),
        None => server.endpoint(),
    };
    let proxy = Proxy::before(&store, Random::seeded(seed)).await;
    let directory = tempfile::tempdir().unwrap();
    let endpoint = proxy.endpoint();
    let mut settings = SETTINGS.to_vec();
    settings.extend([("store.url", url.as_str()), ("store.s3.endpoint", endpoint.as_str())]);
    let start = async |ports: Ports| {
        let started = Broker::try_start_in(&credentials(), ports, directory.path(), &settings).await;
        started.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };

    let broker = start(Ports::default()).await;
    let ports = Ports { kafka: broker.port() };
    let client = connect(&broker.bootstrap).await;
    for (topic, durability) in [("kept", "wal"), ("uploaded", "object")] {
        let configs = BTreeMap::from([("durability".to_owned(), durability.to_owned())]);
        let topic = NewTopic { name: topic.into(), partitions: Some(PARTITIONS), replication_factor: None, configs };
        client.create_topic(&topic).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let pace = Pace { pause: Duration::from_millis(50), delivery_timeout: outage + Duration::from_secs(300) };
    let producers = ["kept", "uploaded"].map(|topic| (topic, tokio::spawn(load(client.clone(), topic, true, pace, Arc::clone(&stop)))));
    let ready = async || siltstone(&["health", "--http", &broker.http]).await.status.success();

    for (name, faults) in PHASES {
        proxy.set_faults(faults);
        eventually(name, async || faults.iter().all(|(fault, _)| STRIKES <= proxy.struck(*fault))).await;
        proxy.set_faults(&[]);
        eventually("recovery", ready).await;
        println!("{name}: survived");
    }

    proxy.set_outage(true);
    eventually("an obstacle", async || !ready().await).await;
    tokio::time::sleep(outage).await;
    assert!(!ready().await);
    proxy.set_outage(false);
    eventually("recovery", ready).await;
    println!("an outage of {} s: survived", outage.as_secs());

    stop.store(true, Ordering::Relaxed);
    let mut ledger = Vec::new();
    for (topic, producer) in producers {
        ledger.push((topic, producer.await.unwrap()));
    }
    let output = broker.terminate().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // From the objects alone, with nothing in memory, while what is read is cut off and damaged on its way.
    let broker = start(ports).await;
    proxy.set_faults(READ_FAULTS);
    for (topic, sent) in &ledger {
        compare(topic, sent, &read_all(&client, topic).await, true);
        println!("{topic}: {} records, all there", sent.records.len());
    }
    for (fault, _) in READ_FAULTS {
        assert!(0 < proxy.struck(*fault), "{fault:?}");
    }
    proxy.set_faults(&[]);
    let checked = check(&broker, &url, &store).await;
    assert!(checked.contains(" 0 problems"), "{checked}");
    broker.kill().await;
}
