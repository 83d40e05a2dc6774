//! Ranges: of every topic each subscriber gets one run of neighbouring partitions. Subscribers of the same topics with equally many
//! partitions get the same numbers of each, so that they can join them.
//!
//! It remembers nothing. What keeps it steady is the order of the members: static ones first, by instance id, which outlives the member
//! id; then the others by member id.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use types::TopicId;

use super::{Spec, Subscriber};
use crate::consumer::assignment::Partitions;

/// What is left of a topic.
struct Rest {
    next: i32,
    partitions: i32,
    /// Subscribers that have not had their turn.
    subscribers: i32,
}

impl Rest {
    /// The next subscriber's run: whoever comes first gets one more where the division leaves a rest.
    fn take(&mut self) -> std::ops::Range<i32> {
        let left = self.partitions - self.next;
        let length = left.div_euclid(self.subscribers) + i32::from(0 < left % self.subscribers);
        let run = self.next..self.next + length;
        self.next = run.end;
        self.subscribers -= 1;
        run
    }
}

pub(super) fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..spec.members.len()).collect();
    order.sort_by(|&a, &b| steady_order(&spec.members[a], &spec.members[b]));

    let mut rests: BTreeMap<TopicId, Rest> = BTreeMap::new();
    for topic in spec.members.iter().flat_map(|member| member.topics) {
        let partitions = spec.topics.get(topic).map_or(0, |partitions| *partitions as i32);
        rests.entry(*topic).or_insert(Rest { next: 0, partitions, subscribers: 0 }).subscribers += 1;
    }

    let mut assignments = vec![Partitions::new(); spec.members.len()];
    for index in order {
        for topic in spec.members[index].topics {
            let Some(rest) = rests.get_mut(topic) else { continue };
            let run = rest.take();
            if !run.is_empty() {
                assignments[index].insert(*topic, run.collect());
            }
        }
    }
    assignments
}

fn steady_order(a: &Subscriber<'_>, b: &Subscriber<'_>) -> Ordering {
    match (a.instance_id, b.instance_id) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.member_id.cmp(b.member_id),
    }
}
