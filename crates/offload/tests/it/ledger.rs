//! A metadata service for tests that accepts nothing a strict reading of the publish rules forbids, and panics where a correct
//! offload would never get. It looks into the store at every publish: an object that is not there as described is a failure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata_api::*;
use parking_lot::Mutex;
use store::ObjectStore;
use tokio::sync::watch;
use types::*;

/// What happens to one call of publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PublishFault {
    /// Nothing is recorded, and the caller cannot know.
    LostRequest,
    /// It is recorded, and the caller cannot know.
    LostAnswer,
    /// Nothing is recorded.
    Unavailable,
    /// It is recorded, and the answer never comes.
    Hangs,
}

pub(crate) struct Ledger {
    store: Arc<dyn ObjectStore>,
    state: Mutex<State>,
    image: watch::Sender<Arc<ClusterImage>>,
}

#[derive(Default)]
struct State {
    wal: WalId,
    epoch: BrokerEpoch,
    revision: Revision,
    /// End, exclusive, of what this WAL id has published.
    published_end: Lsn,
    last: Option<(PublishRequest, PublishAnswer)>,
    floor: ObjectNumber,
    partitions: BTreeMap<TopicPartition, LedgerPartition>,
    faults: VecDeque<PublishFault>,
    requests: Vec<PublishRequest>,
    under_way: bool,
    pressure: u32,
}

/// One partition as the ledger has it.
#[derive(Clone)]
pub(crate) struct LedgerPartition {
    pub(crate) owned: bool,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) next: Offset,
    /// A publish was refused for its offset: no gap is believed any more (R16).
    refused: bool,
    pub(crate) segments: Vec<SegmentRef>,
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) producers: ProducerWindows,
    pub(crate) durability: Durability,
}

impl Ledger {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Arc<Self> {
        let image = watch::Sender::new(Arc::new(ClusterImage::default()));
        let state = State { published_end: Lsn(1), ..State::default() };
        Arc::new(Self { store, state: Mutex::new(state), image })
    }

    pub(crate) fn create(&self, partition: TopicPartition, durability: Durability) {
        self.create_all([partition], durability);
    }

    pub(crate) fn create_all(&self, partitions: impl IntoIterator<Item = TopicPartition>, durability: Durability) {
        let state = &mut *self.state.lock();
        let part = LedgerPartition {
            owned: true,
            leader_epoch: LeaderEpoch(i32::try_from(state.epoch.0).unwrap()),
            next: Offset::ZERO,
            refused: false,
            segments: Vec::new(),
            epochs: Vec::new(),
            producers: ProducerWindows::default(),
            durability,
        };
        state.partitions.extend(partitions.into_iter().map(|partition| (partition, part.clone())));
        self.push_image(state);
    }

    pub(crate) fn delete(&self, topic: TopicId) {
        let state = &mut *self.state.lock();
        state.partitions.retain(|partition, _| partition.topic != topic);
        self.push_image(state);
    }

    /// As an unclean election would.
    pub(crate) fn take_away(&self, partition: TopicPartition) {
        self.state.lock().partitions.get_mut(&partition).unwrap().owned = false;
    }

    /// Something that must not happen: the partition continues elsewhere.
    pub(crate) fn displace(&self, partition: TopicPartition, next: Offset) {
        self.state.lock().partitions.get_mut(&partition).unwrap().next = next;
    }

    pub(crate) fn fail_next(&self, faults: &[PublishFault]) {
        self.state.lock().faults.extend(faults);
    }

    pub(crate) fn set_pressure(&self, pressure: u32) {
        self.state.lock().pressure = pressure;
    }

    pub(crate) fn partition(&self, partition: TopicPartition) -> Option<LedgerPartition> {
        self.state.lock().partitions.get(&partition).cloned()
    }

    pub(crate) fn published_end(&self) -> Lsn {
        self.state.lock().published_end
    }

    /// Every publish that was recorded, once, in order.
    pub(crate) fn recorded(&self) -> Vec<PublishRequest> {
        self.state.lock().requests.clone()
    }

    /// Those of `keys` that may never be published any more and are not, by one view of all that was recorded: what is not dead now
    /// may be published in the next moment.
    pub(crate) fn dead_of(&self, keys: Vec<ObjectKey>) -> Vec<ObjectKey> {
        let state = self.state.lock();
        let live: BTreeSet<ObjectKey> = state.requests.iter().filter_map(|request| Some(request.object?.key)).collect();
        let is_dead = |key: &ObjectKey| {
            let (_, epoch, number) = key.writer();
            (epoch < state.epoch || number < state.floor) && !live.contains(key)
        };
        keys.into_iter().filter(is_dead).collect()
    }

    /// What a client may see that was connected to a server which lags behind.
    pub(crate) fn show_image_from_before(&self) {
        self.image.send_replace(Arc::default());
    }

