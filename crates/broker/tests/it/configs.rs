//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources over the wire.

use broker::topic_config::{ConfigType, Source};
use broker::{BrokerConfig, BrokerOptions};
use protocol::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResult;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest, alter_configs_request,
};
use wal::MemoryOptions;

use crate::harness::{Peer, TestBroker, batch, text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn describe(peer: &mut Peer, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    peer.ask(4, &request).await.results.swap_remove(0)
}

/// Key, operation, value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

/// A topic's config and where it comes from.
async fn config(peer: &mut Peer, topic: &str, key: &str) -> (String, i8) {
    let found = describe(peer, TOPIC, topic, Some(&[key])).await;
    let [config] = &found.configs[..] else { panic!("{found:?}") };
    (config.value.as_ref().unwrap().to_string(), config.config_source)
}

async fn alter(peer: &mut Peer, kind: i8, name: &str, changes: &[Change<'_>]) -> (i16, String) {
    alter_or_validate(peer, kind, name, changes, false).await
}

async fn alter_or_validate(peer: &mut Peer, kind: i8, name: &str, changes: &[Change<'_>], validate_only: bool) -> (i16, String) {
    let configs = changes.iter().map(|(key, operation, value)| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(*operation).with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(name)).with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    let answer = peer.ask(1, &request).await.responses.swap_remove(0);
    (answer.error_code, answer.error_message.map(|message| message.to_string()).unwrap_or_default())
}

#[tokio::test]
async fn a_topics_configs_are_set_and_removed_one_by_one_and_act_at_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("retention.ms", "5")]).await;
    let mut peer = broker.connect().await;
    assert_eq!(config(&mut peer, "t", "max.message.bytes").await, ("1048588".to_owned(), 5));
    let changes = [("max.message.bytes", SET, Some(" 80 ")), ("retention.ms", DELETE, None)];
    assert_eq!(alter(&mut peer, TOPIC, "t", &changes).await, (0, String::new()));
    assert_eq!(config(&mut peer, "t", "max.message.bytes").await, ("80".to_owned(), 1));
    assert_eq!(config(&mut peer, "t", "retention.ms").await, ("604800000".to_owned(), 5));
    let large = peer.produce("t", 0, batch(&["more than eighty bytes with its header"])).await;
    assert_eq!(large.error_code, ErrorCode::MessageTooLarge.code());
    assert_eq!(alter(&mut peer, TOPIC, "t", &[("max.message.bytes", DELETE, None)]).await.0, 0);
    assert_eq!(peer.produce("t", 0, batch(&["more than eighty bytes with its header"])).await.error_code, 0);
}

#[tokio::test]
async fn lists_are_added_to_and_taken_from() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(alter(&mut peer, TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))]).await.0, 0);
    assert_eq!(config(&mut peer, "t", "cleanup.policy").await, ("delete,compact".to_owned(), 1));
    assert_eq!(alter(&mut peer, TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))]).await.0, 0);
    assert_eq!(alter(&mut peer, TOPIC, "t", &[("cleanup.policy", SUBTRACT, Some("delete"))]).await.0, 0);
    assert_eq!(config(&mut peer, "t", "cleanup.policy").await, ("compact".to_owned(), 1));
}

