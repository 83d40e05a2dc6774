//! A range becomes one object: built, put, verified.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use metadata_api::{ClusterImage, PartitionPublish, PublishedObject, Registration};
use parking_lot::Mutex;
use runtime::{Backoff, Clock, Random};
use segment::{BuildError, BuiltObject, ObjectBuilder, ObjectHeader, RefusedPublish, SegmentInput};
use store::{Body, ObjectStore, StoreError, put_verified};
use tokio::sync::watch;
use types::{
    BrokerEpoch, BrokerId, ClusterId, Lsn, ObjectKey, ObjectNumber, ObjectOrigin, ProducerId, ProducerWindow, PublishSequence, Timestamp,
    TopicPartition, WalId,
};

use crate::numbers::ObjectNumbers;
use crate::offload::Deps;
use crate::retry::Failing;
use crate::seal::{SealedPartition, SealedRange};
use crate::{Failpoints, OffloadError, Step};

/// While the store is away the log takes what is appended, up to its limit. So there is no reason to give up, and every reason not to
/// be one of many brokers that all come back at once.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.5, budget: Duration::MAX };

/// One attempt at a time, so that each failure shows in the status.
const ONCE: Backoff = Backoff { budget: Duration::ZERO, ..AGAIN };

/// Refused publishes that are told in every later object's header. A rebuild takes older ones from its snapshot.
const REFUSED_KEPT: usize = 1024;

/// What is published of a range.
pub(crate) struct Uploaded {
    /// `None` for a range without batches of topics that exist.
    pub(crate) object: Option<PublishedObject>,
    pub(crate) partitions: Vec<PartitionPublish>,
}

/// Uploads the ranges of one broker epoch.
pub(crate) struct Uploader {
    store: Arc<dyn ObjectStore>,
    images: watch::Receiver<Arc<ClusterImage>>,
    clock: Arc<dyn Clock>,
    random: Random,
    failpoints: Arc<dyn Failpoints>,
    cluster: ClusterId,
    wal: WalId,
    broker: BrokerId,
    epoch: BrokerEpoch,
    numbers: Arc<ObjectNumbers>,
    answers: Mutex<Answers>,
    failing: Failing,
}

/// What is known of this epoch's publishes.
#[derive(Default)]
struct Answers {
    through: PublishSequence,
    refused: VecDeque<RefusedPublish>,
}

impl Uploader {
    pub(crate) fn new(deps: &Deps, registration: &Registration, numbers: Arc<ObjectNumbers>, failing: Failing) -> Self {
        Self {
            store: Arc::clone(&deps.store),
            images: deps.metadata.image(),
            clock: Arc::clone(&deps.clock),
            random: deps.random.fork(),
            failpoints: Arc::clone(&deps.failpoints),
            cluster: registration.cluster,
            wal: deps.wal.id(),
            broker: deps.broker,
            epoch: registration.epoch,
            numbers,
            answers: Mutex::default(),
            failing,
        }
    }

    /// The publish `sequence` was answered; these partitions were refused.
    pub(crate) fn answered(&self, sequence: PublishSequence, refused: Vec<TopicPartition>) {
        let mut answers = self.answers.lock();
        answers.through = sequence;
        if !refused.is_empty() {
            if answers.refused.len() == REFUSED_KEPT {
                answers.refused.pop_front();
            }
            answers.refused.push_back(RefusedPublish { epoch: self.epoch, sequence, partitions: refused });
        }
    }

