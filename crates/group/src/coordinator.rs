//! The groups of one coordinator slot.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use types::TopicPartition;

use crate::classic::ClassicGroup;
use crate::consumer::{ConsumerGroup, ConsumerGroupLoader, JOIN, Loaded, check_request};
use crate::deadlines::Deadlines;
use crate::effects::Context;
use crate::entry::{Entry, Group};
use crate::offsets::Offsets;
use crate::row::Kind;
use crate::{
    Answer, CommitRequest, CommittedOffset, ConsumerDescribed, ConsumerHeartbeat, ConsumerHeartbeatRequest, DeleteOffsetsRequest,
    Described, Effects, FetchOffsetsRequest, FetchedOffsets, GroupConfigs, GroupError, HeartbeatRequest, JoinRequest, LeaveRequest,
    LeavingMember, Left, LeftMember, ListFilter, Listed, Moment, Now, Options, PartitionResults, Protocol, Row, RowError, SyncRequest,
    Ticket, Topics,
};

/// The groups of one slot: members, generations, committed offsets.
///
/// Contract with the driver: it calls one method at a time and then [`Coordinator::take_effects`]. It saves the rows, and gives out the
/// call's result and the answers when they are durable, in the order of the calls; further calls may be made meanwhile. If a save fails
/// for good, it drops the coordinator and everybody who waits, and loads another one: nothing here is ever undone.
#[derive(Debug)]
pub struct Coordinator {
    groups: HashMap<Arc<str>, Entry>,
    /// Joins and syncs that are to be answered.
    waiting: HashSet<Ticket>,
    /// When offsets are looked through for those that are past their time.
    next_cleanup: Option<Moment>,
    /// Groups that are still to be looked through since it last was that time.
    to_clean_up: Vec<Arc<str>>,
    shared: Shared,
}

/// What every group needs.
#[derive(Debug)]
struct Shared {
    options: Arc<Options>,
    groups: Arc<GroupConfigs>,
    timers: Deadlines,
    effects: Effects,
}

impl Shared {
    fn context(&mut self, now: Now) -> Context<'_> {
        Context { now, options: &self.options, groups: &self.groups, timers: &mut self.timers, effects: &mut self.effects }
    }
}

impl Coordinator {
    /// No groups yet.
    pub fn new(options: impl Into<Arc<Options>>) -> Self {
        let shared = Shared { options: options.into(), groups: Arc::default(), timers: Deadlines::default(), effects: Effects::default() };
        Self { groups: HashMap::new(), waiting: HashSet::new(), next_cleanup: None, to_clean_up: Vec::new(), shared }
    }

    /// Goes by other options from the next call on, and by what is set on single groups. Timers that run keep their time: a session
    /// time-out counts from the member's next heartbeat.
    pub fn configure(&mut self, options: Arc<Options>, groups: Arc<GroupConfigs>) {
        (self.shared.options, self.shared.groups) = (options, groups);
    }

    /// What another coordinator saved: for every key its last value, in any order. Sessions of members begin anew.
    pub fn load(
        options: impl Into<Arc<Options>>,
        groups: Arc<GroupConfigs>,
        rows: impl IntoIterator<Item = Row>,
        now: Now,
    ) -> Result<Self, RowError> {
        let mut coordinator = Self::new(options);
        coordinator.shared.groups = groups;
        let mut consumers: HashMap<String, ConsumerGroupLoader> = HashMap::new();
        for Row { key, value } in rows {
            let Some(value) = value else { continue };
            let (kind, group_id, key) = Kind::read(key)?;
            match kind {
                Kind::ClassicGroup => {
                    key.end()?;
                    let group = ClassicGroup::read(group_id.as_str().into(), value)?;
                    coordinator.entry(&group_id, now).group = Group::Classic(group);
                }
                Kind::Offset => coordinator.entry(&group_id, now).offsets.read(key, value)?,
                kind => consumers.entry(group_id).or_default().add(Loaded::read(kind, key, value)?),
            }
        }
        for (group_id, loader) in consumers {
            let group = loader.finish(group_id.as_str().into(), &mut coordinator.shared.context(now))?;
            let entry = coordinator.entry(&group_id, now);
            if matches!(&entry.group, Group::Classic(classic) if !classic.is_untouched()) {
                return Err(RowError::Damaged("a group is of both types"));
            }
            entry.group = Group::Consumer(group);
        }
        for entry in coordinator.groups.values_mut() {
            if let Group::Classic(group) = &mut entry.group {
                group.resume(&mut coordinator.shared.context(now));
            }
        }
        Ok(coordinator)
    }

