//! What brokers see of the state, and which parts of it an event changes.

use std::collections::BTreeSet;

use metadata_api::wire::{entity_quotas_to_proto, id_bytes, resource_configs_to_proto};
use metadata_api::{BrokerImage, ClientQuotaEntity, ConfigResource, EntityQuotas, PartitionImage, SlotOwner, TopicImage, proto};
use types::{BrokerId, CoordinatorSlot, TopicId};

use super::{Event, Partition, Slot, State};

/// The brokers, topics, coordinator slots, configs and quotas that changed since the last delta.
#[derive(Default, Debug)]
pub(crate) struct ImageChanges {
    brokers: BTreeSet<BrokerId>,
    topics: BTreeSet<TopicId>,
    slots: BTreeSet<CoordinatorSlot>,
    configs: BTreeSet<ConfigResource>,
    client_quotas: BTreeSet<ClientQuotaEntity>,
    /// Leaders may have appeared or gone anywhere.
    leaders: bool,
}

impl ImageChanges {
    /// Notes what `event` changes.
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::LeaderStarted => self.leaders = true,
            Event::BrokerRegistered { broker, .. } | Event::BrokerEnded { broker, .. } => {
                self.brokers.insert(*broker);
                self.leaders = true;
            }
            Event::TopicCreated { topic, .. }
            | Event::PartitionsAdded { topic, .. }
            | Event::TopicDeleted { topic, .. }
            | Event::TopicConfigsAltered { topic, .. } => {
                self.topics.insert(*topic);
            }
            Event::PartitionsElected { partitions } => self.topics.extend(partitions.iter().map(|elected| elected.partition.topic)),
            Event::DurabilityChanged { partitions } => self.topics.extend(partitions.iter().map(|changed| changed.partition.topic)),
            Event::SlotTaken { slot, .. } => {
                self.slots.insert(*slot);
            }
            Event::ResourceConfigsAltered { resource, .. } => {
                self.configs.insert(resource.clone());
            }
            Event::ClientQuotasAltered { altered } => self.client_quotas.extend(altered.iter().map(|(entity, _)| entity.clone())),
            Event::ClusterCreated { .. }
            | Event::StoreClaimed
            | Event::SyncedReported { .. }
            | Event::Published(_)
            | Event::LogStartsAdvanced { .. }
            | Event::ProducerIdsAllocated { .. }
            | Event::ObjectsDead { .. }
            | Event::ObjectsDeleted { .. }
            | Event::SnapshotTaken { .. }
            | Event::ClockJumped { .. }
            | Event::RowsSaved(_)
            | Event::SegmentsReplaced(_)
            | Event::Rebuilt { .. } => {}
        }
    }

    /// The delta that brings an image up to `state`, if anything changed; begins anew.
    pub(crate) fn take_delta(&mut self, state: &State) -> Option<proto::ImageDelta> {
        let changes = std::mem::take(self);
        let mut topics = changes.topics;
        let mut brokers = changes.brokers;
        if changes.leaders {
            topics.extend(state.topics.keys());
            brokers.extend(state.brokers.keys());
        }
        let others_changed = !changes.slots.is_empty() || !changes.configs.is_empty() || !changes.client_quotas.is_empty();
        if topics.is_empty() && brokers.is_empty() && !others_changed {
            return None;
        }
        let removed = topics.iter().filter(|id| !state.topics.contains_key(id));
        Some(proto::ImageDelta {
            revision: state.revision.0,
            cluster: id_bytes(state.cluster.as_bytes()),
            reset: false,
            brokers: brokers.iter().filter_map(|id| state.broker_image(*id)).map(|broker| (&broker).into()).collect(),
            removed_topics: removed.map(|id| id_bytes(id.as_bytes())).collect(),
            topics: topics.iter().filter_map(|id| state.topic_image(*id)).map(|topic| (&topic).into()).collect(),
            configs: changes.configs.iter().map(|id| resource_configs_to_proto(id, state.configs.get(id))).collect(),
            slots: changes.slots.iter().filter_map(|id| Some((*id, state.slots.get(id)?.owner()).into())).collect(),
            client_quotas: changes
                .client_quotas
                .iter()
                .map(|entity| entity_quotas_to_proto(entity, state.client_quotas.get(entity).unwrap_or(&EntityQuotas::new())))
                .collect(),
        })
    }
}

impl Slot {
    /// As the image shows it.
    pub(super) fn owner(&self) -> SlotOwner {
        SlotOwner { broker: self.broker, epoch: self.epoch }
    }
}

impl State {
    /// A broker as the image shows it.
    pub(super) fn broker_image(&self, id: BrokerId) -> Option<BrokerImage> {
        let broker = self.brokers.get(&id)?;
        Some(BrokerImage { id, epoch: broker.epoch, endpoints: broker.endpoints.clone(), rack: broker.rack.clone(), alive: broker.alive })
    }

    /// A topic as the image shows it.
    pub(super) fn topic_image(&self, id: TopicId) -> Option<TopicImage> {
        let topic = self.topics.get(&id)?;
        let partition = |partition: &Partition| PartitionImage {
            leader: self.visible_leader(partition),
            leader_epoch: partition.leader_epoch,
            owner: partition.owner,
            replicas: partition.replicas.clone(),
            durability: partition.durability,
        };
        Some(TopicImage {
            id,
            name: topic.name.clone(),
            replication_factor: topic.replication_factor,
            configs: topic.configs.clone(),
            config_revision: topic.config_revision,
            partitions: self.partitions_of(id, topic.partitions).map(|(_, state)| partition(state)).collect(),
        })
    }
}
