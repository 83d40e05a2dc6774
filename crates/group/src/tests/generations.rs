//! From one generation to the next.

use bytes::Bytes;

use super::harness::{GROUP, Harness, join_as, prompt, protocol, sync_as};
use crate::{GroupError, GroupState, JoinRequest, Options, SyncRequest};

#[test]
fn an_empty_group_waits_for_more_members_before_its_first_generation() {
    let mut group = Harness::new(Options::default());
    let first = group.join(join_as(""));
    group.pass(2_999);
    assert_eq!(group.answer(first), None);
    group.pass(1);
    let joined = group.joined(first);
    assert_eq!((joined.generation, joined.leader.as_str(), joined.members.len()), (1, "client-fresh", 1));
    assert_eq!((joined.protocol_type.as_deref(), joined.protocol.as_deref()), (Some("consumer"), Some("range")));
    assert_eq!(group.state(), GroupState::CompletingRebalance);
}

#[test]
fn the_first_delay_starts_over_while_members_come_and_ends_with_their_rebalance_timeout() {
    let mut group = Harness::new(Options::default());
    let join = |fresh: &str| JoinRequest { fresh_id: fresh.to_owned(), rebalance_timeout_ms: 8_000, ..join_as("") };
    let first = group.join(join("a"));
    let mut others = Vec::new();
    for number in 0..3 {
        group.pass(2_000);
        others.push(group.join(join(&format!("b{number}"))));
        group.pass(500);
    }
    assert_eq!(group.answer(first), None, "7.5 s have passed");
    group.pass(500);
    assert_eq!(group.joined(first).members.len(), 4);
    assert!(others.into_iter().all(|other| group.joined(other).members.is_empty()));
}

#[test]
fn nobody_is_waited_for_longer_when_nobody_came() {
    let mut group = Harness::new(Options::default());
    let first = group.join(join_as(""));
    group.pass(1_000);
    let second = group.join(JoinRequest { fresh_id: "other".to_owned(), ..join_as("") });
    group.pass(2_000);
    assert_eq!(group.answer(first), None, "the second one came while the delay ran");
    group.pass(3_000);
    assert_eq!((group.joined(first).generation, group.joined(second).generation), (1, 1));
}

#[test]
fn the_protocol_is_one_that_all_offer_and_most_like_best() {
    let mut group = Harness::new(Options { initial_rebalance_delay_ms: 3_000, ..Options::default() });
    let offers: [&[&str]; 3] = [&["a", "b", "c"], &["x", "c", "b"], &["c", "b"]];
    let tickets: Vec<_> = offers
        .iter()
        .enumerate()
        .map(|(number, names)| {
            let protocols = names.iter().map(|name| protocol(name, &["orders"])).collect();
            group.join(JoinRequest { fresh_id: number.to_string(), protocols, ..join_as("") })
        })
        .collect();
    group.pass(6_000);
    for ticket in tickets {
        assert_eq!(group.joined(ticket).protocol.as_deref(), Some("c"));
    }
}

