//! The task: follows the log and moves ranges from one step to the next. What it decides by lies in `trigger` and `seal`, what it
//! waits for in `upload` and `publish`.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use metadata_api::{MetadataClient, PartitionPublish, PublishRequest, Registration};
use runtime::{Clock, Random, Shutdown};
use store::ObjectStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use types::{BrokerEpoch, BrokerId, Lsn, Offset, PublishSequence, Timestamp, TopicId, TopicPartition};
use wal::{EntryKind, Progress, WriteAheadLog};

use crate::handle::{Shared, Stop};
use crate::lost::keep_refused;
use crate::numbers::HeldNumber;
use crate::publish::{Answered, Publisher};
use crate::seal::{SealedRange, Sealer, check_dense};
use crate::trigger::{Due, EarlyUploads, FittedSize, Unsealed, due};
use crate::upload::{Uploaded, Uploader};
use crate::{Failpoints, LostEntries, OffloadError, OffloadHandle, Options, PublishObserver, Status, Step};

/// Batch bytes of the log that are looked at in one turn of the loop, so that a long backlog keeps nobody waiting.
const FOLLOW_BYTES: usize = 4 << 20;

/// After a failed sync: how long it is tried to publish what was synced. Past it the process ends still owning its partitions, and
/// the next start publishes the rest (rule R4).
const LAST_PUBLISH: Duration = Duration::from_secs(10);

/// What an offload works with.
pub struct Deps {
    /// The broker's log. Its epoch has begun.
    pub wal: Arc<dyn WriteAheadLog>,
    /// Where objects go.
    pub store: Arc<dyn ObjectStore>,
    /// Where they are published. Its image says which topics exist.
    pub metadata: Arc<dyn MetadataClient>,
    /// For the creation time in an object's header.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub random: Arc<Random>,
    /// Told of every publish.
    pub observer: Arc<dyn PublishObserver>,
    /// Takes what is refused.
    pub lost: Arc<dyn LostEntries>,
    /// [`crate::NoFailpoints`] but in tests.
    pub failpoints: Arc<dyn Failpoints>,
    /// Who publishes.
    pub broker: BrokerId,
}

/// A broker's offload, from one registration on. Begins with what the log holds above the registration's `last_published`: exactly
/// the entries at or below it are done, whatever they are (rule R12).
pub struct Offload {
    pipeline: Pipeline,
    end: TellEnd,
}

impl Offload {
    /// Takes up where `registration` says. Nothing is read or sent before [`Self::run`].
    pub fn new(deps: Deps, registration: &Registration, options: Options) -> Self {
        let pipeline = Pipeline::new(deps, registration, options);
        let end = TellEnd(Arc::clone(&pipeline.shared));
        Self { pipeline, end }
    }

    /// For the rest of the broker.
    pub fn handle(&self) -> OffloadHandle {
        OffloadHandle::new(Arc::clone(&self.pipeline.shared))
    }

    /// Works until an orderly [`OffloadHandle::stop`] is done, which is the only success; until something makes it impossible to go
    /// on; or until `shutdown` is triggered: then it drops everything where it is. Whoever waits on a handle hears the same end.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), OffloadError> {
        let result = shutdown.or(Box::pin(self.pipeline.run())).await.unwrap_or(Err(OffloadError::Ended));
        self.end.0.end(result.clone());
        result
    }
}

/// Tells the handles also when the task is dropped.
struct TellEnd(Arc<Shared>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        self.0.end(Err(OffloadError::Ended));
    }
}

/// A range from its seal to the answer of its publish.
struct InFlight {
    sequence: PublishSequence,
    first: Lsn,
    end: Lsn,
    /// Of its object, held until the publish is answered; numbers rise with sequences.
    _number: HeldNumber,
    bytes: u64,
    topics: BTreeMap<TopicId, u64>,
    oldest: Option<Timestamp>,
    gone: BTreeMap<TopicPartition, (Offset, Offset)>,
    /// `None` while it is being uploaded.
    uploaded: Option<Uploaded>,
}

type Sealing = JoinHandle<(Sealer, Result<SealedRange, OffloadError>)>;

struct Pipeline {
    shared: Arc<Shared>,
    wal: Arc<dyn WriteAheadLog>,
    observer: Arc<dyn PublishObserver>,
    lost: Arc<dyn LostEntries>,
    failpoints: Arc<dyn Failpoints>,
    uploader: Arc<Uploader>,
    publisher: Arc<Publisher>,
    options: Options,
    broker: BrokerId,
    epoch: BrokerEpoch,

