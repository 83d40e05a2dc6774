//! Every message there and back through its bytes, and everything that no correct peer sends refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, Status};
use types::{
    BrokerEpoch, BrokerId, CoordinatorKind, CoordinatorSlot, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey, ObjectNumber,
    ObjectOrigin, Offset, ProducerBatch, ProducerWindow, ProducerWindows, PublishSequence, Revision, SaveSequence, SegmentFlags,
    SegmentRef, SlotEpoch, Timestamp,
};

use super::*;
use crate::{
    AdvanceLogStart, AlterResourceConfigs, AlterTopicConfigs, BrokerImage, ClientQuotaEntity, ClusterImage, ConfigResource,
    CreatePartitions, CreateTopic, DurabilityChange, EnforceDurability, EntityQuotas, HeartbeatAnswer, HeartbeatRequest, MetadataError,
    PartitionImage, PartitionPublish, PartitionRefusal, PartitionReplacement, PartitionState, PartitionVerdict, ProducerDelta,
    PublishAnswer, PublishRequest, PublishedObject, RegisterBroker, Registration, ReplaceAnswer, ReplaceSegments, ReplaceVerdict,
    ResourceConfigs, RowPage, Run, SaveRows, SegmentPage, SlotOwner, SlotRows, SlotTaken, TakeSlot, TopicCreated, TopicImage,
};

fn through<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

/// The value is the same after the way through the message's bytes.
macro_rules! travels {
    (&$value:expr, $message:ty) => {{
        let value = $value;
        assert_eq!(through(&<$message>::from(&value)).try_into(), Ok(value));
    }};
    ($value:expr, $message:ty) => {{
        let value = $value;
        assert_eq!(through(&<$message>::from(value.clone())).try_into(), Ok(value));
    }};
}

mod client_quotas;

use client_quotas::{entities, named, quotas};

/// A message that is good until it is changed is refused, for the reason that is named.
fn refuses<M: Clone, T: TryFrom<M, Error = WireError> + std::fmt::Debug>(good: &M, what: &str, change: impl FnOnce(&mut M)) {
    T::try_from(good.clone()).expect("good until it is changed");
    let mut message = good.clone();
    change(&mut message);
    let err = T::try_from(message).unwrap_err();
    assert!(err.0.contains(what), "{err} does not say {what:?}");
}

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

fn wal(number: u8) -> WalId {
    WalId::from_bytes([number; 16])
}

fn cluster(number: u8) -> ClusterId {
    ClusterId::from_bytes([number; 16])
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(topic(1), index)
}

fn key(number: u64) -> ObjectKey {
    ObjectKey::Shared { broker: BrokerId(3), epoch: BrokerEpoch(8), number: ObjectNumber(number) }
}

fn endpoints() -> Vec<Endpoint> {
    let endpoint = |listener: &str, port| Endpoint { listener: listener.to_owned(), host: "host".to_owned(), port };
    vec![endpoint("PLAINTEXT", 0), endpoint("TLS", u16::MAX)]
}

