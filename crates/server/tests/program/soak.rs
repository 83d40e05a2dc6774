//! A long run on a store that stops and starts, with a broker that is killed five times and a disk that is full once, compared record by
//! record: each acknowledged one is there once, at the offset that was told. Then the store is held against the metadata, the metadata is
//! thrown away and rebuilt of the store alone, and all is read again.
//!
//! Nothing is kept of what was written: a record is made of a seed and its number, when it is sent and when it is compared.
//!
//! `SILTSTONE_TEST_SOAK_MIB` sets how much is written, `SILTSTONE_TEST_SEED` repeats it; which store: `stoppable_store.rs`. The disk is a
//! file system in memory, where this machine lets us mount one.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::{Client, Consumer, ConsumerOptions, Delivery, NewTopic, OffsetSpec, Producer, ProducerOptions, ProducerRecord};
use runtime::Random;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::crash::{PARTITIONS, connect, variable};
use crate::harness::{Broker, Ports, eventually, siltstone, siltstone_within};
use crate::small_disk::SmallDisk;
use crate::stoppable_store::StoppableStore;
use crate::store_away::credentials;

/// What is written in the test run; `make soak` writes gigabytes.
const MIB: u64 = 16;
/// Topics, by their durability.
const TOPICS: [&str; 2] = ["wal", "object"];
/// A value's length in bytes, drawn by its number.
const VALUE_BYTES: Range<u64> = 256..4096;
/// Records on their way, beyond which the one who sends waits for the one who settles.
const UNSETTLED: usize = 20_000;
/// Longer than all that happens to the broker together.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long nothing may move where something must. Reading a whole store takes minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The data directory's disk. Producers are refused below the reserve, 256 MiB and two uploads.
const DISK_BYTES: u64 = 640 << 20;
/// What a full disk has left: less than the reserve, enough for uploads and the journal.
const FULL_DISK_BYTES: u64 = 160 << 20;

const SETTINGS: &[(&str, &str)] = &[
    ("wal.generation.bytes", "16MiB"),
    ("wal.generation.ms", "1000"),
    ("upload.max.bytes", "16MiB"),
    ("upload.max.age.ms", "1000"),
    ("log.segment.delete.delay.ms", "1000"),
    ("metadata.snapshot.min.interval.ms", "1000"),
    ("metadata.snapshot.max.interval.ms", "5000"),
];

/// What befalls the broker under load, in this order. In each it is killed once.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Ordeal {
    Killed,
    StoreStopped,
    DiskFull,
}
const ORDEALS: [Ordeal; 5] = [Ordeal::Killed, Ordeal::StoreStopped, Ordeal::Killed, Ordeal::DiskFull, Ordeal::Killed];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_outlives_kills_a_stopped_store_a_full_disk_and_the_metadata() {
    let mib = variable("SILTSTONE_TEST_SOAK_MIB").unwrap_or(MIB);
    let seed = variable("SILTSTONE_TEST_SEED").unwrap_or_else(|| Random::from_os().u64());
    println!("repeat with SILTSTONE_TEST_SEED={seed}");
    let begun = Instant::now();
    let mut site = Site::new(seed).await;
    if let Err(why) = &site.disk {
        println!("the disk is not filled, because no small one can be mounted: {why}");
    }
    let mut broker = site.start().await;
    let client = connect(&broker.bootstrap).await;
    for durability in TOPICS {
        let configs = BTreeMap::from([("durability".to_owned(), durability.to_owned()), ("retention.ms".to_owned(), "-1".to_owned())]);
        let topic = NewTopic { name: durability.to_owned(), partitions: Some(PARTITIONS), replication_factor: None, configs };
        client.create_topic(&topic).await.unwrap();
    }

    // A share for each ordeal, and one after the last.
    let record_bytes = (VALUE_BYTES.start + VALUE_BYTES.end) / 2;
    let share = (mib << 20) / (record_bytes * (TOPICS.len() * (ORDEALS.len() + 1)) as u64);
    let load = Load::start(&client, seed).await;
    for (ordeal, share) in ORDEALS.into_iter().zip((0..).map(|before| before * share..(before + 1) * share)) {
        broker = site.undergo(ordeal, broker, &load, share.clone()).await;
        load.settled(share.end).await;
        println!("{ordeal:?}: survived, {} records acknowledged after {} s", load.acknowledged(), begun.elapsed().as_secs());
    }
    let records = load.finish(share).await;
    println!("{} records are written after {} s", records * TOPICS.len() as u64, begun.elapsed().as_secs());

    // From the objects alone.
    stop(broker).await;
    let broker = site.start().await;
    let digests = read(&client, seed, records).await;
    println!("all there after {} s: {digests:x?}", begun.elapsed().as_secs());
    println!("{}", site.checked(&broker).await);
    stop(broker).await;
    print!("{}", site.rebuild_metadata().await);
    let broker = site.start().await;
    assert_eq!(read(&client, seed, records).await, digests, "the same after the rebuild");
    println!("all there again after {} s", begun.elapsed().as_secs());
    println!("{}", site.checked(&broker).await);
    stop(broker).await;
}

