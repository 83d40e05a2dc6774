//! The task that sends one partition's records: it closes batches, keeps up to five on the way, and sends them again, the same bytes
//! with the same sequence, while the error may pass.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{ProduceRequest, ProduceResponse};
use records::BatchBuilder;
use runtime::Retries;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use types::{Timestamp, TopicId};

use super::{Acks, Identity, ProducerOptions, Queued, RecordMetadata, Waiting};
use crate::client::topic_name;
use crate::retry::BACKOFF;
use crate::{Client, ClientError};

/// Batches on the way at a time. A broker remembers five per producer, so a repetition of any of them is recognised.
const MAX_IN_FLIGHT: usize = 5;

type AnswerFuture = Pin<Box<dyn Future<Output = Result<ProduceResponse, ClientError>> + Send + Sync>>;

/// A closed batch. Its bytes do not change any more: a repetition must be recognised.
struct Batch {
    bytes: Bytes,
    records: Vec<Waiting>,
    deadline: Instant,
}

struct InFlight {
    batch: Batch,
    answer: AnswerFuture,
}

pub(super) struct PartitionSender {
    client: Client,
    options: Arc<ProducerOptions>,
    identity: Option<Identity>,
    topic: String,
    partition: i32,
    queue: mpsc::Receiver<Queued>,
    /// A record that did not fit the batch being closed: the first of the next.
    held_back: Option<Queued>,
    next_sequence: i32,
    /// Oldest first.
    in_flight: VecDeque<InFlight>,
    /// Batches to be sent again, oldest first, all older than what waits in the queue.
    returned: VecDeque<Batch>,
    /// Why an idempotent producer can no longer write here.
    stopped: Option<ClientError>,
    /// Waits between attempts since the last success.
    retries: Retries,
}

impl PartitionSender {
    pub(super) fn new(
        client: Client,
        options: Arc<ProducerOptions>,
        identity: Option<Identity>,
        topic: String,
        partition: i32,
        queue: mpsc::Receiver<Queued>,
    ) -> Self {
        Self {
            client,
            options,
            identity,
            topic,
            partition,
            queue,
            held_back: None,
            next_sequence: 0,
            in_flight: VecDeque::with_capacity(MAX_IN_FLIGHT),
            returned: VecDeque::new(),
            stopped: None,
            retries: BACKOFF.start(),
        }
    }

    /// Ends when the producer is gone and everything that it sent is settled.
    pub(super) async fn run(mut self) {
        loop {
            let has_room = self.in_flight.len() < MAX_IN_FLIGHT;
            if has_room && let Some(batch) = self.returned.pop_front() {
                self.dispatch(batch).await;
                continue;
            }
            if has_room && let Some(first) = self.held_back.take() {
                self.close_batch(first).await;
                continue;
            }
            tokio::select! {
                biased;
                Some(answer) = oldest_answer(&mut self.in_flight) => self.settle_oldest(answer).await,
                Some(first) = self.queue.recv(), if has_room => self.close_batch(first).await,
                else => return,
            }
        }
    }

    /// Collects records behind `first` until the batch is full or has waited long enough, and sends it.
    async fn close_batch(&mut self, first: Queued) {
        if let Some(reason) = &self.stopped {
            return first.waiting.settle(Err(self.stopped_by(reason)));
        }
        let closes = Instant::now() + self.options.linger;
        let mut builder = BatchBuilder::new(self.options.codec);
        if let Some(Identity { id, epoch }) = self.identity {
            builder = builder.producer(id, epoch, self.next_sequence);
        }
        let mut records = Vec::new();
        let mut next = Some(first);
        while let Some(record) = next {
            let Queued { key, value, headers, timestamp, waiting } = record;
            builder.push(Timestamp(timestamp), key.as_deref(), value.as_deref(), &headers);
            records.push(waiting);
            next = self.next_record(closes).await;
            if let Some(record) = next.take_if(|record| self.options.batch_bytes < builder.uncompressed_bytes() + record.bytes()) {
                self.held_back = Some(record);
            }
        }
        self.next_sequence = sequence_after(self.next_sequence, records.len());
        let deadline = Instant::now() + self.options.delivery_timeout;
        self.dispatch(Batch { bytes: builder.build(), records, deadline }).await;
    }

    /// The next record for a batch that closes at `closes`: what is there already, else what comes before.
    async fn next_record(&mut self, closes: Instant) -> Option<Queued> {
        match self.queue.try_recv() {
            Ok(record) => Some(record),
            Err(_) if self.options.linger.is_zero() => None,
            Err(_) => timeout_at(closes, self.queue.recv()).await.ok().flatten(),
        }
    }

    async fn dispatch(&mut self, batch: Batch) {
        match self.begin(&batch).await {
            Ok(Some(answer)) => self.in_flight.push_back(InFlight { batch, answer }),
            Ok(None) => self.deliver(batch, None),
            Err(error) => self.send_again_or_fail(batch, error).await,
        }
    }

