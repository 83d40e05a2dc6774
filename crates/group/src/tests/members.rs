//! How members come, live and go.

use super::harness::{GROUP, Harness, NoTopics, join_as, prompt, protocol, sync_as};
use crate::classic::MAX_GROUP_BYTES;
use crate::{
    Answer, GroupError, GroupState, HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, ListFilter, Options, Protocol, SyncRequest,
};

#[test]
fn who_names_a_protocol_twice_is_refused() {
    let mut group = Harness::new(prompt());
    let twice = || JoinRequest { protocols: vec![protocol("range", &["orders"]), protocol("range", &["orders"])], ..join_as("") };
    let ticket = group.join(twice());
    assert_eq!(group.join_error(ticket), GroupError::InconsistentGroupProtocol);
    assert!(group.coordinator.list(&ListFilter::default()).is_empty());
    // Such a member would have counted as two, and the others would have had nothing in common with it.
    let (ids, generation) = group.new_group(1);
    let ticket = group.join(JoinRequest { member_id: ids[0].clone(), ..twice() });
    assert_eq!(group.join_error(ticket), GroupError::InconsistentGroupProtocol);
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()));
    group.reload();
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()));
}

#[test]
fn a_new_member_comes_back_with_the_id_it_was_given() {
    let mut group = Harness::new(prompt());
    let id = group.new_id("7");
    assert_eq!(id, "client-7");
    assert_eq!(group.state(), GroupState::Empty);
    let join = group.join(join_as(&id));
    assert_eq!((group.joined(join).member_id, group.state()), (id, GroupState::CompletingRebalance));
}

#[test]
fn an_id_that_nobody_came_back_with_is_forgotten_after_a_session_and_waited_for_until_then() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(1);
    let id = group.new_id("late");
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()), "nothing happens before it joins");
    let leader = group.join(join_as(&ids[0]));
    assert_eq!(group.answer(leader), None);
    group.pass(10_000);
    assert_eq!(group.joined(leader).members.len(), 1);
    let late = group.join(join_as(&id));
    assert_eq!(group.join_error(late), GroupError::unknown_member(GROUP, &id));
}

#[test]
fn ids_are_not_made_up_by_clients() {
    let mut group = Harness::new(prompt());
    let first = group.join(join_as("mine"));
    assert_eq!(group.join_error(first), GroupError::unknown_member(GROUP, "mine"));
    group.new_group(1);
    let second = group.join(join_as("mine"));
    assert_eq!(group.join_error(second), GroupError::unknown_member(GROUP, "mine"));
}

#[test]
fn session_timeouts_are_within_the_brokers_limits() {
    let mut group = Harness::new(prompt());
    for session_timeout_ms in [5_999, 1_800_001, -1] {
        let ticket = group.join(JoinRequest { session_timeout_ms, ..join_as("") });
        assert_eq!(group.join_error(ticket), GroupError::InvalidSessionTimeout);
    }
    let unnamed = group.join(JoinRequest { group_id: String::new(), ..join_as("") });
    assert_eq!(group.join_error(unnamed), GroupError::InvalidGroupId);
}

#[test]
fn a_silent_member_is_put_out_and_the_others_rebalance() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    group.pass(9_999);
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()));
    group.pass(1);
    assert_eq!(group.heartbeat(&ids[0], generation), Err(GroupError::RebalanceInProgress));
    assert_eq!(group.heartbeat(&ids[1], generation), Err(GroupError::unknown_member(GROUP, &ids[1])));
    let again = group.join(join_as(&ids[0]));
    let joined = group.joined(again);
    assert_eq!((joined.generation, joined.members.len()), (generation + 1, 1));
    group.pass(10_000);
    assert_eq!(group.state(), GroupState::Empty);
}

#[test]
fn who_waits_for_the_others_is_not_silent() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let leader = group.join(join_as(&ids[0]));
    for _ in 0..5 {
        assert_eq!(group.heartbeat(&ids[1], generation), Err(GroupError::RebalanceInProgress));
        group.pass(9_000);
    }
    assert_eq!(group.answer(leader), None, "45 s of silence");
    let other = group.join(join_as(&ids[1]));
    assert_eq!((group.joined(leader).members.len(), group.joined(other).generation), (2, generation + 1));
    // Its session began with the answer.
    group.pass(9_999);
    assert_eq!(group.heartbeat(&ids[0], generation + 1), Ok(()));
}

#[test]
fn the_join_of_a_new_member_waits_five_minutes_at_most() {
    let mut group = Harness::new(prompt());
    let slow = |id: &str| JoinRequest { rebalance_timeout_ms: 3_600_000, session_timeout_ms: 1_800_000, ..join_as(id) };
    let first = group.join(slow(""));
    group.joined(first);
    let new = group.join(JoinRequest { fresh_id: "new".to_owned(), ..slow("") });
    group.pass(299_999);
    assert_eq!(group.answer(new), None);
    group.pass(1);
    assert!(matches!(group.join_error(new), GroupError::UnknownMemberId { .. }));
}

