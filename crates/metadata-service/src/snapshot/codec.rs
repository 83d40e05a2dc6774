//! The root and the shards as bytes. Everything is written in the order of its keys, so that equal states have equal bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata_api::wire::{
    WireError, cluster_id, configs_from_proto, configs_to_proto, durability, endpoints_from_proto, endpoints_to_proto,
    entity_quotas_from_proto, entity_quotas_to_proto, id_bytes, required, resource_configs_from_proto, resource_configs_to_proto,
    row_with_value, segment_from_proto, segment_to_proto, topic_id, wal_id,
};
use metadata_api::{ProducerDelta, proto as api};
use prost::Message;
use types::{
    BrokerEpoch, BrokerId, CoordinatorSlot, LeaderEpoch, Lsn, ObjectNumber, Offset, ProducerWindows, PublishSequence, Revision,
    SaveSequence, SlotEpoch, Timestamp, TopicPartition,
};

use crate::proto;
use crate::state::{
    Broker, Garbage, Jump, LastPublish, LastSave, Partition, RowBytes, RowShard, Rows, Segments, Shard, Slot, SnapshotRef, State, Topic,
    Wal, object_key, parse,
};

/// Everything but the shards.
pub(crate) fn encode_root(state: &State) -> Vec<u8> {
    let mut registered: BTreeMap<BrokerId, Vec<u64>> = BTreeMap::new();
    for (broker, epoch) in &state.registered {
        registered.entry(*broker).or_default().push(epoch.0);
    }
    proto::Root {
        revision: state.revision.0,
        now: state.now.0,
        cluster: id_bytes(state.cluster.as_bytes()),
        store_claimed: state.store_claimed,
        next_producer_id: state.next_producer_id,
        leader: state.leader.0,
        snapshots: state.snapshots.iter().map(proto::SnapshotRef::from).collect(),
        brokers: state.brokers.iter().map(|(id, broker)| encode_broker(*id, broker)).collect(),
        wals: state
            .wals
            .iter()
            .map(|(id, wal)| proto::Wal {
                wal: id_bytes(id.as_bytes()),
                broker: wal.broker.0,
                last_published: wal.last_published.0,
                synced_seen: wal.synced_seen.0,
                clean: wal.clean,
                rebuilt: wal.rebuilt,
            })
            .collect(),
        topics: state
            .topics
            .iter()
            .map(|(id, topic)| proto::Topic {
                topic: id_bytes(id.as_bytes()),
                name: topic.name.clone(),
                replication_factor: topic.replication_factor.into(),
                configs: configs_to_proto(&topic.configs),
                config_revision: topic.config_revision.0,
                partitions: topic.partitions,
            })
            .collect(),
        registered: registered.into_iter().map(|(broker, epochs)| proto::Registered { broker: broker.0, epochs }).collect(),
        deleted_topics: state
            .deleted_topics
            .iter()
            .map(|(id, revision)| proto::DeletedTopic { topic: id_bytes(id.as_bytes()), revision: revision.0 })
            .collect(),
        jumps: state.jumps.iter().map(|jump| proto::ClockJumped { to: jump.to.0, skipped_ms: jump.skipped_ms }).collect(),
        slots: state.slots.iter().map(|(id, slot)| encode_slot(*id, slot)).collect(),
        configs: state.configs.iter().map(|(id, set)| resource_configs_to_proto(id, Some(set))).collect(),
        set_aside: state.set_aside.iter().map(ToString::to_string).collect(),
        client_quotas: state.client_quotas.iter().map(|(entity, quotas)| entity_quotas_to_proto(entity, quotas)).collect(),
    }
    .encode_to_vec()
}

