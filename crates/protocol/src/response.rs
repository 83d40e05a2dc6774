//! Responses: from a body to the slices of a frame, ready for a vectored write.
//!
//! kafka-protocol refuses to encode a body that has a field set which its version lacks. Handlers fill in the newest form;
//! [`fit`] takes out what the version of the request cannot say.

use std::mem;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    AlterClientQuotasResponse, AlterConfigsResponse, AlterPartitionReassignmentsResponse, AlterReplicaLogDirsResponse, ApiVersionsResponse,
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeClientQuotasResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeGroupsResponse, DescribeLogDirsResponse, DescribeProducersResponse, DescribeQuorumResponse, DescribeTopicPartitionsResponse,
    ElectLeadersResponse, FindCoordinatorResponse, HeartbeatResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse,
    JoinGroupResponse, LeaveGroupResponse, ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse,
    ListPartitionReassignmentsResponse, MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupResponse, UpdateFeaturesResponse,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::fetch_response::FetchResponse;
use crate::gather::Gather;
use crate::{ApiKey, ErrorCode, ListOffsetsResponseV0, legacy, newer};

/// A response's body. Fields that the request's version lacks may be set: they are left out.
#[derive(Clone, PartialEq, Debug)]
pub enum ResponseBody {
    /// Offsets of the appended batches, or errors, by partition.
    Produce(ProduceResponse),
    /// Record batches by partition.
    Fetch(FetchResponse),
    /// Offsets by partition.
    ListOffsets(ListOffsetsResponse),
    /// Offsets by partition, in version 0.
    ListOffsetsV0(ListOffsetsResponseV0),
    /// Brokers, topics, partitions.
    Metadata(MetadataResponse),
    /// Coordinators, always in the list of version 4 and above; older versions take the first.
    FindCoordinator(FindCoordinatorResponse),
    /// The served APIs.
    ApiVersions(ApiVersionsResponse),
    /// Created topics, or errors.
    CreateTopics(CreateTopicsResponse),
    /// Deleted topics, or errors.
    DeleteTopics(DeleteTopicsResponse),
    /// New log starts, or errors, by partition.
    DeleteRecords(DeleteRecordsResponse),
    /// A producer id.
    InitProducerId(InitProducerIdResponse),
    /// Ends of leader epochs.
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    /// Configs by resource.
    DescribeConfigs(DescribeConfigsResponse),
    /// What became of it, by resource.
    AlterConfigs(AlterConfigsResponse),
    /// What became of it, by partition.
    AlterReplicaLogDirs(AlterReplicaLogDirsResponse),
    /// Sizes by partition.
    DescribeLogDirs(DescribeLogDirsResponse),
    /// What became of it, by topic.
    CreatePartitions(CreatePartitionsResponse),
    /// What became of it, by partition.
    ElectLeaders(ElectLeadersResponse),
    /// What became of it, by resource.
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// What became of it, by partition.
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    /// Replicas that are being moved.
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    /// Client quotas by entity.
    DescribeClientQuotas(DescribeClientQuotasResponse),
    /// What became of it, by entity.
    AlterClientQuotas(AlterClientQuotasResponse),
    /// What became of it, by feature; version 2 says it once for all.
    UpdateFeatures(UpdateFeaturesResponse),
    /// The cluster and its brokers.
    DescribeCluster(DescribeClusterResponse),
    /// Producers by partition.
    DescribeProducers(DescribeProducersResponse),
    /// The voters, and how far they are.
    DescribeQuorum(DescribeQuorumResponse),
    /// Resources that have configs of their own.
    ListConfigResources(ListConfigResourcesResponse),
    /// Topics and partitions, and where the next page begins.
    DescribeTopicPartitions(DescribeTopicPartitionsResponse),
    /// What became of it, by partition.
    OffsetCommit(OffsetCommitResponse),
    /// Offsets by partition, always in the groups of version 8 and above; older versions take the first.
    OffsetFetch(OffsetFetchResponse),
    /// The generation, and for its leader the members.
    JoinGroup(JoinGroupResponse),
    /// Whether the member still is one.
    Heartbeat(HeartbeatResponse),
    /// What became of it, by member; versions below 3 take the first.
    LeaveGroup(LeaveGroupResponse),
    /// The member's assignment.
    SyncGroup(SyncGroupResponse),
    /// Groups and their members.
    DescribeGroups(DescribeGroupsResponse),
    /// Groups by name.
    ListGroups(ListGroupsResponse),
    /// What became of it, by group.
    DeleteGroups(DeleteGroupsResponse),
    /// What became of it, by partition.
    OffsetDelete(OffsetDeleteResponse),
    /// The member's epoch, and its assignment when it has changed.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    /// Groups and their members.
    ConsumerGroupDescribe(ConsumerGroupDescribeResponse),
}

