//! Room for one answer that is gathered from group coordinators: each part is made only once there is room for it in the budget for
//! answers. How large a part is, its coordinator finds out by making it; what does not fit is dropped at once and made again later.
//!
//! The room of one answer grows part by part. Two that hold some and wait for more do not stop for good: see [`crate::memory_budget`].

use std::sync::Arc;

use group::{Coordinator, GroupError, Topics};
use types::CoordinatorSlot;

use crate::coordinator::{CoordinatorError, Coordinators};
use crate::memory_budget::{Charge, MemoryBudget};

/// Answers below this are made without asking for memory first.
pub(crate) const SMALL_ANSWER: usize = 64 << 10;

/// See the module.
pub(crate) struct AnswerRoom<'a> {
    answers: &'a Arc<MemoryBudget>,
    /// Nothing for as long as the answer is small.
    charge: Option<Charge>,
    used: usize,
}

impl<'a> AnswerRoom<'a> {
    /// Room for a small answer.
    pub(crate) fn new(answers: &'a Arc<MemoryBudget>) -> Self {
        Self { answers, charge: None, used: 0 }
    }

    /// Bytes that still fit.
    pub(crate) fn free(&self) -> usize {
        self.charge.as_ref().map_or(SMALL_ANSWER, Charge::bytes).saturating_sub(self.used)
    }

    /// Makes room for `bytes` more, waiting for it.
    pub(crate) async fn reserve(&mut self, bytes: usize) {
        let needed = self.used.saturating_add(bytes);
        if self.free() < bytes {
            let charge = self.charge.get_or_insert_with(|| self.answers.charge());
            charge.grow(needed.saturating_sub(charge.bytes())).await;
        }
    }

    /// A part of so many bytes was made.
    pub(crate) fn fill(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    /// What the answer holds of the budget from now on.
    pub(crate) fn into_charge(self) -> Option<Charge> {
        self.charge
    }
}

impl Coordinators {
    /// As [`Self::ask_slot`], for an answer that may be large and changes nothing: it is made when there is room for it.
    pub(crate) async fn ask_in_room<T, F>(
        &self,
        slot: CoordinatorSlot,
        room: &mut AnswerRoom<'_>,
        bytes: fn(&T) -> usize,
        ask: F,
    ) -> Result<T, CoordinatorError>
    where
        T: Send + 'static,
        F: Fn(&Coordinator, &dyn Topics) -> Result<T, GroupError> + Clone + Send + 'static,
    {
        loop {
            let (ask, free) = (ask.clone(), room.free());
            let asked = self.ask_slot(slot, move |coordinator, topics, _| {
                let answer = ask(coordinator, topics)?;
                let needed = bytes(&answer);
                Ok((needed, (needed <= free).then_some(answer)))
            });
            let (needed, answer) = asked.await?;
            match answer {
                Some(answer) => {
                    room.fill(needed);
                    return Ok(answer);
                }
                None => room.reserve(needed).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_small_answer_costs_nothing_and_a_larger_one_all_of_its_bytes() {
        let answers = MemoryBudget::new(1 << 20);
        let mut room = AnswerRoom::new(&answers);
        room.reserve(SMALL_ANSWER - 1).await;
        room.fill(SMALL_ANSWER - 1);
        assert_eq!((room.free(), answers.used_bytes()), (1, 0));
        room.reserve(1025).await;
        assert_eq!((room.free(), answers.used_bytes()), (1025, SMALL_ANSWER + 1024));
        room.fill(1025);
        room.reserve(1 << 10).await;
        assert_eq!(answers.used_bytes(), SMALL_ANSWER + 2048);
        drop(room.into_charge());
        assert_eq!(answers.used_bytes(), 0);
    }

    #[tokio::test]
    async fn of_two_answers_that_need_more_than_there_is_one_goes_on() {
        let answers = MemoryBudget::new(1 << 20);
        let (mut first, mut second) = (AnswerRoom::new(&answers), AnswerRoom::new(&answers));
        for room in [&mut first, &mut second] {
            room.reserve(1 << 19).await;
            room.fill(1 << 19);
        }
        first.reserve(1 << 20).now_or_never().expect("one may overdraw");
        assert!(second.reserve(1 << 20).now_or_never().is_none());
        drop(first);
        second.reserve(1 << 20).now_or_never().expect("the other goes on then");
    }
}
