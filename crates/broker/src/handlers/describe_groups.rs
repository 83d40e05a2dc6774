//! DescribeGroups: classic groups and their members.

use group::{Coordinator, Described, GroupError, Topics};
use protocol::StrBytes;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::group_member::{ask_each, operations, refused, text};
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

/// Before, a group that does not exist is dead and no error (KIP-1043).
const NOT_FOUND_SINCE: i16 = 6;
/// The state of a group that does not exist.
const DEAD: &str = "Dead";

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let described =
        ask_each(broker, request.groups, |asked| move |coordinator: &mut Coordinator, _: &dyn Topics, _| coordinator.describe(&asked));
    let groups = described.await.into_iter().map(|(group_id, described)| {
        let answer = match described {
            Ok(described) => describe(described).with_authorized_operations(operations(request.include_authorized_operations)),
            Err(CoordinatorError::Group(error @ GroupError::GroupIdNotFound(_))) => {
                let dead = DescribedGroup::default().with_group_state(StrBytes::from_static_str(DEAD));
                if context.header.version < NOT_FOUND_SINCE {
                    dead
                } else {
                    let message = error.to_string();
                    dead.with_error_code(refused(broker, context, &error.into())).with_error_message(Some(text(message)))
                }
            }
            Err(error) => DescribedGroup::default().with_error_code(refused(broker, context, &error)),
        };
        answer.with_group_id(group_id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(described: Described) -> DescribedGroup {
    let members = described.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member_id))
            .with_group_instance_id(member.instance_id.map(StrBytes::from_string))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_id(GroupId(text(described.group_id)))
        .with_group_state(text(described.state.to_string()))
        .with_protocol_type(text(described.protocol_type))
        .with_protocol_data(text(described.protocol))
        .with_members(members.collect())
}
