//! Any commands: the state is what the journal's bytes add up to, from the beginning or from any snapshot on, and it never contradicts
//! itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata_api::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClientQuotaAlteration, ClientQuotaEntity, ConfigResource,
    CreatePartitions, DurabilityChange, EnforceDurability, HeartbeatRequest, QuotaEntityName, QuotaValue, ReplaceVerdict, SaveRows,
    TakeSlot, row_bytes,
};
use proptest::prelude::*;
use runtime::{ManualClock, Random};
use store::MemoryStore;
use types::{CoordinatorSlot, SaveSequence, SlotEpoch};

use super::*;
use crate::journal::{Assembler, Entry, encode_entry};
use crate::snapshot;
use crate::state::Shard;

/// One thing that somebody asks. Numbers name brokers, logs, topics and partitions that may or may not be there.
#[derive(Clone, Debug)]
enum Step {
    Register { broker: i32, log: u8, local: bool },
    Resign { broker: i32 },
    Expire { broker: i32 },
    TakeOver,
    Heartbeat { broker: i32, synced: u64 },
    Create { topic: u8, partitions: i32, object: bool },
    Grow { topic: u8, total: i32 },
    Delete { topic: u8 },
    Alter { topic: u8, retention_ms: i64 },
    Configure { resource: ConfigResource, retention_ms: Option<i64> },
    Limit { client: u8, key: u8, value: Option<u8> },
    Enforce { broker: i32, partition: (u8, i32), object: bool, log_end: i64 },
    Publish { broker: i32, number: u64, parts: Vec<Part>, floor: u64 },
    RepeatPublish,
    List { number: u64, partition: (u8, i32), first: usize, count: usize },
    Replace { again: bool },
    AdvanceLogStart { broker: i32, partition: (u8, i32), log_start: i64 },
    Elect { partition: (u8, i32) },
    AllocateProducerIds { count: u32 },
    Retain,
    Orphans { broker: i32, number: u64 },
    DeleteGarbage,
    Snapshot,
    Jump { skipped_ms: i64 },
    Take { broker: i32, slot: u8 },
    Save { broker: i32, slot: u8, behind: i32, ahead: u64, rows: Vec<(u8, Option<u8>)> },
    RepeatSave,
}

#[derive(Clone, Debug)]
struct Part {
    partition: (u8, i32),
    /// From the next offset on.
    ahead: i64,
    length: i64,
    gap: bool,
    producer: i64,
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..4_i32;
    let id = || (1..5_u8, 0..3_i32);
    let part = (id(), prop_oneof![4 => Just(0), 1 => -3..5_i64], 1..20_i64, any::<bool>(), 1..4_i64)
        .prop_map(|(partition, ahead, length, gap, producer)| Part { partition, ahead, length, gap, producer });
    let resource = prop_oneof![
        Just(ConfigResource::AllBrokers),
        broker().prop_map(|id| ConfigResource::Broker(BrokerId(id))),
        Just(ConfigResource::Group("g".to_owned())),
    ];
    let rows = prop::collection::vec((0..40_u8, prop::option::weighted(0.7, any::<u8>())), 0..12);
    prop_oneof![
        4 => (broker(), 1..5_u8, any::<bool>()).prop_map(|(broker, log, local)| Step::Register { broker, log, local }),
        1 => broker().prop_map(|broker| Step::Resign { broker }),
        2 => broker().prop_map(|broker| Step::Expire { broker }),
        1 => Just(Step::TakeOver),
        1 => (broker(), 0..200_u64).prop_map(|(broker, synced)| Step::Heartbeat { broker, synced }),
        4 => (1..5_u8, 1..4_i32, any::<bool>()).prop_map(|(topic, partitions, object)| Step::Create { topic, partitions, object }),
        1 => (1..5_u8, 1..4_i32).prop_map(|(topic, total)| Step::Grow { topic, total }),
        1 => (1..5_u8).prop_map(|topic| Step::Delete { topic }),
        1 => (resource, prop::option::of(-1..3_i64)).prop_map(|(resource, days)| Step::Configure {
            resource,
            retention_ms: days.map(|days| days * DAY),
        }),
        2 => (0..3_u8, 0..2_u8, any::<Option<u8>>()).prop_map(|(client, key, value)| Step::Limit { client, key, value }),
        1 => (1..5_u8, -1..3_i64).prop_map(|(topic, days)| Step::Alter { topic, retention_ms: days * DAY }),
        2 => (broker(), id(), any::<bool>(), 0..60_i64)
            .prop_map(|(broker, partition, object, log_end)| Step::Enforce { broker, partition, object, log_end }),
        16 => (broker(), 0..30_u64, prop::collection::vec(part, 0..5), 0..10_u64)
            .prop_map(|(broker, number, parts, floor)| Step::Publish { broker, number, parts, floor }),
        2 => Just(Step::RepeatPublish),
        6 => (30..60_u64, id(), 0..4_usize, 1..4_usize)
            .prop_map(|(number, partition, first, count)| Step::List { number, partition, first, count }),
        6 => any::<bool>().prop_map(|again| Step::Replace { again }),
        2 => (broker(), id(), 0..60_i64)
            .prop_map(|(broker, partition, log_start)| Step::AdvanceLogStart { broker, partition, log_start }),
        2 => id().prop_map(|partition| Step::Elect { partition }),
        1 => (0..5_u32).prop_map(|count| Step::AllocateProducerIds { count }),
        2 => Just(Step::Retain),
        2 => (broker(), 0..30_u64).prop_map(|(broker, number)| Step::Orphans { broker, number }),
        2 => Just(Step::DeleteGarbage),
        2 => Just(Step::Snapshot),
        1 => (1..DAY).prop_map(|skipped_ms| Step::Jump { skipped_ms }),
        3 => (broker(), 0..3_u8).prop_map(|(broker, slot)| Step::Take { broker, slot }),
        12 => (broker(), 0..3_u8, prop_oneof![8 => Just(0), 1 => Just(1)], prop_oneof![8 => Just(0), 1 => 1..3_u64], rows)
            .prop_map(|(broker, slot, behind, ahead, rows)| Step::Save { broker, slot, behind, ahead, rows }),
        2 => Just(Step::RepeatSave),
    ]
}

