//! What a coordinator holds under a group's id: a group of one type or the other, and the offsets, which are the same for both.

use std::sync::Arc;

use types::Timestamp;

use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::effects::Context;
use crate::embedded::CONSUMER;
use crate::offsets::Offsets;
use crate::{ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupError, GroupType, Listed, Topics};

/// A group and its offsets.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) offsets: Offsets,
}

/// A group of either type. Without members and offsets it is forgotten some time.
#[derive(Debug)]
pub(crate) enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Entry {
    /// Nobody joined and nothing was committed yet.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self { group: Group::Classic(ClassicGroup::new(id)), offsets: Offsets::default() }
    }

    /// A group without members becomes another one; the offsets stay.
    pub(crate) fn replace(&mut self, group: Group, cx: &mut Context<'_>) {
        std::mem::replace(&mut self.group, group).remove(cx);
    }

    /// A member of the consumer protocol joins a classic group with members (KIP-848, online migration): everybody becomes a member of a
    /// consumer group, if all are consumers. If that, or the new member, is refused, nothing changes.
    pub(crate) fn upgrade(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        cx: &mut Context<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        let allowed = cx.options.migration_policy.allows_upgrade();
        let Group::Classic(classic) = &mut self.group else { return Err(GroupError::no_such_group(&request.group_id)) };
        let Some(consumers) = classic.consumers(cx.options.consumer_max_size).filter(|_| allowed) else {
            return Err(GroupError::not_a_consumer_group(&request.group_id));
        };
        let saved = cx.effects.rows.len();
        let mut group = ConsumerGroup::from_classic(request.group_id.as_str().into(), consumers, topics, cx)?;
        match group.heartbeat(request, topics, cx) {
            Ok(heartbeat) => {
                classic.dismiss(cx);
                self.replace(Group::Consumer(group), cx);
                Ok(heartbeat)
            }
            Err(error) => {
                // Timers of a type that the group has not become mean nothing to it.
                cx.effects.rows.truncate(saved);
                Err(error)
            }
        }
    }

    /// Somebody left a consumer group: if only members of the classic protocol are left, it becomes a classic group.
    pub(crate) fn downgrade(&mut self, group_id: &str, topics: &dyn Topics, cx: &mut Context<'_>) {
        let Group::Consumer(group) = &self.group else { return };
        let allowed = cx.options.migration_policy.allows_downgrade();
        let Some(consumers) = group.to_classic(topics).filter(|left| allowed && left.members.len() <= cx.options.max_size) else { return };
        let Some(classic) = ClassicGroup::of_consumers(group_id.into(), consumers) else { return };
        self.replace(Group::Classic(classic), cx);
        if let Group::Classic(classic) = &mut self.group {
            classic.begin(cx);
        }
    }
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether a member reads the topic.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed(topic),
            Self::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// From when on the retention of an offset counts that was committed at `committed`; `None` if it must not end now (KIP-211).
    pub(crate) fn retained_since(&self, topic: &str, committed: Timestamp) -> Option<Timestamp> {
        match self {
            _ if self.is_subscribed(topic) => None,
            Self::Classic(group) => group.retained_since(committed),
            Self::Consumer(_) => Some(committed),
        }
    }

    /// For ListGroups.
    pub(crate) fn listed(&self, id: &str) -> Listed {
        let (protocol_type, state, group_type) = match self {
            Self::Classic(group) => (group.protocol_type().unwrap_or_default(), group.state(), GroupType::Classic),
            Self::Consumer(group) => (CONSUMER, group.state(), GroupType::Consumer),
        };
        Listed { group_id: id.to_owned(), protocol_type: protocol_type.to_owned(), state, group_type }
    }

    /// The group, which has no members, ends: its rows and timers go.
    pub(crate) fn remove(self, cx: &mut Context<'_>) {
        match self {
            Self::Classic(group) => group.end(cx),
            Self::Consumer(group) => group.remove(cx),
        }
    }
}
