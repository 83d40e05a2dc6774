//! What happens without being asked: sessions expire, retention moves log starts, garbage and orphans are deleted, snapshots are taken,
//! the clock is questioned. All of it goes through commands, so that it is journalled like everything else; nothing is deleted from
//! the store before the event that says so is in the journal.

use std::sync::Arc;
use std::time::Duration;

use metadata_api::MetadataError;
use runtime::{Clock, Random, Shutdown};
use store::{GatedStore, ObjectStore, StoreError};
use tokio::sync::oneshot;
use types::{BrokerEpoch, ObjectKey, Revision};

use super::Options;
use super::clock::SecondOpinion;
use super::copies::Copies;
use super::driver::{Message, Status};
use super::handler::Handle;
use crate::journal::Journal;
use crate::proto;
use crate::snapshot::{self, CHUNKS, MANIFESTS, TOPICS, revision_of_key};
use crate::state::{Command, State};

/// Objects deleted at once (S3 takes 1,000 keys in a request).
const DELETE_BATCH: usize = 1000;
/// Objects looked at per page of a listing.
const LIST_PAGE: usize = 1000;
/// Where segment objects lie.
const SEGMENT_PREFIXES: [&str; 2] = ["shared/", "topic/"];
/// Longest wait after the store refused something.
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub(crate) struct Housekeeping {
    pub(crate) handle: Handle,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) store: Arc<GatedStore>,
    /// Where the store is not on this machine.
    pub(crate) copies: Option<Copies>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) second_opinion: Arc<dyn SecondOpinion>,
    pub(crate) options: Options,
    /// The newest snapshot.
    pub(crate) manifest: Option<proto::Manifest>,
    /// The one before, once both were taken or loaded here.
    pub(crate) older: Option<proto::Manifest>,
    pub(crate) schedule: Schedule,
}

/// When what was done last, by the monotonic clock.
pub(crate) struct Schedule {
    pub(crate) retention: Duration,
    pub(crate) orphans: Duration,
    /// The newest broker epoch then.
    pub(crate) orphans_before: BrokerEpoch,
    pub(crate) snapshot: Duration,
    pub(crate) opinion: Duration,
    /// Nothing is asked of the store before, after it refused something.
    pub(crate) pause_until: Duration,
    pub(crate) pause: Duration,
}

impl Schedule {
    pub(crate) fn starting_at(now: Duration) -> Self {
        Self {
            retention: now,
            orphans: now,
            orphans_before: BrokerEpoch::default(),
            snapshot: now,
            opinion: Duration::ZERO,
            pause_until: now,
            pause: Duration::ZERO,
        }
    }
}

/// Ends sessions of brokers elsewhere that were silent for too long. A task of its own: the store cannot delay it.
pub(crate) async fn watch_sessions(handle: Handle, every: Duration, shutdown: Shutdown) {
    while shutdown.or(tokio::time::sleep(every)).await.is_some() {
        let Ok(status) = status(&handle, 0).await else { return };
        for (broker, epoch) in status.silent {
            // A broker that is heard meanwhile is spared by the driver.
            if handle.call(Command::ExpireBroker { broker, epoch }).await.is_err() {
                return;
            }
        }
    }
}

async fn status(handle: &Handle, deletable: usize) -> Result<Status, MetadataError> {
    let (reply, status) = oneshot::channel();
    handle.send(Message::Status { deletable, reply }).await?;
    status.await.map_err(|_| MetadataError::Unavailable { detail: "the metadata service has stopped".to_owned() })
}

