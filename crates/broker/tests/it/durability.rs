//! R5: durability altered over Kafka's protocol while there is data.

use std::sync::atomic::Ordering;

use partition::Partition;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use types::{Durability, TopicPartition};

use crate::harness::*;

const TOPIC: i8 = 2;

async fn alter(peer: &mut Peer, level: &str) {
    let config = AlterableConfig::default().with_name(text("durability")).with_value(Some(text(level)));
    let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text("t")).with_configs(vec![config]);
    let answer = peer.ask(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await;
    assert_eq!((answer.responses[0].error_code, answer.responses[0].error_message.as_deref().unwrap_or("")), (0, ""));
}

/// `durability` and `durability.in.force`.
async fn described(peer: &mut Peer) -> [String; 2] {
    let keys = ["durability", "durability.in.force"];
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configuration_keys(Some(keys.map(text).to_vec()));
    let answer = peer.ask(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).await;
    let configs = &answer.results[0].configs;
    let in_force = configs.iter().find(|config| &*config.name == keys[1]).unwrap();
    assert!(in_force.read_only && in_force.config_source == 5, "tools that write back what they read leave it out");
    keys.map(|key| configs.iter().find(|config| &*config.name == key).unwrap().value.as_ref().unwrap().to_string())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("this never came true: {what}"));
}

fn led(broker: &TestBroker, id: TopicPartition) -> std::sync::Arc<Partition> {
    broker.partitions.get(id).unwrap()
}

#[tokio::test]
async fn r5_a_topic_is_altered_to_object_once_its_log_is_published_and_back_at_once() {
    let broker = TestBroker::start().await;
    let id = TopicPartition::new(broker.create_topic("t", 2, &[]).await, 0);
    let (mut peer, mut other) = (broker.connect().await, broker.connect().await);
    assert_eq!(peer.produce("t", 0, batch(&["a"])).await.error_code, 0);
    alter(&mut peer, "object").await;
    until("partition 1 has nothing to publish", async || described(&mut peer).await == ["object", "wal,object"]).await;

    // Acknowledged by the stronger level from here on; what was seen stays.
    let waits = other.send(9, &produce_request("t", -1, vec![(0, batch(&["b"]))])).await;
    until("the append", async || led(&broker, id).offsets().log_end.0 == 2).await;
    let fetched = peer.fetch("t", 0, 0).await;
    assert_eq!((fetched.high_watermark, values(&fetched)), (1, vec!["a".to_owned()]));
    broker.offload(id).await;
    assert_eq!(other.receive::<protocol::messages::ProduceRequest>(9, waits).await.responses[0].partition_responses[0].base_offset, 1);
    until("object in force everywhere", async || described(&mut peer).await == ["object", "object"]).await;

    alter(&mut peer, "wal").await;
    until("wal in force", async || described(&mut peer).await == ["wal", "wal"]).await;
    assert_eq!(peer.produce("t", 0, batch(&["c"])).await.base_offset, 2);
    assert_eq!(peer.fetch("t", 0, 0).await.high_watermark, 3);
}

#[tokio::test]
async fn r5_while_metadata_is_away_the_stronger_level_is_kept() {
    let broker = TestBroker::start().await;
    let id = TopicPartition::new(broker.create_topic("t", 1, &[("durability", "object")]).await, 0);
    let mut peer = broker.connect().await;
    broker.metadata.enforcing.store(false, Ordering::Relaxed);
    alter(&mut peer, "wal").await;
    assert_eq!(described(&mut peer).await, ["wal", "object"]);
    assert_eq!(led(&broker, id).durability(), Durability::Object);
    let waits = peer.send(9, &produce_request("t", -1, vec![(0, batch(&["a"]))])).await;
    let mut other = broker.connect().await;
    until("the append", async || led(&broker, id).offsets().log_end.0 == 1).await;
    assert_eq!(other.fetch("t", 0, 0).await.high_watermark, 0, "not by the sync");
    broker.metadata.enforcing.store(true, Ordering::Relaxed);
    until("wal in force", async || described(&mut other).await == ["wal", "wal"]).await;
    assert_eq!(other.fetch("t", 0, 0).await.high_watermark, 1);
    broker.offload(id).await;
    assert_eq!(peer.receive::<protocol::messages::ProduceRequest>(9, waits).await.responses[0].partition_responses[0].base_offset, 0);
}

#[tokio::test]
async fn r5_a_topic_that_does_not_say_follows_the_brokers_default() {
    let broker = TestBroker::start_with(|options| options.topic_defaults.durability = Durability::Object, Default::default()).await;
    let mut peer = broker.connect().await;
    let id = TopicPartition::new(broker.create_topic("t", 1, &[]).await, 0);
    // As a broker left it whose default was another.
    broker.metadata.change_partition(id, |partition| partition.durability = Durability::Wal);
    until("the broker's level", async || described(&mut peer).await == ["object", "object"]).await;
    assert_eq!(led(&broker, id).durability(), Durability::Object);
}
