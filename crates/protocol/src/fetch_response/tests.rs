use kafka_protocol::messages::fetch_response as theirs;
use kafka_protocol::messages::{BrokerId, FetchResponse as TheirFetchResponse, ProducerId};
use kafka_protocol::protocol::Encodable;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use types::TopicId;

use super::*;
use crate::{ApiKey, ResponseBody, encode_response};

/// `legacy`'s tests compare those before.
const FIRST_OF_THEIRS: i16 = 4;

fn text() -> impl Strategy<Value = StrBytes> {
    "[a-z.]{0,150}".prop_map(StrBytes::from_string)
}

prop_compose! {
    fn partition()(
        partition_index in 0..9i32,
        error in 0..100i16,
        offsets: [i64; 3],
        preferred_read_replica in -1..5i32,
        diverging in option::of((0..9i32, 0..99i64)),
        leader in option::of((0..9i32, 0..9i32)),
        aborted in option::of(vec((any::<i64>(), any::<i64>()), 0..3)),
        records in vec(vec(any::<u8>(), 0..200), 0..4),
    ) -> FetchedPartition {
        FetchedPartition {
            partition_index,
            error_code: ErrorCode::from_code(error).unwrap(),
            high_watermark: offsets[0],
            last_stable_offset: offsets[1],
            log_start_offset: offsets[2],
            diverging_epoch: diverging.map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
            current_leader: leader.map(|(leader_id, leader_epoch)| LeaderIdAndEpoch { leader_id, leader_epoch }),
            aborted_transactions: aborted.map(|list| {
                list.into_iter().map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset }).collect()
            }),
            preferred_read_replica,
            records: records.into_iter().map(Bytes::from).collect(),
        }
    }
}

prop_compose! {
    fn topic()(name in text(), id: [u8; 16], partitions in vec(partition(), 0..4)) -> FetchedTopic {
        FetchedTopic { name: TopicName(name), id: TopicId::from_bytes(id), partitions }
    }
}

prop_compose! {
    fn endpoint()(node_id in 0..9i32, host in text(), port in 1..65536i32, rack in option::of(text())) -> NodeEndpoint {
        NodeEndpoint { node_id, host, port, rack }
    }
}

prop_compose! {
    fn response()(
        throttle_time_ms: i32,
        error in 0..100i16,
        session_id: i32,
        topics in vec(topic(), 0..4),
        node_endpoints in vec(endpoint(), 0..3),
    ) -> FetchResponse {
        FetchResponse { throttle_time_ms, error_code: ErrorCode::from_code(error).unwrap(), session_id, topics, node_endpoints }
    }
}

/// The same response in kafka-protocol's types, as far as `version` can say it.
fn in_their_types(ours: &FetchResponse, version: i16) -> TheirFetchResponse {
    let endpoint = |ours: &NodeEndpoint| {
        theirs::NodeEndpoint::default()
            .with_node_id(BrokerId(ours.node_id))
            .with_host(ours.host.clone())
            .with_port(ours.port)
            .with_rack(ours.rack.clone())
    };
    let topic = |ours: &FetchedTopic| {
        theirs::FetchableTopicResponse::default()
            .with_topic(ours.name.clone())
            .with_topic_id(ours.id.0)
            .with_partitions(ours.partitions.iter().map(|partition| partition_in_their_types(partition, version)).collect())
    };
    TheirFetchResponse::default()
        .with_throttle_time_ms(ours.throttle_time_ms)
        .with_error_code(ours.error_code.code())
        .with_session_id(if version < 7 { 0 } else { ours.session_id })
        .with_responses(ours.topics.iter().map(topic).collect())
        .with_node_endpoints(ours.node_endpoints.iter().map(endpoint).collect())
}

/// What clients that do not know KAFKA_STORAGE_ERROR are told (KIP-112).
fn partition_error(error: ErrorCode, version: i16) -> ErrorCode {
    if version <= 5 && error == ErrorCode::KafkaStorageError { ErrorCode::NotLeaderOrFollower } else { error }
}

