//! What a rebuild does to a state besides applying events (rule R15): events out of their journal, segments without their publish,
//! counters that jump.

use std::sync::Arc;

use types::{
    BrokerId, EpochStart, LeaderEpoch, Lsn, ObjectKey, Offset, ProducerId, Revision, SegmentRef, SlotEpoch, Timestamp, TopicPartition,
    WalId,
};

use super::event::Event;
use super::{State, shard_of_object};
use metadata_api::ProducerDelta;

/// By how much a rebuild moves revisions and producer ids on: more than a lost journal can have given out since a snapshot.
pub(crate) const COUNTER_JUMP: u64 = 1 << 32;
/// The same for epochs, which have 32 bits.
pub(crate) const EPOCH_JUMP: i32 = 1 << 20;

/// A log as the objects show it.
pub(crate) struct PublishedLog {
    pub(crate) wal: WalId,
    pub(crate) broker: BrokerId,
    pub(crate) last_published: Lsn,
}

/// What comes to a partition's log.
pub(crate) struct Extension {
    /// With the log that wrote each.
    pub(crate) segments: Vec<(WalId, SegmentRef)>,
    pub(crate) next_offset: Offset,
    pub(crate) epochs: Vec<EpochStart>,
    /// Windows, older first.
    pub(crate) producers: Vec<ProducerDelta>,
}

impl State {
    /// Applies an event at the revision that it had. What it needs may be missing, because the event before it never reached the store:
    /// then nothing happens. Log starts and offsets after an election are the caller's: they stand on segments.
    pub(crate) fn replay(&mut self, event: &Event, revision: Revision, now: Timestamp) {
        let is_possible = match event {
            Event::BrokerEnded { broker, epoch, .. } => self.brokers.get(broker).is_some_and(|found| found.epoch == *epoch),
            Event::TopicCreated { topic, name, .. } => {
                if let Some(former) = self.names.get(name).copied().filter(|former| former != topic) {
                    // It was deleted, or its name would not have been free.
                    self.delete_topic(former, now);
                }
                !self.topics.contains_key(topic)
            }
            Event::PartitionsAdded { topic, .. } | Event::TopicDeleted { topic, .. } | Event::TopicConfigsAltered { topic, .. } => {
                self.topics.contains_key(topic)
            }
            Event::DurabilityChanged { partitions } => {
                for changed in partitions {
                    if self.partition(changed.partition).is_some() {
                        self.partition_mut(changed.partition).durability = changed.level;
                    }
                }
                false
            }
            Event::LogStartsAdvanced { .. } | Event::PartitionsElected { .. } => false,
            _ => true,
        };
        self.now = self.now.max(now);
        self.revision = revision;
        if is_possible {
            self.revision = Revision(revision.0 - 1);
            self.apply(event, now);
        }
    }

    /// Another log owns the partition from now on; answers the leader epoch that began.
    pub(crate) fn give(&mut self, partition: TopicPartition, leader: BrokerId, owner: WalId) -> Option<LeaderEpoch> {
        self.partition(partition)?;
        let partition = self.partition_mut(partition);
        partition.change_owner(leader, owner);
        Some(partition.leader_epoch)
    }

    /// The log is published up to there.
    pub(crate) fn published_log(&mut self, log: &PublishedLog) {
        let wal = self.wals.entry(log.wal).or_insert(super::Wal {
            broker: log.broker,
            last_published: Lsn::ZERO,
            synced_seen: Lsn::ZERO,
            clean: false,
            rebuilt: true,
        });
        wal.last_published = wal.last_published.max(log.last_published);
    }

    /// Adds segments after all others. A writer whose epoch is of the ownership in force, or above it, owns the partition.
    pub(crate) fn extend(&mut self, id: TopicPartition, extension: Extension) {
        let Extension { segments, next_offset, epochs, producers } = extension;
        let (revision, added) = (self.revision, segments.len() as u64);
        let writer = segments.last().map(|(wal, segment)| (*wal, segment.leader_epochs.clone()));
        let leader = writer.as_ref().and_then(|(wal, _)| self.wals.get(wal)).map(|wal| wal.broker);
        let partition = self.partition_mut(id);
        partition.next_offset = partition.next_offset.max(next_offset);
        partition.epochs = epochs;
        for (_, segment) in segments {
            partition.segments.push(SegmentRef { added: revision, ..segment });
        }
        for delta in producers {
            partition.producers.insert(delta.producer, delta.window);
        }
        if let (Some((wal, epochs)), Some(leader)) = (writer, leader)
            && let (Some(first), Some(last)) = (epochs.first(), epochs.last())
        {
            if partition.owner != wal && partition.owned_from <= last.epoch {
                (partition.owner, partition.leader, partition.owned_from) = (wal, leader, first.epoch);
            }
            partition.leader_epoch = partition.leader_epoch.max(last.epoch);
        }
        self.segments += added;
    }

    /// `segments` segments lie in the object.
    pub(crate) fn hold(&mut self, key: ObjectKey, segments: u32) {
        let revision = self.revision;
        let (broker, epoch, number) = key.writer();
        if let Some(session) = self.brokers.get_mut(&broker).filter(|session| session.epoch == epoch) {
            session.published.insert(number);
        }
        self.shard_mut(shard_of_object(&key), revision).objects.insert(key, segments);
    }

    /// Moves a partition's log start on, never back. Above the published end, which then was further than any object shows, both move.
    pub(crate) fn raise_log_start(&mut self, id: TopicPartition, log_start: Offset, not_before: Timestamp) {
        let partition = self.partition_mut(id);
        partition.next_offset = partition.next_offset.max(log_start);
        let log_start = partition.log_start.max(log_start);
        self.advance_log_start(id, log_start, not_before);
    }

    /// The last step: nobody is there, and every counter is above what the lost journal can have given out.
    pub(crate) fn jump(&mut self, producers_seen: ProducerId) {
        let revision = self.revision;
        self.next_producer_id = self.next_producer_id.max(producers_seen).saturating_add_unsigned(COUNTER_JUMP);
        self.snapshots.clear();
        for broker in self.brokers.values_mut() {
            (broker.alive, broker.local, broker.last_publish) = (false, false, None);
        }
        self.wals.values_mut().for_each(|wal| wal.rebuilt = true);
        for slot in self.slots.values_mut() {
            slot.epoch = SlotEpoch(slot.epoch.0.saturating_add(EPOCH_JUMP));
            slot.last_save = None;
        }
        for shard in self.shards.iter_mut().filter(|shard| !shard.partitions.is_empty()) {
            let shard = Arc::make_mut(shard);
            shard.changed = revision;
            for partition in shard.partitions.values_mut() {
                partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0.saturating_add(EPOCH_JUMP));
            }
        }
        self.derive();
    }
}