async fn stop(broker: Broker) {
    let output = broker.terminate().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A store, and a data directory.
struct Site {
    store: StoppableStore,
    /// Or why there is no small one.
    disk: Result<SmallDisk, String>,
    directory: tempfile::TempDir,
    ports: Ports,
}

impl Site {
    async fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(DISK_BYTES, directory.path()).await;
        Self { store: StoppableStore::start_below(&format!("soak-{seed}")).await, disk, directory, ports: Ports::default() }
    }

    fn data(&self) -> PathBuf {
        self.disk.as_ref().map_or(self.directory.path(), SmallDisk::root).join("data")
    }

    /// Starts the broker, on the port that it had before.
    async fn start(&mut self) -> Broker {
        let settings = [SETTINGS, &[("store.url", &self.store.url), ("store.s3.endpoint", &self.store.endpoint)]].concat();
        let started = Broker::try_start_in(&credentials(), self.ports, &self.data(), &settings).await;
        let broker = started.unwrap_or_else(|output| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        self.ports = Ports { kafka: broker.port() };
        broker
    }

    /// Lets it happen while the load's next share is written.
    async fn undergo(&mut self, ordeal: Ordeal, broker: Broker, load: &Load, share: Range<u64>) -> Broker {
        match ordeal {
            Ordeal::Killed => {
                load.allow(share.end);
                load.settled(share.start.midpoint(share.end)).await;
                broker.kill().await;
                self.start().await
            }
            Ordeal::StoreStopped => {
                self.store.stop().await;
                load.allow(share.end);
                eventually("an obstacle", async || !is_ready(&broker).await).await;
                broker.kill().await;
                let broker = self.start().await;
                assert!(!is_ready(&broker).await);
                assert_eq!(load.acknowledged_in("object"), share.start);
                self.store.start().await;
                eventually("recovery", async || is_ready(&broker).await).await;
                broker
            }
            Ordeal::DiskFull => {
                let Ok(disk) = &self.disk else { return Box::pin(self.undergo(Ordeal::Killed, broker, load, share)).await };
                disk.fill(FULL_DISK_BYTES).unwrap();
                // One by one: the broker looks at its disk now and then, and must be refusing before the share is written.
                let mut allowed = share.clone();
                eventually("a refusal", async || {
                    load.allow(allowed.next().unwrap_or(share.end));
                    refused(&broker).await
                })
                .await;
                load.allow(share.end);
                broker.kill().await;
                let broker = self.start().await;
                eventually("a refusal", async || refused(&broker).await).await;
                self.disk.as_ref().expect("it was filled").clear().unwrap();
                broker
            }
        }
    }

    /// What `store check` says once nothing is left over.
    async fn checked(&self, broker: &Broker) -> String {
        let reach = self.store.reach();
        let arguments = ["store", "check", "--metadata", &broker.metadata, "--store", &self.store.url, "--set", &reach];
        let begun = Instant::now();
        loop {
            let output = siltstone_within(PATIENCE, &credentials(), &arguments).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let said = String::from_utf8(output.stdout).unwrap();
            if said.ends_with(" 0 problems, 0 orphans\n") {
                return said.trim_end().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{said}");
        }
    }

    /// Throws the metadata away and makes it anew of the store.
    async fn rebuild_metadata(&self) -> String {
        let data = self.data();
        std::fs::remove_dir_all(data.join("metadata")).unwrap();
        let reach = self.store.reach();
        let arguments = ["store", "rebuild", "--data-dir", data.to_str().unwrap(), "--store", &self.store.url, "--set", &reach];
        let output = siltstone_within(PATIENCE, &credentials(), &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn is_ready(broker: &Broker) -> bool {
    siltstone(&["health", "--http", &broker.http]).await.status.success()
}

/// Whether producers were refused since the broker started, by an error that they take for a passing one.
async fn refused(broker: &Broker) -> bool {
    let metrics = reqwest::get(format!("http://{}/metrics", broker.http)).await.unwrap().text().await.unwrap();
    metrics.lines().any(|line| line.contains("NOT_ENOUGH_REPLICAS") && !line.ends_with(" 0"))
}

/// The value of a record.
fn value(seed: u64, topic: &str, number: u64) -> Bytes {
    let mut state = DefaultHasher::new();
    (seed, topic, number).hash(&mut state);
    // xorshift64*, which must not begin at 0.
    let mut word = state.finish() | 1;
    let mut next = || {
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        word.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let length = VALUE_BYTES.start + next() % (VALUE_BYTES.end - VALUE_BYTES.start);
    let mut value = BytesMut::with_capacity(VALUE_BYTES.end as usize);
    while (value.len() as u64) < length {
        value.extend_from_slice(&next().to_le_bytes());
    }
    value.truncate(length as usize);
    value.freeze()
}

/// Idempotent producers, one for each topic, that outlive everything. Record n goes to partition n % PARTITIONS, so that its offset is
/// known before: n / PARTITIONS.
struct Load {
    allowed: watch::Sender<u64>,
    acknowledged: [Arc<AtomicU64>; TOPICS.len()],
    producers: Vec<tokio::task::JoinHandle<u64>>,
}

impl Load {
    async fn start(client: &Client, seed: u64) -> Self {
        let allowed = watch::Sender::new(0);
        let acknowledged: [Arc<AtomicU64>; TOPICS.len()] = Default::default();
        let mut producers = Vec::new();
        for (topic, acknowledged) in TOPICS.into_iter().zip(&acknowledged) {
            let options = ProducerOptions { delivery_timeout: DELIVERY_TIMEOUT, ..ProducerOptions::default() };
            let producer = Producer::start(client.clone(), options).await.unwrap();
            let (sent, settling) = mpsc::channel(UNSETTLED);
            producers.push(tokio::spawn(settle(topic, settling, Arc::clone(acknowledged))));
            tokio::spawn(send(producer, topic, seed, allowed.subscribe(), sent));
        }
        Self { allowed, acknowledged, producers }
    }

    /// Lets each topic's producer send this many records in all.
    fn allow(&self, records: u64) {
        self.allowed.send_replace(records);
    }

    fn acknowledged_in(&self, topic: &str) -> u64 {
        let index = TOPICS.iter().position(|name| *name == topic).expect("one of the topics");
        self.acknowledged[index].load(Ordering::Relaxed)
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|acknowledged| acknowledged.load(Ordering::Relaxed)).sum()
    }

    /// Waits until this many are acknowledged in each topic; they must not stand still.
    async fn settled(&self, records: u64) {
        let mut moved = (self.acknowledged(), Instant::now());
        while self.acknowledged.iter().any(|acknowledged| acknowledged.load(Ordering::Relaxed) < records) {
            assert!(moved.1.elapsed() < PATIENCE, "nothing is acknowledged any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = self.acknowledged();
            if moved.0 < now {
                moved = (now, Instant::now());
            }
        }
    }

    /// Lets everybody send `more`, and waits until all is acknowledged; the records of each topic.
    async fn finish(self, more: u64) -> u64 {
        let records = *self.allowed.borrow() + more;
        self.allow(records);
        self.settled(records).await;
        drop(self.allowed);
        for producer in self.producers {
            assert_eq!(producer.await.unwrap(), records);
        }
        records
    }
}

/// Sends as many as are allowed, until nobody can allow more.
async fn send(producer: Producer, topic: &'static str, seed: u64, mut allowed: watch::Receiver<u64>, sent: mpsc::Sender<Delivery>) {
    let mut number = 0;
    while allowed.wait_for(|allowed| number < *allowed).await.is_ok() {
        let record = ProducerRecord {
            topic: topic.to_owned(),
            partition: Some((number % PARTITIONS as u64) as i32),
            value: Some(value(seed, topic, number)),
            ..ProducerRecord::default()
        };
        let delivery = producer.send(record).await.unwrap();
        if sent.send(delivery).await.is_err() {
            return;
        }
        number += 1;
    }
}

/// Compares where each record is said to be with where it must be.
async fn settle(topic: &'static str, mut sent: mpsc::Receiver<Delivery>, acknowledged: Arc<AtomicU64>) -> u64 {
    let mut number = 0;
    while let Some(delivery) = sent.recv().await {
        let told = delivery.await.unwrap_or_else(|error| panic!("{topic}: record {number}: {error}"));
        let expected = ((number % PARTITIONS as u64) as i32, Some((number / PARTITIONS as u64) as i64));
        assert_eq!((told.partition, told.offset), expected, "{topic}: record {number}");
        number += 1;
        acknowledged.store(number, Ordering::Relaxed);
    }
    number
}

/// Reads each topic to its end and compares; a digest of offsets, times and values by partition.
async fn read(client: &Client, seed: u64, records: u64) -> VecDeque<u64> {
    let mut digests = VecDeque::new();
    for topic in TOPICS {
        let starts: Vec<_> = (0..PARTITIONS).map(|partition| (partition, OffsetSpec::Earliest)).collect();
        let mut consumer = Consumer::assign(client.clone(), topic, &starts, ConsumerOptions::default()).await.unwrap();
        let ends = consumer.ends().await.unwrap();
        let mut partitions = vec![(0_u64, DefaultHasher::new()); PARTITIONS as usize];
        while !consumer.has_reached(&ends) {
            for record in timeout(PATIENCE, consumer.poll()).await.expect("reads go on").unwrap() {
                let (next, digest) = &mut partitions[record.partition as usize];
                assert_eq!(record.offset as u64, *next, "{topic}-{}: no hole, nothing twice", record.partition);
                let number = *next * PARTITIONS as u64 + record.partition as u64;
                let expected = value(seed, topic, number);
                assert!(record.value.as_ref() == Some(&expected), "{topic}-{}: offset {}", record.partition, record.offset);
                (record.offset, record.timestamp, expected).hash(digest);
                *next += 1;
            }
        }
        assert_eq!(partitions.iter().map(|(count, _)| count).sum::<u64>(), records, "{topic}: exactly what was sent");
        digests.extend(partitions.iter().map(|(_, digest)| digest.finish()));
    }
    digests
}
