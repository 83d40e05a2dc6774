//! The fake broker's one group: it has at most one member, which leads it. What is refused is queued per API and used up in order, one
//! by each request that asks; `refused_for_ever` goes on.

use std::collections::{BTreeMap, VecDeque};

use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use protocol::messages::*;
use protocol::{ErrorCode, Request, ResponseBody, StrBytes};

use crate::fake_broker::Fault;

const MEMBER: StrBytes = StrBytes::from_static_str("member");

#[derive(Default)]
pub(crate) struct FakeGroup {
    pub(crate) join_faults: VecDeque<Fault>,
    pub(crate) sync_faults: VecDeque<Fault>,
    pub(crate) commit_faults: VecDeque<Fault>,
    pub(crate) heartbeat_faults: VecDeque<Fault>,
    /// What every Join is answered with, or every Sync.
    pub(crate) joins_refused: Option<ErrorCode>,
    pub(crate) syncs_refused: Option<ErrorCode>,
    /// Ids of members as they came with each Join.
    pub(crate) joined: Vec<String>,
    /// Generations as they came with each commit.
    pub(crate) commits: Vec<i32>,
    pub(crate) committed: BTreeMap<(String, i32), i64>,
    generation: i32,
}

impl FakeGroup {
    /// The answer to a request that is about groups; `None` to close the connection.
    pub(crate) fn answer(&mut self, port: u16, request: Request) -> Option<ResponseBody> {
        Some(match request {
            Request::FindCoordinator(request) => {
                let found = |key: &StrBytes| {
                    let host = StrBytes::from_static_str("127.0.0.1");
                    Coordinator::default().with_key(key.clone()).with_node_id(BrokerId(1)).with_host(host).with_port(i32::from(port))
                };
                let coordinators = request.coordinator_keys.iter().map(found).collect();
                ResponseBody::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(coordinators))
            }
            Request::JoinGroup(request) => {
                self.joined.push(request.member_id.to_string());
                let fault = self.joins_refused.map(Fault::Refuse).or_else(|| self.join_faults.pop_front());
                let member = JoinGroupResponseMember::default().with_member_id(MEMBER).with_metadata(request.protocols[0].metadata.clone());
                if refusal(fault)? == ErrorCode::None {
                    self.generation += 1;
                }
                let joined = JoinGroupResponse::default()
                    .with_error_code(refusal(fault)?.code())
                    .with_generation_id(self.generation)
                    .with_leader(MEMBER)
                    .with_member_id(MEMBER)
                    .with_protocol_name(Some(request.protocols[0].name.clone()))
                    .with_members(vec![member]);
                ResponseBody::JoinGroup(joined)
            }
            Request::SyncGroup(request) => {
                let fault = self.syncs_refused.map(Fault::Refuse).or_else(|| self.sync_faults.pop_front());
                let assignment = request.assignments.into_iter().next().map(|member| member.assignment).unwrap_or_default();
                let synced = SyncGroupResponse::default().with_error_code(refusal(fault)?.code()).with_assignment(assignment);
                ResponseBody::SyncGroup(synced)
            }
            Request::Heartbeat(_) => {
                let refused = refusal(self.heartbeat_faults.pop_front())?;
                ResponseBody::Heartbeat(HeartbeatResponse::default().with_error_code(refused.code()))
            }
            Request::OffsetCommit(request) => {
                self.commits.push(request.generation_id_or_member_epoch);
                let refused = refusal(self.commit_faults.pop_front())?;
                let mut response = OffsetCommitResponse::default();
                for topic in request.topics {
                    let mut answer = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
                    for partition in topic.partitions {
                        let index = partition.partition_index;
                        if refused == ErrorCode::None {
                            self.committed.insert((topic.name.to_string(), index), partition.committed_offset);
                        }
                        let result = OffsetCommitResponsePartition::default().with_partition_index(index);
                        answer.partitions.push(result.with_error_code(refused.code()));
                    }
                    response.topics.push(answer);
                }
                ResponseBody::OffsetCommit(response)
            }
            Request::OffsetFetch(request) => {
                let committed = self.committed.iter().map(|((topic, partition), offset)| {
                    let partition =
                        OffsetFetchResponsePartitions::default().with_partition_index(*partition).with_committed_offset(*offset);
                    let name = TopicName(StrBytes::from_string(topic.clone()));
                    OffsetFetchResponseTopics::default().with_name(name).with_partitions(vec![partition])
                });
                let id = request.groups[0].group_id.clone();
                let group = OffsetFetchResponseGroup::default().with_group_id(id).with_topics(committed.collect());
                ResponseBody::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]))
            }
            other => panic!("the client does not ask this: {other:?}"),
        })
    }
}

/// The code to answer with; `None` to close the connection.
fn refusal(fault: Option<Fault>) -> Option<ErrorCode> {
    match fault {
        None | Some(Fault::Pass) => Some(ErrorCode::None),
        Some(Fault::Refuse(code)) => Some(code),
        Some(Fault::Close | Fault::CloseLater | Fault::LoseAnswer) => None,
    }
}
