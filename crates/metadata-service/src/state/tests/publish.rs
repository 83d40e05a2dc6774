//! Publishing: the whole object first, then each partition for itself.

use super::*;

const P0: fn() -> TopicPartition = || partition(1, 0);

#[test]
fn a_publish_adds_a_segment_and_moves_the_ends() {
    let mut world = World::with_topic(2);
    let request = world.next_publish(1, &[(partition(1, 0), 0, 10), (partition(1, 1), 0, 7)]);
    let answer = world.publish(request).unwrap();
    assert_eq!(answer, PublishAnswer { revision: world.state.revision, verdicts: vec![accepted(10), accepted(7)], pressure: 0 });
    let state = world.state.partition(partition(1, 1)).unwrap();
    assert_eq!((state.next_offset, state.segments.len()), (Offset(7), 1));
    assert_eq!(state.segments.iter().next().unwrap().added, answer.revision);
    assert_eq!(world.state.wals[&wal(1)].last_published, Lsn(10));
    assert_eq!(world.state.segment_count(), 2);
}

#[test]
fn r12_the_same_sequence_with_the_same_content_is_answered_and_not_redone() {
    let mut world = World::with_topic(1);
    let request = world.next_publish(1, &[(P0(), 0, 10)]);
    let first = world.publish(request.clone()).unwrap();
    world.create(2, create("other", 1)).unwrap();
    let before = world.state.clone();
    // How far the broker has come meanwhile is no part of what it publishes.
    let repeat = PublishRequest { synced: Lsn(99), object_floor: ObjectNumber(1), ..request };
    assert_eq!(world.publish(repeat), Ok(first));
    assert!(world.state == before);
}

#[test]
fn r12_the_same_sequence_with_other_content_is_refused() {
    let mut world = World::with_topic(1);
    let request = world.next_publish(1, &[(P0(), 0, 10)]);
    world.publish(request.clone()).unwrap();
    let before = world.state.clone();
    let mut other_end = request.clone();
    other_end.partitions[0].segment.end = Offset(11);
    other_end.partitions[0].runs[0].end = Offset(11);
    let mut other_checksum = request.clone();
    other_checksum.object = request.object.map(|object| PublishedObject { crc: object.crc + 1, ..object });
    let other_range = PublishRequest { end_lsn: Lsn(request.end_lsn.0 + 1), ..request };
    for other in [other_end, other_checksum, other_range] {
        assert!(invalid(world.publish(other)).contains("was sent before with other content"));
    }
    assert!(world.state == before);
}

#[test]
fn r12_a_sequence_that_was_left_out_or_is_older_than_the_last_is_refused() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    world.add(2, P0(), 10, 20);
    for sequence in [0, 1, 4, u64::MAX] {
        let request = PublishRequest { sequence: PublishSequence(sequence), ..world.next_publish(3, &[(P0(), 20, 30)]) };
        assert!(invalid(world.publish(request)).contains("follows publish 2"), "{sequence}");
    }
}

#[test]
fn r12_a_log_range_that_begins_below_the_published_end_or_is_empty_is_refused() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    let range =
        |world: &World, first, end| PublishRequest { first_lsn: Lsn(first), end_lsn: Lsn(end), ..world.next_publish(2, &[(P0(), 10, 20)]) };
    assert!(invalid(world.publish(range(&world, 10, 20))).contains("below the published end 11"));
    assert!(invalid(world.publish(range(&world, 11, 11))).contains("is empty"));
    world.publish(range(&world, 11, 12)).unwrap();
    assert_eq!(world.state.wals[&wal(1)].last_published, Lsn(11));
}

#[test]
fn r2_a_log_that_lost_its_unsynced_tail_goes_on_above_what_was_published() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    let registration = world.register(register(1, 1)).unwrap();
    let start = registration.last_published.0 + 500;
    let request = PublishRequest { first_lsn: Lsn(start), end_lsn: Lsn(start + 5), ..world.next_publish(1, &[(P0(), 10, 20)]) };
    assert_eq!(world.publish(request).unwrap().verdicts, [accepted(20)]);
}

