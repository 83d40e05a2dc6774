//! Rewriting: small segments become large ones in the background, so that metadata holds few entries, readers make few requests, and
//! one partition's records lie together.
//!
//! One rewrite after the other, each in these steps:
//! 1. **look** (`watch`): a partition that this broker leads is looked at when enough was published; its segments are listed;
//! 2. **choose** (`pick`): which adjacent segments to merge. What fills an object of its own is merged alone; what stays small shares an
//!    object with other partitions;
//! 3. **read** (`read`): within an I/O budget of its own, held to the objects' footers;
//! 4. **merge** (`merge`): every batch is checked, what lies below the log start is left out, and one object is built;
//! 5. **upload**, as sealed ranges are: identical bytes with every attempt, then length and checksum are known to be right;
//! 6. **replace**: metadata puts the new segments in the place of the old ones, if those are still what was read. Otherwise nothing
//!    happens, and the object is garbage by its key.
//!
//! Nothing is kept between rewrites that matters: killed anywhere, the next start looks again, and what was uploaded and not recorded
//! is an object of an epoch that is over.

mod failpoint;
mod merge;
mod pick;
mod read;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metadata_api::{
    ClusterImage, MetadataClient, MetadataError, PartitionReplacement, PublishedObject, Registration, ReplaceAnswer, ReplaceSegments,
    ReplaceVerdict,
};
use parking_lot::Mutex;
use runtime::{Backoff, Clock, IoBudget, Random, Shutdown};
use segment::{BuiltObject, ObjectHeader};
use store::{Body, ObjectStore, RangeReader, StoreError, UPLOAD_BACKOFF, put_verified};
use tokio::time::{Instant, timeout};
use types::{
    BrokerEpoch, BrokerId, ClusterId, Lsn, ObjectKey, Offset, PublishSequence, Revision, SegmentRef, Timestamp, TopicPartition, WalId,
};

use crate::OffloadHandle;
use crate::handle::Shared;
use merge::{Candidate, MergeError, Sound};
use pick::{Policy, pick};
use read::{ReadError, Source};
use watch::{Seen, Watch};

pub use failpoint::{NoRewriteFailpoints, RewriteFailpoints, RewriteStep};

/// Size that rewritten segments are to reach where `segment.bytes` does not say less.
const TARGET_BYTES: u64 = 64 << 20;
/// Smallest target, whatever the memory: Kafka's least `segment.bytes`.
const MIN_TARGET_BYTES: u64 = 1 << 20;
/// Kafka's defaults of the topic configs that steer rewriting.
const DEFAULT_SEGMENT_BYTES: u64 = 1 << 30;
const DEFAULT_SEGMENT_MS: i64 = 7 * 86_400_000;
/// Shortest window, whatever `segment.ms`: a shorter one would keep segments apart that are small for ever.
const MIN_WINDOW_MS: i64 = 60_000;
/// Most segments of one partition that are merged at once.
const MAX_SEGMENTS: usize = 1024;
/// Most segments that one rewrite names, of all partitions that share its object.
const MAX_SHARED_SEGMENTS: usize = 16_384;
/// Segments listed at once.
const PAGE: u32 = 1000;
/// Segments looked at per partition. Beyond that the oldest are given up: they stay as they are.
const MAX_LISTED: usize = 4096;
/// How often it is asked whether anything is to be done.
const TICK: Duration = Duration::from_secs(1);
/// After something failed.
const PAUSE: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.5, budget: Duration::MAX };
/// Until segments that were found damaged, or missing, are looked at again. If it was not the way from the store, a person has to act.
const PUT_OFF: Duration = Duration::from_secs(600);
/// How long one call of the metadata service may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// While the outcome of a replacement is not known.
const ASK_AGAIN: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_secs(1), jitter: 0.5, budget: Duration::MAX };

