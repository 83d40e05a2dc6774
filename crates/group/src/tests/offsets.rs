//! Committed offsets: who may commit, what is kept, when it ends.

use types::TopicId;

use super::harness::{GROUP, Harness, commit_as, join_as, prompt, protocol};
use crate::offsets::{MAX_COMMIT_BYTES, ROW_OVERHEAD};
use crate::{
    CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, FetchOffsetsRequest, FetchTopic, FetchedPartition, GroupError,
    GroupState, JoinRequest, ListFilter, Options,
};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const WEEK: u64 = 7 * DAY;

/// A commit of somebody outside the group.
fn simple(topic: &str, partition: i32, offset: i64) -> CommitRequest {
    commit_as("", -1, topic, partition, offset)
}

/// All that is committed, as `topic/partition@offset`.
fn committed(group: &Harness) -> Vec<String> {
    let fetched = group.fetch_all();
    let mut all = Vec::new();
    for topic in &fetched.topics {
        all.extend(topic.partitions.iter().map(|partition| format!("{}/{}@{}", topic.name, partition.partition, partition.offset)));
    }
    all
}

fn delete(group: &mut Harness, topic: &str, partitions: &[i32]) -> Result<Vec<Result<(), GroupError>>, GroupError> {
    let request = DeleteOffsetsRequest { group_id: GROUP.to_owned(), topics: vec![(topic.to_owned(), partitions.to_vec())] };
    let results = group.coordinator.delete_offsets(request);
    group.settle();
    Ok(results?.topics.remove(0).partitions.into_iter().map(|(_, result)| result).collect())
}

#[test]
fn what_was_committed_is_answered_with_the_string_that_came_with_it() {
    let mut group = Harness::new(prompt());
    assert_eq!(group.commit(simple("orders", 3, 42)), Ok(vec![Ok(())]));
    group.reload();
    let fetched = group.fetch_all();
    let expected = FetchedPartition { partition: 3, offset: 42, leader_epoch: 3, metadata: "note 42".to_owned() };
    assert_eq!((fetched.topics[0].name.as_str(), &fetched.topics[0].partitions), ("orders", &vec![expected]));
    let mut without = simple("orders", 3, 43);
    without.topics[0].partitions[0] = CommitPartition { partition: 3, offset: 43, leader_epoch: -1, metadata: None };
    assert_eq!(group.commit(without), Ok(vec![Ok(())]));
    let expected = FetchedPartition { partition: 3, offset: 43, leader_epoch: -1, metadata: String::new() };
    assert_eq!(group.fetch_all().topics[0].partitions, [expected]);
}

#[test]
fn a_commit_whose_rows_come_to_too_much_is_refused_and_changes_nothing() {
    let mut group = Harness::new(prompt());
    let long = "g".repeat(30_000);
    let of = |count: usize| {
        let mut request = CommitRequest { group_id: long.clone(), ..simple("orders", 0, 7) };
        let one = CommitPartition { metadata: Some("x".repeat(2_000)), ..request.topics[0].partitions[0].clone() };
        request.topics[0].partitions = (0..count).map(|partition| CommitPartition { partition: partition as i32, ..one.clone() }).collect();
        request
    };
    let most = MAX_COMMIT_BYTES / (30_000 + 2_000 + "orders".len());
    assert_eq!(group.commit(of(most + 1)), Err(GroupError::CommitTooLarge { limit: MAX_COMMIT_BYTES }));
    assert!(group.saved.is_empty() && group.coordinator.list(&ListFilter::default()).is_empty());

    assert!(group.commit(of(most - 1)).unwrap().iter().all(Result::is_ok));
    assert_eq!(group.saved.len(), most - 1);
    let bytes: usize = group.saved.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes <= MAX_COMMIT_BYTES, "{bytes}");
}

#[test]
fn a_row_of_a_commit_takes_no_more_than_it_was_counted_for() {
    let mut group = Harness::new(Options { offset_metadata_max_bytes: 100_000, ..prompt() });
    for (topic, note) in [("t", 0), ("t", 1), ("t", 200), ("orders", 70_000)] {
        let mut request = CommitRequest { retention_ms: Some(1), ..simple(topic, 0, 7) };
        request.topics[0].partitions[0].metadata = Some("x".repeat(note));
        group.saved.clear();
        group.commit(request).unwrap();
        let bytes: usize = group.saved.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes <= GROUP.len() + topic.len() + note + ROW_OVERHEAD, "{bytes}");
    }
}

