//! ListConfigResources (KIP-1142): the resources that configs may be asked of.

use metadata_api::ClusterImage;
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use protocol::{ErrorCode, StrBytes};

use crate::broker::Broker;
use crate::config_resource::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::session::RequestContext;

/// About what one topic or group takes in an answer beside its name.
const RESOURCE_BYTES: usize = 8;

/// About how many bytes the answer will have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(broker: &Broker) -> usize {
    let image = broker.image();
    image.names.keys().chain(groups(&image)).map(|name| name.len() + RESOURCE_BYTES).sum()
}

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    // Version 0 asks for client metrics alone, an empty list from version 1 for all.
    let wanted: &[i8] = match &request.resource_types[..] {
        [] if context.header.version == 0 => &[CLIENT_METRICS],
        [] => &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP],
        types => types,
    };
    if wanted.iter().any(|kind| ![TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP].contains(kind)) {
        broker.metrics.requests.error(context.header.api_key, ErrorCode::UnsupportedVersion);
        return ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    }
    let image = broker.image();
    let resource = |kind: i8, name: StrBytes| ConfigResource::default().with_resource_type(kind).with_resource_name(name);
    let mut resources = Vec::new();
    if wanted.contains(&TOPIC) {
        resources.extend(image.names.keys().map(|name| resource(TOPIC, StrBytes::from_string(name.clone()))));
    }
    for kind in [BROKER, BROKER_LOGGER].into_iter().filter(|kind| wanted.contains(kind)) {
        resources.extend(image.brokers.keys().map(|id| resource(kind, StrBytes::from_string(id.to_string()))));
    }
    if wanted.contains(&GROUP) {
        resources.extend(groups(&image).map(|id| resource(GROUP, StrBytes::from_string(id.clone()))));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}

/// Those on which something is set.
fn groups(image: &ClusterImage) -> impl Iterator<Item = &String> {
    image.configs.keys().filter_map(|resource| match resource {
        metadata_api::ConfigResource::Group(id) => Some(id),
        metadata_api::ConfigResource::AllBrokers | metadata_api::ConfigResource::Broker(_) => None,
    })
}
