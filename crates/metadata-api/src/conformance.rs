//! The contract of [`MetadataClient`] as checks that every transport and every double must pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorKind, CoordinatorSlot, Durability, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey,
    ObjectNumber, ObjectOrigin, Offset, ProducerBatch, ProducerWindow, PublishSequence, Revision, SaveSequence, SegmentFlags, SegmentRef,
    SlotEpoch, Timestamp, TopicId, TopicPartition, WalId,
};

use crate::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClientQuotaAlteration, ClientQuotaEntity, ClusterImage,
    ConfigResource, CreatePartitions, CreateTopic, DurabilityChange, Endpoint, EnforceDurability, HeartbeatRequest, MAX_SAVE_BYTES,
    MetadataClient, MetadataError, PartitionPublish, PartitionRefusal, PartitionReplacement, PartitionVerdict, ProducerDelta,
    PublishRequest, PublishedObject, QuotaEntityName, QuotaValue, RegisterBroker, Registration, ReplaceSegments, ReplaceVerdict, RowPage,
    Run, SaveRows, SlotOwner, SlotRows, TakeSlot,
};

/// No check waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const BROKER: BrokerId = BrokerId(1);

/// Runs the suite against a service without brokers and topics. The objects that it publishes need not exist.
///
/// # Panics
/// Where the client breaks the contract.
pub async fn check(client: Arc<dyn MetadataClient>) {
    let client = client.as_ref();
    let registration = registers_a_broker(client).await;
    let topic = creates_topics(client).await;
    publishes(client, &registration, topic).await;
    finds_segments(client, topic).await;
    replaces_segments(client, &registration, topic).await;
    moves_log_starts(client, &registration, topic).await;
    changes_topics(client, &registration, topic).await;
    keeps_configs(client).await;
    keeps_client_quotas(client).await;
    gives_out_producer_ids(client).await;
    coordinates(client, &registration).await;
    saves_once(client, &registration).await;
    hands_over_what_was_published(client, &registration, topic).await;
    elects_and_resigns(client, topic).await;
}

fn register_request() -> RegisterBroker {
    RegisterBroker {
        broker: BROKER,
        wal: WalId::from_bytes([1; 16]),
        cluster: None,
        endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: "localhost".to_owned(), port: 9092 }],
        rack: Some("a".to_owned()),
        revision_seen: Revision(0),
        unpublished: Vec::new(),
    }
}

/// The image, once it is as `wanted`.
async fn image(client: &dyn MetadataClient, what: &str, wanted: impl FnMut(&Arc<ClusterImage>) -> bool) -> Arc<ClusterImage> {
    let mut image = client.image();
    let found = tokio::time::timeout(PATIENCE, image.wait_for(wanted)).await;
    found.unwrap_or_else(|_| panic!("the image never showed {what}")).expect("the client feeds its image").clone()
}

async fn registers_a_broker(client: &dyn MetadataClient) -> Registration {
    let theirs = ClusterId::from_bytes([9; 16]);
    let foreign = client.register_broker(RegisterBroker { cluster: Some(theirs), ..register_request() }).await;
    assert!(matches!(foreign, Err(MetadataError::WrongCluster { theirs: found, .. }) if found == theirs), "{foreign:?}");
    let seen = Revision(u64::MAX);
    let ahead = client.register_broker(RegisterBroker { revision_seen: seen, ..register_request() }).await;
    assert!(matches!(ahead, Err(MetadataError::RolledBack { seen: found, .. }) if found == seen), "{ahead:?}");
    let never = TopicPartition::new(TopicId::from_bytes([8; 16]), 0);
    let foreign = client.register_broker(RegisterBroker { unpublished: vec![(never, Offset(1))], ..register_request() }).await;
    assert_eq!(foreign, Err(MetadataError::UnknownTopic { topic: never.topic }));

    let registration = client.register_broker(register_request()).await.expect("registers");
    assert_eq!((registration.last_published, registration.synced_seen), (Lsn::ZERO, Lsn::ZERO));
    assert_eq!(registration.partitions, []);
    let twin = client.register_broker(RegisterBroker { wal: WalId::from_bytes([2; 16]), ..register_request() }).await;
    assert_eq!(twin, Err(MetadataError::DuplicateBroker { broker: BROKER }));
    let image = image(client, "the broker", |image| image.brokers.contains_key(&BROKER)).await;
    let broker = &image.brokers[&BROKER];
    assert_eq!((broker.epoch, broker.alive, broker.rack.as_deref()), (registration.epoch, true, Some("a")));
    assert_eq!((&broker.endpoints, image.cluster_id), (&register_request().endpoints, registration.cluster));

    let beat = |epoch| HeartbeatRequest { broker: BROKER, epoch, synced: Lsn(3), unoffloaded_bytes: 7 };
    let answer = client.heartbeat(beat(registration.epoch)).await.expect("answers");
    assert!(registration.revision <= answer.revision);
    let stale = BrokerEpoch(registration.epoch.0 - 1);
    let fenced = MetadataError::Fenced { broker: BROKER, epoch: stale, current: registration.epoch };
    assert_eq!(client.heartbeat(beat(stale)).await, Err(fenced));
    registration
}

