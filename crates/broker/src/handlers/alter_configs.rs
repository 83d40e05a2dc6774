//! AlterConfigs (KIP-133): replaces everything that is set on a topic.

use protocol::messages::alter_configs_request::AlterConfigsResource;
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use protocol::{ErrorCode, StrBytes};
use types::Revision;

use super::refusal::{Refusal, outcome};
use crate::broker::Broker;
use crate::config_change::{self, Configs, named_twice};
use crate::session::RequestContext;
use crate::topic_config::TopicConfigError;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let twice = named_twice(request.resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)));
    let mut newest = Revision::default();
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let altered = if twice.contains(&(resource.resource_type, &resource.resource_name)) {
            Err(Refusal::new(ErrorCode::InvalidRequest, EACH_ONCE))
        } else {
            replace(broker, resource, request.validate_only).await
        };
        let done = altered.map(|revision| newest = newest.max(revision));
        let (code, message) = outcome(broker, context, done);
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone()),
        );
    }
    broker.has_applied(newest, APPLY_MS).await;
    AlterConfigsResponse::default().with_responses(responses)
}

/// Kafka's words.
pub(crate) const EACH_ONCE: &str = "Each resource must appear at most once.";
pub(crate) const DUPLICATE_KEYS: &str = "Error due to duplicate config keys";
/// How long an answer waits, in milliseconds, until this broker acts on what it says; the request does not say.
pub(crate) const APPLY_MS: i32 = 5_000;

async fn replace(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<Revision, Refusal> {
    let keys: Vec<&str> = resource.configs.iter().map(|config| &*config.name).collect();
    if !named_twice(keys.iter()).is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, DUPLICATE_KEYS));
    }
    let mut configs = Configs::new();
    for config in &resource.configs {
        let value = config.value.as_deref().ok_or_else(|| TopicConfigError::Null { name: config.name.to_string() })?;
        configs.insert(config.name.to_string(), value.trim().to_owned());
    }
    let name: &StrBytes = &resource.resource_name;
    config_change::change(broker, resource.resource_type, name, &keys, validate_only, |_| Ok(configs.clone())).await
}
