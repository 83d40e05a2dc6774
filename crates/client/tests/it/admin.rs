use std::collections::BTreeMap;

use client::{Client, ClientOptions, NewTopic, OffsetSpec};
use protocol::ErrorCode;

use crate::fake_broker::FakeBroker;

#[tokio::test]
async fn topics_are_created_listed_described_and_deleted() {
    let broker = FakeBroker::start().await;
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    let topic = NewTopic { name: "events".to_owned(), partitions: Some(3), replication_factor: None, configs: BTreeMap::new() };
    client.create_topic(&topic).await.unwrap();
    let error = client.create_topic(&topic).await.unwrap_err();
    assert_eq!(error.to_string(), "creating topic events: TOPIC_ALREADY_EXISTS (it is there)");

    let described = client.describe_topic("events").await.unwrap();
    assert_eq!((described.partitions.len(), described.partitions[2].leader, described.partitions[2].leader_epoch), (3, Some(1), 3));
    assert_eq!(client.list_topics().await.unwrap(), [described]);

    client.delete_topic("events").await.unwrap();
    assert_eq!(client.describe_topic("events").await.unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(client.list_topics().await.unwrap().is_empty());

    let cluster = client.describe_cluster().await.unwrap();
    assert_eq!((cluster.cluster_id.as_str(), cluster.brokers[0].address.as_str()), ("fake", broker.address().as_str()));
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_named_with_those_that_do() {
    let broker = FakeBroker::with_topic("events", 2).await;
    let client = Client::connect(&broker.address(), ClientOptions::default()).await.unwrap();
    let error = client.list_offsets("events", &[(2, OffsetSpec::Latest)]).await.unwrap_err();
    assert_eq!(error.to_string(), "topic events has no partition 2, only 0 to 1");
}