fn partition_in_their_types(ours: &FetchedPartition, version: i16) -> theirs::PartitionData {
    let aborted = |ours: &AbortedTransaction| {
        theirs::AbortedTransaction::default().with_producer_id(ProducerId(ours.producer_id)).with_first_offset(ours.first_offset)
    };
    let mut partition = theirs::PartitionData::default()
        .with_partition_index(ours.partition_index)
        .with_error_code(partition_error(ours.error_code, version).code())
        .with_high_watermark(ours.high_watermark)
        .with_last_stable_offset(ours.last_stable_offset)
        .with_log_start_offset(ours.log_start_offset)
        .with_aborted_transactions(ours.aborted_transactions.as_ref().map(|list| list.iter().map(aborted).collect()))
        .with_records(Some(ours.records.concat().into()));
    if 11 <= version {
        partition.preferred_read_replica = BrokerId(ours.preferred_read_replica);
    }
    if let Some(diverging) = ours.diverging_epoch.filter(|_| FLEXIBLE <= version) {
        partition.diverging_epoch = theirs::EpochEndOffset::default().with_epoch(diverging.epoch).with_end_offset(diverging.end_offset);
    }
    if let Some(leader) = ours.current_leader.filter(|_| FLEXIBLE <= version) {
        partition.current_leader =
            theirs::LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.leader_id)).with_leader_epoch(leader.leader_epoch);
    }
    partition
}

proptest! {
    #[test]
    fn every_version_is_byte_for_byte_kafka_protocols(ours in response()) {
        let versions = ApiKey::Fetch.versions();
        for version in FIRST_OF_THEIRS..=versions.max {
            let mut expected = BytesMut::new();
            expected.put_i32(7);
            if FLEXIBLE <= version {
                put_no_tags(&mut expected);
            }
            in_their_types(&ours, version).encode(&mut expected, version).unwrap();

            let frame = encode_response(7, version, ResponseBody::Fetch(ours.clone())).unwrap().concat();
            prop_assert_eq!(&frame[..4], (expected.len() as i32).to_be_bytes(), "version {}", version);
            prop_assert_eq!(&frame[4..], &expected[..], "version {}", version);
        }
    }
}

#[test]
fn records_are_the_slices_that_were_given() {
    let records = [Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 5000])];
    let partition = FetchedPartition { records: records.to_vec(), ..FetchedPartition::default() };
    let response = FetchResponse {
        topics: vec![FetchedTopic { partitions: vec![partition.clone(), partition], ..FetchedTopic::default() }],
        ..FetchResponse::default()
    };
    let frame = encode_response(1, 16, ResponseBody::Fetch(response)).unwrap();
    let places: Vec<_> = frame.iter().filter(|slice| 1000 <= slice.len()).map(|slice| slice.as_ptr()).collect();
    let given: Vec<_> = records.iter().chain(&records).map(|slice| slice.as_ptr()).collect();
    assert_eq!(places, given);
    assert_eq!(frame.len(), 4 + 3, "two runs of records, and what stands before, between and behind them");
}

#[test]
fn an_answer_too_large_for_a_frame_is_refused() {
    let slice = Bytes::from(vec![0; 1 << 20]);
    let partition = || FetchedPartition { records: vec![slice.clone(); 1024], ..FetchedPartition::default() };
    let response = FetchResponse {
        topics: vec![FetchedTopic { partitions: vec![partition(), partition()], ..FetchedTopic::default() }],
        ..FetchResponse::default()
    };
    let error = encode_response(1, 16, ResponseBody::Fetch(response)).unwrap_err();
    assert!(matches!(error, crate::EncodeError::TooLarge { api_key: ApiKey::Fetch, bytes } if 1 << 31 <= bytes), "{error}");
}
