//! Produce: every batch is checked and appended before this returns, so that pipelined requests keep their order; the answer waits for
//! the tickets. One bad partition never harms its neighbours.
//!
//! The message sets of old producers become batches first. That happens here too, on the connection's own thread: the order of appends
//! is that of requests, and no more conversions run at a time than the runtime has threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use metadata_api::ClusterImage;
use partition::{Acks, AppendRequest, Appended, Origin};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use records::{BatchHeader, RecordError, UpConversionLimits, ValidationLimits};
use tokio::time::Instant;
use types::{Timestamp, TopicId, TopicPartition};
use uuid::Uuid;

use super::metadata::endpoint_of;
use crate::broker::Broker;
use crate::down_conversion::MOST_GROWTH;
use crate::error_code;
use crate::session::RequestContext;
use crate::throttle;
use crate::topics::{LONGEST_TOPIC_NAME, ServedTopic};

/// The first version whose records are a batch (KIP-98); before, they are a message set.
const FIRST_WITH_BATCHES: i16 = 3;
/// The first version in which zstd may be used (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;
/// The first version that names topics by id (KIP-516).
const FIRST_WITH_IDS: i16 = 13;
/// Bound of what a compressed batch is opened to, where its header does not answer, and of what a message set is.
const MAX_DECOMPRESSED: usize = 64 << 20;

/// What the request led to; the appends are done.
pub(crate) enum Produced {
    /// The answer, when the batches are as durable as `acks` asks for.
    Answer(BoxFuture<'static, ProduceResponse>),
    /// `acks=0`, and nothing failed.
    Silence(BoxFuture<'static, ()>),
    /// `acks=0`, and something failed: closing is the only way to tell the producer, as in Kafka.
    Close(String),
}

/// Why a partition's batch is not known to be in the log.
struct Failure {
    code: ErrorCode,
    message: String,
    records: Vec<RecordError>,
}

impl Failure {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: Vec::new() }
    }
}

struct PartitionOutcome {
    index: i32,
    appended: Result<Appended, Failure>,
}

struct TopicOutcome {
    name: TopicName,
    id: Uuid,
    /// As far as it is known.
    found: Option<TopicId>,
    partitions: Vec<PartitionOutcome>,
}

