//! The state machine: what is known of topics, partitions, brokers and objects, and how it changes.
//!
//! [`decide`](decide::decide) looks at the state and a command and says what happens; [`State::apply`] makes it happen. Both are
//! pure: no clock, no randomness, no I/O, so that the same journal gives the same state everywhere and at any time.
//!
//! What grows with partitions and objects lies in [`SHARDS`] shards behind `Arc`: a copy of the pointers is a snapshot, and a later
//! change copies only the shard it touches. The rows of each coordinator slot lie in [`ROW_SHARDS`] more.

mod apply;
mod codec;
mod command;
mod configs;
pub(crate) mod decide;
pub(crate) mod decision;
mod durability;
mod event;
mod image;
mod partition;
mod place;
mod publish;
mod quotas;
mod rebuilt;
mod replace;
mod retention;
mod rows;
mod slots;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metadata_api::{ClientQuotaEntity, ClusterImage, ConfigResource, Endpoint, EntityQuotas, PublishAnswer, ResourceConfigs};
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorSlot, Lsn, ObjectKey, ObjectNumber, ProducerId, PublishSequence, Revision, Timestamp,
    TopicId, TopicPartition, WalId,
};

pub(crate) use codec::{decode_events, encode_event, object_key, parse};
pub(crate) use command::{Answer, Command, Rules};
pub(crate) use event::Event;
#[cfg(test)]
pub(crate) use event::{Accepted, Elected, NewPartition, PartitionDurability, Published, Replaced, RowsSaved, SegmentsReplaced};
pub(crate) use image::ImageChanges;
pub(crate) use partition::{Partition, Segments};
pub(crate) use rebuilt::{COUNTER_JUMP, Extension, PublishedLog};
#[cfg(test)]
pub(crate) use rows::shard_of_row;
pub(crate) use rows::{ROW_SHARDS, RowBytes, RowShard, Rows};
pub(crate) use slots::{LastSave, Slot};

/// Number of shards; part of the snapshot format.
pub(crate) const SHARDS: usize = 1024;

/// A registered broker.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Broker {
    pub(crate) epoch: BrokerEpoch,
    pub(crate) wal: WalId,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rack: Option<String>,
    /// The session lives.
    pub(crate) alive: bool,
    /// The session is within the metadata server's process and ends with it.
    pub(crate) local: bool,
    /// Unpublished objects of this epoch below it never will be published.
    pub(crate) object_floor: ObjectNumber,
    /// Numbers at or above the floor that are published.
    pub(crate) published: BTreeSet<ObjectNumber>,
    pub(crate) last_publish: Option<LastPublish>,
}

impl Broker {
    /// What lies below `floor` needs no number to be told from what is still to come.
    fn raise_object_floor(&mut self, floor: ObjectNumber) {
        self.object_floor = self.object_floor.max(floor);
        self.published = self.published.split_off(&self.object_floor);
    }
}

/// The last publish of a broker epoch, to answer its repeat.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LastPublish {
    pub(crate) sequence: PublishSequence,
    pub(crate) digest: u64,
    pub(crate) answer: PublishAnswer,
}

/// A broker's write-ahead log.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Wal {
    pub(crate) broker: BrokerId,
    /// Highest LSN that a publish covered.
    pub(crate) last_published: Lsn,
    /// Highest LSN reported as synced.
    pub(crate) synced_seen: Lsn,
    /// Its broker resigned with everything published.
    pub(crate) clean: bool,
    /// Metadata was rebuilt since it last published: it may be published further than `last_published`, because ranges without
    /// objects leave nothing in the store.
    pub(crate) rebuilt: bool,
}

/// A topic without its partitions.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) replication_factor: i16,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) config_revision: Revision,
    pub(crate) partitions: i32,
}

/// An object that nothing references any more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Garbage {
    /// Since which revision.
    pub(crate) retired: Revision,
    /// Not deleted before.
    pub(crate) not_before: Timestamp,
}

/// A snapshot in the store.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct SnapshotRef {
    pub(crate) revision: Revision,
    /// The journal's last slot that is included.
    pub(crate) slot: u64,
    pub(crate) manifest: String,
}

/// A jump of the journal's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Jump {
    /// Where the clock stood after it.
    pub(crate) to: Timestamp,
    /// How much of the way was no time that passed.
    pub(crate) skipped_ms: i64,
}

