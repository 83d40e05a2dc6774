use std::time::Duration;

use bytes::Bytes;
use client::{
    Acks, Client, ClientError, ClientOptions, Delivery, Producer, ProducerOptions, ProducerRecord, RecordMetadata, partition_for_key,
};
use protocol::ErrorCode;
use records::{batches, decode_records};

use crate::fake_broker::{FakeBroker, Fault};

fn record(partition: Option<i32>, value: impl ToString) -> ProducerRecord {
    ProducerRecord { topic: "events".to_owned(), partition, value: Some(value.to_string().into()), ..ProducerRecord::default() }
}

/// A batch per record, so that a test knows its batches.
fn one_by_one() -> ProducerOptions {
    ProducerOptions { batch_bytes: 1, ..ProducerOptions::default() }
}

async fn producer(broker: &FakeBroker, options: ProducerOptions) -> Producer {
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    Producer::start(client, options).await.unwrap()
}

async fn send(producer: &Producer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in 0..count {
        deliveries.push(producer.send(record(Some(0), value)).await.unwrap());
    }
    deliveries
}

/// The values in the log of partition 0, in order of offset.
fn written(broker: &FakeBroker) -> Vec<String> {
    let batches_written = broker.state().log("events", 0).batches.concat();
    let records = batches(batches_written.into()).flat_map(|batch| decode_records(&batch.unwrap().bytes, 1 << 20).unwrap());
    records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|value| value.to_string()).collect()
}

async fn offsets(deliveries: Vec<Delivery>) -> Vec<i64> {
    let mut offsets = Vec::new();
    for delivery in deliveries {
        offsets.push(delivery.await.unwrap().offset.unwrap());
    }
    offsets
}

#[tokio::test]
async fn every_record_is_told_its_partition_and_offset() {
    let broker = FakeBroker::with_topic("events", 3).await;
    let producer = producer(&broker, ProducerOptions::default()).await;
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let key = Bytes::from(format!("key {number}"));
        let record = ProducerRecord { key: Some(key.clone()), ..record(None, number) };
        deliveries.push((key, number, producer.send(record).await.unwrap()));
    }
    producer.flush().await;
    for (key, number, delivery) in deliveries {
        let RecordMetadata { partition, offset } = delivery.await.unwrap();
        assert_eq!(partition, partition_for_key(&key, 3));
        let log = broker.state().log("events", partition as usize).batches.concat();
        let mut records = batches(log.into()).flat_map(|batch| decode_records(&batch.unwrap().bytes, 1 << 20).unwrap());
        let found = records.find(|record| Some(record.offset.0) == offset).unwrap();
        assert_eq!((found.key, found.value), (Some(key), Some(number.to_string().into())));
    }
}

#[tokio::test]
async fn t3_a_batch_whose_answer_was_lost_is_sent_again_and_keeps_its_offset() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.extend([Fault::Pass, Fault::LoseAnswer]);
    let producer = producer(&broker, one_by_one()).await;
    let deliveries = send(&producer, 20).await;
    assert_eq!(offsets(deliveries).await, (0..20).collect::<Vec<_>>());
    assert_eq!(written(&broker), values(20));
}

#[tokio::test]
async fn a_refused_batch_keeps_its_place_before_those_sent_after_it() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.extend([Fault::Pass, Fault::Refuse(ErrorCode::NotEnoughReplicas), Fault::Pass, Fault::Close]);
    let producer = producer(&broker, one_by_one()).await;
    let deliveries = send(&producer, 20).await;
    assert_eq!(offsets(deliveries).await, (0..20).collect::<Vec<_>>());
    assert_eq!(written(&broker), values(20));
}

#[tokio::test]
async fn a_batch_that_cannot_be_sent_waits_behind_those_on_the_way() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.push_back(Fault::CloseLater);
    // Under another name than the broker's own, so that metadata has a connection for itself.
    let client = Client::connect(&format!("localhost:{}", broker.port), ClientOptions::default()).await.unwrap();
    let producer = Producer::start(client.clone(), one_by_one()).await.unwrap();
    let first = producer.send(record(Some(0), 0)).await.unwrap();
    until(|| broker.state().produce_faults.is_empty()).await;
    // The first is on the way; the second meets a topic without a leader, once.
    broker.state().leaderless = 1;
    client.describe_topic("events").await.unwrap();
    let asked = broker.state().metadata_requests;
    let second = producer.send(record(Some(0), 1)).await.unwrap();
    until(|| asked < broker.state().metadata_requests).await;
    broker.state().release.notify_one();
    assert_eq!((first.await.unwrap().offset, second.await.unwrap().offset), (Some(0), Some(1)));
    assert_eq!(written(&broker), values(2));
}

#[tokio::test]
async fn at_most_five_batches_are_on_the_way() {
    let broker = FakeBroker::with_topic("events", 1).await;
    // The first is refused: what came until the client heard of it was sent without an answer.
    broker.state().produce_faults.push_back(Fault::Refuse(ErrorCode::NotEnoughReplicas));
    let producer = producer(&broker, one_by_one()).await;
    offsets(send(&producer, 20).await).await;
    let state = broker.state();
    let again = state.produced.iter().skip(1).position(|(_, sequence)| *sequence == 0).unwrap();
    assert!(again < 5, "{:?}", state.produced);
}

