//! Replacing segments by rewritten ones.

use std::collections::BTreeMap;

use metadata_api::{AdvanceLogStart, ReplaceVerdict};
use proptest::prelude::*;

use super::*;
use crate::state::Partition;

use ReplaceVerdict::{Changed, Gone, NotLeader, Replaced};

const P0: fn() -> TopicPartition = || partition(1, 0);

/// Partition 0 with segments of ten offsets, each in an object of its own: 1, 2, 3, …
fn world(segments: i64) -> World {
    let mut world = World::with_topic(2);
    for index in 0..segments {
        world.now += 1000;
        world.add(index as u64 + 1, P0(), 10 * index, 10 * index + 10);
    }
    world
}

fn ranges(world: &World, id: TopicPartition) -> Vec<(i64, i64)> {
    let partition = world.state.partition(id).unwrap();
    partition.segments.iter().map(|segment| (segment.base.0, segment.end.0)).collect()
}

fn advance(world: &mut World, log_start: i64) {
    let epoch = world.epoch(1);
    let request = AdvanceLogStart { broker: BrokerId(1), epoch, partition: P0(), log_start: Offset(log_start) };
    world.run(Command::AdvanceLogStart(request)).unwrap();
}

#[test]
fn a_rewritten_segment_takes_the_place_of_those_it_answers_for() {
    let mut world = world(4);
    let before = world.state.partition(P0()).unwrap().clone();
    let answer = world.replace(world.next_replacement(9, &[(P0(), 10, 30)])).unwrap();
    assert_eq!(answer, ReplaceAnswer { revision: world.state.revision, verdicts: vec![Replaced] });
    assert_eq!(ranges(&world, P0()), [(0, 10), (10, 30), (30, 40)]);
    let after = world.state.partition(P0()).unwrap().clone();
    let new = after.segments.from(Offset(15)).next().unwrap();
    assert_eq!((new.object, new.added, new.bytes), (world.key(1, 9), answer.revision, 2000));
    assert_eq!(after.segments.bytes(), before.segments.bytes());
    assert_eq!(world.state.segment_count(), 3);
    // Everything but the place of the batches is what it was.
    assert_eq!(Partition { segments: before.segments.clone(), ..after }, before);
    for number in [2, 3] {
        assert!(world.state.is_garbage(&world.key(1, number)), "object {number} is retired");
    }
    for number in [1, 4, 9] {
        assert!(world.state.is_referenced(&world.key(1, number)), "object {number}");
    }
}

#[test]
fn an_object_is_retired_when_its_last_segment_goes() {
    let mut world = World::with_topic(2);
    for number in 1..3 {
        let base = 10 * (number as i64 - 1);
        let request = world.next_publish(number, &[(P0(), base, base + 10), (partition(1, 1), base, base + 10)]);
        world.publish(request).unwrap();
    }
    world.replace(world.next_replacement(5, &[(P0(), 0, 20)])).unwrap();
    assert!(world.state.is_referenced(&world.key(1, 1)) && world.state.is_referenced(&world.key(1, 2)), "partition 1 lies there");
    world.replace(world.next_replacement(6, &[(partition(1, 1), 0, 20)])).unwrap();
    let garbage: Vec<_> = world.state.garbage().map(|(key, _)| *key).collect();
    assert_eq!(garbage.len(), 2);
    assert!(garbage.contains(&world.key(1, 1)) && garbage.contains(&world.key(1, 2)));
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    assert_eq!((world.state.garbage().count(), world.state.segment_count()), (4, 0), "a deleted topic keeps nothing");
}

