//! The rules of ConsumerGroupHeartbeat and ConsumerGroupDescribe.

use types::TopicId;

use super::world::*;
use crate::{ConsumerHeartbeatRequest, GroupError, GroupState, Options};

fn a() -> TopicId {
    TopicId::from_bytes([b'a'; 16])
}

fn b() -> TopicId {
    TopicId::from_bytes([b'b'; 16])
}

/// Sends, and shows epoch and assignment of the answer: `3 a0 a1`, or `3 -` if it says nothing of an assignment.
fn check(world: &mut World, request: &ConsumerHeartbeatRequest, expected: &str) {
    let answer = world.send(request).unwrap();
    assert_eq!(answer.member_id, request.member_id);
    let assignment = answer.assignment.as_deref().map_or("-".to_owned(), shown);
    assert_eq!(format!("{} {assignment}", answer.member_epoch).trim_end(), expected, "{request:?}");
}

fn refused(world: &mut World, request: &ConsumerHeartbeatRequest) -> GroupError {
    let before = format!("{:?}", world.group);
    let error = world.send(request).unwrap_err();
    assert_eq!(format!("{:?}", world.group), before, "a refused request changed something");
    error
}

/// `m1` has the whole of topic `a`, four partitions, in epoch 1.
fn one_member() -> World {
    let mut world = World::new(&[("a", 4)]);
    check(&mut world, &join("m1", &["a"]), "1 a0 a1 a2 a3");
    world
}

/// `m1` has a0 and a1, `m2` has a2 and a3; both are in epoch 2.
fn two_members() -> World {
    let mut world = one_member();
    check(&mut world, &join("m2", &["a"]), "2");
    check(&mut world, &beat("m1", 1), "1 a0 a1");
    check(&mut world, &owns("m1", 1, &[(a(), &[0, 1])]), "2 -");
    check(&mut world, &beat("m2", 2), "2 a2 a3");
    assert_eq!(world.group.state(), GroupState::Stable);
    world
}

