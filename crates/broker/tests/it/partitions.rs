//! CreatePartitions, DeleteRecords, ElectLeaders, reassignments, DescribeTopicPartitions, log directories, DescribeQuorum,
//! UpdateFeatures and DescribeProducers over the wire.

use protocol::ErrorCode;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId, CreatePartitionsRequest, DeleteRecordsRequest,
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, ElectLeadersRequest, TopicName, UpdateFeaturesRequest, describe_producers_request,
    describe_quorum_request,
};
use types::TopicPartition;

use crate::harness::{NOW, Peer, SOON, TestBroker, batch, sequenced_batch, text};
use crate::metadata::ELECTED_AT;

fn growth(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default().with_name(TopicName(text(name))).with_count(count).with_assignments(None)
}

async fn grow(peer: &mut Peer, topics: Vec<CreatePartitionsTopic>) -> Vec<(i16, Option<String>)> {
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    let results = peer.ask(3, &request).await.results;
    results.iter().map(|result| (result.error_code, result.error_message.as_ref().map(|message| message.to_string()))).collect()
}

#[tokio::test]
async fn t37_a_topic_grows_and_is_served_when_it_is_answered() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(peer.produce("t", 2, batch(&["early"])).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(grow(&mut peer, vec![growth("t", 3)]).await, [(0, None)]);
    assert_eq!(peer.produce("t", 2, batch(&["at once"])).await.error_code, 0);
}

#[tokio::test]
async fn growth_that_cannot_be_is_refused_one_by_one() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 2, &[]).await;
    broker.create_topic("good", 1, &[]).await;
    let mut peer = broker.connect().await;
    let assigned = |brokers: &[&[i32]], count| {
        let assignments =
            brokers.iter().map(|ids| CreatePartitionsAssignment::default().with_broker_ids(ids.iter().map(|id| BrokerId(*id)).collect()));
        growth("t", count).with_assignments(Some(assignments.collect()))
    };
    let codes = |results: Vec<(i16, Option<String>)>| results.into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    let invalid = ErrorCode::InvalidReplicaAssignment.code();
    for (case, code) in [
        (growth("none", 3), ErrorCode::UnknownTopicOrPartition.code()),
        (growth("t", 2), ErrorCode::InvalidPartitions.code()),
        (growth("t", -1), ErrorCode::InvalidPartitions.code()),
        (growth("t", i32::MAX), ErrorCode::PolicyViolation.code()),
        (assigned(&[], 3), invalid),
        (assigned(&[&[1], &[1]], 3), invalid),
        (assigned(&[&[9]], 3), invalid),
        (assigned(&[&[]], 3), invalid),
        (assigned(&[&[1, 1]], 3), invalid),
        (assigned(&[&[1, 2]], 3), invalid),
    ] {
        assert_eq!(codes(grow(&mut peer, vec![case.clone()]).await), [code], "{case:?}");
    }
    let twice = ErrorCode::InvalidRequest.code();
    assert_eq!(codes(grow(&mut peer, vec![growth("t", 3), growth("good", 2), growth("t", 4)]).await), [twice, 0, twice]);
    assert_eq!(codes(grow(&mut peer, vec![assigned(&[&[2]], 3)]).await), [0]);
}

async fn delete_before(peer: &mut Peer, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    let answer = peer.ask(2, &DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(0)).await;
    let result = &answer.topics[0].partitions[0];
    (result.error_code, result.low_watermark)
}

#[tokio::test]
async fn deleted_records_are_gone_and_what_cannot_be_deleted_stays() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 1, &[]).await;
    broker.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a", "b", "c"])).await;
    broker.offload(TopicPartition::new(id, 0)).await;
    peer.produce("t", 0, batch(&["d"])).await;
    assert_eq!(delete_before(&mut peer, "t", 0, 2).await, (0, 2));
    assert_eq!(peer.fetch("t", 0, 1).await.error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(peer.fetch("t", 0, 2).await.log_start_offset, 2);
    assert_eq!(delete_before(&mut peer, "t", 0, 1).await, (0, 2), "a log start never moves back");
    let out_of_range = (ErrorCode::OffsetOutOfRange.code(), -1);
    assert_eq!(delete_before(&mut peer, "t", 0, 5).await, out_of_range);
    assert_eq!(delete_before(&mut peer, "t", 0, -2).await, out_of_range);
    // What is not published yet cannot be deleted, and nothing here publishes it.
    assert_eq!(delete_before(&mut peer, "t", 0, -1).await, (ErrorCode::RequestTimedOut.code(), -1));
    assert_eq!(peer.fetch("t", 0, 3).await.log_start_offset, 2);
    assert_eq!(delete_before(&mut peer, "t", 1, 0).await, (ErrorCode::UnknownTopicOrPartition.code(), -1));
    assert_eq!(delete_before(&mut peer, "none", 0, 0).await, (ErrorCode::UnknownTopicOrPartition.code(), -1));
    assert_eq!(delete_before(&mut peer, "compacted", 0, 0).await, (ErrorCode::PolicyViolation.code(), -1));
}

