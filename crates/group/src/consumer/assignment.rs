//! Sets of partitions, as members have them and as they shall have them.

use std::collections::{BTreeMap, BTreeSet};

use types::{TopicId, TopicPartition};

use crate::Topics;
use crate::embedded::Named;

/// Partitions by topic. No topic is without partitions.
pub(crate) type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// Partitions by topic, each with the epoch in which its member got it (KIP-1251). No topic is without partitions.
pub(crate) type Held = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// As it is sent.
pub(crate) fn to_list(held: &Held) -> Vec<(TopicId, Vec<i32>)> {
    held.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

/// From names, without topics that are gone.
pub(crate) fn from_named(named: Named, topics: &dyn Topics) -> Partitions {
    let mut partitions = Partitions::new();
    for (name, of_topic) in named.into_iter().filter(|(_, of_topic)| !of_topic.is_empty()) {
        if let Some(topic) = topics.by_name(&name) {
            partitions.entry(topic.id).or_default().extend(of_topic);
        }
    }
    partitions
}

/// By names, without topics that are gone.
pub(crate) fn to_named(held: &Held, topics: &dyn Topics) -> Named {
    held.iter().filter_map(|(id, partitions)| Some((topics.by_id(*id)?.name, partitions.keys().copied().collect()))).collect()
}

/// One by one.
pub(crate) fn each(held: &Held) -> impl Iterator<Item = TopicPartition> + '_ {
    held.iter().flat_map(|(topic, partitions)| partitions.keys().map(|partition| TopicPartition::new(*topic, *partition)))
}

/// Whether `held` has the partition, and since which epoch.
pub(crate) fn since(held: &Held, partition: TopicPartition) -> Option<i32> {
    held.get(&partition.topic)?.get(&partition.partition).copied()
}

/// Whether both have the same partitions, whenever they got them.
pub(crate) fn same_partitions(a: &Held, b: &Held) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.keys().eq(b.1.keys()))
}

/// Whether a member that names these partitions as its own names none but those of `held`.
pub(crate) fn holds_all(held: &Held, named: &[(TopicId, Vec<i32>)]) -> bool {
    named.iter().all(|(topic, partitions)| {
        held.get(topic).is_some_and(|of_topic| partitions.iter().all(|partition| of_topic.contains_key(partition)))
    })
}

/// Whether a member that names these partitions as its own names one of `held`.
pub(crate) fn holds_any(held: &Held, named: &[(TopicId, Vec<i32>)]) -> bool {
    named.iter().any(|(topic, partitions)| {
        held.get(topic).is_some_and(|of_topic| partitions.iter().any(|partition| of_topic.contains_key(partition)))
    })
}
