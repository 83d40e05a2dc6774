//! Fetch, ListOffsets and OffsetForLeaderEpoch over the wire.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::{BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName};
use records::{BatchBuilder, Codec};
use store::Operation;
use store::faults::Fault;
use tokio::time::Instant;
use types::{Timestamp, TopicPartition};
use uuid::Uuid;

use crate::harness::{NOW, TestBroker, batch, fetch_request, produce_request, text, values};
use crate::metadata::LEADER_EPOCH;

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_the_append_it_waits_for() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 3, &[]).await;
    let (mut consumer, mut producer) = (broker.connect().await, broker.connect().await);
    let request = fetch_request("t", &[(0, 0), (1, 0), (2, 0)]).with_max_wait_ms(60_000);
    let correlation = consumer.send(12, &request).await;
    assert_eq!(producer.produce("t", 2, batch(&["news"])).await.error_code, 0);
    let answer = consumer.receive::<FetchRequest>(12, correlation).await;
    let seen: Vec<_> = answer.responses[0].partitions.iter().map(values).collect();
    assert_eq!(seen, [vec![], vec![], vec!["news".to_owned()]]);
}

#[tokio::test]
async fn a_fetch_waits_for_as_much_as_it_wants_but_not_longer_than_it_says() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut consumer = broker.connect().await;
    let one = batch(&[&"x".repeat(1000)]);
    let wanted = i32::try_from(3 * one.len()).unwrap();
    let request = fetch_request("t", &[(0, 0)]).with_max_wait_ms(60_000).with_min_bytes(wanted);
    let correlation = consumer.send(12, &request).await;
    let mut producer = broker.connect().await;
    for _ in 0..3 {
        producer.produce("t", 0, one.clone()).await;
    }
    let answer = consumer.receive::<FetchRequest>(12, correlation).await;
    assert_eq!(values(&answer.responses[0].partitions[0]).len(), 3);

    let began = Instant::now();
    let request = fetch_request("t", &[(0, 0)]).with_max_wait_ms(100).with_min_bytes(1 << 20);
    let answer = consumer.ask(12, &request).await;
    assert!(Duration::from_millis(100) <= began.elapsed());
    assert_eq!(values(&answer.responses[0].partitions[0]).len(), 3, "what there is, is answered");
}

#[tokio::test]
async fn errors_and_wishes_that_need_no_waiting_are_answered_at_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let unknown = peer.ask(12, &fetch_request("nowhere", &[(0, 0)]).with_max_wait_ms(i32::MAX)).await;
    assert_eq!(unknown.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    let out = peer.ask(12, &fetch_request("t", &[(0, 1)]).with_max_wait_ms(i32::MAX)).await;
    let out = &out.responses[0].partitions[0];
    assert_eq!((out.error_code, out.high_watermark, out.log_start_offset), (ErrorCode::OffsetOutOfRange.code(), 0, 0));
    let none = peer.ask(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(i32::MAX).with_min_bytes(0)).await;
    assert_eq!(none.responses[0].partitions[0].error_code, 0);
}

#[tokio::test]
async fn leader_epochs_of_the_past_and_future_are_told_apart() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    for (epoch, code) in [
        (LEADER_EPOCH - 1, ErrorCode::FencedLeaderEpoch),
        (LEADER_EPOCH, ErrorCode::None),
        (LEADER_EPOCH + 1, ErrorCode::UnknownLeaderEpoch),
        (-1, ErrorCode::None),
    ] {
        let mut fetch = fetch_request("t", &[(0, 0)]).with_max_wait_ms(0);
        fetch.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(peer.ask(12, &fetch).await.responses[0].partitions[0].error_code, code.code(), "fetch {epoch}");
        let wanted = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(epoch);
        let topic = ListOffsetsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![wanted]);
        let listed = peer.ask(7, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])).await;
        assert_eq!(listed.topics[0].partitions[0].error_code, code.code(), "list {epoch}");
        let wanted = OffsetForLeaderPartition::default().with_current_leader_epoch(epoch).with_leader_epoch(LEADER_EPOCH);
        let topic = OffsetForLeaderTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![wanted]);
        let ended = peer.ask(4, &OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])).await;
        assert_eq!(ended.topics[0].partitions[0].error_code, code.code(), "end of epoch {epoch}");
    }
}

#[tokio::test]
async fn the_end_of_an_epoch_is_the_end_of_its_records() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a", "b"])).await;
    let mut end_of = async |epoch: i32| {
        let wanted = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![wanted]);
        let answer = peer.ask(4, &OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])).await;
        let partition = &answer.topics[0].partitions[0];
        (partition.error_code, partition.leader_epoch, partition.end_offset)
    };
    assert_eq!(end_of(LEADER_EPOCH).await, (0, LEADER_EPOCH, 2));
    assert_eq!(end_of(LEADER_EPOCH + 5).await, (0, -1, -1));
    // Diverging: the client has fetched more of an epoch than there is (KIP-595).
    let mut fetch = fetch_request("t", &[(0, 2)]);
    fetch.topics[0].partitions[0].last_fetched_epoch = LEADER_EPOCH;
    fetch.topics[0].partitions[0].fetch_offset = 9;
    let answer = peer.ask(12, &fetch).await;
    let diverging = &answer.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (LEADER_EPOCH, 2));
}

