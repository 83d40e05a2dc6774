//! Requests of Fetch 0 to 3. A limit on the whole answer begins with version 3 (KIP-74).

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use super::Fields;
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(super) const LAST: i16 = 3;

pub(super) fn decode(fields: &mut Fields<'_>, version: i16) -> Result<FetchRequest, MalformedError> {
    Ok(FetchRequest::default()
        .with_replica_id(BrokerId(fields.i32()?))
        .with_max_wait_ms(fields.i32()?)
        .with_min_bytes(fields.i32()?)
        .with_max_bytes(if 3 <= version { fields.i32()? } else { i32::MAX })
        .with_topics(fields.array(|fields| {
            Ok(FetchTopic::default().with_topic(fields.topic_name()?).with_partitions(fields.array(|fields| {
                Ok(FetchPartition::default()
                    .with_partition(fields.i32()?)
                    .with_fetch_offset(fields.i64()?)
                    .with_partition_max_bytes(fields.i32()?))
            })?))
        })?))
}
