//! Events as bytes: kind, version, length, body. A reader that meets a kind or version it does not know stops: guessing at an event
//! would make another state of the same journal.

use bytes::{Buf, BufMut, Bytes};
use metadata_api::wire::{
    WireError, cluster_id, configs_from_proto, configs_to_proto, durability, endpoints_from_proto, endpoints_to_proto,
    entity_quotas_from_proto, entity_quotas_to_proto, id_bytes, required, segment_from_proto, segment_to_proto, topic_id, wal_id,
};
use metadata_api::{ProducerDelta, PublishedObject, proto as api};
use prost::Message;
use types::{
    BrokerEpoch, BrokerId, Lsn, ObjectKey, ObjectNumber, Offset, PublishSequence, Revision, SaveSequence, SlotEpoch, Timestamp,
    TopicPartition,
};

use super::SnapshotRef;
use super::event::{Accepted, Elected, Event, NewPartition, PartitionDurability, Published, Replaced, RowsSaved, SegmentsReplaced};
use super::rows::RowBytes;
use crate::proto;

/// Bytes before an event's body: kind u16, version u16, length u32, little-endian.
const HEADER_BYTES: usize = 8;
/// Version of every body so far.
const VERSION: u16 = 1;

/// An event that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error("event kind {kind} version {version} is not known to this program; run the version that wrote it, or a newer one")]
    Unknown { kind: u16, version: u16 },
    #[error("event of kind {kind}: {detail}")]
    Malformed { kind: u16, detail: String },
    #[error("an event of {length} bytes in {left} bytes")]
    Cut { length: usize, left: usize },
}

/// Appends `event` to `out`.
pub(crate) fn encode_event(event: &Event, out: &mut Vec<u8>) {
    let (kind, body) = body(event);
    out.put_u16_le(kind);
    out.put_u16_le(VERSION);
    out.put_u32_le(u32::try_from(body.len()).expect("a command is below MAX_MESSAGE_BYTES, and so is its event"));
    out.extend_from_slice(&body);
}

/// The events of a journal entry, in order.
pub(crate) fn decode_events(mut bytes: Bytes) -> Result<Vec<Event>, EventError> {
    let mut events = Vec::new();
    while bytes.has_remaining() {
        if bytes.len() < HEADER_BYTES {
            return Err(EventError::Cut { length: HEADER_BYTES, left: bytes.len() });
        }
        let (kind, version, length) = (bytes.get_u16_le(), bytes.get_u16_le(), bytes.get_u32_le() as usize);
        if bytes.len() < length {
            return Err(EventError::Cut { length, left: bytes.len() });
        }
        if version != VERSION {
            return Err(EventError::Unknown { kind, version });
        }
        let body = bytes.split_to(length);
        events.push(decode_body(kind, body)?);
    }
    Ok(events)
}