fn create_request(name: &str) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: 2,
        replication_factor: 1,
        configs: BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]),
        durability: Durability::Object,
        validate_only: false,
    }
}

async fn creates_topics(client: &dyn MetadataClient) -> TopicId {
    let checked = client.create_topic(CreateTopic { validate_only: true, ..create_request("orders") }).await.expect("checks");
    assert_eq!(checked.topic, TopicId::default());
    let created = client.create_topic(create_request("orders")).await.expect("creates");
    assert_ne!(created.topic, TopicId::default());
    assert_eq!(client.create_topic(create_request("orders")).await, Err(MetadataError::TopicExists { name: "orders".to_owned() }));
    let name = client.create_topic(create_request("no/name")).await;
    assert!(matches!(name, Err(MetadataError::InvalidTopicName { .. })), "{name:?}");
    let count = client.create_topic(CreateTopic { partitions: 0, ..create_request("x") }).await;
    assert!(matches!(count, Err(MetadataError::InvalidPartitions { .. })), "{count:?}");
    let factor = client.create_topic(CreateTopic { replication_factor: 0, ..create_request("x") }).await;
    assert!(matches!(factor, Err(MetadataError::InvalidReplicationFactor { .. })), "{factor:?}");
    let image = image(client, "the topic", |image| image.topic_named("orders").is_some()).await;
    let topic = image.topic_named("orders").expect("waited for");
    assert_eq!((topic.id, topic.config_revision, topic.partitions.len()), (created.topic, created.revision, 2));
    assert_eq!((topic.replication_factor, &topic.configs), (1, &create_request("orders").configs));
    for partition in &topic.partitions {
        assert_eq!((partition.leader, partition.leader_epoch, partition.durability), (Some(BROKER), LeaderEpoch(0), Durability::Object));
        assert_eq!((partition.owner, &partition.replicas[..]), (WalId::from_bytes([1; 16]), &[BROKER][..]));
    }
    created.topic
}

fn producer() -> ProducerDelta {
    let batch = ProducerBatch {
        first_sequence: i32::MAX,
        last_sequence: 3,
        base_offset: Offset(5),
        last_offset: Offset(9),
        append_time: Timestamp(1_000),
    };
    let window = ProducerWindow {
        epoch: 4,
        batches: [batch].into(),
        coordinator_epoch: -1,
        open_transaction: None,
        last_append_time: Timestamp(i64::MAX),
    };
    ProducerDelta { producer: 77, window }
}

fn segment(object: ObjectKey, base: i64, end: i64, timestamp: i64) -> SegmentRef {
    SegmentRef {
        base: Offset(base),
        end: Offset(end),
        object,
        position: 64,
        bytes: 500,
        index_bytes: 20,
        records: 3,
        batches: 2,
        max_timestamp: Timestamp(timestamp),
        min_timestamp: MinTimestamp { value: Timestamp(timestamp - 1), exact: false },
        append_times: (Timestamp(timestamp), Timestamp(timestamp + 5)),
        leader_epochs: vec![EpochStart { epoch: LeaderEpoch(0), offset: Offset(base) }],
        stable_end: Offset(end),
        aborted: 0,
        flags: SegmentFlags(0b11),
        state_from: Offset(0),
        origin: ObjectOrigin::Range,
        offset_shift: 0,
        leader_epoch: None,
        added: Revision(0),
    }
}