/// The reverse of [`encode_root`], without shards.
pub(crate) fn decode_root(bytes: Bytes) -> Result<State, WireError> {
    let root: proto::Root = parse(bytes)?;
    let mut state = State::default();
    state.revision = Revision(root.revision);
    state.now = Timestamp(root.now);
    state.cluster = cluster_id(&root.cluster)?;
    state.store_claimed = root.store_claimed;
    state.next_producer_id = root.next_producer_id;
    state.leader = Revision(root.leader);
    state.snapshots = root.snapshots.into_iter().map(SnapshotRef::from).collect();
    for broker in root.brokers {
        let (id, broker) = decode_broker(broker)?;
        state.brokers.insert(id, broker);
    }
    for wal in root.wals {
        let log = Wal {
            broker: BrokerId(wal.broker),
            last_published: Lsn(wal.last_published),
            synced_seen: Lsn(wal.synced_seen),
            clean: wal.clean,
            rebuilt: wal.rebuilt,
        };
        state.wals.insert(wal_id(&wal.wal)?, log);
    }
    for topic in root.topics {
        let found = Topic {
            name: topic.name,
            replication_factor: i16::try_from(topic.replication_factor).map_err(|err| WireError(err.to_string()))?,
            configs: configs_from_proto(topic.configs),
            config_revision: Revision(topic.config_revision),
            partitions: topic.partitions,
        };
        state.topics.insert(topic_id(&topic.topic)?, Arc::new(found));
    }
    for registered in root.registered {
        state.registered.extend(registered.epochs.into_iter().map(|epoch| (BrokerId(registered.broker), BrokerEpoch(epoch))));
    }
    for deleted in root.deleted_topics {
        state.deleted_topics.insert(topic_id(&deleted.topic)?, Revision(deleted.revision));
    }
    state.jumps = root.jumps.into_iter().map(|jump| Jump { to: Timestamp(jump.to), skipped_ms: jump.skipped_ms }).collect();
    for configs in root.configs {
        let (id, set) = resource_configs_from_proto(configs)?;
        let set = required(set, "configs")?;
        Arc::make_mut(&mut state.configs).insert(id, set);
    }
    for slot in root.slots {
        let (id, slot) = decode_slot(slot)?;
        state.slots.insert(id, slot);
    }
    for key in root.set_aside {
        state.set_aside.insert(object_key(&key)?);
    }
    for quotas in root.client_quotas {
        let (entity, quotas) = entity_quotas_from_proto(quotas)?;
        Arc::make_mut(&mut state.client_quotas).insert(entity, quotas);
    }
    Ok(state)
}

fn encode_slot(id: CoordinatorSlot, slot: &Slot) -> proto::Slot {
    proto::Slot {
        slot: Some(id.into()),
        epoch: slot.epoch.0,
        broker: slot.broker.0,
        broker_epoch: slot.broker_epoch.0,
        last_save: slot.last_save.map(|last| proto::LastSave { sequence: last.sequence.0, digest: last.digest, revision: last.revision.0 }),
    }
}

fn decode_slot(slot: proto::Slot) -> Result<(CoordinatorSlot, Slot), WireError> {
    let last_save = slot.last_save.map(|last| LastSave {
        sequence: SaveSequence(last.sequence),
        digest: last.digest,
        revision: Revision(last.revision),
    });
    let found = Slot {
        epoch: SlotEpoch(slot.epoch),
        broker: BrokerId(slot.broker),
        broker_epoch: BrokerEpoch(slot.broker_epoch),
        last_save,
        rows: Rows::default(),
    };
    Ok((required(slot.slot, "slot")?.try_into()?, found))
}

fn encode_broker(id: BrokerId, broker: &Broker) -> proto::Broker {
    proto::Broker {
        broker: id.0,
        epoch: broker.epoch.0,
        wal: id_bytes(broker.wal.as_bytes()),
        endpoints: endpoints_to_proto(&broker.endpoints),
        rack: broker.rack.clone(),
        alive: broker.alive,
        local: broker.local,
        object_floor: broker.object_floor.0,
        published: broker.published.iter().map(|number| number.0).collect(),
        last_publish: broker.last_publish.as_ref().map(|last| proto::LastPublish {
            sequence: last.sequence.0,
            digest: last.digest,
            answer: Some((&last.answer).into()),
        }),
    }
}

fn decode_broker(broker: proto::Broker) -> Result<(BrokerId, Broker), WireError> {
    let last_publish = |last: proto::LastPublish| -> Result<LastPublish, WireError> {
        Ok(LastPublish {
            sequence: PublishSequence(last.sequence),
            digest: last.digest,
            answer: required(last.answer, "answer")?.try_into()?,
        })
    };
    let found = Broker {
        epoch: BrokerEpoch(broker.epoch),
        wal: wal_id(&broker.wal)?,
        endpoints: endpoints_from_proto(broker.endpoints)?,
        rack: broker.rack,
        alive: broker.alive,
        local: broker.local,
        object_floor: ObjectNumber(broker.object_floor),
        published: broker.published.into_iter().map(ObjectNumber).collect(),
        last_publish: broker.last_publish.map(last_publish).transpose()?,
    };
    Ok((BrokerId(broker.broker), found))
}

