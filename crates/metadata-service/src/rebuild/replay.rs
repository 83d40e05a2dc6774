//! Puts a state together from a snapshot, the mirrored steps after it and the objects after it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use types::{BrokerEpoch, BrokerId, LeaderEpoch, Lsn, ObjectKey, Offset, Revision, Timestamp, TopicPartition, WalId};

use super::chain::{Chain, link, refusals};
use super::runs::{Candidate, Election, first_epoch, lay};
use super::{FoundObject, FoundSegment, Rebuilt, Report};
use crate::state::{COUNTER_JUMP, Event, Extension, PublishedLog, State};

/// An event of a mirrored step.
#[derive(Clone, Debug)]
pub(super) struct Mirrored {
    pub(super) revision: Revision,
    pub(super) now: Timestamp,
    pub(super) event: Event,
}

/// Objects that a publish after `base` may have added: not those that it references or knows as garbage, nor those that no publish could
/// name any more. What was rewritten is not looked for either: its sources are there until two snapshots lack them (rule R10).
pub(super) fn is_newer(base: &State, key: &ObjectKey) -> bool {
    let (_, epoch, _) = key.writer();
    let is_open = base.revision.0 < epoch.0 || !base.is_dead(key);
    matches!(key, ObjectKey::Shared { .. }) && is_open && !base.is_referenced(key) && !base.is_garbage(key)
}

/// `objects` are all that [`is_newer`] says and that could be read, `unreadable` the others.
pub(super) fn replay(
    base: State,
    mirrored: Vec<Mirrored>,
    objects: &[FoundObject],
    unreadable: &[ObjectKey],
    mut report: Report,
) -> Rebuilt {
    let chains = chains(&base, objects);
    let mut state = base;
    let seen = objects.iter().map(|object| object.metadata_revision.max(Revision(object.key.writer().1.0)));
    let newest = seen.chain(mirrored.iter().map(|step| step.revision)).fold(state.revision, Revision::max);
    let mut changes = Changes::default();
    changes.replay(&mut state, mirrored, objects);
    state.revision = Revision(newest.0 + COUNTER_JUMP);
    for (wal, (broker, chain)) in &chains {
        if state.wals.get(wal).is_none_or(|known| known.last_published.next() < chain.end) {
            state.published_log(&PublishedLog { wal: *wal, broker: *broker, last_published: Lsn(chain.end.0 - 1) });
        }
    }
    changes.lay(&mut state, &chains, objects, &mut report);
    let is_of_unknown_topic = |found: &FoundSegment| report.unknown_topics.contains(&found.partition.topic);
    let unplaced = objects.iter().filter(|object| object.segments.iter().any(is_of_unknown_topic)).map(|object| object.key);
    state.set_aside.extend(unplaced.chain(report.misfits.iter().map(|(_, key)| *key)).chain(unreadable.iter().copied()));
    state.registered.extend(objects.iter().map(|object| {
        let (broker, epoch, _) = object.key.writer();
        (broker, epoch)
    }));
    let producers = objects.iter().flat_map(|object| &object.segments).flat_map(|segment| &segment.producers);
    state.jump(producers.map(|delta| delta.producer + 1).max().unwrap_or(0));
    report.topics = state.topics.len() as u64;
    report.partitions = state.topics.values().map(|topic| u64::from(topic.partitions.unsigned_abs())).sum();
    report.segments = state.segment_count();
    Rebuilt { state, report }
}

/// Each log's publishes, with the broker whose log it was last.
fn chains<'a>(base: &State, objects: &'a [FoundObject]) -> BTreeMap<WalId, (BrokerId, Chain<'a>)> {
    let mut logs: BTreeMap<WalId, Vec<&FoundObject>> = BTreeMap::new();
    for object in objects {
        logs.entry(object.wal).or_default().push(object);
    }
    let chain = |(wal, objects): (WalId, Vec<&'a FoundObject>)| {
        let start = base.wals.get(&wal).map_or(Lsn::ZERO, |known| known.last_published).next();
        let newest = objects.iter().max_by_key(|object| object.key.writer().1);
        let broker = newest.map(|object| object.key.writer().0)?;
        Some((wal, (broker, link(objects, start))))
    };
    logs.into_iter().filter_map(chain).collect()
}

/// What mirrored events say of offsets.
#[derive(Default)]
struct Changes {
    log_starts: BTreeMap<TopicPartition, (Offset, Timestamp)>,
    elections: BTreeMap<TopicPartition, Vec<Election>>,
    /// Of partitions that objects are about: from which revision on which leader epochs are too old to be published.
    owned_from: BTreeMap<TopicPartition, Vec<(Revision, LeaderEpoch)>>,
}

