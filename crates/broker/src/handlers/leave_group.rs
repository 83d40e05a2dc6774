//! LeaveGroup: one member leaves, or from version 3 on several are made to.

use group::{LeaveRequest, LeavingMember};
use protocol::StrBytes;
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::group_member::{outcome, owned, refused, text};
use crate::broker::Broker;
use crate::session::RequestContext;

/// Before, a request names one member, which is the one that sends it.
const SEVERAL_SINCE: i16 = 3;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let members = if context.header.version < SEVERAL_SINCE {
        vec![LeavingMember { member_id: request.member_id.to_string(), instance_id: None, reason: None }]
    } else {
        let members = request.members.iter().map(|member| LeavingMember {
            member_id: member.member_id.to_string(),
            instance_id: owned(member.group_instance_id.as_ref()),
            reason: owned(member.reason.as_ref()),
        });
        members.collect()
    };
    let leave = LeaveRequest { group_id: request.group_id.to_string(), members };
    match broker.coordinators.ask(&request.group_id, move |coordinator, topics, now| coordinator.leave(leave, topics, now)).await {
        Ok(left) => {
            let members = left.members.into_iter().map(|member| {
                MemberResponse::default()
                    .with_error_code(outcome(broker, context, &member.result))
                    .with_member_id(text(member.member_id))
                    .with_group_instance_id(member.instance_id.map(StrBytes::from_string))
            });
            LeaveGroupResponse::default().with_members(members.collect())
        }
        Err(error) => LeaveGroupResponse::default().with_error_code(refused(broker, context, &error)),
    }
}