#[tokio::test]
async fn t21_every_partition_gets_its_turn_when_the_budget_does_not_reach_all() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 10, &[]).await;
    let mut peer = broker.connect().await;
    let large = "x".repeat(10_000);
    let wanted: Vec<_> = (0..10).map(|partition| (partition, 0)).collect();
    peer.ask(9, &produce_request("t", -1, wanted.iter().map(|(index, _)| (*index, batch(&[&large]))).collect())).await;
    // Each batch is larger than the whole budget, and one of them is answered all the same.
    let request = fetch_request("t", &wanted).with_max_bytes(5000);
    let mut served = [0; 10];
    for _ in 0..400 {
        let answer = peer.ask(12, &request).await;
        let lengths: Vec<_> = answer.responses[0].partitions.iter().map(|data| values(data).len()).collect();
        assert_eq!(lengths.iter().sum::<usize>(), 1, "at least one batch, and no second");
        served[lengths.iter().position(|count| *count == 1).unwrap()] += 1;
    }
    assert!(served.iter().all(|count| 10 <= *count), "{served:?}");
}

#[tokio::test]
async fn t21_a_batch_above_its_partitions_share_is_answered_when_it_is_the_first() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    let large = "x".repeat(10_000);
    peer.produce("t", 1, batch(&[&large])).await;
    let mut request = fetch_request("t", &[(0, 0), (1, 0)]);
    request.topics[0].partitions.iter_mut().for_each(|partition| partition.partition_max_bytes = 100);
    let answer = peer.ask(12, &request).await;
    assert_eq!(values(&answer.responses[0].partitions[1]), [large]);
}

#[tokio::test]
async fn a_budget_for_many_partitions_is_kept() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 50, &[]).await;
    let mut peer = broker.connect().await;
    let value = "x".repeat(1000);
    let wanted: Vec<_> = (0..50).map(|partition| (partition, 0)).collect();
    for _ in 0..5 {
        peer.ask(9, &produce_request("t", -1, wanted.iter().map(|(index, _)| (*index, batch(&[&value]))).collect())).await;
    }
    let answer = peer.ask(12, &fetch_request("t", &wanted).with_max_bytes(20_000)).await;
    let bytes: usize = answer.responses[0].partitions.iter().map(|data| data.records.as_ref().map_or(0, |records| records.len())).sum();
    assert!((15_000..=20_000).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn from_version_13_topics_are_named_by_id_and_unknown_ids_are_told() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    let wanted =
        |id: Uuid| FetchTopic::default().with_topic_id(id).with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1000)]);
    let mut request = fetch_request("t", &[]).with_topics(vec![wanted(topic.0), wanted(Uuid::from_bytes([1; 16]))]);
    request.replica_id = BrokerId(-1);
    let answer = peer.ask(13, &request).await;
    assert_eq!(values(&answer.responses[0].partitions[0]), ["a"]);
    assert_eq!(answer.responses[1].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    assert_eq!(answer.responses[0].topic_id, topic.0);
}

#[tokio::test]
async fn a_read_committed_fetch_has_an_empty_list_of_aborted_transactions_and_others_have_none() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    for (level, aborted) in [(0, None), (1, Some(Vec::new()))] {
        let answer = peer.ask(12, &fetch_request("t", &[(0, 0)]).with_isolation_level(level)).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((values(partition).len(), partition.last_stable_offset), (1, 1));
        assert_eq!(partition.aborted_transactions, aborted);
    }
}

#[tokio::test]
async fn a_replica_id_gives_no_rights() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.wal.hold_syncs();
    let mut producer = broker.connect().await;
    producer.send(9, &produce_request("t", -1, vec![(0, batch(&["a"]))])).await;
    let mut request = fetch_request("t", &[(0, 0)]).with_max_wait_ms(50);
    request.replica_id = BrokerId(2);
    let answer = broker.connect().await.ask(12, &request).await;
    assert_eq!((values(&answer.responses[0].partitions[0]).len(), answer.responses[0].partitions[0].high_watermark), (0, 0));
    broker.wal.release_syncs();
}