/// Ten offsets of partition 0 and as many, one too high, of partition 1.
fn publish_request(registration: &Registration, topic: TopicId, sequence: u64, timestamp: i64) -> PublishRequest {
    let number = ObjectNumber(sequence);
    let key = ObjectKey::Shared { broker: BROKER, epoch: registration.epoch, number };
    let part = |partition, base, end| PartitionPublish {
        partition: TopicPartition::new(topic, partition),
        segment: segment(key, base, end, timestamp),
        runs: vec![Run { leader_epoch: LeaderEpoch(0), base: Offset(base), end: Offset(end) }],
        gap: false,
        producers: vec![producer()],
    };
    let base = i64::try_from(sequence - 1).expect("small") * 10;
    PublishRequest {
        broker: BROKER,
        epoch: registration.epoch,
        sequence: PublishSequence(sequence),
        object: Some(PublishedObject { key, length: 10_000, crc: u32::MAX }),
        first_lsn: Lsn(sequence * 100),
        end_lsn: Lsn(sequence * 100 + 50),
        object_floor: ObjectNumber(0),
        synced: Lsn(0),
        partitions: vec![part(0, base, base + 10), part(1, 1, 11)],
    }
}

async fn publishes(client: &dyn MetadataClient, registration: &Registration, topic: TopicId) {
    let request = publish_request(registration, topic, 1, 1_000);
    let answer = client.publish(request.clone()).await.expect("publishes");
    let wrong_offset = PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset: Offset(0) });
    assert_eq!(answer.verdicts, [PartitionVerdict::Accepted { next_offset: Offset(10) }, wrong_offset.clone()]);
    assert_eq!(client.publish(request.clone()).await.as_ref(), Ok(&answer), "a repeat is answered as the first");
    let changed = client.publish(PublishRequest { end_lsn: Lsn(151), ..request.clone() }).await;
    assert!(matches!(changed, Err(MetadataError::Invalid { .. })), "{changed:?}");
    let stranger = client.publish(PublishRequest { epoch: BrokerEpoch(1), sequence: PublishSequence(2), ..request }).await;
    assert!(matches!(stranger, Err(MetadataError::Fenced { .. })), "{stranger:?}");
    let answer = client.publish(publish_request(registration, topic, 2, 500)).await.expect("publishes");
    assert_eq!(answer.verdicts, [PartitionVerdict::Accepted { next_offset: Offset(20) }, wrong_offset]);
}

async fn finds_segments(client: &dyn MetadataClient, topic: TopicId) {
    let partition = TopicPartition::new(topic, 0);
    let page = client.segments(partition, Offset(0), 1).await.expect("answers");
    assert_eq!((page.log_start, page.next_offset, page.more, page.segments.len()), (Offset(0), Offset(20), true, 1));
    let first = &page.segments[0];
    assert!(Revision(0) < first.added && first.added <= page.revision);
    assert_eq!(*first, SegmentRef { added: first.added, ..segment(first.object, 0, 10, 1_000) }, "as it was published");
    let page = client.segments(partition, Offset(15), 10).await.expect("answers");
    assert_eq!((page.more, page.segments.iter().map(|segment| segment.base).collect::<Vec<_>>()), (false, vec![Offset(10)]));
    assert_eq!(client.segments(partition, Offset(20), 10).await.expect("answers").segments, []);
    let at = client.segment_at(partition, Timestamp(400)).await.expect("answers");
    assert_eq!(at.segments[0].base, Offset(0));
    assert_eq!(client.segment_at(partition, Timestamp(1_001)).await.expect("answers").segments, []);
    assert_eq!(client.segment_of_max_timestamp(partition).await.expect("answers").segments[0].base, Offset(0));
    let absent = client.segments(TopicPartition::new(topic, 2), Offset(0), 1).await;
    assert_eq!(absent, Err(MetadataError::UnknownPartition { topic, partition: 2 }));
    let absent = TopicPartition::new(TopicId::from_bytes([8; 16]), 0);
    assert_eq!(client.segment_at(absent, Timestamp(0)).await, Err(MetadataError::UnknownTopic { topic: absent.topic }));
}

