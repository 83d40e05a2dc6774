//! Makes events happen. Nothing is refused here: what contradicts the state means that the journal or this program is broken, and
//! stops it before it spreads.

use std::collections::BTreeSet;
use std::sync::Arc;

use metadata_api::{PartitionRefusal, PartitionVerdict, PublishAnswer};
use types::{
    BrokerEpoch, BrokerId, Durability, EpochStart, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, Offset, ProducerWindows, Revision, SlotEpoch,
    Timestamp, TopicId, TopicPartition, WalId,
};

use super::event::{Accepted, Elected, Event, NewPartition, Published, RowsSaved};
use super::partition::Segments;
use super::{
    Broker, Garbage, Jump, LastPublish, LastSave, Partition, Rows, Slot, State, Topic, Wal, metric_name, shard_of_object,
    shard_of_partition,
};

/// Deleted topics that are remembered, so that their entries in a write-ahead log are known as leftovers. A log lets them go minutes
/// after the deletion.
pub(super) const MAX_DELETED_TOPICS: usize = 10_000;

/// Jumps of the clock that are remembered; the oldest two become one.
pub(super) const MAX_JUMPS: usize = 64;

impl State {
    /// The next event, stamped with the journal's clock.
    pub(crate) fn apply(&mut self, event: &Event, now: Timestamp) {
        self.revision = Revision(self.revision.0 + 1);
        self.now = self.now.max(now);
        match event {
            Event::LeaderStarted => self.leader_started(),
            Event::ClusterCreated { cluster } => self.cluster = *cluster,
            Event::StoreClaimed => self.store_claimed = true,
            Event::BrokerRegistered { broker, wal, endpoints, rack, local } => {
                self.move_partitions(*broker, *wal);
                self.begin_session(*broker, *wal);
                let session = self.broker_mut(*broker);
                session.endpoints.clone_from(endpoints);
                session.rack.clone_from(rack);
                session.local = *local;
            }
            Event::BrokerEnded { broker, epoch, clean } => {
                let session = self.broker_mut(*broker);
                assert_eq!(session.epoch, *epoch, "the session that ends is the one in force");
                session.alive = false;
                let wal = session.wal;
                self.wal_mut(wal).clean = *clean;
            }
            Event::SyncedReported { wal, synced } => self.synced(*wal, *synced),
            Event::Published(published) => self.published(published),
            Event::TopicCreated { topic, name, replication_factor, configs, partitions } => {
                let created = Topic {
                    name: name.clone(),
                    replication_factor: *replication_factor,
                    configs: configs.clone(),
                    config_revision: self.revision,
                    partitions: 0,
                };
                self.names.insert(name.clone(), *topic);
                self.metric_names.insert(metric_name(name), *topic);
                self.topics.insert(*topic, Arc::new(created));
                self.add_partitions(*topic, partitions);
            }
            Event::PartitionsAdded { topic, partitions } => self.add_partitions(*topic, partitions),
            Event::TopicDeleted { topic, not_before } => self.delete_topic(*topic, *not_before),
            Event::TopicConfigsAltered { topic, configs } => {
                let revision = self.revision;
                let topic = self.topic_mut(*topic);
                topic.configs.clone_from(configs);
                topic.config_revision = revision;
            }
            Event::LogStartsAdvanced { partitions, not_before } => {
                for (partition, log_start) in partitions {
                    self.advance_log_start(*partition, *log_start, *not_before);
                }
            }
            Event::PartitionsElected { partitions } => {
                for elected in partitions {
                    self.elect(elected);
                }
            }
            Event::ProducerIdsAllocated { end } => self.next_producer_id = *end,
            Event::ObjectsDead { keys, not_before } => {
                for key in keys {
                    self.retire(*key, *not_before);
                }
            }
            Event::ObjectsDeleted { keys } => {
                let revision = self.revision;
                for key in keys {
                    self.shard_mut(shard_of_object(key), revision).garbage.remove(key);
                }
            }
            Event::SnapshotTaken { snapshot } => {
                if self.snapshots.len() == 2 {
                    self.snapshots.remove(0);
                }
                self.snapshots.push(snapshot.clone());
            }
            Event::ClockJumped { to, skipped_ms } => self.clock_jumped(Jump { to: *to, skipped_ms: *skipped_ms }),
            Event::SlotTaken { slot, epoch, broker, broker_epoch } => {
                let (epoch, broker, broker_epoch) = (*epoch, *broker, *broker_epoch);
                let taken = Slot { epoch: SlotEpoch(0), broker, broker_epoch, last_save: None, rows: Rows::default() };
                let slot = self.slots.entry(*slot).or_insert(taken);
                assert!(slot.epoch < epoch, "a slot's epoch rises when it is taken");
                (slot.epoch, slot.broker, slot.broker_epoch, slot.last_save) = (epoch, broker, broker_epoch, None);
            }
            Event::ResourceConfigsAltered { resource, configs } => self.set_configs(resource, configs),
            Event::ClientQuotasAltered { altered } => self.set_client_quotas(altered),
            Event::DurabilityChanged { partitions } => {
                for changed in partitions {
                    self.partition_mut(changed.partition).durability = changed.level;
                }
            }
            Event::RowsSaved(saved) => self.rows_saved(saved),
            Event::SegmentsReplaced(replaced) => self.segments_replaced(replaced),
            // Whoever reads a journal that begins with it has loaded the snapshot.
            Event::Rebuilt { .. } => {}
        }
    }

