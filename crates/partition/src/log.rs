//! What a partition's mutex guards: where its log ends at each level of durability, and who waits for that. Synchronous, without
//! I/O; everything that moves an end goes through here, so that marks, waiters and wake-ups cannot come apart.
//!
//! ```text
//! log start        published end          synced end      end
//! ────┼──────────────────┼────────────────────┼────────────┼──▶ offsets
//!     │  segments        │ write-ahead log, survives a crash │
//! ```
//!
//! The high watermark follows the published end on `object` topics, the larger of published and synced end on `wal` topics; when the
//! level is altered it stays where it is until the new one has come as far.

use std::time::Duration;

use metadata_api::PartitionState;
use types::{Durability, LeaderEpoch, Lsn, Offset};

use crate::durability::{DurabilityLevels, DurabilityState};
use crate::epochs::Epochs;
use crate::producers::Producers;
use crate::tail::{Tail, TailEntry};
use crate::ticket::{AppendTicket, Waiters};
use crate::watch::Watchers;
use crate::{AppendError, CloseReason, LogConfig};

/// Whether the partition takes part in anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// Reads and appends.
    Open,
    /// Reads only: metadata refused a publish of a partition that we lead.
    Halted { published: Offset, found: Offset },
    /// Neither, for good.
    Closed(CloseReason),
}

/// What an append or a retry waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Nothing,
    /// The sync, whatever the topic's level.
    LeaderSynced,
    /// The sync, as long as the topic's level does not rise.
    Synced,
    Published,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) service: Service,
    pub(crate) config: LogConfig,
    pub(crate) log_start: Offset,
    pub(crate) end: Offset,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) tail: Tail,
    pub(crate) watchers: Watchers,
    pub(crate) durability: DurabilityState,
    published_end: Offset,
    synced_end: Offset,
    high_watermark: Offset,
    for_leader_sync: Waiters,
    for_sync: Waiters,
    for_publish: Waiters,
}

impl Log {
    /// The log as metadata hands it to its leader; what the write-ahead log holds beyond it follows by [`Self::recovered`].
    pub(crate) fn new(state: PartitionState, config: LogConfig, opened_at: Duration) -> Self {
        let published_end = state.next_offset;
        Self {
            service: Service::Open,
            config,
            log_start: state.log_start,
            end: published_end,
            epochs: Epochs::new(state.epochs),
            producers: Producers::new(state.producers, opened_at),
            tail: Tail::default(),
            watchers: Watchers::default(),
            durability: DurabilityState::new(state.durability),
            published_end,
            synced_end: published_end,
            high_watermark: published_end,
            for_leader_sync: Waiters::default(),
            for_sync: Waiters::default(),
            for_publish: Waiters::default(),
        }
    }

    pub(crate) fn published_end(&self) -> Offset {
        self.published_end
    }

    /// The end of what has reached the topic's level. Never moves back.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// What read-committed consumers may see. Equals the high watermark until there are transactions.
    pub(crate) fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// The end that was reached at `level`.
    fn reached(&self, level: Level) -> Offset {
        match level {
            Level::Nothing => self.end,
            Level::LeaderSynced | Level::Synced => self.synced_end.max(self.published_end),
            Level::Published => self.published_end,
        }
    }

    /// An entry took its place in the write-ahead log.
    pub(crate) fn appended(&mut self, epoch: LeaderEpoch, entry: TailEntry) {
        self.epochs.observe(epoch, entry.base);
        self.tail.push(entry);
        self.end = entry.end();
    }

    /// An entry was read back from the write-ahead log, which was synced before anything was read from it.
    pub(crate) fn recovered(&mut self, epoch: LeaderEpoch, entry: TailEntry) {
        self.appended(epoch, entry);
        self.synced_to(entry.end());
    }

    /// Whether one more append may wait.
    pub(crate) fn has_room_to_wait(&mut self, level: Level, limit: usize) -> bool {
        match level {
            Level::Nothing => true,
            Level::LeaderSynced => self.for_leader_sync.has_room(limit),
            Level::Synced => self.for_sync.has_room(limit),
            Level::Published => self.for_publish.has_room(limit),
        }
    }