#[test]
fn r13_each_partition_has_its_own_verdict_and_none_holds_up_the_others() {
    let mut world = World::with_topic(4);
    world.register(register(2, 2)).unwrap();
    world.add(1, partition(1, 2), 0, 10);
    world.expire(1);
    world.run(Command::ElectUnclean(vec![partition(1, 1)])).unwrap();
    world.register(register(1, 1)).unwrap();
    world.create(2, create("gone", 1)).unwrap();
    world.run(Command::DeleteTopic(topic(2))).unwrap();
    let parts =
        [(partition(1, 0), 0, 5), (partition(1, 1), 0, 5), (partition(1, 2), 11, 20), (partition(1, 3), 0, 9), (partition(2, 0), 0, 5)];
    let published = world.state.wals[&wal(1)].last_published;
    let answer = world.publish(world.next_publish(1, &parts)).unwrap();
    let gone = PartitionVerdict::Refused(PartitionRefusal::Gone);
    assert_eq!(answer.verdicts, [accepted(5), not_owned(1), wrong_offset(10), accepted(9), gone]);
    // Gone and not owned never block trimming: the log's published end moved over all of them.
    assert_eq!(world.state.wals[&wal(1)].last_published, Lsn(published.0 + 10));
    assert_eq!(world.state.partition(partition(1, 2)).unwrap().next_offset, Offset(10));
    let repeat = world.state.brokers[&BrokerId(1)].last_publish.clone().unwrap().answer;
    assert_eq!(repeat, answer, "a repeat gets the verdicts of then");
}

#[test]
fn r13_a_publish_of_any_number_of_partitions_is_one_event() {
    let mut world = World::with_topic(2000);
    let parts: Vec<_> = (0..2000).map(|index| (partition(1, index), 0, 1)).collect();
    let before = world.events.len();
    let answer = world.publish(world.next_publish(1, &parts)).unwrap();
    assert_eq!(answer.verdicts, vec![accepted(1); 2000]);
    assert_eq!(world.events.len(), before + 1);
}

#[test]
fn a_publish_that_contradicts_itself_is_refused_whole() {
    let mut world = World::with_topic(2);
    let good = world.next_publish(1, &[(partition(1, 0), 0, 10), (partition(1, 1), 0, 10)]);
    let before = world.state.clone();
    let mut refuse = |what: &str, change: &dyn Fn(&mut PublishRequest)| {
        let mut request = good.clone();
        change(&mut request);
        let detail = invalid(world.publish(request));
        assert!(detail.contains(what), "{detail}");
    };
    refuse("is not in order", &|request| request.partitions.swap(0, 1));
    refuse("is not in order", &|request| request.partitions[1].partition = request.partitions[0].partition);
    refuse("partitions without an object", &|request| request.object = None);
    refuse("lies in another object", &|request| {
        let ObjectKey::Shared { broker, epoch, .. } = request.partitions[1].segment.object else { unreachable!() };
        request.partitions[1].segment.object = ObjectKey::Shared { broker, epoch, number: ObjectNumber(9) };
    });
    refuse("reaches beyond the object", &|request| request.partitions[1].segment.position = 1 << 20);
    refuse("reaches beyond the object", &|request| request.partitions[1].segment.bytes = u64::MAX);
    refuse("are possible", &|request| request.object.as_mut().unwrap().length = u64::MAX);
    refuse("reserved", &|request| request.partitions[1].segment.offset_shift = 1);
    refuse("reserved", &|request| request.partitions[1].segment.leader_epoch = Some(LeaderEpoch(0)));
    refuse("its segment is empty", &|request| request.partitions[1].segment.end = Offset(0));
    refuse("its segment is empty", &|request| request.partitions[1].segment.base = Offset(-1));
    refuse("its runs do not fit", &|request| request.partitions[1].runs.clear());
    refuse("its runs do not fit", &|request| request.partitions[1].runs[0].end = Offset(11));
    refuse("its runs are not ascending", &|request| request.partitions[1].runs[0].end = Offset(0));
    refuse("its runs are not ascending", &|request| {
        let run = request.partitions[1].runs[0];
        request.partitions[1].runs.push(run);
    });
    refuse("its runs are not ascending", &|request| {
        let run = |leader_epoch, base, end| Run { leader_epoch: LeaderEpoch(leader_epoch), base: Offset(base), end: Offset(end) };
        request.partitions[1].runs = vec![run(1, 0, 5), run(0, 5, 10)];
    });
    assert!(world.state == before);
    world.publish(good).unwrap();
}

