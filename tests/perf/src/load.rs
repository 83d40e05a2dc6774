//! Producers and consumers, by librdkafka: a JVM's would measure itself on a small machine.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer, ProducerContext, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

/// Payloads are pieces of this at random places, so that no two records are alike and none can be compressed.
const POOL_BYTES: usize = 64 << 20;
/// For whatever a client is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// For room in a client's queue, which holds the work of many times that.
const FULL: Duration = Duration::from_millis(5);

/// What producers send.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    /// Of a record's value; there is no key.
    pub(crate) record_bytes: usize,
    /// Records that go to one partition before the next has its turn, as Kafka's default partitioner has it.
    pub(crate) run: u64,
    /// Records per second of all clients together, due at even distances whatever became of earlier ones; `None` for as many as go.
    pub(crate) rate: Option<f64>,
    /// Producers, each with a connection of its own.
    pub(crate) clients: usize,
    /// librdkafka's settings beside those that every load has.
    pub(crate) settings: Vec<(String, String)>,
}

/// Records that were acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) records: u64,
    /// Of values.
    pub(crate) bytes: u64,
}

/// Producers at work. Dropped, they stop and give up what is under way.
pub(crate) struct Producing {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

struct Shared {
    begun: Instant,
    stopping: AtomicBool,
    /// What is under way is given up.
    purging: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
    /// Of each record: microseconds from `begun` to when it was due, and from then to its acknowledgement. Empty without a rate.
    delays: Mutex<Vec<(u64, u64)>>,
    failure: Mutex<Option<KafkaError>>,
    keeps_delays: bool,
}

impl Shared {
    fn micros(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// Whether more is sent. Fails when a record was not acknowledged.
    fn goes_on(&self) -> Result<bool> {
        match self.failure.lock().expect("no holder panics").clone() {
            Some(error) => Err(error).context("a record was not acknowledged"),
            None => Ok(!self.stopping.load(Ordering::Relaxed)),
        }
    }
}

struct Reports {
    shared: Arc<Shared>,
    /// Of this producer: reports that came, good or bad.
    came: AtomicU64,
}

impl ClientContext for Reports {
    // A broker that is stopped under load is no news.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Reports {
    /// Microseconds from `begun` to when the record was due.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due: usize) {
        let shared = &self.shared;
        self.came.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(record) => {
                shared.records.fetch_add(1, Ordering::Relaxed);
                shared.bytes.fetch_add(record.payload_len() as u64, Ordering::Relaxed);
                if shared.keeps_delays {
                    let delay = shared.micros().saturating_sub(due as u64);
                    shared.delays.lock().expect("no holder panics").push((due as u64, delay));
                }
            }
            Err(_) if shared.purging.load(Ordering::Relaxed) => {}
            Err((error, _)) => {
                shared.failure.lock().expect("no holder panics").get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Load {
    /// One producer of records of 1 KiB, as many as go, 16 of them to a partition before the next has its turn.
    pub(crate) fn of_one(bootstrap: &str, topic: &str, partitions: i32) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partitions,
            record_bytes: 1024,
            run: 16,
            rate: None,
            clients: 1,
            settings: Vec::new(),
        }
    }

    /// Sends until so many bytes are acknowledged, and answers how many records are.
    pub(crate) fn write(&self, bytes: u64) -> Result<u64> {
        let producing = self.start()?;
        producing.reach(bytes)?;
        let written = producing.acknowledged().records;
        producing.give_up()?;
        Ok(written)
    }

    pub(crate) fn start(&self) -> Result<Producing> {
        let mut pool = vec![0; POOL_BYTES];
        SmallRng::from_os_rng().fill_bytes(&mut pool);
        let pool: Arc<[u8]> = pool.into();
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stopping: AtomicBool::new(false),
            purging: AtomicBool::new(false),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            delays: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
            keeps_delays: self.rate.is_some(),
        });
        let mut producing = Producing { shared: Arc::clone(&shared), threads: Vec::new() };
        for client in 0..self.clients {
            let mut config = client_config(&self.bootstrap, &self.settings);
            // A record that waits for a stopped store is late, not lost.
            config.set("message.timeout.ms", "300000").set("queue.buffering.max.kbytes", (262_144 / self.clients).to_string());
            let producer: BaseProducer<Reports> =
                config.create_with_context(Reports { shared: Arc::clone(&shared), came: AtomicU64::new(0) }).context("make a producer")?;
            let (load, pool) = (self.clone(), Arc::clone(&pool));
            producing.threads.push(thread::spawn(move || Sender::new(&load, client as u64, &producer, &pool).run()));
        }
        Ok(producing)
    }
}

