//! ApiVersions (KIP-35, KIP-511): what this broker serves.

use protocol::ErrorCode;
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::session::RequestContext;

pub(crate) fn handle(context: &RequestContext, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let response = protocol::api_versions_response();
    // From version 3 on a client must say what it is, in Kafka's characters.
    let names_itself = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        text.bytes().all(inner) && edge(text.as_bytes().first()) && edge(text.as_bytes().last())
    };
    if context.header.version < 3 || names_itself(&request.client_software_name) && names_itself(&request.client_software_version) {
        response
    } else {
        response.with_error_code(ErrorCode::InvalidRequest.code())
    }
}
