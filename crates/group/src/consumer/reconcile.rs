//! One member's next step towards the target assignment (KIP-848).
//!
//! A partition goes from one member to the other in three steps: the old owner is told to give it up and keeps its epoch; it says that
//! it did, by naming what it still has; then it is nobody's, and the new owner gets it at its next heartbeat.

use std::collections::BTreeSet;

use types::{TopicId, TopicPartition};

use super::assignment::{self, Held, Partitions};
use super::member::{Current, MemberState};

/// Where a member shall get.
pub(crate) struct Goal<'a> {
    /// Epoch of the target assignment.
    pub(crate) epoch: i32,
    /// The member's part of it.
    pub(crate) target: &'a Partitions,
    /// What it subscribes to now. The target may be older.
    pub(crate) subscribed: &'a BTreeSet<TopicId>,
    /// What it says that it has; `None` if it does not say.
    pub(crate) owned: Option<&'a [(TopicId, Vec<i32>)]>,
    /// It may have topics that it does not subscribe to any more, which no target assignment knows yet.
    pub(crate) strip: bool,
}

/// The member's next state, which may be its present one. `is_free` says whether no other member has a partition.
pub(crate) fn reconcile(current: &Current, goal: &Goal<'_>, is_free: impl Fn(TopicPartition) -> bool) -> Current {
    match current.state {
        MemberState::Stable if current.epoch != goal.epoch => step(current, goal, is_free),
        MemberState::UnrevokedPartitions if !may_still_read(&current.revoking, goal) => step(current, goal, is_free),
        MemberState::UnreleasedPartitions => step(current, goal, is_free),
        MemberState::Stable | MemberState::UnrevokedPartitions if goal.strip => strip(current, goal),
        MemberState::Stable | MemberState::UnrevokedPartitions => current.clone(),
    }
}

/// Whether the member has not said that it gave all of `revoking` up.
fn may_still_read(revoking: &Held, goal: &Goal<'_>) -> bool {
    goal.owned.is_none_or(|owned| assignment::holds_any(revoking, owned))
}

fn step(current: &Current, goal: &Goal<'_>, is_free: impl Fn(TopicPartition) -> bool) -> Current {
    let wants = |topic: &TopicId, partition: &i32| {
        goal.subscribed.contains(topic) && goal.target.get(topic).is_some_and(|partitions| partitions.contains(partition))
    };
    let (mut assigned, revoking) = divide(&current.assigned, wants);
    if !revoking.is_empty() && may_still_read(&revoking, goal) {
        let (epoch, previous_epoch) = (current.epoch, current.epoch);
        return Current { state: MemberState::UnrevokedPartitions, epoch, previous_epoch, assigned, revoking };
    }
    let mut state = MemberState::Stable;
    for (topic, partitions) in goal.target.iter().filter(|(topic, _)| goal.subscribed.contains(topic)) {
        for partition in partitions {
            if assigned.get(topic).is_some_and(|held| held.contains_key(partition)) {
                continue;
            }
            if is_free(TopicPartition::new(*topic, *partition)) {
                assigned.entry(*topic).or_default().insert(*partition, goal.epoch);
            } else {
                state = MemberState::UnreleasedPartitions;
            }
        }
    }
    Current { state, epoch: goal.epoch, previous_epoch: current.epoch, assigned, revoking: Held::new() }
}

/// Takes from the member what it does not subscribe to any more, ahead of the next target assignment.
fn strip(current: &Current, goal: &Goal<'_>) -> Current {
    let (assigned, stripped) = divide(&current.assigned, |topic, _| goal.subscribed.contains(topic));
    if stripped.is_empty() {
        return current.clone();
    }
    let mut revoking = current.revoking.clone();
    for (topic, partitions) in stripped {
        revoking.entry(topic).or_default().extend(partitions);
    }
    let (epoch, previous_epoch) = (current.epoch, current.epoch);
    if may_still_read(&revoking, goal) {
        Current { state: MemberState::UnrevokedPartitions, epoch, previous_epoch, assigned, revoking }
    } else {
        Current { state: current.state, epoch, previous_epoch, assigned, revoking: Held::new() }
    }
}