impl Housekeeping {
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while shutdown.or(tokio::time::sleep(self.options.tick)).await.is_some() {
            match shutdown.or(self.round()).await {
                Some(Ok(())) => {}
                // The driver is gone, or the round was cut off.
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Fails only when the driver is gone.
    async fn round(&mut self) -> Result<(), MetadataError> {
        let now = self.clock.monotonic();
        let status = status(&self.handle, DELETE_BATCH).await?;
        if !status.clock_trusted && self.options.opinion_interval <= now.saturating_sub(self.schedule.opinion) {
            self.schedule.opinion = now;
            let opinion = tokio::time::timeout(self.options.deadline, self.second_opinion.now_ms()).await;
            if let Ok(Some(now_ms)) = opinion {
                self.handle.send(Message::SecondOpinion { now_ms }).await?;
            }
        }
        if self.options.retention_interval <= now.saturating_sub(self.schedule.retention) {
            self.schedule.retention = now;
            self.handle.call(Command::Retain).await?;
        }
        if self.copies.as_ref().is_some_and(Copies::wanted) {
            self.copy_snapshot().await?;
        }
        if now < self.schedule.pause_until || self.store.why_closed().is_some() {
            return Ok(());
        }
        let done = self.store_work(&status, now).await?;
        self.schedule.pause = match done {
            Ok(()) => Duration::ZERO,
            Err(err) => {
                let pause = (self.schedule.pause * 2).clamp(self.options.tick, MAX_PAUSE);
                tracing::warn!("metadata housekeeping waits {} ms for the store: {err}", pause.as_millis());
                self.schedule.pause_until = self.clock.monotonic() + self.random.jitter(pause, 0.5);
                pause
            }
        };
        Ok(())
    }

    /// The outer failure is the driver's, the inner the store's.
    async fn store_work(&mut self, status: &Status, now: Duration) -> Result<Result<(), StoreError>, MetadataError> {
        if !status.deletable.is_empty()
            && let Err(err) = self.delete(&status.deletable).await?
        {
            return Ok(Err(err));
        }
        if self.wants_snapshot(status, now) {
            if let Err(err) = self.take_snapshot().await? {
                return Ok(Err(err));
            }
            self.schedule.snapshot = now;
        }
        if status.clock_trusted && self.wants_sweep(status, now) {
            if let Err(err) = self.sweep_orphans().await? {
                return Ok(Err(err));
            }
            self.schedule.orphans = now;
            self.schedule.orphans_before = status.newest_epoch;
        }
        Ok(Ok(()))
    }

    /// A broker that was killed leaves uploads that it did not publish. They are dead once it is back: an hour would be long, and a
    /// broker that never runs for one would keep them for ever.
    fn wants_sweep(&self, status: &Status, now: Duration) -> bool {
        let since_last = now.saturating_sub(self.schedule.orphans);
        let is_superseded = self.schedule.orphans_before < status.newest_epoch;
        self.options.orphan_interval <= since_last || is_superseded && self.options.deletion_grace <= since_last
    }

    fn wants_snapshot(&self, status: &Status, now: Duration) -> bool {
        let since_last = now.saturating_sub(self.schedule.snapshot);
        let (newest, age) = match &self.manifest {
            // By the journal's clock: a broker that is started over and over must not put its snapshots off each time.
            Some(manifest) => {
                let age = status.now.0.saturating_sub(manifest.now);
                (manifest.revision, Duration::from_millis(u64::try_from(age).unwrap_or(0)))
            }
            None => (0, since_last),
        };
        // The event that a snapshot was taken is no reason to take the next.
        let is_new = Revision(newest + 1) < status.revision;
        let is_due = self.options.snapshot_bytes <= status.journal_bytes || self.options.snapshot_interval <= age && is_new;
        let is_wanted = status.garbage_waits_for_snapshot || status.snapshot_wanted;
        is_due || is_wanted && self.options.garbage_snapshot_interval <= since_last
    }

    async fn delete(&self, keys: &[ObjectKey]) -> Result<Result<(), StoreError>, MetadataError> {
        let names: Vec<_> = keys.iter().map(ObjectKey::to_string).collect();
        let results = self.store.delete(&names).await;
        let (mut deleted, mut failed) = (Vec::new(), None);
        for (key, result) in keys.iter().zip(results) {
            match result {
                Ok(()) => deleted.push(*key),
                Err(err) => failed = Some(err),
            }
        }
        if !deleted.is_empty() {
            self.handle.call(Command::Deleted(deleted)).await?;
        }
        Ok(failed.map_or(Ok(()), Err))
    }

    /// The committed state, and the journal slot after which it is.
    async fn state(&self) -> Result<(Box<State>, u64), MetadataError> {
        let (reply, snapshot) = oneshot::channel();
        self.handle.send(Message::Snapshot { reply }).await?;
        snapshot.await.map_err(|_| MetadataError::Unavailable { detail: "the metadata service has stopped".to_owned() })
    }

    /// Puts the state into the data directory too. Without it the broker works on, and does not start while the store is away.
    async fn copy_snapshot(&mut self) -> Result<(), MetadataError> {
        let (state, slot) = self.state().await?;
        if let Some(copies) = &mut self.copies
            && let Err(err) = copies.write(&self.random, &state, slot).await
        {
            tracing::warn!("no copy of the metadata snapshot is in the data directory: {err}");
        }
        Ok(())
    }

    /// Writes a snapshot, commits it, copies it, trims the journal below the older of the two kept, and deletes what no kept one names.
    pub(crate) async fn take_snapshot(&mut self) -> Result<Result<(), StoreError>, MetadataError> {
        let (state, slot) = self.state().await?;
        let (taken, manifest) = match snapshot::write(self.store.as_ref(), &self.random, &state, slot, self.manifest.as_ref()).await {
            Ok(written) => written,
            Err(err) => return Ok(Err(err)),
        };
        // Of the two that were kept, the newer is the older now.
        let older = state.snapshots.last().cloned();
        drop(state);
        self.handle.call(Command::SnapshotTaken(taken)).await?;
        self.older = self.manifest.replace(manifest);
        self.copy_snapshot().await?;
        let Some(older) = older else { return Ok(Ok(())) };
        if let Err(err) = self.journal.trim(older.slot + 1).await {
            tracing::warn!("the metadata journal was not trimmed: {err}");
        }
        Ok(self.sweep_snapshots(older.revision, &older.manifest).await)
    }

    /// Deletes manifests, chunks and mirrored steps from before the older kept snapshot, unless a kept one names them.
    async fn sweep_snapshots(&self, older: Revision, older_key: &str) -> Result<(), StoreError> {
        let read;
        let older_manifest = match &self.older {
            Some(manifest) if manifest.revision == older.0 => manifest,
            _ => match snapshot::read_manifest(self.store.as_ref(), older_key).await {
                Ok(manifest) => {
                    read = manifest;
                    &read
                }
                // What it names is not known: nothing is deleted.
                Err(snapshot::SnapshotError::Store(err)) => return Err(err),
                Err(snapshot::SnapshotError::Damaged { .. }) => return Ok(()),
            },
        };
        let mut kept = snapshot::chunk_keys(older_manifest);
        kept.extend(self.manifest.iter().flat_map(snapshot::chunk_keys));
        kept.insert(older_key);
        let is_old = |key: &str| revision_of_key(key).is_some_and(|revision| revision <= older);
        for prefix in [MANIFESTS, CHUNKS, TOPICS] {
            let mut after: Option<String> = None;
            loop {
                let found = self.store.list(prefix, after.as_deref(), LIST_PAGE).await?;
                // Keys begin with the revision.
                let goes_on = found.len() == LIST_PAGE && found.last().is_some_and(|last| is_old(&last.key));
                after = found.last().map(|last| last.key.clone());
                let keys = found.into_iter().map(|object| object.key);
                let old: Vec<_> = keys.filter(|key| is_old(key) && !kept.contains(key.as_str())).collect();
                for result in self.store.delete(&old).await {
                    result?;
                }
                if !goes_on {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks at every segment object in the store. The state machine says which of them are dead; they are deleted later as garbage.
    async fn sweep_orphans(&self) -> Result<Result<(), StoreError>, MetadataError> {
        for prefix in SEGMENT_PREFIXES {
            let mut after: Option<String> = None;
            loop {
                let page = match self.store.list(prefix, after.as_deref(), LIST_PAGE).await {
                    Ok(page) => page,
                    Err(err) => return Ok(Err(err)),
                };
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                let keys = page.iter().filter_map(|object| object.key.parse().ok()).collect();
                self.handle.call(Command::Orphans(keys)).await?;
            }
        }
        Ok(Ok(()))
    }
}
