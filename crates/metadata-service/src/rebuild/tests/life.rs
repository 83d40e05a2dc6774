//! A cluster whose brokers have logs, upload what is in them, and publish; and a bucket that keeps what was uploaded. What a broker
//! does is what `offload` does, without waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use metadata_api::{PartitionPublish, PartitionVerdict, ProducerDelta, PublishRequest, PublishedObject, RegisterBroker, Registration, Run};
use types::{
    BrokerEpoch, BrokerId, ClusterId, Durability, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey, ObjectNumber, ObjectOrigin,
    Offset, ProducerBatch, ProducerWindows, PublishSequence, Revision, SegmentFlags, SegmentRef, Timestamp, TopicId, TopicPartition, WalId,
};

use crate::rebuild::replay::{Mirrored, is_newer, replay};
use crate::rebuild::{FoundObject, FoundSegment, Report};
use crate::state::decide::decide;
use crate::state::decision::Reply;
use crate::state::{Answer, Command, Event, Rules, SnapshotRef, State};

pub(super) const NOW: i64 = 1_700_000_000_000;

/// A batch in a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Batch {
    pub(super) lsn: Lsn,
    pub(super) partition: TopicPartition,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) base: Offset,
    pub(super) end: Offset,
    producer: i64,
}

/// A write-ahead log, never trimmed.
#[derive(Clone, Default, Debug)]
pub(super) struct Log {
    pub(super) batches: Vec<Batch>,
    next: u64,
}

/// A range on its way.
#[derive(Clone, Debug)]
struct Range {
    first: Lsn,
    end: Lsn,
    sequence: PublishSequence,
    object: Option<FoundObject>,
    is_uploaded: bool,
}

/// A broker epoch as its broker knows it.
#[derive(Clone, Debug)]
struct Session {
    epoch: BrokerEpoch,
    log: u8,
    sealed: Lsn,
    /// Where the ranges begin that were sealed since the last object and have none.
    empty_from: Option<Lsn>,
    sequence: u64,
    ranges: VecDeque<Range>,
    answered: PublishSequence,
    refused: Vec<(BrokerEpoch, PublishSequence, Vec<TopicPartition>)>,
    /// The last publish, while its answer is lost.
    unheard: Option<(PublishSequence, Vec<TopicPartition>)>,
    led: BTreeMap<TopicPartition, (LeaderEpoch, Offset)>,
    producers: BTreeMap<TopicPartition, ProducerWindows>,
}

#[derive(Clone)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) now: i64,
    pub(super) mirrored: Vec<Mirrored>,
    pub(super) bucket: BTreeMap<ObjectKey, FoundObject>,
    pub(super) logs: BTreeMap<u8, Log>,
    /// The batches of every object that ever was.
    contents: BTreeMap<ObjectKey, Vec<Batch>>,
    sessions: BTreeMap<i32, Session>,
    /// The log that each broker had last.
    last_logs: BTreeMap<i32, u8>,
    /// How many topics there were, by name.
    created: BTreeMap<u8, u8>,
    /// States of which there are snapshots; at most two, older first.
    pub(super) snapshots: Vec<State>,
}

/// The id of the `generation`-th topic of a name.
pub(super) fn topic(number: u8, generation: u8) -> TopicId {
    let mut id = [number; 16];
    id[15] = generation;
    TopicId::from_bytes(id)
}

pub(super) fn partition(topic: TopicId, index: i32) -> TopicPartition {
    TopicPartition::new(topic, index)
}

pub(super) fn wal(number: u8) -> WalId {
    WalId::from_bytes([number; 16])
}

fn rules() -> Rules {
    Rules {
        grace_ms: 0,
        max_segments: 100_000,
        retention_ms: -1,
        retention_bytes: -1,
        producer_expiration_ms: 1 << 40,
        clock_trusted: true,
    }
}

