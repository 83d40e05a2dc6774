//! Decides commands: what they answer and what happens. Sessions and reads are here; publishing, topics, durability, configs, quotas,
//! coordinator slots and retention have files of their own.

use metadata_api::{
    AdvanceLogStart, HeartbeatAnswer, HeartbeatRequest, MetadataError, PartitionState, RegisterBroker, Registration, SegmentPage,
};
use types::{BrokerEpoch, BrokerId, Lsn, ObjectKey, Offset, Timestamp, TopicPartition};

use super::command::{Answer, Command, Rules};
use super::decision::{Decision, Reply, existing, next_revision, unfenced};
use super::event::{Elected, Event};
use super::partition::Partition;
use super::{Broker, State, configs, durability, publish, quotas, replace, retention, slots, topics};

/// Largest block of producer ids.
const MAX_PRODUCER_IDS: u32 = 1_000_000;
/// Most segments in one page.
const MAX_PAGE: u32 = 10_000;
/// Decides `command` at `now`, the journal's clock. Pure.
pub(crate) fn decide(state: &State, rules: &Rules, command: &Command, now: Timestamp) -> Decision {
    let done = || Reply::Ready(Answer::Done);
    match command {
        Command::RegisterBroker { request, local } => register(state, request, *local).into(),
        Command::Heartbeat(request) => heartbeat(state, request).into(),
        Command::ResignBroker { broker, epoch } => resign(state, *broker, *epoch).into(),
        Command::ExpireBroker { broker, epoch } => expire(state, *broker, *epoch),
        Command::Publish(request) => publish::decide(state, rules, request, now).into(),
        Command::ReplaceSegments(request) => replace::decide(state, rules, request, now).into(),
        Command::CreateTopic { request, topic } => topics::create(state, request, *topic).into(),
        Command::CreatePartitions(request) => topics::grow(state, request).into(),
        Command::DeleteTopic(topic) => topics::delete(state, rules, *topic, now).into(),
        Command::AlterTopicConfigs(request) => topics::alter(state, request).into(),
        Command::AlterResourceConfigs(request) => configs::alter(state, request).into(),
        Command::AlterClientQuotas(request) => quotas::alter(state, request).into(),
        Command::EnforceDurability(request) => durability::enforce(state, request).into(),
        Command::AdvanceLogStart(request) => advance_log_start(state, rules, request, now).into(),
        Command::ElectUnclean(partitions) => elect_unclean(state, partitions).into(),
        Command::PartitionStates { broker, epoch, partitions } => partition_states(state, *broker, *epoch, partitions).into(),
        Command::AllocateProducerIds { count } => allocate_producer_ids(state, *count).into(),
        Command::Segments { partition, from, limit } => page(state, *partition, |found, page| {
            let limit = (*limit).clamp(1, MAX_PAGE) as usize;
            let mut segments = found.segments.from((*from).max(found.log_start));
            page.segments = segments.by_ref().take(limit).map(|segment| segment.as_ref().clone()).collect();
            page.more = segments.next().is_some();
        }),
        Command::SegmentAt { partition, timestamp } => page(state, *partition, |found, page| {
            page.segments.extend(found.readable(found.segments.at(*timestamp)));
        }),
        Command::SegmentOfMaxTimestamp(partition) => page(state, *partition, |found, page| {
            page.segments.extend(found.readable(found.segments.of_max_timestamp()));
        }),
        Command::TakeSlot(request) => slots::take(state, request).into(),
        Command::SlotRows(request) => slots::page(state, request).into(),
        Command::SaveRows(request) => slots::save(state, request).into(),
        Command::Retain => retention::decide(state, rules, now),
        Command::Orphans(keys) => orphans(state, rules, keys, now),
        Command::Deleted(keys) => Decision::event(done(), Event::ObjectsDeleted { keys: keys.clone() }),
        Command::SnapshotTaken(snapshot) => Decision::event(done(), Event::SnapshotTaken { snapshot: snapshot.clone() }),
    }
}

