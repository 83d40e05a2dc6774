//! The log as tests and simulations want it: nothing on disk, and every fault at a call.
//!
//! Fault model: [`MemoryWal::crash`] keeps what was synced and as much of the rest as the caller chooses, always a prefix, because
//! a log on disk is cut at its first hole. [`MemoryWal::hold_syncs`] lets entries wait as on a slow disk. A failed sync stops the
//! log for good.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use types::{BrokerEpoch, Lsn, Revision, Timestamp, WalId};

use crate::tail::Tail;
use crate::{Entry, EntryKind, EpochStart, Progress, ReadFrom, TailLimits, Urgency, Usage, WalError, WriteAheadLog};

/// Sizes of a [`MemoryWal`].
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Batch bytes after which a generation is closed.
    pub generation_bytes: u64,
    /// Batch bytes that may wait to be trimmed; above it appends are refused as [`WalError::Full`].
    pub max_bytes: u64,
    /// What [`ReadFrom::Memory`] answers for; the rest counts as read from disk.
    pub tail: TailLimits,
}

impl Default for MemoryOptions {
    /// One mebibyte per generation, and no limit that a test would meet.
    fn default() -> Self {
        Self { generation_bytes: 1 << 20, max_bytes: u64::MAX, tail: TailLimits { keep_bytes: u64::MAX, max_bytes: u64::MAX } }
    }
}

/// See the module's comment.
pub struct MemoryWal {
    id: WalId,
    options: MemoryOptions,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

struct Generation {
    /// Entries of this generation lie below; those of the one before lie below its end.
    end: Lsn,
    bytes: u64,
}

struct State {
    entries: VecDeque<(Lsn, Arc<Entry>)>,
    tail: Tail,
    /// Oldest first; the last is being written.
    generations: VecDeque<Generation>,
    start: Lsn,
    next: Lsn,
    held: bool,
    fail_next_sync: Option<Arc<str>>,
    /// Free bytes and the reserve below which appends are refused.
    disk: Option<(u64, u64)>,
    syncs: u64,
}

impl MemoryWal {
    /// An empty log.
    pub fn new(id: WalId, options: MemoryOptions) -> Self {
        Self::with_entries(id, options, VecDeque::new(), VecDeque::from([Generation { end: Lsn(1), bytes: 0 }]), Lsn(1))
    }

    fn with_entries(
        id: WalId,
        options: MemoryOptions,
        entries: VecDeque<(Lsn, Arc<Entry>)>,
        generations: VecDeque<Generation>,
        start: Lsn,
    ) -> Self {
        let next = generations.back().map_or(start, |generation| generation.end);
        let mut tail = Tail::new(options.tail);
        for (lsn, entry) in &entries {
            tail.push(*lsn, entry.clone());
        }
        let progress = Progress { appended: next, synced: next, appended_bytes: 0, upload_wanted: Lsn::ZERO, stopped: None };
        Self {
            id,
            options,
            state: Mutex::new(State { entries, tail, generations, start, next, held: false, fail_next_sync: None, disk: None, syncs: 0 }),
            progress: watch::Sender::new(progress),
        }
    }

    /// Crash and restart: this log stops, and the one returned holds what was synced and the first `kept_unsynced` entries after it.
    /// Recovery has synced all of that.
    #[must_use]
    pub fn crash(&self, kept_unsynced: usize) -> Self {
        let state = self.state.lock();
        self.stop("crashed");
        let synced = self.progress.borrow().synced;
        let kept = state.entries.partition_point(|(lsn, _)| *lsn < synced).saturating_add(kept_unsynced).min(state.entries.len());
        let entries: VecDeque<_> = state.entries.range(..kept).cloned().collect();
        let end = entries.back().map_or(synced, |(lsn, _)| lsn.next().max(synced));
        let mut generations = VecDeque::new();
        let mut from = 0;
        for generation in &state.generations {
            let to = entries.partition_point(|(lsn, _)| *lsn < generation.end);
            let bytes = entries.range(from..to).map(|(_, entry)| entry.batch.len() as u64).sum();
            generations.push_back(Generation { end: generation.end.min(end), bytes });
            from = to;
            if end <= generation.end {
                break;
            }
        }
        // As on disk, what was recovered is closed and a new generation begins.
        generations.push_back(Generation { end, bytes: 0 });
        Self::with_entries(self.id, self.options, entries, generations, state.start)
    }

    /// From now on nothing is synced until [`Self::release_syncs`] or [`Self::sync_below`].
    pub fn hold_syncs(&self) {
        self.state.lock().held = true;
    }

