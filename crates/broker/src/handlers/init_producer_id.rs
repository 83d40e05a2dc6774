//! InitProducerId: a fresh producer id for an idempotent producer (KIP-98).
//!
//! An id that the request names (KIP-360) is not looked at, as in Kafka: without a transactional id every call gives out a new one.

use protocol::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let given = match request.transactional_id {
        // There are no transactions yet. This is the code that every client gives up at; others are asked again, by some for ever.
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        None => broker.producer_ids.next(&*broker.metadata).await.map_err(|error| {
            tracing::warn!("no producer id could be given out: {error}");
            error_code::producer_id(&error)
        }),
    };
    match given {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(code) => {
            broker.metrics.requests.error(context.header.api_key, code);
            InitProducerIdResponse::default().with_error_code(code.code()).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
        }
    }
}