#[test]
fn heartbeats_name_group_member_and_generation() {
    let mut group = Harness::new(prompt());
    assert_eq!(group.heartbeat("x", 1), Err(GroupError::unknown_member(GROUP, "x")));
    let (ids, generation) = group.new_group(1);
    assert_eq!(group.heartbeat("x", generation), Err(GroupError::unknown_member(GROUP, "x")));
    assert_eq!(group.heartbeat(&ids[0], generation - 1), Err(GroupError::IllegalGeneration));
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()));
    let unnamed = HeartbeatRequest { group_id: String::new(), member_id: ids[0].clone(), instance_id: None, generation };
    assert_eq!(group.coordinator.heartbeat(unnamed, group.now), Err(GroupError::InvalidGroupId));
    // Between the join and the leader's word a member may heartbeat.
    let join = group.join(join_as(&ids[0]));
    group.joined(join);
    assert_eq!(group.heartbeat(&ids[0], generation + 1), Ok(()));
}

#[test]
fn a_group_takes_no_more_members_than_it_may() {
    let mut group = Harness::new(Options { max_size: 2, ..prompt() });
    let (ids, _) = group.new_group(2);
    let third = group.join(join_as(""));
    assert_eq!(group.join_error(third), GroupError::GroupMaxSizeReached { limit: 2 });
    let leader = group.join(join_as(&ids[0]));
    let other = group.join(JoinRequest { fresh_id: "other".to_owned(), ..join_as("") });
    let late = group.join(join_as(&ids[1]));
    assert_eq!(group.join_error(late), GroupError::GroupMaxSizeReached { limit: 2 });
    group.pass(60_000);
    assert_eq!(group.joined(leader).members.len(), 2);
    group.joined(other);
}

#[test]
fn members_leave_by_themselves_or_are_taken_out_by_their_instance_ids() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let pending = group.new_id("pending");
    let join = group.join(JoinRequest { instance_id: Some("printer".to_owned()), fresh_id: "s".to_owned(), ..join_as("") });
    let left = group.leave(&[
        (&ids[1], None),
        (&pending, None),
        ("", Some("printer")),
        ("stranger", None),
        ("", Some("nobody")),
        ("client-x", Some("printer")),
    ]);
    let results: Vec<_> = left.into_iter().map(|member| member.result).collect();
    assert_eq!(results[..3], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(results[3], Err(GroupError::unknown_member(GROUP, "stranger")));
    assert_eq!(results[4], Err(GroupError::unknown_member(GROUP, "")));
    assert!(matches!(&results[5], Err(GroupError::UnknownMemberId { .. })), "it left two lines above");
    assert!(matches!(group.join_error(join), GroupError::UnknownMemberId { .. }));
    let last = group.join(join_as(&ids[0]));
    let joined = group.joined(last);
    assert_eq!((joined.generation, joined.members.len()), (generation + 1, 1));
}

#[test]
fn a_group_that_everybody_left_is_empty_and_goes_on_counting() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    group.leave(&[(&ids[0], None)]);
    assert_eq!(group.state(), GroupState::PreparingRebalance);
    group.leave(&[(&ids[1], None)]);
    let described = group.coordinator.describe(GROUP).unwrap();
    assert_eq!((described.state, described.protocol_type.as_str(), described.members.len()), (GroupState::Empty, "consumer", 0));
    group.reload();
    assert_eq!(group.coordinator.describe(GROUP).unwrap(), described);
    let id = group.new_id("next");
    assert_eq!(group.make_stable(&[&id]), generation + 2);
}

#[test]
fn nobody_leaves_a_group_that_does_not_exist() {
    let mut group = Harness::new(prompt());
    let left = group.leave(&[("a", None), ("b", Some("i"))]);
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|member| matches!(member.result, Err(GroupError::UnknownMemberId { .. }))));
    let leaving = LeavingMember { member_id: "a".to_owned(), instance_id: None, reason: None };
    let unnamed = LeaveRequest { group_id: String::new(), members: vec![leaving] };
    assert_eq!(group.coordinator.leave(unnamed, &NoTopics, group.now), Err(GroupError::InvalidGroupId));
}

/// So much metadata for one protocol.
fn large(member_id: &str, fresh_id: &str, bytes: usize) -> JoinRequest {
    let protocols = vec![Protocol { name: "range".to_owned(), metadata: vec![0; bytes].into() }];
    JoinRequest { protocols, fresh_id: fresh_id.to_owned(), ..join_as(member_id) }
}

