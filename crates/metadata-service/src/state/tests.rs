//! Every rule of the state machine: what a command answers, what happens, and what the state is afterwards.

mod configs;
mod durability;
mod garbage;
mod publish;
mod quotas;
mod registration;
mod replace;
mod replay;
mod retention;
mod segments;
mod slots;
mod topics;

use std::collections::BTreeMap;

use bytes::Bytes;
use metadata_api::wire::apply_delta;
use metadata_api::{
    ClusterImage, CreateTopic, MetadataError, PartitionPublish, PartitionRefusal, PartitionReplacement, PartitionVerdict, ProducerDelta,
    PublishAnswer, PublishRequest, PublishedObject, RegisterBroker, Registration, ReplaceAnswer, ReplaceSegments, Run,
};
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorKind, CoordinatorSlot, Durability, LeaderEpoch, Lsn, MinTimestamp, ObjectKey,
    ObjectNumber, ObjectOrigin, Offset, ProducerBatch, ProducerId, ProducerWindow, PublishSequence, Revision, SegmentFlags, SegmentRef,
    Timestamp, TopicId, TopicPartition, WalId,
};

use super::decide::decide;
use super::decision::Reply;
use super::{Answer, Command, Event, ImageChanges, Rules, SnapshotRef, State, decode_events, encode_event};

const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;
const CLUSTER: [u8; 16] = [7; 16];

fn rules() -> Rules {
    Rules { grace_ms: 60_000, max_segments: 1000, retention_ms: -1, retention_bytes: -1, producer_expiration_ms: DAY, clock_trusted: true }
}

fn wal(number: u8) -> WalId {
    WalId::from_bytes([number; 16])
}

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

fn partition(number: u8, index: i32) -> TopicPartition {
    TopicPartition::new(topic(number), index)
}

fn configs(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn register(broker: i32, log: u8) -> RegisterBroker {
    RegisterBroker {
        broker: BrokerId(broker),
        wal: wal(log),
        cluster: Some(ClusterId::from_bytes(CLUSTER)),
        endpoints: Vec::new(),
        rack: None,
        revision_seen: Revision(0),
        unpublished: Vec::new(),
    }
}

fn create(name: &str, partitions: i32) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        configs: BTreeMap::new(),
        durability: Durability::Wal,
        validate_only: false,
    }
}

/// A state with what surrounds it. Every event is taken through its bytes, and the image that deltas make is compared with the one
/// computed from nothing.
#[derive(Clone)]
struct World {
    state: State,
    rules: Rules,
    now: i64,
    image: ClusterImage,
    events: Vec<Event>,
}

impl World {
    /// A cluster without brokers.
    fn empty() -> Self {
        let mut world = Self { state: State::default(), rules: rules(), now: NOW, image: ClusterImage::default(), events: Vec::new() };
        world.happen(&[Event::ClusterCreated { cluster: ClusterId::from_bytes(CLUSTER) }, Event::LeaderStarted, Event::StoreClaimed]);
        world
    }

    /// Broker 1 with log 1 is registered, and leads all `partitions` of topic 1.
    fn with_topic(partitions: i32) -> Self {
        let mut world = Self::empty();
        world.register(register(1, 1)).unwrap();
        world.create(1, create("orders", partitions)).unwrap();
        world
    }

    fn happen(&mut self, events: &[Event]) {
        let mut changes = ImageChanges::default();
        for event in events {
            let mut bytes = Vec::new();
            encode_event(event, &mut bytes);
            assert_eq!(decode_events(Bytes::from(bytes)).unwrap(), std::slice::from_ref(event));
            self.state.apply(event, Timestamp(self.now));
            changes.note(event);
            self.events.push(event.clone());
        }
        if let Some(delta) = changes.take_delta(&self.state) {
            apply_delta(&mut self.image, delta).unwrap();
        }
        let whole = self.state.image();
        assert_eq!((&self.image.brokers, &self.image.topics, &self.image.names), (&whole.brokers, &whole.topics, &whole.names));
        assert_eq!((&self.image.slots, &self.image.configs), (&whole.slots, &whole.configs));
    }

