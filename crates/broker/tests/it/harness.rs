//! One broker and raw connections to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use broker::{BoundListener, Broker, BrokerHandle, BrokerOptions, Deps, ListenerOptions, Principal, Stage};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::Request;
use kafka_protocol_3_9::messages as old_messages;
use kafka_protocol_3_9::protocol::{Decodable, Encodable, Request as OldRequest};
use metadata_api::{ClusterImage, MetadataClient, PartitionVerdict};
use parking_lot::Mutex;
use partition::{Limits, NoDamageObserver, Partitions, Published};
use prometheus::Registry;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{BrokerId, CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName};
use protocol::{StrBytes, client};
use records::{BatchBuilder, BatchHeader, Codec};
use runtime::{Background, ManualClock, Random, Tasks};
use segment::{ObjectBuilder, ObjectHeader, SegmentInput};
use store::faults::FaultyStore;
use store::{MemoryStore, ObjectStore, RangeReader, RangeReaderOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use types::{
    BrokerEpoch, ClusterId, Lsn, ObjectKey, ObjectNumber, ObjectOrigin, PublishSequence, Revision, Timestamp, TopicId, TopicPartition,
    WalId,
};
use wal::{EntryKind, MemoryOptions, MemoryWal, WriteAheadLog};

use crate::configuration::TestConfiguration;
use crate::metadata::FakeMetadata;

/// The broker's clock in all tests.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// Nothing here takes longer unless it hangs.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Publishes nothing: tests do that themselves.
struct NoFlusher;

#[async_trait::async_trait]
impl broker::Flusher for NoFlusher {
    async fn flush(&self, _: Lsn) -> Result<(), String> {
        Err("nothing is published by itself here".to_owned())
    }
}

pub(crate) struct TestBroker {
    pub(crate) handle: BrokerHandle,
    address: SocketAddr,
    pub(crate) metadata: Arc<FakeMetadata>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) wal: Arc<MemoryWal>,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) registry: Registry,
    /// Stands still unless a test moves it.
    pub(crate) clock: Arc<ManualClock>,
    /// What the broker is told of `wal.max.bytes`.
    pub(crate) log_fill_percent: Arc<AtomicU8>,
    /// Partitions that the broker took over while it ran.
    pub(crate) began_to_lead: Arc<Mutex<Vec<TopicPartition>>>,
    _tasks: Tasks,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, MemoryOptions::default()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BrokerOptions), wal: MemoryOptions) -> Self {
        let broker = Self::start_recovering(change, wal).await;
        broker.partitions.finish_recovery();
        broker
    }

    /// A broker that finds metadata as `before` left it.
    pub(crate) async fn start_on(change: impl FnOnce(&mut BrokerOptions), before: impl FnOnce(&mut ClusterImage)) -> Self {
        let broker = Self::start_recovering_on(change, MemoryOptions::default(), before).await;
        broker.partitions.finish_recovery();
        broker
    }

    /// A broker that is still reading back its write-ahead log.
    pub(crate) async fn start_recovering(change: impl FnOnce(&mut BrokerOptions), wal: MemoryOptions) -> Self {
        Self::start_recovering_on(change, wal, |_| {}).await
    }

    async fn start_recovering_on(
        change: impl FnOnce(&mut BrokerOptions),
        wal: MemoryOptions,
        before: impl FnOnce(&mut ClusterImage),
    ) -> Self {
        let metadata = FakeMetadata::new();
        metadata.change(before);
        let wal = Arc::new(MemoryWal::new(WalId::from_bytes([9; 16]), wal));
        let clock = Arc::new(ManualClock::new(NOW));
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(clock.clone()))));
        let partitions = Partitions::new(partition::Deps {
            wal: Arc::clone(&wal) as Arc<dyn WriteAheadLog>,
            metadata: Arc::clone(&metadata) as Arc<dyn MetadataClient>,
            ranges: RangeReader::new(Arc::clone(&store) as Arc<dyn ObjectStore>, RangeReaderOptions::default()),
            background: Background::default(),
            damage: Arc::new(NoDamageObserver),
            clock: clock.clone(),
            broker: types::BrokerId(1),
            epoch: BrokerEpoch(1),
            limits: Limits::default(),
        });
        let tasks = Tasks::new();
        drop(tasks.spawn("partitions", Arc::clone(&partitions).run()));
        let listener = BoundListener::bind(ListenerOptions {
            name: "PLAINTEXT".into(),
            address: ([127, 0, 0, 1], 0).into(),
            first_stage: Stage::Authenticated(Principal::anonymous()),
        });
        let listener = listener.unwrap();
        let address = listener.address();
        let mut options = BrokerOptions::default();
        change(&mut options);
        let registry = Registry::new();
        let log_fill_percent = Arc::new(AtomicU8::new(0));
        let fill = Arc::clone(&log_fill_percent);
        let began_to_lead = Arc::default();
        let began: Arc<Mutex<Vec<TopicPartition>>> = Arc::clone(&began_to_lead);
        let handle = Broker::start(Deps {
            partitions: Arc::clone(&partitions),
            metadata: Arc::clone(&metadata) as Arc<dyn MetadataClient>,
            clock: clock.clone(),
            random: Random::seeded(1),
            listeners: vec![listener],
            configuration: Arc::new(TestConfiguration(options)),
            registry: registry.clone(),
            log_fill: Arc::new(move || f64::from(fill.load(Ordering::Relaxed)) / 100.0),
            flusher: Arc::new(NoFlusher),
            began_to_lead: Arc::new(move |state| began.lock().push(state.partition)),
            tasks: tasks.clone(),
        })
        .await
        .unwrap();
        Self { handle, address, metadata, partitions, wal, store, registry, clock, log_fill_percent, began_to_lead, _tasks: tasks }
    }

    /// Moves all that the write-ahead log holds of a partition into an object: uploaded, published, trimmed.
    pub(crate) async fn offload(&self, id: TopicPartition) {
        let end_lsn = self.wal.progress().borrow().appended;
        let entries = self.wal.scan(self.wal.start(), end_lsn, usize::MAX).unwrap();
        let batches: Vec<_> = entries
            .into_iter()
            .filter(|(_, entry)| matches!(entry.kind, EntryKind::Batch { partition, .. } if partition == id))
            .map(|(_, entry)| (entry.batch.clone(), entry.append_time))
            .collect();
        let header = |batch: &Bytes| BatchHeader::parse(batch).unwrap();
        let (base, end) = (header(&batches[0].0).base_offset, header(&batches[batches.len() - 1].0).next_offset());
        let mut builder = ObjectBuilder::new(ObjectHeader {
            cluster: ClusterId::default(),
            wal: WalId::default(),
            first_lsn: Lsn::ZERO,
            end_lsn,
            sequence: PublishSequence(1),
            metadata_revision: Revision(1),
            created_at: Timestamp(NOW),
            answered_through: PublishSequence(0),
            refused: Vec::new(),
        });
        let (origin, state_from) = (ObjectOrigin::Range, base);
        let input = SegmentInput { partition: id, base, end, origin, state_from, producers: Vec::new(), producers_full: false };
        builder.add_segment(input, batches).unwrap();
        let key = ObjectKey::Shared { broker: types::BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(end_lsn.0) };
        let object = builder.finish(key);
        self.store.put(&key.to_string(), object.parts).await.unwrap();
        self.metadata.add_segment(id, object.segments[0].segment.clone());
        let verdict = PartitionVerdict::Accepted { next_offset: end };
        self.partitions.published(Revision(1), end_lsn, &[Published { partition: id, base, end, verdict }]);
        self.wal.rotate();
        self.wal.trim(end_lsn);
    }

    pub(crate) async fn connect(&self) -> Peer {
        let address = self.address;
        Peer { stream: TcpStream::connect(address).await.unwrap(), client_id: "test", next_correlation: 0 }
    }

    /// A topic through CreateTopics; its id.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let configs =
            configs.iter().map(|(name, value)| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value))));
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.connect().await.ask(7, &request).await;
        assert_eq!((answer.topics[0].error_code, &answer.topics[0].error_message), (0, &None));
        TopicId(answer.topics[0].topic_id)
    }

    /// All metrics as they are served.
    pub(crate) fn metrics_text(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// A metric's sample, found by how its line begins.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.metrics_text();
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no sample {line} in\n{text}"))
    }
}

