//! CreateTopics: counts, names, assignments and configs checked one topic at a time; a topic is answered when it is served here.

use std::collections::{BTreeMap, HashMap, HashSet};

use metadata_api::{CreateTopic, MetadataError, TopicCreated};
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse};
use protocol::{ErrorCode, StrBytes};
use types::Revision;

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::quota::Mutations;
use crate::session::RequestContext;
use crate::topic_config;
use crate::topics::LONGEST_TOPIC_NAME;

/// Partitions that one request may create, as in Kafka (KRaft's limit per request).
pub(crate) const MAX_PARTITIONS: usize = 10_000;
/// The store replicates, so any number of brokers will do; more than this is a mistake.
const MAX_REPLICATION_FACTOR: i16 = 16;
/// The first version that may be told of an exceeded quota.
const FIRST_THROTTLED: i16 = 6;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut times_named: HashMap<StrBytes, usize> = HashMap::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.0.clone()).or_default() += 1;
    }
    let partitions: usize = request.topics.iter().map(partitions_asked_for).sum();
    let mutations = Mutations::of(broker, context, FIRST_THROTTLED);
    let mut newest = Revision::default();
    let mut results = Vec::new();
    for topic in &request.topics {
        let name = &topic.name.0;
        let created = if MAX_PARTITIONS < partitions {
            Err(Refusal::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."))
        } else if 1 < times_named[name] {
            Err(Refusal::new(ErrorCode::InvalidRequest, format!("Duplicate topic name: {}", &**name)))
        } else {
            create(broker, topic, request.validate_only, &mutations).await
        };
        let result = match created {
            Ok((creation, created)) => {
                newest = newest.max(created.revision);
                success(broker, context, &creation, &created)
            }
            Err(refusal) => {
                let (code, message) = refusal.answered(broker, context);
                CreatableTopicResult::default().with_error_code(code).with_error_message(message)
            }
        };
        results.push(result.with_name(topic.name.clone()));
    }

    // What is only validated changes nothing that could be waited for.
    if !request.validate_only && !broker.has_applied(newest, request.timeout_ms).await {
        for result in results.iter_mut().filter(|result| result.error_code == 0) {
            result.error_code = ErrorCode::RequestTimedOut.code();
            result.error_message = Some(StrBytes::from_static_str("the topic is created, and not served yet"));
        }
    }
    CreateTopicsResponse::default().with_throttle_time_ms(mutations.throttle_time_ms()).with_topics(results)
}

/// Creates a topic that a client asked Metadata for.
pub(crate) async fn create_with_defaults(broker: &Broker, name: &str) -> Result<TopicCreated, MetadataError> {
    check_name(name).map_err(|detail| MetadataError::InvalidTopicName { detail })?;
    let creation = CreateTopic {
        name: name.to_owned(),
        partitions: broker.options().num_partitions,
        replication_factor: broker.options().default_replication_factor,
        configs: BTreeMap::new(),
        durability: broker.options().topic_defaults.durability,
        validate_only: false,
    };
    broker.metadata.create_topic(creation).await
}

/// Kafka's rules for names (`Topic.validate`); collisions of `.` with `_` are for the metadata service to see.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("Topic name is invalid: the empty string is not allowed".to_owned()),
        "." | ".." => Err(format!("Topic name is invalid: '{name}' is not allowed")),
        _ if LONGEST_TOPIC_NAME < name.len() => {
            Err(format!("Topic name is invalid: the length of '{name}' is longer than the max allowed length {LONGEST_TOPIC_NAME}"))
        }
        _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) => Ok(()),
        _ => {
            Err(format!("Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"))
        }
    }
}

fn partitions_asked_for(topic: &CreatableTopic) -> usize {
    usize::try_from(topic.num_partitions).unwrap_or(0).max(topic.assignments.len())
}

