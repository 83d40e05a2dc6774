//! OffsetCommit 0 and 1. Version 0, which to Kafka meant ZooKeeper, knows nothing of members: it commits as a consumer without a group
//! does. Version 1 may carry a time of commit, which is not kept: what is committed counts from when it came, as in every later version.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse};

use super::{Fields, put_array, put_string};
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 1;

pub(super) fn decode(fields: &mut Fields<'_>, version: i16) -> Result<OffsetCommitRequest, MalformedError> {
    let mut request = OffsetCommitRequest::default().with_group_id(GroupId(fields.string()?));
    if 1 <= version {
        request.generation_id_or_member_epoch = fields.i32()?;
        request.member_id = fields.string()?;
    }
    let topics = fields.array(|fields| {
        Ok(OffsetCommitRequestTopic::default()
            .with_name(fields.topic_name()?)
            .with_partitions(fields.array(|fields| partition(fields, version))?))
    })?;
    Ok(request.with_topics(topics))
}

fn partition(fields: &mut Fields<'_>, version: i16) -> Result<OffsetCommitRequestPartition, MalformedError> {
    let partition = OffsetCommitRequestPartition::default().with_partition_index(fields.i32()?).with_committed_offset(fields.i64()?);
    if 1 <= version {
        fields.i64()?; // the time of commit
    }
    Ok(partition.with_committed_metadata(fields.nullable_string()?))
}

pub(crate) fn encode(response: &OffsetCommitResponse, head: &mut BytesMut) {
    put_array(head, &response.topics, |head, topic| {
        put_string(head, &topic.name);
        put_array(head, &topic.partitions, |head, partition| {
            head.put_i32(partition.partition_index);
            head.put_i16(partition.error_code);
        });
    });
}