async fn elect(peer: &mut Peer, kind: i8, topic: Option<(&str, Vec<i32>)>) -> Vec<(i32, i16)> {
    let topics = topic.map(|(name, indexes)| vec![TopicPartitions::default().with_topic(TopicName(text(name))).with_partitions(indexes)]);
    let request = ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(topics).with_timeout_ms(10_000);
    let answer = peer.ask(2, &request).await;
    assert_eq!(answer.error_code, 0);
    let results = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    results.map(|result| (result.partition_id, result.error_code)).collect()
}

#[tokio::test]
async fn an_unclean_election_opens_what_waits_for_a_lost_log_and_nothing_else() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 2, &[]).await;
    broker.metadata.change_partition(TopicPartition::new(id, 1), |partition| partition.leader = None);
    let mut peer = broker.connect().await;
    let (not_needed, unknown) = (ErrorCode::ElectionNotNeeded.code(), ErrorCode::UnknownTopicOrPartition.code());
    let not_available = ErrorCode::PreferredLeaderNotAvailable.code();
    assert_eq!(elect(&mut peer, 0, Some(("t", vec![0, 1, 2]))).await, [(0, not_needed), (1, not_available), (2, unknown)]);
    assert_eq!(elect(&mut peer, 0, None).await, [(1, not_available)]);
    assert_eq!(peer.produce("t", 1, batch(&["early"])).await.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(elect(&mut peer, 1, Some(("t", vec![0, 1, 1]))).await, [(0, not_needed), (1, 0)]);
    let appended = peer.produce("t", 1, batch(&["at once"])).await;
    assert_eq!((appended.error_code, appended.base_offset), (0, ELECTED_AT));
    assert_eq!(*broker.began_to_lead.lock(), [TopicPartition::new(id, 1)]);
    assert_eq!(elect(&mut peer, 1, None).await, []);
    assert_eq!(elect(&mut peer, 1, Some(("none", vec![0]))).await, [(0, unknown)]);
    let answer = peer.ask(2, &ElectLeadersRequest::default().with_topic_partitions(None)).await;
    assert_eq!(answer.replica_election_results.iter().map(|topic| &**topic.topic).collect::<Vec<_>>(), ["t"], "named without a result");
    let answer = peer.ask(2, &ElectLeadersRequest::default().with_election_type(7)).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
}

#[tokio::test]
async fn a_reassignment_is_accepted_where_nothing_would_move() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let mut ask = async |name: &str, index: i32, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(TopicName(text(name))).with_partitions(vec![partition]);
        let answer = peer.ask(1, &AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])).await;
        let result = &answer.responses[0].partitions[0];
        (result.error_code, result.error_message.as_ref().map(|message| message.to_string()).unwrap_or_default())
    };
    assert_eq!(ask("t", 0, Some(&[2, 1])).await, (0, String::new()));
    let invalid = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(ask("t", 0, Some(&[1])).await.0, invalid);
    let absent = "The manual partition assignment includes broker 9, but no such broker is registered.";
    assert_eq!(ask("t", 0, Some(&[9])).await, (invalid, absent.to_owned()));
    assert_eq!(ask("t", 0, None).await.0, ErrorCode::NoReassignmentInProgress.code());
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(ask("t", 5, None).await, (unknown, "Unable to find partition t:5.".to_owned()));
    assert_eq!(ask("none", 0, None).await, (unknown, "Unable to find a topic named none.".to_owned()));
}

/// Topics with the partitions told of each.
type Topics = Vec<(String, Vec<i32>)>;

/// What a page holds, and where the next one begins.
fn page(answer: &DescribeTopicPartitionsResponse) -> (Topics, Option<(String, i32)>) {
    let topics = answer.topics.iter().map(|topic| {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        (name, topic.partitions.iter().map(|partition| partition.partition_index).collect())
    });
    (topics.collect(), answer.next_cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)))
}

