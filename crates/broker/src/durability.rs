//! Brings altered durability into force (rule R5): in every partition that this broker leads, whatever the old level promised is
//! published where the new one is stronger, and the metadata service asked then. Until it is in force the partition acts by the
//! stronger level, so that nothing here is in a hurry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use metadata_api::{EnforceDurability, MetadataClient};
use parking_lot::Mutex;
use partition::{Flusher, Partitions, PendingDurability};
use runtime::Shutdown;
use tokio::sync::Notify;
use tokio::time::sleep;
use types::{BrokerId, Lsn, TopicPartition};

/// How long after an attempt that changed nothing the next one is made.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Partitions whose configured level was not in force when they were looked at.
#[derive(Default)]
pub(crate) struct Altered {
    partitions: Mutex<BTreeSet<TopicPartition>>,
    noted: Notify,
}

impl Altered {
    /// The partition's levels are not the same.
    pub(crate) fn note(&self, partition: TopicPartition) {
        self.partitions.lock().insert(partition);
        self.noted.notify_one();
    }

    /// What is left to be done; those with nothing left, or not led any more, are forgotten.
    fn pending(&self, open: &Partitions) -> Vec<PendingDurability> {
        let mut pending = Vec::new();
        self.partitions.lock().retain(|id| {
            let left = open.get(*id).ok().and_then(|partition| partition.pending_durability());
            pending.extend(left);
            left.is_some()
        });
        pending
    }
}

/// The task that does it.
pub(crate) struct Enforcer {
    pub(crate) id: BrokerId,
    pub(crate) altered: Arc<Altered>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) flusher: Arc<dyn Flusher>,
}

impl Enforcer {
    /// Works until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while shutdown.or(self.step()).await.is_some() {}
    }

    /// Asks for what may be in force now, and waits until there may be more.
    async fn step(&self) {
        let pending = self.altered.pending(&self.partitions);
        let (unpublished, ready): (Vec<_>, Vec<_>) = pending.into_iter().partition(|pending| pending.publish_below.is_some());
        if !ready.is_empty() {
            self.enforce(&ready).await;
        }
        let below = unpublished.iter().filter_map(|pending| pending.publish_below).max();
        tokio::select! {
            () = self.altered.noted.notified() => {}
            () = self.publish(below.unwrap_or_default(), &unpublished), if below.is_some() => {}
            // The image shows what came of it; what it does not show is asked for again.
            () = sleep(ASK_AGAIN), if !ready.is_empty() => {}
        }
    }

    async fn enforce(&self, ready: &[PendingDurability]) {
        let Some(epoch) = self.metadata.image().borrow().brokers.get(&self.id).map(|broker| broker.epoch) else { return };
        let changes = ready.iter().map(|pending| pending.change).collect();
        match self.metadata.enforce_durability(EnforceDurability { broker: self.id, epoch, changes }).await {
            Ok(_) => tracing::info!(partitions = ready.len(), "altered durability comes into force"),
            Err(error) => tracing::warn!(partitions = ready.len(), "altered durability is not in force yet: {error}"),
        }
    }

    /// Returns when more of these are published, or after a while.
    async fn publish(&self, below: Lsn, unpublished: &[PendingDurability]) {
        let flushed = self.flusher.flush(below).await;
        if let Err(error) = &flushed {
            tracing::warn!(partitions = unpublished.len(), "altered durability waits for records to be published: {error}");
        }
        let is_published = |pending: &PendingDurability| {
            let partition = self.partitions.get(pending.change.partition);
            partition.is_ok_and(|partition| pending.change.log_end <= partition.offsets().published_end)
        };
        if flushed.is_err() || !unpublished.iter().any(is_published) {
            sleep(ASK_AGAIN).await;
        }
    }
}
