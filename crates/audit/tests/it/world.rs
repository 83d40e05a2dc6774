//! A topic whose segments are published in objects that were built by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use audit::{ObjectReader, Pace, Problem, Reference};
use bytes::Bytes;
use metadata_api::{
    AdvanceLogStart, CreateTopic, MetadataClient, PartitionPublish, PartitionReplacement, PartitionVerdict, PublishRequest,
    PublishedObject, RegisterBroker, Registration, ReplaceSegments, ReplaceVerdict, Run,
};
use metadata_service::{MemoryJournal, MetadataService};
use records::{BatchBuilder, Codec};
use runtime::{Clock, ManualClock, Random};
use segment::{BuiltObject, ObjectBuilder, ObjectHeader, SegmentInput};
use store::faults::FaultyStore;
use store::{MemoryStore, ObjectStore};
use types::{
    BrokerId, Durability, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, ObjectOrigin, Offset, PublishSequence, Revision, SegmentRef,
    Timestamp, TopicId, TopicPartition, WalId,
};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const BROKER: BrokerId = BrokerId(1);

/// Counts requests and their bytes.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

#[async_trait]
impl Pace for Counted {
    async fn request(&self, _: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

pub(crate) struct World {
    /// What is asked.
    pub(crate) store: Arc<FaultyStore>,
    /// What is there.
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) registration: Registration,
    pub(crate) topic: TopicId,
    pub(crate) pace: Counted,
    _service: MetadataService,
    objects: u64,
    publishes: u64,
}

impl World {
    /// With the topic `orders`.
    pub(crate) async fn new(partitions: i32) -> Self {
        let clock = Arc::new(ManualClock::following_tokio(NOW));
        let memory = Arc::new(MemoryStore::new(clock.clone()));
        let store = Arc::new(FaultyStore::new(memory.clone()));
        let options = metadata_service::Options { deletion_grace: Duration::ZERO, retention: None, ..Default::default() };
        let random = Arc::new(Random::seeded(1));
        let journal = Arc::new(MemoryJournal::new());
        let service = MetadataService::start(options, journal, memory.clone(), None, clock.clone(), random).await.unwrap();
        let metadata = service.client();
        let registration = metadata.register_broker(registration_of(BROKER)).await.unwrap();
        let request = CreateTopic {
            name: "orders".to_owned(),
            partitions,
            replication_factor: 1,
            configs: [("retention.ms".to_owned(), "-1".to_owned())].into(),
            durability: Durability::Object,
            validate_only: false,
        };
        let topic = metadata.create_topic(request).await.unwrap().topic;
        let pace = Counted::default();
        Self { store, memory, clock, metadata, registration, topic, pace, _service: service, objects: 0, publishes: 0 }
    }

    pub(crate) fn partition(&self, index: i32) -> TopicPartition {
        TopicPartition::new(self.topic, index)
    }

    pub(crate) fn reader(&self) -> ObjectReader<'_> {
        ObjectReader { store: self.store.as_ref(), cluster: self.registration.cluster, pace: &self.pace }
    }

    /// An object with the next ten offsets of each of these partitions, in batches of one record of so many bytes, uploaded and published.
    pub(crate) async fn publish(&mut self, partitions: &[i32], value_bytes: usize) -> ObjectKey {
        self.objects += 1;
        self.publishes += 1;
        let key = ObjectKey::Shared { broker: BROKER, epoch: self.registration.epoch, number: ObjectNumber(self.objects) };
        let mut bases = Vec::new();
        for index in partitions {
            let page = self.metadata.segments(self.partition(*index), Offset::ZERO, 1).await.unwrap();
            bases.push((*index, page.next_offset.0));
        }
        let built = self.build(key, &bases, value_bytes);
        self.memory.put(&key.to_string(), built.parts.clone()).await.unwrap();
        let parts = built.segments.iter().map(|entry| PartitionPublish {
            partition: entry.partition,
            segment: entry.segment.clone(),
            runs: vec![Run { leader_epoch: LeaderEpoch(0), base: entry.segment.base, end: entry.segment.end }],
            gap: false,
            producers: Vec::new(),
        });
        let request = PublishRequest {
            broker: BROKER,
            epoch: self.registration.epoch,
            sequence: PublishSequence(self.publishes),
            object: Some(PublishedObject { key, length: built.length, crc: built.crc }),
            first_lsn: Lsn(self.publishes * 10),
            end_lsn: Lsn(self.publishes * 10 + 1),
            object_floor: ObjectNumber(0),
            synced: Lsn(0),
            partitions: parts.collect(),
        };
        let answer = self.metadata.publish(request).await.unwrap();
        assert!(answer.verdicts.iter().all(|verdict| matches!(verdict, PartitionVerdict::Accepted { .. })), "{answer:?}");
        key
    }

