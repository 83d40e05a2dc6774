//! SyncGroup: the leader hands in the assignment of a generation, and everybody gets their part of it.

use bytes::Bytes;
use group::{GroupError, SyncRequest};
use protocol::StrBytes;
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::group_member::{owned, refused};
use crate::answer_room::AnswerRoom;
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

/// A member says what it takes the group's protocol to be (KIP-559).
const PROTOCOL_SINCE: i16 = 5;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let lacks_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
    let synced = if PROTOCOL_SINCE <= context.header.version && lacks_protocol {
        Err(GroupError::InconsistentGroupProtocol.into())
    } else {
        let mut hurry = context.hurry.clone();
        tokio::select! {
            synced = broker.coordinators.sync(sync(&request)) => synced,
            // The client is gone, or the broker stops.
            () = hurry.wait() => Err(CoordinatorError::NotAvailable),
        }
    };
    match synced {
        Ok(synced) => {
            // The group shares it with the answer until that is encoded.
            room.reserve(synced.assignment.len()).await;
            SyncGroupResponse::default()
                .with_protocol_type(synced.protocol_type.map(StrBytes::from_string))
                .with_protocol_name(synced.protocol.map(StrBytes::from_string))
                .with_assignment(synced.assignment)
        }
        Err(error) => SyncGroupResponse::default().with_error_code(refused(broker, context, &error)),
    }
}

fn sync(request: &SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.iter();
    let assignments = assignments.map(|assigned| (assigned.member_id.to_string(), Bytes::copy_from_slice(&assigned.assignment)));
    SyncRequest {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type.as_ref()),
        protocol: owned(request.protocol_name.as_ref()),
        assignments: assignments.collect(),
    }
}
