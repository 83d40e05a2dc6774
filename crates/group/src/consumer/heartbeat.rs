//! ConsumerGroupHeartbeat: joins, leaves, and everything between.

use std::sync::Arc;

use super::assignment;
use super::group::ConsumerGroup;
use super::member::{Current, JOIN, LEAVE, LEFT_STATIC, Member, Subscription};
use super::reconcile::{Goal, reconcile};
use super::{regexes, rows};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::{AssignorName, ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupError, Options, Topics};

/// Refuses what no group would accept, before any group is looked for.
pub(crate) fn check_request(request: &ConsumerHeartbeatRequest, options: &Options) -> Result<(), GroupError> {
    let blank = |text: &str| text.trim().is_empty();
    let invalid = |text: &str| Err(GroupError::InvalidRequest(text.to_owned()));
    if blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_deref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    if request.member_epoch == JOIN {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topics.is_none() && request.subscribed_regex.is_none() {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
    } else if request.member_epoch == LEFT_STATIC && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if request.member_epoch < LEFT_STATIC {
        return invalid("MemberEpoch is invalid.");
    }
    match request.assignor.as_deref() {
        Some(name) if !AssignorName::from_name(name).is_some_and(|assignor| options.consumer_assignors.contains(&assignor)) => {
            let known: Vec<_> = options.consumer_assignors.iter().map(|assignor| assignor.as_str()).collect();
            let known = known.join(", ");
            Err(GroupError::UnsupportedAssignor(format!("ServerAssignor {name} is not supported. Supported assignors: {known}.")))
        }
        _ => Ok(()),
    }
}

impl ConsumerGroup {
    /// A member's heartbeat, with which it also joins and leaves. The request passed [`check_request`]. If it is refused, nothing has
    /// changed and nothing is to be saved.
    pub(crate) fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        match request.member_epoch {
            LEAVE | LEFT_STATIC => self.leave(request, topics, context),
            _ => self.join_or_stay(request, topics, context),
        }
    }

    fn join_or_stay(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        let limit = context.options.consumer_max_size;
        if limit <= self.members.len() && !self.members.contains_key(request.member_id.as_str()) {
            return Err(GroupError::GroupMaxSizeReached { limit });
        }
        let replaced = self.member_to_replace(request)?;
        if let Some(regex) = &request.subscribed_regex
            && !regex.is_empty()
            && !self.regexes.contains(regex)
        {
            regexes::compile(regex)?;
        }

        // From here on nothing is refused.
        let member_id: Arc<str> = match self.members.get_key_value(request.member_id.as_str()) {
            Some((member_id, _)) => member_id.clone(),
            None => request.member_id.as_str().into(),
        };
        if let Some(old) = replaced {
            self.replace(&old, &member_id, context);
        }
        let before = self.members.get(&member_id).map(|member| member.current.clone()).unwrap_or_default();
        let resubscribed = self.update_subscription(&member_id, request, topics, context);
        self.follow_epoch(topics, context);
        self.reconcile_member(&member_id, request.owned.as_deref(), resubscribed, topics, context);
        self.set_session_timer(&member_id, context);

        let current = &self.members[&member_id].current;
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topics.is_some() || request.subscribed_regex.is_some())
            && request.owned.is_some();
        let tell = request.member_epoch == JOIN || is_full || !assignment::same_partitions(&before.assigned, &current.assigned);
        Ok(ConsumerHeartbeat {
            member_id: request.member_id.clone(),
            member_epoch: current.epoch,
            heartbeat_interval_ms: context.consumer_heartbeat_interval_ms(&self.id),
            assignment: tell.then(|| assignment::to_list(&current.assigned)),
        })
    }

    /// Whether the member may do what it asks for; answers the static member whose place it takes.
    fn member_to_replace(&self, request: &ConsumerHeartbeatRequest) -> Result<Option<Arc<str>>, GroupError> {
        let member_id = request.member_id.as_str();
        let Some(instance_id) = request.instance_id.as_deref() else {
            return match self.members.get(member_id) {
                Some(member) => check_epoch(member, request).map(|()| None),
                None if request.member_epoch == JOIN => Ok(None),
                None => Err(GroupError::unknown_member(&self.id, member_id)),
            };
        };
        let Some(owner) = self.instances.get(instance_id) else {
            return if request.member_epoch == JOIN { Ok(None) } else { Err(GroupError::unknown_member(&self.id, member_id)) };
        };
        let is_other = **owner != *member_id;
        let member = &self.members[owner];
        if request.member_epoch != JOIN {
            return if is_other {
                Err(fenced_instance(member_id, instance_id, owner))
            } else {
                check_epoch(member, request).map(|()| None)
            };
        }
        // A member that comes back under its own id lost an answer, or was fenced. Another one has to wait until this one left.
        if is_other && member.subscription.classic.is_none() && member.current.epoch != LEFT_STATIC {
            return Err(GroupError::UnreleasedInstanceId(format!(
                "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is owned by {owner} member."
            )));
        }
        let is_back = is_other || member.current.epoch == LEFT_STATIC || member.subscription.classic.is_some();
        Ok(is_back.then(|| owner.clone()))
    }

    /// A static member is back, mostly under another id, and gets what it had.
    pub(super) fn replace(&mut self, old: &Arc<str>, new: &Arc<str>, context: &mut Context<'_>) {
        let Some(Member { subscription, current, target }) = self.take_member(old) else { return };
        rows::no_member(&self.id, old).into_iter().for_each(|row| context.save(row));
        self.cancel_timers(old, context);
        let current = Current { epoch: 0, previous_epoch: 0, ..current };
        context.save(rows::subscription(&self.id, new, &subscription));
        context.save(rows::target(&self.id, new, &target));
        context.save(rows::current(&self.id, new, &current));
        self.set_subscription(new, subscription);
        self.set_current(new, current);
        if let Some(member) = self.members.get_mut(new) {
            member.target = target;
        }
    }

    /// Takes over what the member says of itself. Says whether its subscription changed.
    fn update_subscription(
        &mut self,
        member_id: &Arc<str>,
        request: &ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> bool {
        let old = self.members.get(member_id).map(|member| &member.subscription);
        let new = match old {
            Some(old) => old.updated(request),
            None => {
                let blank = Subscription::default();
                Some(blank.updated(request).unwrap_or(blank))
            }
        };
        if old.is_some_and(|old| old.classic.is_some()) {
            // It speaks the other protocol from now on.
            self.stop_awaiting_join(member_id, context);
            context.cancel_timer(&self.id, &Timer::ConsumerSync(member_id.clone()));
        }
        self.subscribe(member_id, new, topics, context)
    }

    /// Takes over a new subscription, if there is one, and raises the group's epoch if that, or the topics, changed what is to be
    /// assigned. Says whether the subscription changed.
    pub(super) fn subscribe(
        &mut self,
        member_id: &Arc<str>,
        new: Option<Subscription>,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> bool {
        let (mut names_changed, mut regex_changed) = (false, false);
        let mut raise = self.epoch == 0;
        if let Some(new) = new {
            let old = self.members.get(member_id).map(|member| &member.subscription);
            let (old_names, old_regex) = old.map(|old| (old.topics.clone(), old.regex.clone())).unwrap_or_default();
            names_changed = old_names != new.topics;
            regex_changed = old_regex != new.regex;
            // An expression that is not resolved yet changes nothing before it is.
            raise |= names_changed || (regex_changed && (new.regex.is_empty() || self.resolved.contains_key(&new.regex)));
            context.save(rows::subscription(&self.id, member_id, &new));
            self.set_subscription(member_id, new);
        }
        raise |= self.refresh_regexes(topics, context);
        self.follow_topics(raise, topics, context);
        names_changed || regex_changed
    }

    /// Moves a member on towards the target assignment.
    pub(super) fn reconcile_member(
        &mut self,
        member_id: &Arc<str>,
        owned: Option<&[(types::TopicId, Vec<i32>)]>,
        resubscribed: bool,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get(member_id) else { return };
        let behind = self.assignment_epoch < self.epoch;
        if !resubscribed && !behind && member.current.is_reconciled_to(self.assignment_epoch) {
            return;
        }
        let subscribed = self.subscribed_topics(&member.subscription, topics);
        let goal =
            Goal { epoch: self.assignment_epoch, target: &member.target, subscribed: &subscribed, owned, strip: resubscribed || behind };
        let next = reconcile(&member.current, &goal, |partition| self.is_free_for(member_id, partition));
        if next != member.current {
            context.save(rows::current(&self.id, member_id, &next));
            self.set_current(member_id, next);
            self.set_rebalance_timer(member_id, context);
        }
    }

    fn leave(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        let member_id = request.member_id.as_str();
        if let Some(instance_id) = request.instance_id.as_deref() {
            match self.instances.get(instance_id) {
                None => return Err(GroupError::unknown_member(&self.id, member_id)),
                Some(owner) if **owner != *member_id => return Err(fenced_instance(member_id, instance_id, owner)),
                Some(_) => {}
            }
        }
        let Some((member_id, member)) = self.members.get_key_value(member_id) else {
            return Err(GroupError::unknown_member(&self.id, member_id));
        };
        let member_id = member_id.clone();
        if request.member_epoch == LEFT_STATIC {
            // It keeps what it has until its session ends. What it was to give up nobody reads any more.
            let away = Current { epoch: LEFT_STATIC, revoking: Default::default(), ..member.current.clone() };
            context.save(rows::current(&self.id, &member_id, &away));
            self.set_current(&member_id, away);
            context.cancel_timer(&self.id, &Timer::ConsumerRebalance(member_id));
        } else {
            self.fence(&[member_id], topics, context);
        }
        let member_epoch = request.member_epoch;
        Ok(ConsumerHeartbeat { member_id: request.member_id.clone(), member_epoch, heartbeat_interval_ms: 0, assignment: None })
    }

    /// Puts members out; others are assigned what they had.
    pub(crate) fn fence(&mut self, member_ids: &[Arc<str>], topics: &dyn Topics, context: &mut Context<'_>) {
        let mut any = false;
        for member_id in member_ids {
            if self.take_member(member_id).is_some() {
                any = true;
                rows::no_member(&self.id, member_id).into_iter().for_each(|row| context.save(row));
                self.cancel_timers(member_id, context);
            }
        }
        if any {
            self.drop_unused_regexes(context);
            self.follow_topics(true, topics, context);
            if self.is_empty() {
                self.set_assignment_epoch(context);
            }
        }
    }

    fn cancel_timers(&mut self, member_id: &Arc<str>, context: &mut Context<'_>) {
        self.awaited.remove(member_id);
        for timer in [Timer::ConsumerSession, Timer::ConsumerRebalance, Timer::ConsumerJoin, Timer::ConsumerSync] {
            context.cancel_timer(&self.id, &timer(member_id.clone()));
        }
    }

    /// A timer of the group went off.
    pub(crate) fn expire(&mut self, timer: &Timer, topics: &dyn Topics, context: &mut Context<'_>) {
        match timer {
            // The rebalance timer is set anew or cancelled whenever the member's state changes: if it goes off, nothing did.
            Timer::ConsumerSession(member)
            | Timer::ConsumerRebalance(member)
            | Timer::ConsumerJoin(member)
            | Timer::ConsumerSync(member) => {
                self.fence(std::slice::from_ref(member), topics, context);
            }
            Timer::Join | Timer::Sync | Timer::Session(_) | Timer::Pending(_) => {}
        }
    }
}

/// Whether the epoch that a member names is its own, or the one before and the answer with its own was lost.
fn check_epoch(member: &Member, request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
    let (named, current) = (request.member_epoch, &member.current);
    // Who joins again has given everything up.
    if named == JOIN || named == current.epoch {
        return Ok(());
    }
    let is_greater = current.epoch < named;
    let has_only_its_own = || request.owned.as_ref().is_some_and(|owned| assignment::holds_all(&current.assigned, owned));
    if !is_greater && named == current.previous_epoch && has_only_its_own() {
        return Ok(());
    }
    Err(GroupError::FencedMemberEpoch(format!(
        "The consumer group member has a {} member epoch ({named}) than the one known by the group coordinator ({}). \
         The member must abandon all its partitions and rejoin.",
        if is_greater { "greater" } else { "smaller" },
        current.epoch,
    )))
}

pub(super) fn fenced_instance(member_id: &str, instance_id: &str, owner: &str) -> GroupError {
    GroupError::FencedInstanceId(format!("Static member {member_id} with instance id {instance_id} was fenced by member {owner}."))
}
