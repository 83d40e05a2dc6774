//! OffsetDelete (KIP-496): forgets how far a group has read, where it is not subscribed.

use group::DeleteOffsetsRequest;
use protocol::ErrorCode;
use protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::group_member::{counted, outcome, partitions, refused};
use crate::broker::Broker;
use crate::session::RequestContext;

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = broker.image();
    let topics = request.topics.iter().map(|topic| {
        let existing = partitions(&image, &topic.name);
        let named = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.to_string(), named.filter(|index| existing.contains(index)).collect())
    });
    let delete = DeleteOffsetsRequest { group_id: request.group_id.to_string(), topics: topics.collect() };
    let deleted = match broker.coordinators.ask(&request.group_id, move |coordinator, _, _| coordinator.delete_offsets(delete)).await {
        Ok(deleted) => deleted,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(refused(broker, context, &error)),
    };
    let topics = request.topics.into_iter().zip(deleted.topics).map(|(topic, deleted)| {
        // Those that exist came back, in their order.
        let mut results = deleted.partitions.into_iter();
        let existing = partitions(&image, &topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let code = if existing.contains(&index) {
                outcome(broker, context, &results.next().map_or(Ok(()), |(_, result)| result))
            } else {
                counted(broker, context, ErrorCode::UnknownTopicOrPartition)
            };
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
