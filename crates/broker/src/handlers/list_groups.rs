//! ListGroups: the groups that this broker coordinates. A client that wants all of them asks every broker.

use group::ListFilter;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use super::group_member::{refused, text};
use crate::broker::Broker;
use crate::coordinator::CoordinatorError;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter = ListFilter {
        states: request.states_filter.iter().map(|state| state.to_string()).collect(),
        types: request.types_filter.iter().map(|group_type| group_type.to_string()).collect(),
    };
    let slots = broker.coordinators.owned().into_iter().map(|slot| {
        let filter = filter.clone();
        broker.coordinators.ask_slot(slot, move |coordinator, _, _| Ok(coordinator.list(&filter)))
    });
    let mut groups = Vec::new();
    for listed in futures::future::join_all(slots).await {
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