#[test]
fn members_without_a_common_protocol_are_refused() {
    let mut group = Harness::new(prompt());
    let empty = group.join(JoinRequest { protocols: Vec::new(), ..join_as("") });
    assert_eq!(group.join_error(empty), GroupError::InconsistentGroupProtocol);
    assert!(group.coordinator.describe(GROUP).is_err(), "nothing is left of a group that nobody could join");
    group.new_group(2);
    let other = group.join(JoinRequest { protocols: vec![protocol("roundrobin", &[])], ..join_as("") });
    assert_eq!(group.join_error(other), GroupError::InconsistentGroupProtocol);
    let connect = group.join(JoinRequest { protocol_type: "connect".to_owned(), ..join_as("") });
    assert_eq!(group.join_error(connect), GroupError::InconsistentGroupProtocol);
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn everybody_waits_for_the_leaders_word_and_who_is_not_in_it_gets_nothing() {
    let mut group = Harness::new(Options::default());
    let ids = [group.new_id("a"), group.new_id("b"), group.new_id("c")];
    let joins: Vec<_> = ids.iter().map(|id| group.join(join_as(id))).collect();
    group.pass(6_000);
    let leader = group.joined(joins[0]);
    assert_eq!(leader.members.iter().map(|member| member.member_id.as_str()).collect::<Vec<_>>(), ["client-a", "client-b", "client-c"]);
    let follower = group.sync(sync_as(&ids[1], 1));
    assert_eq!(group.answer(follower), None);
    let assignments = vec![(ids[1].clone(), Bytes::from_static(b"all"))];
    let sync = group.sync(SyncRequest { assignments, ..sync_as(&ids[0], 1) });
    assert_eq!(group.synced(sync).assignment, Bytes::new());
    assert_eq!(group.synced(follower).assignment, Bytes::from_static(b"all"));
    let late = group.sync(sync_as(&ids[2], 1));
    assert_eq!(group.synced(late).assignment, Bytes::new());
}

#[test]
fn what_a_member_had_counts_for_nothing_when_the_leader_assigns_anew() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let joins = [group.join(join_as(&ids[0])), group.join(join_as(&ids[1]))];
    assert_eq!(joins.map(|ticket| group.joined(ticket).generation), [generation + 1; 2]);
    for id in &ids {
        let sync = group.sync(sync_as(id, generation + 1));
        assert_eq!(group.synced(sync).assignment, Bytes::new());
    }
}

#[test]
fn a_sync_names_the_generation_and_its_protocol() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(1);
    let requests = [
        (sync_as("stranger", generation), GroupError::unknown_member(GROUP, "stranger")),
        (sync_as(&ids[0], generation + 1), GroupError::IllegalGeneration),
        (SyncRequest { protocol: Some("x".to_owned()), ..sync_as(&ids[0], generation) }, GroupError::InconsistentGroupProtocol),
        (SyncRequest { protocol_type: Some("x".to_owned()), ..sync_as(&ids[0], generation) }, GroupError::InconsistentGroupProtocol),
        (SyncRequest { group_id: String::new(), ..sync_as(&ids[0], generation) }, GroupError::InvalidGroupId),
    ];
    for (request, expected) in requests {
        let ticket = group.sync(request);
        assert_eq!(group.sync_error(ticket), expected);
    }
    let old = group.sync(SyncRequest { protocol: None, protocol_type: None, ..sync_as(&ids[0], generation) });
    assert_eq!(group.synced(old).assignment, ids[0].as_bytes());
}

#[test]
fn a_new_member_makes_the_others_join_again_and_stops_their_syncs() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    // The leader begins another generation and does not finish it.
    let joins = [group.join(join_as(&ids[0])), group.join(join_as(&ids[1]))];
    let next = generation + 1;
    assert_eq!(joins.map(|ticket| group.joined(ticket).generation), [next, next]);
    let waiting = group.sync(sync_as(&ids[1], next));
    let third = group.join(JoinRequest { fresh_id: "third".to_owned(), ..join_as("") });
    assert_eq!(group.sync_error(waiting), GroupError::RebalanceInProgress);
    assert_eq!(group.heartbeat(&ids[0], next), Err(GroupError::RebalanceInProgress));
    let refused = group.sync(sync_as(&ids[0], next));
    assert_eq!(group.sync_error(refused), GroupError::RebalanceInProgress);
    let joins = [group.join(join_as(&ids[0])), group.join(join_as(&ids[1])), third];
    assert_eq!(joins.map(|ticket| group.joined(ticket).generation), [next + 1; 3]);
}