    /// Ten offsets of each partition from its base.
    pub(crate) fn build(&self, key: ObjectKey, bases: &[(i32, i64)], value_bytes: usize) -> BuiltObject {
        let mut builder = ObjectBuilder::new(ObjectHeader {
            cluster: self.registration.cluster,
            wal: WalId::from_bytes([5; 16]),
            first_lsn: Lsn(1),
            end_lsn: Lsn(2),
            sequence: PublishSequence(1),
            metadata_revision: Revision(1),
            created_at: Timestamp(self.clock.wall_ms()),
            answered_through: PublishSequence(0),
            refused: Vec::new(),
        });
        for (index, base) in bases {
            let input = SegmentInput {
                partition: self.partition(*index),
                base: Offset(*base),
                end: Offset(base + 10),
                origin: ObjectOrigin::Range,
                state_from: Offset(*base),
                producers: Vec::new(),
                producers_full: false,
            };
            let batches = (*base..base + 10).map(|offset| {
                let mut batch = BatchBuilder::new(Codec::None).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0));
                batch.push(Timestamp(offset), None, Some(&vec![offset as u8; value_bytes]), &[]);
                (batch.build(), Timestamp(NOW))
            });
            builder.add_segment(input, batches).unwrap();
        }
        builder.finish(key)
    }

    /// A partition's first segment is replaced by one in an object of its own.
    pub(crate) async fn rewrite(&mut self, index: i32, value_bytes: usize) -> ObjectKey {
        self.objects += 1;
        let partition = self.partition(index);
        let old = self.metadata.segments(partition, Offset::ZERO, 1).await.unwrap().segments.remove(0);
        let number = ObjectNumber(self.objects);
        let key = ObjectKey::Topic { partition, base: old.base, broker: BROKER, epoch: self.registration.epoch, number };
        let built = self.build(key, &[(index, old.base.0)], value_bytes);
        self.memory.put(&key.to_string(), built.parts.clone()).await.unwrap();
        let new = built.segments[0].segment.clone();
        let request = ReplaceSegments {
            broker: BROKER,
            epoch: self.registration.epoch,
            object: PublishedObject { key, length: built.length, crc: built.crc },
            object_floor: ObjectNumber(0),
            partitions: vec![PartitionReplacement { partition, old: vec![old.clone()], new }],
        };
        let answer = self.metadata.replace_segments(request).await.unwrap();
        assert_eq!(answer.verdicts, [ReplaceVerdict::Replaced]);
        key
    }

    pub(crate) async fn advance_log_start(&self, index: i32, log_start: i64) {
        let (partition, log_start) = (self.partition(index), Offset(log_start));
        let request = AdvanceLogStart { broker: BROKER, epoch: self.registration.epoch, partition, log_start };
        self.metadata.advance_log_start(request).await.unwrap();
    }

    /// Every segment that metadata has in `key`.
    pub(crate) async fn references(&self, key: ObjectKey) -> Vec<Reference> {
        self.all_references().await.into_iter().filter(|reference| reference.segment.object == key).collect()
    }

    /// Every segment that metadata has.
    pub(crate) async fn all_references(&self) -> Vec<Reference> {
        let image = self.metadata.image().borrow().clone();
        let mut found = Vec::new();
        for index in 0..image.topics.get(&self.topic).map_or(0, |topic| topic.partitions.len()) {
            let partition = self.partition(index as i32);
            let page = self.metadata.segments(partition, Offset::ZERO, 10_000).await.unwrap();
            found.extend(page.segments.into_iter().map(|segment| Reference { partition, segment }));
        }
        found
    }

    /// What reading finds wrong with all that metadata has in `key`.
    pub(crate) async fn verify(&self, key: ObjectKey) -> Vec<Problem> {
        self.reader().verify(key, None, &self.references(key).await).await.unwrap()
    }

    /// Deletes every object in which metadata has no segment, as the service does after its grace.
    pub(crate) async fn remove_unreferenced(&self) {
        let mut referenced = BTreeSet::new();
        let image = self.metadata.image().borrow().clone();
        for index in 0..image.topics.get(&self.topic).map_or(0, |topic| topic.partitions.len()) {
            let page = self.metadata.segments(self.partition(index as i32), Offset::ZERO, 10_000).await.unwrap();
            referenced.extend(page.segments.into_iter().map(|segment| segment.object.to_string()));
        }
        for folder in ["shared/", "topic/"] {
            for object in self.memory.list(folder, None, 10_000).await.unwrap() {
                if !referenced.contains(&object.key) {
                    self.memory.delete(&[object.key]).await.remove(0).unwrap();
                }
            }
        }
    }

    pub(crate) async fn object(&self, key: ObjectKey) -> Vec<u8> {
        self.memory.get(&key.to_string(), u64::MAX).await.unwrap().to_vec()
    }

    pub(crate) async fn remove(&self, key: ObjectKey) {
        self.memory.delete(&[key.to_string()]).await.remove(0).unwrap();
    }

    /// Puts other bytes in an object's place.
    pub(crate) async fn put(&self, key: ObjectKey, bytes: impl Into<Bytes>) {
        self.remove(key).await;
        self.memory.put(&key.to_string(), vec![bytes.into()]).await.unwrap();
    }

    /// Turns the lowest bit of a byte.
    pub(crate) async fn flip(&self, key: ObjectKey, position: u64) {
        let mut bytes = self.object(key).await;
        bytes[position as usize] ^= 1;
        self.put(key, bytes).await;
    }
}

pub(crate) fn registration_of(broker: BrokerId) -> RegisterBroker {
    RegisterBroker {
        broker,
        wal: WalId::from_bytes([broker.0 as u8; 16]),
        cluster: None,
        endpoints: Vec::new(),
        rack: None,
        revision_seen: Revision(0),
        unpublished: Vec::new(),
    }
}

/// The segment of a partition.
pub(crate) fn segment_of(references: &[Reference], index: i32) -> SegmentRef {
    references.iter().find(|reference| reference.partition.partition == index).unwrap().segment.clone()
}
