//! Registration, sessions and who owns what.

use metadata_api::HeartbeatRequest;

use super::*;

fn heartbeat(world: &World, broker: i32, synced: u64) -> Command {
    let epoch = world.epoch(broker);
    Command::Heartbeat(HeartbeatRequest { broker: BrokerId(broker), epoch, synced: Lsn(synced), unoffloaded_bytes: 0 })
}

#[test]
fn a_broker_epoch_is_the_revision_of_its_registration_and_rises() {
    let mut world = World::with_topic(1);
    let first = world.epoch(1);
    let again = world.register(register(1, 1)).unwrap();
    assert_eq!((again.epoch, again.revision), (BrokerEpoch(world.state.revision.0), world.state.revision));
    assert!(first < again.epoch);
    assert_eq!(again.cluster, ClusterId::from_bytes(CLUSTER));
    assert!(world.state.registered.contains(&(BrokerId(1), first)) && world.state.registered.contains(&(BrokerId(1), again.epoch)));
}

#[test]
fn r8_a_broker_that_saw_a_newer_revision_is_refused() {
    let mut world = World::with_topic(1);
    let current = world.state.revision;
    let seen = Revision(current.0 + 1);
    let refused = world.register(RegisterBroker { revision_seen: seen, ..register(1, 1) });
    assert_eq!(refused, Err(MetadataError::RolledBack { current, seen }));
    world.register(RegisterBroker { revision_seen: current, ..register(1, 1) }).unwrap();
}

#[test]
fn r8_unpublished_entries_of_a_partition_that_never_was_are_an_error_and_not_a_deletion() {
    let mut world = World::with_topic(1);
    world.create(2, create("deleted", 1)).unwrap();
    world.run(Command::DeleteTopic(topic(2))).unwrap();
    let with = |unpublished| RegisterBroker { unpublished: vec![(unpublished, Offset(5))], ..register(1, 1) };
    assert_eq!(world.register(with(partition(9, 0))), Err(MetadataError::UnknownTopic { topic: topic(9) }));
    assert_eq!(world.register(with(partition(1, 1))), Err(MetadataError::UnknownPartition { topic: topic(1), partition: 1 }));
    world.register(with(partition(2, 7))).unwrap();
    world.register(with(partition(1, 0))).unwrap();
}

#[test]
fn r7_a_broker_of_another_cluster_is_refused() {
    let mut world = World::with_topic(1);
    let theirs = ClusterId::from_bytes([8; 16]);
    let refused = world.register(RegisterBroker { cluster: Some(theirs), ..register(1, 1) });
    assert_eq!(refused, Err(MetadataError::WrongCluster { ours: ClusterId::from_bytes(CLUSTER), theirs }));
    world.register(RegisterBroker { cluster: None, ..register(1, 1) }).unwrap();
}

#[test]
fn a_negative_node_id_is_refused() {
    assert!(invalid(World::empty().register(register(-1, 1))).contains("node.id must be at least 0"));
}

#[test]
fn r12_a_registration_tells_the_last_published_lsn_and_fences_the_older_epoch() {
    let mut world = World::with_topic(1);
    world.add(1, partition(1, 0), 0, 10);
    let late = world.next_publish(2, &[(partition(1, 0), 10, 20)]);
    let registration = world.register(register(1, 1)).unwrap();
    assert_eq!((registration.last_published, registration.synced_seen), (Lsn(10), Lsn(10)));
    let before = world.state.clone();
    let fenced = MetadataError::Fenced { broker: BrokerId(1), epoch: late.epoch, current: registration.epoch };
    assert_eq!(world.publish(late.clone()), Err(fenced.clone()));
    let stale = HeartbeatRequest { broker: BrokerId(1), epoch: late.epoch, synced: Lsn(99), unoffloaded_bytes: 0 };
    assert_eq!(world.run(Command::Heartbeat(stale)), Err(fenced.clone()));
    assert_eq!(world.run(Command::ResignBroker { broker: BrokerId(1), epoch: late.epoch }), Err(fenced));
    assert!(world.state == before);
}

#[test]
fn r11_the_highest_synced_lsn_is_remembered_and_never_goes_back() {
    let mut world = World::with_topic(1);
    world.run(heartbeat(&world, 1, 40)).unwrap();
    let before = world.state.clone();
    world.run(heartbeat(&world, 1, 30)).unwrap();
    assert!(world.state == before, "nothing new is no event");
    world.add(1, partition(1, 0), 0, 10);
    assert_eq!(world.register(register(1, 1)).unwrap().synced_seen, Lsn(40));
}

#[test]
fn r26_another_log_under_a_live_node_id_is_refused() {
    let mut world = World::with_topic(1);
    assert_eq!(world.register(register(1, 2)), Err(MetadataError::DuplicateBroker { broker: BrokerId(1) }));
    world.expire(1);
    world.register(register(1, 2)).unwrap();
}

