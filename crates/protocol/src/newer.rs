//! Versions that kafka-protocol does not have yet: ListOffsets 11 (KIP-1023), whose fields are those of version 10, and DescribeLogDirs 5
//! (KIP-1066), which says of a directory whether it takes new partitions. By these two clients tell Kafka 4.2 and 4.3 from older ones.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::DescribeLogDirsResponse;
use kafka_protocol::protocol::Encodable;

use crate::ApiKey;
use crate::fetch_response::put_varint;

/// The version of DescribeLogDirs whose answer is written here.
pub(crate) const DESCRIBE_LOG_DIRS: i16 = 5;

/// The newest version up to `version` that kafka-protocol reads and writes. A request of `version` has its fields.
pub(crate) fn known(api: ApiKey, version: i16) -> i16 {
    match api {
        ApiKey::ListOffsets => version.min(10),
        ApiKey::DescribeLogDirs => version.min(DESCRIBE_LOG_DIRS - 1),
        _ => version,
    }
}

/// DescribeLogDirs 5: version 4 with a boolean at the end of each directory. None is cordoned: there is but one.
pub(crate) fn encode_describe_log_dirs(body: &DescribeLogDirsResponse, head: &mut BytesMut) -> Result<(), String> {
    const NOT_CORDONED: u8 = 0;
    const NO_TAGGED_FIELDS: u8 = 0;

    head.put_i32(body.throttle_time_ms);
    head.put_i16(body.error_code);
    put_varint(head, body.results.len() + 1);
    for directory in &body.results {
        directory.encode(head, DESCRIBE_LOG_DIRS - 1).map_err(|error| format!("{error:#}"))?;
        debug_assert!(directory.unknown_tagged_fields.is_empty(), "nobody sets any, so the last byte says that there are none");
        head.truncate(head.len() - 1);
        head.put_slice(&[NOT_CORDONED, NO_TAGGED_FIELDS]);
    }
    head.put_u8(NO_TAGGED_FIELDS);
    Ok(())
}

#[cfg(test)]
mod tests;
