use std::ops::Range;

use async_trait::async_trait;
use runtime::ManualClock;
use s3_server::{Quirks, S3Server};
use types::Timestamp;

use super::*;
use crate::faults::{FaultRates, FaultyStore};
use crate::s3::tests::store_of;
use crate::{DirectoryStore, MemoryStore, ObjectMeta, Operation};

const NOW: i64 = 1_800_000_000_000;

/// What a store does otherwise than it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// A put replaces what is there.
    Replaces,
    /// A put is refused where something is, but what was there is gone.
    RefusesAndReplaces,
    /// What was just put is not found.
    NotYet,
    /// HEAD gives another length.
    WrongLength,
    /// A range comes one byte later.
    ShiftedRange,
    /// A range beyond the end comes as far as there is something.
    CutRange,
    /// Listings are in another order.
    Unordered,
    /// Listings begin at the beginning, whatever they are to follow.
    FromTheStart,
    /// Listings do not show the last object.
    Lagging,
    /// A deletion answers and does nothing.
    KeepsDeleted,
    /// The clock is a year ahead.
    WrongClock,
    /// Conditional puts are not implemented.
    NoConditions,
    /// Nothing works for now.
    Out,
}

struct Faulty {
    inner: MemoryStore,
    fault: Fault,
}

impl Faulty {
    async fn replace(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.inner.delete(&[key.to_owned()]).await;
        self.inner.put(key, parts).await
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        match self.fault {
            Fault::Replaces => self.replace(key, parts).await,
            Fault::RefusesAndReplaces => match self.inner.put(key, parts.clone()).await {
                Err(error) => self.replace(key, parts).await.and(Err(error)),
                done => done,
            },
            Fault::NoConditions => Err(StoreError::refused(Operation::Put, key, "the store answered 501 NotImplemented")),
            Fault::Out => Err(StoreError::unavailable(Operation::Put, key, "503 SlowDown")),
            _ => self.inner.put(key, parts).await,
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let length = self.inner.head(key).await?.length;
        match self.fault {
            Fault::ShiftedRange if range.end < length => self.inner.get_range(key, range.start + 1..range.end + 1).await,
            Fault::CutRange => self.inner.get_range(key, range.start.min(length)..range.end.min(length)).await,
            _ => self.inner.get_range(key, range).await,
        }
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        match self.fault {
            Fault::NotYet => Err(StoreError::not_found(key)),
            _ => self.inner.get(key, limit).await,
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let mut meta = self.inner.head(key).await?;
        meta.length += u64::from(self.fault == Fault::WrongLength);
        Ok(meta)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let after = after.filter(|_| self.fault != Fault::FromTheStart);
        let mut found = self.inner.list(prefix, after, limit).await?;
        match self.fault {
            Fault::Unordered => found.reverse(),
            Fault::Lagging => drop(found.pop()),
            _ => {}
        }
        Ok(found)
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        match self.fault {
            Fault::KeepsDeleted => keys.iter().map(|_| Ok(())).collect(),
            _ => self.inner.delete(keys).await,
        }
    }

    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok((self.fault == Fault::WrongClock).then(|| Timestamp(NOW + 365 * 86_400_000)))
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(NOW))
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::new(clock()))
}

fn faulty(fault: Fault) -> Arc<dyn ObjectStore> {
    Arc::new(Faulty { inner: MemoryStore::new(clock()), fault })
}

fn random() -> Arc<Random> {
    Arc::new(Random::seeded(1))
}

fn probe(store: Arc<dyn ObjectStore>) -> Probe {
    Probe { scratch: Scratch::new(store, random()), s3: None, clock: clock() }
}

/// Names of the checks that found it otherwise.
fn lacking(card: &ReportCard) -> Vec<&'static str> {
    card.findings.iter().filter(|finding| finding.verdict == Verdict::No).map(|finding| finding.check).collect()
}

async fn is_empty(store: &dyn ObjectStore) -> bool {
    store.list("", None, 10).await.unwrap().is_empty()
}

