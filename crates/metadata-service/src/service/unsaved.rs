//! Since when there are changes that no snapshot in the store holds: what a rebuild may have to do without is as old as that at most.
//!
//! By the wall clock: the journal's own goes on where it was at the last stop, and catches up slowly.

use tokio::sync::watch;
use types::{Revision, Timestamp};

use super::StartError;
use crate::journal::{Assembler, Journal};
use crate::state::{Event, decode_events};

/// The driver's note of the oldest such change.
pub(crate) struct Unsaved {
    since: watch::Sender<Option<Timestamp>>,
    /// The newest state that was given out to be written, and the oldest change after it.
    captured: Revision,
    since_captured: Option<Timestamp>,
}

impl Unsaved {
    pub(crate) fn new(since: Option<Timestamp>) -> Self {
        Self { since: watch::Sender::new(since), captured: Revision(0), since_captured: since }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Timestamp>> {
        self.since.subscribe()
    }

    pub(crate) fn note(&mut self, event: &Event, now: Timestamp) {
        if is_change(event) {
            self.since_captured.get_or_insert(now);
            self.since.send_if_modified(|since| {
                let is_first = since.is_none();
                since.get_or_insert(now);
                is_first
            });
        }
    }

    /// The state at `revision` was given out.
    pub(crate) fn captured(&mut self, revision: Revision) {
        self.captured = revision;
        self.since_captured = None;
    }

    /// The store has a snapshot of the state at `revision`. If others were given out since, it is not known what came after it: the
    /// next snapshot tells.
    pub(crate) fn saved(&mut self, revision: Revision) {
        if revision == self.captured {
            self.since.send_replace(self.since_captured);
        }
    }
}

/// That a snapshot was taken is no reason to take the next, and that a server took over says nothing that the next one's does not.
fn is_change(event: &Event) -> bool {
    !matches!(event, Event::SnapshotTaken { .. } | Event::LeaderStarted)
}

/// When the oldest change was, by the journal's clock, that a snapshot after journal slot `slot` lacks.
pub(crate) async fn oldest_change_after(journal: &dyn Journal, slot: u64) -> Result<Option<Timestamp>, StartError> {
    let (mut next, mut assembler) = (slot + 1, Assembler::default());
    loop {
        // One at a time: the first or second is it.
        let found = journal.read(next, 1).await?;
        if found.is_empty() {
            return Ok(None);
        }
        for (slot, bytes) in found {
            next = slot + 1;
            let unreadable = |detail: String| StartError::Unreadable { slot, detail };
            let Some(step) = assembler.push(slot, &bytes).map_err(|err| unreadable(err.to_string()))? else { continue };
            let events = decode_events(step.body).map_err(|err| unreadable(err.to_string()))?;
            if events.iter().any(is_change) {
                return Ok(Some(step.now));
            }
        }
    }
}
