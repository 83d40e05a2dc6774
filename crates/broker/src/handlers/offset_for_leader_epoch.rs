//! OffsetForLeaderEpoch (KIP-320): where a leader epoch ends, by which a consumer notices that its position was truncated.

use protocol::ErrorCode;
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use types::LeaderEpoch;

use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| match end_of(broker, &topic, wanted) {
            // An epoch that is not known yet has no end: -1, as Kafka answers.
            Ok(end) => {
                let (epoch, offset) = end.unwrap_or((-1, -1));
                EpochEndOffset::default().with_partition(wanted.partition).with_leader_epoch(epoch).with_end_offset(offset)
            }
            Err(code) => {
                broker.metrics.requests.error(context.header.api_key, code);
                EpochEndOffset::default()
                    .with_partition(wanted.partition)
                    .with_error_code(code.code())
                    .with_leader_epoch(-1)
                    .with_end_offset(-1)
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end_of(broker: &Broker, topic: &OffsetForLeaderTopic, wanted: &OffsetForLeaderPartition) -> Result<Option<(i32, i64)>, ErrorCode> {
    let topic = broker.topic_named(&broker.image(), &topic.topic)?;
    let partition = broker.partition(&topic, wanted.partition)?;
    broker.check_leader_epoch(&partition, wanted.current_leader_epoch)?;
    let end = partition.epoch_end_offset(LeaderEpoch(wanted.leader_epoch)).map_err(|error| error_code::read(&error))?;
    Ok(end.map(|end| (end.epoch.0, end.end.0)))
}
