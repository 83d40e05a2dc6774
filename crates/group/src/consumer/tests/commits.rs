//! Who may commit and fetch offsets.

use types::{TopicId, TopicPartition};

use super::world::*;
use crate::{CommitRequest, FetchOffsetsRequest, GroupError};

fn commit(member_id: &str, epoch: i32) -> CommitRequest {
    CommitRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation_or_epoch: epoch,
        knows_member_epochs: true,
        retention_ms: None,
        topics: Vec::new(),
    }
}

fn fetch(member_id: Option<&str>, epoch: i32) -> FetchOffsetsRequest {
    let member_id = member_id.map(str::to_owned);
    FetchOffsetsRequest { group_id: "g".to_owned(), member_id, member_epoch: epoch, topics: None, require_stable: false }
}

/// Partitions 0 to 3 of topic `a` that may be committed.
fn check(world: &World, request: &CommitRequest, expected: &[i32]) {
    let scope = world.group.check_commit(request).unwrap();
    let topic = TopicId::from_bytes([b'a'; 16]);
    let allowed = |partition: &i32| scope.check(TopicPartition::new(topic, *partition)).is_ok();
    assert_eq!((0..4).filter(allowed).collect::<Vec<_>>(), expected);
}

#[test]
fn members_commit_with_their_epoch_and_with_one_in_which_they_had_the_partition() {
    let mut world = World::new(&[("a", 4)]);
    let topic = TopicId::from_bytes([b'a'; 16]);
    world.send(&join("m1", &["a"])).unwrap();
    world.send(&join("m2", &["a"])).unwrap();
    check(&world, &commit("m1", 1), &[0, 1, 2, 3]);
    world.send(&beat("m1", 1)).unwrap();
    // What it is to give up is still its own.
    check(&world, &commit("m1", 1), &[0, 1, 2, 3]);
    world.send(&owns("m1", 1, &[(topic, &[0, 1])])).unwrap();
    world.send(&beat("m2", 2)).unwrap();
    check(&world, &commit("m1", 1), &[0, 1]);
    check(&world, &commit("m2", 1), &[]);
    check(&world, &commit("m2", 2), &[0, 1, 2, 3]);
    let scope = world.group.check_commit(&commit("m1", 1)).unwrap();
    let text = "The received member epoch 1 does not match the expected member epoch 2.".to_owned();
    assert_eq!(scope.check(TopicPartition::new(topic, 2)), Err(GroupError::StaleMemberEpoch(text)));
    let text = "The received member epoch 3 does not match the expected member epoch 2.".to_owned();
    assert_eq!(world.group.check_commit(&commit("m1", 3)).unwrap_err(), GroupError::StaleMemberEpoch(text));
}

#[test]
fn strangers_commit_only_in_an_empty_group() {
    let mut world = World::new(&[("a", 4)]);
    check(&world, &commit("", -1), &[0, 1, 2, 3]);
    assert_eq!(world.group.check_commit(&commit("m1", 1)).unwrap_err(), GroupError::unknown_member("g", "m1"));
    world.send(&join("m1", &["a"])).unwrap();
    assert_eq!(world.group.check_commit(&commit("", -1)).unwrap_err(), GroupError::unknown_member("g", ""));
    let old = CommitRequest { knows_member_epochs: false, ..commit("m1", 1) };
    assert!(matches!(world.group.check_commit(&old).unwrap_err(), GroupError::UnsupportedVersion(_)));
}

#[test]
fn fetches_name_the_members_epoch_or_no_member() {
    let mut world = World::new(&[("a", 4)]);
    world.send(&join("m1", &["a"])).unwrap();
    assert_eq!(world.group.check_fetch(&fetch(None, -1)), Ok(()));
    assert_eq!(world.group.check_fetch(&fetch(Some("m1"), 1)), Ok(()));
    assert_eq!(world.group.check_fetch(&fetch(Some("m2"), 1)), Err(GroupError::unknown_member("g", "m2")));
    assert!(matches!(world.group.check_fetch(&fetch(Some("m1"), 0)), Err(GroupError::StaleMemberEpoch(_))));
}
