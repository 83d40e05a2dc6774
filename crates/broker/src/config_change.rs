//! Changes of a topic's configs: what two APIs of Kafka do to them, checked as a whole and written if nobody was faster.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use futures::future::BoxFuture;
use metadata_api::{AlterTopicConfigs, MetadataError, TopicImage};
use protocol::{ErrorCode, StrBytes};
use tokio::time::Instant;
use types::Revision;

use crate::broker::Broker;
use crate::config_resource::{ConfigResource, resource_type};
use crate::handlers::refusal::{Refusal, outcome};
use crate::session::RequestContext;
use crate::topic_config::{self, TopicConfig};

/// How long a change waits to see that of somebody who was faster.
const WAIT: Duration = Duration::from_secs(5);
/// How long an answer waits, in milliseconds, until this broker acts on what it says; the request does not say.
const APPLY_MS: i32 = 5_000;

/// A topic's configs that are set.
pub(crate) type Configs = BTreeMap<String, String>;

/// Changes the configs of one resource to what `change` makes of them, which sets `keys`. The answer is the revision to wait for.
///
/// # Errors
/// Whatever `change` refuses; a resource that is not there; a broker's configs, which are fixed while it runs.
pub(crate) async fn change(
    broker: &Broker,
    kind: i8,
    name: &StrBytes,
    keys: &[&str],
    validate_only: bool,
    change: impl Fn(&Configs) -> Result<Configs, Refusal>,
) -> Result<Revision, Refusal> {
    if kind == resource_type::TOPIC && name.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
    }
    let mut images = broker.metadata.image();
    images.mark_unchanged();
    let deadline = Instant::now() + WAIT;
    loop {
        let topic = match ConfigResource::find(broker, kind, name)? {
            ConfigResource::Topic(topic) => topic,
            // Nothing is set there, so nothing is left to remove: reassignments clear their throttles that way.
            ConfigResource::Broker | ConfigResource::AllBrokers if keys.is_empty() => return Ok(Revision::default()),
            ConfigResource::Broker | ConfigResource::AllBrokers => {
                let message = format!("Cannot update these configs dynamically: [{}]", keys.join(", "));
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
        };
        let configs = change(&topic.configs)?;
        check(broker, &topic, &configs)?;
        if validate_only || configs == topic.configs {
            return Ok(Revision::default());
        }
        let request = AlterTopicConfigs { topic: topic.id, expected: topic.config_revision, configs };
        match broker.metadata.alter_topic_configs(request).await {
            // Somebody else was faster: the change is made again, of what they left.
            Err(conflict @ MetadataError::ConfigConflict { .. }) => match tokio::time::timeout_at(deadline, images.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(conflict.into()),
            },
            altered => return Ok(altered?),
        }
    }
}

/// Checks the set as a whole, names first.
fn check(broker: &Broker, topic: &TopicImage, configs: &Configs) -> Result<(), Refusal> {
    for (name, value) in configs {
        // What is set already was let in by this or a newer broker.
        if topic.configs.get(name) != Some(value) {
            topic_config::check(name, Some(value))?;
        }
    }
    topic_config::check_together(configs)?;
    let durability = TopicConfig::new(&broker.options.topic_defaults, configs).durability();
    match topic.partitions.first() {
        Some(partition) if partition.durability != durability => {
            let message = format!("durability is fixed when a topic is created; this topic's is {}", partition.durability);
            Err(Refusal::new(ErrorCode::InvalidConfig, message))
        }
        _ => Ok(()),
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
