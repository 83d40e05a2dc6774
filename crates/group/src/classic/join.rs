//! JoinGroup: new members, members that come back, and static members that take the place of their former self (KIP-345).

use std::sync::Arc;

use super::member::{Member, Waiter, protocol_bytes};
use super::{ClassicGroup, MAX_GROUP_BYTES, State, fenced};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::{Answer, GroupError, JoinRequest, Joined, Ticket};

/// How long the join of a new member may wait. A client that is gone asks again with another id, and each of them would count.
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

impl ClassicGroup {
    /// The answer is among the effects, now or when the generation begins.
    pub(crate) fn join(&mut self, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) {
        let joined = if !self.has_room_for(&request.member_id, cx.options.max_size) {
            // Of a group that became too large those who come last are put out.
            self.stop_expecting(&request.member_id, cx);
            self.drop_member(&request.member_id, cx);
            Err(GroupError::GroupMaxSizeReached { limit: cx.options.max_size })
        } else if !self.has_bytes_for(&request) {
            Err(GroupError::GroupTooLarge { limit: MAX_GROUP_BYTES })
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            Err(GroupError::InconsistentGroupProtocol)
        } else if request.member_id.is_empty() {
            self.join_new(ticket, request, cx)
        } else if request.instance_id.is_none() && self.stop_expecting(&request.member_id, cx) {
            let id = request.member_id.as_str().into();
            self.add_member(id, ticket, request, cx);
            Ok(None)
        } else {
            self.join_again(ticket, request, cx)
        };
        match joined {
            Ok(None) => {}
            Ok(Some(joined)) => cx.answer(ticket, Answer::Join(Ok(joined))),
            Err(error) => cx.answer(ticket, Answer::Join(Err(error))),
        }
    }

    /// Counted are the members that wait while a generation is prepared, for the group may have become too large with a smaller limit.
    fn has_room_for(&self, member_id: &str, limit: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::Preparing(_) => member.is_some_and(|member| member.join.is_waiting()) || self.joining < limit,
            State::Completing | State::Stable => member.is_some() || self.members.len() < limit,
        }
    }

    fn has_bytes_for(&self, request: &JoinRequest) -> bool {
        let former = self.members.get(request.member_id.as_str()).map_or(0, Member::bytes);
        self.bytes - former + protocol_bytes(&request.protocols) <= MAX_GROUP_BYTES
    }

    fn join_new(&mut self, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) -> Result<Option<Joined>, GroupError> {
        let id: Arc<str> = request.new_member_id().into();
        match &request.instance_id {
            Some(instance_id) if self.static_members.contains_key(instance_id) => Ok(self.replace_member(id, ticket, request, cx)),
            None if request.needs_member_id => {
                self.expect(id.clone(), request.session_timeout_ms, cx);
                Err(GroupError::MemberIdRequired { member_id: id.to_string() })
            }
            _ => {
                self.add_member(id, ticket, request, cx);
                Ok(None)
            }
        }
    }

    fn add_member(&mut self, id: Arc<str>, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) {
        if let State::Preparing(Some(initial)) = &mut self.state {
            initial.member_added = true;
        }
        let protocol_type = request.protocol_type.clone();
        self.add(id.clone(), Member::joining(request, ticket), &protocol_type);
        cx.set_timer(&self.id, Timer::Session(id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.rebalance_or_complete_join(cx);
    }

    fn join_again(&mut self, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) -> Result<Option<Joined>, GroupError> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        let unchanged = self.members[request.member_id.as_str()].protocols == request.protocols;
        let repeats = match self.state {
            State::Empty => return Err(self.unknown(&request.member_id)),
            State::Preparing(_) => false,
            // It may have missed the answer of its join.
            State::Completing => unchanged,
            // A leader that joins wants to assign anew, because of topics that changed for example.
            State::Stable => unchanged && !self.is_leader(&request.member_id),
        };
        if repeats {
            return Ok(Some(self.joined(&request.member_id)));
        }
        let member_id = request.member_id.clone();
        self.update_member(&member_id, ticket, request, cx);
        self.rebalance_or_complete_join(cx);
        Ok(None)
    }

    /// Takes over what the member says now, and lets its join wait.
    fn update_member(&mut self, member_id: &str, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) {
        // A second join of one member is a retry: the first one's client does not listen any more.
        self.answer_join(member_id, Err(GroupError::RebalanceInProgress), cx);
        self.count_protocols(&request.protocols);
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.rebalance_timeout_ms = request.time_to_rejoin_ms();
        member.session_timeout_ms = request.session_timeout_ms;
        member.join = Waiter::on(ticket);
        let former = std::mem::replace(&mut member.protocols, request.protocols);
        self.bytes = self.bytes + protocol_bytes(&member.protocols) - protocol_bytes(&former);
        self.uncount_protocols(&former);
        self.joining += 1;
    }

    /// A static member is back, under a new id. If it wants what it had, the generation goes on and only the id changes.
    fn replace_member(&mut self, id: Arc<str>, ticket: Ticket, request: JoinRequest, cx: &mut Context<'_>) -> Option<Joined> {
        let instance_id = request.instance_id.clone()?;
        let can_skip_assignment = request.can_skip_assignment;
        let former = self.static_members.insert(instance_id.clone(), id.clone())?;
        let former_leader = self.leader.clone();
        self.fence(&former, &instance_id, cx);
        let member = self.members.remove(&former)?;
        self.members.insert(id.clone(), member);
        if self.unsynced.remove(&former) {
            self.unsynced.insert(id.clone());
        }
        if self.is_leader(&former) {
            self.leader = Some(id.clone());
        }
        self.update_member(&id, ticket, request, cx);
        self.renew_session(&id, cx);
        match self.state {
            State::Stable if self.protocol == self.vote() => {
                cx.save(self.row());
                let mut joined = self.joined(&id);
                if can_skip_assignment {
                    joined.skip_assignment = self.is_leader(&id);
                } else {
                    // A client that would assign because it leads is told of its former self as the leader.
                    joined.members.clear();
                    joined.leader = former_leader.as_deref().unwrap_or_default().to_owned();
                }
                self.answer_join(&id, Ok(joined), cx);
            }
            State::Stable => self.prepare_rebalance(cx),
            // The leader may have assigned to the former id already.
            State::Completing => self.prepare_rebalance(cx),
            State::Preparing(_) | State::Empty => self.complete_join_if_due(cx),
        }
        None
    }

    /// Whoever waits under the former id is not the member any more.
    fn fence(&mut self, former: &Arc<str>, instance_id: &str, cx: &mut Context<'_>) {
        cx.cancel_timer(&self.id, &Timer::Session(former.clone()));
        self.answer_join(former, Err(fenced(instance_id)), cx);
        if let Some(member) = self.members.get_mut(former) {
            member.answer_sync(Err(fenced(instance_id)), cx);
        }
    }
}
