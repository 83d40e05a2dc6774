//! Groups of both types under one coordinator, and how one becomes the other.

use types::TopicId;

use super::harness::{GROUP, Harness, commit_as, fetch_all, join_as, prompt, sync_as};
use crate::{
    CommitPartition, CommitRequest, ConsumerHeartbeat, ConsumerHeartbeatRequest, DeleteOffsetsRequest, FetchOffsetsRequest, GroupError,
    GroupState, GroupType, ListFilter, Options, TopicInfo, Topics,
};

pub(super) fn orders() -> TopicId {
    TopicId::from_bytes([1; 16])
}

/// The one topic there is.
struct Orders;

impl Topics for Orders {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        (name == "orders").then(|| TopicInfo { id: orders(), name: name.to_owned(), partitions: 3 })
    }
    fn by_id(&self, id: TopicId) -> Option<TopicInfo> {
        if id == orders() { self.by_name("orders") } else { None }
    }
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::once("orders"))
    }
    fn version(&self) -> u64 {
        1
    }
}

pub(super) fn options() -> Options {
    Options { consumer_assignment_interval_ms: 0, ..prompt() }
}

pub(super) fn new(options: Options) -> Harness {
    let mut group = Harness::new(options);
    group.topics = &Orders;
    group
}

/// A heartbeat of a member of the consumer protocol; with epoch 0 it joins.
pub(super) fn beat(group: &mut Harness, member_id: &str, member_epoch: i32) -> Result<ConsumerHeartbeat, GroupError> {
    let joins = member_epoch == 0;
    let request = ConsumerHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        instance_id: None,
        rack_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: if joins { 30_000 } else { -1 },
        subscribed_topics: joins.then(|| vec!["orders".to_owned()]),
        subscribed_regex: None,
        assignor: None,
        owned: joins.then(Vec::new),
    };
    heartbeat(group, request)
}

fn heartbeat(group: &mut Harness, request: ConsumerHeartbeatRequest) -> Result<ConsumerHeartbeat, GroupError> {
    let answer = group.coordinator.consumer_heartbeat(request, &Orders, group.now);
    group.settle();
    answer
}

fn commit(member_id: &str, epoch: i32, offset: i64) -> CommitRequest {
    let mut commit = commit_as(member_id, epoch, "orders", 0, offset);
    commit.topics[0].id = orders();
    commit
}

pub(super) fn types(group: &Harness) -> Vec<(String, GroupType, GroupState)> {
    group.coordinator.list(&ListFilter::default()).into_iter().map(|it| (it.group_id, it.group_type, it.state)).collect()
}

#[test]
fn a_group_without_members_becomes_what_the_next_one_speaks_and_keeps_its_offsets() {
    let mut group = new(options());
    group.commit(commit("", -1, 5)).unwrap().remove(0).unwrap();
    let (ids, _) = group.new_group(1);
    group.leave(&[(&ids[0], None)]);
    let pending = group.new_id("pending");
    let offsets = group.fetch_all();

    let joined = beat(&mut group, "a", 0).unwrap();
    assert_eq!(joined.assignment, Some(vec![(orders(), vec![0, 1, 2])]));
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Consumer, GroupState::Stable)]);
    assert_eq!(group.fetch_all(), offsets);
    group.reload();
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Consumer, GroupState::Stable)]);
    assert_eq!(group.fetch_all(), offsets);
    let late = group.join(join_as(&pending));
    assert!(matches!(group.join_error(late), GroupError::UnknownMemberId { .. } | GroupError::InconsistentGroupProtocol));

    beat(&mut group, "a", -1).unwrap();
    let stranger = group.join(join_as("stranger"));
    assert_eq!(group.join_error(stranger), GroupError::unknown_member(GROUP, "stranger"));
    assert_eq!(types(&group)[0].1, GroupType::Consumer, "nobody joined yet");
    group.new_group(1);
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Stable)]);
    assert_eq!(group.fetch_all(), offsets);
    group.reload();
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Stable)]);
    assert_eq!(group.fetch_all(), offsets);
}

#[test]
fn who_is_refused_leaves_the_group_what_it_was() {
    let mut group = new(Options { consumer_max_size: 0, ..options() });
    assert_eq!(beat(&mut group, "a", 0), Err(GroupError::GroupMaxSizeReached { limit: 0 }));
    assert!(types(&group).is_empty());
    let (ids, _) = group.new_group(1);
    group.leave(&[(&ids[0], None)]);
    let saved = group.saved.clone();
    assert_eq!(beat(&mut group, "a", 0), Err(GroupError::GroupMaxSizeReached { limit: 0 }));
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Empty)]);
    assert_eq!(group.saved, saved);
}

#[test]
fn heartbeats_of_the_consumer_protocol_need_a_group_of_it() {
    let mut group = new(options());
    for epoch in [1, -1] {
        assert_eq!(beat(&mut group, "a", epoch), Err(GroupError::no_such_group(GROUP)));
    }
    let (ids, _) = group.new_group(1);
    group.leave(&[(&ids[0], None)]);
    let other = Err(GroupError::GroupIdNotFound(format!("Group {GROUP} is not a consumer group.")));
    assert_eq!(beat(&mut group, "a", 1), other, "only a member that joins changes an empty group");
    assert_eq!(types(&group), [(GROUP.to_owned(), GroupType::Classic, GroupState::Empty)]);
}