    /// Sends a batch to the partition's leader; `None` where no answer comes.
    async fn begin(&self, batch: &Batch) -> Result<Option<AnswerFuture>, ClientError> {
        let (connection, topic, _) = self.client.leader(&self.topic, self.partition).await?;
        let version = connection.version::<ProduceRequest>()?;
        let request = self.request(version, topic.id, batch);
        if self.options.acks == Acks::None {
            connection.send_unanswered(version, &request).await?;
            return Ok(None);
        }
        let answer = connection.begin(version, &request).await?;
        Ok(Some(Box::pin(answer.wait())))
    }

    fn request(&self, version: i16, topic: TopicId, batch: &Batch) -> ProduceRequest {
        let partition = PartitionProduceData::default().with_index(self.partition).with_records(Some(batch.bytes.clone()));
        let mut data = TopicProduceData::default().with_partition_data(vec![partition]);
        if version < 13 {
            data.name = topic_name(&self.topic);
        } else {
            data.topic_id = topic.0;
        }
        let timeout = self.client.options().connection.request_timeout;
        ProduceRequest::default()
            .with_acks(self.options.acks.code())
            .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![data])
    }

    async fn settle_oldest(&mut self, answer: Result<ProduceResponse, ClientError>) {
        let InFlight { batch, .. } = self.in_flight.pop_front().expect("the oldest batch was answered");
        match answer.and_then(|response| self.read(&response)) {
            Ok(base_offset) => {
                self.retries = BACKOFF.start();
                self.deliver(batch, base_offset);
            }
            Err(error) => {
                // An idempotent producer takes back everything behind the failed batch: the broker refuses what follows a missing
                // one, and recognises what it has. Batches of a plain producer stand alone; sending them again would only write
                // them twice.
                if self.identity.is_some() {
                    for in_flight in self.in_flight.drain(..).rev() {
                        self.returned.push_front(in_flight.batch);
                    }
                }
                self.send_again_or_fail(batch, error).await;
            }
        }
    }

    /// The offset of the batch's first record, where the broker still knows it.
    fn read(&self, response: &ProduceResponse) -> Result<Option<i64>, ClientError> {
        let what = || format!("producing to {}-{}", self.topic, self.partition);
        let partition = response.responses.iter().flat_map(|topic| &topic.partition_responses).next();
        let partition = partition.ok_or_else(|| ClientError::Missing { what: what() })?;
        if partition.error_code == ErrorCode::DuplicateSequenceNumber.code() {
            return Ok(None);
        }
        ClientError::check(what, partition.error_code, partition.error_message.as_deref())?;
        Ok(Some(partition.base_offset))
    }

    /// Puts `batch`, which is older than all that was returned, back to be sent again if its error may pass and its time is not up.
    async fn send_again_or_fail(&mut self, batch: Batch, error: ClientError) {
        if !error.is_retriable() {
            return self.fail(batch, error);
        }
        self.client.forget(&self.topic).await;
        let delay = self.retries.next_delay(self.client.random()).expect("no budget of its own: the batch has a deadline");
        if batch.deadline <= Instant::now() + delay {
            let timeout = self.options.delivery_timeout;
            return self.fail(batch, ClientError::Undelivered { timeout, last: Box::new(error) });
        }
        tracing::debug!(topic = self.topic, partition = self.partition, %error, "sending again");
        self.returned.push_front(batch);
        tokio::time::sleep(delay).await;
    }

    fn deliver(&self, batch: Batch, base_offset: Option<i64>) {
        let partition = self.partition;
        for (index, record) in (0..).zip(batch.records) {
            record.settle(Ok(RecordMetadata { partition, offset: base_offset.map(|base| base + index) }));
        }
    }

    /// Fails `batch`. An idempotent producer fails everything newer too: with one batch missing, the sequence has a hole. What is on
    /// the way is older, and settles by itself.
    fn fail(&mut self, batch: Batch, error: ClientError) {
        for record in batch.records {
            record.settle(Err(error.clone()));
        }
        if self.identity.is_none() {
            return;
        }
        for record in std::mem::take(&mut self.returned).into_iter().flat_map(|batch| batch.records) {
            record.settle(Err(self.stopped_by(&error)));
        }
        self.stopped = Some(error);
    }

    fn stopped_by(&self, first: &ClientError) -> ClientError {
        ClientError::Stopped { topic: self.topic.clone(), partition: self.partition, first: Box::new(first.clone()) }
    }
}

/// `None`, at once, while nothing is on the way.
async fn oldest_answer(in_flight: &mut VecDeque<InFlight>) -> Option<Result<ProduceResponse, ClientError>> {
    Some((&mut in_flight.front_mut()?.answer).await)
}

/// Sequences wrap from 2^31-1 to 0.
fn sequence_after(sequence: i32, records: usize) -> i32 {
    let next = (i64::from(sequence) + records as i64) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).expect("below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(0, 3), 3);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }
}
