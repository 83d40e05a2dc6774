//! What a slot's task can be told, and answers that wait until they may go out.

use std::sync::Arc;

use group::{Coordinator, GroupError, JoinRequest, Joined, Now, SyncRequest, Synced, Ticket, Topics};
use tokio::sync::oneshot;

use super::CoordinatorError;

/// Where an answer goes. Nobody may be there any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, CoordinatorError>>;

/// Everything that a slot's task can be told.
pub(super) enum Command {
    /// A call that is answered at once, or as soon as what it changed is durable.
    Call(Box<dyn Call>),
    /// A join, which may have to wait for others.
    Join { ticket: Ticket, request: Box<JoinRequest>, reply: Reply<Joined> },
    /// A sync, which may have to wait for the leader.
    Sync { ticket: Ticket, request: Box<SyncRequest>, reply: Reply<Synced> },
    /// Nobody waits for this join or sync any more.
    Forget(Ticket),
    /// Topics of these names are gone.
    TopicsDeleted(Arc<[String]>),
}

impl Command {
    /// Whether it is for a coordinator that is loaded only, or its sender has given up.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Call(call) => call.is_abandoned(),
            Self::Join { reply, .. } => reply.is_closed(),
            Self::Sync { reply, .. } => reply.is_closed(),
            Self::Forget(_) | Self::TopicsDeleted(_) => true,
        }
    }

    /// Answers that it is not done.
    pub(super) fn refuse(self, error: CoordinatorError) {
        match self {
            Self::Call(call) => call.refuse(error),
            Self::Join { reply, .. } => drop(reply.send(Err(error))),
            Self::Sync { reply, .. } => drop(reply.send(Err(error))),
            Self::Forget(_) | Self::TopicsDeleted(_) => {}
        }
    }
}

/// A call whose answer's type the task need not know.
pub(super) trait Call: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, coordinator: &mut Coordinator, topics: &dyn Topics, now: Now) -> Held;
    fn refuse(self: Box<Self>, error: CoordinatorError);
}

/// A question and where its answer goes.
pub(super) struct Asked<T, F> {
    pub(super) ask: F,
    pub(super) reply: Reply<T>,
}

impl<T, F> Call for Asked<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Coordinator, &dyn Topics, Now) -> Result<T, GroupError> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, coordinator: &mut Coordinator, topics: &dyn Topics, now: Now) -> Held {
        let Self { ask, reply } = *self;
        Held::new(reply, ask(coordinator, topics, now))
    }

    fn refuse(self: Box<Self>, error: CoordinatorError) {
        drop(self.reply.send(Err(error)));
    }
}

/// An answer that is made and may not go out yet.
pub(super) struct Held(Box<dyn FnOnce(Result<(), CoordinatorError>) + Send>);

impl Held {
    pub(super) fn new<T: Send + 'static>(reply: Reply<T>, result: Result<T, GroupError>) -> Self {
        let release = |durable: Result<(), CoordinatorError>| drop(reply.send(durable.and_then(|()| Ok(result?))));
        Self(Box::new(release))
    }

    /// What it stands on is durable, or never will be.
    pub(super) fn release(self, durable: Result<(), CoordinatorError>) {
        (self.0)(durable);
    }
}