fn configs() -> BTreeMap<String, String> {
    [("retention.ms", "-1"), ("cleanup.policy", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn epochs() -> Vec<EpochStart> {
    vec![EpochStart { epoch: LeaderEpoch(0), offset: Offset(0) }, EpochStart { epoch: LeaderEpoch(i32::MAX), offset: Offset(1 << 40) }]
}

/// No field has the value that an absent one has.
fn segment() -> SegmentRef {
    SegmentRef {
        base: Offset(1000),
        end: Offset(2000),
        object: key(5),
        position: 17,
        bytes: 1 << 40,
        index_bytes: 19,
        records: 23,
        batches: 29,
        max_timestamp: Timestamp(1_700_000_000_000),
        min_timestamp: MinTimestamp { value: Timestamp(-1), exact: true },
        append_times: (Timestamp(31), Timestamp(-37)),
        leader_epochs: epochs(),
        stable_end: Offset(1500),
        aborted: 41,
        flags: SegmentFlags(0x8000_0001),
        state_from: Offset(900),
        origin: ObjectOrigin::Derived,
        offset_shift: -43,
        leader_epoch: Some(LeaderEpoch(0)),
        added: Revision(47),
    }
}

fn producer() -> ProducerDelta {
    let batch = |offset: i64| ProducerBatch {
        first_sequence: i32::MAX,
        last_sequence: 3,
        base_offset: Offset(offset),
        last_offset: Offset(offset + 4),
        append_time: Timestamp(-1),
    };
    let window = ProducerWindow {
        epoch: i16::MAX,
        batches: (0..5).map(|number| batch(number * 10)).collect(),
        coordinator_epoch: -1,
        open_transaction: Some(Offset(0)),
        last_append_time: Timestamp(-1),
    };
    ProducerDelta { producer: i64::MAX, window }
}

fn publish() -> PublishRequest {
    let part = |index| PartitionPublish {
        partition: partition(index),
        segment: segment(),
        runs: vec![Run { leader_epoch: LeaderEpoch(-1), base: Offset(1000), end: Offset(2000) }],
        gap: true,
        producers: vec![producer()],
    };
    PublishRequest {
        broker: BrokerId(3),
        epoch: BrokerEpoch(8),
        sequence: PublishSequence(9),
        object: Some(PublishedObject { key: key(5), length: 10, crc: u32::MAX }),
        first_lsn: Lsn(11),
        end_lsn: Lsn(u64::MAX),
        object_floor: ObjectNumber(12),
        synced: Lsn(13),
        partitions: vec![part(0), part(i32::MAX)],
    }
}

fn replacement() -> ReplaceSegments {
    let object = ObjectKey::Topic {
        partition: partition(0),
        base: Offset(1000),
        broker: BrokerId(3),
        epoch: BrokerEpoch(8),
        number: ObjectNumber(9),
    };
    let old = SegmentRef { end: Offset(1500), stable_end: Offset(1500), ..segment() };
    let next = SegmentRef { base: Offset(1500), state_from: Offset(0), ..segment() };
    let part = |index| PartitionReplacement {
        partition: partition(index),
        old: vec![old.clone(), next.clone()],
        new: SegmentRef { object, ..segment() },
    };
    ReplaceSegments {
        broker: BrokerId(3),
        epoch: BrokerEpoch(8),
        object: PublishedObject { key: object, length: u64::MAX, crc: u32::MAX },
        object_floor: ObjectNumber(7),
        partitions: vec![part(0), part(i32::MAX)],
    }
}

fn registration() -> Registration {
    let mut producers = ProducerWindows::default();
    producers.insert(7, producer().window);
    let state = PartitionState {
        partition: partition(2),
        leader_epoch: LeaderEpoch(4),
        epochs: epochs(),
        log_start: Offset(5),
        next_offset: Offset(6),
        durability: Durability::Object,
        producers,
    };
    Registration {
        cluster: cluster(1),
        epoch: BrokerEpoch(2),
        last_published: Lsn(3),
        rebuilt: true,
        synced_seen: Lsn(4),
        revision: Revision(5),
        partitions: vec![state],
    }
}

fn register() -> RegisterBroker {
    RegisterBroker {
        broker: BrokerId(-1),
        wal: wal(2),
        cluster: Some(cluster(1)),
        endpoints: endpoints(),
        rack: Some(String::new()),
        revision_seen: Revision(6),
        unpublished: vec![(partition(2), Offset(7))],
    }
}

fn topic_image(number: u8, name: &str) -> TopicImage {
    let partition = |leader, durability| PartitionImage {
        leader,
        leader_epoch: LeaderEpoch(2),
        owner: wal(3),
        replicas: vec![BrokerId(0), BrokerId(4)],
        durability,
    };
    TopicImage {
        id: topic(number),
        name: name.to_owned(),
        replication_factor: 3,
        configs: configs(),
        config_revision: Revision(9),
        partitions: vec![partition(Some(BrokerId(0)), Durability::Wal), partition(None, Durability::Object)],
    }
}

fn broker_image() -> BrokerImage {
    BrokerImage { id: BrokerId(0), epoch: BrokerEpoch(5), endpoints: endpoints(), rack: Some("a".to_owned()), alive: true }
}

/// One of each kind, in their order.
fn resources() -> [ConfigResource; 3] {
    [ConfigResource::AllBrokers, ConfigResource::Broker(BrokerId(7)), ConfigResource::Group("g".to_owned())]
}

fn set(revision: u64) -> ResourceConfigs {
    ResourceConfigs { configs: configs(), revision: Revision(revision) }
}

fn slot(kind: CoordinatorKind, number: u8) -> CoordinatorSlot {
    CoordinatorSlot::new(kind, number).unwrap()
}

fn owner(broker: i32) -> SlotOwner {
    SlotOwner { broker: BrokerId(broker), epoch: SlotEpoch(7) }
}

fn save() -> SaveRows {
    SaveRows {
        broker: BrokerId(1),
        epoch: BrokerEpoch(2),
        slot: slot(CoordinatorKind::Group, 49),
        slot_epoch: SlotEpoch(i32::MAX),
        sequence: SaveSequence(u64::MAX),
        rows: vec![(vec![0xff, 0].into(), Some(vec![1].into())), (vec![2].into(), Some(Bytes::new())), (vec![2].into(), None)],
    }
}

#[test]
fn sessions_travel() {
    travels!(&register(), proto::RegisterBrokerRequest);
    travels!(&RegisterBroker { cluster: None, rack: None, ..register() }, proto::RegisterBrokerRequest);
    travels!(&registration(), proto::RegisterBrokerResponse);
    let heartbeat = HeartbeatRequest { broker: BrokerId(1), epoch: BrokerEpoch(2), synced: Lsn(3), unoffloaded_bytes: 4 };
    assert_eq!(HeartbeatRequest::from(through(&proto::HeartbeatRequest::from(heartbeat.clone()))), heartbeat);
    assert_eq!(HeartbeatAnswer::from(proto::HeartbeatResponse { revision: 5 }), HeartbeatAnswer { revision: Revision(5) });
}

#[test]
fn publishes_travel() {
    travels!(&publish(), proto::PublishRequest);
    travels!(&PublishRequest { object: None, partitions: Vec::new(), ..publish() }, proto::PublishRequest);
    let refused = |refusal| PartitionVerdict::Refused(refusal);
    let verdicts = vec![
        PartitionVerdict::Accepted { next_offset: Offset(0) },
        refused(PartitionRefusal::Gone),
        refused(PartitionRefusal::NotOwned { leader_epoch: LeaderEpoch(0) }),
        refused(PartitionRefusal::WrongOffset { next_offset: Offset(0) }),
    ];
    travels!(&PublishAnswer { revision: Revision(1), verdicts, pressure: 400 }, proto::PublishResponse);
}

#[test]
fn a_publish_names_its_object_once_and_one_that_names_another_still_says_so() {
    let message = proto::PublishRequest::from(&publish());
    assert!(message.partitions.iter().all(|part| part.segment.as_ref().unwrap().object.is_empty()));
    let mut contradiction = publish();
    contradiction.partitions[1].segment.object = key(6);
    travels!(&contradiction, proto::PublishRequest);
    travels!(&PublishRequest { object: None, ..publish() }, proto::PublishRequest);
}

fn enforce() -> EnforceDurability {
    let change = |index, level, log_end| DurabilityChange {
        partition: partition(index),
        level,
        config_revision: Revision(u64::MAX),
        log_end: Offset(log_end),
    };
    let changes = vec![change(0, Durability::Object, i64::MAX), change(1, Durability::Wal, 0)];
    EnforceDurability { broker: BrokerId(1), epoch: BrokerEpoch(2), changes }
}

#[test]
fn replacements_travel() {
    travels!(&replacement(), proto::ReplaceSegmentsRequest);
    let message = proto::ReplaceSegmentsRequest::from(&replacement());
    assert!(message.partitions.iter().all(|part| part.new.as_ref().unwrap().object.is_empty()), "the object is named once");
    let mut contradiction = replacement();
    contradiction.partitions[1].new.object = key(6);
    travels!(&contradiction, proto::ReplaceSegmentsRequest);
    let verdicts = vec![ReplaceVerdict::Replaced, ReplaceVerdict::Gone, ReplaceVerdict::NotLeader, ReplaceVerdict::Changed];
    travels!(&ReplaceAnswer { revision: Revision(1), verdicts }, proto::ReplaceSegmentsResponse);
}

#[test]
fn topics_travel() {
    let create = CreateTopic {
        name: "orders".to_owned(),
        partitions: -1,
        replication_factor: i16::MIN,
        configs: configs(),
        durability: Durability::Wal,
        validate_only: true,
    };
    travels!(&create, proto::CreateTopicRequest);
    let created = proto::CreateTopicResponse { topic: id_bytes(topic(1).as_bytes()), revision: 2 };
    assert_eq!(TopicCreated::try_from(created), Ok(TopicCreated { topic: topic(1), revision: Revision(2) }));
    let grow = CreatePartitions { topic: topic(1), total: 7, durability: Durability::Object, validate_only: true };
    travels!(&grow, proto::CreatePartitionsRequest);
    travels!(&AlterTopicConfigs { topic: topic(1), expected: Revision(3), configs: configs() }, proto::AlterTopicConfigsRequest);
    travels!(&enforce(), proto::EnforceDurabilityRequest);
    let advance = AdvanceLogStart { broker: BrokerId(1), epoch: BrokerEpoch(2), partition: partition(3), log_start: Offset(-4) };
    travels!(advance, proto::AdvanceLogStartRequest);
}

#[test]
fn configs_of_brokers_and_groups_travel() {
    for resource in resources() {
        travels!(&AlterResourceConfigs { resource, expected: Revision(3), configs: configs() }, proto::AlterResourceConfigsRequest);
    }
    let alter = AlterResourceConfigs { resource: ConfigResource::AllBrokers, expected: Revision(3), configs: configs() };
    let good = proto::AlterResourceConfigsRequest::from(&alter);
    let refuse = |what: &str, kind: proto::ConfigResourceType, name: &str| {
        refuses::<_, AlterResourceConfigs>(&good, what, |request| {
            request.resource = Some(proto::ConfigResource { r#type: kind.into(), name: name.to_owned() });
        });
    };
    refuse("type of resource 0", proto::ConfigResourceType::Unspecified, "");
    refuse("is no number", proto::ConfigResourceType::Broker, "one");
    refuse("without a name", proto::ConfigResourceType::Group, "");
    refuses::<_, AlterResourceConfigs>(&good, "resource is missing", |request| request.resource = None);
}

#[test]
fn segments_travel() {
    for origin in [ObjectOrigin::Range, ObjectOrigin::Rewrite, ObjectOrigin::Bulk, ObjectOrigin::Derived] {
        let segments = vec![SegmentRef { origin, ..segment() }];
        let page = SegmentPage { revision: Revision(1), log_start: Offset(2), next_offset: Offset(3), segments, more: true };
        travels!(&page, proto::SegmentPage);
    }
}

proptest! {
    /// Producers may send any timestamp; offsets reach to the end of their range.
    #[test]
    fn any_numbers_of_a_segment_travel(
        base in 0..i64::MAX, span in 1..i64::MAX, times in any::<(i64, i64, i64, i64)>(), back in any::<(u32, u32)>(),
    ) {
        let end = base.saturating_add(span);
        let value = SegmentRef {
            base: Offset(base),
            end: Offset(end),
            max_timestamp: Timestamp(times.0),
            min_timestamp: MinTimestamp { value: Timestamp(times.1), exact: false },
            append_times: (Timestamp(times.2), Timestamp(times.3)),
            stable_end: Offset((end - i64::from(back.0)).max(0)),
            state_from: Offset((base - i64::from(back.1)).max(0)),
            ..segment()
        };
        let message = through(&segment_to_proto(&value, false));
        prop_assert_eq!(segment_from_proto(message, Some(value.object)), Ok(value));
    }
}

#[test]
fn the_image_travels_whole_and_in_pieces() {
    let mut image = ClusterImage { revision: Revision(9), cluster_id: cluster(1), ..ClusterImage::default() };
    image.brokers.insert(BrokerId(0), Arc::new(broker_image()));
    image.insert_topic(Arc::new(topic_image(1, "a")));
    image.insert_topic(Arc::new(topic_image(2, "b")));
    image.slots.insert(slot(CoordinatorKind::Group, 0), owner(0));
    image.slots.insert(slot(CoordinatorKind::Transaction, 49), owner(4));
    image.configs = Arc::new(resources().map(|resource| (resource, set(3))).into());
    image.client_quotas = Arc::new(entities().map(|entity| (entity, quotas([1.0, 2.0]))).into());

    let mut known = ClusterImage::default();
    known.brokers.insert(BrokerId(7), Arc::new(BrokerImage { id: BrokerId(7), ..broker_image() }));
    known.insert_topic(Arc::new(topic_image(9, "old")));
    known.slots.insert(slot(CoordinatorKind::Group, 7), owner(7));
    known.configs = Arc::new([(ConfigResource::Broker(BrokerId(9)), set(1))].into());
    known.client_quotas = Arc::new([(ClientQuotaEntity::User(named("old")), quotas([1.0, 2.0]))].into());
    apply_delta(&mut known, through(&whole_image(&image))).unwrap();
    assert_eq!(known, image, "what was known before is void");

    // A topic is deleted and another of its name made within one delta.
    let delta = proto::ImageDelta {
        revision: 12,
        cluster: id_bytes(cluster(1).as_bytes()),
        reset: false,
        brokers: vec![(&BrokerImage { rack: None, alive: false, ..broker_image() }).into()],
        topics: vec![(&topic_image(3, "a")).into()],
        removed_topics: vec![id_bytes(topic(1).as_bytes())],
        slots: vec![(slot(CoordinatorKind::Group, 0), owner(5)).into()],
        configs: vec![
            resource_configs_to_proto(&ConfigResource::AllBrokers, None),
            resource_configs_to_proto(&ConfigResource::Group("g".to_owned()), Some(&set(12))),
        ],
        client_quotas: vec![
            entity_quotas_to_proto(&entities()[0], &EntityQuotas::new()),
            entity_quotas_to_proto(&entities()[1], &quotas([3.0, 4.0])),
        ],
    };
    apply_delta(&mut known, through(&delta)).unwrap();
    assert_eq!((known.revision, known.brokers.len()), (Revision(12), 1));
    assert_eq!((known.brokers[&BrokerId(0)].alive, known.brokers[&BrokerId(0)].rack.as_ref()), (false, None));
    assert_eq!(known.topics.len(), 2);
    assert_eq!(known.topic_named("a").map(AsRef::as_ref), Some(&topic_image(3, "a")));
    assert_eq!(known.topic_named("b").map(AsRef::as_ref), Some(&topic_image(2, "b")));
    let owners = [(slot(CoordinatorKind::Group, 0), owner(5)), (slot(CoordinatorKind::Transaction, 49), owner(4))];
    assert_eq!(known.slots, owners.into());
    let [_, broker, group] = resources();
    assert_eq!(*known.configs, [(broker, set(3)), (group, set(12))].into());
    let [_, client, others @ ..] = entities();
    let expected = others.map(|entity| (entity, quotas([1.0, 2.0])));
    assert_eq!(*known.client_quotas, expected.into_iter().chain([(client, quotas([3.0, 4.0]))]).collect());
}

#[test]
fn a_malformed_delta_changes_nothing() {
    let mut image = ClusterImage { revision: Revision(3), ..ClusterImage::default() };
    image.insert_topic(Arc::new(topic_image(1, "a")));
    let good = whole_image(&image);
    let changes: [fn(&mut proto::ImageDelta); 10] = [
        |delta| delta.client_quotas.push(proto::EntityQuotas::default()),
        |delta| delta.configs.push(proto::ResourceConfigs::default()),
        |delta| delta.slots.push(proto::SlotImage::default()),
        |delta| delta.cluster.clear(),
        |delta| delta.removed_topics.push(vec![1; 15]),
        |delta| delta.topics[0].id.clear(),
        |delta| delta.topics[0].replication_factor = 1 << 20,
        |delta| delta.topics[0].partitions[1].owner.clear(),
        |delta| delta.topics[0].partitions[1].durability = 0,
        |delta| {
            let endpoint = proto::Endpoint { port: 65_536, ..proto::Endpoint::default() };
            delta.brokers.push(proto::BrokerImage { endpoints: vec![endpoint], ..proto::BrokerImage::default() });
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut known = image.clone();
        let mut delta = proto::ImageDelta { revision: 4, ..good.clone() };
        change(&mut delta);
        apply_delta(&mut known, delta).expect_err("malformed");
        assert_eq!(known, image, "change {number}");
    }
    apply_delta(&mut image, good).unwrap();
}

#[test]
fn coordinator_slots_travel() {
    for kind in [CoordinatorKind::Group, CoordinatorKind::Transaction] {
        travels!(TakeSlot { broker: BrokerId(1), epoch: BrokerEpoch(2), slot: slot(kind, 0) }, proto::TakeSlotRequest);
        let rows = SlotRows { slot: slot(kind, 49), slot_epoch: SlotEpoch(3), after_key: Some(Bytes::new()), limit_bytes: u32::MAX };
        travels!(&rows.clone(), proto::SlotRowsRequest);
        travels!(&SlotRows { after_key: None, ..rows }, proto::SlotRowsRequest);
    }
    let taken = SlotTaken { slot_epoch: SlotEpoch(4), revision: Revision(5) };
    assert_eq!(SlotTaken::from(through(&proto::TakeSlotResponse::from(taken))), taken);
    travels!(&save(), proto::SaveRowsRequest);
    let rows = vec![(vec![1].into(), vec![0xff].into()), (vec![2].into(), Bytes::new())];
    travels!(&RowPage { revision: Revision(6), rows, more: true }, proto::RowPage);
}

#[test]
fn malformed_coordinator_slots_are_refused() {
    let good = proto::SaveRowsRequest::from(&save());
    let refuse = |what: &str, change: fn(&mut proto::SaveRowsRequest)| refuses::<_, SaveRows>(&good, what, change);
    refuse("slot is missing", |request| request.slot = None);
    refuse("group slot 50", |request| request.slot.as_mut().unwrap().number = 50);
    refuse("group slot 256", |request| request.slot.as_mut().unwrap().number = 256);
    refuse("coordinator kind 0", |request| request.slot.as_mut().unwrap().kind = 0);
    refuse("coordinator kind 3", |request| request.slot.as_mut().unwrap().kind = 3);
    let take = TakeSlot { broker: BrokerId(1), epoch: BrokerEpoch(2), slot: slot(CoordinatorKind::Group, 0) };
    refuses::<_, TakeSlot>(&take.into(), "slot is missing", |request: &mut proto::TakeSlotRequest| request.slot = None);
    let read = SlotRows { slot: slot(CoordinatorKind::Group, 0), slot_epoch: SlotEpoch(3), after_key: None, limit_bytes: 1 };
    refuses::<_, SlotRows>(&(&read).into(), "slot is missing", |request: &mut proto::SlotRowsRequest| request.slot = None);
    let page = RowPage { revision: Revision(6), rows: vec![(vec![1].into(), vec![2].into())], more: false };
    refuses::<_, RowPage>(&(&page).into(), "value of a row is missing", |page: &mut proto::RowPage| page.rows[0].value = None);
}

fn errors() -> Vec<MetadataError> {
    let detail = || "why".to_owned();
    vec![
        MetadataError::Unavailable { detail: detail() },
        MetadataError::Unknown { detail: detail() },
        MetadataError::Fenced { broker: BrokerId(1), epoch: BrokerEpoch(2), current: BrokerEpoch(3) },
        MetadataError::SlotFenced { slot: slot(CoordinatorKind::Group, 0), epoch: SlotEpoch(0), current: SlotEpoch(2) },
        MetadataError::DuplicateBroker { broker: BrokerId(0) },
        MetadataError::WrongCluster { ours: cluster(1), theirs: cluster(2) },
        MetadataError::RolledBack { current: Revision(1), seen: Revision(2) },
        MetadataError::UnknownTopic { topic: topic(0) },
        MetadataError::UnknownPartition { topic: topic(1), partition: 0 },
        MetadataError::TopicExists { name: detail() },
        MetadataError::InvalidTopicName { detail: String::new() },
        MetadataError::InvalidPartitions { detail: detail() },
        MetadataError::InvalidReplicationFactor { detail: detail() },
        MetadataError::ConfigConflict { topic: topic(1) },
        MetadataError::ResourceConfigConflict { resource: ConfigResource::AllBrokers },
        MetadataError::ResourceConfigConflict { resource: ConfigResource::Broker(BrokerId(0)) },
        MetadataError::ResourceConfigConflict { resource: ConfigResource::Group(detail()) },
        MetadataError::Invalid { detail: detail() },
    ]
}

#[test]
fn every_error_arrives_as_the_one_that_was_sent() {
    for err in errors() {
        for is_write in [false, true] {
            assert_eq!(error_from_status(&status_from_error(&err), is_write), err);
        }
    }
}

#[test]
fn a_status_of_the_transport_leaves_a_writes_outcome_unknown_and_a_read_can_be_repeated() {
    let untyped = [
        Status::new(Code::Unavailable, "connection reset"),
        Status::with_details(Code::Internal, "a newer error", proto::ErrorDetail { kind: None }.encode_to_vec().into()),
        Status::with_details(Code::Internal, "not a message", vec![0xff; 3].into()),
    ];
    for status in untyped {
        assert!(matches!(error_from_status(&status, true), MetadataError::Unknown { detail } if detail.contains(status.message())));
        assert!(matches!(error_from_status(&status, false), MetadataError::Unavailable { detail } if detail.contains(status.message())));
    }
}

#[test]
fn malformed_sessions_are_refused() {
    let good = proto::RegisterBrokerRequest::from(&register());
    let refuse = |what: &str, change: fn(&mut proto::RegisterBrokerRequest)| refuses::<_, RegisterBroker>(&good, what, change);
    refuse("15 bytes instead of 16", |request| request.wal.truncate(15));
    refuse("0 bytes instead of 16", |request| request.wal.clear());
    refuse("3 bytes instead of 16", |request| request.cluster = vec![1; 3]);
    refuse("port 65536", |request| request.endpoints[0].port = 65_536);
    refuse("partition is missing", |request| request.unpublished[0].partition = None);
    refuse("is negative", |request| request.unpublished[0].partition.as_mut().unwrap().partition = -1);
    refuse("instead of 16", |request| request.unpublished[0].partition.as_mut().unwrap().topic.push(0));

    let good = proto::RegisterBrokerResponse::from(&registration());
    let refuse = |what: &str, change: fn(&mut proto::RegisterBrokerResponse)| refuses::<_, Registration>(&good, what, change);
    refuse("0 bytes instead of 16", |answer| answer.cluster.clear());
    refuse("partition is missing", |answer| answer.partitions[0].partition = None);
    refuse("durability 0", |answer| answer.partitions[0].durability = 0);
    refuse("durability 3", |answer| answer.partitions[0].durability = 3);
    refuse("window holds 6", |answer| {
        let batches = &mut answer.partitions[0].producers[0].batches;
        batches.push(batches[0]);
    });
    refuse("producer epoch 32768", |answer| answer.partitions[0].producers[0].epoch = 32_768);
    refuse("last offset", |answer| answer.partitions[0].producers[0].batches[0].span = u64::MAX);
}

#[test]
fn malformed_publishes_are_refused() {
    let good = proto::PublishRequest::from(&publish());
    let refuse = |what: &str, change: fn(&mut proto::PublishRequest)| refuses::<_, PublishRequest>(&good, what, change);
    refuse("nonsense", |request| request.object.as_mut().unwrap().key = "nonsense".to_owned());
    refuse("partition is missing", |request| request.partitions[1].partition = None);
    refuse("segment is missing", |request| request.partitions[1].segment = None);
    refuse("not a segment object's key", |request| request.object = None);
    refuse("run", |request| request.partitions[1].runs[0].span = u64::MAX);
    refuse("window holds 6", |request| {
        let batches = &mut request.partitions[1].producers[0].batches;
        batches.push(batches[0]);
    });

    let refused = PartitionVerdict::Refused(PartitionRefusal::Gone);
    let good = proto::PublishResponse::from(&PublishAnswer { revision: Revision(1), verdicts: vec![refused], pressure: 0 });
    let refuse = |what: &str, change: fn(&mut proto::PublishResponse)| refuses::<_, PublishAnswer>(&good, what, change);
    refuse("verdict is missing", |answer| answer.verdicts[0].kind = None);
    refuse("refusal is missing", |answer| {
        answer.verdicts[0].kind = Some(proto::verdict::Kind::Refused(proto::Refusal { kind: None }));
    });
}

#[test]
fn malformed_replacements_are_refused() {
    let good = proto::ReplaceSegmentsRequest::from(&replacement());
    let refuse = |what: &str, change: fn(&mut proto::ReplaceSegmentsRequest)| refuses::<_, ReplaceSegments>(&good, what, change);
    refuse("object is missing", |request| request.object = None);
    refuse("partition is missing", |request| request.partitions[1].partition = None);
    refuse("new segment is missing", |request| request.partitions[1].new = None);
    refuse("of span 0", |request| request.partitions[1].old[0].span = 0);
    refuse("not a segment object's key", |request| request.partitions[1].old[1].object.clear());

    let good = proto::ReplaceSegmentsResponse::from(&ReplaceAnswer { revision: Revision(1), verdicts: vec![ReplaceVerdict::Gone] });
    for verdict in [0, 5] {
        refuses::<_, ReplaceAnswer>(&good, "is unknown", |answer| answer.verdicts[0] = verdict);
    }
}

#[test]
fn malformed_segments_are_refused() {
    let page = SegmentPage { revision: Revision(1), log_start: Offset(0), next_offset: Offset(0), segments: vec![segment()], more: false };
    let good = proto::SegmentPage::from(&page);
    let refuse = |what: &str, change: fn(&mut proto::Segment)| {
        refuses::<_, SegmentPage>(&good, what, |page| change(&mut page.segments[0]));
    };
    refuse("segment at offset -1", |segment| segment.base = -1);
    refuse("of span 0", |segment| segment.span = 0);
    refuse("segment end", |segment| segment.span = u64::MAX);
    refuse("stable end 2000 - 2001", |segment| segment.unstable_span = 2001);
    refuse("state offset", |segment| segment.state_from_back = 1001);
    refuse("state offset", |segment| segment.state_from_back = -1);
    refuse("state offset", |segment| segment.state_from_back = i64::MIN);
    refuse("origin 4", |segment| segment.origin = 4);
    refuse("not a segment object's key", |segment| segment.object.clear());
    let repeated = segment_from_proto(segment_to_proto(&segment(), true), Some(key(5)));
    assert!(repeated.unwrap_err().0.contains("repeats"));
}

#[test]
fn malformed_topics_are_refused() {
    let create = CreateTopic {
        name: "orders".to_owned(),
        partitions: 1,
        replication_factor: 1,
        configs: BTreeMap::new(),
        durability: Durability::Wal,
        validate_only: false,
    };
    let good = proto::CreateTopicRequest::from(&create);
    refuses::<_, CreateTopic>(&good, "replication factor 32768", |request| request.replication_factor = 32_768);
    refuses::<_, CreateTopic>(&good, "durability 0", |request| request.durability = 0);
    let good = proto::CreateTopicResponse { topic: id_bytes(topic(1).as_bytes()), revision: 2 };
    refuses::<_, TopicCreated>(&good, "instead of 16", |answer| answer.topic.clear());
    let grow = CreatePartitions { topic: topic(1), total: 7, durability: Durability::Object, validate_only: true };
    let good = proto::CreatePartitionsRequest::from(&grow);
    refuses::<_, CreatePartitions>(&good, "instead of 16", |request| request.topic.clear());
    refuses::<_, CreatePartitions>(&good, "durability -1", |request| request.durability = -1);
    let alter = AlterTopicConfigs { topic: topic(1), expected: Revision(3), configs: configs() };
    refuses::<_, AlterTopicConfigs>(&(&alter).into(), "instead of 16", |request: &mut proto::AlterTopicConfigsRequest| {
        request.topic.clear();
    });
    let good = proto::EnforceDurabilityRequest::from(&enforce());
    refuses::<_, EnforceDurability>(&good, "durability 9", |request| request.changes[1].level = 9);
    refuses::<_, EnforceDurability>(&good, "partition is missing", |request| request.changes[0].partition = None);
    let advance = AdvanceLogStart { broker: BrokerId(1), epoch: BrokerEpoch(2), partition: partition(3), log_start: Offset(4) };
    refuses::<_, AdvanceLogStart>(&advance.into(), "partition is missing", |request: &mut proto::AdvanceLogStartRequest| {
        request.partition = None;
    });
}
