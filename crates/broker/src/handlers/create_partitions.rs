//! CreatePartitions (KIP-195): topics grow; a topic is answered when its new partitions are served here.

use std::collections::HashMap;

use metadata_api::{CreatePartitions, TopicImage};
use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use protocol::{ErrorCode, StrBytes};
use types::Revision;

use super::create_topics::MAX_PARTITIONS;
use super::refusal::Refusal;
use crate::broker::Broker;
use crate::quota::Mutations;
use crate::session::RequestContext;

/// The first version that may be told of an exceeded quota.
const FIRST_THROTTLED: i16 = 3;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut times_named: HashMap<StrBytes, usize> = HashMap::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.0.clone()).or_default() += 1;
    }
    let image = broker.image();
    let added: usize = request.topics.iter().map(|topic| added(topic, image.topic_named(&topic.name).map(|topic| &**topic))).sum();
    let mutations = Mutations::of(broker, context, FIRST_THROTTLED);
    let mut newest = Revision::default();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let grown = if MAX_PARTITIONS < added {
            Err(Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."))
        } else if 1 < times_named[&topic.name.0] {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            grow(broker, &topic, request.validate_only, &mutations).await
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match grown {
            Ok(revision) => {
                newest = newest.max(revision);
                result.with_error_message(None)
            }
            Err(refusal) => {
                let (code, message) = refusal.answered(broker, context);
                result.with_error_code(code).with_error_message(message)
            }
        });
    }
    // What is only validated changes nothing that could be waited for.
    if !request.validate_only && !broker.has_applied(newest, request.timeout_ms).await {
        for result in results.iter_mut().filter(|result| result.error_code == 0) {
            result.error_code = ErrorCode::RequestTimedOut.code();
            result.error_message = Some(StrBytes::from_static_str("the partitions are created, and not served yet"));
        }
    }
    CreatePartitionsResponse::default().with_throttle_time_ms(mutations.throttle_time_ms()).with_results(results)
}

/// How many partitions one topic of the request asks for beyond those it has.
fn added(topic: &CreatePartitionsTopic, image: Option<&TopicImage>) -> usize {
    usize::try_from(topic.count).unwrap_or(0).saturating_sub(image.map_or(0, |image| image.partitions.len()))
}

async fn grow(broker: &Broker, topic: &CreatePartitionsTopic, validate_only: bool, mutations: &Mutations<'_>) -> Result<Revision, Refusal> {
    let image = broker.image();
    let found = image.topic_named(&topic.name).ok_or_else(Refusal::unknown_topic)?;
    if let Some(assignments) = &topic.assignments {
        check_assignments(broker, assignments, added(topic, Some(found)), usize::try_from(found.replication_factor).unwrap_or(1))?;
    }
    let durability = broker.options().topic(&found.configs).durability();
    let request = CreatePartitions { topic: found.id, total: topic.count, durability, validate_only };
    mutations.check()?;
    let revision = broker.metadata.create_partitions(request).await?;
    if !validate_only {
        mutations.count(added(topic, Some(found)));
    }
    Ok(revision)
}

/// An assignment must be one that could be kept; which broker leads what is for the metadata service to decide all the same.
fn check_assignments(broker: &Broker, assignments: &[CreatePartitionsAssignment], added: usize, factor: usize) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if assignments.len() != added && 0 < added {
        let given = assignments.len();
        return invalid(format!("Attempted to add {added} additional partition(s), but only {given} assignment(s) were specified."));
    }
    for assignment in assignments {
        super::create_topics::check_replicas(broker, &assignment.broker_ids, Some(factor))?;
    }
    Ok(())
}