#[tokio::test]
async fn what_is_refused_is_said_in_kafkas_words_and_changes_nothing() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let invalid_config = ErrorCode::InvalidConfig.code();
    let invalid_request = ErrorCode::InvalidRequest.code();
    let good = ("retention.ms", SET, Some("7"));
    let cases: [(i8, &str, &[Change<'_>], i16, &str); 15] = [
        (TOPIC, "t", &[good, ("no.such", SET, Some("1"))], invalid_config, "Unknown topic config name: no.such"),
        (
            TOPIC,
            "t",
            &[good, ("segment.bytes", SET, Some("x"))],
            invalid_config,
            "Invalid value x for configuration segment.bytes: Not a number of type INT",
        ),
        (TOPIC, "t", &[good, ("segment.bytes", SET, None)], invalid_request, "Null value not supported for : segment.bytes"),
        (TOPIC, "t", &[good, good], invalid_request, "Error due to duplicate config keys"),
        (
            TOPIC,
            "t",
            &[good, ("segment.bytes", APPEND, Some("9"))],
            invalid_config,
            "Can't APPEND to key segment.bytes because its type is not LIST.",
        ),
        (TOPIC, "t", &[good, ("segment.bytes", 9, Some("9"))], invalid_request, "Unknown config operation 9"),
        (
            TOPIC,
            "t",
            &[good, ("durability", SET, Some("object"))],
            invalid_config,
            "durability is fixed when a topic is created; this topic's is wal",
        ),
        (TOPIC, "none", &[good], ErrorCode::UnknownTopicOrPartition.code(), "The topic 'none' does not exist."),
        (TOPIC, "", &[good], invalid_request, "Default topic resources are not allowed."),
        (BROKER, "1", &[good], invalid_request, "Cannot update these configs dynamically: [retention.ms]"),
        (
            BROKER,
            "1",
            &[("no.such", DELETE, None), good, ("log.segment.bytes", APPEND, Some("1"))],
            invalid_request,
            "Cannot update these configs dynamically: [retention.ms, log.segment.bytes]",
        ),
        (
            TOPIC,
            "t",
            &[good, ("min.compaction.lag.ms", SET, Some("5")), ("max.compaction.lag.ms", SET, Some("4"))],
            invalid_config,
            "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)",
        ),
        (BROKER, "", &[good], invalid_request, "Cannot update these configs dynamically: [retention.ms]"),
        (BROKER, "7", &[good], invalid_request, "Unexpected broker id, expected 1 or empty string, but received 7"),
        (99, "t", &[good], invalid_request, "Unsupported resource type: 99"),
    ];
    for (kind, name, changes, code, message) in cases {
        assert_eq!(alter(&mut peer, kind, name, changes).await, (code, message.to_owned()), "{name}: {changes:?}");
    }
    assert_eq!(config(&mut peer, "t", "retention.ms").await.1, 5, "nothing of a refused change is kept");
    assert_eq!(alter_or_validate(&mut peer, TOPIC, "t", &[good], true).await.0, 0);
    assert_eq!(config(&mut peer, "t", "retention.ms").await.1, 5, "a validated change is not made");
}

#[tokio::test]
async fn what_is_not_set_on_a_broker_may_be_removed() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    // As reassignments clear the throttles that they may have set.
    let throttles = [("leader.replication.throttled.rate", DELETE, None), ("no.such", DELETE, None)];
    for name in ["1", ""] {
        assert_eq!(alter(&mut peer, BROKER, name, &throttles).await, (0, String::new()));
    }
}

#[tokio::test]
async fn a_change_that_came_second_is_made_of_what_the_first_left() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    *broker.metadata.faster_change.lock() = Some(("segment.ms".to_owned(), "9".to_owned()));
    assert_eq!(alter(&mut peer, TOPIC, "t", &[("retention.ms", SET, Some("7"))]).await, (0, String::new()));
    assert_eq!(config(&mut peer, "t", "segment.ms").await, ("9".to_owned(), 1));
    assert_eq!(config(&mut peer, "t", "retention.ms").await, ("7".to_owned(), 1));
}

#[tokio::test]
async fn alter_configs_replaces_all_that_is_set() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("segment.ms", "9")]).await;
    let mut peer = broker.connect().await;
    let resource = |configs: &[(&str, Option<&str>)]| {
        let configs = configs
            .iter()
            .map(|(key, value)| alter_configs_request::AlterableConfig::default().with_name(text(key)).with_value(value.map(text)));
        alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(configs.collect())
    };
    let ask = |resources| AlterConfigsRequest::default().with_resources(resources);
    let twice = peer.ask(2, &ask(vec![resource(&[]), resource(&[])])).await;
    assert!(twice.responses.iter().all(|response| response.error_code == ErrorCode::InvalidRequest.code()));
    let null = peer.ask(2, &ask(vec![resource(&[("retention.ms", None)])])).await;
    assert_eq!(null.responses[0].error_code, ErrorCode::InvalidConfig.code());
    assert_eq!(config(&mut peer, "t", "segment.ms").await.1, 1);
    assert_eq!(peer.ask(2, &ask(vec![resource(&[("retention.ms", Some("7"))])])).await.responses[0].error_code, 0);
    assert_eq!((config(&mut peer, "t", "segment.ms").await.1, config(&mut peer, "t", "retention.ms").await.1), (5, 1));
}

