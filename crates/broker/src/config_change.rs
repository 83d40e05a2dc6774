//! Changes of configs: what two APIs of Kafka do to those of a topic, of brokers or of a group, checked as a whole and written if nobody
//! was faster.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use futures::future::BoxFuture;
use metadata_api::{AlterResourceConfigs, AlterTopicConfigs, MetadataError};
use protocol::{ErrorCode, StrBytes};
use tokio::time::Instant;
use types::Revision;

use crate::broker::Broker;
use crate::broker_config::BrokerConfigError;
use crate::config_resource::{ConfigResource, resource_type};
use crate::group_config;
use crate::handlers::refusal::{Refusal, outcome};
use crate::session::RequestContext;
use crate::topic_config;

/// How long a change waits to see that of somebody who was faster.
const WAIT: Duration = Duration::from_secs(5);
/// How long an answer waits, in milliseconds, until this broker acts on what it says; the request does not say.
pub(crate) const APPLY_MS: i32 = 5_000;

/// A resource's configs that are set.
pub(crate) type Configs = BTreeMap<String, String>;

/// Changes the configs of one resource to what `change` makes of them. The answer is the revision to wait for.
///
/// # Errors
/// Whatever `change` refuses; a resource that is not there or has no configs; names, values and sets of values that cannot be.
pub(crate) async fn change(
    broker: &Broker,
    kind: i8,
    name: &StrBytes,
    validate_only: bool,
    change: impl Fn(&ConfigResource, &Configs) -> Result<Configs, Refusal>,
) -> Result<Revision, Refusal> {
    match kind {
        resource_type::TOPIC if name.is_empty() => {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
        }
        resource_type::GROUP if name.is_empty() => {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "Default group resources are not allowed."));
        }
        _ => {}
    }
    let mut images = broker.metadata.image();
    images.mark_unchanged();
    let deadline = Instant::now() + WAIT;
    loop {
        let resource = ConfigResource::find(broker, kind, name)?;
        let (current, expected) = set_on(broker, &resource);
        let configs = check(broker, &resource, &current, change(&resource, &current)?)?;
        if validate_only || configs == current {
            return Ok(Revision::default());
        }
        let altered = match resource {
            ConfigResource::Topic(topic) => {
                broker.metadata.alter_topic_configs(AlterTopicConfigs { topic: topic.id, expected, configs }).await
            }
            ConfigResource::Broker(resource) | ConfigResource::Group(resource) => {
                broker.metadata.alter_resource_configs(AlterResourceConfigs { resource, expected, configs }).await
            }
        };
        match altered {
            // Somebody else was faster: the change is made again, of what they left.
            Err(conflict @ (MetadataError::ConfigConflict { .. } | MetadataError::ResourceConfigConflict { .. })) => {
                match tokio::time::timeout_at(deadline, images.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Err(conflict.into()),
                }
            }
            altered => return Ok(altered?),
        }
    }
}

/// What is set on the resource, and the revision of its last change.
fn set_on(broker: &Broker, resource: &ConfigResource) -> (Configs, Revision) {
    match resource {
        ConfigResource::Topic(topic) => (topic.configs.clone(), topic.config_revision),
        ConfigResource::Broker(resource) | ConfigResource::Group(resource) => {
            broker.image().configs.get(resource).map(|set| (set.configs.clone(), set.revision)).unwrap_or_default()
        }
    }
}

/// Checks what shall be set in place of `current`, names first, and gives it as it is to be kept. What is set already was let in by this
/// or another version.
fn check(broker: &Broker, resource: &ConfigResource, current: &Configs, configs: Configs) -> Result<Configs, Refusal> {
    let changed = configs.iter().filter(|(name, value)| current.get(*name) != Some(*value));
    match resource {
        ConfigResource::Topic(_) => {
            for (name, value) in changed {
                topic_config::check(name, Some(value))?;
            }
            topic_config::check_together(&configs)?;
            Ok(configs)
        }
        ConfigResource::Broker(resource) => check_broker(broker, resource, changed.collect(), &configs),
        ConfigResource::Group(_) => {
            group_config::check(&configs, &broker.options().groups)?;
            Ok(configs)
        }
    }
}

/// Checks those of a broker's configs that are new, and then whether this broker can go by the whole.
fn check_broker(
    broker: &Broker,
    resource: &metadata_api::ConfigResource,
    changed: Vec<(&String, &String)>,
    configs: &Configs,
) -> Result<Configs, Refusal> {
    let configuration = &broker.settings.configuration;
    let (mut plain, mut read_only, mut other) = (configs.clone(), Vec::new(), None);
    for (name, value) in changed {
        match configuration.check(name, value) {
            Ok(value) => drop(plain.insert(name.clone(), value)),
            Err(BrokerConfigError::ReadOnly { name }) => read_only.push(name),
            Err(error) => drop(other.get_or_insert(error)),
        }
    }
    if !read_only.is_empty() {
        return Err(BrokerConfigError::ReadOnly { name: read_only.join(", ") }.into());
    }
    if let Some(error) = other {
        return Err(error.into());
    }
    let mut running = broker.options().running.clone();
    match resource {
        metadata_api::ConfigResource::AllBrokers => running.all.clone_from(&plain),
        metadata_api::ConfigResource::Broker(_) | metadata_api::ConfigResource::Group(_) => running.own.clone_from(&plain),
    }
    configuration.options(&running.merged()).map_err(|why| Refusal::new(ErrorCode::InvalidRequest, why))?;
    Ok(plain)
}

/// The key that a request means by `name`.
pub(crate) fn key(broker: &Broker, resource: &ConfigResource, name: &str) -> String {
    match resource {
        ConfigResource::Broker(_) => broker.settings.configuration.key(name).to_owned(),
        ConfigResource::Topic(_) | ConfigResource::Group(_) => name.to_owned(),
    }
}

/// One resource of a request.
pub(crate) struct Resource<'a> {
    pub(crate) kind: i8,
    pub(crate) name: &'a StrBytes,
    /// Not begun before the resources named before it are done.
    pub(crate) change: BoxFuture<'a, Result<Revision, Refusal>>,
}

/// What became of it, as code and text.
pub(crate) type Outcome = (i16, Option<StrBytes>);

/// Makes the changes of a request one after another, and waits until this broker acts on them. What is named twice is not changed.
pub(crate) async fn each(broker: &Broker, context: &RequestContext, resources: Vec<Resource<'_>>) -> Vec<Outcome> {
    let twice = named_twice(resources.iter().map(|resource| (resource.kind, resource.name)));
    let mut newest = Revision::default();
    let mut outcomes = Vec::with_capacity(resources.len());
    for Resource { kind, name, change } in resources {
        let changed = if twice.contains(&(kind, name)) {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            change.await
        };
        outcomes.push(outcome(broker, context, changed.map(|revision| newest = newest.max(revision))));
    }
    broker.has_applied(newest, APPLY_MS).await;
    outcomes
}

/// Refuses keys of which one is named more than once.
pub(crate) fn check_keys(keys: &[&str]) -> Result<(), Refusal> {
    if named_twice(keys.iter()).is_empty() {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"))
}

/// Those that a request names more than once.
pub(crate) fn named_twice<T: Eq + Hash>(named: impl Iterator<Item = T>) -> HashSet<T> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for name in named {
        if let Some(name) = seen.replace(name) {
            twice.insert(name);
        }
    }
    twice
}
