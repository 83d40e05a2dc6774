//! The crate rdkafka: a FutureProducer with every codec, and groups of StreamConsumers whose offsets are committed by hand, automatically, and
//! with the protocol of KIP-848: two members share the partitions, one leaves, and the other goes on where the group had committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

type Failure = Box<dyn std::error::Error + Send + Sync>;
/// A record by its partition and offset.
type Place = (i32, i64);

const PARTITIONS: i32 = 4;
/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: compat-rdkafka BOOTSTRAP");
        std::process::exit(2);
    };
    if let Err(failure) = run(&bootstrap).await {
        eprintln!("{failure}");
        std::process::exit(1);
    }
}

async fn run(bootstrap: &str) -> Result<(), Failure> {
    let prefix = format!("rdkafka-{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        codec_survives(bootstrap, &format!("{prefix}-{codec}"), codec).await.map_err(|failure| format!("{codec}: {failure}"))?;
    }
    let by_hand = [("enable.auto.commit", "false"), ("partition.assignment.strategy", "range")];
    let automatic =
        [("enable.auto.commit", "true"), ("enable.auto.offset.store", "false"), ("partition.assignment.strategy", "cooperative-sticky")];
    let next = [("enable.auto.commit", "false"), ("group.protocol", "consumer")];
    for (name, options) in [("commits-by-hand", &by_hand[..]), ("automatic-commits", &automatic), ("KIP-848", &next)] {
        group_is_shared(bootstrap, &format!("{prefix}-{name}"), options).await.map_err(|failure| format!("{name}: {failure}"))?;
    }
    Ok(())
}

fn config(bootstrap: &str, options: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in options {
        config.set(*key, *value);
    }
    config
}

async fn create_topic(bootstrap: &str, topic: &str) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap, &[]).create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    for created in admin.create_topics(&[new], &AdminOptions::new().operation_timeout(Some(PATIENCE))).await? {
        created.map_err(|(topic, code)| format!("create {topic}: {code}"))?;
    }
    Ok(())
}

/// Tells how many bytes the client has sent to all brokers, each time librdkafka counts them.
struct BytesSent(watch::Sender<u64>);

impl ClientContext for BytesSent {
    fn stats(&self, statistics: Statistics) {
        self.0.send_replace(statistics.brokers.values().map(|broker| broker.txbytes).sum());
    }
}

/// What was sent compressed comes back as it was, and went over the wire compressed: librdkafka sends it plain if it finds that the broker
/// does not know the codec.
async fn codec_survives(bootstrap: &str, topic: &str, codec: &str) -> Result<(), Failure> {
    const RECORDS: usize = 400;
    create_topic(bootstrap, topic).await?;
    let (sender, mut bytes_sent) = watch::channel(0);
    // Small batches, several to a partition, so that one of them could be missing.
    let options = [("compression.type", codec), ("linger.ms", "200"), ("batch.num.messages", "10"), ("statistics.interval.ms", "100")];
    let producer: FutureProducer<BytesSent> = config(bootstrap, &options).create_with_context(BytesSent(sender))?;
    let mut sent = BTreeMap::new();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let (key, value, header) =
            (format!("key {number}"), format!("{number} {}", "the same words ".repeat(20)), format!("header {number}"));
        let headers = OwnedHeaders::new().insert(Header { key: "header", value: Some(&header) });
        let record = FutureRecord::to(topic).key(&key).payload(&value).headers(headers);
        deliveries.push(producer.send_result(record).map_err(|(failure, _)| failure)?);
        sent.insert(key, (value, header));
    }
    let mut places = BTreeSet::new();
    for delivery in deliveries {
        let delivered =
            timeout(PATIENCE, delivery).await.map_err(|_| "not all records were acknowledged")??.map_err(|(failure, _)| failure)?;
        places.insert((delivered.partition, delivered.offset));
    }
    // The next count may have begun before the last record was sent, the one after it has not.
    for _ in 0..2 {
        bytes_sent.borrow_and_update();
        timeout(PATIENCE, bytes_sent.changed()).await.map_err(|_| "there are no statistics")??;
    }
    let plain: usize = sent.values().map(|(value, _)| value.len()).sum();
    let on_the_wire = *bytes_sent.borrow();
    if (codec == "none") != (on_the_wire >= plain as u64) {
        return Err(format!("{plain} bytes went over the wire as {on_the_wire}").into());
    }

    let options = [("group.id", topic), ("enable.auto.commit", "false"), ("check.crcs", "true")];
    let consumer: StreamConsumer = config(bootstrap, &options).create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    while !places.is_empty() {
        let message =
            timeout(PATIENCE, consumer.recv()).await.map_err(|_| format!("{} of {RECORDS} records do not come", places.len()))??;
        let place = (message.partition(), message.offset());
        if !places.remove(&place) {
            return Err(format!("at {place:?} nothing was written, or it came twice").into());
        }
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        let (value, header) = sent.remove(&key).ok_or_else(|| format!("at {place:?} is a key that was not sent, or came before: {key}"))?;
        let came = message.headers().and_then(|headers| headers.iter().next()).and_then(|header| header.value);
        if message.payload() != Some(value.as_bytes()) || came != Some(header.as_bytes()) {
            return Err(format!("at {place:?} came another value or header than was sent").into());
        }
    }
    Ok(())
}

