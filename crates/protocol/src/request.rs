//! Requests: from a frame to a closed enum of decoded bodies.

use bytes::Bytes;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, ApiVersionsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClientQuotasRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest, UpdateFeaturesRequest,
};
use kafka_protocol::protocol::Decodable;

use crate::frame::{RequestHeader, decode_header};
use crate::wire::MalformedError;
use crate::{ApiKey, ListOffsetsRequestV0, guard, legacy, newer};

/// A decoded request body. Strings and records in it are slices of the frame: whatever is kept beyond the request has to be copied,
/// or it keeps the whole frame.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Appends record batches; up to version 2 their place is taken by message sets.
    Produce(ProduceRequest),
    /// Reads record batches.
    Fetch(FetchRequest),
    /// Finds offsets.
    ListOffsets(ListOffsetsRequest),
    /// Finds offsets, in version 0.
    ListOffsetsV0(ListOffsetsRequestV0),
    /// Names brokers, topics and leaders.
    Metadata(MetadataRequest),
    /// Finds a coordinator.
    FindCoordinator(FindCoordinatorRequest),
    /// Lists the served APIs.
    ApiVersions(ApiVersionsRequest),
    /// Creates topics.
    CreateTopics(CreateTopicsRequest),
    /// Deletes topics.
    DeleteTopics(DeleteTopicsRequest),
    /// Moves log starts forward.
    DeleteRecords(DeleteRecordsRequest),
    /// Gives a producer its id.
    InitProducerId(InitProducerIdRequest),
    /// Finds where a leader epoch ends.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    /// Reads configs of topics, brokers and groups.
    DescribeConfigs(DescribeConfigsRequest),
    /// Replaces all configs of topics, brokers or groups.
    AlterConfigs(AlterConfigsRequest),
    /// Asks for replicas in other log directories.
    AlterReplicaLogDirs(AlterReplicaLogDirsRequest),
    /// Says what lies in the data directory.
    DescribeLogDirs(DescribeLogDirsRequest),
    /// Grows topics.
    CreatePartitions(CreatePartitionsRequest),
    /// Elects leaders, also unclean ones.
    ElectLeaders(ElectLeadersRequest),
    /// Changes single configs of topics, brokers or groups.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Asks for other replicas.
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    /// Lists replicas that are being moved.
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    /// Reads client quotas.
    DescribeClientQuotas(DescribeClientQuotasRequest),
    /// Sets and removes client quotas.
    AlterClientQuotas(AlterClientQuotasRequest),
    /// Says who keeps the cluster's metadata.
    DescribeQuorum(DescribeQuorumRequest),
    /// Switches features.
    UpdateFeatures(UpdateFeaturesRequest),
    /// Names the cluster and its brokers.
    DescribeCluster(DescribeClusterRequest),
    /// Names the producers that a partition remembers.
    DescribeProducers(DescribeProducersRequest),
    /// Lists resources that have configs of their own.
    ListConfigResources(ListConfigResourcesRequest),
    /// Names topics and partitions, a page at a time.
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    /// Keeps how far a group has read.
    OffsetCommit(OffsetCommitRequest),
    /// Says how far groups have read.
    OffsetFetch(OffsetFetchRequest),
    /// Makes a member of a group.
    JoinGroup(JoinGroupRequest),
    /// Keeps a member in its group.
    Heartbeat(HeartbeatRequest),
    /// Takes members out of a group.
    LeaveGroup(LeaveGroupRequest),
    /// Hands in or asks for a generation's assignment.
    SyncGroup(SyncGroupRequest),
    /// Describes groups whose clients assign.
    DescribeGroups(DescribeGroupsRequest),
    /// Lists groups.
    ListGroups(ListGroupsRequest),
    /// Deletes groups.
    DeleteGroups(DeleteGroupsRequest),
    /// Forgets how far a group has read.
    OffsetDelete(OffsetDeleteRequest),
    /// What a consumer says to a group whose coordinator assigns.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    /// Describes groups whose coordinator assigns.
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
}

/// A request and what came with it.
#[derive(Clone, PartialEq, Debug)]
pub struct DecodedRequest {
    /// Which request, in which version, from whom.
    pub header: RequestHeader,
    /// The body.
    pub request: Request,
    /// Upper bound of the memory that header and body take beside their frame, in bytes.
    pub decoded_bytes: usize,
}

/// Why a frame is not a request that can be handled. All but [`Self::UnsupportedApiVersions`] end the connection, as in Kafka.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The header cannot be read.
    #[error("malformed request header: {0}")]
    Header(#[source] MalformedError),
    /// No such API is served.
    #[error("API key {api_key} is not served")]
    UnknownApi {
        /// The number sent.
        api_key: i16,
    },
    /// The API is served, the version is not.
    #[error("version {version} of {} is not served, only {} to {}", .api_key.name(), .api_key.versions().min, .api_key.versions().max)]
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// The version sent.
        version: i16,
    },
    /// An ApiVersions request in a version that is not served. It is answered with [`crate::unsupported_api_versions`], from which
    /// the client learns the version to use (KIP-511).
    #[error("version {version} of ApiVersions is not served")]
    UnsupportedApiVersions {
        /// The version sent.
        version: i16,
        /// Comes back in the answer.
        correlation_id: i32,
    },
    /// The body is not one of its API and version.
    #[error("malformed {} request, version {version}: {source}", .api_key.name())]
    Body {
        /// The API.
        api_key: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong with it.
        source: MalformedError,
    },
    /// The body passed the guard and the decoder refused it: the two disagree, which is a bug.
    #[error("undecodable {} request, version {version}: {reason}", .api_key.name())]
    Undecodable {
        /// The API.
        api_key: ApiKey,
        /// The version.
        version: i16,
        /// The decoder's words.
        reason: String,
    },
}

