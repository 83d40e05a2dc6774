//! What a backfill of many times the cache does to the consumers at the tail and to producers: measured in one run, in phases without and
//! with it by turns, since machines are noisy. `make backfill` prints the medians and their ratio.
//!
//! `SILTSTONE_TEST_BACKFILL_MIB` sets how much history there is, `SILTSTONE_TEST_BACKFILL_RATE_KIB` what is produced in a second (0 for as
//! much as can be), `SILTSTONE_TEST_BACKFILL_SECONDS` how long a phase is; which store: `stoppable_store.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::{Client, Consumer, ConsumerOptions, NewTopic, OffsetSpec, Producer, ProducerOptions, ProducerRecord};
use parking_lot::Mutex;
use runtime::Random;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::crash::{PARTITIONS, connect, variable};
use crate::harness::{Broker, Ports, siltstone_behind};
use crate::stoppable_store::StoppableStore;
use crate::store_away::credentials;

const HISTORY_MIB: u64 = 1024;
const RATE_KIB: u64 = 4096;
const PHASE_SECONDS: u64 = 6;
/// Of each kind.
const PHASES: usize = 9;
/// The read cache is a part of it.
const MEMORY: &str = "128MiB";
const RECORD_BYTES: usize = 1024;
/// Between two of the records whose way to a consumer is timed.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
/// Records of the producer that are not acknowledged yet.
const UNACKNOWLEDGED: usize = 2000;
/// Between two looks at the clock of a producer with a rate.
const TURN: Duration = Duration::from_millis(10);

