//! JoinGroup: makes a member of a group and answers when its next generation begins.

use bytes::Bytes;
use group::{GroupError, JoinRequest, Joined, Protocol};
use protocol::StrBytes;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::group_member::{client_host, client_id, owned, refused, text};
use crate::answer_room::AnswerRoom;
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

/// A new member comes back with the id that it is given (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// A leader can be told that there is nothing to assign (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.header.version;
    let member_id = request.member_id.clone();
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: protocol.name.to_string(), metadata: Bytes::copy_from_slice(&protocol.metadata) });
    let join = JoinRequest {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        fresh_id: uuid::Uuid::from_bytes(broker.random.uuid_bytes()).to_string(),
        instance_id: owned(request.group_instance_id.as_ref()),
        client_id: client_id(context),
        client_host: client_host(context),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version < 1 { request.session_timeout_ms } else { request.rebalance_timeout_ms },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        needs_member_id: MEMBER_ID_REQUIRED_SINCE <= version,
        can_skip_assignment: SKIP_ASSIGNMENT_SINCE <= version,
        reason: owned(request.reason.as_ref()),
    };
    let mut hurry = context.hurry.clone();
    let joined = tokio::select! {
        joined = broker.coordinators.join(join) => joined,
        // The client is gone, or the broker stops. Who is a member stays one until its session ends.
        () = hurry.wait() => Err(CoordinatorError::NotAvailable),
    };
    match joined {
        Ok(joined) => {
            // The leader's has everybody's metadata, which the group shares with it until it is encoded.
            room.reserve(joined.bytes()).await;
            answer(broker, joined)
        }
        Err(error) => {
            let member_id = match &error {
                CoordinatorError::Group(GroupError::MemberIdRequired { member_id }) => text(member_id.clone()),
                _ => member_id,
            };
            JoinGroupResponse::default()
                .with_error_code(refused(broker, context, &error))
                .with_generation_id(-1)
                .with_protocol_name(None)
                .with_member_id(member_id)
        }
    }
}

fn answer(broker: &Broker, joined: Joined) -> JoinGroupResponse {
    if joined.member_id == joined.leader {
        broker.metrics.groups.rebalances.inc();
    }
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.instance_id.map(StrBytes::from_string))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.map(StrBytes::from_string))
        .with_protocol_name(joined.protocol.map(StrBytes::from_string))
        .with_leader(text(joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(joined.member_id))
        .with_members(members.collect())
}
