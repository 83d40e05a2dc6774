//! The state of a consumer group, and the indices that are kept beside its members.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use types::{TopicId, TopicPartition};

use super::member::{Current, Member, MemberState, Subscription};
use super::rows;
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::{AssignorName, GroupState, Moment, Topics};

/// A group whose members are assigned by the server (KIP-848).
///
/// Three epochs follow each other: the group's rises with every change of members, subscriptions or topics; the target assignment's says
/// for which of them it was made; a member's says up to which it has what it shall have.
///
/// Invariant: no partition is assigned to, or being revoked from, two members.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(super) id: Arc<str>,
    pub(super) epoch: i32,
    /// Of the topics subscribed to, when the epoch was raised last.
    pub(super) metadata_hash: u64,
    pub(super) assignment_epoch: i32,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Static members by instance id.
    pub(super) instances: HashMap<String, Arc<str>>,
    /// Who has a partition, or has not said that it gave it up.
    pub(super) owners: HashMap<TopicPartition, Arc<str>>,
    pub(super) names: Counts<String>,
    pub(super) regexes: Counts<String>,
    pub(super) assignors: Counts<AssignorName>,
    /// What the regular expressions stand for; one that is not in here has not been resolved.
    pub(super) resolved: BTreeMap<String, BTreeSet<String>>,
    /// When they were resolved last, and for which version of the topics. Not saved: after a restart it is done again.
    pub(super) resolved_at: Option<(Moment, u64)>,
    /// The version of the topics that the hash was last compared for. Not saved.
    pub(super) checked_version: Option<u64>,
    /// When the target assignment was made. Not saved.
    pub(super) assigned_at: Option<Moment>,
    /// Members of the classic protocol that were told to join again. Not saved.
    pub(super) awaited: BTreeSet<Arc<str>>,
}

/// How many members say the same.
#[derive(Debug)]
pub(super) struct Counts<K>(BTreeMap<K, usize>);

impl<K: Ord + Clone> Counts<K> {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, key: &K) {
        *self.0.entry(key.clone()).or_default() += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, usize)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }
}