/// The two segments of partition 0 become one.
async fn replaces_segments(client: &dyn MetadataClient, registration: &Registration, topic: TopicId) {
    let partition = TopicPartition::new(topic, 0);
    let before = client.segments(partition, Offset(0), 10).await.expect("answers");
    let key = ObjectKey::Topic { partition, base: Offset(0), broker: BROKER, epoch: registration.epoch, number: ObjectNumber(9) };
    let new = SegmentRef {
        bytes: 1000,
        records: 6,
        batches: 4,
        origin: ObjectOrigin::Rewrite,
        object: key,
        end: Offset(20),
        stable_end: Offset(20),
        ..before.segments[0].clone()
    };
    let request = ReplaceSegments {
        broker: BROKER,
        epoch: registration.epoch,
        object: PublishedObject { key, length: 10_000, crc: 7 },
        object_floor: ObjectNumber(0),
        partitions: vec![PartitionReplacement { partition, old: before.segments.clone(), new }],
    };
    let stale = BrokerEpoch(registration.epoch.0 - 1);
    let fenced = client.replace_segments(ReplaceSegments { epoch: stale, ..request.clone() }).await;
    assert!(matches!(fenced, Err(MetadataError::Fenced { .. })), "{fenced:?}");
    let foreign = ObjectKey::Shared { broker: BROKER, epoch: stale, number: ObjectNumber(9) };
    let mut other = request.clone();
    (other.object.key, other.partitions[0].new.object) = (foreign, foreign);
    let refused = client.replace_segments(other).await;
    assert!(matches!(refused, Err(MetadataError::Invalid { .. })), "{refused:?}");
    let mut changed = request.clone();
    changed.partitions[0].old[1].position += 1;
    let answer = client.replace_segments(changed).await.expect("answers");
    assert_eq!(answer.verdicts, [ReplaceVerdict::Changed]);
    assert_eq!(client.segments(partition, Offset(0), 10).await.expect("answers").segments, before.segments);

    for attempt in 1..3 {
        let answer = client.replace_segments(request.clone()).await.expect("replaces");
        assert_eq!(answer.verdicts, [ReplaceVerdict::Replaced], "attempt {attempt}");
    }
    let after = client.segments(partition, Offset(0), 10).await.expect("answers");
    assert_eq!((after.log_start, after.next_offset, after.segments.len()), (before.log_start, before.next_offset, 1));
    assert_eq!(after.segments[0], SegmentRef { added: after.segments[0].added, ..request.partitions[0].new.clone() });
    assert!(before.segments[1].added < after.segments[0].added);
}

async fn moves_log_starts(client: &dyn MetadataClient, registration: &Registration, topic: TopicId) {
    let request = |log_start| AdvanceLogStart {
        broker: BROKER,
        epoch: registration.epoch,
        partition: TopicPartition::new(topic, 0),
        log_start: Offset(log_start),
    };
    assert_eq!(client.advance_log_start(request(5)).await, Ok(Offset(5)));
    assert_eq!(client.advance_log_start(request(3)).await, Ok(Offset(5)), "it never goes back");
    let above = client.advance_log_start(request(21)).await;
    assert!(matches!(above, Err(MetadataError::Invalid { .. })), "{above:?}");
    assert_eq!(client.segments(TopicPartition::new(topic, 0), Offset(0), 1).await.expect("answers").log_start, Offset(5));
}