    fn run(&mut self, command: Command) -> Result<Answer, MetadataError> {
        let before = self.state.clone();
        let decision = decide(&self.state, &self.rules, &command, Timestamp(self.now));
        assert!(self.state == before, "deciding changes nothing");
        assert!(decision.answer.is_ok() || decision.events.is_empty(), "what is refused does not happen");
        self.happen(&decision.events);
        decision.answer.map(|reply| match reply {
            Reply::Ready(answer) => answer,
            Reply::RegistrationOf(broker) => Answer::Registration(self.state.registration(broker).unwrap()),
            Reply::LastPublishOf(broker) => Answer::Publish(self.state.brokers[&broker].last_publish.clone().unwrap().answer),
        })
    }

    fn register(&mut self, request: RegisterBroker) -> Result<Registration, MetadataError> {
        match self.run(Command::RegisterBroker { request, local: false })? {
            Answer::Registration(registration) => Ok(registration),
            other => panic!("{other:?}"),
        }
    }

    /// The session of a broker ends, its log keeping what it owns.
    fn expire(&mut self, broker: i32) {
        let epoch = self.epoch(broker);
        self.run(Command::ExpireBroker { broker: BrokerId(broker), epoch }).unwrap();
    }

    fn epoch(&self, broker: i32) -> BrokerEpoch {
        self.state.brokers[&BrokerId(broker)].epoch
    }

    fn create(&mut self, number: u8, request: CreateTopic) -> Result<Answer, MetadataError> {
        self.run(Command::CreateTopic { request, topic: topic(number) })
    }