/// Decodes `frame`, a request without its length. Never panics, and allocates at most a small multiple of the frame's length.
///
/// # Errors
/// See [`DecodeError`]; all but one variant end the connection.
pub fn decode_request(frame: &Bytes) -> Result<DecodedRequest, DecodeError> {
    let (header, body_start) = decode_header(frame)?;
    let RequestHeader { api_key, version, .. } = header;
    let client_id_bytes = header.client_id.as_ref().map_or(0, |id| id.len());
    let mut body = frame.slice(body_start..);
    let decoded_bytes = guard::check(api_key, version, &body).map_err(|source| DecodeError::Body { api_key, version, source })?;
    let request = decode_body(api_key, version, &mut body).map_err(|reason| DecodeError::Undecodable { api_key, version, reason })?;
    Ok(DecodedRequest { header, request, decoded_bytes: client_id_bytes + decoded_bytes })
}

fn decode_body(api: ApiKey, version: i16, body: &mut Bytes) -> Result<Request, String> {
    if let Some(decoded) = legacy::decode(api, version, body) {
        return decoded.map_err(|error| error.to_string());
    }
    let version = newer::known(api, version);
    Ok(match api {
        ApiKey::Produce => Request::Produce(decode_as(body, version)?),
        ApiKey::Fetch => Request::Fetch(decode_as(body, version)?),
        ApiKey::ListOffsets => Request::ListOffsets(decode_as(body, version)?),
        ApiKey::Metadata => Request::Metadata(decode_as(body, version)?),
        ApiKey::FindCoordinator => Request::FindCoordinator(decode_as(body, version)?),
        ApiKey::ApiVersions => Request::ApiVersions(decode_as(body, version)?),
        ApiKey::CreateTopics => Request::CreateTopics(decode_as(body, version)?),
        ApiKey::DeleteTopics => Request::DeleteTopics(decode_as(body, version)?),
        ApiKey::DeleteRecords => Request::DeleteRecords(decode_as(body, version)?),
        ApiKey::InitProducerId => Request::InitProducerId(decode_as(body, version)?),
        ApiKey::OffsetForLeaderEpoch => Request::OffsetForLeaderEpoch(decode_as(body, version)?),
        ApiKey::DescribeConfigs => Request::DescribeConfigs(decode_as(body, version)?),
        ApiKey::AlterConfigs => Request::AlterConfigs(decode_as(body, version)?),
        ApiKey::AlterReplicaLogDirs => Request::AlterReplicaLogDirs(decode_as(body, version)?),
        ApiKey::DescribeQuorum => Request::DescribeQuorum(decode_as(body, version)?),
        ApiKey::DescribeLogDirs => Request::DescribeLogDirs(decode_as(body, version)?),
        ApiKey::CreatePartitions => Request::CreatePartitions(decode_as(body, version)?),
        ApiKey::ElectLeaders => Request::ElectLeaders(decode_as(body, version)?),
        ApiKey::IncrementalAlterConfigs => Request::IncrementalAlterConfigs(decode_as(body, version)?),
        ApiKey::AlterPartitionReassignments => Request::AlterPartitionReassignments(decode_as(body, version)?),
        ApiKey::ListPartitionReassignments => Request::ListPartitionReassignments(decode_as(body, version)?),
        ApiKey::DescribeClientQuotas => Request::DescribeClientQuotas(decode_as(body, version)?),
        ApiKey::AlterClientQuotas => Request::AlterClientQuotas(decode_as(body, version)?),
        ApiKey::UpdateFeatures => Request::UpdateFeatures(decode_as(body, version)?),
        ApiKey::DescribeCluster => Request::DescribeCluster(decode_as(body, version)?),
        ApiKey::DescribeProducers => Request::DescribeProducers(decode_as(body, version)?),
        ApiKey::ListConfigResources => Request::ListConfigResources(decode_as(body, version)?),
        ApiKey::DescribeTopicPartitions => Request::DescribeTopicPartitions(decode_as(body, version)?),
        ApiKey::OffsetCommit => Request::OffsetCommit(decode_as(body, version)?),
        // Version 0 looks like version 1; to Kafka it asked for what lay in ZooKeeper.
        ApiKey::OffsetFetch => Request::OffsetFetch(decode_as(body, version.max(1))?),
        ApiKey::JoinGroup => Request::JoinGroup(decode_as(body, version)?),
        ApiKey::Heartbeat => Request::Heartbeat(decode_as(body, version)?),
        ApiKey::LeaveGroup => Request::LeaveGroup(decode_as(body, version)?),
        ApiKey::SyncGroup => Request::SyncGroup(decode_as(body, version)?),
        ApiKey::DescribeGroups => Request::DescribeGroups(decode_as(body, version)?),
        ApiKey::ListGroups => Request::ListGroups(decode_as(body, version)?),
        ApiKey::DeleteGroups => Request::DeleteGroups(decode_as(body, version)?),
        ApiKey::OffsetDelete => Request::OffsetDelete(decode_as(body, version)?),
        ApiKey::ConsumerGroupHeartbeat => Request::ConsumerGroupHeartbeat(decode_as(body, version)?),
        ApiKey::ConsumerGroupDescribe => Request::ConsumerGroupDescribe(decode_as(body, version)?),
    })
}

fn decode_as<R: Decodable>(body: &mut Bytes, version: i16) -> Result<R, String> {
    R::decode(body, version).map_err(|error| format!("{error:#}"))
}
