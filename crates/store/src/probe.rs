//! What a store really does, found out by asking it.
//!
//! [`Probe`] asks for everything that this program relies on, would like, or may come to use, and measures; [`check_reliance`] asks for
//! the little without which a broker would lose records, at every start. Both write below a folder of their own and remove it.

mod checks;
mod speed;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use runtime::{Backoff, Clock, Random};

use self::checks::Lack;
pub use self::speed::Measurement;
use crate::open::{Opened, ask, connect};
use crate::s3::S3Store;
use crate::{Body, ObjectStore, OpenError, S3Options, StoreError, put_verified};

/// Rides out a busy moment of the store, not an outage.
const PATIENCE: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 0.5, budget: Duration::from_secs(15) };

/// What it means for this program if a store lacks something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Records would be lost: a broker refuses the store.
    Required,
    /// Something works worse, or a safeguard is missing.
    Wanted,
    /// Nothing: told because people ask.
    Unused,
}

impl Need {
    /// The name in report cards.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Wanted => "wanted",
            Self::Unused => "unused",
        }
    }
}

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The store does it.
    Yes,
    /// The store does otherwise, or refuses.
    No,
    /// The store gave no answer that tells.
    Unknown,
    /// This kind of store has no such thing.
    NotAsked,
}

impl Verdict {
    /// The name in report cards.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::NotAsked => "-",
        }
    }
}

/// One line of a report card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Name of the check, stable between releases.
    pub check: &'static str,
    /// What the check asks, as a sentence about the store.
    pub asks: &'static str,
    /// What it means if the store lacks it.
    pub need: Need,
    /// What was found.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
}

/// What was found out about a store.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ReportCard {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
    /// Empty unless they were asked for.
    pub measurements: Vec<Measurement>,
}

impl ReportCard {
    /// The required checks that did not find what they need.
    pub fn lacking(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.need == Need::Required && finding.verdict != Verdict::Yes)
    }

    fn note(&mut self, check: &Check, outcome: Result<String, Lack>) {
        let (verdict, detail) = match outcome {
            Ok(detail) => (Verdict::Yes, detail),
            Err(Lack::NotAsked(why)) => (Verdict::NotAsked, why),
            Err(Lack::Otherwise(detail)) => (Verdict::No, detail),
            Err(Lack::Store(error)) if is_passing(&error) => (Verdict::Unknown, error.to_string()),
            Err(Lack::Store(error)) => (Verdict::No, error.to_string()),
        };
        self.findings.push(Finding { check: check.name, asks: check.asks, need: check.need, verdict, detail });
    }
}

/// What is asked of a store, apart from how.
struct Check {
    name: &'static str,
    asks: &'static str,
    need: Need,
}

const PUT_IF_ABSENT: Check =
    Check { name: "put-if-absent", asks: "a put where an object is already is refused and changes nothing", need: Need::Required };
const PUT_RACE: Check = Check { name: "put-race", asks: "of several puts of one key at once, one wins", need: Need::Required };
const READ_AFTER_WRITE: Check =
    Check { name: "read-after-write", asks: "what was put is read at once, whole, with its length", need: Need::Required };
const RANGES: Check = Check { name: "ranges", asks: "first byte, last byte and any range are given exactly", need: Need::Required };
const RANGE_BEYOND_END: Check =
    Check { name: "range-beyond-end", asks: "a range that reaches beyond the end can be told from a whole one", need: Need::Required };
const RANGE_SUFFIX: Check = Check { name: "range-suffix", asks: "the last bytes are given without knowing the length", need: Need::Unused };
const LIST_ORDER: Check =
    Check { name: "list-order", asks: "a listing is in the order of the keys' bytes, by prefix and after a key", need: Need::Required };
