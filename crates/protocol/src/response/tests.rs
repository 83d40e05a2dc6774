use kafka_protocol::messages::alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
use kafka_protocol::messages::consumer_group_describe_response as consumer_describe;
use kafka_protocol::messages::consumer_group_heartbeat_response as consumer_heartbeat;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment};
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::*;
use kafka_protocol::messages::{
    alter_client_quotas_response, alter_configs_response, alter_replica_log_dirs_response, describe_client_quotas_response,
    describe_producers_response, describe_quorum_response, describe_topic_partitions_response, incremental_alter_configs_response,
    update_features_response,
};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_protocol_3_9::messages as oracle;
use kafka_protocol_3_9::protocol::Decodable;

use super::*;
use crate::client::decode_response;
use crate::fetch_response::{FetchedPartition, FetchedTopic};
use crate::{ApiKey, FetchResponse, ListedPartitionV0, ListedTopicV0};

mod fields;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic_name() -> TopicName {
    TopicName(text("events"))
}

fn group_id() -> GroupId {
    GroupId(text("readers"))
}

/// A body of `api` in its newest form, every field set.
fn full_body(api: ApiKey) -> ResponseBody {
    match api {
        ApiKey::Produce => ResponseBody::Produce(
            ProduceResponse::default()
                .with_throttle_time_ms(5)
                .with_responses(vec![
                    TopicProduceResponse::default()
                        .with_name(topic_name())
                        .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                        .with_partition_responses(vec![
                            PartitionProduceResponse::default()
                                .with_index(3)
                                .with_error_code(6)
                                .with_base_offset(41)
                                .with_log_append_time_ms(99)
                                .with_log_start_offset(2)
                                .with_record_errors(vec![
                                    BatchIndexAndErrorMessage::default()
                                        .with_batch_index(1)
                                        .with_batch_index_error_message(Some(text("bad"))),
                                ])
                                .with_error_message(Some(text("moved")))
                                .with_current_leader(LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(8)),
                        ]),
                ])
                .with_node_endpoints(vec![
                    NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(text("b")).with_port(9092).with_rack(Some(text("r"))),
                ]),
        ),
        ApiKey::Fetch => ResponseBody::Fetch(FetchResponse {
            session_id: 9,
            topics: vec![FetchedTopic {
                name: topic_name(),
                partitions: vec![FetchedPartition { preferred_read_replica: 4, ..FetchedPartition::default() }],
                ..FetchedTopic::default()
            }],
            ..FetchResponse::default()
        }),
        ApiKey::ListOffsets => ResponseBody::ListOffsets(ListOffsetsResponse::default().with_topics(vec![
            ListOffsetsTopicResponse::default().with_name(topic_name()).with_partitions(vec![
                ListOffsetsPartitionResponse::default().with_partition_index(1).with_timestamp(3).with_offset(4).with_leader_epoch(5),
            ]),
        ])),
        ApiKey::Metadata => ResponseBody::Metadata(
            MetadataResponse::default()
                .with_throttle_time_ms(5)
                .with_brokers(vec![
                    MetadataResponseBroker::default()
                        .with_node_id(BrokerId(1))
                        .with_host(text("a"))
                        .with_port(9092)
                        .with_rack(Some(text("r"))),
                ])
                .with_cluster_id(Some(text("c")))
                .with_controller_id(BrokerId(1))
                .with_error_code(129)
                .with_cluster_authorized_operations(12)
                .with_topics(vec![
                    MetadataResponseTopic::default()
                        .with_error_code(100)
                        .with_name(None)
                        .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                        .with_topic_authorized_operations(34)
                        .with_partitions(vec![
                            MetadataResponsePartition::default()
                                .with_leader_id(BrokerId(1))
                                .with_leader_epoch(3)
                                .with_replica_nodes(vec![BrokerId(1)])
                                .with_isr_nodes(vec![BrokerId(1)])
                                .with_offline_replicas(vec![BrokerId(2)]),
                        ]),
                ]),
        ),
        ApiKey::FindCoordinator => ResponseBody::FindCoordinator(FindCoordinatorResponse::default().with_coordinators(vec![
            Coordinator::default()
                .with_key(text("group"))
                .with_node_id(BrokerId(1))
                .with_host(text("a"))
                .with_port(9092)
                .with_error_code(15)
                .with_error_message(Some(text("later"))),
        ])),
        ApiKey::ApiVersions => ResponseBody::ApiVersions(api_versions_response()),
        ApiKey::CreateTopics => ResponseBody::CreateTopics(CreateTopicsResponse::default().with_topics(vec![
                CreatableTopicResult::default()
                    .with_name(topic_name())
                    .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                    .with_error_code(36)
                    .with_error_message(Some(text("exists")))
                    .with_topic_config_error_code(29)
                    .with_num_partitions(3)
                    .with_replication_factor(1)
                    .with_configs(Some(vec![
                        CreatableTopicConfigs::default()
                            .with_name(text("k"))
                            .with_value(Some(text("v")))
                            .with_read_only(true)
                            .with_is_sensitive(true),
                    ])),
            ])),
        ApiKey::DeleteTopics => ResponseBody::DeleteTopics(DeleteTopicsResponse::default().with_responses(vec![
            DeletableTopicResult::default()
                .with_name(Some(topic_name()))
                .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                .with_error_code(3)
                .with_error_message(Some(text("gone"))),
        ])),
        ApiKey::InitProducerId => ResponseBody::InitProducerId(
            InitProducerIdResponse::default().with_error_code(42).with_producer_id(ProducerId(1000)).with_producer_epoch(1),
        ),
        ApiKey::OffsetForLeaderEpoch => ResponseBody::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse::default().with_topics(vec![
            OffsetForLeaderTopicResult::default()
                .with_topic(topic_name())
                .with_partitions(vec![EpochEndOffset::default().with_partition(1).with_leader_epoch(2).with_end_offset(3)]),
        ])),
        ApiKey::UpdateFeatures => {
            let result = update_features_response::UpdatableFeatureResult::default().with_feature(text("f")).with_error_code(95);
            ResponseBody::UpdateFeatures(UpdateFeaturesResponse::default().with_error_message(Some(text("no"))).with_results(vec![result]))
        }
        ApiKey::DescribeCluster => ResponseBody::DescribeCluster(
            DescribeClusterResponse::default()
                .with_error_code(42)
                .with_error_message(Some(text("no")))
                .with_endpoint_type(2)
                .with_cluster_id(text("c"))
                .with_controller_id(BrokerId(1))
                .with_cluster_authorized_operations(12)
                .with_brokers(vec![DescribeClusterBroker::default().with_broker_id(BrokerId(1)).with_host(text("a")).with_is_fenced(true)]),
        ),
        ApiKey::DeleteRecords => ResponseBody::DeleteRecords(DeleteRecordsResponse::default().with_topics(vec![
            DeleteRecordsTopicResult::default().with_name(topic_name()).with_partitions(vec![
                DeleteRecordsPartitionResult::default().with_partition_index(1).with_low_watermark(7).with_error_code(1),
            ]),
        ])),
        ApiKey::DescribeConfigs => ResponseBody::DescribeConfigs(DescribeConfigsResponse::default().with_results(vec![
                DescribeConfigsResult::default()
                    .with_error_code(40)
                    .with_error_message(Some(text("no")))
                    .with_resource_type(2)
                    .with_resource_name(text("events"))
                    .with_configs(vec![
                        DescribeConfigsResourceResult::default()
                            .with_name(text("retention.ms"))
                            .with_value(Some(text("1")))
                            .with_read_only(true)
                            .with_config_source(1)
                            .with_is_sensitive(true)
                            .with_synonyms(vec![
                                DescribeConfigsSynonym::default()
                                    .with_name(text("log.retention.ms"))
                                    .with_value(Some(text("2")))
                                    .with_source(4),
                            ])
                            .with_config_type(5)
                            .with_documentation(Some(text("how long"))),
                    ]),
            ])),
        ApiKey::AlterConfigs => ResponseBody::AlterConfigs(AlterConfigsResponse::default().with_responses(vec![
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(40)
                .with_error_message(Some(text("no")))
                .with_resource_type(2)
                .with_resource_name(text("events")),
        ])),
        ApiKey::AlterReplicaLogDirs => ResponseBody::AlterReplicaLogDirs(AlterReplicaLogDirsResponse::default().with_results(vec![
            alter_replica_log_dirs_response::AlterReplicaLogDirTopicResult::default().with_topic_name(topic_name()).with_partitions(vec![
                alter_replica_log_dirs_response::AlterReplicaLogDirPartitionResult::default().with_partition_index(1).with_error_code(57),
            ]),
        ])),
        ApiKey::DescribeQuorum => {
            let replica = |id| {
                describe_quorum_response::ReplicaState::default()
                    .with_replica_id(BrokerId(id))
                    .with_replica_directory_id(uuid::Uuid::from_u128(1))
                    .with_log_end_offset(2)
                    .with_last_fetch_timestamp(3)
                    .with_last_caught_up_timestamp(4)
            };
            let partition = describe_quorum_response::PartitionData::default()
                .with_error_code(3)
                .with_error_message(Some(text("no")))
                .with_leader_id(BrokerId(1))
                .with_leader_epoch(2)
                .with_high_watermark(3)
                .with_current_voters(vec![replica(1)])
                .with_observers(vec![replica(2)]);
            let listener = describe_quorum_response::Listener::default().with_name(text("CONTROLLER")).with_host(text("host")).with_port(9);
            ResponseBody::DescribeQuorum(
                DescribeQuorumResponse::default()
                    .with_error_code(31)
                    .with_error_message(Some(text("no")))
                    .with_topics(vec![
                        describe_quorum_response::TopicData::default().with_topic_name(topic_name()).with_partitions(vec![partition]),
                    ])
                    .with_nodes(vec![describe_quorum_response::Node::default().with_node_id(BrokerId(1)).with_listeners(vec![listener])]),
            )
        }
        ApiKey::DescribeLogDirs => {
            ResponseBody::DescribeLogDirs(DescribeLogDirsResponse::default().with_error_code(31).with_results(vec![
            DescribeLogDirsResult::default()
                .with_error_code(56)
                .with_log_dir(text("/data"))
                .with_total_bytes(2)
                .with_usable_bytes(1)
                .with_topics(vec![DescribeLogDirsTopic::default().with_name(topic_name()).with_partitions(vec![
                    DescribeLogDirsPartition::default()
                        .with_partition_index(1)
                        .with_partition_size(2)
                        .with_offset_lag(3)
                        .with_is_future_key(true),
                ])]),
        ]))
        }
        ApiKey::CreatePartitions => ResponseBody::CreatePartitions(CreatePartitionsResponse::default().with_results(vec![
            CreatePartitionsTopicResult::default().with_name(topic_name()).with_error_code(37).with_error_message(Some(text("no"))),
        ])),
        ApiKey::ElectLeaders => {
            ResponseBody::ElectLeaders(ElectLeadersResponse::default().with_error_code(31).with_replica_election_results(vec![
                ReplicaElectionResult::default().with_topic(topic_name()).with_partition_result(vec![
                    PartitionResult::default().with_partition_id(1).with_error_code(84).with_error_message(Some(text("no need"))),
                ]),
            ]))
        }
        ApiKey::IncrementalAlterConfigs => {
            ResponseBody::IncrementalAlterConfigs(IncrementalAlterConfigsResponse::default().with_responses(vec![
                incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_error_code(40)
                    .with_error_message(Some(text("no")))
                    .with_resource_type(2)
                    .with_resource_name(text("events")),
            ]))
        }
        ApiKey::AlterPartitionReassignments => ResponseBody::AlterPartitionReassignments(
            AlterPartitionReassignmentsResponse::default()
                .with_allow_replication_factor_change(false)
                .with_error_code(31)
                .with_error_message(Some(text("no")))
                .with_responses(vec![ReassignableTopicResponse::default().with_name(topic_name()).with_partitions(vec![
                    ReassignablePartitionResponse::default()
                        .with_partition_index(1)
                        .with_error_code(85)
                        .with_error_message(Some(text("none"))),
                ])]),
        ),
        ApiKey::ListPartitionReassignments => ResponseBody::ListPartitionReassignments(
            ListPartitionReassignmentsResponse::default().with_error_code(31).with_error_message(Some(text("no"))).with_topics(vec![
                OngoingTopicReassignment::default().with_name(topic_name()).with_partitions(vec![
                    OngoingPartitionReassignment::default()
                        .with_partition_index(1)
                        .with_replicas(vec![BrokerId(1)])
                        .with_adding_replicas(vec![BrokerId(2)])
                        .with_removing_replicas(vec![BrokerId(3)]),
                ]),
            ]),
        ),
        ApiKey::DescribeProducers => ResponseBody::DescribeProducers(DescribeProducersResponse::default().with_topics(vec![
            describe_producers_response::TopicResponse::default().with_name(topic_name()).with_partitions(vec![
                describe_producers_response::PartitionResponse::default()
                    .with_partition_index(1)
                    .with_error_code(3)
                    .with_error_message(Some(text("no")))
                    .with_active_producers(vec![
                        describe_producers_response::ProducerState::default()
                            .with_producer_id(ProducerId(1000))
                            .with_producer_epoch(1)
                            .with_last_sequence(2)
                            .with_last_timestamp(3)
                            .with_coordinator_epoch(4)
                            .with_current_txn_start_offset(5),
                    ]),
            ]),
        ])),
        ApiKey::DescribeClientQuotas => ResponseBody::DescribeClientQuotas(
            DescribeClientQuotasResponse::default().with_error_code(42).with_error_message(Some(text("no"))).with_entries(Some(vec![
                describe_client_quotas_response::EntryData::default()
                    .with_entity(vec![
                        describe_client_quotas_response::EntityData::default().with_entity_type(text("user")).with_entity_name(None),
                    ])
                    .with_values(vec![describe_client_quotas_response::ValueData::default().with_key(text("rate")).with_value(0.5)]),
            ])),
        ),
        ApiKey::AlterClientQuotas => ResponseBody::AlterClientQuotas(AlterClientQuotasResponse::default().with_entries(vec![
            alter_client_quotas_response::EntryData::default().with_error_code(42).with_error_message(Some(text("no"))).with_entity(vec![
                alter_client_quotas_response::EntityData::default().with_entity_type(text("ip")).with_entity_name(Some(text("::1"))),
            ]),
        ])),
        ApiKey::ListConfigResources => ResponseBody::ListConfigResources(
            ListConfigResourcesResponse::default()
                .with_error_code(35)
                .with_config_resources(vec![ConfigResource::default().with_resource_name(text("events")).with_resource_type(2)]),
        ),
        ApiKey::DescribeTopicPartitions => ResponseBody::DescribeTopicPartitions(
            DescribeTopicPartitionsResponse::default()
                .with_topics(vec![
                    describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic::default()
                        .with_error_code(3)
                        .with_name(Some(topic_name()))
                        .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                        .with_is_internal(true)
                        .with_topic_authorized_operations(34)
                        .with_partitions(vec![
                            describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition::default()
                                .with_leader_id(BrokerId(1))
                                .with_eligible_leader_replicas(Some(vec![BrokerId(1)])),
                        ]),
                ])
                .with_next_cursor(Some(
                    describe_topic_partitions_response::Cursor::default().with_topic_name(topic_name()).with_partition_index(5),
                )),
        ),
        ApiKey::OffsetCommit => ResponseBody::OffsetCommit(OffsetCommitResponse::default().with_throttle_time_ms(5).with_topics(vec![
            OffsetCommitResponseTopic::default()
                .with_name(topic_name())
                .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                .with_partitions(vec![OffsetCommitResponsePartition::default().with_partition_index(3).with_error_code(12)]),
        ])),
        ApiKey::OffsetFetch => ResponseBody::OffsetFetch(OffsetFetchResponse::default().with_throttle_time_ms(5).with_groups(vec![
            OffsetFetchResponseGroup::default().with_group_id(group_id()).with_error_code(14).with_topics(vec![
                OffsetFetchResponseTopics::default().with_name(topic_name()).with_partitions(vec![
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(3)
                        .with_committed_offset(41)
                        .with_committed_leader_epoch(8)
                        .with_metadata(Some(text("note")))
                        .with_error_code(3),
                ]),
            ]),
        ])),
        ApiKey::JoinGroup => ResponseBody::JoinGroup(
            JoinGroupResponse::default()
                .with_throttle_time_ms(5)
                .with_error_code(79)
                .with_generation_id(2)
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(None)
                .with_leader(text("m-1"))
                .with_skip_assignment(true)
                .with_member_id(text("m-1"))
                .with_members(vec![
                    JoinGroupResponseMember::default()
                        .with_member_id(text("m-1"))
                        .with_group_instance_id(Some(text("i")))
                        .with_metadata(Bytes::from_static(b"topics")),
                ]),
        ),
        ApiKey::Heartbeat => ResponseBody::Heartbeat(HeartbeatResponse::default().with_throttle_time_ms(5).with_error_code(27)),
        ApiKey::LeaveGroup => ResponseBody::LeaveGroup(LeaveGroupResponse::default().with_throttle_time_ms(5).with_members(vec![
            MemberResponse::default().with_member_id(text("m-1")).with_group_instance_id(Some(text("i"))).with_error_code(25),
        ])),
        ApiKey::SyncGroup => ResponseBody::SyncGroup(
            SyncGroupResponse::default()
                .with_throttle_time_ms(5)
                .with_error_code(27)
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range")))
                .with_assignment(Bytes::from_static(b"partitions")),
        ),
        ApiKey::DescribeGroups => {
            ResponseBody::DescribeGroups(DescribeGroupsResponse::default().with_throttle_time_ms(5).with_groups(vec![
            DescribedGroup::default()
                .with_error_code(69)
                .with_error_message(Some(text("none")))
                .with_group_id(group_id())
                .with_group_state(text("Stable"))
                .with_protocol_type(text("consumer"))
                .with_protocol_data(text("range"))
                .with_authorized_operations(12)
                .with_members(vec![
                    DescribedGroupMember::default()
                        .with_member_id(text("m-1"))
                        .with_group_instance_id(Some(text("i")))
                        .with_client_id(text("c"))
                        .with_client_host(text("/1.2.3.4"))
                        .with_member_metadata(Bytes::from_static(b"topics"))
                        .with_member_assignment(Bytes::from_static(b"partitions")),
                ]),
        ]))
        }
        ApiKey::ListGroups => {
            ResponseBody::ListGroups(ListGroupsResponse::default().with_throttle_time_ms(5).with_error_code(14).with_groups(vec![
                ListedGroup::default()
                    .with_group_id(group_id())
                    .with_protocol_type(text("consumer"))
                    .with_group_state(text("Stable"))
                    .with_group_type(text("classic")),
            ]))
        }
        ApiKey::DeleteGroups => ResponseBody::DeleteGroups(
            DeleteGroupsResponse::default()
                .with_throttle_time_ms(5)
                .with_results(vec![DeletableGroupResult::default().with_group_id(group_id()).with_error_code(68)]),
        ),
        ApiKey::OffsetDelete => {
            ResponseBody::OffsetDelete(OffsetDeleteResponse::default().with_throttle_time_ms(5).with_error_code(69).with_topics(vec![
                OffsetDeleteResponseTopic::default()
                    .with_name(topic_name())
                    .with_partitions(vec![OffsetDeleteResponsePartition::default().with_partition_index(3).with_error_code(86)]),
            ]))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let topic =
                consumer_heartbeat::TopicPartitions::default().with_topic_id(uuid::Uuid::from_bytes([7; 16])).with_partitions(vec![1, 2]);
            ResponseBody::ConsumerGroupHeartbeat(
                ConsumerGroupHeartbeatResponse::default()
                    .with_throttle_time_ms(5)
                    .with_error_code(110)
                    .with_error_message(Some(text("no")))
                    .with_member_id(Some(text("m-1")))
                    .with_member_epoch(4)
                    .with_heartbeat_interval_ms(5000)
                    .with_assignment(Some(consumer_heartbeat::Assignment::default().with_topic_partitions(vec![topic]))),
            )
        }
        ApiKey::ConsumerGroupDescribe => {
            let topic = consumer_describe::TopicPartitions::default()
                .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                .with_topic_name(topic_name())
                .with_partitions(vec![1, 2]);
            let assignment = consumer_describe::Assignment::default().with_topic_partitions(vec![topic]);
            let member = consumer_describe::Member::default()
                .with_member_id(text("m-1"))
                .with_instance_id(Some(text("i")))
                .with_rack_id(Some(text("r")))
                .with_member_epoch(4)
                .with_client_id(text("c"))
                .with_client_host(text("/1.2.3.4"))
                .with_subscribed_topic_names(vec![topic_name()])
                .with_subscribed_topic_regex(Some(text("e.*")))
                .with_assignment(assignment.clone())
                .with_target_assignment(assignment)
                .with_member_type(1);
            ResponseBody::ConsumerGroupDescribe(ConsumerGroupDescribeResponse::default().with_throttle_time_ms(5).with_groups(vec![
                consumer_describe::DescribedGroup::default()
                    .with_error_code(69)
                    .with_error_message(Some(text("none")))
                    .with_group_id(group_id())
                    .with_group_state(text("Stable"))
                    .with_group_epoch(4)
                    .with_assignment_epoch(4)
                    .with_assignor_name(text("uniform"))
                    .with_members(vec![member])
                    .with_authorized_operations(12),
            ]))
        }
    }
}

