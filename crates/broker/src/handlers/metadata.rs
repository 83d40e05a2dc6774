//! Metadata: brokers, topics, partitions and their leaders, all from one cluster image; and the creation of topics that are asked for
//! and do not exist.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use metadata_api::{BrokerImage, ClusterImage, Endpoint, PartitionImage, TopicImage};
use protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use types::TopicId;
use uuid::Uuid;

use super::create_topics;
use crate::broker::Broker;
use crate::error_code;
use crate::session::RequestContext;

/// Bits of Kafka's AclOperation codes, all that exist for a resource: without an authorizer everybody may do everything.
pub(crate) const CLUSTER_OPERATIONS: i32 = operations(&[5, 7, 8, 9, 10, 11, 12]);
pub(crate) const TOPIC_OPERATIONS: i32 = operations(&[3, 4, 5, 6, 7, 8, 10, 11]);
pub(crate) const GROUP_OPERATIONS: i32 = operations(&[3, 6, 8, 10, 11]);
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

/// Topics of one request that are created at the same time.
const CREATED_AT_ONCE: usize = 16;
/// How long a request waits for topics it creates to be served here; afterwards its client asks again.
const CREATION_WAIT: Duration = Duration::from_secs(5);
/// Kafka's own topics, whose contents are kept elsewhere here.
const RESERVED: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

const fn operations(codes: &[u32]) -> i32 {
    let mut bits = 0;
    let mut index = 0;
    while index < codes.len() {
        bits |= 1 << codes[index];
        index += 1;
    }
    bits
}

/// Which topics a request asks for.
enum Asked {
    All,
    /// Each once, in the request's order: the same large topic asked for a thousand times must not make a thousand answers.
    These(Vec<Topic>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Topic {
    Named(StrBytes),
    WithId(Uuid),
    /// Versions 10 and 11 have the field for an id and do not support it.
    Invalid(Uuid, StrBytes),
}

fn asked(version: i16, request: &MetadataRequest) -> Asked {
    let Some(topics) = &request.topics else { return Asked::All };
    if version == 0 && topics.is_empty() {
        return Asked::All;
    }
    let mut seen = HashSet::new();
    let asked = topics.iter().map(|topic| match &topic.name {
        name if version < 12 && (name.is_none() || !topic.topic_id.is_nil()) => {
            Topic::Invalid(topic.topic_id, name.as_ref().map(|name| name.0.clone()).unwrap_or_default())
        }
        Some(name) if topic.topic_id.is_nil() => Topic::Named(name.0.clone()),
        _ => Topic::WithId(topic.topic_id),
    });
    Asked::These(asked.filter(|topic| seen.insert(topic.clone())).collect())
}

/// About how many bytes the answer will have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(image: &ClusterImage, version: i16, request: &MetadataRequest) -> usize {
    const TOPIC: usize = 64;
    const PARTITION: usize = 64;
    let of = |topic: &Arc<TopicImage>| TOPIC + topic.name.len() + topic.partitions.len() * PARTITION;
    match asked(version, request) {
        Asked::All => image.topics.values().map(of).sum(),
        Asked::These(topics) => topics
            .iter()
            .map(|topic| match topic {
                Topic::Named(name) => image.topic_named(name).map_or(TOPIC + name.len(), of),
                Topic::WithId(id) => image.topics.get(&TopicId(*id)).map_or(TOPIC, of),
                Topic::Invalid(..) => TOPIC,
            })
            .sum(),
    }
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let version = context.header.version;
    let asked = asked(version, &request);
    let mut refused = Vec::new();
    // Before version 4 the wish was not said and always there.
    if let Asked::These(topics) = &asked
        && broker.options().auto_create_topics
        && (version < 4 || request.allow_auto_topic_creation)
    {
        refused = create_missing(broker, topics).await;
    }

    let image = broker.image();
    let answer = Answer { topic_operations: request.include_topic_authorized_operations, ..Answer::new(broker, context, &image) };
    let topics = match asked {
        Asked::All => image.names.values().filter_map(|id| image.topics.get(id)).map(|topic| answer.topic(topic)).collect(),
        Asked::These(topics) => topics.into_iter().map(|topic| answer.asked(topic, &refused)).collect(),
    };
    MetadataResponse::default()
        .with_brokers(image.brokers.values().filter(|member| member.alive).filter_map(|member| answer.member(member)).collect())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.to_string())))
        .with_controller_id(controller(broker, &image))
        .with_topics(topics)
        .with_cluster_authorized_operations(if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { NO_OPERATIONS })
}

