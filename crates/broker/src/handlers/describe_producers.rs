//! DescribeProducers (KIP-664): the producers that partitions remember.

use protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use protocol::{ErrorCode, StrBytes};

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::config_change::named_twice;
use crate::session::RequestContext;

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: DescribeProducersRequest) -> DescribeProducersResponse {
    // A partition may remember a great many: once is enough.
    let named = request.topics.iter().flat_map(|topic| topic.partition_indexes.iter().map(|index| (topic.name.0.clone(), *index)));
    let twice = named_twice(named);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = if twice.contains(&(topic.name.0.clone(), *index)) {
                Err(Refusal::new(ErrorCode::InvalidRequest, "The partition is named more than once."))
            } else {
                producers(broker, &topic.name.0, *index)
            };
            let response = PartitionResponse::default().with_partition_index(*index);
            match found {
                Ok(producers) => response.with_active_producers(producers).with_error_message(None),
                Err(refusal) => {
                    let (code, message) = refusal.answered(broker, context);
                    response.with_error_code(code).with_error_message(message)
                }
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers(broker: &Broker, name: &StrBytes, index: i32) -> Result<Vec<ProducerState>, Refusal> {
    let refuse = |code: ErrorCode| match code {
        ErrorCode::UnknownTopicOrPartition => Refusal::unknown_topic(),
        code => Refusal::new(code, "This broker does not lead the partition."),
    };
    let topic = broker.topic_named(&broker.image(), name).map_err(refuse)?;
    let partition = broker.partition(&topic, index).map_err(refuse)?;
    let producers = partition.producers().into_iter().map(|(producer, window)| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer))
            .with_producer_epoch(window.epoch.into())
            .with_last_sequence(window.last_sequence().unwrap_or(-1))
            .with_last_timestamp(window.last_append_time.0)
            .with_coordinator_epoch(window.coordinator_epoch)
            .with_current_txn_start_offset(window.open_transaction.map_or(-1, |offset| offset.0))
    });
    Ok(producers.collect())
}