#[test]
fn one_object_takes_the_place_of_segments_of_many_partitions() {
    let mut world = World::with_topic(2000);
    let parts = |base| (0..2000).map(move |index| (partition(1, index), base, base + 1)).collect::<Vec<_>>();
    for number in 1..4 {
        world.publish(world.next_publish(number, &parts(number as i64 - 1))).unwrap();
    }
    let (events, all) = (world.events.len(), (0..2000).map(|index| (partition(1, index), 0, 3)).collect::<Vec<_>>());
    let answer = world.replace(world.next_replacement(9, &all)).unwrap();
    assert_eq!(answer.verdicts, vec![Replaced; 2000]);
    assert_eq!(world.events.len(), events + 1);
    assert_eq!(world.state.segment_count(), 2000);
    assert_eq!(world.state.garbage().count(), 3);
}

#[test]
fn what_retention_or_another_rewrite_changed_meanwhile_is_refused_and_holds_up_no_other() {
    let mut world = world(4);
    world.publish(world.next_publish(7, &[(partition(1, 1), 0, 10)])).unwrap();
    world.create(2, create("gone", 1)).unwrap();
    world.publish(world.next_publish(8, &[(partition(2, 0), 0, 10)])).unwrap();
    let request = world.next_replacement(9, &[(P0(), 0, 20), (partition(1, 1), 0, 10), (partition(2, 0), 0, 10)]);
    advance(&mut world, 10);
    world.run(Command::DeleteTopic(topic(2))).unwrap();
    assert_eq!(world.replace(request).unwrap().verdicts, [Changed, Replaced, Gone]);
    assert_eq!(ranges(&world, P0()), [(10, 20), (20, 30), (30, 40)]);

    let stale = world.next_replacement(10, &[(P0(), 10, 30)]);
    world.replace(world.next_replacement(11, &[(P0(), 20, 40)])).unwrap();
    let before = world.state.clone();
    assert_eq!(world.replace(stale).unwrap().verdicts, [Changed]);
    assert!(world.state == before, "a replacement of nothing does not happen");
}

#[test]
fn t13_segments_of_the_same_offsets_in_another_place_are_not_those_that_were_rewritten() {
    let mut world = world(2);
    let stale = world.next_replacement(5, &[(P0(), 0, 20)]);
    for number in [6, 7] {
        let base = 10 * (number as i64 - 6);
        world.replace(world.next_replacement(number, &[(P0(), base, base + 10)])).unwrap();
    }
    assert_eq!(ranges(&world, P0()), [(0, 10), (10, 20)]);
    assert_eq!(world.replace(stale).unwrap().verdicts, [Changed]);
}

#[test]
fn t6_a_repeat_is_answered_and_not_redone() {
    let mut world = world(3);
    world.publish(world.next_publish(7, &[(partition(1, 1), 0, 10)])).unwrap();
    let request = world.next_replacement(9, &[(P0(), 0, 20), (partition(1, 1), 0, 10)]);
    advance(&mut world, 10);
    assert_eq!(world.replace(request.clone()).unwrap().verdicts, [Changed, Replaced]);
    let before = world.state.clone();
    assert_eq!(world.replace(request.clone()).unwrap().verdicts, [Changed, Replaced]);
    assert!(world.state == before);
    // Once everything of the object is gone again its key is dead for good.
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    assert!(invalid(world.replace(request)).contains("is dead"));
}

#[test]
fn only_the_leader_replaces_and_only_in_its_epoch() {
    let mut world = world(2);
    world.register(register(2, 2)).unwrap();
    world.expire(1);
    let request = world.next_replacement(9, &[(P0(), 0, 20)]);
    assert!(matches!(world.replace(request.clone()), Err(MetadataError::Fenced { .. })), "its session is over");
    world.run(Command::ElectUnclean(vec![P0()])).unwrap();
    world.register(register(1, 1)).unwrap();
    assert!(matches!(world.replace(request), Err(MetadataError::Fenced { .. })), "its epoch is over");
    assert_eq!(world.replace(world.next_replacement(9, &[(P0(), 0, 20)])).unwrap().verdicts, [NotLeader]);
}

