//! Fields that not every version has, and what those say instead that do not.

use super::*;

#[test]
fn fields_stay_in_the_versions_that_have_them() {
    let metadata = |version| read_back::<MetadataRequest>(version, full_body(ApiKey::Metadata));
    assert_eq!(metadata(7).topics[0].topic_authorized_operations, i32::MIN);
    assert_eq!(metadata(8).topics[0].topic_authorized_operations, 34);
    assert_eq!(metadata(10).cluster_authorized_operations, 12);
    assert_eq!(metadata(11).cluster_authorized_operations, i32::MIN);
    assert_eq!(metadata(11).topics[0].name, Some(TopicName::default()));
    assert_eq!(metadata(12).topics[0].name, None);

    let list_offsets = |version| read_back::<ListOffsetsRequest>(version, full_body(ApiKey::ListOffsets));
    assert_eq!(list_offsets(3).topics[0].partitions[0].leader_epoch, -1);
    assert_eq!(list_offsets(4).topics[0].partitions[0].leader_epoch, 5);

    let describe_cluster = |version| read_back::<DescribeClusterRequest>(version, full_body(ApiKey::DescribeCluster));
    assert_eq!((describe_cluster(0).endpoint_type, describe_cluster(1).endpoint_type), (1, 2));
    assert_eq!((describe_cluster(1).brokers[0].is_fenced, describe_cluster(2).brokers[0].is_fenced), (false, true));
}

#[test]
fn groups_are_told_of_in_the_words_of_each_version() {
    let join = |version| read_back::<JoinGroupRequest>(version, full_body(ApiKey::JoinGroup));
    assert_eq!((join(6).protocol_name, join(7).protocol_name), (Some(StrBytes::default()), None));
    assert_eq!((join(8).skip_assignment, join(9).skip_assignment), (false, true));

    let fetch = |version| read_back::<OffsetFetchRequest>(version, full_body(ApiKey::OffsetFetch));
    assert_eq!((fetch(1).error_code, fetch(1).topics[0].partitions[0].error_code), (0, 14));
    assert_eq!((fetch(2).error_code, fetch(2).topics[0].partitions[0].error_code), (14, 3));
    let partition = &fetch(7).topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.committed_leader_epoch, partition.metadata.as_deref()), (41, 8, Some("note")));
    assert_eq!((fetch(8).groups[0].error_code, fetch(8).groups[0].topics[0].partitions[0].error_code), (14, 3));

    let described = |version| read_back::<DescribeGroupsRequest>(version, full_body(ApiKey::DescribeGroups)).groups.remove(0);
    assert_eq!((described(2).authorized_operations, described(3).authorized_operations), (i32::MIN, 12));
    assert_eq!((described(5).error_message, described(6).error_message), (None, Some(text("none"))));
}

#[test]
fn a_storage_error_is_told_to_clients_that_know_it_and_as_a_moved_leader_to_others() {
    let storage = ErrorCode::KafkaStorageError;
    let moved = ErrorCode::NotLeaderOrFollower.code();
    for version in 3..=12 {
        let partition = PartitionProduceResponse::default().with_error_code(storage.code());
        let topic = TopicProduceResponse::default().with_name(topic_name()).with_partition_responses(vec![partition]);
        let answer = read_back::<ProduceRequest>(version, ResponseBody::Produce(ProduceResponse::default().with_responses(vec![topic])));
        let expected = if version <= 3 { moved } else { storage.code() };
        assert_eq!(answer.responses[0].partition_responses[0].error_code, expected, "Produce {version}");
    }
    for version in 4..=12 {
        let topic = FetchedTopic { partitions: vec![FetchedPartition::failed(0, storage)], ..FetchedTopic::default() };
        let answer =
            read_back::<FetchRequest>(version, ResponseBody::Fetch(FetchResponse { topics: vec![topic], ..FetchResponse::default() }));
        let expected = if version <= 5 { moved } else { storage.code() };
        assert_eq!(answer.responses[0].partitions[0].error_code, expected, "Fetch {version}");
    }
}

#[test]
fn a_coordinator_stands_where_the_version_looks_for_it() {
    for version in 0..=3 {
        let response = read_back::<FindCoordinatorRequest>(version, full_body(ApiKey::FindCoordinator));
        assert_eq!((response.node_id, response.error_code, &*response.host, response.port), (BrokerId(1), 15, "a", 9092));
        assert!(response.coordinators.is_empty());
    }
    for version in 4..=6 {
        let response = read_back::<FindCoordinatorRequest>(version, full_body(ApiKey::FindCoordinator));
        assert_eq!((response.coordinators[0].node_id, response.coordinators[0].error_code), (BrokerId(1), 15));
    }
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0() {
    let frame = unsupported_api_versions(7).concat();
    let response = decode_response::<ApiVersionsRequest>(0, Bytes::from(frame).slice(4..)).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let listed = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.key()).unwrap();
    assert_eq!((listed.min_version, listed.max_version), (0, 4));
}