#[test]
fn who_does_not_join_again_in_time_is_put_out_and_another_leads() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(3);
    let (leader, changed) = (&ids[0], &ids[1]);
    let join = group.join(JoinRequest { protocols: vec![protocol("range", &["payments"])], ..join_as(changed) });
    let third = group.join(join_as(&ids[2]));
    for _ in 0..12 {
        // The leader lives and does not join.
        assert_eq!(group.heartbeat(leader, generation), Err(GroupError::RebalanceInProgress));
        group.pass(5_000);
    }
    let joined = group.joined(join);
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (generation + 1, changed, 2));
    assert_eq!(group.joined(third).leader, *changed);
    assert_eq!(group.heartbeat(leader, generation), Err(GroupError::unknown_member(GROUP, leader)));
}

#[test]
fn who_joins_and_does_not_sync_is_put_out() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let joins = [group.join(join_as(&ids[0])), group.join(join_as(&ids[1]))];
    for ticket in joins {
        group.joined(ticket);
    }
    let sync = group.sync(sync_as(&ids[0], generation + 1));
    group.synced(sync);
    for _ in 0..12 {
        assert_eq!(group.heartbeat(&ids[0], generation + 1), Ok(()));
        assert_eq!(group.heartbeat(&ids[1], generation + 1), Ok(()));
        group.pass(5_000);
    }
    assert_eq!(group.heartbeat(&ids[0], generation + 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(group.heartbeat(&ids[1], generation + 1), Err(GroupError::unknown_member(GROUP, &ids[1])));
    let again = group.join(join_as(&ids[0]));
    assert_eq!(group.joined(again).members.len(), 1);
}

#[test]
fn a_leader_that_joins_begins_a_generation_and_an_unchanged_follower_does_not() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let follower = group.join(join_as(&ids[1]));
    let joined = group.joined(follower);
    assert_eq!((joined.generation, joined.leader.as_str(), joined.members.len()), (generation, ids[0].as_str(), 0));
    assert_eq!(group.state(), GroupState::Stable);
    let leader = group.join(join_as(&ids[0]));
    assert_eq!((group.answer(leader), group.state()), (None, GroupState::PreparingRebalance));
    let follower = group.join(join_as(&ids[1]));
    assert_eq!((group.joined(leader).generation, group.joined(follower).generation), (generation + 1, generation + 1));
    // The answer was lost: the same again, as long as nothing changed.
    let repeated = group.join(join_as(&ids[0]));
    assert_eq!(group.joined(repeated).members.len(), 2);
    let changed = group.join(JoinRequest { protocols: vec![protocol("range", &["payments"])], ..join_as(&ids[1]) });
    assert_eq!((group.answer(changed), group.state()), (None, GroupState::PreparingRebalance));
}

#[test]
fn a_second_join_of_a_member_takes_the_place_of_the_first() {
    let mut group = Harness::new(prompt());
    let (ids, generation) = group.new_group(2);
    let first = group.join(join_as(&ids[0]));
    let second = group.join(join_as(&ids[0]));
    assert_eq!(group.join_error(first), GroupError::RebalanceInProgress);
    let other = group.join(join_as(&ids[1]));
    assert_eq!((group.joined(second).generation, group.joined(other).generation), (generation + 1, generation + 1));
}

#[test]
fn five_thousand_members_join_at_once() {
    let mut group = Harness::new(Options::default());
    let joins: Vec<_> = (0..5_000).map(|number| group.join(JoinRequest { fresh_id: number.to_string(), ..join_as("") })).collect();
    group.pass(6_000);
    let members: Vec<_> = joins.into_iter().map(|ticket| group.joined(ticket)).collect();
    let leader = members.iter().find(|member| !member.members.is_empty()).unwrap();
    assert_eq!(leader.members.len(), 5_000);
    let syncs: Vec<_> = members.iter().map(|member| group.sync(sync_as(&member.member_id, 1))).collect();
    syncs.into_iter().for_each(|ticket| drop(group.synced(ticket)));
    for member in &members {
        assert_eq!(group.heartbeat(&member.member_id, 1), Ok(()));
    }
}