/// What passes, and what does not.
fn divide(held: &Held, passes: impl Fn(&TopicId, &i32) -> bool) -> (Held, Held) {
    let (mut yes, mut no) = (Held::new(), Held::new());
    for (topic, partitions) in held {
        for (partition, since) in partitions {
            let side = if passes(topic, partition) { &mut yes } else { &mut no };
            side.entry(*topic).or_default().insert(*partition, *since);
        }
    }
    (yes, no)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u8) -> TopicId {
        TopicId::from_bytes([number; 16])
    }

    fn held(partitions: &[(u8, i32, i32)]) -> Held {
        let mut held = Held::new();
        for (number, partition, since) in partitions {
            held.entry(topic(*number)).or_default().insert(*partition, *since);
        }
        held
    }

    fn current(state: MemberState, epoch: i32, assigned: &[(u8, i32, i32)], revoking: &[(u8, i32, i32)]) -> Current {
        Current { state, epoch, previous_epoch: epoch, assigned: held(assigned), revoking: held(revoking) }
    }

    /// The next state of `current`, whose previous epoch must be the one it left.
    fn check(
        current: &Current,
        target: (i32, &[(u8, i32)]),
        subscribed: &[u8],
        owned: Option<&[(u8, i32)]>,
        taken: &[(u8, i32)],
        strip: bool,
    ) -> Current {
        let mut wanted = Partitions::new();
        for (number, partition) in target.1 {
            wanted.entry(topic(*number)).or_default().insert(*partition);
        }
        let owned: Option<Vec<_>> = owned.map(|owned| owned.iter().map(|(number, partition)| (topic(*number), vec![*partition])).collect());
        let subscribed = subscribed.iter().map(|number| topic(*number)).collect();
        let goal = Goal { epoch: target.0, target: &wanted, subscribed: &subscribed, owned: owned.as_deref(), strip };
        let taken: Vec<_> = taken.iter().map(|(number, partition)| TopicPartition::new(topic(*number), *partition)).collect();
        let next = reconcile(current, &goal, |partition| !taken.contains(&partition));
        assert!(next == *current || next.previous_epoch == current.epoch);
        Current { previous_epoch: next.epoch, ..next }
    }

    use MemberState::{Stable, UnreleasedPartitions, UnrevokedPartitions};

    #[test]
    fn free_partitions_are_taken_in_one_step() {
        let next = check(&current(Stable, 0, &[], &[]), (3, &[(1, 0), (1, 1)]), &[1], None, &[], false);
        assert_eq!(next, current(Stable, 3, &[(1, 0, 3), (1, 1, 3)], &[]));
    }

    #[test]
    fn partitions_of_others_are_waited_for() {
        let next = check(&current(Stable, 2, &[(1, 0, 2)], &[]), (3, &[(1, 0), (1, 1), (1, 2)]), &[1], None, &[(1, 1)], false);
        assert_eq!(next, current(UnreleasedPartitions, 3, &[(1, 0, 2), (1, 2, 3)], &[]));
        let last = check(&next, (3, &[(1, 0), (1, 1), (1, 2)]), &[1], None, &[], false);
        assert_eq!(last, current(Stable, 3, &[(1, 0, 2), (1, 1, 3), (1, 2, 3)], &[]));
    }

    #[test]
    fn nothing_new_comes_before_the_old_is_given_up() {
        let before = current(Stable, 2, &[(1, 0, 1), (1, 1, 2)], &[]);
        let target: (i32, &[(u8, i32)]) = (3, &[(1, 1), (1, 2)]);
        let told = check(&before, target, &[1], None, &[], false);
        assert_eq!(told, current(UnrevokedPartitions, 2, &[(1, 1, 2)], &[(1, 0, 1)]));
        // It says nothing, or that it still has it.
        assert_eq!(check(&told, target, &[1], None, &[], false), told);
        assert_eq!(check(&told, target, &[1], Some(&[(1, 0), (1, 1)]), &[], false), told);
        let done = check(&told, target, &[1], Some(&[(1, 1)]), &[], false);
        assert_eq!(done, current(Stable, 3, &[(1, 1, 2), (1, 2, 3)], &[]));
    }

    #[test]
    fn what_the_member_says_it_has_not_need_not_be_revoked() {
        let before = current(Stable, 2, &[(1, 0, 1)], &[]);
        assert_eq!(check(&before, (3, &[]), &[1], Some(&[]), &[], false), current(Stable, 3, &[], &[]));
    }

    #[test]
    fn a_partition_that_was_given_up_and_is_wanted_again_is_new() {
        let told = current(UnrevokedPartitions, 2, &[], &[(1, 0, 1)]);
        assert_eq!(check(&told, (4, &[(1, 0)]), &[1], Some(&[]), &[], false), current(Stable, 4, &[(1, 0, 4)], &[]));
    }

    #[test]
    fn topics_without_subscription_go_before_the_next_target_is_known() {
        let before = current(Stable, 3, &[(1, 0, 1), (2, 0, 1)], &[]);
        let target: (i32, &[(u8, i32)]) = (3, &[(1, 0), (2, 0)]);
        assert_eq!(check(&before, target, &[2], None, &[], false), before);
        let told = check(&before, target, &[2], None, &[], true);
        assert_eq!(told, current(UnrevokedPartitions, 3, &[(2, 0, 1)], &[(1, 0, 1)]));
        assert_eq!(check(&told, target, &[2], Some(&[(2, 0)]), &[], true), current(Stable, 3, &[(2, 0, 1)], &[]));
        // A second subscription goes while the first is still being given up.
        assert_eq!(check(&told, target, &[], None, &[], true), current(UnrevokedPartitions, 3, &[], &[(1, 0, 1), (2, 0, 1)]));
        assert_eq!(check(&before, target, &[2], Some(&[(2, 0)]), &[], true), current(Stable, 3, &[(2, 0, 1)], &[]));
    }
}
