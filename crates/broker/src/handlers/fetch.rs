//! Fetch: finds the partitions, checks epochs, has them read, and puts marks, records and errors side by side.
//!
//! What a request of a session stands for, and which partitions its answer leaves out, [`crate::fetch_session`] knows. A replica id
//! gives no rights: whoever asks sees what a consumer sees.

use std::sync::Arc;
use std::time::Duration;

use partition::{Isolation, Partition, ReadError};
use protocol::messages::FetchRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::{EpochEndOffset, ErrorCode, FetchResponse, FetchedPartition, FetchedTopic, LeaderIdAndEpoch, NodeEndpoint, StrBytes};
use tokio::time::Instant;
use types::{LeaderEpoch, Offset, TopicId, TopicPartition};

use super::metadata::endpoint_of;
use crate::broker::Broker;
use crate::down_conversion::{OldFetch, Records, Unreadable, message_format};
use crate::error_code;
use crate::fetch_wait::{self, Target, Wanted};
use crate::memory_budget::Charge;
use crate::session::RequestContext;
use crate::throttle;
use crate::topics::ServedTopic;

/// The first version that names topics by id (KIP-516).
const FIRST_WITH_IDS: i16 = 13;
/// Kafka's number for read_committed.
const READ_COMMITTED: i8 = 1;

/// Where a partition's part of the answer comes from.
enum Part {
    /// The target of this index.
    Read(usize),
    /// Settled without reading.
    Settled(Box<FetchedPartition>),
}

struct TopicParts {
    request: FetchTopic,
    served: Option<Arc<ServedTopic>>,
    parts: Vec<Part>,
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, mut request: FetchRequest) -> (FetchResponse, Option<Charge>) {
    let session = match broker.fetch_sessions.begin(context.header.version, &mut request, broker.clock.monotonic()) {
        Ok(session) => session,
        Err(code) => {
            broker.metrics.requests.error(context.header.api_key, code);
            return (FetchResponse { error_code: code, ..FetchResponse::default() }, None);
        }
    };
    let client = context.client();
    let pause = broker.consumer_quota.pause(client, broker.clock.monotonic());
    if !pause.is_zero() {
        let mut response = FetchResponse { throttle_time_ms: throttle::as_ms(pause), ..FetchResponse::default() };
        session.finish_unanswered(&mut response, broker.clock.monotonic());
        return (response, None);
    }
    let committed = request.isolation_level == READ_COMMITTED;
    let mut targets = Vec::new();
    let topics: Vec<TopicParts> =
        request.topics.into_iter().map(|topic| find_topic(broker, context.header.version, topic, &mut targets)).collect();
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    // What is settled already is an error that the client should hear of at once, and where there is nothing to read nothing comes.
    let settled = targets.is_empty() || topics.iter().flat_map(|topic| &topic.parts).any(|part| matches!(part, Part::Settled(_)));
    let wanted = Wanted {
        isolation: if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(broker.options().fetch_max_bytes)
            .min(broker.consumer_quota.most_at_once(client)),
        deadline: Instant::now() + if settled { Duration::ZERO } else { wait },
        in_turn: session.is_in_turn(),
    };
    let (mut reads, charge) = read(broker, context, targets, wanted).await;
    // What was read goes out, and the next fetch waits until it is paid for. Kafka throws it away and answers this one empty.
    let bytes = reads.iter().flatten().flatten().map(|records| records.read.bytes).sum();
    broker.consumer_quota.charge(client, bytes, broker.clock.monotonic());
    let mut answer = Answer { broker, context, committed, moved: Vec::new() };
    let topics = topics.into_iter().map(|topic| answer.topic(topic, &mut reads)).collect();
    let mut response = FetchResponse { topics, node_endpoints: answer.endpoints(), ..FetchResponse::default() };
    session.finish(&mut response, broker.clock.monotonic());
    (response, charge)
}

/// Reads, and puts what was read into the form that the request's version carries.
async fn read(
    broker: &Broker,
    context: &RequestContext,
    targets: Vec<Target>,
    wanted: Wanted,
) -> (Vec<Option<Result<Records, Unreadable>>>, Option<Charge>) {
    let (answers, random, hurry) = (&broker.answers, &broker.random, context.hurry.clone());
    let Some(format) = message_format(context.header.version) else {
        let fetched = fetch_wait::fetch(&targets, wanted, answers, random, hurry).await;
        let reads = fetched.partitions.into_iter();
        let reads = reads.map(|read| read.map(|read| read.map(Records::unchanged).map_err(Unreadable::Read)));
        return (reads.collect(), fetched.charge);
    };
    let fetch = OldFetch { format, wanted, conversions: &broker.conversions, answers, random, hurry };
    let (parts, charge) = fetch.run(targets).await;
    (parts.into_iter().map(Some).collect(), charge)
}

fn find_topic(broker: &Broker, version: i16, request: FetchTopic, targets: &mut Vec<Target>) -> TopicParts {
    let found = if version < FIRST_WITH_IDS {
        broker.topic_named(&broker.image(), &request.topic)
    } else {
        broker.topic_with_id(TopicId(request.topic_id))
    };
    let parts = request.partitions.iter().map(|wanted| {
        let found = match &found {
            Ok(topic) => find_partition(broker, topic, wanted),
            Err(code) => Err(Box::new(FetchedPartition::failed(wanted.partition, *code))),
        };
        match found {
            Ok(partition) => {
                let max_bytes = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
                targets.push(Target { partition, offset: Offset(wanted.fetch_offset), max_bytes });
                Part::Read(targets.len() - 1)
            }
            Err(settled) => Part::Settled(settled),
        }
    });
    TopicParts { parts: parts.collect(), served: found.as_ref().ok().cloned(), request }
}

