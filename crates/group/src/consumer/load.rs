//! A consumer group from its rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::assignment::Partitions;
use super::group::ConsumerGroup;
use super::member::{Current, Subscription};
use super::rows::Loaded;
use crate::RowError;
use crate::effects::Context;
use crate::row::MAX_EPOCH;

/// A consumer group whose rows are being read, in any order.
#[derive(Default, Debug)]
pub(crate) struct ConsumerGroupLoader {
    group: Option<(i32, u64)>,
    assignment_epoch: i32,
    members: BTreeMap<String, LoadedMember>,
    resolved: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Default, Debug)]
struct LoadedMember {
    subscription: Option<Subscription>,
    current: Option<Current>,
    target: Partitions,
}

impl ConsumerGroupLoader {
    /// Takes one row.
    pub(crate) fn add(&mut self, row: Loaded) {
        match row {
            Loaded::Group { epoch, metadata_hash } => self.group = Some((epoch, metadata_hash)),
            Loaded::TargetEpoch(epoch) => self.assignment_epoch = epoch,
            Loaded::Subscription { member_id, subscription } => self.member(member_id).subscription = Some(subscription),
            Loaded::Current { member_id, current } => self.member(member_id).current = Some(current),
            Loaded::Target { member_id, target } => self.member(member_id).target = target,
            Loaded::Regex { regex, topics } => {
                self.resolved.insert(regex, topics);
            }
        }
    }

    fn member(&mut self, member_id: String) -> &mut LoadedMember {
        self.members.entry(member_id).or_default()
    }

    /// All rows were taken. Sessions, and the time to give partitions up, begin anew.
    pub(crate) fn finish(self, id: Arc<str>, context: &mut Context<'_>) -> Result<ConsumerGroup, RowError> {
        let mut group = ConsumerGroup::new(id);
        let Some((epoch, metadata_hash)) = self.group else { return Err(RowError::Damaged("a consumer group has no epoch")) };
        if !(0..=MAX_EPOCH).contains(&epoch) {
            return Err(RowError::Damaged("an epoch is one that no group comes to"));
        }
        (group.epoch, group.metadata_hash, group.assignment_epoch) = (epoch, metadata_hash, self.assignment_epoch);
        group.resolved = self.resolved;
        for (member_id, loaded) in self.members {
            let member_id: Arc<str> = member_id.into();
            let Some(subscription) = loaded.subscription else {
                return Err(RowError::Damaged("a member of a consumer group has no subscription"));
            };
            let current = loaded.current.unwrap_or_default();
            if current.partitions().any(|partition| !group.is_free_for(&member_id, partition)) {
                return Err(RowError::Damaged("a partition belongs to two members"));
            }
            let mut held = HashSet::new();
            if !current.partitions().all(|partition| held.insert(partition)) {
                return Err(RowError::Damaged("a member both has a partition and gives it up"));
            }
            if subscription.instance_id.as_ref().is_some_and(|instance_id| group.instances.contains_key(instance_id)) {
                return Err(RowError::Damaged("an instance id belongs to two members"));
            }
            group.set_subscription(&member_id, subscription);
            group.set_current(&member_id, current);
            if let Some(member) = group.members.get_mut(&member_id) {
                member.target = loaded.target;
            }
            group.set_session_timer(&member_id, context);
            group.set_rebalance_timer(&member_id, context);
        }
        Ok(group)
    }
}