/// Partition 2 of the topic has nothing published.
async fn enforces_durability(client: &dyn MetadataClient, registration: &Registration, topic: TopicId) {
    let partition = TopicPartition::new(topic, 2);
    let before = client.image().borrow().topics[&topic].clone();
    let enforce = |level, config_revision, log_end| EnforceDurability {
        broker: BROKER,
        epoch: registration.epoch,
        changes: vec![DurabilityChange { partition, level, config_revision, log_end: Offset(log_end) }],
    };
    client.enforce_durability(enforce(Durability::Object, Revision(1), 0)).await.expect("leaves it out: other configs");
    client.enforce_durability(enforce(Durability::Object, before.config_revision, 1)).await.expect("leaves it out: not published");
    let revision = client.enforce_durability(enforce(Durability::Object, before.config_revision, 0)).await.expect("enforces");
    let after = image(client, "the level in force", |image| revision <= image.revision).await.topics[&topic].clone();
    let levels: Vec<_> = after.partitions.iter().map(|partition| partition.durability).collect();
    assert_eq!(levels, [before.partitions[0].durability, before.partitions[1].durability, Durability::Object]);
    assert_eq!(after.config_revision, before.config_revision);
    client.enforce_durability(enforce(Durability::Object, before.config_revision, 0)).await.expect("is in force already");
    let stale = EnforceDurability { epoch: BrokerEpoch(registration.epoch.0 + 1), ..enforce(Durability::Wal, before.config_revision, 0) };
    assert!(matches!(client.enforce_durability(stale).await, Err(MetadataError::Fenced { .. })));
}

async fn changes_topics(client: &dyn MetadataClient, registration: &Registration, topic: TopicId) {
    let grow = |total, validate_only| CreatePartitions { topic, total, durability: Durability::Wal, validate_only };
    client.create_partitions(grow(3, true)).await.expect("checks");
    client.create_partitions(grow(3, false)).await.expect("grows");
    let less = client.create_partitions(grow(2, false)).await;
    assert!(matches!(less, Err(MetadataError::InvalidPartitions { .. })), "{less:?}");
    let grown = image(client, "the third partition", |image| image.topics[&topic].partitions.len() == 3).await;
    assert_eq!(grown.topics[&topic].partitions[2].durability, Durability::Wal);

    let alter = |expected| AlterTopicConfigs { topic, expected, configs: BTreeMap::new() };
    let expected = grown.topics[&topic].config_revision;
    client.alter_topic_configs(alter(expected)).await.expect("alters");
    assert_eq!(client.alter_topic_configs(alter(expected)).await, Err(MetadataError::ConfigConflict { topic }));
    image(client, "the new configs", |image| image.topics[&topic].configs.is_empty()).await;

    enforces_durability(client, registration, topic).await;

    let other = client.create_topic(create_request("other")).await.expect("creates").topic;
    client.delete_topic(other).await.expect("deletes");
    assert_eq!(client.delete_topic(other).await, Err(MetadataError::UnknownTopic { topic: other }));
    let again = client.create_topic(create_request("other")).await.expect("creates").topic;
    let shown = image(client, "the topic that came again", |image| image.topics.contains_key(&again)).await;
    assert!(!shown.topics.contains_key(&other) && shown.topic_named("other").map(|topic| topic.id) == Some(again));
}

async fn keeps_configs(client: &dyn MetadataClient) {
    let group = || ConfigResource::Group("g".to_owned());
    for resource in [ConfigResource::AllBrokers, ConfigResource::Broker(BROKER), group()] {
        let configs = |value: &str| BTreeMap::from([("key".to_owned(), value.to_owned())]);
        let alter =
            |expected, configs| client.alter_resource_configs(AlterResourceConfigs { resource: resource.clone(), expected, configs });
        let revision = alter(Revision(0), configs("1")).await.expect("sets");
        let conflict = Err(MetadataError::ResourceConfigConflict { resource: resource.clone() });
        assert_eq!(alter(Revision(0), configs("2")).await, conflict);
        let set = |image: &Arc<ClusterImage>| image.configs.get(&resource).map(|set| (set.revision, set.configs.clone()));
        image(client, "what was set", |image| set(image) == Some((revision, configs("1")))).await;
        alter(revision, BTreeMap::new()).await.expect("removes");
        image(client, "that nothing is set any more", |image| set(image).is_none()).await;
        assert_eq!(alter(revision, configs("2")).await, conflict);
    }
}

