//! DeleteTopics, by name or (from version 6) by id; a topic is answered when it is no longer served here.

use std::collections::HashMap;
use std::time::Duration;

use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use types::{Revision, TopicId};
use uuid::Uuid;

use crate::broker::Broker;
use crate::error_code;
use crate::quota::Mutations;
use crate::session::RequestContext;

/// How long an answer waits for this broker to stop serving what is deleted already.
const WAIT: Duration = Duration::from_secs(5);
/// The first version that may be told of an exceeded quota.
const FIRST_THROTTLED: i16 = 5;

/// A topic as the request names it: by exactly one of the two.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Named {
    name: Option<StrBytes>,
    id: Uuid,
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let version = context.header.version;
    let named: Vec<Named> = if version < 6 {
        request.topic_names.into_iter().map(|name| Named { name: Some(name.0), id: Uuid::nil() }).collect()
    } else {
        request.topics.into_iter().map(|topic| Named { name: topic.name.map(|name| name.0), id: topic.topic_id }).collect()
    };
    let mut times_named: HashMap<Named, usize> = HashMap::new();
    for topic in &named {
        *times_named.entry(topic.clone()).or_default() += 1;
    }
    let mutations = Mutations::of(broker, context, FIRST_THROTTLED);
    let mut newest = Revision::default();
    let mut responses = Vec::new();
    for topic in named {
        let deleted = if !broker.options().delete_topics {
            let code = if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
            Err((code, "Topic deletion is disabled.".to_owned()))
        } else if 1 < times_named[&topic] {
            Err((ErrorCode::InvalidRequest, "The topic is named more than once.".to_owned()))
        } else {
            delete(broker, &topic, &mutations).await
        };
        responses.push(match deleted {
            Ok((revision, id, name)) => {
                newest = newest.max(revision);
                result(Some(name), id.0)
            }
            Err((code, message)) => {
                broker.metrics.requests.error(context.header.api_key, code);
                result(topic.name, topic.id).with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        });
    }
    let _ = tokio::time::timeout(WAIT, broker.leadership.applied(newest)).await;
    DeleteTopicsResponse::default().with_throttle_time_ms(mutations.throttle_time_ms()).with_responses(responses)
}

fn result(name: Option<StrBytes>, id: Uuid) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(name.map(TopicName)).with_topic_id(id)
}

async fn delete(broker: &Broker, topic: &Named, mutations: &Mutations<'_>) -> Result<(Revision, TopicId, StrBytes), (ErrorCode, String)> {
    let image = broker.image();
    let found = match (&topic.name, topic.id.is_nil()) {
        (Some(name), true) => image.topic_named(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        (None, false) => image.topics.get(&TopicId(topic.id)).ok_or(ErrorCode::UnknownTopicId),
        (Some(_), false) => return Err((ErrorCode::InvalidRequest, "Topic name and topic ID can not both be specified.".to_owned())),
        (None, true) => return Err((ErrorCode::InvalidRequest, "Neither topic name nor id were specified.".to_owned())),
    };
    let found = found.map_err(|code| {
        let what = if code == ErrorCode::UnknownTopicId { "topic ID" } else { "topic-partition" };
        (code, format!("This server does not host this {what}."))
    })?;
    mutations.check().map_err(|refusal| (refusal.code, refusal.message))?;
    let revision = broker.metadata.delete_topic(found.id).await.map_err(|error| (error_code::admin(&error), error.to_string()))?;
    mutations.count(found.partitions.len());
    Ok((revision, found.id, StrBytes::from_string(found.name.clone())))
}
