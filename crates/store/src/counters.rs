//! Counts what is asked of a store and what comes of it. Plain numbers; whoever exports metrics reads them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runtime::Clock;
use types::Timestamp;

use crate::{ObjectMeta, ObjectStore, Operation, StoreError};

/// Upper bounds of the latency buckets, in milliseconds; one more bucket is above all of them.
pub const LATENCY_BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000];

/// How a call ended: success, or the kind of its [`StoreError`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Success.
    Ok,
    /// [`StoreError::NotFound`].
    NotFound,
    /// [`StoreError::AlreadyExists`].
    AlreadyExists,
    /// [`StoreError::Unknown`].
    Unknown,
    /// [`StoreError::Unavailable`].
    Unavailable,
    /// [`StoreError::Refused`].
    Refused,
    /// [`StoreError::Corrupt`].
    Corrupt,
}

impl Outcome {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::NotFound, Self::AlreadyExists, Self::Unknown, Self::Unavailable, Self::Refused, Self::Corrupt];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Corrupt => "corrupt",
        }
    }

    fn of<T>(answer: &Result<T, StoreError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(StoreError::NotFound { .. }) => Self::NotFound,
            Err(StoreError::AlreadyExists { .. }) => Self::AlreadyExists,
            Err(StoreError::Unknown { .. }) => Self::Unknown,
            Err(StoreError::Unavailable { .. }) => Self::Unavailable,
            Err(StoreError::Refused { .. }) => Self::Refused,
            Err(StoreError::Corrupt { .. }) => Self::Corrupt,
        }
    }
}

/// What was counted of one operation. All values only rise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OperationCounts {
    /// Calls by outcome, in the order of [`Outcome::ALL`]. A deletion counts once per key.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Bytes of bodies that were stored or received; those of failed calls do not count.
    pub bytes: u64,
    /// Calls by duration: at most the bound of [`LATENCY_BOUNDS`] at the same place, the last above all. Not cumulative.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// Sum of all durations.
    pub time: Duration,
}

impl OperationCounts {
    /// Calls (keys, for a deletion) that ended so.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }
}

/// Counters of one store.
#[derive(Debug, Default)]
pub struct StoreCounters {
    operations: [Counters; Operation::ALL.len()],
}

#[derive(Debug, Default)]
struct Counters {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    bytes: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl StoreCounters {
    /// As of now. Values of a call that ends meanwhile may be there in part.
    pub fn get(&self, operation: Operation) -> OperationCounts {
        let counters = &self.operations[operation as usize];
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OperationCounts {
            outcomes: counters.outcomes.each_ref().map(read),
            bytes: read(&counters.bytes),
            latency: counters.latency.each_ref().map(read),
            time: Duration::from_micros(read(&counters.micros)),
        }
    }

    fn ended(&self, operation: Operation, outcomes: impl Iterator<Item = Outcome>, bytes: u64, time: Duration) {
        let counters = &self.operations[operation as usize];
        for outcome in outcomes {
            counters.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        let bucket = LATENCY_BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < time);
        counters.latency[bucket].fetch_add(1, Ordering::Relaxed);
        counters.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Any store, with every call counted. A call that is dropped before it ends is not.
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<StoreCounters>,
    clock: Arc<dyn Clock>,
}

impl CountingStore {
    /// Counts what passes to `inner`; durations by `clock`.
    pub fn new(inner: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, counters: Arc::default(), clock }
    }

    /// Where it counts.
    pub fn counters(&self) -> Arc<StoreCounters> {
        self.counters.clone()
    }

    async fn count<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Result<T, StoreError> {
        let start = self.clock.monotonic();
        let answer = call.await;
        let bytes = answer.as_ref().map_or(0, bytes);
        let time = self.clock.monotonic().saturating_sub(start);
        self.counters.ended(operation, std::iter::once(Outcome::of(&answer)), bytes, time);
        answer
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        self.count(Operation::Put, self.inner.put(key, parts), |()| length).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.count(Operation::GetRange, self.inner.get_range(key, range), |body| body.len() as u64).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.count(Operation::Get, self.inner.get(key, limit), |body| body.len() as u64).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.count(Operation::Head, self.inner.head(key), |_| 0).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.count(Operation::List, self.inner.list(prefix, after, limit), |_| 0).await
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let start = self.clock.monotonic();
        let answers = self.inner.delete(keys).await;
        let time = self.clock.monotonic().saturating_sub(start);
        self.counters.ended(Operation::Delete, answers.iter().map(Outcome::of), 0, time);
        answers
    }

    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.date().await
    }
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;
    use crate::MemoryStore;
    use crate::faults::{Fault, FaultyStore};

    #[tokio::test(start_paused = true)]
    async fn t31_counters_tell_what_happened_not_what_was_asked() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::following_tokio(0));
        let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(clock.clone()))));
        let store = CountingStore::new(faulty.clone(), clock);
        let counters = store.counters();
        faulty.script(Operation::Put, [Fault::Refuse, Fault::Delay(Duration::from_millis(30))]);
        store.put("a", vec![Bytes::from_static(b"lost")]).await.unwrap_err();
        store.put("a", vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")]).await.unwrap();
        store.put("a", vec![Bytes::from_static(b"abcde")]).await.unwrap_err();
        store.get_range("a", 1..4).await.unwrap();
        store.get("b", 10).await.unwrap_err();
        store.delete(&["a".to_owned(), "b".to_owned()]).await;

        let puts = counters.get(Operation::Put);
        assert_eq!((puts.outcome(Outcome::Ok), puts.outcome(Outcome::Unavailable), puts.outcome(Outcome::AlreadyExists)), (1, 1, 1));
        assert_eq!((puts.bytes, puts.time), (5, Duration::from_millis(30)));
        assert_eq!((puts.latency[0], puts.latency[5], puts.latency.iter().sum::<u64>()), (2, 1, 3));
        assert_eq!(counters.get(Operation::GetRange).bytes, 3);
        assert_eq!(counters.get(Operation::Get).outcome(Outcome::NotFound), 1);
        assert_eq!(counters.get(Operation::Delete).outcome(Outcome::Ok), 2);
    }
}
