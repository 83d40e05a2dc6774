//! The client's side: requests to bytes, responses from bytes. A response comes from a broker that the user chose, so its body is
//! not guarded as a request's is; limit the length of the frame.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{self, ApiKey as AnyApiKey};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::frame::LENGTH_BYTES;
use crate::{ApiKey, newer};

/// A request or a response that the other side's version cannot carry, or that is not one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientCodecError {
    /// A request that says something its version cannot.
    #[error("cannot encode a request of API key {api_key}, version {version}: {reason}")]
    Encode {
        /// Kafka's number of the API.
        api_key: i16,
        /// The version.
        version: i16,
        /// kafka-protocol's words.
        reason: String,
    },
    /// A response that is not one of its API and version.
    #[error("cannot decode a response of API key {api_key}, version {version}: {reason}")]
    Decode {
        /// Kafka's number of the API.
        api_key: i16,
        /// The version.
        version: i16,
        /// What is wrong with it.
        reason: String,
    },
}

/// The whole frame of a request: length, header, body.
///
/// # Errors
/// When a field is set that `version` lacks, or the frame would pass 2^31-1 bytes.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<StrBytes>,
    version: i16,
    request: &R,
) -> Result<Bytes, ClientCodecError> {
    let header = messages::RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id);
    let fields = ApiKey::from_key(R::KEY).map_or(version, |api| newer::known(api, version));
    let encode = || {
        let size = request.compute_size(fields)?;
        let mut frame = BytesMut::with_capacity(LENGTH_BYTES + 64 + size);
        frame.put_bytes(0, LENGTH_BYTES);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, fields)?;
        let length = i32::try_from(frame.len() - LENGTH_BYTES)?;
        frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(frame.freeze())
    };
    let encoded: Result<Bytes, Box<dyn std::error::Error + Send + Sync>> = encode();
    encoded.map_err(|reason| ClientCodecError::Encode { api_key: R::KEY, version, reason: reason.to_string() })
}

/// The correlation id of a response without its length; `None` when the frame is too short to have one.
pub fn correlation_id(frame: &[u8]) -> Option<i32> {
    frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// Decodes a response without its length. Records in it are slices of `frame`.
///
/// # Errors
/// When the bytes are not a response of this API and version.
pub fn decode_response<R: Request>(version: i16, frame: Bytes) -> Result<R::Response, ClientCodecError> {
    let mut frame = frame;
    let mut decode = || {
        messages::ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        R::Response::decode(&mut frame, version)
    };
    decode().map_err(|error| ClientCodecError::Decode { api_key: R::KEY, version, reason: format!("{error:#}") })
}

/// Kafka's name of an API key, for messages.
pub fn api_name(api_key: i16) -> String {
    AnyApiKey::try_from(api_key).map_or_else(|()| format!("API key {api_key}"), |key| format!("{key:?}"))
}