#[tokio::test]
async fn a_plain_producer_repeats_only_what_was_refused() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.extend([Fault::Pass, Fault::Refuse(ErrorCode::NotLeaderOrFollower)]);
    let producer = producer(&broker, ProducerOptions { idempotent: false, ..one_by_one() }).await;
    let mut offsets = offsets(send(&producer, 10).await).await;
    offsets.sort_unstable();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    assert_eq!(written(&broker).len(), 10);
}

#[tokio::test]
async fn a_batch_refused_for_good_stops_an_idempotent_producer_and_only_fails_in_a_plain_one() {
    for idempotent in [true, false] {
        let broker = FakeBroker::with_topic("events", 1).await;
        broker.state().produce_faults.extend([Fault::Pass, Fault::Refuse(ErrorCode::MessageTooLarge)]);
        let producer = producer(&broker, ProducerOptions { idempotent, ..one_by_one() }).await;
        let mut outcomes = Vec::new();
        for delivery in send(&producer, 8).await {
            outcomes.push(delivery.await);
        }
        assert_eq!(outcomes[0].as_ref().unwrap().offset, Some(0));
        assert_eq!(outcomes[1].as_ref().unwrap_err().code(), Some(ErrorCode::MessageTooLarge));
        for outcome in &outcomes[2..] {
            match outcome {
                Ok(_) => assert!(!idempotent),
                Err(error) => assert!(idempotent && matches!(error, ClientError::Stopped { .. }), "{error}"),
            }
        }
        assert_eq!(written(&broker).len(), if idempotent { 1 } else { 7 });
    }
}

#[tokio::test]
async fn without_acks_records_are_sent_and_no_offset_is_told() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let producer = producer(&broker, ProducerOptions { acks: Acks::None, idempotent: false, ..one_by_one() }).await;
    for delivery in send(&producer, 5).await {
        assert_eq!(delivery.await.unwrap(), RecordMetadata { partition: 0, offset: None });
    }
    until(|| written(&broker).len() == 5).await;
    assert_eq!(written(&broker), values(5));
}

/// Waits until `condition` holds, at most ten seconds.
async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), holds).await.expect("the condition holds in time");
}

#[tokio::test]
async fn a_lingering_batch_takes_what_comes_meanwhile() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let producer = producer(&broker, ProducerOptions { linger: Duration::from_millis(200), ..ProducerOptions::default() }).await;
    offsets(send(&producer, 50).await).await;
    assert_eq!(broker.state().log("events", 0).batches.len(), 1);
}

#[tokio::test]
async fn a_batch_is_closed_at_its_size() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let options = ProducerOptions { batch_bytes: 1000, linger: Duration::from_millis(50), ..ProducerOptions::default() };
    let producer = producer(&broker, options).await;
    let mut deliveries = Vec::new();
    for _ in 0..30 {
        deliveries.push(producer.send(record(Some(0), "x".repeat(300))).await.unwrap());
    }
    offsets(deliveries).await;
    let state = &mut broker.state();
    let sizes: Vec<_> = state.log("events", 0).batches.iter().map(Bytes::len).collect();
    assert!(sizes.iter().all(|size| *size <= 1000) && sizes.len() <= 15, "{sizes:?}");
}

#[tokio::test]
async fn sending_waits_while_the_buffer_is_full() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.extend([Fault::Refuse(ErrorCode::NotEnoughReplicas); 3]);
    let producer = producer(&broker, ProducerOptions { buffer_bytes: 200, ..ProducerOptions::default() }).await;
    let first = producer.send(record(Some(0), "x".repeat(100))).await.unwrap();
    // 164 of 200 bytes are taken until the first is settled.
    let second = producer.send(record(Some(0), "y".repeat(100))).await.unwrap();
    assert_eq!(written(&broker).len(), 1);
    assert_eq!((first.await.unwrap().offset, second.await.unwrap().offset), (Some(0), Some(1)));

    let error = producer.send(record(Some(0), "z".repeat(300))).await.err().unwrap();
    assert_eq!(error.to_string(), "a record of 364 bytes does not fit the producer's buffer of 200 bytes");
}

#[tokio::test]
async fn a_record_is_given_up_at_the_delivery_timeout() {
    let broker = FakeBroker::with_topic("events", 1).await;
    broker.state().produce_faults.extend([Fault::Refuse(ErrorCode::NotEnoughReplicas); 1000]);
    let options = ProducerOptions { delivery_timeout: Duration::from_millis(100), ..ProducerOptions::default() };
    let producer = producer(&broker, options).await;
    let error = producer.send(record(Some(0), "x")).await.unwrap().await.unwrap_err();
    assert_eq!(error.to_string(), "not acknowledged within 100 ms, last: producing to events-0: NOT_ENOUGH_REPLICAS");
}

#[tokio::test]
async fn a_topic_is_created_by_writing_to_it_only_where_that_was_asked_for() {
    let broker = FakeBroker::start().await;
    let refusing = producer(&broker, ProducerOptions::default()).await;
    let error = refusing.send(record(None, "x")).await.err().unwrap();
    assert_eq!(error.to_string(), "topic events: UNKNOWN_TOPIC_OR_PARTITION");

    let options = ClientOptions { auto_create_topics: true, ..ClientOptions::default() };
    let client = Client::connect(&broker.address(), options).await.unwrap();
    let producer = Producer::start(client, ProducerOptions::default()).await.unwrap();
    assert_eq!(producer.send(record(None, "x")).await.unwrap().await.unwrap().offset, Some(0));
}