/// The world with its journal as bytes, and the snapshots that were taken of it.
struct Run {
    world: World,
    journal: Vec<(u64, Bytes)>,
    store: MemoryStore,
    random: Random,
    snapshots: Vec<SnapshotRef>,
    last_publish: Option<(PublishRequest, PublishAnswer)>,
    /// Rewritten, and not told yet.
    rewritten: Option<ReplaceSegments>,
    producer_ids: i64,
    /// What coordinators saved, by slot.
    rows: BTreeMap<CoordinatorSlot, BTreeMap<Bytes, Bytes>>,
    last_save: Option<(SaveRows, Revision)>,
}

impl Run {
    fn new() -> Self {
        let store = MemoryStore::new(Arc::new(ManualClock::new(NOW)));
        let (world, random) = (World::empty(), Random::seeded(1));
        let mut run = Self {
            world,
            journal: Vec::new(),
            store,
            random,
            snapshots: Vec::new(),
            last_publish: None,
            rewritten: None,
            producer_ids: 0,
            rows: BTreeMap::new(),
            last_save: None,
        };
        run.write(0);
        run
    }

    /// Writes the events after the first `written` as the next entry.
    fn write(&mut self, written: usize) {
        let events = &self.world.events[written..];
        if events.is_empty() {
            return;
        }
        let mut body = Vec::new();
        events.iter().for_each(|event| encode_event(event, &mut body));
        let slot = self.journal.len() as u64 + 1;
        let entry = Entry {
            slot,
            first: Revision(written as u64 + 1),
            leader: self.world.state.leader,
            nonce: [slot as u8; 16],
            now: Timestamp(self.world.now),
            part: 0,
            last: 0,
            body: body.into(),
        };
        self.journal.push((slot, encode_entry(&entry)));
    }

    async fn step(&mut self, step: Step) {
        let written = self.world.events.len();
        self.world.now += 10_000;
        self.act(step).await;
        self.write(written);
        check(&self.world.state);
        for (slot, held) in &self.world.state.slots {
            let rows: BTreeMap<Bytes, Bytes> =
                held.rows.page(None, usize::MAX).0.into_iter().map(|(key, value)| (copied(key), copied(value))).collect();
            assert_eq!(rows, self.rows.get(slot).cloned().unwrap_or_default(), "{slot}");
            assert_eq!(held.rows.bytes(), rows.iter().map(|(key, value)| row_bytes(key, Some(value)) as u64).sum::<u64>());
        }
    }

