//! Members of both protocols in one group.

use bytes::{BufMut, Bytes, BytesMut};
use types::TopicId;

use super::world::*;
use crate::consumer::{ClassicConsumer, ClassicConsumers, ConsumerGroup};
use crate::{GroupError, GroupState, HeartbeatRequest, JoinRequest, Joined, LeavingMember, Protocol, SyncRequest};

fn a() -> TopicId {
    TopicId::from_bytes([b'a'; 16])
}

/// The part of both embedded formats that names partitions of topic `a`.
fn partitions(bytes: &mut BytesMut, partitions: &[i32]) {
    bytes.put_i32(i32::from(!partitions.is_empty()));
    if !partitions.is_empty() {
        bytes.put_slice(b"\0\x01a");
        bytes.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
}

/// A subscription of version 1 to topic `a`.
fn metadata(owned: &[i32]) -> Bytes {
    let mut bytes = BytesMut::from(&b"\0\x01\0\0\0\x01\0\x01a\xff\xff\xff\xff"[..]);
    partitions(&mut bytes, owned);
    bytes.freeze()
}

fn assignment(version: u8, assigned: &[i32]) -> Bytes {
    let mut bytes = BytesMut::from(&[0, version][..]);
    partitions(&mut bytes, assigned);
    bytes.put_i32(-1);
    bytes.freeze()
}

/// A classic group of two consumers in generation 7, of topic `a` with four partitions.
fn two_consumers() -> ClassicConsumers {
    let member = |member_id: &str, instance_id: Option<&str>, assigned: &[i32]| ClassicConsumer {
        member_id: member_id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        client_id: "c".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocols: vec![("range".to_owned(), metadata(&[]))],
        assignment: assignment(1, assigned),
    };
    ClassicConsumers { generation: 7, members: vec![member("k1", None, &[0, 1]), member("k2", Some("i2"), &[2, 3])] }
}

fn upgraded() -> World {
    let mut world = World::new(&[("a", 4)]);
    let group = world.call(|_, topics, context| ConsumerGroup::from_classic("g".into(), two_consumers(), topics, context)).unwrap();
    world.group = group;
    world
}

fn join_again(world: &mut World, member_id: &str, instance_id: Option<&str>, owned: &[i32]) -> Result<Joined, GroupError> {
    let request = JoinRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        fresh_id: "1".to_owned(),
        instance_id: instance_id.map(str::to_owned),
        client_id: "c".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata: metadata(owned) }],
        needs_member_id: true,
        can_skip_assignment: true,
        reason: None,
    };
    world.call(|group, topics, context| group.classic_join(request, topics, context))
}

/// The partitions that a sync answers.
fn sync(world: &mut World, member_id: &str, generation: i32) -> Result<Bytes, GroupError> {
    let request = SyncRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: Vec::new(),
    };
    world.call(|group, topics, context| group.classic_sync(&request, topics, context)).map(|synced| synced.assignment)
}

fn heartbeat(world: &mut World, member_id: &str, generation: i32) -> Result<(), GroupError> {
    let request = HeartbeatRequest { group_id: "g".to_owned(), member_id: member_id.to_owned(), instance_id: None, generation };
    world.call(|group, _, context| group.classic_heartbeat(&request, context))
}

#[test]
fn a_classic_group_goes_over_with_what_its_members_have() {
    let mut world = upgraded();
    let answer = world.send(&join("m1", &["a"])).unwrap();
    assert_eq!((answer.member_epoch, shown(&answer.assignment.unwrap()).as_str()), (9, ""));
    for member in ["k1", "k2"] {
        assert_eq!(heartbeat(&mut world, member, 7), Err(GroupError::RebalanceInProgress));
    }
    // Four partitions, three members: k1 keeps its two, k2 gives one up. It joins twice: to be told, and when it did.
    let joined = join_again(&mut world, "k1", None, &[0, 1]).unwrap();
    assert_eq!((joined.generation, joined.protocol.as_deref(), joined.leader.as_str()), (9, Some("range"), ""));
    assert_eq!(sync(&mut world, "k1", 9), Ok(assignment(1, &[0, 1])));
    assert_eq!(join_again(&mut world, "k2", None, &[2, 3]).unwrap().generation, 7);
    assert_eq!(sync(&mut world, "k2", 7), Ok(assignment(1, &[2])));
    assert_eq!(heartbeat(&mut world, "k2", 7), Err(GroupError::RebalanceInProgress));
    assert_eq!(join_again(&mut world, "k2", None, &[2]).unwrap().generation, 9);
    assert_eq!(sync(&mut world, "k2", 9), Ok(assignment(1, &[2])));
    assert_eq!(world.send(&beat("m1", 9)).unwrap().assignment, Some(vec![(a(), vec![3])]));
    assert_eq!(world.group.state(), GroupState::Stable);
    assert_eq!(heartbeat(&mut world, "k2", 9), Ok(()));
    assert!(world.describe().members.iter().all(|member| member.is_classic == member.member_id.starts_with('k')));

    let before = world.describe();
    world.reload();
    assert_eq!(world.describe(), before);
    assert_eq!(heartbeat(&mut world, "k1", 9), Ok(()));
}

