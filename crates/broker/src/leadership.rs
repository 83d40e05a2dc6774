//! Follows the cluster image: opens the partitions this broker comes to lead and closes those it no longer does. The state of one that
//! another log owned before is asked of the metadata service. CreateTopics answers
//! only when its topic has been taken up here, so that a client that creates and produces at once succeeds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use metadata_api::{ClusterImage, MetadataClient, PartitionImage, PartitionState, TopicImage};
use partition::{CloseReason, DurabilityLevels, Partition, Partitions};
use runtime::Shutdown;
use tokio::sync::watch;
use types::{BrokerId, Durability, Offset, ProducerWindows, Revision, TopicPartition};

use crate::durability::Altered;
use crate::topics::{ServedTopic, Topics};

/// Keeps open partitions in step with the image.
pub(crate) struct Leadership {
    id: BrokerId,
    partitions: Arc<Partitions>,
    topics: Arc<Topics>,
    began_to_lead: BeganToLead,
    altered: Arc<Altered>,
    applied: watch::Sender<Revision>,
}

/// Told of a partition's state before its first append here. See [`crate::Deps::began_to_lead`].
pub(crate) type BeganToLead = Arc<dyn Fn(&PartitionState) + Send + Sync>;

/// How long after a failed attempt the states of partitions are asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Leadership {
    pub(crate) fn new(
        id: BrokerId,
        partitions: Arc<Partitions>,
        topics: Arc<Topics>,
        began_to_lead: BeganToLead,
        altered: Arc<Altered>,
    ) -> Self {
        Self { id, partitions, topics, began_to_lead, altered, applied: watch::Sender::new(Revision::default()) }
    }

    /// Takes over the image the broker starts with. What it leads was opened and recovered before; a partition that was not is
    /// none of the broker's registration and cannot be known to be empty.
    pub(crate) fn begin(&self, image: &ClusterImage) {
        for partition in self.apply(&ClusterImage::default(), image, false) {
            tracing::warn!(%partition, "this broker leads a partition that is none of its registration; it is not served");
        }
        self.applied.send_replace(image.revision);
    }

    /// Takes over every later image, until the shutdown.
    pub(crate) async fn follow(self: Arc<Self>, metadata: Arc<dyn MetadataClient>, mut previous: Arc<ClusterImage>, shutdown: Shutdown) {
        let mut images = metadata.image();
        let mut unknown = BTreeSet::new();
        loop {
            let image = images.borrow_and_update().clone();
            unknown.extend(self.apply(&previous, &image, true));
            unknown.retain(|id| image.partition(*id).is_some_and(|partition| partition.leader == Some(self.id)));
            if !unknown.is_empty() && self.take_over(&*metadata, &image, &unknown).await {
                unknown.clear();
            }
            self.applied.send_replace(image.revision);
            previous = image;
            let changed = async {
                tokio::select! {
                    changed = images.changed() => changed.is_ok(),
                    () = tokio::time::sleep(ASK_AGAIN), if !unknown.is_empty() => true,
                }
            };
            if shutdown.or(changed).await != Some(true) {
                return;
            }
        }
    }

    /// Opens partitions that this broker came to lead with the state that metadata has of them: their producers' state above all,
    /// without which a retry would be appended twice. False when metadata could not be asked.
    async fn take_over(&self, metadata: &dyn MetadataClient, image: &ClusterImage, partitions: &BTreeSet<TopicPartition>) -> bool {
        let Some(epoch) = image.brokers.get(&self.id).map(|broker| broker.epoch) else { return true };
        let states = match metadata.partition_states(self.id, epoch, partitions.iter().copied().collect()).await {
            Ok(states) => states,
            Err(error) => {
                tracing::warn!(partitions = partitions.len(), "partitions that this broker came to lead wait for their state: {error}");
                return false;
            }
        };
        for state in states {
            let Some(served) = self.topics.get(state.partition.topic) else { continue };
            (self.began_to_lead)(&state);
            tracing::info!(
                topic = served.image.name, partition = state.partition.partition, leader_epoch = %state.leader_epoch,
                next_offset = %state.next_offset, "this broker came to lead a partition"
            );
            let in_force = state.durability;
            let partition = self.partitions.open(state, served.log_config());
            self.follow_durability(&partition, &served, in_force);
        }
        true
    }

    /// Tells a partition its levels. From an image of the partition's leader epoch, or with the state that began it: an older image
    /// may show a level that a former leader has changed since.
    fn follow_durability(&self, partition: &Arc<Partition>, served: &ServedTopic, in_force: Durability) {
        let levels = DurabilityLevels { in_force, configured: served.durability, config_revision: served.image.config_revision };
        partition.follow_durability(levels);
        if levels.in_force != levels.configured {
            self.altered.note(partition.id());
        }
    }

    /// Waits until the image at `revision` or a later one is taken over.
    pub(crate) async fn applied(&self, revision: Revision) {
        // The sender is this struct's own, so it cannot be gone.
        let _ = self.applied.subscribe().wait_for(|applied| revision <= *applied).await;
    }

    /// Answers the partitions whose state has to be asked for.
    fn apply(&self, previous: &ClusterImage, image: &ClusterImage, new_ones_are_empty: bool) -> Vec<TopicPartition> {
        let mut unknown = Vec::new();
        let all = self.topics.follow(image);
        for (id, topic) in &previous.topics {
            if !image.topics.contains_key(id) {
                for index in indexes(topic) {
                    self.partitions.close(TopicPartition::new(*id, index), CloseReason::Deleted);
                }
            }
        }
        for (id, topic) in &image.topics {
            let before = previous.topics.get(id);
            if all || before.is_none_or(|before| !Arc::ptr_eq(before, topic)) {
                self.apply_topic(before.map(|topic| &**topic), topic, new_ones_are_empty, &mut unknown);
            }
        }
        unknown
    }

    fn apply_topic(&self, before: Option<&TopicImage>, topic: &TopicImage, new_ones_are_empty: bool, unknown: &mut Vec<TopicPartition>) {
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
                    // Open: only the configs and the durability can have changed.
                    let _ = self.partitions.update_config(id, served.log_config());
                    if partition.leader_epoch == open.leader_epoch() {
                        self.follow_durability(&open, &served, partition.durability);
                    }
                }
                None if is_new => {
                    let open = self.partitions.open(empty(id, partition), served.log_config());
                    self.follow_durability(&open, &served, partition.durability);
                }
                Some(_) | None => {
                    self.partitions.close(id, CloseReason::LeadershipLost { current: partition.leader_epoch });
                    unknown.push(id);
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
