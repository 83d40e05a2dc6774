//! Groups through the broker: what clients of every age send, and what becomes of a coordinator whose metadata fails.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::protocol::Request;
use kafka_protocol_3_9::messages as old;
use metadata_api::SlotOwner;
use protocol::ErrorCode;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use types::{CoordinatorKind, CoordinatorSlot, SlotEpoch};
use wal::MemoryOptions;

use crate::harness::{Peer, SOON, TestBroker, batch, text};
use crate::metadata::SaveFault;

/// Both are in slot 12: Java's hash of both is 2112.
const GROUP: &str = "Aa";
const NEIGHBOUR: &str = "BB";
const SLOT: u8 = 12;

async fn broker() -> TestBroker {
    let change = |options: &mut broker::BrokerOptions| {
        options.groups.initial_rebalance_delay_ms = 0;
        options.groups.min_session_timeout_ms = 1;
    };
    TestBroker::start_with(change, MemoryOptions::default()).await
}

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

fn join(group_id: &str, member_id: &str, metadata: Bytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group(group_id))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync(generation: i32, member_id: &str, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member, assigned)| {
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(Bytes::from_static(assigned.as_bytes()))
    });
    SyncGroupRequest::default()
        .with_group_id(group(GROUP))
        .with_generation_id(generation)
        .with_member_id(text(member_id))
        .with_assignments(assignments.collect())
}

async fn heartbeat(peer: &mut Peer, generation: i32, member_id: &str) -> ErrorCode {
    let request = HeartbeatRequest::default().with_group_id(group(GROUP)).with_generation_id(generation).with_member_id(text(member_id));
    ErrorCode::from_code(peer.ask(3, &request).await.error_code).unwrap()
}

fn commit(group_id: &str, offsets: &[(&str, i32, i64)]) -> OffsetCommitRequest {
    let topics = offsets.iter().map(|(topic, partition, offset)| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(*partition).with_committed_offset(*offset);
        let partition = partition.with_committed_metadata(Some(text("note")));
        OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition])
    });
    OffsetCommitRequest::default().with_group_id(group(group_id)).with_topics(topics.collect())
}

/// Commits as a consumer without a group does; the codes, in the order of the request.
async fn committed(peer: &mut Peer, group_id: &str, offsets: &[(&str, i32, i64)]) -> Vec<ErrorCode> {
    let answer = peer.ask(2, &commit(group_id, offsets)).await;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| ErrorCode::from_code(partition.error_code).unwrap()).collect()
}

/// The committed offset of one partition and its metadata.
async fn fetched(peer: &mut Peer, group_id: &str, topic: &str, partition: i32) -> (i64, String) {
    let topic = OffsetFetchRequestTopic::default().with_name(TopicName(text(topic))).with_partition_indexes(vec![partition]);
    let request = OffsetFetchRequest::default().with_group_id(group(group_id)).with_topics(Some(vec![topic]));
    let answer = peer.ask(2, &request).await;
    assert_eq!(answer.error_code, 0);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    (partition.committed_offset, partition.metadata.as_deref().unwrap_or_default().to_owned())
}

async fn described(peer: &mut Peer, version: i16, group_id: &str) -> describe_groups_response::DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![group(group_id)]).with_include_authorized_operations(true);
    peer.ask(version, &request).await.groups.remove(0)
}

/// A group of one member, which is its leader, in its first generation.
async fn alone(peer: &mut Peer) -> String {
    let joined = peer.ask(3, &join(GROUP, "", Bytes::from_static(b"topics"))).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let synced = peer.ask(3, &sync(1, &joined.member_id, &[(&joined.member_id, "all")])).await;
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
    joined.member_id.to_string()
}

