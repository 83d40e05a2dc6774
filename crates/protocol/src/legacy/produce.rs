//! Produce 0 to 2. The records are a message set (magic 0 or 1), or a record batch from a client that is ahead of its version.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::{Fields, put_array, put_string};
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 2;

pub(super) fn decode(fields: &mut Fields<'_>) -> Result<ProduceRequest, MalformedError> {
    Ok(ProduceRequest::default().with_acks(fields.i16()?).with_timeout_ms(fields.i32()?).with_topic_data(fields.array(|fields| {
        Ok(TopicProduceData::default().with_name(fields.topic_name()?).with_partition_data(
            fields.array(|fields| Ok(PartitionProduceData::default().with_index(fields.i32()?).with_records(fields.nullable_bytes()?)))?,
        ))
    })?))
}

/// The throttle time stands last, as in every version, and begins with version 1 (KIP-13); the append time with 2 (KIP-32).
pub(crate) fn encode(response: &ProduceResponse, version: i16, head: &mut BytesMut) {
    put_array(head, &response.responses, |head, topic| {
        put_string(head, &topic.name);
        put_array(head, &topic.partition_responses, |head, partition| {
            head.put_i32(partition.index);
            head.put_i16(partition.error_code);
            head.put_i64(partition.base_offset);
            if 2 <= version {
                head.put_i64(partition.log_append_time_ms);
            }
        });
    });
    if 1 <= version {
        head.put_i32(response.throttle_time_ms);
    }
}