fn body(event: &Event) -> (u16, Vec<u8>) {
    match event {
        Event::LeaderStarted => (1, proto::LeaderStarted {}.encode_to_vec()),
        Event::ClusterCreated { cluster } => (2, proto::ClusterCreated { cluster: id_bytes(cluster.as_bytes()) }.encode_to_vec()),
        Event::StoreClaimed => (3, proto::StoreClaimed {}.encode_to_vec()),
        Event::BrokerRegistered { broker, wal, endpoints, rack, local } => {
            let body = proto::BrokerRegistered {
                broker: broker.0,
                wal: id_bytes(wal.as_bytes()),
                endpoints: endpoints_to_proto(endpoints),
                rack: rack.clone(),
                local: *local,
            };
            (4, body.encode_to_vec())
        }
        Event::BrokerEnded { broker, epoch, clean } => {
            (5, proto::BrokerEnded { broker: broker.0, epoch: epoch.0, clean: *clean }.encode_to_vec())
        }
        Event::SyncedReported { wal, synced } => {
            (6, proto::SyncedReported { wal: id_bytes(wal.as_bytes()), synced: synced.0 }.encode_to_vec())
        }
        Event::Published(published) => (7, proto::Published::from(published.as_ref()).encode_to_vec()),
        Event::TopicCreated { topic, name, replication_factor, configs, partitions } => {
            let body = proto::TopicCreated {
                topic: id_bytes(topic.as_bytes()),
                name: name.clone(),
                replication_factor: i32::from(*replication_factor),
                configs: configs_to_proto(configs),
                partitions: partitions.iter().map(proto::NewPartition::from).collect(),
            };
            (8, body.encode_to_vec())
        }
        Event::PartitionsAdded { topic, partitions } => {
            let partitions = partitions.iter().map(proto::NewPartition::from).collect();
            (9, proto::PartitionsAdded { topic: id_bytes(topic.as_bytes()), partitions }.encode_to_vec())
        }
        Event::TopicDeleted { topic, not_before } => {
            (10, proto::TopicDeleted { topic: id_bytes(topic.as_bytes()), not_before: not_before.0 }.encode_to_vec())
        }
        Event::TopicConfigsAltered { topic, configs } => {
            let body = proto::TopicConfigsAltered { topic: id_bytes(topic.as_bytes()), configs: configs_to_proto(configs) };
            (11, body.encode_to_vec())
        }
        Event::LogStartsAdvanced { partitions, not_before } => {
            let log_start = |(partition, log_start): &(TopicPartition, Offset)| proto::LogStart {
                partition: Some((*partition).into()),
                log_start: log_start.0,
            };
            let body = proto::LogStartsAdvanced { partitions: partitions.iter().map(log_start).collect(), not_before: not_before.0 };
            (12, body.encode_to_vec())
        }
        Event::PartitionsElected { partitions } => {
            let elected = |elected: &Elected| proto::Elected {
                partition: Some(elected.partition.into()),
                leader: elected.leader.0,
                owner: id_bytes(elected.owner.as_bytes()),
                next_offset: elected.next_offset.0,
            };
            (13, proto::PartitionsElected { partitions: partitions.iter().map(elected).collect() }.encode_to_vec())
        }
        Event::ProducerIdsAllocated { end } => (14, proto::ProducerIdsAllocated { end: *end }.encode_to_vec()),
        Event::ObjectsDead { keys, not_before } => {
            (15, proto::ObjectsDead { keys: key_texts(keys), not_before: not_before.0 }.encode_to_vec())
        }
        Event::ObjectsDeleted { keys } => (16, proto::ObjectsDeleted { keys: key_texts(keys) }.encode_to_vec()),
        Event::SnapshotTaken { snapshot } => (17, proto::SnapshotTaken { snapshot: Some(snapshot.into()) }.encode_to_vec()),
        Event::ClockJumped { to, skipped_ms } => (18, proto::ClockJumped { to: to.0, skipped_ms: *skipped_ms }.encode_to_vec()),
        Event::SlotTaken { slot, epoch, broker, broker_epoch } => {
            let body = proto::SlotTaken { slot: Some((*slot).into()), epoch: epoch.0, broker: broker.0, broker_epoch: broker_epoch.0 };
            (19, body.encode_to_vec())
        }
        Event::ResourceConfigsAltered { resource, configs } => {
            let body = proto::ResourceConfigsAltered { resource: Some(resource.into()), configs: configs_to_proto(configs) };
            (21, body.encode_to_vec())
        }
        Event::DurabilityChanged { partitions } => {
            let changed = |changed: &PartitionDurability| proto::PartitionDurability {
                partition: Some(changed.partition.into()),
                level: api::Durability::from(changed.level).into(),
                config_revision: changed.config_revision.0,
            };
            (23, proto::DurabilityChanged { partitions: partitions.iter().map(changed).collect() }.encode_to_vec())
        }
        Event::RowsSaved(saved) => (20, proto::RowsSaved::from(saved.as_ref()).encode_to_vec()),
        Event::SegmentsReplaced(replaced) => (22, proto::SegmentsReplaced::from(replaced.as_ref()).encode_to_vec()),
        Event::Rebuilt { cluster, snapshot } => {
            (24, proto::Rebuilt { cluster: id_bytes(cluster.as_bytes()), snapshot: Some(snapshot.into()) }.encode_to_vec())
        }
        Event::ClientQuotasAltered { altered } => {
            let altered = altered.iter().map(|(entity, quotas)| entity_quotas_to_proto(entity, quotas)).collect();
            (25, proto::ClientQuotasAltered { altered }.encode_to_vec())
        }
    }
}

fn decode_body(kind: u16, body: Bytes) -> Result<Event, EventError> {
    let malformed = |err: WireError| EventError::Malformed { kind, detail: err.to_string() };
    match kind {
        1..=25 => known_body(kind, body).map_err(malformed),
        _ => Err(EventError::Unknown { kind, version: VERSION }),
    }
}