fn with_configs(options: &mut BrokerOptions) {
    let key = |name: &str, value: &str, default: &str, source| BrokerConfig {
        name: name.to_owned(),
        value: value.to_owned(),
        default: default.to_owned(),
        source,
        config_type: ConfigType::Int,
        doc: "How many.".to_owned(),
    };
    options.configs = vec![key("num.partitions", "3", "1", Source::Broker), key("broker.rack", "", "", Source::Default)];
}

#[tokio::test]
async fn a_brokers_configs_are_shown_and_read_only() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    let found = describe(&mut peer, BROKER, "1", None).await;
    let [partitions, rack] = &found.configs[..] else { panic!("{found:?}") };
    assert_eq!((partitions.value.as_deref(), partitions.config_source, partitions.read_only), (Some("3"), 4, true));
    let synonyms: Vec<_> = partitions.synonyms.iter().map(|synonym| (synonym.value.as_deref(), synonym.source)).collect();
    assert_eq!(synonyms, [(Some("3"), 4), (Some("1"), 5)]);
    assert_eq!((rack.value.as_deref(), rack.synonyms.len()), (None, 0));
    assert_eq!(describe(&mut peer, BROKER, "", None).await.configs.len(), 0);
    let wrong = describe(&mut peer, BROKER, "one", None).await;
    assert_eq!((wrong.error_code, wrong.error_message.as_deref()), (42, Some("Broker id must be an integer, but it is: one")));
}

#[tokio::test]
async fn only_what_is_asked_for_is_described_and_each_resource_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let all = describe(&mut peer, TOPIC, "t", None).await;
    assert_eq!(all.error_message.as_deref(), Some(""), "as Kafka says that there is none");
    assert_eq!(all.configs.len(), broker::topic_config::TOPIC_CONFIGS.len());
    let some = describe(&mut peer, TOPIC, "t", Some(&["segment.ms", "no.such"])).await;
    assert_eq!(some.configs.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["segment.ms"]);
    let none = describe(&mut peer, TOPIC, "none", None).await;
    assert_eq!((none.error_code, none.configs.len()), (ErrorCode::UnknownTopicOrPartition.code(), 0));
    assert_eq!(describe(&mut peer, TOPIC, "a b", None).await.error_code, ErrorCode::InvalidTopicException.code());
    let resource = DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text("t")).with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource; 1000]);
    assert_eq!(peer.ask(4, &request).await.results.len(), 1);
}

#[tokio::test]
async fn resources_with_configs_are_listed_by_type() {
    let broker = TestBroker::start().await;
    broker.create_topic("b", 1, &[]).await;
    broker.create_topic("a", 1, &[]).await;
    let mut peer = broker.connect().await;
    let mut list = async |types: &[i8]| {
        let answer = peer.ask(1, &ListConfigResourcesRequest::default().with_resource_types(types.to_vec())).await;
        let found = answer.config_resources.iter().map(|resource| (resource.resource_type, resource.resource_name.to_string()));
        (answer.error_code, found.collect::<Vec<_>>())
    };
    let (topics, brokers) = ([(2, "a".to_owned()), (2, "b".to_owned())], [(4, "1".to_owned()), (4, "2".to_owned())]);
    assert_eq!(list(&[TOPIC]).await, (0, topics.to_vec()));
    assert_eq!(list(&[BROKER]).await, (0, brokers.to_vec()));
    assert_eq!(list(&[16, 32]).await, (0, vec![]));
    assert_eq!(list(&[]).await.1.len(), 6);
    assert_eq!(list(&[3]).await, (ErrorCode::UnsupportedVersion.code(), vec![]));
}

#[tokio::test]
async fn version_0_of_describe_configs_says_whether_a_config_is_a_default() {
    use kafka_protocol_3_9::messages::{DescribeConfigsRequest, describe_configs_request::DescribeConfigsResource};
    let old_text = kafka_protocol_3_9::protocol::StrBytes::from_static_str;
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[("retention.ms", "5000")]).await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(old_text("t"))
        .with_configuration_keys(Some(vec![old_text("retention.ms"), old_text("max.message.bytes")]));
    let answer = broker.connect().await.ask_old(0, &DescribeConfigsRequest::default().with_resources(vec![resource])).await;
    let mut configs: Vec<_> = answer.results[0].configs.iter().map(|config| (config.name.as_str(), config.is_default)).collect();
    configs.sort_unstable();
    assert_eq!((answer.results[0].error_code, configs), (0, vec![("max.message.bytes", true), ("retention.ms", false)]));
}