#[test]
fn each_type_has_its_own_description() {
    let mut group = new(options());
    let missing = |text: String| GroupError::GroupIdNotFound(text);
    assert_eq!(group.coordinator.consumer_describe(GROUP, &Orders), Err(GroupError::no_such_group(GROUP)));
    beat(&mut group, "a", 0).unwrap();
    assert_eq!(group.coordinator.describe(GROUP), Err(missing(format!("Group {GROUP} is not a classic group."))));
    let described = group.coordinator.consumer_describe(GROUP, &Orders).unwrap();
    assert_eq!((described.members[0].member_id.as_str(), described.assignor.as_str()), ("a", "uniform"));
    let consumers = ListFilter { types: vec!["consumer".to_owned()], ..ListFilter::default() };
    assert_eq!(group.coordinator.list(&consumers)[0].protocol_type, "consumer");
    beat(&mut group, "a", -1).unwrap();
    group.new_group(1);
    let error = group.coordinator.consumer_describe(GROUP, &Orders).unwrap_err();
    assert_eq!(error, missing(format!("Group {GROUP} is not a consumer group.")));
    assert!(group.coordinator.list(&consumers).is_empty());
}

#[test]
fn members_of_the_consumer_protocol_commit_and_fetch_with_their_epoch() {
    let mut group = new(options());
    let epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    assert_eq!(group.commit(commit("a", epoch, 1)), Ok(vec![Ok(())]));
    assert!(matches!(group.commit(commit("a", epoch + 1, 2)), Err(GroupError::StaleMemberEpoch(_))));
    assert_eq!(group.commit(commit("b", epoch, 2)), Err(GroupError::unknown_member(GROUP, "b")));
    assert_eq!(group.commit(commit("", -1, 2)), Err(GroupError::unknown_member(GROUP, "")));
    let old = CommitRequest { knows_member_epochs: false, ..commit("a", epoch, 2) };
    assert!(matches!(group.commit(old), Err(GroupError::UnsupportedVersion(_))));
    // One of two partitions is not the member's since that epoch: nothing of the commit counts.
    let mut earlier = commit("a", epoch - 1, 3);
    let foreign = CommitPartition { partition: 9, ..earlier.topics[0].partitions[0].clone() };
    earlier.topics[0].partitions.push(foreign);
    assert!(matches!(group.commit(earlier), Err(GroupError::StaleMemberEpoch(_))));
    assert_eq!(group.fetch_all().topics[0].partitions[0].offset, 1);

    let fetch = |group: &Harness, member_id: &str, member_epoch| {
        let request = FetchOffsetsRequest {
            group_id: GROUP.to_owned(),
            member_id: Some(member_id.to_owned()),
            member_epoch,
            topics: None,
            require_stable: true,
        };
        group.coordinator.fetch_offsets(&request)
    };
    assert_eq!(fetch(&group, "a", epoch), Ok(fetch_all(&group.coordinator, GROUP)));
    assert!(matches!(fetch(&group, "a", epoch + 1), Err(GroupError::StaleMemberEpoch(_))));
    assert_eq!(fetch(&group, "b", epoch), Err(GroupError::unknown_member(GROUP, "b")));
}

#[test]
fn a_consumer_group_is_deleted_without_members_and_loses_offsets_of_what_it_does_not_read() {
    let mut group = new(options());
    beat(&mut group, "a", 0).unwrap();
    assert_eq!(group.coordinator.delete(GROUP), Err(GroupError::NonEmptyGroup));
    let request =
        DeleteOffsetsRequest { group_id: GROUP.to_owned(), topics: vec![("orders".to_owned(), vec![0]), ("old".to_owned(), vec![0])] };
    let results = group.coordinator.delete_offsets(request).unwrap().topics;
    assert_eq!(results[0].partitions, [(0, Err(GroupError::GroupSubscribedToTopic))]);
    assert_eq!(results[1].partitions, [(0, Ok(()))]);
    beat(&mut group, "a", -1).unwrap();
    group.commit(commit("", -1, 1)).unwrap().remove(0).unwrap();
    assert_eq!(group.coordinator.delete(GROUP), Ok(()));
    group.settle();
    assert!(group.saved.is_empty() && types(&group).is_empty());
}

#[test]
fn members_of_the_consumer_protocol_are_put_out_when_they_are_silent_and_the_group_ends_a_week_later() {
    let mut group = new(options());
    let epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    group.commit(commit("a", epoch, 1)).unwrap().remove(0).unwrap();
    group.reload();
    group.pass(44_999);
    assert_eq!(types(&group)[0].2, GroupState::Stable);
    group.pass(1);
    assert_eq!(types(&group)[0].2, GroupState::Empty);
    group.pass(7 * 24 * 60 * 60_000 + 600_000);
    assert!(group.saved.is_empty() && types(&group).is_empty());
}

#[test]
fn who_speaks_the_consumer_protocol_is_no_member_of_the_classic_one() {
    let mut group = new(options());
    let epoch = beat(&mut group, "a", 0).unwrap().member_epoch;
    let unknown = GroupError::unknown_member(GROUP, "a");
    assert_eq!(group.heartbeat("a", epoch), Err(unknown.clone()));
    let sync = group.sync(sync_as("a", epoch));
    assert_eq!(group.sync_error(sync), unknown);
    assert_eq!(group.leave(&[("a", None)])[0].result, Err(unknown));
    assert_eq!(beat(&mut group, "a", epoch).unwrap().member_epoch, epoch);
}