#[tokio::test]
async fn topics_are_described_a_page_at_a_time() {
    let broker = TestBroker::start().await;
    broker.create_topic("b", 2, &[]).await;
    broker.create_topic("a", 3, &[]).await;
    broker.create_topic("c", 1, &[]).await;
    let mut peer = broker.connect().await;
    let mut ask = async |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| {
        let topics = names.iter().map(|name| TopicRequest::default().with_name(TopicName(text(name)))).collect();
        let cursor = cursor.map(|(name, index)| Cursor::default().with_topic_name(TopicName(text(name))).with_partition_index(index));
        let request =
            DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(limit).with_cursor(cursor);
        peer.ask(0, &request).await
    };
    let topic = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    assert_eq!(page(&ask(&[], 2, None).await), (vec![topic("a", &[0, 1])], Some(("a".to_owned(), 2))));
    assert_eq!(page(&ask(&[], 3, Some(("a", 2))).await), (vec![topic("a", &[2]), topic("b", &[0, 1])], Some(("c".to_owned(), 0))));
    assert_eq!(page(&ask(&[], 3, Some(("c", 0))).await), (vec![topic("c", &[0])], None));
    assert_eq!(page(&ask(&[], 0, None).await).0, [topic("a", &[0])], "at least one, or a client would never come further");
    let some = ask(&["none", "c", "b", "c"], 100, Some(("b", 1))).await;
    assert_eq!(page(&some), (vec![topic("b", &[1]), topic("c", &[0]), topic("none", &[])], None));
    assert_eq!(some.topics[2].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn a_partitions_size_is_what_store_and_log_hold_of_it() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 2, &[]).await;
    broker.create_topic("u", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    broker.offload(TopicPartition::new(id, 0)).await;
    peer.produce("t", 0, batch(&["b"])).await;
    let mut ask = async |topics: Option<Vec<(&str, Vec<i32>)>>| {
        let topics = topics.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|(name, indexes)| DescribableLogDirTopic::default().with_topic(TopicName(text(name))).with_partitions(indexes))
                .collect()
        });
        let mut answer = peer.ask(4, &DescribeLogDirsRequest::default().with_topics(topics)).await;
        answer.results.swap_remove(0)
    };
    let all = ask(None).await;
    let sizes = |result: &protocol::messages::describe_log_dirs_response::DescribeLogDirsResult| {
        let topics = result.topics.iter();
        let sizes =
            topics.flat_map(|topic| topic.partitions.iter().map(|it| (topic.name.to_string(), it.partition_index, it.partition_size)));
        sizes.collect::<Vec<_>>()
    };
    let both = 2 * batch(&["a"]).len() as i64;
    assert_eq!(sizes(&all), [("t".to_owned(), 0, both), ("t".to_owned(), 1, 0), ("u".to_owned(), 0, 0)]);
    assert!(0 < all.usable_bytes && all.usable_bytes <= all.total_bytes);
    let some = ask(Some(vec![("t", vec![0, 0, 9]), ("none", vec![0])])).await;
    assert_eq!(sizes(&some), [("t".to_owned(), 0, both)]);
}