/// Creates what is asked for by name and missing; returns the names that could not be, with the reason.
async fn create_missing(broker: &Broker, topics: &[Topic]) -> Vec<(StrBytes, ErrorCode)> {
    let image = broker.image();
    let missing = topics.iter().filter_map(|topic| match topic {
        Topic::Named(name) if image.topic_named(name).is_none() && !RESERVED.contains(&&**name) => Some(name),
        _ => None,
    });
    let creations = missing.map(|name| async move {
        create_topics::create_with_defaults(broker, name).await.map_err(|error| {
            tracing::debug!(topic = %&**name, "not created: {error}");
            (name.clone(), error_code::admin(&error))
        })
    });
    let mut refused = Vec::new();
    let mut newest = None;
    let mut done = stream::iter(creations.collect::<Vec<_>>()).buffer_unordered(CREATED_AT_ONCE);
    while let Some(created) = done.next().await {
        match created {
            Ok(created) => newest = newest.max(Some(created.revision)),
            // Somebody else was faster.
            Err((_, ErrorCode::TopicAlreadyExists)) => {}
            Err(refusal) => refused.push(refusal),
        }
    }
    if let Some(revision) = newest {
        let _ = tokio::time::timeout(CREATION_WAIT, broker.leadership.applied(revision)).await;
    }
    refused
}

/// Any live broker serves the requests that Kafka sends to its controller; this one is as good as another.
pub(crate) fn controller(broker: &Broker, image: &ClusterImage) -> BrokerId {
    let here = image.brokers.get(&broker.id).filter(|member| member.alive);
    BrokerId(here.or_else(|| image.brokers.values().find(|member| member.alive)).map_or(-1, |member| member.id.0))
}

/// The address of a broker on the listener that the request came in by.
pub(crate) fn endpoint_of<'a>(member: &'a BrokerImage, listener: &str) -> Option<&'a Endpoint> {
    member.endpoints.iter().find(|endpoint| endpoint.listener == listener)
}

/// What an image says, in the protocol's terms, to who asks by one listener.
pub(crate) struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a ClusterImage,
    topic_operations: bool,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(broker: &'a Broker, context: &'a RequestContext, image: &'a ClusterImage) -> Self {
        Self { broker, context, image, topic_operations: false }
    }

    fn member(&self, member: &BrokerImage) -> Option<MetadataResponseBroker> {
        let endpoint = endpoint_of(member, &self.context.session.listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(member.id.0))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(member.rack.clone().map(StrBytes::from_string)),
        )
    }

    fn asked(&self, topic: Topic, refused: &[(StrBytes, ErrorCode)]) -> MetadataResponseTopic {
        match topic {
            Topic::Named(name) => match self.image.topic_named(&name) {
                Some(topic) => self.topic(topic),
                None => {
                    let reason = refused.iter().find(|(other, _)| *other == name).map(|(_, code)| *code);
                    let valid = create_topics::check_name(&name).is_ok();
                    let code = reason.unwrap_or(if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException });
                    // Who may do what is known of a name, whether it is there or not.
                    self.failed(Some(name), Uuid::nil(), code).with_topic_authorized_operations(self.topic_operations())
                }
            },
            Topic::WithId(id) => match self.image.topics.get(&TopicId(id)) {
                Some(topic) => self.topic(topic),
                None => self.failed(None, id, ErrorCode::UnknownTopicId),
            },
            Topic::Invalid(id, name) => self.failed(Some(name), id, ErrorCode::InvalidRequest),
        }
    }

    fn failed(&self, name: Option<StrBytes>, id: Uuid, code: ErrorCode) -> MetadataResponseTopic {
        self.broker.metrics.requests.error(self.context.header.api_key, code);
        MetadataResponseTopic::default().with_error_code(code.code()).with_name(name.map(TopicName)).with_topic_id(id)
    }

    fn topic(&self, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().zip(0..).map(|(partition, index)| self.partition(partition, index));
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
            .with_topic_id(topic.id.0)
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(self.topic_operations())
    }

    fn topic_operations(&self) -> i32 {
        if self.topic_operations { TOPIC_OPERATIONS } else { NO_OPERATIONS }
    }

    pub(crate) fn partition(&self, partition: &PartitionImage, index: i32) -> MetadataResponsePartition {
        let alive = |id: &types::BrokerId| self.image.brokers.get(id).is_some_and(|member| member.alive);
        let ids = |brokers: &mut dyn Iterator<Item = &types::BrokerId>| brokers.map(|id| BrokerId(id.0)).collect();
        let leader = partition.leader.filter(alive);
        let reachable = leader.and_then(|leader| endpoint_of(self.image.brokers.get(&leader)?, &self.context.session.listener));
        let code = match (leader, reachable) {
            (None, _) => ErrorCode::LeaderNotAvailable,
            (Some(_), None) => ErrorCode::ListenerNotFound,
            (Some(_), Some(_)) => ErrorCode::None,
        };
        MetadataResponsePartition::default()
            .with_error_code(code.code())
            .with_partition_index(index)
            .with_leader_id(BrokerId(reachable.and(leader).map_or(-1, |leader| leader.0)))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(ids(&mut partition.replicas.iter()))
            .with_isr_nodes(ids(&mut partition.replicas.iter().filter(|id| alive(id))))
            .with_offline_replicas(ids(&mut partition.replicas.iter().filter(|id| !alive(id))))
    }
}
