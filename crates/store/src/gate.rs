//! A store that may be away when the process starts.
//!
//! Whoever works with the store gets it through the gate. As long as nobody has found out whose store it is, the gate is closed: every
//! call is answered `Unavailable` at once and nothing reaches the store, so that a broker that started from its own disk can neither
//! read from nor write to a store that turns out to be another cluster's (rule R7). Once open it stays open; a store that goes away
//! later is a store that fails.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use types::Timestamp;

use crate::{ObjectMeta, ObjectStore, Operation, StoreError};

/// Any store, behind a gate that opens once.
pub struct GatedStore {
    inner: Arc<dyn ObjectStore>,
    /// Why the gate is closed.
    closed: RwLock<Option<String>>,
}

impl GatedStore {
    /// Every call goes to `inner`.
    pub fn opened(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, closed: RwLock::new(None) }
    }

    /// No call goes to `inner` before [`Self::open`]; `why` is the detail of the errors until then.
    pub fn closed(inner: Arc<dyn ObjectStore>, why: impl Into<String>) -> Self {
        Self { inner, closed: RwLock::new(Some(why.into())) }
    }

    /// Lets every call through from now on.
    pub fn open(&self) {
        *self.closed.write() = None;
    }

    /// Another reason for a gate that is still closed.
    pub fn explain(&self, why: impl Into<String>) {
        if let Some(reason) = self.closed.write().as_mut() {
            *reason = why.into();
        }
    }

    /// Why it is closed; `None` once it is open.
    pub fn why_closed(&self) -> Option<String> {
        self.closed.read().clone()
    }

    fn pass(&self, operation: Operation, key: &str) -> Result<&dyn ObjectStore, StoreError> {
        match &*self.closed.read() {
            None => Ok(self.inner.as_ref()),
            Some(why) => Err(refusal(operation, key, why)),
        }
    }
}

fn refusal(operation: Operation, key: &str, why: &str) -> StoreError {
    StoreError::unavailable(operation, key, format!("the store was not reached since the start: {why}"))
}

#[async_trait]
impl ObjectStore for GatedStore {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.pass(Operation::Put, key)?.put(key, parts).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.pass(Operation::GetRange, key)?.get_range(key, range).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.pass(Operation::Get, key)?.get(key, limit).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.pass(Operation::Head, key)?.head(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.pass(Operation::List, prefix)?.list(prefix, after, limit).await
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        match self.why_closed() {
            None => self.inner.delete(keys).await,
            Some(why) => keys.iter().map(|key| Err(refusal(Operation::Delete, key, &why))).collect(),
        }
    }

    async fn date(&self) -> Result<Option<Timestamp>, StoreError> {
        self.pass(Operation::List, "")?.date().await
    }
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;
    use crate::MemoryStore;
    use crate::faults::{Fault, FaultyStore};

    fn is_closed<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
        matches!(answer, Err(StoreError::Unavailable { detail, .. }) if detail == "the store was not reached since the start: no answer")
    }

    #[tokio::test]
    async fn r7_a_closed_gate_lets_no_call_through_and_an_open_one_every_call() {
        let inner = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0))))));
        inner.put("there", vec![Bytes::from_static(b"stone")]).await.unwrap();
        // A call that came through would take one of these.
        for operation in Operation::ALL {
            inner.script(operation, [Fault::Deny]);
        }
        let gate = GatedStore::closed(inner.clone(), "connecting");
        gate.explain("no answer");
        assert_eq!(gate.why_closed().as_deref(), Some("no answer"));
        assert!(is_closed(gate.put("new", vec![Bytes::from_static(b"silt")]).await));
        assert!(is_closed(gate.get_range("there", 0..1).await));
        assert!(is_closed(gate.get("there", 10).await));
        assert!(is_closed(gate.head("there").await));
        assert!(is_closed(gate.list("", None, 10).await));
        assert!(is_closed(gate.date().await));
        let deletions = gate.delete(&["there".to_owned(), "new".to_owned()]).await;
        assert_eq!(deletions.into_iter().filter(|answer| is_closed(answer.clone())).count(), 2);
        assert_eq!(inner.scripted(), Operation::ALL.len());

        gate.open();
        gate.explain("too late");
        assert_eq!(gate.why_closed(), None);
        assert!(matches!(gate.put("new", vec![Bytes::from_static(b"silt")]).await, Err(StoreError::Refused { .. })));
        assert!(matches!(gate.get_range("there", 0..1).await, Err(StoreError::Refused { .. })));
        assert!(matches!(gate.get("there", 10).await, Err(StoreError::Refused { .. })));
        assert!(matches!(gate.head("there").await, Err(StoreError::Refused { .. })));
        assert!(matches!(gate.list("", None, 10).await, Err(StoreError::Refused { .. })));
        assert!(matches!(gate.delete(&["there".to_owned()]).await[..], [Err(StoreError::Refused { .. })]));
        assert!(gate.date().await.is_ok());
        assert_eq!(inner.scripted(), 0);
    }
}
