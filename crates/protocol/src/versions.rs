//! The served APIs and their version ranges. This table is the single source: what ApiVersions lists, what is decoded, and what
//! the tests run through. It is not kafka-protocol's `valid_versions`, which also names versions that crate cannot decode; the old ones
//! that it cannot are `legacy`'s, those that it does not have yet `newer`'s.

use kafka_protocol::messages;
use kafka_protocol::protocol::{HeaderVersion, VersionRange};

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident($request:ident, $response:ident) = $key:literal, $min:literal..=$max:literal, flexible $flexible:expr;)*) => {
        /// An API that this broker serves.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $($(#[$doc])* $name = $key,)*
        }

        impl ApiKey {
            /// Every served API, in the order in which ApiVersions lists them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The API with this key, if it is served.
            pub fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The versions served, both ends included.
            pub fn versions(self) -> VersionRange {
                match self {
                    $(Self::$name => VersionRange { min: $min, max: $max },)*
                }
            }

            /// The first version with compact lengths and tagged fields (KIP-482).
            pub(crate) fn first_flexible_version(self) -> i16 {
                match self {
                    $(Self::$name => $flexible,)*
                }
            }

            /// Version of the request header that goes with `version` of the body.
            pub fn request_header_version(self, version: i16) -> i16 {
                match self {
                    $(Self::$name => messages::$request::header_version(version),)*
                }
            }

            /// Version of the response header that goes with `version` of the body. ApiVersions answers always with 0 (KIP-511).
            pub fn response_header_version(self, version: i16) -> i16 {
                match self {
                    $(Self::$name => messages::$response::header_version(version),)*
                }
            }
        }
    };
}

