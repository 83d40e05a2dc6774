//! The cluster image and its deltas.

use std::sync::Arc;

use types::{BrokerEpoch, BrokerId, CoordinatorSlot, LeaderEpoch, Revision};

use super::{
    WireError, cluster_id, configs_from_proto, configs_to_proto, durability, endpoints_from_proto, endpoints_to_proto,
    entity_quotas_from_proto, entity_quotas_to_proto, id_bytes, resource_configs_from_proto, resource_configs_to_proto, topic_id, wal_id,
    wrong,
};
use crate::{BrokerImage, ClusterImage, PartitionImage, SlotOwner, TopicImage, proto};

impl From<&BrokerImage> for proto::BrokerImage {
    fn from(value: &BrokerImage) -> Self {
        Self {
            id: value.id.0,
            epoch: value.epoch.0,
            endpoints: endpoints_to_proto(&value.endpoints),
            rack: value.rack.clone(),
            alive: value.alive,
        }
    }
}

impl TryFrom<proto::BrokerImage> for BrokerImage {
    type Error = WireError;
    fn try_from(value: proto::BrokerImage) -> Result<Self, WireError> {
        Ok(Self {
            id: BrokerId(value.id),
            epoch: BrokerEpoch(value.epoch),
            endpoints: endpoints_from_proto(value.endpoints)?,
            rack: value.rack,
            alive: value.alive,
        })
    }
}

impl From<&TopicImage> for proto::TopicImage {
    fn from(value: &TopicImage) -> Self {
        let partition = |partition: &PartitionImage| proto::PartitionImage {
            leader: partition.leader.map(|leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            owner: id_bytes(partition.owner.as_bytes()),
            replicas: partition.replicas.iter().map(|replica| replica.0).collect(),
            durability: proto::Durability::from(partition.durability).into(),
        };
        Self {
            id: id_bytes(value.id.as_bytes()),
            name: value.name.clone(),
            replication_factor: value.replication_factor.into(),
            configs: configs_to_proto(&value.configs),
            config_revision: value.config_revision.0,
            partitions: value.partitions.iter().map(partition).collect(),
        }
    }
}

impl TryFrom<proto::TopicImage> for TopicImage {
    type Error = WireError;
    fn try_from(value: proto::TopicImage) -> Result<Self, WireError> {
        let partition = |partition: proto::PartitionImage| -> Result<PartitionImage, WireError> {
            Ok(PartitionImage {
                leader: partition.leader.map(BrokerId),
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                owner: wal_id(&partition.owner)?,
                replicas: partition.replicas.into_iter().map(BrokerId).collect(),
                durability: durability(partition.durability)?,
            })
        };
        Ok(Self {
            id: topic_id(&value.id)?,
            name: value.name,
            replication_factor: i16::try_from(value.replication_factor)
                .map_err(|_| wrong(format!("replication factor {}", value.replication_factor)))?,
            configs: configs_from_proto(value.configs),
            config_revision: Revision(value.config_revision),
            partitions: value.partitions.into_iter().map(partition).collect::<Result<_, _>>()?,
        })
    }
}

/// An image as the delta that makes it from nothing.
pub fn whole_image(image: &ClusterImage) -> proto::ImageDelta {
    let mut topics: Vec<_> = image.topics.values().collect();
    topics.sort_by_key(|topic| topic.id);
    proto::ImageDelta {
        revision: image.revision.0,
        cluster: id_bytes(image.cluster_id.as_bytes()),
        reset: true,
        brokers: image.brokers.values().map(|broker| broker.as_ref().into()).collect(),
        topics: topics.into_iter().map(|topic| topic.as_ref().into()).collect(),
        removed_topics: Vec::new(),
        configs: image.configs.iter().map(|(resource, set)| resource_configs_to_proto(resource, Some(set))).collect(),
        slots: image.slots.iter().map(|(slot, owner)| (*slot, *owner).into()).collect(),
        client_quotas: image.client_quotas.iter().map(|(entity, quotas)| entity_quotas_to_proto(entity, quotas)).collect(),
    }
}

/// Changes `image` as `delta` says. Fails before the first change.
pub fn apply_delta(image: &mut ClusterImage, delta: proto::ImageDelta) -> Result<(), WireError> {
    let cluster = cluster_id(&delta.cluster)?;
    let brokers = delta.brokers.into_iter().map(BrokerImage::try_from).collect::<Result<Vec<_>, _>>()?;
    let topics = delta.topics.into_iter().map(TopicImage::try_from).collect::<Result<Vec<_>, _>>()?;
    let removed = delta.removed_topics.iter().map(|id| topic_id(id)).collect::<Result<Vec<_>, _>>()?;
    let configs = delta.configs.into_iter().map(resource_configs_from_proto).collect::<Result<Vec<_>, _>>()?;
    let slots = delta.slots.into_iter().map(<(CoordinatorSlot, SlotOwner)>::try_from).collect::<Result<Vec<_>, _>>()?;
    let client_quotas = delta.client_quotas.into_iter().map(entity_quotas_from_proto).collect::<Result<Vec<_>, _>>()?;
    if delta.reset {
        *image = ClusterImage::default();
    }
    image.revision = Revision(delta.revision);
    image.cluster_id = cluster;
    image.brokers.extend(brokers.into_iter().map(|broker| (broker.id, Arc::new(broker))));
    for topic in removed {
        image.remove_topic(topic);
    }
    for topic in topics {
        image.insert_topic(Arc::new(topic));
    }
    image.slots.extend(slots);
    for (resource, set) in configs {
        let held = Arc::make_mut(&mut image.configs);
        match set {
            Some(set) => held.insert(resource, set),
            None => held.remove(&resource),
        };
    }
    for (entity, quotas) in client_quotas {
        let held = Arc::make_mut(&mut image.client_quotas);
        if quotas.is_empty() {
            held.remove(&entity);
        } else {
            held.insert(entity, quotas);
        }
    }
    Ok(())
}