impl ResponseBody {
    /// The API that this answers.
    pub fn api_key(&self) -> ApiKey {
        match self {
            Self::Produce(_) => ApiKey::Produce,
            Self::Fetch(_) => ApiKey::Fetch,
            Self::ListOffsets(_) | Self::ListOffsetsV0(_) => ApiKey::ListOffsets,
            Self::Metadata(_) => ApiKey::Metadata,
            Self::FindCoordinator(_) => ApiKey::FindCoordinator,
            Self::ApiVersions(_) => ApiKey::ApiVersions,
            Self::CreateTopics(_) => ApiKey::CreateTopics,
            Self::DeleteTopics(_) => ApiKey::DeleteTopics,
            Self::DeleteRecords(_) => ApiKey::DeleteRecords,
            Self::InitProducerId(_) => ApiKey::InitProducerId,
            Self::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
            Self::DescribeConfigs(_) => ApiKey::DescribeConfigs,
            Self::AlterConfigs(_) => ApiKey::AlterConfigs,
            Self::AlterReplicaLogDirs(_) => ApiKey::AlterReplicaLogDirs,
            Self::DescribeQuorum(_) => ApiKey::DescribeQuorum,
            Self::DescribeLogDirs(_) => ApiKey::DescribeLogDirs,
            Self::CreatePartitions(_) => ApiKey::CreatePartitions,
            Self::ElectLeaders(_) => ApiKey::ElectLeaders,
            Self::IncrementalAlterConfigs(_) => ApiKey::IncrementalAlterConfigs,
            Self::AlterPartitionReassignments(_) => ApiKey::AlterPartitionReassignments,
            Self::ListPartitionReassignments(_) => ApiKey::ListPartitionReassignments,
            Self::DescribeClientQuotas(_) => ApiKey::DescribeClientQuotas,
            Self::AlterClientQuotas(_) => ApiKey::AlterClientQuotas,
            Self::UpdateFeatures(_) => ApiKey::UpdateFeatures,
            Self::DescribeCluster(_) => ApiKey::DescribeCluster,
            Self::DescribeProducers(_) => ApiKey::DescribeProducers,
            Self::ListConfigResources(_) => ApiKey::ListConfigResources,
            Self::DescribeTopicPartitions(_) => ApiKey::DescribeTopicPartitions,
            Self::OffsetCommit(_) => ApiKey::OffsetCommit,
            Self::OffsetFetch(_) => ApiKey::OffsetFetch,
            Self::JoinGroup(_) => ApiKey::JoinGroup,
            Self::Heartbeat(_) => ApiKey::Heartbeat,
            Self::LeaveGroup(_) => ApiKey::LeaveGroup,
            Self::SyncGroup(_) => ApiKey::SyncGroup,
            Self::DescribeGroups(_) => ApiKey::DescribeGroups,
            Self::ListGroups(_) => ApiKey::ListGroups,
            Self::DeleteGroups(_) => ApiKey::DeleteGroups,
            Self::OffsetDelete(_) => ApiKey::OffsetDelete,
            Self::ConsumerGroupHeartbeat(_) => ApiKey::ConsumerGroupHeartbeat,
            Self::ConsumerGroupDescribe(_) => ApiKey::ConsumerGroupDescribe,
        }
    }
}

/// A response that cannot be put into bytes. The request gets no answer, so the connection has to be closed.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The body says something that the version cannot: a bug in what built it.
    #[error("{} response cannot be encoded in version {version}: {reason}", .api_key.name())]
    Body {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        version: i16,
        /// kafka-protocol's words.
        reason: String,
    },
    /// A frame's length has 31 bits.
    #[error("{} response of {bytes} bytes does not fit a frame", .api_key.name())]
    TooLarge {
        /// The API.
        api_key: ApiKey,
        /// Its length without the frame's length field.
        bytes: usize,
    },
}

/// Encodes a response as the slices of one frame: length, header, body. All but Fetch are one slice; the records of a Fetch are
/// slices of their own, not copied.
///
/// # Errors
/// See [`EncodeError`]; neither happens to a body built for its version and within the limits on a fetch.
pub fn encode_response(correlation_id: i32, version: i16, body: ResponseBody) -> Result<Vec<Bytes>, EncodeError> {
    let api_key = body.api_key();
    let mut gather = Gather::for_frame();
    gather.head().put_i32(correlation_id);
    if 1 <= api_key.response_header_version(version) {
        gather.head().put_u8(0); // no tagged fields
    }
    encode_body(fit(body, version), version, &mut gather).map_err(|reason| EncodeError::Body { api_key, version, reason })?;
    gather.into_frame().map_err(|bytes| EncodeError::TooLarge { api_key, bytes })
}

