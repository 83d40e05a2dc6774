//! Golden bytes are kafka-python 2.0.2's; kafka-protocol 0.15, the last release that knows these versions, reads what is written here.

use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, FetchRequest, GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    ProduceRequest, ProduceResponse,
};
use kafka_protocol_3_9::messages as oracle;
use kafka_protocol_3_9::protocol::Decodable;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::{
    ErrorCode, FetchResponse, FetchedPartition, FetchedTopic, ListOffsetsPartitionV0, ListOffsetsRequestV0, ListOffsetsResponseV0,
    ListOffsetsTopicV0, ListedPartitionV0, ListedTopicV0, ResponseBody, decode_request, encode_response,
};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Each of `frames` is a request of version 0, 1, … with correlation id 7 of the client "me".
fn check_requests(frames: &[&'static [u8]], expected: impl Fn(i16) -> Request) {
    for (frame, version) in frames.iter().zip(0..) {
        let decoded = decode_request(&Bytes::from_static(frame)).unwrap();
        assert_eq!((decoded.header.version, decoded.header.correlation_id), (version, 7));
        assert_eq!(decoded.header.client_id.as_deref(), Some("me"));
        assert_eq!(decoded.request, expected(version), "version {version}");
    }
}

/// Each of `bodies` is the body of an answer in version 0, 1, …
fn check_responses(bodies: &[&[u8]], response: ResponseBody) {
    for (body, version) in bodies.iter().zip(0..) {
        assert_eq!(encoded(version, response.clone()), body, "version {version}");
    }
}

/// The body of `response`; before it stand a length and a header of nothing but the correlation id.
fn encoded(version: i16, response: ResponseBody) -> Bytes {
    let frame = Bytes::from(encode_response(7, version, response).unwrap().concat());
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
    assert_eq!(frame[4..8], 7u32.to_be_bytes());
    frame.slice(8..)
}

#[test]
fn produce_requests_are_kafka_pythons() {
    let body = *b"\0\x07\0\x02me\xff\xff\0\0\x05\xdc\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\x03set\0\0\0\x04\0\0\0\0";
    let frames = [0, 1, 2].map(|version| &*[&[0, 0, 0, version, 0, 0], &body[..]].concat().leak());
    let partition =
        |index, records: &'static [u8]| PartitionProduceData::default().with_index(index).with_records(Some(Bytes::from_static(records)));
    check_requests(&frames, |_| {
        let topic =
            TopicProduceData::default().with_name(topic_name("events")).with_partition_data(vec![partition(3, b"set"), partition(4, b"")]);
        Request::Produce(ProduceRequest::default().with_acks(-1).with_timeout_ms(1500).with_topic_data(vec![topic]))
    });
}

#[test]
fn produce_responses_are_kafka_pythons() {
    let partition = |index, error: ErrorCode, offset, time| {
        PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(error.code())
            .with_base_offset(offset)
            .with_log_append_time_ms(time)
    };
    let partitions = vec![partition(3, ErrorCode::None, 41, 99), partition(4, ErrorCode::NotLeaderOrFollower, -1, -1)];
    let topic = TopicProduceResponse::default().with_name(topic_name("events")).with_partition_responses(partitions);
    check_responses(
        &[
            b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0)\0\0\0\x04\0\x06\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0)\0\0\0\x04\0\x06\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x05",
            b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0)\0\0\0\0\0\0\0c\
              \0\0\0\x04\0\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x05",
        ],
        ResponseBody::Produce(ProduceResponse::default().with_throttle_time_ms(5).with_responses(vec![topic])),
    );
}