#[tokio::test]
async fn two_members_rebalance_and_share_what_the_leader_assigns() {
    let broker = broker().await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);

    // From version 4 on a member comes back with the id that it is given (KIP-394).
    let required = first.ask(5, &join(GROUP, "", Bytes::from_static(b"one"))).await;
    assert_eq!(ErrorCode::from_code(required.error_code), Some(ErrorCode::MemberIdRequired));
    assert!(required.member_id.starts_with("test-"), "{}", required.member_id);
    let one = required.member_id.to_string();
    let joined = first.ask(5, &join(GROUP, &one, Bytes::from_static(b"one"))).await;
    assert_eq!((joined.error_code, joined.generation_id, joined.leader.as_str()), (0, 1, one.as_str()));
    assert_eq!(joined.members[0].metadata, "one");
    assert_eq!(first.ask(3, &sync(1, &one, &[(&one, "both")])).await.assignment, "both");

    // An older client joins; the first hears of it and comes again.
    let waiting = second.send(2, &join(GROUP, "", Bytes::from_static(b"two"))).await;
    while heartbeat(&mut first, 1, &one).await != ErrorCode::RebalanceInProgress {}
    let joined = first.ask(5, &join(GROUP, &one, Bytes::from_static(b"one"))).await;
    let two = second.receive::<JoinGroupRequest>(2, waiting).await;
    assert_eq!((joined.generation_id, two.generation_id, two.error_code, two.members.len()), (2, 2, 0, 0));
    assert_eq!(joined.members.len(), 2);
    let two = two.member_id.to_string();
    let waiting = second.send(0, &sync(2, &two, &[])).await;
    assert_eq!(first.ask(3, &sync(2, &one, &[(&one, "left"), (&two, "right")])).await.assignment, "left");
    assert_eq!(second.receive::<SyncGroupRequest>(0, waiting).await.assignment, "right");
    assert_eq!(heartbeat(&mut second, 2, &two).await, ErrorCode::None);
    assert_eq!(heartbeat(&mut second, 1, &two).await, ErrorCode::IllegalGeneration);
    assert_eq!(heartbeat(&mut second, 2, "nobody").await, ErrorCode::UnknownMemberId);

    let shown = described(&mut first, 6, GROUP).await;
    assert_eq!((shown.group_state.as_str(), shown.protocol_data.as_str(), shown.members.len()), ("Stable", "range", 2));
    let member = shown.members.iter().find(|member| member.member_id.as_str() == two).unwrap();
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("test", "/127.0.0.1"));
    assert_eq!((&*member.member_metadata, &*member.member_assignment), (&b"two"[..], &b"right"[..]));
    let listed = first.ask(5, &ListGroupsRequest::default().with_states_filter(vec![text("stable")])).await;
    assert_eq!((listed.groups[0].group_id.as_str(), listed.groups[0].group_type.as_str()), (GROUP, "classic"));
    let listed = first.ask(5, &ListGroupsRequest::default().with_types_filter(vec![text("consumer")])).await;
    assert_eq!((listed.error_code, listed.groups.len()), (0, 0));

    // A member that says it leaves is gone at once; the other hears of it.
    let leave = LeaveGroupRequest::default().with_group_id(group(GROUP)).with_member_id(text(&two));
    assert_eq!(second.ask(1, &leave).await.error_code, 0);
    assert_eq!(heartbeat(&mut first, 2, &one).await, ErrorCode::RebalanceInProgress);
    let members = ["nobody", &one].map(|member| MemberIdentity::default().with_member_id(text(member)));
    let leave = LeaveGroupRequest::default().with_group_id(group(GROUP)).with_members(members.to_vec());
    let left = first.ask(4, &leave).await;
    assert_eq!(left.members.iter().map(|member| member.error_code).collect::<Vec<_>>(), [ErrorCode::UnknownMemberId.code(), 0]);
    assert_eq!(described(&mut first, 5, GROUP).await.group_state.as_str(), "Empty");
    assert_eq!(broker.metric("siltstone_group_rebalances_total"), 2.0);
}