    async fn act(&mut self, step: Step) {
        let epoch = |world: &World, broker| world.state.brokers.get(&BrokerId(broker)).map_or(BrokerEpoch(0), |found| found.epoch);
        let world = &mut self.world;
        // What is refused is refused: every rule has a test of its own.
        let _ = match step {
            Step::Register { broker, log, local } => world.run(Command::RegisterBroker { request: register(broker, log), local }),
            Step::Resign { broker } => world.run(Command::ResignBroker { broker: BrokerId(broker), epoch: epoch(world, broker) }),
            Step::Expire { broker } => world.run(Command::ExpireBroker { broker: BrokerId(broker), epoch: epoch(world, broker) }),
            Step::TakeOver => {
                world.happen(&[Event::LeaderStarted]);
                return;
            }
            Step::Heartbeat { broker, synced } => {
                let epoch = epoch(world, broker);
                world.run(Command::Heartbeat(HeartbeatRequest {
                    broker: BrokerId(broker),
                    epoch,
                    synced: Lsn(synced),
                    unoffloaded_bytes: 0,
                }))
            }
            Step::Create { topic, partitions, object } => {
                if world.state.topics.contains_key(&super::topic(topic)) {
                    return;
                }
                let durability = if object { Durability::Object } else { Durability::Wal };
                world.create(topic, CreateTopic { durability, replication_factor: 2, ..create(&format!("t{topic}"), partitions) })
            }
            Step::Grow { topic, total } => world.run(Command::CreatePartitions(CreatePartitions {
                topic: super::topic(topic),
                total,
                durability: Durability::Wal,
                validate_only: false,
            })),
            Step::Delete { topic } => world.run(Command::DeleteTopic(super::topic(topic))),
            Step::Alter { topic, retention_ms } => {
                let expected = world.image.topics.get(&super::topic(topic)).map_or(Revision(0), |topic| topic.config_revision);
                let configs = configs(&[("retention.ms", &retention_ms.to_string())]);
                world.run(Command::AlterTopicConfigs(AlterTopicConfigs { topic: super::topic(topic), expected, configs }))
            }
            Step::Configure { resource, retention_ms } => {
                let expected = world.image.configs.get(&resource).map_or(Revision(0), |set| set.revision);
                let value = retention_ms.map(|ms| ms.to_string());
                let configs = value.map_or_else(BTreeMap::new, |ms| configs(&[("log.retention.ms", &ms)]));
                world.run(Command::AlterResourceConfigs(AlterResourceConfigs { resource, expected, configs }))
            }
            Step::Limit { client, key, value } => {
                let name = if client == 0 { QuotaEntityName::Default } else { QuotaEntityName::Named(client.to_string()) };
                let value = value.and_then(|value| QuotaValue::new(value.into()));
                let alteration = ClientQuotaAlteration {
                    entity: ClientQuotaEntity::ClientId(name),
                    set: value.map(|value| (key.to_string(), value)).into_iter().collect(),
                    removed: value.is_none().then(|| key.to_string()).into_iter().collect(),
                };
                world.run(Command::AlterClientQuotas(AlterClientQuotas { alterations: vec![alteration] }))
            }
            Step::Enforce { broker, partition: (topic, index), object, log_end } => {
                let epoch = epoch(world, broker);
                let change = DurabilityChange {
                    partition: partition(topic, index),
                    level: if object { Durability::Object } else { Durability::Wal },
                    config_revision: world.state.topics.get(&super::topic(topic)).map_or(Revision(0), |topic| topic.config_revision),
                    log_end: Offset(log_end),
                };
                world.run(Command::EnforceDurability(EnforceDurability { broker: BrokerId(broker), epoch, changes: vec![change] }))
            }
            Step::Publish { broker, number, parts, floor } => {
                self.publish(broker, number, parts, floor);
                return;
            }
            Step::RepeatPublish => {
                let Some((request, answer)) = self.last_publish.clone() else { return };
                let repeated = world.publish(request);
                assert!(matches!(&repeated, Err(MetadataError::Fenced { .. })) || repeated == Ok(answer), "{repeated:?}");
                return;
            }
            Step::List { number, partition: (topic, index), first, count } => {
                let id = partition(topic, index);
                let there = world.state.partition(id).into_iter().flat_map(|found| found.segments.iter()).skip(first).take(count);
                let ranges: Vec<_> = there.map(|segment| (segment.base.0, segment.end.0)).collect();
                if let (Some((base, _)), Some((_, end)), true) =
                    (ranges.first(), ranges.last(), world.state.brokers.contains_key(&BrokerId(1)))
                {
                    self.rewritten = Some(world.next_replacement(number, &[(id, *base, *end)]));
                }
                return;
            }
            Step::Replace { again } => {
                let Some(request) = self.rewritten.clone() else { return };
                let answer = world.replace(request.clone());
                let replaced = answer.as_ref().is_ok_and(|answer| answer.verdicts == [ReplaceVerdict::Replaced]);
                if again {
                    let before = world.state.revision;
                    let repeated = world.replace(request);
                    assert_eq!(repeated.map(|answer| answer.verdicts), answer.map(|answer| answer.verdicts));
                    assert_eq!(world.state.revision, before, "nothing happens a second time");
                }
                if replaced {
                    self.rewritten = None;
                }
                return;
            }
            Step::AdvanceLogStart { broker, partition: (topic, index), log_start } => {
                let epoch = epoch(world, broker);
                let partition = partition(topic, index);
                world.run(Command::AdvanceLogStart(AdvanceLogStart {
                    broker: BrokerId(broker),
                    epoch,
                    partition,
                    log_start: Offset(log_start),
                }))
            }
            Step::Elect { partition: (topic, index) } => world.run(Command::ElectUnclean(vec![partition(topic, index)])),
            Step::AllocateProducerIds { count } => {
                let answer = world.run(Command::AllocateProducerIds { count });
                if let Ok(Answer::ProducerIds(block)) = &answer {
                    assert_eq!(block.start, self.producer_ids, "a block begins where the last one ended");
                    self.producer_ids = block.end;
                }
                answer
            }
            Step::Retain => world.run(Command::Retain),
            Step::Orphans { broker, number } => {
                let keys = world.state.registered.iter().filter(|(id, _)| *id == BrokerId(broker));
                let keys = keys.map(|(broker, epoch)| ObjectKey::Shared { broker: *broker, epoch: *epoch, number: ObjectNumber(number) });
                let keys = keys.collect();
                world.run(Command::Orphans(keys))
            }
            Step::DeleteGarbage => {
                let keys = world.deletable();
                assert!(keys.iter().all(|key| !world.state.is_referenced(key) && world.state.is_dead(key)), "{keys:?}");
                world.run(Command::Deleted(keys))
            }
            Step::Snapshot => {
                let slot = self.journal.len() as u64;
                let (taken, _) = snapshot::write(&self.store, &self.random, &world.state, slot, None).await.unwrap();
                self.snapshots.push(taken.clone());
                world.run(Command::SnapshotTaken(taken))
            }
            Step::Take { broker, slot } => {
                let epoch = epoch(world, broker);
                world.run(Command::TakeSlot(TakeSlot { broker: BrokerId(broker), epoch, slot: group_slot(slot) }))
            }
            Step::Save { broker, slot, behind, ahead, rows } => {
                let (slot, epoch) = (group_slot(slot), epoch(world, broker));
                let taken = world.state.slots.get(&slot);
                let last = taken.and_then(|taken| taken.last_save).map_or(0, |last| last.sequence.0);
                let request = SaveRows {
                    broker: BrokerId(broker),
                    epoch,
                    slot,
                    slot_epoch: SlotEpoch(taken.map_or(0, |taken| taken.epoch.0) - behind),
                    sequence: SaveSequence(last + 1 + ahead),
                    rows: rows.iter().map(|(key, value)| (vec![*key].into(), value.map(|value| vec![value].into()))).collect(),
                };
                let saved = world.run(Command::SaveRows(request.clone()));
                if let Ok(Answer::Revision(revision)) = saved {
                    assert_eq!((behind, ahead), (0, 0), "a stale or gapped save is refused");
                    let model = self.rows.entry(slot).or_default();
                    for (key, value) in &request.rows {
                        match value {
                            Some(value) => drop(model.insert(key.clone(), value.clone())),
                            None => drop(model.remove(key)),
                        }
                    }
                    self.last_save = Some((request, revision));
                }
                return;
            }
            Step::RepeatSave => {
                let Some((request, revision)) = self.last_save.clone() else { return };
                let before = world.state.revision;
                let repeated = world.run(Command::SaveRows(request));
                let is_over = matches!(&repeated, Err(MetadataError::Fenced { .. } | MetadataError::SlotFenced { .. }));
                assert!(is_over || matches!(&repeated, Ok(Answer::Revision(again)) if *again == revision), "{repeated:?}");
                assert_eq!(world.state.revision, before, "nothing happens a second time");
                return;
            }
            Step::Jump { skipped_ms } => {
                world.now += skipped_ms;
                world.happen(&[Event::ClockJumped { to: Timestamp(world.now), skipped_ms }]);
                return;
            }
        };
    }

