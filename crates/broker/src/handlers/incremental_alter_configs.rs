//! IncrementalAlterConfigs (KIP-339): sets, removes, and adds to or takes from lists, one topic at a time, all of it or nothing.

use futures::FutureExt;
use protocol::ErrorCode;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use types::Revision;

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::config_change::{self, Configs, Resource, check_keys};
use crate::session::RequestContext;
use crate::topic_config::{self, ConfigType, TopicConfig, TopicConfigError};

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
    let change = |configs: &Configs| {
        let mut changed = configs.clone();
        resource.configs.iter().try_for_each(|config| apply(broker, &mut changed, config))?;
        Ok(changed)
    };
    let set = resource.configs.iter().filter(|config| config.config_operation != DELETE).map(|config| &*config.name);
    let set: Vec<&str> = set.collect();
    config_change::change(broker, resource.resource_type, &resource.resource_name, &set, validate_only, change).await
}

fn is_null(config: &AlterableConfig) -> bool {
    config.value.is_none() && config.config_operation != DELETE
}

fn apply(broker: &Broker, configs: &mut Configs, config: &AlterableConfig) -> Result<(), Refusal> {
    let (name, value) = (&*config.name, config.value.as_deref().unwrap_or_default().trim());
    match config.config_operation {
        SET => {
            configs.insert(name.to_owned(), value.to_owned());
        }
        DELETE => {
            configs.remove(name);
        }
        APPEND | SUBTRACT => {
            let key = topic_config::find(name).ok_or_else(|| TopicConfigError::Unknown { name: name.to_owned() })?;
            if key.kind.config_type() != ConfigType::List {
                let operation = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
                let message = format!("Can't {operation} to key {name} because its type is not LIST.");
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            }
            let current = TopicConfig::new(&broker.options.topic_defaults, configs).value(key);
            let mut items: Vec<&str> = split(&current).collect();
            for item in split(value) {
                items.retain(|other| *other != item);
                if config.config_operation == APPEND {
                    items.push(item);
                }
            }
            let items = items.join(",");
            configs.insert(name.to_owned(), items);
        }
        operation => return Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unknown config operation {operation}"))),
    }
    Ok(())
}

/// The items of a list.
fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}