fn known_body(kind: u16, body: Bytes) -> Result<Event, WireError> {
    Ok(match kind {
        1 => {
            parse::<proto::LeaderStarted>(body)?;
            Event::LeaderStarted
        }
        2 => Event::ClusterCreated { cluster: cluster_id(&parse::<proto::ClusterCreated>(body)?.cluster)? },
        3 => {
            parse::<proto::StoreClaimed>(body)?;
            Event::StoreClaimed
        }
        4 => {
            let body: proto::BrokerRegistered = parse(body)?;
            Event::BrokerRegistered {
                broker: BrokerId(body.broker),
                wal: wal_id(&body.wal)?,
                endpoints: endpoints_from_proto(body.endpoints)?,
                rack: body.rack,
                local: body.local,
            }
        }
        5 => {
            let body: proto::BrokerEnded = parse(body)?;
            Event::BrokerEnded { broker: BrokerId(body.broker), epoch: BrokerEpoch(body.epoch), clean: body.clean }
        }
        6 => {
            let body: proto::SyncedReported = parse(body)?;
            Event::SyncedReported { wal: wal_id(&body.wal)?, synced: Lsn(body.synced) }
        }
        7 => Event::Published(Box::new(parse::<proto::Published>(body)?.try_into()?)),
        8 => {
            let body: proto::TopicCreated = parse(body)?;
            Event::TopicCreated {
                topic: topic_id(&body.topic)?,
                name: body.name,
                replication_factor: i16::try_from(body.replication_factor).map_err(|err| WireError(err.to_string()))?,
                configs: configs_from_proto(body.configs),
                partitions: new_partitions(body.partitions)?,
            }
        }
        9 => {
            let body: proto::PartitionsAdded = parse(body)?;
            Event::PartitionsAdded { topic: topic_id(&body.topic)?, partitions: new_partitions(body.partitions)? }
        }
        10 => {
            let body: proto::TopicDeleted = parse(body)?;
            Event::TopicDeleted { topic: topic_id(&body.topic)?, not_before: Timestamp(body.not_before) }
        }
        11 => {
            let body: proto::TopicConfigsAltered = parse(body)?;
            Event::TopicConfigsAltered { topic: topic_id(&body.topic)?, configs: configs_from_proto(body.configs) }
        }
        12 => {
            let body: proto::LogStartsAdvanced = parse(body)?;
            let log_start = |start: proto::LogStart| Ok((required(start.partition, "partition")?.try_into()?, Offset(start.log_start)));
            Event::LogStartsAdvanced {
                partitions: body.partitions.into_iter().map(log_start).collect::<Result<_, WireError>>()?,
                not_before: Timestamp(body.not_before),
            }
        }
        13 => {
            let body: proto::PartitionsElected = parse(body)?;
            let elected = |elected: proto::Elected| {
                Ok(Elected {
                    partition: required(elected.partition, "partition")?.try_into()?,
                    leader: BrokerId(elected.leader),
                    owner: wal_id(&elected.owner)?,
                    next_offset: Offset(elected.next_offset),
                })
            };
            Event::PartitionsElected { partitions: body.partitions.into_iter().map(elected).collect::<Result<_, WireError>>()? }
        }
        14 => Event::ProducerIdsAllocated { end: parse::<proto::ProducerIdsAllocated>(body)?.end },
        15 => {
            let body: proto::ObjectsDead = parse(body)?;
            Event::ObjectsDead { keys: keys(&body.keys)?, not_before: Timestamp(body.not_before) }
        }
        16 => Event::ObjectsDeleted { keys: keys(&parse::<proto::ObjectsDeleted>(body)?.keys)? },
        17 => {
            let snapshot = required(parse::<proto::SnapshotTaken>(body)?.snapshot, "snapshot")?;
            Event::SnapshotTaken { snapshot: snapshot.into() }
        }
        18 => {
            let body: proto::ClockJumped = parse(body)?;
            Event::ClockJumped { to: Timestamp(body.to), skipped_ms: body.skipped_ms }
        }
        19 => {
            let body: proto::SlotTaken = parse(body)?;
            Event::SlotTaken {
                slot: required(body.slot, "slot")?.try_into()?,
                epoch: SlotEpoch(body.epoch),
                broker: BrokerId(body.broker),
                broker_epoch: BrokerEpoch(body.broker_epoch),
            }
        }
        20 => Event::RowsSaved(Box::new(parse::<proto::RowsSaved>(body)?.try_into()?)),
        21 => {
            let body: proto::ResourceConfigsAltered = parse(body)?;
            Event::ResourceConfigsAltered {
                resource: required(body.resource, "resource")?.try_into()?,
                configs: configs_from_proto(body.configs),
            }
        }
        23 => {
            let changed = |changed: proto::PartitionDurability| {
                Ok(PartitionDurability {
                    partition: required(changed.partition, "partition")?.try_into()?,
                    level: durability(changed.level)?,
                    config_revision: Revision(changed.config_revision),
                })
            };
            let partitions = parse::<proto::DurabilityChanged>(body)?.partitions;
            Event::DurabilityChanged { partitions: partitions.into_iter().map(changed).collect::<Result<_, WireError>>()? }
        }
        22 => Event::SegmentsReplaced(Box::new(parse::<proto::SegmentsReplaced>(body)?.try_into()?)),
        24 => {
            let body: proto::Rebuilt = parse(body)?;
            Event::Rebuilt { cluster: cluster_id(&body.cluster)?, snapshot: required(body.snapshot, "snapshot")?.into() }
        }
        25 => {
            let altered = parse::<proto::ClientQuotasAltered>(body)?.altered;
            Event::ClientQuotasAltered { altered: altered.into_iter().map(entity_quotas_from_proto).collect::<Result<_, _>>()? }
        }
        _ => unreachable!("decode_body lets no other kind in"),
    })
}