impl Life {
    pub(super) fn new() -> Self {
        let mut life = Self {
            state: State::default(),
            now: NOW,
            mirrored: Vec::new(),
            bucket: BTreeMap::new(),
            logs: BTreeMap::new(),
            contents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_logs: BTreeMap::new(),
            created: BTreeMap::new(),
            snapshots: Vec::new(),
        };
        let cluster = ClusterId::from_bytes([7; 16]);
        life.happen(&[Event::ClusterCreated { cluster }, Event::LeaderStarted, Event::StoreClaimed]);
        life
    }

    fn happen(&mut self, events: &[Event]) {
        for event in events {
            self.state.apply(event, Timestamp(self.now));
            if event.is_mirrored() {
                let (revision, now) = (self.state.revision, Timestamp(self.now));
                self.mirrored.push(Mirrored { revision, now, event: event.clone() });
            }
        }
    }

    /// What is refused is nothing.
    pub(super) fn run(&mut self, command: Command) -> Option<Answer> {
        let decision = decide(&self.state, &rules(), &command, Timestamp(self.now));
        self.happen(&decision.events);
        decision.answer.ok().map(|reply| match reply {
            Reply::Ready(answer) => answer,
            Reply::RegistrationOf(broker) => Answer::Registration(self.state.registration(broker).unwrap()),
            Reply::LastPublishOf(broker) => Answer::Publish(self.state.brokers[&broker].last_publish.clone().unwrap().answer),
        })
    }

    pub(super) fn register(&mut self, broker: i32, log: u8) {
        let request = RegisterBroker {
            broker: BrokerId(broker),
            wal: wal(log),
            cluster: None,
            endpoints: Vec::new(),
            rack: None,
            revision_seen: Revision(0),
            unpublished: Vec::new(),
        };
        let Some(Answer::Registration(registration)) = self.run(Command::RegisterBroker { request, local: false }) else { return };
        // Whoever had the log or the broker id before is fenced.
        self.sessions.retain(|id, session| *id != broker && session.log != log);
        if let Some(former) = self.last_logs.insert(broker, log).filter(|former| *former != log) {
            // A log that was replaced is gone, and with it what it had only uploaded: nobody can say that it was not published.
            self.forget_unpublished(former);
        }
        let start = registration.last_published.next();
        let found = self.logs.entry(log).or_default();
        found.next = found.next.max(start.0);
        let session = Session::of(&registration, log, found);
        self.sessions.insert(broker, session);
    }

    /// The broker starts again with the log that it had.
    pub(super) fn come_back(&mut self, broker: i32) {
        if let Some(log) = self.last_logs.get(&broker).copied() {
            self.register(broker, log);
        }
    }

    /// The topic of a name.
    pub(super) fn named(&self, number: u8) -> Option<TopicId> {
        let name = format!("t{number}");
        self.state.topics.iter().find(|(_, topic)| topic.name == name).map(|(id, _)| *id)
    }

    /// A number for the next topic of a name.
    pub(super) fn created(&mut self, number: u8) -> u8 {
        let generation = self.created.entry(number).or_default();
        *generation = generation.wrapping_add(1);
        *generation
    }

    fn forget_unpublished(&mut self, log: u8) {
        let published = self.state.wals.get(&wal(log)).map_or(Lsn::ZERO, |wal| wal.last_published);
        self.bucket.retain(|key, object| object.wal != wal(log) || object.first_lsn <= published || self.state.is_garbage(key));
    }

    /// The session ends; the broker itself is gone as well.
    pub(super) fn end(&mut self, broker: i32, in_order: bool) {
        let Some(session) = self.sessions.remove(&broker) else { return };
        let (broker, epoch) = (BrokerId(broker), session.epoch);
        let command = if in_order { Command::ResignBroker { broker, epoch } } else { Command::ExpireBroker { broker, epoch } };
        self.run(command);
    }