/// A part of the state; which keys it holds is decided by [`shard_of_partition`] and [`shard_of_object`].
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Shard {
    /// Revision of the last change.
    pub(crate) changed: Revision,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    /// Referenced objects with the number of segments that lie in each.
    pub(crate) objects: BTreeMap<ObjectKey, u32>,
    pub(crate) garbage: BTreeMap<ObjectKey, Garbage>,
}

/// Everything the journal says, as of `revision`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    /// Number of the last event.
    pub(crate) revision: Revision,
    /// The journal's clock at the last entry.
    pub(crate) now: Timestamp,
    pub(crate) cluster: ClusterId,
    /// The store's marker was written.
    pub(crate) store_claimed: bool,
    pub(crate) next_producer_id: ProducerId,
    /// Revision of the last takeover.
    pub(crate) leader: Revision,
    /// At most two, older first.
    pub(crate) snapshots: Vec<SnapshotRef>,
    pub(crate) brokers: BTreeMap<BrokerId, Broker>,
    pub(crate) wals: BTreeMap<WalId, Wal>,
    pub(crate) topics: BTreeMap<TopicId, Arc<Topic>>,
    /// Topics that once were, with the revision of their deletion; at most [`apply::MAX_DELETED_TOPICS`], the newest.
    pub(crate) deleted_topics: BTreeMap<TopicId, Revision>,
    /// Every broker epoch that this journal began: only their objects may be deleted (rule R7).
    pub(crate) registered: BTreeSet<(BrokerId, BrokerEpoch)>,
    /// Jumps of the journal's clock, older first; at most [`apply::MAX_JUMPS`].
    pub(crate) jumps: Vec<Jump>,
    /// Coordinator slots that somebody took.
    pub(crate) slots: BTreeMap<CoordinatorSlot, Slot>,
    /// What is set on brokers and groups; shared with images.
    pub(crate) configs: Arc<BTreeMap<ConfigResource, ResourceConfigs>>,
    /// Client quotas that are set; shared with images.
    pub(crate) client_quotas: Arc<BTreeMap<ClientQuotaEntity, EntityQuotas>>,
    /// Objects that a rebuild could not place. They look like orphans and may hold what somebody misses: they are never deleted.
    pub(crate) set_aside: BTreeSet<ObjectKey>,
    pub(crate) shards: Vec<Arc<Shard>>,
    /// Derived: topics by name.
    names: BTreeMap<String, TopicId>,
    /// Derived: by the name with `.` as `_`, which is what metrics show.
    metric_names: BTreeMap<String, TopicId>,
    /// Derived: number of segment entries.
    segments: u64,
    /// Derived: number of partitions.
    partitions: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: Revision(0),
            now: Timestamp(0),
            cluster: ClusterId::default(),
            store_claimed: false,
            next_producer_id: 0,
            leader: Revision(0),
            snapshots: Vec::new(),
            brokers: BTreeMap::new(),
            wals: BTreeMap::new(),
            topics: BTreeMap::new(),
            deleted_topics: BTreeMap::new(),
            registered: BTreeSet::new(),
            jumps: Vec::new(),
            slots: BTreeMap::new(),
            configs: Arc::default(),
            client_quotas: Arc::default(),
            set_aside: BTreeSet::new(),
            shards: vec![Arc::default(); SHARDS],
            names: BTreeMap::new(),
            metric_names: BTreeMap::new(),
            segments: 0,
            partitions: 0,
        }
    }
}

/// The shard of a partition: CRC-32C of topic id and partition index (big-endian), modulo [`SHARDS`]. Part of the snapshot format.
pub(crate) fn shard_of_partition(partition: TopicPartition) -> usize {
    let crc = crc32c::crc32c_append(crc32c::crc32c(partition.topic.as_bytes()), &partition.partition.to_be_bytes());
    crc as usize % SHARDS
}

/// The shard of an object: CRC-32C of its key, modulo [`SHARDS`]. Part of the snapshot format.
pub(crate) fn shard_of_object(key: &ObjectKey) -> usize {
    crc32c::crc32c(key.to_string().as_bytes()) as usize % SHARDS
}

fn metric_name(name: &str) -> String {
    name.replace('.', "_")
}

impl State {
    /// A partition, if it exists.
    pub(crate) fn partition(&self, partition: TopicPartition) -> Option<&Partition> {
        self.shards[shard_of_partition(partition)].partitions.get(&partition)
    }