async fn create(
    broker: &Broker,
    topic: &CreatableTopic,
    validate_only: bool,
    mutations: &Mutations<'_>,
) -> Result<(CreateTopic, TopicCreated), Refusal> {
    check_name(&topic.name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
    let (partitions, replication_factor) =
        if topic.assignments.is_empty() { counts(broker, topic)? } else { assigned_counts(broker, topic)? };
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        topic_config::check(&config.name, config.value.as_deref())?;
        if configs.insert(config.name.to_string(), config.value.as_deref().unwrap_or_default().trim().to_owned()).is_some() {
            return Err(Refusal::new(ErrorCode::InvalidConfig, format!("config {} is given twice", &*config.name)));
        }
    }
    topic_config::check_together(&configs)?;
    let durability = broker.options().topic(&configs).durability();
    let creation = CreateTopic { name: topic.name.to_string(), partitions, replication_factor, configs, durability, validate_only };
    mutations.check()?;
    let created = broker.metadata.create_topic(creation.clone()).await?;
    if !validate_only {
        mutations.count(usize::try_from(partitions).unwrap_or(0));
    }
    Ok((creation, created))
}

fn counts(broker: &Broker, topic: &CreatableTopic) -> Result<(i32, i16), Refusal> {
    let partitions = match topic.num_partitions {
        -1 => broker.options().num_partitions,
        count if 1 <= count => count,
        _ => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
    };
    let replication_factor = match topic.replication_factor {
        -1 => broker.options().default_replication_factor,
        factor if (1..=MAX_REPLICATION_FACTOR).contains(&factor) => factor,
        factor => {
            let message =
                format!("Replication factor must be 1 to {MAX_REPLICATION_FACTOR}, or -1 for the broker's default; got {factor}.");
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        }
    };
    Ok((partitions, replication_factor))
}

/// A manual assignment must be one that could be kept; which broker leads what is for the metadata service to decide all the same.
fn assigned_counts(broker: &Broker, topic: &CreatableTopic) -> Result<(i32, i16), Refusal> {
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    let mut by_index: Vec<&CreatableReplicaAssignment> = topic.assignments.iter().collect();
    by_index.sort_by_key(|assignment| assignment.partition_index);
    if !by_index.iter().zip(0..).all(|(assignment, index)| assignment.partition_index == index) {
        return invalid("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    let mut factor = None;
    for assignment in by_index {
        factor = Some(check_replicas(broker, &assignment.broker_ids, factor)?);
    }
    let partitions = i32::try_from(topic.assignments.len()).expect("bounded by the partitions of a request");
    match factor.map(i16::try_from) {
        Some(Ok(factor)) if factor <= MAX_REPLICATION_FACTOR => Ok((partitions, factor)),
        _ => invalid(format!("at most {MAX_REPLICATION_FACTOR} brokers per partition")),
    }
}

/// Kafka's rules for the brokers of one partition, `factor` of them where others said how many. Answers how many there are.
pub(crate) fn check_replicas(broker: &Broker, replicas: &[BrokerId], factor: Option<usize>) -> Result<usize, Refusal> {
    let image = broker.image();
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut seen = HashSet::new();
    for id in replicas {
        if !image.brokers.contains_key(&types::BrokerId(id.0)) {
            return invalid(format!("The manual partition assignment includes broker {}, but no such broker is registered.", id.0));
        }
        if !seen.insert(id.0) {
            return invalid(format!("The manual partition assignment includes the broker {} more than once.", id.0));
        }
    }
    match factor {
        Some(factor) if factor != replicas.len() => invalid(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {factor} replica(s).",
            replicas.len()
        )),
        _ => Ok(replicas.len()),
    }
}

fn success(broker: &Broker, context: &RequestContext, creation: &CreateTopic, created: &TopicCreated) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_error_message(None)
        .with_topic_id(created.topic.0)
        .with_num_partitions(creation.partitions)
        .with_replication_factor(creation.replication_factor);
    if context.header.version < 5 {
        return result;
    }
    let effective = broker.options().topic(&creation.configs).effective();
    let configs = effective.into_iter().map(|config| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(config.name.into_owned()))
            .with_value(Some(StrBytes::from_string(config.value)))
            .with_config_source(config.source as i8)
    });
    result.with_configs(Some(configs.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        let longest = "x".repeat(LONGEST_TOPIC_NAME);
        for name in ["a", "a.b_c-9", "...", &longest] {
            check_name(name).unwrap();
        }
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(LONGEST_TOPIC_NAME + 1)] {
            assert!(check_name(name).unwrap_err().starts_with("Topic name is invalid: "), "{name}");
        }
    }
}
