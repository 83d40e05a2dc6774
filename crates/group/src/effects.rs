//! What a call leaves behind for its driver, and what a group needs from its coordinator to work.

use std::ops::RangeInclusive;

use crate::deadlines::{Deadlines, Timer};
use crate::{Answer, GroupConfig, GroupConfigs, Now, Options, Row};

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
    /// What is set on single groups.
    pub(crate) groups: &'a GroupConfigs,
    /// Deadlines of all groups.
    pub(crate) timers: &'a mut Deadlines,
    /// What the call leaves behind.
    pub(crate) effects: &'a mut Effects,
}

impl Context<'_> {
    /// How long a member of the group that speaks the consumer protocol may be silent.
    pub(crate) fn consumer_session_timeout_ms(&self, group_id: &str) -> i32 {
        let own = self.group(group_id).consumer_session_timeout_ms;
        own.map_or(self.options.consumer_session_timeout_ms, |own| within(own, &self.options.consumer_session_timeouts_ms))
    }

    /// How often such a member is to call.
    pub(crate) fn consumer_heartbeat_interval_ms(&self, group_id: &str) -> i32 {
        let own = self.group(group_id).consumer_heartbeat_interval_ms;
        own.map_or(self.options.consumer_heartbeat_interval_ms, |own| within(own, &self.options.consumer_heartbeat_intervals_ms))
    }

    /// How long a target assignment of the group stands before another one is made.
    pub(crate) fn consumer_assignment_interval_ms(&self, group_id: &str) -> u64 {
        let own = self.group(group_id).consumer_assignment_interval_ms;
        own.map_or(self.options.consumer_assignment_interval_ms, |own| within(own, &self.options.consumer_assignment_intervals_ms))
    }

    fn group(&self, group_id: &str) -> GroupConfig {
        self.groups.get(group_id).copied().unwrap_or_default()
    }

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

/// The value, or the bound that is nearest to it.
fn within<T: Ord + Copy>(value: T, bounds: &RangeInclusive<T>) -> T {
    value.min(*bounds.end()).max(*bounds.start())
}
