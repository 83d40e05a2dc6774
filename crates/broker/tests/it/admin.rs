//! Metadata, CreateTopics, DeleteTopics, InitProducerId, FindCoordinator and DescribeCluster over the wire.

use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, MetadataResponse, TopicName, TransactionalId,
};
use types::TopicPartition;
use uuid::Uuid;
use wal::MemoryOptions;

use crate::harness::{Peer, TestBroker, batch, fetch_request, text};

fn named(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(text(name)))));
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

fn names(answer: &MetadataResponse) -> Vec<(String, i16)> {
    answer.topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default(), topic.error_code)).collect()
}

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(TopicName(text(name))).with_num_partitions(1).with_replication_factor(1)
}

async fn create(peer: &mut Peer, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    peer.ask(7, &CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000)).await.topics
}

#[tokio::test]
async fn metadata_asks_for_all_by_null_and_before_version_1_by_an_empty_list() {
    let broker = TestBroker::start_with(|options| options.auto_create_topics = false, MemoryOptions::default()).await;
    broker.create_topic("b", 1, &[]).await;
    broker.create_topic("a", 1, &[]).await;
    let mut peer = broker.connect().await;
    let all = [("a".to_owned(), 0), ("b".to_owned(), 0)];
    assert_eq!(names(&peer.ask(1, &MetadataRequest::default().with_topics(None)).await), all);
    assert_eq!(names(&peer.ask(0, &named(&[])).await), all);
    assert_eq!(names(&peer.ask(1, &named(&[])).await), []);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let invalid = ErrorCode::InvalidTopicException.code();
    let some = peer.ask(9, &named(&["b", "c", "b", "a b"])).await;
    assert_eq!(names(&some), [("b".to_owned(), 0), ("c".to_owned(), unknown), ("a b".to_owned(), invalid)], "each once");
    let operations = named(&["b", "c"]).with_include_topic_authorized_operations(true);
    let some: Vec<_> = peer.ask(9, &operations).await.topics.iter().map(|topic| topic.topic_authorized_operations).collect();
    assert!(0 < some[0] && some[0] == some[1], "of a name, whether it is there or not");
}

#[tokio::test]
async fn metadata_shows_brokers_leaders_and_replicas() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 2, &[]).await;
    broker.metadata.change_partition(TopicPartition::new(id, 1), |partition| partition.leader = None);
    let answer = broker.connect().await.ask(12, &named(&["t"])).await;
    let brokers: Vec<_> = answer.brokers.iter().map(|member| (member.node_id.0, member.host.to_string(), member.port)).collect();
    assert_eq!(brokers, [(1, "host1".to_owned(), 9092)], "the dead one is not shown");
    assert_eq!((answer.controller_id.0, answer.topics[0].topic_id), (1, id.0));
    let [led, waiting] = &answer.topics[0].partitions[..] else { panic!("two partitions") };
    assert_eq!((led.error_code, led.leader_id.0, led.leader_epoch), (0, 1, 3));
    assert_eq!(
        (&led.replica_nodes[..], &led.isr_nodes[..], &led.offline_replicas[..]),
        (&[BrokerId(1), BrokerId(2)][..], &[BrokerId(1)][..], &[BrokerId(2)][..])
    );
    assert_eq!((waiting.error_code, waiting.leader_id.0), (ErrorCode::LeaderNotAvailable.code(), -1));
}

#[tokio::test]
async fn metadata_by_id_works_from_version_12_and_is_refused_before() {
    let broker = TestBroker::start().await;
    let id = broker.create_topic("t", 1, &[]).await;
    let by_id =
        |id: Uuid| MetadataRequest::default().with_topics(Some(vec![MetadataRequestTopic::default().with_topic_id(id).with_name(None)]));
    let mut peer = broker.connect().await;
    assert_eq!(names(&peer.ask(12, &by_id(id.0)).await), [("t".to_owned(), 0)]);
    let unknown = peer.ask(12, &by_id(Uuid::from_bytes([1; 16]))).await;
    assert_eq!((unknown.topics[0].error_code, &unknown.topics[0].name), (ErrorCode::UnknownTopicId.code(), &None));
    assert_eq!(peer.ask(10, &by_id(id.0)).await.topics[0].error_code, ErrorCode::InvalidRequest.code());
}

