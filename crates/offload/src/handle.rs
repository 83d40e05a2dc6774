//! What the rest of the broker may ask of a running offload.

use std::sync::Arc;
use std::time::Duration;

use metadata_api::PartitionState;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use types::{Lsn, TopicPartition};

use crate::numbers::ObjectNumbers;
use crate::retry::Failing;
use crate::rewrite::Added;
use crate::{OffloadError, Status};

/// Asks and tells the task of [`crate::Offload::run`]. Clones are one and the same.
#[derive(Clone)]
pub struct OffloadHandle {
    shared: Arc<Shared>,
}

impl OffloadHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// For a rewriter of the same registration.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Resolves once every batch below `up_to` (exclusive) is published or refused for good, sealing at once what is not. The
    /// observer has then been told. Fails when the offload ends before that.
    pub async fn flush(&self, up_to: Lsn) -> Result<(), OffloadError> {
        {
            let mut asked = self.shared.asked.lock();
            asked.flush = asked.flush.max(up_to);
        }
        self.shared.changed.notify_one();
        let mut reached = self.shared.reached.subscribe();
        let reached = reached.wait_for(|reached| up_to <= reached.end || reached.ended.is_some()).await;
        let reached = reached.map_err(|_| OffloadError::Ended)?;
        if up_to <= reached.end { Ok(()) } else { Err(reached.error()) }
    }

    /// What waits for the store.
    pub fn status(&self) -> Status {
        let failing = self.shared.uploads.shown().or_else(|| self.shared.publishes.shown());
        Status { failing, ..self.shared.status.lock().clone() }
    }

    /// Publishes everything that is in the log, then ends the task; whoever appends must have stopped, for it ends only when nothing
    /// is left. After `deadline` the task ends all the same, with [`OffloadError::Unfinished`]; what is left stays in the log and is
    /// published after the next start.
    pub async fn stop(&self, deadline: Duration) -> Result<(), OffloadError> {
        self.shared.asked.lock().stop.get_or_insert(Stop { at: Instant::now() + deadline, allowed: deadline });
        self.shared.changed.notify_one();
        let mut reached = self.shared.reached.subscribe();
        let reached = reached.wait_for(|reached| reached.ended.is_some()).await;
        let ended = reached.map_err(|_| OffloadError::Ended)?.ended.clone();
        match ended {
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// This broker begins to lead a partition, in the state that the metadata service handed over. Must be called before the
    /// partition's first append, except for the partitions of the registration and for new ones, which begin empty at offset 0.
    pub fn open(&self, state: &PartitionState) {
        self.shared.asked.lock().changes.push(Change::Open(Box::new(state.clone())));
    }
}

/// A partition that the offload must see differently from the next range on.
pub(crate) enum Change {
    /// Its log continues from this state.
    Open(Box<PartitionState>),
    /// It is not ours any more, or gone.
    Forget(TopicPartition),
}

/// An orderly stop.
#[derive(Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) at: Instant,
    pub(crate) allowed: Duration,
}

/// What was asked and not yet taken up.
#[derive(Default)]
pub(crate) struct Asked {
    /// Highest LSN that a flush waits for.
    pub(crate) flush: Lsn,
    pub(crate) stop: Option<Stop>,
    /// As many as partitions change hands between two ranges.
    pub(crate) changes: Vec<Change>,
}

/// How far the task has come, for those who wait.
#[derive(Clone, Default)]
pub(crate) struct Reached {
    /// No batch below waits for anything.
    pub(crate) end: Lsn,
    pub(crate) ended: Option<Result<(), OffloadError>>,
}

impl Reached {
    fn error(&self) -> OffloadError {
        match &self.ended {
            Some(Err(error)) => error.clone(),
            Some(Ok(())) | None => OffloadError::Ended,
        }
    }
}

/// Between the handles and the task.
pub(crate) struct Shared {
    pub(crate) asked: Mutex<Asked>,
    pub(crate) changed: Notify,
    pub(crate) reached: watch::Sender<Reached>,
    /// Without what fails: during an outage the task has nothing to do, and nothing would bring this up to date.
    pub(crate) status: Mutex<Status>,
    pub(crate) uploads: Failing,
    pub(crate) publishes: Failing,
    /// Of this broker epoch's objects.
    pub(crate) numbers: Arc<ObjectNumbers>,
    /// Segments published, for the rewriter.
    pub(crate) added: Added,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            asked: Mutex::default(),
            changed: Notify::new(),
            reached: watch::Sender::default(),
            status: Mutex::default(),
            uploads: Failing::new("upload"),
            publishes: Failing::new("publish"),
            numbers: Arc::default(),
            added: Added::default(),
        }
    }

    pub(crate) fn end(&self, result: Result<(), OffloadError>) {
        self.reached.send_if_modified(|reached| {
            let first = reached.ended.is_none();
            reached.ended.get_or_insert(result);
            first
        });
    }
}
