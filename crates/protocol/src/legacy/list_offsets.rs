//! ListOffsets 0, which answers several offsets per partition and no timestamps (until KIP-79).

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::TopicName;

use super::{Fields, put_array, put_string};
use crate::ErrorCode;
use crate::wire::MalformedError;

/// The last version that is handled here.
pub(crate) const LAST: i16 = 0;

/// Asks for offsets of some partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOffsetsRequestV0 {
    /// -1 for a consumer.
    pub replica_id: i32,
    /// The partitions, by topic.
    pub topics: Vec<ListOffsetsTopicV0>,
}

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOffsetsTopicV0 {
    /// The topic's name.
    pub name: TopicName,
    /// Its partitions.
    pub partitions: Vec<ListOffsetsPartitionV0>,
}

/// What is asked of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOffsetsPartitionV0 {
    /// Index of the partition.
    pub partition_index: i32,
    /// Milliseconds since 1970 before which the offsets shall lie; -1 for the latest, -2 for the earliest offset.
    pub timestamp: i64,
    /// Most offsets to answer.
    pub max_num_offsets: i32,
}

/// Answer to a [`ListOffsetsRequestV0`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOffsetsResponseV0 {
    /// The partitions, by topic.
    pub topics: Vec<ListedTopicV0>,
}

/// Offsets in one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTopicV0 {
    /// The topic's name.
    pub name: TopicName,
    /// Its partitions.
    pub partitions: Vec<ListedPartitionV0>,
}

/// Offsets in one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedPartitionV0 {
    /// Index of the partition.
    pub partition_index: i32,
    /// An error of this partition.
    pub error_code: ErrorCode,
    /// The offsets, in descending order; empty with an error.
    pub offsets: Vec<i64>,
}

pub(super) fn decode(fields: &mut Fields<'_>) -> Result<ListOffsetsRequestV0, MalformedError> {
    let replica_id = fields.i32()?;
    let topics = fields.array(|fields| {
        let name = fields.topic_name()?;
        let partitions = fields.array(|fields| {
            Ok(ListOffsetsPartitionV0 { partition_index: fields.i32()?, timestamp: fields.i64()?, max_num_offsets: fields.i32()? })
        })?;
        Ok(ListOffsetsTopicV0 { name, partitions })
    })?;
    Ok(ListOffsetsRequestV0 { replica_id, topics })
}

pub(crate) fn encode(response: &ListOffsetsResponseV0, head: &mut BytesMut) {
    put_array(head, &response.topics, |head, topic| {
        put_string(head, &topic.name);
        put_array(head, &topic.partitions, |head, partition| {
            head.put_i32(partition.partition_index);
            head.put_i16(partition.error_code.code());
            put_array(head, &partition.offsets, |head, offset| head.put_i64(*offset));
        });
    });
}