#[tokio::test]
async fn a_topic_that_is_asked_for_is_created_where_both_sides_allow_it() {
    let broker = TestBroker::start_with(|options| options.num_partitions = 3, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    let answer = peer.ask(9, &named(&["new"])).await;
    assert_eq!((names(&answer), answer.topics[0].partitions.len()), (vec![("new".to_owned(), 0)], 3));
    assert_eq!(peer.produce("new", 2, batch(&["at once"])).await.error_code, 0);
    let mut unwanted = named(&["other"]);
    unwanted.allow_auto_topic_creation = false;
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(names(&peer.ask(9, &unwanted).await), [("other".to_owned(), unknown)]);
    assert_eq!(names(&peer.ask(9, &named(&["__consumer_offsets"])).await), [("__consumer_offsets".to_owned(), unknown)]);
    assert_eq!(
        names(&peer.ask(9, &named(&["a b", "fine"])).await),
        [("a b".to_owned(), ErrorCode::InvalidTopicException.code()), ("fine".to_owned(), 0)]
    );

    let strict = TestBroker::start_with(|options| options.auto_create_topics = false, MemoryOptions::default()).await;
    assert_eq!(names(&strict.connect().await.ask(9, &named(&["new"])).await), [("new".to_owned(), unknown)]);
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused_one_by_one() {
    let broker = TestBroker::start().await;
    broker.create_topic("old", 1, &[]).await;
    let assigned = |brokers: &[i32], index: i32| {
        let brokers = brokers.iter().map(|id| BrokerId(*id)).collect();
        let assignment = CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(brokers);
        topic("assigned").with_num_partitions(-1).with_replication_factor(-1).with_assignments(vec![assignment])
    };
    let config = |name: &str, value: Option<&str>| {
        topic("config").with_configs(vec![CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))])
    };
    let cases = [
        (topic("a/b"), ErrorCode::InvalidTopicException),
        (topic("old"), ErrorCode::TopicAlreadyExists),
        (topic("t").with_num_partitions(0), ErrorCode::InvalidPartitions),
        (topic("t").with_num_partitions(-2), ErrorCode::InvalidPartitions),
        (topic("t").with_num_partitions(i32::MAX), ErrorCode::PolicyViolation),
        (topic("t").with_replication_factor(0), ErrorCode::InvalidReplicationFactor),
        (topic("t").with_replication_factor(17), ErrorCode::InvalidReplicationFactor),
        (config("no.such", Some("1")), ErrorCode::InvalidConfig),
        (config("retention.ms", Some("-5")), ErrorCode::InvalidConfig),
        (config("retention.ms", None), ErrorCode::InvalidConfig),
        (config("durability", Some("quorum")), ErrorCode::InvalidConfig),
        (assigned(&[1], 0).with_num_partitions(1), ErrorCode::InvalidRequest),
        (assigned(&[3], 0), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[1], 1), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[1, 1], 0), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[], 0), ErrorCode::InvalidReplicaAssignment),
    ];
    let mut peer = broker.connect().await;
    for (number, (case, code)) in cases.into_iter().enumerate() {
        let results = create(&mut peer, vec![case]).await;
        assert_eq!(results[0].error_code, code.code(), "case {number}: {:?}", results[0].error_message);
        assert!(results[0].error_message.is_some(), "case {number}");
    }
    let again = create(&mut peer, vec![topic("old")]).await;
    assert_eq!(again[0].error_message.as_deref(), Some("Topic 'old' already exists."));
    let mixed = create(&mut peer, vec![topic("twice"), topic("good"), topic("twice")]).await;
    let codes: Vec<_> = mixed.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(), 0, ErrorCode::InvalidRequest.code()]);
    let defaults = create(
        &mut peer,
        vec![
            topic("d").with_num_partitions(-1).with_replication_factor(-1),
            assigned(&[1, 2], 0),
            topic("wide").with_replication_factor(16),
        ],
    )
    .await;
    let counts: Vec<_> = defaults.iter().map(|result| (result.error_code, result.num_partitions, result.replication_factor)).collect();
    assert_eq!(counts, [(0, 1, 1), (0, 1, 2), (0, 1, 16)]);
}

