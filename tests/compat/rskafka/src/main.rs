//! The crate rskafka, which has no groups: a topic is created, its partitions are written and read with every codec, as single requests and
//! through its batching producer and its stream, and offsets are found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeZone, Utc};
use futures::StreamExt;
use futures::future::try_join_all;
use rskafka::client::consumer::{StartOffset, StreamConsumerBuilder};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::producer::{BatchProducerBuilder, aggregator::RecordAggregator};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use tokio::time::timeout;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTITIONS: i32 = 2;
/// For anything that is waited for: the crate itself waits for ever for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: compat-rskafka BOOTSTRAP");
        std::process::exit(2);
    };
    if let Err(failure) = run(bootstrap).await {
        eprintln!("{failure}");
        std::process::exit(1);
    }
}

async fn run(bootstrap: String) -> Result<(), Failure> {
    let prefix = format!("rskafka-{}", Utc::now().timestamp_micros());
    let client = timeout(PATIENCE, ClientBuilder::new(vec![bootstrap]).build()).await.map_err(|_| "no broker answers")??;
    for codec in [Compression::NoCompression, Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd] {
        let topic = format!("{prefix}-{codec:?}");
        let done = timeout(2 * PATIENCE, topic_is_written_and_read(&client, &topic, codec)).await;
        done.unwrap_or_else(|_| Err("does not end".into())).map_err(|failure| format!("{codec:?}: {failure}"))?;
    }
    Ok(())
}

/// Records that say their number, with keys, headers and times.
fn numbered(numbers: std::ops::Range<i64>) -> Vec<Record> {
    let record = |number| Record {
        key: Some(format!("key {number}").into_bytes()),
        value: Some(format!("{number} {}", "the same words ".repeat(20)).into_bytes()),
        headers: BTreeMap::from([("header".to_owned(), format!("header {number}").into_bytes())]),
        timestamp: Utc.timestamp_millis_opt(1_700_000_000_000 + number).single().expect("a number of milliseconds is one time"),
    };
    numbers.map(record).collect()
}

async fn topic_is_written_and_read(client: &Client, topic: &str, codec: Compression) -> Result<(), Failure> {
    let controller = client.controller_client()?;
    controller.create_topic(topic, PARTITIONS, 1, 5000).await?;
    let listed = client.list_topics().await?.into_iter().find(|listed| listed.name == topic).ok_or("the topic is not listed")?;
    if listed.partitions.len() != PARTITIONS as usize {
        return Err(format!("the topic has the partitions {:?}", listed.partitions).into());
    }
    for partition in 0..PARTITIONS {
        let partition = Arc::new(client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?);
        // 10 batches of 10 records each, and 100 records that the producer makes batches of.
        for first in (0..100).step_by(10) {
            let offsets = partition.produce(numbered(first..first + 10), codec).await?;
            if offsets != Vec::from_iter(first..first + 10) {
                return Err(format!("the records from {first} on were written at {offsets:?}").into());
            }
        }
        let producer = BatchProducerBuilder::new(partition.clone())
            .with_compression(codec)
            .with_linger(Duration::from_millis(10))
            .build(RecordAggregator::new(10_000));
        let mut offsets = try_join_all(numbered(100..200).into_iter().map(|record| producer.produce(record))).await?;
        offsets.sort();
        if offsets != Vec::from_iter(100..200) {
            return Err(format!("the records of the producer were written at {offsets:?}").into());
        }
        let (earliest, latest) = (partition.get_offset(OffsetAt::Earliest).await?, partition.get_offset(OffsetAt::Latest).await?);
        if (earliest, latest) != (0, 200) {
            return Err(format!("200 records have the offsets {earliest} to {latest}").into());
        }
        requests_read_all(&partition).await?;
        stream_reads_all(partition).await?;
    }
    controller.delete_topic(topic, 5000).await?;
    Ok(())
}

fn check(came: RecordAndOffset, offset: i64) -> Result<(), Failure> {
    if came.offset != offset {
        return Err(format!("offset {} comes where {offset} was next", came.offset).into());
    }
    // What the producer makes a batch of has no order.
    let number =
        String::from_utf8_lossy(came.record.value.as_deref().unwrap_or_default()).split(' ').next().and_then(|word| word.parse().ok());
    let expected = number.filter(|number| if offset < 100 { *number == offset } else { (100..200).contains(number) });
    let same = expected.is_some_and(|number: i64| numbered(number..number + 1)[0] == came.record);
    if same { Ok(()) } else { Err(format!("at {offset} comes another record than was sent: {:?}", came.record).into()) }
}

/// One request after the other, each for some of the records.
async fn requests_read_all(partition: &PartitionClient) -> Result<(), Failure> {
    let mut next = 0;
    while next < 200 {
        let fetch = timeout(PATIENCE, partition.fetch_records(next, 1..5_000, 1_000));
        let (records, high_watermark) = fetch.await.map_err(|_| format!("offset {next} does not come"))??;
        if high_watermark != 200 {
            return Err(format!("200 records have the high watermark {high_watermark}").into());
        }
        if records.is_empty() {
            return Err(format!("offset {next} does not come").into());
        }
        for came in records {
            check(came, next)?;
            next += 1;
        }
    }
    Ok(())
}

async fn stream_reads_all(partition: Arc<PartitionClient>) -> Result<(), Failure> {
    let mut stream = StreamConsumerBuilder::new(partition, StartOffset::Earliest).with_max_wait_ms(100).build();
    for next in 0..200 {
        let came = timeout(PATIENCE, stream.next()).await.map_err(|_| format!("the stream stops before {next}"))?;
        check(came.ok_or("the stream ended")??.0, next)?;
    }
    Ok(())
}
