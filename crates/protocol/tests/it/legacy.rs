//! Requests of the versions that kafka-protocol no longer has, framed by the last release that had them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol_3_9::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafka_protocol_3_9::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol_3_9::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol_3_9::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol_3_9::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol_3_9::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol_3_9::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol_3_9::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FetchRequest, GroupId, ListOffsetsRequest,
    OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, RequestHeader, TopicName,
};
use kafka_protocol_3_9::protocol::{Encodable, Request as OldRequest, StrBytes};
use protocol::Request;

/// The frame of `request` without its length, if `version` is one of those.
pub(crate) fn frame(request: &Request, version: i16, correlation_id: i32, client_id: Option<&str>) -> Option<Bytes> {
    let framed = match request {
        Request::Produce(ours) if version < 3 => framed(&produce(ours), version, correlation_id, client_id),
        Request::Fetch(ours) if version < 4 => framed(&fetch(ours, version), version, correlation_id, client_id),
        Request::ListOffsetsV0(ours) => framed(&list_offsets(ours), version, correlation_id, client_id),
        Request::CreateTopics(ours) if version < 2 => framed(&create_topics(ours), version, correlation_id, client_id),
        Request::DeleteTopics(ours) if version < 1 => framed(&delete_topics(ours), version, correlation_id, client_id),
        Request::OffsetCommit(ours) if version < 2 => framed(&offset_commit(ours, version), version, correlation_id, client_id),
        Request::OffsetFetch(ours) if version < 1 => framed(&offset_fetch(ours), version, correlation_id, client_id),
        Request::DescribeConfigs(ours) if version < 1 => framed(&describe_configs(ours), version, correlation_id, client_id),
        _ => return None,
    };
    Some(framed)
}

fn framed<R: OldRequest>(request: &R, version: i16, correlation_id: i32, client_id: Option<&str>) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.map(text));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).unwrap();
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    frame.put(body);
    frame.freeze()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn produce(ours: &protocol::messages::ProduceRequest) -> ProduceRequest {
    let topics = ours.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter();
        let partitions = partitions.map(|ours| PartitionProduceData::default().with_index(ours.index).with_records(ours.records.clone()));
        TopicProduceData::default().with_name(topic_name(&topic.name)).with_partition_data(partitions.collect())
    });
    ProduceRequest::default().with_acks(ours.acks).with_timeout_ms(ours.timeout_ms).with_topic_data(topics.collect())
}

fn fetch(ours: &protocol::messages::FetchRequest, version: i16) -> FetchRequest {
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|ours| {
            FetchPartition::default()
                .with_partition(ours.partition)
                .with_fetch_offset(ours.fetch_offset)
                .with_partition_max_bytes(ours.partition_max_bytes)
        });
        FetchTopic::default().with_topic(topic_name(&topic.topic)).with_partitions(partitions.collect())
    });
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(ours.replica_id.0))
        .with_max_wait_ms(ours.max_wait_ms)
        .with_min_bytes(ours.min_bytes)
        .with_topics(topics.collect());
    if version < 3 { request } else { request.with_max_bytes(ours.max_bytes) }
}

fn list_offsets(ours: &protocol::ListOffsetsRequestV0) -> ListOffsetsRequest {
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|ours| {
            ListOffsetsPartition::default()
                .with_partition_index(ours.partition_index)
                .with_timestamp(ours.timestamp)
                .with_max_num_offsets(ours.max_num_offsets)
        });
        ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions.collect())
    });
    ListOffsetsRequest::default().with_replica_id(BrokerId(ours.replica_id)).with_topics(topics.collect())
}

fn create_topics(ours: &protocol::messages::CreateTopicsRequest) -> CreateTopicsRequest {
    let topics = ours.topics.iter().map(|topic| {
        let assignments = topic.assignments.iter().map(|ours| {
            let brokers = ours.broker_ids.iter().map(|id| BrokerId(id.0));
            CreatableReplicaAssignment::default().with_partition_index(ours.partition_index).with_broker_ids(brokers.collect())
        });
        let configs = topic.configs.iter();
        let configs =
            configs.map(|ours| CreatableTopicConfig::default().with_name(text(&ours.name)).with_value(ours.value.as_deref().map(text)));
        CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.num_partitions)
            .with_replication_factor(topic.replication_factor)
            .with_assignments(assignments.collect())
            .with_configs(configs.collect())
    });
    CreateTopicsRequest::default().with_topics(topics.collect()).with_timeout_ms(ours.timeout_ms).with_validate_only(ours.validate_only)
}

fn delete_topics(ours: &protocol::messages::DeleteTopicsRequest) -> DeleteTopicsRequest {
    let names = ours.topic_names.iter().map(|name| topic_name(name));
    DeleteTopicsRequest::default().with_topic_names(names.collect()).with_timeout_ms(ours.timeout_ms)
}

fn offset_commit(ours: &protocol::messages::OffsetCommitRequest, version: i16) -> OffsetCommitRequest {
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|ours| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(ours.partition_index)
                .with_committed_offset(ours.committed_offset)
                .with_committed_metadata(ours.committed_metadata.as_deref().map(text));
            if version < 1 { partition } else { partition.with_commit_timestamp(77) }
        });
        OffsetCommitRequestTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions.collect())
    });
    let request = OffsetCommitRequest::default().with_group_id(GroupId(text(&ours.group_id))).with_topics(topics.collect());
    if version < 1 {
        return request;
    }
    request.with_generation_id_or_member_epoch(ours.generation_id_or_member_epoch).with_member_id(text(&ours.member_id))
}

fn offset_fetch(ours: &protocol::messages::OffsetFetchRequest) -> OffsetFetchRequest {
    let topics = ours.topics.iter().flatten().map(|topic| {
        OffsetFetchRequestTopic::default().with_name(topic_name(&topic.name)).with_partition_indexes(topic.partition_indexes.clone())
    });
    OffsetFetchRequest::default().with_group_id(GroupId(text(&ours.group_id))).with_topics(Some(topics.collect()))
}

fn describe_configs(ours: &protocol::messages::DescribeConfigsRequest) -> DescribeConfigsRequest {
    let resources = ours.resources.iter().map(|ours| {
        let keys = ours.configuration_keys.as_ref().map(|keys| keys.iter().map(|key| text(key)).collect());
        DescribeConfigsResource::default()
            .with_resource_type(ours.resource_type)
            .with_resource_name(text(&ours.resource_name))
            .with_configuration_keys(keys)
    });
    DescribeConfigsRequest::default().with_resources(resources.collect())
}
