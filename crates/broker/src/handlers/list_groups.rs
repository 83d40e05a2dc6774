//! ListGroups: the groups that this broker coordinates. A client that wants all of them asks every broker.

use group::{Coordinator, ListFilter, Listed, Topics};
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use types::COORDINATOR_SLOTS;

use super::group_member::{refused, text};
use crate::answer_room::{AnswerRoom, SMALL_ANSWER};
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

/// Slots with more than this are listed one after the other, each when there is room for it; the others together stay small.
const SMALL_SLOT: usize = SMALL_ANSWER / COORDINATOR_SLOTS as usize;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let filter = ListFilter {
        states: request.states_filter.iter().map(|state| state.to_string()).collect(),
        types: request.types_filter.iter().map(|group_type| group_type.to_string()).collect(),
    };
    let list = move |coordinator: &Coordinator, _: &dyn Topics| Ok(coordinator.list(&filter));
    let slots = broker.coordinators.owned();
    let asked = slots.iter().map(|slot| {
        let list = list.clone();
        broker.coordinators.ask_slot(*slot, move |coordinator, topics, _| {
            let listed = list(coordinator, topics)?;
            Ok((bytes(&listed) <= SMALL_SLOT).then_some(listed))
        })
    });
    let asked = futures::future::join_all(asked).await;
    let mut groups = Vec::new();
    for (slot, listed) in slots.into_iter().zip(asked) {
        let listed = match listed {
            Ok(Some(listed)) => {
                room.fill(bytes(&listed));
                Ok(listed)
            }
            Ok(None) => broker.coordinators.ask_in_room(slot, room, |listed: &Vec<Listed>| bytes(listed), list.clone()).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(listed) => groups.extend(listed),
            // Somebody else took it: the groups are listed there.
            Err(CoordinatorError::NotCoordinator) => {}
            // Half a list would look like a whole one.
            Err(error) => return ListGroupsResponse::default().with_error_code(refused(broker, context, &error)),
        }
    }
    let groups = groups.into_iter().map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(text(group.group_id)))
            .with_protocol_type(text(group.protocol_type))
            .with_group_state(text(group.state.to_string()))
            .with_group_type(text(group.group_type.to_string()))
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

fn bytes(listed: &[Listed]) -> usize {
    listed.iter().map(Listed::bytes).sum()
}
