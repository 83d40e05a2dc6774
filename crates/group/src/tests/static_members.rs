//! Static members: they come back under a new member id and take up what they had (KIP-345).

use super::harness::{GROUP, Harness, commit_as, join_as, prompt, protocol, sync_as};
use crate::{CommitRequest, GroupError, GroupState, HeartbeatRequest, JoinRequest, Joined, SyncRequest};

fn join_static(instance: &str, fresh: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(instance.to_owned()), fresh_id: fresh.to_owned(), needs_member_id: false, ..join_as("") }
}

/// Two static members in generation 1 or later; the first leads.
fn stable(group: &mut Harness) -> [Joined; 2] {
    let first = group.join(join_static("a", "1"));
    let leader = group.joined(first).member_id;
    let second = group.join(join_static("b", "1"));
    let again = group.join(JoinRequest { instance_id: Some("a".to_owned()), ..join_as(&leader) });
    let joined = [group.joined(again), group.joined(second)];
    let assignments: Vec<_> = joined.iter().map(|member| (member.member_id.clone(), member.member_id.clone().into())).collect();
    let sync = group.sync(SyncRequest { assignments, ..sync_as(&joined[0].member_id, joined[0].generation) });
    group.synced(sync);
    let sync = group.sync(sync_as(&joined[1].member_id, joined[1].generation));
    group.synced(sync);
    assert_eq!(group.state(), GroupState::Stable);
    joined
}

#[test]
fn a_static_member_gets_its_id_from_its_instance_id_and_at_once() {
    let mut group = Harness::new(prompt());
    let ticket = group.join(JoinRequest { needs_member_id: true, ..join_static("printer", "1") });
    assert_eq!(group.joined(ticket).member_id, "printer-1");
}

#[test]
fn a_static_member_that_comes_back_has_what_it_had_without_a_generation() {
    let mut group = Harness::new(prompt());
    let [leader, former] = stable(&mut group);
    let ticket = group.join(join_static("b", "2"));
    let joined = group.joined(ticket);
    assert_eq!((joined.member_id.as_str(), joined.generation), ("b-2", former.generation));
    assert_eq!((joined.leader.as_str(), joined.skip_assignment, joined.members.len()), (leader.member_id.as_str(), false, 0));
    let sync = group.sync(sync_as("b-2", joined.generation));
    assert_eq!(group.synced(sync).assignment, former.member_id.as_bytes());
    group.reload();
    assert_eq!(group.heartbeat("b-2", joined.generation), Ok(()), "the new id is saved");
    assert_eq!(group.heartbeat("b-1", joined.generation), Err(GroupError::unknown_member(GROUP, "b-1")));
}

#[test]
fn a_static_leader_that_comes_back_is_told_that_there_is_nothing_to_assign() {
    let mut group = Harness::new(prompt());
    let [former, _] = stable(&mut group);
    let ticket = group.join(join_static("a", "2"));
    let joined = group.joined(ticket);
    assert_eq!((joined.leader.as_str(), joined.skip_assignment, joined.members.len()), ("a-2", true, 2));
    // A client that does not know of that is told of its former self as the leader.
    let ticket = group.join(JoinRequest { can_skip_assignment: false, ..join_static("a", "3") });
    let joined = group.joined(ticket);
    assert_eq!((joined.leader.as_str(), joined.skip_assignment, joined.members.len()), ("a-2", false, 0));
    assert_eq!(joined.generation, former.generation);
}

