//! Kafka's protocol as bytes: frames, headers, requests and responses for every version served, and the guards that stand between
//! hostile input and the decoder. Knows neither sockets nor storage.
//!
//! A frame is a 4-byte length ([`frame`]), a header, and a body. [`decode_request`] takes what follows the length and walks the body
//! before kafka-protocol, which trusts array lengths, may allocate anything for it; what that crate has no schema of any more is read
//! by `legacy`. [`encode_response`] gives back slices for a
//! vectored write in which the records of a Fetch are not copied.

pub mod client;
mod error;
mod fetch_response;
pub mod frame;
mod gather;
mod guard;
mod legacy;
mod newer;
mod request;
mod response;
mod shapes;
mod versions;
mod wire;

pub use error::ErrorCode;
pub use fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchedPartition, FetchedTopic, LeaderIdAndEpoch, NodeEndpoint,
};
pub use frame::{FrameError, RequestHeader};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{StrBytes, VersionRange};
pub use legacy::list_offsets::{
    ListOffsetsPartitionV0, ListOffsetsRequestV0, ListOffsetsResponseV0, ListOffsetsTopicV0, ListedPartitionV0, ListedTopicV0,
};
pub use request::{DecodeError, DecodedRequest, Request, decode_request};
pub use response::{EncodeError, GROUP_VERSION, ResponseBody, api_versions_response, encode_response, unsupported_api_versions};
pub use versions::ApiKey;
pub use wire::MalformedError;
