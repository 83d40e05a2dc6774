//! Log starts: DeleteRecords, retention, and what the clock has to do with it.

use metadata_api::{AdvanceLogStart, AlterTopicConfigs, ConfigResource};

use super::*;

const P0: fn() -> TopicPartition = || partition(1, 0);

fn advance(world: &World, log_start: i64) -> Command {
    let epoch = world.epoch(1);
    Command::AdvanceLogStart(AdvanceLogStart { broker: BrokerId(1), epoch, partition: P0(), log_start: Offset(log_start) })
}

/// Segments of ten records each, one a day, the last of them now.
fn with_days(days: u64) -> World {
    let mut world = World::with_topic(1);
    let end = world.now;
    for number in 0..days {
        world.now = end - (days - 1 - number).cast_signed() * DAY;
        let base = number.cast_signed() * 10;
        world.add(number, P0(), base, base + 10);
    }
    world
}

fn retain(world: &mut World) -> Offset {
    world.run(Command::Retain).unwrap();
    world.log_start(P0())
}

#[test]
fn r21_a_log_start_is_at_most_the_published_end() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    let detail = invalid(world.run(advance(&world, 11)));
    assert!(detail.contains("above its published end 10"), "{detail}");
    assert_eq!(world.run(advance(&world, 10)), Ok(Answer::LogStart(Offset(10))));
    assert_eq!(world.log_start(P0()), Offset(10));
}

#[test]
fn r21_a_log_start_never_goes_back() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    world.run(advance(&world, 7)).unwrap();
    let before = world.state.clone();
    assert_eq!(world.run(advance(&world, 3)), Ok(Answer::LogStart(Offset(7))));
    assert!(world.state == before);
}

#[test]
fn only_the_leader_moves_a_log_start() {
    let mut world = World::with_topic(1);
    world.register(register(2, 2)).unwrap();
    let request = |broker, epoch, index| {
        Command::AdvanceLogStart(AdvanceLogStart { broker, epoch, partition: partition(1, index), log_start: Offset(0) })
    };
    let (other, ours) = (world.epoch(2), world.epoch(1));
    assert!(invalid(world.run(request(BrokerId(2), other, 0))).contains("does not lead"));
    let stale = MetadataError::Fenced { broker: BrokerId(1), epoch: other, current: ours };
    assert_eq!(world.run(request(BrokerId(1), other, 0)), Err(stale));
    assert_eq!(world.run(request(BrokerId(1), ours, 4)), Err(MetadataError::UnknownPartition { topic: topic(1), partition: 4 }));
}

#[test]
fn segments_below_the_log_start_are_retired_but_the_last_stays_for_its_state() {
    let mut world = with_days(3);
    world.run(advance(&world, 15)).unwrap();
    assert!(world.state.is_garbage(&world.key(1, 0)) && world.state.is_referenced(&world.key(1, 1)));
    world.run(advance(&world, 30)).unwrap();
    assert!(world.state.is_garbage(&world.key(1, 1)) && world.state.is_referenced(&world.key(1, 2)));
    assert_eq!(world.state.segment_count(), 1);
    world.add(3, P0(), 30, 40);
    assert!(world.state.is_garbage(&world.key(1, 2)), "the next segment's entry has the state from now on");
    assert_eq!((world.state.segment_count(), world.log_start(P0())), (1, Offset(30)));
}

#[test]
fn old_segments_are_retired_from_the_front() {
    let mut world = with_days(5);
    world.rules.retention_ms = 2 * DAY;
    assert_eq!(retain(&mut world), Offset(20), "what is exactly as old as allowed stays");
    world.now += 1;
    assert_eq!(retain(&mut world), Offset(30));
    let before = world.state.clone();
    world.run(Command::Retain).unwrap();
    assert!(world.state == before, "nothing to do is no event");
}

#[test]
fn a_partition_above_its_bound_loses_segments_until_one_more_would_bring_it_below() {
    let mut world = with_days(5);
    world.rules.retention_bytes = 2500;
    assert_eq!(retain(&mut world), Offset(20));
    world.rules.retention_bytes = 0;
    assert_eq!(retain(&mut world), Offset(50));
    assert_eq!(retain(&mut world), Offset(50), "a last segment that the log start has passed holds no bytes that count");
}

#[test]
fn a_topics_own_limits_go_before_the_brokers() {
    let mut world = with_days(5);
    world.rules.retention_ms = 2 * DAY;
    let mut alter = |entries: &[(&str, &str)]| {
        let expected = world.image.topics[&topic(1)].config_revision;
        let request = AlterTopicConfigs { topic: topic(1), expected, configs: configs(entries) };
        world.run(Command::AlterTopicConfigs(request)).unwrap();
        retain(&mut world)
    };
    assert_eq!(alter(&[("retention.ms", "-1")]), Offset(0));
    assert_eq!(alter(&[("retention.ms", "nonsense")]), Offset(0), "nothing is deleted by a value that nobody understands");
    assert_eq!(alter(&[("cleanup.policy", "compact"), ("retention.ms", "1")]), Offset(0));
    assert_eq!(alter(&[("retention.bytes", "4000"), ("retention.ms", "-1")]), Offset(10));
    assert_eq!(alter(&[("cleanup.policy", "compact,delete"), ("retention.ms", &(3 * DAY - 1).to_string())]), Offset(20));
    assert_eq!(alter(&[]), Offset(20));
    assert_eq!(alter(&[("retention.ms", &(DAY).to_string())]), Offset(30));
}