#[tokio::test]
async fn a_replica_is_where_it_is_and_there_is_nowhere_else() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 2, &[]).await;
    broker.metadata.change(|image| {
        let mut topic = metadata_api::TopicImage::clone(&image.topics[&id]);
        topic.partitions[1].leader = Some(types::BrokerId(2));
        image.insert_topic(std::sync::Arc::new(topic));
    });
    let mut peer = broker.connect().await;
    let dir = |path: &str, topics: &[(&str, i32)]| {
        let topic =
            |(name, index): &(&str, i32)| AlterReplicaLogDirTopic::default().with_name(TopicName(text(name))).with_partitions(vec![*index]);
        AlterReplicaLogDir::default().with_path(text(path)).with_topics(topics.iter().map(topic).collect())
    };
    let mut answered = async || {
        let dirs = vec![dir(".", &[("t", 0), ("none", 0), ("t", 1), ("t", 9)]), dir("/elsewhere", &[("t", 0), ("none", 0)])];
        let answer = peer.ask(2, &AlterReplicaLogDirsRequest::default().with_dirs(dirs)).await;
        let results = answer.results.into_iter();
        results
            .map(|topic| (topic.topic_name.to_string(), topic.partitions.iter().map(|it| it.error_code).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    let (not_found, unknown) = (ErrorCode::LogDirNotFound.code(), ErrorCode::UnknownTopicOrPartition.code());
    let expected = [
        ("none".to_owned(), vec![unknown, not_found]),
        ("t".to_owned(), vec![0, ErrorCode::ReplicaNotAvailable.code(), unknown, not_found]),
    ];
    let led_elsewhere = async {
        while answered().await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, led_elsewhere).await.expect("the other broker leads");
}

#[tokio::test]
async fn metadata_is_kept_by_one_voter_whose_log_is_the_journal() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let ask = |name: &str, index: i32| {
        let partition = describe_quorum_request::PartitionData::default().with_partition_index(index);
        let topic = describe_quorum_request::TopicData::default().with_topic_name(TopicName(text(name))).with_partitions(vec![partition]);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    };
    let revision = broker.metadata.change(|image| {
        let other = metadata_api::BrokerImage { alive: true, ..(*image.brokers[&types::BrokerId(2)]).clone() };
        image.brokers.insert(other.id, std::sync::Arc::new(other));
    });
    let answer = peer.ask(2, &ask("__cluster_metadata", 0)).await;
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    assert_eq!((partition.leader_id.0, partition.leader_epoch, partition.high_watermark), (1, 1, revision.0 as i64 + 1));
    let voters: Vec<_> = partition.current_voters.iter().map(|voter| (voter.replica_id.0, voter.log_end_offset)).collect();
    assert_eq!(voters, [(1, partition.high_watermark)]);
    assert_eq!(partition.current_voters[0].last_caught_up_timestamp, NOW);
    assert_eq!(partition.observers.iter().map(|it| (it.replica_id.0, it.log_end_offset)).collect::<Vec<_>>(), [(2, -1)]);
    let nodes: Vec<_> = answer.nodes.iter().map(|node| (node.node_id.0, node.listeners[0].host.to_string())).collect();
    assert_eq!(nodes, [(1, "host1".to_owned())]);
    for (name, index) in [("__cluster_metadata", 1), ("t", 0)] {
        let answer = peer.ask(2, &ask(name, index)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code(), "{name}-{index}");
    }
}

#[tokio::test]
async fn features_come_with_the_program_and_are_not_switched() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let mut update = async |feature: &str, level: i16, kind: i8| {
        let update = FeatureUpdateKey::default().with_feature(text(feature)).with_max_version_level(level).with_upgrade_type(kind);
        let there = FeatureUpdateKey::default().with_feature(text("group.version")).with_max_version_level(1);
        let answer = peer.ask(1, &UpdateFeaturesRequest::default().with_feature_updates(vec![there, update])).await;
        assert_eq!(answer.results.len(), if answer.error_code == 0 { 2 } else { 0 }, "all or nothing");
        (answer.error_code, answer.error_message.map(|message| message.to_string()))
    };
    assert_eq!(update("group.version", 1, 1).await, (0, Some(String::new())));
    for (feature, level, kind, why) in [
        ("metadata.version", 1, 1, "Local controller 1 does not support this feature."),
        ("group.version", 0, 3, "Local controller 1 only supports versions 1-1"),
        ("group.version", 2, 1, "Local controller 1 only supports versions 1-1"),
        ("group.version", 1, 0, "The controller does not support the given upgrade type."),
    ] {
        let (code, message) = update(feature, level, kind).await;
        assert_eq!(code, ErrorCode::InvalidUpdateVersion.code());
        let expected = format!("following feature had an error: Invalid update version {level} for feature {feature}. {why}");
        assert!(message.as_ref().is_some_and(|message| message.ends_with(&expected)), "{message:?}");
    }
}

#[tokio::test]
async fn the_producers_that_a_partition_remembers_are_named() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, sequenced_batch(77, 0, &["a", "b"])).await;
    peer.produce("t", 0, batch(&["of a plain producer"])).await;
    let mut ask = async |name: &str, indexes: &[i32]| {
        let topic =
            describe_producers_request::TopicRequest::default().with_name(TopicName(text(name))).with_partition_indexes(indexes.to_vec());
        let mut answer = peer.ask(0, &DescribeProducersRequest::default().with_topics(vec![topic])).await;
        answer.topics.swap_remove(0).partitions
    };
    let found = ask("t", &[0]).await;
    let [producer] = &found[0].active_producers[..] else { panic!("{found:?}") };
    assert_eq!((producer.producer_id.0, producer.producer_epoch, producer.last_sequence), (77, 0, 1));
    assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
    assert_eq!(ask("t", &[1]).await[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(ask("none", &[0]).await[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert!(ask("t", &[0, 0]).await.iter().all(|partition| partition.error_code == ErrorCode::InvalidRequest.code()));
}
