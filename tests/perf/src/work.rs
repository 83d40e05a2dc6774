//! How each kind of case is measured on one peer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::Offset;

use crate::bench::Bench;
use crate::cases::{Case, Peer, Place, Shape, Work};
use crate::kafka::Kafka;
use crate::limits::{self, Append};
use crate::load::{Consumed, Load, MockBroker, Reading, Until, create_topic, first_record};
use crate::machine::{self, Watch, memory_bytes};
use crate::siltstone::{Setup, Siltstone, Store};
use crate::statistics::Delays;
use crate::{cold_read, object_delay};

const MB: f64 = 1e6;
const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
const TOPIC: &str = "load";
/// Not counted: connections are made, queues fill, a JVM compiles.
const WARM_UP: Duration = Duration::from_secs(4);
/// Written before it is read.
const HISTORY_MIB: u64 = 1024;
/// A batch of Java's default producer.
const DEFAULT_BATCH: f64 = 16384.0;
const DEFAULT_IN_FLIGHT: f64 = 5.0;

/// Measures by name.
type Measures = BTreeMap<String, f64>;

fn measures(named: &[(&str, f64)]) -> Measures {
    named.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// One case on one peer.
pub(crate) fn measure(bench: &Bench<'_>, case: &Case, peer: Peer) -> Result<Measures> {
    match case.work {
        Work::Produce(shape) => produce(bench, case, peer, shape),
        Work::Delay(shape) => delay(bench, case, peer, shape),
        Work::Consume(shape) => consume(bench, case, peer, shape),
        Work::Tail(shape, readers) => tail(bench, case, peer, shape, readers),
        Work::Both(shape) => both(bench, case, peer, shape),
        Work::ColdRead => cold(bench, case),
        Work::WalRead => wal_read(bench),
        Work::ObjectDelay(run) => delay_of_object(bench, case, run),
        Work::Defaults { partitions, interval_ms } => defaults(bench, case, partitions, interval_ms),
        Work::Start => start(bench, case, peer),
        Work::Idle { partitions } => idle(bench, case, peer, partitions),
        Work::Recovery { mib } => recovery(bench, mib),
        Work::DiskFresh => Ok(rate(limits::disk_append(bench.place, Append::Fresh, bench.time)?)),
        Work::DiskRecycled => Ok(rate(limits::disk_append(bench.place, Append::Recycled, bench.time)?)),
        Work::DiskSync => {
            let delays = limits::disk_syncs(bench.place, 4096, Duration::from_millis(5), bench.time)?;
            Ok(of_delays(Delays::of(delays).context("nothing was synced")?))
        }
        Work::Loopback => Ok(rate(limits::loopback(bench.time)?)),
        Work::StorePut => on_store(bench, case, |store| Box::pin(limits::store_puts(store, 4, 8 << 20, bench.time))),
        Work::StoreGet => on_store(bench, case, |store| {
            Box::pin(async move {
                limits::store_puts(Arc::clone(&store), 1, 64 << 20, Duration::from_secs(1)).await?;
                limits::store_gets(store, 4, 4 << 20, bench.time).await
            })
        }),
    }
}

fn rate(bytes_per_second: f64) -> Measures {
    measures(&[("mb_per_second", bytes_per_second / MB)])
}

fn of_delays(delays: Delays) -> Measures {
    measures(&[("p50_ms", delays.p50_ms), ("p99_ms", delays.p99_ms), ("p999_ms", delays.p999_ms)])
}

type Rate<'a> = std::pin::Pin<Box<dyn Future<Output = Result<f64>> + 'a>>;

fn on_store<'a>(bench: &Bench<'_>, case: &Case, work: impl FnOnce(Arc<dyn object_store::ObjectStore>) -> Rate<'a>) -> Result<Measures> {
    let store = store_at(case.place, bench.place)?.context("the case has a store")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(rate(runtime.block_on(work(store.client()?))?))
}

/// The store of a case; `None` where a broker's own data directory is.
fn store_at(place: Place, work: &Path) -> Result<Option<Store>> {
    Ok(match place {
        Place::Memory => Some(Store::directory()?),
        Place::SharedDisk => None,
        Place::S3(delay_ms) => Some(Store::s3(work, Duration::from_millis(delay_ms))?),
    })
}

