//! GETs within the budgets of their classes, and a second one where the first is slow.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::{RangeReaderOptions, ReadClass};
use crate::block_cache::BlockId;
use crate::hedging::Hedging;
use crate::{ObjectStore, StoreError};

pub(super) struct Gets {
    store: Arc<dyn ObjectStore>,
    permits: [Arc<Semaphore>; ReadClass::ALL.len()],
    hedging: Mutex<Hedging>,
    counters: [GetCounters; ReadClass::ALL.len()],
}

/// GETs of a class.
#[derive(Debug, Default)]
pub(super) struct GetCounters {
    pub(super) for_readers: AtomicU64,
    pub(super) ahead: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
}

/// Why a block is fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Reader,
    ReadAhead,
}

impl Gets {
    pub(super) fn new(store: Arc<dyn ObjectStore>, options: &RangeReaderOptions) -> Self {
        let permits = [options.tail_requests, options.catch_up_requests, options.rewrite_requests];
        let permits = permits.map(|requests| Arc::new(Semaphore::new(requests.max(1))));
        Self { store, permits, hedging: Mutex::default(), counters: Default::default() }
    }

    pub(super) fn counters(&self, class: ReadClass) -> &GetCounters {
        &self.counters[class as usize]
    }

    /// A permit if there is one to spare.
    pub(super) fn try_permit(&self, class: ReadClass) -> Option<OwnedSemaphorePermit> {
        self.permits[class as usize].clone().try_acquire_owned().ok()
    }

    /// A permit of the most urgent class that waits, whoever began it; none once a reader of the tail joined, who must not wait behind
    /// readers of history.
    pub(super) async fn permit(&self, waits: &mut watch::Receiver<ReadClass>) -> Option<OwnedSemaphorePermit> {
        let began = *waits.borrow_and_update();
        let mut class = began;
        loop {
            if class == ReadClass::Tail && began != ReadClass::Tail {
                return None;
            }
            tokio::select! {
                permit = self.permits[class as usize].clone().acquire_owned() => {
                    return Some(permit.expect("the semaphore is never closed"));
                }
                Ok(()) = waits.changed() => class = *waits.borrow_and_update(),
            }
        }
    }

    /// The block from the store. While its GET is slow, a second one may be sent, within the budget of `class` as well.
    pub(super) async fn get(&self, id: &BlockId, class: ReadClass, cause: Cause) -> Result<Bytes, StoreError> {
        let counters = self.counters(class);
        match cause {
            Cause::Reader => counters.for_readers.fetch_add(1, Ordering::Relaxed),
            Cause::ReadAhead => counters.ahead.fetch_add(1, Ordering::Relaxed),
        };
        let (length, started) = (id.range.end - id.range.start, Instant::now());
        let first = pin!(self.store.get_range(&id.key, id.range.clone()));
        // Nobody waits for a rewrite.
        let slow_after = if class == ReadClass::Rewrite { None } else { self.hedging.lock().slow_after(length) };
        let answer = match slow_after {
            None => first.await,
            Some(slow_after) => self.get_or_hedge(id, class, first, slow_after).await,
        };
        if answer.is_ok() {
            self.hedging.lock().came(length, started.elapsed());
        }
        answer
    }

    async fn get_or_hedge(
        &self,
        id: &BlockId,
        class: ReadClass,
        mut first: impl Future<Output = Result<Bytes, StoreError>> + Unpin,
        slow_after: Duration,
    ) -> Result<Bytes, StoreError> {
        if let Ok(answer) = timeout(slow_after, &mut first).await {
            return answer;
        }
        let permit = self.try_permit(class);
        if permit.is_none() || !self.hedging.lock().pay() {
            return first.await;
        }
        let counters = self.counters(class);
        counters.hedges.fetch_add(1, Ordering::Relaxed);
        let second = pin!(self.store.get_range(&id.key, id.range.clone()));
        // A failure of one is not the answer while the other may still bring the bytes.
        let (answer, is_second) = match select(first, second).await {
            Either::Left((Err(_), second)) => (second.await, true),
            Either::Left((answer, _)) => (answer, false),
            Either::Right((Err(_), first)) => (first.await, false),
            Either::Right((answer, _)) => (answer, true),
        };
        if is_second && answer.is_ok() {
            counters.hedges_won.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}