    fn publish(&mut self, request: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        match self.run(Command::Publish(Box::new(request)))? {
            Answer::Publish(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn replace(&mut self, request: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
        match self.run(Command::ReplaceSegments(Box::new(request)))? {
            Answer::SegmentsReplaced(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// What broker 1 asks for when it has rewritten, as object `number`, all segments between these offsets.
    fn next_replacement(&self, number: u64, parts: &[(TopicPartition, i64, i64)]) -> ReplaceSegments {
        let object = PublishedObject { key: self.key(1, number), length: 1 << 30, crc: 7 };
        let part = |(id, base, end): &(TopicPartition, i64, i64)| {
            let there = self.state.partition(*id).into_iter().flat_map(|found| found.segments.within(Offset(*base), Offset(*end)));
            let old: Vec<_> = there.map(|segment| segment.as_ref().clone()).collect();
            let new = merged(object.key, &old);
            PartitionReplacement { partition: *id, old, new }
        };
        let partitions = parts.iter().map(part).collect();
        ReplaceSegments { broker: BrokerId(1), epoch: self.epoch(1), object, object_floor: ObjectNumber(0), partitions }
    }

    fn key(&self, broker: i32, number: u64) -> ObjectKey {
        ObjectKey::Shared { broker: BrokerId(broker), epoch: self.epoch(broker), number: ObjectNumber(number) }
    }

    /// The next publish of broker 1, of object `number`, with segments of these offsets.
    fn next_publish(&self, number: u64, parts: &[(TopicPartition, i64, i64)]) -> PublishRequest {
        self.next_publish_of(1, number, parts)
    }

    fn next_publish_of(&self, broker: i32, number: u64, parts: &[(TopicPartition, i64, i64)]) -> PublishRequest {
        let session = &self.state.brokers[&BrokerId(broker)];
        let sequence = session.last_publish.as_ref().map_or(1, |last| last.sequence.0 + 1);
        let first_lsn = self.state.wals[&session.wal].last_published.next();
        let key = self.key(broker, number);
        PublishRequest {
            broker: BrokerId(broker),
            epoch: session.epoch,
            sequence: PublishSequence(sequence),
            object: Some(PublishedObject { key, length: 1 << 20, crc: 7 }),
            first_lsn,
            end_lsn: Lsn(first_lsn.0 + 10),
            object_floor: session.object_floor,
            synced: Lsn(first_lsn.0 + 9),
            partitions: parts.iter().map(|(id, base, end)| self.part(key, *id, *base, *end)).collect(),
        }
    }

    /// One run of the leader epoch in force.
    fn part(&self, object: ObjectKey, id: TopicPartition, base: i64, end: i64) -> PartitionPublish {
        let leader_epoch = self.state.partition(id).map_or(LeaderEpoch(0), |partition| partition.leader_epoch);
        let (base, end) = (Offset(base), Offset(end));
        PartitionPublish {
            partition: id,
            segment: segment(object, base, end, Timestamp(self.now)),
            runs: vec![Run { leader_epoch, base, end }],
            gap: false,
            producers: Vec::new(),
        }
    }

    /// Publishes one segment of broker 1 and expects it to be accepted.
    fn add(&mut self, number: u64, id: TopicPartition, base: i64, end: i64) {
        let answer = self.publish(self.next_publish(number, &[(id, base, end)])).unwrap();
        assert_eq!(answer.verdicts, [accepted(end)]);
    }

    /// A snapshot of the state as it is now is committed.
    fn snapshot(&mut self) {
        let revision = self.state.revision;
        let snapshot = SnapshotRef { revision, slot: revision.0, manifest: format!("meta/manifest/{revision}") };
        self.run(Command::SnapshotTaken(snapshot)).unwrap();
    }

    fn deletable(&self) -> Vec<ObjectKey> {
        self.state.deletable(Timestamp(self.now), 1000)
    }

    fn log_start(&self, id: TopicPartition) -> Offset {
        self.state.partition(id).unwrap().log_start
    }
}

fn segment(object: ObjectKey, base: Offset, end: Offset, stamp: Timestamp) -> SegmentRef {
    SegmentRef {
        base,
        end,
        object,
        position: 100,
        bytes: 1000,
        index_bytes: 50,
        records: end.0.abs_diff(base.0),
        batches: 1,
        max_timestamp: stamp,
        min_timestamp: MinTimestamp { value: stamp, exact: true },
        append_times: (stamp, stamp),
        leader_epochs: Vec::new(),
        stable_end: end,
        aborted: 0,
        flags: SegmentFlags(1),
        state_from: base,
        origin: ObjectOrigin::Range,
        offset_shift: 0,
        leader_epoch: None,
        added: Revision(0),
    }
}

/// One segment with all that is in these.
fn merged(object: ObjectKey, old: &[SegmentRef]) -> SegmentRef {
    let (first, last) = (&old[0], &old[old.len() - 1]);
    SegmentRef {
        base: first.base,
        end: last.end,
        bytes: old.iter().map(|segment| segment.bytes).sum(),
        records: old.iter().map(|segment| segment.records).sum(),
        batches: old.iter().map(|segment| segment.batches).sum(),
        max_timestamp: old.iter().map(|segment| segment.max_timestamp).max().unwrap(),
        stable_end: last.stable_end,
        origin: ObjectOrigin::Rewrite,
        ..segment(object, first.base, last.end, first.append_times.0)
    }
}

fn group_slot(number: u8) -> CoordinatorSlot {
    CoordinatorSlot::new(CoordinatorKind::Group, number).unwrap()
}

/// A producer whose last batch is one record at `offset`.
fn producer(id: ProducerId, offset: i64, at: i64) -> ProducerDelta {
    let batch = ProducerBatch {
        first_sequence: 0,
        last_sequence: 0,
        base_offset: Offset(offset),
        last_offset: Offset(offset),
        append_time: Timestamp(at),
    };
    let window = ProducerWindow {
        epoch: 0,
        batches: [batch].into(),
        coordinator_epoch: -1,
        open_transaction: None,
        last_append_time: Timestamp(at),
    };
    ProducerDelta { producer: id, window }
}

fn accepted(next_offset: i64) -> PartitionVerdict {
    PartitionVerdict::Accepted { next_offset: Offset(next_offset) }
}

fn wrong_offset(next_offset: i64) -> PartitionVerdict {
    PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset: Offset(next_offset) })
}

fn not_owned(leader_epoch: i32) -> PartitionVerdict {
    PartitionVerdict::Refused(PartitionRefusal::NotOwned { leader_epoch: LeaderEpoch(leader_epoch) })
}

/// The detail of a refusal that must be [`MetadataError::Invalid`].
fn invalid<T: std::fmt::Debug>(result: Result<T, MetadataError>) -> String {
    match result {
        Err(MetadataError::Invalid { detail }) => detail,
        other => panic!("{other:?}"),
    }
}