async fn keeps_client_quotas(client: &dyn MetadataClient) {
    let named = |name: &str| QuotaEntityName::Named(name.to_owned());
    let value = |value: f64| QuotaValue::new(value).expect("above 0");
    let entities = [
        ClientQuotaEntity::ClientId(QuotaEntityName::Default),
        ClientQuotaEntity::User(named("u")),
        ClientQuotaEntity::UserClientId(QuotaEntityName::Default, named("c")),
        ClientQuotaEntity::Ip(named("127.0.0.1")),
    ];
    let alter = async |set: &[(&str, f64)], removed: &[&str]| {
        let alteration = |entity: &ClientQuotaEntity| ClientQuotaAlteration {
            entity: entity.clone(),
            set: set.iter().map(|(key, number)| ((*key).to_owned(), value(*number))).collect(),
            removed: removed.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>(),
        };
        let request = AlterClientQuotas { alterations: entities.iter().map(alteration).collect() };
        let revision = client.alter_client_quotas(request).await.expect("alters");
        image(client, "the quotas", |image| revision <= image.revision).await
    };
    for _ in 0..2 {
        let shown = alter(&[("a", 1.5), ("b", 2.0)], &["c"]).await;
        let expected = BTreeMap::from([("a".to_owned(), value(1.5)), ("b".to_owned(), value(2.0))]);
        assert_eq!(*shown.client_quotas, entities.clone().map(|entity| (entity, expected.clone())).into());
    }
    let shown = alter(&[("c", 3.0)], &["a", "b"]).await;
    assert!(shown.client_quotas.values().all(|quotas| *quotas == BTreeMap::from([("c".to_owned(), value(3.0))])));
    assert!(alter(&[], &["c"]).await.client_quotas.is_empty(), "an entity without quotas is gone");
}

async fn gives_out_producer_ids(client: &dyn MetadataClient) {
    let first = client.allocate_producer_ids(10).await.expect("allocates");
    let second = client.allocate_producer_ids(1).await.expect("allocates");
    assert_eq!((first.end - first.start, second.end - second.start), (10, 1));
    assert!(first.end <= second.start, "{first:?}, then {second:?}");
    let none = client.allocate_producer_ids(0).await;
    assert!(matches!(none, Err(MetadataError::Invalid { .. })), "{none:?}");
}

fn slot(number: u8) -> CoordinatorSlot {
    CoordinatorSlot::new(CoordinatorKind::Group, number).expect("below 50")
}

/// Rows of slot 3; those without value are removed.
fn save(registration: &Registration, slot_epoch: SlotEpoch, sequence: u64, rows: &[(&str, Option<&str>)]) -> SaveRows {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    let rows = rows.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
    SaveRows { broker: BROKER, epoch: registration.epoch, slot: slot(3), slot_epoch, sequence: SaveSequence(sequence), rows }
}

async fn page(
    client: &dyn MetadataClient,
    slot: CoordinatorSlot,
    epoch: i32,
    after: Option<&str>,
    limit_bytes: u32,
) -> Result<RowPage, MetadataError> {
    let after_key = after.map(|key| Bytes::from(key.to_owned()));
    client.slot_rows(SlotRows { slot, slot_epoch: SlotEpoch(epoch), after_key, limit_bytes }).await
}

