//! Deadlines of all groups of a coordinator.
//!
//! A heartbeat moves its member's deadline later, thousands of times before one goes off. So a deadline that moves later stays where it
//! is in the queue and is put right when it comes up; only one that moves earlier is queued anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Moment;

/// What may be due in a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Classic: the join phase ends, or the first delay of an empty group.
    Join,
    /// Classic: who has not synced is put out.
    Sync,
    /// Classic: the member's session, or its time to join again.
    Session(Arc<str>),
    /// Classic: who was given an id and did not join with it is forgotten.
    Pending(Arc<str>),
    /// Consumer: the member's session.
    ConsumerSession(Arc<str>),
    /// Consumer: the member's time to give partitions up.
    ConsumerRebalance(Arc<str>),
    /// Consumer, member of the classic protocol: its time to join again.
    ConsumerJoin(Arc<str>),
    /// Consumer, member of the classic protocol: its time to sync.
    ConsumerSync(Arc<str>),
}

type Key = (Arc<str>, Timer);

#[derive(Default, Debug)]
pub(crate) struct Deadlines {
    /// Per timer: when it is due, and where it stands in the queue, which is never later.
    due: BTreeMap<Key, (Moment, Moment)>,
    queue: BTreeSet<(Moment, Key)>,
}

impl Deadlines {
    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, group_id: Arc<str>, timer: Timer, at: Moment) {
        let key = (group_id, timer);
        match self.due.get_mut(&key) {
            Some((due, queued)) if *queued <= at => *due = at,
            Some((due, queued)) => {
                self.queue.remove(&(*queued, key.clone()));
                (*due, *queued) = (at, at);
                self.queue.insert((at, key));
            }
            None => {
                self.due.insert(key.clone(), (at, at));
                self.queue.insert((at, key));
            }
        }
    }

    /// Takes a deadline away, if it is there.
    pub(crate) fn cancel(&mut self, group_id: &Arc<str>, timer: &Timer) {
        let key = (group_id.clone(), timer.clone());
        if let Some((_, queued)) = self.due.remove(&key) {
            self.queue.remove(&(queued, key));
        }
    }

    /// Takes all deadlines of a group away.
    pub(crate) fn cancel_group(&mut self, group_id: &Arc<str>) {
        let first = (group_id.clone(), Timer::Join);
        let keys: Vec<_> = self.due.range(first..).map(|(key, _)| key).take_while(|(group, _)| group == group_id).cloned().collect();
        for (group, timer) in keys {
            self.cancel(&group, &timer);
        }
    }

    /// When to look next. Nothing may be due then: a deadline may have moved.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that `now` has reached, the earliest first.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<Key> {
        while self.next()? <= now {
            let (_, key) = self.queue.pop_first()?;
            let (due, queued) = self.due.get_mut(&key).expect("what is queued is due some time");
            if *due <= now {
                self.due.remove(&key);
                return Some(key);
            }
            *queued = *due;
            self.queue.insert((*due, key));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(member: &str) -> Timer {
        Timer::Session(member.into())
    }

    #[test]
    fn deadlines_go_off_once_and_in_order() {
        let mut deadlines = Deadlines::default();
        let group: Arc<str> = "g".into();
        deadlines.set(group.clone(), session("b"), Moment(20));
        deadlines.set(group.clone(), session("a"), Moment(30));
        deadlines.set(group.clone(), session("c"), Moment(10));
        deadlines.cancel(&group, &session("c"));
        assert_eq!(deadlines.next(), Some(Moment(20)));
        assert_eq!(deadlines.pop(Moment(19)), None);
        assert_eq!(deadlines.pop(Moment(30)), Some((group.clone(), session("b"))));
        assert_eq!(deadlines.pop(Moment(30)), Some((group.clone(), session("a"))));
        assert_eq!((deadlines.pop(Moment(100)), deadlines.next()), (None, None));
    }

    #[test]
    fn a_deadline_that_moved_goes_off_at_its_last_place() {
        let mut deadlines = Deadlines::default();
        let group: Arc<str> = "g".into();
        deadlines.set(group.clone(), session("a"), Moment(10));
        deadlines.set(group.clone(), session("a"), Moment(50));
        assert_eq!(deadlines.pop(Moment(49)), None);
        assert_eq!(deadlines.next(), Some(Moment(50)));
        deadlines.set(group.clone(), session("a"), Moment(20));
        assert_eq!(deadlines.pop(Moment(20)), Some((group.clone(), session("a"))));
        assert_eq!(deadlines.pop(Moment(50)), None);
    }

    #[test]
    fn a_group_takes_only_its_own_deadlines_away() {
        let mut deadlines = Deadlines::default();
        let (group, other): (Arc<str>, Arc<str>) = ("g".into(), "h".into());
        for timer in [Timer::Join, Timer::Sync, session("a"), Timer::ConsumerSync("z".into())] {
            deadlines.set(group.clone(), timer.clone(), Moment(10));
            deadlines.set(other.clone(), timer, Moment(10));
        }
        deadlines.cancel_group(&group);
        let left: Vec<_> = std::iter::from_fn(|| deadlines.pop(Moment(10))).collect();
        assert_eq!(left.len(), 4);
        assert!(left.iter().all(|(group, _)| *group == other));
    }
}