const LIST_PAGES: Check = Check { name: "list-pages", asks: "a listing in pages is complete", need: Need::Required };
const LIST_AFTER_WRITE: Check = Check { name: "list-after-write", asks: "what was put is listed at once", need: Need::Wanted };
const LIST_AFTER_DELETE: Check = Check { name: "list-after-delete", asks: "what was deleted is not listed any more", need: Need::Wanted };
const DELETE_BULK: Check =
    Check { name: "delete-bulk", asks: "many keys are deleted at once; one that is not there counts as deleted", need: Need::Required };
const MULTIPART: Check = Check { name: "multipart", asks: "an object is put in parts, and an upload is given up", need: Need::Unused };
const CHECKSUM_VERIFIED: Check = Check { name: "checksum-verified", asks: "a body that changed on its way is refused", need: Need::Wanted };
const CHECKSUM_RETURNED: Check =
    Check { name: "checksum-returned", asks: "the answer to a put carries the checksum that came with it", need: Need::Unused };
const CLOCK: Check = Check { name: "clock", asks: "the store's clock and ours agree within a minute", need: Need::Wanted };

/// Asks one store. Dropping it leaves what it has put; call [`Probe::clean`], also after an interrupted [`Probe::run`].
pub struct Probe {
    scratch: Scratch,
    /// For what the seam does not show.
    s3: Option<Arc<S3Store>>,
    clock: Arc<dyn Clock>,
}

impl Probe {
    /// Of the store that [`crate::open`] would open.
    pub async fn open(url: &str, s3: &S3Options, clock: Arc<dyn Clock>, random: Arc<Random>) -> Result<Self, OpenError> {
        let (store, s3): (Arc<dyn ObjectStore>, _) = match connect(url, s3, Arc::clone(&clock), Arc::clone(&random)).await? {
            Opened::S3(store) => (Arc::clone(&store) as Arc<dyn ObjectStore>, Some(store)),
            Opened::Other(store) => (store, None),
        };
        ask(store.as_ref(), url).await?;
        Ok(Self { scratch: Scratch::new(store, random), s3, clock })
    }

    /// Asks everything, one thing after the other: some 200 requests. Does not measure.
    pub async fn run(&self) -> ReportCard {
        let (scratch, s3) = (&self.scratch, self.s3.as_deref());
        let mut card = ReportCard::default();
        card.note(&PUT_IF_ABSENT, checks::put_if_absent(scratch).await);
        card.note(&PUT_RACE, checks::put_race(scratch).await);
        card.note(&READ_AFTER_WRITE, checks::read_after_write(scratch).await);
        card.note(&RANGES, checks::ranges(scratch).await);
        card.note(&RANGE_BEYOND_END, checks::range_beyond_end(scratch).await);
        card.note(&RANGE_SUFFIX, checks::range_suffix(scratch, s3).await);
        card.note(&LIST_ORDER, checks::list_order(scratch).await);
        card.note(&LIST_PAGES, checks::list_pages(scratch, s3).await);
        card.note(&LIST_AFTER_WRITE, checks::list_after_write(scratch).await);
        card.note(&LIST_AFTER_DELETE, checks::list_after_delete(scratch).await);
        card.note(&DELETE_BULK, checks::delete_bulk(scratch).await);
        card.note(&MULTIPART, checks::multipart(scratch, s3).await);
        card.note(&CHECKSUM_VERIFIED, checks::checksum_verified(scratch, s3).await);
        card.note(&CHECKSUM_RETURNED, checks::checksum_returned(scratch, s3).await);
        card.note(&CLOCK, checks::clock(scratch, self.clock.as_ref(), s3.is_some()).await);
        card
    }

    /// Measures small requests one after the other and large ones in parallel: about 150 requests, 128 MiB in and out.
    pub async fn measure(&self) -> Result<Vec<Measurement>, StoreError> {
        speed::measure(&self.scratch, self.clock.as_ref()).await
    }

    /// Removes everything that was put. A put that the store has not decided yet may still land later, below `probe-…/`.
    pub async fn clean(&self) -> Result<(), StoreError> {
        self.scratch.clean().await
    }
}