#[test]
fn the_first_member_gets_everything() {
    let mut world = one_member();
    let answer = world.send(&beat("m1", 1)).unwrap();
    assert_eq!((answer.heartbeat_interval_ms, answer.assignment), (5_000, None));
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn a_partition_changes_hands_in_three_steps() {
    let mut world = one_member();
    check(&mut world, &join("m2", &["a"]), "2");
    assert_eq!(world.group.state(), GroupState::Reconciling);
    // m1 is told, and stays in its epoch until it says that it did.
    check(&mut world, &beat("m1", 1), "1 a0 a1");
    check(&mut world, &beat("m1", 1), "1 -");
    assert_eq!(world.describe().members[0].assignment[0].partitions, [0, 1, 2, 3], "it still has what it is to give up");
    check(&mut world, &beat("m2", 2), "2 -");
    check(&mut world, &owns("m1", 1, &[(a(), &[0, 1, 2])]), "1 -");
    check(&mut world, &beat("m2", 2), "2 -");
    check(&mut world, &owns("m1", 1, &[(a(), &[0, 1])]), "2 -");
    check(&mut world, &beat("m2", 2), "2 a2 a3");
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn a_full_request_is_answered_with_the_assignment() {
    let mut world = two_members();
    let full = ConsumerHeartbeatRequest { member_epoch: 2, owned: Some(vec![(a(), vec![0, 1])]), ..join("m1", &["a"]) };
    check(&mut world, &full, "2 a0 a1");
    check(&mut world, &owns("m1", 2, &[(a(), &[0, 1])]), "2 -");
}

#[test]
fn requests_that_no_group_accepts_are_refused() {
    let mut world = World::new(&[("a", 1)]);
    let join = || join("m1", &["a"]);
    let blank = || Some(" ".to_owned());
    for (request, text) in [
        (ConsumerHeartbeatRequest { member_id: String::new(), ..join() }, "MemberId can't be empty."),
        (ConsumerHeartbeatRequest { group_id: " ".to_owned(), ..join() }, "GroupId can't be empty."),
        (ConsumerHeartbeatRequest { instance_id: blank(), ..join() }, "InstanceId can't be empty."),
        (ConsumerHeartbeatRequest { rack_id: blank(), ..join() }, "RackId can't be empty."),
        (ConsumerHeartbeatRequest { rebalance_timeout_ms: -1, ..join() }, "RebalanceTimeoutMs must be provided in first request."),
        (ConsumerHeartbeatRequest { owned: None, ..join() }, "TopicPartitions must be empty when (re-)joining."),
        (ConsumerHeartbeatRequest { owned: Some(vec![(a(), vec![0])]), ..join() }, "TopicPartitions must be empty when (re-)joining."),
        (
            ConsumerHeartbeatRequest { subscribed_topics: None, ..join() },
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (beat("m1", -2), "InstanceId can't be null."),
        (beat("m1", -3), "MemberEpoch is invalid."),
    ] {
        assert_eq!(refused(&mut world, &request), GroupError::InvalidRequest(text.to_owned()));
    }
    let request = ConsumerHeartbeatRequest { assignor: Some("sticky".to_owned()), ..join() };
    let text = "ServerAssignor sticky is not supported. Supported assignors: uniform, range.";
    assert_eq!(refused(&mut world, &request), GroupError::UnsupportedAssignor(text.to_owned()));
    assert!(world.saved.is_empty());
}

#[test]
fn strangers_and_other_epochs_are_refused() {
    let mut world = two_members();
    assert_eq!(refused(&mut world, &beat("m3", 2)), GroupError::unknown_member("g", "m3"));
    assert_eq!(refused(&mut world, &beat("m3", -1)), GroupError::unknown_member("g", "m3"));
    let fenced = |how: &str, named: i32, known: i32| {
        GroupError::FencedMemberEpoch(format!(
            "The consumer group member has a {how} member epoch ({named}) than the one known by the group coordinator ({known}). \
             The member must abandon all its partitions and rejoin."
        ))
    };
    assert_eq!(refused(&mut world, &beat("m1", 3)), fenced("greater", 3, 2));
    assert_eq!(refused(&mut world, &owns("m2", 1, &[])), fenced("smaller", 1, 2));
}

#[test]
fn the_epoch_before_counts_for_whom_the_answer_was_lost() {
    let mut world = two_members();
    // m1 went from 1 to 2. It still names 1: it has to say what it has, and have no more than what it shall have.
    assert!(matches!(refused(&mut world, &beat("m1", 1)), GroupError::FencedMemberEpoch(_)));
    assert!(matches!(refused(&mut world, &owns("m1", 1, &[(a(), &[0, 2])])), GroupError::FencedMemberEpoch(_)));
    assert!(matches!(refused(&mut world, &owns("m1", 1, &[(b(), &[])])), GroupError::FencedMemberEpoch(_)));
    check(&mut world, &owns("m1", 1, &[(a(), &[0])]), "2 -");
    // A join whose answer was lost is a join again.
    check(&mut world, &join("m1", &["a"]), "2 a0 a1");
}

#[test]
fn who_leaves_makes_room() {
    let mut world = two_members();
    let answer = world.send(&beat("m2", -1)).unwrap();
    assert_eq!((answer.member_epoch, answer.assignment), (-1, None));
    assert_eq!(world.group.state(), GroupState::Assigning);
    check(&mut world, &beat("m1", 2), "3 a0 a1 a2 a3");
    world.send(&beat("m1", -1)).unwrap();
    let described = world.describe();
    assert_eq!((described.state, described.group_epoch, described.assignment_epoch), (GroupState::Empty, 4, 4));
    assert!(world.group.is_empty() && !world.group.is_subscribed("a"));
    assert_eq!(world.timers.next(), None);
    assert_eq!(world.saved.len(), 2, "nothing but the group's two epochs stays: {:?}", world.saved);
    check(&mut world, &join("m3", &["a"]), "5 a0 a1 a2 a3");
}

#[test]
fn who_is_silent_is_put_out() {
    let mut world = two_members();
    world.pass(30_000);
    check(&mut world, &beat("m1", 2), "2 -");
    world.pass(14_999);
    check(&mut world, &beat("m1", 2), "2 -");
    world.pass(1);
    check(&mut world, &beat("m1", 2), "3 a0 a1 a2 a3");
    assert_eq!(refused(&mut world, &beat("m2", 2)), GroupError::unknown_member("g", "m2"));
}

#[test]
fn who_does_not_give_up_in_time_is_put_out() {
    let mut world = one_member();
    check(&mut world, &join("m2", &["a"]), "2");
    check(&mut world, &beat("m1", 1), "1 a0 a1");
    for _ in 0..2 {
        world.pass(14_999);
        check(&mut world, &beat("m1", 1), "1 -");
        check(&mut world, &beat("m2", 2), "2 -");
    }
    world.pass(2);
    assert_eq!(refused(&mut world, &beat("m1", 1)), GroupError::unknown_member("g", "m1"));
    check(&mut world, &beat("m2", 2), "3 a0 a1 a2 a3");
}

#[test]
fn who_gave_up_in_time_stays() {
    let mut world = one_member();
    check(&mut world, &join("m2", &["a"]), "2");
    check(&mut world, &beat("m1", 1), "1 a0 a1");
    world.pass(29_999);
    check(&mut world, &owns("m1", 1, &[(a(), &[0, 1])]), "2 -");
    check(&mut world, &beat("m2", 2), "2 a2 a3");
    world.pass(30_000);
    check(&mut world, &beat("m1", 2), "2 -");
}

#[test]
fn new_partitions_and_topics_are_assigned() {
    let mut world = one_member();
    world.topics.set("a", 5);
    check(&mut world, &beat("m1", 1), "2 a0 a1 a2 a3 a4");
    // Of no concern to the group.
    world.topics.set("z", 1);
    check(&mut world, &beat("m1", 2), "2 -");
    let both = ConsumerHeartbeatRequest { subscribed_topics: Some(vec!["a".to_owned(), "b".to_owned()]), ..beat("m1", 2) };
    check(&mut world, &both, "3 -");
    world.topics.set("b", 2);
    check(&mut world, &beat("m1", 3), "4 a0 a1 a2 a3 a4 b0 b1");
    world.topics.remove("a");
    check(&mut world, &beat("m1", 4), "4 b0 b1");
    check(&mut world, &owns("m1", 4, &[(b(), &[0, 1])]), "5 -");
}

#[test]
fn a_subscription_that_is_given_up_is_revoked() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    check(&mut world, &join("m1", &["a", "b"]), "1 a0 b0");
    let less = ConsumerHeartbeatRequest { subscribed_topics: Some(vec!["b".to_owned()]), ..beat("m1", 1) };
    check(&mut world, &less, "1 b0");
    check(&mut world, &owns("m1", 1, &[(b(), &[0])]), "2 -");
    assert!(!world.group.is_subscribed("a") && world.group.is_subscribed("b"));
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut world = World::new(&[("a", 4)]);
    world.options.consumer_max_size = 1;
    check(&mut world, &join("m1", &["a"]), "1 a0 a1 a2 a3");
    assert_eq!(refused(&mut world, &join("m2", &["a"])), GroupError::GroupMaxSizeReached { limit: 1 });
    check(&mut world, &join("m1", &["a"]), "1 a0 a1 a2 a3");
}

#[test]
fn most_members_choose_the_assignor() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    let wants =
        |member: &str, assignor: &str| ConsumerHeartbeatRequest { assignor: Some(assignor.to_owned()), ..join(member, &["a", "b"]) };
    check(&mut world, &join("m1", &["a", "b"]), "1 a0 a1 b0 b1");
    assert_eq!(world.describe().assignor, "uniform");
    check(&mut world, &wants("m2", "range"), "2");
    assert_eq!(world.describe().assignor, "range");
    check(&mut world, &beat("m1", 1), "1 a0 b0");
    world.send(&wants("m3", "uniform")).unwrap();
    world.send(&wants("m4", "uniform")).unwrap();
    assert_eq!(world.describe().assignor, "uniform");
}

#[test]
fn a_static_member_that_comes_back_gets_what_it_had() {
    let mut world = World::new(&[("a", 4)]);
    check(&mut world, &by_instance("i1", join("m1", &["a"])), "1 a0 a1 a2 a3");
    check(&mut world, &by_instance("i2", join("m2", &["a"])), "2");
    check(&mut world, &by_instance("i1", owns("m1", 1, &[])), "2 a0 a1");
    check(&mut world, &by_instance("i2", beat("m2", 2)), "2 a2 a3");
    let answer = world.send(&by_instance("i1", beat("m1", -2))).unwrap();
    assert_eq!(answer.member_epoch, -2);
    // Nobody gets it meanwhile.
    check(&mut world, &by_instance("i2", beat("m2", 2)), "2 -");
    assert!(matches!(refused(&mut world, &by_instance("i1", beat("m1", 2))), GroupError::FencedMemberEpoch(_)));
    check(&mut world, &by_instance("i1", join("m3", &["a"])), "2 a0 a1");
    assert_eq!(world.group.state(), GroupState::Stable);
    let text = "Static member m1 with instance id i1 was fenced by member m3.".to_owned();
    assert_eq!(refused(&mut world, &by_instance("i1", beat("m1", 2))), GroupError::FencedInstanceId(text.clone()));
    assert_eq!(refused(&mut world, &by_instance("i1", beat("m1", -1))), GroupError::FencedInstanceId(text));
    assert_eq!(world.describe().members.len(), 2);
}

#[test]
fn an_instance_id_is_one_members() {
    let mut world = World::new(&[("a", 1)]);
    check(&mut world, &by_instance("i1", join("m1", &["a"])), "1 a0");
    let text = "Static member m2 with instance id i1 cannot join the group because the instance id is owned by m1 member.";
    assert_eq!(refused(&mut world, &by_instance("i1", join("m2", &["a"]))), GroupError::UnreleasedInstanceId(text.to_owned()));
    assert_eq!(refused(&mut world, &by_instance("i2", beat("m1", 1))), GroupError::unknown_member("g", "m1"));
    // Its own join again: the answer was lost, or it was fenced.
    check(&mut world, &by_instance("i1", join("m1", &["a"])), "1 a0");
    world.send(&by_instance("i1", beat("m1", -1))).unwrap();
    check(&mut world, &by_instance("i1", join("m2", &["a"])), "3 a0");
}

#[test]
fn a_static_member_that_stays_away_is_put_out() {
    let mut world = World::new(&[("a", 1)]);
    check(&mut world, &by_instance("i1", join("m1", &["a"])), "1 a0");
    check(&mut world, &join("m2", &["a"]), "2");
    check(&mut world, &by_instance("i1", beat("m1", 1)), "2 -");
    world.pass(40_000);
    check(&mut world, &beat("m2", 2), "2 -");
    world.send(&by_instance("i1", beat("m1", -2))).unwrap();
    world.pass(5_000);
    check(&mut world, &beat("m2", 2), "3 a0");
    assert_eq!(world.describe().members.len(), 1);
}

#[test]
fn a_static_member_that_left_while_it_was_to_give_up_gives_up() {
    let mut world = World::new(&[("a", 2)]);
    check(&mut world, &by_instance("i1", join("m1", &["a"])), "1 a0 a1");
    check(&mut world, &join("m2", &["a"]), "2");
    check(&mut world, &by_instance("i1", beat("m1", 1)), "1 a0");
    world.send(&by_instance("i1", beat("m1", -2))).unwrap();
    // Its time to give up ran out, but it is not there to do so.
    world.pass(31_000);
    check(&mut world, &beat("m2", 2), "2 a1");
    check(&mut world, &by_instance("i1", join("m3", &["a"])), "2 a0");
}

#[test]
fn regular_expressions_are_resolved_by_the_server() {
    let mut world = World::new(&[("a-1", 1), ("b", 1)]);
    check(&mut world, &join_regex("m1", "a-.*"), "1 a0");
    assert!(world.group.is_subscribed("a-1") && !world.group.is_subscribed("b"));
    world.topics.set("c", 1);
    world.topics.set("a-1", 2);
    check(&mut world, &beat("m1", 1), "2 a0 a1");
    let error = refused(&mut world, &ConsumerHeartbeatRequest { subscribed_regex: Some("(".to_owned()), ..beat("m1", 2) });
    assert!(matches!(error, GroupError::InvalidRegularExpression(_)), "{error:?}");
    let none = ConsumerHeartbeatRequest { subscribed_regex: Some(String::new()), ..beat("m1", 2) };
    check(&mut world, &none, "2");
    assert!(!world.group.is_subscribed("a-1"));
}

#[test]
fn regular_expressions_are_resolved_again_at_most_every_ten_seconds() {
    let mut world = World::new(&[("a-1", 1)]);
    check(&mut world, &join_regex("m1", "[ab]-.*"), "1 a0");
    world.topics.set("b-1", 1);
    world.pass(10_000);
    check(&mut world, &beat("m1", 1), "1 -");
    world.pass(1);
    check(&mut world, &beat("m1", 1), "2 a0 b0");
    // The same for an expression that is new to the group: until then it stands for nothing.
    world.pass(1);
    let other = ConsumerHeartbeatRequest { subscribed_regex: Some("b.*".to_owned()), owned: Some(vec![]), ..beat("m1", 2) };
    check(&mut world, &join_regex("m2", "a.*"), "2");
    world.pass(10_000);
    check(&mut world, &beat("m2", 2), "3 -");
    check(&mut world, &beat("m1", 2), "2 b0");
    check(&mut world, &other, "3");
    check(&mut world, &beat("m2", 3), "3 a0");
}

#[test]
fn an_expression_is_shared_by_its_subscribers() {
    let mut world = World::new(&[("a-1", 2)]);
    check(&mut world, &join_regex("m1", "a.*"), "1 a0 a1");
    check(&mut world, &join_regex("m2", "a.*"), "2");
    check(&mut world, &owns("m1", 1, &[]), "2 a0");
    check(&mut world, &beat("m2", 2), "2 a1");
    let regexes = |world: &World| world.saved.keys().filter(|key| key[0] == 8).count();
    world.send(&beat("m1", -1)).unwrap();
    assert_eq!(regexes(&world), 1);
    world.send(&beat("m2", -1)).unwrap();
    assert_eq!(regexes(&world), 0);
}

#[test]
fn changes_in_a_short_time_cost_one_assignment() {
    let mut world = World::new(&[("a", 4)]);
    world.options = Options::default();
    check(&mut world, &join("m1", &["a"]), "1 a0 a1 a2 a3");
    check(&mut world, &join("m2", &["a"]), "1");
    check(&mut world, &join("m3", &["a"]), "1");
    world.pass(999);
    check(&mut world, &beat("m1", 1), "1 -");
    assert_eq!(world.group.state(), GroupState::Assigning);
    world.pass(1);
    check(&mut world, &beat("m3", 1), "3 -");
    check(&mut world, &beat("m1", 1), "1 a0 a1");
}

#[test]
fn what_is_not_subscribed_to_goes_before_the_next_assignment() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.options = Options::default();
    check(&mut world, &join("m1", &["a", "b"]), "1 a0 a1 b0 b1");
    check(&mut world, &join("m2", &["b"]), "1");
    let less = ConsumerHeartbeatRequest { subscribed_topics: Some(vec!["b".to_owned()]), ..beat("m1", 1) };
    check(&mut world, &less, "1 b0 b1");
    check(&mut world, &owns("m1", 1, &[(b(), &[0, 1])]), "1 -");
    world.pass(1_000);
    check(&mut world, &owns("m1", 1, &[(b(), &[0])]), "3 b0");
    check(&mut world, &beat("m2", 1), "3 b1");
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn five_thousand_join_at_once() {
    let mut world = World::new(&[("a", 5_000)]);
    world.options = Options::default();
    for index in 0..5_000 {
        world.send(&join(&format!("m{index:04}"), &["a"])).unwrap();
    }
    world.pass(1_000);
    assert_eq!(world.send(&beat("m0001", 1)).unwrap().member_epoch, 5_000);
    let described = world.describe();
    assert!(described.members.iter().all(|member| member.target_assignment.iter().map(|topic| topic.partitions.len()).sum::<usize>() == 1));
}

#[test]
fn a_group_is_described_with_what_its_members_have_and_shall_have() {
    let mut world = one_member();
    let rack = ConsumerHeartbeatRequest { rack_id: Some("r".to_owned()), ..by_instance("i2", join_regex("m2", "a")) };
    check(&mut world, &rack, "2");
    let described = world.describe();
    assert_eq!((described.group_id.as_str(), described.state), ("g", GroupState::Reconciling));
    assert_eq!((described.group_epoch, described.assignment_epoch, described.assignor.as_str()), (2, 2, "uniform"));
    let [m1, m2] = &described.members[..] else { panic!("{described:?}") };
    assert_eq!((m1.member_id.as_str(), m1.member_epoch, m1.subscribed_topics.join(" ").as_str()), ("m1", 1, "a"));
    assert_eq!((m1.assignment[0].partitions.as_slice(), m1.target_assignment[0].partitions.as_slice()), (&[0, 1, 2, 3][..], &[0, 1][..]));
    assert_eq!((m2.member_id.as_str(), m2.instance_id.as_deref(), m2.rack_id.as_deref()), ("m2", Some("i2"), Some("r")));
    assert_eq!((m2.client_id.as_str(), m2.client_host.as_str(), m2.subscribed_regex.as_str()), ("c", "/10.0.0.1", "a"));
    assert!(m2.assignment.is_empty() && m2.target_assignment[0].topic_name == "a" && !m2.is_classic);
    world.topics.remove("a");
    assert!(world.describe().members.iter().all(|member| member.assignment.is_empty() && member.target_assignment.is_empty()));
}
