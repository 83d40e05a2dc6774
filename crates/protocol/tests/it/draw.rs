//! Randomised valid requests, every field of a version in play.

use bytes::Bytes;
use protocol::client::encode_request;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::{ApiKey, ListOffsetsPartitionV0, ListOffsetsRequestV0, ListOffsetsTopicV0, Request, StrBytes};

use crate::legacy;

use crate::{draw_admin, draw_groups};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub(crate) fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn bytes(&mut self, max: usize) -> Bytes {
        (0..self.below(max + 1)).map(|_| self.number() as u8).collect::<Vec<_>>().into()
    }

    pub(crate) fn text(&mut self) -> StrBytes {
        // Long enough for lengths of two varint bytes, with letters of two bytes.
        let length = [3, 10, 200][self.below(3)];
        StrBytes::from_string((0..self.below(length)).map(|_| ['a', 'z', '.', 'é'][self.below(4)]).collect())
    }

    pub(crate) fn topic(&mut self) -> TopicName {
        TopicName(self.text())
    }

    pub(crate) fn uuid(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u64_pair(self.number(), self.number())
    }

    pub(crate) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        // Now and then more elements than one varint byte counts.
        let most = if self.below(20) == 0 { 300 } else { 4 };
        (0..self.below(most)).map(|_| element(self)).collect()
    }

    pub(crate) fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance().then(|| value(self))
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.number() as i32
    }
}

/// Sets a random tagged field that no version knows, where `$flexible`.
macro_rules! tagged {
    ($draw:expr, $flexible:expr, $message:expr) => {{
        let mut message = $message;
        if $flexible && $draw.below(8) == 0 {
            for _ in 0..=$draw.below(3) {
                let tag = 10 + $draw.below(1000) as i32;
                message.unknown_tagged_fields.insert(tag, $draw.bytes(20));
            }
        }
        message
    }};
}

pub(crate) use tagged;