    fn leader_started(&mut self) {
        self.leader = self.revision;
        for broker in self.brokers.values_mut() {
            broker.alive &= !broker.local;
        }
    }

    fn clock_jumped(&mut self, jump: Jump) {
        self.jumps.push(jump);
        if MAX_JUMPS < self.jumps.len() {
            let oldest = self.jumps.remove(0);
            // What was stamped between the two seems younger than it is, and is kept the longer.
            self.jumps[0].skipped_ms = self.jumps[0].skipped_ms.saturating_add(oldest.skipped_ms);
        }
    }

    /// A registration raises the leader epoch of all that the log owns. A log that replaces another under the same node id takes over
    /// what the other cannot hold anything acknowledged of: `object` partitions, and everything if it resigned with nothing left. Its
    /// other `wal` partitions stay with it (rule R3).
    fn move_partitions(&mut self, broker: BrokerId, wal: WalId) {
        let former = self.brokers.get(&broker).map(|broker| broker.wal).filter(|former| *former != wal);
        let former_is_clean = former.and_then(|former| self.wals.get(&former)).is_some_and(|wal| wal.clean);
        let takes_over =
            |partition: &Partition| Some(partition.owner) == former && (former_is_clean || partition.durability == Durability::Object);
        let revision = self.revision;
        for shard in &mut self.shards {
            if !shard.partitions.values().any(|partition| partition.owner == wal || takes_over(partition)) {
                continue;
            }
            let shard = Arc::make_mut(shard);
            shard.changed = revision;
            for partition in shard.partitions.values_mut() {
                if partition.owner == wal {
                    partition.leader = broker;
                    partition.leader_epoch = next(partition.leader_epoch);
                } else if takes_over(partition) {
                    partition.change_owner(broker, wal);
                }
            }
        }
    }

    fn begin_session(&mut self, id: BrokerId, wal: WalId) {
        let epoch = BrokerEpoch(self.revision.0);
        self.registered.insert((id, epoch));
        let new_wal = Wal { broker: id, last_published: Lsn::ZERO, synced_seen: Lsn::ZERO, clean: false, rebuilt: false };
        let log = self.wals.entry(wal).or_insert(new_wal);
        log.broker = id;
        log.clean = false;
        let session = Broker {
            epoch,
            wal,
            endpoints: Vec::new(),
            rack: None,
            alive: true,
            local: false,
            object_floor: ObjectNumber(0),
            published: BTreeSet::new(),
            last_publish: None,
        };
        self.brokers.insert(id, session);
    }

    fn synced(&mut self, wal: WalId, synced: Lsn) {
        let wal = self.wal_mut(wal);
        wal.synced_seen = wal.synced_seen.max(synced);
    }

