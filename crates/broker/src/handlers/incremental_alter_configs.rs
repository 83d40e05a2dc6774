//! IncrementalAlterConfigs (KIP-339): sets, removes, and adds to or takes from lists, one resource at a time, all of it or
//! nothing.

use futures::FutureExt;
use protocol::ErrorCode;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use types::Revision;

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::broker_config::{self, BrokerConfigError};
use crate::config_change::{self, Configs, Resource, check_keys};
use crate::config_resource::ConfigResource;
use crate::group_config::{self, GroupConfigError};
use crate::session::RequestContext;
use crate::topic_config::{self, ConfigType, TopicConfigError};

/// Kafka's codes (`AlterConfigOp.OpType`).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let changes = request.resources.iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: &resource.resource_name,
        change: alter(broker, resource, request.validate_only).boxed(),
    });
    let outcomes = config_change::each(broker, context, changes.collect()).await;
    let responses = request.resources.iter().zip(outcomes).map(|(resource, (code, message))| {
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

async fn alter(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<Revision, Refusal> {
    let keys: Vec<&str> = resource.configs.iter().map(|config| &*config.name).collect();
    check_keys(&keys)?;
    let nulls: Vec<&str> = resource.configs.iter().filter(|config| is_null(config)).map(|config| &*config.name).collect();
    if !nulls.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, format!("Null value not supported for : {}", nulls.join(","))));
    }
    let change = |found: &ConfigResource, configs: &Configs| {
        let mut changed = configs.clone();
        resource.configs.iter().try_for_each(|config| apply(broker, found, &mut changed, config))?;
        Ok(changed)
    };
    config_change::change(broker, resource.resource_type, &resource.resource_name, validate_only, change).await
}

fn is_null(config: &AlterableConfig) -> bool {
    config.value.is_none() && config.config_operation != DELETE
}

fn apply(broker: &Broker, resource: &ConfigResource, configs: &mut Configs, config: &AlterableConfig) -> Result<(), Refusal> {
    let (name, value) = (config_change::key(broker, resource, &config.name), config.value.as_deref().unwrap_or_default().trim());
    match config.config_operation {
        SET => {
            configs.insert(name, value.to_owned());
        }
        DELETE => {
            configs.remove(&name);
        }
        APPEND | SUBTRACT => {
            let (config_type, current) = in_force(broker, resource, configs, &name)?;
            if config_type != ConfigType::List {
                let operation = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
                let message = format!("Can't {operation} to key {name} because its type is not LIST.");
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            }
            let mut items: Vec<&str> = split(&current).collect();
            for item in split(value) {
                items.retain(|other| *other != item);
                if config.config_operation == APPEND {
                    items.push(item);
                }
            }
            let items = items.join(",");
            configs.insert(name, items);
        }
        operation => return Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unknown config operation {operation}"))),
    }
    Ok(())
}

/// Type and value in force of a config, if `configs` are set on the resource.
fn in_force(broker: &Broker, resource: &ConfigResource, configs: &Configs, name: &str) -> Result<(ConfigType, String), Refusal> {
    let options = broker.options();
    match resource {
        ConfigResource::Topic(_) => {
            let key = topic_config::find(name).ok_or_else(|| TopicConfigError::Unknown { name: name.to_owned() })?;
            Ok((key.kind.config_type(), options.topic(configs).value(key)))
        }
        ConfigResource::Broker(_) => {
            // Nothing that is set on a broker and means something is a list that others could add to: what is set there already counts.
            let described = broker_config::describe(&options.configs, &options.running);
            let config = described.into_iter().find(|config| config.value.name == name);
            let config = config.ok_or_else(|| BrokerConfigError::Unknown { name: name.to_owned() })?;
            Ok((config.config_type, configs.get(name).cloned().unwrap_or(config.value.value)))
        }
        ConfigResource::Group(_) => {
            let key = group_config::find(name).ok_or_else(|| GroupConfigError::Unknown { name: name.to_owned() })?;
            Ok((key.kind.config_type(), configs.get(name).cloned().unwrap_or_default()))
        }
    }
}

/// The items of a list.
fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}
