//! Golden bytes are those of the Java client of Kafka 4.3.1.

use bytes::Bytes;
use kafka_protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{BrokerId, DescribeLogDirsRequest, ListOffsetsRequest, ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::{Request, ResponseBody, decode_request, encode_response};

fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str("events"))
}

fn decoded(api: ApiKey, version: i16, body: &[u8]) -> Request {
    let header = [&api.key().to_be_bytes()[..], &version.to_be_bytes(), b"\0\0\0\x07\xff\xff\0"].concat(); // no client id
    decode_request(&Bytes::from([&header, body].concat())).unwrap().request
}

/// The body of `response`; before it stand a length and a header of the correlation id and no tagged fields.
fn encoded(version: i16, response: ResponseBody) -> Vec<u8> {
    encode_response(7, version, response).unwrap().concat().split_off(9)
}

#[test]
fn list_offsets_11_has_the_fields_of_version_10() {
    let partition = ListOffsetsPartition::default().with_partition_index(1).with_current_leader_epoch(2).with_timestamp(-6);
    let topic = ListOffsetsTopic::default().with_name(topic_name()).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_isolation_level(1).with_topics(vec![topic]);
    assert_eq!(
        decoded(
            ApiKey::ListOffsets,
            11,
            b"\xff\xff\xff\xff\x01\x02\x07events\x02\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xfa\0\0\0\0\0\x07\0"
        ),
        Request::ListOffsets(request.with_timeout_ms(7))
    );

    let partition = ListOffsetsPartitionResponse::default().with_partition_index(1).with_timestamp(3).with_offset(4).with_leader_epoch(5);
    let topic = ListOffsetsTopicResponse::default().with_name(topic_name()).with_partitions(vec![partition]);
    let answer = ListOffsetsResponse::default().with_throttle_time_ms(9).with_topics(vec![topic]);
    assert_eq!(
        encoded(11, ResponseBody::ListOffsets(answer)),
        b"\0\0\0\x09\x02\x07events\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0"
    );
}

#[test]
fn describe_log_dirs_5_says_that_no_directory_is_cordoned() {
    assert_eq!(decoded(ApiKey::DescribeLogDirs, 5, b"\0\0"), Request::DescribeLogDirs(DescribeLogDirsRequest::default().with_topics(None)));

    let partition =
        DescribeLogDirsPartition::default().with_partition_index(1).with_partition_size(2).with_offset_lag(3).with_is_future_key(true);
    let topic = DescribeLogDirsTopic::default().with_name(topic_name()).with_partitions(vec![partition]);
    let directory = |name| DescribeLogDirsResult::default().with_log_dir(StrBytes::from_static_str(name));
    let first = directory("/d").with_error_code(56).with_topics(vec![topic]).with_total_bytes(10).with_usable_bytes(9);
    let answer = DescribeLogDirsResponse::default().with_throttle_time_ms(5).with_error_code(31).with_results(vec![first, directory("/e")]);
    let expected = b"\0\0\0\x05\0\x1f\x03\08\x03/d\x02\x07events\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\x01\0\0\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x09\0\0\0\0\x03/e\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0";
    assert_eq!(encoded(5, ResponseBody::DescribeLogDirs(answer)), expected);
}