#[tokio::test]
async fn a_created_topic_is_answered_with_its_configs_and_where_they_come_from() {
    let broker = TestBroker::start_with(|options| options.topic_defaults.retention_ms = 1000, MemoryOptions::default()).await;
    let config = CreatableTopicConfig::default().with_name(text("cleanup.policy")).with_value(Some(text("compact")));
    let results = create(&mut broker.connect().await, vec![topic("t").with_configs(vec![config])]).await;
    let configs = results[0].configs.as_ref().unwrap();
    let find = |name: &str| {
        let config = configs.iter().find(|config| &*config.name == name).unwrap();
        (config.value.as_ref().map(|value| value.to_string()).unwrap(), config.config_source)
    };
    assert_eq!(find("cleanup.policy"), ("compact".to_owned(), 1));
    assert_eq!(find("retention.ms"), ("1000".to_owned(), 4));
    assert_eq!(find("segment.bytes"), ("1073741824".to_owned(), 5));
    assert_eq!(find("durability"), ("wal".to_owned(), 5));
}

#[tokio::test]
async fn validating_creates_nothing() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let request = CreateTopicsRequest::default().with_topics(vec![topic("t")]).with_timeout_ms(1000).with_validate_only(true);
    let answer = peer.ask(7, &request).await;
    assert_eq!((answer.topics[0].error_code, answer.topics[0].topic_id), (0, Uuid::nil()));
    assert_eq!(peer.fetch("t", 0, 0).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn while_metadata_is_away_topics_are_not_made_and_records_still_flow() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.metadata.away.store(true, Ordering::Relaxed);
    let mut peer = broker.connect().await;
    assert_eq!(create(&mut peer, vec![topic("u")]).await[0].error_code, ErrorCode::NotController.code());
    let id = peer.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_eq!((id.error_code, id.producer_id.0), (ErrorCode::CoordinatorLoadInProgress.code(), -1));
    assert_eq!(peer.produce("t", 0, batch(&["a"])).await.error_code, 0);
    assert_eq!(peer.fetch("t", 0, 0).await.error_code, 0);
}

#[tokio::test]
async fn a_deleted_topic_is_gone_at_once_and_waiting_fetches_hear_of_it() {
    let broker = TestBroker::start().await;
    let by_name = broker.create_topic("t", 1, &[]).await;
    let by_id = broker.create_topic("u", 1, &[]).await;
    assert_ne!(by_name, by_id);
    let (mut waiting, mut peer) = (broker.connect().await, broker.connect().await);
    let correlation = waiting.send(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(i32::MAX)).await;
    let state =
        |name: Option<&str>, id: Uuid| DeleteTopicState::default().with_name(name.map(|name| TopicName(text(name)))).with_topic_id(id);
    let topics = vec![
        state(Some("t"), Uuid::nil()),
        state(None, by_id.0),
        state(Some("no"), Uuid::nil()),
        state(None, Uuid::from_bytes([1; 16])),
        state(Some("u"), by_id.0),
        state(None, Uuid::nil()),
    ];
    let answer = peer.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
    let codes: Vec<_> = answer.responses.iter().map(|result| result.error_code).collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
    ];
    assert_eq!(codes, expected.map(ErrorCode::code));
    let told: Vec<_> = answer.responses[2..4].iter().map(|result| result.error_message.as_deref()).collect();
    assert_eq!(told, [Some("This server does not host this topic-partition."), Some("This server does not host this topic ID.")]);
    assert_eq!(
        (answer.responses[0].topic_id, answer.responses[1].name.as_ref().map(|name| name.to_string())),
        (by_name.0, Some("u".to_owned()))
    );
    let told = waiting.receive::<FetchRequest>(12, correlation).await;
    assert_eq!(told.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(peer.produce("t", 0, batch(&["late"])).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
    broker.create_topic("t", 1, &[]).await;
    assert_eq!(peer.produce("t", 0, batch(&["again"])).await.base_offset, 0);
}

#[tokio::test]
async fn deletion_can_be_disabled_and_a_topic_named_twice_is_not_deleted() {
    let broker = TestBroker::start_with(|options| options.delete_topics = false, MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("t"))]);
    let mut peer = broker.connect().await;
    for (version, code) in [(2, ErrorCode::InvalidRequest), (3, ErrorCode::TopicDeletionDisabled)] {
        assert_eq!(peer.ask(version, &request).await.responses[0].error_code, code.code());
    }
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let twice = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("t")), TopicName(text("t"))]);
    let answer = broker.connect().await.ask(5, &twice).await;
    assert!(answer.responses.iter().all(|result| result.error_code == ErrorCode::InvalidRequest.code()));
    assert_eq!(broker.connect().await.produce("t", 0, batch(&["there"])).await.error_code, 0);
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice_and_transactions_are_refused_for_good() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let mut ids = Vec::new();
    for _ in 0..1500 {
        let answer = peer.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        ids.push(answer.producer_id.0);
    }
    assert!(ids.is_sorted_by(|a, b| a < b));
    let transactional = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("me"))));
    let answer = peer.ask(4, &transactional).await;
    let refusal = ErrorCode::TransactionalIdAuthorizationFailed.code();
    assert_eq!((answer.error_code, answer.producer_id.0, answer.producer_epoch), (refusal, -1, -1));
}