    pub(super) fn append(&mut self, broker: i32, id: TopicPartition, records: i64, producer: i64) {
        let Some(session) = self.sessions.get_mut(&broker) else { return };
        let Some(found) = self.state.partition(id) else { return };
        let log = self.logs.get_mut(&session.log).unwrap();
        if found.owner != wal(session.log) || self.state.visible_leader(found) != Some(BrokerId(broker)) {
            return;
        }
        let led = session.led.entry(id).or_insert((found.leader_epoch, found.next_offset));
        if led.0 < found.leader_epoch {
            *led = (found.leader_epoch, found.next_offset);
        }
        let (leader_epoch, base) = *led;
        let end = Offset(base.0 + records);
        led.1 = end;
        log.next = log.next.max(1);
        log.batches.push(Batch { lsn: Lsn(log.next), partition: id, leader_epoch, base, end, producer });
        log.next += 1;
    }

    /// Closes the range of everything that is in the log, or as much as fits one object.
    pub(super) fn seal(&mut self, broker: i32) {
        let Some(session) = self.sessions.get_mut(&broker).filter(|session| session.ranges.len() < 4) else { return };
        let log = &self.logs[&session.log];
        let mut parts: BTreeMap<TopicPartition, Vec<Batch>> = BTreeMap::new();
        let mut end = session.sealed;
        for batch in log.batches.iter().filter(|batch| session.sealed <= batch.lsn) {
            let part = parts.get(&batch.partition).and_then(|part| part.last());
            if part.is_some_and(|last| last.end != batch.base || batch.leader_epoch < last.leader_epoch) {
                break;
            }
            end = batch.lsn.next();
            parts.entry(batch.partition).or_default().push(*batch);
        }
        if end == session.sealed {
            return;
        }
        parts.retain(|partition, _| self.state.topics.contains_key(&partition.topic));
        session.sequence += 1;
        let (first, sequence) = (session.sealed, PublishSequence(session.sequence));
        let object = (!parts.is_empty()).then(|| {
            let key = ObjectKey::Shared { broker: BrokerId(broker), epoch: session.epoch, number: ObjectNumber(session.sequence) };
            self.contents.insert(key, parts.values().flatten().copied().collect());
            FoundObject {
                key,
                wal: wal(session.log),
                first_lsn: session.empty_from.take().unwrap_or(first),
                end_lsn: end,
                sequence,
                metadata_revision: self.state.revision,
                answered_through: session.answered,
                refused: session.refused.clone(),
                segments: parts.iter().map(|(partition, part)| session.segment(key, *partition, part)).collect(),
            }
        });
        if object.is_none() {
            session.empty_from.get_or_insert(first);
        }
        let is_uploaded = object.is_none();
        session.ranges.push_back(Range { first, end, sequence, object, is_uploaded });
        session.sealed = end;
    }

    /// An upload ends, not always the oldest.
    pub(super) fn upload(&mut self, broker: i32, index: usize) {
        let Some(session) = self.sessions.get_mut(&broker) else { return };
        let waiting: Vec<_> = session.ranges.iter_mut().filter(|range| !range.is_uploaded).collect();
        let count = waiting.len().max(1);
        if let Some(range) = waiting.into_iter().nth(index % count) {
            range.is_uploaded = true;
            let object = range.object.clone().unwrap();
            self.bucket.insert(object.key, object);
        }
    }