/// A request of `api` in `version`: its body and its frame without the length.
pub(crate) fn request(draw: &mut Draw, api: ApiKey, version: i16) -> (Request, Bytes) {
    macro_rules! framed {
        ($variant:ident, $body:expr) => {{
            let body = $body;
            let (client_id, correlation_id) = (draw.maybe(Draw::text), draw.i32());
            let request = Request::$variant(body.clone());
            let frame = legacy::frame(&request, version, correlation_id, client_id.as_deref())
                .unwrap_or_else(|| encode_request(correlation_id, client_id, version, &body).unwrap().slice(4..));
            (request, frame)
        }};
    }
    match api {
        ApiKey::Produce => framed!(Produce, produce(draw, version)),
        ApiKey::Fetch => framed!(Fetch, fetch(draw, version)),
        ApiKey::ListOffsets if version < 1 => {
            let request = Request::ListOffsetsV0(list_offsets_v0(draw));
            let frame = legacy::frame(&request, version, draw.i32(), None).unwrap();
            (request, frame)
        }
        ApiKey::ListOffsets => framed!(ListOffsets, list_offsets(draw, version)),
        ApiKey::Metadata => framed!(Metadata, metadata(draw, version)),
        ApiKey::FindCoordinator => framed!(FindCoordinator, find_coordinator(draw, version)),
        ApiKey::ApiVersions => framed!(ApiVersions, api_versions(draw, version)),
        ApiKey::CreateTopics => framed!(CreateTopics, create_topics(draw, version)),
        ApiKey::DeleteTopics => framed!(DeleteTopics, delete_topics(draw, version)),
        ApiKey::InitProducerId => framed!(InitProducerId, init_producer_id(draw, version)),
        ApiKey::OffsetForLeaderEpoch => framed!(OffsetForLeaderEpoch, offset_for_leader_epoch(draw, version)),
        ApiKey::DescribeClientQuotas => framed!(DescribeClientQuotas, draw_admin::describe_client_quotas(draw, version)),
        ApiKey::AlterClientQuotas => framed!(AlterClientQuotas, draw_admin::alter_client_quotas(draw, version)),
        ApiKey::UpdateFeatures => framed!(UpdateFeatures, draw_admin::update_features(draw, version)),
        ApiKey::DescribeCluster => framed!(DescribeCluster, describe_cluster(draw, version)),
        ApiKey::DeleteRecords => framed!(DeleteRecords, draw_admin::delete_records(draw, version)),
        ApiKey::DescribeConfigs => framed!(DescribeConfigs, draw_admin::describe_configs(draw, version)),
        ApiKey::AlterConfigs => framed!(AlterConfigs, draw_admin::alter_configs(draw, version)),
        ApiKey::AlterReplicaLogDirs => framed!(AlterReplicaLogDirs, draw_admin::alter_replica_log_dirs(draw, version)),
        ApiKey::DescribeQuorum => framed!(DescribeQuorum, draw_admin::describe_quorum(draw)),
        ApiKey::DescribeLogDirs => framed!(DescribeLogDirs, draw_admin::describe_log_dirs(draw, version)),
        ApiKey::CreatePartitions => framed!(CreatePartitions, draw_admin::create_partitions(draw, version)),
        ApiKey::ElectLeaders => framed!(ElectLeaders, draw_admin::elect_leaders(draw, version)),
        ApiKey::IncrementalAlterConfigs => framed!(IncrementalAlterConfigs, draw_admin::incremental_alter_configs(draw, version)),
        ApiKey::AlterPartitionReassignments => {
            framed!(AlterPartitionReassignments, draw_admin::alter_partition_reassignments(draw, version))
        }
        ApiKey::ListPartitionReassignments => framed!(ListPartitionReassignments, draw_admin::list_partition_reassignments(draw)),
        ApiKey::DescribeProducers => framed!(DescribeProducers, draw_admin::describe_producers(draw)),
        ApiKey::ListConfigResources => framed!(ListConfigResources, draw_admin::list_config_resources(draw, version)),
        ApiKey::DescribeTopicPartitions => framed!(DescribeTopicPartitions, draw_admin::describe_topic_partitions(draw)),
        ApiKey::OffsetCommit => framed!(OffsetCommit, draw_groups::offset_commit(draw, version)),
        ApiKey::OffsetFetch => framed!(OffsetFetch, draw_groups::offset_fetch(draw, version)),
        ApiKey::JoinGroup => framed!(JoinGroup, draw_groups::join_group(draw, version)),
        ApiKey::Heartbeat => framed!(Heartbeat, draw_groups::heartbeat(draw, version)),
        ApiKey::LeaveGroup => framed!(LeaveGroup, draw_groups::leave_group(draw, version)),
        ApiKey::SyncGroup => framed!(SyncGroup, draw_groups::sync_group(draw, version)),
        ApiKey::DescribeGroups => framed!(DescribeGroups, draw_groups::describe_groups(draw, version)),
        ApiKey::ListGroups => framed!(ListGroups, draw_groups::list_groups(draw, version)),
        ApiKey::DeleteGroups => framed!(DeleteGroups, draw_groups::delete_groups(draw, version)),
        ApiKey::OffsetDelete => framed!(OffsetDelete, draw_groups::offset_delete(draw)),
        ApiKey::ConsumerGroupHeartbeat => framed!(ConsumerGroupHeartbeat, draw_groups::consumer_group_heartbeat(draw, version)),
        ApiKey::ConsumerGroupDescribe => framed!(ConsumerGroupDescribe, draw_groups::consumer_group_describe(draw)),
    }
}

fn produce(draw: &mut Draw, version: i16) -> ProduceRequest {
    let flexible = 9 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let records = draw.maybe(|draw| draw.bytes(300));
            tagged!(draw, flexible, PartitionProduceData::default().with_index(draw.i32()).with_records(records))
        });
        let mut topic = TopicProduceData::default().with_partition_data(partitions);
        if version <= 12 {
            topic.name = draw.topic();
        } else {
            topic.topic_id = draw.uuid();
        }
        tagged!(draw, flexible, topic)
    });
    let mut request = ProduceRequest::default().with_acks(draw.number() as i16).with_timeout_ms(draw.i32()).with_topic_data(topics);
    if 3 <= version {
        request.transactional_id = draw.maybe(|draw| TransactionalId(draw.text()));
    }
    tagged!(draw, flexible, request)
}