#[test]
fn r21_a_gap_is_accepted_only_where_it_is_marked_and_at_most_as_far_as_an_unclean_election_leaves() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    let gap = |world: &World, base: i64| {
        let mut request = world.next_publish(2, &[(P0(), base, base + 5)]);
        request.partitions[0].gap = true;
        request
    };
    let mut marked = world.clone();
    assert_eq!(marked.publish(gap(&marked, 50)).unwrap().verdicts, [accepted(55)]);
    assert_eq!(marked.state.partition(P0()).unwrap().next_offset, Offset(55));
    let mut unmarked = world.clone();
    assert_eq!(unmarked.publish(unmarked.next_publish(2, &[(P0(), 50, 55)])).unwrap().verdicts, [wrong_offset(10)]);
    let mut below = world.clone();
    assert_eq!(below.publish(gap(&below, 9)).unwrap().verdicts, [wrong_offset(10)]);
    let mut furthest = world.clone();
    assert_eq!(furthest.publish(gap(&furthest, 10 + (1 << 32))).unwrap().verdicts, [accepted(15 + (1 << 32))]);
    let mut beyond = world.clone();
    assert_eq!(beyond.publish(gap(&beyond, 11 + (1 << 32))).unwrap().verdicts, [wrong_offset(10)]);
}

#[test]
fn r16_after_a_refused_offset_gaps_of_this_ownership_are_not_believed() {
    let mut world = World::with_topic(1);
    assert_eq!(world.publish(world.next_publish(1, &[(P0(), 5, 10)])).unwrap().verdicts, [wrong_offset(0)]);
    let mut request = world.next_publish(2, &[(P0(), 10, 20)]);
    request.partitions[0].gap = true;
    assert_eq!(world.publish(request).unwrap().verdicts, [wrong_offset(0)]);
}

#[test]
fn r3_runs_of_epochs_outside_the_ownership_are_refused() {
    let mut world = World::with_topic(1);
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.partitions[0].runs[0].leader_epoch = LeaderEpoch(1);
    assert_eq!(world.publish(request).unwrap().verdicts, [not_owned(0)], "an epoch that was never given out");
    world.register(register(1, 1)).unwrap();
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.partitions[0].runs[0].leader_epoch = LeaderEpoch(0);
    assert_eq!(world.publish(request).unwrap().verdicts, [accepted(10)], "the tail from before the restart is still ours");
}

#[test]
fn r6_a_key_of_a_superseded_epoch_is_dead() {
    let mut world = World::with_topic(1);
    let old = world.key(1, 1);
    world.register(register(1, 1)).unwrap();
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.object = Some(PublishedObject { key: old, length: 1 << 20, crc: 7 });
    request.partitions[0].segment.object = old;
    assert!(invalid(world.publish(request)).contains("is dead"));
    assert!(world.state.is_dead(&old) && !world.state.is_dead(&world.key(1, 1)));
}

#[test]
fn r6_a_number_below_the_floor_is_dead() {
    let mut world = World::with_topic(1);
    let request = PublishRequest { object_floor: ObjectNumber(5), ..world.next_publish(7, &[(P0(), 0, 10)]) };
    world.publish(request).unwrap();
    assert!(world.state.is_dead(&world.key(1, 4)) && !world.state.is_dead(&world.key(1, 5)));
    assert!(invalid(world.publish(world.next_publish(4, &[(P0(), 10, 20)]))).contains("is dead"));
    let lower = PublishRequest { object_floor: ObjectNumber(0), ..world.next_publish(5, &[(P0(), 10, 20)]) };
    world.publish(lower).unwrap();
    assert_eq!(world.state.brokers[&BrokerId(1)].object_floor, ObjectNumber(5), "the floor never goes back");
}

