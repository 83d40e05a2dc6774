//! Creation, growth, alteration and deletion of topics.

use metadata_api::{AlterTopicConfigs, CreatePartitions, TopicCreated};

use super::*;

fn created(answer: Result<Answer, MetadataError>) -> TopicCreated {
    match answer {
        Ok(Answer::TopicCreated(created)) => created,
        other => panic!("{other:?}"),
    }
}

fn grow(number: u8, total: i32) -> CreatePartitions {
    CreatePartitions { topic: topic(number), total, durability: Durability::Object, validate_only: false }
}

#[test]
fn a_topic_is_created_with_its_partitions() {
    let mut world = World::empty();
    world.register(register(1, 1)).unwrap();
    let request = CreateTopic { configs: configs(&[("retention.ms", "1")]), durability: Durability::Object, ..create("orders", 3) };
    let answer = created(world.create(1, request));
    assert_eq!(answer, TopicCreated { topic: topic(1), revision: world.state.revision });
    let image = world.image.topic_named("orders").unwrap();
    assert_eq!((image.id, image.config_revision, image.partitions.len()), (topic(1), answer.revision, 3));
    assert_eq!(image.configs, configs(&[("retention.ms", "1")]));
    for index in 0..3 {
        let state = world.state.partition(partition(1, index)).unwrap();
        assert_eq!((state.leader, state.owner, state.leader_epoch), (BrokerId(1), wal(1), LeaderEpoch(0)));
        assert_eq!((state.durability, state.next_offset, state.log_start), (Durability::Object, Offset(0), Offset(0)));
    }
}

#[test]
fn leaders_of_a_topic_differ_by_at_most_one_from_broker_to_broker() {
    let mut world = World::empty();
    for broker in 1..=3 {
        world.register(register(broker, broker as u8)).unwrap();
    }
    world.create(1, CreateTopic { replication_factor: 2, ..create("orders", 10) }).unwrap();
    let leaders: Vec<_> = (0..10).map(|index| world.state.partition(partition(1, index)).unwrap().leader).collect();
    for broker in 1..=3 {
        let count = leaders.iter().filter(|leader| **leader == BrokerId(broker)).count();
        assert!((3..=4).contains(&count), "broker {broker} leads {count} of {leaders:?}");
    }
    let replicas = &world.state.partition(partition(1, 0)).unwrap().replicas;
    assert_eq!((replicas.len(), replicas[0]), (2, leaders[0]));
}

#[test]
fn checking_a_topic_creates_nothing() {
    let mut world = World::with_topic(1);
    let before = world.state.clone();
    let answer = created(world.create(2, CreateTopic { validate_only: true, ..create("other", 1) }));
    assert_eq!(answer, TopicCreated { topic: TopicId::default(), revision: before.revision });
    world.run(Command::CreatePartitions(CreatePartitions { validate_only: true, ..grow(1, 5) })).unwrap();
    assert!(world.state == before);
}

#[test]
fn a_topic_of_the_same_name_is_refused_until_the_first_is_deleted() {
    let mut world = World::with_topic(1);
    assert_eq!(world.create(2, create("orders", 1)), Err(MetadataError::TopicExists { name: "orders".to_owned() }));
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    created(world.create(2, create("orders", 1)));
    assert_eq!(world.image.topic_named("orders").unwrap().id, topic(2));
}

#[test]
fn names_that_kafka_refuses_are_refused() {
    let mut world = World::with_topic(1);
    world.create(2, create("a.b", 1)).unwrap();
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "a b", "ä", "a_b", long.as_str()] {
        let refused = world.create(3, create(name, 1));
        assert!(matches!(refused, Err(MetadataError::InvalidTopicName { .. })), "{name}: {refused:?}");
    }
    created(world.create(3, create(&long[1..], 1)));
    created(world.create(4, create("a-b", 1)));
}

#[test]
fn counts_and_sizes_that_cannot_be_are_refused() {
    let mut world = World::with_topic(1);
    for partitions in [i32::MIN, -1, 0, 100_001, i32::MAX] {
        let refused = world.create(2, create("x", partitions));
        assert!(matches!(refused, Err(MetadataError::InvalidPartitions { .. })), "{partitions}: {refused:?}");
    }
    for replication_factor in [i16::MIN, -1, 0, 17, i16::MAX] {
        let refused = world.create(2, CreateTopic { replication_factor, ..create("x", 1) });
        assert!(matches!(refused, Err(MetadataError::InvalidReplicationFactor { .. })), "{replication_factor}: {refused:?}");
    }
    let large = "x".repeat(256 << 10);
    let detail = invalid(world.create(2, CreateTopic { configs: configs(&[("k", &large)]), ..create("x", 1) }));
    assert!(detail.contains("at most 262144"), "{detail}");
}

