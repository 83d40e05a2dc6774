//! A metadata service that only knows topics and coordinator slots: what is asked takes effect at once, on the one broker there is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata_api::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, BrokerImage, ClusterImage, CreatePartitions, CreateTopic,
    Endpoint, EnforceDurability, HeartbeatAnswer, HeartbeatRequest, MetadataClient, MetadataError, PartitionImage, PartitionState,
    PublishAnswer, PublishRequest, RegisterBroker, Registration, ReplaceAnswer, ReplaceSegments, ResourceConfigs, RowPage, SaveRows,
    SegmentPage, SlotOwner, SlotRows, SlotTaken, TakeSlot, TopicCreated, TopicImage,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use types::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorSlot, LeaderEpoch, Offset, ProducerId, ProducerWindows, Revision, SaveSequence,
    SegmentRef, SlotEpoch, Timestamp, TopicId, TopicPartition, WalId,
};

/// What becomes of a save.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SaveFault {
    /// It is made, and its answer is lost.
    LoseAnswer,
    /// It is not made, and nobody knows.
    LoseRequest,
}

/// One coordinator slot: its rows, and the saves that came in its epoch, repeats included.
#[derive(Default)]
struct FakeSlot {
    epoch: SlotEpoch,
    rows: BTreeMap<Bytes, Bytes>,
    saved: SaveSequence,
    asked: Vec<SaveSequence>,
}

pub(crate) struct FakeMetadata {
    image: Arc<watch::Sender<Arc<ClusterImage>>>,
    segments: Mutex<HashMap<TopicPartition, Vec<SegmentRef>>>,
    next_producer: AtomicI64,
    slots: Mutex<HashMap<CoordinatorSlot, FakeSlot>>,
    /// What becomes of the next saves.
    pub(crate) save_faults: Mutex<VecDeque<SaveFault>>,
    /// The image follows a write only after this.
    pub(crate) image_lag: Mutex<Duration>,
    /// A config that somebody sets just before the next change of configs.
    pub(crate) faster_change: Mutex<Option<(String, String)>>,
    /// Whether durability can come into force.
    pub(crate) enforcing: AtomicBool,
    /// Every write answers that the service is not available.
    pub(crate) away: AtomicBool,
}

/// Where a partition goes on after an unclean election.
pub(crate) const ELECTED_AT: i64 = 1 << 32;
/// The epoch that every partition is led in.
pub(crate) const LEADER_EPOCH: i32 = 3;

impl FakeMetadata {
    /// Broker 1 lives; broker 2 is registered and dead.
    pub(crate) fn new() -> Arc<Self> {
        let member = |id: i32, alive: bool| {
            let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: format!("host{id}"), port: 9092 };
            let image =
                BrokerImage { id: BrokerId(id), epoch: BrokerEpoch(1), endpoints: vec![endpoint], rack: Some("here".into()), alive };
            (BrokerId(id), Arc::new(image))
        };
        let image = ClusterImage {
            revision: Revision(1),
            cluster_id: ClusterId::from_bytes([7; 16]),
            brokers: [member(1, true), member(2, false)].into(),
            ..ClusterImage::default()
        };
        Arc::new(Self {
            image: Arc::new(watch::Sender::new(Arc::new(image))),
            segments: Mutex::default(),
            next_producer: AtomicI64::new(4000),
            slots: Mutex::default(),
            save_faults: Mutex::default(),
            image_lag: Mutex::default(),
            faster_change: Mutex::default(),
            enforcing: AtomicBool::new(true),
            away: AtomicBool::new(false),
        })
    }

    /// Publishes a changed image and returns its revision.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ClusterImage)) -> Revision {
        let mut image = ClusterImage::clone(&self.image.borrow());
        image.revision.0 += 1;
        change(&mut image);
        let revision = image.revision;
        let (sender, lag) = (Arc::clone(&self.image), *self.image_lag.lock());
        if lag.is_zero() {
            sender.send_replace(Arc::new(image));
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(lag).await;
                sender.send_replace(Arc::new(image));
            });
        }
        revision
    }

    /// Changes one topic's image.
    fn change_topic(&self, id: TopicId, change: impl FnOnce(&mut TopicImage)) -> Revision {
        self.change(|image| {
            let mut topic = TopicImage::clone(&image.topics[&id]);
            change(&mut topic);
            topic.config_revision = image.revision;
            image.insert_topic(Arc::new(topic));
        })
    }

    /// Changes one partition's image.
    pub(crate) fn change_partition(&self, id: TopicPartition, change: impl FnOnce(&mut PartitionImage)) {
        self.change(|image| {
            let mut topic = TopicImage::clone(&image.topics[&id.topic]);
            change(&mut topic.partitions[usize::try_from(id.partition).unwrap()]);
            image.insert_topic(Arc::new(topic));
        });
    }

    /// A segment is published.
    pub(crate) fn add_segment(&self, id: TopicPartition, segment: SegmentRef) {
        self.segments.lock().entry(id).or_default().push(segment);
    }

    /// Somebody takes every slot that was taken before. Brokers are not told: they find out when they save.
    pub(crate) fn fence_coordinators(&self) {
        for slot in self.slots.lock().values_mut() {
            slot.epoch.0 += 1;
            slot.saved = SaveSequence(0);
            slot.asked.clear();
        }
    }

    /// Sequences of the saves that were asked for in the epochs in force, repeats included.
    pub(crate) fn asked_saves(&self) -> Vec<u64> {
        self.slots.lock().values().flat_map(|slot| slot.asked.iter().map(|sequence| sequence.0)).collect()
    }

    /// Keys of all rows that coordinators have saved.
    pub(crate) fn saved_keys(&self) -> Vec<Bytes> {
        self.slots.lock().values().flat_map(|slot| slot.rows.keys().cloned()).collect()
    }

    fn check(&self) -> Result<(), MetadataError> {
        if self.away.load(Ordering::Relaxed) { Err(MetadataError::Unavailable { detail: "the test says so".into() }) } else { Ok(()) }
    }
}