    /// Syncs everything, and again at every append.
    pub fn release_syncs(&self) {
        let mut state = self.state.lock();
        state.held = false;
        let end = state.next;
        self.sync(&mut state, end);
    }

    /// Syncs the entries below `below`, also while syncs are held.
    pub fn sync_below(&self, below: Lsn) {
        let mut state = self.state.lock();
        let end = below.min(state.next);
        self.sync(&mut state, end);
    }

    /// The next sync fails for `reason`, and with it the log.
    pub fn fail_next_sync(&self, reason: &str) {
        self.state.lock().fail_next_sync = Some(reason.into());
    }

    /// What the disk's free space is found to be, in bytes, and the reserve below which appends are refused.
    pub fn set_free_space(&self, free: u64, reserve: u64) {
        self.state.lock().disk = Some((free, reserve));
    }

    /// Closes the generation being written, so that it can be trimmed.
    pub fn rotate(&self) {
        self.state.lock().rotate();
    }

    fn sync(&self, state: &mut State, end: Lsn) {
        if self.progress.borrow().stopped.is_some() || end <= self.progress.borrow().synced {
            return;
        }
        if let Some(reason) = state.fail_next_sync.take() {
            self.stop(&reason);
            return;
        }
        state.syncs += 1;
        self.progress.send_modify(|progress| progress.synced = end);
    }

    fn stop(&self, reason: &str) {
        self.progress.send_if_modified(|progress| {
            let first = progress.stopped.is_none();
            progress.stopped.get_or_insert_with(|| reason.into());
            first
        });
    }

