//! Who shall have which partition: the assignors of the server (KIP-848). Pure functions of members, their subscriptions and what the
//! last assignment gave them.
//!
//! What both promise: every partition of a subscribed topic goes to exactly one of the topic's subscribers.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use types::TopicId;

use super::assignment::Partitions;
use crate::AssignorName;

/// What is to be assigned to whom.
pub(crate) struct Spec<'a> {
    /// In an order that stays the same from one assignment to the next.
    pub(crate) members: Vec<Subscriber<'a>>,
    /// Partitions of every topic that somebody subscribed to.
    pub(crate) topics: BTreeMap<TopicId, u32>,
}

/// A member, as an assignor sees it.
pub(crate) struct Subscriber<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// Every one is in [`Spec::topics`].
    pub(crate) topics: &'a BTreeSet<TopicId>,
    /// What it got last. No two members share a partition.
    pub(crate) previous: &'a Partitions,
}

/// What each member shall have, in the order of [`Spec::members`].
pub(crate) fn assign(assignor: AssignorName, spec: &Spec<'_>) -> Vec<Partitions> {
    match assignor {
        AssignorName::Uniform => uniform::assign(spec),
        AssignorName::Range => range::assign(spec),
    }
}
