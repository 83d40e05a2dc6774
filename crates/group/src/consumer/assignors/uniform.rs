//! Evenly: as few partitions as possible move, and among members with the same subscription nobody has two more than another.

use std::collections::{BTreeMap, BTreeSet};

use types::TopicId;

use super::Spec;
use crate::consumer::assignment::Partitions;

/// Rounds of evening out where subscriptions differ. Where the subscribers of each topic are alike one is enough and a second finds
/// nothing to do; where they overlap, each about halves what is uneven.
const MAX_ROUNDS: usize = 16;

pub(super) fn assign(spec: &Spec<'_>) -> Vec<Partitions> {
    let alike = spec.members.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    if alike { Alike::new(spec).assign() } else { Mixed::new(spec).assign() }
}

/// What the members keep of what they had: what is still there and still subscribed to. The second value says who has what.
fn kept(spec: &Spec<'_>) -> (Vec<Partitions>, BTreeMap<TopicId, Vec<Option<usize>>>) {
    let mut owners: BTreeMap<TopicId, Vec<Option<usize>>> =
        spec.topics.iter().map(|(topic, partitions)| (*topic, vec![None; *partitions as usize])).collect();
    let mut kept = vec![Partitions::new(); spec.members.len()];
    for (index, member) in spec.members.iter().enumerate() {
        for (topic, partitions) in member.previous.iter().filter(|(topic, _)| member.topics.contains(topic)) {
            let Some(owners) = owners.get_mut(topic) else { continue };
            for partition in partitions {
                if let Some(owner @ None) = owners.get_mut(*partition as usize) {
                    *owner = Some(index);
                    kept[index].entry(*topic).or_default().insert(*partition);
                }
            }
        }
    }
    (kept, owners)
}

fn size(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}

fn remove(partitions: &mut Partitions, topic: TopicId, partition: i32) {
    if let Some(of_topic) = partitions.get_mut(&topic) {
        of_topic.remove(&partition);
        if of_topic.is_empty() {
            partitions.remove(&topic);
        }
    }
}

/// All members subscribed to the same topics: each has its share, or its share and one more.
struct Alike {
    assignments: Vec<Partitions>,
    free: Vec<(TopicId, i32)>,
    /// Everybody's.
    share: usize,
    /// How many get one more.
    extra: usize,
}

impl Alike {
    fn new(spec: &Spec<'_>) -> Self {
        let (assignments, owners) = kept(spec);
        let subscribed = spec.members.first().map(|member| member.topics);
        let topics = || owners.iter().filter(|(topic, _)| subscribed.is_some_and(|topics| topics.contains(topic)));
        let free = topics()
            .flat_map(|(topic, owners)| {
                owners.iter().enumerate().filter(|(_, owner)| owner.is_none()).map(|(partition, _)| (*topic, partition as i32))
            })
            .collect();
        let total: usize = topics().map(|(_, owners)| owners.len()).sum();
        let members = spec.members.len().max(1);
        Self { assignments, free, share: total / members, extra: total % members }
    }

    fn assign(mut self) -> Vec<Partitions> {
        let mut quotas = vec![self.share; self.assignments.len()];
        // One more goes first to those who have it already: it need not move then.
        for has_more in [true, false] {
            for (quota, assignment) in quotas.iter_mut().zip(&self.assignments) {
                if 0 < self.extra && *quota == self.share && (self.share < size(assignment)) == has_more {
                    *quota += 1;
                    self.extra -= 1;
                }
            }
        }
        for (quota, assignment) in quotas.iter().zip(&mut self.assignments) {
            let surplus = size(assignment).saturating_sub(*quota);
            let given: Vec<(TopicId, i32)> = assignment
                .iter()
                .rev()
                .flat_map(|(topic, partitions)| partitions.iter().rev().map(|partition| (*topic, *partition)))
                .take(surplus)
                .collect();
            for (topic, partition) in &given {
                remove(assignment, *topic, *partition);
            }
            self.free.extend(given);
        }
        let mut free = self.free.into_iter();
        for (quota, assignment) in quotas.iter().zip(&mut self.assignments) {
            let missing = quota.saturating_sub(size(assignment));
            for (topic, partition) in free.by_ref().take(missing) {
                assignment.entry(topic).or_default().insert(partition);
            }
        }
        self.assignments
    }
}