/// The answer to an `R` of `version`, as a client reads it.
fn read_back<R: Request>(version: i16, body: ResponseBody) -> R::Response {
    let frame = encode_response(77, version, body).unwrap().concat();
    assert_eq!(i32::from_be_bytes(*frame.first_chunk().unwrap()), frame.len() as i32 - 4);
    assert_eq!(crate::client::correlation_id(&frame[4..]), Some(77));
    decode_response::<R>(version, Bytes::from(frame).slice(4..)).unwrap()
}

/// The first version that kafka-protocol reads; the ones before are `legacy`'s.
fn first_of_kafka_protocol(api: ApiKey) -> i16 {
    match api {
        ApiKey::Produce => 3,
        ApiKey::Fetch => 4,
        ApiKey::ListOffsets | ApiKey::DeleteTopics => 1,
        ApiKey::CreateTopics | ApiKey::OffsetCommit => 2,
        ApiKey::OffsetFetch | ApiKey::DescribeConfigs => 1,
        _ => api.versions().min,
    }
}

/// How many topics an earlier kafka-protocol reads from an answer in one of those versions.
fn topics_read_by_oracle(api: ApiKey, version: i16, body: ResponseBody) -> usize {
    let body = match body {
        ResponseBody::ListOffsets(_) => ResponseBody::ListOffsetsV0(ListOffsetsResponseV0 {
            topics: vec![ListedTopicV0 {
                name: topic_name(),
                partitions: vec![ListedPartitionV0 { partition_index: 1, error_code: ErrorCode::None, offsets: vec![4] }],
            }],
        }),
        other => other,
    };
    let mut answer = Bytes::from(encode_response(77, version, body).unwrap().concat()).slice(8..);
    let topics = match api {
        ApiKey::Produce => oracle::ProduceResponse::decode(&mut answer, version).unwrap().responses.len(),
        ApiKey::Fetch => oracle::FetchResponse::decode(&mut answer, version).unwrap().responses.len(),
        ApiKey::ListOffsets => oracle::ListOffsetsResponse::decode(&mut answer, version).unwrap().topics.len(),
        ApiKey::CreateTopics => oracle::CreateTopicsResponse::decode(&mut answer, version).unwrap().topics.len(),
        ApiKey::DeleteTopics => oracle::DeleteTopicsResponse::decode(&mut answer, version).unwrap().responses.len(),
        ApiKey::OffsetCommit => oracle::OffsetCommitResponse::decode(&mut answer, version).unwrap().topics.len(),
        ApiKey::OffsetFetch => oracle::OffsetFetchResponse::decode(&mut answer, version).unwrap().topics.len(),
        ApiKey::DescribeConfigs => oracle::DescribeConfigsResponse::decode(&mut answer, version).unwrap().results.len(),
        other => panic!("{other:?} has no versions of the past"),
    };
    assert!(answer.is_empty());
    topics
}

