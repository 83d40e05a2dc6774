//! Each rule for itself.

use std::collections::BTreeMap;

use metadata_api::CreateTopic;
use types::{BrokerId, Durability, EpochStart, LeaderEpoch, Lsn, Offset, TopicPartition};

use super::life::{Life, partition, topic, wal};
use crate::rebuild::FoundSegment;
use crate::rebuild::runs::{Candidate, Election, lay};
use crate::state::{Command, Event, State};

/// Broker 1 with log 1 leads both partitions of a topic.
fn life(durability: Durability) -> (Life, TopicPartition, TopicPartition) {
    let mut life = Life::new();
    life.register(1, 1);
    create(&mut life, 1, 2, durability);
    (life, partition(topic(1, 1), 0), partition(topic(1, 1), 1))
}

fn create(life: &mut Life, number: u8, partitions: i32, durability: Durability) {
    let request = CreateTopic {
        name: format!("t{number}"),
        partitions,
        replication_factor: 1,
        configs: BTreeMap::new(),
        durability,
        validate_only: false,
    };
    life.run(Command::CreateTopic { request, topic: topic(number, 1) }).unwrap();
}

/// Ten records from append to publish.
fn add(life: &mut Life, broker: i32, id: TopicPartition) {
    life.append(broker, id, 10, 1);
    life.seal(broker);
    life.upload(broker, 0);
    life.publish(broker, true);
}

#[test]
fn an_object_behind_one_that_is_missing_comes_again_from_the_log() {
    let (mut life, first, second) = life(Durability::Wal);
    add(&mut life, 1, first);
    life.append(1, first, 10, 1);
    life.seal(1);
    life.append(1, second, 10, 1);
    life.seal(1);
    // Only the later of the two is uploaded: it cannot have been published, and its range is behind one that only the log has.
    life.upload(1, 1);
    let (mut rebuilt, _) = life.rebuilt(State::default());
    assert_eq!(rebuilt.state.wals[&wal(1)].last_published, Lsn(1));
    assert_eq!(rebuilt.visible()[&second].next_offset, Offset(0));
    rebuilt.settle();
    assert_eq!((rebuilt.visible()[&first].next_offset, rebuilt.visible()[&second].next_offset), (Offset(20), Offset(10)));
}

#[test]
fn an_object_behind_a_range_without_one_is_published() {
    let (mut life, first, _) = life(Durability::Object);
    create(&mut life, 2, 1, Durability::Object);
    add(&mut life, 1, first);
    life.append(1, partition(topic(2, 1), 0), 10, 1);
    life.run(Command::DeleteTopic(topic(2, 1))).unwrap();
    life.seal(1);
    life.append(1, first, 10, 1);
    life.seal(1);
    life.upload(1, 0);
    life.publish(1, true);
    life.publish(1, false);
    let (rebuilt, _) = life.rebuilt(State::default());
    assert_eq!(rebuilt.state.wals[&wal(1)].last_published, Lsn(3));
    assert_eq!(rebuilt.visible()[&first].next_offset, Offset(20), "it was acknowledged");
}

#[test]
fn the_owner_is_the_newest_writer_though_its_registration_never_reached_the_store() {
    let (mut life, first, second) = life(Durability::Wal);
    add(&mut life, 1, first);
    life.end(1, true);
    life.register(1, 2);
    add(&mut life, 1, first);
    let epoch = life.state.brokers[&BrokerId(1)].epoch;
    life.mirrored.retain(|step| !matches!(step.event, Event::BrokerEnded { .. }) && step.revision.0 != epoch.0);
    let (rebuilt, _) = life.rebuilt(State::default());
    let found = rebuilt.state.partition(first).unwrap();
    assert_eq!((found.owner, found.leader, found.next_offset), (wal(2), BrokerId(1), Offset(20)));
    assert_eq!(rebuilt.state.partition(second).unwrap().owner, wal(1), "nobody wrote there");
    assert!(rebuilt.state.registered.contains(&(BrokerId(1), epoch)), "its orphans may be swept");
}

#[test]
fn a_deleted_topic_stays_deleted_and_its_name_is_free() {
    let (mut life, first, _) = life(Durability::Wal);
    add(&mut life, 1, first);
    life.snapshot();
    add(&mut life, 1, first);
    life.run(Command::DeleteTopic(topic(1, 1))).unwrap();
    create(&mut life, 1, 1, Durability::Wal);
    let base = life.snapshots[0].clone();
    assert!(life.rebuilt(base.clone()).0.visible()[&partition(topic(1, 1), 0)].batches.is_empty());
    // The same if its deletion never reached the store: the name was given again.
    life.mirrored.retain(|step| !matches!(step.event, Event::TopicDeleted { .. }));
    let rebuilt = life.rebuilt(base).0;
    assert_eq!(rebuilt.state.topics.len(), 1);
}