#[test]
fn fetch_requests_are_kafka_pythons() {
    let expected = |version| {
        let partition = FetchPartition::default().with_partition(3).with_fetch_offset(41).with_partition_max_bytes(1000);
        let topic = FetchTopic::default().with_topic(topic_name("events")).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_replica_id(BrokerId(-1)).with_max_wait_ms(500).with_min_bytes(1);
        Request::Fetch(request.with_max_bytes(if version == 3 { 5000 } else { i32::MAX }).with_topics(vec![topic]))
    };
    check_requests(
        &[
            b"\0\x01\0\0\0\0\0\x07\0\x02me\xff\xff\xff\xff\0\0\x01\xf4\0\0\0\x01\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0)\0\0\x03\xe8",
            b"\0\x01\0\x01\0\0\0\x07\0\x02me\xff\xff\xff\xff\0\0\x01\xf4\0\0\0\x01\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0)\0\0\x03\xe8",
            b"\0\x01\0\x02\0\0\0\x07\0\x02me\xff\xff\xff\xff\0\0\x01\xf4\0\0\0\x01\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0)\0\0\x03\xe8",
            b"\0\x01\0\x03\0\0\0\x07\0\x02me\xff\xff\xff\xff\0\0\x01\xf4\0\0\0\x01\0\0\x13\x88\
              \0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0)\0\0\x03\xe8",
        ],
        expected,
    );
}

#[test]
fn fetch_responses_are_kafka_pythons() {
    let partition = FetchedPartition {
        partition_index: 3,
        high_watermark: 42,
        records: vec![Bytes::from_static(b"s"), Bytes::from_static(b"et")],
        ..FetchedPartition::default()
    };
    let topic = FetchedTopic { name: topic_name("events"), partitions: vec![partition], ..FetchedTopic::default() };
    let throttled = b"\0\0\0\x05\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0*\0\0\0\x03set";
    check_responses(
        &[b"\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0*\0\0\0\x03set", throttled, throttled, throttled],
        ResponseBody::Fetch(FetchResponse { throttle_time_ms: 5, topics: vec![topic], ..FetchResponse::default() }),
    );
}

#[test]
fn list_offsets_is_kafka_pythons() {
    let partitions = vec![ListOffsetsPartitionV0 { partition_index: 3, timestamp: -1, max_num_offsets: 2 }];
    let topics = vec![ListOffsetsTopicV0 { name: topic_name("events"), partitions }];
    let request =
        b"\0\x02\0\0\0\0\0\x07\0\x02me\xff\xff\xff\xff\0\0\0\x01\0\x06events\0\0\0\x01\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x02";
    check_requests(&[request], |_| Request::ListOffsetsV0(ListOffsetsRequestV0 { replica_id: -1, topics: topics.clone() }));

    let partition = |partition_index, error_code, offsets| ListedPartitionV0 { partition_index, error_code, offsets };
    let partitions = vec![partition(3, ErrorCode::None, vec![42, 7]), partition(4, ErrorCode::NotLeaderOrFollower, Vec::new())];
    let topics = vec![ListedTopicV0 { name: topic_name("events"), partitions }];
    check_responses(
        &[b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\x02\0\0\0\0\0\0\0*\0\0\0\0\0\0\0\x07\0\0\0\x04\0\x06\0\0\0\0"],
        ResponseBody::ListOffsetsV0(ListOffsetsResponseV0 { topics }),
    );
}

#[test]
fn create_topics_is_kafka_pythons() {
    let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("5")));
    let assignment = CreatableReplicaAssignment::default().with_partition_index(0).with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let topic = |name, partitions| CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(partitions);
    let topics = vec![
        topic("events", 2).with_replication_factor(1).with_configs(vec![config]),
        topic("spread", -1).with_replication_factor(-1).with_assignments(vec![assignment]),
    ];
    check_requests(
        &[
            b"\0\x13\0\0\0\0\0\x07\0\x02me\0\0\0\x02\0\x06events\0\0\0\x02\0\x01\0\0\0\0\0\0\0\x01\0\x0cretention.ms\0\x015\
              \0\x06spread\xff\xff\xff\xff\xff\xff\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\x05\xdc",
            b"\0\x13\0\x01\0\0\0\x07\0\x02me\0\0\0\x02\0\x06events\0\0\0\x02\0\x01\0\0\0\0\0\0\0\x01\0\x0cretention.ms\0\x015\
              \0\x06spread\xff\xff\xff\xff\xff\xff\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\x05\xdc\x01",
        ],
        |version| {
            let request = CreateTopicsRequest::default().with_topics(topics.clone()).with_timeout_ms(1500);
            Request::CreateTopics(request.with_validate_only(version == 1))
        },
    );

    let topic = |name, error: ErrorCode, message: Option<&str>| {
        CreatableTopicResult::default().with_name(topic_name(name)).with_error_code(error.code()).with_error_message(message.map(text))
    };
    let topics = vec![topic("events", ErrorCode::None, None), topic("spread", ErrorCode::TopicAlreadyExists, Some("exists"))];
    check_responses(
        &[b"\0\0\0\x02\0\x06events\0\0\0\x06spread\0$", b"\0\0\0\x02\0\x06events\0\0\xff\xff\0\x06spread\0$\0\x06exists"],
        ResponseBody::CreateTopics(CreateTopicsResponse::default().with_throttle_time_ms(5).with_topics(topics)),
    );
}