#[test]
fn r26_the_same_log_under_another_live_node_id_is_refused() {
    let mut world = World::with_topic(1);
    assert_eq!(world.register(register(2, 1)), Err(MetadataError::DuplicateBroker { broker: BrokerId(1) }));
    world.expire(1);
    world.register(register(2, 1)).unwrap();
    assert_eq!(world.state.partition(partition(1, 0)).unwrap().leader, BrokerId(2));
}

#[test]
fn r26_a_copy_of_the_log_elsewhere_does_not_supersede_the_broker_in_this_process() {
    let mut world = World::empty();
    let local = || Command::RegisterBroker { request: register(1, 1), local: true };
    world.run(local()).unwrap();
    assert_eq!(world.register(register(1, 1)), Err(MetadataError::DuplicateBroker { broker: BrokerId(1) }));
    world.run(local()).unwrap();
    world.happen(&[Event::LeaderStarted]);
    world.register(register(1, 1)).unwrap();
}

#[test]
fn r26_the_session_within_this_process_does_not_expire_and_ends_with_the_process() {
    let mut world = World::empty();
    world.run(Command::RegisterBroker { request: register(1, 1), local: true }).unwrap();
    world.register(register(2, 2)).unwrap();
    world.expire(1);
    assert!(world.state.brokers[&BrokerId(1)].alive);
    world.happen(&[Event::LeaderStarted]);
    assert!(!world.state.brokers[&BrokerId(1)].alive);
    assert!(world.state.brokers[&BrokerId(2)].alive, "a session elsewhere outlives the metadata server");
}

#[test]
fn r15_a_registration_lists_what_the_log_owns_and_none_of_it_is_given_away() {
    let mut world = World::with_topic(3);
    let mut publish = world.next_publish(1, &[(partition(1, 1), 0, 10)]);
    publish.partitions[0].producers = vec![producer(77, 9, NOW)];
    world.publish(publish).unwrap();
    world.expire(1);
    world.register(register(2, 2)).unwrap();
    for index in 0..3 {
        let state = world.state.partition(partition(1, index)).unwrap();
        assert_eq!((state.owner, world.state.visible_leader(state)), (wal(1), None), "waits for its owner");
    }
    let unpublished = vec![(partition(1, 0), Offset(4)), (partition(1, 1), Offset(30))];
    let registration = world.register(RegisterBroker { unpublished, ..register(1, 1) }).unwrap();
    let listed: Vec<_> = registration.partitions.iter().map(|state| (state.partition, state.next_offset, state.leader_epoch)).collect();
    let epoch = LeaderEpoch(1);
    assert_eq!(listed, [(partition(1, 0), Offset(0), epoch), (partition(1, 1), Offset(10), epoch), (partition(1, 2), Offset(0), epoch)]);
    assert!(registration.partitions[1].producers.get(77).is_some());
}

#[test]
fn r3_a_log_that_replaces_another_takes_over_object_partitions_only() {
    let mut world = World::with_topic(1);
    world.create(2, CreateTopic { durability: Durability::Object, ..create("object", 1) }).unwrap();
    world.expire(1);
    let registration = world.register(register(1, 2)).unwrap();
    let owned: Vec<_> = registration.partitions.iter().map(|state| state.partition).collect();
    assert_eq!(owned, [partition(2, 0)]);
    assert_eq!(world.state.partition(partition(1, 0)).unwrap().owner, wal(1));
    assert_eq!(world.image.partition(partition(1, 0)).unwrap().leader, None);
}

#[test]
fn r3_a_log_that_resigned_with_everything_published_gives_up_all() {
    let mut world = World::with_topic(1);
    world.add(1, partition(1, 0), 0, 10);
    let resign = |world: &World| Command::ResignBroker { broker: BrokerId(1), epoch: world.epoch(1) };
    world.run(resign(&world)).unwrap();
    let revision = world.state.revision;
    assert_eq!(world.run(resign(&world)), Ok(Answer::Revision(revision)), "a repeat is answered");
    let owned = world.register(register(1, 2)).unwrap().partitions;
    assert_eq!(owned.iter().map(|state| state.partition).collect::<Vec<_>>(), [partition(1, 0)]);
}

#[test]
fn r3_a_log_that_resigned_with_synced_entries_unpublished_keeps_its_partitions() {
    let mut world = World::with_topic(1);
    world.run(heartbeat(&world, 1, 5)).unwrap();
    world.run(Command::ResignBroker { broker: BrokerId(1), epoch: world.epoch(1) }).unwrap();
    assert_eq!(world.register(register(1, 2)).unwrap().partitions, []);
    assert_eq!(world.state.partition(partition(1, 0)).unwrap().owner, wal(1));
}

