//! Groups that change their type while they have members (KIP-848, online migration).

use bytes::Bytes;

use super::harness::{GROUP, Harness, commit_as, join_as, sync_as};
use super::types::{beat, new, options, orders, types};
use crate::{GroupError, GroupState, GroupType, JoinRequest, MigrationPolicy, Options, Protocol, SyncRequest};

/// Version 0 of a subscription to `orders`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff";
/// Version 0 of an assignment of the partitions 0 to 2 of `orders`.
const ALL: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff";

fn join(member_id: &str) -> JoinRequest {
    let protocols = vec![Protocol { name: "range".to_owned(), metadata: Bytes::from_static(SUBSCRIPTION) }];
    JoinRequest { protocols, ..join_as(member_id) }
}

/// A stable classic group of one consumer that reads `orders`.
fn classic(group: &mut Harness) -> (String, i32) {
    let ticket = group.join(join(""));
    let joined = group.joined(ticket);
    let assignments = vec![(joined.member_id.clone(), Bytes::from_static(ALL))];
    let sync = group.sync(SyncRequest { assignments, ..sync_as(&joined.member_id, joined.generation) });
    group.synced(sync);
    (joined.member_id, joined.generation)
}

/// The member joins and syncs; its generation and how many partitions it got.
fn rejoin(group: &mut Harness, member_id: &str) -> (i32, usize) {
    let ticket = group.join(join(member_id));
    let generation = group.joined(ticket).generation;
    let sync = group.sync(sync_as(member_id, generation));
    let assignment = group.synced(sync).assignment;
    // Version, one topic by name, user data; without partitions the topic is not there either.
    (generation, assignment.len().saturating_sub(2 + 4 + 4 + 2 + 6 + 4) / 4)
}

#[test]
fn a_consumer_that_speaks_the_new_protocol_joins_the_old_ones_and_when_it_leaves_they_go_on_without_it() {
    let mut group = new(options());
    let (old, generation) = classic(&mut group);
    let mut commit = commit_as(&old, generation, "orders", 0, 7);
    commit.topics[0].id = orders();
    group.commit(commit).unwrap().remove(0).unwrap();
    let offsets = group.fetch_all();

    let mut epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    group.reload();
    assert_eq!(types(&group)[0].1, GroupType::Consumer);
    assert_eq!(group.heartbeat(&old, generation), Err(GroupError::RebalanceInProgress), "it is to give something up");
    let mut got = Vec::new();
    let (mut generation, mut kept) = (generation, 3);
    for _ in 0..5 {
        (generation, kept) = rejoin(&mut group, &old);
        let heartbeat = beat(&mut group, "a", epoch).unwrap();
        epoch = heartbeat.member_epoch;
        got.extend(heartbeat.assignment.into_iter().flatten().flat_map(|(_, partitions)| partitions));
    }
    assert_eq!((kept + got.len(), kept.abs_diff(got.len())), (3, 1));
    assert_eq!(group.heartbeat(&old, generation), Ok(()));
    assert_eq!(group.fetch_all(), offsets);

    beat(&mut group, "a", -1).unwrap();
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::PreparingRebalance)]);
    group.reload();
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Stable)], "as far as it is saved");
    let ticket = group.join(join(&old));
    let joined = group.joined(ticket);
    assert_eq!((joined.leader.as_str(), joined.members.len()), (old.as_str(), 1));
    assert_eq!(group.fetch_all(), offsets);
}

#[test]
fn a_silent_member_of_the_new_protocol_gives_the_group_back_to_the_old_ones() {
    let mut group = new(options());
    let (old, _) = classic(&mut group);
    beat(&mut group, "a", 0).unwrap();
    for _ in 0..6 {
        rejoin(&mut group, &old);
        group.pass(8_000);
    }
    assert_eq!(types(&group)[0].1, GroupType::Classic);
}

#[test]
fn a_group_with_members_keeps_its_type_where_the_policy_says_so() {
    for (policy, joins) in [(MigrationPolicy::Disabled, false), (MigrationPolicy::Downgrade, false), (MigrationPolicy::Upgrade, true)] {
        let mut group = new(Options { migration_policy: policy, ..options() });
        classic(&mut group);
        let saved = group.saved.clone();
        let joined = beat(&mut group, "a", 0);
        if joins {
            joined.unwrap();
            beat(&mut group, "a", -1).unwrap();
            assert_eq!(types(&group)[0].1, GroupType::Consumer, "there is no way back");
        } else {
            assert_eq!(joined, Err(GroupError::GroupIdNotFound(format!("Group {GROUP} is not a consumer group."))));
            assert_eq!(group.saved, saved);
        }
    }
}

#[test]
fn who_cannot_be_taken_over_stays_what_it_was() {
    let mut group = new(options());
    // The harness assigns bytes that no consumer would read.
    let (ids, generation) = group.new_group(1);
    let saved = group.saved.clone();
    assert!(matches!(beat(&mut group, "a", 0), Err(GroupError::GroupIdNotFound(_))));
    assert_eq!((group.saved.clone(), group.heartbeat(&ids[0], generation)), (saved, Ok(())));
}

#[test]
fn who_is_refused_by_the_group_that_would_be_leaves_the_one_that_is() {
    let mut group = new(Options { consumer_max_size: 1, ..options() });
    let (old, generation) = classic(&mut group);
    let saved = group.saved.clone();
    assert_eq!(beat(&mut group, "a", 0), Err(GroupError::GroupMaxSizeReached { limit: 1 }));
    assert_eq!((group.saved.clone(), group.heartbeat(&old, generation)), (saved, Ok(())));
    group.pass(9_000);
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Stable)]);
}