impl ConsumerGroup {
    /// A group that nobody joined yet. Nothing of it is saved before somebody does.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: 0,
            metadata_hash: 0,
            assignment_epoch: 0,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            owners: HashMap::new(),
            names: Counts::new(),
            regexes: Counts::new(),
            assignors: Counts::new(),
            resolved: BTreeMap::new(),
            resolved_at: None,
            checked_version: None,
            assigned_at: None,
            awaited: BTreeSet::new(),
        }
    }

    /// Its state, for lists and descriptions. Looks at all members.
    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.assignment_epoch < self.epoch {
            GroupState::Assigning
        } else if self.members.values().all(|member| member.current.is_reconciled_to(self.assignment_epoch)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether somebody subscribes to the topic, by name or by a regular expression.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.names.contains(topic) || self.resolved.values().any(|topics| topics.contains(topic))
    }

    /// The group ends: takes its rows and timers away.
    pub(crate) fn remove(self, context: &mut Context<'_>) {
        for member_id in self.members.keys() {
            rows::no_member(&self.id, member_id).into_iter().for_each(|row| context.save(row));
        }
        for regex in self.resolved.keys() {
            context.save(rows::no_regex(&self.id, regex));
        }
        rows::no_group(&self.id).into_iter().for_each(|row| context.save(row));
        context.timers.cancel_group(&self.id);
    }

    /// Replaces what a member said of itself; the member is made if it is new.
    pub(super) fn set_subscription(&mut self, member_id: &Arc<str>, subscription: Subscription) {
        self.uncount(member_id);
        if let Some(instance_id) = &subscription.instance_id {
            self.instances.insert(instance_id.clone(), member_id.clone());
        }
        subscription.topics.iter().for_each(|topic| self.names.add(topic));
        if !subscription.regex.is_empty() {
            self.regexes.add(&subscription.regex);
        }
        subscription.assignor.iter().for_each(|assignor| self.assignors.add(assignor));
        self.members.entry(member_id.clone()).or_default().subscription = subscription;
    }

    /// Replaces what a member has.
    pub(super) fn set_current(&mut self, member_id: &Arc<str>, current: Current) {
        self.release(member_id);
        for partition in current.partitions() {
            let other = self.owners.insert(partition, member_id.clone());
            assert!(other.is_none(), "group {}: partition {partition} of {member_id} belongs to {other:?}", self.id);
        }
        self.members.entry(member_id.clone()).or_default().current = current;
    }

    /// Takes a member out.
    pub(super) fn take_member(&mut self, member_id: &str) -> Option<Member> {
        self.uncount(member_id);
        self.release(member_id);
        self.members.remove(member_id)
    }

    fn uncount(&mut self, member_id: &str) {
        let Some(member) = self.members.get(member_id) else { return };
        let subscription = &member.subscription;
        if let Some(instance_id) = &subscription.instance_id
            && self.instances.get(instance_id).is_some_and(|owner| **owner == *member_id)
        {
            self.instances.remove(instance_id);
        }
        subscription.topics.iter().for_each(|topic| self.names.remove(topic));
        self.regexes.remove(&subscription.regex);
        subscription.assignor.iter().for_each(|assignor| self.assignors.remove(assignor));
    }

    fn release(&mut self, member_id: &str) {
        let Some(member) = self.members.get(member_id) else { return };
        for partition in member.current.partitions() {
            self.owners.remove(&partition);
        }
    }

    /// Whether nobody but the member has the partition.
    pub(super) fn is_free_for(&self, member_id: &str, partition: TopicPartition) -> bool {
        self.owners.get(&partition).is_none_or(|owner| **owner == *member_id)
    }

    /// Names that the group subscribes to, also of topics that do not exist.
    pub(super) fn subscribed_names(&self) -> BTreeSet<&str> {
        self.names.keys().chain(self.resolved.values().flatten()).map(String::as_str).collect()
    }

    /// The topics that a subscription stands for now. An expression that has not been resolved stands for none.
    pub(super) fn subscribed_topics(&self, subscription: &Subscription, topics: &dyn Topics) -> BTreeSet<TopicId> {
        let by_regex = self.resolved.get(&subscription.regex).into_iter().flatten();
        subscription.topics.iter().chain(by_regex).filter_map(|name| topics.by_name(name)).map(|topic| topic.id).collect()
    }

    /// The assignor that most members want who want one; the broker's default if nobody does, or if the broker has it no longer.
    pub(super) fn assignor(&self, available: &[AssignorName]) -> AssignorName {
        let wanted = self.assignors.iter().filter(|(assignor, _)| available.contains(assignor)).max_by_key(|(_, count)| *count);
        let default = available.first().copied().unwrap_or(AssignorName::Uniform);
        wanted.map_or(default, |(assignor, _)| *assignor)
    }

    /// A member's time to give partitions up runs, or ends.
    pub(super) fn set_rebalance_timer(&self, member_id: &Arc<str>, context: &mut Context<'_>) {
        let Some(member) = self.members.get(member_id) else { return };
        let timer = Timer::ConsumerRebalance(member_id.clone());
        // Members of the classic protocol have other timers.
        if member.current.state == MemberState::UnrevokedPartitions && member.subscription.classic.is_none() {
            let millis = u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0);
            context.set_timer(&self.id, timer, millis);
        } else {
            context.cancel_timer(&self.id, &timer);
        }
    }

    /// A sign of life of a member.
    pub(super) fn set_session_timer(&self, member_id: &Arc<str>, context: &mut Context<'_>) {
        let Some(member) = self.members.get(member_id) else { return };
        let classic = member.subscription.classic.as_ref().map(|classic| classic.session_timeout_ms);
        let millis = classic.unwrap_or_else(|| context.consumer_session_timeout_ms(&self.id));
        let millis = u64::try_from(millis).unwrap_or(0);
        context.set_timer(&self.id, Timer::ConsumerSession(member_id.clone()), millis);
    }
}
