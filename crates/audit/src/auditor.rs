//! The auditor: reads all that is published, again and again, slowly, so that damage is found before somebody needs the records.
//!
//! A round goes once around all objects, in the order of [`Sweep`], from where it began.
//!
//! Nothing is remembered between two lives of the process. The first round begins at an object chosen by chance, each byte being as
//! likely: so what a broker that is often restarted reads is spread evenly over the store, as it would not be from a fixed place, and there
//! is no file that has to be kept in step with what is there.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata_api::{ClusterImage, MetadataClient, MetadataError, SegmentPage};
use runtime::{Backoff, Clock, IoBudget, Random, Retries, Shutdown};
use store::{ObjectStore, StoreError};
use tokio::time::{Instant, sleep_until};
use types::{BrokerId, ClusterId, ObjectKey, Offset, TopicPartition};

use crate::examine::{ExamineError, examine};
use crate::object::{ObjectReader, Pace};
use crate::problem::Reference;
use crate::register::{MAX_DAMAGED, Register};
use crate::share::auditor_of;
use crate::status::AuditHandle;
use crate::sweep::{Object, Place, SegmentList, Sweep};

/// A request counts as so many bytes at least, so that the rate also bounds what requests cost where objects are small.
pub const REQUEST_BYTES: u64 = 1 << 20;
/// The same while nothing is published.
const NOTHING_EVERY: Duration = Duration::from_secs(60);
/// When a damaged object is looked at again.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Segments listed at once.
const PAGE: u32 = 1000;
/// While the store or the metadata service does not answer.
const PAUSE: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.5, budget: Duration::MAX };
/// Attempts after which an object that the store refuses to give is passed over in this round.
const MAX_REFUSALS: u32 = 10;

/// What an auditor works with.
pub struct AuditDeps {
    /// Where objects are.
    pub store: Arc<dyn ObjectStore>,
    /// Says which segments are in them, and which brokers share the work.
    pub metadata: Arc<dyn MetadataClient>,
    /// For the age of the last round.
    pub clock: Arc<dyn Clock>,
    /// For jitter, and the place where the first round begins.
    pub random: Arc<Random>,
    /// Who audits.
    pub broker: BrokerId,
    /// Whose objects they must be.
    pub cluster: ClusterId,
}