fn register(state: &State, request: &RegisterBroker, local: bool) -> Result<Decision, MetadataError> {
    let broker = request.broker;
    if broker.0 < 0 {
        return Err(MetadataError::Invalid { detail: format!("node.id must be at least 0, got {broker}") });
    }
    if let Some(theirs) = request.cluster.filter(|theirs| *theirs != state.cluster) {
        return Err(MetadataError::WrongCluster { ours: state.cluster, theirs });
    }
    // A broker that saw more than there is: the journal was rolled back, and would give out numbers twice (rule R8).
    if state.revision < request.revision_seen {
        return Err(MetadataError::RolledBack { current: state.revision, seen: request.revision_seen });
    }
    // Entries of a partition that never was belong to metadata that is lost; taken for a deleted topic's, they would be dropped
    // (rule R8).
    for (partition, _) in &request.unpublished {
        if !state.deleted_topics.contains_key(&partition.topic) {
            existing(state, *partition)?;
        }
    }
    // A live session is superseded only by its own log, and one within this process by nobody outside: that would be a copy of the
    // log's directory (rule R26).
    let is_twin = |current: &Broker| current.alive && (current.wal != request.wal || current.local && !local);
    if state.brokers.get(&broker).is_some_and(is_twin) {
        return Err(MetadataError::DuplicateBroker { broker });
    }
    if let Some(holder) = state.wals.get(&request.wal).map(|wal| wal.broker).filter(|holder| *holder != broker)
        && state.brokers.get(&holder).is_some_and(|current| current.alive && current.wal == request.wal)
    {
        return Err(MetadataError::DuplicateBroker { broker: holder });
    }
    let event =
        Event::BrokerRegistered { broker, wal: request.wal, endpoints: request.endpoints.clone(), rack: request.rack.clone(), local };
    Ok(Decision::event(Reply::RegistrationOf(broker), event))
}

impl State {
    /// What a broker is told about its registration, right after it.
    pub(crate) fn registration(&self, id: BrokerId) -> Option<Registration> {
        let broker = self.brokers.get(&id)?;
        let wal = self.wals.get(&broker.wal)?;
        let mut partitions: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| &shard.partitions)
            .filter(|(_, partition)| partition.owner == broker.wal && partition.leader == id)
            .map(|(id, partition)| partition.state(*id))
            .collect();
        partitions.sort_by_key(|state| state.partition);
        Some(Registration {
            cluster: self.cluster,
            epoch: broker.epoch,
            last_published: wal.last_published,
            rebuilt: wal.rebuilt,
            synced_seen: wal.synced_seen,
            revision: self.revision,
            partitions,
        })
    }
}

impl Partition {
    fn state(&self, partition: TopicPartition) -> PartitionState {
        PartitionState {
            partition,
            leader_epoch: self.leader_epoch,
            epochs: self.epochs.clone(),
            log_start: self.log_start,
            next_offset: self.next_offset,
            durability: self.durability,
            producers: self.producers.clone(),
        }
    }
}

fn heartbeat(state: &State, request: &HeartbeatRequest) -> Result<Decision, MetadataError> {
    let broker = unfenced(state, request.broker, request.epoch)?;
    let seen = state.wals.get(&broker.wal).map_or(Lsn::ZERO, |wal| wal.synced_seen);
    Ok(if seen < request.synced {
        let reply = Reply::Ready(Answer::Heartbeat(HeartbeatAnswer { revision: next_revision(state) }));
        Decision::event(reply, Event::SyncedReported { wal: broker.wal, synced: request.synced })
    } else {
        Decision::answer(Answer::Heartbeat(HeartbeatAnswer { revision: state.revision }))
    })
}

fn resign(state: &State, id: BrokerId, epoch: BrokerEpoch) -> Result<Decision, MetadataError> {
    let current = state.brokers.get(&id);
    if current.is_some_and(|broker| broker.epoch == epoch && !broker.alive) {
        return Ok(Decision::answer(Answer::Revision(state.revision)));
    }
    let broker = unfenced(state, id, epoch)?;
    // The broker says that it owes nothing; believed only if no synced entry is left unpublished.
    let clean = state.wals.get(&broker.wal).is_some_and(|wal| wal.synced_seen <= wal.last_published);
    Ok(Decision::revision_of(state, Event::BrokerEnded { broker: id, epoch, clean }))
}

fn expire(state: &State, broker: BrokerId, epoch: BrokerEpoch) -> Decision {
    match unfenced(state, broker, epoch) {
        Ok(session) if !session.local => Decision::event(Reply::Ready(Answer::Done), Event::BrokerEnded { broker, epoch, clean: false }),
        Ok(_) | Err(_) => Decision::answer(Answer::Done),
    }
}