#[test]
fn what_is_set_on_the_leader_goes_before_all_brokers_and_those_before_the_rules() {
    let mut world = with_days(5);
    world.rules.retention_ms = 5 * DAY;
    let mut set = |resource, entries: &[(&str, &str)]| {
        world.set_configs(resource, entries);
        retain(&mut world)
    };
    let (own, other) = (|| ConfigResource::Broker(BrokerId(1)), ConfigResource::Broker(BrokerId(2)));
    assert_eq!(set(other, &[("log.retention.ms", "0")]), Offset(0), "another broker's say nothing");
    assert_eq!(set(own(), &[("log.retention.ms", "-1")]), Offset(0));
    assert_eq!(set(ConfigResource::AllBrokers, &[("log.retention.ms", &DAY.to_string()), ("log.retention.bytes", "4000")]), Offset(10));
    assert_eq!(set(own(), &[("log.retention.ms", &(3 * DAY - 1).to_string())]), Offset(20));
    assert_eq!(set(own(), &[]), Offset(30));
}

#[test]
fn one_timestamp_in_the_future_does_not_keep_a_partition_for_ever() {
    let mut world = World::with_topic(1);
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.partitions[0].segment.max_timestamp = Timestamp(NOW + 3650 * DAY);
    world.publish(request).unwrap();
    world.rules.retention_ms = DAY;
    assert_eq!(retain(&mut world), Offset(0));
    world.now = NOW + DAY + 1;
    assert_eq!(retain(&mut world), Offset(10), "it counts as the time of its append");
}

#[test]
fn r22_records_of_a_broker_whose_clock_is_behind_are_as_old_as_their_timestamps() {
    let mut world = World::with_topic(1);
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.partitions[0].segment.append_times = (Timestamp(NOW - 365 * DAY), Timestamp(NOW - 365 * DAY));
    world.publish(request).unwrap();
    world.rules.retention_ms = DAY;
    assert_eq!(retain(&mut world), Offset(0));
}

#[test]
fn records_without_timestamps_are_as_old_as_their_append() {
    let mut world = World::with_topic(1);
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.partitions[0].segment.max_timestamp = Timestamp(-1);
    world.publish(request).unwrap();
    world.rules.retention_ms = DAY;
    world.now = NOW + DAY;
    assert_eq!(retain(&mut world), Offset(0));
    world.now += 1;
    assert_eq!(retain(&mut world), Offset(10));
}

#[test]
fn r22_nothing_is_retired_while_the_clock_is_in_doubt() {
    let mut world = with_days(5);
    (world.rules.retention_ms, world.rules.retention_bytes) = (0, 0);
    world.rules.clock_trusted = false;
    assert_eq!(retain(&mut world), Offset(0));
    world.rules.clock_trusted = true;
    assert_eq!(retain(&mut world), Offset(50));
}

#[test]
fn r22_time_that_the_clock_skipped_makes_nothing_older() {
    let mut world = with_days(3);
    world.rules.retention_ms = 7 * DAY;
    world.now = NOW + 365 * DAY;
    world.happen(&[Event::ClockJumped { to: Timestamp(world.now), skipped_ms: 365 * DAY }]);
    assert_eq!(retain(&mut world), Offset(0));
    world.add(3, P0(), 30, 40);
    // Five days later the first segment is seven days old, as it would have been without the jump.
    world.now += 5 * DAY;
    assert_eq!(retain(&mut world), Offset(0));
    world.now += 1;
    assert_eq!(retain(&mut world), Offset(10));
    world.now = NOW + 372 * DAY;
    assert_eq!(retain(&mut world), Offset(20));
    world.now += 1;
    assert_eq!(retain(&mut world), Offset(40), "what was stamped at the jump is as old as it looks");
}

#[test]
fn r22_time_that_the_clock_skipped_forgets_no_producer() {
    let mut world = World::with_topic(1);
    let mut publish = |days, number, base: i64, id| {
        world.now = NOW + days * DAY;
        let mut request = world.next_publish(number, &[(P0(), base, base + 10)]);
        request.partitions[0].producers = vec![producer(id, base, world.now)];
        world.publish(request).unwrap();
        if days == 0 {
            world.happen(&[Event::ClockJumped { to: Timestamp(NOW + 2 * DAY), skipped_ms: 2 * DAY }]);
        }
        world.state.partition(P0()).unwrap().producers.iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(publish(0, 1, 0, 1), [1]);
    assert_eq!(publish(2, 2, 10, 2), [1, 2]);
    assert_eq!(publish(4, 3, 20, 3), [3]);
}

#[test]
fn r22_several_jumps_add_up_and_the_oldest_become_one() {
    let mut world = World::empty();
    for number in 1..=70 {
        world.happen(&[Event::ClockJumped { to: Timestamp(number * 1000), skipped_ms: 900 }]);
    }
    assert_eq!(world.state.jumps.len(), 64);
    assert_eq!(world.state.jumps.iter().map(|jump| jump.skipped_ms).sum::<i64>(), 70 * 900);
    let before = |now, age| world.state.stamped_before(Timestamp(now), age).0;
    assert_eq!(before(70_500, 400), 70_100, "after the last jump");
    assert_eq!(before(70_500, 500), 69_100, "what was stamped until the jump is not older than it");
    assert_eq!(before(70_500, 600), 69_000 - 900, "one hundred before the last jump is the jump before");
    assert_eq!(before(i64::MIN, i64::MAX), i64::MIN);
}
