//! Randomised valid requests of the APIs of groups.

use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;

use crate::draw::{Draw, tagged};

fn group(draw: &mut Draw) -> GroupId {
    GroupId(draw.text())
}

pub(crate) fn offset_commit(draw: &mut Draw, version: i16) -> OffsetCommitRequest {
    let flexible = 8 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let mut partition = OffsetCommitRequestPartition::default()
                .with_partition_index(draw.i32())
                .with_committed_offset(draw.number() as i64)
                .with_committed_metadata(draw.maybe(Draw::text));
            if 6 <= version {
                partition.committed_leader_epoch = draw.i32();
            }
            tagged!(draw, flexible, partition)
        });
        tagged!(draw, flexible, OffsetCommitRequestTopic::default().with_name(draw.topic()).with_partitions(partitions))
    });
    let mut request = OffsetCommitRequest::default().with_group_id(group(draw)).with_topics(topics);
    if 1 <= version {
        request.generation_id_or_member_epoch = draw.i32();
        request.member_id = draw.text();
    }
    if (2..=4).contains(&version) {
        request.retention_time_ms = draw.number() as i64;
    }
    if 7 <= version {
        request.group_instance_id = draw.maybe(Draw::text);
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn offset_fetch(draw: &mut Draw, version: i16) -> OffsetFetchRequest {
    let flexible = 6 <= version;
    let mut request = OffsetFetchRequest::default();
    if 8 <= version {
        request.groups = draw.list(|draw| {
            let topics = draw.maybe(|draw| {
                draw.list(|draw| {
                    let topic = OffsetFetchRequestTopics::default().with_name(draw.topic()).with_partition_indexes(draw.list(Draw::i32));
                    tagged!(draw, true, topic)
                })
            });
            let mut fetched = OffsetFetchRequestGroup::default().with_group_id(group(draw)).with_topics(topics);
            if 9 <= version {
                fetched.member_id = draw.maybe(Draw::text);
                fetched.member_epoch = draw.i32();
            }
            tagged!(draw, true, fetched)
        });
    } else {
        let topics = draw.list(|draw| {
            let topic = OffsetFetchRequestTopic::default().with_name(draw.topic()).with_partition_indexes(draw.list(Draw::i32));
            tagged!(draw, flexible, topic)
        });
        request.group_id = group(draw);
        request.topics = if version < 2 || draw.chance() { Some(topics) } else { None };
    }
    if 7 <= version {
        request.require_stable = draw.chance();
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn join_group(draw: &mut Draw, version: i16) -> JoinGroupRequest {
    let flexible = 6 <= version;
    let protocols = draw.list(|draw| {
        let protocol = JoinGroupRequestProtocol::default().with_name(draw.text()).with_metadata(draw.bytes(300));
        tagged!(draw, flexible, protocol)
    });
    let mut request = JoinGroupRequest::default()
        .with_group_id(group(draw))
        .with_session_timeout_ms(draw.i32())
        .with_member_id(draw.text())
        .with_protocol_type(draw.text())
        .with_protocols(protocols);
    if 1 <= version {
        request.rebalance_timeout_ms = draw.i32();
    }
    if 5 <= version {
        request.group_instance_id = draw.maybe(Draw::text);
    }
    if 8 <= version {
        request.reason = draw.maybe(Draw::text);
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn heartbeat(draw: &mut Draw, version: i16) -> HeartbeatRequest {
    let mut request = HeartbeatRequest::default().with_group_id(group(draw)).with_generation_id(draw.i32()).with_member_id(draw.text());
    if 3 <= version {
        request.group_instance_id = draw.maybe(Draw::text);
    }
    tagged!(draw, 4 <= version, request)
}

pub(crate) fn leave_group(draw: &mut Draw, version: i16) -> LeaveGroupRequest {
    let flexible = 4 <= version;
    let mut request = LeaveGroupRequest::default().with_group_id(group(draw));
    if version < 3 {
        request.member_id = draw.text();
    } else {
        request.members = draw.list(|draw| {
            let mut member = MemberIdentity::default().with_member_id(draw.text()).with_group_instance_id(draw.maybe(Draw::text));
            if 5 <= version {
                member.reason = draw.maybe(Draw::text);
            }
            tagged!(draw, flexible, member)
        });
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn sync_group(draw: &mut Draw, version: i16) -> SyncGroupRequest {
    let flexible = 4 <= version;
    let assignments = draw.list(|draw| {
        let assignment = SyncGroupRequestAssignment::default().with_member_id(draw.text()).with_assignment(draw.bytes(300));
        tagged!(draw, flexible, assignment)
    });
    let mut request = SyncGroupRequest::default()
        .with_group_id(group(draw))
        .with_generation_id(draw.i32())
        .with_member_id(draw.text())
        .with_assignments(assignments);
    if 3 <= version {
        request.group_instance_id = draw.maybe(Draw::text);
    }
    if 5 <= version {
        request.protocol_type = draw.maybe(Draw::text);
        request.protocol_name = draw.maybe(Draw::text);
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn describe_groups(draw: &mut Draw, version: i16) -> DescribeGroupsRequest {
    let mut request = DescribeGroupsRequest::default().with_groups(draw.list(group));
    if 3 <= version {
        request.include_authorized_operations = draw.chance();
    }
    tagged!(draw, 5 <= version, request)
}

pub(crate) fn list_groups(draw: &mut Draw, version: i16) -> ListGroupsRequest {
    let mut request = ListGroupsRequest::default();
    if 4 <= version {
        request.states_filter = draw.list(Draw::text);
    }
    if 5 <= version {
        request.types_filter = draw.list(Draw::text);
    }
    tagged!(draw, 3 <= version, request)
}

pub(crate) fn delete_groups(draw: &mut Draw, version: i16) -> DeleteGroupsRequest {
    tagged!(draw, 2 <= version, DeleteGroupsRequest::default().with_groups_names(draw.list(group)))
}

pub(crate) fn offset_delete(draw: &mut Draw) -> OffsetDeleteRequest {
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| OffsetDeleteRequestPartition::default().with_partition_index(draw.i32()));
        OffsetDeleteRequestTopic::default().with_name(draw.topic()).with_partitions(partitions)
    });
    OffsetDeleteRequest::default().with_group_id(group(draw)).with_topics(topics)
}

pub(crate) fn consumer_group_heartbeat(draw: &mut Draw, version: i16) -> ConsumerGroupHeartbeatRequest {
    use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
    let owned = draw.maybe(|draw| {
        draw.list(|draw| {
            let topic = TopicPartitions::default().with_topic_id(draw.uuid()).with_partitions(draw.list(Draw::i32));
            tagged!(draw, true, topic)
        })
    });
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(draw))
        .with_member_id(draw.text())
        .with_member_epoch(draw.i32())
        .with_instance_id(draw.maybe(Draw::text))
        .with_rack_id(draw.maybe(Draw::text))
        .with_rebalance_timeout_ms(draw.i32())
        .with_subscribed_topic_names(draw.maybe(|draw| draw.list(Draw::topic)))
        .with_server_assignor(draw.maybe(Draw::text))
        .with_topic_partitions(owned);
    if 1 <= version {
        request.subscribed_topic_regex = draw.maybe(Draw::text);
    }
    tagged!(draw, true, request)
}

pub(crate) fn consumer_group_describe(draw: &mut Draw) -> ConsumerGroupDescribeRequest {
    let request =
        ConsumerGroupDescribeRequest::default().with_group_ids(draw.list(group)).with_include_authorized_operations(draw.chance());
    tagged!(draw, true, request)
}
