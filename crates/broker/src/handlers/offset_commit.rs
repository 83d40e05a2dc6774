//! OffsetCommit: keeps how far a group has read. Partitions that do not exist are refused here, the rest is the group's business.

use group::{CommitPartition, CommitRequest, CommitTopic};
use metadata_api::ClusterImage;
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::group_member::{counted, outcome, owned, partitions, refused, topic_id};
use crate::broker::Broker;
use crate::session::RequestContext;

/// A client knows STALE_MEMBER_EPOCH (KIP-848).
const MEMBER_EPOCHS_SINCE: i16 = 9;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = broker.image();
    let topics: Vec<CommitTopic> = request.topics.iter().map(|topic| existing(&image, topic)).collect();
    let committed = if topics.iter().all(|topic| topic.partitions.is_empty()) {
        Ok(Vec::new())
    } else {
        let commit = CommitRequest {
            group_id: request.group_id.to_string(),
            member_id: request.member_id.to_string(),
            instance_id: owned(request.group_instance_id.as_ref()),
            generation_or_epoch: request.generation_id_or_member_epoch,
            knows_member_epochs: MEMBER_EPOCHS_SINCE <= context.header.version,
            retention_ms: (0 <= request.retention_time_ms).then_some(request.retention_time_ms),
            topics,
        };
        let results = broker.coordinators.ask(&request.group_id, move |coordinator, _, now| coordinator.commit_offsets(commit, now)).await;
        results.map(|results| results.topics)
    };
    let code = committed.as_ref().err().map(|error| refused(broker, context, error));
    let mut committed = committed.unwrap_or_default().into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        // As many topics came back as went, each with the partitions that exist, in their order.
        let mut results = committed.next().map(|topic| topic.partitions).unwrap_or_default().into_iter();
        let existing = partitions(&image, &topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let code = if !existing.contains(&index) {
                counted(broker, context, ErrorCode::UnknownTopicOrPartition)
            } else if let Some(code) = code {
                code
            } else {
                let result = results.next().map_or(Ok(()), |(_, result)| result);
                broker.metrics.groups.commits.inc_by(u64::from(result.is_ok()));
                outcome(broker, context, &result)
            };
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// What of a topic is to be committed.
fn existing(image: &ClusterImage, topic: &OffsetCommitRequestTopic) -> CommitTopic {
    let existing = partitions(image, &topic.name);
    let named = topic.partitions.iter().filter(|partition| existing.contains(&partition.partition_index));
    let partitions = named.map(|partition| CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: owned(partition.committed_metadata.as_ref()),
    });
    CommitTopic { name: topic.name.to_string(), id: topic_id(image, &topic.name), partitions: partitions.collect() }
}