#[tokio::test]
async fn a_consumer_without_a_group_commits_fetches_and_deletes_offsets() {
    let broker = broker().await;
    broker.create_topic("events", 2, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await, (-1, String::new()));
    let codes = committed(&mut peer, GROUP, &[("events", 0, 41), ("events", 2, 1), ("nowhere", 0, 1), ("events", 1, 7)]).await;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(codes, [ErrorCode::None, unknown, unknown, ErrorCode::None]);
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await, (41, "note".to_owned()));
    assert_eq!(fetched(&mut peer, GROUP, "nowhere", 0).await, (-1, String::new()));
    assert_eq!(broker.metric("siltstone_offset_commits_total"), 2.0);

    let mut long = commit(GROUP, &[("events", 0, 99)]);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(5_000)));
    let answer = peer.ask(8, &long).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::OffsetMetadataTooLarge.code());
    let member = commit(GROUP, &[("events", 0, 99)]).with_generation_id_or_member_epoch(3).with_member_id(text("m"));
    let answer = peer.ask(8, &member).await;
    assert_ne!(answer.topics[0].partitions[0].error_code, 0, "nobody is a member");

    // All there is, and several groups at once.
    let all = OffsetFetchRequest::default().with_group_id(group(GROUP)).with_topics(None);
    let answer = peer.ask(7, &all.with_require_stable(true)).await;
    let offsets: Vec<_> = answer.topics[0].partitions.iter().map(|partition| partition.committed_offset).collect();
    assert_eq!((answer.topics.len(), offsets), (1, vec![41, 7]));
    let groups = [GROUP, NEIGHBOUR].map(|id| OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None));
    let answer = peer.ask(9, &OffsetFetchRequest::default().with_groups(groups.to_vec())).await;
    assert_eq!(answer.groups.iter().map(|group| (group.error_code, group.topics.len())).collect::<Vec<_>>(), [(0, 1), (0, 0)]);

    let partitions = [0, 5].map(|index| OffsetDeleteRequestPartition::default().with_partition_index(index));
    let topic = OffsetDeleteRequestTopic::default().with_name(TopicName(text("events"))).with_partitions(partitions.to_vec());
    let delete = OffsetDeleteRequest::default().with_group_id(group(GROUP)).with_topics(vec![topic]);
    let answer = peer.ask(0, &delete).await;
    assert_eq!(answer.error_code, 0);
    assert_eq!(answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect::<Vec<_>>(), [0, unknown.code()]);
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await.0, -1);
    assert_eq!(fetched(&mut peer, GROUP, "events", 1).await.0, 7);
    let answer = peer.ask(0, &delete.with_group_id(group("nobody"))).await;
    assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.code());

    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group(GROUP), group("nobody")]);
    let answer = peer.ask(2, &delete).await;
    let codes: Vec<_> = answer.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::GroupIdNotFound.code()]);
    assert_eq!(fetched(&mut peer, GROUP, "events", 1).await.0, -1);
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_gone_also_when_it_comes_again() {
    let broker = broker().await;
    broker.create_topic("events", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 41)]).await, [ErrorCode::None]);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("events"))]).with_timeout_ms(10_000);
    assert_eq!(peer.ask(5, &delete).await.responses[0].error_code, 0);
    broker.create_topic("events", 1, &[]).await;
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await.0, -1);
}

/// Waits until a group is shown to be so many records behind in a topic; `None` for not at all.
async fn lag_becomes(broker: &TestBroker, group_id: &str, topic: &str, records: Option<i64>) {
    let line = format!("siltstone_group_lag_records{{group=\"{group_id}\",topic=\"{topic}\"}}");
    let expected = records.map(|records| format!("{line} {records}"));
    let known = async {
        loop {
            let text = broker.metrics_text();
            let found = text.lines().find(|candidate| candidate.starts_with(&line)).map(str::to_owned);
            if found == expected {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(SOON, known).await;
    assert!(in_time.is_ok(), "{line} did not become {records:?}:\n{}", broker.metrics_text());
}

#[tokio::test]
async fn a_groups_lag_follows_producers_and_commits_until_the_offsets_are_gone() {
    let broker = broker().await;
    broker.create_topic("events", 2, &[]).await;
    broker.create_topic("other", 1, &[]).await;
    let mut peer = broker.connect().await;
    for partition in [0, 1] {
        assert_eq!(peer.produce("events", partition, batch(&["a", "b", "c"])).await.error_code, 0);
    }
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 1), ("events", 1, 3), ("other", 0, 0)]).await, [ErrorCode::None; 3]);
    assert_eq!(committed(&mut peer, "later", &[("events", 1, 0)]).await, [ErrorCode::None]);
    lag_becomes(&broker, GROUP, "events", Some(2)).await;
    lag_becomes(&broker, GROUP, "other", Some(0)).await;
    lag_becomes(&broker, "later", "events", Some(3)).await;
    assert_eq!(broker.metric("siltstone_group_lag_left_out"), 0.0);

    assert_eq!(peer.produce("events", 1, batch(&["d"])).await.error_code, 0);
    lag_becomes(&broker, GROUP, "events", Some(3)).await;
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 3), ("events", 1, 4)]).await, [ErrorCode::None; 2]);
    lag_becomes(&broker, GROUP, "events", Some(0)).await;

    let delete = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("other"))]).with_timeout_ms(10_000);
    assert_eq!(peer.ask(5, &delete).await.responses[0].error_code, 0);
    lag_becomes(&broker, GROUP, "other", None).await;
    lag_becomes(&broker, GROUP, "events", Some(0)).await;
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group(GROUP)]);
    assert_eq!(peer.ask(2, &delete).await.results[0].error_code, 0);
    lag_becomes(&broker, GROUP, "events", None).await;
    lag_becomes(&broker, "later", "events", Some(4)).await;

    // Nobody asks for the group after its coordinator has ended: whoever looks at the metric has it loaded.
    broker.metadata.fence_coordinators();
    assert_eq!(committed(&mut peer, "later", &[("events", 1, 4)]).await, [ErrorCode::NotCoordinator]);
    assert_eq!(peer.produce("events", 1, batch(&["e"])).await.error_code, 0);
    lag_becomes(&broker, "later", "events", Some(5)).await;
}