    fn published(&mut self, published: &Published) {
        for accepted in &published.accepted {
            self.add_segment(accepted, published);
        }
        for (partition, refusal) in &published.refused {
            if let PartitionRefusal::WrongOffset { .. } = refusal {
                self.partition_mut(*partition).refused = true;
            }
        }
        if let Some(object) = published.object {
            self.hold_object(object.key, published);
        }
        let answer = PublishAnswer { revision: self.revision, verdicts: verdicts(published), pressure: published.pressure };
        let session = self.broker_mut(published.broker);
        session.last_publish = Some(LastPublish { sequence: published.sequence, digest: published.digest, answer });
        session.raise_object_floor(published.object_floor);
        let wal = session.wal;
        self.synced(wal, published.synced);
        let wal = self.wal_mut(wal);
        assert!(wal.last_published < published.end_lsn, "a publish moves the published end on");
        wal.last_published = Lsn(published.end_lsn.0 - 1);
        wal.rebuilt = false;
    }

    fn add_segment(&mut self, accepted: &Accepted, published: &Published) {
        let revision = self.revision;
        let partition = self.partition_mut(accepted.partition);
        let mut segment = accepted.segment.clone();
        assert!(partition.next_offset <= segment.base, "an accepted segment begins at or above the next offset");
        segment.added = revision;
        partition.next_offset = segment.end;
        partition.epochs.extend(&accepted.epochs);
        // A producer of this segment lives, whatever its broker's clock says.
        partition.producers.expire(published.producers_expire_before);
        for delta in &accepted.producers {
            partition.producers.insert(delta.producer, delta.window.clone());
        }
        let is_obsolete = partition.segments.len() == 1 && partition.segments.from(partition.log_start).next().is_none();
        partition.segments.push(segment);
        self.segments += 1;
        if is_obsolete {
            let log_start = self.partition_mut(accepted.partition).log_start;
            // The former last segment was kept for its state only.
            self.advance_log_start(accepted.partition, log_start, published.not_before);
        }
    }

    /// References the published object, or retires it at once if every partition refused it.
    fn hold_object(&mut self, key: ObjectKey, published: &Published) {
        let revision = self.revision;
        let (writer, _, number) = key.writer();
        self.broker_mut(writer).published.insert(number);
        let segments = u32::try_from(published.accepted.len()).expect("a message holds fewer than 2^32 partitions");
        if segments == 0 {
            self.retire(key, published.not_before);
        } else {
            self.shard_mut(shard_of_object(&key), revision).objects.insert(key, segments);
        }
    }

    fn rows_saved(&mut self, saved: &RowsSaved) {
        let revision = self.revision;
        let slot = self.slots.get_mut(&saved.slot).expect("rows are saved in slots that somebody took");
        assert_eq!(slot.epoch, saved.epoch, "rows are saved in the slot epoch in force");
        for (key, value) in &saved.rows {
            slot.rows.put(key, value.as_ref(), revision);
        }
        slot.last_save = Some(LastSave { sequence: saved.sequence, digest: saved.digest, revision });
    }

    fn add_partitions(&mut self, id: TopicId, new: &[NewPartition]) {
        let revision = self.revision;
        let first = self.topics.get(&id).map_or(0, |topic| topic.partitions);
        for (index, new) in (first..).zip(new) {
            let partition = TopicPartition::new(id, index);
            let state = Partition {
                leader: new.leader,
                leader_epoch: LeaderEpoch(0),
                owner: new.owner,
                owned_from: LeaderEpoch(0),
                replicas: new.replicas.clone(),
                durability: new.durability,
                log_start: Offset::ZERO,
                next_offset: Offset::ZERO,
                clean_end: Offset::ZERO,
                refused: false,
                epochs: Vec::new(),
                producers: ProducerWindows::default(),
                segments: Segments::default(),
            };
            self.shard_mut(shard_of_partition(partition), revision).partitions.insert(partition, state);
        }
        let added = i32::try_from(new.len()).expect("a topic's partition count is checked before");
        self.topic_mut(id).partitions += added;
        self.partitions += new.len() as u64;
    }