#[test]
fn r6_a_key_is_published_once() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    assert!(invalid(world.publish(world.next_publish(1, &[(P0(), 10, 20)]))).contains("is dead"));
}

#[test]
fn t26_numbers_above_the_floor_are_bounded() {
    let mut world = World::with_topic(1);
    let session = world.state.brokers.get_mut(&BrokerId(1)).unwrap();
    session.published = (1..=65_536).map(ObjectNumber).collect();
    let stuck = world.next_publish(70_000, &[(P0(), 0, 10)]);
    assert!(invalid(world.publish(stuck.clone())).contains("raise it"));
    world.publish(PublishRequest { object_floor: ObjectNumber(2), ..stuck }).unwrap();
}

#[test]
fn an_object_that_every_partition_refused_is_retired_at_once() {
    let mut world = World::with_topic(1);
    world.publish(world.next_publish(1, &[(P0(), 5, 10)])).unwrap();
    let key = world.key(1, 1);
    assert!(world.state.is_garbage(&key) && !world.state.is_referenced(&key));
    let without = PublishRequest { object: None, ..world.next_publish(2, &[]) };
    world.publish(without).unwrap();
    assert_eq!(world.state.wals[&wal(1)].last_published, Lsn(20), "a range without live batches publishes too");
}

#[test]
fn a_fenced_or_unknown_broker_publishes_nothing() {
    let mut world = World::with_topic(1);
    let request = world.next_publish(1, &[(P0(), 0, 10)]);
    let (broker, epoch) = (BrokerId(1), world.epoch(1));
    let stranger = PublishRequest { broker: BrokerId(9), ..request.clone() };
    let unknown = MetadataError::Fenced { broker: BrokerId(9), epoch, current: BrokerEpoch(0) };
    assert_eq!(world.publish(stranger), Err(unknown));
    world.expire(1);
    assert_eq!(world.publish(request), Err(MetadataError::Fenced { broker, epoch, current: epoch }));
}

#[test]
fn r19_producers_expire_by_append_time_but_never_those_of_the_segment_itself() {
    let mut world = World::with_topic(1);
    let with = |world: &World, number, base, delta| {
        let mut request = world.next_publish(number, &[(P0(), base, base + 10)]);
        request.partitions[0].producers = vec![delta];
        request
    };
    world.publish(with(&world, 1, 0, producer(1, 9, NOW))).unwrap();
    // A broker whose clock is two days behind: its own producer is alive all the same.
    world.publish(with(&world, 2, 10, producer(2, 19, NOW - 2 * DAY))).unwrap();
    let known = |world: &World| world.state.partition(P0()).unwrap().producers.iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(known(&world), [1, 2]);
    world.now = NOW + DAY;
    world.rules.clock_trusted = false;
    world.publish(with(&world, 3, 20, producer(3, 29, NOW + DAY))).unwrap();
    assert_eq!(known(&world), [1, 2, 3], "nobody is forgotten while the clock is in doubt");
    world.rules.clock_trusted = true;
    world.publish(with(&world, 4, 30, producer(4, 39, NOW + DAY))).unwrap();
    assert_eq!(known(&world), [1, 3, 4]);
    world.now += 1;
    world.publish(with(&world, 5, 40, producer(5, 49, NOW + DAY))).unwrap();
    assert_eq!(known(&world), [3, 4, 5]);
}

#[test]
fn t26_pressure_rises_with_the_number_of_segments_but_nothing_is_refused() {
    let mut world = World::with_topic(1);
    world.rules.max_segments = 100;
    let mut last = 0;
    for number in 0..200_i64 {
        let answer = world.publish(world.next_publish(number.unsigned_abs(), &[(P0(), number, number + 1)])).unwrap();
        assert_eq!(answer.verdicts, [accepted(number + 1)]);
        assert!(last <= answer.pressure);
        last = answer.pressure;
        match number {
            ..=80 => assert_eq!(answer.pressure, 0, "at {number}"),
            100 => assert_eq!(answer.pressure, 400),
            150 => assert_eq!(answer.pressure, 800, "and no further"),
            _ => {}
        }
    }
}