/// A broker under measurement.
enum Broker {
    Siltstone(Siltstone, #[expect(dead_code, reason = "its objects are there as long as the broker is")] Option<Store>),
    Kafka(Kafka),
    Client(MockBroker),
}

impl Broker {
    fn start(bench: &Bench<'_>, case: &Case, peer: Peer, settings: &[&str]) -> Result<Self> {
        let data = bench.place.join("data");
        match peer {
            Peer::Siltstone => {
                let store = store_at(case.place, bench.place)?;
                let setup = Setup { program: bench.program, data: &data, store: store.as_ref(), settings };
                Ok(Self::Siltstone(Siltstone::start(setup)?, store))
            }
            Peer::Kafka | Peer::KafkaFsync => {
                let flush: &[&str] = if peer == Peer::KafkaFsync { &["log.flush.interval.messages=1"] } else { &[] };
                let libraries = bench.libraries.context("Kafka's jars are not given")?;
                Ok(Self::Kafka(Kafka::start(libraries, &data, flush)?))
            }
            Peer::Client => Ok(Self::Client(MockBroker::start()?)),
            Peer::Machine => bail!("the machine is no broker"),
        }
    }

    fn bootstrap(&self) -> String {
        match self {
            Self::Siltstone(broker, _) => broker.bootstrap.clone(),
            Self::Kafka(broker) => broker.bootstrap.clone(),
            Self::Client(broker) => broker.bootstrap(),
        }
    }