/// The partition to read, or its settled answer.
fn find_partition(broker: &Broker, topic: &ServedTopic, wanted: &FetchPartition) -> Result<Arc<Partition>, Box<FetchedPartition>> {
    let failed = |code| Box::new(FetchedPartition::failed(wanted.partition, code));
    let partition = broker.partition(topic, wanted.partition).map_err(failed)?;
    broker.check_leader_epoch(&partition, wanted.current_leader_epoch).map_err(failed)?;
    if 0 <= wanted.last_fetched_epoch {
        let end = partition.epoch_end_offset(LeaderEpoch(wanted.last_fetched_epoch)).map_err(|error| failed(error_code::read(&error)))?;
        let end = end.ok_or_else(|| failed(ErrorCode::OffsetOutOfRange))?;
        if end.epoch.0 < wanted.last_fetched_epoch || end.end.0 < wanted.fetch_offset {
            let offsets = partition.readable_offsets().map_err(|error| failed(error_code::read(&error)))?;
            return Err(Box::new(FetchedPartition {
                partition_index: wanted.partition,
                high_watermark: offsets.high_watermark.0,
                last_stable_offset: offsets.last_stable_offset.0,
                log_start_offset: offsets.log_start.0,
                diverging_epoch: Some(EpochEndOffset { epoch: end.epoch.0, end_offset: end.end.0 }),
                ..FetchedPartition::default()
            }));
        }
    }
    Ok(partition)
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    committed: bool,
    /// Leaders named in the answer.
    moved: Vec<types::BrokerId>,
}

impl Answer<'_> {
    fn topic(&mut self, topic: TopicParts, reads: &mut [Option<Result<Records, Unreadable>>]) -> FetchedTopic {
        let TopicParts { request, served, parts } = topic;
        let mut partitions = Vec::with_capacity(parts.len());
        for (part, wanted) in parts.into_iter().zip(&request.partitions) {
            let mut partition = match part {
                Part::Settled(settled) => *settled,
                Part::Read(target) => match reads[target].take() {
                    Some(Ok(records)) => self.success(wanted.partition, served.as_deref(), records),
                    Some(Err(Unreadable::Read(error))) => failure(wanted.partition, &error),
                    Some(Err(Unreadable::Conversion(error))) => {
                        let code = error_code::down_conversion(&error);
                        tracing::debug!(partition = wanted.partition, %code, "fetch failed: {error}");
                        FetchedPartition::failed(wanted.partition, code)
                    }
                    None => FetchedPartition { partition_index: wanted.partition, ..FetchedPartition::default() },
                },
            };
            if !partition.error_code.is_none() {
                self.broker.metrics.requests.error(self.context.header.api_key, partition.error_code);
                let moved = matches!(partition.error_code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
                partition.current_leader =
                    served.as_ref().filter(|_| moved).and_then(|topic| self.leader(TopicPartition::new(topic.image.id, wanted.partition)));
            }
            partitions.push(partition);
        }
        FetchedTopic { name: request.topic, id: TopicId(request.topic_id), partitions }
    }

    fn success(&self, index: i32, topic: Option<&ServedTopic>, records: Records) -> FetchedPartition {
        let Records { read, count } = records;
        if let Some(topic) = topic {
            topic.metrics.records_out.inc_by(count);
            topic.metrics.bytes_out.inc_by(read.bytes as u64);
        }
        self.broker.metrics.fetched.count(&read.sources);
        FetchedPartition {
            partition_index: index,
            high_watermark: read.offsets.high_watermark.0,
            last_stable_offset: read.offsets.last_stable_offset.0,
            log_start_offset: read.offsets.log_start.0,
            aborted_transactions: self.committed.then(Vec::new),
            records: read.batches,
            ..FetchedPartition::default()
        }
    }

    /// Who leads now (KIP-951), so that the consumer need not ask.
    fn leader(&mut self, partition: TopicPartition) -> Option<LeaderIdAndEpoch> {
        let image = self.broker.image();
        let partition = image.partition(partition)?;
        let leader = partition.leader?;
        if leader != self.broker.id && !self.moved.contains(&leader) {
            self.moved.push(leader);
        }
        Some(LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: partition.leader_epoch.0 })
    }

    fn endpoints(&self) -> Vec<NodeEndpoint> {
        let image = self.broker.image();
        let endpoints = self.moved.iter().filter_map(|leader| {
            let member = image.brokers.get(leader)?;
            let endpoint = endpoint_of(member, &self.context.session.listener)?;
            Some(NodeEndpoint {
                node_id: leader.0,
                host: StrBytes::from_string(endpoint.host.clone()),
                port: i32::from(endpoint.port),
                rack: member.rack.clone().map(StrBytes::from_string),
            })
        });
        endpoints.collect()
    }
}

/// Marks go out with an offset that is out of range: the client sees where the log begins and ends.
fn failure(index: i32, error: &ReadError) -> FetchedPartition {
    let code = error_code::read(error);
    match error {
        ReadError::OutOfRange { log_start, high_watermark, .. } => FetchedPartition {
            high_watermark: high_watermark.0,
            last_stable_offset: high_watermark.0,
            log_start_offset: log_start.0,
            ..FetchedPartition::failed(index, code)
        },
        other => {
            tracing::debug!(partition = index, %code, "fetch failed: {other}");
            FetchedPartition::failed(index, code)
        }
    }
}