    /// A topic's partitions in order.
    pub(crate) fn partitions_of(&self, topic: TopicId, count: i32) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        (0..count).filter_map(move |index| {
            let partition = TopicPartition::new(topic, index);
            self.partition(partition).map(|state| (partition, state))
        })
    }

    /// Segment entries held for all partitions.
    pub(crate) fn segment_count(&self) -> u64 {
        self.segments
    }

    /// The broker and its log that a partition's leader is, unless it is away.
    pub(crate) fn visible_leader(&self, partition: &Partition) -> Option<BrokerId> {
        self.brokers.get(&partition.leader).filter(|broker| broker.alive && broker.wal == partition.owner).map(|_| partition.leader)
    }

    /// What was stamped before this was stamped more than `age_ms` ago. Time that the clock skipped did not pass: it makes nothing
    /// older (rule R22).
    pub(crate) fn stamped_before(&self, now: Timestamp, age_ms: i64) -> Timestamp {
        let mut before = now.0.saturating_sub(age_ms);
        for jump in self.jumps.iter().rev() {
            if jump.to.0 < before {
                break;
            }
            before = before.saturating_sub(jump.skipped_ms);
        }
        Timestamp(before)
    }

    /// Whether the object may be deleted only after [`Event::ObjectsDead`]: no publish can name it any more (rule R6).
    pub(crate) fn is_dead(&self, key: &ObjectKey) -> bool {
        let (broker, epoch, number) = key.writer();
        match self.brokers.get(&broker) {
            Some(current) if current.epoch == epoch => number < current.object_floor || current.published.contains(&number),
            Some(_) | None => true,
        }
    }

    /// Whether a segment lies in the object.
    pub(crate) fn is_referenced(&self, key: &ObjectKey) -> bool {
        self.shards[shard_of_object(key)].objects.contains_key(key)
    }

    /// Whether the object is retired or dead.
    pub(crate) fn is_garbage(&self, key: &ObjectKey) -> bool {
        self.shards[shard_of_object(key)].garbage.contains_key(key)
    }

    /// Objects that may be deleted now: their grace is over, and no kept snapshot names them (rule R10).
    pub(crate) fn deletable(&self, now: Timestamp, limit: usize) -> Vec<ObjectKey> {
        let Some(older) = self.snapshots.first().filter(|_| self.snapshots.len() == 2) else { return Vec::new() };
        let is_due = |garbage: &Garbage| garbage.retired <= older.revision && garbage.not_before <= now;
        self.garbage().filter(|(_, garbage)| is_due(garbage)).map(|(key, _)| *key).take(limit).collect()
    }

    /// Whether garbage whose grace is over waits for a snapshot.
    pub(crate) fn garbage_waits_for_snapshot(&self, now: Timestamp) -> bool {
        let older = self.snapshots.first().filter(|_| self.snapshots.len() == 2).map_or(Revision(0), |older| older.revision);
        self.garbage().any(|(_, garbage)| older < garbage.retired && garbage.not_before <= now)
    }

    /// All garbage.
    pub(crate) fn garbage(&self) -> impl Iterator<Item = (&ObjectKey, &Garbage)> {
        self.shards.iter().flat_map(|shard| shard.garbage.iter())
    }

    /// The image that brokers hold, computed from nothing.
    pub(crate) fn image(&self) -> ClusterImage {
        let mut image = ClusterImage { revision: self.revision, cluster_id: self.cluster, ..ClusterImage::default() };
        for id in self.brokers.keys() {
            image.brokers.extend(self.broker_image(*id).map(|broker| (*id, Arc::new(broker))));
        }
        for id in self.topics.keys() {
            if let Some(topic) = self.topic_image(*id) {
                image.insert_topic(Arc::new(topic));
            }
        }
        image.slots = self.slots.iter().map(|(id, slot)| (*id, slot.owner())).collect();
        image.configs.clone_from(&self.configs);
        image.client_quotas.clone_from(&self.client_quotas);
        image
    }

    /// Puts what is derived in order, after the rest was loaded from a snapshot.
    pub(crate) fn derive(&mut self) {
        self.names = self.topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        self.metric_names = self.topics.iter().map(|(id, topic)| (metric_name(&topic.name), *id)).collect();
        let partitions = || self.shards.iter().flat_map(|shard| shard.partitions.values());
        self.segments = partitions().map(|partition| partition.segments.len() as u64).sum();
        self.partitions = partitions().count() as u64;
    }

    fn shard_mut(&mut self, shard: usize, revision: Revision) -> &mut Shard {
        let shard = Arc::make_mut(&mut self.shards[shard]);
        shard.changed = revision;
        shard
    }
}

#[cfg(test)]
mod tests;