fn fetch(draw: &mut Draw, version: i16) -> FetchRequest {
    let flexible = 12 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| fetch_partition(draw, version));
        let mut topic = FetchTopic::default().with_partitions(partitions);
        if version <= 12 {
            topic.topic = draw.topic();
        } else {
            topic.topic_id = draw.uuid();
        }
        tagged!(draw, flexible, topic)
    });
    let mut request =
        FetchRequest::default().with_max_wait_ms(draw.i32()).with_min_bytes(draw.i32()).with_max_bytes(i32::MAX).with_topics(topics);
    if 3 <= version {
        request.max_bytes = draw.i32();
    }
    if 4 <= version {
        request.isolation_level = draw.number() as i8;
    }
    if version <= 14 {
        request.replica_id = BrokerId(draw.i32());
    } else if draw.chance() {
        let state = ReplicaState::default().with_replica_id(BrokerId(draw.i32())).with_replica_epoch(draw.number() as i64);
        request.replica_state = tagged!(draw, flexible, state);
    }
    if 7 <= version {
        request.session_id = draw.i32();
        request.session_epoch = draw.i32();
        request.forgotten_topics_data = draw.list(|draw| {
            let mut topic = ForgottenTopic::default().with_partitions(draw.list(Draw::i32));
            if version <= 12 {
                topic.topic = draw.topic();
            } else {
                topic.topic_id = draw.uuid();
            }
            tagged!(draw, flexible, topic)
        });
    }
    if 11 <= version {
        request.rack_id = draw.text();
    }
    if flexible {
        request.cluster_id = draw.maybe(Draw::text);
    }
    tagged!(draw, flexible, request)
}

fn fetch_partition(draw: &mut Draw, version: i16) -> FetchPartition {
    let mut partition =
        FetchPartition::default().with_partition(draw.i32()).with_fetch_offset(draw.number() as i64).with_partition_max_bytes(draw.i32());
    if 5 <= version {
        partition.log_start_offset = draw.number() as i64;
    }
    if 9 <= version {
        partition.current_leader_epoch = draw.i32();
    }
    if 12 <= version {
        partition.last_fetched_epoch = draw.i32();
    }
    if 17 <= version && draw.chance() {
        partition.replica_directory_id = draw.uuid();
    }
    if 18 <= version && draw.chance() {
        partition.high_watermark = draw.number() as i64;
    }
    tagged!(draw, 12 <= version, partition)
}

fn list_offsets(draw: &mut Draw, version: i16) -> ListOffsetsRequest {
    let flexible = 6 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let mut partition = ListOffsetsPartition::default().with_partition_index(draw.i32()).with_timestamp(draw.number() as i64);
            if 4 <= version {
                partition.current_leader_epoch = draw.i32();
            }
            tagged!(draw, flexible, partition)
        });
        tagged!(draw, flexible, ListOffsetsTopic::default().with_name(draw.topic()).with_partitions(partitions))
    });
    let mut request = ListOffsetsRequest::default().with_replica_id(BrokerId(draw.i32())).with_topics(topics);
    if 2 <= version {
        request.isolation_level = draw.number() as i8;
    }
    if 10 <= version {
        request.timeout_ms = draw.i32();
    }
    tagged!(draw, flexible, request)
}

fn list_offsets_v0(draw: &mut Draw) -> ListOffsetsRequestV0 {
    let topics = draw.list(|draw| {
        let name = draw.topic();
        let partitions = draw.list(|draw| ListOffsetsPartitionV0 {
            partition_index: draw.i32(),
            timestamp: draw.number() as i64,
            max_num_offsets: draw.i32(),
        });
        ListOffsetsTopicV0 { name, partitions }
    });
    ListOffsetsRequestV0 { replica_id: draw.i32(), topics }
}

fn metadata(draw: &mut Draw, version: i16) -> MetadataRequest {
    let flexible = 9 <= version;
    let topics = draw.list(|draw| {
        let mut topic = MetadataRequestTopic::default().with_name(Some(draw.topic()));
        if 10 <= version && draw.chance() {
            topic.topic_id = draw.uuid();
            topic.name = None;
        }
        tagged!(draw, flexible, topic)
    });
    let mut request = MetadataRequest::default().with_topics(if version == 0 || draw.chance() { Some(topics) } else { None });
    if 4 <= version {
        request.allow_auto_topic_creation = draw.chance();
    }
    if (8..=10).contains(&version) {
        request.include_cluster_authorized_operations = draw.chance();
    }
    if 8 <= version {
        request.include_topic_authorized_operations = draw.chance();
    }
    tagged!(draw, flexible, request)
}

