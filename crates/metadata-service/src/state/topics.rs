//! Decides the creation, growth, alteration and deletion of topics.

use std::collections::BTreeMap;

use metadata_api::{AlterTopicConfigs, CreatePartitions, CreateTopic, MetadataError, TopicCreated};
use types::{Durability, Timestamp, TopicId};

use super::command::{Answer, Rules};
use super::decision::{Decision, Reply, next_revision};
use super::event::{Event, NewPartition};
use super::{State, Topic, metric_name};

/// Longest topic name (Kafka's rule: a log directory's name has at most 255 characters).
const MAX_NAME: usize = 249;
/// Most partitions of one topic.
const MAX_TOPIC_PARTITIONS: i32 = 100_000;
/// Most partitions of all topics.
const MAX_PARTITIONS: u64 = 2_000_000;
/// Highest replication factor.
const MAX_REPLICATION_FACTOR: i16 = 16;
/// Most bytes of names and values of the configs of one topic, broker or group.
const MAX_CONFIG_BYTES: usize = 256 << 10;

pub(super) fn create(state: &State, request: &CreateTopic, topic: TopicId) -> Result<Decision, MetadataError> {
    check_name(&request.name)?;
    if state.names.contains_key(&request.name) {
        return Err(MetadataError::TopicExists { name: request.name.clone() });
    }
    if let Some(other) = state.metric_names.get(&metric_name(&request.name)).and_then(|id| state.topics.get(id)) {
        let detail = format!("Topic '{}' collides with existing topic: {}", request.name, other.name);
        return Err(MetadataError::InvalidTopicName { detail });
    }
    if request.replication_factor < 1 {
        return Err(MetadataError::InvalidReplicationFactor { detail: "Replication factor must be larger than 0.".to_owned() });
    }
    if MAX_REPLICATION_FACTOR < request.replication_factor {
        let detail = format!("Replication factor must be at most {MAX_REPLICATION_FACTOR}, got {}.", request.replication_factor);
        return Err(MetadataError::InvalidReplicationFactor { detail });
    }
    if request.partitions < 1 {
        return Err(MetadataError::InvalidPartitions { detail: "Number of partitions must be larger than 0.".to_owned() });
    }
    check_count(state, 0, request.partitions)?;
    check_configs(&request.configs)?;
    let partitions = place(state, topic, 0..request.partitions, request.replication_factor, request.durability)?;
    if request.validate_only {
        return Ok(Decision::answer(Answer::TopicCreated(TopicCreated { topic: TopicId::default(), revision: state.revision })));
    }
    let event = Event::TopicCreated {
        topic,
        name: request.name.clone(),
        replication_factor: request.replication_factor,
        configs: request.configs.clone(),
        partitions,
    };
    Ok(Decision::event(Reply::Ready(Answer::TopicCreated(TopicCreated { topic, revision: next_revision(state) })), event))
}

pub(super) fn grow(state: &State, request: &CreatePartitions) -> Result<Decision, MetadataError> {
    let topic = existing(state, request.topic)?;
    if request.total == topic.partitions {
        return Err(MetadataError::InvalidPartitions { detail: format!("Topic already has {} partition(s).", topic.partitions) });
    }
    if request.total < topic.partitions {
        let detail = format!(
            "The topic {} currently has {} partition(s); {} would not be an increase.",
            topic.name, topic.partitions, request.total
        );
        return Err(MetadataError::InvalidPartitions { detail });
    }
    check_count(state, topic.partitions, request.total)?;
    let partitions = place(state, request.topic, topic.partitions..request.total, topic.replication_factor, request.durability)?;
    if request.validate_only {
        return Ok(Decision::answer(Answer::Revision(state.revision)));
    }
    Ok(Decision::revision_of(state, Event::PartitionsAdded { topic: request.topic, partitions }))
}

pub(super) fn delete(state: &State, rules: &Rules, topic: TopicId, now: Timestamp) -> Result<Decision, MetadataError> {
    existing(state, topic)?;
    Ok(Decision::revision_of(state, Event::TopicDeleted { topic, not_before: rules.not_before(now) }))
}

pub(super) fn alter(state: &State, request: &AlterTopicConfigs) -> Result<Decision, MetadataError> {
    let topic = existing(state, request.topic)?;
    if topic.config_revision != request.expected {
        return Err(MetadataError::ConfigConflict { topic: request.topic });
    }
    check_configs(&request.configs)?;
    Ok(Decision::revision_of(state, Event::TopicConfigsAltered { topic: request.topic, configs: request.configs.clone() }))
}

fn existing(state: &State, topic: TopicId) -> Result<&Topic, MetadataError> {
    state.topics.get(&topic).map(AsRef::as_ref).ok_or(MetadataError::UnknownTopic { topic })
}

/// Kafka's rules and Kafka's words (`org.apache.kafka.common.internals.Topic`).
fn check_name(name: &str) -> Result<(), MetadataError> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let what = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if MAX_NAME < name.len() {
        format!("the length of '{name}' is longer than the max allowed length {MAX_NAME}")
    } else if !name.bytes().all(is_legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(MetadataError::InvalidTopicName { detail: format!("Topic name is invalid: {what}") })
}

fn check_count(state: &State, present: i32, total: i32) -> Result<(), MetadataError> {
    let new = u64::from(total.abs_diff(present));
    let detail = if MAX_TOPIC_PARTITIONS < total {
        format!("A topic has at most {MAX_TOPIC_PARTITIONS} partitions, got {total}.")
    } else if MAX_PARTITIONS < state.partitions + new {
        format!("The cluster has {} partitions; {new} more would exceed its limit of {MAX_PARTITIONS}.", state.partitions)
    } else {
        return Ok(());
    };
    Err(MetadataError::InvalidPartitions { detail })
}

pub(super) fn check_configs(configs: &BTreeMap<String, String>) -> Result<(), MetadataError> {
    let bytes: usize = configs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes <= MAX_CONFIG_BYTES {
        return Ok(());
    }
    Err(MetadataError::Invalid { detail: format!("the configs have {bytes} bytes, at most {MAX_CONFIG_BYTES} are allowed") })
}

fn place(
    state: &State,
    topic: TopicId,
    indices: std::ops::Range<i32>,
    replication_factor: i16,
    durability: Durability,
) -> Result<Vec<NewPartition>, MetadataError> {
    indices
        .map(|index| {
            let candidates = state.candidates(topic, index);
            let (leader, owner) = *candidates
                .first()
                .ok_or_else(|| MetadataError::Unavailable { detail: "no broker is registered that could lead a partition".to_owned() })?;
            let replicas = candidates.iter().take(usize::from(replication_factor.unsigned_abs())).map(|(broker, _)| *broker).collect();
            Ok(NewPartition { leader, owner, replicas, durability })
        })
        .collect()
}