/// What a rewriter works with.
pub struct RewriteDeps {
    /// Where objects are.
    pub store: Arc<dyn ObjectStore>,
    /// Reads them, as [`store::ReadClass::Rewrite`].
    pub ranges: RangeReader,
    /// Where segments are listed and replaced. Its image says which partitions this broker leads, and their topics' configs.
    pub metadata: Arc<dyn MetadataClient>,
    /// For windows of `segment.ms`, and the creation time in an object's header.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub random: Arc<Random>,
    /// [`NoRewriteFailpoints`] but in tests.
    pub failpoints: Arc<dyn RewriteFailpoints>,
    /// Who rewrites.
    pub broker: BrokerId,
    /// Its log: partitions that another log owns are not led by this broker.
    pub wal: WalId,
}

/// Bounds of rewriting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RewriteOptions {
    /// `rewrite.max.bytes.per.second`: read and written together. At least 1.
    pub bytes_per_second: u64,
    /// Memory for the batches of one rewrite. One that is merged of segments near half the target may take half as much again.
    pub memory_bytes: u64,
}

impl Default for RewriteOptions {
    fn default() -> Self {
        Self { bytes_per_second: 64 << 20, memory_bytes: TARGET_BYTES }
    }
}

/// What the rewriter has done since the start, and what keeps it from going on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RewriteStatus {
    /// Objects written and in their place.
    pub rewrites: u64,
    /// Rewrites that came to nothing: the store or the metadata service failed, something was damaged, or the segments were replaced or
    /// retired meanwhile.
    pub failures: u64,
    /// Bytes read from the store, with footers and what lies between.
    pub read_bytes: u64,
    /// Bytes of the objects written, those included that came to nothing.
    pub written_bytes: u64,
    /// Segments that were replaced.
    pub segments_replaced: u64,
    /// Segments that took their place.
    pub segments_written: u64,
    /// Why the last rewrite failed, until one succeeds.
    pub failing: Option<String>,
}

#[derive(Default)]
struct Counters {
    rewrites: AtomicU64,
    failures: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    segments_replaced: AtomicU64,
    segments_written: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl Counters {
    fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Shows what a rewriter does. Clones are one and the same.
#[derive(Clone)]
pub struct RewriteHandle(Arc<Counters>);

impl RewriteHandle {
    /// As of now.
    pub fn status(&self) -> RewriteStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RewriteStatus {
            rewrites: read(&self.0.rewrites),
            failures: read(&self.0.failures),
            read_bytes: read(&self.0.read_bytes),
            written_bytes: read(&self.0.written_bytes),
            segments_replaced: read(&self.0.segments_replaced),
            segments_written: read(&self.0.segments_written),
            failing: self.0.failing.lock().clone(),
        }
    }
}

/// Segments published since they were last asked for: what the offload tells the rewriter.
#[derive(Default)]
pub(crate) struct Added(Mutex<Option<HashMap<TopicPartition, u32>>>);

impl Added {
    /// From now on they are counted.
    fn begin(&self) {
        self.0.lock().get_or_insert_default();
    }

    /// A segment of each was published.
    pub(crate) fn note(&self, partitions: impl Iterator<Item = TopicPartition>) {
        if let Some(added) = self.0.lock().as_mut() {
            partitions.for_each(|partition| *added.entry(partition).or_default() += 1);
        }
    }