    /// What the calls since the last one left behind.
    pub fn take_effects(&mut self) -> Effects {
        let mut effects = std::mem::take(&mut self.shared.effects);
        effects.answers.retain(|(ticket, _)| self.waiting.remove(ticket));
        effects
    }

    /// When [`Coordinator::expire`] wants to be called. It may come too early, never too late.
    pub fn next_deadline(&self) -> Option<Moment> {
        if !self.to_clean_up.is_empty() {
            return Some(Moment(0));
        }
        [self.shared.timers.next(), self.next_cleanup].into_iter().flatten().min()
    }

    /// Does one thing that is due, in one group: a session, a rebalance, offsets that nobody needs. More may be due afterwards: what is
    /// saved at once stays small however many groups' time has come.
    pub fn expire(&mut self, topics: &dyn Topics, now: Now) {
        if let Some((group_id, timer)) = self.shared.timers.pop(now.moment) {
            if let Some(entry) = self.groups.get_mut(&group_id) {
                match &mut entry.group {
                    Group::Classic(group) => group.on_timer(&timer, &mut self.shared.context(now)),
                    Group::Consumer(group) => {
                        group.expire(&timer, topics, &mut self.shared.context(now));
                        entry.downgrade(&group_id, topics, &mut self.shared.context(now));
                    }
                }
            }
            return;
        }
        if self.next_cleanup.is_some_and(|at| at <= now.moment) {
            self.next_cleanup = Some(now.moment + self.shared.options.offsets_retention_check_interval_ms);
            self.to_clean_up = self.groups.keys().cloned().collect();
        }
        if let Some(group_id) = self.to_clean_up.pop() {
            self.clean_up(&group_id, now);
        }
    }

    /// Ends offsets of the group that are past their time, and the group if it has nothing then.
    fn clean_up(&mut self, group_id: &str, now: Now) {
        let Some(Entry { group, offsets }) = self.groups.get_mut(group_id) else { return };
        offsets.expire(group_id, |topic, committed| group.retained_since(topic, committed), &mut self.shared.context(now));
        if offsets.is_empty() && group.is_empty() {
            self.remove(group_id, now);
        }
    }