#[test]
fn who_was_replaced_is_fenced_wherever_it_shows_its_instance_id() {
    let mut group = Harness::new(prompt());
    let [_, former] = stable(&mut group);
    let (id, generation, instance) = (former.member_id.as_str(), former.generation, Some("b".to_owned()));
    let again = group.join(join_static("b", "2"));
    group.joined(again);
    let heartbeat = HeartbeatRequest { group_id: GROUP.to_owned(), member_id: id.to_owned(), instance_id: instance.clone(), generation };
    let is_fenced = |error: GroupError| matches!(error, GroupError::FencedInstanceId(_));
    assert!(is_fenced(group.coordinator.heartbeat(heartbeat, group.now).unwrap_err()));
    let sync = group.sync(SyncRequest { instance_id: instance.clone(), ..sync_as(id, generation) });
    assert!(is_fenced(group.sync_error(sync)));
    let join = group.join(JoinRequest { instance_id: instance.clone(), ..join_as(id) });
    assert!(is_fenced(group.join_error(join)));
    let commit = CommitRequest { instance_id: instance.clone(), ..commit_as(id, generation, "orders", 0, 1) };
    assert!(is_fenced(group.commit(commit).unwrap_err()));
    assert!(is_fenced(group.leave(&[(id, Some("b"))]).remove(0).result.unwrap_err()));
    let stranger = CommitRequest { instance_id: Some("c".to_owned()), ..commit_as(id, generation, "orders", 0, 1) };
    assert_eq!(group.commit(stranger), Err(GroupError::unknown_member(GROUP, id)));
}

#[test]
fn a_request_that_waits_under_the_former_id_is_fenced() {
    let mut group = Harness::new(prompt());
    let [leader, _] = stable(&mut group);
    let waiting = group.join(JoinRequest { instance_id: Some("a".to_owned()), ..join_as(&leader.member_id) });
    let again = group.join(join_static("a", "2"));
    assert!(matches!(group.join_error(waiting), GroupError::FencedInstanceId(_)));
    let other = group.join(JoinRequest { instance_id: Some("b".to_owned()), ..join_as("b-1") });
    assert_eq!(group.joined(again).members.len(), 2);
    let generation = group.joined(other).generation;
    let waiting = group.sync(sync_as("b-1", generation));
    let replaced = group.join(join_static("b", "2"));
    assert!(matches!(group.sync_error(waiting), GroupError::FencedInstanceId(_)));
    assert_eq!(group.answer(replaced), None);
    assert_eq!(group.state(), GroupState::PreparingRebalance, "the leader may have assigned to the former id");
}

#[test]
fn a_static_member_that_comes_back_with_other_protocols_begins_a_generation() {
    let mut group = Harness::new(prompt());
    let [leader, _] = stable(&mut group);
    let both = || vec![protocol("range", &["orders"]), protocol("sticky", &["orders"])];
    let ticket = group.join(JoinRequest { protocols: both(), ..join_static("b", "2") });
    assert_eq!(group.joined(ticket).generation, leader.generation, "the protocol stays");
    let sticky = || both().into_iter().rev().collect();
    let first = group.join(JoinRequest { protocols: sticky(), ..join_static("a", "2") });
    assert_eq!((group.answer(first), group.state()), (None, GroupState::PreparingRebalance));
    let second = group.join(JoinRequest { protocols: sticky(), ..join_static("b", "3") });
    for ticket in [first, second] {
        let joined = group.joined(ticket);
        assert_eq!((joined.generation, joined.protocol.as_deref()), (leader.generation + 1, Some("sticky")));
    }
}

#[test]
fn a_static_member_is_waited_for_until_its_session_ends() {
    let mut group = Harness::new(prompt());
    let [leader, _] = stable(&mut group);
    let again = group.join(JoinRequest { instance_id: Some("a".to_owned()), session_timeout_ms: 600_000, ..join_as(&leader.member_id) });
    for _ in 0..12 {
        assert_eq!(group.heartbeat("b-1", leader.generation), Err(GroupError::RebalanceInProgress));
        group.pass(5_000);
    }
    let joined = group.joined(again);
    assert_eq!((joined.generation, joined.members.len()), (leader.generation + 1, 2), "it stays a member without having joined");
    group.pass(10_000);
    assert_eq!(group.coordinator.describe(GROUP).unwrap().members.len(), 1);
}
