//! The cluster image: what every broker holds of topics, partitions and brokers, as a value with a revision. Answers to Metadata
//! requests, hints and NOT_LEADER errors come from it, with one broker too. The client feeds it by deltas from the service.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorSlot, Durability, LeaderEpoch, Revision, SlotEpoch, TopicId, TopicPartition, WalId,
};

use crate::{ClientQuotaEntity, ConfigResource, EntityQuotas, ResourceConfigs};

/// One advertised listener of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Listener name, for instance `PLAINTEXT`.
    pub listener: String,
    /// Host as clients shall resolve it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerImage {
    /// `node.id`.
    pub id: BrokerId,
    /// Epoch of its newest registration.
    pub epoch: BrokerEpoch,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether its session lives.
    pub alive: bool,
}

/// Who leads a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    /// The leader; `None` while the owner is away.
    pub leader: Option<BrokerId>,
    /// Its leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The log whose unpublished entries belong to the partition.
    pub owner: WalId,
    /// Brokers shown as replicas; the first is preferred. As many as the topic's replication factor where there are enough.
    pub replicas: Vec<BrokerId>,
    /// The level in force (rule R5), which may lag behind the topic's config.
    pub durability: Durability,
}

/// A topic with its configs and partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// As asked at creation.
    pub replication_factor: i16,
    /// Configs that were set on the topic; everything else follows the broker's.
    pub configs: BTreeMap<String, String>,
    /// Revision of the last change of its configs.
    pub config_revision: Revision,
    /// By partition index.
    pub partitions: Vec<PartitionImage>,
}

/// Who took a coordinator slot last. It stays the owner after its session has ended, until somebody takes the slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotOwner {
    /// The broker.
    pub broker: BrokerId,
    /// The slot's epoch since.
    pub epoch: SlotEpoch,
}

/// The cluster at one revision. Topics and brokers are shared between images, so that a change copies pointers only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterImage {
    /// Journal index up to which changes are included.
    pub revision: Revision,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// By broker id.
    pub brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    /// By topic id.
    pub topics: HashMap<TopicId, Arc<TopicImage>>,
    /// By name.
    pub names: BTreeMap<String, TopicId>,
    /// Coordinator slots that somebody took.
    pub slots: BTreeMap<CoordinatorSlot, SlotOwner>,
    /// What is set on brokers and groups. The same pointer as long as nothing of it changes.
    pub configs: Arc<BTreeMap<ConfigResource, ResourceConfigs>>,
    /// Client quotas that are set. The same pointer as long as none changes.
    pub client_quotas: Arc<BTreeMap<ClientQuotaEntity, EntityQuotas>>,
}

impl ClusterImage {
    /// A topic by its name.
    pub fn topic_named(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(name)?)
    }

    /// A partition by topic id and index.
    pub fn partition(&self, partition: TopicPartition) -> Option<&PartitionImage> {
        self.topics.get(&partition.topic)?.partitions.get(usize::try_from(partition.partition).ok()?)
    }

    /// Puts or replaces a topic.
    pub fn insert_topic(&mut self, topic: Arc<TopicImage>) {
        self.names.insert(topic.name.clone(), topic.id);
        self.topics.insert(topic.id, topic);
    }

    /// Removes a topic; its name is freed only if no newer topic holds it.
    pub fn remove_topic(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.remove(&id)
            && self.names.get(&topic.name) == Some(&id)
        {
            self.names.remove(&topic.name);
        }
    }
}
