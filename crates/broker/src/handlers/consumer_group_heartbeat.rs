//! ConsumerGroupHeartbeat (KIP-848): a member says what it wants and has, and hears what it shall have.

use group::ConsumerHeartbeat;
use protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use types::TopicId;
use uuid::Uuid;

use super::group_member::{client_host, client_id, owned, refused, text};
use crate::broker::Broker;
use crate::session::RequestContext;

/// A member makes its id itself; before, the coordinator makes it for who joins.
const OWN_MEMBER_ID_SINCE: i16 = 1;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let is_given_id = context.header.version < OWN_MEMBER_ID_SINCE && request.member_id.is_empty() && request.member_epoch == 0;
    let member_id = if is_given_id { Uuid::from_bytes(broker.random.uuid_bytes()).to_string() } else { request.member_id.to_string() };
    let topics = request.subscribed_topic_names.as_ref();
    let partitions = request.topic_partitions.as_ref();
    let heartbeat = group::ConsumerHeartbeatRequest {
        group_id: request.group_id.to_string(),
        member_id,
        member_epoch: request.member_epoch,
        instance_id: owned(request.instance_id.as_ref()),
        rack_id: owned(request.rack_id.as_ref()),
        client_id: client_id(context),
        client_host: client_host(context),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        subscribed_topics: topics.map(|names| names.iter().map(|name| name.to_string()).collect()),
        subscribed_regex: owned(request.subscribed_topic_regex.as_ref()),
        assignor: owned(request.server_assignor.as_ref()),
        owned: partitions.map(|topics| topics.iter().map(|topic| (TopicId(topic.topic_id), topic.partitions.clone())).collect()),
    };
    let ask =
        move |coordinator: &mut group::Coordinator, topics: &dyn group::Topics, now| coordinator.consumer_heartbeat(heartbeat, topics, now);
    match broker.coordinators.ask(&request.group_id, ask).await {
        Ok(heartbeat) => answer(heartbeat),
        Err(error) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(refused(broker, context, &error))
            .with_error_message(Some(text(error.to_string()))),
    }
}

fn answer(heartbeat: ConsumerHeartbeat) -> ConsumerGroupHeartbeatResponse {
    let assignment = heartbeat.assignment.map(|assigned| {
        let topics = assigned.into_iter();
        let topics = topics.map(|(topic, partitions)| TopicPartitions::default().with_topic_id(topic.0).with_partitions(partitions));
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(heartbeat.member_id)))
        .with_member_epoch(heartbeat.member_epoch)
        .with_heartbeat_interval_ms(heartbeat.heartbeat_interval_ms)
        .with_assignment(assignment)
}
