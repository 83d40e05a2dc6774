//! DescribeConfigs (KIP-133, KIP-226, KIP-569): what is in force for topics, brokers and groups, where it comes from, and what it
//! means.

use std::collections::HashSet;

use metadata_api::TopicImage;
use protocol::StrBytes;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use types::Durability;

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::broker_config::{self, Described};
use crate::config_resource::ConfigResource;
use crate::group_config;
use crate::session::RequestContext;
use crate::topic_config::{self, ConfigType, EffectiveValue, Source};

/// About what the configs of one resource take in an answer.
const RESOURCE_BYTES: usize = 24 << 10;

/// About how many bytes the answer will have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(request: &DescribeConfigsRequest) -> usize {
    request.resources.len() * RESOURCE_BYTES
}

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    // Each once: the same topic asked for a thousand times must not make a thousand answers.
    let mut seen = HashSet::new();
    for resource in &request.resources {
        if !seen.insert((resource.resource_type, resource.resource_name.clone())) {
            continue;
        }
        let result =
            DescribeConfigsResult::default().with_resource_type(resource.resource_type).with_resource_name(resource.resource_name.clone());
        results.push(match describe(broker, &request, resource) {
            Ok(configs) => result.with_error_message(Some(StrBytes::default())).with_configs(configs),
            Err(refusal) => {
                let (code, message) = refusal.answered(broker, context);
                result.with_error_code(code).with_error_message(message)
            }
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

fn describe(
    broker: &Broker,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let asked = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| &**key == name),
        Some(_) | None => true,
    };
    let options = broker.options();
    let mut configs: Vec<_> = match ConfigResource::find(broker, resource.resource_type, &resource.resource_name)? {
        ConfigResource::Topic(topic) => {
            let effective = options.topic(&topic.configs).effective();
            let configs = effective.into_iter().filter(|config| asked(&config.name)).map(of_topic);
            configs.chain(asked(DURABILITY_IN_FORCE).then(|| durability_in_force(&topic))).collect()
        }
        ConfigResource::Broker(resource) => {
            let described = match resource {
                metadata_api::ConfigResource::AllBrokers => broker_config::describe_all(&options.configs, &options.running),
                _ => broker_config::describe(&options.configs, &options.running),
            };
            described.into_iter().filter(|config| asked(&config.value.name)).map(of_broker).collect()
        }
        ConfigResource::Group(resource) => {
            let set = broker.image().configs.get(&resource).map(|set| set.configs.clone()).unwrap_or_default();
            let effective = group_config::effective(&set, &options.groups, &options.configs, &options.running);
            effective.into_iter().filter(|config| asked(&config.name)).map(of_group).collect()
        }
    };
    for config in &mut configs {
        if !request.include_synonyms {
            config.synonyms.clear();
        }
        if !request.include_documentation {
            config.documentation = None;
        }
    }
    Ok(configs)
}

fn of_topic(config: EffectiveValue) -> DescribeConfigsResourceResult {
    let key = topic_config::find(&config.name).expect("every effective value is of the table");
    result(config).with_config_type(key.kind.config_type() as i8).with_documentation(Some(StrBytes::from_static_str(key.doc)))
}

fn of_group(config: EffectiveValue) -> DescribeConfigsResourceResult {
    let key = group_config::find(&config.name).expect("every effective value is of the table");
    result(config).with_config_type(key.kind.config_type() as i8).with_documentation(Some(StrBytes::from_static_str(key.doc)))
}

fn of_broker(config: Described) -> DescribeConfigsResourceResult {
    // An empty value is one that is not there.
    let is_there = !config.value.value.is_empty();
    let described = result(config.value)
        .with_read_only(config.read_only)
        .with_config_type(config.config_type as i8)
        .with_documentation(Some(StrBytes::from_string(config.doc)));
    if is_there { described } else { described.with_value(None) }
}

fn result(config: EffectiveValue) -> DescribeConfigsResourceResult {
    let text = |text: std::borrow::Cow<'static, str>| StrBytes::from_string(text.into_owned());
    let synonyms = config.synonyms.into_iter().map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(synonym.name))
            .with_value(Some(StrBytes::from_string(synonym.value)))
            .with_source(synonym.source as i8)
    });
    DescribeConfigsResourceResult::default()
        .with_name(text(config.name))
        .with_value(Some(StrBytes::from_string(config.value)))
        .with_config_source(config.source as i8)
        .with_synonyms(synonyms.collect())
}

/// Not a config: how far the alteration of one has come. Read-only, and a default, so that tools which write back what they read leave
/// it out.
const DURABILITY_IN_FORCE: &str = "durability.in.force";

/// The level that all partitions have; both, separated by a comma, while some of them are ahead of others.
fn durability_in_force(topic: &TopicImage) -> DescribeConfigsResourceResult {
    let levels = [Durability::Wal, Durability::Object];
    let in_force = levels.iter().filter(|level| topic.partitions.iter().any(|partition| partition.durability == **level));
    let doc = "What counts if the broker is lost. Follows durability as soon as that takes nothing back; until then acks=all waits for the stronger of the two.";
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(DURABILITY_IN_FORCE))
        .with_value(Some(StrBytes::from_string(in_force.map(Durability::to_string).collect::<Vec<_>>().join(","))))
        .with_read_only(true)
        .with_config_source(Source::Default as i8)
        .with_config_type(ConfigType::List as i8)
        .with_documentation(Some(StrBytes::from_static_str(doc)))
}
