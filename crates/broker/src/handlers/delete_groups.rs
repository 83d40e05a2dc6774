//! DeleteGroups (KIP-229): groups without members, and all that they committed.

use group::{Coordinator, Topics};
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::group_member::{ask_each, refused};
use crate::broker::Broker;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let deleted =
        ask_each(broker, request.groups_names, |asked| move |coordinator: &mut Coordinator, _: &dyn Topics, _| coordinator.delete(&asked));
    let results = deleted.await.into_iter().map(|(group_id, deleted)| {
        let code = deleted.map_or_else(|error| refused(broker, context, &error), |()| 0);
        DeletableGroupResult::default().with_group_id(group_id).with_error_code(code)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
