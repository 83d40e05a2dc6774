//! CreateTopics 0 and 1 (KIP-4): version 1 may only validate, and says why a topic was refused.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse};

use super::{Fields, put_array, put_nullable_string, put_string};
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 1;

pub(super) fn decode(fields: &mut Fields<'_>, version: i16) -> Result<CreateTopicsRequest, MalformedError> {
    Ok(CreateTopicsRequest::default()
        .with_topics(fields.array(topic)?)
        .with_timeout_ms(fields.i32()?)
        .with_validate_only(if 1 <= version { fields.bool()? } else { false }))
}

fn topic(fields: &mut Fields<'_>) -> Result<CreatableTopic, MalformedError> {
    Ok(CreatableTopic::default()
        .with_name(fields.topic_name()?)
        .with_num_partitions(fields.i32()?)
        .with_replication_factor(fields.i16()?)
        .with_assignments(fields.array(|fields| {
            Ok(CreatableReplicaAssignment::default()
                .with_partition_index(fields.i32()?)
                .with_broker_ids(fields.array(|fields| fields.i32().map(BrokerId))?))
        })?)
        .with_configs(
            fields.array(|fields| Ok(CreatableTopicConfig::default().with_name(fields.string()?).with_value(fields.nullable_string()?)))?,
        ))
}

pub(crate) fn encode(response: &CreateTopicsResponse, version: i16, head: &mut BytesMut) {
    put_array(head, &response.topics, |head, topic| {
        put_string(head, &topic.name);
        head.put_i16(topic.error_code);
        if 1 <= version {
            put_nullable_string(head, topic.error_message.as_deref());
        }
    });
}
