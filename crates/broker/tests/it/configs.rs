//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources over the wire.

use broker::BrokerOptions;
use broker::topic_config::ConfigType;
use metadata_api::MetadataClient;
use protocol::ErrorCode;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResult;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest, alter_configs_request,
};
use wal::MemoryOptions;

use crate::configuration::shown;
use crate::harness::{Peer, TestBroker, batch, text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
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
    let cases: [(i8, &str, &[Change<'_>], i16, &str); 23] = [
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
            &[good, ("durability", SET, Some("quorum"))],
            invalid_config,
            "Invalid value quorum for configuration durability: durability=quorum is not supported yet; use wal or object",
        ),
        (TOPIC, "none", &[good], ErrorCode::UnknownTopicOrPartition.code(), "The topic 'none' does not exist."),
        (TOPIC, "", &[good], invalid_request, "Default topic resources are not allowed."),
        (BROKER, "1", &[good], invalid_request, "Unknown broker config name: retention.ms"),
        (
            BROKER,
            "1",
            &[("no.such", DELETE, None), good, ("node.id", SET, Some("1")), ("broker.rack", SET, Some("a"))],
            invalid_request,
            "Cannot update these configs dynamically: [broker.rack, node.id]",
        ),
        (
            BROKER,
            "1",
            &[("num.partitions", SET, Some("few"))],
            invalid_request,
            "Invalid value few for configuration num.partitions: must be a number",
        ),
        (
            BROKER,
            "1",
            &[("group.consumer.heartbeat.interval.ms", SET, Some("1800001"))],
            invalid_request,
            "group.consumer.heartbeat.interval.ms must be at most group.max.session.timeout.ms",
        ),
        (BROKER, "1", &[("retention.ms", APPEND, Some("1"))], invalid_request, "Unknown broker config name: retention.ms"),
        (GROUP, "g", &[good], invalid_config, "Unknown group config name: retention.ms"),
        (GROUP, "g", &[("retention.ms", APPEND, Some("1"))], invalid_config, "Unknown group config name: retention.ms"),
        (
            GROUP,
            "g",
            &[("consumer.session.timeout.ms", SET, Some("1"))],
            invalid_config,
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
        ),
        (
            GROUP,
            "g",
            &[("consumer.session.timeout.ms", APPEND, Some("1"))],
            invalid_config,
            "Can't APPEND to key consumer.session.timeout.ms because its type is not LIST.",
        ),
        (GROUP, "", &[good], invalid_request, "Default group resources are not allowed."),
        (
            TOPIC,
            "t",
            &[good, ("min.compaction.lag.ms", SET, Some("5")), ("max.compaction.lag.ms", SET, Some("4"))],
            invalid_config,
            "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)",
        ),
        (BROKER, "", &[("node.id", SET, Some("1"))], invalid_request, "Cannot update these configs dynamically: [node.id]"),
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
async fn a_change_of_a_group_that_came_second_is_made_of_what_the_first_left() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connect().await;
    *broker.metadata.faster_change.lock() = Some(("consumer.session.timeout.ms".to_owned(), "50000".to_owned()));
    assert_eq!(alter(&mut peer, GROUP, "g", &[("consumer.heartbeat.interval.ms", SET, Some("6000"))]).await, (0, String::new()));
    let found = describe(&mut peer, GROUP, "g", None).await;
    assert_eq!(all_values(&found, "consumer.session.timeout.ms").1, 8);
    assert_eq!(all_values(&found, "consumer.heartbeat.interval.ms").1, 8);
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
    options.num_partitions = 3;
    options.configs = vec![
        shown("broker.rack", "", "", ConfigType::String, true),
        shown("log.cleanup.policy", "delete", "delete", ConfigType::List, false),
        shown("num.partitions", "3", "1", ConfigType::Int, false),
    ];
}

/// Values and sources of a config and its synonyms.
fn all_values(found: &DescribeConfigsResult, name: &str) -> (Option<String>, i8, Vec<(String, i8)>) {
    let config = found.configs.iter().find(|config| &*config.name == name).unwrap();
    let synonyms = config.synonyms.iter().map(|synonym| (synonym.value.as_ref().unwrap().to_string(), synonym.source));
    (config.value.as_ref().map(|value| value.to_string()), config.config_source, synonyms.collect())
}

#[tokio::test]
async fn a_brokers_configs_are_shown_and_whether_they_may_change() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    let found = describe(&mut peer, BROKER, "1", None).await;
    let read_only: Vec<_> = found.configs.iter().map(|config| (&*config.name, config.read_only)).collect();
    assert_eq!(read_only, [("broker.rack", true), ("log.cleanup.policy", false), ("num.partitions", false)]);
    assert_eq!(all_values(&found, "num.partitions"), (Some("3".to_owned()), 4, vec![("3".to_owned(), 4), ("1".to_owned(), 5)]));
    assert_eq!(all_values(&found, "broker.rack"), (None, 5, vec![]));
    assert_eq!(describe(&mut peer, BROKER, "", None).await.configs.len(), 0);
    let wrong = describe(&mut peer, BROKER, "one", None).await;
    assert_eq!((wrong.error_code, wrong.error_message.as_deref()), (42, Some("Broker id must be an integer, but it is: one")));
}

#[tokio::test]
async fn what_is_set_on_a_broker_goes_before_what_is_set_on_all_and_that_before_its_file() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    let mut partitions = async |name: &str, change: Change<'_>| {
        assert_eq!(alter(&mut peer, BROKER, name, &[change]).await, (0, String::new()));
        let found = describe(&mut peer, BROKER, "1", None).await;
        let shown = all_values(&found, "num.partitions");
        let topic = format!("t{}{}", shown.1, shown.2.len());
        broker.create_topic(&topic, -1, &[]).await;
        let made = broker.metadata.image().borrow().topic_named(&topic).unwrap().partitions.len();
        assert_eq!(Some(made.to_string()), shown.0, "what is shown is what is done");
        (shown.1, shown.2)
    };
    let values = |values: &[(&str, i8)]| values.iter().map(|(value, source)| ((*value).to_owned(), *source)).collect::<Vec<_>>();
    assert_eq!(partitions("", ("num.partitions", SET, Some("5"))).await, (3, values(&[("5", 3), ("3", 4), ("1", 5)])));
    // By another of the key's names, and in another form.
    let own = ("partitions", SET, Some(" +7 "));
    assert_eq!(partitions("1", own).await, (2, values(&[("7", 2), ("5", 3), ("3", 4), ("1", 5)])));
    assert_eq!(partitions("", ("num.partitions", DELETE, None)).await, (2, values(&[("7", 2), ("3", 4), ("1", 5)])));
    assert_eq!(partitions("1", ("partitions", DELETE, None)).await, (4, values(&[("3", 4), ("1", 5)])));
}

