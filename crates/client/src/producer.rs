//! Writes records. Each goes to the queue of its partition, where a task of its own makes batches and keeps up to five of them on the
//! way; the offset of every record comes back in its [`Delivery`].

mod partition;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::messages::InitProducerIdRequest;
use records::{Codec, RecordHeader};
use runtime::{Clock, SystemClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::partitioner::{Sticky, partition_for_key};
use crate::{Client, ClientError};
use partition::PartitionSender;

/// Records that may wait in one partition's queue; their bytes are bounded by [`ProducerOptions::buffer_bytes`].
const QUEUED_RECORDS: usize = 10_000;
/// What a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// What a broker waits for before it answers a Produce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acks {
    /// Nothing: it does not answer.
    None,
    /// The leader's own log.
    Leader,
    /// What the topic's durability asks for.
    #[default]
    All,
}

/// How a producer behaves.
#[derive(Clone)]
pub struct ProducerOptions {
    /// What is waited for.
    pub acks: Acks,
    /// Whether the broker recognises repeated batches (KIP-98); needs [`Acks::All`].
    pub idempotent: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// A batch is closed at this size, before compression.
    pub batch_bytes: usize,
    /// A batch that is not full waits this long for more records.
    pub linger: Duration,
    /// A record that is not acknowledged this long after its batch was closed has failed.
    pub delivery_timeout: Duration,
    /// Bytes of records that are not acknowledged yet; beyond, [`Producer::send`] waits.
    pub buffer_bytes: u32,
    /// Where records without a timestamp take theirs.
    pub clock: Arc<dyn Clock>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            codec: Codec::None,
            batch_bytes: 256 * 1024,
            linger: Duration::ZERO,
            delivery_timeout: Duration::from_secs(120),
            buffer_bytes: 32 * 1024 * 1024,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: String,
    /// The partition; `None` to choose by the key, or by turns.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<RecordHeader>,
    /// Milliseconds since 1970; `None` for now.
    pub timestamp: Option<i64>,
}

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: i32,
    /// Its offset; `None` with [`Acks::None`], and for a repetition whose offset the broker no longer knows.
    pub offset: Option<i64>,
}

/// Resolves when the record is acknowledged, or has failed. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<RecordMetadata, ClientError>>);

/// A record on its way: it holds its share of the buffer until it is settled.
struct Queued {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<RecordHeader>,
    timestamp: i64,
    waiting: Waiting,
}

struct Waiting {
    delivery: oneshot::Sender<Result<RecordMetadata, ClientError>>,
    _buffer: OwnedSemaphorePermit,
}

/// Id and epoch by which brokers recognise an idempotent producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// A producer. Records of one partition are appended in the order in which they were sent. Dropping it lets what was sent finish.
pub struct Producer {
    client: Client,
    options: Arc<ProducerOptions>,
    identity: Option<Identity>,
    buffer: Arc<Semaphore>,
    queues: Mutex<HashMap<(String, i32), mpsc::Sender<Queued>>>,
    sticky: Mutex<HashMap<String, Sticky>>,
}

impl Producer {
    /// Starts a producer; an idempotent one gets its id from a broker first.
    ///
    /// # Errors
    /// When no broker gives an id within the client's retry timeout.
    pub async fn start(client: Client, options: ProducerOptions) -> Result<Self, ClientError> {
        let identity = if options.idempotent { Some(Identity::obtain(&client).await?) } else { None };
        Ok(Self {
            client,
            identity,
            buffer: Arc::new(Semaphore::new(options.buffer_bytes as usize)),
            options: Arc::new(options),
            queues: Mutex::default(),
            sticky: Mutex::default(),
        })
    }

