//! DeleteRecords (KIP-107): log starts move forward.

use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::ErrorCode;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use types::Offset;

use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

/// Partitions of one request that are worked on at the same time.
const AT_ONCE: usize = 16;
/// What a client's timeout is raised to. To Kafka it is how long followers are waited for, which is no time at all without any, and clients
/// may say 0; here records that only the write-ahead log has are uploaded first.
const SHORTEST: Duration = Duration::from_secs(10);
/// An offset that means everything consumers may see.
const HIGH_WATERMARK: i64 = -1;
/// The answer's log start where nothing was deleted.
const NONE: i64 = -1;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let within = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(SHORTEST);
    let deadline = tokio::time::Instant::now() + within;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let deletions: Vec<_> = topic
            .partitions
            .iter()
            .map(|wanted| async move {
                let deleted = tokio::time::timeout_at(deadline, delete(broker, topic, wanted)).await;
                let (code, log_start) = match deleted.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
                    Ok(log_start) => (ErrorCode::None, log_start.0),
                    Err(code) => {
                        broker.metrics.requests.error(context.header.api_key, code);
                        (code, NONE)
                    }
                };
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_low_watermark(log_start)
                    .with_error_code(code.code())
            })
            .collect();
        let partitions = stream::iter(deletions).buffered(AT_ONCE).collect().await;
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(broker: &Broker, topic: &DeleteRecordsTopic, wanted: &DeleteRecordsPartition) -> Result<Offset, ErrorCode> {
    let topic = broker.topic_named(&broker.image(), &topic.name)?;
    let partition = broker.partition(&topic, wanted.partition_index)?;
    if !broker.options().topic(&topic.image.configs).allows_delete_records() {
        return Err(ErrorCode::PolicyViolation);
    }
    let before = match wanted.offset {
        HIGH_WATERMARK => None,
        offset => Some(Offset(offset)),
    };
    partition.delete_records(before, &*broker.flusher).await.map_err(|error| {
        tracing::debug!(partition = %partition.id(), "records not deleted: {error}");
        error_code::delete_records(&error)
    })
}