    /// `None` where it is part of this process.
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Siltstone(broker, _) => Some(broker.pid()),
            Self::Kafka(broker) => Some(broker.pid()),
            Self::Client(_) => None,
        }
    }

    /// Bytes of record batches accepted so far, as far as the broker tells: records with their keys, headers and lengths, and the batches'
    /// own headers.
    fn accepted_bytes(&self) -> Result<Option<f64>> {
        match self {
            Self::Siltstone(broker, _) => Ok(Some(broker.metrics()?.sum("siltstone_topic_bytes_in_total", &[]))),
            Self::Kafka(_) | Self::Client(_) => Ok(None),
        }
    }

    fn create_topic(&self, shape: Shape) -> Result<()> {
        match self {
            Self::Siltstone(..) => create_topic(&self.bootstrap(), TOPIC, shape.partitions, &[("durability", shape.durability)]),
            Self::Kafka(_) => create_topic(&self.bootstrap(), TOPIC, shape.partitions, &[]),
            Self::Client(broker) => broker.create_topic(TOPIC, shape.partitions),
        }
    }

    fn load(&self, shape: Shape) -> Load {
        Load {
            bootstrap: self.bootstrap(),
            topic: TOPIC.to_owned(),
            partitions: shape.partitions,
            record_bytes: shape.record_bytes,
            run: shape.run,
            rate: shape.rate,
            clients: shape.clients,
            settings: shape.settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn reading(&self, shape: Shape) -> Reading {
        let mut reading = Reading::all(&self.bootstrap(), TOPIC, shape.partitions);
        // What producers are told of versions holds for consumers, too.
        let of_both = shape.settings.iter().filter(|(key, _)| key.contains("version"));
        reading.settings = of_both.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        reading
    }
}

/// CPU, memory and disk of a broker over a stretch of time, and the CPU of the load, which is this process.
struct Cost {
    pid: Option<u32>,
    watch: Watch,
    written: u64,
}

impl Cost {
    fn start(broker: &Broker) -> Self {
        let pid = broker.pid();
        Self { pid, watch: Watch::start(&pid.into_iter().collect::<Vec<_>>()), written: pid.map_or(0, written_bytes) }
    }

    /// By so many bytes and records that it took in or gave out.
    fn measures(&self, bytes: f64, records: f64) -> Measures {
        let of_load = self.watch.used_by(std::process::id()) / (bytes / GIB);
        let Some(pid) = self.pid else { return measures(&[("load_cpu_s_per_gib", of_load)]) };
        let cpu = self.watch.used_by(pid);
        measures(&[
            ("cpu_s_per_gib", cpu / (bytes / GIB)),
            ("load_cpu_s_per_gib", of_load),
            ("cpu_s_per_million", cpu / (records / 1e6)),
            ("memory_mib", memory_bytes(pid, "VmHWM") as f64 / MIB),
            ("written_per_byte", (written_bytes(pid) - self.written) as f64 / bytes),
        ])
    }
}

/// Bytes that a process has caused to be written to a disk; a file system in memory is none. Linux counts a folio of many pages whole each
/// time that a part of it is written after a sync.
fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

fn produce(bench: &Bench<'_>, case: &Case, peer: Peer, shape: Shape) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    broker.create_topic(shape)?;
    let producing = broker.load(shape).start()?;
    thread::sleep(WARM_UP);
    // The disk is asked after the broker both times, so that both are asked for the same stretch of time.
    let accepted_and_written = || anyhow::Ok(broker.accepted_bytes()?.zip(machine::disk_written_bytes(bench.place)));
    let so_far = accepted_and_written()?;
    let (cost, begun, before) = (Cost::start(&broker), Instant::now(), producing.acknowledged());
    thread::sleep(bench.time);
    let (after, seconds) = (producing.acknowledged(), begun.elapsed().as_secs_f64());
    let (bytes, records) = ((after.bytes - before.bytes) as f64, (after.records - before.records) as f64);
    ensure!(0.0 < records, "nothing was acknowledged");
    let mut found = cost.measures(bytes, records);
    if let Some(((accepted, written), (accepted_before, written_before))) = accepted_and_written()?.zip(so_far) {
        found.insert("written_per_accepted".to_owned(), (written - written_before) / (accepted - accepted_before));
    }
    producing.give_up()?;
    found.extend(measures(&[("mb_per_second", bytes / MB / seconds), ("records_per_second", records / seconds)]));
    Ok(found)
}

fn delay(bench: &Bench<'_>, case: &Case, peer: Peer, shape: Shape) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    broker.create_topic(shape)?;
    let producing = broker.load(shape).start()?;
    thread::sleep(WARM_UP);
    let puts = |broker: &Broker| match broker {
        Broker::Siltstone(broker, _) => Ok(broker.metrics()?.sum("siltstone_store_requests_total", &[("operation", "put")])),
        Broker::Kafka(_) | Broker::Client(_) => anyhow::Ok(0.0),
    };
    let (cost, from, begun, puts_before, before) =
        (Cost::start(&broker), producing.micros(), Instant::now(), puts(&broker)?, producing.acknowledged());
    thread::sleep(bench.time);
    let (to, seconds, after) = (producing.micros(), begun.elapsed().as_secs_f64(), producing.acknowledged());
    let mut found = cost.measures((after.bytes - before.bytes) as f64, (after.records - before.records) as f64);
    found.extend(measures(&[("puts_per_second", (puts(&broker)? - puts_before) / seconds)]));
    found.extend(of_delays(Delays::of(producing.finish(from, to)?).context("no record was acknowledged")?));
    Ok(found)
}

fn consume(bench: &Bench<'_>, case: &Case, peer: Peer, shape: Shape) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    broker.create_topic(shape)?;
    let written = broker.load(Shape { settings: &[], ..shape }).write(HISTORY_MIB << 20)?;
    let reading = broker.reading(shape);
    // The first time warms up: it brings into memory what is not there, and has a JVM compile.
    reading.run(&Until::Records(written))?;
    let (cost, mut consumed) = (Cost::start(&broker), Consumed::default());
    // Once takes less than a second.
    while consumed.seconds < bench.time.as_secs_f64() {
        let once = reading.run(&Until::Records(written))?;
        consumed.records += once.records;
        consumed.bytes += once.bytes;
        consumed.seconds += once.seconds;
    }
    let mut found = cost.measures(consumed.bytes as f64, consumed.records as f64);
    let (bytes, records) = (consumed.bytes as f64 / consumed.seconds, consumed.records as f64 / consumed.seconds);
    found.extend(measures(&[("mb_per_second", bytes / MB), ("records_per_second", records)]));
    Ok(found)
}

/// Readers in threads of their own, until told.
struct Readers {
    told: Arc<AtomicBool>,
    readings: Vec<Reading>,
    threads: Vec<thread::JoinHandle<Result<Consumed>>>,
}

impl Readers {
    fn start(reading: &Reading, count: usize) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let readings: Vec<_> = (0..count).map(|_| Reading { progress: Arc::default(), ..reading.clone() }).collect();
        let run = |reading: &Reading| {
            let (reading, until) = (reading.clone(), Until::Told(Arc::clone(&told)));
            thread::spawn(move || reading.run(&until))
        };
        let threads = readings.iter().map(run).collect();
        Self { told, readings, threads }
    }

    fn bytes(&self) -> u64 {
        self.readings.iter().map(|reading| reading.progress.load(Ordering::Relaxed)).sum()
    }

    fn stop(self) -> Result<()> {
        self.told.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a consumer panicked"))??;
        }
        Ok(())
    }
}