/// One shard, without the revision of its last change: the manifest has that.
pub(crate) fn encode_shard(shard: &Shard) -> Vec<u8> {
    proto::Shard {
        partitions: shard.partitions.iter().map(|(id, partition)| encode_partition(*id, partition)).collect(),
        objects: shard.objects.iter().map(|(key, segments)| proto::Object { key: key.to_string(), segments: *segments }).collect(),
        garbage: shard
            .garbage
            .iter()
            .map(|(key, garbage)| proto::Garbage { key: key.to_string(), retired: garbage.retired.0, not_before: garbage.not_before.0 })
            .collect(),
    }
    .encode_to_vec()
}

/// The reverse of [`encode_shard`].
pub(crate) fn decode_shard(bytes: Bytes) -> Result<Shard, WireError> {
    let shard: proto::Shard = parse(bytes)?;
    let mut decoded = Shard::default();
    for partition in shard.partitions {
        let (id, partition) = decode_partition(partition)?;
        decoded.partitions.insert(id, partition);
    }
    for object in shard.objects {
        decoded.objects.insert(object_key(&object.key)?, object.segments);
    }
    for garbage in shard.garbage {
        let entry = Garbage { retired: Revision(garbage.retired), not_before: Timestamp(garbage.not_before) };
        decoded.garbage.insert(object_key(&garbage.key)?, entry);
    }
    Ok(decoded)
}

/// One shard of a coordinator slot's rows, without the revision of its last change.
pub(crate) fn encode_rows(shard: &RowShard) -> Vec<u8> {
    let row = |(key, value): (&RowBytes, &RowBytes)| api::Row { key: key.to_vec(), value: Some(value.to_vec()) };
    proto::RowShard { rows: shard.rows.iter().map(row).collect() }.encode_to_vec()
}

/// The reverse of [`encode_rows`].
pub(crate) fn decode_rows(bytes: Bytes) -> Result<RowShard, WireError> {
    let mut decoded = RowShard::default();
    for row in parse::<proto::RowShard>(bytes)?.rows {
        let (key, value) = row_with_value(row)?;
        decoded.rows.insert(key.into(), value.into());
    }
    Ok(decoded)
}

fn encode_partition(id: TopicPartition, partition: &Partition) -> proto::Partition {
    let producer =
        |(producer, window): (i64, &types::ProducerWindow)| api::Producer::from(&ProducerDelta { producer, window: window.clone() });
    proto::Partition {
        partition: Some(id.into()),
        leader: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        owner: id_bytes(partition.owner.as_bytes()),
        owned_from: partition.owned_from.0,
        replicas: partition.replicas.iter().map(|replica| replica.0).collect(),
        durability: api::Durability::from(partition.durability).into(),
        log_start: partition.log_start.0,
        next_offset: partition.next_offset.0,
        clean_end: partition.clean_end.0,
        refused: partition.refused,
        epochs: partition.epochs.iter().map(|start| (*start).into()).collect(),
        producers: partition.producers.iter().map(producer).collect(),
        segments: partition.segments.iter().map(|segment| segment_to_proto(segment, true)).collect(),
    }
}

fn decode_partition(partition: proto::Partition) -> Result<(TopicPartition, Partition), WireError> {
    let mut producers = ProducerWindows::default();
    for producer in partition.producers {
        let ProducerDelta { producer, window } = producer.try_into()?;
        producers.insert(producer, window);
    }
    let mut segments = Segments::default();
    let mut end = Offset(0);
    for segment in partition.segments {
        let segment = segment_from_proto(segment, None)?;
        if segment.base < end {
            return Err(WireError(format!("segment at {} below the end {end} of the one before", segment.base)));
        }
        end = segment.end;
        segments.push(segment);
    }
    let found = Partition {
        leader: BrokerId(partition.leader),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        owner: wal_id(&partition.owner)?,
        owned_from: LeaderEpoch(partition.owned_from),
        replicas: partition.replicas.into_iter().map(BrokerId).collect(),
        durability: durability(partition.durability)?,
        log_start: Offset(partition.log_start),
        next_offset: Offset(partition.next_offset),
        clean_end: Offset(partition.clean_end),
        refused: partition.refused,
        epochs: partition.epochs.into_iter().map(Into::into).collect(),
        producers,
        segments,
    };
    Ok((required(partition.partition, "partition")?.try_into()?, found))
}