/// A store that a broker must not use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelianceError {
    /// It does not do something that nothing can replace.
    #[error(
        "the store lacks what a broker relies on: {asks} ({detail}); use another store, `siltstone store probe` shows all that one does"
    )]
    Lacks {
        /// Name of the check.
        check: &'static str,
        /// What was asked.
        asks: &'static str,
        /// What was seen instead.
        detail: String,
    },
    /// It could not be found out.
    #[error("try what the store does: {0}")]
    Store(#[from] StoreError),
}

/// Asks for what a broker relies on with every record: puts only where nothing is (rule R9), reads of what was just put, exact ranges.
/// Some ten requests below `probe-…/`, which is removed.
pub async fn check_reliance(store: Arc<dyn ObjectStore>, random: Arc<Random>) -> Result<(), RelianceError> {
    let scratch = Scratch::new(store, random);
    let outcome = relied_on(&scratch).await;
    if let Err(error) = scratch.clean().await {
        // The store holds a few small objects too many.
        tracing::warn!("remove {} from the store: {error}", scratch.folder);
    }
    outcome
}

async fn relied_on(scratch: &Scratch) -> Result<(), RelianceError> {
    told(&PUT_IF_ABSENT, checks::put_if_absent(scratch).await)?;
    told(&READ_AFTER_WRITE, checks::read_after_write(scratch).await)?;
    told(&RANGES, checks::ranges(scratch).await)?;
    told(&RANGE_BEYOND_END, checks::range_beyond_end(scratch).await)
}

fn told(check: &Check, outcome: Result<String, Lack>) -> Result<(), RelianceError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(Lack::Store(error)) if is_passing(&error) => Err(RelianceError::Store(error)),
        Err(Lack::Store(error)) => Err(RelianceError::Lacks { check: check.name, asks: check.asks, detail: error.to_string() }),
        Err(Lack::Otherwise(detail) | Lack::NotAsked(detail)) => Err(RelianceError::Lacks { check: check.name, asks: check.asks, detail }),
    }
}

/// Whether asking again later may tell.
fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. } | StoreError::Unknown { .. })
}

/// A folder for one probe, and a note of what lies in it.
struct Scratch {
    store: Arc<dyn ObjectStore>,
    random: Arc<Random>,
    /// Ends with a slash.
    folder: String,
    /// Every key that was ever put.
    noted: Mutex<BTreeSet<String>>,
}

impl Scratch {
    fn new(store: Arc<dyn ObjectStore>, random: Arc<Random>) -> Self {
        let folder = format!("probe-{:016x}/", random.u64());
        Self { store, random, folder, noted: Mutex::default() }
    }

    /// The key of `name`, which something is about to be put under.
    fn key(&self, name: impl fmt::Display) -> String {
        let key = format!("{}{name}", self.folder);
        self.noted.lock().insert(key.clone());
        key
    }

    /// Puts until it is certain; [`StoreError::AlreadyExists`] if other bytes are there.
    async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<(), StoreError> {
        put_verified(self.store.as_ref(), key, &Body::new(vec![body.into()]), PATIENCE, &self.random).await
    }

    /// Names in the folder that begin with `prefix`, those after the name `after` if it is given.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let after = after.map(|after| format!("{}{after}", self.folder));
        let found = self.store.list(&format!("{}{prefix}", self.folder), after.as_deref(), limit).await?;
        Ok(found.into_iter().filter_map(|object| object.key.strip_prefix(&self.folder).map(str::to_owned)).collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.store.delete(keys).await.into_iter().collect()
    }

    /// Deletes by name: a listing that lags would leave some behind.
    async fn clean(&self) -> Result<(), StoreError> {
        let noted: Vec<String> = self.noted.lock().iter().cloned().collect();
        self.delete(&noted).await
    }
}
