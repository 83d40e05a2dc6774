//! Every version that ApiVersions lists is answered; for those that kafka-protocol does not have, see `legacy` and `newer`.

use kafka_protocol::protocol::Request;
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::fetch_request::ReplicaState;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use protocol::messages::*;
use protocol::{ApiKey, ErrorCode};
use types::TopicId;
use uuid::Uuid;
use wal::MemoryOptions;

use crate::group_versions;
use crate::harness::{Peer, TestBroker, batch, fetch_request, produce_request, text, values};

fn versions<R: Request>(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let range = api.versions();
    R::VERSIONS.min.max(range.min)..=range.max.min(R::VERSIONS.max)
}

pub(crate) async fn all<R: Request>(peer: &mut Peer, api: ApiKey, request: impl Fn(i16) -> R, check: impl Fn(i16, R::Response)) {
    for version in versions::<R>(api) {
        let answer = peer.ask(version, &request(version)).await;
        check(version, answer);
    }
}

#[tokio::test]
async fn every_listed_version_of_every_api_is_answered() {
    let broker = TestBroker::start_with(|options| options.groups.initial_rebalance_delay_ms = 0, MemoryOptions::default()).await;
    let topic = broker.create_topic("t", 1, &[]).await;
    let mut peer = broker.connect().await;
    peer.produce("t", 0, batch(&["a"])).await;
    for api in ApiKey::ALL {
        let peer = &mut peer;
        match api {
            ApiKey::Produce => produce(peer, topic).await,
            ApiKey::Fetch => fetch(peer, topic).await,
            ApiKey::ListOffsets => list_offsets(peer).await,
            ApiKey::Metadata => metadata(peer).await,
            ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::JoinGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::SyncGroup
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::OffsetDelete
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe => group_versions::answered(peer, *api).await,
            ApiKey::FindCoordinator => {
                let request = |version| match version {
                    0..4 => FindCoordinatorRequest::default().with_key(text("g")),
                    _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
                };
                all(peer, *api, request, |version, answer| {
                    let node = if version < 4 { answer.node_id } else { answer.coordinators[0].node_id };
                    assert_eq!(node.0, 1, "version {version}");
                })
                .await;
            }
            ApiKey::ApiVersions => {
                let request = |version| match version {
                    0..3 => ApiVersionsRequest::default(),
                    _ => ApiVersionsRequest::default().with_client_software_name(text("test")).with_client_software_version(text("1.0")),
                };
                all(peer, *api, request, |version, answer| {
                    let listed: Vec<_> = answer.api_keys.iter().map(|key| (key.api_key, key.min_version, key.max_version)).collect();
                    let served: Vec<_> = ApiKey::ALL.iter().map(|api| (api.key(), api.versions().min, api.versions().max)).collect();
                    assert_eq!((answer.error_code, listed), (0, served), "version {version}");
                })
                .await;
            }
            ApiKey::CreateTopics => {
                let request = |version: i16| {
                    let topic = CreatableTopic::default().with_name(TopicName(text(&format!("new{version}"))));
                    CreateTopicsRequest::default()
                        .with_topics(vec![topic.with_num_partitions(1).with_replication_factor(1)])
                        .with_timeout_ms(10_000)
                };
                all(peer, *api, request, |version, answer| assert_eq!(answer.topics[0].error_code, 0, "version {version}")).await;
            }
            ApiKey::DeleteTopics => {
                // Those that CreateTopics has made, and one that never was.
                let name = |version: i16| TopicName(text(&format!("new{}", version.max(2))));
                let request = |version: i16| match version {
                    0..6 => DeleteTopicsRequest::default().with_topic_names(vec![name(version)]),
                    _ => DeleteTopicsRequest::default().with_topics(vec![DeleteTopicState::default().with_name(Some(name(version)))]),
                };
                all(peer, *api, request, |version, answer| {
                    let gone = if version == 2 { ErrorCode::UnknownTopicOrPartition.code() } else { 0 };
                    assert_eq!(answer.responses[0].error_code, gone, "version {version}");
                })
                .await;
            }
            ApiKey::InitProducerId => {
                let request = |_| InitProducerIdRequest::default().with_transactional_id(None);
                all(peer, *api, request, |version, answer| assert_eq!(answer.error_code, 0, "version {version}")).await;
            }
            ApiKey::OffsetForLeaderEpoch => {
                let request = |version: i16| {
                    let wanted = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(3);
                    let topic = OffsetForLeaderTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![wanted]);
                    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
                    if version < 3 { request } else { request.with_replica_id(BrokerId(-1)) }
                };
                all(peer, *api, request, |version, answer| {
                    assert!(0 < answer.topics[0].partitions[0].end_offset, "version {version}");
                })
                .await;
            }
            ApiKey::UpdateFeatures => {
                let update = update_features_request::FeatureUpdateKey::default();
                let update = update.with_feature(text("group.version")).with_max_version_level(1);
                let request = |_| UpdateFeaturesRequest::default().with_feature_updates(vec![update.clone()]);
                all(peer, *api, request, |version, answer| {
                    assert_eq!((answer.error_code, answer.results.len()), (0, if version < 2 { 1 } else { 0 }), "version {version}");
                })
                .await;
            }
            ApiKey::DescribeCluster => {
                let request = |_| DescribeClusterRequest::default().with_endpoint_type(1);
                all(peer, *api, request, |version, answer| assert_eq!(answer.brokers.len(), 1, "version {version}")).await;
            }
            ApiKey::DeleteRecords => {
                let partition = DeleteRecordsPartition::default().with_offset(0);
                let topic = DeleteRecordsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![partition]);
                let request = |_| DeleteRecordsRequest::default().with_topics(vec![topic.clone()]).with_timeout_ms(1000);
                all(peer, *api, request, |version, answer| {
                    let partition = &answer.topics[0].partitions[0];
                    assert_eq!((partition.error_code, partition.low_watermark), (0, 0), "version {version}");
                })
                .await;
            }
            ApiKey::DescribeConfigs => {
                let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
                let resource = resource.with_configuration_keys(None);
                let request = |version| {
                    let request = DescribeConfigsRequest::default().with_resources(vec![resource.clone()]);
                    request.with_include_synonyms(true).with_include_documentation(3 <= version)
                };
                all(peer, *api, request, |version, answer| {
                    let config = &answer.results[0].configs[0];
                    assert_eq!(
                        (&*config.name, config.documentation.as_deref().is_some_and(|doc| !doc.is_empty())),
                        ("cleanup.policy", 3 <= version),
                        "version {version}"
                    );
                    assert_eq!(config.synonyms.len(), 1, "version {version}");
                })
                .await;
            }
            ApiKey::AlterConfigs => {
                let resource = alter_configs_request::AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
                let request = |_| AlterConfigsRequest::default().with_resources(vec![resource.clone()]);
                all(peer, *api, request, |version, answer| assert_eq!(answer.responses[0].error_code, 0, "version {version}")).await;
            }
            ApiKey::IncrementalAlterConfigs => {
                let resource =
                    incremental_alter_configs_request::AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
                let request = |_| IncrementalAlterConfigsRequest::default().with_resources(vec![resource.clone()]);
                all(peer, *api, request, |version, answer| assert_eq!(answer.responses[0].error_code, 0, "version {version}")).await;
            }
            ApiKey::AlterReplicaLogDirs => {
                let topic = alter_replica_log_dirs_request::AlterReplicaLogDirTopic::default();
                let topic = topic.with_name(TopicName(text("t"))).with_partitions(vec![0]);
                let dir = alter_replica_log_dirs_request::AlterReplicaLogDir::default().with_path(text(".")).with_topics(vec![topic]);
                let request = |_| AlterReplicaLogDirsRequest::default().with_dirs(vec![dir.clone()]);
                all(peer, *api, request, |version, answer| {
                    assert_eq!(answer.results[0].partitions[0].error_code, 0, "version {version}");
                })
                .await;
            }
            ApiKey::DescribeQuorum => {
                let partition = describe_quorum_request::PartitionData::default();
                let topic = describe_quorum_request::TopicData::default().with_topic_name(TopicName(text("__cluster_metadata")));
                let request =
                    |_| DescribeQuorumRequest::default().with_topics(vec![topic.clone().with_partitions(vec![partition.clone()])]);
                all(peer, *api, request, |version, answer| {
                    let partition = &answer.topics[0].partitions[0];
                    assert_eq!((partition.leader_id.0, partition.current_voters[0].replica_id.0), (1, 1), "version {version}");
                    assert_eq!(answer.nodes.len(), usize::from(2 <= version), "version {version}");
                })
                .await;
            }
            ApiKey::DescribeLogDirs => {
                let request = |_| DescribeLogDirsRequest::default().with_topics(None);
                all(peer, *api, request, |version, answer| {
                    let directory = &answer.results[0];
                    assert!(directory.topics.iter().any(|topic| &*topic.name.0 == "t"), "version {version}");
                    assert_eq!(0 < directory.total_bytes, 4 <= version, "version {version}");
                })
                .await;
            }
            ApiKey::CreatePartitions => {
                let topic = CreatePartitionsTopic::default().with_name(TopicName(text("t"))).with_count(2).with_assignments(None);
                let request = |_| CreatePartitionsRequest::default().with_topics(vec![topic.clone()]).with_validate_only(true);
                all(peer, *api, request, |version, answer| assert_eq!(answer.results[0].error_code, 0, "version {version}")).await;
            }
            ApiKey::ElectLeaders => {
                let partitions = TopicPartitions::default().with_topic(TopicName(text("t"))).with_partitions(vec![0]);
                let request = |_| ElectLeadersRequest::default().with_topic_partitions(Some(vec![partitions.clone()]));
                all(peer, *api, request, |version, answer| {
                    let result = &answer.replica_election_results[0].partition_result[0];
                    assert_eq!(result.error_code, ErrorCode::ElectionNotNeeded.code(), "version {version}");
                })
                .await;
            }
            ApiKey::AlterPartitionReassignments => {
                let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(2), BrokerId(1)]));
                let topic = ReassignableTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![partition]);
                let request = |_| AlterPartitionReassignmentsRequest::default().with_topics(vec![topic.clone()]);
                all(peer, *api, request, |version, answer| {
                    assert_eq!(answer.responses[0].partitions[0].error_code, 0, "version {version}");
                })
                .await;
            }
            ApiKey::ListPartitionReassignments => {
                let request = |_| ListPartitionReassignmentsRequest::default().with_topics(None);
                all(peer, *api, request, |version, answer| {
                    assert_eq!((answer.error_code, answer.topics.len()), (0, 0), "version {version}");
                })
                .await;
            }
            ApiKey::DescribeProducers => {
                let topic =
                    describe_producers_request::TopicRequest::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![0]);
                let request = |_| DescribeProducersRequest::default().with_topics(vec![topic.clone()]);
                all(peer, *api, request, |version, answer| {
                    let partition = &answer.topics[0].partitions[0];
                    assert_eq!((partition.error_code, partition.active_producers.len()), (0, 0), "version {version}");
                })
                .await;
            }
            ApiKey::AlterClientQuotas => {
                let entity = alter_client_quotas_request::EntityData::default().with_entity_type(text("user"));
                let op = alter_client_quotas_request::OpData::default().with_key(text("request_percentage")).with_value(0.5);
                let entry = alter_client_quotas_request::EntryData::default().with_entity(vec![entity.with_entity_name(None)]);
                let entry = entry.with_ops(vec![op]);
                let request = |_| AlterClientQuotasRequest::default().with_entries(vec![entry.clone()]);
                all(peer, *api, request, |version, answer| assert_eq!(answer.entries[0].error_code, 0, "version {version}")).await;
            }
            ApiKey::DescribeClientQuotas => {
                // What the API after it sets is not there yet.
                let request = |_| DescribeClientQuotasRequest::default();
                all(peer, *api, request, |version, answer| {
                    assert_eq!((answer.error_code, answer.entries.map(|entries| entries.len())), (0, Some(0)), "version {version}");
                })
                .await;
            }
            ApiKey::ListConfigResources => {
                let request = |_| ListConfigResourcesRequest::default();
                all(peer, *api, request, |version, answer| {
                    assert_eq!(answer.config_resources.is_empty(), version == 0, "version {version}");
                })
                .await;
            }
            ApiKey::DescribeTopicPartitions => {
                let request = |_| DescribeTopicPartitionsRequest::default().with_response_partition_limit(10);
                all(peer, *api, request, |version, answer| {
                    let found = answer.topics.iter().find(|found| found.topic_id == topic.0);
                    assert_eq!(found.map(|found| found.partitions.len()), Some(1), "version {version}");
                })
                .await;
            }
        }
    }
}