#[tokio::test]
async fn offsets_are_found_by_position_and_by_time() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    for times in [[100, 50], [300, 200]] {
        let mut builder = BatchBuilder::new(Codec::None);
        times.iter().for_each(|time| builder.push(Timestamp(*time), None, Some(b"x"), &[]));
        assert_eq!(peer.produce("t", 0, builder.build()).await.error_code, 0);
    }
    let mut list = async |version: i16, timestamp: i64| {
        let wanted = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let correlation = peer.send(version, &request).await;
        // kafka-protocol has no version 11; its answer is one of version 10.
        let answer = peer.receive::<ListOffsetsRequest>(version.min(10), correlation).await;
        let partition = &answer.topics[0].partitions[0];
        (partition.error_code, partition.offset, partition.timestamp)
    };
    assert_eq!(list(10, -1).await, (0, 4, -1));
    assert_eq!(list(10, -2).await, (0, 0, -1));
    assert_eq!(list(10, -3).await, (0, 2, 300));
    assert_eq!(list(10, -4).await, (0, 0, -1));
    assert_eq!(list(10, -5).await, (0, -1, -1));
    assert_eq!(list(11, -6).await, (0, -1, -1));
    assert_eq!(list(11, -3).await, (0, 2, 300));
    assert_eq!(list(10, 101).await, (0, 2, 300));
    assert_eq!(list(10, 0).await, (0, 0, 100));
    assert_eq!(list(10, NOW).await, (0, -1, -1));
    let unsupported = ErrorCode::UnsupportedVersion.code();
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6), (10, i64::MIN)] {
        assert_eq!(list(version, timestamp).await, (unsupported, -1, -1), "{timestamp} in version {version}");
    }
}

#[tokio::test]
async fn a_partition_listed_twice_is_an_invalid_request_and_its_neighbour_is_answered() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let wanted = |index: i32| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1).with_current_leader_epoch(-1);
    let topic =
        ListOffsetsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![wanted(0), wanted(1), wanted(0), wanted(7)]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = broker.connect().await.ask(10, &request).await;
    let codes: Vec<_> = answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    let expected = [ErrorCode::InvalidRequest, ErrorCode::None, ErrorCode::InvalidRequest, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(codes, expected.map(ErrorCode::code));
}

#[tokio::test]
async fn t31_fetched_bytes_are_counted_where_they_came_from() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    let fetched = peer.fetch("t", 0, 0).await;
    let bytes = fetched.records.unwrap().len() as f64;
    assert_eq!(broker.metric("siltstone_fetched_bytes_total{source=\"memory\"}"), bytes);
    assert_eq!(broker.metric("siltstone_fetched_bytes_total{source=\"store\"}"), 0.0);
    // Nothing is fetched at the end of the log, so nothing is counted.
    peer.ask(12, &fetch_request("t", &[(0, 1)]).with_max_wait_ms(1)).await;
    assert_eq!(broker.metric("siltstone_fetched_bytes_total{source=\"memory\"}"), bytes);
}

/// Reads of the store under test take this long, many times `max_wait`.
const STORE_LATENCY: Duration = Duration::from_millis(300);
const SLOW_READS: usize = 100;

#[tokio::test]
async fn t20_a_store_slower_than_max_wait_is_waited_for_when_there_is_nothing_else() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["old"])).await;
    broker.offload(TopicPartition::new(topic, 0)).await;
    broker.store.script(Operation::GetRange, vec![Fault::Delay(STORE_LATENCY); SLOW_READS]);
    let answer = peer.ask(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(10)).await;
    assert_eq!(values(&answer.responses[0].partitions[0]), ["old"]);
    assert!(0.0 < broker.metric("siltstone_fetched_bytes_total{source=\"store\"}"));
}

#[tokio::test]
async fn t20_a_consumer_is_given_what_there_is_when_the_next_segment_is_slow() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    for value in ["first", "second"] {
        peer.produce("t", 0, batch(&[value])).await;
        broker.offload(TopicPartition::new(topic, 0)).await;
    }
    // Longer than anybody waits.
    let mut delays = vec![Fault::Delay(Duration::from_secs(600)); SLOW_READS];
    delays[0] = Fault::Delay(Duration::ZERO);
    broker.store.script(Operation::GetRange, delays);
    let answer = peer.ask(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(10)).await;
    assert_eq!(values(&answer.responses[0].partitions[0]), ["first"]);
}

#[tokio::test]
async fn t20_a_slow_read_beside_a_fast_one_neither_delays_it_nor_starts_over_for_ever() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["old"])).await;
    broker.offload(TopicPartition::new(topic, 0)).await;
    peer.produce("t", 1, batch(&["new"])).await;
    broker.store.script(Operation::GetRange, vec![Fault::Delay(STORE_LATENCY); SLOW_READS]);
    let began = Instant::now();
    let request = fetch_request("t", &[(0, 0), (1, 0)]).with_max_wait_ms(10);
    let first = peer.ask(12, &request).await;
    let of = |answer: &FetchResponse, partition: usize| values(&answer.responses[0].partitions[partition]);
    assert_eq!((of(&first, 0).len(), of(&first, 1)), (0, vec!["new".to_owned()]));
    assert!(began.elapsed() < STORE_LATENCY, "{:?}", began.elapsed());
    // The read goes on without its fetch, and a later one finds what it brought.
    let mut fetches = 1;
    while of(&peer.ask(12, &request).await, 0).is_empty() {
        fetches += 1;
        assert!(fetches < 100);
    }
    let reads = SLOW_READS - broker.store.scripted();
    assert!(reads <= 2, "{reads} reads of the store for {fetches} fetches");
}