#[tokio::test]
async fn what_is_set_on_all_brokers_is_shown_alone() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    let changes = [("num.partitions", SET, Some("5")), ("sasl.mechanism", SET, Some("GSSAPI"))];
    assert_eq!(alter(&mut peer, BROKER, "", &changes).await.0, 0);
    assert_eq!(alter(&mut peer, BROKER, "1", &[("num.partitions", SET, Some("7"))]).await.0, 0);
    let found = describe(&mut peer, BROKER, "", None).await;
    assert_eq!(found.configs.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["num.partitions", "sasl.mechanism"]);
    assert_eq!(all_values(&found, "num.partitions"), (Some("5".to_owned()), 3, vec![("5".to_owned(), 3)]));
    let own = describe(&mut peer, BROKER, "1", Some(&["sasl.mechanism"])).await;
    assert_eq!(all_values(&own, "sasl.mechanism"), (Some("GSSAPI".to_owned()), 3, vec![("GSSAPI".to_owned(), 3)]));
}

#[tokio::test]
async fn topics_have_at_once_what_is_set_on_their_broker() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    broker.create_topic("own", 1, &[("max.message.bytes", "1000")]).await;
    let mut peer = broker.connect().await;
    let large = || batch(&["more than eighty bytes with its header"]);
    let changes = [("message.max.bytes", SET, Some("80")), ("log.retention.ms", SET, Some("5")), ("log.segment.bytes", SET, Some("99"))];
    assert_eq!(alter(&mut peer, BROKER, "", &changes).await, (0, String::new()));
    assert_eq!(peer.produce("t", 0, large()).await.error_code, ErrorCode::MessageTooLarge.code());
    assert_eq!(peer.produce("own", 0, large()).await.error_code, 0, "a topic's own goes first");
    let found = describe(&mut peer, TOPIC, "t", None).await;
    let text = |value: &str, source| (value.to_owned(), source);
    assert_eq!(all_values(&found, "max.message.bytes"), (Some("80".to_owned()), 3, vec![text("80", 3), text("1048588", 5)]));
    assert_eq!(all_values(&found, "retention.ms"), (Some("5".to_owned()), 3, vec![text("5", 3)]));
    assert_eq!(all_values(&found, "segment.bytes"), (Some("99".to_owned()), 3, vec![text("99", 3), text("1073741824", 5)]));
    assert_eq!(alter(&mut peer, BROKER, "1", &[("message.max.bytes", SET, Some("1000"))]).await.0, 0);
    assert_eq!(peer.produce("t", 0, large()).await.error_code, 0, "this broker's own goes before that of all");
    assert_eq!(config(&mut peer, "t", "max.message.bytes").await, ("1000".to_owned(), 2));
}

