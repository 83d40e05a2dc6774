//! Randomised valid requests of the APIs that administer.

use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use protocol::messages::*;

use crate::draw::{Draw, tagged};

pub(crate) fn delete_records(draw: &mut Draw, version: i16) -> DeleteRecordsRequest {
    let flexible = 2 <= version;
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let partition = DeleteRecordsPartition::default().with_partition_index(draw.i32()).with_offset(draw.number() as i64);
            tagged!(draw, flexible, partition)
        });
        tagged!(draw, flexible, DeleteRecordsTopic::default().with_name(draw.topic()).with_partitions(partitions))
    });
    tagged!(draw, flexible, DeleteRecordsRequest::default().with_topics(topics).with_timeout_ms(draw.i32()))
}

pub(crate) fn describe_configs(draw: &mut Draw, version: i16) -> DescribeConfigsRequest {
    let flexible = 4 <= version;
    let resources = draw.list(|draw| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(draw.number() as i8)
            .with_resource_name(draw.text())
            .with_configuration_keys(draw.maybe(|draw| draw.list(Draw::text)));
        tagged!(draw, flexible, resource)
    });
    let mut request = DescribeConfigsRequest::default().with_resources(resources);
    if 1 <= version {
        request.include_synonyms = draw.chance();
    }
    if 3 <= version {
        request.include_documentation = draw.chance();
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn alter_configs(draw: &mut Draw, version: i16) -> AlterConfigsRequest {
    use protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let flexible = 2 <= version;
    let resources = draw.list(|draw| {
        let configs = draw.list(|draw| {
            let config = AlterableConfig::default().with_name(draw.text()).with_value(draw.maybe(Draw::text));
            tagged!(draw, flexible, config)
        });
        let resource =
            AlterConfigsResource::default().with_resource_type(draw.number() as i8).with_resource_name(draw.text()).with_configs(configs);
        tagged!(draw, flexible, resource)
    });
    tagged!(draw, flexible, AlterConfigsRequest::default().with_resources(resources).with_validate_only(draw.chance()))
}

pub(crate) fn alter_replica_log_dirs(draw: &mut Draw, version: i16) -> AlterReplicaLogDirsRequest {
    use protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    let flexible = 2 <= version;
    let dirs = draw.list(|draw| {
        let topics = draw.list(|draw| {
            let topic = AlterReplicaLogDirTopic::default().with_name(draw.topic()).with_partitions(draw.list(Draw::i32));
            tagged!(draw, flexible, topic)
        });
        tagged!(draw, flexible, AlterReplicaLogDir::default().with_path(draw.text()).with_topics(topics))
    });
    tagged!(draw, flexible, AlterReplicaLogDirsRequest::default().with_dirs(dirs))
}

pub(crate) fn describe_quorum(draw: &mut Draw) -> DescribeQuorumRequest {
    use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| tagged!(draw, true, PartitionData::default().with_partition_index(draw.i32())));
        tagged!(draw, true, TopicData::default().with_topic_name(draw.topic()).with_partitions(partitions))
    });
    tagged!(draw, true, DescribeQuorumRequest::default().with_topics(topics))
}

pub(crate) fn describe_log_dirs(draw: &mut Draw, version: i16) -> DescribeLogDirsRequest {
    let flexible = 2 <= version;
    let topics = draw.maybe(|draw| {
        draw.list(|draw| {
            let topic = DescribableLogDirTopic::default().with_topic(draw.topic()).with_partitions(draw.list(Draw::i32));
            tagged!(draw, flexible, topic)
        })
    });
    tagged!(draw, flexible, DescribeLogDirsRequest::default().with_topics(topics))
}

pub(crate) fn create_partitions(draw: &mut Draw, version: i16) -> CreatePartitionsRequest {
    let flexible = 2 <= version;
    let topics = draw.list(|draw| {
        let assignments = draw.maybe(|draw| {
            draw.list(|draw| {
                let ids = draw.list(|draw| BrokerId(draw.i32()));
                tagged!(draw, flexible, CreatePartitionsAssignment::default().with_broker_ids(ids))
            })
        });
        let topic = CreatePartitionsTopic::default().with_name(draw.topic()).with_count(draw.i32()).with_assignments(assignments);
        tagged!(draw, flexible, topic)
    });
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(draw.i32()).with_validate_only(draw.chance());
    tagged!(draw, flexible, request)
}

pub(crate) fn elect_leaders(draw: &mut Draw, version: i16) -> ElectLeadersRequest {
    let flexible = 2 <= version;
    let topics = draw.maybe(|draw| {
        draw.list(|draw| {
            let topic = TopicPartitions::default().with_topic(draw.topic()).with_partitions(draw.list(Draw::i32));
            tagged!(draw, flexible, topic)
        })
    });
    let mut request = ElectLeadersRequest::default().with_topic_partitions(topics).with_timeout_ms(draw.i32());
    if 1 <= version {
        request.election_type = draw.number() as i8;
    }
    tagged!(draw, flexible, request)
}

