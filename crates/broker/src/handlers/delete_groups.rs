//! DeleteGroups (KIP-229): groups without members, and all that they committed.

use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::group_member::{Questions, once, refused};
use crate::broker::Broker;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let (mut results, mut questions) = (Vec::new(), Questions::default());
    for group_id in once(request.groups_names) {
        let asked = group_id.to_string();
        let deleted = questions.ask(broker.coordinators.ask(&group_id, move |coordinator, _, _| coordinator.delete(&asked))).await;
        let code = deleted.map_or_else(|error| refused(broker, context, &error), |()| 0);
        results.push(DeletableGroupResult::default().with_group_id(group_id).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}
