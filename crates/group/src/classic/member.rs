//! A member of a classic group.

use bytes::Bytes;

use crate::effects::Context;
use crate::{Answer, GroupError, JoinRequest, Joined, Protocol, Synced, Ticket};

/// Counted for a member besides what its client chose: id, timeouts, places in maps.
const MEMBER_OVERHEAD: usize = 200;

/// Somebody who joined, or is about to.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it likes best first. Of a member that was loaded only what its generation agreed on.
    pub(super) protocols: Vec<Protocol>,
    /// What the leader gave it last.
    pub(super) assignment: Bytes,
    /// It waits for the next generation.
    pub(super) join: Waiter,
    /// It waits for the leader's assignment.
    pub(super) sync: Waiter,
    /// It has not been in a generation: it may be gone, for nobody sees a connection close while a join waits on it.
    pub(super) is_new: bool,
}

/// Whether a request waits, and who is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Waiter(Option<Ticket>);

impl Waiter {
    pub(super) fn on(ticket: Ticket) -> Self {
        Self(Some(ticket))
    }

    pub(super) fn is_waiting(self) -> bool {
        self.0.is_some()
    }

    pub(super) fn take(&mut self) -> Option<Ticket> {
        self.0.take()
    }
}

impl Member {
    /// Somebody new, whose join waits.
    pub(super) fn joining(request: JoinRequest, ticket: Ticket) -> Self {
        Self {
            rebalance_timeout_ms: request.time_to_rejoin_ms(),
            session_timeout_ms: request.session_timeout_ms,
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            protocols: request.protocols,
            assignment: Bytes::new(),
            join: Waiter::on(ticket),
            sync: Waiter::default(),
            is_new: true,
        }
    }

    /// What it takes in memory and, as a row, in metadata, roughly: everything in it that its client chooses the length of.
    pub(super) fn bytes(&self) -> usize {
        let names = self.client_id.len() + self.instance_id.as_ref().map_or(0, String::len);
        names + protocol_bytes(&self.protocols) + MEMBER_OVERHEAD
    }

    /// What the member said for `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|offered| offered.name == protocol);
        found.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// Whether its session may end now: not while the coordinator owes it an answer, unless it is new.
    pub(super) fn may_expire(&self) -> bool {
        self.is_new || !(self.join.is_waiting() || self.sync.is_waiting())
    }

    /// Answers the sync that waits. Whether one did.
    pub(super) fn answer_sync(&mut self, answer: Result<Synced, GroupError>, cx: &mut Context<'_>) -> bool {
        match self.sync.take() {
            Some(ticket) => {
                cx.answer(ticket, Answer::Sync(answer));
                true
            }
            None => false,
        }
    }

    /// Answers the join that waits. Whether one did; then the group has one less that waits.
    pub(super) fn answer_join(&mut self, answer: Result<Joined, GroupError>, cx: &mut Context<'_>) -> bool {
        match self.join.take() {
            Some(ticket) => {
                cx.answer(ticket, Answer::Join(answer));
                true
            }
            None => false,
        }
    }
}

/// What protocols count for.
pub(super) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}