#[test]
fn delete_topics_is_kafka_pythons() {
    let names = vec![topic_name("events"), topic_name("spread")];
    check_requests(&[b"\0\x14\0\0\0\0\0\x07\0\x02me\0\0\0\x02\0\x06events\0\x06spread\0\0\x05\xdc"], |_| {
        Request::DeleteTopics(DeleteTopicsRequest::default().with_topic_names(names.clone()).with_timeout_ms(1500))
    });
    let topic = |name, error: ErrorCode| {
        DeletableTopicResult::default().with_name(Some(topic_name(name))).with_error_code(error.code()).with_error_message(Some(text("m")))
    };
    let topics = vec![topic("events", ErrorCode::None), topic("spread", ErrorCode::UnknownTopicOrPartition)];
    check_responses(
        &[b"\0\0\0\x02\0\x06events\0\0\0\x06spread\0\x03"],
        ResponseBody::DeleteTopics(DeleteTopicsResponse::default().with_throttle_time_ms(5).with_responses(topics)),
    );
}

#[test]
fn offset_commit_is_kafka_pythons() {
    let partition = |index, offset, note: Option<&str>| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(index).with_committed_offset(offset);
        partition.with_committed_metadata(note.map(text))
    };
    check_requests(
        &[
            b"\0\x08\0\0\0\0\0\x07\0\x02me\0\x07readers\0\0\0\x01\0\x06events\0\0\0\x02\
              \0\0\0\x03\0\0\0\0\0\0\0)\0\x04note\0\0\0\x04\0\0\0\0\0\0\0\x07\xff\xff",
            b"\0\x08\0\x01\0\0\0\x07\0\x02me\0\x07readers\0\0\0\x05\0\x03m-1\0\0\0\x01\0\x06events\0\0\0\x02\
              \0\0\0\x03\0\0\0\0\0\0\0)\0\0\0\0\0\0\0c\0\x04note\
              \0\0\0\x04\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ],
        |version| {
            let topic = OffsetCommitRequestTopic::default().with_name(topic_name("events"));
            let topic = topic.with_partitions(vec![partition(3, 41, Some("note")), partition(4, 7, None)]);
            let request = OffsetCommitRequest::default().with_group_id(GroupId(text("readers"))).with_topics(vec![topic]);
            Request::OffsetCommit(match version {
                0 => request,
                _ => request.with_generation_id_or_member_epoch(5).with_member_id(text("m-1")),
            })
        },
    );
    let partition =
        |index, error: ErrorCode| OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(error.code());
    let partitions = vec![partition(3, ErrorCode::None), partition(4, ErrorCode::OffsetMetadataTooLarge)];
    let topic = OffsetCommitResponseTopic::default().with_name(topic_name("events")).with_partitions(partitions);
    let answer = b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\x04\0\x0c";
    check_responses(
        &[answer, answer],
        ResponseBody::OffsetCommit(OffsetCommitResponse::default().with_throttle_time_ms(5).with_topics(vec![topic])),
    );
}

