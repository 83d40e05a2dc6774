//! DescribeLogDirs (KIP-113, KIP-827): the data directory as Kafka's tools show it. A partition's size is what the store and the
//! write-ahead log hold of it together; the free space is that of the data directory's file system.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use metadata_api::MetadataError;
use partition::Partition;
use protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic};
use protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use std::sync::Arc;
use types::{Offset, TopicPartition};

use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

/// Partitions that are asked about at the same time.
const AT_ONCE: usize = 16;
/// Segments in one answer of metadata.
const PAGE: u32 = 10_000;
/// About what one partition takes in an answer.
const PARTITION_BYTES: usize = 32;

/// About how many bytes the answer will have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(broker: &Broker, request: &DescribeLogDirsRequest) -> usize {
    match &request.topics {
        Some(topics) => topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() * PARTITION_BYTES,
        None => broker.partitions.all().len() * PARTITION_BYTES,
    }
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let measured: Vec<_> = wanted(broker, &request)
        .into_iter()
        .map(|((name, index), partition)| async move { size(broker, &partition).await.map(|bytes| (name, index, bytes)) })
        .collect();
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let mut failed = None;
    let mut measured = stream::iter(measured).buffered(AT_ONCE);
    while let Some(measured) = measured.next().await {
        match measured {
            Ok((name, index, bytes)) => {
                let partition = DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(bytes);
                topics.entry(name).or_default().push(partition);
            }
            // Deleted meanwhile.
            Err(MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. }) => {}
            Err(error) => failed = Some(error_code::admin(&error)),
        }
    }
    let options = broker.options();
    let directory = &options.data_dir;
    let result = DescribeLogDirsResult::default().with_log_dir(StrBytes::from_string(directory.display().to_string()));
    let result = match failed {
        Some(code) => {
            broker.metrics.requests.error(context.header.api_key, code);
            result.with_error_code(code.code())
        }
        None => {
            let (total, usable) = space(directory).unwrap_or((-1, -1));
            let topics = topics.into_iter().map(|(name, partitions)| {
                DescribeLogDirsTopic::default().with_name(TopicName(StrBytes::from_string(name))).with_partitions(partitions)
            });
            result.with_topics(topics.collect()).with_total_bytes(total).with_usable_bytes(usable)
        }
    };
    DescribeLogDirsResponse::default().with_error_code(ErrorCode::None.code()).with_results(vec![result])
}

/// Those asked for, each once, of the partitions led here; by topic and index.
fn wanted(broker: &Broker, request: &DescribeLogDirsRequest) -> BTreeMap<(String, i32), Arc<Partition>> {
    let image = broker.image();
    let name = |id: TopicPartition| image.topics.get(&id.topic).map(|topic| topic.name.clone());
    match &request.topics {
        None => {
            let all = broker.partitions.all().into_iter();
            all.filter_map(|partition| Some(((name(partition.id())?, partition.id().partition), partition))).collect()
        }
        Some(topics) => {
            let named = topics.iter().flat_map(|topic| topic.partitions.iter().map(move |index| (&topic.topic, *index)));
            let found = named.filter_map(|(name, index)| {
                let topic = image.topic_named(name)?;
                let partition = broker.partitions.get(TopicPartition::new(topic.id, index)).ok()?;
                Some(((name.to_string(), index), partition))
            });
            found.collect()
        }
    }
}

/// Bytes of a partition, in the store and in the write-ahead log.
async fn size(broker: &Broker, partition: &Partition) -> Result<i64, MetadataError> {
    let mut bytes = partition.usage().unoffloaded_bytes;
    let mut from = Offset::ZERO;
    loop {
        let page = broker.metadata.segments(partition.id(), from, PAGE).await?;
        bytes += page.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        match page.segments.last().filter(|_| page.more) {
            Some(last) => from = last.end,
            None => return Ok(i64::try_from(bytes).unwrap_or(i64::MAX)),
        }
    }
}

/// Size and free bytes of the file system that a directory is on.
fn space(directory: &std::path::Path) -> Option<(i64, i64)> {
    let found = rustix::fs::statvfs(directory).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).unwrap_or(i64::MAX);
    Some((bytes(found.f_blocks), bytes(found.f_bavail)))
}
