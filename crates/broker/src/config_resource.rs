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

/// A resource that a request names and that may have configs.
pub(crate) enum ConfigResource {
    Topic(Arc<TopicImage>),
    /// This broker, or what all brokers have in common.
    Broker(metadata_api::ConfigResource),
    /// A group, whether there is one or not.
    Group(metadata_api::ConfigResource),
}

impl ConfigResource {
    /// Finds the resource, or says why not in Kafka's words.
    pub(crate) fn find(broker: &Broker, kind: i8, name: &StrBytes) -> Result<Self, Refusal> {
        let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        match kind {
            resource_type::TOPIC => {
                check_name(name).map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
                let image = broker.image();
                let topic = image
                    .topic_named(name)
                    .ok_or_else(|| Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("The topic '{}' does not exist.", &**name)))?;
                Ok(Self::Topic(Arc::clone(topic)))
            }
            resource_type::BROKER if name.is_empty() => Ok(Self::Broker(metadata_api::ConfigResource::AllBrokers)),
            resource_type::BROKER => match name.parse::<i32>() {
                Ok(id) if id == broker.id.0 => Ok(Self::Broker(metadata_api::ConfigResource::Broker(broker.id))),
                Ok(_) => invalid(format!("Unexpected broker id, expected {} or empty string, but received {}", broker.id, &**name)),
                Err(_) => invalid(format!("Broker id must be an integer, but it is: {}", &**name)),
            },
            resource_type::BROKER_LOGGER => {
                invalid("Loggers have no configs of their own: set log.level and start the broker again.".to_owned())
            }
            resource_type::CLIENT_METRICS => invalid("Client metrics have no configs of their own here.".to_owned()),
            resource_type::GROUP if name.is_empty() => invalid("Group name must not be empty".to_owned()),
            resource_type::GROUP => Ok(Self::Group(metadata_api::ConfigResource::Group(name.to_string()))),
            kind => invalid(format!("Unsupported resource type: {kind}")),
        }
    }
}
