//! DescribeCluster (KIP-700): the cluster's id and its brokers.

use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use protocol::{ErrorCode, StrBytes};

use super::metadata::{CLUSTER_OPERATIONS, controller, endpoint_of};
use crate::broker::Broker;
use crate::session::RequestContext;

/// Kafka's number for an endpoint of brokers; 2 is controllers'.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let (code, message) = match request.endpoint_type {
        BROKERS => (ErrorCode::None, None),
        CONTROLLERS => (ErrorCode::MismatchedEndpointType, Some("The request was sent to an endpoint of wrong type.")),
        _ => (ErrorCode::UnsupportedEndpointType, Some("Unsupported endpoint type")),
    };
    let response = DescribeClusterResponse::default().with_endpoint_type(request.endpoint_type);
    if !code.is_none() {
        broker.metrics.requests.error(context.header.api_key, code);
        return response.with_error_code(code.code()).with_error_message(message.map(StrBytes::from_static_str));
    }
    let image = broker.image();
    let brokers = image.brokers.values().filter(|member| member.alive || request.include_fenced_brokers).filter_map(|member| {
        let endpoint = endpoint_of(member, &context.session.listener)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(member.id.0))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(member.rack.clone().map(StrBytes::from_string))
                .with_is_fenced(!member.alive),
        )
    });
    response
        .with_cluster_id(StrBytes::from_string(image.cluster_id.to_string()))
        .with_controller_id(controller(broker, &image))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { i32::MIN })
}