#[tokio::test]
async fn connections_and_quotas_follow_what_is_set() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    assert_eq!(
        alter(&mut peer, BROKER, "1", &[("max.connections", SET, Some("1")), ("quota.producer.default", SET, Some("1"))]).await.0,
        0
    );
    assert!(broker.connect().await.is_closed().await);
    let throttled = peer.ask(9, &crate::harness::produce_request("t", -1, vec![(0, batch(&["a"]))])).await;
    assert!(0 < throttled.throttle_time_ms);
    // Whoever is asked to pause is not read for that long.
    broker.clock.advance(std::time::Duration::from_secs(3600));
}

#[tokio::test]
async fn a_broker_starts_with_what_was_set_before() {
    let image = |configs: &[(metadata_api::ConfigResource, &str)]| {
        let set = |value: &str| metadata_api::ResourceConfigs {
            configs: [("num.partitions".to_owned(), value.to_owned())].into(),
            revision: types::Revision(1),
        };
        std::sync::Arc::new(configs.iter().map(|(resource, value)| (resource.clone(), set(value))).collect())
    };
    let own = metadata_api::ConfigResource::Broker(types::BrokerId(1));
    for (configs, partitions) in [(image(&[(own.clone(), "4")]), 4), (image(&[(own, "nonsense")]), 3)] {
        let broker = TestBroker::start_on(with_configs, |image| image.configs = configs).await;
        broker.create_topic("t", -1, &[]).await;
        assert_eq!(broker.metadata.image().borrow().topic_named("t").unwrap().partitions.len(), partitions);
    }
}

#[tokio::test]
async fn lists_of_a_broker_are_added_to() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    assert_eq!(alter(&mut peer, BROKER, "1", &[("log.cleanup.policy", APPEND, Some("compact"))]).await, (0, String::new()));
    let found = describe(&mut peer, BROKER, "1", Some(&["log.cleanup.policy"])).await;
    assert_eq!(all_values(&found, "log.cleanup.policy").0.as_deref(), Some("delete,compact"));
    let refused = alter(&mut peer, BROKER, "1", &[("num.partitions", APPEND, Some("1"))]).await.1;
    assert_eq!(refused, "Can't APPEND to key num.partitions because its type is not LIST.");
}