    progress: watch::Receiver<Progress>,
    /// Entries below were looked at.
    followed: Lsn,
    sealed_end: Lsn,
    /// Where the ranges begin that were sealed since the last object and have none.
    objectless_from: Option<Lsn>,
    published_end: Lsn,
    /// The end of the log when the offload began: below lies what earlier processes left.
    began_at: Lsn,
    /// After the last batch that they left, as far as was looked.
    left_end: Lsn,
    /// Of the partitions led at the start: where they were published to.
    registered: BTreeMap<TopicPartition, Offset>,
    /// What no range holds and the sealer did not take up.
    unsealed: Unsealed,
    /// What the next range is being sealed of.
    taken: Unsealed,
    /// Where `unsealed` begins.
    taken_end: Lsn,
    /// Of the next range to be sealed.
    next_sequence: PublishSequence,
    backlog: BTreeMap<TopicId, u64>,
    /// Stretches the upload interval, in percent.
    pressure: u32,
    early: EarlyUploads,
    fitted: FittedSize,

    /// Here while no range is being sealed.
    sealer: Option<Sealer>,
    sealing: Option<Sealing>,
    in_flight: VecDeque<InFlight>,
    uploads: FuturesUnordered<BoxFuture<'static, Result<(PublishSequence, Uploaded), OffloadError>>>,
    publishing: Option<BoxFuture<'static, Result<Answered, OffloadError>>>,

    /// Partitions whose publishes ended with a wrong offset, with the offset that metadata expected.
    stopped: BTreeMap<TopicPartition, Offset>,
    trim_held_at: Option<Lsn>,
    stop: Option<Stop>,
    /// Set when the log has stopped: when to give up.
    last_publish_until: Option<Instant>,
    published_ranges: u64,
    published_bytes: u64,
}

/// What the task waits for.
enum Event {
    Sealed(Sealer, Result<SealedRange, OffloadError>),
    Uploaded(Result<(PublishSequence, Uploaded), OffloadError>),
    Answered(Result<Answered, OffloadError>),
    /// Something else changed: look again.
    Look,
}

impl Pipeline {
    fn new(deps: Deps, registration: &Registration, options: Options) -> Self {
        let start = registration.last_published.next();
        let progress = deps.wal.progress();
        let began_at = progress.borrow().appended;
        let images = deps.metadata.image();
        let sealer = Sealer::new(Arc::clone(&deps.wal), images, &registration.partitions, options.producer_expiration, start);
        let shared = Arc::new(Shared::new());
        Self {
            uploader: Arc::new(Uploader::new(&deps, registration, Arc::clone(&shared.numbers), shared.uploads.clone())),
            publisher: Arc::new(Publisher::new(&deps, shared.publishes.clone())),
            shared,
            wal: deps.wal,
            observer: deps.observer,
            lost: deps.lost,
            failpoints: deps.failpoints,
            options,
            broker: deps.broker,
            epoch: registration.epoch,
            progress,
            followed: start,
            sealed_end: start,
            objectless_from: None,
            published_end: start,
            began_at,
            left_end: Lsn::ZERO,
            registered: registration.partitions.iter().map(|state| (state.partition, state.next_offset)).collect(),
            unsealed: Unsealed::default(),
            taken: Unsealed::default(),
            taken_end: start,
            next_sequence: PublishSequence(1),
            backlog: BTreeMap::new(),
            pressure: 0,
            early: EarlyUploads::new(options.early_per_minute, Instant::now()),
            fitted: FittedSize::new(&options),
            sealer: Some(sealer),
            sealing: None,
            in_flight: VecDeque::new(),
            uploads: FuturesUnordered::new(),
            publishing: None,
            stopped: BTreeMap::new(),
            trim_held_at: None,
            stop: None,
            last_publish_until: None,
            published_ranges: 0,
            published_bytes: 0,
        }
    }

    async fn run(mut self) -> Result<(), OffloadError> {
        self.let_go_published().await;
        loop {
            let progress = self.progress.borrow_and_update().clone();
            self.follow(&progress)?;
            self.take_up_asked(&progress);
            if let Some(result) = self.ended(&progress) {
                // Whoever waits for what is published must not hear of the end first.
                self.show();
                return result;
            }
            let seal_at = self.seal_if_due(&progress);
            self.publish_if_ready(&progress)?;
            self.show();
            match self.next(&progress, seal_at).await {
                Event::Sealed(sealer, range) => self.sealed(sealer, range?, &progress)?,
                Event::Uploaded(result) => self.uploaded(result?),
                Event::Answered(answered) => self.answered(answered?)?,
                Event::Look => {}
            }
        }
    }

