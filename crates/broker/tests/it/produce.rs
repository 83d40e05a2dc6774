//! Produce over the wire.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use protocol::ErrorCode;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{BrokerId, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest, TopicName, TransactionalId};
use records::{BatchBuilder, Codec};
use types::{Timestamp, TopicPartition};
use uuid::Uuid;
use wal::MemoryOptions;

use crate::harness::{NOW, TestBroker, batch, build, produce_request, sequenced_batch, text, values};

#[tokio::test]
async fn what_is_created_can_be_written_and_read_at_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    let mut peer = broker.connect().await;
    let first = peer.produce("t", 1, batch(&["a", "b"])).await;
    let second = peer.produce("t", 1, batch(&["c"])).await;
    assert_eq!((first.error_code, first.base_offset, second.error_code, second.base_offset), (0, 0, 0, 2));
    assert_eq!((second.log_append_time_ms, second.log_start_offset), (-1, 0));
    let fetched = peer.fetch("t", 1, 0).await;
    assert_eq!((fetched.error_code, fetched.high_watermark, fetched.last_stable_offset), (0, 3, 3));
    assert_eq!(values(&fetched), ["a", "b", "c"]);
    assert_eq!(broker.metric("siltstone_topic_records_in_total{topic=\"t\"}"), 3.0);
    assert_eq!(broker.metric("siltstone_topic_records_out_total{topic=\"t\"}"), 3.0);
}

#[tokio::test]
async fn pipelined_appends_overlap_and_are_answered_in_order() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let partition = broker.partitions.get(TopicPartition::new(topic, 0)).unwrap();
    broker.wal.hold_syncs();
    let mut peer = broker.connect().await;
    let mut correlations = Vec::new();
    for number in 0..20 {
        correlations.push(peer.send(9, &produce_request("t", -1, vec![(0, batch(&[&number.to_string()]))])).await);
    }
    // All are appended though none is durable, so none is answered.
    let watch = partition::ProgressWatch::new();
    partition.register(&watch);
    while partition.offsets().log_end.0 < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(partition.offsets().high_watermark.0, 0);
    broker.wal.release_syncs();
    for (offset, correlation) in (0..).zip(correlations) {
        let answer = peer.receive::<ProduceRequest>(9, correlation).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
}

#[tokio::test]
async fn t1_nothing_is_fetched_before_it_is_durable() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.wal.hold_syncs();
    let (mut producer, mut consumer) = (broker.connect().await, broker.connect().await);
    let correlation = producer.send(9, &produce_request("t", 1, vec![(0, batch(&["a"]))])).await;
    let before = consumer.fetch("t", 0, 0).await;
    assert_eq!((before.error_code, before.high_watermark, values(&before).len()), (0, 0, 0));
    broker.wal.release_syncs();
    producer.receive::<ProduceRequest>(9, correlation).await;
    assert_eq!(values(&consumer.fetch("t", 0, 0).await), ["a"]);
}

#[tokio::test]
async fn a_corrupt_batch_is_told_and_its_neighbours_succeed() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 5, &[]).await;
    let flipped = |position: usize| {
        let mut bytes = BytesMut::from(&batch(&["x"])[..]);
        bytes[position] ^= 1;
        bytes.freeze()
    };
    let cut = batch(&["cut"]).slice(..70);
    let two = [batch(&["one"]), batch(&["two"])].concat();
    let request = produce_request(
        "t",
        -1,
        vec![(0, batch(&["good"])), (1, flipped(65)), (2, cut), (3, two.into()), (4, batch(&["good"])), (9, batch(&["lost"]))],
    );
    let answer = broker.connect().await.ask(9, &request).await;
    let codes: Vec<i16> = answer.responses[0].partition_responses.iter().map(|partition| partition.error_code).collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::CorruptMessage,
        ErrorCode::CorruptMessage,
        ErrorCode::InvalidRecord,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
    ];
    assert_eq!(codes, expected.map(ErrorCode::code));
}