    fn stopped(&self) -> Result<(), WalError> {
        match &self.progress.borrow().stopped {
            Some(reason) => Err(WalError::Stopped { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn push(&self, state: &mut State, lsn: Lsn, entry: Entry, urgency: Urgency) {
        let bytes = entry.batch.len() as u64;
        let entry = Arc::new(entry);
        state.tail.push(lsn, entry.clone());
        state.entries.push_back((lsn, entry));
        state.next = lsn.next();
        let open = state.generations.back_mut().expect("one generation is always open");
        open.end = state.next;
        open.bytes += bytes;
        if self.options.generation_bytes <= open.bytes {
            state.rotate();
        }
        self.progress.send_modify(|progress| {
            progress.appended = state.next;
            progress.appended_bytes += bytes;
            if Urgency::Upload <= urgency {
                progress.upload_wanted = state.next;
            }
        });
        if !state.held {
            let end = state.next;
            self.sync(state, end);
        }
    }
}

impl State {
    fn rotate(&mut self) {
        let open = self.generations.back().expect("one generation is always open");
        if 0 < open.bytes || self.generations.iter().rev().nth(1).is_some_and(|before| before.end < open.end) {
            let end = open.end;
            self.generations.push_back(Generation { end, bytes: 0 });
        }
    }

    fn used(&self) -> u64 {
        self.generations.iter().map(|generation| generation.bytes).sum()
    }
}

impl WriteAheadLog for MemoryWal {
    fn id(&self) -> WalId {
        self.id
    }

    fn begin_epoch(&self, epoch: BrokerEpoch, last_published: Lsn, metadata_revision: Revision) -> Result<Lsn, WalError> {
        let lsn = {
            let mut state = self.state.lock();
            self.stopped()?;
            let start = EpochStart { epoch, previous_end: state.next, metadata_revision };
            let lsn = state.next.max(last_published.next());
            let entry = Entry { kind: EntryKind::EpochStart(start), append_time: Timestamp::NONE, batch: bytes::Bytes::new() };
            self.push(&mut state, lsn, entry, Urgency::Sync);
            // Whoever holds syncs would wait for itself here.
            let end = state.next;
            self.sync(&mut state, end);
            lsn
        };
        self.stopped()?;
        Ok(lsn)
    }

    fn append(&self, entry: Entry, urgency: Urgency) -> Result<Lsn, WalError> {
        let mut state = self.state.lock();
        self.stopped()?;
        let used = state.used();
        if self.options.max_bytes < used.saturating_add(entry.batch.len() as u64) {
            return Err(WalError::Full { used, limit: self.options.max_bytes });
        }
        if let Some((free, reserve)) = state.disk
            && free < reserve
        {
            return Err(WalError::DiskFull { free, reserve });
        }
        let lsn = state.next;
        self.push(&mut state, lsn, entry, urgency);
        Ok(lsn)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn start(&self) -> Lsn {
        self.state.lock().start
    }

    fn read(&self, lsn: Lsn) -> Result<Option<(Arc<Entry>, ReadFrom)>, WalError> {
        let state = self.state.lock();
        if let Some(entry) = state.tail.get(lsn) {
            return Ok(Some((entry.clone(), ReadFrom::Memory)));
        }
        let found = state.entries.binary_search_by_key(&lsn, |(at, _)| *at).ok();
        Ok(found.map(|index| (state.entries[index].1.clone(), ReadFrom::Disk)))
    }

    fn scan(&self, from: Lsn, below: Lsn, max_bytes: usize) -> Result<Vec<(Lsn, Arc<Entry>)>, WalError> {
        let state = self.state.lock();
        let first = state.entries.partition_point(|(lsn, _)| *lsn < from);
        let mut left = max_bytes;
        let mut found = Vec::new();
        for (lsn, entry) in state.entries.range(first..).take_while(|(lsn, _)| *lsn < below) {
            if !found.is_empty() && left < entry.batch.len() {
                break;
            }
            left = left.saturating_sub(entry.batch.len());
            found.push((*lsn, entry.clone()));
        }
        Ok(found)
    }

    fn trim(&self, below: Lsn) {
        let mut state = self.state.lock();
        while 1 < state.generations.len() && state.generations[0].end <= below {
            let dropped = state.generations.pop_front().expect("there are two");
            state.start = state.start.max(dropped.end);
        }
        let start = state.start;
        let kept = state.entries.partition_point(|(lsn, _)| *lsn < start);
        state.entries.drain(..kept);
        state.tail.trim(start);
    }

    fn release_memory(&self, below: Lsn) {
        self.state.lock().tail.release(below);
    }

    fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage {
            bytes: state.used(),
            generations: u32::try_from(state.generations.len()).unwrap_or(u32::MAX),
            memory_bytes: state.tail.bytes(),
            syncs: state.syncs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Factory, Sizes, Subject, batch_entry};

    struct InMemory;
    struct OneMemory(Arc<MemoryWal>);

    impl Factory for InMemory {
        fn create(&self, sizes: Sizes) -> Box<dyn Subject> {
            let Sizes { generation_bytes, max_bytes, tail } = sizes;
            let options = MemoryOptions { generation_bytes, max_bytes, tail };
            Box::new(OneMemory(Arc::new(MemoryWal::new(WalId::from_bytes([1; 16]), options))))
        }
    }

    impl Subject for OneMemory {
        fn wal(&self) -> Arc<dyn WriteAheadLog> {
            self.0.clone()
        }
        fn hold_syncs(&self) {
            self.0.hold_syncs();
        }
        fn release_syncs(&self) {
            self.0.release_syncs();
        }
        fn fail_next_sync(&self, reason: &str) {
            self.0.fail_next_sync(reason);
        }
        fn crash(&mut self) {
            self.0 = Arc::new(self.0.crash(1));
        }
    }

    #[test]
    fn conformance() {
        conformance::check_all(&InMemory);
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_as_much_more_as_asked_for() {
        for kept in 0..=4 {
            let wal = MemoryWal::new(WalId::from_bytes([1; 16]), MemoryOptions { generation_bytes: 25, ..Default::default() });
            for n in 0..4 {
                if n == 2 {
                    wal.hold_syncs();
                }
                wal.append(batch_entry(n, 10), Urgency::Sync).unwrap();
            }
            let after = wal.crash(kept);
            let end = Lsn(3 + kept.min(2) as u64);
            assert_eq!((after.progress().borrow().synced, after.progress().borrow().appended), (end, end));
            assert_eq!(after.scan(Lsn(1), Lsn(9), 1000).unwrap().len() as u64, end.0 - 1);
            assert_eq!(after.usage().bytes, 10 * (end.0 - 1));
            assert!(matches!(wal.append(batch_entry(9, 10), Urgency::Lazy), Err(WalError::Stopped { .. })));
        }
    }

    #[test]
    fn r25_producers_are_refused_below_the_reserve_and_go_on_above_it() {
        let wal = MemoryWal::new(WalId::from_bytes([1; 16]), MemoryOptions::default());
        wal.set_free_space(99, 100);
        assert!(matches!(wal.append(batch_entry(0, 10), Urgency::Sync), Err(WalError::DiskFull { free: 99, reserve: 100 })));
        wal.set_free_space(100, 100);
        assert_eq!(wal.append(batch_entry(0, 10), Urgency::Sync).unwrap(), Lsn(1));
    }
}