#[test]
fn offset_fetch_is_kafka_pythons() {
    check_requests(&[b"\0\t\0\0\0\0\0\x07\0\x02me\0\x07readers\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\x04"], |_| {
        let topic = OffsetFetchRequestTopic::default().with_name(topic_name("events")).with_partition_indexes(vec![3, 4]);
        Request::OffsetFetch(OffsetFetchRequest::default().with_group_id(GroupId(text("readers"))).with_topics(Some(vec![topic])))
    });
    let partition = |index, offset, note, error: ErrorCode| {
        let partition = OffsetFetchResponsePartitions::default().with_partition_index(index).with_committed_offset(offset);
        partition.with_committed_leader_epoch(8).with_metadata(Some(text(note))).with_error_code(error.code())
    };
    let partitions = vec![partition(3, 41, "note", ErrorCode::None), partition(4, -1, "", ErrorCode::UnknownTopicOrPartition)];
    let topic = OffsetFetchResponseTopics::default().with_name(topic_name("events")).with_partitions(partitions);
    let group = OffsetFetchResponseGroup::default().with_group_id(GroupId(text("readers"))).with_topics(vec![topic]);
    check_responses(
        &[b"\0\0\0\x01\0\x06events\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0)\0\x04note\0\0\
            \0\0\0\x04\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x03"],
        ResponseBody::OffsetFetch(OffsetFetchResponse::default().with_throttle_time_ms(5).with_groups(vec![group])),
    );
}

#[test]
fn describe_configs_is_kafka_pythons() {
    let resource = |kind, name, keys: Option<Vec<StrBytes>>| {
        DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name)).with_configuration_keys(keys)
    };
    let resources = vec![resource(2, "events", Some(vec![text("retention.ms")])), resource(4, "1", None)];
    check_requests(
        &[b"\0 \0\0\0\0\0\x07\0\x02me\0\0\0\x02\x02\0\x06events\0\0\0\x01\0\x0cretention.ms\x04\0\x011\xff\xff\xff\xff"],
        |_| Request::DescribeConfigs(DescribeConfigsRequest::default().with_resources(resources.clone())),
    );
    let config = |name, value, read_only, source| {
        let config = DescribeConfigsResourceResult::default().with_name(text(name)).with_value(Some(text(value)));
        config.with_read_only(read_only).with_config_source(source).with_config_type(5).with_documentation(Some(text("what it is")))
    };
    let result = |error: ErrorCode, message: Option<&str>, name| {
        let result = DescribeConfigsResult::default().with_error_code(error.code()).with_error_message(message.map(text));
        result.with_resource_type(2).with_resource_name(text(name))
    };
    let configs = vec![config("retention.ms", "5", false, 1), config("file", "x", true, 5)];
    let results = vec![
        result(ErrorCode::None, None, "events").with_configs(configs),
        result(ErrorCode::UnknownTopicOrPartition, Some("no"), "spread"),
    ];
    check_responses(
        &[b"\0\0\0\x05\0\0\0\x02\0\0\xff\xff\x02\0\x06events\0\0\0\x02\0\x0cretention.ms\0\x015\0\0\0\0\x04file\0\x01x\x01\x01\0\
            \0\x03\0\x02no\x02\0\x06spread\0\0\0\0"],
        ResponseBody::DescribeConfigs(DescribeConfigsResponse::default().with_throttle_time_ms(5).with_results(results)),
    );
}

#[test]
fn a_message_set_is_a_slice_of_its_frame() {
    let frame = Bytes::from_static(b"\0\0\0\x01\0\0\0\x07\xff\xff\0\x01\0\0\x05\xdc\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x03set");
    let Request::Produce(request) = decode_request(&frame).unwrap().request else { panic!("not a Produce request") };
    let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(records.as_ptr(), frame[frame.len() - 3..].as_ptr());
}