#[tokio::test]
async fn t38_the_records_that_are_at_fault_are_named_from_version_8_on() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 2, &[("message.timestamp.after.max.ms", "1000")]).await;
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for ahead in [0, 1001, 1000, 5000] {
        builder.push(Timestamp(NOW + ahead), None, Some(b"x"), &[]);
    }
    let request = produce_request("t", -1, vec![(0, builder.build()), (1, batch(&["good"]))]);
    let mut peer = broker.connect().await;
    for version in [7, 8, 13] {
        let mut request = request.clone();
        if version == 13 {
            request.topic_data[0].name = TopicName::default();
            request.topic_data[0].topic_id = topic.0;
        }
        let answer = peer.ask(version, &request).await;
        let [refused, taken] = &answer.responses[0].partition_responses[..] else { panic!("two partitions") };
        assert_eq!((refused.error_code, refused.base_offset), (ErrorCode::InvalidTimestamp.code(), -1), "version {version}");
        assert_eq!(taken.error_code, 0, "version {version}");
        let named: Vec<i32> = refused.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!(named, if version < 8 { vec![] } else { vec![1, 3] }, "version {version}");
        assert!(refused.record_errors.iter().all(|record| record.batch_index_error_message.is_some()));
    }
}

#[tokio::test]
async fn a_compacted_topic_refuses_records_without_a_key_and_names_them() {
    let broker = TestBroker::start().await;
    broker.create_topic("keyed", 1, &[("cleanup.policy", "delete, compact")]).await;
    broker.create_topic("plain", 1, &[("cleanup.policy", "delete")]).await;
    let mut builder = BatchBuilder::new(Codec::None);
    for key in [Some(&b"key"[..]), None] {
        builder.push(Timestamp(NOW), key, Some(b"x"), &[]);
    }
    let batch = builder.build();
    let mut peer = broker.connect().await;
    for (topic, code, named) in [("keyed", ErrorCode::InvalidRecord, vec![1]), ("plain", ErrorCode::None, vec![])] {
        let answer = peer.ask(9, &produce_request(topic, -1, vec![(0, batch.clone())])).await;
        let partition = &answer.responses[0].partition_responses[0];
        let found: Vec<i32> = partition.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!((partition.error_code, found), (code.code(), named), "{topic}");
    }
}

#[tokio::test]
async fn t4_no_error_comes_with_an_offset_or_as_unknown() {
    let broker = TestBroker::start_with(|_| {}, MemoryOptions { max_bytes: 4096, ..MemoryOptions::default() }).await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let filler = "x".repeat(1000);
    let mut refused = None;
    for _ in 0..10 {
        let answer = peer.produce("t", 0, batch(&[&filler])).await;
        assert_ne!(answer.error_code, ErrorCode::UnknownServerError.code());
        if answer.error_code != 0 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the log is full at some time");
    assert_eq!((refused.error_code, refused.base_offset), (ErrorCode::NotEnoughReplicas.code(), -1));
    assert_eq!((refused.log_append_time_ms, refused.log_start_offset), (-1, -1));

    let stopped = TestBroker::start().await;
    stopped.create_topic("t", 1, &[]).await;
    stopped.wal.fail_next_sync("the disk is gone");
    let answer = stopped.connect().await.produce("t", 0, batch(&["a"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::KafkaStorageError.code(), -1));
}

#[tokio::test]
async fn acks_0_gets_no_answer_and_an_error_closes_the_connection() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.send(9, &produce_request("t", 0, vec![(0, batch(&["quiet"]))])).await;
    let after = peer.produce("t", 0, batch(&["loud"])).await;
    assert_eq!(after.base_offset, 1, "the next answer is that of the next request");
    peer.send(9, &produce_request("nowhere", 0, vec![(0, batch(&["lost"]))])).await;
    assert!(peer.is_closed().await);
}

#[tokio::test]
async fn acks_1_is_answered_by_the_sync_and_other_acks_are_refused() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.create_topic("object", 1, &[("durability", "object")]).await;
    let mut peer = broker.connect().await;
    for (topic, acks, code) in [
        ("t", 1, ErrorCode::None),
        ("object", 1, ErrorCode::None),
        ("t", 2, ErrorCode::InvalidRequiredAcks),
        ("t", -2, ErrorCode::InvalidRequiredAcks),
    ] {
        let answer = peer.ask(9, &produce_request(topic, acks, vec![(0, batch(&["a"]))])).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code.code(), "{topic} {acks}");
    }
    // Rule R20: acks=1 on an object topic is durable in the log and not visible before it is published.
    let fetched = peer.fetch("object", 0, 0).await;
    assert_eq!((fetched.error_code, fetched.high_watermark), (0, 0));
}

