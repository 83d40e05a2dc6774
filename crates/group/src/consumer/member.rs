//! A member of a consumer group: what it said of itself, what it has, what it shall have.

use std::collections::BTreeSet;

use bytes::Bytes;
use types::TopicPartition;

use super::assignment::{self, Held, Partitions};
use crate::{AssignorName, ConsumerHeartbeatRequest};

/// Epoch of a static member that left and will be back, and of the request that says so.
pub(crate) const LEFT_STATIC: i32 = -2;

/// Epoch of the request of a member that leaves for good.
pub(crate) const LEAVE: i32 = -1;

/// Epoch of the request of a member that joins.
pub(crate) const JOIN: i32 = 0;

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Member {
    pub(crate) subscription: Subscription,
    pub(crate) current: Current,
    /// What it shall have, by the group's last target assignment.
    pub(crate) target: Partitions,
}

/// What a member said of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Subscription {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) topics: BTreeSet<String>,
    /// Empty for none.
    pub(crate) regex: String,
    pub(crate) assignor: Option<AssignorName>,
    /// For a member that speaks the classic protocol.
    pub(crate) classic: Option<ClassicMember>,
}

/// What only a member of the classic protocol has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClassicMember {
    pub(crate) session_timeout_ms: i32,
    /// What it offered when it joined, with its metadata.
    pub(crate) protocols: Vec<(String, Bytes)>,
}

impl Subscription {
    /// With what a heartbeat says; `None` if that is nothing new.
    pub(crate) fn updated(&self, request: &ConsumerHeartbeatRequest) -> Option<Self> {
        let assignor = request.assignor.as_deref().and_then(AssignorName::from_name);
        let differs = |new: &Option<String>, old: &Option<String>| new.is_some() && new != old;
        let changed = self.classic.is_some()
            || self.client_id != request.client_id
            || self.client_host != request.client_host
            || differs(&request.instance_id, &self.instance_id)
            || differs(&request.rack_id, &self.rack_id)
            || (request.rebalance_timeout_ms != -1 && request.rebalance_timeout_ms != self.rebalance_timeout_ms)
            || (assignor.is_some() && assignor != self.assignor)
            || request.subscribed_regex.as_ref().is_some_and(|regex| *regex != self.regex)
            || request.subscribed_topics.as_ref().is_some_and(|topics| !self.topics.iter().eq(topics.iter().collect::<BTreeSet<_>>()));
        changed.then(|| Self {
            instance_id: request.instance_id.clone().or_else(|| self.instance_id.clone()),
            rack_id: request.rack_id.clone().or_else(|| self.rack_id.clone()),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: if request.rebalance_timeout_ms == -1 { self.rebalance_timeout_ms } else { request.rebalance_timeout_ms },
            topics: request.subscribed_topics.as_ref().map_or_else(|| self.topics.clone(), |topics| topics.iter().cloned().collect()),
            regex: request.subscribed_regex.clone().unwrap_or_else(|| self.regex.clone()),
            assignor: assignor.or(self.assignor),
            classic: None,
        })
    }
}

/// What a member has, and in which epoch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Current {
    pub(crate) state: MemberState,
    /// 0 until its first assignment, [`LEFT_STATIC`] while it is away.
    pub(crate) epoch: i32,
    /// What a client names that did not get the answer with `epoch`.
    pub(crate) previous_epoch: i32,
    /// What it may read, or is told to.
    pub(crate) assigned: Held,
    /// What it was told to give up and may still read.
    pub(crate) revoking: Held,
}

impl Current {
    /// All that no other member may have.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        assignment::each(&self.assigned).chain(assignment::each(&self.revoking))
    }

    /// Since which epoch it has the partition.
    pub(crate) fn since(&self, partition: TopicPartition) -> Option<i32> {
        assignment::since(&self.assigned, partition).or_else(|| assignment::since(&self.revoking, partition))
    }

    /// Whether it has what the target assignment of that epoch gave it.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }
}

/// How far a member is on its way to the target assignment. Numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum MemberState {
    /// It has all that its epoch gives it.
    #[default]
    Stable = 0,
    /// It is to give partitions up, and has not said that it did.
    UnrevokedPartitions = 1,
    /// It lacks partitions that others have not given up.
    UnreleasedPartitions = 2,
}

impl MemberState {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Stable, Self::UnrevokedPartitions, Self::UnreleasedPartitions].into_iter().find(|state| *state as u8 == number)
    }
}