#[tokio::test]
async fn offsets_of_topics_that_went_while_no_coordinator_was_loaded_are_gone() {
    let broker = broker().await;
    for topic in ["events", "others"] {
        broker.create_topic(topic, 1, &[]).await;
    }
    let mut peer = broker.connect().await;
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 41), ("others", 0, 7)]).await, [ErrorCode::None; 2]);
    broker.metadata.fence_coordinators();
    assert_eq!(committed(&mut peer, GROUP, &[("others", 0, 8)]).await, [ErrorCode::NotCoordinator]);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("events"))]).with_timeout_ms(10_000);
    assert_eq!(peer.ask(5, &delete).await.responses[0].error_code, 0);
    broker.create_topic("events", 1, &[]).await;

    let all = OffsetFetchRequestGroup::default().with_group_id(group(GROUP)).with_member_epoch(-1).with_topics(None);
    let answer = peer.ask(9, &OffsetFetchRequest::default().with_groups(vec![all])).await;
    let topics: Vec<_> = answer.groups[0].topics.iter().map(|topic| topic.name.to_string()).collect();
    assert_eq!(topics, ["others"]);
    let saved = broker.metadata.saved_keys();
    assert!(!saved.iter().any(|key| key.windows(6).any(|text| text == b"events")), "{saved:?}");
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_dead_or_from_version_6_on_an_error() {
    let broker = broker().await;
    let mut peer = broker.connect().await;
    let before = described(&mut peer, 5, "nobody").await;
    assert_eq!((before.error_code, before.group_state.as_str()), (0, "Dead"));
    let now = described(&mut peer, 6, "nobody").await;
    assert_eq!((now.error_code, now.group_state.as_str()), (ErrorCode::GroupIdNotFound.code(), "Dead"));
    assert!(now.error_message.as_deref().is_some_and(|message| message.contains("nobody")));
    assert_ne!(before.authorized_operations, i32::MIN);
    assert_eq!(now.authorized_operations, i32::MIN, "not beside an error");
}

#[tokio::test]
async fn groups_are_described_in_the_order_of_the_request_and_each_once() {
    let broker = broker().await;
    let mut peer = broker.connect().await;
    let names = ["b", "a", "b", "c", "a"];
    let request = DescribeGroupsRequest::default().with_groups(names.map(group).to_vec());
    let described: Vec<String> = peer.ask(5, &request).await.groups.iter().map(|group| group.group_id.to_string()).collect();
    assert_eq!(described, ["b", "a", "c"]);
}

#[tokio::test]
async fn a_member_must_name_the_protocol_from_version_5_of_sync_on() {
    let broker = broker().await;
    let mut peer = broker.connect().await;
    let member = alone(&mut peer).await;
    let nothing = sync(1, &member, &[]);
    let answer = peer.ask(5, &nothing).await;
    assert_eq!(answer.error_code, ErrorCode::InconsistentGroupProtocol.code());
    let answer = peer.ask(5, &nothing.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))).await;
    assert_eq!((answer.error_code, &*answer.assignment), (0, &b"all"[..]));
    assert_eq!(answer.protocol_name.as_deref(), Some("range"));
}