fn encode_body(body: ResponseBody, asked: i16, gather: &mut Gather) -> Result<(), String> {
    let version = newer::known(body.api_key(), asked);
    match body {
        ResponseBody::Fetch(body) => body.encode(version, gather),
        ResponseBody::Produce(body) if version <= legacy::produce::LAST => legacy::produce::encode(&body, version, gather.head()),
        ResponseBody::ListOffsetsV0(body) if version <= legacy::list_offsets::LAST => legacy::list_offsets::encode(&body, gather.head()),
        ResponseBody::ListOffsetsV0(_) => return Err("the body is one of version 0".to_owned()),
        ResponseBody::CreateTopics(body) if version <= legacy::create_topics::LAST => {
            legacy::create_topics::encode(&body, version, gather.head());
        }
        ResponseBody::DeleteTopics(body) if version <= legacy::delete_topics::LAST => legacy::delete_topics::encode(&body, gather.head()),
        ResponseBody::OffsetCommit(body) if version <= legacy::offset_commit::LAST => legacy::offset_commit::encode(&body, gather.head()),
        ResponseBody::DescribeConfigs(body) if version <= legacy::describe_configs::LAST => {
            legacy::describe_configs::encode(&body, gather.head());
        }
        ResponseBody::DescribeLogDirs(body) if newer::DESCRIBE_LOG_DIRS <= asked => {
            newer::encode_describe_log_dirs(&body, gather.head())?;
        }
        ResponseBody::Produce(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ListOffsets(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::Metadata(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::FindCoordinator(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ApiVersions(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::CreateTopics(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DeleteTopics(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DeleteRecords(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::InitProducerId(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::OffsetForLeaderEpoch(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeConfigs(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::AlterConfigs(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::AlterReplicaLogDirs(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeQuorum(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeLogDirs(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::CreatePartitions(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ElectLeaders(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::IncrementalAlterConfigs(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::AlterPartitionReassignments(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ListPartitionReassignments(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeClientQuotas(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::AlterClientQuotas(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::UpdateFeatures(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeCluster(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeProducers(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ListConfigResources(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeTopicPartitions(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::OffsetCommit(body) => encode_as(&body, version, gather.head())?,
        // Version 0 looks like version 1.
        ResponseBody::OffsetFetch(body) => encode_as(&body, version.max(1), gather.head())?,
        ResponseBody::JoinGroup(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::Heartbeat(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::LeaveGroup(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::SyncGroup(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DescribeGroups(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ListGroups(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::DeleteGroups(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::OffsetDelete(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ConsumerGroupHeartbeat(body) => encode_as(&body, version, gather.head())?,
        ResponseBody::ConsumerGroupDescribe(body) => encode_as(&body, version, gather.head())?,
    }
    Ok(())
}

fn encode_as<R: Encodable>(body: &R, version: i16, head: &mut BytesMut) -> Result<(), String> {
    let mut encode = || {
        head.reserve(body.compute_size(version)?);
        body.encode(head, version)
    };
    encode().map_err(|error| format!("{error:#}"))
}

/// Takes out of `body` what `version` cannot say: fields whose absence the protocol defines, and KAFKA_STORAGE_ERROR (KIP-112), which
/// older clients do not retry because they do not know it. They get NOT_LEADER_OR_FOLLOWER, as from Kafka.
fn fit(mut body: ResponseBody, version: i16) -> ResponseBody {
    /// Kafka's "not asked for" in the fields that list authorized operations.
    const NO_OPERATIONS: i32 = i32::MIN;
    /// Kafka's "unknown" for the epoch of features.
    const NO_EPOCH: i64 = -1;
    /// The only type of resource that version 0 of ListConfigResources knows.
    const CLIENT_METRICS: i8 = 16;

    match &mut body {
        ResponseBody::Produce(body) if version <= 3 => {
            for partition in body.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
                if partition.error_code == ErrorCode::KafkaStorageError.code() {
                    partition.error_code = ErrorCode::NotLeaderOrFollower.code();
                }
            }
        }
        ResponseBody::Fetch(body) if version <= 5 => {
            for partition in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                if partition.error_code == ErrorCode::KafkaStorageError {
                    partition.error_code = ErrorCode::NotLeaderOrFollower;
                }
            }
        }
        ResponseBody::ListOffsets(body) if version < 4 => {
            for partition in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.leader_epoch = -1;
            }
        }
        ResponseBody::Metadata(body) => {
            if !(8..=10).contains(&version) {
                body.cluster_authorized_operations = NO_OPERATIONS;
            }
            for topic in &mut body.topics {
                if version < 8 {
                    topic.topic_authorized_operations = NO_OPERATIONS;
                }
                if version < 12 && topic.name.is_none() {
                    topic.name = Some(Default::default());
                }
            }
        }
        ResponseBody::FindCoordinator(body) if version < 4 && !body.coordinators.is_empty() => {
            let first = body.coordinators.swap_remove(0);
            body.coordinators.clear();
            body.error_code = first.error_code;
            body.error_message = first.error_message;
            body.node_id = first.node_id;
            body.host = first.host;
            body.port = first.port;
        }
        ResponseBody::DescribeCluster(body) => {
            if version < 1 {
                body.endpoint_type = 1;
            }
            if version < 2 {
                body.brokers.iter_mut().for_each(|broker| broker.is_fenced = false);
            }
        }
        ResponseBody::DescribeConfigs(body) if version < 3 => {
            for config in body.results.iter_mut().flat_map(|result| &mut result.configs) {
                config.config_type = 0;
                config.documentation = None;
            }
        }
        ResponseBody::ApiVersions(body) if version < 3 => {
            body.supported_features.clear();
            body.finalized_features_epoch = NO_EPOCH;
            body.finalized_features.clear();
        }
        ResponseBody::UpdateFeatures(body) if 2 <= version => body.results.clear(),
        ResponseBody::DescribeLogDirs(body) => {
            if version < 3 {
                body.error_code = 0;
            }
            if version < 4 {
                for result in &mut body.results {
                    (result.total_bytes, result.usable_bytes) = (-1, -1);
                }
            }
        }
        ResponseBody::DescribeQuorum(body) if version < 2 => {
            body.nodes.clear();
            let partitions = body.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for replica in partitions.flat_map(|partition| partition.current_voters.iter_mut().chain(&mut partition.observers)) {
                replica.replica_directory_id = Default::default();
            }
        }
        ResponseBody::ElectLeaders(body) if version < 1 => body.error_code = 0,
        ResponseBody::AlterPartitionReassignments(body) if version < 1 => body.allow_replication_factor_change = true,
        ResponseBody::ListConfigResources(body) if version < 1 => {
            body.config_resources.iter_mut().for_each(|resource| resource.resource_type = CLIENT_METRICS);
        }
        ResponseBody::JoinGroup(body) => {
            if version < 7 {
                body.protocol_name.get_or_insert_default();
            }
            if version < 9 {
                body.skip_assignment = false;
            }
        }
        ResponseBody::LeaveGroup(body) if version < 3 => {
            if let Some(member) = body.members.first().filter(|_| body.error_code == 0) {
                body.error_code = member.error_code;
            }
            body.members.clear();
        }
        ResponseBody::OffsetFetch(body) if version < 8 => fit_offset_fetch(body, version),
        ResponseBody::DescribeGroups(body) => {
            for group in &mut body.groups {
                if version < 3 {
                    group.authorized_operations = NO_OPERATIONS;
                }
                if version < 6 {
                    group.error_message = None;
                }
            }
        }
        // Every version of the others says all there is to say; a test encodes each with every field set.
        _ => {}
    }
    body
}

/// Versions below 8 answer for one group, and those below 2 have its error in the partitions only.
fn fit_offset_fetch(body: &mut OffsetFetchResponse, version: i16) {
    let Some(group) = mem::take(&mut body.groups).into_iter().next() else { return };
    body.error_code = group.error_code;
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let error_code = if version < 2 && group.error_code != 0 { group.error_code } else { partition.error_code };
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(error_code)
        });
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    body.topics = topics.collect();
}

/// The answer to ApiVersions: every served API. No feature is listed, so `transaction.version` is 0 for clients (KIP-890).
pub fn api_versions_response() -> ApiVersionsResponse {
    let api_keys = ApiKey::ALL.iter().map(|api| {
        let range = api.versions();
        ApiVersion::default().with_api_key(api.key()).with_min_version(range.min).with_max_version(range.max)
    });
    let (name, version) = GROUP_VERSION;
    let name = StrBytes::from_static_str(name);
    let supported = SupportedFeatureKey::default().with_name(name.clone()).with_min_version(version).with_max_version(version);
    let finalized = FinalizedFeatureKey::default().with_name(name).with_min_version_level(version).with_max_version_level(version);
    ApiVersionsResponse::default()
        .with_api_keys(api_keys.collect())
        .with_supported_features(vec![supported])
        // Features come with the program, so this is the first epoch of them and the last.
        .with_finalized_features_epoch(0)
        .with_finalized_features(vec![finalized])
}

/// The only feature, and its only level (KIP-584): groups may use the consumer protocol (KIP-848).
pub const GROUP_VERSION: (&str, i16) = ("group.version", 1);

/// The frame that answers an ApiVersions request of an unknown version: version 0 of the body, which every client can read, with
/// UNSUPPORTED_VERSION and the served APIs (KIP-511).
pub fn unsupported_api_versions(correlation_id: i32) -> Vec<Bytes> {
    let body = api_versions_response().with_error_code(ErrorCode::UnsupportedVersion.code());
    encode_response(correlation_id, 0, ResponseBody::ApiVersions(body)).expect("a small body with fields of version 0 only")
}

#[cfg(test)]
mod tests;