    /// Lets go of what an earlier process published and could not trim any more, once what it could not keep aside is kept.
    async fn let_go_published(&mut self) {
        let (wal, lost, published_end) = (Arc::clone(&self.wal), Arc::clone(&self.lost), self.published_end);
        let registered = std::mem::take(&mut self.registered);
        let kept = tokio::task::spawn_blocking(move || keep_refused(&*wal, &*lost, &registered, published_end)).await;
        if let Err(error) = kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            let held = self.wal.start();
            tracing::error!(%held, "entries refused before the start could not be kept aside, the log is not trimmed: {error}");
            self.trim_held_at = Some(held);
        }
        self.let_go();
    }

    /// Lets the log have back what is published.
    fn let_go(&self) {
        self.wal.release_memory(self.published_end);
        self.wal.trim(self.trim_held_at.map_or(self.published_end, |held| held.min(self.published_end)));
    }

    /// Looks at entries that were appended meanwhile: how much there is, of which topics.
    fn follow(&mut self, progress: &Progress) -> Result<(), OffloadError> {
        let below = publishable_end(progress);
        if below <= self.followed {
            return Ok(());
        }
        let now = Instant::now();
        let entries = self.wal.scan(self.followed, below, FOLLOW_BYTES)?;
        if entries.is_empty() {
            let detail = format!("no entry is there or above, below {below}");
            return Err(OffloadError::Damaged { lsn: self.followed, detail });
        }
        let batches_before = self.unsealed.batches;
        for (lsn, entry) in entries {
            check_dense(self.followed, lsn, &entry)?;
            self.followed = lsn.next();
            if let EntryKind::Batch { partition, .. } = entry.kind {
                let bytes = entry.batch.len() as u64;
                self.unsealed.add(bytes, now, entry.append_time);
                *self.backlog.entry(partition.topic).or_default() += bytes;
                if lsn < self.began_at {
                    self.left_end = lsn.next();
                }
            }
        }
        self.unsealed.wanted(progress.upload_wanted, self.taken_end, now);
        if batches_before < self.unsealed.batches { self.reach(Step::Appended, self.next_sequence) } else { Ok(()) }
    }

    fn take_up_asked(&mut self, progress: &Progress) {
        let mut asked = self.shared.asked.lock();
        if let Some(sealer) = &mut self.sealer {
            asked.changes.drain(..).for_each(|change| sealer.change(change));
        }
        if self.stop.is_none() {
            self.stop = asked.stop;
        }
        if progress.stopped.is_some() && self.last_publish_until.is_none() {
            self.last_publish_until = Some(Instant::now() + LAST_PUBLISH);
        }
    }

    /// The end, when there is one.
    fn ended(&self, progress: &Progress) -> Option<Result<(), OffloadError>> {
        let now = Instant::now();
        let followed_all = publishable_end(progress) <= self.followed;
        if let (Some(until), Some(reason)) = (self.last_publish_until, &progress.stopped) {
            let (reason, synced, published_end) = (Arc::clone(reason), progress.synced, self.published_end);
            let done = followed_all && self.settled(synced);
            return (done || until <= now).then_some(Err(OffloadError::WalStopped { reason, synced, published_end }));
        }
        let stop = self.stop?;
        if followed_all && self.settled(self.followed) {
            return Some(Ok(()));
        }
        let (published_end, end, waited) = (self.published_end, progress.appended, stop.allowed);
        (stop.at <= now).then_some(Err(OffloadError::Unfinished { published_end, end, waited }))
    }

    /// Whether no batch below `end`, of those that were looked at, waits for anything.
    fn settled(&self, end: Lsn) -> bool {
        self.in_flight.is_empty() && self.sealing.is_none() && (self.unsealed.batches == 0 || end <= self.sealed_end)
    }

    /// Begins to seal a range, or says when that may be due.
    fn seal_if_due(&mut self, progress: &Progress) -> Option<Instant> {
        let below = self.followed.min(publishable_end(progress));
        if self.sealer.is_none() || below <= self.sealed_end || self.options.uploads.max(1) <= self.in_flight.len() {
            return None;
        }
        let at_once = self.is_asked_for() || self.stop.is_some() || progress.stopped.is_some();
        let now = Instant::now();
        let early = self.in_flight.is_empty().then_some(&self.early);
        let options = Options { max_bytes: self.fitted.bytes(), ..self.options };
        match due(&self.unsealed, at_once, early, now, &options, self.pressure) {
            Due::Never => None,
            Due::At(at) => Some(at),
            Due::Now { limit } => {
                self.early.take(now);
                let mut sealer = self.sealer.take().expect("looked at above");
                // The log may have to be read from disk.
                self.sealing = Some(tokio::task::spawn_blocking(move || {
                    let range = sealer.seal(below, limit);
                    (sealer, range)
                }));
                self.taken = std::mem::take(&mut self.unsealed);
                self.taken_end = below;
                self.next_sequence = PublishSequence(self.next_sequence.0 + 1);
                None
            }
        }
    }

    /// Whether a batch that no range holds was left by an earlier process, which made it wait long enough, or lies below a flush. Up to
    /// `began_at` there may be entries without a batch, which make nothing that comes later urgent.
    fn is_asked_for(&self) -> bool {
        self.sealed_end < self.left_end || self.sealed_end.max(self.began_at) < self.shared.asked.lock().flush
    }

    fn sealed(&mut self, sealer: Sealer, range: SealedRange, progress: &Progress) -> Result<(), OffloadError> {
        self.sealer = Some(sealer);
        self.reach(Step::Sealed, range.sequence)?;
        self.sealed_end = range.end;
        let newest = range.append_times.map(|(_, newest)| newest);
        let left = std::mem::take(&mut self.taken).without(range.batches, range.bytes, newest, range.end < progress.upload_wanted);
        self.unsealed = left.and(self.unsealed);
        self.taken_end = range.end;
        let held = self.shared.numbers.take();
        let number = held.get();
        self.in_flight.push_back(InFlight {
            sequence: range.sequence,
            first: range.first,
            end: range.end,
            _number: held,
            bytes: range.bytes,
            topics: range.topics.clone(),
            oldest: range.append_times.map(|(oldest, _)| oldest),
            gone: range.gone.clone(),
            uploaded: None,
        });
        let sequence = range.sequence;
        // An object says that it goes on where the one before it ended: else nobody could tell, from the store alone, a range that needed
        // no object from one whose object is missing.
        let answers_from = *self.objectless_from.get_or_insert(range.first);
        if !range.partitions.is_empty() {
            self.objectless_from = None;
        }
        let upload = Arc::clone(&self.uploader).upload(range, number, answers_from);
        self.uploads.push(Box::pin(async move { Ok((sequence, upload.await?)) }));
        Ok(())
    }

    fn uploaded(&mut self, (sequence, uploaded): (PublishSequence, Uploaded)) {
        let range = self.in_flight.iter_mut().find(|range| range.sequence == sequence);
        range.expect("a range is in flight until it is published").uploaded = Some(uploaded);
    }

    /// Publishes the oldest range, when it is uploaded and no other publish is under way.
    fn publish_if_ready(&mut self, progress: &Progress) -> Result<(), OffloadError> {
        let Some(range) = self.in_flight.front_mut().filter(|_| self.publishing.is_none()) else { return Ok(()) };
        let Some(uploaded) = range.uploaded.take() else { return Ok(()) };
        let Uploaded { mut object, partitions } = uploaded;
        let (held, partitions): (Vec<PartitionPublish>, Vec<_>) =
            partitions.into_iter().partition(|part| self.stopped.contains_key(&part.partition));
        if partitions.is_empty() {
            // Nothing would refer to it.
            object = None;
        }
        let request = PublishRequest {
            broker: self.broker,
            epoch: self.epoch,
            sequence: range.sequence,
            object,
            first_lsn: range.first,
            end_lsn: range.end,
            // At most this range's number: every later one is higher, and what is being rewritten is spared.
            object_floor: self.shared.numbers.floor(),
            synced: Lsn(progress.synced.0.saturating_sub(1)),
            partitions,
        };
        let sequence = range.sequence;
        self.reach(Step::PublishReady, sequence)?;
        self.publishing = Some(Box::pin(Arc::clone(&self.publisher).publish(request, held)));
        Ok(())
    }

    /// The verdict is in: tell, then let go. In this order, because readers look for an entry where they were told (rule R23).
    fn answered(&mut self, answered: Answered) -> Result<(), OffloadError> {
        let range = self.in_flight.pop_front().expect("the publish under way is that of the oldest range");
        self.fitted.published(range.bytes, self.unpublished_bytes(), &self.options);
        self.reach(Step::Answered, range.sequence)?;
        let partitions = answered.published(&self.stopped, &range.gone);
        self.shared.added.note(answered.accepted());
        self.uploader.answered(range.sequence, answered.refused().collect());
        self.stopped.extend(answered.wrong_offsets());
        if answered.must_stay() {
            self.trim_held_at.get_or_insert(range.first);
        }
        self.pressure = answered.answer.pressure;
        self.published_end = range.end;
        self.published_ranges += 1;
        self.published_bytes += answered.object_bytes;
        for (topic, bytes) in &range.topics {
            if let Some(left) = self.backlog.get_mut(topic) {
                *left -= bytes;
            }
        }
        self.backlog.retain(|_, bytes| *bytes > 0);
        self.shared.asked.lock().changes.extend(answered.forget());

        self.observer.published(answered.answer.revision, range.end, &partitions);
        self.reach(Step::Observed, range.sequence)?;
        self.let_go();
        self.reach(Step::Trimmed, range.sequence)
    }

    /// Stops here when a fail point says so.
    fn reach(&self, step: Step, sequence: PublishSequence) -> Result<(), OffloadError> {
        if self.failpoints.stop_at(step, sequence) { Err(OffloadError::Killed(step)) } else { Ok(()) }
    }

    /// Of all entries that were looked at.
    fn unpublished_bytes(&self) -> u64 {
        self.taken.bytes + self.unsealed.bytes + self.in_flight.iter().map(|range| range.bytes).sum::<u64>()
    }

    /// Updates what others see.
    fn show(&self) {
        let in_flight = self.in_flight.iter().map(|range| range.oldest);
        *self.shared.status.lock() = Status {
            published_end: self.published_end,
            sealed_end: self.sealed_end,
            unoffloaded_bytes: self.unpublished_bytes(),
            unoffloaded_by_topic: self.backlog.clone(),
            oldest: in_flight.chain([self.taken.oldest, self.unsealed.oldest]).flatten().min(),
            ranges_in_flight: self.in_flight.len(),
            // Added by the handle.
            failing: None,
            published_ranges: self.published_ranges,
            published_bytes: self.published_bytes,
            stopped_partitions: self.stopped.len(),
            trim_held_at: self.trim_held_at,
        };
        // Entries without a batch are not worth a publish, and nobody waits for them.
        let end = if self.settled(self.followed) { self.followed } else { self.published_end };
        self.shared.reached.send_if_modified(|reached| {
            let further = reached.end < end;
            reached.end = reached.end.max(end);
            further
        });
    }

    async fn next(&mut self, progress: &Progress, seal_at: Option<Instant>) -> Event {
        let is_behind = self.followed < publishable_end(progress);
        let give_up_at = self.last_publish_until.or(self.stop.map(|stop| stop.at));
        let wake_at = seal_at.into_iter().chain(give_up_at).min();
        tokio::select! {
            biased;
            answered = finish(&mut self.publishing) => Event::Answered(answered),
            Some(uploaded) = self.uploads.next() => Event::Uploaded(uploaded),
            sealed = finish(&mut self.sealing) => match sealed {
                Ok((sealer, range)) => Event::Sealed(sealer, range),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            },
            () = self.shared.changed.notified() => Event::Look,
            // Below the others: who appends faster than the log is followed must not keep ranges from being published.
            () = tokio::task::yield_now(), if is_behind => Event::Look,
            // The log outlives the offload; should it go first, it has nothing new to tell.
            Ok(()) = self.progress.changed(), if !is_behind => Event::Look,
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if !is_behind && wake_at.is_some() => Event::Look,
        }
    }
}

/// What may be sealed: everything appended, or what was synced once the log has stopped. What is beyond it then was acknowledged to
/// nobody. Ranges that are in flight already are finished all the same.
fn publishable_end(progress: &Progress) -> Lsn {
    if progress.stopped.is_some() { progress.synced } else { progress.appended }
}

/// Waits for what is under way and clears its place; for ever when nothing is.
async fn finish<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(future) => {
            let output = future.await;
            *under_way = None;
            output
        }
        None => pending().await,
    }
}