#[test]
fn r6_a_dead_key_is_refused_and_the_floor_spares_what_is_being_rewritten() {
    let mut world = world(3);
    let slow = world.next_replacement(20, &[(P0(), 0, 20)]);
    let key = world.key(1, 20);
    // Publishes go on meanwhile; their floor stays at or below every number in flight.
    world.publish(PublishRequest { object_floor: ObjectNumber(20), ..world.next_publish(21, &[(P0(), 30, 40)]) }).unwrap();
    world.run(Command::Orphans(vec![key])).unwrap();
    assert!(!world.state.is_garbage(&key));
    let mut other = slow.clone();
    world.publish(PublishRequest { object_floor: ObjectNumber(22), ..world.next_publish(22, &[(P0(), 40, 50)]) }).unwrap();
    assert!(invalid(world.replace(slow)).contains("is dead"));
    world.run(Command::Orphans(vec![key])).unwrap();
    assert!(world.state.is_garbage(&key));
    // A floor that comes with a replacement counts as a publish's does.
    other.object.key = world.key(1, 30);
    other.partitions[0].new.object = other.object.key;
    other.object_floor = ObjectNumber(30);
    world.replace(other).unwrap();
    let session = &world.state.brokers[&BrokerId(1)];
    assert_eq!((session.object_floor, session.published.iter().copied().collect::<Vec<_>>()), (ObjectNumber(30), vec![ObjectNumber(30)]));
}

#[test]
fn r27_a_full_metadata_service_takes_replacements() {
    let mut world = world(3);
    world.rules.max_segments = 1;
    assert_eq!(world.replace(world.next_replacement(9, &[(P0(), 0, 30)])).unwrap().verdicts, [Replaced]);
}

#[test]
fn a_replacement_that_contradicts_itself_is_refused_whole() {
    let mut world = world(3);
    let good = world.next_replacement(9, &[(P0(), 0, 30)]);
    let mut refuse = |what: &str, change: &dyn Fn(&mut ReplaceSegments)| {
        let mut request = good.clone();
        change(&mut request);
        let detail = invalid(world.replace(request));
        assert!(detail.contains(what), "{detail}");
    };
    refuse("replaces nothing", &|request| request.partitions.clear());
    refuse("is not in order", &|request| request.partitions.push(request.partitions[0].clone()));
    refuse("names no segment", &|request| request.partitions[0].old.clear());
    refuse("do not follow one another", &|request| request.partitions[0].old.swap(0, 1));
    refuse("does not answer for the offsets", &|request| drop(request.partitions[0].old.pop()));
    refuse("does not answer for the offsets", &|request| request.partitions[0].new.base = Offset(1));
    refuse("does not answer for the offsets", &|request| request.partitions[0].new.end = Offset(31));
    refuse("holds more", &|request| request.partitions[0].new.bytes += 1);
    refuse("holds more", &|request| request.partitions[0].new.records += 1);
    refuse("holds more", &|request| request.partitions[0].new.batches += 1);
    refuse("larger timestamp", &|request| request.partitions[0].new.max_timestamp.0 += 1);
    refuse("lies in another object", &|request| {
        request.object.key = ObjectKey::Shared { broker: BrokerId(1), epoch: request.epoch, number: ObjectNumber(10) }
    });
    refuse("was not written by broker 1", &|request| {
        let key = ObjectKey::Shared { broker: BrokerId(2), epoch: request.epoch, number: ObjectNumber(9) };
        request.object.key = key;
        request.partitions[0].new.object = key;
    });
    refuse("lies below the object floor", &|request| request.object_floor = ObjectNumber(10));
    refuse("reaches beyond the object", &|request| request.object.length = 2000);
    refuse("are reserved", &|request| request.partitions[0].new.offset_shift = 1);
    refuse("at most", &|request| request.object.length = u64::MAX);
    assert_eq!(world.replace(good).unwrap().verdicts, [Replaced]);
}

