//! R5: which level is in force, when another comes into force, and what becomes of a partition at each.

use metadata_api::{AlterTopicConfigs, DurabilityChange, EnforceDurability};

use super::*;

/// Broker 1 asks for `level` in partition `index` of topic 1, with everything below `log_end` promised by the weaker one.
fn enforce(world: &mut World, index: i32, level: Durability, log_end: i64) -> Result<Answer, MetadataError> {
    let config_revision = world.state.topics[&topic(1)].config_revision;
    let changes = vec![DurabilityChange { partition: partition(1, index), level, config_revision, log_end: Offset(log_end) }];
    world.run(Command::EnforceDurability(EnforceDurability { broker: BrokerId(1), epoch: world.epoch(1), changes }))
}

fn alter(world: &mut World, level: &str) {
    let expected = world.state.topics[&topic(1)].config_revision;
    let configs = configs(&[("durability", level)]);
    world.run(Command::AlterTopicConfigs(AlterTopicConfigs { topic: topic(1), expected, configs })).unwrap();
}

fn in_force(world: &World, index: i32) -> Durability {
    let level = world.state.partition(partition(1, index)).unwrap().durability;
    assert_eq!(world.image.partition(partition(1, index)).unwrap().durability, level);
    level
}

/// Another log replaces broker 1's for good. Whether it was given the partition.
fn is_given_away(world: &mut World, index: i32) -> bool {
    world.expire(1);
    world.register(register(1, 2)).unwrap();
    world.state.partition(partition(1, index)).unwrap().owner == wal(2)
}

#[test]
fn r5_an_altered_config_alone_gives_nothing_away() {
    let mut world = World::with_topic(1);
    world.add(1, partition(1, 0), 0, 100);
    alter(&mut world, "object");
    assert_eq!(in_force(&world, 0), Durability::Wal);
    assert!(!is_given_away(&mut world, 0), "its log has what wal acknowledged above 100");
}

#[test]
fn r5_object_comes_into_force_once_what_wal_promised_is_published() {
    let mut world = World::with_topic(2);
    world.add(1, partition(1, 0), 0, 100);
    alter(&mut world, "object");
    let before = world.state.clone();
    enforce(&mut world, 0, Durability::Object, 200).unwrap();
    assert!(world.state == before, "records up to 200 were acknowledged, and are published up to 100");
    world.add(2, partition(1, 0), 100, 200);
    let answer = enforce(&mut world, 0, Durability::Object, 200).unwrap();
    assert_eq!((in_force(&world, 0), in_force(&world, 1)), (Durability::Object, Durability::Wal));
    assert_eq!(enforce(&mut world, 0, Durability::Object, 200), Ok(answer), "a repeat changes nothing");
    assert!(is_given_away(&mut world, 0));
    assert_eq!(world.state.partition(partition(1, 0)).unwrap().next_offset, Offset(200));
    assert_eq!(world.state.partition(partition(1, 1)).unwrap().owner, wal(1));
}

#[test]
fn r5_wal_is_in_force_before_anything_is_published_by_it_and_keeps_the_partition() {
    let mut world = World::with_topic(1);
    alter(&mut world, "object");
    enforce(&mut world, 0, Durability::Object, 0).unwrap();
    alter(&mut world, "wal");
    assert_eq!(in_force(&world, 0), Durability::Object);
    enforce(&mut world, 0, Durability::Wal, 0).unwrap();
    assert_eq!(in_force(&world, 0), Durability::Wal);
    assert!(!is_given_away(&mut world, 0));
}

#[test]
fn r5_a_level_that_newer_configs_may_not_ask_for_does_not_come_into_force() {
    let mut world = World::with_topic(1);
    alter(&mut world, "object");
    let late = world.state.topics[&topic(1)].config_revision;
    // The leader acknowledges by wal again from here on.
    alter(&mut world, "wal");
    let changes =
        vec![DurabilityChange { partition: partition(1, 0), level: Durability::Object, config_revision: late, log_end: Offset(0) }];
    world.run(Command::EnforceDurability(EnforceDurability { broker: BrokerId(1), epoch: world.epoch(1), changes })).unwrap();
    assert_eq!(in_force(&world, 0), Durability::Wal);
}

#[test]
fn r5_only_the_leader_in_its_epoch_brings_a_level_into_force() {
    let mut world = World::with_topic(1);
    alter(&mut world, "object");
    let config_revision = world.state.topics[&topic(1)].config_revision;
    let change = DurabilityChange { partition: partition(1, 0), level: Durability::Object, config_revision, log_end: Offset(0) };
    let request = |broker, epoch, changes: &[DurabilityChange]| {
        Command::EnforceDurability(EnforceDurability { broker: BrokerId(broker), epoch, changes: changes.to_vec() })
    };
    let stale = world.epoch(1);
    world.register(register(1, 1)).unwrap();
    let current = world.epoch(1);
    let fenced = MetadataError::Fenced { broker: BrokerId(1), epoch: stale, current };
    assert_eq!(world.run(request(1, stale, &[change])), Err(fenced));
    world.register(register(2, 2)).unwrap();
    world.run(request(2, world.epoch(2), &[change])).unwrap();
    assert_eq!(in_force(&world, 0), Durability::Wal);
    let absent = DurabilityChange { partition: partition(9, 0), ..change };
    world.run(request(1, current, &[absent])).unwrap();
    assert!(invalid(world.run(request(1, current, &[change, change]))).contains("named twice"));
    world.run(request(1, current, &[absent, change])).unwrap();
    assert_eq!(in_force(&world, 0), Durability::Object);
}
