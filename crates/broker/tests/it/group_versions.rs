//! Every version of the APIs of groups is answered; part of `versions`. The group "g" has committed offsets only.

use bytes::Bytes;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
use protocol::messages::*;
use protocol::{ApiKey, ErrorCode};

use crate::harness::{Peer, text};
use crate::versions::all;

fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

pub(crate) async fn answered(peer: &mut Peer, api: ApiKey) {
    match api {
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete => offsets(peer, api).await,
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => members(peer, api).await,
        ApiKey::ConsumerGroupHeartbeat | ApiKey::ConsumerGroupDescribe => consumer_groups(peer, api).await,
        _ => groups(peer, api).await,
    }
}

async fn offsets(peer: &mut Peer, api: ApiKey) {
    match api {
        ApiKey::OffsetCommit => {
            let request = |version: i16| {
                let partition = OffsetCommitRequestPartition::default().with_committed_offset(version.into());
                let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
                OffsetCommitRequest::default().with_group_id(group("g")).with_topics(vec![topic])
            };
            all(peer, api, request, |version, answer| {
                assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {version}");
            })
            .await;
        }
        ApiKey::OffsetFetch => {
            let request = |version| match version {
                0..8 => {
                    let topic = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0]);
                    OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![topic]))
                }
                _ => {
                    let topic = OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![0]);
                    let fetched = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![topic]));
                    OffsetFetchRequest::default().with_groups(vec![fetched])
                }
            };
            all(peer, api, request, |version, answer| {
                let offset = match version {
                    0..8 => answer.topics[0].partitions[0].committed_offset,
                    _ => answer.groups[0].topics[0].partitions[0].committed_offset,
                };
                assert_eq!(offset, i64::from(ApiKey::OffsetCommit.versions().max), "version {version}");
            })
            .await;
        }
        _ => {
            let request = |_| OffsetDeleteRequest::default().with_group_id(group("nobody"));
            all(peer, api, request, |version, answer| {
                assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.code(), "version {version}");
            })
            .await;
        }
    }
}

async fn members(peer: &mut Peer, api: ApiKey) {
    let unknown = ErrorCode::UnknownMemberId.code();
    match api {
        ApiKey::JoinGroup => {
            let request = |version: i16| {
                let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"topics"));
                JoinGroupRequest::default()
                    .with_group_id(group(&format!("joined{version}")))
                    .with_session_timeout_ms(30_000)
                    .with_rebalance_timeout_ms(30_000)
                    .with_protocol_type(text("consumer"))
                    .with_protocols(vec![protocol])
            };
            all(peer, api, request, |version, answer| {
                let expected = if version < 4 { (0, 1) } else { (ErrorCode::MemberIdRequired.code(), 0) };
                assert_eq!((answer.error_code, answer.members.len()), expected, "version {version}");
            })
            .await;
        }
        ApiKey::SyncGroup => {
            let request = |version| {
                let request = SyncGroupRequest::default().with_group_id(group("g")).with_member_id(text("m"));
                if version < 5 {
                    return request;
                }
                request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
            };
            all(peer, api, request, |version, answer| assert_eq!(answer.error_code, unknown, "version {version}")).await;
        }
        ApiKey::Heartbeat => {
            let request = |_| HeartbeatRequest::default().with_group_id(group("g")).with_member_id(text("m"));
            all(peer, api, request, |version, answer| assert_eq!(answer.error_code, unknown, "version {version}")).await;
        }
        _ => {
            let request = |version| {
                let request = LeaveGroupRequest::default().with_group_id(group("g"));
                match version {
                    0..3 => request.with_member_id(text("m")),
                    _ => request.with_members(vec![MemberIdentity::default().with_member_id(text("m"))]),
                }
            };
            all(peer, api, request, |version, answer| {
                let code = if version < 3 { answer.error_code } else { answer.members[0].error_code };
                assert_eq!(code, unknown, "version {version}");
            })
            .await;
        }
    }
}

async fn groups(peer: &mut Peer, api: ApiKey) {
    match api {
        ApiKey::DescribeGroups => {
            let request = |_| DescribeGroupsRequest::default().with_groups(vec![group("g")]);
            all(peer, api, request, |version, answer| {
                assert_eq!((answer.groups[0].error_code, answer.groups[0].group_state.as_str()), (0, "Empty"), "version {version}");
            })
            .await;
        }
        ApiKey::ListGroups => {
            let request = |_| ListGroupsRequest::default();
            all(peer, api, request, |version, answer| {
                assert!(answer.groups.iter().any(|listed| listed.group_id == group("g")), "version {version}");
            })
            .await;
        }
        ApiKey::DeleteGroups => {
            let request = |_| DeleteGroupsRequest::default().with_groups_names(vec![group("nobody")]);
            all(peer, api, request, |version, answer| {
                assert_eq!(answer.results[0].error_code, ErrorCode::GroupIdNotFound.code(), "version {version}");
            })
            .await;
        }
        other => panic!("{other:?} is not asked of a group"),
    }
}

async fn consumer_groups(peer: &mut Peer, api: ApiKey) {
    if api == ApiKey::ConsumerGroupHeartbeat {
        let request = |version: i16| {
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group(&format!("consumers{version}")))
                .with_member_id(if version < 1 { text("") } else { text("0d3e46a1-9d0f-4c57-9b52-21a3e1f3c001") })
                .with_member_epoch(0)
                .with_rebalance_timeout_ms(30_000)
                .with_subscribed_topic_names(Some(vec![topic()]))
                .with_topic_partitions(Some(Vec::new()))
        };
        all(peer, api, request, |version, answer| {
            assert_eq!((answer.error_code, &answer.error_message), (0, &None), "version {version}");
            assert!(0 < answer.member_epoch && answer.member_id.is_some_and(|id| !id.is_empty()), "version {version}");
        })
        .await;
    } else {
        let request = |version: i16| ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(&format!("consumers{version}"))]);
        all(peer, api, request, |version, answer| {
            let described = &answer.groups[0];
            assert_eq!((described.error_code, described.members.len()), (0, 1), "version {version}");
            assert_eq!(described.members[0].subscribed_topic_names, [topic()], "version {version}");
        })
        .await;
    }
}
