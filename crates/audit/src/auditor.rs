//! The auditor: reads all that is published, again and again, slowly, so that damage is found before somebody needs the records.
//!
//! A round goes through the objects in the order of their keys, once around from where it began. Which segments an object is to hold is
//! asked of metadata for a slice of objects at a time: the list of all segments does not fit into memory.
//!
//! Nothing is remembered between two lives of the process. The first round begins at an object chosen by chance, each byte being as
//! likely: so what a broker that is often restarted reads is spread evenly over the store, as it would not be from a fixed place, and there
//! is no file that has to be kept in step with what is there.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata_api::{ClusterImage, MetadataClient, MetadataError};
use runtime::{Backoff, Clock, IoBudget, Random, Retries, Shutdown};
use store::{ObjectStore, StoreError};
use tokio::time::{Instant, sleep_until};
use types::{BrokerId, ClusterId, ObjectKey, Offset, SegmentRef, TopicPartition};

use crate::examine::{ExamineError, examine};
use crate::object::{ObjectReader, Pace};
use crate::problem::Reference;
use crate::register::{MAX_DAMAGED, Register};
use crate::slice::{Slice, auditor_of};
use crate::status::AuditHandle;

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

    /// Audits every object once, beginning with `start`. False if one was passed over.
    async fn round(&self, start: ObjectKey) -> bool {
        let mut is_whole = true;
        for (mut from, until) in [(Bound::Included(start), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(start))] {
            loop {
                let objects = self.slice((from, until)).await;
                let Some((last, _)) = objects.last_key_value() else { break };
                from = Bound::Excluded(*last);
                for (key, references) in &objects {
                    self.make_room().await;
                    is_whole &= self.audit(*key, references).await;
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
                    let image = metadata.image().borrow().clone();
                    self.register.examined(&image, key, references.len(), problems, Instant::now() + AGAIN_AFTER);
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

    /// Looks at one of the damaged objects that it is time for.
    async fn look_again(&self) {
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

    /// Returns when it is time for a damaged object, or at `until`.
    async fn wait_for_due(&self, until: Option<Instant>) {
        let due = self.register.next_due();
        if let Some(wake) = due.into_iter().chain(until).min() {
            sleep_until(wake).await;
        }
    }

    /// An object of this broker's share, each byte of all as likely; `None` if there is nothing.
    async fn start(&self) -> Option<ObjectKey> {
        let mut pause = PAUSE.start();
        loop {
            let (mut all, mut chosen) = (0, None);
            let each = |reference: Reference| {
                let bytes = reference.segment.bytes.max(1);
                all += bytes;
                if self.deps.random.below(all) < bytes {
                    chosen = Some(reference.segment.object);
                }
            };
            if self.answered(self.each_of_ours(each).await, &mut pause).await {
                return chosen;
            }
        }
    }

    /// The next objects of this broker's share within `range`, each with all of its segments.
    async fn slice(&self, range: (Bound<ObjectKey>, Bound<ObjectKey>)) -> BTreeMap<ObjectKey, Vec<Reference>> {
        let mut pause = PAUSE.start();
        loop {
            let mut slice = Slice::new(range);
            if self.answered(self.each_of_ours(|reference| slice.offer(reference)).await, &mut pause).await {
                return slice.into_objects();
            }
        }
    }

    /// Whether metadata answered; if not, it is time to ask again.
    async fn answered(&self, answer: Result<(), MetadataError>, pause: &mut Retries) -> bool {
        let Err(error) = answer else { return true };
        self.register.failed(&ExamineError::Metadata(error));
        pause.wait(&self.deps.random).await;
        false
    }

    /// Calls `f` with every segment whose object is this broker's to audit.
    async fn each_of_ours(&self, mut f: impl FnMut(Reference)) -> Result<(), MetadataError> {
        let image = self.deps.metadata.image().borrow().clone();
        let brokers: Vec<_> = image.brokers.values().filter(|broker| broker.alive).map(|broker| broker.id).collect();
        for partition in partitions(&image) {
            let mut from = Offset::ZERO;
            while let Some(page) = self.page(partition, from).await? {
                let last = page.last().map(|segment| segment.end);
                for segment in page {
                    if auditor_of(&segment.object, &brokers) == Some(self.deps.broker) {
                        f(Reference { partition, segment });
                    }
                }
                match last {
                    Some(end) => from = end,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Segments of a partition from an offset on; none at its end, and `None` if it is deleted.
    async fn page(&self, partition: TopicPartition, from: Offset) -> Result<Option<Vec<SegmentRef>>, MetadataError> {
        match self.deps.metadata.segments(partition, from, PAGE).await {
            Ok(page) => Ok(Some(page.segments)),
            Err(MetadataError::UnknownTopic { .. } | MetadataError::UnknownPartition { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn partitions(image: &ClusterImage) -> impl Iterator<Item = TopicPartition> {
    image.topics.values().flat_map(|topic| (0..).zip(&topic.partitions).map(|(index, _)| TopicPartition::new(topic.id, index)))
}
