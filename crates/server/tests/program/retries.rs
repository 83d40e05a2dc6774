//! A producer that did not hear an answer sends again, whatever became of the broker meanwhile (rule R19, trap T3).

use std::time::Duration;

use client::{Codec, Connection, ConnectionOptions};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{InitProducerIdRequest, ProduceRequest, TopicName};
use protocol::{ErrorCode, StrBytes};
use records::BatchBuilder;
use runtime::{Clock, SystemClock};
use types::Timestamp;

use crate::harness::{Broker, Ports, eventually, siltstone_ok};

const SETTINGS: &[(&str, &str)] = &[("upload.max.age.ms", "100"), ("wal.generation.ms", "100"), ("wal.generation.bytes", "1MiB")];
/// Records in a batch.
const RECORDS: i32 = 3;

/// An idempotent producer that can be made to repeat itself.
pub(crate) struct Repeater {
    connection: Connection,
    pub(crate) producer: i64,
    now: Timestamp,
}

impl Repeater {
    pub(crate) async fn connect(broker: &Broker, producer: Option<i64>) -> Self {
        let connection = Connection::connect(&broker.bootstrap, &ConnectionOptions::default()).await.unwrap();
        let producer = match producer {
            Some(producer) => producer,
            None => {
                let request = InitProducerIdRequest::default().with_transactional_id(None);
                connection.request(4, &request).await.unwrap().producer_id.0
            }
        };
        Self { connection, producer, now: Timestamp(SystemClock.wall_ms()) }
    }

    /// Sends the batch with that number; the same every time.
    pub(crate) async fn send(&self, number: i32) -> PartitionProduceResponse {
        let mut batch = BatchBuilder::new(Codec::None).producer(self.producer, 0, number * RECORDS);
        for record in 0..RECORDS {
            batch.push(self.now, None, Some(format!("{number}.{record}").as_bytes()), &[]);
        }
        let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch.build()));
        let topic =
            TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("repeated"))).with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let answer = self.connection.request(9, &request).await.unwrap();
        answer.responses[0].partition_responses[0].clone()
    }

    /// Batches 0 to 6 are there; the producer is not sure of any.
    pub(crate) async fn repeat(&self, when: &str) {
        for number in 0..7 {
            let answer = self.send(number).await;
            let outcome = (answer.error_code, answer.base_offset);
            if number < 2 {
                // Older than the five that are remembered.
                assert_eq!(outcome, (ErrorCode::DuplicateSequenceNumber as i16, -1), "batch {number}, {when}");
            } else {
                assert_eq!(outcome, (0, i64::from(number * RECORDS)), "batch {number}, {when}");
            }
        }
        assert_eq!(self.send(9).await.error_code, ErrorCode::OutOfOrderSequenceNumber as i16, "a hole, {when}");
    }
}

async fn a_retry_gets_its_original_offset(durability: &str) {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), SETTINGS).await;
    let ports = Ports { kafka: broker.port() };
    let config = format!("durability={durability}");
    siltstone_ok(&["topic", "create", "repeated", "--config", &config, "--bootstrap", &broker.bootstrap]).await;
    let repeater = Repeater::connect(&broker, None).await;
    let producer = repeater.producer;
    for number in 0..7 {
        let answer = repeater.send(number).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(number * RECORDS)));
    }
    repeater.repeat("at once").await;
    broker.kill().await;

    let broker = Broker::start_on(ports, directory.path(), SETTINGS).await;
    Repeater::connect(&broker, Some(producer)).await.repeat("after kill -9").await;
    let segments = async || siltstone_ok(&["segment", "list", "repeated", "--json", "--metadata", &broker.metadata]).await;
    eventually("the publish of all", async || segments().await.contains(&format!("\"end\": {}", 7 * RECORDS))).await;
    Repeater::connect(&broker, Some(producer)).await.repeat("after the publish").await;
    assert!(broker.terminate().await.status.success());

    // An orderly stop leaves nothing in the log: the windows come from metadata.
    let broker = Broker::start_on(ports, directory.path(), SETTINGS).await;
    let repeater = Repeater::connect(&broker, Some(producer)).await;
    repeater.repeat("after the log was trimmed").await;
    let next = repeater.send(7).await;
    assert_eq!((next.error_code, next.base_offset), (0, i64::from(7 * RECORDS)), "and then it goes on");
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t3_r19_a_retry_gets_its_original_offset_across_crash_publish_and_trim() {
    tokio::time::timeout(Duration::from_secs(120), a_retry_gets_its_original_offset("wal")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t3_r19_a_retry_of_an_uploaded_topic_gets_its_original_offset_across_crash_publish_and_trim() {
    tokio::time::timeout(Duration::from_secs(120), a_retry_gets_its_original_offset("object")).await.unwrap();
}
