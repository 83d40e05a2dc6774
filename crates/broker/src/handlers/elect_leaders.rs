//! ElectLeaders (KIP-183, KIP-460). A partition's leader is the broker whose write-ahead log holds what it has not published, so there is
//! nothing to prefer while that broker lives; an unclean election gives up what only a lost log holds.

use std::collections::HashSet;

use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use types::{Revision, TopicPartition};

use super::refusal::{Refusal, outcome};
use crate::broker::Broker;
use crate::session::RequestContext;

/// Kafka's codes (`ElectionType`).
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let version = context.header.version;
    let election = if version < 1 { PREFERRED } else { request.election_type };
    if ![PREFERRED, UNCLEAN].contains(&election) {
        broker.metrics.requests.error(context.header.api_key, ErrorCode::InvalidRequest);
        return ElectLeadersResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let image = broker.image();
    let all = request.topic_partitions.is_none();
    let named: Vec<(TopicName, Vec<i32>)> = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect(),
        None => {
            let topics = image.names.iter().filter_map(|(name, id)| Some((name, image.topics.get(id)?)));
            let indexes = |count: usize| (0..i32::try_from(count).unwrap_or(i32::MAX)).collect();
            topics.map(|(name, topic)| (TopicName(StrBytes::from_string(name.clone())), indexes(topic.partitions.len()))).collect()
        }
    };
    let mut newest = Revision::default();
    let mut seen = HashSet::new();
    let mut results = Vec::new();
    for (name, indexes) in named {
        let mut partitions = Vec::new();
        for index in indexes {
            if !seen.insert((name.clone(), index)) {
                continue;
            }
            let elected = elect(broker, &name.0, index, election).await;
            // Of all partitions only those are told that an election was tried for.
            if all && elected.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::ElectionNotNeeded) {
                continue;
            }
            let done = elected.map(|revision| newest = newest.max(revision));
            let (code, message) = outcome(broker, context, done);
            partitions.push(PartitionResult::default().with_partition_id(index).with_error_code(code).with_error_message(message));
        }
        // When all are asked for every topic is named, also one without a result.
        if all || !partitions.is_empty() {
            results.push(ReplicaElectionResult::default().with_topic(name).with_partition_result(partitions));
        }
    }
    broker.has_applied(newest, request.timeout_ms).await;
    ElectLeadersResponse::default().with_replica_election_results(results)
}

async fn elect(broker: &Broker, name: &StrBytes, index: i32, election: i8) -> Result<Revision, Refusal> {
    let image = broker.image();
    let unknown = |what: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
    let topic = image.topic_named(name).ok_or_else(|| unknown(format!("No such topic as {}", &**name)))?;
    let id = TopicPartition::new(topic.id, index);
    let partition = image.partition(id).ok_or_else(|| unknown(format!("No such partition as {}-{index}", &**name)))?;
    if partition.leader.is_some() {
        return Err(Refusal::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition."));
    }
    if election == PREFERRED {
        let message = "The preferred leader was not available: its write-ahead log holds records that no other broker has.";
        return Err(Refusal::new(ErrorCode::PreferredLeaderNotAvailable, message));
    }
    Ok(broker.metadata.elect_unclean(vec![id]).await?)
}