#[tokio::test]
async fn offsets_of_the_first_versions_are_kept_like_all_others() {
    let broker = broker().await;
    broker.create_topic("events", 2, &[]).await;
    let mut peer = broker.connect().await;
    let name = |name: &str| old::TopicName(kafka_protocol_3_9::protocol::StrBytes::from_string(name.to_owned()));
    let group_id = || old::GroupId(kafka_protocol_3_9::protocol::StrBytes::from_static_str(GROUP));
    for version in [0, 1] {
        let offset = 100 + i64::from(version);
        let partition = old::offset_commit_request::OffsetCommitRequestPartition::default();
        let partitions = [0, 7].map(|index| partition.clone().with_partition_index(index).with_committed_offset(offset));
        let topic = old::offset_commit_request::OffsetCommitRequestTopic::default().with_name(name("events"));
        let topics = vec![topic.with_partitions(partitions.to_vec())];
        let request = old::OffsetCommitRequest::default().with_group_id(group_id()).with_topics(topics);
        let answer = peer.ask_old(version, &request).await;
        let codes: Vec<_> = answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()], "version {version}");

        let topic = old::offset_fetch_request::OffsetFetchRequestTopic::default().with_name(name("events"));
        let topics = vec![topic.with_partition_indexes(vec![0, 1])];
        let request = old::OffsetFetchRequest::default().with_group_id(group_id()).with_topics(Some(topics));
        let answer = peer.ask_old(version, &request).await;
        let offsets: Vec<_> =
            answer.topics[0].partitions.iter().map(|partition| (partition.committed_offset, partition.error_code)).collect();
        assert_eq!(offsets, [(offset, 0), (-1, 0)], "version {version}");
    }
}

#[tokio::test]
async fn a_fenced_coordinator_answers_so_and_the_next_one_knows_what_was_durable() {
    let broker = broker().await;
    broker.create_topic("events", 2, &[]).await;
    let mut peer = broker.connect().await;
    let member = alone(&mut peer).await;
    assert_eq!(committed(&mut peer, NEIGHBOUR, &[("events", 0, 41), ("events", 1, 7)]).await, [ErrorCode::None; 2]);

    broker.metadata.fence_coordinators();
    assert_eq!(committed(&mut peer, NEIGHBOUR, &[("events", 0, 99)]).await, [ErrorCode::NotCoordinator]);
    assert_eq!(fetched(&mut peer, NEIGHBOUR, "events", 0).await, (41, "note".to_owned()));
    assert_eq!(fetched(&mut peer, NEIGHBOUR, "events", 1).await.0, 7);
    assert_eq!(heartbeat(&mut peer, 1, &member).await, ErrorCode::None, "the generation goes on");
    let shown = described(&mut peer, 4, GROUP).await;
    assert_eq!((shown.group_state.as_str(), &*shown.members[0].member_assignment), ("Stable", &b"all"[..]));
    assert_ne!(shown.authorized_operations, i32::MIN);
    assert_eq!(committed(&mut peer, NEIGHBOUR, &[("events", 0, 99)]).await, [ErrorCode::None]);
}

#[tokio::test]
async fn a_save_whose_outcome_is_not_known_is_made_once_before_it_is_answered() {
    let broker = broker().await;
    broker.create_topic("events", 1, &[]).await;
    let mut peer = broker.connect().await;
    broker.metadata.save_faults.lock().extend([SaveFault::LoseRequest, SaveFault::LoseAnswer, SaveFault::LoseAnswer]);
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 41)]).await, [ErrorCode::None]);
    assert_eq!(broker.metadata.asked_saves(), [1, 1, 1, 1]);
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 42)]).await, [ErrorCode::None]);
    assert_eq!(broker.metadata.asked_saves(), [1, 1, 1, 1, 2]);
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await.0, 42);
}

