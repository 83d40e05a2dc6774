//! DescribeQuorum (KIP-595, KIP-836, KIP-853): the metadata service as a quorum of one voter. Its log is the journal, an offset a revision.

use metadata_api::{BrokerImage, ClusterImage};
use protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use protocol::{ErrorCode, StrBytes};

use super::metadata::controller;
use crate::broker::Broker;
use crate::session::RequestContext;

/// The only partition that a quorum keeps.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    if !asks_for_metadata(&request.topics) {
        broker.metrics.requests.error(context.header.api_key, ErrorCode::UnknownTopicOrPartition);
        return DescribeQuorumResponse::default().with_topics(request.topics.iter().map(unknown).collect());
    }
    let image = broker.image();
    let leader = controller(broker, &image);
    let partition = describe(&image, leader, broker.clock.wall_ms());
    let topic = TopicData::default().with_topic_name(request.topics[0].topic_name.clone()).with_partitions(vec![partition]);
    let node = image.brokers.get(&types::BrokerId(leader.0)).map(|member| node(member));
    DescribeQuorumResponse::default().with_topics(vec![topic]).with_nodes(node.into_iter().collect())
}

fn asks_for_metadata(topics: &[AskedTopic]) -> bool {
    match topics {
        [topic] if *topic.topic_name.0 == *METADATA_TOPIC => {
            matches!(&topic.partitions[..], [partition] if partition.partition_index == 0)
        }
        _ => false,
    }
}

fn unknown(topic: &AskedTopic) -> TopicData {
    let partitions = topic.partitions.iter().map(|partition| {
        PartitionData::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
            .with_error_message(Some(StrBytes::from_static_str("This server does not host this topic-partition.")))
    });
    TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
}

fn describe(image: &ClusterImage, leader: BrokerId, now: i64) -> PartitionData {
    let end = i64::try_from(image.revision.0).unwrap_or(i64::MAX).saturating_add(1);
    let replica = |id: BrokerId| ReplicaState::default().with_replica_id(id);
    let others = image.brokers.values().filter(|member| member.alive && member.id.0 != leader.0);
    // How far the others have come is known to them alone.
    let observers = others.map(|member| {
        replica(BrokerId(member.id.0)).with_log_end_offset(-1).with_last_fetch_timestamp(-1).with_last_caught_up_timestamp(-1)
    });
    let epoch = image.brokers.get(&types::BrokerId(leader.0)).map_or(0, |member| member.epoch.0);
    PartitionData::default()
        .with_error_message(Some(StrBytes::default()))
        .with_leader_id(leader)
        // The service lives in a broker's process, and its term begins with that broker's registration.
        .with_leader_epoch(i32::try_from(epoch).unwrap_or(i32::MAX))
        .with_high_watermark(end)
        .with_current_voters(vec![
            replica(leader).with_log_end_offset(end).with_last_fetch_timestamp(now).with_last_caught_up_timestamp(now),
        ])
        .with_observers(observers.collect())
}

fn node(member: &BrokerImage) -> Node {
    let listeners = member.endpoints.iter().map(|endpoint| {
        Listener::default()
            .with_name(StrBytes::from_string(endpoint.listener.clone()))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    Node::default().with_node_id(BrokerId(member.id.0)).with_listeners(listeners.collect())
}