#[tokio::test]
async fn an_append_that_is_not_durable_in_time_is_told_so_and_its_repeat_is_recognised() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.wal.hold_syncs();
    let mut peer = broker.connect().await;
    let request = produce_request("t", -1, vec![(0, sequenced_batch(77, 0, &["a"]))]);
    let late = peer.ask(9, &request.clone().with_timeout_ms(10)).await;
    let late = &late.responses[0].partition_responses[0];
    assert_eq!((late.error_code, late.base_offset), (ErrorCode::RequestTimedOut.code(), -1));
    let correlation = peer.send(9, &request).await;
    broker.wal.release_syncs();
    let again = peer.receive::<ProduceRequest>(9, correlation).await;
    let again = &again.responses[0].partition_responses[0];
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(values(&peer.fetch("t", 0, 0).await), ["a"]);
}

#[tokio::test]
async fn a_repeated_batch_is_answered_with_its_original_offset() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let id = peer.ask(5, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_eq!((id.error_code, id.producer_epoch), (0, 0));
    let producer = id.producer_id.0;
    for sequence in 0..6 {
        assert_eq!(peer.produce("t", 0, sequenced_batch(producer, sequence, &["x"])).await.base_offset, i64::from(sequence));
    }
    let repeated = peer.produce("t", 0, sequenced_batch(producer, 3, &["x"])).await;
    assert_eq!((repeated.error_code, repeated.base_offset), (0, 3));
    let forgotten = peer.produce("t", 0, sequenced_batch(producer, 0, &["x"])).await;
    assert_eq!((forgotten.error_code, forgotten.base_offset), (ErrorCode::DuplicateSequenceNumber.code(), -1));
    let gap = peer.produce("t", 0, sequenced_batch(producer, 9, &["x"])).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(values(&peer.fetch("t", 0, 0).await).len(), 6);
}

#[tokio::test]
async fn batches_that_a_client_must_not_send_are_refused_for_good() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("max.message.bytes", "200"), ("message.timestamp.after.max.ms", "1000")]).await;
    let mut peer = broker.connect().await;
    let plain = || BatchBuilder::new(Codec::None);
    let mut future = plain();
    future.push(Timestamp(NOW + 1001), None, Some(b"x"), &[]);
    let cases = [
        (build(plain().control(), &["x"]), ErrorCode::InvalidRecord),
        (build(plain().producer(5, 0, 0).transactional(), &["x"]), ErrorCode::InvalidTxnState),
        (build(plain(), &[&"x".repeat(200)]), ErrorCode::MessageTooLarge),
        (future.build(), ErrorCode::InvalidTimestamp),
        (Bytes::new(), ErrorCode::InvalidRecord),
    ];
    for (number, (batch, code)) in cases.into_iter().enumerate() {
        let answer = peer.produce("t", 0, batch).await;
        assert_eq!((answer.error_code, answer.base_offset), (code.code(), -1), "case {number}");
        assert!(answer.error_message.is_some());
    }
    let zstd = produce_request("t", -1, vec![(0, build(BatchBuilder::new(Codec::Zstd), &["x"]))]);
    for (version, code) in [(6, ErrorCode::UnsupportedCompressionType), (7, ErrorCode::None)] {
        let answer = peer.ask(version, &zstd).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code.code(), "version {version}");
    }
    let transactional = produce_request("t", -1, vec![(0, batch(&["x"]))]).with_transactional_id(Some(TransactionalId(text("me"))));
    let answer = peer.ask(9, &transactional).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::InvalidTxnState.code());
}

