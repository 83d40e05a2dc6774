//! FindCoordinator: who coordinates a group.
//!
//! Transactions and share groups are refused with codes that every client gives up at: others are asked again, by some for ever.

use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use protocol::{ErrorCode, StrBytes};

use super::metadata::endpoint_of;
use crate::broker::Broker;
use crate::coordinator::{Coordinators, coordinator_of};
use crate::session::RequestContext;

/// Kafka's key types; 2 is a share group's partition.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let keys = if context.header.version < 4 { vec![request.key] } else { request.coordinator_keys };
    let coordinators = keys.into_iter().map(|key| coordinator(broker, context, request.key_type, key));
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

fn coordinator(broker: &Broker, context: &RequestContext, key_type: i8, key: StrBytes) -> Coordinator {
    let found = match key_type {
        GROUP => named(broker, context, &key),
        TRANSACTION => Err((ErrorCode::TransactionalIdAuthorizationFailed, "transactions are not supported yet")),
        _ => Err((ErrorCode::InvalidRequest, "only groups have coordinators here")),
    };
    found
        .unwrap_or_else(|(code, message)| {
            broker.metrics.requests.error(context.header.api_key, code);
            Coordinator::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(message)))
                .with_node_id(BrokerId(-1))
                .with_port(-1)
        })
        .with_key(key)
}

fn named(broker: &Broker, context: &RequestContext, group_id: &str) -> Result<Coordinator, (ErrorCode, &'static str)> {
    let image = broker.image();
    let coordinator = coordinator_of(&image, Coordinators::slot(group_id)).and_then(|id| image.brokers.get(&id));
    let coordinator = coordinator.ok_or((ErrorCode::CoordinatorNotAvailable, "no broker is registered yet"))?;
    let endpoint = endpoint_of(coordinator, &context.session.listener)
        .ok_or((ErrorCode::CoordinatorNotAvailable, "the coordinator has no such listener"))?;
    Ok(Coordinator::default()
        .with_error_message(None)
        .with_node_id(BrokerId(coordinator.id.0))
        .with_host(StrBytes::from_string(endpoint.host.clone()))
        .with_port(i32::from(endpoint.port)))
}
