//! From "the log is synced to here" to answered producers: one queue of pending appends, in the order of durability.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use types::{Lsn, Offset};
use wal::{Entry, Urgency, WalError, WriteAheadLog};

use crate::Partition;

/// Appends whose sync somebody waits for or which a sync makes visible, of all partitions, in LSN order.
#[derive(Default)]
pub(crate) struct PendingAppends {
    queue: Mutex<VecDeque<Pending>>,
}

struct Pending {
    lsn: Lsn,
    partition: Arc<Partition>,
    end: Offset,
}

/// So many are taken from the queue at once: appends wait for its lock.
const TAKEN_AT_ONCE: usize = 1024;

impl PendingAppends {
    /// Appends `entry` and queues it. The queue's lock is held over both, which is what makes the queue's order that of the LSNs,
    /// and what keeps a sync from passing an entry that is not queued yet.
    pub(crate) fn append(
        &self,
        wal: &dyn WriteAheadLog,
        entry: Entry,
        urgency: Urgency,
        partition: &Arc<Partition>,
        end: Offset,
    ) -> Result<Lsn, WalError> {
        let mut queue = self.queue.lock();
        let lsn = wal.append(entry, urgency)?;
        queue.push_back(Pending { lsn, partition: Arc::clone(partition), end });
        Ok(lsn)
    }

    /// Queues an entry that was appended before without being queued. The caller looks at the log's progress afterwards.
    pub(crate) fn catch_up(&self, lsn: Lsn, partition: &Arc<Partition>, end: Offset) {
        let mut queue = self.queue.lock();
        let place = queue.partition_point(|pending| pending.lsn < lsn);
        queue.insert(place, Pending { lsn, partition: Arc::clone(partition), end });
    }

    /// Everything below `synced` would survive a crash.
    pub(crate) fn synced(&self, synced: Lsn) {
        loop {
            let ready: Vec<Pending> = {
                let mut queue = self.queue.lock();
                let ready = queue.iter().take(TAKEN_AT_ONCE).take_while(|pending| pending.lsn < synced).count();
                queue.drain(..ready).collect()
            };
            // Of appends to one partition that follow each other the last end says it all.
            for neighbours in ready.chunk_by(|one, other| Arc::ptr_eq(&one.partition, &other.partition)) {
                let last = neighbours.last().expect("a chunk is never empty");
                last.partition.synced_to(last.end);
            }
            if ready.len() < TAKEN_AT_ONCE {
                return;
            }
        }
    }

    /// The log stopped: nothing that is queued will be synced. Its waiters are told by their partitions.
    pub(crate) fn clear(&self) {
        self.queue.lock().clear();
    }
}