#[test]
fn members_together_take_no_more_bytes_than_a_group_may() {
    let mut group = Harness::new(prompt());
    let half = MAX_GROUP_BYTES / 2 - 1000;
    let first = group.join(large("", "a", half));
    let first = group.joined(first).member_id;
    let second = group.join(large("", "b", half));
    let third = group.join(large("", "c", 2000));
    assert_eq!(group.join_error(third), GroupError::GroupTooLarge { limit: MAX_GROUP_BYTES });
    let again = group.join(large(&first, "", half));
    let (leader, other) = (group.joined(again), group.joined(second));
    let too_much = vec![(other.member_id.clone(), vec![0; 2000].into())];
    let follower = group.sync(sync_as(&other.member_id, leader.generation));
    let sync = group.sync(SyncRequest { assignments: too_much, ..sync_as(&first, leader.generation) });
    for refused in [sync, follower] {
        assert_eq!(group.sync_error(refused), GroupError::GroupTooLarge { limit: MAX_GROUP_BYTES });
    }
    assert_eq!(group.state(), GroupState::PreparingRebalance);
    // A member with less to say makes room for others.
    let less = group.join(large(&first, "", 10));
    let unchanged = group.join(large(&other.member_id, "", half));
    let generation = group.joined(less).generation;
    assert_eq!(group.joined(unchanged).generation, generation);
    let fourth = group.join(large("", "d", half));
    assert_eq!(group.answer(fourth), None, "it waits for the others");
}

/// What a group has room for does not shrink with its rebalances, also with those that end before the leader has assigned.
#[test]
fn an_assignment_that_is_given_up_takes_no_room() {
    let mut group = Harness::new(prompt());
    let first = group.join(join_as(""));
    let first = group.joined(first).member_id;
    for round in 0..3 {
        let leader = group.join(large(&first, "", round));
        let generation = group.joined(leader).generation;
        let large_part = vec![(first.clone(), vec![0; MAX_GROUP_BYTES / 2].into())];
        let sync = group.sync(SyncRequest { assignments: large_part, ..sync_as(&first, generation) });
        assert_eq!(group.synced(sync).assignment.len(), MAX_GROUP_BYTES / 2, "round {round}");
        // The next generation ends before it is assigned.
        let again = group.join(large(&first, "", 100 + round));
        group.joined(again);
    }
}

#[test]
fn who_is_gone_is_not_answered_and_counts_as_a_member_until_its_session_ends() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let gone = group.join(join_as(&ids[0]));
    group.coordinator.forget(gone);
    let other = group.join(join_as(&ids[1]));
    assert_eq!(group.answer(gone), None);
    assert_eq!(group.joined(other).leader, ids[0]);
    let waiting = group.sync(sync_as(&ids[1], generation + 1));
    group.pass(10_000);
    assert_eq!(group.sync_error(waiting), GroupError::RebalanceInProgress);
    assert!(!group.coordinator.describe(GROUP).unwrap().members.iter().any(|member| member.member_id == ids[0]));
}

#[test]
fn a_group_that_is_too_large_after_a_load_puts_out_who_comes_last() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(3);
    group.options.max_size = 2;
    group.reload();
    assert_eq!(group.heartbeat(&ids[0], generation), Err(GroupError::RebalanceInProgress));
    let joins: Vec<_> = ids.iter().map(|id| group.join(join_as(id))).collect();
    assert_eq!(group.join_error(joins[2]), GroupError::GroupMaxSizeReached { limit: 2 });
    group.pass(60_000);
    assert_eq!(group.joined(joins[1]).generation, generation + 1);
}

#[test]
fn a_member_that_is_silent_after_a_load_is_put_out() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    group.reload();
    group.pass(9_000);
    assert_eq!(group.heartbeat(&ids[0], generation), Ok(()));
    group.pass(1_000);
    assert_eq!(group.heartbeat(&ids[0], generation), Err(GroupError::RebalanceInProgress));
    assert_eq!(group.heartbeat(&ids[1], generation), Err(GroupError::unknown_member(GROUP, &ids[1])));
}

#[test]
fn a_member_without_time_to_join_again_does_not_keep_the_coordinator_busy() {
    let mut group = Harness::new(prompt());
    let hasty = |instance: &str| JoinRequest {
        instance_id: Some(instance.to_owned()),
        rebalance_timeout_ms: 0,
        session_timeout_ms: 1_800_000,
        ..join_as("")
    };
    let first = group.join(hasty("a"));
    let id = group.joined(first).member_id;
    let sync = group.sync(sync_as(&id, 1));
    group.synced(sync);
    let second = group.join(JoinRequest { protocols: vec![protocol("range", &[])], ..hasty("b") });
    // The new one is gone at once; the other is static and silent.
    assert!(matches!(group.answer(second), None | Some(Answer::Join(_))));
    group.leave(&[("", Some("b"))]);
    group.pass(60_000);
    assert_eq!(group.state(), GroupState::PreparingRebalance);
}