/// The rows of slot 3 as text, read two short ones at a time.
async fn rows(client: &dyn MetadataClient, epoch: i32) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text was saved");
    let mut rows: Vec<(String, String)> = Vec::new();
    loop {
        let last = rows.last().map(|(key, _)| key.clone());
        let page = page(client, slot(3), epoch, last.as_deref(), 40).await.expect("answers");
        assert!(page.rows.len() <= 2 && (!page.more || !page.rows.is_empty()), "{page:?}");
        rows.extend(page.rows.iter().map(|(key, value)| (text(key), text(value))));
        if !page.more {
            return rows;
        }
    }
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn coordinates(client: &dyn MetadataClient, registration: &Registration) {
    assert_eq!(client.image().borrow().slots.get(&slot(3)), None, "nobody took it");
    let untaken = MetadataError::SlotFenced { slot: slot(3), epoch: SlotEpoch(0), current: SlotEpoch(0) };
    assert_eq!(page(client, slot(3), 0, None, 1).await, Err(untaken));
    let take = |slot| client.take_slot(TakeSlot { broker: BROKER, epoch: registration.epoch, slot });
    let first = take(slot(3)).await.expect("takes");
    assert_eq!(first.slot_epoch, SlotEpoch(1));
    let shown = image(client, "the slot's owner", |image| image.slots.contains_key(&slot(3))).await;
    assert_eq!(shown.slots.get(&slot(3)), Some(&SlotOwner { broker: BROKER, epoch: SlotEpoch(1) }));
    assert_eq!(shown.slots.len(), 1);
    assert_eq!(rows(client, 1).await, []);
    let saved = [("b", Some("1")), ("c", Some("")), ("a", Some("1")), ("d", Some("1"))];
    client.save_rows(save(registration, SlotEpoch(1), 1, &saved)).await.expect("saves");
    assert_eq!(rows(client, 1).await, pairs(&[("a", "1"), ("b", "1"), ("c", ""), ("d", "1")]));

    // It is taken again, here by the same broker: what belongs to the older epoch is over.
    let second = take(slot(3)).await.expect("takes");
    assert_eq!(second.slot_epoch, SlotEpoch(2));
    let fenced = MetadataError::SlotFenced { slot: slot(3), epoch: SlotEpoch(1), current: SlotEpoch(2) };
    assert_eq!(client.save_rows(save(registration, SlotEpoch(1), 2, &[])).await.as_ref(), Err(&fenced));
    assert_eq!(client.save_rows(save(registration, SlotEpoch(1), 1, &saved)).await.as_ref(), Err(&fenced), "not even a repeat");
    assert_eq!(page(client, slot(3), 1, None, 1).await, Err(fenced));
    let ahead = MetadataError::SlotFenced { slot: slot(3), epoch: SlotEpoch(3), current: SlotEpoch(2) };
    assert_eq!(client.save_rows(save(registration, SlotEpoch(3), 1, &[])).await, Err(ahead));
    assert_eq!(rows(client, 2).await.len(), 4);
    image(client, "the new slot epoch", |image| image.slots.get(&slot(3)).is_some_and(|owner| owner.epoch == SlotEpoch(2))).await;

    // Every slot for itself, and each kind has its own.
    let other = CoordinatorSlot::new(CoordinatorKind::Transaction, 3).expect("below 50");
    assert_eq!(take(other).await.expect("takes").slot_epoch, SlotEpoch(1));
    assert_eq!(take(slot(49)).await.expect("takes").slot_epoch, SlotEpoch(1));
    for slot in [other, slot(49)] {
        assert_eq!(page(client, slot, 1, None, 1000).await.expect("answers").rows, []);
    }
}

/// Goes on in the second epoch of slot 3.
async fn saves_once(client: &dyn MetadataClient, registration: &Registration) {
    let epoch = SlotEpoch(2);
    let skipped = client.save_rows(save(registration, epoch, 2, &[])).await;
    assert!(matches!(skipped, Err(MetadataError::Invalid { .. })), "the first of an epoch is 1: {skipped:?}");
    let first =
        save(registration, epoch, 1, &[("a", Some("2")), ("b", Some("2")), ("b", None), ("c", None), ("c", Some("2")), ("z", None)]);
    let revision = client.save_rows(first.clone()).await.expect("saves");
    let expected = pairs(&[("a", "2"), ("c", "2"), ("d", "1")]);
    assert_eq!(rows(client, 2).await, expected, "the last value of a key counts");
    assert_eq!(client.save_rows(first.clone()).await, Ok(revision), "a repeat is answered as the first");
    let changed = client.save_rows(save(registration, epoch, 1, &[("a", Some("3"))])).await;
    assert!(matches!(changed, Err(MetadataError::Invalid { .. })), "{changed:?}");
    let second = client.save_rows(save(registration, epoch, 2, &[("a", Some("3"))])).await.expect("saves");
    assert!(revision < second);
    let late = client.save_rows(first).await;
    assert!(matches!(late, Err(MetadataError::Invalid { .. })), "it would undo the second: {late:?}");
    for sequence in [0, 4] {
        let gap = client.save_rows(save(registration, epoch, sequence, &[("a", None)])).await;
        assert!(matches!(gap, Err(MetadataError::Invalid { .. })), "{gap:?}");
    }
    let nameless = client.save_rows(save(registration, epoch, 3, &[("e", Some("1")), ("", Some("1"))])).await;
    assert!(matches!(nameless, Err(MetadataError::Invalid { .. })), "{nameless:?}");
    let large = client.save_rows(save(registration, epoch, 3, &[("e", Some(&"x".repeat(MAX_SAVE_BYTES)))])).await;
    assert!(matches!(large, Err(MetadataError::Invalid { .. })), "a save has a bound");
    assert_eq!(rows(client, 2).await, pairs(&[("a", "3"), ("c", "2"), ("d", "1")]), "what is refused does not happen");
}