pub(crate) fn incremental_alter_configs(draw: &mut Draw, version: i16) -> IncrementalAlterConfigsRequest {
    use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let flexible = 1 <= version;
    let resources = draw.list(|draw| {
        let configs = draw.list(|draw| {
            let config = AlterableConfig::default()
                .with_name(draw.text())
                .with_config_operation(draw.number() as i8)
                .with_value(draw.maybe(Draw::text));
            tagged!(draw, flexible, config)
        });
        let resource =
            AlterConfigsResource::default().with_resource_type(draw.number() as i8).with_resource_name(draw.text()).with_configs(configs);
        tagged!(draw, flexible, resource)
    });
    tagged!(draw, flexible, IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(draw.chance()))
}

pub(crate) fn alter_partition_reassignments(draw: &mut Draw, version: i16) -> AlterPartitionReassignmentsRequest {
    let topics = draw.list(|draw| {
        let partitions = draw.list(|draw| {
            let replicas = draw.maybe(|draw| draw.list(|draw| BrokerId(draw.i32())));
            let partition = ReassignablePartition::default().with_partition_index(draw.i32()).with_replicas(replicas);
            tagged!(draw, true, partition)
        });
        tagged!(draw, true, ReassignableTopic::default().with_name(draw.topic()).with_partitions(partitions))
    });
    let mut request = AlterPartitionReassignmentsRequest::default().with_timeout_ms(draw.i32()).with_topics(topics);
    if 1 <= version {
        request.allow_replication_factor_change = draw.chance();
    }
    tagged!(draw, true, request)
}

pub(crate) fn list_partition_reassignments(draw: &mut Draw) -> ListPartitionReassignmentsRequest {
    let topics = draw.maybe(|draw| {
        draw.list(|draw| {
            let topic = ListPartitionReassignmentsTopics::default().with_name(draw.topic()).with_partition_indexes(draw.list(Draw::i32));
            tagged!(draw, true, topic)
        })
    });
    tagged!(draw, true, ListPartitionReassignmentsRequest::default().with_timeout_ms(draw.i32()).with_topics(topics))
}

pub(crate) fn describe_producers(draw: &mut Draw) -> DescribeProducersRequest {
    use protocol::messages::describe_producers_request::TopicRequest;
    let topics = draw.list(|draw| {
        let topic = TopicRequest::default().with_name(draw.topic()).with_partition_indexes(draw.list(Draw::i32));
        tagged!(draw, true, topic)
    });
    tagged!(draw, true, DescribeProducersRequest::default().with_topics(topics))
}

pub(crate) fn list_config_resources(draw: &mut Draw, version: i16) -> ListConfigResourcesRequest {
    let mut request = ListConfigResourcesRequest::default();
    if 1 <= version {
        request.resource_types = draw.list(|draw| draw.number() as i8);
    }
    tagged!(draw, true, request)
}

pub(crate) fn describe_topic_partitions(draw: &mut Draw) -> DescribeTopicPartitionsRequest {
    use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
    let topics = draw.list(|draw| tagged!(draw, true, TopicRequest::default().with_name(draw.topic())));
    let cursor = draw.maybe(|draw| tagged!(draw, true, Cursor::default().with_topic_name(draw.topic()).with_partition_index(draw.i32())));
    let request =
        DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(draw.i32()).with_cursor(cursor);
    tagged!(draw, true, request)
}

pub(crate) fn describe_client_quotas(draw: &mut Draw, version: i16) -> DescribeClientQuotasRequest {
    use protocol::messages::describe_client_quotas_request::ComponentData;
    let flexible = 1 <= version;
    let components = draw.list(|draw| {
        let component = ComponentData::default().with_entity_type(draw.text()).with_match_type(draw.number() as i8);
        tagged!(draw, flexible, component.with_match(draw.maybe(Draw::text)))
    });
    tagged!(draw, flexible, DescribeClientQuotasRequest::default().with_components(components).with_strict(draw.chance()))
}

pub(crate) fn alter_client_quotas(draw: &mut Draw, version: i16) -> AlterClientQuotasRequest {
    use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
    let flexible = 1 <= version;
    let entries = draw.list(|draw| {
        let entity = draw.list(|draw| {
            let entity = EntityData::default().with_entity_type(draw.text()).with_entity_name(draw.maybe(Draw::text));
            tagged!(draw, flexible, entity)
        });
        let ops = draw.list(|draw| {
            let op = OpData::default().with_key(draw.text()).with_value(draw.i32().into()).with_remove(draw.chance());
            tagged!(draw, flexible, op)
        });
        tagged!(draw, flexible, EntryData::default().with_entity(entity).with_ops(ops))
    });
    tagged!(draw, flexible, AlterClientQuotasRequest::default().with_entries(entries).with_validate_only(draw.chance()))
}

pub(crate) fn update_features(draw: &mut Draw, version: i16) -> UpdateFeaturesRequest {
    use protocol::messages::update_features_request::FeatureUpdateKey;

    let updates = draw.list(|draw| {
        let mut update = FeatureUpdateKey::default().with_feature(draw.text()).with_max_version_level(draw.number() as i16);
        if version < 1 {
            update.allow_downgrade = draw.chance();
        } else {
            update.upgrade_type = draw.number() as i8;
        }
        tagged!(draw, true, update)
    });
    let mut request = UpdateFeaturesRequest::default().with_timeout_ms(draw.i32()).with_feature_updates(updates);
    if 1 <= version {
        request.validate_only = draw.chance();
    }
    tagged!(draw, true, request)
}