/// What lies in objects: records by offset, for each segment.
type Objects = BTreeMap<ObjectKey, BTreeMap<i64, u64>>;

/// Offsets from the log start on find the records that were published, in an object that is there.
fn check_reads(world: &World, objects: &Objects, published: &BTreeMap<i64, u64>) {
    let found = world.state.partition(P0()).unwrap();
    for (offset, record) in published.range(found.log_start.0..) {
        let segment = found.segments.from(Offset(*offset)).next().expect("a published offset is in a segment");
        assert!(segment.contains(Offset(*offset)));
        assert_eq!(objects.get(&segment.object).and_then(|object| object.get(offset)), Some(record), "offset {offset}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish { gap: i64, length: i64 },
    Rewrite { first: usize, count: usize },
    Replace { which: usize },
    DeleteRecords { ahead: i64 },
    Snapshot,
    DeleteGarbage,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop_oneof![4 => Just(0), 1 => 1..4_i64, 1 => Just(1 << 32)], 1..5_i64)
            .prop_map(|(gap, length)| Step::Publish { gap, length }),
        4 => (0..6_usize, 1..6_usize).prop_map(|(first, count)| Step::Rewrite { first, count }),
        4 => (0..3_usize).prop_map(|which| Step::Replace { which }),
        1 => (0..6_i64).prop_map(|ahead| Step::DeleteRecords { ahead }),
        2 => Just(Step::Snapshot),
        1 => Just(Step::DeleteGarbage),
    ]
}

proptest! {
    /// Rewrites of any segments, told late, twice or after others have changed what they replace, with deletion without any grace.
    #[test]
    fn any_offset_finds_the_same_record_before_and_after(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::with_topic(1);
        world.rules.grace_ms = 0;
        let (mut objects, mut published) = (Objects::new(), BTreeMap::new());
        let mut pending: Vec<ReplaceSegments> = Vec::new();
        for (number, step) in (1..).zip(steps) {
            world.now += 1000;
            let (log_start, next) = { let found = world.state.partition(P0()).unwrap(); (found.log_start.0, found.next_offset.0) };
            match step {
                Step::Publish { gap, length } => {
                    let mut request = world.next_publish(number, &[(P0(), next + gap, next + gap + length)]);
                    request.partitions[0].gap = true;
                    let records: BTreeMap<_, _> = (next + gap..next + gap + length).map(|offset| (offset, number)).collect();
                    published.extend(records.clone());
                    objects.insert(world.key(1, number), records);
                    prop_assert_eq!(world.publish(request).unwrap().verdicts, [accepted(next + gap + length)]);
                }
                Step::Rewrite { first, count } => {
                    let found = world.state.partition(P0()).unwrap();
                    let old: Vec<_> = found.segments.from(found.log_start).skip(first).take(count).cloned().collect();
                    let (Some(first), Some(last)) = (old.first(), old.last()) else { continue };
                    let request = world.next_replacement(number, &[(P0(), first.base.0, last.end.0)]);
                    let records = old.iter().flat_map(|segment| {
                        let kept = objects[&segment.object].range(segment.base.0.max(log_start)..segment.end.0);
                        kept.map(|(offset, record)| (*offset, *record))
                    });
                    let records = records.collect();
                    objects.insert(request.object.key, records);
                    pending.push(request);
                }
                Step::Replace { which } => {
                    let Some(request) = pending.iter().rev().nth(which).cloned() else { continue };
                    let _ = world.replace(request);
                }
                Step::DeleteRecords { ahead } => advance(&mut world, (log_start + ahead).min(next)),
                Step::Snapshot => world.snapshot(),
                Step::DeleteGarbage => {
                    let keys = world.deletable();
                    keys.iter().for_each(|key| drop(objects.remove(key)));
                    world.run(Command::Deleted(keys)).unwrap();
                }
            }
            check_reads(&world, &objects, &published);
        }
    }
}
