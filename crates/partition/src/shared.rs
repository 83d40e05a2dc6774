//! What all partitions of a broker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use metadata_api::MetadataClient;
use runtime::Clock;
use types::{BrokerEpoch, BrokerId};
use wal::WriteAheadLog;

use crate::completion::PendingAppends;
use crate::segments::Segments;
use crate::{AppendError, DamageObserver};

/// Bounds of what partitions remember. Not topic configs: they protect the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Idempotent producers remembered per partition; a new one is refused beyond it.
    pub producers_per_partition: usize,
    /// `producer.id.expiration.ms`: a producer that has not appended for so long is forgotten.
    pub producer_expiration: Duration,
    /// Appends of one partition that wait for one level of durability.
    pub waiting_per_partition: usize,
    /// Batches in the offset → LSN indexes of all partitions together; each costs 40 bytes.
    pub indexed_batches: usize,
    /// Pages of the segment list kept for readers of history, all partitions together.
    pub segment_pages: usize,
    /// Bytes of segment indexes kept for readers of history.
    pub segment_index_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            producers_per_partition: 5000,
            producer_expiration: Duration::from_secs(24 * 60 * 60),
            waiting_per_partition: 10_000,
            indexed_batches: 2_000_000,
            segment_pages: 2000,
            segment_index_bytes: 16 << 20,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) wal: Arc<dyn WriteAheadLog>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) segments: Segments,
    pub(crate) damage: Arc<dyn DamageObserver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) broker: BrokerId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) pending: PendingAppends,
    pub(crate) indexed: IndexedBatches,
    pub(crate) recovering: AtomicBool,
}

impl Shared {
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }
}

/// Counts the entries of all tails against their common bound.
pub(crate) struct IndexedBatches {
    entries: AtomicUsize,
    limit: usize,
}

impl IndexedBatches {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: AtomicUsize::new(0), limit }
    }

    /// Takes a place for one more, or says why there is none.
    pub(crate) fn reserve(&self) -> Result<(), AppendError> {
        let entries = self.entries.fetch_add(1, Ordering::Relaxed);
        if entries < self.limit {
            return Ok(());
        }
        self.release(1);
        Err(AppendError::TooManyUnpublished { entries, limit: self.limit })
    }

    /// Counts what is there already and cannot be refused.
    pub(crate) fn count(&self, entries: usize) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, entries: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
    }

    /// Over half the bound.
    pub(crate) fn is_crowded(&self) -> bool {
        self.limit / 2 < self.entries.load(Ordering::Relaxed)
    }
}
