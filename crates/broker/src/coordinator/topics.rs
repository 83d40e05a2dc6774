//! The topics of a cluster image, as groups look at them.

use std::sync::Arc;

use group::{TopicInfo, Topics};
use metadata_api::{ClusterImage, TopicImage};
use types::TopicId;

/// The newest image when a call began.
pub(super) struct ImageTopics(pub(super) Arc<ClusterImage>);

impl Topics for ImageTopics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.0.topic_named(name).map(|topic| info(topic))
    }

    fn by_id(&self, id: TopicId) -> Option<TopicInfo> {
        self.0.topics.get(&id).map(|topic| info(topic))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.names.keys().map(String::as_str))
    }

    fn version(&self) -> u64 {
        self.0.revision.0
    }
}

fn info(topic: &TopicImage) -> TopicInfo {
    let partitions = u32::try_from(topic.partitions.len()).expect("partitions are counted in 31 bits");
    TopicInfo { id: topic.id, name: topic.name.clone(), partitions }
}
