use std::collections::BTreeMap;

use bytes::Bytes;
use client::{Client, ClientError, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec, OutOfRange};
use protocol::ErrorCode;
use records::{BatchBuilder, Codec};
use types::Timestamp;

use crate::fake_broker::{FakeBroker, Fault};

/// One batch with a record for each of `times`, its value the time in words.
fn batch(codec: Codec, times: impl IntoIterator<Item = i64>) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for time in times {
        builder.push(Timestamp(time), None, Some(format!("at {time}").as_bytes()), &[]);
    }
    builder.build()
}

/// Partition 0 holds offsets 0 to 29 in batches of ten, with timestamps 100 + offset.
async fn filled() -> (FakeBroker, Client) {
    let broker = FakeBroker::with_topic("events", 2).await;
    for (first, codec) in [(100, Codec::None), (110, Codec::Gzip), (120, Codec::Zstd)] {
        broker.state().log("events", 0).append(batch(codec, first..first + 10)).unwrap();
    }
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    (broker, client)
}

async fn read_to_the_end(consumer: &mut Consumer) -> Vec<ConsumerRecord> {
    let ends = consumer.ends().await.unwrap();
    let mut records = Vec::new();
    // Every answer brings a batch at least, and no log here has more.
    for _ in 0..10 {
        if consumer.has_reached(&ends) {
            return records;
        }
        records.extend(consumer.poll().await.unwrap());
    }
    panic!("at {:?} of {ends:?} after ten answers", consumer.positions());
}

fn offsets(records: &[ConsumerRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

#[tokio::test]
async fn records_come_once_each_from_where_reading_starts() {
    let (_broker, client) = filled().await;
    for (start, first) in [
        (OffsetSpec::Earliest, 0),
        (OffsetSpec::Timestamp(0), 0),
        (OffsetSpec::Timestamp(115), 15),
        (OffsetSpec::Timestamp(1000), 30),
        (OffsetSpec::Latest, 30),
    ] {
        let mut consumer = Consumer::assign(client.clone(), "events", &[(0, start)], ConsumerOptions::default()).await.unwrap();
        let records = read_to_the_end(&mut consumer).await;
        assert_eq!(offsets(&records), (first..30).collect::<Vec<_>>(), "{start:?}");
        for record in records {
            assert_eq!(record.timestamp, 100 + record.offset);
            assert_eq!(record.value, Some(format!("at {}", record.timestamp).into()));
        }
    }
}

#[tokio::test]
async fn t19_a_position_inside_a_batch_starts_there() {
    let (_broker, client) = filled().await;
    let mut consumer = Consumer::at(client, "events", BTreeMap::from([(0, 17)]), ConsumerOptions::default());
    assert_eq!(offsets(&read_to_the_end(&mut consumer).await), (17..30).collect::<Vec<_>>());
    assert_eq!(consumer.high_watermarks()[&0], 30);
}

#[tokio::test]
async fn batches_cut_at_the_end_of_an_answer_are_read_by_the_next() {
    let (_broker, client) = filled().await;
    for partition_max_bytes in [1, 200, 300, 400] {
        let options = ConsumerOptions { partition_max_bytes, ..ConsumerOptions::default() };
        let mut consumer = Consumer::assign(client.clone(), "events", &[(0, OffsetSpec::Earliest)], options).await.unwrap();
        assert_eq!(offsets(&read_to_the_end(&mut consumer).await), (0..30).collect::<Vec<_>>(), "{partition_max_bytes}");
    }
}

#[tokio::test]
async fn gaps_and_batches_without_records_are_passed_over() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let mut sparse = BatchBuilder::new(Codec::None);
    sparse.skip_offsets(3);
    sparse.push(Timestamp(1), None, Some(b"x"), &[]);
    sparse.skip_offsets(3);
    let mut empty = BatchBuilder::new(Codec::None);
    empty.skip_offsets(5);
    for batch in [sparse.build(), batch(Codec::None, [9]), empty.build()] {
        broker.state().log("events", 0).append(batch).unwrap();
    }
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    let mut consumer = Consumer::assign(client, "events", &[(0, OffsetSpec::Earliest)], ConsumerOptions::default()).await.unwrap();
    assert_eq!(offsets(&read_to_the_end(&mut consumer).await), [3, 7]);
    assert_eq!(consumer.positions()[&0], 13);
}

#[tokio::test]
async fn control_batches_are_not_records() {
    let broker = FakeBroker::with_topic("events", 1).await;
    let mut marker = BatchBuilder::new(Codec::None).control().transactional();
    marker.push(Timestamp(1), Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    for batch in [batch(Codec::None, [1]), marker.build(), batch(Codec::None, [3])] {
        broker.state().log("events", 0).append(batch).unwrap();
    }
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    let mut consumer = Consumer::assign(client, "events", &[(0, OffsetSpec::Earliest)], ConsumerOptions::default()).await.unwrap();
    assert_eq!(offsets(&read_to_the_end(&mut consumer).await), [0, 2]);
}

#[tokio::test]
async fn a_leader_that_moves_or_breaks_off_is_tried_again() {
    let (broker, client) = filled().await;
    broker.state().fetch_faults.extend([Fault::Refuse(ErrorCode::NotLeaderOrFollower), Fault::Close, Fault::Pass]);
    let mut consumer = Consumer::assign(client, "events", &[(0, OffsetSpec::Earliest)], ConsumerOptions::default()).await.unwrap();
    assert_eq!(offsets(&read_to_the_end(&mut consumer).await), (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_position_out_of_range_fails_or_is_reset_as_asked() {
    let (broker, client) = filled().await;
    broker.state().log("events", 0).start = 10;
    let at = |out_of_range| {
        let options = ConsumerOptions { out_of_range, ..ConsumerOptions::default() };
        Consumer::at(client.clone(), "events", BTreeMap::from([(0, 5)]), options)
    };
    let error = at(OutOfRange::Fail).poll().await.unwrap_err();
    assert_eq!(error.to_string(), "fetching events-0 at offset 5: OFFSET_OUT_OF_RANGE");
    for (policy, position) in [(OutOfRange::Earliest, 10), (OutOfRange::Latest, 30)] {
        let mut consumer = at(policy);
        assert!(consumer.poll().await.unwrap().is_empty());
        assert_eq!(consumer.positions()[&0], position);
    }
}

#[tokio::test]
async fn a_damaged_batch_is_an_error_that_names_its_place() {
    let (broker, client) = filled().await;
    let mut damaged = broker.state().log("events", 0).batches[0].to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    broker.state().log("events", 0).batches[0] = damaged.into();
    let mut consumer = Consumer::assign(client, "events", &[(0, OffsetSpec::Earliest)], ConsumerOptions::default()).await.unwrap();
    let error = consumer.poll().await.unwrap_err();
    assert!(matches!(&error, ClientError::Corrupt { partition: 0, offset: 0, .. }), "{error}");
}