    /// Queues a record, waiting for room in the buffer.
    ///
    /// # Errors
    /// When the topic or partition does not exist, or the record is larger than the buffer.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ClientError> {
        let bytes = record.bytes();
        let share = u32::try_from(bytes).ok().filter(|share| *share <= self.options.buffer_bytes);
        let share = share.ok_or(ClientError::RecordTooLarge { bytes, limit: self.options.buffer_bytes })?;
        let partition = self.partition(&record, bytes).await?;
        let buffer = self.buffer.clone().acquire_many_owned(share).await.expect("the buffer is never closed");
        let queue = self.queue(&record.topic, partition);
        let (delivery, receiver) = oneshot::channel();
        let queued = Queued {
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp.unwrap_or_else(|| self.options.clock.wall_ms()),
            waiting: Waiting { delivery, _buffer: buffer },
        };
        // A queue's task ends only after its queue is closed, and this producer holds it open.
        queue.send(queued).await.expect("the partition's task runs as long as the producer");
        Ok(Delivery(receiver))
    }

    /// Waits until every record sent before is acknowledged or has failed.
    pub async fn flush(&self) {
        // Every record holds its share of the buffer until then, and the semaphore is fair.
        let all = self.buffer.acquire_many(self.options.buffer_bytes).await;
        drop(all.expect("the buffer is never closed"));
    }

    async fn partition(&self, record: &ProducerRecord, bytes: usize) -> Result<i32, ClientError> {
        let topic = self.client.topic_when_ready(&record.topic).await?;
        let partitions = i32::try_from(topic.partitions.len()).expect("partitions are numbered in 31 bits");
        match (record.partition, &record.key) {
            (Some(partition), _) if (0..partitions).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(ClientError::NoSuchPartition { topic: record.topic.clone(), partition, partitions }),
            (None, Some(key)) => Ok(partition_for_key(key, partitions)),
            (None, None) => {
                let mut sticky = self.sticky.lock();
                let turn = sticky.entry(record.topic.clone()).or_insert_with(Sticky::new);
                Ok(turn.next(bytes, self.options.batch_bytes, partitions, self.client.random()))
            }
        }
    }

    fn queue(&self, topic: &str, partition: i32) -> mpsc::Sender<Queued> {
        let mut queues = self.queues.lock();
        let start = || {
            let (queue, queued) = mpsc::channel(QUEUED_RECORDS);
            let sender =
                PartitionSender::new(self.client.clone(), self.options.clone(), self.identity, topic.to_owned(), partition, queued);
            runtime::spawn(format!("produce to {topic}-{partition}"), sender.run());
            queue
        };
        queues.entry((topic.to_owned(), partition)).or_insert_with(start).clone()
    }
}

impl ProducerRecord {
    fn bytes(&self) -> usize {
        record_bytes(&self.key, &self.value, &self.headers)
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        record_bytes(&self.key, &self.value, &self.headers)
    }
}

/// An upper bound of what a record takes in a batch and in the queue.
fn record_bytes(key: &Option<Bytes>, value: &Option<Bytes>, headers: &[RecordHeader]) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let header = |header: &RecordHeader| header.key.len() + length(&header.value) + RECORD_OVERHEAD_BYTES;
    length(key) + length(value) + headers.iter().map(header).sum::<usize>() + RECORD_OVERHEAD_BYTES
}

impl Identity {
    async fn obtain(client: &Client) -> Result<Self, ClientError> {
        let mut attempts = client.attempts();
        loop {
            match Self::request(client).await {
                Ok(identity) => return Ok(identity),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    async fn request(client: &Client) -> Result<Self, ClientError> {
        let connection = client.any_connection().await?;
        let version = connection.version::<InitProducerIdRequest>()?;
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        let response = connection.request(version, &request).await?;
        ClientError::check(|| "getting a producer id".to_owned(), response.error_code, None)?;
        Ok(Self { id: *response.producer_id, epoch: response.producer_epoch })
    }
}

impl Acks {
    /// The number on the wire.
    fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl Waiting {
    fn settle(self, result: Result<RecordMetadata, ClientError>) {
        // Whoever sent the record need not wait for it.
        let _ = self.delivery.send(result);
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let settled = Pin::new(&mut self.0).poll(context);
        settled.map(|settled| settled.expect("every record is settled before its partition's task ends"))
    }
}