#[async_trait]
impl MetadataClient for FakeMetadata {
    async fn create_topic(&self, request: CreateTopic) -> Result<TopicCreated, MetadataError> {
        self.check()?;
        if self.image.borrow().topic_named(&request.name).is_some() {
            return Err(MetadataError::TopicExists { name: request.name });
        }
        if request.validate_only {
            // Another change that this broker has not heard of yet.
            let revision = Revision(self.image.borrow().revision.0 + 1);
            return Ok(TopicCreated { topic: TopicId::default(), revision });
        }
        let mut bytes = [5; 16];
        bytes[..8].copy_from_slice(&(self.image.borrow().revision.0 + 1).to_be_bytes());
        let topic = TopicId::from_bytes(bytes);
        let partition = PartitionImage {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(LEADER_EPOCH),
            owner: WalId::default(),
            replicas: vec![BrokerId(1), BrokerId(2)],
            durability: request.durability,
        };
        let revision = self.change(|image| {
            image.insert_topic(Arc::new(TopicImage {
                id: topic,
                name: request.name,
                replication_factor: request.replication_factor,
                configs: request.configs,
                config_revision: image.revision,
                partitions: vec![partition; usize::try_from(request.partitions).unwrap()],
            }));
        });
        Ok(TopicCreated { topic, revision })
    }

    async fn delete_topic(&self, topic: TopicId) -> Result<Revision, MetadataError> {
        self.check()?;
        if !self.image.borrow().topics.contains_key(&topic) {
            return Err(MetadataError::UnknownTopic { topic });
        }
        Ok(self.change(|image| image.remove_topic(topic)))
    }

    async fn allocate_producer_ids(&self, count: u32) -> Result<Range<ProducerId>, MetadataError> {
        self.check()?;
        let first = self.next_producer.fetch_add(i64::from(count), Ordering::Relaxed);
        Ok(first..first + i64::from(count))
    }

    fn image(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.image.subscribe()
    }

    async fn segments(&self, partition: TopicPartition, from: Offset, _: u32) -> Result<SegmentPage, MetadataError> {
        self.check()?;
        let revision = self.image.borrow().revision;
        let segments = self.segments.lock().get(&partition).cloned().unwrap_or_default();
        let next_offset = segments.last().map_or(Offset::ZERO, |segment| segment.end);
        let segments = segments.into_iter().filter(|segment| from < segment.end).collect();
        Ok(SegmentPage { revision, log_start: Offset::ZERO, next_offset, segments, more: false })
    }

