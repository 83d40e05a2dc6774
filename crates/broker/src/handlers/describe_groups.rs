//! DescribeGroups: classic groups and their members.

use group::{Coordinator, Described, GroupError, Topics};
use protocol::StrBytes;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::group_member::{Questions, once, operations, refused, text};
use crate::answer_room::AnswerRoom;
use crate::broker::Broker;
use crate::coordinator::{CoordinatorError, Coordinators};
use crate::session::RequestContext;

/// Before, a group that does not exist is dead and no error (KIP-1043).
const NOT_FOUND_SINCE: i16 = 6;
/// The state of a group that does not exist.
const DEAD: &str = "Dead";

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    // Only where there is no error, as in Kafka.
    let operations = operations(request.include_authorized_operations);
    let (mut groups, mut questions) = (Vec::new(), Questions::default());
    for group_id in once(request.groups) {
        let (slot, asked) = (Coordinators::slot(&group_id), group_id.to_string());
        let ask = move |coordinator: &Coordinator, _: &dyn Topics| coordinator.describe(&asked);
        let described = questions.ask(broker.coordinators.ask_in_room(slot, room, Described::bytes, ask)).await;
        let answer = match described {
            Ok(described) => describe(described).with_authorized_operations(operations),
            Err(CoordinatorError::Group(error @ GroupError::GroupIdNotFound(_))) => {
                let dead = DescribedGroup::default().with_group_state(StrBytes::from_static_str(DEAD));
                if context.header.version < NOT_FOUND_SINCE {
                    dead.with_authorized_operations(operations)
                } else {
                    let message = error.to_string();
                    dead.with_error_code(refused(broker, context, &error.into())).with_error_message(Some(text(message)))
                }
            }
            Err(error) => DescribedGroup::default().with_error_code(refused(broker, context, &error)),
        };
        groups.push(answer.with_group_id(group_id));
    }
    DescribeGroupsResponse::default().with_groups(groups)
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
