//! The requests of one connection that wait for their answers, in order. Both halves of a connection are one task, so this is a queue
//! without an allocation of its own while it is empty: ten thousand idle connections have ten thousand of them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A bounded queue with one producer and one consumer.
pub(crate) struct Pipeline<T> {
    bound: usize,
    state: Mutex<State<T>>,
    pushed: Notify,
    /// An element was taken out, or its request is done.
    moved: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// One has been taken out and is not done.
    busy: bool,
    closed: bool,
}

impl<T> Pipeline<T> {
    pub(crate) fn new(bound: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), busy: false, closed: false });
        Self { bound, state, pushed: Notify::new(), moved: Notify::new() }
    }

    /// Appends, or gives it back when the queue is full.
    pub(crate) fn try_push(&self, element: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if self.bound <= state.waiting.len() {
            return Err(element);
        }
        state.waiting.push_back(element);
        self.pushed.notify_one();
        Ok(())
    }

    /// Appends as soon as there is room.
    pub(crate) async fn push(&self, mut element: T) {
        while let Err(refused) = self.try_push(element) {
            element = refused;
            self.moved.notified().await;
        }
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.pushed.notify_one();
    }

    /// The next element, which counts as unanswered until the next call; `None` when the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            {
                let mut state = self.state.lock();
                let next = state.waiting.pop_front();
                state.busy = next.is_some();
                if next.is_none() {
                    // A burst leaves nothing behind.
                    state.waiting.shrink_to(0);
                }
                if next.is_some() || state.closed {
                    self.moved.notify_one();
                    return next;
                }
            }
            self.pushed.notified().await;
        }
    }

    /// Whether nothing waits and nothing is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.waiting.is_empty() && !state.busy
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn elements_come_out_in_order_and_a_full_queue_takes_one_for_each_that_left() {
        let pipeline = Pipeline::new(2);
        assert!(pipeline.is_idle());
        assert_eq!((pipeline.try_push(1), pipeline.try_push(2), pipeline.try_push(3)), (Ok(()), Ok(()), Err(3)));
        let pushing = pipeline.push(3);
        tokio::pin!(pushing);
        assert!((&mut pushing).now_or_never().is_none());
        assert_eq!(pipeline.next().await, Some(1));
        pushing.now_or_never().expect("there is room now");
        pipeline.close();
        assert_eq!((pipeline.next().await, pipeline.next().await), (Some(2), Some(3)));
        assert!(!pipeline.is_idle(), "the last one is not answered yet");
        assert_eq!(pipeline.next().await, None);
        assert!(pipeline.is_idle());
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken_by_an_element_and_by_the_end() {
        let pipeline = Pipeline::new(1);
        for expected in [Some(7), None] {
            let mut next = Box::pin(pipeline.next());
            assert!((&mut next).now_or_never().is_none());
            match expected {
                Some(element) => pipeline.try_push(element).unwrap(),
                None => pipeline.close(),
            }
            assert_eq!(next.await, expected);
        }
    }
}