    /// Returns once the object is surely in the store with the bytes that were built; tries without an end. Dropped when the offload
    /// ends: what is in the store by then stays there under a key that no publish ever names. The object answers for the log from
    /// `answers_from` on, which is the range's first LSN or that of the ranges before it that needed no object.
    pub(crate) async fn upload(
        self: Arc<Self>,
        range: SealedRange,
        number: ObjectNumber,
        answers_from: Lsn,
    ) -> Result<Uploaded, OffloadError> {
        if range.partitions.is_empty() {
            return Ok(Uploaded { object: None, partitions: Vec::new() });
        }
        let (header, range) = (self.header(&range, answers_from), Arc::new(range));
        let mut key = ObjectKey::Shared { broker: self.broker, epoch: self.epoch, number };
        let mut built = self.build(&range, &header, key).await?;
        self.reach(Step::Built, range.sequence)?;
        let mut retries = AGAIN.start();
        loop {
            // Length and checksum are fixed by now: every attempt sends the same bytes, so that a late one does no harm (rule R9).
            let body = Body::with_checksum(built.parts.clone(), built.crc);
            match put_verified(&*self.store, &key.to_string(), &body, ONCE, &self.random).await {
                Ok(()) => break,
                Err(error @ StoreError::AlreadyExists { .. }) => {
                    tracing::error!(%key, "something else is stored under the key of a new object; taking another key: {error}");
                    // The range holds a lower number, which the floor does not pass.
                    key = ObjectKey::Shared { broker: self.broker, epoch: self.epoch, number: self.numbers.take().get() };
                    built = self.build(&range, &header, key).await?;
                }
                Err(error) => self.failing.report(range.sequence, retries.attempts(), &error),
            }
            retries.wait(&self.random).await;
        }
        self.failing.over(range.sequence);
        self.reach(Step::Uploaded, range.sequence)?;
        let object = PublishedObject { key, length: built.length, crc: built.crc };
        let range = Arc::into_inner(range).expect("building has ended");
        Ok(Uploaded { object: Some(object), partitions: partitions(range, built) })
    }

    fn header(&self, range: &SealedRange, answers_from: Lsn) -> ObjectHeader {
        let answers = self.answers.lock();
        ObjectHeader {
            cluster: self.cluster,
            wal: self.wal,
            first_lsn: answers_from,
            end_lsn: range.end,
            sequence: range.sequence,
            metadata_revision: self.images.borrow().revision,
            created_at: Timestamp(self.clock.wall_ms()),
            answered_through: answers.through,
            refused: answers.refused.iter().cloned().collect(),
        }
    }

    /// Checksums tens of MiB: on a thread that may block.
    async fn build(&self, range: &Arc<SealedRange>, header: &ObjectHeader, key: ObjectKey) -> Result<BuiltObject, OffloadError> {
        let (range, header) = (Arc::clone(range), header.clone());
        let lsn = range.first;
        let built = tokio::task::spawn_blocking(move || build(&range, header, key)).await;
        let built = built.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        built.map_err(|error| OffloadError::Damaged { lsn, detail: error.to_string() })
    }

    fn reach(&self, step: Step, sequence: PublishSequence) -> Result<(), OffloadError> {
        if self.failpoints.stop_at(step, sequence) { Err(OffloadError::Killed(step)) } else { Ok(()) }
    }
}

fn build(range: &SealedRange, header: ObjectHeader, key: ObjectKey) -> Result<BuiltObject, BuildError> {
    let mut builder = ObjectBuilder::new(header);
    for (partition, part) in &range.partitions {
        let input = SegmentInput {
            partition: *partition,
            base: part.base,
            end: part.end,
            origin: ObjectOrigin::Range,
            state_from: part.state_from,
            producers: producers(part),
            producers_full: part.full.is_some(),
        };
        builder.add_segment(input, part.entries.iter().map(|entry| (entry.batch.clone(), entry.append_time)))?;
    }
    Ok(builder.finish(key))
}

fn producers(part: &SealedPartition) -> Vec<(ProducerId, ProducerWindow)> {
    let touched = || part.touched.iter().map(|delta| (delta.producer, delta.window.clone())).collect();
    part.full.clone().unwrap_or_else(touched)
}

/// The request's parts, in the order of the object's segments.
fn partitions(range: SealedRange, built: BuiltObject) -> Vec<PartitionPublish> {
    let parts = range.partitions.into_iter().zip(built.segments);
    let parts = parts.map(|((partition, part), segment)| PartitionPublish {
        partition,
        segment: segment.segment,
        runs: part.runs,
        gap: part.gap,
        producers: part.touched,
    });
    parts.collect()
}