    /// Publishes the oldest range; the answer may be lost until it is asked for again.
    pub(super) fn publish(&mut self, broker: i32, is_heard: bool) {
        let Some(session) = self.sessions.get_mut(&broker) else { return };
        session.hear();
        let Some(range) = session.ranges.front().filter(|range| range.is_uploaded).cloned() else { return };
        let parts = range.object.iter().flat_map(|object| {
            let contents = &self.contents[&object.key];
            object.segments.iter().map(move |found| {
                let batches = contents.iter().filter(|batch| batch.partition == found.partition);
                let mut runs: Vec<Run> = Vec::new();
                for batch in batches {
                    match runs.last_mut() {
                        Some(run) if run.leader_epoch == batch.leader_epoch => run.end = batch.end,
                        _ => runs.push(Run { leader_epoch: batch.leader_epoch, base: batch.base, end: batch.end }),
                    }
                }
                PartitionPublish {
                    partition: found.partition,
                    segment: found.segment.clone(),
                    runs,
                    gap: false,
                    producers: found.producers.clone(),
                }
            })
        });
        let request = PublishRequest {
            broker: BrokerId(broker),
            epoch: session.epoch,
            sequence: range.sequence,
            object: range.object.as_ref().map(|object| PublishedObject { key: object.key, length: 1 << 30, crc: 7 }),
            first_lsn: range.first,
            end_lsn: range.end,
            object_floor: ObjectNumber(range.sequence.0),
            synced: Lsn(0),
            partitions: parts.collect(),
        };
        let ids: Vec<_> = request.partitions.iter().map(|part| part.partition).collect();
        let Some(Answer::Publish(answer)) = self.run(Command::Publish(Box::new(request))) else { return };
        let session = self.sessions.get_mut(&broker).unwrap();
        session.ranges.pop_front();
        let refused = ids.into_iter().zip(&answer.verdicts).filter(|(_, verdict)| matches!(verdict, PartitionVerdict::Refused(_)));
        session.unheard = Some((range.sequence, refused.map(|(id, _)| id).collect()));
        if is_heard {
            session.hear();
        }
    }

    pub(super) fn snapshot(&mut self) {
        let revision = self.state.revision;
        self.snapshots.push(self.state.clone());
        if 2 < self.snapshots.len() {
            self.snapshots.remove(0);
        }
        self.run(Command::SnapshotTaken(SnapshotRef { revision, slot: revision.0, manifest: format!("meta/manifest/{revision}") }));
    }

    /// Orphans die, and all garbage that may go goes.
    pub(super) fn sweep(&mut self) {
        self.run(Command::Orphans(self.bucket.keys().copied().collect()));
        let deletable = self.state.deletable(Timestamp(self.now), usize::MAX);
        self.bucket.retain(|key, _| !deletable.contains(key));
        self.run(Command::Deleted(deletable));
    }

    /// The journal is lost; metadata is what the bucket makes of it, from the snapshot given.
    pub(super) fn rebuilt(&self, base: State) -> (Self, Report) {
        let newer: Vec<_> = self.bucket.values().filter(|object| is_newer(&base, &object.key)).cloned().collect();
        let base = if base.revision == Revision(0) {
            let mut base = base;
            (base.cluster, base.store_claimed) = (self.state.cluster, true);
            base
        } else {
            base
        };
        let rebuilt = replay(base, self.mirrored.clone(), &newer, &[], Report::default());
        let life = Self { state: rebuilt.state, sessions: BTreeMap::new(), ..self.clone() };
        (life, rebuilt.report)
    }