/// A connection that speaks Kafka's protocol and nothing else.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) client_id: &'static str,
    next_correlation: i32,
}

impl Peer {
    /// Sends a request and returns its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.next_correlation += 1;
        let frame = client::encode_request(self.next_correlation, Some(text(self.client_id)), version, request).unwrap();
        self.stream.write_all(&frame).await.unwrap();
        self.next_correlation
    }

    /// The next answer, whatever it is.
    pub(crate) async fn receive_frame(&mut self) -> Bytes {
        let read = async {
            let length = self.stream.read_u32().await.unwrap();
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.unwrap();
            Bytes::from(frame)
        };
        tokio::time::timeout(SOON, read).await.expect("an answer")
    }

    /// The next answer, which must be that of `correlation`.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16, correlation: i32) -> R::Response {
        let frame = self.receive_frame().await;
        assert_eq!(client::correlation_id(&frame), Some(correlation));
        client::decode_response::<R>(version, frame).unwrap()
    }

    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send(version, request).await;
        self.receive::<R>(version, correlation).await
    }

    /// As [`Self::send`], in a version that only the older kafka-protocol has.
    pub(crate) async fn send_old<R: OldRequest>(&mut self, version: i16, request: &R) -> i32 {
        self.next_correlation += 1;
        let header = old_messages::RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next_correlation);
        let mut frame = BytesMut::from(&[0; 4][..]);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await.unwrap();
        self.next_correlation
    }

    pub(crate) async fn receive_old<R: OldRequest>(&mut self, version: i16, correlation: i32) -> R::Response {
        let mut frame = self.receive_frame().await;
        assert_eq!(frame.split_to(4), correlation.to_be_bytes()[..]);
        let answer = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty());
        answer
    }

    pub(crate) async fn ask_old<R: OldRequest>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send_old(version, request).await;
        self.receive_old::<R>(version, correlation).await
    }

    /// Whether the broker closes the connection without another answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        tokio::time::timeout(SOON, self.stream.read_exact(&mut byte)).await.expect("closed soon").is_err()
    }

    pub(crate) async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let answer = self.ask(9, &produce_request(topic, -1, vec![(partition, batch)])).await;
        answer.responses[0].partition_responses[0].clone()
    }

    pub(crate) async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let answer = self.ask(12, &fetch_request(topic, &[(partition, offset)])).await;
        answer.responses[0].partitions[0].clone()
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A plain batch of these values.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    build(BatchBuilder::new(Codec::None), values)
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced_batch(producer: i64, sequence: i32, values: &[&str]) -> Bytes {
    build(BatchBuilder::new(Codec::None).producer(producer, 0, sequence), values)
}

pub(crate) fn build(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for value in values {
        builder.push(Timestamp(NOW), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(crate) fn produce_request(topic: &str, acks: i16, batches: Vec<(i32, Bytes)>) -> ProduceRequest {
    let partitions = batches.into_iter().map(|(index, batch)| PartitionProduceData::default().with_index(index).with_records(Some(batch)));
    let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(partitions.collect());
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// Waits up to half a second for one byte.
pub(crate) fn fetch_request(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(index, offset)| {
        FetchPartition::default().with_partition(*index).with_fetch_offset(*offset).with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(partitions.collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic])
}

/// The values in a fetched partition.
pub(crate) fn values(data: &PartitionData) -> Vec<String> {
    let fetched = data.records.clone().unwrap_or_default();
    let batches = records::batches(fetched).map(|batch| batch.unwrap());
    batches
        .flat_map(|batch| records::decode_records(&batch.bytes, 1 << 20).unwrap())
        .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        .collect()
}