fn tail(bench: &Bench<'_>, case: &Case, peer: Peer, shape: Shape, count: usize) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    broker.create_topic(shape)?;
    let readers = Readers::start(&Reading { from: Offset::End, ..broker.reading(shape) }, count);
    let producing = broker.load(shape).start()?;
    thread::sleep(WARM_UP);
    let (cost, from, begun, before) = (Cost::start(&broker), producing.micros(), Instant::now(), readers.bytes());
    thread::sleep(bench.time);
    let (to, seconds, bytes) = (producing.micros(), begun.elapsed().as_secs_f64(), (readers.bytes() - before) as f64);
    let mut found = cost.measures(bytes, bytes / shape.record_bytes as f64);
    readers.stop()?;
    found.extend(measures(&[("mb_per_second", bytes / MB / seconds)]));
    found.extend(of_delays(Delays::of(producing.finish(from, to)?).context("no record was acknowledged")?));
    Ok(found)
}

fn both(bench: &Bench<'_>, case: &Case, peer: Peer, shape: Shape) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    broker.create_topic(shape)?;
    let producing = broker.load(shape).start()?;
    let readers = Readers::start(&broker.reading(shape), 1);
    thread::sleep(WARM_UP);
    let (cost, begun, written, read) = (Cost::start(&broker), Instant::now(), producing.acknowledged().bytes, readers.bytes());
    thread::sleep(bench.time);
    let seconds = begun.elapsed().as_secs_f64();
    let (written, read) = ((producing.acknowledged().bytes - written) as f64, (readers.bytes() - read) as f64);
    let cpu = cost.pid.map_or(0.0, |pid| cost.watch.used_by(pid));
    let mut found = cost.measures(written + read, (written + read) / shape.record_bytes as f64);
    readers.stop()?;
    producing.give_up()?;
    found.extend(measures(&[
        ("mb_per_second", (written + read) / MB / seconds),
        ("in_mb_per_second", written / MB / seconds),
        ("out_mb_per_second", read / MB / seconds),
        ("mib_per_core", (written + read) / MIB / cpu.max(0.01)),
    ]));
    Ok(found)
}

fn cold(bench: &Bench<'_>, case: &Case) -> Result<Measures> {
    let store = store_at(case.place, bench.place)?.context("the case has a store")?;
    let read = cold_read::measure(bench.program, &bench.place.join("data"), &store, HISTORY_MIB)?;
    Ok(measures(&[
        ("mb_per_second", read.mib_per_second * MIB / MB),
        ("store_mb_per_second", read.store_mib_per_second * MIB / MB),
        ("to_store", read.mib_per_second / read.store_mib_per_second),
        ("gets_at_once", read.concurrency),
        ("cpu_s_per_gib", read.cpu_seconds / (read.bytes / GIB)),
    ]))
}

fn delay_of_object(bench: &Bench<'_>, case: &Case, run: u64) -> Result<Measures> {
    let store = store_at(case.place, bench.place)?.context("the case has a store")?;
    let delay = object_delay::measure(bench.program, &bench.place.join("data"), &store, run, bench.time)?;
    let mut found = of_delays(delay.delays);
    found.extend(measures(&[("put_ms", delay.put_mean_ms), ("to_bar", delay.delays.p99_ms / delay.bar_ms())]));
    Ok(found)
}

fn defaults(bench: &Bench<'_>, case: &Case, partitions: i32, interval_ms: u64) -> Result<Measures> {
    let broker = Broker::start(bench, case, Peer::Siltstone, &[&format!("upload.interval.ms={interval_ms}"), "upload.early.per.minute=0"])?;
    let Broker::Siltstone(siltstone, _) = &broker else { bail!("the case is one of ours") };
    // Not idempotent: librdkafka then keeps one batch of a partition under way, where Java's producer keeps five.
    let settings: &[(&str, &str)] = &[("max.in.flight.requests.per.connection", "5"), ("batch.size", "16384"), ("linger.ms", "5")];
    // librdkafka sends one batch in a request, Java's producer one of each partition: a client for each partition comes to the same.
    let shape = Shape {
        record_bytes: 1024,
        partitions,
        clients: partitions.unsigned_abs() as usize,
        run: u64::MAX,
        rate: None,
        durability: "object",
        settings,
    };
    broker.create_topic(shape)?;
    let producing = broker.load(shape).start()?;
    thread::sleep(WARM_UP);
    let (begun, before, metrics) = (Instant::now(), producing.acknowledged().bytes, siltstone.metrics()?);
    thread::sleep(bench.time);
    let (seconds, bytes) = (begun.elapsed().as_secs_f64(), (producing.acknowledged().bytes - before) as f64);
    let risen = siltstone.metrics()?.since(&metrics);
    producing.give_up()?;
    let puts = risen.sum("siltstone_store_requests_total", &[("operation", "put")]);
    let put_seconds = risen.sum("siltstone_store_seconds_total", &[("operation", "put")]) / puts.max(1.0);
    let limit = DEFAULT_IN_FLIGHT * f64::from(partitions) * DEFAULT_BATCH / (interval_ms as f64 / 1000.0 + put_seconds);
    Ok(measures(&[
        ("mb_per_second", bytes / MB / seconds),
        ("limit_mb_per_second", limit / MB),
        ("to_limit", bytes / seconds / limit),
        ("puts_per_second", puts / seconds),
        ("put_ms", put_seconds * 1000.0),
    ]))
}

