//! A broker on a loopback port: the served APIs on logs in memory, one connection after another request by request, with idempotence as
//! Kafka has it. Faults are queued per API and used up in order, one by each request that asks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use protocol::frame::request_length;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::fetch_request::FetchPartition;
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::*;
use protocol::{
    DecodeError, DecodedRequest, ErrorCode, FetchResponse, FetchedPartition, FetchedTopic, Request, ResponseBody, StrBytes,
    api_versions_response, decode_request, encode_response,
};
use records::{BatchHeader, batches, first_at_or_after, stamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use types::{LeaderEpoch, Offset, Timestamp, TopicId};
use uuid::Uuid;

use crate::fake_group::FakeGroup;

/// What happens to one request instead of a proper answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing does.
    Pass,
    /// It takes effect; the connection closes before the answer.
    LoseAnswer,
    /// It has no effect; the connection closes.
    Close,
    /// It has no effect; the connection closes when [`State::release`] is notified.
    CloseLater,
    /// It has no effect; every partition is answered with this code.
    Refuse(ErrorCode),
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) start: i64,
    pub(crate) next: i64,
    pub(crate) batches: Vec<Bytes>,
    /// By producer id: first and last sequence and base offset of the last five batches.
    producers: HashMap<i64, VecDeque<(i32, i32, i64)>>,
}

pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) logs: Vec<Log>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) produce_faults: VecDeque<Fault>,
    pub(crate) fetch_faults: VecDeque<Fault>,
    pub(crate) group: FakeGroup,
    /// How many Metadata requests, from the next on, find partitions without a leader.
    pub(crate) leaderless: usize,
    pub(crate) metadata_requests: usize,
    pub(crate) release: Arc<Notify>,
    closing_later: Option<Arc<Notify>>,
    /// Produce requests as they came: number of connection, and base sequence.
    pub(crate) produced: Vec<(usize, i32)>,
    /// The newest version of ApiVersions known here, 4 if none is set.
    pub(crate) api_versions_max: Option<i16>,
    connections: usize,
}