apis! {
    /// Appends record batches; up to version 2 message sets. librdkafka compresses only if version 0 is listed (KAFKA-18659).
    Produce(ProduceRequest, ProduceResponse) = 0, 0..=13, flexible 9;
    /// Reads record batches; up to version 3 message sets.
    Fetch(FetchRequest, FetchResponse) = 1, 0..=18, flexible 12;
    /// Finds offsets: earliest, latest, by timestamp.
    ListOffsets(ListOffsetsRequest, ListOffsetsResponse) = 2, 0..=11, flexible 6;
    /// Names brokers, topics, partitions and their leaders.
    Metadata(MetadataRequest, MetadataResponse) = 3, 0..=13, flexible 9;
    /// Keeps how far a group has read.
    OffsetCommit(OffsetCommitRequest, OffsetCommitResponse) = 8, 0..=9, flexible 8;
    /// Says how far groups have read.
    OffsetFetch(OffsetFetchRequest, OffsetFetchResponse) = 9, 0..=9, flexible 6;
    /// Finds the coordinator of a group or a transactional id.
    FindCoordinator(FindCoordinatorRequest, FindCoordinatorResponse) = 10, 0..=6, flexible 3;
    /// Makes a member of a group and waits for the generation to begin.
    JoinGroup(JoinGroupRequest, JoinGroupResponse) = 11, 0..=9, flexible 6;
    /// Keeps a member in its group.
    Heartbeat(HeartbeatRequest, HeartbeatResponse) = 12, 0..=4, flexible 4;
    /// Takes members out of a group.
    LeaveGroup(LeaveGroupRequest, LeaveGroupResponse) = 13, 0..=5, flexible 4;
    /// Hands in, as a leader, and hands out a generation's assignment.
    SyncGroup(SyncGroupRequest, SyncGroupResponse) = 14, 0..=5, flexible 4;
    /// Describes groups whose clients assign.
    DescribeGroups(DescribeGroupsRequest, DescribeGroupsResponse) = 15, 0..=6, flexible 5;
    /// Lists groups.
    ListGroups(ListGroupsRequest, ListGroupsResponse) = 16, 0..=5, flexible 3;
    /// Lists the served APIs.
    ApiVersions(ApiVersionsRequest, ApiVersionsResponse) = 18, 0..=4, flexible 3;
    /// Creates topics.
    CreateTopics(CreateTopicsRequest, CreateTopicsResponse) = 19, 0..=7, flexible 5;
    /// Deletes topics.
    DeleteTopics(DeleteTopicsRequest, DeleteTopicsResponse) = 20, 0..=6, flexible 4;
    /// Moves log starts forward.
    DeleteRecords(DeleteRecordsRequest, DeleteRecordsResponse) = 21, 0..=2, flexible 2;
    /// Gives a producer its id.
    InitProducerId(InitProducerIdRequest, InitProducerIdResponse) = 22, 0..=5, flexible 2;
    /// Finds where a leader epoch ends.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse) = 23, 2..=4, flexible 4;
    /// Reads configs of topics, brokers and groups.
    DescribeConfigs(DescribeConfigsRequest, DescribeConfigsResponse) = 32, 0..=4, flexible 4;
    /// Replaces all configs of topics, brokers or groups.
    AlterConfigs(AlterConfigsRequest, AlterConfigsResponse) = 33, 0..=2, flexible 2;
    /// Asks for replicas in other log directories.
    AlterReplicaLogDirs(AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse) = 34, 1..=2, flexible 2;
    /// Says what lies in the data directory.
    DescribeLogDirs(DescribeLogDirsRequest, DescribeLogDirsResponse) = 35, 1..=5, flexible 2;
    /// Grows topics.
    CreatePartitions(CreatePartitionsRequest, CreatePartitionsResponse) = 37, 0..=3, flexible 2;
    /// Deletes groups.
    DeleteGroups(DeleteGroupsRequest, DeleteGroupsResponse) = 42, 0..=2, flexible 2;
    /// Elects leaders, also unclean ones.
    ElectLeaders(ElectLeadersRequest, ElectLeadersResponse) = 43, 0..=2, flexible 2;
    /// Changes single configs of topics, brokers or groups.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse) = 44, 0..=1, flexible 1;
    /// Asks for other replicas.
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse) = 45, 0..=1, flexible 0;
    /// Lists replicas that are being moved.
    ListPartitionReassignments(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse) = 46, 0..=0, flexible 0;
    /// Forgets how far a group has read.
    OffsetDelete(OffsetDeleteRequest, OffsetDeleteResponse) = 47, 0..=0, flexible i16::MAX;
    /// Reads client quotas.
    DescribeClientQuotas(DescribeClientQuotasRequest, DescribeClientQuotasResponse) = 48, 0..=1, flexible 1;
    /// Sets and removes client quotas.
    AlterClientQuotas(AlterClientQuotasRequest, AlterClientQuotasResponse) = 49, 0..=1, flexible 1;
    /// Says who keeps the cluster's metadata.
    DescribeQuorum(DescribeQuorumRequest, DescribeQuorumResponse) = 55, 0..=2, flexible 0;
    /// Switches features, of which there are none to switch.
    UpdateFeatures(UpdateFeaturesRequest, UpdateFeaturesResponse) = 57, 0..=2, flexible 0;
    /// Names the cluster and its brokers.
    DescribeCluster(DescribeClusterRequest, DescribeClusterResponse) = 60, 0..=2, flexible 0;
    /// Names the producers that a partition remembers.
    DescribeProducers(DescribeProducersRequest, DescribeProducersResponse) = 61, 0..=0, flexible 0;
    /// All that a consumer says to and hears from a group whose coordinator assigns (KIP-848).
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse) = 68, 0..=1, flexible 0;
    /// Describes groups whose coordinator assigns.
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse) = 69, 0..=1, flexible 0;
    /// Lists resources that have configs of their own.
    ListConfigResources(ListConfigResourcesRequest, ListConfigResourcesResponse) = 74, 0..=1, flexible 0;
    /// Names topics and partitions, a page at a time.
    DescribeTopicPartitions(DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse) = 75, 0..=0, flexible 0;
}

impl ApiKey {
    /// The number on the wire.
    pub fn key(self) -> i16 {
        self as i16
    }

    /// Whether `version` is served.
    pub fn serves(self, version: i16) -> bool {
        let range = self.versions();
        range.min <= version && version <= range.max
    }
}
