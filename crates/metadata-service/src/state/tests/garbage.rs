//! Objects that nothing references: when they die, and when they may be deleted.

use super::*;

const P0: fn() -> TopicPartition = || partition(1, 0);

#[test]
fn r10_a_retired_object_is_deleted_only_below_the_older_kept_snapshot() {
    let mut world = World::with_topic(1);
    world.rules.grace_ms = 0;
    world.add(1, P0(), 0, 10);
    world.snapshot();
    world.snapshot();
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    let key = world.key(1, 1);
    assert!(world.state.garbage_waits_for_snapshot(Timestamp(world.now)));
    assert_eq!(world.deletable(), [], "both kept snapshots name it");
    world.snapshot();
    assert_eq!(world.deletable(), [], "the older kept snapshot names it");
    world.snapshot();
    assert_eq!(world.deletable(), [key]);
    assert!(!world.state.garbage_waits_for_snapshot(Timestamp(world.now)));
    world.run(Command::Deleted(vec![key])).unwrap();
    assert!(!world.state.is_garbage(&key));
    assert_eq!(world.deletable(), []);
}

#[test]
fn r10_with_less_than_two_snapshots_nothing_is_deleted() {
    let mut world = World::with_topic(1);
    world.rules.grace_ms = 0;
    world.add(1, P0(), 0, 10);
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    assert_eq!(world.deletable(), []);
    world.snapshot();
    assert_eq!(world.deletable(), []);
    world.snapshot();
    assert_eq!(world.deletable().len(), 1);
}

#[test]
fn grace_serves_readers_that_know_the_old_place() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    world.snapshot();
    world.snapshot();
    world.now += 59_999;
    assert_eq!(world.deletable(), []);
    world.now += 1;
    assert_eq!(world.deletable().len(), 1);
    assert_eq!(world.state.deletable(Timestamp(world.now), 0), [], "bounded");
}

#[test]
fn at_most_two_snapshots_are_kept() {
    let mut world = World::with_topic(1);
    for _ in 0..3 {
        world.snapshot();
    }
    let kept: Vec<_> = world.state.snapshots.iter().map(|snapshot| snapshot.revision).collect();
    assert_eq!(kept, [Revision(world.state.revision.0 - 2), Revision(world.state.revision.0 - 1)]);
}

#[test]
fn r6_an_upload_that_may_still_be_published_is_no_orphan() {
    let mut world = World::with_topic(1);
    let late = world.next_publish(3, &[(P0(), 0, 10)]);
    let key = world.key(1, 3);
    let before = world.state.clone();
    world.run(Command::Orphans(vec![key])).unwrap();
    assert!(world.state == before, "the epoch lives and the number is not below the floor");
    world.publish(late).unwrap();
    world.run(Command::Orphans(vec![key])).unwrap();
    assert!(world.state.is_referenced(&key) && !world.state.is_garbage(&key), "it is referenced now");
}

#[test]
fn r6_once_an_orphan_is_dead_the_slow_publish_that_names_it_is_refused() {
    let mut world = World::with_topic(1);
    let slow = world.next_publish(3, &[(P0(), 0, 10)]);
    let key = world.key(1, 3);
    world.register(register(1, 1)).unwrap();
    world.run(Command::Orphans(vec![key, key])).unwrap();
    assert!(world.state.is_garbage(&key));
    assert!(matches!(world.publish(slow), Err(MetadataError::Fenced { .. })));
    // By the new epoch it cannot be named either.
    let mut request = world.next_publish(1, &[(P0(), 0, 10)]);
    request.object = Some(PublishedObject { key, length: 1 << 20, crc: 7 });
    request.partitions[0].segment.object = key;
    assert!(invalid(world.publish(request)).contains("is dead"));
}

#[test]
fn r6_what_lies_below_the_floor_and_was_never_published_is_an_orphan() {
    let mut world = World::with_topic(1);
    world.publish(PublishRequest { object_floor: ObjectNumber(5), ..world.next_publish(6, &[(P0(), 0, 10)]) }).unwrap();
    let (below, published, above) = (world.key(1, 4), world.key(1, 6), world.key(1, 7));
    world.run(Command::Orphans(vec![below, published, above])).unwrap();
    assert!(world.state.is_garbage(&below));
    assert!(!world.state.is_garbage(&published) && !world.state.is_garbage(&above));
}

#[test]
fn r7_only_keys_of_epochs_that_this_journal_registered_die() {
    let mut world = World::with_topic(1);
    let ours = world.epoch(1);
    world.register(register(1, 1)).unwrap();
    let key = |broker, epoch| ObjectKey::Shared { broker: BrokerId(broker), epoch, number: ObjectNumber(1) };
    let strangers = [key(1, BrokerEpoch(ours.0 - 1)), key(2, ours), key(1, BrokerEpoch(ours.0 + 1_000_000))];
    let before = world.state.clone();
    world.run(Command::Orphans(strangers.to_vec())).unwrap();
    assert!(world.state == before);
    world.run(Command::Orphans(vec![key(1, ours)])).unwrap();
    assert!(world.state.is_garbage(&key(1, ours)));
    for stranger in strangers {
        assert!(!world.state.is_garbage(&stranger));
    }
}

#[test]
fn what_is_garbage_already_does_not_die_again() {
    let mut world = World::with_topic(1);
    world.add(1, P0(), 0, 10);
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    world.register(register(1, 1)).unwrap();
    let before = world.state.clone();
    let keys = before.garbage().map(|(key, _)| *key).collect();
    world.run(Command::Orphans(keys)).unwrap();
    assert!(world.state == before);
}
