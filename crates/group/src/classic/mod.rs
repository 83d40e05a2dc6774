//! A group of the classic protocol: members join, the leader among them assigns, everybody syncs, and then heartbeats until somebody
//! comes, goes or changes and the next generation begins.
//!
//! ```text
//!            first join                    all joined, or time is up            leader synced
//!   Empty ───────────────> Preparing ───────────────────────────────> Completing ─────────────> Stable
//!     ^                     │   ^ ^                                       │                       │
//!     └─────────────────────┘   │ └───────────────────────────────────────┘                       │
//!       nobody joined           └─────────────────────────────────────────────────────────────────┘
//!                                             a member joins anew, changes, leaves or is lost
//! ```
//!
//! What is saved is the group as it is when it becomes stable or empty, or when a static member is replaced; a rebalance is not.

mod convert;
mod join;
mod leave;
mod member;
mod rebalance;
mod rows;
mod sync;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use types::Timestamp;

use self::member::Member;
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::embedded::{self, CONSUMER};
use crate::{CommitRequest, Described, DescribedMember, GroupError, GroupState, HeartbeatRequest, Protocol};

/// What a group's members may count for together, with what they are assigned: they are held in memory, and saved in one row.
pub(crate) const MAX_GROUP_BYTES: usize = 8 << 20;

/// A classic group, or the empty shell of one that has offsets only.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    id: Arc<str>,
    state: State,
    /// When it came into its state; not known of a group that never had members.
    since: Option<Timestamp>,
    /// 0 before the first one.
    generation: i32,
    protocol_type: Option<String>,
    /// What the members of this generation agreed on.
    protocol: Option<String>,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Instance id to member id.
    static_members: HashMap<String, Arc<str>>,
    /// Ids that were given out and not joined with (KIP-394).
    pending: HashSet<Arc<str>>,
    /// Who joined the generation and has not synced.
    unsynced: BTreeSet<Arc<str>>,
    /// How many members offer a protocol.
    offered: HashMap<String, usize>,
    /// How many members wait for the next generation.
    joining: usize,
    /// What the members count for by [`Member::bytes`].
    bytes: usize,
    /// The topics of a generation of consumers; `None` if they are not known.
    subscribed: Option<BTreeSet<String>>,
}

/// Where in its life the group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Empty,
    /// Members are to join. `Some` for the first generation of a group that was empty: it waits for more of them.
    Preparing(Option<InitialDelay>),
    Completing,
    Stable,
}

/// How an empty group waits for members: for a delay, again and again while members come, no longer than their rebalance timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct InitialDelay {
    /// The delay that runs, milliseconds.
    delay: u64,
    /// What may follow it, milliseconds.
    remaining: u64,
    /// Whether somebody came while it ran.
    member_added: bool,
}

