//! From a frame to its handler: decodes, checks the connection's stage, and one `match` over the closed set of requests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use protocol::frame::{PEEK_BYTES, peek_api};
use protocol::{ApiKey, DecodeError, DecodedRequest, Request, ResponseBody};

use crate::answer_room::{AnswerRoom, SMALL_ANSWER};
use crate::broker::Broker;
use crate::connection::{Answer, Begun, Reply, Service};
use crate::handlers::produce::Produced;
use crate::handlers::{
    alter_client_quotas, alter_configs, alter_replica_log_dirs, api_versions, consumer_group_describe, consumer_group_heartbeat,
    create_partitions, create_topics, delete_groups, delete_records, delete_topics, describe_client_quotas, describe_cluster,
    describe_configs, describe_groups, describe_log_dirs, describe_producers, describe_quorum, describe_topic_partitions, elect_leaders,
    fetch, find_coordinator, heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group, list_config_resources,
    list_groups, list_offsets, metadata, offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce, reassignments,
    sync_group, update_features,
};
use crate::hurry::Hurry;
use crate::memory_budget::Charge;
use crate::session::{RequestContext, Session, Stage};
use crate::throttle;

/// Largest request of any API but Produce, and of a peer that has not made a valid one yet.
const MAX_OTHER_REQUEST: usize = 8 << 20;
/// Largest request before authentication.
const MAX_UNAUTHENTICATED_REQUEST: usize = 64 << 10;

/// The broker as connections see it.
pub(crate) struct Dispatch(pub(crate) Arc<Broker>);

/// Room for an answer of about `bytes`, where that is worth asking for.
async fn room(broker: &Broker, bytes: usize) -> Option<Charge> {
    if bytes < SMALL_ANSWER { None } else { Some(broker.answers.up_to(bytes, bytes).await) }
}

/// What a handler came up with.
struct Handled {
    body: ResponseBody,
    charge: Option<Charge>,
    throttle: Duration,
}

impl From<ResponseBody> for Handled {
    fn from(body: ResponseBody) -> Self {
        Self { body, charge: None, throttle: Duration::ZERO }
    }
}

/// An answer that asks for a pause, which the connection holds the client to.
fn throttled(throttle_time_ms: i32, body: ResponseBody) -> Handled {
    Handled { throttle: throttle::from_ms(throttle_time_ms), ..body.into() }
}

impl Service for Dispatch {
    fn frame_limit(&self, session: &Session, start: [u8; PEEK_BYTES]) -> Result<usize, String> {
        let (api, _) = peek_api(start).map_err(|error| error.to_string())?;
        if !session.stage.admits(api) {
            return Err(format!("{} before authentication", api.name()));
        }
        let limit = match session.stage {
            Stage::BeforeAuthentication => MAX_UNAUTHENTICATED_REQUEST,
            Stage::Authenticated(_) if api == ApiKey::Produce && session.has_spoken => usize::MAX,
            Stage::Authenticated(_) => MAX_OTHER_REQUEST,
        };
        Ok(limit.min(self.0.options().request_max_bytes))
    }

    fn call(&self, session: &mut Session, frame: Bytes, hurry: Hurry) -> Begun {
        let DecodedRequest { header, request, decoded_bytes } = match protocol::decode_request(&frame) {
            Ok(decoded) => decoded,
            Err(DecodeError::UnsupportedApiVersions { correlation_id, .. }) => {
                let parts = protocol::unsupported_api_versions(correlation_id);
                let answer = Answer { parts, charge: None, throttle: Duration::ZERO };
                return Begun { decoded_bytes: 0, reply: Reply::Answer(std::future::ready(Ok(answer)).boxed()) };
            }
            Err(error) => return Begun { decoded_bytes: 0, reply: Reply::Close(error.to_string()) },
        };
        session.has_spoken = true;
        let context = RequestContext { header, session: session.clone(), hurry };
        let bytes = frame.len();
        // A batch that nobody else holds the memory of is stamped where it is.
        drop(frame);
        Begun { decoded_bytes, reply: self.begin(context, request, bytes) }
    }
}

