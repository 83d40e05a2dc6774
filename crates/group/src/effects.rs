//! What a call leaves behind for its driver, and what a group needs from its coordinator to work.

use crate::deadlines::{Deadlines, Timer};
use crate::{Answer, Now, Options, Row};

/// Names a join or sync that may have to wait. The driver chooses it and never uses it twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What the driver has to do after a call: save the rows, and when they are durable give out the call's own result and the answers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// What to save: of two rows with one key the later counts. All but those that [stand alone](Row::stands_alone) go into one save.
    pub rows: Vec<Row>,
    /// Whom to answer.
    pub answers: Vec<(Ticket, Answer)>,
}

/// Handed to a group for one call.
pub(crate) struct Context<'a> {
    /// The call's time.
    pub(crate) now: Now,
    /// The coordinator's options.
    pub(crate) options: &'a Options,
    /// Deadlines of all groups.
    pub(crate) timers: &'a mut Deadlines,
    /// What the call leaves behind.
    pub(crate) effects: &'a mut Effects,
}

impl Context<'_> {
    /// Sets `timer` of `group_id` to go off in `millis`, in place of any earlier setting of it.
    pub(crate) fn set_timer(&mut self, group_id: &std::sync::Arc<str>, timer: Timer, millis: u64) {
        self.timers.set(group_id.clone(), timer, self.now.moment + millis);
    }

    /// `timer` of `group_id` shall not go off.
    pub(crate) fn cancel_timer(&mut self, group_id: &std::sync::Arc<str>, timer: &Timer) {
        self.timers.cancel(group_id, timer);
    }

    /// Saves a value.
    pub(crate) fn save(&mut self, row: Row) {
        self.effects.rows.push(row);
    }

    /// Gives a waiting request its answer.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.answers.push((ticket, answer));
    }
}