/// Subscriptions differ.
struct Mixed {
    assignments: Vec<Partitions>,
    /// Partitions of each member.
    sizes: Vec<usize>,
    owners: BTreeMap<TopicId, Vec<Option<usize>>>,
    subscribers: BTreeMap<TopicId, Vec<usize>>,
}

impl Mixed {
    fn new(spec: &Spec<'_>) -> Self {
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (index, member) in spec.members.iter().enumerate() {
            for topic in member.topics {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        let (assignments, mut owners) = kept(spec);
        owners.retain(|topic, _| subscribers.contains_key(topic));
        let sizes = assignments.iter().map(size).collect();
        Self { assignments, sizes, owners, subscribers }
    }

    fn assign(mut self) -> Vec<Partitions> {
        let topics = self.in_order();
        for topic in &topics {
            self.give_free(*topic);
        }
        for _ in 0..MAX_ROUNDS {
            let moved: usize = topics.iter().map(|topic| self.even_out(*topic)).sum();
            if moved == 0 {
                break;
            }
        }
        self.assignments
    }

    /// Those first that weigh most on each subscriber, then those with the smallest choice of subscribers.
    fn in_order(&self) -> Vec<TopicId> {
        let mut topics: Vec<(usize, usize, TopicId)> =
            self.owners.iter().map(|(topic, owners)| (owners.len(), self.subscribers[topic].len(), *topic)).collect();
        topics.sort_by(|(partitions_a, subscribers_a, a), (partitions_b, subscribers_b, b)| {
            let weight = (partitions_b * subscribers_a).cmp(&(partitions_a * subscribers_b));
            weight.then(subscribers_a.cmp(subscribers_b)).then(a.cmp(b))
        });
        topics.into_iter().map(|(_, _, topic)| topic).collect()
    }

    /// The topic's subscribers, who has least first.
    fn by_load(&self, topic: TopicId) -> BTreeSet<(usize, usize)> {
        self.subscribers[&topic].iter().map(|member| (self.sizes[*member], *member)).collect()
    }

    fn give_free(&mut self, topic: TopicId) {
        let mut loads = self.by_load(topic);
        for partition in 0..self.owners[&topic].len() {
            if self.owners[&topic][partition].is_some() {
                continue;
            }
            let Some((load, member)) = loads.pop_first() else { return };
            self.give(topic, partition, member);
            loads.insert((load + 1, member));
        }
    }

    /// Moves the topic's partitions from who has most to who has least, until they differ by at most one. Says how many moved.
    fn even_out(&mut self, topic: TopicId) -> usize {
        let mut loads = self.by_load(topic);
        let mut moved = 0;
        while let (Some(least), Some(most)) = (loads.first().copied(), loads.last().copied()) {
            if most.0 <= least.0 + 1 {
                break;
            }
            let last = self.assignments[most.1].get(&topic).and_then(|partitions| partitions.last().copied());
            loads.remove(&most);
            // Without partitions of this topic it has nothing that could move.
            let Some(partition) = last else { continue };
            loads.remove(&least);
            remove(&mut self.assignments[most.1], topic, partition);
            self.sizes[most.1] -= 1;
            self.give(topic, partition as usize, least.1);
            loads.extend([(most.0 - 1, most.1), (least.0 + 1, least.1)]);
            moved += 1;
        }
        moved
    }

    fn give(&mut self, topic: TopicId, partition: usize, member: usize) {
        self.assignments[member].entry(topic).or_default().insert(partition as i32);
        self.sizes[member] += 1;
        if let Some(owners) = self.owners.get_mut(&topic) {
            owners[partition] = Some(member);
        }
    }
}