impl Changes {
    /// Events, and registrations that only objects tell of, in the order of their revisions.
    fn replay(&mut self, state: &mut State, mirrored: Vec<Mirrored>, objects: &[FoundObject]) {
        let told: BTreeSet<_> = mirrored.iter().map(|step| step.revision).collect();
        let since = state.revision;
        let mut registrations: BTreeMap<BrokerEpoch, (BrokerId, WalId)> = BTreeMap::new();
        for object in objects {
            let (broker, epoch, _) = object.key.writer();
            registrations.insert(epoch, (broker, object.wal));
        }
        let now = state.now;
        let untold = registrations.into_iter().map(|(epoch, (broker, wal))| Mirrored {
            revision: Revision(epoch.0),
            now,
            event: Event::BrokerRegistered { broker, wal, endpoints: Vec::new(), rack: None, local: false },
        });
        let untold = untold.filter(|step| !told.contains(&step.revision));
        let mut steps: Vec<_> = mirrored.into_iter().chain(untold).filter(|step| since < step.revision).collect();
        steps.sort_by_key(|step| step.revision);
        let written: BTreeSet<_> = objects.iter().flat_map(|object| &object.segments).map(|found| found.partition).collect();
        self.note_owners(state, &written, Revision(0));
        for Mirrored { revision, now, event } in steps {
            state.replay(&event, revision, now);
            match event {
                Event::LogStartsAdvanced { partitions, not_before } => {
                    for (partition, log_start) in partitions {
                        let moved = self.log_starts.entry(partition).or_insert((log_start, not_before));
                        *moved = (moved.0.max(log_start), moved.1.max(not_before));
                    }
                }
                Event::PartitionsElected { partitions } => {
                    for elected in partitions {
                        if let Some(epoch) = state.give(elected.partition, elected.leader, elected.owner) {
                            let election = Election { epoch, next_offset: elected.next_offset };
                            self.elections.entry(elected.partition).or_default().push(election);
                        }
                    }
                }
                Event::BrokerRegistered { .. } => {}
                _ => continue,
            }
            self.note_owners(state, &written, revision);
        }
    }

    fn note_owners(&mut self, state: &State, written: &BTreeSet<TopicPartition>, revision: Revision) {
        for id in written {
            let Some(partition) = state.partition(*id) else { continue };
            let known = self.owned_from.entry(*id).or_default();
            if known.last().is_none_or(|(_, from)| *from < partition.owned_from) {
                known.push((revision, partition.owned_from));
            }
        }
    }

    /// Whether the segment is of an ownership that was over when its writer's epoch began: then its publish was refused.
    fn is_late(&self, found: &FoundSegment, epoch: BrokerEpoch) -> bool {
        let owned_from = self.owned_from.get(&found.partition).into_iter().flatten();
        let mut before = owned_from.filter(|(revision, _)| revision.0 <= epoch.0);
        before.any(|(_, from)| first_epoch(&found.segment).is_some_and(|first| first < *from))
    }

    /// Extends partitions by what was published, then moves log starts.
    fn lay(mut self, state: &mut State, chains: &BTreeMap<WalId, (BrokerId, Chain<'_>)>, objects: &[FoundObject], report: &mut Report) {
        let refused = refusals(objects);
        let mut candidates: BTreeMap<TopicPartition, Vec<(WalId, Candidate<'_>)>> = BTreeMap::new();
        for (wal, (_, chain)) in chains {
            for link in &chain.links {
                let (_, epoch, _) = link.object.key.writer();
                let refused = refused.get(&(epoch, link.object.sequence));
                for found in &link.object.segments {
                    let is_refused = refused.is_some_and(|refused| refused.contains(&found.partition));
                    if !is_refused && !self.is_late(found, epoch) {
                        let candidate = Candidate { found, is_certain: link.is_answered };
                        candidates.entry(found.partition).or_default().push((*wal, candidate));
                    }
                }
            }
        }
        let mut unknown = BTreeSet::new();
        let mut held: BTreeMap<ObjectKey, u32> = BTreeMap::new();
        let touched: BTreeSet<_> = candidates.keys().chain(self.elections.keys()).chain(self.log_starts.keys()).copied().collect();
        for id in touched.iter().copied() {
            let candidates = candidates.remove(&id).unwrap_or_default();
            let Some(partition) = state.partition(id) else {
                if !candidates.is_empty() && !state.deleted_topics.contains_key(&id.topic) {
                    unknown.insert(id.topic);
                }
                continue;
            };
            let wal_of: BTreeMap<ObjectKey, WalId> =
                candidates.iter().map(|(wal, candidate)| (candidate.found.segment.object, *wal)).collect();
            let elections = self.elections.remove(&id).unwrap_or_default();
            let candidates = candidates.into_iter().map(|(_, candidate)| candidate).collect();
            let runs = lay(partition.next_offset, &partition.epochs, candidates, elections);
            let found: Vec<_> = runs.segments.iter().map(|(_, candidate)| candidate.found).collect();
            found.iter().for_each(|found| *held.entry(found.segment.object).or_default() += 1);
            report.holes.extend(runs.holes.iter().map(|(from, to)| (id, *from, *to)));
            report.misfits.extend(runs.misfits.iter().map(|object| (id, *object)));
            let extension = Extension {
                segments: found.iter().map(|found| (wal_of[&found.segment.object], found.segment.clone())).collect(),
                next_offset: runs.next,
                epochs: runs.epochs,
                producers: found.iter().flat_map(|found| &found.producers).cloned().collect(),
            };
            state.extend(id, extension);
        }
        let is_known = |id: &TopicPartition| state.partition(*id).is_some();
        let touched: Vec<_> = touched.into_iter().filter(is_known).collect();
        report.used = held.len() as u64;
        held.into_iter().for_each(|(key, segments)| state.hold(key, segments));
        for id in touched {
            let (log_start, not_before) = self.log_starts.get(&id).copied().unwrap_or((Offset::ZERO, state.now));
            state.raise_log_start(id, log_start, not_before);
        }
        report.unknown_topics = unknown.into_iter().collect();
    }
}