#[tokio::test]
async fn alter_configs_replaces_all_that_is_set_on_a_broker() {
    let broker = TestBroker::start_with(with_configs, MemoryOptions::default()).await;
    let mut peer = broker.connect().await;
    assert_eq!(alter(&mut peer, BROKER, "1", &[("sasl.mechanism", SET, Some("PLAIN"))]).await.0, 0);
    let config = alter_configs_request::AlterableConfig::default().with_name(text("partitions")).with_value(Some(text("9")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text("1"))
        .with_configs(vec![config]);
    assert_eq!(peer.ask(2, &AlterConfigsRequest::default().with_resources(vec![resource])).await.responses[0].error_code, 0);
    let found = describe(&mut peer, BROKER, "1", None).await;
    assert_eq!(found.configs.len(), 3, "what was set before is gone");
    assert_eq!(all_values(&found, "num.partitions").0.as_deref(), Some("9"));
}

#[tokio::test]
async fn a_groups_configs_are_set_shown_and_followed_by_its_coordinator() {
    let broker = TestBroker::start_with(|options| options.groups.initial_rebalance_delay_ms = 0, MemoryOptions::default()).await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let heartbeat = |epoch| {
        let request = protocol::messages::ConsumerGroupHeartbeatRequest::default()
            .with_group_id(protocol::messages::GroupId(text("g")))
            .with_member_id(text("m"))
            .with_member_epoch(epoch);
        let request = if epoch == 0 { request.with_rebalance_timeout_ms(1000).with_topic_partitions(Some(vec![])) } else { request };
        if epoch == 0 { request.with_subscribed_topic_names(Some(vec![protocol::messages::TopicName(text("t"))])) } else { request }
    };
    let joined = peer.ask(1, &heartbeat(0)).await;
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 5000));
    let found = describe(&mut peer, GROUP, "g", None).await;
    let names = ["consumer.assignment.interval.ms", "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"];
    assert_eq!(found.configs.iter().map(|config| &*config.name).collect::<Vec<_>>(), names);
    let interval = "consumer.heartbeat.interval.ms";
    assert_eq!(all_values(&found, interval), (Some("5000".to_owned()), 5, vec![("5000".to_owned(), 5)]));
    assert_eq!(alter(&mut peer, GROUP, "g", &[(interval, SET, Some("7000"))]).await, (0, String::new()));
    assert_eq!(peer.ask(1, &heartbeat(joined.member_epoch)).await.heartbeat_interval_ms, 7000);
    let found = describe(&mut peer, GROUP, "g", None).await;
    assert_eq!(all_values(&found, interval), (Some("7000".to_owned()), 8, vec![("7000".to_owned(), 8), ("5000".to_owned(), 5)]));
    assert!(found.configs.iter().all(|config| !config.read_only && config.config_type == 3));
    // What is set on brokers is for groups that do not say.
    assert_eq!(alter(&mut peer, BROKER, "", &[("group.consumer.heartbeat.interval.ms", SET, Some("6000"))]).await.0, 0);
    assert_eq!(peer.ask(1, &heartbeat(joined.member_epoch)).await.heartbeat_interval_ms, 7000);
    let other = describe(&mut peer, GROUP, "other", None).await;
    assert_eq!(all_values(&other, interval), (Some("6000".to_owned()), 3, vec![("6000".to_owned(), 3), ("5000".to_owned(), 5)]));
    assert_eq!(alter(&mut peer, GROUP, "g", &[(interval, DELETE, None)]).await.0, 0);
    assert_eq!(peer.ask(1, &heartbeat(joined.member_epoch)).await.heartbeat_interval_ms, 6000);
    let empty = describe(&mut peer, GROUP, "", None).await;
    assert_eq!((empty.error_code, empty.error_message.as_deref()), (42, Some("Group name must not be empty")));
}

#[tokio::test]
async fn only_what_is_asked_for_is_described_and_each_resource_once() {
    let broker = TestBroker::start().await;
    broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    let all = describe(&mut peer, TOPIC, "t", None).await;
    assert_eq!(all.error_message.as_deref(), Some(""), "as Kafka says that there is none");
    assert_eq!(all.configs.len(), broker::topic_config::TOPIC_CONFIGS.len() + 1, "the configs, and durability.in.force");
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
    let set = [("consumer.session.timeout.ms", SET, Some("50000"))];
    assert_eq!(alter(&mut broker.connect().await, GROUP, "g", &set).await.0, 0);
    assert_eq!(list(&[16, 32]).await, (0, vec![(32, "g".to_owned())]));
    assert_eq!(list(&[]).await.1.len(), 7);
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