    /// Whoever holds the ticket is gone: it is not answered. A member stays until its session ends.
    pub fn forget(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// JoinGroup; answered through the effects, of this call or of a later one.
    pub fn join(&mut self, ticket: Ticket, request: JoinRequest, topics: &dyn Topics, now: Now) {
        self.waiting.insert(ticket);
        let options = &self.shared.options;
        let refusal = if request.group_id.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if !(options.min_session_timeout_ms..=options.max_session_timeout_ms).contains(&request.session_timeout_ms) {
            Some(GroupError::InvalidSessionTimeout)
        } else if !request.member_id.is_empty() && !self.groups.contains_key(request.group_id.as_str()) {
            Some(GroupError::unknown_member(&request.group_id, &request.member_id))
        } else if names_twice(&request.protocols) {
            Some(GroupError::InconsistentGroupProtocol)
        } else {
            None
        };
        if let Some(error) = refusal {
            self.shared.context(now).answer(ticket, Answer::Join(Err(error)));
            return;
        }
        let group_id = request.group_id.clone();
        self.entry(&group_id, now);
        let Some(entry) = self.groups.get_mut(group_id.as_str()) else { return };
        let cx = &mut self.shared.context(now);
        if matches!(entry.group, Group::Consumer(_)) && entry.group.is_empty() && request.member_id.is_empty() {
            // Nobody is in it: it becomes what the next member speaks.
            entry.replace(Group::Classic(ClassicGroup::new(group_id.as_str().into())), cx);
        }
        let untouched = match &mut entry.group {
            Group::Classic(group) => {
                group.join(ticket, request, cx);
                group.is_untouched()
            }
            Group::Consumer(group) if group.is_empty() => {
                let unknown = GroupError::unknown_member(&group_id, &request.member_id);
                cx.answer(ticket, Answer::Join(Err(unknown)));
                false
            }
            Group::Consumer(group) => {
                let joined = group.classic_join(request, topics, cx);
                cx.answer(ticket, Answer::Join(joined));
                entry.downgrade(&group_id, topics, cx);
                false
            }
        };
        if untouched && entry.offsets.is_empty() {
            self.groups.remove(group_id.as_str());
        }
    }

    /// SyncGroup; answered through the effects, of this call or of a later one.
    pub fn sync(&mut self, ticket: Ticket, request: SyncRequest, topics: &dyn Topics, now: Now) {
        self.waiting.insert(ticket);
        let cx = &mut self.shared.context(now);
        match self.groups.get_mut(request.group_id.as_str()).map(|entry| &mut entry.group) {
            Some(Group::Classic(group)) => group.sync(ticket, request, cx),
            _ if request.group_id.is_empty() => cx.answer(ticket, Answer::Sync(Err(GroupError::InvalidGroupId))),
            Some(Group::Consumer(group)) => {
                let synced = group.classic_sync(&request, topics, cx);
                cx.answer(ticket, Answer::Sync(synced));
            }
            None => {
                let unknown = GroupError::unknown_member(&request.group_id, &request.member_id);
                cx.answer(ticket, Answer::Sync(Err(unknown)));
            }
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, request: HeartbeatRequest, now: Now) -> Result<(), GroupError> {
        check_group_id(&request.group_id)?;
        match self.groups.get_mut(request.group_id.as_str()).map(|entry| &mut entry.group) {
            Some(Group::Classic(group)) => group.heartbeat(&request, &mut self.shared.context(now)),
            Some(Group::Consumer(group)) => group.classic_heartbeat(&request, &mut self.shared.context(now)),
            None => Err(GroupError::unknown_member(&request.group_id, &request.member_id)),
        }
    }

    /// LeaveGroup.
    pub fn leave(&mut self, request: LeaveRequest, topics: &dyn Topics, now: Now) -> Result<Left, GroupError> {
        check_group_id(&request.group_id)?;
        let LeaveRequest { group_id, members } = request;
        let Some(entry) = self.groups.get_mut(group_id.as_str()) else {
            let unknown = |leaving: &LeavingMember| Err(GroupError::unknown_member(&group_id, &leaving.member_id));
            return Ok(each_leaves(members, unknown));
        };
        let cx = &mut self.shared.context(now);
        match &mut entry.group {
            Group::Classic(group) => Ok(group.leave(members, cx)),
            Group::Consumer(group) => {
                let left = each_leaves(members, |leaving| group.classic_leave(leaving, topics, cx));
                entry.downgrade(&group_id, topics, cx);
                Ok(left)
            }
        }
    }

    /// OffsetCommit.
    pub fn commit_offsets(&mut self, request: CommitRequest, now: Now) -> Result<PartitionResults, GroupError> {
        Offsets::check_size(&request)?;
        if !self.groups.contains_key(request.group_id.as_str()) {
            if 0 <= request.generation_or_epoch {
                // The older code is what clients of older versions understand.
                let unknown = GroupError::no_such_group(&request.group_id);
                return Err(if request.knows_member_epochs { unknown } else { GroupError::IllegalGeneration });
            }
            self.entry(&request.group_id, now);
        }
        let Some(entry) = self.groups.get_mut(request.group_id.as_str()) else { return Err(GroupError::no_such_group(&request.group_id)) };
        let cx = &mut self.shared.context(now);
        match &mut entry.group {
            Group::Classic(group) => group.check_commit(&request, cx)?,
            Group::Consumer(group) => {
                let scope = group.check_commit(&request)?;
                for topic in &request.topics {
                    topic.partitions.iter().try_for_each(|it| scope.check(TopicPartition::new(topic.id, it.partition)))?;
                }
            }
        }
        Ok(entry.offsets.commit(request, cx))
    }

    /// OffsetFetch, of one group. One that does not exist has committed nothing.
    pub fn fetch_offsets(&self, request: &FetchOffsetsRequest) -> Result<FetchedOffsets, GroupError> {
        let Some(Entry { group, offsets }) = self.groups.get(request.group_id.as_str()) else {
            return Ok(Offsets::default().fetch(request));
        };
        if let Group::Consumer(group) = group {
            group.check_fetch(request)?;
        }
        Ok(offsets.fetch(request))
    }

    /// Every offset that a group of this slot has committed. Those of one topic of one group come one after the other.
    pub fn committed(&self) -> impl Iterator<Item = CommittedOffset<'_>> {
        self.groups.iter().flat_map(|(group_id, entry)| entry.offsets.iter(group_id))
    }

    /// OffsetDelete.
    pub fn delete_offsets(&mut self, request: DeleteOffsetsRequest) -> Result<PartitionResults, GroupError> {
        check_group_id(&request.group_id)?;
        let Some(Entry { group, offsets }) = self.groups.get_mut(request.group_id.as_str()) else {
            return Err(GroupError::no_such_group(&request.group_id));
        };
        if let Group::Classic(group) = &*group {
            group.check_delete_offsets()?;
        }
        Ok(offsets.delete(request, |topic| group.is_subscribed(topic), &mut self.shared.context(Now::default())))
    }

    /// The topics are gone, and so are the offsets committed in them.
    pub fn topics_deleted(&mut self, names: &[String]) {
        let cx = &mut self.shared.context(Now::default());
        for (group_id, entry) in &mut self.groups {
            names.iter().for_each(|topic| entry.offsets.delete_topic(group_id, topic, cx));
        }
    }

    /// Forgets offsets of topics that went while nobody had the coordinator loaded. `topics` must not be older than the rows.
    pub fn keep_existing_topics(&mut self, topics: &dyn Topics) {
        let cx = &mut self.shared.context(Now::default());
        for (group_id, entry) in &mut self.groups {
            entry.offsets.keep_existing(group_id, topics, cx);
        }
    }

    /// DescribeGroups, of one group. A consumer group is [`GroupError::GroupIdNotFound`].
    pub fn describe(&self, group_id: &str) -> Result<Described, GroupError> {
        match self.groups.get(group_id).map(|entry| &entry.group) {
            Some(Group::Classic(group)) => Ok(group.describe()),
            Some(Group::Consumer(_)) => Err(GroupError::GroupIdNotFound(format!("Group {group_id} is not a classic group."))),
            None => Err(GroupError::no_such_group(group_id)),
        }
    }

    /// ListGroups, by group id.
    pub fn list(&self, filter: &ListFilter) -> Vec<Listed> {
        let listed = self.groups.iter().map(|(id, entry)| entry.group.listed(id));
        let mut listed: Vec<_> = listed
            .filter(|group| passes(&filter.states, &group.state.to_string()) && passes(&filter.types, &group.group_type.to_string()))
            .collect();
        listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        listed
    }

    /// DeleteGroups, of one group.
    pub fn delete(&mut self, group_id: &str) -> Result<(), GroupError> {
        let entry = self.groups.get(group_id).ok_or_else(|| GroupError::no_such_group(group_id))?;
        if !entry.group.is_empty() {
            return Err(GroupError::NonEmptyGroup);
        }
        self.remove(group_id, Now::default());
        Ok(())
    }

    /// ConsumerGroupHeartbeat (KIP-848). A group without members becomes a consumer group with the first one that joins.
    pub fn consumer_heartbeat(
        &mut self,
        request: ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        check_request(&request, &self.shared.options)?;
        let group_id = request.group_id.as_str();
        let joins = request.member_epoch == JOIN;
        let cx = &mut self.shared.context(now);
        if let Some(entry) = self.groups.get_mut(group_id) {
            match &mut entry.group {
                Group::Consumer(group) => {
                    let heartbeat = group.heartbeat(&request, topics, cx);
                    if request.member_epoch < JOIN {
                        entry.downgrade(group_id, topics, cx);
                    }
                    return heartbeat;
                }
                Group::Classic(group) if joins && group.is_empty() => {}
                Group::Classic(_) if joins => return entry.upgrade(&request, topics, cx),
                Group::Classic(_) => return Err(GroupError::not_a_consumer_group(group_id)),
            }
        } else if !joins {
            return Err(GroupError::no_such_group(group_id));
        }
        // Whatever refuses the member leaves what there was.
        let mut group = ConsumerGroup::new(group_id.into());
        let heartbeat = group.heartbeat(&request, topics, cx)?;
        self.entry(group_id, now);
        if let Some(entry) = self.groups.get_mut(group_id) {
            entry.replace(Group::Consumer(group), &mut self.shared.context(now));
        }
        Ok(heartbeat)
    }

    /// ConsumerGroupDescribe, of one group (KIP-848). A classic group is [`GroupError::GroupIdNotFound`].
    pub fn consumer_describe(&self, group_id: &str, topics: &dyn Topics) -> Result<ConsumerDescribed, GroupError> {
        match self.groups.get(group_id).map(|entry| &entry.group) {
            Some(Group::Consumer(group)) => Ok(group.describe(&self.shared.options.consumer_assignors, topics)),
            Some(Group::Classic(_)) => Err(GroupError::not_a_consumer_group(group_id)),
            None => Err(GroupError::no_such_group(group_id)),
        }
    }

    /// The group, made if it does not exist.
    fn entry(&mut self, group_id: &str, now: Now) -> &mut Entry {
        self.next_cleanup.get_or_insert(now.moment + self.shared.options.offsets_retention_check_interval_ms);
        let id: Arc<str> = group_id.into();
        self.groups.entry(id.clone()).or_insert_with(|| Entry::new(id))
    }

    /// Ends a group without members.
    fn remove(&mut self, group_id: &str, now: Now) {
        let Some((id, mut entry)) = self.groups.remove_entry(group_id) else { return };
        self.shared.timers.cancel_group(&id);
        let cx = &mut self.shared.context(now);
        entry.offsets.delete_all(group_id, cx);
        entry.group.remove(cx);
    }
}

/// Offsets may be committed for a group without a name; members it cannot have.
fn check_group_id(group_id: &str) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}

/// Groups count by name who offers a protocol: a member that names one twice would be two.
fn names_twice(protocols: &[Protocol]) -> bool {
    let mut names = HashSet::with_capacity(protocols.len());
    !protocols.iter().all(|protocol| names.insert(protocol.name.as_str()))
}

fn passes(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// Asks for each member whether it leaves.
fn each_leaves(members: Vec<LeavingMember>, mut leave: impl FnMut(&LeavingMember) -> Result<(), GroupError>) -> Left {
    let left =
        |leaving: LeavingMember| LeftMember { result: leave(&leaving), member_id: leaving.member_id, instance_id: leaving.instance_id };
    Left { members: members.into_iter().map(left).collect() }
}