#[test]
fn partitions_without_an_offset_are_answered_without_one() {
    let mut group = Harness::new(prompt());
    let fetch = |group: &Harness, id: u8| {
        let topics = vec![FetchTopic { name: "orders".to_owned(), id: TopicId::from_bytes([id; 16]), partitions: vec![1, 0] }];
        let request = FetchOffsetsRequest {
            group_id: GROUP.to_owned(),
            member_id: None,
            member_epoch: -1,
            topics: Some(topics),
            require_stable: true,
        };
        let fetched = group.coordinator.fetch_offsets(&request).unwrap().topics.remove(0);
        fetched.partitions.into_iter().map(|partition| (partition.partition, partition.offset)).collect::<Vec<_>>()
    };
    assert_eq!(fetch(&group, 0), [(1, -1), (0, -1)], "there is no group");
    let mut commit = simple("orders", 0, 7);
    commit.topics[0].id = TopicId::from_bytes([1; 16]);
    group.commit(commit).unwrap().remove(0).unwrap();
    assert_eq!(fetch(&group, 0), [(1, -1), (0, 7)], "the name is enough");
    assert_eq!(fetch(&group, 1), [(1, -1), (0, 7)]);
    assert_eq!(fetch(&group, 2), [(1, -1), (0, -1)], "another topic had the name");
    group.reload();
    assert_eq!(fetch(&group, 2), [(1, -1), (0, -1)]);
}

#[test]
fn only_members_of_the_generation_commit_while_there_are_members() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(1);
    let unknown = |member: &str| Err(GroupError::unknown_member(GROUP, member));
    assert_eq!(group.commit(simple("orders", 0, 1)), unknown(""));
    assert_eq!(group.commit(commit_as("stranger", generation, "orders", 0, 1)), unknown("stranger"));
    assert_eq!(group.commit(commit_as("", generation, "orders", 0, 1)), unknown(""));
    assert_eq!(group.commit(commit_as(&ids[0], generation - 1, "orders", 0, 1)), Err(GroupError::IllegalGeneration));
    assert_eq!(group.commit(commit_as(&ids[0], -1, "orders", 0, 1)), Err(GroupError::IllegalGeneration));
    assert_eq!(group.commit(commit_as(&ids[0], generation, "orders", 0, 1)), Ok(vec![Ok(())]));
    // While the next generation is prepared members commit what they are about to lose.
    let join = group.join(JoinRequest { fresh_id: "other".to_owned(), ..join_as("") });
    assert_eq!(group.commit(commit_as(&ids[0], generation, "orders", 0, 2)), Ok(vec![Ok(())]));
    let again = group.join(join_as(&ids[0]));
    group.joined(again);
    group.joined(join);
    assert_eq!(group.state(), GroupState::CompletingRebalance);
    assert_eq!(group.commit(commit_as(&ids[0], generation + 1, "orders", 0, 3)), Err(GroupError::RebalanceInProgress));
    assert_eq!(committed(&group), ["orders/0@2"]);
}

#[test]
fn a_commit_for_a_group_that_does_not_exist_makes_one_only_from_outside() {
    let mut group = Harness::new(prompt());
    let member = commit_as("a", 5, "orders", 0, 1);
    assert_eq!(group.commit(member.clone()), Err(GroupError::no_such_group(GROUP)));
    assert_eq!(group.commit(CommitRequest { knows_member_epochs: false, ..member }), Err(GroupError::IllegalGeneration));
    let named = CommitRequest { member_id: "a".to_owned(), ..simple("orders", 0, 1) };
    assert_eq!(group.commit(named), Ok(vec![Ok(())]), "an empty group has nobody to protect");
    let unnamed = CommitRequest { group_id: String::new(), ..simple("orders", 0, 1) };
    assert_eq!(group.commit(unnamed), Ok(vec![Ok(())]));
    assert_eq!(group.commit(commit_as("a", 5, "orders", 0, 1)), Err(GroupError::unknown_member(GROUP, "a")));
}