    fn publish(&mut self, broker: i32, number: u64, parts: Vec<Part>, floor: u64) {
        let world = &mut self.world;
        if !world.state.brokers.contains_key(&BrokerId(broker)) {
            return;
        }
        let next = |id| world.state.partition(id).map_or(0, |partition| partition.next_offset.0);
        let parts: BTreeMap<_, _> = parts.into_iter().map(|part| (partition(part.partition.0, part.partition.1), part)).collect();
        let ranges: Vec<_> = parts
            .iter()
            .map(|(id, part)| (*id, (next(*id) + part.ahead).max(0)))
            .map(|(id, base)| (id, base, base + parts[&id].length))
            .collect();
        let mut request = world.next_publish_of(broker, number, &ranges);
        request.object_floor = ObjectNumber(floor);
        for (part, wanted) in request.partitions.iter_mut().zip(parts.values()) {
            part.gap = wanted.gap;
            part.producers = vec![producer(wanted.producer, part.segment.base.0, world.now)];
        }
        if let Ok(answer) = world.publish(request.clone()) {
            self.last_publish = Some((request, answer));
        }
    }

    /// `state`, and everything in the journal after `slot`.
    fn replayed(&self, mut state: State, slot: u64) -> State {
        let mut assembler = Assembler::default();
        for (slot, bytes) in &self.journal[usize::try_from(slot).unwrap()..] {
            let step = assembler.push(*slot, bytes).unwrap().unwrap();
            assert_eq!(step.first.0, state.revision.0 + 1);
            for event in decode_events(step.body).unwrap() {
                state.apply(&event, step.now);
            }
        }
        state
    }
}

fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// What holds after every step.
fn check(state: &State) {
    let mut lies_in: BTreeMap<ObjectKey, u32> = BTreeMap::new();
    let (mut segments, mut partitions) = (0, 0);
    for (id, found) in state.shards.iter().flat_map(|shard| &shard.partitions) {
        partitions += 1;
        assert!(id.partition < state.topics[&id.topic].partitions);
        assert!(found.log_start <= found.next_offset, "{id}");
        assert!(found.owned_from <= found.leader_epoch, "{id}");
        assert!(found.epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.offset <= b.offset), "{id}: {:?}", found.epochs);
        let mut end = Offset(0);
        for segment in found.segments.iter() {
            segments += 1;
            assert!(end <= segment.base && segment.base < segment.end && segment.end <= found.next_offset, "{id}");
            end = segment.end;
            *lies_in.entry(segment.object).or_default() += 1;
        }
    }
    let objects: BTreeMap<_, _> = state.shards.iter().flat_map(|shard| shard.objects.clone()).collect();
    assert_eq!(objects, lies_in, "an object is referenced as often as segments lie in it");
    assert!(state.garbage().all(|(key, _)| !objects.contains_key(key)), "nothing is garbage and referenced");
    assert_eq!((state.segment_count(), state.partitions), (segments, partitions));
    assert_eq!(partitions, state.topics.values().map(|topic| u64::from(topic.partitions.unsigned_abs())).sum::<u64>());
    let mut derived = state.clone();
    derived.derive();
    assert!(&derived == state, "what is derived is what it would be derived to");
}

/// The same state and the same bytes. A snapshot leaves out empty shards, and with them when they became empty.
fn assert_same(state: &State, expected: &State, what: &str) {
    let bytes = |state: &State| {
        let shards: Vec<_> = state.shards.iter().map(|shard| snapshot::encode_shard(shard)).collect();
        let rows: Vec<_> = state.slots.values().flat_map(|slot| slot.rows.shards()).map(|shard| snapshot::encode_rows(shard)).collect();
        (snapshot::encode_root(state), shards, rows)
    };
    assert!(bytes(state) == bytes(expected), "{what}: bytes differ");
    let without_empty = |state: &State| {
        let mut state = state.clone();
        let empty = |shard: &Shard| shard.partitions.is_empty() && shard.objects.is_empty() && shard.garbage.is_empty();
        state.shards.iter_mut().filter(|shard| empty(shard)).for_each(|shard| *shard = Arc::default());
        for slot in state.slots.values_mut() {
            let held = std::mem::take(&mut slot.rows);
            let filled = held.shards().iter().enumerate().filter(|(_, shard)| !shard.rows.is_empty());
            filled.for_each(|(index, shard)| slot.rows.load(index, shard.as_ref().clone()));
        }
        state
    };
    assert!(without_empty(state) == without_empty(expected), "{what}: states differ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn t29_replay_from_the_beginning_or_from_any_snapshot_is_the_state_byte_for_byte(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let mut run = Run::new();
            for step in steps {
                run.step(step).await;
            }
            let state = &run.world.state;
            assert_same(&run.replayed(State::default(), 0), state, "from the beginning");
            for taken in &run.snapshots {
                let (loaded, manifest) = snapshot::load(&run.store, &taken.manifest).await.unwrap();
                assert_eq!((loaded.revision, manifest.slot), (taken.revision, taken.slot));
                assert_same(&run.replayed(loaded, taken.slot), state, &taken.manifest);
            }
        });
    }
}