#[tokio::test]
async fn log_append_time_is_the_brokers_and_is_answered() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut peer = broker.connect().await;
    let mut old = BatchBuilder::new(Codec::None);
    old.push(Timestamp(5), None, Some(b"x"), &[]);
    assert_eq!(peer.produce("t", 0, old.build()).await.log_append_time_ms, NOW);
    let fetched = records::BatchHeader::parse(&peer.fetch("t", 0, 0).await.records.unwrap()).unwrap();
    assert_eq!(fetched.max_timestamp, Timestamp(NOW));
}

#[tokio::test]
async fn version_13_names_topics_by_id() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let data = |id: Uuid| {
        let partition = PartitionProduceData::default().with_records(Some(batch(&["x"])));
        TopicProduceData::default().with_topic_id(id).with_partition_data(vec![partition])
    };
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![data(topic.0), data(Uuid::from_bytes([1; 16]))]);
    let answer = broker.connect().await.ask(13, &request).await;
    let codes: Vec<_> = answer.responses.iter().map(|topic| (topic.topic_id, topic.partition_responses[0].error_code)).collect();
    assert_eq!(codes, [(topic.0, 0), (Uuid::from_bytes([1; 16]), ErrorCode::UnknownTopicId.code())]);
}

#[tokio::test]
async fn a_partition_that_moved_is_told_with_its_new_leader() {
    let broker = TestBroker::start().await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let id = TopicPartition::new(topic, 0);
    broker.metadata.change_partition(id, |partition| {
        partition.leader = Some(types::BrokerId(2));
        partition.leader_epoch.0 += 1;
    });
    let mut peer = broker.connect().await;
    let mut answer = peer.ask(10, &produce_request("t", -1, vec![(0, batch(&["x"]))])).await;
    while answer.responses[0].partition_responses[0].error_code == 0 {
        answer = peer.ask(10, &produce_request("t", -1, vec![(0, batch(&["x"]))])).await;
    }
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!((partition.current_leader.leader_id.0, partition.current_leader.leader_epoch), (2, 4));
    assert_eq!((answer.node_endpoints[0].node_id.0, &*answer.node_endpoints[0].host), (2, "host2"));
    assert_eq!(peer.fetch("t", 0, 0).await.error_code, ErrorCode::NotLeaderOrFollower.code());
}

#[tokio::test]
async fn r17_while_the_broker_recovers_everybody_is_told_to_come_back() {
    let broker = TestBroker::start_recovering(|_| {}, MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let retriable = ErrorCode::NotLeaderOrFollower.code();
    assert_eq!(peer.produce("t", 0, batch(&["a"])).await.error_code, retriable);
    // An offset beyond the end that is known so far must not be called out of range: consumers would start over.
    assert_eq!(peer.fetch("t", 0, 500).await.error_code, retriable);
    let wanted = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![wanted]);
    let listed = peer.ask(7, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])).await;
    assert_eq!(listed.topics[0].partitions[0].error_code, retriable);
    broker.partitions.finish_recovery();
    assert_eq!(peer.produce("t", 0, batch(&["a"])).await.error_code, 0);
}

#[tokio::test]
async fn producers_are_slowed_before_the_log_is_full() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let request = produce_request("t", -1, vec![(0, batch(&["a"]))]);
    assert_eq!(peer.ask(9, &request).await.throttle_time_ms, 0);
    broker.log_fill_percent.store(90, Ordering::Relaxed);
    let slowed = peer.ask(9, &request).await;
    assert_eq!((slowed.responses[0].partition_responses[0].error_code, slowed.throttle_time_ms), (0, 500));
}