/// A message from bytes.
pub(crate) fn parse<M: Message + Default>(bytes: Bytes) -> Result<M, WireError> {
    M::decode(bytes).map_err(|err| WireError(err.to_string()))
}

fn key_texts(keys: &[ObjectKey]) -> Vec<String> {
    keys.iter().map(ObjectKey::to_string).collect()
}

fn keys(texts: &[String]) -> Result<Vec<ObjectKey>, WireError> {
    texts.iter().map(|text| object_key(text)).collect()
}

/// A key by its text.
pub(crate) fn object_key(text: &str) -> Result<ObjectKey, WireError> {
    text.parse().map_err(|err: types::ObjectKeyError| WireError(err.to_string()))
}

impl From<&SnapshotRef> for proto::SnapshotRef {
    fn from(value: &SnapshotRef) -> Self {
        Self { revision: value.revision.0, slot: value.slot, manifest: value.manifest.clone() }
    }
}

impl From<proto::SnapshotRef> for SnapshotRef {
    fn from(value: proto::SnapshotRef) -> Self {
        Self { revision: Revision(value.revision), slot: value.slot, manifest: value.manifest }
    }
}

impl From<&NewPartition> for proto::NewPartition {
    fn from(value: &NewPartition) -> Self {
        Self {
            leader: value.leader.0,
            owner: id_bytes(value.owner.as_bytes()),
            replicas: value.replicas.iter().map(|replica| replica.0).collect(),
            durability: api::Durability::from(value.durability).into(),
        }
    }
}

fn new_partitions(partitions: Vec<proto::NewPartition>) -> Result<Vec<NewPartition>, WireError> {
    let partition = |partition: proto::NewPartition| {
        Ok(NewPartition {
            leader: BrokerId(partition.leader),
            owner: wal_id(&partition.owner)?,
            replicas: partition.replicas.into_iter().map(BrokerId).collect(),
            durability: durability(partition.durability)?,
        })
    };
    partitions.into_iter().map(partition).collect()
}

impl From<&Published> for proto::Published {
    fn from(value: &Published) -> Self {
        let accepted = |accepted: &Accepted| proto::Accepted {
            partition: Some(accepted.partition.into()),
            segment: Some(segment_to_proto(&accepted.segment, false)),
            epochs: accepted.epochs.iter().map(|start| (*start).into()).collect(),
            producers: accepted.producers.iter().map(api::Producer::from).collect(),
        };
        Self {
            broker: value.broker.0,
            epoch: value.epoch.0,
            sequence: value.sequence.0,
            digest: value.digest,
            object: value.object.map(api::PublishedObject::from),
            end_lsn: value.end_lsn.0,
            object_floor: value.object_floor.0,
            synced: value.synced.0,
            pressure: value.pressure,
            producers_expire_before: value.producers_expire_before.0,
            not_before: value.not_before.0,
            accepted: value.accepted.iter().map(accepted).collect(),
            refused: value
                .refused
                .iter()
                .map(|(partition, refusal)| proto::Refused { partition: Some((*partition).into()), refusal: Some(refusal.into()) })
                .collect(),
        }
    }
}