#[test]
fn a_group_of_classic_members_only_can_go_back() {
    let mut world = upgraded();
    let back = world.group.to_classic(&world.topics).unwrap();
    assert_eq!((back.generation, back.members), (8, two_consumers().members));
    world.send(&join("m1", &["a"])).unwrap();
    assert_eq!(world.group.to_classic(&world.topics), None);
    world.send(&beat("m1", -1)).unwrap();
    assert!(world.group.to_classic(&world.topics).is_some());
    assert_eq!(World::new(&[]).group.to_classic(&world.topics), None);
}

#[test]
fn groups_that_cannot_be_read_stay_classic() {
    for (metadata, assigned, why) in [
        (Bytes::from_static(b"\0"), assignment(1, &[0]), "the embedded consumer protocol is malformed"),
        (metadata(&[]), Bytes::from_static(b"\0\0"), "the embedded consumer protocol is malformed"),
        (metadata(&[]), Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\x01x"), "an unsupported custom assignor is in use"),
    ] {
        let mut world = World::new(&[("a", 4)]);
        let mut classic = two_consumers();
        classic.members[1].protocols[0].1 = metadata;
        classic.members[1].assignment = assigned;
        let error = world.call(|_, topics, context| ConsumerGroup::from_classic("g".into(), classic, topics, context)).unwrap_err();
        let GroupError::GroupIdNotFound(text) = error else { panic!("{error:?}") };
        assert!(text.starts_with(&format!("Cannot upgrade classic group g to consumer group because {why}")), "{text}");
        assert!(world.saved.is_empty());
    }
}

#[test]
fn a_partition_that_two_consumers_were_given_has_one_owner() {
    let mut world = World::new(&[("a", 4)]);
    let mut classic = two_consumers();
    classic.members[1].assignment = assignment(1, &[1, 2]);
    world.group = world.call(|_, topics, context| ConsumerGroup::from_classic("g".into(), classic, topics, context)).unwrap();
    let of = |member: usize| world.describe().members[member].assignment[0].partitions.clone();
    assert_eq!((of(0), of(1)), (vec![0, 1], vec![2]));
}

#[test]
fn strangers_and_other_generations_are_refused() {
    let mut world = upgraded();
    world.send(&join("m1", &["a"])).unwrap();
    assert_eq!(heartbeat(&mut world, "k3", 7), Err(GroupError::unknown_member("g", "k3")));
    assert_eq!(heartbeat(&mut world, "m1", 9), Err(GroupError::unknown_member("g", "m1")));
    assert_eq!(heartbeat(&mut world, "k1", 8), Err(GroupError::IllegalGeneration));
    assert_eq!(sync(&mut world, "k1", 7), Err(GroupError::RebalanceInProgress));
    let error = join_again(&mut world, "", None, &[]).unwrap_err();
    assert_eq!(error, GroupError::MemberIdRequired { member_id: "c-1".to_owned() });
    assert_eq!(join_again(&mut world, "c-1", None, &[]).unwrap().generation, 10);
    assert!(matches!(join_again(&mut world, "k3", Some("i2"), &[]), Err(GroupError::FencedInstanceId(_))));
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_what_it_has() {
    let mut world = upgraded();
    let answer = world.send(&by_instance("i2", join("m2", &["a"]))).unwrap();
    assert_eq!(shown(&answer.assignment.unwrap()), "a2 a3");
    assert!(!world.describe().members.iter().any(|member| member.member_id == "k2"));
    // And back, without a word before.
    let joined = join_again(&mut world, "", Some("i2"), &[]).unwrap();
    assert_eq!(joined.member_id, "i2-1");
    assert_eq!(sync(&mut world, "i2-1", joined.generation), Ok(assignment(1, &[2, 3])));
}

#[test]
fn who_does_not_join_or_sync_in_time_is_put_out() {
    let mut world = upgraded();
    world.send(&join("m1", &["a"])).unwrap();
    let alive = |world: &mut World| {
        world.send(&join("m1", &["a"])).unwrap();
        heartbeat(world, "k1", 7)
    };
    for _ in 0..6 {
        assert_eq!(alive(&mut world), Err(GroupError::RebalanceInProgress));
        world.pass(9_999);
    }
    assert_eq!(alive(&mut world), Err(GroupError::RebalanceInProgress));
    world.pass(6);
    assert_eq!(heartbeat(&mut world, "k1", 7), Err(GroupError::unknown_member("g", "k1")));
}

#[test]
fn classic_members_leave_by_id_or_are_put_out_by_instance() {
    let mut world = upgraded();
    world.send(&by_instance("i3", join("m3", &["a"]))).unwrap();
    let mut leave = |member_id: &str, instance_id: Option<&str>| {
        let leaving = LeavingMember { member_id: member_id.to_owned(), instance_id: instance_id.map(str::to_owned), reason: None };
        world.call(|group, topics, context| group.classic_leave(&leaving, topics, context))
    };
    assert_eq!(leave("k3", None), Err(GroupError::unknown_member("g", "k3")));
    assert_eq!(leave("m3", Some("i3")), Err(GroupError::unknown_member("g", "m3")));
    assert!(matches!(leave("k1", Some("i2")), Err(GroupError::FencedInstanceId(_))));
    assert_eq!(leave("k1", None), Ok(()));
    assert_eq!(leave("", Some("i2")), Ok(()));
    assert_eq!(leave("", Some("i3")), Ok(()));
    assert!(world.group.is_empty());
}
