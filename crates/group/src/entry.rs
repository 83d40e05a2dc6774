//! What a coordinator holds under a group's id: a group of one type or the other, and the offsets, which are the same for both.

use std::sync::Arc;

use types::Timestamp;

use crate::classic::{CONSUMER, ClassicGroup};
use crate::consumer::ConsumerGroup;
use crate::effects::Context;
use crate::offsets::Offsets;
use crate::{GroupType, Listed};

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
