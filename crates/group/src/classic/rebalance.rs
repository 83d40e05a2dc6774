//! From one generation to the next: who is waited for and how long, who leads, who is put out.

use std::sync::Arc;

use super::{ClassicGroup, InitialDelay, State, millis};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::{GroupError, Joined, JoinedMember};

/// A client may say that it needs no time to join again; that is no reason to look for it without pause.
const SHORTEST_WAIT_MS: u64 = 1_000;

impl ClassicGroup {
    /// Somebody came, changed or went.
    pub(super) fn rebalance_or_complete_join(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Empty | State::Completing | State::Stable => self.prepare_rebalance(cx),
            State::Preparing(_) => self.complete_join_if_due(cx),
        }
    }

    /// Everybody has to join again.
    pub(super) fn prepare_rebalance(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Completing {
            self.refuse_syncs(cx);
        }
        self.unsynced.clear();
        cx.cancel_timer(&self.id, &Timer::Sync);
        if self.state != State::Empty {
            self.enter(State::Preparing(None), cx);
            if self.everybody_joined() {
                self.complete_join(cx);
            } else {
                cx.set_timer(&self.id, Timer::Join, self.rebalance_timeout());
            }
            return;
        }
        let delay = cx.options.initial_rebalance_delay_ms;
        let remaining = self.rebalance_timeout().saturating_sub(delay);
        self.enter(State::Preparing(Some(InitialDelay { delay, remaining, member_added: false })), cx);
        if delay == 0 {
            self.complete_join(cx);
        } else {
            cx.set_timer(&self.id, Timer::Join, delay);
        }
    }

    /// The generation that was about to be will not come.
    fn refuse_syncs(&mut self, cx: &mut Context<'_>) {
        let Self { id, members, .. } = self;
        for (member_id, member) in members {
            member.assignment.clear();
            if member.answer_sync(Err(GroupError::RebalanceInProgress), cx) {
                // Its session was not looked at while it waited.
                cx.set_timer(id, Timer::Session(member_id.clone()), millis(member.session_timeout_ms));
            }
        }
    }

    fn everybody_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Ends the join phase as soon as everybody is here; an empty group's first one takes its time.
    pub(super) fn complete_join_if_due(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Preparing(None) {
            self.complete_join_if_all_are_here(cx);
        }
    }

    /// Ends the join phase if nobody is missing any more.
    pub(super) fn complete_join_if_all_are_here(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Preparing(_)) && self.everybody_joined() {
            self.complete_join(cx);
        }
    }

    /// The time to join is over, or a part of the first delay.
    pub(super) fn on_join_timer(&mut self, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Preparing(Some(initial)) if initial.member_added && initial.remaining != 0 => {
                let delay = initial.remaining.min(cx.options.initial_rebalance_delay_ms);
                let remaining = initial.remaining.saturating_sub(initial.delay);
                *initial = InitialDelay { delay, remaining, member_added: false };
                cx.set_timer(&self.id, Timer::Join, delay);
            }
            State::Preparing(_) => self.complete_join(cx),
            State::Empty | State::Completing | State::Stable => {}
        }
    }

    /// The generation begins with those who joined. Static members stay until their session or the sync ends them.
    fn complete_join(&mut self, cx: &mut Context<'_>) {
        cx.cancel_timer(&self.id, &Timer::Join);
        let is_late = |id: &Arc<str>| {
            let member = &self.members[id];
            member.instance_id.is_none() && !member.join.is_waiting()
        };
        let late: Vec<_> = self.members.keys().filter(|id| is_late(id)).cloned().collect();
        for id in late {
            self.remove(&id, cx);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members, and none of them has joined: wait on, their sessions may end.
            cx.set_timer(&self.id, Timer::Join, self.rebalance_timeout().max(SHORTEST_WAIT_MS));
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.read_subscriptions();
            self.enter(State::Empty, cx);
            cx.save(self.row());
            return;
        }
        self.protocol = self.vote();
        self.read_subscriptions();
        self.enter(State::Completing, cx);
        self.announce_generation(cx);
        cx.set_timer(&self.id, Timer::Sync, self.rebalance_timeout());
    }

    /// The leader stays if it joined; otherwise somebody who did.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.join.is_waiting());
        if !self.leader.as_ref().is_some_and(joined) {
            match self.members.keys().find(|id| joined(id)) {
                Some(id) => self.leader = Some(id.clone()),
                None => return false,
            }
        }
        true
    }

    /// Answers every join and waits for every sync.
    fn announce_generation(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            self.answer_join(&id, Ok(joined), cx);
            self.renew_session(&id, cx);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.unsynced.insert(id);
        }
    }

    /// What a member is told of the generation. The leader learns of everybody.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment: false,
            members: if self.is_leader(member_id) { self.joined_members() } else { Vec::new() },
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = |(id, member): (&Arc<str>, &super::Member)| JoinedMember {
            member_id: id.to_string(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(joined).collect()
    }

    /// Answers the member's join, if it waits.
    pub(super) fn answer_join(&mut self, member_id: &str, answer: Result<Joined, GroupError>, cx: &mut Context<'_>) {
        if let Some(member) = self.members.get_mut(member_id)
            && member.answer_join(answer, cx)
        {
            self.joining -= 1;
        }
    }

    /// The member was silent for too long.
    pub(super) fn on_session_timer(&mut self, member_id: &str, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(member_id) else { return };
        if !member.may_expire() {
            return;
        }
        self.drop_member(member_id, cx);
        match self.state {
            State::Completing | State::Stable => self.prepare_rebalance(cx),
            // Also in an empty group's first delay: nothing is gained by more of it when nobody is missing.
            State::Preparing(_) => self.complete_join_if_all_are_here(cx),
            State::Empty => {}
        }
    }

    /// Takes a member out; if it waits, it learns that it is no member.
    pub(super) fn drop_member(&mut self, member_id: &str, cx: &mut Context<'_>) {
        let unknown = self.unknown(member_id);
        self.answer_join(member_id, Err(unknown.clone()), cx);
        if let Some(member) = self.members.get_mut(member_id) {
            member.answer_sync(Err(unknown), cx);
        }
        self.remove(member_id, cx);
    }
}
