//! What handlers need of a topic at every request, worked out once per change of the topic: its resolved configs and its counters.

use std::collections::HashMap;
use std::sync::Arc;

use metadata_api::{ClusterImage, TopicImage};
use parking_lot::RwLock;
use partition::LogConfig;
use records::TimestampType;
use types::{Durability, TopicId};

use crate::metrics::{TopicMetrics, TrafficMetrics};
use crate::settings::Settings;

/// The longest name a topic can have, in bytes: Kafka's limit.
pub(crate) const LONGEST_TOPIC_NAME: usize = 249;

/// One topic as it is served.
pub(crate) struct ServedTopic {
    pub(crate) image: Arc<TopicImage>,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) compacted: bool,
    /// As configured, here or by the broker's default. What is in force is in the image of each partition.
    pub(crate) durability: Durability,
    pub(crate) metrics: TopicMetrics,
}

impl ServedTopic {
    /// The configs that a partition itself acts on.
    pub(crate) fn log_config(&self) -> LogConfig {
        LogConfig { timestamp_type: self.timestamp_type }
    }
}

/// All topics of the cluster, by id.
pub(crate) struct Topics {
    settings: Arc<Settings>,
    traffic: TrafficMetrics,
    served: RwLock<HashMap<TopicId, Arc<ServedTopic>>>,
}

impl Topics {
    pub(crate) fn new(settings: Arc<Settings>, traffic: TrafficMetrics) -> Self {
        Self { settings, traffic, served: RwLock::default() }
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<Arc<ServedTopic>> {
        self.served.read().get(&id).cloned()
    }

    /// Takes over what changed; topics that did not are the same pointers in both images. Answers whether every topic may have changed,
    /// because the broker's configs did.
    pub(crate) fn follow(&self, image: &ClusterImage) -> bool {
        let all = self.settings.follow(image);
        let mut served = self.served.write();
        served.retain(|id, topic| {
            let stays = image.topics.contains_key(id);
            if !stays && !image.names.contains_key(&topic.image.name) {
                self.traffic.forget(&topic.image.name);
            }
            stays
        });
        for (id, topic) in &image.topics {
            if all || served.get(id).is_none_or(|known| !Arc::ptr_eq(&known.image, topic)) {
                served.insert(*id, Arc::new(self.resolve(topic)));
            }
        }
        all
    }

    fn resolve(&self, topic: &Arc<TopicImage>) -> ServedTopic {
        let options = self.settings.in_force();
        let config = options.topic(&topic.configs);
        ServedTopic {
            image: topic.clone(),
            max_message_bytes: config.max_message_bytes(),
            timestamp_type: config.timestamp_type(),
            timestamp_before_max_ms: config.timestamp_before_max_ms(),
            timestamp_after_max_ms: config.timestamp_after_max_ms(),
            compacted: config.compacts(),
            durability: config.durability(),
            metrics: self.traffic.topic(&topic.name),
        }
    }
}