    /// Every broker comes back with the log that it had, and publishes what is in there and not published.
    pub(super) fn settle(&mut self) {
        for broker in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.end(broker, false);
        }
        for (broker, log) in self.last_logs.clone() {
            self.register(broker, log);
            loop {
                self.seal(broker);
                self.upload(broker, 0);
                let left = self.sessions.get(&broker).map_or(0, |session| session.ranges.len());
                if left == 0 {
                    break;
                }
                self.publish(broker, true);
            }
        }
    }

    /// All that users can see, and that brokers build on, but for epochs of what is not written yet.
    pub(super) fn visible(&self) -> BTreeMap<TopicPartition, Visible> {
        let mut visible = BTreeMap::new();
        for (id, topic) in &self.state.topics {
            for (partition, found) in self.state.partitions_of(*id, topic.partitions) {
                let mut batches = Vec::new();
                for segment in found.segments.iter() {
                    assert!(self.bucket.contains_key(&segment.object), "{partition}: {} is in the bucket", segment.object);
                    let of_partition = self.contents[&segment.object].iter().filter(|batch| batch.partition == partition);
                    batches.extend(of_partition.filter(|batch| found.log_start < batch.end).copied());
                }
                let this = Visible {
                    topic: (topic.name.clone(), topic.configs.clone()),
                    owner: found.owner,
                    leader: self.state.visible_leader(found),
                    durability: found.durability,
                    log_start: found.log_start,
                    next_offset: found.next_offset,
                    epochs: found.epochs.clone(),
                    producers: found.producers.clone(),
                    batches,
                };
                visible.insert(partition, this);
            }
        }
        visible
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Visible {
    topic: (String, BTreeMap<String, String>),
    owner: WalId,
    leader: Option<BrokerId>,
    durability: Durability,
    pub(super) log_start: Offset,
    pub(super) next_offset: Offset,
    epochs: Vec<EpochStart>,
    producers: ProducerWindows,
    pub(super) batches: Vec<Batch>,
}

impl Session {
    fn of(registration: &Registration, log: u8, found: &Log) -> Self {
        let sealed = registration.last_published.next();
        let mut led: BTreeMap<_, _> =
            registration.partitions.iter().map(|state| (state.partition, (state.leader_epoch, state.next_offset))).collect();
        for batch in found.batches.iter().filter(|batch| sealed <= batch.lsn) {
            if let Some((_, next)) = led.get_mut(&batch.partition).filter(|(_, next)| *next == batch.base) {
                *next = batch.end;
            }
        }
        Self {
            epoch: registration.epoch,
            log,
            sealed,
            empty_from: None,
            sequence: 0,
            ranges: VecDeque::new(),
            answered: PublishSequence(0),
            refused: Vec::new(),
            unheard: None,
            led,
            producers: registration.partitions.iter().map(|state| (state.partition, state.producers.clone())).collect(),
        }
    }

    fn hear(&mut self) {
        if let Some((sequence, refused)) = self.unheard.take() {
            self.answered = sequence;
            if !refused.is_empty() {
                self.refused.push((self.epoch, sequence, refused));
            }
        }
    }

    fn segment(&mut self, object: ObjectKey, partition: TopicPartition, batches: &[Batch]) -> FoundSegment {
        let windows = self.producers.entry(partition).or_default();
        let mut touched = BTreeSet::new();
        let mut leader_epochs: Vec<EpochStart> = Vec::new();
        for batch in batches {
            let sequence = (batch.base.0 % (1 << 31)) as i32;
            let observed = ProducerBatch {
                first_sequence: sequence,
                last_sequence: sequence,
                base_offset: batch.base,
                last_offset: Offset(batch.end.0 - 1),
                append_time: Timestamp(NOW),
            };
            windows.observe(batch.producer, 0, observed);
            touched.insert(batch.producer);
            if leader_epochs.last().is_none_or(|last| last.epoch < batch.leader_epoch) {
                leader_epochs.push(EpochStart { epoch: batch.leader_epoch, offset: batch.base });
            }
        }
        let (base, end) = (batches[0].base, batches[batches.len() - 1].end);
        let delta = |producer: &i64| ProducerDelta { producer: *producer, window: windows.get(*producer).unwrap().clone() };
        FoundSegment {
            partition,
            segment: SegmentRef {
                base,
                end,
                object,
                position: 16,
                bytes: 1000,
                index_bytes: 50,
                records: end.0.abs_diff(base.0),
                batches: 1,
                max_timestamp: Timestamp(NOW),
                min_timestamp: MinTimestamp { value: Timestamp(NOW), exact: true },
                append_times: (Timestamp(NOW), Timestamp(NOW)),
                leader_epochs,
                stable_end: end,
                aborted: 0,
                flags: SegmentFlags(1),
                state_from: base,
                origin: ObjectOrigin::Range,
                offset_shift: 0,
                leader_epoch: None,
                added: Revision(0),
            },
            producers: touched.iter().map(delta).collect(),
        }
    }
}