impl TryFrom<proto::Published> for Published {
    type Error = WireError;
    fn try_from(value: proto::Published) -> Result<Self, WireError> {
        let object = value.object.map(PublishedObject::try_from).transpose()?;
        let accepted = |accepted: proto::Accepted| -> Result<Accepted, WireError> {
            Ok(Accepted {
                partition: required(accepted.partition, "partition")?.try_into()?,
                segment: segment_from_proto(required(accepted.segment, "segment")?, object.map(|object| object.key))?,
                epochs: accepted.epochs.into_iter().map(Into::into).collect(),
                producers: accepted.producers.into_iter().map(ProducerDelta::try_from).collect::<Result<_, _>>()?,
            })
        };
        let refused = |refused: proto::Refused| -> Result<_, WireError> {
            Ok((required(refused.partition, "partition")?.try_into()?, required(refused.refusal, "refusal")?.try_into()?))
        };
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            sequence: PublishSequence(value.sequence),
            digest: value.digest,
            object,
            end_lsn: Lsn(value.end_lsn),
            object_floor: ObjectNumber(value.object_floor),
            synced: Lsn(value.synced),
            pressure: value.pressure,
            producers_expire_before: Timestamp(value.producers_expire_before),
            not_before: Timestamp(value.not_before),
            accepted: value.accepted.into_iter().map(accepted).collect::<Result<_, _>>()?,
            refused: value.refused.into_iter().map(refused).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&RowsSaved> for proto::RowsSaved {
    fn from(value: &RowsSaved) -> Self {
        let row = |(key, value): &(RowBytes, Option<RowBytes>)| api::Row { key: key.to_vec(), value: value.as_deref().map(<[u8]>::to_vec) };
        Self {
            slot: Some(value.slot.into()),
            epoch: value.epoch.0,
            sequence: value.sequence.0,
            digest: value.digest,
            rows: value.rows.iter().map(row).collect(),
        }
    }
}

impl TryFrom<proto::RowsSaved> for RowsSaved {
    type Error = WireError;
    fn try_from(value: proto::RowsSaved) -> Result<Self, WireError> {
        Ok(Self {
            slot: required(value.slot, "slot")?.try_into()?,
            epoch: SlotEpoch(value.epoch),
            sequence: SaveSequence(value.sequence),
            digest: value.digest,
            rows: value.rows.into_iter().map(|row| (row.key.into(), row.value.map(RowBytes::from))).collect(),
        })
    }
}

impl From<&SegmentsReplaced> for proto::SegmentsReplaced {
    fn from(value: &SegmentsReplaced) -> Self {
        let replaced = |replaced: &Replaced| proto::Replaced {
            partition: Some(replaced.partition.into()),
            old: replaced.old,
            new: Some(segment_to_proto(&replaced.new, false)),
        };
        Self {
            broker: value.broker.0,
            object: Some(value.object.into()),
            object_floor: value.object_floor.0,
            not_before: value.not_before.0,
            replaced: value.replaced.iter().map(replaced).collect(),
        }
    }
}

impl TryFrom<proto::SegmentsReplaced> for SegmentsReplaced {
    type Error = WireError;
    fn try_from(value: proto::SegmentsReplaced) -> Result<Self, WireError> {
        let object: PublishedObject = required(value.object, "object")?.try_into()?;
        let replaced = |replaced: proto::Replaced| -> Result<Replaced, WireError> {
            Ok(Replaced {
                partition: required(replaced.partition, "partition")?.try_into()?,
                old: replaced.old,
                new: segment_from_proto(required(replaced.new, "new segment")?, Some(object.key))?,
            })
        };
        Ok(Self {
            broker: BrokerId(value.broker),
            object,
            object_floor: ObjectNumber(value.object_floor),
            not_before: Timestamp(value.not_before),
            replaced: value.replaced.into_iter().map(replaced).collect::<Result<_, _>>()?,
        })
    }
}