#[test]
fn a_message_too_long_for_its_length_is_cut() {
    let topic =
        |message| CreatableTopicResult::default().with_name(topic_name("t")).with_error_message(Some(StrBytes::from_string(message)));
    for message in ["x".repeat(40_000), "é".repeat(20_000)] {
        let body = CreateTopicsResponse::default().with_topics(vec![topic(message.clone())]);
        let mut answer = encoded(1, ResponseBody::CreateTopics(body));
        let read = oracle::CreateTopicsResponse::decode(&mut answer, 1).unwrap();
        let read = read.topics[0].error_message.as_deref().unwrap();
        assert!(32_766 <= read.len() && message.starts_with(read));
    }
}

fn name() -> impl Strategy<Value = TopicName> {
    "[a-zé.]{0,150}".prop_map(|name| TopicName(StrBytes::from_string(name)))
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    // Without the one that these versions do not know.
    proptest::sample::select(ErrorCode::ALL).prop_filter("translated", |error| *error != ErrorCode::KafkaStorageError)
}

prop_compose! {
    fn produced()(
        throttle_time_ms: i32,
        topics in vec((name(), vec((any::<i32>(), error_code(), any::<i64>(), any::<i64>()), 0..4)), 0..4),
    ) -> ProduceResponse {
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, error, offset, time)| {
                PartitionProduceResponse::default()
                    .with_index(index)
                    .with_error_code(error.code())
                    .with_base_offset(offset)
                    .with_log_append_time_ms(time)
                    .with_log_start_offset(17)
            });
            TopicProduceResponse::default().with_name(name).with_partition_responses(partitions.collect())
        });
        ProduceResponse::default().with_throttle_time_ms(throttle_time_ms).with_responses(topics.collect())
    }
}

prop_compose! {
    fn fetched()(
        throttle_time_ms: i32,
        topics in vec((name(), vec((any::<i32>(), error_code(), any::<i64>(), vec(vec(any::<u8>(), 0..200), 0..4)), 0..4)), 0..4),
    ) -> FetchResponse {
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(partition_index, error_code, high_watermark, records)| {
                let records = records.into_iter().map(Bytes::from).collect();
                FetchedPartition { partition_index, error_code, high_watermark, records, log_start_offset: 17, ..FetchedPartition::default() }
            });
            FetchedTopic { name, partitions: partitions.collect(), ..FetchedTopic::default() }
        });
        FetchResponse { throttle_time_ms, topics: topics.collect(), ..FetchResponse::default() }
    }
}

prop_compose! {
    fn listed()(
        topics in vec((name(), vec((any::<i32>(), error_code(), vec(any::<i64>(), 0..4)), 0..4)), 0..4),
    ) -> ListOffsetsResponseV0 {
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter();
            let partitions =
                partitions.map(|(partition_index, error_code, offsets)| ListedPartitionV0 { partition_index, error_code, offsets });
            ListedTopicV0 { name, partitions: partitions.collect() }
        });
        ListOffsetsResponseV0 { topics: topics.collect() }
    }
}

