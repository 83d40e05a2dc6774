//! A consumer group for people: ConsumerGroupDescribe.

use std::collections::{BTreeMap, BTreeSet};

use types::TopicId;

use super::group::ConsumerGroup;
use super::member::Member;
use crate::{AssignorName, ConsumerDescribed, ConsumerDescribedMember, DescribedPartitions, Topics};

impl ConsumerGroup {
    /// The group with all members. Topics that are gone are left out of their assignments.
    pub(crate) fn describe(&self, assignors: &[AssignorName], topics: &dyn Topics) -> ConsumerDescribed {
        ConsumerDescribed {
            group_id: self.id.to_string(),
            state: self.state(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor(assignors).as_str().to_owned(),
            members: self
                .members
                .iter()
                .map(|(member_id, member)| ConsumerDescribedMember {
                    member_id: member_id.to_string(),
                    instance_id: member.subscription.instance_id.clone(),
                    rack_id: member.subscription.rack_id.clone(),
                    member_epoch: member.current.epoch,
                    client_id: member.subscription.client_id.clone(),
                    client_host: member.subscription.client_host.clone(),
                    subscribed_topics: member.subscription.topics.iter().cloned().collect(),
                    subscribed_regex: member.subscription.regex.clone(),
                    assignment: described(held(member), topics),
                    target_assignment: described(member.target.iter().map(|(id, held)| (*id, held.iter().copied().collect())), topics),
                    is_classic: member.subscription.classic.is_some(),
                })
                .collect(),
        }
    }
}

/// What the member has, until it has given up what it was told to.
fn held(member: &Member) -> impl Iterator<Item = (TopicId, Vec<i32>)> {
    let mut held: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    for (topic_id, partitions) in member.current.assigned.iter().chain(&member.current.revoking) {
        held.entry(*topic_id).or_default().extend(partitions.keys());
    }
    held.into_iter().map(|(topic_id, partitions)| (topic_id, partitions.into_iter().collect()))
}

fn described(partitions: impl Iterator<Item = (TopicId, Vec<i32>)>, topics: &dyn Topics) -> Vec<DescribedPartitions> {
    partitions
        .filter_map(|(topic_id, partitions)| {
            let topic_name = topics.by_id(topic_id)?.name;
            Some(DescribedPartitions { topic_id, topic_name, partitions })
        })
        .collect()
}