async fn produce(peer: &mut Peer, topic: TopicId) {
    let request = |version: i16| {
        let mut request = produce_request("t", -1, vec![(0, batch(&["v"]))]);
        if 13 <= version {
            request.topic_data[0].name = TopicName::default();
            request.topic_data[0].topic_id = topic.0;
        }
        request
    };
    all::<ProduceRequest>(peer, ApiKey::Produce, request, |version, answer| {
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(version - 2)), "version {version}");
    })
    .await;
}

async fn fetch(peer: &mut Peer, topic: TopicId) {
    let request = |version: i16| {
        let mut request = fetch_request("t", &[(0, 0)]);
        if 13 <= version {
            request.topics[0].topic = TopicName::default();
            request.topics[0].topic_id = topic.0;
        }
        if 15 <= version {
            request.replica_state = ReplicaState::default().with_replica_id(BrokerId(-1));
        }
        request
    };
    all::<FetchRequest>(peer, ApiKey::Fetch, request, |version, answer| {
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, values(partition)[0].as_str()), (0, "a"), "version {version}");
    })
    .await;
}

async fn list_offsets(peer: &mut Peer) {
    let request = |_| {
        let wanted = ListOffsetsPartition::default().with_timestamp(-2).with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![wanted]);
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    };
    all(peer, ApiKey::ListOffsets, request, |version, answer| {
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.offset), (0, 0), "version {version}");
    })
    .await;
}

async fn metadata(peer: &mut Peer) {
    let request = |version: i16| {
        let topics = vec![MetadataRequestTopic::default().with_name(Some(TopicName(text("t"))))];
        let request = MetadataRequest::default().with_topics(Some(topics)).with_include_topic_authorized_operations(8 <= version);
        request.with_include_cluster_authorized_operations((8..=10).contains(&version))
    };
    all(peer, ApiKey::Metadata, request, |version, answer| {
        let topic = &answer.topics[0];
        assert_eq!((topic.error_code, topic.partitions[0].leader_id.0, answer.brokers.len()), (0, 1, 1), "version {version}");
        assert_eq!(topic.topic_id.is_nil(), version < 10, "version {version}");
        assert_eq!(0 < topic.topic_authorized_operations, 8 <= version, "version {version}");
        assert_eq!(0 < answer.cluster_authorized_operations, (8..=10).contains(&version), "version {version}");
        assert_ne!(topic.topic_id, Uuid::from_bytes([255; 16]));
    })
    .await;
}