async fn hands_over_what_was_published(client: &dyn MetadataClient, before: &Registration, topic: TopicId) {
    let unpublished = vec![(TopicPartition::new(topic, 0), Offset(25))];
    let request = RegisterBroker { unpublished, cluster: Some(before.cluster), ..register_request() };
    let registration = client.register_broker(request).await.expect("registers again");
    assert!(before.epoch < registration.epoch && registration.epoch.0 <= registration.revision.0);
    assert_eq!((registration.last_published, registration.synced_seen), (Lsn(249), Lsn(3)));
    let handed: Vec<_> = registration.partitions.iter().filter(|state| state.partition.topic == topic).collect();
    assert_eq!(handed.len(), 3);
    let state = handed[0];
    assert_eq!((state.log_start, state.next_offset, state.leader_epoch), (Offset(5), Offset(20), LeaderEpoch(1)));
    assert_eq!(state.epochs, [EpochStart { epoch: LeaderEpoch(0), offset: Offset(0) }]);
    assert_eq!((state.durability, state.producers.get(77)), (Durability::Object, Some(&producer().window)));
    let fenced = client.publish(publish_request(before, topic, 3, 0)).await;
    assert!(matches!(fenced, Err(MetadataError::Fenced { current, .. }) if current == registration.epoch), "{fenced:?}");
    let stale = client.take_slot(TakeSlot { broker: BROKER, epoch: before.epoch, slot: slot(3) }).await;
    assert!(matches!(stale, Err(MetadataError::Fenced { current, .. }) if current == registration.epoch), "{stale:?}");
    let stale = client.save_rows(save(before, SlotEpoch(2), 3, &[])).await;
    assert!(matches!(stale, Err(MetadataError::Fenced { current, .. }) if current == registration.epoch), "{stale:?}");
    let untaken = client.save_rows(save(&registration, SlotEpoch(2), 3, &[])).await;
    assert!(matches!(untaken, Err(MetadataError::Invalid { .. })), "a new broker epoch takes its slots anew: {untaken:?}");
    image(client, "the new leader epoch", |image| image.topics[&topic].partitions[0].leader_epoch == LeaderEpoch(1)).await;
}

async fn elects_and_resigns(client: &dyn MetadataClient, topic: TopicId) {
    let partition = TopicPartition::new(topic, 0);
    client.elect_unclean(vec![partition]).await.expect("a leader that is there stays");
    let state = client.image().borrow().partition(partition).cloned();
    assert_eq!(state.map(|state| state.leader_epoch), Some(LeaderEpoch(1)));
    let epoch = client.image().borrow().brokers[&BROKER].epoch;
    let states = client.partition_states(BROKER, epoch, vec![partition, TopicPartition::new(topic, 1000)]).await.expect("states");
    assert_eq!(states.iter().map(|state| (state.partition, state.leader_epoch)).collect::<Vec<_>>(), [(partition, LeaderEpoch(1))]);
    let resigned = client.resign_broker(BROKER, epoch).await.expect("resigns");
    assert_eq!(client.resign_broker(BROKER, epoch).await, Ok(resigned), "a repeat is answered");
    let image = image(client, "that the broker is gone", |image| !image.brokers[&BROKER].alive).await;
    assert_eq!(image.topics[&topic].partitions[0].leader, None);
    assert_eq!(image.slots.get(&slot(3)), Some(&SlotOwner { broker: BROKER, epoch: SlotEpoch(2) }), "until somebody takes it");
    let nobody = client.elect_unclean(vec![partition]).await;
    assert!(matches!(nobody, Err(MetadataError::Unavailable { .. })), "{nobody:?}");
}