#[test]
fn r17_a_registration_raises_the_leader_epoch_and_the_history_names_only_published_batches() {
    let mut world = World::with_topic(1);
    world.add(1, partition(1, 0), 0, 100);
    let registration = world.register(register(1, 1)).unwrap();
    assert_eq!(registration.partitions[0].leader_epoch, LeaderEpoch(1));
    let epochs = |world: &World| world.state.partition(partition(1, 0)).unwrap().epochs.clone();
    let start = |epoch, offset| types::EpochStart { epoch: LeaderEpoch(epoch), offset: Offset(offset) };
    assert_eq!(epochs(&world), [start(0, 0)], "not at the published end, before anything of the epoch is published");
    // The tail of the old epoch runs to 200, and only then the new one begins.
    let mut publish = world.next_publish(1, &[(partition(1, 0), 100, 300)]);
    let run = |epoch, base, end| Run { leader_epoch: LeaderEpoch(epoch), base: Offset(base), end: Offset(end) };
    publish.partitions[0].runs = vec![run(0, 100, 200), run(1, 200, 300)];
    assert_eq!(world.publish(publish).unwrap().verdicts, [accepted(300)]);
    assert_eq!(epochs(&world), [start(0, 0), start(1, 200)]);
    assert_eq!(world.register(register(1, 1)).unwrap().partitions[0].epochs, epochs(&world));
}

#[test]
fn r18_an_unclean_election_leaves_a_gap_and_the_history_begins_at_the_published_end() {
    let mut world = World::with_topic(2);
    world.add(1, partition(1, 0), 0, 100);
    let elect = |index| Command::ElectUnclean(vec![partition(1, index)]);
    let revision = world.state.revision;
    assert_eq!(world.run(elect(0)), Ok(Answer::Revision(revision)), "a leader that is there stays");
    world.expire(1);
    assert!(matches!(world.run(elect(0)), Err(MetadataError::Unavailable { .. })), "nobody is there to lead");
    world.register(register(2, 2)).unwrap();
    world.run(Command::ElectUnclean(vec![partition(1, 0), partition(1, 0)])).unwrap();
    let state = world.state.partition(partition(1, 0)).unwrap();
    assert_eq!((state.leader, state.owner, state.leader_epoch, state.owned_from), (BrokerId(2), wal(2), LeaderEpoch(1), LeaderEpoch(1)));
    let next = 100 + (1 << 32);
    assert_eq!(state.next_offset, Offset(next));
    assert_eq!(state.epochs.last(), Some(&types::EpochStart { epoch: LeaderEpoch(1), offset: Offset(100) }));
    assert_eq!(world.state.partition(partition(1, 1)).unwrap().owner, wal(1), "only what was asked for");
    // The deposed log's tail never comes back.
    world.register(register(1, 1)).unwrap();
    let answer = world.publish(world.next_publish(1, &[(partition(1, 0), 100, 200)])).unwrap();
    assert_eq!(answer.verdicts, [not_owned(1)]);
    let answer = world.publish(world.next_publish_of(2, 1, &[(partition(1, 0), next, next + 5)])).unwrap();
    assert_eq!(answer.verdicts, [accepted(next + 5)]);
    let epoch = world.state.brokers[&BrokerId(2)].epoch;
    let partitions = vec![partition(1, 0), partition(1, 1), partition(1, 7)];
    let states = world.run(Command::PartitionStates { broker: BrokerId(2), epoch, partitions: partitions.clone() });
    let Ok(Answer::PartitionStates(states)) = states else { panic!("{states:?}") };
    let told: Vec<_> = states.iter().map(|state| (state.partition, state.leader_epoch, state.next_offset)).collect();
    assert_eq!(told, [(partition(1, 0), LeaderEpoch(1), Offset(next + 5))], "only what it leads");
    let fenced = world.run(Command::PartitionStates { broker: BrokerId(2), epoch: BrokerEpoch(epoch.0 - 1), partitions });
    assert!(matches!(fenced, Err(MetadataError::Fenced { .. })), "{fenced:?}");
    assert_eq!(world.run(elect(7)), Err(MetadataError::UnknownPartition { topic: topic(1), partition: 7 }));
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut world = World::empty();
    let mut block = |count| world.run(Command::AllocateProducerIds { count });
    assert_eq!(block(10), Ok(Answer::ProducerIds(0..10)));
    assert_eq!(block(1), Ok(Answer::ProducerIds(10..11)));
    assert!(invalid(block(0)).contains("1 to 1000000"));
    assert!(invalid(block(1_000_001)).contains("1 to 1000000"));
    assert_eq!(block(5), Ok(Answer::ProducerIds(11..16)));
    world.state.next_producer_id = i64::MAX - 1;
    assert!(invalid(world.run(Command::AllocateProducerIds { count: 5 })).contains("used up"));
}