    fn push_image(&self, state: &mut State) {
        state.revision = Revision(state.revision.0 + 1);
        let mut image = ClusterImage { revision: state.revision, ..ClusterImage::default() };
        for (partition, part) in &state.partitions {
            let mut topic = image.topics.get(&partition.topic).map_or_else(
                || TopicImage {
                    id: partition.topic,
                    name: partition.topic.to_string(),
                    replication_factor: 1,
                    configs: BTreeMap::new(),
                    config_revision: state.revision,
                    partitions: Vec::new(),
                },
                |topic| (**topic).clone(),
            );
            let index = usize::try_from(partition.partition).unwrap();
            assert_eq!(topic.partitions.len(), index, "tests create partitions in order");
            topic.partitions.push(PartitionImage {
                leader: Some(BrokerId(1)),
                leader_epoch: part.leader_epoch,
                owner: state.wal,
                replicas: vec![BrokerId(1)],
                durability: part.durability,
            });
            image.insert_topic(Arc::new(topic));
        }
        self.image.send_replace(Arc::new(image));
    }

    fn decide(&self, request: &PublishRequest) -> Result<PublishAnswer, MetadataError> {
        let state = &mut *self.state.lock();
        if request.epoch != state.epoch {
            return Err(MetadataError::Fenced { broker: request.broker, epoch: request.epoch, current: state.epoch });
        }
        if let Some((last, answer)) = &state.last {
            if last.sequence == request.sequence {
                assert_eq!(last, request, "R12: a repeated sequence has the same content");
                return Ok(answer.clone());
            }
            assert_eq!(last.sequence.0 + 1, request.sequence.0, "publish sequences are dense");
        } else {
            assert_eq!(request.sequence, PublishSequence(1), "publish sequences begin at 1");
        }
        assert_eq!(request.first_lsn, state.published_end, "R12: a publish begins where the last one ended");
        assert!(request.first_lsn < request.end_lsn);
        assert!(state.floor <= request.object_floor);
        if let Some(object) = request.object {
            let (_, epoch, number) = object.key.writer();
            assert_eq!(epoch, state.epoch);
            assert!(request.object_floor <= number, "R6: a key below the floor is dead");
            let used = state.requests.iter().any(|earlier| earlier.object.is_some_and(|earlier| earlier.key == object.key));
            assert!(!used, "an object is published once");
        }
        assert_eq!(request.object.is_none(), request.partitions.is_empty());
        assert!(request.partitions.is_sorted_by(|a, b| a.partition < b.partition));

        state.revision = Revision(state.revision.0 + 1);
        let revision = state.revision;
        let object = || request.object.unwrap().key;
        let verdicts = request.partitions.iter().map(|part| verdict(&mut state.partitions, part, object(), revision)).collect();
        let answer = PublishAnswer { revision, verdicts, pressure: state.pressure };
        state.published_end = request.end_lsn;
        state.floor = request.object_floor;
        state.last = Some((request.clone(), answer.clone()));
        state.requests.push(request.clone());
        Ok(answer)
    }

    async fn check_object(&self, request: &PublishRequest) {
        let Some(object) = request.object else { return };
        let bytes = self.store.get(&object.key.to_string(), 1 << 30).await.expect("a published object is there");
        assert_eq!((bytes.len() as u64, crc32c::crc32c(&bytes)), (object.length, object.crc), "T5: the object is there as described");
    }
}

/// One publish at a time; over when it is answered or given up.
struct UnderWay<'a>(&'a Ledger);

impl<'a> UnderWay<'a> {
    fn begin(ledger: &'a Ledger) -> Self {
        assert!(!std::mem::replace(&mut ledger.state.lock().under_way, true), "one publish is in flight");
        Self(ledger)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().under_way = false;
    }
}

fn verdict(
    partitions: &mut BTreeMap<TopicPartition, LedgerPartition>,
    part: &PartitionPublish,
    object: ObjectKey,
    revision: Revision,
) -> PartitionVerdict {
    let segment = &part.segment;
    let runs = &part.runs;
    assert_eq!((runs.first().unwrap().base, runs.last().unwrap().end), (segment.base, segment.end));
    assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].base && pair[0].leader_epoch < pair[1].leader_epoch));
    assert!(segment.state_from <= segment.base);
    assert_eq!(segment.object, object, "T2: offsets and sequences become visible with the place of their batches");
    let Some(held) = partitions.get_mut(&part.partition) else { return PartitionVerdict::Refused(PartitionRefusal::Gone) };
    if !held.owned {
        return PartitionVerdict::Refused(PartitionRefusal::NotOwned { leader_epoch: held.leader_epoch });
    }
    if segment.base != held.next && !(part.gap && !held.refused && held.next < segment.base) {
        held.refused = true;
        return PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset: held.next });
    }
    for run in runs {
        if held.epochs.last().is_none_or(|last| last.epoch < run.leader_epoch) {
            held.epochs.push(EpochStart { epoch: run.leader_epoch, offset: run.base });
        }
    }
    for delta in &part.producers {
        held.producers.insert(delta.producer, delta.window.clone());
    }
    held.next = segment.end;
    held.segments.push(SegmentRef { added: revision, ..segment.clone() });
    PartitionVerdict::Accepted { next_offset: held.next }
}