/// A StreamConsumer with a task that reads it and commits, or stores, what it has read before it says so.
struct Member {
    consumer: Arc<StreamConsumer>,
    leave: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Member {
    fn join(
        bootstrap: &str,
        topic: &str,
        options: &[(&str, &str)],
        read: mpsc::UnboundedSender<(Place, Vec<u8>)>,
    ) -> Result<Member, Failure> {
        let group = format!("group-{topic}");
        let mut config = config(bootstrap, options);
        config.set("group.id", &group).set("auto.offset.reset", "earliest");
        let automatic = config.get("enable.auto.commit") == Some("true");
        let consumer: Arc<StreamConsumer> = Arc::new(config.create()?);
        consumer.subscribe(&[topic])?;
        let reading = consumer.clone();
        let (leave, mut left) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    _ = &mut left => return Ok(()),
                    message = reading.recv() => message?,
                };
                if automatic {
                    reading.store_offset_from_message(&message)?;
                } else {
                    reading.commit_message(&message, CommitMode::Sync)?;
                }
                let place = (message.partition(), message.offset());
                // Who has all that he waited for no longer listens.
                let _ = read.send((place, message.payload().unwrap_or_default().to_vec()));
            }
        });
        Ok(Member { consumer, leave, task })
    }

    fn assigned(&self) -> Result<Vec<i32>, Failure> {
        Ok(self.consumer.assignment()?.elements().iter().map(|element| element.partition()).collect())
    }

    /// Closing commits what is stored, and waits for the answer.
    async fn leave(self) -> Result<(), Failure> {
        let _ = self.leave.send(());
        self.task.await??;
        tokio::task::spawn_blocking(move || drop(self.consumer)).await?;
        Ok(())
    }
}

/// Waits until the members own all partitions between them, each the same number.
async fn shared(members: &[&Member]) -> Result<(), Failure> {
    let fair = PARTITIONS as usize / members.len();
    let condition = async {
        loop {
            let assigned = members.iter().map(|member| member.assigned()).collect::<Result<Vec<_>, _>>()?;
            let all: BTreeSet<i32> = assigned.iter().flatten().copied().collect();
            if all.len() == PARTITIONS as usize && assigned.iter().all(|assigned| assigned.len() == fair) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, condition).await.map_err(|_| format!("{} members do not come to own {fair} partitions each", members.len()))?
}

async fn group_is_shared(bootstrap: &str, topic: &str, options: &[(&str, &str)]) -> Result<(), Failure> {
    create_topic(bootstrap, topic).await?;
    let producer: FutureProducer = config(bootstrap, &[]).create()?;
    let (sender, mut read) = mpsc::unbounded_channel();
    // Writes 10 records to each partition; they, and nothing else, are read.
    let mut exchange = async |what: &str| -> Result<(), Failure> {
        let mut sent = BTreeMap::new();
        for number in 0..10 * PARTITIONS {
            let value = format!("{what} {number}");
            let record = FutureRecord::<(), _>::to(topic).payload(&value).partition(number % PARTITIONS);
            let delivered = producer.send(record, PATIENCE).await.map_err(|(failure, _)| failure)?;
            sent.insert((delivered.partition, delivered.offset), value.into_bytes());
        }
        while !sent.is_empty() {
            let came = timeout(PATIENCE, read.recv()).await.map_err(|_| format!("{what}: {} records are not read", sent.len()))?;
            let (place, value) = came.ok_or("all members are gone")?;
            if sent.remove(&place).as_ref() != Some(&value) {
                return Err(format!("{what}: what came from {place:?} had come before, or has another value").into());
            }
        }
        Ok(())
    };
    let one = Member::join(bootstrap, topic, options, sender.clone())?;
    shared(&[&one]).await?;
    exchange("one member").await?;
    let two = Member::join(bootstrap, topic, options, sender.clone())?;
    shared(&[&one, &two]).await?;
    exchange("two members").await?;
    one.leave().await?;
    shared(&[&two]).await?;
    exchange("who stays").await?;
    two.leave().await?;
    let three = Member::join(bootstrap, topic, options, sender.clone())?;
    exchange("a new member").await?;
    three.leave().await
}