#[derive(Clone)]
pub(crate) struct FakeBroker {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let serving = broker.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut state = serving.state();
                    state.connections += 1;
                    state.connections
                };
                tokio::spawn(serving.clone().serve(stream, number));
            }
        });
        broker
    }

    pub(crate) async fn with_topic(name: &str, partitions: usize) -> Self {
        let broker = Self::start().await;
        broker.state().create(name, partitions);
        broker
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(self, mut stream: TcpStream, connection: usize) {
        loop {
            let mut prefix = [0; 4];
            if stream.read_exact(&mut prefix).await.is_err() {
                return;
            }
            let mut frame = vec![0; request_length(prefix, 1 << 26).unwrap()];
            stream.read_exact(&mut frame).await.unwrap();
            let Some(answer) = self.answer(frame.into(), connection) else {
                let release = self.state().closing_later.take();
                if let Some(release) = release {
                    release.notified().await;
                }
                return;
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// The answer's bytes, empty for none; `None` to close the connection.
    fn answer(&self, frame: Bytes, connection: usize) -> Option<Vec<u8>> {
        let mut state = self.state();
        let unsupported = |correlation_id| Some(protocol::unsupported_api_versions(correlation_id).concat());
        let DecodedRequest { header, request, .. } = match decode_request(&frame) {
            Ok(request) => request,
            Err(DecodeError::UnsupportedApiVersions { correlation_id, .. }) => return unsupported(correlation_id),
            Err(error) => panic!("{error}"),
        };
        let body = match request {
            Request::ApiVersions(_) => {
                let max = state.api_versions_max.unwrap_or(4);
                let mut response = api_versions_response();
                response.api_keys.iter_mut().filter(|api| api.api_key == 18).for_each(|api| api.max_version = max);
                if max < header.version {
                    response.error_code = 35;
                    return Some(encode_response(header.correlation_id, 0, ResponseBody::ApiVersions(response)).unwrap().concat());
                }
                ResponseBody::ApiVersions(response)
            }
            Request::Metadata(request) => ResponseBody::Metadata(state.metadata(self.port, &request)),
            Request::Produce(request) => {
                let fault = state.produce_faults.pop_front().unwrap_or(Fault::Pass);
                if fault == Fault::CloseLater {
                    state.closing_later = Some(state.release.clone());
                }
                if matches!(fault, Fault::Close | Fault::CloseLater) {
                    return None;
                }
                let acks = request.acks;
                let response = state.produce(request, header.version, connection, fault);
                match (fault, acks) {
                    (Fault::LoseAnswer, _) => return None,
                    (_, 0) => return Some(Vec::new()),
                    _ => ResponseBody::Produce(response),
                }
            }
            Request::Fetch(request) => {
                let fault = state.fetch_faults.pop_front().unwrap_or(Fault::Pass);
                if matches!(fault, Fault::Close | Fault::CloseLater | Fault::LoseAnswer) {
                    return None;
                }
                ResponseBody::Fetch(state.fetch(request, header.version, fault))
            }
            Request::ListOffsets(request) => ResponseBody::ListOffsets(state.list_offsets(request)),
            Request::CreateTopics(request) => ResponseBody::CreateTopics(state.create_topics(request)),
            Request::DeleteTopics(request) => ResponseBody::DeleteTopics(state.delete_topics(request)),
            Request::InitProducerId(_) => {
                ResponseBody::InitProducerId(InitProducerIdResponse::default().with_producer_id(ProducerId(7)).with_producer_epoch(0))
            }
            Request::DescribeCluster(_) => ResponseBody::DescribeCluster(
                DescribeClusterResponse::default()
                    .with_cluster_id(StrBytes::from_static_str("fake"))
                    .with_controller_id(BrokerId(1))
                    .with_brokers(vec![
                        DescribeClusterBroker::default()
                            .with_broker_id(BrokerId(1))
                            .with_host(StrBytes::from_static_str("127.0.0.1"))
                            .with_port(i32::from(self.port)),
                    ]),
            ),
            other => state.group.answer(self.port, other)?,
        };
        Some(encode_response(header.correlation_id, header.version, body).unwrap().concat())
    }
}

impl State {
    pub(crate) fn create(&mut self, name: &str, partitions: usize) {
        let id = Uuid::from_u128(1000 + self.topics.len() as u128);
        self.topics.insert(name.to_owned(), Topic { id, logs: (0..partitions).map(|_| Log::default()).collect() });
    }

    pub(crate) fn log(&mut self, topic: &str, partition: usize) -> &mut Log {
        &mut self.topics.get_mut(topic).unwrap().logs[partition]
    }

    fn topic(&mut self, name: &str, id: Uuid) -> Option<&mut Topic> {
        self.topics.iter_mut().find(|(known, topic)| *known == name || topic.id == id).map(|(_, topic)| topic)
    }

    fn metadata(&mut self, port: u16, request: &MetadataRequest) -> MetadataResponse {
        self.metadata_requests += 1;
        let leader = BrokerId(if self.leaderless == 0 { 1 } else { -1 });
        self.leaderless = self.leaderless.saturating_sub(1);
        let names: Vec<String> = match &request.topics {
            None => self.topics.keys().cloned().collect(),
            Some(topics) => topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string()).collect(),
        };
        let mut topics = Vec::new();
        for name in names {
            if request.allow_auto_topic_creation && request.topics.is_some() && !self.topics.contains_key(&name) {
                self.create(&name, 1);
            }
            let mut answer = MetadataResponseTopic::default().with_name(Some(TopicName(StrBytes::from_string(name.clone()))));
            match self.topics.get(&name) {
                None => answer.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                Some(topic) => {
                    answer.topic_id = topic.id;
                    answer.partitions = (0..topic.logs.len() as i32)
                        .map(|index| {
                            MetadataResponsePartition::default()
                                .with_partition_index(index)
                                .with_leader_id(leader)
                                .with_leader_epoch(3)
                                .with_replica_nodes(vec![BrokerId(1)])
                                .with_isr_nodes(vec![BrokerId(1)])
                        })
                        .collect();
                }
            }
            topics.push(answer);
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(port));
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics)
    }

    fn produce(&mut self, request: ProduceRequest, version: i16, connection: usize, fault: Fault) -> ProduceResponse {
        let mut responses = Vec::new();
        for topic in request.topic_data {
            let mut partitions = Vec::new();
            for partition in topic.partition_data {
                let batch = partition.records.unwrap();
                self.produced.push((connection, BatchHeader::parse(&batch).unwrap().base_sequence));
                let answer = PartitionProduceResponse::default().with_index(partition.index);
                let appended = match (fault, self.topic(&topic.name, topic.topic_id)) {
                    (Fault::Refuse(code), _) => Err(code),
                    (_, None) => Err(if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId }),
                    (_, Some(topic)) => topic.logs[partition.index as usize].append(batch),
                };
                partitions.push(match appended {
                    Ok(base) => answer.with_base_offset(base),
                    Err(code) => answer.with_error_code(code.code()).with_base_offset(-1),
                });
            }
            let answer = TopicProduceResponse::default().with_name(topic.name).with_topic_id(topic.topic_id);
            responses.push(answer.with_partition_responses(partitions));
        }
        ProduceResponse::default().with_responses(responses)
    }

    fn fetch(&mut self, request: FetchRequest, _version: i16, fault: Fault) -> FetchResponse {
        let topics = request.topics.into_iter().map(|asked| {
            let topic = self.topic(&asked.topic, asked.topic_id);
            let logs = topic.map(|topic| &topic.logs[..]).unwrap_or_default();
            let partition = |asked: &FetchPartition| match (fault, logs.get(asked.partition as usize)) {
                (Fault::Refuse(code), _) => FetchedPartition::failed(asked.partition, code),
                (_, None) => FetchedPartition::failed(asked.partition, ErrorCode::UnknownTopicId),
                (_, Some(log)) => log.read(asked),
            };
            let partitions = asked.partitions.iter().map(partition).collect();
            FetchedTopic { name: asked.topic, id: TopicId(asked.topic_id), partitions }
        });
        FetchResponse { topics: topics.collect(), ..FetchResponse::default() }
    }

    fn list_offsets(&mut self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|asked| {
            let logs = self.topics.get(&*asked.name.0).map(|topic| &topic.logs[..]).unwrap_or_default();
            let partitions = asked.partitions.iter().map(|partition| {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
                match logs.get(partition.partition_index as usize) {
                    None => answer.with_error_code(3),
                    Some(log) => {
                        let (offset, timestamp) = log.offset_at(partition.timestamp);
                        answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(3)
                    }
                }
            });
            ListOffsetsTopicResponse::default().with_name(asked.name.clone()).with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn create_topics(&mut self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let results = request.topics.into_iter().map(|topic| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            if self.topics.contains_key(&*topic.name.0) {
                return result.with_error_code(36).with_error_message(Some(StrBytes::from_static_str("it is there")));
            }
            self.create(&topic.name, topic.num_partitions.max(1) as usize);
            result
        });
        CreateTopicsResponse::default().with_topics(results.collect())
    }

    fn delete_topics(&mut self, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let names = request.topics.into_iter().filter_map(|topic| topic.name).chain(request.topic_names);
        let results = names.map(|name| {
            let code = if self.topics.remove(&*name.0).is_some() { 0 } else { 3 };
            DeletableTopicResult::default().with_name(Some(name)).with_error_code(code)
        });
        DeleteTopicsResponse::default().with_responses(results.collect())
    }
}

impl Log {
    /// Appends as an idempotent log does; the base offset, the original one for a batch that is there already.
    pub(crate) fn append(&mut self, batch: Bytes) -> Result<i64, ErrorCode> {
        let header = BatchHeader::parse(&batch).unwrap();
        if header.has_producer() {
            let window = self.producers.entry(header.producer_id).or_default();
            let known = window.iter().find(|(first, last, _)| (*first, *last) == (header.base_sequence, header.last_sequence()));
            if let Some((_, _, base)) = known {
                return Ok(*base);
            }
            let expected = window.back().map_or(0, |(_, last, _)| last + 1);
            if header.base_sequence != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            window.push_back((header.base_sequence, header.last_sequence(), self.next));
            if 5 < window.len() {
                window.pop_front();
            }
        }
        let base = self.next;
        self.next += i64::from(header.last_offset_delta) + 1;
        self.batches.push(stamp(batch, Offset(base), LeaderEpoch(3), None));
        Ok(base)
    }

    fn read(&self, asked: &FetchPartition) -> FetchedPartition {
        if asked.fetch_offset < self.start || self.next < asked.fetch_offset {
            return FetchedPartition::failed(asked.partition, ErrorCode::OffsetOutOfRange);
        }
        let after = |batch: &&Bytes| asked.fetch_offset < BatchHeader::parse(batch).unwrap().next_offset().0;
        let mut records = self.batches.iter().filter(after).cloned().collect::<Vec<_>>().concat();
        // Cut anywhere, but never inside the first batch.
        let first = batches(records.clone().into()).next().map_or(0, |batch| batch.unwrap().bytes.len());
        records.truncate((asked.partition_max_bytes as usize).max(first));
        FetchedPartition {
            partition_index: asked.partition,
            high_watermark: self.next,
            last_stable_offset: self.next,
            log_start_offset: self.start,
            records: vec![records.into()],
            ..FetchedPartition::default()
        }
    }

    fn offset_at(&self, timestamp: i64) -> (i64, i64) {
        match timestamp {
            -1 => (self.next, -1),
            -2 => (self.start, -1),
            timestamp => self
                .batches
                .iter()
                .find_map(|batch| first_at_or_after(batch, Timestamp(timestamp), 1 << 20).unwrap())
                .map_or((-1, -1), |(offset, timestamp)| (offset.0, timestamp.0)),
        }
    }
}