#[test]
fn what_is_missing_is_told() {
    let (mut life, first, _) = life(Durability::Wal);
    for _ in 0..3 {
        add(&mut life, 1, first);
    }
    add(&mut life, 1, first);
    let lost = *life.bucket.keys().nth(1).unwrap();
    life.bucket.remove(&lost);
    let (rebuilt, report) = life.rebuilt(State::default());
    assert_eq!(report.holes, [(first, Offset(10), Offset(20))]);
    assert_eq!(rebuilt.visible()[&first].next_offset, Offset(40), "the rest is there");

    life.mirrored.retain(|step| !matches!(step.event, Event::TopicCreated { .. }));
    let (mut rebuilt, report) = life.rebuilt(State::default());
    assert_eq!(report.unknown_topics, [topic(1, 1)]);
    rebuilt.settle();
    for _ in 0..3 {
        rebuilt.snapshot();
        rebuilt.sweep();
    }
    assert_eq!(rebuilt.bucket, life.bucket, "what nobody can place is not deleted");
}

/// The published end, (base, end) of the segments, (epoch, offset) of the epochs.
/// The published end, segments as (base, end), and leader epochs as (epoch, offset).
type Laid = (i64, Vec<(i64, i64)>, Vec<(i32, i64)>);

/// Segments of a partition as (first leader epoch, base, end, certain), laid above offset 0.
fn laid(segments: &[(i32, i64, i64, bool)], elections: &[(i32, i64)]) -> Laid {
    let (mut life, first, _) = life(Durability::Wal);
    add(&mut life, 1, first);
    let template = life.bucket.values().next().unwrap().segments[0].clone();
    let found: Vec<_> = segments
        .iter()
        .map(|(epoch, base, end, _)| {
            let mut segment = template.segment.clone();
            (segment.base, segment.end) = (Offset(*base), Offset(*end));
            segment.leader_epochs = vec![EpochStart { epoch: LeaderEpoch(*epoch), offset: Offset(*base) }];
            FoundSegment { segment, ..template.clone() }
        })
        .collect();
    let candidates = found.iter().zip(segments).map(|(found, (_, _, _, is_certain))| Candidate { found, is_certain: *is_certain });
    let elections = elections.iter().map(|(epoch, next)| Election { epoch: LeaderEpoch(*epoch), next_offset: Offset(*next) });
    let runs = lay(Offset(0), &[], candidates.collect(), elections.collect());
    let segments = runs.segments.iter().map(|(_, candidate)| (candidate.found.segment.base.0, candidate.found.segment.end.0));
    (runs.next.0, segments.collect(), runs.epochs.iter().map(|start| (start.epoch.0, start.offset.0)).collect())
}

#[test]
fn a_higher_leader_epoch_truncates_what_a_lower_one_only_uploaded() {
    let both = laid(&[(0, 0, 10, true), (0, 10, 20, false), (3, 10, 15, false)], &[]);
    assert_eq!(both, (15, vec![(0, 10), (10, 15)], vec![(0, 0), (3, 10)]));
    let unclean = 20 + Offset::UNCLEAN_GAP;
    let elected = laid(&[(0, 0, 20, true), (0, 20, 30, false)], &[(4, unclean)]);
    assert_eq!(elected, (unclean, vec![(0, 20)], vec![(0, 0), (4, 20)]), "the epoch began at the published end");
    let written = laid(&[(0, 0, 20, true), (0, 20, 30, false), (5, unclean, unclean + 5, true)], &[(4, unclean)]);
    assert_eq!(written, (unclean + 5, vec![(0, 20), (unclean, unclean + 5)], vec![(0, 0), (4, 20), (5, unclean)]));
}

#[test]
fn what_was_published_for_sure_is_never_cut_and_what_does_not_follow_is_no_part() {
    assert_eq!(laid(&[(0, 0, 10, true), (2, 5, 15, false)], &[]), (10, vec![(0, 10)], vec![(0, 0)]));
    assert_eq!(laid(&[(0, 0, 10, true), (0, 12, 15, false)], &[]), (10, vec![(0, 10)], vec![(0, 0)]));
    assert_eq!(laid(&[(0, 0, 10, true), (0, 12, 15, true)], &[]).0, 15);
}
