//! What the log's threads and callers share, and every change to it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;
use types::{Lsn, WalId};

use super::Options;
use super::control::Seal;
use super::engine::{Engine, Settings};
use super::writer::Chunk;
use crate::tail::Tail;
use crate::{Entry, Progress, Urgency, WalError};

/// Locks are taken in the order of the fields, and none is held while RocksDB works but `generations` for reading.
pub(crate) struct Shared {
    pub(crate) id: WalId,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) settings: Settings,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_changed: Condvar,
    pub(crate) sync: Mutex<SyncState>,
    pub(crate) sync_changed: Condvar,
    pub(crate) chores: Mutex<Chores>,
    pub(crate) chores_changed: Condvar,
    pub(crate) generations: RwLock<Generations>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) syncs: AtomicU64,
    pub(crate) engine: Engine,
    /// Released last, when RocksDB is closed.
    pub(crate) _lock: File,
}

/// An entry that has its place in the order and is not written yet.
pub(crate) struct Pending {
    pub(crate) lsn: Lsn,
    pub(crate) entry: Arc<Entry>,
    pub(crate) urgency: Urgency,
    /// It begins the first epoch after an accepted loss, which is past with it.
    pub(crate) ends_loss: bool,
}

/// What waits for the append thread. Its bytes are bounded by the callers' permits and by `wal.max.bytes`.
pub(crate) struct Queue {
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) next: Lsn,
    /// The next epoch begins at or above this.
    pub(crate) floor: Lsn,
    pub(crate) accepted: Option<Lsn>,
    pub(crate) trim_below: Lsn,
    pub(crate) reclaim: bool,
    pub(crate) closing: bool,
    pub(crate) stopped: Option<Arc<str>>,
    /// Batch bytes not trimmed, what waits here included.
    pub(crate) used: u64,
    /// Free bytes on the disk when it was last looked at, less what was accepted since.
    pub(crate) free: u64,
}

pub(crate) struct SyncState {
    /// End of what is written.
    pub(crate) written: Lsn,
    pub(crate) dirty: bool,
    pub(crate) urgent: bool,
    pub(crate) closing: bool,
    pub(crate) stopped: bool,
    /// Generations to drop once what is written is synced.
    pub(crate) retired: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Chores {
    pub(crate) make: Option<u64>,
    /// The newest generation that has its column family.
    pub(crate) made: u64,
    pub(crate) drop: VecDeque<u64>,
    pub(crate) closing: bool,
}

/// One generation, as a reader needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) first: Lsn,
    /// `None` for the one being written.
    pub(crate) end: Option<Lsn>,
    pub(crate) bytes: u64,
}

impl Generation {
    pub(crate) fn open(number: u64, first: Lsn) -> Self {
        Self { number, first, end: None, bytes: 0 }
    }

    pub(crate) fn sealed(number: u64, seal: &Seal) -> Self {
        Self { number, first: seal.first, end: Some(seal.end), bytes: seal.bytes }
    }
}

/// Generations not trimmed, oldest first; the last one is being written.
pub(crate) struct Generations {
    pub(crate) list: VecDeque<Generation>,
    pub(crate) start: Lsn,
}

impl Generations {
    /// The first generation that may hold `lsn` or something above it.
    pub(crate) fn at(&self, lsn: Lsn) -> Option<Generation> {
        let index = self.list.partition_point(|generation| generation.end.is_some_and(|end| end <= lsn));
        self.list.get(index).copied()
    }

    /// Batch bytes of all generations but the open one.
    pub(crate) fn closed_bytes(&self) -> u64 {
        self.list.iter().filter(|generation| generation.end.is_some()).map(|generation| generation.bytes).sum()
    }

    pub(crate) fn trims(&self, below: Lsn) -> bool {
        self.list.front().and_then(|oldest| oldest.end).is_some_and(|end| end <= below)
    }

    /// Numbers of the closed generations that lie below, and the log's start without them.
    pub(crate) fn trimmable(&self, below: Lsn) -> (Vec<u64>, Lsn) {
        let ends = self.list.iter().map_while(|generation| Some((generation.number, generation.end.filter(|end| *end <= below)?)));
        ends.fold((Vec::new(), self.start), |(mut numbers, _), (number, end)| {
            numbers.push(number);
            (numbers, end)
        })
    }

