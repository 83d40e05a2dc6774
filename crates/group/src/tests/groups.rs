//! Groups seen from outside: listed, described, deleted.

use std::sync::Arc;

use super::harness::{GROUP, Harness, commit_as, join_as, prompt};
use super::types;
use crate::row::{Kind, Writer};
use crate::{CommitRequest, Coordinator, GroupError, GroupState, GroupType, JoinRequest, ListFilter, Options, Row, RowError};

fn names(group: &Harness, states: &[&str], types: &[&str]) -> Vec<String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let filter = ListFilter { states: owned(states), types: owned(types) };
    group.coordinator.list(&filter).into_iter().map(|listed| listed.group_id).collect()
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut group = Harness::new(prompt());
    group.new_group(1);
    group.commit(CommitRequest { group_id: "simple".to_owned(), ..commit_as("", -1, "orders", 0, 1) }).unwrap().remove(0).unwrap();
    group.join(JoinRequest { group_id: "another".to_owned(), ..join_as("") });
    assert_eq!(names(&group, &[], &[]), ["another", "readers", "simple"]);
    assert_eq!(names(&group, &["stable", "EMPTY"], &[]), ["readers", "simple"]);
    assert_eq!(names(&group, &["CompletingRebalance"], &["Classic"]), ["another"]);
    assert!(names(&group, &[], &["consumer"]).is_empty());
    let listed = group.coordinator.list(&ListFilter::default());
    assert_eq!(
        (listed[1].protocol_type.as_str(), listed[1].state, listed[1].group_type),
        ("consumer", GroupState::Stable, GroupType::Classic)
    );
    assert_eq!(listed[2].protocol_type, "");
}

#[test]
fn a_group_is_described_with_what_its_members_said_and_got() {
    let mut group = Harness::new(prompt());
    assert_eq!(group.coordinator.describe(GROUP), Err(GroupError::no_such_group(GROUP)));
    let (ids, _) = group.new_group(2);
    let described = group.coordinator.describe(GROUP).unwrap();
    assert_eq!((described.protocol_type.as_str(), described.protocol.as_str()), ("consumer", "range"));
    let member = &described.members[1];
    assert_eq!((&member.member_id, member.client_id.as_str(), member.client_host.as_str()), (&ids[1], "client", "/127.0.0.1"));
    assert_eq!((&member.metadata, member.assignment.as_ref()), (&super::harness::subscription(&["orders"]), ids[1].as_bytes()));
    group.leave(&[(&ids[0], None)]);
    let described = group.coordinator.describe(GROUP).unwrap();
    assert_eq!((described.state, described.protocol.as_str()), (GroupState::PreparingRebalance, ""));
    assert!(described.members[0].metadata.is_empty());
}

#[test]
fn only_a_group_without_members_is_deleted_and_nothing_stays_of_it() {
    let mut group = Harness::new(prompt());
    assert_eq!(group.coordinator.delete(GROUP), Err(GroupError::no_such_group(GROUP)));
    let (ids, generation) = group.new_group(1);
    group.commit(commit_as(&ids[0], generation, "orders", 0, 1)).unwrap().remove(0).unwrap();
    assert_eq!(group.coordinator.delete(GROUP), Err(GroupError::NonEmptyGroup));
    group.leave(&[(&ids[0], None)]);
    let pending = group.new_id("pending");
    assert_eq!(group.coordinator.delete(GROUP), Ok(()));
    group.settle();
    assert!(group.saved.is_empty());
    assert!(group.fetch_all().topics.is_empty());
    let late = group.join(join_as(&pending));
    assert_eq!(group.join_error(late), GroupError::unknown_member(GROUP, &pending));
    group.pass(60_000);
}

/// However many groups' time has come, what is saved at once is of one: it has to fit a save.
#[test]
fn what_is_due_is_done_one_group_at_a_time() {
    let mut group = Harness::new(Options { offsets_retention_ms: 60_000, ..prompt() });
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let commit = CommitRequest { group_id: name.to_owned(), ..commit_as("", -1, "orders", 0, 1) };
        group.commit(commit).unwrap().remove(0).unwrap();
        assert_eq!(group.saved.len(), at + 1);
    }
    group.set_time(group.now.moment + 3_600_000);
    for left in [2, 1, 0] {
        assert!(group.coordinator.next_deadline().is_some_and(|at| at <= group.now.moment), "with {left} left to do");
        group.coordinator.expire(group.topics, group.now);
        let rows = group.coordinator.take_effects().rows;
        let keys: Vec<_> = rows.iter().map(|row| Kind::read(row.key.clone()).unwrap()).collect();
        assert_eq!(keys.iter().filter(|(kind, ..)| *kind == Kind::Offset).count(), 1);
        assert!(keys.iter().all(|(_, name, _)| *name == keys[0].1));
        let alone: Vec<_> = rows.iter().filter(|row| row.stands_alone()).collect();
        assert!(alone.len() == 1 && alone[0].value.is_none());
        assert_eq!(group.coordinator.list(&ListFilter::default()).len(), left);
    }
    assert!(group.coordinator.next_deadline().is_some_and(|at| group.now.moment < at));
}

/// The row of a classic group in `generation` with members of these ids and instance ids.
fn classic_row(generation: i32, members: &[(&str, &str)]) -> Row {
    let mut value = Writer::value(1);
    value.i32(generation);
    value.i64(0);
    for string in ["consumer", "range", "k1"] {
        value.optional_string(Some(string));
    }
    value.length(members.len());
    for (member_id, instance_id) in members {
        value.string(member_id);
        value.optional_string(Some(instance_id));
        value.string("client");
        value.string("/127.0.0.1");
        value.i32(60_000);
        value.i32(10_000);
        value.bytes(&[]);
        value.bytes(&[]);
    }
    Row { key: Kind::ClassicGroup.key(GROUP).finish(), value: Some(value.finish()) }
}

#[test]
fn rows_of_classic_groups_that_contradict_themselves_are_refused() {
    let now = Harness::new(prompt()).now;
    let load = |row: Row| Coordinator::load(prompt(), Arc::default(), [row], now).err();
    assert_eq!(load(classic_row(1, &[("k1", "i1"), ("k2", "i2")])), None);
    for (generation, second, expected) in [
        (1, ("k1", "i2"), "a member, or its instance id, is in its group twice"),
        (1, ("k2", "i1"), "a member, or its instance id, is in its group twice"),
        (1, ("", "i2"), "a member has no id"),
        (i32::MAX, ("k2", "i2"), "a generation is one that no group comes to"),
        (-1, ("k2", "i2"), "a generation is one that no group comes to"),
    ] {
        assert_eq!(load(classic_row(generation, &[("k1", "i1"), second])), Some(RowError::Damaged(expected)));
    }
}

#[test]
fn rows_of_a_group_of_both_types_are_refused() {
    let mut consumers = types::new(types::options());
    types::beat(&mut consumers, "a", 0).unwrap();
    let rows = consumers.saved.iter().map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
    let rows = rows.chain([classic_row(1, &[("k1", "i1")])]);
    let error = Coordinator::load(prompt(), Arc::default(), rows, consumers.now).err();
    assert_eq!(error, Some(RowError::Damaged("a group is of both types")));
}