#[async_trait]
impl MetadataClient for Ledger {
    async fn register_broker(&self, request: RegisterBroker) -> Result<Registration, MetadataError> {
        let state = &mut *self.state.lock();
        state.wal = request.wal;
        state.epoch = BrokerEpoch(state.epoch.0 + 1);
        state.last = None;
        state.floor = ObjectNumber(0);
        let leader_epoch = LeaderEpoch(i32::try_from(state.epoch.0).unwrap());
        for part in state.partitions.values_mut().filter(|part| part.owned) {
            part.leader_epoch = leader_epoch;
        }
        self.push_image(state);
        let partitions = state.partitions.iter().filter(|(_, part)| part.owned).map(|(partition, part)| PartitionState {
            partition: *partition,
            leader_epoch,
            epochs: part.epochs.clone(),
            log_start: Offset::ZERO,
            next_offset: part.next,
            durability: part.durability,
            producers: part.producers.clone(),
        });
        Ok(Registration {
            cluster: ClusterId::from_bytes([9; 16]),
            epoch: state.epoch,
            last_published: Lsn(state.published_end.0 - 1),
            rebuilt: false,
            synced_seen: state.requests.last().map_or(Lsn::ZERO, |request| request.synced),
            revision: state.revision,
            partitions: partitions.collect(),
        })
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishAnswer, MetadataError> {
        let _under_way = UnderWay::begin(self);
        let fault = self.state.lock().faults.pop_front();
        self.check_object(&request).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        match fault {
            Some(PublishFault::LostRequest) => Err(MetadataError::Unknown { detail: "the request got lost".to_owned() }),
            Some(PublishFault::Unavailable) => Err(MetadataError::Unavailable { detail: "away".to_owned() }),
            Some(PublishFault::LostAnswer) => {
                self.decide(&request).and(Err(MetadataError::Unknown { detail: "the answer got lost".to_owned() }))
            }
            Some(PublishFault::Hangs) => {
                self.decide(&request)?;
                std::future::pending().await
            }
            None => self.decide(&request),
        }
    }

    fn image(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.image.subscribe()
    }

    async fn replace_segments(&self, _: ReplaceSegments) -> Result<ReplaceAnswer, MetadataError> {
        unreachable!("the offload rewrites nothing")
    }
    async fn heartbeat(&self, _: HeartbeatRequest) -> Result<HeartbeatAnswer, MetadataError> {
        unreachable!("the offload sends no heartbeats")
    }
    async fn resign_broker(&self, _: BrokerId, _: BrokerEpoch) -> Result<Revision, MetadataError> {
        unreachable!("the offload does not resign")
    }
    async fn create_topic(&self, _: CreateTopic) -> Result<TopicCreated, MetadataError> {
        unreachable!()
    }
    async fn create_partitions(&self, _: CreatePartitions) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn delete_topic(&self, _: TopicId) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn alter_topic_configs(&self, _: AlterTopicConfigs) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn alter_resource_configs(&self, _: AlterResourceConfigs) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn alter_client_quotas(&self, _: AlterClientQuotas) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn enforce_durability(&self, _: EnforceDurability) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn advance_log_start(&self, _: AdvanceLogStart) -> Result<Offset, MetadataError> {
        unreachable!()
    }
    async fn elect_unclean(&self, _: Vec<TopicPartition>) -> Result<Revision, MetadataError> {
        unreachable!()
    }
    async fn partition_states(&self, _: BrokerId, _: BrokerEpoch, _: Vec<TopicPartition>) -> Result<Vec<PartitionState>, MetadataError> {
        unreachable!()
    }
    async fn segments(&self, _: TopicPartition, _: Offset, _: u32) -> Result<SegmentPage, MetadataError> {
        unreachable!()
    }
    async fn segment_at(&self, _: TopicPartition, _: Timestamp) -> Result<SegmentPage, MetadataError> {
        unreachable!()
    }
    async fn segment_of_max_timestamp(&self, _: TopicPartition) -> Result<SegmentPage, MetadataError> {
        unreachable!()
    }
    async fn allocate_producer_ids(&self, _: u32) -> Result<Range<ProducerId>, MetadataError> {
        unreachable!()
    }
    async fn take_slot(&self, _: TakeSlot) -> Result<SlotTaken, MetadataError> {
        unreachable!("the offload coordinates nothing")
    }
    async fn slot_rows(&self, _: SlotRows) -> Result<RowPage, MetadataError> {
        unreachable!("the offload coordinates nothing")
    }
    async fn save_rows(&self, _: SaveRows) -> Result<Revision, MetadataError> {
        unreachable!("the offload coordinates nothing")
    }
}
