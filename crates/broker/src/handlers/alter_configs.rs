//! AlterConfigs (KIP-133): replaces everything that is set on a topic, on brokers or on a group.

use futures::FutureExt;
use protocol::messages::alter_configs_request::AlterConfigsResource;
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use types::Revision;

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::config_change::{self, Configs, Resource, check_keys};
use crate::config_resource::ConfigResource;
use crate::session::RequestContext;
use crate::topic_config::TopicConfigError;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let changes = request.resources.iter().map(|resource| Resource {
        kind: resource.resource_type,
        name: &resource.resource_name,
        change: replace(broker, resource, request.validate_only).boxed(),
    });
    let outcomes = config_change::each(broker, context, changes.collect()).await;
    let responses = request.resources.iter().zip(outcomes).map(|(resource, (code, message))| {
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

async fn replace(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<Revision, Refusal> {
    let keys: Vec<&str> = resource.configs.iter().map(|config| &*config.name).collect();
    check_keys(&keys)?;
    let replace = |found: &ConfigResource, _: &Configs| {
        let mut configs = Configs::new();
        for config in &resource.configs {
            let value = config.value.as_deref().ok_or_else(|| TopicConfigError::Null { name: config.name.to_string() })?;
            configs.insert(config_change::key(broker, found, &config.name), value.trim().to_owned());
        }
        Ok(configs)
    };
    config_change::change(broker, resource.resource_type, &resource.resource_name, validate_only, replace).await
}