#[tokio::test]
async fn our_own_stores_do_what_is_relied_on_and_are_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DirectoryStore::open(&folder.path().join("store"), random()).await.unwrap();
    for store in [memory(), Arc::new(directory)] {
        let probe = probe(Arc::clone(&store));
        let card = probe.run().await;
        assert_eq!((lacking(&card), card.lacking().count()), (vec![], 0), "{card:#?}");
        let asked = card.findings.iter().filter(|finding| finding.verdict == Verdict::Yes).count();
        assert_eq!((asked, card.findings.len()), (10, 15), "{card:#?}");
        probe.clean().await.unwrap();
        assert!(is_empty(store.as_ref()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_does_otherwise_is_found_and_named() {
    for (fault, expected) in [
        (Fault::Replaces, &["put-if-absent", "put-race"][..]),
        (Fault::RefusesAndReplaces, &["put-if-absent", "put-race"]),
        (Fault::WrongLength, &["read-after-write"]),
        (Fault::ShiftedRange, &["ranges"]),
        (Fault::CutRange, &["range-beyond-end"]),
        (Fault::Unordered, &["list-order", "list-pages", "list-after-delete"]),
        (Fault::FromTheStart, &["list-order", "list-pages"]),
        (Fault::Lagging, &["list-order", "list-pages", "list-after-write", "list-after-delete"]),
        (Fault::KeepsDeleted, &["list-after-delete", "delete-bulk"]),
        (Fault::WrongClock, &["clock"]),
    ] {
        let card = probe(faulty(fault)).run().await;
        assert_eq!(lacking(&card), expected, "{fault:?}: {card:#?}");
    }
    let card = probe(faulty(Fault::NotYet)).run().await;
    assert!(lacking(&card).contains(&"read-after-write"), "{card:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_busy_is_not_said_to_lack_anything() {
    let card = probe(faulty(Fault::Out)).run().await;
    assert_eq!(lacking(&card), [""; 0], "{card:#?}");
    assert!(0 < card.lacking().count(), "but nothing is known of it either");
}

#[tokio::test]
async fn a_broker_refuses_a_store_that_lacks_what_it_relies_on_in_one_line() {
    for (fault, check) in [
        (Fault::Replaces, "put-if-absent"),
        (Fault::RefusesAndReplaces, "put-if-absent"),
        (Fault::NoConditions, "put-if-absent"),
        (Fault::ShiftedRange, "ranges"),
        (Fault::CutRange, "range-beyond-end"),
    ] {
        let store = faulty(fault);
        let error = check_reliance(Arc::clone(&store), random()).await.unwrap_err();
        assert!(matches!(&error, RelianceError::Lacks { check: found, .. } if *found == check), "{fault:?}: {error}");
        let told = error.to_string();
        assert!(told.contains("lacks what a broker relies on") && !told.contains('\n'), "{told}");
        assert!(is_empty(store.as_ref()).await, "{fault:?}");
    }
    let store = memory();
    check_reliance(Arc::clone(&store), random()).await.unwrap();
    assert!(is_empty(store.as_ref()).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_told_apart_from_one_that_lacks_something() {
    let error = check_reliance(faulty(Fault::Out), random()).await.unwrap_err();
    assert!(matches!(error, RelianceError::Store(StoreError::Unavailable { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_probe_can_be_cleaned_up() {
    let slow = Arc::new(FaultyStore::new(memory()));
    slow.by_chance(FaultRates { max_delay: Duration::from_secs(1), ..FaultRates::default() }, Random::seeded(3));
    let probe = probe(Arc::clone(&slow) as Arc<dyn ObjectStore>);
    assert!(tokio::time::timeout(Duration::from_secs(20), probe.run()).await.is_err());
    assert!(!is_empty(slow.as_ref()).await);
    probe.clean().await.unwrap();
    assert!(is_empty(slow.as_ref()).await);
}

#[tokio::test]
async fn measurements_cover_both_sizes_and_both_ways() {
    let store = memory();
    let probe = probe(Arc::clone(&store));
    let measured = probe.measure().await.unwrap();
    assert_eq!(measured.iter().filter(|measurement| 0.0 < measurement.bytes_per_second).count(), 4);
    assert!(measured.iter().all(|measurement| measurement.p50 <= measurement.p99 && 0 < measurement.requests));
    probe.clean().await.unwrap();
    assert!(is_empty(store.as_ref()).await);
}

/// The store at `s3://bucket/a/b` of a server in this process.
fn s3_probe(server: &S3Server) -> Probe {
    let store = Arc::new(store_of(server, "bucket", "a/b/"));
    let scratch = Scratch::new(Arc::clone(&store) as Arc<dyn ObjectStore>, random());
    Probe { scratch, s3: Some(store), clock: Arc::new(runtime::SystemClock) }
}

#[tokio::test]
async fn s3_is_asked_for_what_only_it_has_too_and_left_empty() {
    let server = S3Server::start(&["bucket"], Quirks::default()).await;
    let probe = s3_probe(&server);
    let card = probe.run().await;
    assert!(card.findings.iter().all(|finding| finding.verdict == Verdict::Yes), "{card:#?}");
    probe.clean().await.unwrap();
    assert_eq!((server.keys("bucket"), server.open_uploads()), (vec![], 0));
}

#[tokio::test]
async fn a_bucket_whose_puts_replace_is_found_out() {
    let server = S3Server::start(&["bucket"], Quirks { ignores_conditions: true, ..Quirks::default() }).await;
    let probe = s3_probe(&server);
    assert_eq!(lacking(&probe.run().await), ["put-if-absent", "put-race"]);
    let error = check_reliance(Arc::clone(&probe.scratch.store), random()).await.unwrap_err();
    assert!(matches!(error, RelianceError::Lacks { check: "put-if-absent", .. }), "{error}");
}
