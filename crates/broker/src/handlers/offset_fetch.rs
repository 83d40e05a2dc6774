//! OffsetFetch: how far groups have read. Whether a topic exists does not matter: without a committed offset the answer is -1.
//!
//! A group or partition that is named twice is answered once: each may bring four kilobytes of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use group::{Coordinator, FetchOffsetsRequest, FetchTopic, FetchedOffsets, Topics};
use metadata_api::ClusterImage;
use protocol::StrBytes;
use protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::group_member::{Questions, owned, refused, text, topic_id};
use crate::answer_room::AnswerRoom;
use crate::broker::Broker;
use crate::coordinator::Coordinators;
use crate::session::RequestContext;

/// Several groups at once (KIP-709).
const GROUPS_SINCE: i16 = 8;
/// Before, a group's error stands in its partitions.
const GROUP_ERROR_SINCE: i16 = 2;

/// The topics and partitions asked for; `None` for all that there are.
type Asked = Option<Vec<(StrBytes, Vec<i32>)>>;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let OffsetFetchRequest { group_id, topics, groups, require_stable, .. } = request;
    let (mut answered, mut questions) = (Vec::new(), Questions::default());
    if context.header.version < GROUPS_SINCE {
        let asked: Asked = topics.map(|topics| topics.into_iter().map(|topic| (topic.name.0, topic.partition_indexes)).collect());
        let request = Ask { group_id, member_id: None, member_epoch: -1, topics: asked, require_stable };
        answered.push(fetch(broker, context, room, &mut questions, request).await);
    } else {
        let mut named = HashSet::new();
        for group in groups.into_iter().filter(|group| named.insert(group.group_id.clone())) {
            let asked: Asked = group.topics.map(|topics| topics.into_iter().map(|topic| (topic.name.0, topic.partition_indexes)).collect());
            let (member_id, member_epoch) = (owned(group.member_id.as_ref()), group.member_epoch);
            let request = Ask { group_id: group.group_id, member_id, member_epoch, topics: asked, require_stable };
            answered.push(fetch(broker, context, room, &mut questions, request).await);
        }
    }
    OffsetFetchResponse::default().with_groups(answered)
}

/// What is asked about one group.
struct Ask {
    group_id: GroupId,
    member_id: Option<String>,
    member_epoch: i32,
    topics: Asked,
    require_stable: bool,
}

async fn fetch(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    questions: &mut Questions,
    ask: Ask,
) -> OffsetFetchResponseGroup {
    let Ask { group_id, member_id, member_epoch, topics: asked, require_stable } = ask;
    let image = broker.image();
    let topics = asked.as_ref().map(|asked| once(&image, asked));
    let request = FetchOffsetsRequest { group_id: group_id.to_string(), member_id, member_epoch, topics, require_stable };
    let fetch = move |coordinator: &Coordinator, _: &dyn Topics| coordinator.fetch_offsets(&request);
    let asked_in_room = broker.coordinators.ask_in_room(Coordinators::slot(&group_id), room, FetchedOffsets::bytes, fetch);
    let fetched = questions.ask(asked_in_room).await;
    let answer = OffsetFetchResponseGroup::default().with_group_id(group_id);
    match fetched {
        Ok(fetched) => answer.with_topics(committed(fetched)),
        Err(error) => {
            let topics = if context.header.version < GROUP_ERROR_SINCE { nothing(asked.unwrap_or_default()) } else { Vec::new() };
            answer.with_error_code(refused(broker, context, &error)).with_topics(topics)
        }
    }
}

fn once(image: &ClusterImage, asked: &[(StrBytes, Vec<i32>)]) -> Vec<FetchTopic> {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for (name, partitions) in asked {
        topics.entry(name).or_default().extend(partitions);
    }
    let topics = topics.into_iter().map(|(name, partitions)| FetchTopic {
        name: name.to_owned(),
        id: topic_id(image, name),
        partitions: partitions.into_iter().collect(),
    });
    topics.collect()
}

fn committed(fetched: FetchedOffsets) -> Vec<OffsetFetchResponseTopics> {
    let topics = fetched.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(partition.offset)
                .with_committed_leader_epoch(partition.leader_epoch)
                .with_metadata(Some(text(partition.metadata)))
        });
        OffsetFetchResponseTopics::default().with_name(TopicName(text(topic.name))).with_partitions(partitions.collect())
    });
    topics.collect()
}

/// Every partition without an offset, so that there is a place for the error.
fn nothing(asked: Vec<(StrBytes, Vec<i32>)>) -> Vec<OffsetFetchResponseTopics> {
    let topics = asked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|index| {
            let partition = OffsetFetchResponsePartitions::default().with_partition_index(index).with_committed_offset(-1);
            partition.with_metadata(Some(StrBytes::default()))
        });
        OffsetFetchResponseTopics::default().with_name(TopicName(name)).with_partitions(partitions.collect())
    });
    topics.collect()
}