impl Dispatch {
    /// Begins a request of `bytes`: whatever fixes an order happens before this returns.
    fn begin(&self, context: RequestContext, request: Request, bytes: usize) -> Reply {
        let broker = Arc::clone(&self.0);
        match request {
            Request::Produce(request) => {
                let quota = broker.producer_quota.charge(context.client(), bytes, broker.clock.monotonic());
                match produce::begin(&broker, &context, request) {
                    Produced::Answer(response) => self.reply(context, async move {
                        let mut response = response.await;
                        response.throttle_time_ms = response.throttle_time_ms.max(throttle::as_ms(quota));
                        throttled(response.throttle_time_ms, ResponseBody::Produce(response))
                    }),
                    Produced::Silence(done) => Reply::Silence(
                        async move {
                            done.await;
                            broker.metrics.requests.api(ApiKey::Produce).throttled(quota);
                            quota
                        }
                        .boxed(),
                    ),
                    Produced::Close(reason) => Reply::Close(reason),
                }
            }
            Request::Fetch(request) => self.reply(context.clone(), async move {
                let (response, charge) = fetch::handle(&broker, &context, request).await;
                Handled { charge, ..throttled(response.throttle_time_ms, ResponseBody::Fetch(response)) }
            }),
            Request::Metadata(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, metadata::answer_bytes(&broker.image(), context.header.version, &request)).await;
                Handled { charge, ..ResponseBody::Metadata(metadata::handle(&broker, &context, request).await).into() }
            }),
            Request::ListOffsets(request) => self.reply(context.clone(), async move {
                ResponseBody::ListOffsets(list_offsets::handle(&broker, &context, request).await).into()
            }),
            Request::ListOffsetsV0(request) => self.reply(context.clone(), async move {
                ResponseBody::ListOffsetsV0(list_offsets::handle_v0(&broker, &context, request).await).into()
            }),
            Request::CreateTopics(request) => self.reply(context.clone(), async move {
                let response = create_topics::handle(&broker, &context, request).await;
                throttled(response.throttle_time_ms, ResponseBody::CreateTopics(response))
            }),
            Request::DeleteTopics(request) => self.reply(context.clone(), async move {
                let response = delete_topics::handle(&broker, &context, request).await;
                throttled(response.throttle_time_ms, ResponseBody::DeleteTopics(response))
            }),
            Request::InitProducerId(request) => self.reply(context.clone(), async move {
                ResponseBody::InitProducerId(init_producer_id::handle(&broker, &context, &request).await).into()
            }),
            Request::FindCoordinator(request) => self.reply(context.clone(), async move {
                ResponseBody::FindCoordinator(find_coordinator::handle(&broker, &context, request)).into()
            }),
            Request::OffsetForLeaderEpoch(request) => self.reply(context.clone(), async move {
                ResponseBody::OffsetForLeaderEpoch(offset_for_leader_epoch::handle(&broker, &context, request)).into()
            }),
            Request::UpdateFeatures(request) => self.reply(context.clone(), async move {
                ResponseBody::UpdateFeatures(update_features::handle(&broker, &context, &request)).into()
            }),
            Request::DescribeCluster(request) => self.reply(context.clone(), async move {
                ResponseBody::DescribeCluster(describe_cluster::handle(&broker, &context, &request)).into()
            }),
            Request::CreatePartitions(request) => self.reply(context.clone(), async move {
                let response = create_partitions::handle(&broker, &context, request).await;
                throttled(response.throttle_time_ms, ResponseBody::CreatePartitions(response))
            }),
            Request::DeleteRecords(request) => self.reply(context.clone(), async move {
                ResponseBody::DeleteRecords(delete_records::handle(&broker, &context, request).await).into()
            }),
            Request::DescribeConfigs(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, describe_configs::answer_bytes(&request)).await;
                Handled { charge, ..ResponseBody::DescribeConfigs(describe_configs::handle(&broker, &context, request)).into() }
            }),
            Request::AlterConfigs(request) => self.reply(context.clone(), async move {
                ResponseBody::AlterConfigs(alter_configs::handle(&broker, &context, request).await).into()
            }),
            Request::IncrementalAlterConfigs(request) => self.reply(context.clone(), async move {
                ResponseBody::IncrementalAlterConfigs(incremental_alter_configs::handle(&broker, &context, request).await).into()
            }),
            Request::ListConfigResources(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, list_config_resources::answer_bytes(&broker)).await;
                Handled { charge, ..ResponseBody::ListConfigResources(list_config_resources::handle(&broker, &context, &request)).into() }
            }),
            Request::DescribeClientQuotas(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, describe_client_quotas::answer_bytes(&broker)).await;
                Handled { charge, ..ResponseBody::DescribeClientQuotas(describe_client_quotas::handle(&broker, &context, &request)).into() }
            }),
            Request::AlterClientQuotas(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, alter_client_quotas::answer_bytes(&request)).await;
                Handled { charge, ..ResponseBody::AlterClientQuotas(alter_client_quotas::handle(&broker, &context, request).await).into() }
            }),
            Request::AlterReplicaLogDirs(request) => self.reply(context.clone(), async move {
                ResponseBody::AlterReplicaLogDirs(alter_replica_log_dirs::handle(&broker, &context, &request)).into()
            }),
            Request::DescribeQuorum(request) => self.reply(context.clone(), async move {
                ResponseBody::DescribeQuorum(describe_quorum::handle(&broker, &context, &request)).into()
            }),
            Request::DescribeLogDirs(request) => self.reply(context.clone(), async move {
                let charge = room(&broker, describe_log_dirs::answer_bytes(&broker, &request)).await;
                Handled { charge, ..ResponseBody::DescribeLogDirs(describe_log_dirs::handle(&broker, &context, request).await).into() }
            }),
            Request::DescribeProducers(request) => self.reply(context.clone(), async move {
                ResponseBody::DescribeProducers(describe_producers::handle(&broker, &context, request)).into()
            }),
            Request::DescribeTopicPartitions(request) => self.reply(context.clone(), async move {
                ResponseBody::DescribeTopicPartitions(describe_topic_partitions::handle(&broker, &context, request)).into()
            }),
            Request::ElectLeaders(request) => self.reply(context.clone(), async move {
                ResponseBody::ElectLeaders(elect_leaders::handle(&broker, &context, request).await).into()
            }),
            Request::AlterPartitionReassignments(request) => self.reply(context.clone(), async move {
                ResponseBody::AlterPartitionReassignments(reassignments::alter(&broker, &context, request)).into()
            }),
            Request::ListPartitionReassignments(_) => {
                self.reply(context, async move { ResponseBody::ListPartitionReassignments(reassignments::list()).into() })
            }
            Request::OffsetCommit(request) => self.reply(context.clone(), async move {
                ResponseBody::OffsetCommit(offset_commit::handle(&broker, &context, request).await).into()
            }),
            Request::OffsetFetch(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = offset_fetch::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::OffsetFetch(response).into() }
            }),
            Request::JoinGroup(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = join_group::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::JoinGroup(response).into() }
            }),
            Request::Heartbeat(request) => self
                .reply(context.clone(), async move { ResponseBody::Heartbeat(heartbeat::handle(&broker, &context, request).await).into() }),
            Request::LeaveGroup(request) => self.reply(context.clone(), async move {
                ResponseBody::LeaveGroup(leave_group::handle(&broker, &context, request).await).into()
            }),
            Request::SyncGroup(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = sync_group::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::SyncGroup(response).into() }
            }),
            Request::DescribeGroups(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = describe_groups::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::DescribeGroups(response).into() }
            }),
            Request::ListGroups(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = list_groups::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::ListGroups(response).into() }
            }),
            Request::DeleteGroups(request) => self.reply(context.clone(), async move {
                ResponseBody::DeleteGroups(delete_groups::handle(&broker, &context, request).await).into()
            }),
            Request::OffsetDelete(request) => self.reply(context.clone(), async move {
                ResponseBody::OffsetDelete(offset_delete::handle(&broker, &context, request).await).into()
            }),
            Request::ConsumerGroupHeartbeat(request) => self.reply(context.clone(), async move {
                ResponseBody::ConsumerGroupHeartbeat(consumer_group_heartbeat::handle(&broker, &context, request).await).into()
            }),
            Request::ConsumerGroupDescribe(request) => self.reply(context.clone(), async move {
                let mut room = AnswerRoom::new(&broker.answers);
                let response = consumer_group_describe::handle(&broker, &context, &mut room, request).await;
                Handled { charge: room.into_charge(), ..ResponseBody::ConsumerGroupDescribe(response).into() }
            }),
            Request::ApiVersions(request) => {
                self.reply(context.clone(), async move { ResponseBody::ApiVersions(api_versions::handle(&context, &request)).into() })
            }
        }
    }

    /// Turns a handler's result into bytes and counts the request.
    fn reply(&self, context: RequestContext, handled: impl Future<Output = Handled> + Send + 'static) -> Reply {
        let broker = Arc::clone(&self.0);
        let began = broker.clock.monotonic();
        let answer = async move {
            let Handled { body, charge, throttle } = handled.await;
            let header = &context.header;
            let parts = protocol::encode_response(header.correlation_id, header.version, body).map_err(|error| {
                // The body was built here, so this is a bug; the request cannot be answered.
                tracing::error!(peer = %context.session.peer, client = header.client_id.as_deref(), "{error}");
                error.to_string()
            })?;
            let metrics = broker.metrics.requests.api(header.api_key);
            metrics.answered(broker.clock.monotonic().saturating_sub(began));
            metrics.throttled(throttle);
            Ok(Answer { parts, charge, throttle })
        };
        Reply::Answer(answer.boxed())
    }
}