#[tokio::test]
async fn a_group_waits_for_metadata_and_its_clients_are_told() {
    let broker = broker().await;
    broker.create_topic("events", 1, &[]).await;
    let mut peer = broker.connect().await;
    broker.metadata.away.store(true, Ordering::Relaxed);
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 41)]).await, [ErrorCode::CoordinatorLoadInProgress]);
    // Whoever lives is not sent away for it.
    assert_eq!(heartbeat(&mut peer, 1, "m").await, ErrorCode::None);
    broker.metadata.away.store(false, Ordering::Relaxed);
    while committed(&mut peer, GROUP, &[("events", 0, 42)]).await != [ErrorCode::None] {}
    assert_eq!(fetched(&mut peer, GROUP, "events", 0).await.0, 42);
}

#[tokio::test]
async fn who_went_away_while_joining_is_a_member_until_its_session_ends() {
    let broker = broker().await;
    let mut first = broker.connect().await;
    let one = alone(&mut first).await;
    let mut second = broker.connect().await;
    let mut impatient = join(GROUP, "", Bytes::from_static(b"two"));
    impatient.session_timeout_ms = 500;
    second.send(3, &impatient).await;
    while heartbeat(&mut first, 1, &one).await != ErrorCode::RebalanceInProgress {}
    drop(second);
    let mut generation = 1;
    loop {
        let joined = first.ask(3, &join(GROUP, &one, Bytes::from_static(b"one"))).await;
        assert_eq!((joined.error_code, joined.leader.as_str()), (0, one.as_str()));
        assert!(generation < joined.generation_id);
        generation = joined.generation_id;
        assert_eq!(first.ask(3, &sync(generation, &one, &[(&one, "all")])).await.error_code, 0);
        if joined.members.len() == 1 {
            break;
        }
        while heartbeat(&mut first, generation, &one).await != ErrorCode::RebalanceInProgress {}
    }
    assert_eq!(heartbeat(&mut first, generation, &one).await, ErrorCode::None);
}

#[tokio::test]
async fn the_coordinator_of_a_group_is_whoever_has_its_slot() {
    let broker = broker().await;
    broker.create_topic("events", 1, &[]).await;
    let mut peer = broker.connect().await;
    let find = FindCoordinatorRequest::default().with_key(text(GROUP));
    let found = peer.ask(3, &find).await;
    assert_eq!((found.error_code, found.node_id, found.host.as_str()), (0, BrokerId(1), "host1"));
    broker.metadata.change(|image| {
        let mut other = metadata_api::BrokerImage::clone(&image.brokers[&types::BrokerId(2)]);
        other.alive = true;
        image.brokers.insert(other.id, std::sync::Arc::new(other));
        let slot = CoordinatorSlot::new(CoordinatorKind::Group, SLOT).unwrap();
        image.slots.insert(slot, SlotOwner { broker: types::BrokerId(2), epoch: SlotEpoch(1) });
    });
    let found = peer.ask(3, &find).await;
    assert_eq!((found.error_code, found.node_id, found.host.as_str()), (0, BrokerId(2), "host2"));
    assert_eq!(committed(&mut peer, GROUP, &[("events", 0, 41)]).await, [ErrorCode::NotCoordinator]);
    let joined = peer.ask(3, &join(GROUP, "", Bytes::new())).await;
    assert_eq!(joined.error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(heartbeat(&mut peer, 1, "m").await, ErrorCode::NotCoordinator);
    let listed = peer.ask(4, &ListGroupsRequest::default()).await;
    assert_eq!((listed.error_code, listed.groups.len()), (0, 0));
}

#[tokio::test]
async fn a_group_that_grows_too_large_is_refused_and_harms_no_other_group() {
    let broker = broker().await;
    broker.create_topic("events", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(committed(&mut peer, NEIGHBOUR, &[("events", 0, 41)]).await, [ErrorCode::None]);

    let joined = peer.ask(3, &join(GROUP, "", Bytes::from(vec![7; 5 << 20]))).await;
    assert_eq!(joined.error_code, 0);
    let synced = peer.ask(3, &sync(joined.generation_id, &joined.member_id, &[(&joined.member_id, "all")])).await;
    assert_eq!(synced.error_code, 0, "a large group is one row");
    let refused = peer.ask(3, &join(GROUP, "", Bytes::from(vec![7; 4 << 20]))).await;
    assert_eq!(refused.error_code, ErrorCode::GroupMaxSizeReached.code());
    assert_eq!(heartbeat(&mut peer, joined.generation_id, &joined.member_id).await, ErrorCode::None);
    assert_eq!(fetched(&mut peer, NEIGHBOUR, "events", 0).await.0, 41);
    assert_eq!(committed(&mut peer, NEIGHBOUR, &[("events", 0, 42)]).await, [ErrorCode::None]);

    let endless = "g".repeat(64 << 10);
    let joined = peer.ask(9, &join(&endless, "", Bytes::new())).await;
    assert_ne!(joined.error_code, 0);
    let described = described(&mut peer, 6, &endless).await;
    assert_eq!(described.group_id.len(), 64 << 10);
}

/// Asks without reading an answer until at least `bytes` of answers are charged, and looks whether they are given back.
async fn unread_is_charged<R: Request + Send + Sync + 'static>(broker: &TestBroker, version: i16, request: R, bytes: u32) {
    let api = ApiKey::try_from(R::KEY).unwrap();
    let mut peer = broker.connect().await;
    let sending = tokio::spawn(async move {
        loop {
            peer.send(version, &request).await;
        }
    });
    let charged = |enough: &'static (dyn Fn(f64, f64) -> bool + Sync)| async move {
        while !enough(broker.metric("siltstone_answer_memory_bytes"), f64::from(bytes)) {
            tokio::task::yield_now().await;
        }
    };
    let held = tokio::time::timeout(SOON, charged(&|held, bytes| bytes <= held)).await;
    assert!(held.is_ok(), "answers of {api:?} are not charged");
    sending.abort();
    let given_back = tokio::time::timeout(SOON, charged(&|held, _| held == 0.0)).await;
    assert!(given_back.is_ok(), "answers of {api:?} are not given back");
}