pub(crate) fn begin(broker: &Arc<Broker>, context: &RequestContext, mut request: ProduceRequest) -> Produced {
    let_batch_have_the_frame(&mut request);
    let (acks, transactional) = (acks(request.acks), request.transactional_id.is_some());
    let image = broker.image();
    let append = Append { broker, context, image: &image, acks, transactional };
    let topics: Vec<TopicOutcome> = request.topic_data.into_iter().map(|topic| append.topic(topic)).collect();
    if acks == Some(Acks::None) {
        return silence(topics);
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    Produced::Answer(answer(Arc::clone(broker), context.clone(), topics, timeout).boxed())
}

/// A lone batch that is all that holds the request's frame is stamped where it is; else it is copied for that. Many producers send one batch
/// in a request, and then only the topic's name lies in the same memory.
fn let_batch_have_the_frame(request: &mut ProduceRequest) {
    if let [topic] = &mut request.topic_data[..]
        && topic.partition_data.len() == 1
        && topic.name.len() <= LONGEST_TOPIC_NAME
    {
        topic.name = TopicName(StrBytes::from_string(topic.name.to_string()));
    }
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

struct Append<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a ClusterImage,
    acks: Option<Acks>,
    transactional: bool,
}

impl Append<'_> {
    fn topic(&self, data: TopicProduceData) -> TopicOutcome {
        let TopicProduceData { name, topic_id, partition_data, .. } = data;
        let topic = if self.context.header.version < FIRST_WITH_IDS {
            self.broker.topic_named(self.image, &name)
        } else {
            self.broker.topic_with_id(TopicId(topic_id))
        };
        let partitions = partition_data.into_iter().map(|data| {
            let index = data.index;
            PartitionOutcome { index, appended: self.partition(&topic, data) }
        });
        TopicOutcome { partitions: partitions.collect(), found: topic.as_ref().ok().map(|topic| topic.image.id), name, id: topic_id }
    }

    fn partition(&self, topic: &Result<Arc<ServedTopic>, ErrorCode>, data: PartitionProduceData) -> Result<Appended, Failure> {
        let acks = self.acks.ok_or_else(|| Failure::new(ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1"))?;
        if self.transactional {
            return Err(Failure::new(ErrorCode::InvalidTxnState, "transactions are not supported yet"));
        }
        let topic = topic.as_ref().map_err(|code| Failure::new(*code, "the topic is not known here"))?;
        let partition = self
            .broker
            .partition(topic, data.index)
            .map_err(|code| Failure::new(code, format!("partition {} is not served here", data.index)))?;
        let mut batch = data.records.unwrap_or_default();
        if self.context.header.version < FIRST_WITH_BATCHES {
            batch = up_convert(batch, topic)?;
        }
        let now = Timestamp(self.broker.clock.wall_ms());
        let header = self.validate(&batch, topic, now)?;
        let (bytes, records) = (batch.len() as u64, u64::from(header.records));
        let appended = partition
            .append(AppendRequest { batch, header, acks, origin: Origin::Client, now })
            .map_err(|error| Failure::new(error_code::append(&error), error.to_string()))?;
        if !appended.duplicate {
            topic.metrics.bytes_in.inc_by(bytes);
            topic.metrics.records_in.inc_by(records);
        }
        Ok(appended)
    }

    fn validate(&self, batch: &Bytes, topic: &ServedTopic, now: Timestamp) -> Result<BatchHeader, Failure> {
        let limits = ValidationLimits {
            max_message_bytes: topic.max_message_bytes,
            zstd: FIRST_WITH_ZSTD <= self.context.header.version,
            now,
            timestamp_type: topic.timestamp_type,
            timestamp_before_max_ms: topic.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.timestamp_after_max_ms,
            compacted: topic.compacted,
            max_decompressed_bytes: MAX_DECOMPRESSED,
        };
        records::validate(batch, &limits).map_err(|error| Failure {
            code: error_code::batch(&error),
            message: error.to_string(),
            records: error.record_errors().to_vec(),
        })
    }
}

/// One batch of what an old producer sent. A batch is let through: as in Kafka, a client may be ahead of its version.
fn up_convert(set: Bytes, topic: &ServedTopic) -> Result<Bytes, Failure> {
    if BatchHeader::parse(&set).is_ok() {
        return Ok(set);
    }
    if topic.max_message_bytes.saturating_mul(MOST_GROWTH) < set.len() {
        let message = format!("message set of {} bytes exceeds max.message.bytes={} as a batch too", set.len(), topic.max_message_bytes);
        return Err(Failure::new(ErrorCode::MessageTooLarge, message));
    }
    let limits = UpConversionLimits { max_decompressed_bytes: MAX_DECOMPRESSED };
    records::up_convert(&set, &limits).map_err(|error| Failure::new(error_code::message_set(&error), error.to_string()))
}

fn silence(topics: Vec<TopicOutcome>) -> Produced {
    let mut tickets = Vec::new();
    for partition in topics.into_iter().flat_map(|topic| topic.partitions) {
        match partition.appended {
            Ok(appended) => tickets.push(appended.ticket),
            Err(failure) => return Produced::Close(format!("acks=0 and {}: {}", failure.code, failure.message)),
        }
    }
    Produced::Silence(futures::future::join_all(tickets).map(|_| ()).boxed())
}

async fn answer(broker: Arc<Broker>, context: RequestContext, topics: Vec<TopicOutcome>, timeout: Duration) -> ProduceResponse {
    let deadline = Instant::now() + timeout;
    let mut answer = Answer { broker: &broker, context: &context, moved: Vec::new() };
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for PartitionOutcome { index, appended } in topic.partitions {
            let response = match appended {
                Ok(appended) => match durable(appended, deadline).await {
                    Ok(appended) => success(&appended),
                    Err(failure) => answer.failure(topic.found, index, failure),
                },
                Err(failure) => answer.failure(topic.found, index, failure),
            };
            partitions.push(response.with_index(index));
        }
        responses.push(TopicProduceResponse::default().with_name(topic.name).with_topic_id(topic.id).with_partition_responses(partitions));
    }
    let node_endpoints = answer.endpoints();
    let throttle = throttle::of_log(broker.log_fill());
    ProduceResponse::default()
        .with_responses(responses)
        .with_node_endpoints(node_endpoints)
        .with_throttle_time_ms(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX))
}