#[test]
fn every_advertised_version_encodes_a_response_with_every_field_set() {
    for &api in ApiKey::ALL {
        let range = api.versions();
        for version in range.min..=newer::known(api, range.max) {
            let body = full_body(api);
            match api {
                api if version < first_of_kafka_protocol(api) => assert_eq!(topics_read_by_oracle(api, version, body), 1),
                ApiKey::Produce => assert_eq!(read_back::<ProduceRequest>(version, body).responses.len(), 1),
                ApiKey::Fetch => assert_eq!(read_back::<FetchRequest>(version, body).responses.len(), 1),
                ApiKey::ListOffsets => assert_eq!(read_back::<ListOffsetsRequest>(version, body).topics.len(), 1),
                ApiKey::Metadata => assert_eq!(read_back::<MetadataRequest>(version, body).topics.len(), 1),
                ApiKey::FindCoordinator => {
                    read_back::<FindCoordinatorRequest>(version, body);
                }
                ApiKey::ApiVersions => {
                    let read = read_back::<ApiVersionsRequest>(version, body);
                    let features = read.supported_features.len() + read.finalized_features.len();
                    assert_eq!((read.api_keys.len(), features), (ApiKey::ALL.len(), if version < 3 { 0 } else { 2 }));
                }
                ApiKey::CreateTopics => assert_eq!(read_back::<CreateTopicsRequest>(version, body).topics.len(), 1),
                ApiKey::DeleteTopics => assert_eq!(read_back::<DeleteTopicsRequest>(version, body).responses.len(), 1),
                ApiKey::InitProducerId => assert_eq!(read_back::<InitProducerIdRequest>(version, body).producer_id, 1000),
                ApiKey::OffsetForLeaderEpoch => assert_eq!(read_back::<OffsetForLeaderEpochRequest>(version, body).topics.len(), 1),
                ApiKey::UpdateFeatures => {
                    assert_eq!(read_back::<UpdateFeaturesRequest>(version, body).results.len(), usize::from(version < 2))
                }
                ApiKey::DescribeCluster => assert_eq!(read_back::<DescribeClusterRequest>(version, body).brokers.len(), 1),
                ApiKey::DeleteRecords => assert_eq!(read_back::<DeleteRecordsRequest>(version, body).topics.len(), 1),
                ApiKey::DescribeConfigs => assert_eq!(read_back::<DescribeConfigsRequest>(version, body).results.len(), 1),
                ApiKey::AlterConfigs => assert_eq!(read_back::<AlterConfigsRequest>(version, body).responses.len(), 1),
                ApiKey::AlterReplicaLogDirs => assert_eq!(read_back::<AlterReplicaLogDirsRequest>(version, body).results.len(), 1),
                ApiKey::DescribeQuorum => {
                    let answer = read_back::<DescribeQuorumRequest>(version, body);
                    assert_eq!((answer.topics.len(), answer.nodes.len()), (1, usize::from(2 <= version)));
                }
                ApiKey::DescribeLogDirs => assert_eq!(read_back::<DescribeLogDirsRequest>(version, body).results.len(), 1),
                ApiKey::CreatePartitions => assert_eq!(read_back::<CreatePartitionsRequest>(version, body).results.len(), 1),
                ApiKey::ElectLeaders => {
                    assert_eq!(read_back::<ElectLeadersRequest>(version, body).replica_election_results.len(), 1)
                }
                ApiKey::IncrementalAlterConfigs => {
                    assert_eq!(read_back::<IncrementalAlterConfigsRequest>(version, body).responses.len(), 1)
                }
                ApiKey::AlterPartitionReassignments => {
                    assert_eq!(read_back::<AlterPartitionReassignmentsRequest>(version, body).responses.len(), 1)
                }
                ApiKey::ListPartitionReassignments => {
                    assert_eq!(read_back::<ListPartitionReassignmentsRequest>(version, body).topics.len(), 1)
                }
                ApiKey::DescribeProducers => assert_eq!(read_back::<DescribeProducersRequest>(version, body).topics.len(), 1),
                ApiKey::DescribeClientQuotas => {
                    let read = read_back::<DescribeClientQuotasRequest>(version, body);
                    assert_eq!(read.entries.map(|entries| entries[0].values[0].value), Some(0.5));
                }
                ApiKey::AlterClientQuotas => {
                    assert_eq!(read_back::<AlterClientQuotasRequest>(version, body).entries[0].entity.len(), 1)
                }
                ApiKey::ListConfigResources => {
                    assert_eq!(read_back::<ListConfigResourcesRequest>(version, body).config_resources.len(), 1)
                }
                ApiKey::OffsetCommit => assert_eq!(read_back::<OffsetCommitRequest>(version, body).topics.len(), 1),
                ApiKey::OffsetFetch => {
                    let read = read_back::<OffsetFetchRequest>(version, body);
                    assert_eq!((read.topics.len(), read.groups.len()), if version < 8 { (1, 0) } else { (0, 1) });
                }
                ApiKey::JoinGroup => assert_eq!(read_back::<JoinGroupRequest>(version, body).members.len(), 1),
                ApiKey::Heartbeat => assert_eq!(read_back::<HeartbeatRequest>(version, body).error_code, 27),
                ApiKey::LeaveGroup => {
                    let read = read_back::<LeaveGroupRequest>(version, body);
                    assert_eq!((read.members.len(), read.error_code), if version < 3 { (0, 25) } else { (1, 0) });
                }
                ApiKey::SyncGroup => assert_eq!(read_back::<SyncGroupRequest>(version, body).assignment, "partitions"),
                ApiKey::DescribeGroups => assert_eq!(read_back::<DescribeGroupsRequest>(version, body).groups.len(), 1),
                ApiKey::ListGroups => assert_eq!(read_back::<ListGroupsRequest>(version, body).groups.len(), 1),
                ApiKey::DeleteGroups => assert_eq!(read_back::<DeleteGroupsRequest>(version, body).results.len(), 1),
                ApiKey::OffsetDelete => assert_eq!(read_back::<OffsetDeleteRequest>(version, body).topics.len(), 1),
                ApiKey::ConsumerGroupHeartbeat => {
                    assert!(read_back::<ConsumerGroupHeartbeatRequest>(version, body).assignment.is_some())
                }
                ApiKey::ConsumerGroupDescribe => {
                    assert_eq!(read_back::<ConsumerGroupDescribeRequest>(version, body).groups.len(), 1)
                }
                ApiKey::DescribeTopicPartitions => {
                    assert!(read_back::<DescribeTopicPartitionsRequest>(version, body).next_cursor.is_some())
                }
            }
        }
    }
}