    fn take(&self) -> HashMap<TopicPartition, u32> {
        self.0.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Why a rewrite came to nothing, or the rewriter ends.
#[derive(Debug, thiserror::Error)]
enum RewriteError {
    #[error("list segments: {0}")]
    List(MetadataError),
    #[error("read segments: {0}")]
    Read(#[from] ReadError),
    #[error("merge segments: {0}")]
    Merge(#[from] MergeError),
    #[error("upload a rewritten object: {0}")]
    Upload(StoreError),
    #[error("object {key} has {found} bytes in the store, {expected} were sent")]
    Length { key: ObjectKey, expected: u64, found: u64 },
    #[error("replace segments: {0}")]
    Replace(MetadataError),
    /// Another process registered as this broker.
    #[error("replace segments: {0}")]
    Fenced(MetadataError),
    #[error("killed by a fail point at {0:?}")]
    Killed(RewriteStep),
}

/// Rewrites the segments of the partitions that one broker leads, in one broker epoch.
pub struct Rewriter {
    shared: Arc<Shared>,
    source: Source,
    metadata: Arc<dyn MetadataClient>,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    failpoints: Arc<dyn RewriteFailpoints>,
    counters: Arc<Counters>,
    broker: BrokerId,
    epoch: BrokerEpoch,
    cluster: ClusterId,
    wal: WalId,
    options: RewriteOptions,
    watch: Watch,
    /// Of the image that says what is watched.
    image_seen: Option<Revision>,
    begun: u64,
    /// The object that the last rewrite did not find.
    missing: Option<String>,
}

impl Rewriter {
    /// A rewriter beside an offload of the same registration: they share object numbers. Nothing is read or sent before [`Self::run`].
    pub fn new(deps: RewriteDeps, registration: &Registration, offload: &OffloadHandle, options: RewriteOptions) -> Self {
        let shared = offload.shared();
        shared.added.begin();
        let counters = Arc::new(Counters::default());
        let source = Source {
            store: deps.store,
            ranges: deps.ranges,
            budget: Arc::new(IoBudget::new(options.bytes_per_second)),
            counters: Arc::clone(&counters),
        };
        Self {
            shared,
            source,
            metadata: deps.metadata,
            clock: deps.clock,
            random: deps.random,
            failpoints: deps.failpoints,
            counters,
            broker: deps.broker,
            epoch: registration.epoch,
            cluster: registration.cluster,
            wal: deps.wal,
            options,
            watch: Watch::default(),
            image_seen: None,
            begun: 0,
            missing: None,
        }
    }

    /// For metrics.
    pub fn handle(&self) -> RewriteHandle {
        RewriteHandle(Arc::clone(&self.counters))
    }

    /// Works until `shutdown` is triggered, which may drop a rewrite at any point, or until another process has registered as this
    /// broker. What fails is logged and tried again later.
    pub async fn run(mut self, shutdown: Shutdown) {
        if let Some(Err(error)) = shutdown.or(self.work()).await {
            tracing::warn!("segments are not rewritten any more: {error}");
        }
    }

    /// Ends only by being fenced or killed.
    async fn work(&mut self) -> Result<(), RewriteError> {
        let mut pause = PAUSE.start();
        loop {
            match self.round().await {
                Ok(rewritten) => {
                    pause = PAUSE.start();
                    if !rewritten {
                        tokio::time::sleep(TICK).await;
                    }
                }
                Err(error @ (RewriteError::Fenced(_) | RewriteError::Killed(_))) => return Err(error),
                Err(error) => {
                    tracing::warn!("{error}; trying again");
                    pause.wait(&self.random).await;
                }
            }
        }
    }

    /// Looks at every partition for which that is worth it, and rewrites what is found there; true if anything was. Fails when the store
    /// or the metadata service does.
    async fn round(&mut self) -> Result<bool, RewriteError> {
        let before = self.counters.rewrites.load(Ordering::Relaxed);
        let image = Arc::clone(&self.metadata.image().borrow());
        if self.image_seen != Some(image.revision) {
            self.watch.lead(&self.led(&image));
            self.image_seen = Some(image.revision);
        }
        for (partition, segments) in self.shared.added.take() {
            self.watch.added(partition, segments);
        }
        let mut gathered = Gathered::default();
        for partition in self.watch.due(Instant::now(), Timestamp(self.clock.wall_ms())) {
            let Some(policy) = self.policy(&image, partition) else { continue };
            let Some(candidate) = self.look(partition, &policy).await? else { continue };
            if policy.large() <= candidate.bytes() {
                self.rewrite(vec![candidate]).await?;
            } else {
                if !gathered.has_room_for(&candidate, self.options.memory_bytes) {
                    self.rewrite(gathered.take()).await?;
                }
                gathered.add(candidate);
            }
        }
        if !gathered.candidates.is_empty() {
            self.rewrite(gathered.take()).await?;
        }
        Ok(before < self.counters.rewrites.load(Ordering::Relaxed))
    }

    /// Partitions that this broker leads with its own log.
    fn led(&self, image: &ClusterImage) -> BTreeSet<TopicPartition> {
        let topics = image.topics.values();
        let led = topics.flat_map(|topic| {
            let partitions = (0..).zip(&topic.partitions);
            let ours = partitions.filter(|(_, partition)| partition.leader == Some(self.broker) && partition.owner == self.wal);
            ours.map(|(index, _)| TopicPartition::new(topic.id, index))
        });
        led.collect()
    }

    /// By the topic's configs; `None` if it is gone.
    fn policy(&self, image: &ClusterImage, partition: TopicPartition) -> Option<Policy> {
        let configs = &image.topics.get(&partition.topic)?.configs;
        // A value that does not parse was let in by a broker that knew more.
        let segment_bytes = configs.get("segment.bytes").and_then(|value| value.trim().parse().ok()).unwrap_or(DEFAULT_SEGMENT_BYTES);
        let segment_ms = configs.get("segment.ms").and_then(|value| value.trim().parse().ok()).unwrap_or(DEFAULT_SEGMENT_MS);
        let target = TARGET_BYTES.min(self.options.memory_bytes).min(segment_bytes).max(MIN_TARGET_BYTES);
        let window_ms = segment_ms.max(MIN_WINDOW_MS);
        Some(Policy { target, window_ms, window_offset_ms: window_offset(partition, window_ms), max_segments: MAX_SEGMENTS })
    }

    /// Lists a partition's segments and chooses what to merge.
    async fn look(&mut self, partition: TopicPartition, policy: &Policy) -> Result<Option<Candidate>, RewriteError> {
        let Some(mut from) = self.watch.from(partition) else { return Ok(None) };
        let mut segments: Vec<SegmentRef> = Vec::new();
        let now = Timestamp(self.clock.wall_ms());
        let (log_start, more) = loop {
            let asked = segments.last().map_or(from, |last| last.end);
            let page = match self.metadata.segments(partition, asked, PAGE).await {
                Ok(page) => page,
                // Deleted meanwhile.
                Err(MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. }) => return Ok(None),
                Err(error) => return Err(RewriteError::List(error)),
            };
            segments.extend(page.segments);
            from = skip_done(&mut segments, policy, now).unwrap_or(from);
            if !page.more || MAX_LISTED <= segments.len() {
                break (page.log_start, page.more);
            }
        };
        if let Some(range) = pick(&segments, policy, now) {
            self.watch.look_again(partition);
            return Ok(Some(Candidate { partition, segments: segments.drain(range).collect(), log_start }));
        }
        if more {
            // Nothing of so many is worth merging, nor will be: what comes after them is looked at next.
            from = segments.last().map_or(from, |last| last.end);
            segments.clear();
        }
        let small = || segments.iter().filter(|segment| segment.bytes < policy.large());
        let seen = Seen {
            from,
            small: small().count(),
            window_end: small().map(|segment| policy.window_end(segment)).filter(|end| now < *end).min(),
        };
        self.watch.looked(partition, &seen, Instant::now());
        if more {
            self.watch.look_again(partition);
        }
        Ok(None)
    }

    /// One rewrite. A failure that concerns only these segments is logged and counted; others are the caller's.
    async fn rewrite(&mut self, candidates: Vec<Candidate>) -> Result<(), RewriteError> {
        self.begun += 1;
        let error = match self.try_rewrite(&candidates).await {
            Ok(()) => {
                *self.counters.failing.lock() = None;
                self.missing = None;
                return Ok(());
            }
            Err(error) => error,
        };
        if let RewriteError::Killed(_) = error {
            return Err(error);
        }
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let missing = match &error {
            RewriteError::Read(read) => read.missing().map(str::to_owned),
            _ => None,
        };
        if missing.is_some() && missing != self.missing {
            // Its segments were replaced or retired since they were listed: the next look shows by what.
            tracing::debug!("{error}");
            self.missing = missing;
            return Ok(());
        }
        *self.counters.failing.lock() = Some(error.to_string());
        let is_damage = match &error {
            RewriteError::Read(read) => missing.is_some() || read.is_damage(),
            RewriteError::Merge(_) => true,
            _ => false,
        };
        if !is_damage {
            return Err(error);
        }
        tracing::error!("{error}; these segments are left as they are, `siltstone store check` tells more");
        let until = Instant::now() + PUT_OFF;
        candidates.iter().for_each(|candidate| self.watch.put_off(candidate.partition, until));
        Ok(())
    }

    async fn try_rewrite(&mut self, candidates: &[Candidate]) -> Result<(), RewriteError> {
        self.reach(RewriteStep::Chosen)?;
        let wanted: Vec<_> = candidates
            .iter()
            .flat_map(|candidate| candidate.segments.iter().map(|segment| (candidate.partition, segment.clone())))
            .collect();
        let old = self.source.read(wanted).await?;
        let checked = candidates.to_vec();
        let sound = blocking(move || merge::check(&checked, old)).await?;
        self.reach(RewriteStep::Read)?;
        // Held until nothing is on its way any more: publishes' floors spare the object for so long (rule R6).
        let number = self.shared.numbers.take();
        let key = self.key(candidates, number.get());
        let built = self.build(sound, key).await?;
        self.reach(RewriteStep::Built)?;
        self.upload(key, &built).await?;
        self.reach(RewriteStep::Uploaded)?;
        let request = self.request(candidates, key, &built);
        let answer = self.replace(&request).await?;
        self.reach(RewriteStep::ReplaceSent)?;
        drop(number);
        self.count(&request, &answer);
        self.reach(RewriteStep::Replaced)
    }

    /// A partition that has the object for itself is named in its key.
    fn key(&self, candidates: &[Candidate], number: types::ObjectNumber) -> ObjectKey {
        let (broker, epoch) = (self.broker, self.epoch);
        match candidates {
            [alone] => ObjectKey::Topic { partition: alone.partition, base: alone.segments[0].base, broker, epoch, number },
            _ => ObjectKey::Shared { broker, epoch, number },
        }
    }

    async fn build(&self, sound: Sound, key: ObjectKey) -> Result<BuiltObject, MergeError> {
        let header = ObjectHeader {
            cluster: self.cluster,
            wal: self.wal,
            // No range of the log, and no publish.
            first_lsn: Lsn::ZERO,
            end_lsn: Lsn::ZERO,
            sequence: PublishSequence(0),
            metadata_revision: self.metadata.image().borrow().revision,
            created_at: Timestamp(self.clock.wall_ms()),
            answered_through: PublishSequence(0),
            refused: Vec::new(),
        };
        blocking(move || merge::build(sound, header, key)).await
    }

    /// Returns once the object is surely in the store as built. One that may still land is garbage by its key.
    async fn upload(&self, key: ObjectKey, built: &BuiltObject) -> Result<(), RewriteError> {
        self.source.budget.take(built.length).await;
        let body = Body::with_checksum(built.parts.clone(), built.crc);
        let name = key.to_string();
        put_verified(&*self.source.store, &name, &body, UPLOAD_BACKOFF, &self.random).await.map_err(RewriteError::Upload)?;
        self.counters.written_bytes.fetch_add(built.length, Ordering::Relaxed);
        // The old objects go when this one takes their place: what the store itself says of it is worth one more request.
        let found = self.source.store.head(&name).await.map_err(RewriteError::Upload)?.length;
        if found == built.length { Ok(()) } else { Err(RewriteError::Length { key, expected: built.length, found }) }
    }

    fn request(&self, candidates: &[Candidate], key: ObjectKey, built: &BuiltObject) -> ReplaceSegments {
        let parts = candidates.iter().zip(&built.segments).map(|(candidate, entry)| PartitionReplacement {
            partition: candidate.partition,
            old: candidate.segments.clone(),
            new: entry.segment.clone(),
        });
        ReplaceSegments {
            broker: self.broker,
            epoch: self.epoch,
            object: PublishedObject { key, length: built.length, crc: built.crc },
            object_floor: self.shared.numbers.floor(),
            partitions: parts.collect(),
        }
    }

    /// Sends the request until the service has answered it: "unknown" and "not available" are no answers, and only asking again tells
    /// whether the old objects are still in their place (trap T6).
    async fn replace(&self, request: &ReplaceSegments) -> Result<ReplaceAnswer, RewriteError> {
        let mut retries = ASK_AGAIN.start();
        loop {
            let answer = timeout(DEADLINE, self.metadata.replace_segments(request.clone())).await;
            match answer.unwrap_or_else(|_| Err(MetadataError::Unknown { detail: format!("no answer within {DEADLINE:?}") })) {
                Ok(answer) => return Ok(answer),
                Err(MetadataError::Unknown { .. } | MetadataError::Unavailable { .. }) => {
                    retries.wait(&self.random).await;
                }
                Err(error @ MetadataError::Fenced { .. }) => return Err(RewriteError::Fenced(error)),
                Err(error) => return Err(RewriteError::Replace(error)),
            }
        }
    }

    fn count(&self, request: &ReplaceSegments, answer: &ReplaceAnswer) {
        let (mut replaced, mut written) = (0, 0);
        for (part, verdict) in request.partitions.iter().zip(&answer.verdicts) {
            if *verdict == ReplaceVerdict::Replaced {
                replaced += part.old.len() as u64;
                written += 1;
            } else {
                tracing::debug!(partition = %part.partition, ?verdict, "a rewritten segment came too late");
            }
        }
        self.counters.segments_replaced.fetch_add(replaced, Ordering::Relaxed);
        self.counters.segments_written.fetch_add(written, Ordering::Relaxed);
        let counter = if written == 0 { &self.counters.failures } else { &self.counters.rewrites };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn reach(&self, step: RewriteStep) -> Result<(), RewriteError> {
        if self.failpoints.stop_at(step, self.begun) { Err(RewriteError::Killed(step)) } else { Ok(()) }
    }
}

/// Candidates that share an object because each is small.
#[derive(Default)]
struct Gathered {
    candidates: Vec<Candidate>,
    bytes: u64,
    segments: usize,
}

impl Gathered {
    fn has_room_for(&self, candidate: &Candidate, max_bytes: u64) -> bool {
        self.bytes + candidate.bytes() <= max_bytes && self.segments + candidate.segments.len() <= MAX_SHARED_SEGMENTS
    }

    fn add(&mut self, candidate: Candidate) {
        self.bytes += candidate.bytes();
        self.segments += candidate.segments.len();
        self.candidates.push(candidate);
    }

    /// Begins anew.
    fn take(&mut self) -> Vec<Candidate> {
        std::mem::take(self).candidates
    }
}

/// Takes away, from the front, what is never merged: large segments, and what is the only small one left of a window that is over.
/// Answers where the rest begins, if anything was taken away.
fn skip_done(segments: &mut Vec<SegmentRef>, policy: &Policy, now: Timestamp) -> Option<Offset> {
    let is_large = |segment: &SegmentRef| policy.large() <= segment.bytes;
    let mut done = 0;
    while let Some(segment) = segments.get(done) {
        let is_alone = || {
            let is_over = policy.window_end(segment) <= now && 0 < segment.batches;
            let ends_a_run =
                segments.get(done + 1).is_some_and(|next| is_large(next) || policy.window_end(segment) < policy.window_end(next));
            is_over && ends_a_run
        };
        if !is_large(segment) && !is_alone() {
            break;
        }
        done += 1;
    }
    segments.drain(..done).next_back().map(|last| last.end)
}

/// Spreads the ends of windows over their length.
fn window_offset(partition: TopicPartition, window_ms: i64) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&partition.topic.as_bytes()[8..]);
    let mixed = (u64::from_be_bytes(bytes) ^ u64::from(partition.partition.unsigned_abs())).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    i64::try_from(mixed % window_ms.unsigned_abs().max(1)).expect("below a positive i64")
}

/// On a thread that may block: checksums of tens of MiB.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