#[tokio::test]
async fn a_groups_coordinator_is_this_broker_and_a_transactions_is_refused() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let old = peer.ask(2, &FindCoordinatorRequest::default().with_key(text("g"))).await;
    assert_eq!((old.error_code, old.node_id.0, &*old.host, old.port), (0, 1, "host1", 9092));
    let new = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]);
    let answer = peer.ask(4, &new).await;
    let found: Vec<_> = answer.coordinators.iter().map(|found| (found.key.to_string(), found.error_code, found.node_id.0)).collect();
    assert_eq!(found, [("g".to_owned(), 0, 1), ("h".to_owned(), 0, 1)]);
    for (key_type, refusal) in [(1, ErrorCode::TransactionalIdAuthorizationFailed), (2, ErrorCode::InvalidRequest)] {
        let refused = peer.ask(4, &new.clone().with_key_type(key_type)).await;
        assert_eq!(refused.coordinators[0].error_code, refusal.code());
    }
}

#[tokio::test]
async fn the_cluster_is_described_to_those_who_ask_brokers() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    let answer = peer.ask(1, &DescribeClusterRequest::default().with_endpoint_type(1)).await;
    assert_eq!((answer.error_code, answer.controller_id.0, answer.brokers.len()), (0, 1, 1));
    assert_eq!(&*answer.cluster_id, "07070707-0707-0707-0707-070707070707");
    let fenced = peer.ask(2, &DescribeClusterRequest::default().with_endpoint_type(1).with_include_fenced_brokers(true)).await;
    let members: Vec<_> = fenced.brokers.iter().map(|member| (member.broker_id.0, member.is_fenced)).collect();
    assert_eq!(members, [(1, false), (2, true)]);
    let controllers = peer.ask(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!(controllers.error_code, ErrorCode::MismatchedEndpointType.code());
}

#[tokio::test]
async fn a_stop_ends_waiting_fetches_and_every_connection() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let correlation = peer.send(12, &fetch_request("t", &[(0, 0)]).with_max_wait_ms(i32::MAX)).await;
    let mut idle = broker.connect().await;
    idle.fetch("t", 0, 0).await;
    broker.handle.stop(Duration::from_secs(20)).await;
    peer.receive::<FetchRequest>(12, correlation).await;
    assert!(peer.is_closed().await && idle.is_closed().await);
}

#[tokio::test]
async fn a_topic_is_answered_only_when_it_is_served_and_a_deletion_when_it_is_not() {
    let broker = TestBroker::start().await;
    *broker.metadata.image_lag.lock() = Duration::from_millis(100);
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(peer.produce("t", 0, batch(&["at once"])).await.error_code, 0);
    assert_eq!(names(&peer.ask(9, &named(&["asked"])).await), [("asked".to_owned(), 0)]);
    assert_eq!(peer.produce("asked", 0, batch(&["at once"])).await.error_code, 0);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("t"))]);
    assert_eq!(peer.ask(5, &request).await.responses[0].error_code, 0);
    assert_eq!(peer.produce("t", 0, batch(&["late"])).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
    // With less time than it takes, the topic is there and its client asks again.
    let request = CreateTopicsRequest::default().with_topics(vec![topic("hasty")]).with_timeout_ms(1);
    assert_eq!(peer.ask(7, &request).await.topics[0].error_code, ErrorCode::RequestTimedOut.code());
}
