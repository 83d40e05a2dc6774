//! Follows the cluster image: opens the partitions this broker comes to lead and closes those it no longer does. CreateTopics answers
//! only when its topic has been taken up here, so that a client that creates and produces at once succeeds.

use std::sync::Arc;

use metadata_api::{ClusterImage, MetadataClient, PartitionImage, PartitionState, TopicImage};
use partition::{CloseReason, Partitions};
use runtime::Shutdown;
use tokio::sync::watch;
use types::{BrokerId, Offset, ProducerWindows, Revision, TopicPartition};

use crate::topics::Topics;

/// Keeps open partitions in step with the image.
pub(crate) struct Leadership {
    id: BrokerId,
    partitions: Arc<Partitions>,
    topics: Arc<Topics>,
    applied: watch::Sender<Revision>,
}

impl Leadership {
    pub(crate) fn new(id: BrokerId, partitions: Arc<Partitions>, topics: Arc<Topics>) -> Self {
        Self { id, partitions, topics, applied: watch::Sender::new(Revision::default()) }
    }

    /// Takes over the image the broker starts with. What it leads was opened and recovered before; a partition that was not is
    /// none of the broker's registration and cannot be known to be empty.
    pub(crate) fn begin(&self, image: &ClusterImage) {
        self.apply(&ClusterImage::default(), image, false);
    }

    /// Takes over every later image, until the shutdown.
    pub(crate) async fn follow(self: Arc<Self>, metadata: Arc<dyn MetadataClient>, mut previous: Arc<ClusterImage>, shutdown: Shutdown) {
        let mut images = metadata.image();
        loop {
            let image = images.borrow_and_update().clone();
            self.apply(&previous, &image, true);
            previous = image;
            match shutdown.or(images.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Waits until the image at `revision` or a later one is taken over.
    pub(crate) async fn applied(&self, revision: Revision) {
        // The sender is this struct's own, so it cannot be gone.
        let _ = self.applied.subscribe().wait_for(|applied| revision <= *applied).await;
    }

    fn apply(&self, previous: &ClusterImage, image: &ClusterImage, new_ones_are_empty: bool) {
        self.topics.follow(image);
        for (id, topic) in &previous.topics {
            if !image.topics.contains_key(id) {
                for index in indexes(topic) {
                    self.partitions.close(TopicPartition::new(*id, index), CloseReason::Deleted);
                }
            }
        }
        for (id, topic) in &image.topics {
            let before = previous.topics.get(id);
            if before.is_none_or(|before| !Arc::ptr_eq(before, topic)) {
                self.apply_topic(before.map(|topic| &**topic), topic, new_ones_are_empty);
            }
        }
        self.applied.send_replace(image.revision);
    }

    fn apply_topic(&self, before: Option<&TopicImage>, topic: &TopicImage, new_ones_are_empty: bool) {
        let Some(served) = self.topics.get(topic.id) else { return };
        let known = before.map_or(0, |before| before.partitions.len());
        for (index, partition) in indexes(topic).zip(&topic.partitions) {
            let id = TopicPartition::new(topic.id, index);
            let is_new = new_ones_are_empty && usize::try_from(index).is_ok_and(|index| known <= index);
            let open = self.partitions.get(id).ok();
            match open {
                _ if partition.leader != Some(self.id) => {
                    self.partitions.close(id, CloseReason::LeadershipLost { current: partition.leader_epoch });
                }
                Some(open) if partition.leader_epoch <= open.leader_epoch() => {
                    // Open: only the configs can have changed.
                    let _ = self.partitions.update_config(id, served.log_config());
                }
                None if is_new => {
                    self.partitions.open(empty(id, partition), served.log_config());
                }
                Some(_) | None => {
                    // Its producers' state comes with a registration only, and without it a retry would be appended twice.
                    self.partitions.close(id, CloseReason::LeadershipLost { current: partition.leader_epoch });
                    tracing::warn!(
                        topic = topic.name, partition = index, leader_epoch = %partition.leader_epoch,
                        "this broker came to lead a partition whose state it does not hold; restart it to serve the partition"
                    );
                }
            }
        }
    }
}

fn indexes(topic: &TopicImage) -> impl Iterator<Item = i32> + use<> {
    0..i32::try_from(topic.partitions.len()).expect("partitions are counted in 31 bits")
}

/// The state of a partition that has just been created.
fn empty(partition: TopicPartition, image: &PartitionImage) -> PartitionState {
    PartitionState {
        partition,
        leader_epoch: image.leader_epoch,
        epochs: Vec::new(),
        log_start: Offset::ZERO,
        next_offset: Offset::ZERO,
        durability: image.durability,
        producers: ProducerWindows::default(),
    }
}
