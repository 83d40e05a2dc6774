//! The shape of every served request: which fields follow each other in which versions. It says as much as is needed to walk a body
//! and to know what decoding it would allocate.

use std::mem::size_of;

use kafka_protocol::messages::{
    GroupId, TopicName, alter_client_quotas_request as alter_client_quotas, alter_configs_request as alter_configs,
    alter_partition_reassignments_request as alter_reassignments, alter_replica_log_dirs_request as alter_replica_log_dirs,
    consumer_group_heartbeat_request as consumer_heartbeat, create_partitions_request as create_partitions,
    create_topics_request as create_topics, delete_records_request as delete_records, delete_topics_request as delete_topics,
    describe_client_quotas_request as describe_client_quotas, describe_configs_request as describe_configs,
    describe_log_dirs_request as describe_log_dirs, describe_producers_request as describe_producers,
    describe_quorum_request as describe_quorum, describe_topic_partitions_request as describe_topic_partitions,
    elect_leaders_request as elect_leaders, fetch_request as fetch, incremental_alter_configs_request as incremental_alter_configs,
    join_group_request as join_group, leave_group_request as leave_group, list_offsets_request as list_offsets,
    list_partition_reassignments_request as list_reassignments, metadata_request as metadata, offset_commit_request as offset_commit,
    offset_delete_request as offset_delete, offset_fetch_request as offset_fetch, offset_for_leader_epoch_request as leader_epoch,
    produce_request as produce, sync_group_request as sync_group, update_features_request as update_features,
};
use kafka_protocol::protocol::StrBytes;

use crate::{ApiKey, ListOffsetsPartitionV0, ListOffsetsTopicV0};

/// A structure: fields in order, then tagged fields in flexible versions.
pub(crate) struct Shape {
    pub(crate) fields: &'static [Field],
    /// Tagged fields with a meaning; `None` for the bare elements of an array of numbers or strings, which have none.
    pub(crate) tags: Option<&'static [KnownTag]>,
    /// Bytes that one of them takes in a `Vec`.
    pub(crate) size: usize,
}

/// A field and the versions that have it, both ends included.
pub(crate) struct Field {
    pub(crate) min: i16,
    pub(crate) max: i16,
    pub(crate) kind: Kind,
}