/// Bounds of auditing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditOptions {
    /// `store.audit.max.bytes.per.second`; a request counts as [`REQUEST_BYTES`] at least. At least 1.
    pub bytes_per_second: u64,
    /// A round begins so long after the one before began, at the earliest: a small store is not read all the time.
    pub round_every: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { bytes_per_second: 4 << 20, round_every: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Audits one broker's share of the objects: of the brokers whose session lives, each object has one.
pub struct Auditor {
    deps: AuditDeps,
    options: AuditOptions,
    register: Arc<Register>,
    pace: Budgeted,
}

/// Keeps requests to the budget.
struct Budgeted {
    budget: IoBudget,
    register: Arc<Register>,
}

#[async_trait]
impl Pace for Budgeted {
    async fn request(&self, bytes: u64) {
        self.budget.take(bytes.max(REQUEST_BYTES)).await;
    }

    fn received(&self, bytes: u64) {
        self.register.read(bytes);
    }
}

impl Auditor {
    /// Nothing is read before [`Self::run`].
    pub fn new(deps: AuditDeps, options: AuditOptions) -> Self {
        let register = Arc::new(Register::new(Arc::clone(&deps.clock)));
        let pace = Budgeted { budget: IoBudget::new(options.bytes_per_second), register: Arc::clone(&register) };
        Self { deps, options, register, pace }
    }

    /// For metrics and health.
    pub fn handle(&self) -> AuditHandle {
        AuditHandle::new(Arc::clone(&self.register))
    }

    /// Works until `shutdown` is triggered. Everything it does may be dropped at any point.
    pub async fn run(self, shutdown: Shutdown) {
        shutdown.or(self.work()).await;
    }

    async fn work(&self) {
        // Before the image has caught up with the registration nothing is this broker's share.
        let is_there = |image: &Arc<ClusterImage>| image.brokers.get(&self.deps.broker).is_some_and(|broker| broker.alive);
        if self.deps.metadata.image().wait_for(is_there).await.is_err() {
            return;
        }
        let mut start = None;
        loop {
            let begun = Instant::now();
            if start.is_none() {
                start = self.start().await;
            }
            let is_whole = match start {
                Some(start) => self.round(start).await,
                None => true,
            };
            if is_whole {
                self.register.round_done();
            }
            self.rest(begun + if start.is_some() { self.options.round_every } else { NOTHING_EVERY }).await;
        }
    }

    /// Audits every object once, beginning at `start`. False if one was passed over.
    async fn round(&self, start: Place) -> bool {
        let mut is_whole = true;
        for range in [(Bound::Included(start), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start))] {
            let mut sweep = Sweep::new(partitions(&self.image()), range);
            while let Some((key, references)) = self.next(&mut sweep).await {
                if self.is_ours(&key) {
                    self.make_room().await;
                    is_whole &= self.audit(key, &references).await;
                    self.look_again().await;
                }
            }
        }
        is_whole
    }

    /// Reads one object, as often as it takes to get an answer. False if the store goes on refusing.
    async fn audit(&self, key: ObjectKey, references: &[Reference]) -> bool {
        let AuditDeps { store, metadata, random, cluster, .. } = &self.deps;
        let reader = ObjectReader { store: store.as_ref(), cluster: *cluster, pace: &self.pace };
        let mut pause = PAUSE.start();
        loop {
            match examine(&reader, metadata.as_ref(), key, None, references).await {
                Ok(problems) => {
                    self.register.examined(&self.image(), key, references, problems, Instant::now() + AGAIN_AFTER);
                    return true;
                }
                Err(error) => {
                    self.register.failed(&error);
                    // Where all are refused this is the store that a person has to see to; where one is, the others are not to wait.
                    if matches!(error, ExamineError::Store(StoreError::Refused { .. })) && MAX_REFUSALS <= pause.attempts() {
                        tracing::warn!("audit: object {key} is passed over: {error}");
                        return false;
                    }
                    pause.wait(random).await;
                }
            }
        }
    }

    /// Looks at what is suspected, one after the other, so that the round goes on in between; and at one of the damaged objects that it is
    /// time for.
    async fn look_again(&self) {
        if let Some(suspect) = self.register.take_suspect() {
            self.audit(suspect.segment.object, &[suspect]).await;
        }
        if let Some((key, references)) = self.register.take_due(Instant::now(), AGAIN_AFTER) {
            self.audit(key, &references).await;
        }
    }

    /// Waits while more is damaged than is kept: a person who has not seen a thousand objects will not see the next.
    async fn make_room(&self) {
        while MAX_DAMAGED <= self.register.damaged() {
            self.wait_for_due(None).await;
            self.look_again().await;
        }
    }

    /// Waits for `until`, with an eye on what is damaged.
    async fn rest(&self, until: Instant) {
        while Instant::now() < until {
            self.wait_for_due(Some(until)).await;
            self.look_again().await;
        }
    }

    /// Returns when it is time for a damaged object, when something is suspected, or at `until`.
    async fn wait_for_due(&self, until: Option<Instant>) {
        let due = self.register.next_due();
        if let Some(wake) = due.into_iter().chain(until).min() {
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.register.wait_for_suspect() => {}
            }
        }
    }

    /// The place of an object of this broker's share, each byte of all as likely; `None` if there is nothing.
    async fn start(&self) -> Option<Place> {
        let mut pause = PAUSE.start();
        loop {
            let (mut all, mut chosen) = (0, None);
            let each = |Reference { partition, segment }: Reference| {
                let bytes = segment.bytes.max(1);
                all += bytes;
                if self.deps.random.below(all) < bytes {
                    chosen = Some(Place::of(partition, &segment));
                }
            };
            match self.each_of_ours(each).await {
                Ok(()) => return chosen,
                Err(error) => self.unanswered(error, &mut pause).await,
            }
        }
    }

    async fn next(&self, sweep: &mut Sweep) -> Option<Object> {
        let mut pause = PAUSE.start();
        loop {
            match sweep.next(self).await {
                Ok(object) => return object,
                Err(error) => self.unanswered(error, &mut pause).await,
            }
        }
    }

    /// Metadata did not answer: returns when it is time to ask again.
    async fn unanswered(&self, error: MetadataError, pause: &mut Retries) {
        self.register.failed(&ExamineError::Metadata(error));
        pause.wait(&self.deps.random).await;
    }

    fn image(&self) -> Arc<ClusterImage> {
        self.deps.metadata.image().borrow().clone()
    }

    fn is_ours(&self, key: &ObjectKey) -> bool {
        auditor_of(key, &alive(&self.image())) == Some(self.deps.broker)
    }

    /// Calls `f` with every segment whose object is this broker's to audit.
    async fn each_of_ours(&self, mut f: impl FnMut(Reference)) -> Result<(), MetadataError> {
        let image = self.image();
        let brokers = alive(&image);
        for partition in partitions(&image) {
            let mut from = Offset::ZERO;
            while let Some(page) = self.page(partition, from, PAGE).await? {
                let Some(last) = page.segments.last() else { break };
                from = last.end;
                for segment in page.segments {
                    if auditor_of(&segment.object, &brokers) == Some(self.deps.broker) {
                        f(Reference { partition, segment });
                    }
                }
            }
        }
        Ok(())
    }
}

impl SegmentList for Auditor {
    async fn page(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<Option<SegmentPage>, MetadataError> {
        match self.deps.metadata.segments(partition, from, limit).await {
            Ok(page) => Ok(Some(page)),
            Err(MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn alive(image: &ClusterImage) -> Vec<BrokerId> {
    image.brokers.values().filter(|broker| broker.alive).map(|broker| broker.id).collect()
}

fn partitions(image: &ClusterImage) -> impl Iterator<Item = TopicPartition> {
    image.topics.values().flat_map(|topic| (0..).zip(&topic.partitions).map(|(index, _)| TopicPartition::new(topic.id, index)))
}