    pub(super) fn delete_topic(&mut self, id: TopicId, not_before: Timestamp) {
        let topic = self.topics.remove(&id).expect("a topic exists until it is deleted");
        self.names.remove(&topic.name);
        self.metric_names.remove(&metric_name(&topic.name));
        let revision = self.revision;
        self.deleted_topics.insert(id, revision);
        if MAX_DELETED_TOPICS < self.deleted_topics.len() {
            let oldest = self.deleted_topics.iter().min_by_key(|(_, deleted)| **deleted).map(|(id, _)| *id);
            oldest.and_then(|oldest| self.deleted_topics.remove(&oldest));
        }
        for index in 0..topic.partitions {
            let partition = TopicPartition::new(id, index);
            let removed = self.shard_mut(shard_of_partition(partition), revision).partitions.remove(&partition);
            for segment in removed.iter().flat_map(|partition| partition.segments.iter()) {
                self.release(segment.object, not_before);
                self.segments -= 1;
            }
            self.partitions -= 1;
        }
    }

    /// Segments below the new log start go; the last one stays for the producer state at its end.
    pub(super) fn advance_log_start(&mut self, id: TopicPartition, log_start: Offset, not_before: Timestamp) {
        let partition = self.partition_mut(id);
        assert!(log_start <= partition.next_offset, "a log start is at most the published end");
        partition.log_start = partition.log_start.max(log_start);
        let mut removed = Vec::new();
        while 1 < partition.segments.len() && partition.segments.iter().next().is_some_and(|first| first.end <= partition.log_start) {
            removed.extend(partition.segments.pop_first());
        }
        for segment in removed {
            self.release(segment.object, not_before);
            self.segments -= 1;
        }
    }

    fn elect(&mut self, elected: &Elected) {
        let partition = self.partition_mut(elected.partition);
        let published_end = partition.next_offset;
        partition.change_owner(elected.leader, elected.owner);
        partition.next_offset = elected.next_offset;
        // The epoch begins at the old published end, although its first offset lies above: what a consumer read beyond that end is
        // gone, and the history must say so.
        let epoch = partition.leader_epoch;
        partition.epochs.push(EpochStart { epoch, offset: published_end });
    }

    /// One segment less lies in the object.
    pub(super) fn release(&mut self, key: ObjectKey, not_before: Timestamp) {
        let revision = self.revision;
        let shard = self.shard_mut(shard_of_object(&key), revision);
        let segments = shard.objects.get_mut(&key).expect("an object is referenced as long as a segment lies in it");
        *segments -= 1;
        if *segments == 0 {
            shard.objects.remove(&key);
            self.retire(key, not_before);
        }
    }

    fn retire(&mut self, key: ObjectKey, not_before: Timestamp) {
        let retired = self.revision;
        self.shard_mut(shard_of_object(&key), retired).garbage.insert(key, Garbage { retired, not_before });
    }

    pub(super) fn partition_mut(&mut self, partition: TopicPartition) -> &mut Partition {
        let revision = self.revision;
        let shard = self.shard_mut(shard_of_partition(partition), revision);
        shard.partitions.get_mut(&partition).expect("an event names partitions that exist")
    }

    pub(super) fn broker_mut(&mut self, broker: BrokerId) -> &mut Broker {
        self.brokers.get_mut(&broker).expect("an event names brokers that registered")
    }

    fn wal_mut(&mut self, wal: WalId) -> &mut Wal {
        self.wals.get_mut(&wal).expect("an event names logs that registered")
    }

    fn topic_mut(&mut self, topic: TopicId) -> &mut Topic {
        Arc::make_mut(self.topics.get_mut(&topic).expect("an event names topics that exist"))
    }
}

impl Partition {
    pub(super) fn change_owner(&mut self, leader: BrokerId, owner: WalId) {
        self.leader = leader;
        self.owner = owner;
        self.leader_epoch = next(self.leader_epoch);
        self.owned_from = self.leader_epoch;
        self.refused = false;
    }
}

fn next(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.0 + 1)
}

/// Accepted and refused parts in the order of the request, which was that of the partitions.
fn verdicts(published: &Published) -> Vec<PartitionVerdict> {
    let mut parts: Vec<_> = published
        .accepted
        .iter()
        .map(|accepted| (accepted.partition, PartitionVerdict::Accepted { next_offset: accepted.segment.end }))
        .chain(published.refused.iter().map(|(partition, refusal)| (*partition, PartitionVerdict::Refused(refusal.clone()))))
        .collect();
    parts.sort_by_key(|(partition, _)| *partition);
    parts.into_iter().map(|(_, verdict)| verdict).collect()
}
