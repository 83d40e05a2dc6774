//! What configs belong to: the resources of Kafka's config APIs, and where each of them is found.

use std::sync::Arc;

use metadata_api::TopicImage;
use protocol::{ErrorCode, StrBytes};

use crate::broker::Broker;
use crate::handlers::create_topics::check_name;
use crate::handlers::refusal::Refusal;

/// Kafka's codes for types of resources (`ConfigResource.Type`).
pub(crate) mod resource_type {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// A resource that a request names and that exists.
pub(crate) enum ConfigResource {
    Topic(Arc<TopicImage>),
    /// This broker.
    Broker,
    /// What all brokers have in common; nothing can be set there.
    AllBrokers,
}

impl ConfigResource {
    /// Finds the resource, or says why not in Kafka's words.
    pub(crate) fn find(broker: &Broker, kind: i8, name: &StrBytes) -> Result<Self, Refusal> {
        match kind {
            resource_type::TOPIC => {
                check_name(name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
                let image = broker.image();
                let topic = image
                    .topic_named(name)
                    .ok_or_else(|| Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("The topic '{}' does not exist.", &**name)))?;
                Ok(Self::Topic(Arc::clone(topic)))
            }
            resource_type::BROKER if name.is_empty() => Ok(Self::AllBrokers),
            resource_type::BROKER => match name.parse::<i32>() {
                Ok(id) if id == broker.options.id.0 => Ok(Self::Broker),
                Ok(_) => {
                    let (here, asked) = (broker.options.id, &**name);
                    let message = format!("Unexpected broker id, expected {here} or empty string, but received {asked}");
                    Err(Refusal::new(ErrorCode::InvalidRequest, message))
                }
                Err(_) => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Broker id must be an integer, but it is: {}", &**name))),
            },
            resource_type::BROKER_LOGGER => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "Loggers have no configs of their own: set log.level and start the broker again.",
            )),
            resource_type::CLIENT_METRICS | resource_type::GROUP => {
                Err(Refusal::new(ErrorCode::InvalidRequest, "Groups and client metrics have no configs of their own here."))
            }
            kind => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unsupported resource type: {kind}"))),
        }
    }
}