pub(crate) struct KnownTag {
    pub(crate) tag: u32,
    pub(crate) min: i16,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Fixed(usize),
    String,
    NullableString,
    Bytes,
    NullableBytes,
    Array(&'static Shape),
    NullableArray(&'static Shape),
    Struct(&'static Shape),
    /// A byte, negative for null, 1 for a structure that follows.
    NullableStruct(&'static Shape),
}

use Kind::{Array, Bytes, Fixed, NullableArray, NullableBytes, NullableString, NullableStruct, String, Struct};

const BOOLEAN: Kind = Fixed(1);
const INT8: Kind = Fixed(1);
const INT16: Kind = Fixed(2);
const INT32: Kind = Fixed(4);
const INT64: Kind = Fixed(8);
const FLOAT64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);

const fn always(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

const fn since(min: i16, kind: Kind) -> Field {
    between(min, i16::MAX, kind)
}

const fn until(max: i16, kind: Kind) -> Field {
    between(0, max, kind)
}

const fn between(min: i16, max: i16, kind: Kind) -> Field {
    Field { min, max, kind }
}

const fn body(fields: &'static [Field]) -> Shape {
    element(0, fields)
}

const fn element(size: usize, fields: &'static [Field]) -> Shape {
    Shape { fields, tags: Some(&[]), size }
}

const fn bare(size: usize, fields: &'static [Field]) -> Shape {
    Shape { fields, tags: None, size }
}

/// The shape of `api`'s request body.
pub(crate) fn of(api: ApiKey) -> &'static Shape {
    match api {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeClientQuotas => &DESCRIBE_CLIENT_QUOTAS,
        ApiKey::AlterClientQuotas => &ALTER_CLIENT_QUOTAS,
        ApiKey::UpdateFeatures => &UPDATE_FEATURES,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::AlterReplicaLogDirs => &ALTER_REPLICA_LOG_DIRS,
        ApiKey::DescribeQuorum => &DESCRIBE_QUORUM,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::ElectLeaders => &ELECT_LEADERS,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::AlterPartitionReassignments => &ALTER_PARTITION_REASSIGNMENTS,
        ApiKey::ListPartitionReassignments => &LIST_PARTITION_REASSIGNMENTS,
        ApiKey::DescribeProducers => &DESCRIBE_PRODUCERS,
        ApiKey::ListConfigResources => &LIST_CONFIG_RESOURCES,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::OffsetDelete => &OFFSET_DELETE,
        ApiKey::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE,
    }
}

static BARE_INT8: Shape = bare(size_of::<i8>(), &[always(INT8)]);
static BARE_INT32: Shape = bare(size_of::<i32>(), &[always(INT32)]);
static BARE_TOPIC_NAME: Shape = bare(size_of::<TopicName>(), &[always(String)]);
static BARE_STRING: Shape = bare(size_of::<StrBytes>(), &[always(String)]);
static BARE_GROUP_ID: Shape = bare(size_of::<GroupId>(), &[always(String)]);

static PRODUCE: Shape = body(&[
    since(3, NullableString), // transactional id
    always(INT16),            // acks
    always(INT32),            // timeout
    always(Array(&PRODUCE_TOPIC)),
]);
static PRODUCE_TOPIC: Shape =
    element(size_of::<produce::TopicProduceData>(), &[until(12, String), since(13, UUID), always(Array(&PRODUCE_PARTITION))]);
static PRODUCE_PARTITION: Shape = element(size_of::<produce::PartitionProduceData>(), &[always(INT32), always(NullableBytes)]);

static FETCH: Shape = Shape {
    fields: &[
        until(14, INT32), // replica id
        always(INT32),    // max wait
        always(INT32),    // min bytes
        since(3, INT32),  // max bytes
        since(4, INT8),   // isolation level
        since(7, INT32),  // session id
        since(7, INT32),  // session epoch
        always(Array(&FETCH_TOPIC)),
        since(7, Array(&FETCH_FORGOTTEN)),
        since(11, String), // rack id
    ],
    tags: Some(&[
        KnownTag { tag: 0, min: 12, kind: NullableString }, // cluster id
        KnownTag { tag: 1, min: 15, kind: Struct(&FETCH_REPLICA_STATE) },
    ]),
    size: 0,
};
static FETCH_REPLICA_STATE: Shape = element(size_of::<fetch::ReplicaState>(), &[always(INT32), always(INT64)]);
static FETCH_TOPIC: Shape = element(size_of::<fetch::FetchTopic>(), &[until(12, String), since(13, UUID), always(Array(&FETCH_PARTITION))]);
static FETCH_PARTITION: Shape = Shape {
    fields: &[
        always(INT32),    // partition
        since(9, INT32),  // current leader epoch
        always(INT64),    // fetch offset
        since(12, INT32), // last fetched epoch
        since(5, INT64),  // log start offset
        always(INT32),    // max bytes
    ],
    tags: Some(&[
        KnownTag { tag: 0, min: 17, kind: UUID },  // replica directory id
        KnownTag { tag: 1, min: 18, kind: INT64 }, // high watermark
    ]),
    size: size_of::<fetch::FetchPartition>(),
};
static FETCH_FORGOTTEN: Shape =
    element(size_of::<fetch::ForgottenTopic>(), &[until(12, String), since(13, UUID), always(Array(&BARE_INT32))]);

static LIST_OFFSETS: Shape = body(&[
    always(INT32),  // replica id
    since(2, INT8), // isolation level
    until(0, Array(&LIST_OFFSETS_V0_TOPIC)),
    since(1, Array(&LIST_OFFSETS_TOPIC)),
    since(10, INT32), // timeout
]);
static LIST_OFFSETS_V0_TOPIC: Shape =
    element(size_of::<ListOffsetsTopicV0>(), &[always(String), always(Array(&LIST_OFFSETS_V0_PARTITION))]);
static LIST_OFFSETS_V0_PARTITION: Shape = element(size_of::<ListOffsetsPartitionV0>(), &[always(INT32), always(INT64), always(INT32)]);
static LIST_OFFSETS_TOPIC: Shape =
    element(size_of::<list_offsets::ListOffsetsTopic>(), &[always(String), always(Array(&LIST_OFFSETS_PARTITION))]);
static LIST_OFFSETS_PARTITION: Shape =
    element(size_of::<list_offsets::ListOffsetsPartition>(), &[always(INT32), since(4, INT32), always(INT64)]);

static METADATA: Shape = body(&[
    until(0, Array(&METADATA_TOPIC)),
    since(1, NullableArray(&METADATA_TOPIC)),
    since(4, BOOLEAN),       // allow auto topic creation
    between(8, 10, BOOLEAN), // include cluster authorized operations
    since(8, BOOLEAN),       // include topic authorized operations
]);
static METADATA_TOPIC: Shape =
    element(size_of::<metadata::MetadataRequestTopic>(), &[since(10, UUID), until(9, String), since(10, NullableString)]);

static FIND_COORDINATOR: Shape = body(&[until(3, String), since(1, INT8), since(4, Array(&BARE_STRING))]);

static API_VERSIONS: Shape = body(&[since(3, String), since(3, String)]);

static CREATE_TOPICS: Shape = body(&[always(Array(&CREATE_TOPICS_TOPIC)), always(INT32), since(1, BOOLEAN)]);
static CREATE_TOPICS_TOPIC: Shape = element(
    size_of::<create_topics::CreatableTopic>(),
    &[
        always(String),
        always(INT32), // partitions
        always(INT16), // replication factor
        always(Array(&CREATE_TOPICS_ASSIGNMENT)),
        always(Array(&CREATE_TOPICS_CONFIG)),
    ],
);
static CREATE_TOPICS_ASSIGNMENT: Shape =
    element(size_of::<create_topics::CreatableReplicaAssignment>(), &[always(INT32), always(Array(&BARE_INT32))]);
static CREATE_TOPICS_CONFIG: Shape = element(size_of::<create_topics::CreatableTopicConfig>(), &[always(String), always(NullableString)]);

static DELETE_TOPICS: Shape = body(&[since(6, Array(&DELETE_TOPICS_TOPIC)), until(5, Array(&BARE_TOPIC_NAME)), always(INT32)]);
static DELETE_TOPICS_TOPIC: Shape = element(size_of::<delete_topics::DeleteTopicState>(), &[always(NullableString), always(UUID)]);

static INIT_PRODUCER_ID: Shape = body(&[
    always(NullableString), // transactional id
    always(INT32),          // transaction timeout
    since(3, INT64),        // producer id
    since(3, INT16),        // producer epoch
]);

static OFFSET_FOR_LEADER_EPOCH: Shape = body(&[since(3, INT32), always(Array(&OFFSET_FOR_LEADER_EPOCH_TOPIC))]);
static OFFSET_FOR_LEADER_EPOCH_TOPIC: Shape =
    element(size_of::<leader_epoch::OffsetForLeaderTopic>(), &[always(String), always(Array(&OFFSET_FOR_LEADER_EPOCH_PARTITION))]);
static OFFSET_FOR_LEADER_EPOCH_PARTITION: Shape =
    element(size_of::<leader_epoch::OffsetForLeaderPartition>(), &[always(INT32), always(INT32), always(INT32)]);

static DESCRIBE_CLUSTER: Shape = body(&[always(BOOLEAN), since(1, INT8), since(2, BOOLEAN)]);

static DELETE_RECORDS: Shape = body(&[always(Array(&DELETE_RECORDS_TOPIC)), always(INT32)]);
static DELETE_RECORDS_TOPIC: Shape =
    element(size_of::<delete_records::DeleteRecordsTopic>(), &[always(String), always(Array(&DELETE_RECORDS_PARTITION))]);
static DELETE_RECORDS_PARTITION: Shape = element(size_of::<delete_records::DeleteRecordsPartition>(), &[always(INT32), always(INT64)]);

static DESCRIBE_CONFIGS: Shape = body(&[
    always(Array(&DESCRIBE_CONFIGS_RESOURCE)),
    since(1, BOOLEAN), // include synonyms
    since(3, BOOLEAN), // include documentation
]);
static DESCRIBE_CONFIGS_RESOURCE: Shape =
    element(size_of::<describe_configs::DescribeConfigsResource>(), &[always(INT8), always(String), always(NullableArray(&BARE_STRING))]);

static ALTER_CONFIGS: Shape = body(&[always(Array(&ALTER_CONFIGS_RESOURCE)), always(BOOLEAN)]);
static ALTER_CONFIGS_RESOURCE: Shape =
    element(size_of::<alter_configs::AlterConfigsResource>(), &[always(INT8), always(String), always(Array(&ALTER_CONFIGS_CONFIG))]);
static ALTER_CONFIGS_CONFIG: Shape = element(size_of::<alter_configs::AlterableConfig>(), &[always(String), always(NullableString)]);

static ALTER_REPLICA_LOG_DIRS: Shape = body(&[always(Array(&ALTER_REPLICA_LOG_DIRS_DIR))]);
static ALTER_REPLICA_LOG_DIRS_DIR: Shape =
    element(size_of::<alter_replica_log_dirs::AlterReplicaLogDir>(), &[always(String), always(Array(&ALTER_REPLICA_LOG_DIRS_TOPIC))]);
static ALTER_REPLICA_LOG_DIRS_TOPIC: Shape =
    element(size_of::<alter_replica_log_dirs::AlterReplicaLogDirTopic>(), &[always(String), always(Array(&BARE_INT32))]);

static DESCRIBE_QUORUM: Shape = body(&[always(Array(&DESCRIBE_QUORUM_TOPIC))]);
static DESCRIBE_QUORUM_TOPIC: Shape =
    element(size_of::<describe_quorum::TopicData>(), &[always(String), always(Array(&DESCRIBE_QUORUM_PARTITION))]);
static DESCRIBE_QUORUM_PARTITION: Shape = element(size_of::<describe_quorum::PartitionData>(), &[always(INT32)]);

static UPDATE_FEATURES: Shape = body(&[always(INT32), always(Array(&UPDATE_FEATURES_UPDATE)), since(1, BOOLEAN)]);
static UPDATE_FEATURES_UPDATE: Shape = element(
    size_of::<update_features::FeatureUpdateKey>(),
    &[
        always(String),
        always(INT16),
        until(0, BOOLEAN), // allow downgrade
        since(1, INT8),    // upgrade type
    ],
);

static DESCRIBE_LOG_DIRS: Shape = body(&[always(NullableArray(&DESCRIBE_LOG_DIRS_TOPIC))]);
static DESCRIBE_LOG_DIRS_TOPIC: Shape =
    element(size_of::<describe_log_dirs::DescribableLogDirTopic>(), &[always(String), always(Array(&BARE_INT32))]);

static CREATE_PARTITIONS: Shape = body(&[always(Array(&CREATE_PARTITIONS_TOPIC)), always(INT32), always(BOOLEAN)]);
static CREATE_PARTITIONS_TOPIC: Shape = element(
    size_of::<create_partitions::CreatePartitionsTopic>(),
    &[always(String), always(INT32), always(NullableArray(&CREATE_PARTITIONS_ASSIGNMENT))],
);
static CREATE_PARTITIONS_ASSIGNMENT: Shape =
    element(size_of::<create_partitions::CreatePartitionsAssignment>(), &[always(Array(&BARE_INT32))]);

static ELECT_LEADERS: Shape = body(&[
    since(1, INT8), // election type
    always(NullableArray(&ELECT_LEADERS_TOPIC)),
    always(INT32),
]);
static ELECT_LEADERS_TOPIC: Shape = element(size_of::<elect_leaders::TopicPartitions>(), &[always(String), always(Array(&BARE_INT32))]);

static INCREMENTAL_ALTER_CONFIGS: Shape = body(&[always(Array(&INCREMENTAL_ALTER_CONFIGS_RESOURCE)), always(BOOLEAN)]);
static INCREMENTAL_ALTER_CONFIGS_RESOURCE: Shape = element(
    size_of::<incremental_alter_configs::AlterConfigsResource>(),
    &[always(INT8), always(String), always(Array(&INCREMENTAL_ALTER_CONFIGS_CONFIG))],
);
static INCREMENTAL_ALTER_CONFIGS_CONFIG: Shape =
    element(size_of::<incremental_alter_configs::AlterableConfig>(), &[always(String), always(INT8), always(NullableString)]);

static ALTER_PARTITION_REASSIGNMENTS: Shape = body(&[
    always(INT32),     // timeout
    since(1, BOOLEAN), // allow replication factor change
    always(Array(&ALTER_REASSIGNMENTS_TOPIC)),
]);
static ALTER_REASSIGNMENTS_TOPIC: Shape =
    element(size_of::<alter_reassignments::ReassignableTopic>(), &[always(String), always(Array(&ALTER_REASSIGNMENTS_PARTITION))]);
static ALTER_REASSIGNMENTS_PARTITION: Shape =
    element(size_of::<alter_reassignments::ReassignablePartition>(), &[always(INT32), always(NullableArray(&BARE_INT32))]);

static LIST_PARTITION_REASSIGNMENTS: Shape = body(&[always(INT32), always(NullableArray(&LIST_REASSIGNMENTS_TOPIC))]);
static LIST_REASSIGNMENTS_TOPIC: Shape =
    element(size_of::<list_reassignments::ListPartitionReassignmentsTopics>(), &[always(String), always(Array(&BARE_INT32))]);

static DESCRIBE_PRODUCERS: Shape = body(&[always(Array(&DESCRIBE_PRODUCERS_TOPIC))]);
static DESCRIBE_PRODUCERS_TOPIC: Shape =
    element(size_of::<describe_producers::TopicRequest>(), &[always(String), always(Array(&BARE_INT32))]);

static DESCRIBE_CLIENT_QUOTAS: Shape = body(&[always(Array(&DESCRIBE_CLIENT_QUOTAS_COMPONENT)), always(BOOLEAN)]);
static DESCRIBE_CLIENT_QUOTAS_COMPONENT: Shape =
    element(size_of::<describe_client_quotas::ComponentData>(), &[always(String), always(INT8), always(NullableString)]);

static ALTER_CLIENT_QUOTAS: Shape = body(&[always(Array(&ALTER_CLIENT_QUOTAS_ENTRY)), always(BOOLEAN)]);
static ALTER_CLIENT_QUOTAS_ENTRY: Shape = element(
    size_of::<alter_client_quotas::EntryData>(),
    &[always(Array(&ALTER_CLIENT_QUOTAS_ENTITY)), always(Array(&ALTER_CLIENT_QUOTAS_OP))],
);
static ALTER_CLIENT_QUOTAS_ENTITY: Shape = element(size_of::<alter_client_quotas::EntityData>(), &[always(String), always(NullableString)]);
static ALTER_CLIENT_QUOTAS_OP: Shape =
    element(size_of::<alter_client_quotas::OpData>(), &[always(String), always(FLOAT64), always(BOOLEAN)]);

static LIST_CONFIG_RESOURCES: Shape = body(&[since(1, Array(&BARE_INT8))]);

static DESCRIBE_TOPIC_PARTITIONS: Shape =
    body(&[always(Array(&DESCRIBE_TOPIC_PARTITIONS_TOPIC)), always(INT32), always(NullableStruct(&DESCRIBE_TOPIC_PARTITIONS_CURSOR))]);
static DESCRIBE_TOPIC_PARTITIONS_TOPIC: Shape = element(size_of::<describe_topic_partitions::TopicRequest>(), &[always(String)]);
static DESCRIBE_TOPIC_PARTITIONS_CURSOR: Shape = element(size_of::<describe_topic_partitions::Cursor>(), &[always(String), always(INT32)]);

static OFFSET_COMMIT: Shape = body(&[
    always(String),           // group
    since(1, INT32),          // generation or member epoch
    since(1, String),         // member
    since(7, NullableString), // instance
    between(2, 4, INT64),     // retention
    always(Array(&OFFSET_COMMIT_TOPIC)),
]);
static OFFSET_COMMIT_TOPIC: Shape =
    element(size_of::<offset_commit::OffsetCommitRequestTopic>(), &[always(String), always(Array(&OFFSET_COMMIT_PARTITION))]);
static OFFSET_COMMIT_PARTITION: Shape = element(
    size_of::<offset_commit::OffsetCommitRequestPartition>(),
    &[
        always(INT32),        // partition
        always(INT64),        // offset
        since(6, INT32),      // leader epoch
        between(1, 1, INT64), // commit time
        always(NullableString),
    ],
);

static OFFSET_FETCH: Shape = body(&[
    until(7, String), // group
    until(1, Array(&OFFSET_FETCH_TOPIC)),
    between(2, 7, NullableArray(&OFFSET_FETCH_TOPIC)),
    since(8, Array(&OFFSET_FETCH_GROUP)),
    since(7, BOOLEAN), // require stable
]);
static OFFSET_FETCH_TOPIC: Shape =
    element(size_of::<offset_fetch::OffsetFetchRequestTopic>(), &[always(String), always(Array(&BARE_INT32))]);
static OFFSET_FETCH_GROUP: Shape = element(
    size_of::<offset_fetch::OffsetFetchRequestGroup>(),
    &[
        always(String),           // group
        since(9, NullableString), // member
        since(9, INT32),          // member epoch
        always(NullableArray(&OFFSET_FETCH_GROUP_TOPIC)),
    ],
);
static OFFSET_FETCH_GROUP_TOPIC: Shape =
    element(size_of::<offset_fetch::OffsetFetchRequestTopics>(), &[always(String), always(Array(&BARE_INT32))]);

static JOIN_GROUP: Shape = body(&[
    always(String),           // group
    always(INT32),            // session timeout
    since(1, INT32),          // rebalance timeout
    always(String),           // member
    since(5, NullableString), // instance
    always(String),           // protocol type
    always(Array(&JOIN_GROUP_PROTOCOL)),
    since(8, NullableString), // reason
]);
static JOIN_GROUP_PROTOCOL: Shape = element(size_of::<join_group::JoinGroupRequestProtocol>(), &[always(String), always(Bytes)]);

static HEARTBEAT: Shape = body(&[
    always(String),           // group
    always(INT32),            // generation
    always(String),           // member
    since(3, NullableString), // instance
]);

static LEAVE_GROUP: Shape = body(&[
    always(String),   // group
    until(2, String), // member
    since(3, Array(&LEAVE_GROUP_MEMBER)),
]);
static LEAVE_GROUP_MEMBER: Shape = element(
    size_of::<leave_group::MemberIdentity>(),
    &[
        always(String),           // member
        always(NullableString),   // instance
        since(5, NullableString), // reason
    ],
);

static SYNC_GROUP: Shape = body(&[
    always(String),           // group
    always(INT32),            // generation
    always(String),           // member
    since(3, NullableString), // instance
    since(5, NullableString), // protocol type
    since(5, NullableString), // protocol
    always(Array(&SYNC_GROUP_ASSIGNMENT)),
]);
static SYNC_GROUP_ASSIGNMENT: Shape = element(size_of::<sync_group::SyncGroupRequestAssignment>(), &[always(String), always(Bytes)]);

static DESCRIBE_GROUPS: Shape = body(&[always(Array(&BARE_GROUP_ID)), since(3, BOOLEAN)]);

static LIST_GROUPS: Shape = body(&[
    since(4, Array(&BARE_STRING)), // states
    since(5, Array(&BARE_STRING)), // types
]);

static DELETE_GROUPS: Shape = body(&[always(Array(&BARE_GROUP_ID))]);

static OFFSET_DELETE: Shape = body(&[always(String), always(Array(&OFFSET_DELETE_TOPIC))]);
static OFFSET_DELETE_TOPIC: Shape =
    element(size_of::<offset_delete::OffsetDeleteRequestTopic>(), &[always(String), always(Array(&OFFSET_DELETE_PARTITION))]);
static OFFSET_DELETE_PARTITION: Shape = element(size_of::<offset_delete::OffsetDeleteRequestPartition>(), &[always(INT32)]);

static CONSUMER_GROUP_HEARTBEAT: Shape = body(&[
    always(String),         // group
    always(String),         // member
    always(INT32),          // member epoch
    always(NullableString), // instance
    always(NullableString), // rack
    always(INT32),          // rebalance timeout
    always(NullableArray(&BARE_TOPIC_NAME)),
    since(1, NullableString), // subscribed regex
    always(NullableString),   // assignor
    always(NullableArray(&CONSUMER_GROUP_HEARTBEAT_TOPIC)),
]);
static CONSUMER_GROUP_HEARTBEAT_TOPIC: Shape =
    element(size_of::<consumer_heartbeat::TopicPartitions>(), &[always(UUID), always(Array(&BARE_INT32))]);

static CONSUMER_GROUP_DESCRIBE: Shape = body(&[always(Array(&BARE_GROUP_ID)), always(BOOLEAN)]);