#[test]
fn a_commit_keeps_its_members_session() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(1);
    for offset in 0..5 {
        group.pass(9_000);
        assert_eq!(group.commit(commit_as(&ids[0], generation, "orders", 0, offset)), Ok(vec![Ok(())]));
    }
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn a_string_that_is_too_long_stops_its_partition_alone() {
    let mut group = Harness::new(Options { offset_metadata_max_bytes: 4, ..prompt() });
    let partition =
        |partition, metadata: &str| CommitPartition { partition, offset: 1, leader_epoch: -1, metadata: Some(metadata.to_owned()) };
    let partitions = vec![partition(0, "12345"), partition(1, "1234"), partition(2, "éééé"), partition(3, "\u{1f600}\u{1f600}!")];
    let topics = vec![CommitTopic { name: "orders".to_owned(), id: TopicId::default(), partitions }];
    let results = group.commit(CommitRequest { topics, ..simple("orders", 0, 1) }).unwrap();
    let refused = Err(GroupError::OffsetMetadataTooLarge);
    assert_eq!(results, [refused.clone(), Ok(()), Ok(()), refused]);
    assert_eq!(committed(&group), ["orders/1@1", "orders/2@1"]);
}

#[test]
fn offsets_are_deleted_where_nobody_in_the_group_reads() {
    let mut group = Harness::new(prompt());
    assert_eq!(delete(&mut group, "orders", &[0]), Err(GroupError::no_such_group(GROUP)));
    for partition in 0..2 {
        group.commit(simple("orders", partition, 5)).unwrap().remove(0).unwrap();
        group.commit(simple("old", partition, 5)).unwrap().remove(0).unwrap();
    }
    group.new_group(1);
    let subscribed = Err(GroupError::GroupSubscribedToTopic);
    assert_eq!(delete(&mut group, "orders", &[0, 1]), Ok(vec![subscribed.clone(), subscribed]));
    assert_eq!(delete(&mut group, "old", &[0, 9]), Ok(vec![Ok(()), Ok(())]));
    group.reload();
    assert_eq!(committed(&group), ["old/1@5", "orders/0@5", "orders/1@5"]);
}

#[test]
fn offsets_of_other_groups_with_members_are_not_deleted() {
    let mut group = Harness::new(prompt());
    let join = group.join(JoinRequest { protocol_type: "connect".to_owned(), ..join_as("") });
    group.joined(join);
    assert_eq!(delete(&mut group, "orders", &[0]), Err(GroupError::NonEmptyGroup));
}

#[test]
fn offsets_go_with_their_topics() {
    let mut group = Harness::new(prompt());
    for topic in ["a", "b", "c"] {
        group.commit(simple(topic, 0, 1)).unwrap().remove(0).unwrap();
    }
    group.coordinator.topics_deleted(&["a".to_owned(), "c".to_owned(), "never".to_owned()]);
    group.settle();
    assert_eq!(committed(&group), ["b/0@1"]);
    group.reload();
    assert_eq!(committed(&group), ["b/0@1"]);
}

#[test]
fn the_committed_offsets_of_all_groups_are_told_topic_by_topic_for_as_long_as_they_are_kept() {
    let mut group = Harness::new(prompt());
    let told = |group: &Harness| {
        let mut told: Vec<_> = group.coordinator.committed().map(|it| (it.topic.to_owned(), it.partition, it.offset)).collect();
        assert!(group.coordinator.committed().all(|it| it.group_id == GROUP && it.topic_id == TopicId::default()));
        assert!(told.is_sorted_by_key(|(topic, _, _)| topic.clone()), "{told:?}");
        told.sort();
        told
    };
    assert_eq!(told(&group), []);
    for (topic, partition, offset) in [("orders", 1, 5), ("bills", 0, 2), ("orders", 0, 3), ("orders", 1, 9)] {
        group.commit(simple(topic, partition, offset)).unwrap().remove(0).unwrap();
    }
    let orders = [("orders".to_owned(), 0, 3), ("orders".to_owned(), 1, 9)];
    assert_eq!(told(&group), [&[("bills".to_owned(), 0, 2)][..], &orders].concat());
    group.coordinator.topics_deleted(&["bills".to_owned()]);
    group.settle();
    group.reload();
    assert_eq!(told(&group), orders);
    delete(&mut group, "orders", &[0]).unwrap().remove(0).unwrap();
    assert_eq!(told(&group), orders[1..]);
    group.pass(WEEK + 10 * MINUTE);
    assert_eq!(told(&group), []);
}