impl ClassicGroup {
    /// A group without members.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: State::Empty,
            since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending: HashSet::new(),
            unsynced: BTreeSet::new(),
            offered: HashMap::new(),
            joining: 0,
            bytes: 0,
            subscribed: None,
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.state {
            State::Empty => GroupState::Empty,
            State::Preparing(_) => GroupState::PreparingRebalance,
            State::Completing => GroupState::CompletingRebalance,
            State::Stable => GroupState::Stable,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Never had a member and waits for none.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_empty() && self.protocol_type.is_none() && self.pending.is_empty()
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, cx: &mut Context<'_>) -> Result<(), GroupError> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.renew_session(&request.member_id, cx);
        // A member may heartbeat while it waits for the leader's word.
        if matches!(self.state, State::Preparing(_)) { Err(GroupError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether the request may commit offsets; a member's commit keeps its session.
    pub(crate) fn check_commit(&mut self, request: &CommitRequest, cx: &mut Context<'_>) -> Result<(), GroupError> {
        let outsider = request.generation_or_epoch < 0;
        if outsider && self.is_empty() {
            // A consumer that was assigned its partitions by hand, or an administrator.
            return Ok(());
        }
        if outsider && request.member_id.is_empty() && request.instance_id.is_none() {
            return Err(self.unknown(&request.member_id));
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation_or_epoch != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == State::Completing {
            // The member knows the generation but not its part in it.
            return Err(GroupError::RebalanceInProgress);
        }
        self.renew_session(&request.member_id, cx);
        Ok(())
    }

    /// Whether offsets may be deleted at all.
    pub(crate) fn check_delete_offsets(&self) -> Result<(), GroupError> {
        if self.is_empty() || self.is_of_consumers() { Ok(()) } else { Err(GroupError::NonEmptyGroup) }
    }

    /// Whether somebody in the group reads the topic, as far as that is known.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// From when on the retention of an offset that was committed at `committed` counts (KIP-211); `None` if it must not end now.
    pub(crate) fn retained_since(&self, committed: Timestamp) -> Option<Timestamp> {
        match (&self.protocol_type, self.state) {
            // Somebody who commits and never joins.
            (None, _) => Some(committed),
            (Some(_), State::Empty) => Some(self.since.unwrap_or(committed)),
            (Some(_), State::Stable) if self.is_of_consumers() && self.subscribed.is_some() => Some(committed),
            _ => None,
        }
    }

    /// DescribeGroups.
    pub(crate) fn describe(&self) -> Described {
        let stable = self.state == State::Stable;
        let protocol = self.protocol.as_deref().filter(|_| stable);
        Described {
            group_id: self.id.to_string(),
            state: self.state(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: self
                .members
                .iter()
                .map(|(id, member)| DescribedMember {
                    member_id: id.to_string(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }

    /// Something that was set to go off did.
    pub(crate) fn on_timer(&mut self, timer: &Timer, cx: &mut Context<'_>) {
        match timer {
            Timer::Join => self.on_join_timer(cx),
            Timer::Sync => self.on_sync_timer(cx),
            Timer::Session(member) => self.on_session_timer(member, cx),
            Timer::Pending(member) => {
                self.pending.remove(member);
                self.complete_join_if_all_are_here(cx);
            }
            Timer::ConsumerSession(_) | Timer::ConsumerRebalance(_) | Timer::ConsumerJoin(_) | Timer::ConsumerSync(_) => {}
        }
    }

    fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn unknown(&self, member_id: &str) -> GroupError {
        GroupError::unknown_member(&self.id, member_id)
    }

    fn enter(&mut self, state: State, cx: &Context<'_>) {
        self.state = state;
        self.since = Some(cx.now.wall);
    }

    /// The member exists and, if it is static, is the one that the instance id belongs to (KIP-345).
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            let current = self.static_members.get(instance_id).ok_or_else(|| self.unknown(member_id))?;
            if current.as_ref() != member_id {
                return Err(fenced(instance_id));
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(self.unknown(member_id)) }
    }

    /// Whether a member could be in the group without taking from the others all they have in common.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.offered.get(&protocol.name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol that most members like best, of those that all of them offer. There is one while there are members.
    fn vote(&self) -> Option<String> {
        let common = |protocol: &&Protocol| self.offered.get(&protocol.name) == Some(&self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(protocol) = member.protocols.iter().find(common) {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(protocol, _)| protocol.to_owned())
    }

    /// Reads the topics of the generation's consumers out of what they offered.
    fn read_subscriptions(&mut self) {
        self.subscribed = self.is_of_consumers().then(|| self.offered_topics()).flatten();
    }

    /// The topics of all members together; `None` if one of them cannot be read.
    fn offered_topics(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.append(&mut embedded::read_topics(member.metadata(self.protocol.as_deref()?))?);
        }
        Some(all)
    }

    /// How long the slowest member may take, milliseconds.
    fn rebalance_timeout(&self) -> u64 {
        self.members.values().map(|member| millis(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn renew_session(&self, member_id: &str, cx: &mut Context<'_>) {
        if let Some((id, member)) = self.members.get_key_value(member_id) {
            cx.set_timer(&self.id, Timer::Session(id.clone()), millis(member.session_timeout_ms));
        }
    }

    fn add(&mut self, id: Arc<str>, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.joining += usize::from(member.join.is_waiting());
        self.count_protocols(&member.protocols);
        self.bytes += member.bytes();
        self.members.insert(id, member);
    }

    /// Takes a member out, with everything that hangs on it. Whoever waits for it must have been answered.
    fn remove(&mut self, member_id: &str, cx: &mut Context<'_>) {
        let Some((id, member)) = self.members.remove_entry(member_id) else { return };
        cx.cancel_timer(&self.id, &Timer::Session(id));
        self.uncount_protocols(&member.protocols);
        self.bytes -= member.bytes();
        self.joining -= usize::from(member.join.is_waiting());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        self.unsynced.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn count_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.offered.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn uncount_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.offered.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.offered.remove(&protocol.name);
                }
            }
        }
    }

    /// Somebody with the id may join with it within a session timeout.
    fn expect(&mut self, id: Arc<str>, session_timeout_ms: i32, cx: &mut Context<'_>) {
        cx.set_timer(&self.id, Timer::Pending(id.clone()), millis(session_timeout_ms));
        self.pending.insert(id);
    }

    /// Nobody is expected with the id any more. Whether anybody was.
    fn stop_expecting(&mut self, id: &str, cx: &mut Context<'_>) -> bool {
        let Some(id) = self.pending.take(id) else { return false };
        cx.cancel_timer(&self.id, &Timer::Pending(id));
        true
    }
}

/// Another member has the instance id now.
fn fenced(instance_id: &str) -> GroupError {
    GroupError::FencedInstanceId(format!("Another member has joined with the instance id {instance_id}."))
}

fn millis(value: i32) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