proptest! {
    #[test]
    fn produce_responses_are_read_by_others(response in produced()) {
        for version in 0..=produce::LAST {
            let mut answer = encoded(version, ResponseBody::Produce(response.clone()));
            let read = oracle::ProduceResponse::decode(&mut answer, version).unwrap();
            prop_assert!(answer.is_empty());
            prop_assert_eq!(read.throttle_time_ms, if version == 0 { 0 } else { response.throttle_time_ms });
            prop_assert_eq!(read.responses.len(), response.responses.len());
            for (read, topic) in read.responses.iter().zip(&response.responses) {
                prop_assert_eq!(&**read.name, &**topic.name);
                let ours = |partition: &PartitionProduceResponse| {
                    let time = if version < 2 { -1 } else { partition.log_append_time_ms };
                    (partition.index, partition.error_code, partition.base_offset, time)
                };
                let ours: Vec<_> = topic.partition_responses.iter().map(ours).collect();
                let read = read.partition_responses.iter();
                let read: Vec<_> = read.map(|read| (read.index, read.error_code, read.base_offset, read.log_append_time_ms)).collect();
                prop_assert_eq!(read, ours, "version {}", version);
            }
        }
    }

    #[test]
    fn fetch_responses_are_read_by_others(response in fetched()) {
        for version in 0..=fetch::LAST {
            let mut answer = encoded(version, ResponseBody::Fetch(response.clone()));
            let read = oracle::FetchResponse::decode(&mut answer, version).unwrap();
            prop_assert!(answer.is_empty());
            prop_assert_eq!(read.throttle_time_ms, if version == 0 { 0 } else { response.throttle_time_ms });
            prop_assert_eq!(read.responses.len(), response.topics.len());
            for (read, topic) in read.responses.iter().zip(&response.topics) {
                prop_assert_eq!(&**read.topic, &**topic.name);
                let ours = |partition: &FetchedPartition| {
                    (partition.partition_index, partition.error_code.code(), partition.high_watermark, partition.records.concat())
                };
                let ours: Vec<_> = topic.partitions.iter().map(ours).collect();
                let read = read.partitions.iter().map(|read| {
                    (read.partition_index, read.error_code, read.high_watermark, read.records.clone().unwrap_or_default().to_vec())
                });
                prop_assert_eq!(read.collect::<Vec<_>>(), ours, "version {}", version);
            }
        }
    }

    #[test]
    fn listed_offsets_are_read_by_others(response in listed()) {
        let mut answer = encoded(0, ResponseBody::ListOffsetsV0(response.clone()));
        let read = oracle::ListOffsetsResponse::decode(&mut answer, 0).unwrap();
        prop_assert!(answer.is_empty());
        prop_assert_eq!(read.topics.len(), response.topics.len());
        for (read, topic) in read.topics.iter().zip(&response.topics) {
            prop_assert_eq!(&**read.name, &**topic.name);
            let ours = topic.partitions.iter();
            let ours: Vec<_> = ours.map(|ours| (ours.partition_index, ours.error_code.code(), ours.offsets.clone())).collect();
            let read = read.partitions.iter();
            let read: Vec<_> = read.map(|read| (read.partition_index, read.error_code, read.old_style_offsets.clone())).collect();
            prop_assert_eq!(read, ours);
        }
    }

    #[test]
    fn created_and_deleted_topics_are_read_by_others(
        topics in vec((name(), error_code(), option::of("[a-zé ]{0,150}")), 0..4),
        throttle_time_ms: i32,
    ) {
        let created = topics.iter().map(|(name, error, message)| {
            let result = CreatableTopicResult::default().with_name(name.clone()).with_error_code(error.code());
            result.with_error_message(message.clone().map(StrBytes::from_string)).with_num_partitions(9)
        });
        let created = CreateTopicsResponse::default().with_throttle_time_ms(throttle_time_ms).with_topics(created.collect());
        for version in 0..=create_topics::LAST {
            let mut answer = encoded(version, ResponseBody::CreateTopics(created.clone()));
            let read = oracle::CreateTopicsResponse::decode(&mut answer, version).unwrap();
            prop_assert!(answer.is_empty());
            prop_assert_eq!(read.topics.len(), topics.len());
            for (read, (name, error, message)) in read.topics.iter().zip(&topics) {
                prop_assert_eq!((&**read.name, read.error_code), (&***name, error.code()));
                if version == 1 {
                    prop_assert_eq!(read.error_message.as_deref(), message.as_deref());
                }
            }
        }

        let deleted = topics.iter().map(|(name, error, _)| {
            DeletableTopicResult::default().with_name(Some(name.clone())).with_error_code(error.code())
        });
        let deleted = DeleteTopicsResponse::default().with_throttle_time_ms(throttle_time_ms).with_responses(deleted.collect());
        let mut answer = encoded(0, ResponseBody::DeleteTopics(deleted));
        let read = oracle::DeleteTopicsResponse::decode(&mut answer, 0).unwrap();
        prop_assert!(answer.is_empty());
        let read: Vec<_> = read.responses.iter().map(|read| (read.name.as_ref().unwrap().to_string(), read.error_code)).collect();
        prop_assert_eq!(read, topics.iter().map(|(name, error, _)| (name.to_string(), error.code())).collect::<Vec<_>>());
    }
}
