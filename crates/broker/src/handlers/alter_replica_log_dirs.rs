//! AlterReplicaLogDirs (KIP-113): there is one log directory, and every replica is where it was asked for, or there is no such directory.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult};
use protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName};
use types::TopicPartition;

use crate::broker::Broker;
use crate::session::RequestContext;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let options = broker.options();
    let here = options.data_dir.display().to_string();
    let mut topics: BTreeMap<&TopicName, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let results = topic.partitions.iter().map(|index| {
                let code = if *dir.path == here { found(broker, &topic.name, *index) } else { ErrorCode::LogDirNotFound };
                if !code.is_none() {
                    broker.metrics.requests.error(context.header.api_key, code);
                }
                AlterReplicaLogDirPartitionResult::default().with_partition_index(*index).with_error_code(code.code())
            });
            topics.entry(&topic.name).or_default().extend(results);
        }
    }
    let results = topics
        .into_iter()
        .map(|(name, partitions)| AlterReplicaLogDirTopicResult::default().with_topic_name(name.clone()).with_partitions(partitions));
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}

/// Whether this broker has a replica of the partition: it leads it.
fn found(broker: &Broker, topic: &TopicName, index: i32) -> ErrorCode {
    let image = broker.image();
    let id = image.topic_named(topic).map(|topic| TopicPartition::new(topic.id, index));
    match id.filter(|id| image.partition(*id).is_some()) {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(id) if broker.partitions.get(id).is_ok() => ErrorCode::None,
        Some(_) => ErrorCode::ReplicaNotAvailable,
    }
}
