//! What the APIs of groups share: who asks, which partitions there are, and how a coordinator's error goes out.

use std::collections::HashSet;
use std::ops::Range;

use futures::{StreamExt, stream};
use group::{Coordinator, GroupError, Now, Topics};
use metadata_api::ClusterImage;
use protocol::messages::GroupId;
use protocol::{ErrorCode, StrBytes};
use types::TopicId;

use super::metadata::{GROUP_OPERATIONS, NO_OPERATIONS};
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::error_code;
use crate::session::RequestContext;

/// The client's id, which Kafka puts before a member's.
pub(crate) fn client_id(context: &RequestContext) -> String {
    context.header.client_id.as_deref().unwrap_or_default().to_owned()
}

/// Where the client is, as Kafka shows it.
pub(crate) fn client_host(context: &RequestContext) -> String {
    format!("/{}", context.session.peer)
}

/// A copy that does not hold on to the request's frame; `None` stays `None`.
pub(crate) fn owned(text: Option<&StrBytes>) -> Option<String> {
    text.map(|text| text.to_string())
}

/// For an answer's field.
pub(crate) fn text(text: String) -> StrBytes {
    StrBytes::from_string(text)
}

/// Counts a coordinator's refusal and gives its code.
pub(crate) fn refused(broker: &Broker, context: &RequestContext, error: &CoordinatorError) -> i16 {
    counted(broker, context, error_code::coordinator(error))
}

/// As [`refused`], for one member or partition.
pub(crate) fn outcome(broker: &Broker, context: &RequestContext, result: &Result<(), GroupError>) -> i16 {
    match result {
        Ok(()) => ErrorCode::None.code(),
        Err(error) => counted(broker, context, error_code::group(error)),
    }
}

pub(crate) fn counted(broker: &Broker, context: &RequestContext, code: ErrorCode) -> i16 {
    broker.metrics.requests.error(context.header.api_key, code);
    code.code()
}

/// A topic's id, all zero if there is no such topic.
pub(crate) fn topic_id(image: &ClusterImage, name: &str) -> TopicId {
    image.topic_named(name).map(|topic| topic.id).unwrap_or_default()
}

/// The partitions that a topic has; none if there is no such topic.
pub(crate) fn partitions(image: &ClusterImage, name: &str) -> Range<i32> {
    let count = image.topic_named(name).map_or(0, |topic| topic.partitions.len());
    0..i32::try_from(count).unwrap_or(i32::MAX)
}

/// How many groups of one request are asked at the same time: a coordinator that has to be waited for does not keep the others waiting.
const ASKED_AT_ONCE: usize = 64;

/// Asks for each group once, however often it is named, and answers in the order of the request.
pub(crate) async fn ask_each<T, F>(
    broker: &Broker,
    group_ids: Vec<GroupId>,
    ask: impl Fn(String) -> F,
) -> Vec<(GroupId, Result<T, CoordinatorError>)>
where
    T: Send + 'static,
    F: FnOnce(&mut Coordinator, &dyn Topics, Now) -> Result<T, GroupError> + Send + 'static,
{
    let mut named = HashSet::new();
    let once: Vec<_> = group_ids.into_iter().filter(|group_id| named.insert(group_id.clone())).collect();
    let asked = once.into_iter().map(|group_id| {
        let ask = ask(group_id.to_string());
        async move {
            let answer = broker.coordinators.ask(&group_id, ask).await;
            (group_id, answer)
        }
    });
    stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await
}

/// What may be done with a group, if the client asked: without an authorizer, everything.
pub(crate) fn operations(asked: bool) -> i32 {
    if asked { GROUP_OPERATIONS } else { NO_OPERATIONS }
}