    pub(crate) fn open(&mut self, next: Generation, seal: Seal) {
        if let Some(last) = self.list.back_mut() {
            *last = Generation::sealed(last.number, &seal);
        }
        self.list.push_back(next);
    }
}

impl Shared {
    /// Stops the log for good; the first reason stays.
    pub(crate) fn stop(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let first = {
            let mut queue = self.queue.lock();
            let first = queue.stopped.is_none();
            queue.stopped.get_or_insert_with(|| reason.clone());
            first
        };
        if first {
            tracing::error!(%reason, "the write-ahead log has stopped");
            self.progress.send_modify(|progress| progress.stopped = Some(reason));
        }
        self.queue_changed.notify_all();
        self.sync.lock().stopped = true;
        self.sync_changed.notify_all();
        drop(self.chores.lock());
        self.chores_changed.notify_all();
    }

    pub(crate) fn stopped(&self) -> Option<WalError> {
        self.progress.borrow().stopped.clone().map(|reason| WalError::Stopped { reason })
    }

    /// A chunk is written and may be read. `seal` is the open generation with it.
    pub(crate) fn appended(&self, seal: &Seal, chunk: Chunk) {
        if let Some(open) = self.generations.write().list.back_mut() {
            open.bytes = seal.bytes;
        }
        self.progress.send_modify(|progress| {
            progress.appended = chunk.end;
            progress.appended_bytes += chunk.bytes;
            progress.upload_wanted = chunk.upload_wanted.unwrap_or(progress.upload_wanted);
        });
        let mut sync = self.sync.lock();
        sync.written = chunk.end;
        sync.dirty = true;
        sync.urgent |= chunk.sync_wanted;
        drop(sync);
        self.sync_changed.notify_all();
    }

    /// Control rows were written.
    pub(crate) fn written(&self, urgent: bool) {
        let mut sync = self.sync.lock();
        sync.dirty = true;
        sync.urgent |= urgent;
        drop(sync);
        self.sync_changed.notify_all();
    }

    /// Everything below `end` is synced, and with it that `retired` is trimmed.
    pub(crate) fn synced(&self, end: Lsn, retired: Vec<u64>) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.progress.send_if_modified(|progress| {
            let moved = progress.synced < end && progress.stopped.is_none();
            if moved {
                progress.synced = end;
            }
            moved
        });
        // A caller of `begin_epoch` looks at `progress` under this lock.
        drop(self.sync.lock());
        self.sync_changed.notify_all();
        if !retired.is_empty() {
            self.chores.lock().drop.extend(retired);
            self.chores_changed.notify_all();
        }
    }

    /// The rows of `trimmed` are gone, unsynced.
    pub(crate) fn trimmed(&self, trimmed: &[u64], start: Lsn) {
        let mut generations = self.generations.write();
        let mut bytes = 0;
        while let Some(dropped) = generations.list.pop_front_if(|oldest| trimmed.contains(&oldest.number)) {
            bytes += dropped.bytes;
        }
        generations.start = start;
        drop(generations);
        self.tail.lock().trim(start);
        self.queue.lock().used -= bytes;
        let mut sync = self.sync.lock();
        sync.retired.extend(trimmed);
        (sync.dirty, sync.urgent) = (true, true);
        drop(sync);
        self.sync_changed.notify_all();
    }

    pub(crate) fn make_generation(&self, number: u64) {
        self.chores.lock().make = Some(number);
        self.chores_changed.notify_all();
    }

    pub(crate) fn generation_made(&self, number: u64) {
        self.chores.lock().made = number;
        self.chores_changed.notify_all();
    }

    /// Waits until generation `number` has its column family; false when the log stops before.
    pub(crate) fn wait_for_generation(&self, number: u64) -> bool {
        let mut chores = self.chores.lock();
        loop {
            if number <= chores.made {
                return true;
            }
            if self.progress.borrow().stopped.is_some() {
                return false;
            }
            self.chores_changed.wait(&mut chores);
        }
    }

    pub(crate) fn generation_dropped(&self) {
        if self.chores.lock().drop.is_empty() {
            self.queue.lock().reclaim = true;
            self.queue_changed.notify_all();
        }
    }

    pub(crate) fn look_at_free_space(&self) -> io::Result<()> {
        let free = (self.options.free_space)(&self.dir)?;
        self.queue.lock().free = free;
        Ok(())
    }
}