#[test]
fn a_topic_needs_a_live_broker() {
    let mut world = World::empty();
    assert!(matches!(world.create(1, create("orders", 1)), Err(MetadataError::Unavailable { .. })));
    world.register(register(1, 1)).unwrap();
    world.expire(1);
    assert!(matches!(world.create(1, create("orders", 1)), Err(MetadataError::Unavailable { .. })));
}

#[test]
fn a_topic_grows_and_never_shrinks() {
    let mut world = World::with_topic(2);
    world.run(Command::CreatePartitions(grow(1, 4))).unwrap();
    assert_eq!(world.image.topics[&topic(1)].partitions.len(), 4);
    assert_eq!(world.state.partition(partition(1, 1)).unwrap().durability, Durability::Wal);
    assert_eq!(world.state.partition(partition(1, 3)).unwrap().durability, Durability::Object);
    for total in [i32::MIN, 0, 3, 4, 100_001] {
        let refused = world.run(Command::CreatePartitions(grow(1, total)));
        assert!(matches!(refused, Err(MetadataError::InvalidPartitions { .. })), "{total}: {refused:?}");
    }
    assert_eq!(world.run(Command::CreatePartitions(grow(9, 1))), Err(MetadataError::UnknownTopic { topic: topic(9) }));
}

#[test]
fn configs_are_replaced_only_by_who_saw_the_newest() {
    let mut world = World::with_topic(1);
    let alter = |expected, value| {
        Command::AlterTopicConfigs(AlterTopicConfigs { topic: topic(1), expected, configs: configs(&[("retention.ms", value)]) })
    };
    let first = world.image.topics[&topic(1)].config_revision;
    world.run(alter(first, "1")).unwrap();
    assert_eq!(world.run(alter(first, "2")), Err(MetadataError::ConfigConflict { topic: topic(1) }));
    assert_eq!(world.image.topics[&topic(1)].configs, configs(&[("retention.ms", "1")]));
    let second = world.image.topics[&topic(1)].config_revision;
    assert_eq!(second, world.state.revision);
    world.run(alter(second, "2")).unwrap();
    assert_eq!(world.image.topics[&topic(1)].configs, configs(&[("retention.ms", "2")]));
}

#[test]
fn a_deleted_topic_leaves_a_tombstone_and_retires_its_objects() {
    let mut world = World::with_topic(2);
    world.add(1, partition(1, 0), 0, 10);
    let key = world.key(1, 1);
    let deleted = world.run(Command::DeleteTopic(topic(1)));
    assert_eq!(deleted, Ok(Answer::Revision(world.state.revision)));
    assert_eq!(world.state.deleted_topics[&topic(1)], world.state.revision);
    assert!(world.state.is_garbage(&key) && !world.state.is_referenced(&key));
    assert_eq!((world.state.segment_count(), world.state.partition(partition(1, 0))), (0, None));
    assert_eq!(world.run(Command::DeleteTopic(topic(1))), Err(MetadataError::UnknownTopic { topic: topic(1) }));
}

#[test]
fn an_object_shared_with_another_topic_outlives_the_first_deletion() {
    let mut world = World::with_topic(1);
    world.create(2, create("other", 1)).unwrap();
    world.publish(world.next_publish(1, &[(partition(1, 0), 0, 10), (partition(2, 0), 0, 10)])).unwrap();
    let key = world.key(1, 1);
    world.run(Command::DeleteTopic(topic(1))).unwrap();
    assert!(world.state.is_referenced(&key) && !world.state.is_garbage(&key));
    world.run(Command::DeleteTopic(topic(2))).unwrap();
    assert!(!world.state.is_referenced(&key) && world.state.is_garbage(&key));
}

#[test]
fn t26_tombstones_are_bounded_and_the_newest_stay() {
    let mut world = World::empty();
    world.register(register(1, 1)).unwrap();
    let id = |number: u32| {
        let mut bytes = [0; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        TopicId::from_bytes(bytes)
    };
    let create = |topic| Event::TopicCreated {
        topic,
        name: "t".to_owned(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        partitions: Vec::new(),
    };
    for number in 0..10_001 {
        world.state.apply(&create(id(number)), Timestamp(NOW));
        world.state.apply(&Event::TopicDeleted { topic: id(number), not_before: Timestamp(NOW) }, Timestamp(NOW));
    }
    assert_eq!(world.state.deleted_topics.len(), 10_000);
    assert!(!world.state.deleted_topics.contains_key(&id(0)) && world.state.deleted_topics.contains_key(&id(10_000)));
}
