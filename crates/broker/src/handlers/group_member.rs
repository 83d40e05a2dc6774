//! What the APIs of groups share: who asks, which partitions there are, and how a coordinator's error goes out.

use std::collections::HashSet;
use std::ops::Range;

use group::GroupError;
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

/// Each group once, however often the request names it (it may have a great many members), in the order of the request.
pub(crate) fn once(group_ids: Vec<GroupId>) -> impl Iterator<Item = GroupId> {
    let mut named = HashSet::new();
    group_ids.into_iter().filter(move |group_id| named.insert(group_id.clone()))
}

/// What one request asks of several coordinators, one after the other. Once one was waited for in vain the others are not: the request
/// would wait as many times as it names groups.
#[derive(Default)]
pub(crate) struct Questions {
    absent: Option<CoordinatorError>,
}

impl Questions {
    pub(crate) async fn ask<T>(&mut self, ask: impl Future<Output = Result<T, CoordinatorError>>) -> Result<T, CoordinatorError> {
        if let Some(error) = &self.absent {
            return Err(error.clone());
        }
        let answer = ask.await;
        if let Err(error @ (CoordinatorError::NotAvailable | CoordinatorError::Loading)) = &answer {
            self.absent = Some(error.clone());
        }
        answer
    }
}

/// What may be done with a group, if the client asked: without an authorizer, everything.
pub(crate) fn operations(asked: bool) -> i32 {
    if asked { GROUP_OPERATIONS } else { NO_OPERATIONS }
}

#[cfg(test)]
mod tests {
    use protocol::messages::GroupId;

    use super::*;

    #[tokio::test]
    async fn once_a_coordinator_is_absent_the_next_is_not_asked() {
        let mut questions = Questions::default();
        assert_eq!(questions.ask(async { Ok(1) }).await, Ok(1));
        let refusal = CoordinatorError::NotCoordinator;
        assert_eq!(questions.ask::<()>(async { Err(refusal.clone()) }).await, Err(refusal), "this one was there");
        assert_eq!(questions.ask(async { Ok(2) }).await, Ok(2));
        assert_eq!(questions.ask::<()>(async { Err(CoordinatorError::Loading) }).await, Err(CoordinatorError::Loading));
        assert_eq!(questions.ask::<()>(async { unreachable!("it would have to be waited for") }).await, Err(CoordinatorError::Loading));
    }

    #[test]
    fn a_group_is_asked_for_once_and_in_the_order_of_the_request() {
        let ids = ["b", "a", "b", "c", "a"].map(|id| GroupId(StrBytes::from_static_str(id)));
        assert_eq!(once(ids.to_vec()).map(|id| id.to_string()).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