    /// A ticket for what ends at `end`.
    pub(crate) fn wait(&mut self, level: Level, end: Offset) -> AppendTicket {
        if end <= self.reached(level) {
            return AppendTicket::durable();
        }
        match level {
            Level::Nothing => AppendTicket::durable(),
            Level::LeaderSynced => self.for_leader_sync.wait(end),
            Level::Synced => self.for_sync.wait(end),
            Level::Published => self.for_publish.wait(end),
        }
    }

    /// Everything below `end` would survive a crash.
    pub(crate) fn synced_to(&mut self, end: Offset) {
        self.synced_end = self.synced_end.max(end);
        self.release_synced();
        self.reveal();
    }

    fn release_synced(&mut self) {
        let synced = self.reached(Level::Synced);
        self.for_leader_sync.release(synced);
        self.for_sync.release(synced);
    }

    /// Everything below `end` is published. That satisfies who waits for the sync too (rule R24).
    pub(crate) fn published_to(&mut self, end: Offset) {
        if end <= self.published_end {
            return;
        }
        self.tail.published(self.published_end, end);
        self.published_end = end;
        self.end = self.end.max(end);
        self.for_publish.release(end);
        self.release_synced();
        self.reveal();
    }

    /// The write-ahead log stopped for good with everything below `synced` on disk. What is on disk may still be published.
    pub(crate) fn log_stopped(&mut self, synced: Lsn, error: &AppendError) {
        if let Some(end) = self.tail.end_below(synced) {
            self.synced_to(end);
        }
        let survives = self.reached(Level::Synced);
        self.for_leader_sync.fail_above(survives, error);
        self.for_sync.fail_above(survives, error);
        self.for_publish.fail_above(survives, error);
    }

    /// Metadata refused to let the log go on where it does.
    pub(crate) fn halt(&mut self, published: Offset, found: Offset, error: &AppendError) {
        if self.service == Service::Open {
            self.service = Service::Halted { published, found };
        }
        self.for_publish.fail_above(self.published_end, error);
    }

    /// Ends the service; the first reason stays. One call answers everybody who waits.
    pub(crate) fn close(&mut self, reason: CloseReason, error: &AppendError) {
        if matches!(self.service, Service::Closed(_)) {
            return;
        }
        self.service = Service::Closed(reason);
        self.for_leader_sync.fail_above(Offset(i64::MIN), error);
        self.for_sync.fail_above(Offset(i64::MIN), error);
        self.for_publish.fail_above(Offset(i64::MIN), error);
        self.watchers.wake();
    }

    /// Moves the log start forward.
    pub(crate) fn advance_log_start(&mut self, log_start: Offset) {
        if self.log_start < log_start {
            self.log_start = log_start;
            self.epochs.prune(log_start);
            self.watchers.wake();
        }
    }

    /// Takes over newer levels (rule R5). Who waits for `acks=all` keeps the stronger of the level before and after. Answers the last
    /// entry if from now on syncs count that nobody counted before.
    pub(crate) fn follow_durability(&mut self, levels: DurabilityLevels) -> Option<TailEntry> {
        let before = self.durability.effective();
        self.durability.follow(levels, self.end);
        match (before, self.durability.effective()) {
            (Durability::Wal, Durability::Object) => {
                self.for_publish.take(&mut self.for_sync);
                None
            }
            (Durability::Object, Durability::Wal) => self.tail.last().copied(),
            (Durability::Wal, Durability::Wal) | (Durability::Object, Durability::Object) => None,
        }
    }

    fn reveal(&mut self) {
        let level = match self.durability.effective() {
            Durability::Wal => Level::Synced,
            Durability::Object => Level::Published,
        };
        let reached = self.reached(level);
        if self.high_watermark < reached {
            self.high_watermark = reached;
            self.watchers.wake();
        }
    }
}