/// One producer's thread.
struct Sender<'a> {
    load: &'a Load,
    producer: &'a BaseProducer<Reports>,
    pool: &'a [u8],
    random: SmallRng,
    /// Where it begins, so that clients begin at different partitions.
    first_partition: u64,
    sent: u64,
}

impl<'a> Sender<'a> {
    fn new(load: &'a Load, client: u64, producer: &'a BaseProducer<Reports>, pool: &'a [u8]) -> Self {
        let first_partition = client * u64::from(load.partitions.unsigned_abs()) / load.clients as u64;
        Self { load, producer, pool, random: SmallRng::from_os_rng(), first_partition, sent: 0 }
    }

    fn run(mut self) -> Result<()> {
        match self.load.rate {
            None => self.as_many_as_go()?,
            Some(rate) => self.when_due(rate / self.load.clients as f64)?,
        }
        if self.producer.context().shared.purging.load(Ordering::Relaxed) {
            self.producer.purge(PurgeConfig::default().queue().inflight());
        } else {
            // What was due is waited for: its delay counts.
            self.producer.flush(PATIENCE).context("wait for the last records")?;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Never polls for a while: librdkafka's poll asks again and again once less than a millisecond is left, and the broker that is
    /// measured would have a core less.
    fn as_many_as_go(&mut self) -> Result<()> {
        while self.producer.context().shared.goes_on()? {
            let mut has_room = true;
            for _ in 0..256 {
                has_room = has_room && self.one(0)?;
            }
            if !has_room {
                thread::sleep(FULL);
            }
            self.take_reports();
        }
        Ok(())
    }

    /// All that are there: a poll takes one batch's.
    fn take_reports(&self) {
        let came = &self.producer.context().came;
        loop {
            let before = came.load(Ordering::Relaxed);
            self.producer.poll(Duration::ZERO);
            if came.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// Acknowledgements have a thread of their own, which notices each when it comes, and which the sender's sleep does not hold up.
    fn when_due(&mut self, rate: f64) -> Result<()> {
        let (producer, polling) = (self.producer, AtomicBool::new(true));
        thread::scope(|scope| {
            scope.spawn(|| {
                while polling.load(Ordering::Relaxed) {
                    producer.poll(Duration::from_millis(100));
                }
            });
            let sent = self.until_told(rate);
            polling.store(false, Ordering::Relaxed);
            sent
        })
    }

    fn until_told(&mut self, rate: f64) -> Result<()> {
        let shared = &self.producer.context().shared;
        while shared.goes_on()? {
            let due = Duration::from_secs_f64(self.sent as f64 / rate);
            let early = due.saturating_sub(shared.begun.elapsed());
            if !early.is_zero() {
                thread::sleep(early.min(FULL));
            } else if !self.one(due.as_micros() as usize)? {
                thread::sleep(FULL);
            }
        }
        Ok(())
    }

    /// Sends one that was due so many microseconds after the load began; `false` while the client's queue is full.
    fn one(&mut self, due: usize) -> Result<bool> {
        let (load, bytes) = (self.load, self.load.record_bytes);
        let at = self.random.random_range(0..self.pool.len() - bytes);
        let partition = ((self.sent / load.run + self.first_partition) % load.partitions as u64) as i32;
        let record: BaseRecord<'_, (), [u8], usize> =
            BaseRecord::with_opaque_to(&load.topic, due).partition(partition).payload(&self.pool[at..at + bytes]);
        match self.producer.send(record) {
            Ok(()) => {
                self.sent += 1;
                Ok(true)
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(error).context("send a record"),
        }
    }
}

impl Producing {
    /// Since the start.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        Acknowledged { records: self.shared.records.load(Ordering::Relaxed), bytes: self.shared.bytes.load(Ordering::Relaxed) }
    }

    /// Waits until so much was acknowledged.
    ///
    /// # Errors
    ///
    /// When a producer failed, or it takes longer than anybody would wait.
    pub(crate) fn reach(&self, bytes: u64) -> Result<()> {
        let mut last = (self.acknowledged().bytes, Instant::now());
        while self.acknowledged().bytes < bytes {
            ensure!(!self.threads.iter().any(JoinHandle::is_finished), "a producer stopped before {bytes} bytes were acknowledged");
            ensure!(last.1.elapsed() < PATIENCE, "nothing was acknowledged for {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(5));
            let now = self.acknowledged().bytes;
            if last.0 < now {
                last = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Microseconds from the start of the load until now: what [`Self::finish`] counts from and to.
    pub(crate) fn micros(&self) -> u64 {
        self.shared.micros()
    }

    /// Stops, and gives up what is under way.
    pub(crate) fn give_up(mut self) -> Result<()> {
        self.shared.purging.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for thread in mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow!("a producer panicked"))??;
        }
        Ok(())
    }

    /// Stops, waits for what is under way, and answers the delays in microseconds of the records that were due from `from` on and before
    /// `to`. Of a load that has a rate.
    pub(crate) fn finish(mut self, from: u64, to: u64) -> Result<Vec<u64>> {
        self.join()?;
        let delays = mem::take(&mut *self.shared.delays.lock().expect("no holder panics"));
        Ok(delays.into_iter().filter(|(due, _)| (from..to).contains(due)).map(|(_, delay)| delay).collect())
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.shared.purging.store(true, Ordering::Relaxed);
        self.shared.stopping.store(true, Ordering::Relaxed);
    }
}

fn client_config(bootstrap: &str, settings: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all").set("linger.ms", "5").set("batch.num.messages", "10000");
    for (key, value) in settings {
        config.set(key, value);
    }
    config
}

/// Makes a topic, and returns once it has leaders.
pub(crate) fn create_topic(bootstrap: &str, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().context("make a client")?;
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let results = futures::executor::block_on(client.create_topics([&new], &options)).context("create a topic")?;
    if let Some(Err((name, code))) = results.into_iter().next() {
        bail!("create topic {name}: {code}");
    }
    let begun = Instant::now();
    loop {
        let metadata = client.inner().fetch_metadata(Some(topic), PATIENCE).context("ask for the topic")?;
        let leaders = metadata.topics().iter().flat_map(|topic| topic.partitions()).filter(|partition| 0 <= partition.leader()).count();
        if leaders == partitions.unsigned_abs() as usize {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "topic {topic} has {leaders} leaders for {partitions} partitions");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns once a record is acknowledged, whose topic is created by it if need be.
pub(crate) fn first_record(bootstrap: &str, topic: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all").set("linger.ms", "0");
    // A client waits longer than a start takes, where it is left to itself.
    config.set("reconnect.backoff.ms", "5").set("reconnect.backoff.max.ms", "5").set("retry.backoff.ms", "5");
    config.set("topic.metadata.refresh.fast.interval.ms", "10");
    let producer: BaseProducer = config.create().context("make a producer")?;
    producer.send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(b"first")).map_err(|(error, _)| error).context("send a record")?;
    let begun = Instant::now();
    while 0 < producer.in_flight_count() {
        ensure!(begun.elapsed() < PATIENCE, "no record was acknowledged within {} s", PATIENCE.as_secs());
        producer.poll(Duration::ZERO);
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// librdkafka's own mock of a broker, in this process.
pub(crate) struct MockBroker(MockCluster<'static, DefaultProducerContext>);

impl MockBroker {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(MockCluster::new(1).context("start librdkafka's mock broker")?))
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.0.create_topic(topic, partitions, 1).context("create a topic of the mock broker")
    }
}

/// When a consumer has read enough.
#[derive(Clone, Debug)]
pub(crate) enum Until {
    /// So many records came.
    Records(u64),
    /// So much time has passed since it began.
    Elapsed(Duration),
    /// This was set.
    Told(Arc<AtomicBool>),
}

/// What a consumer reads, outside any group.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    /// All of them are read.
    pub(crate) partitions: i32,
    pub(crate) from: Offset,
    /// librdkafka's settings beside those that every consumer has.
    pub(crate) settings: Vec<(String, String)>,
    /// Counts the bytes of values as they come.
    pub(crate) progress: Arc<AtomicU64>,
}

/// What a consumer read.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Consumed {
    pub(crate) records: u64,
    /// Of values.
    pub(crate) bytes: u64,
    /// From the first request, connections included, to the last record.
    pub(crate) seconds: f64,
}

impl Reading {
    /// From offset 0, where the log of a topic begins that has lost nothing yet: nobody has to be asked.
    pub(crate) fn all(bootstrap: &str, topic: &str, partitions: i32) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partitions,
            from: Offset::Offset(0),
            settings: Vec::new(),
            progress: Arc::default(),
        }
    }

    pub(crate) fn run(&self, until: &Until) -> Result<Consumed> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", "perf");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        for (key, value) in &self.settings {
            config.set(key, value);
        }
        let consumer: BaseConsumer = config.create().context("make a consumer")?;
        let mut assignment = TopicPartitionList::with_capacity(self.partitions.unsigned_abs() as usize);
        for partition in 0..self.partitions {
            assignment.add_partition_offset(&self.topic, partition, self.from)?;
        }
        let begun = Instant::now();
        consumer.assign(&assignment).context("assign partitions")?;
        let mut consumed = Consumed::default();
        let mut last = begun;
        loop {
            match until {
                Until::Records(records) if *records <= consumed.records => break,
                Until::Elapsed(time) if *time <= begun.elapsed() => break,
                Until::Told(told) if told.load(Ordering::Relaxed) => break,
                _ => {}
            }
            let Some(record) = consumer.poll(Duration::from_millis(100)) else {
                ensure!(last.elapsed() < PATIENCE, "no record came for {} s, after {} of them", PATIENCE.as_secs(), consumed.records);
                continue;
            };
            let record = match record {
                // What librdkafka says when a connection ends; it makes another one by itself.
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown)) => {
                    eprintln!("the consumer has lost its connection after {} records", consumed.records);
                    continue;
                }
                record => record.context("read records")?,
            };
            consumed.records += 1;
            consumed.bytes += record.payload_len() as u64;
            self.progress.store(consumed.bytes, Ordering::Relaxed);
            last = Instant::now();
        }
        consumed.seconds = last.duration_since(begun).as_secs_f64();
        Ok(consumed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(broker: &MockBroker, rate: Option<f64>) -> Load {
        Load {
            bootstrap: broker.bootstrap(),
            topic: "load".to_owned(),
            partitions: 4,
            record_bytes: 100,
            run: 3,
            rate,
            clients: 2,
            settings: Vec::new(),
        }
    }

    #[test]
    fn what_is_due_is_acknowledged_and_read_back() {
        let broker = MockBroker::start().unwrap();
        broker.create_topic("load", 4).unwrap();
        let producing = load(&broker, Some(5000.0)).start().unwrap();
        producing.reach(100 * 200).unwrap();
        let delays = producing.finish(0, u64::MAX).unwrap();
        assert!(200 <= delays.len());
        let consumed = Reading::all(&broker.bootstrap(), "load", 4).run(&Until::Records(200)).unwrap();
        assert_eq!((consumed.records, consumed.bytes), (200, 200 * 100));
    }

    #[test]
    fn only_delays_of_records_that_were_due_in_time_are_told() {
        let broker = MockBroker::start().unwrap();
        broker.create_topic("load", 4).unwrap();
        let producing = load(&broker, Some(1000.0)).start().unwrap();
        producing.reach(100 * 100).unwrap();
        // Both clients have a record due in each 2 ms: 10 of them in the first 10 ms.
        assert_eq!(producing.finish(0, 10_000).unwrap().len(), 10);
    }

    #[test]
    fn without_a_rate_as_many_as_go_are_sent_and_the_rest_is_given_up() {
        let broker = MockBroker::start().unwrap();
        broker.create_topic("load", 4).unwrap();
        let producing = load(&broker, None).start().unwrap();
        producing.reach(1 << 20).unwrap();
        assert!((1 << 20) / 100 <= producing.acknowledged().records);
        producing.give_up().unwrap();
    }

    #[test]
    fn a_record_that_is_not_taken_fails_the_load() {
        let broker = MockBroker::start().unwrap();
        broker.create_topic("load", 4).unwrap();
        let producing = Load { record_bytes: 2_000_000, ..load(&broker, None) }.start().unwrap();
        assert!(producing.reach(1).is_err());
        assert!(producing.give_up().is_err());
    }
}
