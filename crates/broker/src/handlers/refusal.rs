//! Why one part of an administrative request is not done: a code, and a text that people read in Kafka's own tools.

use metadata_api::MetadataError;
use protocol::{ErrorCode, StrBytes};

use crate::broker::Broker;
use crate::broker_config::BrokerConfigError;
use crate::error_code;
use crate::group_config::GroupConfigError;
use crate::session::RequestContext;
use crate::topic_config::TopicConfigError;

/// A refused topic, partition or resource. The texts are Kafka's where Kafka has one.
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What Kafka says of a topic or partition that is not there.
    pub(crate) fn unknown_topic() -> Self {
        Self::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    }

    /// Counts the refusal and gives its code and text for the answer.
    pub(crate) fn answered(self, broker: &Broker, context: &RequestContext) -> (i16, Option<StrBytes>) {
        broker.metrics.requests.error(context.header.api_key, self.code);
        (self.code.code(), Some(StrBytes::from_string(self.message)))
    }
}

/// The outcome of one part of a request, as code and text.
pub(crate) fn outcome(broker: &Broker, context: &RequestContext, done: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match done {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(refusal) => refusal.answered(broker, context),
    }
}

impl From<MetadataError> for Refusal {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. } => Self::unknown_topic(),
            MetadataError::TopicExists { name } => Self::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")),
            error => Self::new(error_code::admin(&error), error.to_string()),
        }
    }
}

impl From<BrokerConfigError> for Refusal {
    fn from(error: BrokerConfigError) -> Self {
        Self::new(ErrorCode::InvalidRequest, error.to_string())
    }
}

impl From<GroupConfigError> for Refusal {
    fn from(error: GroupConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

impl From<TopicConfigError> for Refusal {
    fn from(error: TopicConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}
