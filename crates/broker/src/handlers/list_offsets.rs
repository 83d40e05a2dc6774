//! ListOffsets: the latest and earliest offset, the first at or after a timestamp, the one with the largest timestamp. Version 0 lists
//! offsets before a timestamp.
//!
//! The whole log counts as local, so "earliest local" is the log start, and "latest tiered" and "earliest pending upload" do not exist:
//! what Kafka answers without tiered storage.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use partition::{Isolation, Partition, ReadError, TimestampOffset};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use protocol::{ErrorCode, ListOffsetsPartitionV0, ListOffsetsRequestV0, ListOffsetsResponseV0, ListedPartitionV0, ListedTopicV0};
use types::Timestamp;

use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

/// Kafka's number for read_committed.
const READ_COMMITTED: i8 = 1;
/// Lookups of one request that run at the same time: those by time may read from the store.
const LOOKUPS_AT_ONCE: usize = 8;

/// What a negative timestamp asks for.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version in which each may be asked for.
fn first_version(timestamp: i64) -> Option<i16> {
    match timestamp {
        LATEST | EARLIEST | 0.. => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        EARLIEST_PENDING_UPLOAD => Some(11),
        _ => None,
    }
}

/// A found offset; -1 in all three is Kafka's "none".
#[derive(Clone, Copy)]
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NONE: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl From<TimestampOffset> for Found {
    fn from(found: TimestampOffset) -> Self {
        Self { offset: found.offset.0, timestamp: found.timestamp.0, leader_epoch: found.leader_epoch.0 }
    }
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == READ_COMMITTED { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let named = (topic.name.clone(), partition.partition_index);
            if !seen.insert(named.clone()) {
                twice.insert(named);
            }
        }
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let lookups = topic.partitions.iter().map(|wanted| {
            let is_twice = twice.contains(&(topic.name.clone(), wanted.partition_index));
            async move {
                let found =
                    if is_twice { Err(ErrorCode::InvalidRequest) } else { look_up(broker, context, topic, wanted, isolation).await };
                let (code, found) = match found {
                    Ok(found) => (ErrorCode::None, found),
                    Err(code) => {
                        broker.metrics.requests.error(context.header.api_key, code);
                        (code, NONE)
                    }
                };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code.code())
                    .with_offset(found.offset)
                    .with_timestamp(found.timestamp)
                    .with_leader_epoch(found.leader_epoch)
            }
        });
        let lookups: Vec<_> = lookups.collect();
        let partitions = stream::iter(lookups).buffered(LOOKUPS_AT_ONCE).collect().await;
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn look_up(
    broker: &Broker,
    context: &RequestContext,
    topic: &ListOffsetsTopic,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    if first_version(wanted.timestamp).is_none_or(|first| context.header.version < first) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let topic = broker.topic_named(&broker.image(), &topic.name)?;
    let partition = broker.partition(&topic, wanted.partition_index)?;
    broker.check_leader_epoch(&partition, wanted.current_leader_epoch)?;
    find(&partition, wanted.timestamp, isolation).await.map_err(|error| {
        tracing::debug!(partition = %partition.id(), "offset lookup failed: {error}");
        error_code::read(&error)
    })
}

async fn find(partition: &Partition, timestamp: i64, isolation: Isolation) -> Result<Found, ReadError> {
    let offsets = partition.readable_offsets()?;
    Ok(match timestamp {
        LATEST => Found { offset: offsets.visible_end(isolation).0, leader_epoch: partition.leader_epoch().0, ..NONE },
        EARLIEST | EARLIEST_LOCAL => {
            let log_start = partition.refresh_log_start().await?;
            // Without an epoch: the one in force may be newer than the first record's, and consumers compare it.
            Found { offset: log_start.0, ..NONE }
        }
        MAX_TIMESTAMP => partition.offset_of_max_timestamp(isolation).await?.map_or(NONE, Found::from),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => NONE,
        timestamp => partition.offset_for_timestamp(Timestamp(timestamp), isolation).await?.map_or(NONE, Found::from),
    })
}

/// Version 0, which is asked for several offsets of a partition and answers no timestamps.
pub(crate) async fn handle_v0(broker: &Broker, context: &RequestContext, request: ListOffsetsRequestV0) -> ListOffsetsResponseV0 {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = &topic.name;
        let lookups: Vec<_> = topic.partitions.iter().map(|wanted| list_before(broker, context, name, wanted)).collect();
        let partitions = stream::iter(lookups).buffered(LOOKUPS_AT_ONCE).collect().await;
        topics.push(ListedTopicV0 { name: topic.name, partitions });
    }
    ListOffsetsResponseV0 { topics }
}

async fn list_before(broker: &Broker, context: &RequestContext, topic: &str, wanted: &ListOffsetsPartitionV0) -> ListedPartitionV0 {
    let find = async {
        let topic = broker.topic_named(&broker.image(), topic)?;
        let partition = broker.partition(&topic, wanted.partition_index)?;
        offsets_before(&partition, wanted).await.map_err(|error| {
            tracing::debug!(partition = %partition.id(), "offset lookup failed: {error}");
            error_code::read(&error)
        })
    };
    let (error_code, offsets) = match find.await {
        Ok(offsets) => (ErrorCode::None, offsets),
        Err(code) => {
            broker.metrics.requests.error(context.header.api_key, code);
            (code, Vec::new())
        }
    };
    ListedPartitionV0 { partition_index: wanted.partition_index, error_code, offsets }
}

/// The offsets before a time, newest first. Kafka has one per segment that was not changed after that time, and the high watermark for
/// the time from now on. Here segments come and go without a client's doing, so the log counts as two of them: one up to the first
/// record that is as new as the timestamp, which is named by where it ends, and the log start. Nothing is listed where no record is
/// older.
async fn offsets_before(partition: &Partition, wanted: &ListOffsetsPartitionV0) -> Result<Vec<i64>, ReadError> {
    let log_start = partition.refresh_log_start().await?;
    let high_watermark = partition.readable_offsets()?.high_watermark;
    let newest = match wanted.timestamp {
        LATEST => high_watermark,
        EARLIEST => log_start,
        timestamp => match partition.offset_for_timestamp(Timestamp(timestamp), Isolation::ReadUncommitted).await? {
            Some(first) if first.offset <= log_start => return Ok(Vec::new()),
            Some(first) => first.offset,
            None => high_watermark,
        },
    };
    let mut offsets = vec![newest.0, log_start.0];
    offsets.dedup();
    offsets.truncate(usize::try_from(wanted.max_num_offsets).unwrap_or(0));
    Ok(offsets)
}
