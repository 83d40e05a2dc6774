//! Tickets of appends, and the queues in which a partition keeps them until the log has come far enough.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use types::{Lsn, Offset};
use wal::Progress;

use crate::AppendError;

/// Resolves when an append is as durable as its `acks` asks for, or when it is certain that nobody will say so. With `acks=0` that is when the
/// log has written it: until then its bytes are in memory, and whoever counts those must know. Dropping it changes nothing about the append.
#[derive(Debug)]
pub struct AppendTicket(State);

enum State {
    Durable,
    Writing(BoxFuture<'static, ()>),
    Waiting(oneshot::Receiver<Result<(), AppendError>>),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "Durable",
            Self::Writing(_) => "Writing",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl AppendTicket {
    pub(crate) fn durable() -> Self {
        Self(State::Durable)
    }

    /// Resolves once entry `lsn` is written, or will not be because the log has stopped.
    pub(crate) fn written(mut progress: watch::Receiver<Progress>, lsn: Lsn) -> Self {
        let is_over = move |progress: &Progress| lsn < progress.appended || progress.stopped.is_some();
        Self(State::Writing(async move { drop(progress.wait_for(is_over).await) }.boxed()))
    }
}

impl Future for AppendTicket {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Durable => Poll::Ready(Ok(())),
            State::Writing(writing) => writing.poll_unpin(cx).map(Ok),
            State::Waiting(receiver) => {
                let answer = ready!(Pin::new(receiver).poll(cx));
                Poll::Ready(answer.unwrap_or_else(|_| Err(AppendError::LogStopped { reason: "the broker's log was dropped".into() })))
            }
        }
    }
}

/// Appends that wait for one level of durability, by the end offset that must be reached.
#[derive(Default, Debug)]
pub(crate) struct Waiters {
    waiting: VecDeque<(Offset, oneshot::Sender<Result<(), AppendError>>)>,
}

impl Waiters {
    /// Whether one more may wait. Forgets the tickets that were dropped before it says no.
    pub(crate) fn has_room(&mut self, limit: usize) -> bool {
        if limit <= self.waiting.len() {
            self.waiting.retain(|(_, sender)| !sender.is_closed());
        }
        self.waiting.len() < limit
    }

    /// A ticket that resolves when the level has reached `end`. A retry may wait for an older batch than the newest one.
    pub(crate) fn wait(&mut self, end: Offset) -> AppendTicket {
        let (sender, receiver) = oneshot::channel();
        let place = self.waiting.partition_point(|(other, _)| *other <= end);
        self.waiting.insert(place, (end, sender));
        AppendTicket(State::Waiting(receiver))
    }

    /// Who waited for another level waits for this one.
    pub(crate) fn take(&mut self, others: &mut Self) {
        for (end, sender) in std::mem::take(&mut others.waiting) {
            let place = self.waiting.partition_point(|(other, _)| *other <= end);
            self.waiting.insert(place, (end, sender));
        }
    }

    /// The level has reached `end`.
    pub(crate) fn release(&mut self, end: Offset) {
        while let Some((waits_for, _)) = self.waiting.front()
            && *waits_for <= end
        {
            let (_, sender) = self.waiting.pop_front().expect("the front was just seen");
            // Nobody listens any more when the connection is gone.
            let _ = sender.send(Ok(()));
        }
        self.give_memory_back();
    }

    /// The level will never go beyond `end`.
    pub(crate) fn fail_above(&mut self, end: Offset, error: &AppendError) {
        let first = self.waiting.partition_point(|(waits_for, _)| *waits_for <= end);
        for (_, sender) in self.waiting.drain(first..) {
            let _ = sender.send(Err(error.clone()));
        }
        self.give_memory_back();
    }

    /// An idle partition keeps no buffer: there may be very many of them.
    fn give_memory_back(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_ticket_resolves_when_its_end_is_reached_and_not_before() {
        let mut waiters = Waiters::default();
        let (mut later, mut earlier) = (waiters.wait(Offset(20)), waiters.wait(Offset(10)));
        waiters.release(Offset(9));
        assert!((&mut earlier).now_or_never().is_none());
        waiters.release(Offset(19));
        assert!(matches!(earlier.now_or_never(), Some(Ok(()))));
        assert!((&mut later).now_or_never().is_none());
    }

    #[test]
    fn failing_spares_what_is_reached_or_may_still_be() {
        let mut waiters = Waiters::default();
        let (mut below, above) = (waiters.wait(Offset(10)), waiters.wait(Offset(11)));
        waiters.fail_above(Offset(10), &AppendError::LogStopped { reason: "test".into() });
        assert!(matches!(above.now_or_never(), Some(Err(AppendError::LogStopped { .. }))));
        assert!((&mut below).now_or_never().is_none());
    }

    #[test]
    fn dropped_tickets_give_their_place_back() {
        let mut waiters = Waiters::default();
        let kept = waiters.wait(Offset(10));
        drop(waiters.wait(Offset(11)));
        assert!(waiters.has_room(2));
        let other = waiters.wait(Offset(12));
        assert!(!waiters.has_room(2));
        drop((kept, other));
    }
}