    async fn segment_at(&self, partition: TopicPartition, _: Timestamp) -> Result<SegmentPage, MetadataError> {
        self.segments(partition, Offset::ZERO, 1).await
    }

    async fn segment_of_max_timestamp(&self, partition: TopicPartition) -> Result<SegmentPage, MetadataError> {
        self.segments(partition, Offset::ZERO, 1).await
    }

    async fn partition_states(
        &self,
        broker: BrokerId,
        _: BrokerEpoch,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<PartitionState>, MetadataError> {
        self.check()?;
        let image = self.image.borrow().clone();
        let led = partitions.into_iter().filter_map(|partition| {
            let found = image.partition(partition).filter(|found| found.leader == Some(broker))?;
            Some(PartitionState {
                partition,
                leader_epoch: found.leader_epoch,
                epochs: Vec::new(),
                log_start: Offset(ELECTED_AT),
                next_offset: Offset(ELECTED_AT),
                durability: found.durability,
                producers: ProducerWindows::default(),
            })
        });
        Ok(led.collect())
    }

    async fn register_broker(&self, _: RegisterBroker) -> Result<Registration, MetadataError> {
        unreachable!("the broker under test is registered")
    }

    async fn heartbeat(&self, _: HeartbeatRequest) -> Result<HeartbeatAnswer, MetadataError> {
        unreachable!("sessions are not the broker's")
    }

    async fn resign_broker(&self, _: BrokerId, _: BrokerEpoch) -> Result<Revision, MetadataError> {
        unreachable!("sessions are not the broker's")
    }

    async fn publish(&self, _: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        unreachable!("publishing is not the broker's")
    }

    async fn replace_segments(&self, _: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
        unreachable!("rewriting is not the broker's")
    }

    async fn create_partitions(&self, request: CreatePartitions) -> Result<Revision, MetadataError> {
        self.check()?;
        let image = self.image.borrow().clone();
        let topic = image.topics.get(&request.topic).ok_or(MetadataError::UnknownTopic { topic: request.topic })?;
        let (total, present) = (usize::try_from(request.total).unwrap_or(0), topic.partitions.len());
        if total <= present {
            return Err(MetadataError::InvalidPartitions { detail: format!("{total} is no more than {present}") });
        }
        if request.validate_only {
            return Ok(Revision(image.revision.0 + 1));
        }
        Ok(self.change_topic(request.topic, |topic| topic.partitions.resize(total, topic.partitions[0].clone())))
    }

    async fn alter_topic_configs(&self, request: AlterTopicConfigs) -> Result<Revision, MetadataError> {
        self.check()?;
        let faster = self.faster_change.lock().take();
        if let Some(faster) = faster {
            self.change_topic(request.topic, |topic| topic.configs.extend([faster]));
        }
        let image = self.image.borrow().clone();
        let topic = image.topics.get(&request.topic).ok_or(MetadataError::UnknownTopic { topic: request.topic })?;
        if topic.config_revision != request.expected {
            return Err(MetadataError::ConfigConflict { topic: request.topic });
        }
        Ok(self.change_topic(request.topic, |topic| topic.configs = request.configs))
    }

    async fn alter_resource_configs(&self, request: AlterResourceConfigs) -> Result<Revision, MetadataError> {
        self.check()?;
        let AlterResourceConfigs { resource, expected, configs } = request;
        let set = |image: &mut ClusterImage, configs: BTreeMap<String, String>| {
            let revision = image.revision;
            Arc::make_mut(&mut image.configs).insert(resource.clone(), ResourceConfigs { configs, revision });
        };
        let faster = self.faster_change.lock().take();
        if let Some(faster) = faster {
            self.change(|image| set(image, BTreeMap::from([faster])));
        }
        if self.image.borrow().configs.get(&resource).map_or(Revision(0), |set| set.revision) != expected {
            return Err(MetadataError::ResourceConfigConflict { resource });
        }
        Ok(self.change(|image| {
            if configs.is_empty() {
                Arc::make_mut(&mut image.configs).remove(&resource);
            } else {
                set(image, configs);
            }
        }))
    }

    async fn alter_client_quotas(&self, request: AlterClientQuotas) -> Result<Revision, MetadataError> {
        self.check()?;
        Ok(self.change(|image| {
            let held = Arc::make_mut(&mut image.client_quotas);
            for alteration in request.alterations {
                let quotas = held.entry(alteration.entity).or_default();
                quotas.extend(alteration.set);
                quotas.retain(|key, _| !alteration.removed.contains(key));
            }
            held.retain(|_, quotas| !quotas.is_empty());
        }))
    }

    async fn enforce_durability(&self, request: EnforceDurability) -> Result<Revision, MetadataError> {
        self.check()?;
        if !self.enforcing.load(Ordering::Relaxed) {
            return Err(MetadataError::Unknown { detail: "the test says so".into() });
        }
        let image = self.image.borrow().clone();
        for change in request.changes {
            let is_configured =
                image.topics.get(&change.partition.topic).is_some_and(|topic| topic.config_revision == change.config_revision);
            let segments = self.segments.lock();
            let published = segments.get(&change.partition).and_then(|segments| segments.last()).map_or(Offset::ZERO, |last| last.end);
            drop(segments);
            if is_configured && change.log_end <= published {
                self.change_partition(change.partition, |partition| partition.durability = change.level);
            }
        }
        Ok(self.image.borrow().revision)
    }

    async fn advance_log_start(&self, request: AdvanceLogStart) -> Result<Offset, MetadataError> {
        self.check()?;
        Ok(request.log_start)
    }

    async fn take_slot(&self, request: TakeSlot) -> Result<SlotTaken, MetadataError> {
        self.check()?;
        let slot_epoch = {
            let mut slots = self.slots.lock();
            let slot = slots.entry(request.slot).or_default();
            slot.epoch.0 += 1;
            slot.saved = SaveSequence(0);
            slot.asked.clear();
            slot.epoch
        };
        let revision = self.change(|image| {
            image.slots.insert(request.slot, SlotOwner { broker: request.broker, epoch: slot_epoch });
        });
        Ok(SlotTaken { slot_epoch, revision })
    }

    async fn slot_rows(&self, request: SlotRows) -> Result<RowPage, MetadataError> {
        self.check()?;
        let mut slots = self.slots.lock();
        let slot = slots.entry(request.slot).or_default();
        if slot.epoch != request.slot_epoch {
            return Err(MetadataError::SlotFenced { slot: request.slot, epoch: request.slot_epoch, current: slot.epoch });
        }
        // Pages of one row, so that every load turns them.
        let after = slot.rows.iter().filter(|(key, _)| request.after_key.as_ref().is_none_or(|after| after < *key));
        let mut rows: Vec<_> = after.take(2).map(|(key, value)| (key.clone(), value.clone())).collect();
        let more = rows.len() == 2;
        rows.truncate(1);
        Ok(RowPage { revision: self.image.borrow().revision, rows, more })
    }

    async fn save_rows(&self, request: SaveRows) -> Result<Revision, MetadataError> {
        self.check()?;
        let fault = self.save_faults.lock().pop_front();
        let unknown = || MetadataError::Unknown { detail: "the test says so".into() };
        let mut slots = self.slots.lock();
        let slot = slots.entry(request.slot).or_default();
        slot.asked.push(request.sequence);
        if fault == Some(SaveFault::LoseRequest) {
            return Err(unknown());
        }
        if slot.epoch != request.slot_epoch {
            return Err(MetadataError::SlotFenced { slot: request.slot, epoch: request.slot_epoch, current: slot.epoch });
        }
        if request.sequence.0 == slot.saved.0 + 1 {
            slot.saved = request.sequence;
            for (key, value) in request.rows {
                match value {
                    Some(value) => slot.rows.insert(key, value),
                    None => slot.rows.remove(&key),
                };
            }
        } else if request.sequence != slot.saved {
            return Err(MetadataError::Invalid { detail: format!("save {} after {}", request.sequence, slot.saved) });
        }
        if fault == Some(SaveFault::LoseAnswer) { Err(unknown()) } else { Ok(self.image.borrow().revision) }
    }

    async fn elect_unclean(&self, partitions: Vec<TopicPartition>) -> Result<Revision, MetadataError> {
        self.check()?;
        for partition in partitions {
            self.change_partition(partition, |partition| {
                partition.leader = Some(BrokerId(1));
                partition.leader_epoch.0 += 1;
            });
        }
        Ok(self.image.borrow().revision)
    }
}