fn start(bench: &Bench<'_>, case: &Case, peer: Peer) -> Result<Measures> {
    let begun = Instant::now();
    let broker = Broker::start(bench, case, peer, &[])?;
    let begun = if let Broker::Kafka(kafka) = &broker { kafka.begun } else { begun };
    first_record(&broker.bootstrap(), "first")?;
    let first_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let memory = broker.pid().map_or(0, |pid| memory_bytes(pid, "VmRSS")) as f64 / MIB;
    Ok(measures(&[("first_ms", first_ms), ("memory_mib", memory)]))
}

fn idle(bench: &Bench<'_>, case: &Case, peer: Peer, partitions: i32) -> Result<Measures> {
    let broker = Broker::start(bench, case, peer, &[])?;
    create_topic(&broker.bootstrap(), TOPIC, partitions, &[])?;
    thread::sleep(WARM_UP);
    let pid = broker.pid().context("the broker is a process")?;
    let (watch, begun) = (Watch::start(&[pid]), Instant::now());
    thread::sleep(bench.time);
    let cores = watch.used_by(pid) / begun.elapsed().as_secs_f64();
    Ok(measures(&[("cpu_percent", cores * 100.0), ("memory_mib", memory_bytes(pid, "VmRSS") as f64 / MIB)]))
}

/// What a broker left in its write-ahead log and nowhere else.
struct Left {
    store: Store,
    /// At least so many.
    records: u64,
    /// Of batches.
    bytes: f64,
}

/// Fills a broker's log with so many MiB while the store takes nothing, and kills the broker; then the store goes on.
fn fill_log(bench: &Bench<'_>, mib: u64) -> Result<Left> {
    let store = Store::s3(bench.place, Duration::ZERO)?;
    let data = bench.place.join("data");
    let broker = Siltstone::start(Setup { program: bench.program, data: &data, store: Some(&store), settings: &[] })?;
    create_topic(&broker.bootstrap, TOPIC, 16, &[("durability", "wal")])?;
    store.pause()?;
    let records = Load::of_one(&broker.bootstrap, TOPIC, 16).write(mib << 20)?;
    let bytes = broker.metrics()?.sum("siltstone_wal_bytes", &[]);
    drop(broker);
    store.go_on()?;
    Ok(Left { store, records, bytes })
}

fn recovery(bench: &Bench<'_>, mib: u64) -> Result<Measures> {
    let Left { store, bytes, .. } = fill_log(bench, mib)?;
    let data = bench.place.join("data");
    let begun = Instant::now();
    let broker = Siltstone::start(Setup { program: bench.program, data: &data, store: Some(&store), settings: &[] })?;
    first_record(&broker.bootstrap, TOPIC)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(measures(&[
        ("mib_per_second", bytes / MIB / seconds),
        ("first_ms", seconds * 1000.0),
        ("memory_mib", memory_bytes(broker.pid(), "VmHWM") as f64 / MIB),
    ]))
}

fn wal_read(bench: &Bench<'_>) -> Result<Measures> {
    let Left { store, records, .. } = fill_log(bench, HISTORY_MIB)?;
    let data = bench.place.join("data");
    // As little as possible is uploaded while it is read.
    let settings = ["upload.max.age.ms=3600000", "upload.max.bytes=1GiB"];
    let broker = Siltstone::start(Setup { program: bench.program, data: &data, store: Some(&store), settings: &settings })?;
    let consumed = Reading::all(&broker.bootstrap, TOPIC, 16).run(&Until::Records(records))?;
    let metrics = broker.metrics()?;
    let fetched = |from| metrics.sum("siltstone_fetched_bytes_total", &[("source", from)]);
    Ok(measures(&[
        ("mb_per_second", consumed.bytes as f64 / MB / consumed.seconds),
        ("from_wal_percent", 100.0 * fetched("wal") / metrics.sum("siltstone_fetched_bytes_total", &[]).max(1.0)),
    ]))
}
