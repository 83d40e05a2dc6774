//! SyncGroup: the leader brings what each member gets, and everybody fetches its part.

use std::collections::HashMap;

use super::member::Waiter;
use super::{ClassicGroup, MAX_GROUP_BYTES, State, millis};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::{Answer, GroupError, SyncRequest, Synced, Ticket};

impl ClassicGroup {
    /// The answer is among the effects, now or when the leader has assigned.
    pub(crate) fn sync(&mut self, ticket: Ticket, request: SyncRequest, cx: &mut Context<'_>) {
        if let Err(error) = self.check_sync(&request) {
            cx.answer(ticket, Answer::Sync(Err(error)));
            return;
        }
        self.unsynced.remove(request.member_id.as_str());
        if self.unsynced.is_empty() {
            cx.cancel_timer(&self.id, &Timer::Sync);
        }
        let Some(member) = self.members.get_mut(request.member_id.as_str()) else { return };
        // A second sync of one member is a retry: the first one's client does not listen any more.
        member.answer_sync(Err(GroupError::RebalanceInProgress), cx);
        member.sync = Waiter::on(ticket);
        match self.state {
            State::Completing if self.is_leader(&request.member_id) => self.assign(request.assignments.into_iter().collect(), cx),
            State::Stable => self.answer_syncs(cx, |id| id == request.member_id),
            State::Empty | State::Preparing(_) | State::Completing => {}
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        let differs = |named: &Option<String>, ours: &Option<String>| named.is_some() && ours.is_some() && named != ours;
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if matches!(self.state, State::Preparing(_)) { Err(GroupError::RebalanceInProgress) } else { Ok(()) }
    }

    /// The group is stable: saved as it is now, and everybody who waits gets its part.
    fn assign(&mut self, mut assignments: HashMap<String, bytes::Bytes>, cx: &mut Context<'_>) {
        let assigned: usize = self.members.keys().filter_map(|id| assignments.get(id.as_ref())).map(bytes::Bytes::len).sum();
        if MAX_GROUP_BYTES < self.bytes + assigned {
            for member in self.members.values_mut() {
                member.answer_sync(Err(GroupError::GroupTooLarge { limit: MAX_GROUP_BYTES }), cx);
            }
            self.prepare_rebalance(cx);
            return;
        }
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id.as_ref()).unwrap_or_default();
        }
        self.enter(State::Stable, cx);
        cx.save(self.row());
        self.answer_syncs(cx, |_| true);
    }

    fn answer_syncs(&mut self, cx: &mut Context<'_>, whose: impl Fn(&str) -> bool) {
        let Self { id: group_id, members, protocol_type, protocol, .. } = self;
        for (id, member) in members.iter_mut().filter(|(id, _)| whose(id)) {
            let synced = Synced { protocol_type: protocol_type.clone(), protocol: protocol.clone(), assignment: member.assignment.clone() };
            if member.answer_sync(Ok(synced), cx) {
                // Its session was not looked at while it waited.
                cx.set_timer(group_id, Timer::Session(id.clone()), millis(member.session_timeout_ms));
            }
        }
    }

    /// Whoever joined and did not sync would hold partitions that it does not know of.
    pub(super) fn on_sync_timer(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Completing | State::Stable) || self.unsynced.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.unsynced) {
            self.drop_member(&id, cx);
        }
        self.prepare_rebalance(cx);
    }
}
