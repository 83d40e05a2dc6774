//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455), as brokers answer them that have no replicas to move: the store
//! replicates. What is in place already is accepted, anything else refused, and nothing is ever under way.

use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use protocol::messages::alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsResponse, TopicName,
};
use types::TopicPartition;

use super::create_topics::check_replicas;
use super::refusal::{Refusal, outcome};
use crate::broker::Broker;
use crate::config_change::named_twice;
use crate::session::RequestContext;

pub(crate) fn alter(
    broker: &Broker,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let named = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|wanted| (topic.name.clone(), wanted.partition_index)));
    let twice = named_twice(named);
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let done = if twice.contains(&(topic.name.clone(), wanted.partition_index)) {
                Err(Refusal::new(ErrorCode::InvalidRequest, "The partition is named more than once."))
            } else {
                reassign(broker, &topic.name, wanted)
            };
            let (code, message) = outcome(broker, context, done);
            ReassignablePartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code)
                .with_error_message(message)
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_error_message(None)
        .with_responses(responses.collect())
}

/// Nothing is ever under way.
pub(crate) fn list() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

fn reassign(broker: &Broker, name: &TopicName, wanted: &ReassignablePartition) -> Result<(), Refusal> {
    let image = broker.image();
    let unknown = |what: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
    let topic = image.topic_named(name).ok_or_else(|| unknown(format!("Unable to find a topic named {}.", &**name)))?;
    let index = wanted.partition_index;
    let id = TopicPartition::new(topic.id, index);
    let partition = image.partition(id).ok_or_else(|| unknown(format!("Unable to find partition {}:{index}.", &**name)))?;
    let Some(replicas) = &wanted.replicas else {
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress."));
    };
    check_replicas(broker, replicas, None)?;
    let mut asked: Vec<i32> = replicas.iter().map(|id| id.0).collect();
    let mut here: Vec<i32> = partition.replicas.iter().map(|id| id.0).collect();
    asked.sort_unstable();
    here.sort_unstable();
    if asked == here {
        return Ok(());
    }
    let message = "There are no replicas to move: the store replicates, and leaders follow the brokers that live.";
    Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
}