/// Waits until the batch is durable. Past the deadline the outcome is unknown: an idempotent producer repeats the batch and is
/// answered with its original offset.
async fn durable(mut appended: Appended, deadline: Instant) -> Result<Appended, Failure> {
    match tokio::time::timeout_at(deadline, &mut appended.ticket).await {
        Ok(Ok(())) => Ok(appended),
        Ok(Err(error)) => Err(Failure::new(error_code::append(&error), error.to_string())),
        Err(_) => Err(Failure::new(ErrorCode::RequestTimedOut, "the batch is appended and not durable yet")),
    }
}

fn success(appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_base_offset(appended.base_offset.0)
        .with_log_append_time_ms(appended.log_append_time.unwrap_or(Timestamp::NONE).0)
        .with_log_start_offset(appended.log_start.0)
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    /// Leaders named in the answer.
    moved: Vec<types::BrokerId>,
}

impl Answer<'_> {
    fn failure(&mut self, topic: Option<TopicId>, index: i32, failure: Failure) -> PartitionProduceResponse {
        let Failure { code, message, records } = failure;
        self.broker.metrics.requests.error(self.context.header.api_key, code);
        tracing::debug!(?topic, partition = index, %code, "produce refused: {message}");
        let record_errors = records.iter().map(|record| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(i32::try_from(record.index).unwrap_or(i32::MAX))
                .with_batch_index_error_message(Some(StrBytes::from_string(record.fault.to_string())))
        });
        // Never an offset beside an error: a client would take it for the record's.
        let response = PartitionProduceResponse::default()
            .with_error_code(code.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
            .with_record_errors(record_errors.collect())
            .with_error_message(Some(StrBytes::from_string(message)));
        match topic.filter(|_| code == ErrorCode::NotLeaderOrFollower).and_then(|topic| self.leader(topic, index)) {
            Some(leader) => response.with_current_leader(leader),
            None => response,
        }
    }

    /// Who leads now (KIP-951), so that the producer need not ask.
    fn leader(&mut self, topic: TopicId, index: i32) -> Option<LeaderIdAndEpoch> {
        let image = self.broker.image();
        let partition = image.partition(TopicPartition::new(topic, index))?;
        let leader = partition.leader.filter(|leader| *leader != self.broker.id)?;
        if !self.moved.contains(&leader) {
            self.moved.push(leader);
        }
        Some(LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(partition.leader_epoch.0))
    }

    fn endpoints(&self) -> Vec<NodeEndpoint> {
        let image = self.broker.image();
        let endpoints = self.moved.iter().filter_map(|leader| {
            let member = image.brokers.get(leader)?;
            let endpoint = endpoint_of(member, &self.context.session.listener)?;
            Some(
                NodeEndpoint::default()
                    .with_node_id(BrokerId(leader.0))
                    .with_host(StrBytes::from_string(endpoint.host.clone()))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(member.rack.clone().map(StrBytes::from_string)),
            )
        });
        endpoints.collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Request;

    use super::*;

    /// A Produce request of version 9 as it comes, with client id `c`, for partition 0 of topic `t`, as often as `topics`.
    fn frame(topics: u8) -> Bytes {
        let head = b"\0\0\0\x09\0\0\0\x07\0\x01c\0\0\xff\xff\0\0\x05\xdc".as_slice();
        let topic = b"\x02t\x02\0\0\0\0\x04set\0\0";
        let mut frame = head.to_vec();
        frame.push(topics + 1);
        (0..topics).for_each(|_| frame.extend_from_slice(topic));
        frame.push(0);
        frame.into()
    }

    fn records_of(frame: Bytes) -> Vec<Bytes> {
        let decoded = protocol::decode_request(&frame).unwrap();
        drop(frame);
        let Request::Produce(mut request) = decoded.request else { panic!("not a Produce request") };
        let_batch_have_the_frame(&mut request);
        let take = |data: &mut PartitionProduceData| data.records.take().expect("there are records");
        let records = request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data).map(take).collect();
        // As while the answer waits: all but the records is still there.
        std::mem::forget((decoded.header, request));
        records
    }

    #[test]
    fn a_lone_batch_is_the_only_one_that_holds_its_frame() {
        let [records] = records_of(frame(1)).try_into().unwrap();
        assert_eq!(records.as_ref(), b"set");
        assert!(records.try_into_mut().is_ok());
    }

    #[test]
    fn batches_of_one_frame_share_it() {
        for records in records_of(frame(2)) {
            assert!(records.try_into_mut().is_err());
        }
    }
}
