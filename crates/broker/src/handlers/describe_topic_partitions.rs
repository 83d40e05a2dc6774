//! DescribeTopicPartitions (KIP-966): topics in the order of their names, as many partitions as fit one page, and where to go on.

use std::collections::BTreeSet;
use std::ops::Bound;

use protocol::messages::describe_topic_partitions_request::Cursor as AskedCursor;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use protocol::{ErrorCode, StrBytes};

use super::create_topics::check_name;
use super::metadata::{Answer, TOPIC_OPERATIONS};
use crate::broker::Broker;
use crate::session::RequestContext;

/// Kafka's `max.request.partition.size.limit`.
const MAX_PARTITIONS: usize = 2000;

pub(crate) fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    let answer = Answer::new(broker, context, &image);
    let (from, first_partition) = match &request.cursor {
        Some(AskedCursor { topic_name, partition_index, .. }) => (&***topic_name, usize::try_from(*partition_index).unwrap_or(0)),
        None => ("", 0),
    };
    let names: Vec<StrBytes> = if request.topics.is_empty() {
        let names = image.names.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        names.map(|(name, _)| StrBytes::from_string(name.clone())).collect()
    } else {
        let asked: BTreeSet<&StrBytes> = request.topics.iter().map(|topic| &topic.name.0).collect();
        asked.into_iter().filter(|name| from <= &***name).cloned().collect()
    };
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, MAX_PARTITIONS);
    let mut topics = Vec::new();
    let mut next = None;
    for name in names {
        if room == 0 {
            next = Some(Cursor::default().with_topic_name(TopicName(name)));
            break;
        }
        let first = if *name == *from { first_partition } else { 0 };
        let Some(topic) = image.topic_named(&name) else {
            topics.push(unknown(broker, context, name));
            // As much as a partition, so that a page ends whatever it is asked for.
            room -= 1;
            continue;
        };
        let page = topic.partitions.iter().zip(0..).skip(first).take(room);
        let partitions: Vec<_> = page.map(|(partition, index)| described(answer.partition(partition, index))).collect();
        room -= partitions.len();
        let end = first + partitions.len();
        topics.push(
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(TopicName(name.clone())))
                .with_topic_id(topic.id.0)
                .with_partitions(partitions)
                .with_topic_authorized_operations(TOPIC_OPERATIONS),
        );
        if end < topic.partitions.len() {
            let index = i32::try_from(end).expect("partitions are counted in 31 bits");
            next = Some(Cursor::default().with_topic_name(TopicName(name)).with_partition_index(index));
            break;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next)
}

fn unknown(broker: &Broker, context: &RequestContext, name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let code = if check_name(&name).is_ok() { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    broker.metrics.requests.error(context.header.api_key, code);
    DescribeTopicPartitionsResponseTopic::default().with_error_code(code.code()).with_name(Some(TopicName(name)))
}

/// Every replica may lead: none holds more than the others.
fn described(partition: protocol::messages::metadata_response::MetadataResponsePartition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(partition.error_code)
        .with_partition_index(partition.partition_index)
        .with_leader_id(partition.leader_id)
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(partition.replica_nodes)
        .with_isr_nodes(partition.isr_nodes)
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(partition.offline_replicas)
}
