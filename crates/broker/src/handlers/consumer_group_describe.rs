//! ConsumerGroupDescribe (KIP-848): consumer groups and their members.

use group::{ConsumerDescribed, ConsumerDescribedMember, Coordinator, DescribedPartitions, Topics};
use protocol::StrBytes;
use protocol::messages::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
use protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, TopicName};

use super::group_member::{Questions, once, operations, refused, text};
use crate::answer_room::AnswerRoom;
use crate::broker::Broker;
use crate::coordinator::Coordinators;
use crate::session::RequestContext;

pub(crate) async fn handle(
    broker: &Broker,
    context: &RequestContext,
    room: &mut AnswerRoom<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let (mut groups, mut questions) = (Vec::new(), Questions::default());
    for group_id in once(request.group_ids) {
        let (slot, asked) = (Coordinators::slot(&group_id), group_id.to_string());
        let ask = move |coordinator: &Coordinator, topics: &dyn Topics| coordinator.consumer_describe(&asked, topics);
        let described = questions.ask(broker.coordinators.ask_in_room(slot, room, ConsumerDescribed::bytes, ask)).await;
        let answer = match described {
            Ok(described) => describe(described).with_authorized_operations(operations(request.include_authorized_operations)),
            Err(error) => DescribedGroup::default()
                .with_error_code(refused(broker, context, &error))
                .with_error_message(Some(text(error.to_string()))),
        };
        groups.push(answer.with_group_id(group_id));
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

fn describe(described: ConsumerDescribed) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_state(text(described.state.to_string()))
        .with_group_epoch(described.group_epoch)
        .with_assignment_epoch(described.assignment_epoch)
        .with_assignor_name(text(described.assignor))
        .with_members(described.members.into_iter().map(member).collect())
}

fn member(member: ConsumerDescribedMember) -> Member {
    Member::default()
        .with_member_id(text(member.member_id))
        .with_instance_id(member.instance_id.map(StrBytes::from_string))
        .with_rack_id(member.rack_id.map(StrBytes::from_string))
        .with_member_epoch(member.member_epoch)
        .with_client_id(text(member.client_id))
        .with_client_host(text(member.client_host))
        .with_subscribed_topic_names(member.subscribed_topics.into_iter().map(|name| TopicName(text(name))).collect())
        .with_subscribed_topic_regex(Some(text(member.subscribed_regex)))
        .with_assignment(assignment(member.assignment))
        .with_target_assignment(assignment(member.target_assignment))
        .with_member_type(i8::from(!member.is_classic))
}

fn assignment(assigned: Vec<DescribedPartitions>) -> Assignment {
    let topics = assigned.into_iter().map(|topic| {
        TopicPartitions::default()
            .with_topic_id(topic.topic_id.0)
            .with_topic_name(TopicName(text(topic.topic_name)))
            .with_partitions(topic.partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
