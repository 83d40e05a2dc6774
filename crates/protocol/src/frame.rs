//! Frames: a 4-byte length, then a request header and a body. Both are read here without trusting a byte of them.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use crate::ApiKey;
use crate::request::DecodeError;
use crate::wire::{MalformedError, Reader};

/// Bytes of the length before every frame; the length does not count them.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of the smallest request: API key, version, correlation id, and a null client id.
pub const MIN_REQUEST_BYTES: usize = 10;

/// Bytes that [`peek_api`] looks at.
pub const PEEK_BYTES: usize = 4;

/// A frame that must not be read on; the connection has to be closed, because nothing after it can be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Negative, or below [`MIN_REQUEST_BYTES`].
    #[error("a frame of {length} bytes cannot hold a request, which has {MIN_REQUEST_BYTES} bytes or more")]
    TooShort {
        /// The length as announced.
        length: i32,
    },
    /// Above the limit in force.
    #[error("a frame of {length} bytes is larger than the {max} bytes allowed")]
    TooLarge {
        /// The length as announced.
        length: i32,
        /// The limit.
        max: usize,
    },
}

/// The length of the request that follows `prefix`, checked before anything is allocated for it.
///
/// # Errors
/// When a request of that length cannot be one, or when it is above `max` bytes.
pub fn request_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(bytes) if bytes < MIN_REQUEST_BYTES => Err(FrameError::TooShort { length }),
        Ok(bytes) if max < bytes => Err(FrameError::TooLarge { length, max }),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(FrameError::TooShort { length }),
    }
}

/// The API and version of a request of which only the first [`PEEK_BYTES`] have arrived, so that the limit for its API can be
/// applied before the rest is read.
///
/// # Errors
/// For an API that is not served; such a request cannot be answered.
pub fn peek_api(start: [u8; PEEK_BYTES]) -> Result<(ApiKey, i16), DecodeError> {
    let [key_high, key_low, version_high, version_low] = start;
    let api_key = i16::from_be_bytes([key_high, key_low]);
    let version = i16::from_be_bytes([version_high, version_low]);
    ApiKey::from_key(api_key).map(|api| (api, version)).ok_or(DecodeError::UnknownApi { api_key })
}

/// What stands before every request's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Which request it is.
    pub api_key: ApiKey,
    /// The version of its body; one that is served.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself. A copy: a slice would hold the whole frame.
    pub client_id: Option<StrBytes>,
}

/// Reads the header of `frame`, which is a request without its length; also returns where the body begins. Tagged fields of the
/// header are skipped: none is known.
pub(crate) fn decode_header(frame: &Bytes) -> Result<(RequestHeader, usize), DecodeError> {
    let mut reader = Reader::new(frame);
    let api_key = reader.i16().map_err(DecodeError::Header)?;
    let version = reader.i16().map_err(DecodeError::Header)?;
    let correlation_id = reader.i32().map_err(DecodeError::Header)?;
    let api_key = ApiKey::from_key(api_key).ok_or(DecodeError::UnknownApi { api_key })?;
    if !api_key.serves(version) {
        return Err(match api_key {
            ApiKey::ApiVersions => DecodeError::UnsupportedApiVersions { version, correlation_id },
            _ => DecodeError::UnsupportedVersion { api_key, version },
        });
    }
    let client_id = decode_client_id(&mut reader, api_key.request_header_version(version)).map_err(DecodeError::Header)?;
    Ok((RequestHeader { api_key, version, correlation_id, client_id }, reader.position()))
}

/// The client id keeps its 16-bit length in every header version (KIP-482); version 2 adds tagged fields behind it.
fn decode_client_id(reader: &mut Reader<'_>, header_version: i16) -> Result<Option<StrBytes>, MalformedError> {
    let client_id = match reader.string_length(false)? {
        None => None,
        Some(length) => Some(StrBytes::from_string(reader.utf8(length)?.to_owned())),
    };
    if 2 <= header_version {
        for _ in 0..reader.tag_count()? {
            let (_, size) = reader.tag()?;
            reader.take(size)?;
        }
    }
    Ok(client_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(frame: &'static [u8]) -> Result<(RequestHeader, usize), DecodeError> {
        decode_header(&Bytes::from_static(frame))
    }

    #[test]
    fn a_length_is_checked_against_both_ends() {
        assert_eq!(request_length(10i32.to_be_bytes(), 100), Ok(10));
        assert_eq!(request_length(100i32.to_be_bytes(), 100), Ok(100));
        assert_eq!(request_length(101i32.to_be_bytes(), 100), Err(FrameError::TooLarge { length: 101, max: 100 }));
        assert_eq!(request_length(9i32.to_be_bytes(), 100), Err(FrameError::TooShort { length: 9 }));
        assert_eq!(request_length((-1i32).to_be_bytes(), 100), Err(FrameError::TooShort { length: -1 }));
    }

    #[test]
    fn every_cut_of_a_header_is_an_error() {
        // Metadata 9: flexible, so a tagged field (5, two bytes) may follow the client id.
        let frame = b"\x00\x03\x00\x09\x00\x00\x00\x2a\x00\x02me\x01\x05\x02xy";
        let (header, body) = decode_header(&Bytes::from_static(frame)).unwrap();
        assert_eq!(body, frame.len());
        assert_eq!((header.api_key, header.version, header.correlation_id), (ApiKey::Metadata, 9, 42));
        assert_eq!(header.client_id.as_deref(), Some("me"));
        for cut in 0..frame.len() {
            let error = decode_header(&Bytes::copy_from_slice(&frame[..cut])).unwrap_err();
            assert!(matches!(error, DecodeError::Header(MalformedError::Short { .. })), "{cut}: {error}");
        }
    }

    #[test]
    fn a_null_client_id_is_none() {
        let (header, body) = header(b"\x00\x03\x00\x00\x00\x00\x00\x01\xff\xff").unwrap();
        assert_eq!((header.client_id, body), (None, 10));
    }

    #[test]
    fn unknown_apis_and_versions_are_told_apart() {
        assert!(matches!(header(b"\x03\xe7\x00\x00\x00\x00\x00\x01\xff\xff"), Err(DecodeError::UnknownApi { api_key: 999 })));
        assert!(matches!(
            header(b"\x00\x00\x00\x0e\x00\x00\x00\x01\xff\xff"),
            Err(DecodeError::UnsupportedVersion { api_key: ApiKey::Produce, version: 14 })
        ));
        // What follows the correlation id has an unknown form in an unknown version, and is not looked at.
        assert!(matches!(
            header(b"\x00\x12\x00\x63\x00\x00\x00\x07"),
            Err(DecodeError::UnsupportedApiVersions { version: 99, correlation_id: 7 })
        ));
    }
}