#[test]
fn offsets_of_somebody_who_never_joins_end_a_week_after_their_commit_and_the_group_with_them() {
    let mut group = Harness::new(prompt());
    group.commit(simple("orders", 0, 1)).unwrap().remove(0).unwrap();
    group.pass(3 * DAY);
    group.commit(simple("orders", 1, 1)).unwrap().remove(0).unwrap();
    group.pass(4 * DAY - 10 * MINUTE);
    assert_eq!(committed(&group).len(), 2);
    group.pass(20 * MINUTE);
    assert_eq!(committed(&group), ["orders/1@1"]);
    group.pass(3 * DAY);
    assert!(group.coordinator.describe(GROUP).is_err());
    assert!(group.saved.is_empty(), "nothing is left of it");
}

#[test]
fn offsets_of_a_group_of_members_end_a_week_after_it_became_empty() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(1);
    group.commit(commit_as(&ids[0], generation, "orders", 0, 1)).unwrap().remove(0).unwrap();
    for _ in 0..3 * DAY / 9_000 {
        group.pass(9_000);
        group.heartbeat(&ids[0], generation).unwrap();
    }
    group.leave(&[(&ids[0], None)]);
    group.pass(DAY);
    group.reload();
    group.pass(6 * DAY - 20 * MINUTE);
    assert_eq!(committed(&group), ["orders/0@1"]);
    group.pass(30 * MINUTE);
    assert!(group.saved.is_empty());
}

#[test]
fn a_stable_group_loses_offsets_of_topics_that_it_does_not_read_any_more_and_no_others() {
    let mut group = Harness::new(Options { offsets_retention_ms: 60 * 60_000, ..prompt() });
    let (ids, generation) = group.new_group(1);
    for topic in ["orders", "old"] {
        group.commit(commit_as(&ids[0], generation, topic, 0, 1)).unwrap().remove(0).unwrap();
    }
    for _ in 0..500 {
        group.pass(9_000);
        group.heartbeat(&ids[0], generation).unwrap();
    }
    assert_eq!(committed(&group), ["orders/0@1"]);
}

#[test]
fn nothing_ends_while_a_group_rebalances_or_is_not_one_of_consumers() {
    let mut group = Harness::new(Options { offsets_retention_ms: 60_000, ..prompt() });
    let join = |id: &str| JoinRequest {
        protocol_type: "connect".to_owned(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        protocols: vec![protocol("range", &[])],
        ..join_as(id)
    };
    let ticket = group.join(join(""));
    let id = group.joined(ticket).member_id;
    let sync = crate::SyncRequest { protocol_type: None, ..super::harness::sync_as(&id, 1) };
    let ticket = group.sync(sync);
    group.synced(ticket);
    group.commit(commit_as(&id, 1, "orders", 0, 1)).unwrap().remove(0).unwrap();
    group.pass(20 * MINUTE);
    assert_eq!(committed(&group), ["orders/0@1"]);
}

#[test]
fn the_retention_of_an_old_commit_is_its_own() {
    let mut group = Harness::new(prompt());
    let long = CommitRequest { retention_ms: Some(2 * WEEK as i64), ..simple("orders", 0, 1) };
    let short = CommitRequest { retention_ms: Some(DAY as i64), ..simple("orders", 1, 1) };
    for commit in [long, short, simple("orders", 2, 1)] {
        group.commit(commit).unwrap().remove(0).unwrap();
    }
    group.reload();
    group.pass(DAY + 10 * MINUTE);
    assert_eq!(committed(&group), ["orders/0@1", "orders/2@1"]);
    group.pass(WEEK);
    assert_eq!(committed(&group), ["orders/0@1"]);
    group.pass(WEEK);
    assert!(committed(&group).is_empty());
}