#[tokio::test]
async fn large_answers_about_groups_are_charged_for_as_long_as_nobody_reads_them() {
    const LARGE: u32 = 200_000;
    let broker = broker().await;
    broker.create_topic("events", 60, &[]).await;
    let mut peer = broker.connect().await;
    let large = Bytes::from(vec![b'x'; LARGE as usize]);
    let joined = peer.ask(3, &join(GROUP, "", large.clone())).await;
    let assigned = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone()).with_assignment(large.clone());
    let first = sync(1, &joined.member_id, &[]).with_assignments(vec![assigned]);
    assert_eq!(peer.ask(3, &first).await.assignment, large);
    unread_is_charged(&broker, 3, sync(1, &joined.member_id, &[]), LARGE).await;
    unread_is_charged(&broker, 5, DescribeGroupsRequest::default().with_groups(vec![group(GROUP)]), 2 * LARGE).await;
    // Its leader, with other metadata than before: a generation begins with every request.
    unread_is_charged(&broker, 3, join(GROUP, &joined.member_id, large.slice(1..)), LARGE - 1).await;

    let note = text(&"n".repeat(4_000));
    let partitions = (0..60).map(|partition| {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(1);
        partition.with_committed_metadata(Some(note.clone()))
    });
    let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text("events"))).with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default().with_group_id(group(NEIGHBOUR)).with_topics(vec![topic]);
    assert!(peer.ask(2, &request).await.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    let all = OffsetFetchRequestGroup::default().with_group_id(group(NEIGHBOUR)).with_member_epoch(-1).with_topics(None);
    unread_is_charged(&broker, 8, OffsetFetchRequest::default().with_groups(vec![all]), 60 * 4_000).await;

    for number in 0..400 {
        let long = format!("{number:0>200}");
        assert_eq!(committed(&mut peer, &long, &[("events", 0, 1)]).await, [ErrorCode::None]);
    }
    unread_is_charged(&broker, 4, ListGroupsRequest::default(), 400 * 200).await;

    let names = (0..1_000).map(|number| text(&format!("{number:0>200}"))).map(TopicName);
    let heartbeat = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("consumers"))
        .with_member_id(text("member"))
        .with_rebalance_timeout_ms(60_000)
        .with_topic_partitions(Some(Vec::new()))
        .with_subscribed_topic_names(Some(names.collect()));
    assert_eq!(peer.ask(1, &heartbeat).await.error_code, 0);
    let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("consumers")]);
    unread_is_charged(&broker, 1, describe, 1_000 * 200).await;
}