fn advance_log_start(state: &State, rules: &Rules, request: &AdvanceLogStart, now: Timestamp) -> Result<Decision, MetadataError> {
    let broker = unfenced(state, request.broker, request.epoch)?;
    let partition = existing(state, request.partition)?;
    if partition.leader != request.broker || partition.owner != broker.wal {
        return Err(MetadataError::Invalid { detail: format!("broker {} does not lead {}", request.broker, request.partition) });
    }
    if partition.next_offset < request.log_start {
        let detail =
            format!("log start {} of {} lies above its published end {}", request.log_start, request.partition, partition.next_offset);
        return Err(MetadataError::Invalid { detail });
    }
    if request.log_start <= partition.log_start {
        return Ok(Decision::answer(Answer::LogStart(partition.log_start)));
    }
    let partitions = vec![(request.partition, request.log_start)];
    let event = Event::LogStartsAdvanced { partitions, not_before: rules.not_before(now) };
    Ok(Decision::event(Reply::Ready(Answer::LogStart(request.log_start)), event))
}

/// Partitions whose leader is there need no election and are left as they are.
fn elect_unclean(state: &State, partitions: &[TopicPartition]) -> Result<Decision, MetadataError> {
    let mut elected: Vec<Elected> = Vec::new();
    let mut wanted = partitions.to_vec();
    wanted.sort();
    wanted.dedup();
    for partition in wanted {
        let current = existing(state, partition)?;
        if state.visible_leader(current).is_some() {
            continue;
        }
        let candidates = state.candidates(partition.topic, partition.partition);
        let replica = candidates.iter().find(|(broker, _)| current.replicas.contains(broker));
        let (leader, owner) = *replica
            .or(candidates.first())
            .ok_or_else(|| MetadataError::Unavailable { detail: format!("no broker is registered that could lead {partition}") })?;
        let next_offset =
            Offset(current.next_offset.0.checked_add(Offset::UNCLEAN_GAP).ok_or_else(|| MetadataError::Invalid {
                detail: format!("offsets of {partition} are used up at {}", current.next_offset),
            })?);
        elected.push(Elected { partition, leader, owner, next_offset });
    }
    if elected.is_empty() {
        return Ok(Decision::answer(Answer::Revision(state.revision)));
    }
    Ok(Decision::revision_of(state, Event::PartitionsElected { partitions: elected }))
}

fn partition_states(state: &State, id: BrokerId, epoch: BrokerEpoch, partitions: &[TopicPartition]) -> Result<Decision, MetadataError> {
    let broker = unfenced(state, id, epoch)?;
    let led = partitions.iter().filter_map(|partition| {
        let found = state.partition(*partition)?;
        (found.owner == broker.wal && found.leader == id).then(|| found.state(*partition))
    });
    Ok(Decision::answer(Answer::PartitionStates(led.collect())))
}

fn allocate_producer_ids(state: &State, count: u32) -> Result<Decision, MetadataError> {
    if !(1..=MAX_PRODUCER_IDS).contains(&count) {
        let detail = format!("a block of producer ids has 1 to {MAX_PRODUCER_IDS}, not {count}");
        return Err(MetadataError::Invalid { detail });
    }
    let first = state.next_producer_id;
    let end = first.checked_add(count.into()).ok_or_else(|| MetadataError::Invalid { detail: "producer ids are used up".to_owned() })?;
    Ok(Decision::event(Reply::Ready(Answer::ProducerIds(first..end)), Event::ProducerIdsAllocated { end }))
}

fn page(state: &State, partition: TopicPartition, fill: impl FnOnce(&Partition, &mut SegmentPage)) -> Decision {
    match existing(state, partition) {
        Ok(found) => {
            let mut page = SegmentPage {
                revision: state.revision,
                log_start: found.log_start,
                next_offset: found.next_offset,
                segments: Vec::new(),
                more: false,
            };
            fill(found, &mut page);
            Decision::answer(Answer::Page(page))
        }
        Err(err) => Decision::refuse(err),
    }
}

/// Of objects found in the store, those die that this journal's brokers wrote (rule R7), that nothing references, and that no
/// publish can name any more (rule R6).
fn orphans(state: &State, rules: &Rules, keys: &[ObjectKey], now: Timestamp) -> Decision {
    let is_orphan = |key: &&ObjectKey| {
        let (broker, epoch, _) = key.writer();
        let is_ours = state.registered.contains(&(broker, epoch));
        is_ours && !state.set_aside.contains(key) && !state.is_referenced(key) && !state.is_garbage(key) && state.is_dead(key)
    };
    let dead: Vec<_> = keys.iter().filter(is_orphan).copied().collect();
    if dead.is_empty() {
        return Decision::answer(Answer::Done);
    }
    Decision::event(Reply::Ready(Answer::Done), Event::ObjectsDead { keys: dead, not_before: rules.not_before(now) })
}
