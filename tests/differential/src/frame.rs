//! Frames of Kafka's protocol: a length of four bytes, then a request or an answer.

use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;

/// Largest frame that is believed; Kafka's own limit of a request.
const LARGEST: u32 = 100 << 20;

/// Reads one frame without its length; `None` when the other side has closed.
///
/// # Errors
/// When reading fails, also because the other side closes within a frame, or the length is beyond belief.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match from.read(&mut length[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => from.read_exact(&mut length[1..])?,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length);
    if LARGEST < length {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame)?;
    Ok(Some(frame.into()))
}

/// Writes `frame` with its length.
///
/// # Errors
/// When writing fails.
pub fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a frame beyond 4 GiB"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    to.write_all(&bytes)
}

/// The correlation id of an answer.
pub fn correlation_id(answer: &[u8]) -> Option<i32> {
    answer.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// What a request's first bytes say, in every version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Which API.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
}

impl Head {
    /// Of a request without its length.
    ///
    /// # Errors
    /// When the request is too short or its API is none of Kafka's.
    pub fn of(request: &[u8]) -> Result<Self> {
        let mut request = request;
        ensure!(8 <= request.len(), "a request of {} bytes", request.len());
        let key = request.get_i16();
        let api = ApiKey::try_from(key).map_err(|()| anyhow::anyhow!("API key {key}"))?;
        Ok(Self { api, version: request.get_i16(), correlation_id: request.get_i32() })
    }

    /// Whether Apache Kafka 4 still has this version: those that it dropped are the ones that kafka-protocol cannot decode.
    pub fn is_current(&self) -> bool {
        let versions = self.api.valid_versions();
        (versions.min..=versions.max).contains(&self.version)
    }

    /// Where the body of `request` begins.
    ///
    /// # Errors
    /// When the header cannot be decoded.
    pub fn body_start(&self, request: &Bytes) -> Result<usize> {
        let mut rest = request.clone();
        RequestHeader::decode(&mut rest, self.api.request_header_version(self.version)).context("decode the header of a request")?;
        Ok(request.len() - rest.len())
    }

    /// Decodes an answer to this request.
    ///
    /// # Errors
    /// When it is none, or has bytes beyond its end.
    pub fn decode_answer(&self, answer: &Bytes) -> Result<ResponseKind> {
        let mut rest = answer.clone();
        ResponseHeader::decode(&mut rest, self.api.response_header_version(self.version)).context("decode the header of an answer")?;
        let body = ResponseKind::decode(self.api, &mut rest, self.version)?;
        ensure!(rest.is_empty(), "{} bytes follow the answer to {:?} version {}", rest.len(), self.api, self.version);
        Ok(body)
    }
}