/// What happens in the phase that runs.
#[derive(Default)]
struct Seen {
    delays: Mutex<Vec<Duration>>,
    produced: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and asserts nothing of it: make backfill"]
async fn a_backfill_of_many_times_the_cache_beside_the_tail_and_a_producer() {
    let history_mib = variable("SILTSTONE_TEST_BACKFILL_MIB").unwrap_or(HISTORY_MIB);
    let rate_kib = variable("SILTSTONE_TEST_BACKFILL_RATE_KIB").unwrap_or(RATE_KIB);
    let phase = Duration::from_secs(variable("SILTSTONE_TEST_BACKFILL_SECONDS").unwrap_or(PHASE_SECONDS));
    let store = StoppableStore::start_below(&format!("backfill-{:x}", Random::from_os().u64())).await;
    let directory = tempfile::tempdir().unwrap();
    let settings = [("store.url", store.url.as_str()), ("store.s3.endpoint", &store.endpoint), ("memory.max.bytes", MEMORY)];
    let broker = Broker::try_start_in(&credentials(), Ports::default(), directory.path(), &settings).await;
    let broker = broker.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let client = connect(&broker.bootstrap).await;
    for (topic, durability) in [("history", "object"), ("load", "wal"), ("tail", "wal")] {
        let configs = BTreeMap::from([("durability".to_owned(), durability.to_owned())]);
        let topic = NewTopic { name: topic.into(), partitions: Some(PARTITIONS), replication_factor: None, configs };
        client.create_topic(&topic).await.unwrap();
    }
    write_history(&client, history_mib << 20).await;
    println!("{history_mib} MiB of history, {MEMORY} of memory for all, {rate_kib} KiB/s produced (0: as much as can be)");

    let (seen, runs) = (Arc::new(Seen::default()), watch::Sender::new(false));
    let tasks = [
        tokio::spawn(time_the_tail(client.clone(), Arc::clone(&seen))),
        tokio::spawn(produce(client.clone(), rate_kib << 10, Arc::clone(&seen))),
        tokio::spawn(read_history(broker.bootstrap.clone(), runs.subscribe())),
    ];
    measure(&broker, &seen, phase).await;
    println!("backfill   tail p50 ms   tail p99 ms   produced KiB/s   read back MiB/s");
    let mut phases = [Vec::new(), Vec::new()];
    for _ in 0..PHASES {
        for (with, measured) in phases.iter_mut().enumerate() {
            runs.send_replace(with == 1);
            // What the last phase began has ended by then.
            tokio::time::sleep(phase / 5).await;
            let of_phase = measure(&broker, &seen, phase).await;
            let [p50, p99, produced, read_back] = of_phase;
            println!("{:8}   {p50:11.2}   {p99:11.2}   {produced:14.0}   {read_back:15.1}", ["without", "with"][with]);
            measured.push(of_phase);
        }
    }
    let [without, with] = phases.map(medians);
    println!("medians of {PHASES} phases of each kind:");
    for (index, name) in ["tail p50", "tail p99", "produced"].into_iter().enumerate() {
        println!("{name}: {:.2} without, {:.2} with, ratio {:.2}", without[index], with[index], with[index] / without[index]);
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    broker.kill().await;
}

/// Of each column.
fn medians(phases: Vec<[f64; 4]>) -> [f64; 4] {
    std::array::from_fn(|column| {
        let mut values: Vec<_> = phases.iter().map(|phase| phase[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// The tail's p50 and p99 in ms, KiB produced and MiB read back in a second.
async fn measure(broker: &Broker, seen: &Seen, phase: Duration) -> [f64; 4] {
    let before = (seen.produced.load(Ordering::Relaxed), read_back(broker).await);
    seen.delays.lock().clear();
    let begun = Instant::now();
    tokio::time::sleep(phase).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut delays = std::mem::take(&mut *seen.delays.lock());
    let after = (seen.produced.load(Ordering::Relaxed), read_back(broker).await);
    delays.sort_unstable();
    let percentile = |percent: usize| delays.get(delays.len() * percent / 100).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1000.0);
    let produced = (after.0 - before.0) as f64 / 1024.0 / seconds;
    [percentile(50), percentile(99), produced, (after.1 - before.1) / (1024.0 * 1024.0) / seconds]
}

fn record(topic: &str, number: u64, value: Bytes) -> ProducerRecord {
    ProducerRecord {
        topic: topic.to_owned(),
        partition: Some((number % PARTITIONS as u64) as i32),
        value: Some(value),
        ..ProducerRecord::default()
    }
}

/// Bytes that do not compress.
fn filling() -> Bytes {
    let random = Random::seeded(1);
    (0..RECORD_BYTES / 8).flat_map(|_| random.u64().to_le_bytes()).collect()
}

async fn write_history(client: &Client, bytes: u64) {
    let producer = Producer::start(client.clone(), ProducerOptions::default()).await.unwrap();
    let value = filling();
    for number in 0..bytes / RECORD_BYTES as u64 {
        producer.send(record("history", number, value.clone())).await.unwrap();
    }
    producer.flush().await;
}

async fn consumer(client: Client, topic: &str, from: OffsetSpec) -> Consumer {
    let starts: Vec<_> = (0..PARTITIONS).map(|partition| (partition, from)).collect();
    Consumer::assign(client, topic, &starts, ConsumerOptions::default()).await.unwrap()
}

/// Writes records that say when, and notes how long each took to a consumer.
async fn time_the_tail(client: Client, seen: Arc<Seen>) {
    let begun = Instant::now();
    let mut consumer = consumer(client.clone(), "tail", OffsetSpec::Latest).await;
    let producer = Producer::start(client, ProducerOptions::default()).await.unwrap();
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(PROBE_INTERVAL);
        for number in 0.. {
            turns.tick().await;
            let now = Bytes::copy_from_slice(&(begun.elapsed().as_nanos() as u64).to_le_bytes());
            producer.send(record("tail", number, now)).await.unwrap();
        }
    });
    loop {
        let records = consumer.poll().await.unwrap();
        let now = begun.elapsed();
        let sent = records.iter().map(|record| u64::from_le_bytes(record.value.as_deref().unwrap().try_into().unwrap()));
        seen.delays.lock().extend(sent.map(|sent| now - Duration::from_nanos(sent)));
    }
}

/// Produces at a rate; what was acknowledged counts.
async fn produce(client: Client, bytes_per_second: u64, seen: Arc<Seen>) {
    let producer = Producer::start(client, ProducerOptions::default()).await.unwrap();
    let (value, unacknowledged, begun) = (filling(), Arc::new(Semaphore::new(UNACKNOWLEDGED)), Instant::now());
    for number in 0_u64.. {
        while bytes_per_second != 0 && begun.elapsed().as_secs_f64() * (bytes_per_second as f64) < (number as f64) * RECORD_BYTES as f64 {
            tokio::time::sleep(TURN).await;
        }
        let permit = Arc::clone(&unacknowledged).acquire_owned().await.unwrap();
        let delivery = producer.send(record("load", number, value.clone())).await.unwrap();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            delivery.await.unwrap();
            seen.produced.fetch_add(RECORD_BYTES as u64, Ordering::Relaxed);
            drop(permit);
        });
    }
}

/// Reads all there is from the beginning, again and again, while it is to run. In a process of its own that stands behind the others, as if
/// it were a machine of its own: what a client of a backfill does with records is not what is measured.
async fn read_history(bootstrap: String, mut runs: watch::Receiver<bool>) {
    while runs.wait_for(|runs| *runs).await.is_ok() {
        let mut reader = siltstone_behind(&["consume", "history", "--bootstrap", &bootstrap]);
        let stopped = async { drop(runs.wait_for(|runs| !runs).await) };
        tokio::select! {
            ended = reader.wait() => assert!(ended.unwrap().success()),
            () = stopped => reader.kill().await.unwrap(),
        }
    }
}

/// Bytes of history that went out.
async fn read_back(broker: &Broker) -> f64 {
    let metrics = reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("siltstone_topic_bytes_out_total{topic=\"history\"} "));
    count.map_or(0.0, |count| count.parse().unwrap())
}