fn find_coordinator(draw: &mut Draw, version: i16) -> FindCoordinatorRequest {
    let mut request = FindCoordinatorRequest::default();
    if 1 <= version {
        request.key_type = draw.number() as i8;
    }
    if version <= 3 {
        request.key = draw.text();
    } else {
        request.coordinator_keys = draw.list(Draw::text);
    }
    tagged!(draw, 3 <= version, request)
}

fn api_versions(draw: &mut Draw, version: i16) -> ApiVersionsRequest {
    let mut request = ApiVersionsRequest::default();
    if 3 <= version {
        request.client_software_name = draw.text();
        request.client_software_version = draw.text();
    }
    tagged!(draw, 3 <= version, request)
}

fn create_topics(draw: &mut Draw, version: i16) -> CreateTopicsRequest {
    let flexible = 5 <= version;
    let topics = draw.list(|draw| {
        let assignments = draw.list(|draw| {
            let brokers = draw.list(|draw| BrokerId(draw.i32()));
            tagged!(draw, flexible, CreatableReplicaAssignment::default().with_partition_index(draw.i32()).with_broker_ids(brokers))
        });
        let configs = draw.list(|draw| {
            let value = draw.maybe(Draw::text);
            tagged!(draw, flexible, CreatableTopicConfig::default().with_name(draw.text()).with_value(value))
        });
        let topic = CreatableTopic::default()
            .with_name(draw.topic())
            .with_num_partitions(draw.i32())
            .with_replication_factor(draw.number() as i16)
            .with_assignments(assignments)
            .with_configs(configs);
        tagged!(draw, flexible, topic)
    });
    let request =
        CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(draw.i32()).with_validate_only(1 <= version && draw.chance());
    tagged!(draw, flexible, request)
}

fn delete_topics(draw: &mut Draw, version: i16) -> DeleteTopicsRequest {
    let mut request = DeleteTopicsRequest::default().with_timeout_ms(draw.i32());
    if version <= 5 {
        request.topic_names = draw.list(Draw::topic);
    } else {
        request.topics = draw.list(|draw| {
            let name = draw.maybe(Draw::topic);
            tagged!(draw, true, DeleteTopicState::default().with_name(name).with_topic_id(draw.uuid()))
        });
    }
    tagged!(draw, 4 <= version, request)
}

fn init_producer_id(draw: &mut Draw, version: i16) -> InitProducerIdRequest {
    let mut request = InitProducerIdRequest::default()
        .with_transactional_id(draw.maybe(|draw| TransactionalId(draw.text())))
        .with_transaction_timeout_ms(draw.i32());
    if 3 <= version {
        request.producer_id = ProducerId(draw.number() as i64);
        request.producer_epoch = draw.number() as i16;
    }
    tagged!(draw, 2 <= version, request)
}

fn offset_for_leader_epoch(draw: &mut Draw, version: i16) -> OffsetForLeaderEpochRequest {
    let flexible = 4 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(draw.i32())
                .with_current_leader_epoch(draw.i32())
                .with_leader_epoch(draw.i32());
            tagged!(draw, flexible, partition)
        });
        tagged!(draw, flexible, OffsetForLeaderTopic::default().with_topic(draw.topic()).with_partitions(partitions))
    });
    let mut request = OffsetForLeaderEpochRequest::default().with_topics(topics);
    if 3 <= version {
        request.replica_id = BrokerId(draw.i32());
    }
    tagged!(draw, flexible, request)
}

fn describe_cluster(draw: &mut Draw, version: i16) -> DescribeClusterRequest {
    let mut request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(draw.chance());
    if 1 <= version {
        request.endpoint_type = draw.number() as i8;
    }
    if 2 <= version {
        request.include_fenced_brokers = draw.chance();
    }
    tagged!(draw, true, request)
}
