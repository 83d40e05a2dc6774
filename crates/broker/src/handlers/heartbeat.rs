//! Heartbeat: a member of a classic group lives, and learns whether it has to join again.

use protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group_member::{owned, refused};
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let heartbeat = group::HeartbeatRequest {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    match broker.coordinators.ask(&request.group_id, move |coordinator, _, now| coordinator.heartbeat(heartbeat, now)).await {
        // Sessions begin anew once the group is loaded: nothing is lost if the member goes on.
        Ok(()) | Err(CoordinatorError::Loading) => HeartbeatResponse::default(),
        Err(error) => HeartbeatResponse::default().with_error_code(refused(broker, context, &error)),
    }
}
