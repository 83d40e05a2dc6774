//! The append thread: the only caller of RocksDB's `write`. It takes everything that waits, writes it into the open generation
//! without syncing, and tells the sync thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use types::Lsn;

use super::control::{ControlWrites, Seal};
use super::engine::{Batch, Handle};
use super::shared::{Generation, Pending, Shared};
use crate::Urgency;
use crate::codec;

/// A write batch is handed to RocksDB once it has reached this: larger ones fall out of the processor's cache while they are copied.
const CHUNK_BYTES: usize = 1 << 20;
/// Taken from the queue at once.
const GROUP_BYTES: usize = 16 << 20;
/// The buffer for encoding is given back above this.
const SCRATCH_BYTES: usize = 4 << 20;

/// A generation is closed once it holds one part in so many of what the log holds beside it: about 30 of 128 MiB and more hold 10 GiB.
const SHARES: u64 = 8;

/// What the append thread is asked to do.
struct Work {
    group: Vec<Pending>,
    trim_below: Lsn,
    reclaim: bool,
    closing: bool,
}

struct Writer<'a> {
    shared: &'a Shared,
    number: u64,
    handle: Handle<'a>,
    seal: Seal,
    /// By the clock's monotonic time; `None` while the generation is empty.
    opened: Option<Duration>,
    scratch: Vec<u8>,
}

/// Runs until the log is closed or stops. `number` is the open generation, empty and beginning at `first`.
pub(crate) fn run(shared: &Shared, number: u64, first: Lsn) {
    let Some(handle) = shared.engine.handle(number) else {
        shared.stop(&format!("generation {number} has no column family"));
        return;
    };
    let mut writer = Writer { shared, number, handle, seal: Seal::empty(first), opened: None, scratch: Vec::new() };
    if let Err(reason) = writer.work() {
        shared.stop(&reason);
    }
}

impl Writer<'_> {
    fn work(&mut self) -> Result<(), Arc<str>> {
        while let Some(Work { group, trim_below, reclaim, closing }) = self.next_work() {
            let idle = group.is_empty();
            self.write_group(group)?;
            if self.is_due() {
                self.rotate()?;
            }
            self.trim(trim_below)?;
            if reclaim && self.seal.entries == 0 {
                self.reclaim()?;
            }
            if closing && idle {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for something to do; `None` once the log has stopped.
    fn next_work(&self) -> Option<Work> {
        let mut queue = self.shared.queue.lock();
        loop {
            if queue.stopped.is_some() {
                return None;
            }
            let trims = self.shared.generations.read().trims(queue.trim_below);
            if !queue.pending.is_empty() || trims || queue.reclaim || queue.closing {
                break;
            }
            // One that is too small a part of the log waits for bytes, or for others to go.
            match self.opened.filter(|_| self.is_large_enough()).map(|opened| self.age_left(opened)) {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.shared.queue_changed.wait_for(&mut queue, left);
                }
                None => self.shared.queue_changed.wait(&mut queue),
            }
        }
        let group = take_group(&mut queue.pending);
        let reclaim = std::mem::take(&mut queue.reclaim);
        Some(Work { group, trim_below: queue.trim_below, reclaim, closing: queue.closing })
    }

    fn age_left(&self, opened: Duration) -> Duration {
        let age = self.shared.options.clock.monotonic().saturating_sub(opened);
        self.shared.options.generation_age.saturating_sub(age)
    }

    fn is_due(&self) -> bool {
        let full = self.shared.options.generation_bytes <= self.seal.bytes;
        let due = 0 < self.seal.entries && (full || self.opened.is_some_and(|opened| self.age_left(opened).is_zero()));
        due && self.is_large_enough()
    }

    /// While the store is away generations pile up, and each costs a column family. So the more the log holds, the larger they are.
    fn is_large_enough(&self) -> bool {
        let kept = self.shared.generations.read().closed_bytes();
        kept / SHARES <= self.seal.bytes
    }

    fn write_group(&mut self, group: Vec<Pending>) -> Result<(), Arc<str>> {
        let mut group = group.into_iter().peekable();
        while group.peek().is_some() {
            let synced = self.shared.progress.borrow().synced;
            let mut batch = self.shared.engine.batch(CHUNK_BYTES);
            let mut written = Chunk::default();
            while let Some(Pending { lsn, entry, urgency, ends_loss }) = group.next_if(|_| batch.len() < CHUNK_BYTES) {
                self.scratch.clear();
                let checksum = codec::encode(lsn, &entry, synced, &mut self.scratch);
                batch.put(&self.handle, &codec::key(lsn), &self.scratch);
                if ends_loss {
                    batch.delete_accepted();
                }
                self.seal.add(lsn, checksum, entry.batch.len());
                written.add(lsn, entry.batch.len(), urgency);
            }
            self.scratch.shrink_to(SCRATCH_BYTES);
            self.write(batch, "append")?;
            self.opened.get_or_insert_with(|| self.shared.options.clock.monotonic());
            self.shared.appended(&self.seal, written);
        }
        Ok(())
    }

    /// Closes the open generation. The next one was made ahead; where it was not, appends wait for it.
    fn rotate(&mut self) -> Result<(), Arc<str>> {
        let next = self.number + 1;
        if !self.shared.wait_for_generation(next) {
            return Ok(());
        }
        let Some(handle) = self.shared.engine.handle(next) else {
            return Err(format!("generation {next} has no column family").into());
        };
        let mut batch = self.shared.engine.batch(256);
        batch.put_sealed(self.number, &self.seal);
        batch.put_active(next, self.seal.end);
        self.write(batch, "seal a generation")?;
        // Begins a new WAL file, so that files and generations end together and a generation's files go with it.
        self.flush_control()?;
        self.shared.generations.write().open(Generation::open(next, self.seal.end), self.seal);
        (self.number, self.handle, self.seal, self.opened) = (next, handle, Seal::empty(self.seal.end), None);
        self.shared.queue.lock().reclaim = false;
        self.shared.make_generation(next + 1);
        self.shared.written(true);
        Ok(())
    }

    /// Forgets the closed generations that lie below. They are dropped only after that is synced: rows of a generation that is gone
    /// would look like damage.
    fn trim(&mut self, below: Lsn) -> Result<(), Arc<str>> {
        let (trimmed, start) = self.shared.generations.read().trimmable(below);
        if trimmed.is_empty() {
            return Ok(());
        }
        let mut batch = self.shared.engine.batch(1024);
        for generation in &trimmed {
            batch.delete_sealed(*generation);
        }
        batch.put_start(start);
        self.write(batch, "trim")?;
        self.shared.trimmed(&trimmed, start);
        Ok(())
    }

    /// WAL files of dropped generations are given back when the control rows are next flushed.
    fn reclaim(&self) -> Result<(), Arc<str>> {
        let mut batch = self.shared.engine.batch(256);
        batch.put_active(self.number, self.seal.first);
        self.write(batch, "reclaim")?;
        self.flush_control()?;
        self.shared.written(false);
        Ok(())
    }

    fn write(&self, batch: Batch<'_>, what: &str) -> Result<(), Arc<str>> {
        self.shared.options.faults.before_write()?;
        batch.write().map_err(|err| format!("{what}: {err}").into())
    }

    fn flush_control(&self) -> Result<(), Arc<str>> {
        self.shared.engine.flush_control(false).map_err(|err| format!("flush control rows: {err}").into())
    }
}

/// What one write has added.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) end: Lsn,
    pub(crate) bytes: u64,
    pub(crate) sync_wanted: bool,
    /// End of the last entry that waits for its upload.
    pub(crate) upload_wanted: Option<Lsn>,
}

impl Chunk {
    fn add(&mut self, lsn: Lsn, bytes: usize, urgency: Urgency) {
        self.end = lsn.next();
        self.bytes += bytes as u64;
        match urgency {
            Urgency::Lazy => {}
            Urgency::Sync => self.sync_wanted = true,
            Urgency::Upload => self.upload_wanted = Some(self.end),
            Urgency::SyncAndUpload => {
                self.sync_wanted = true;
                self.upload_wanted = Some(self.end);
            }
        }
    }
}

/// The oldest entries, at least one if there is one.
fn take_group(pending: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut bytes = 0;
    let mut taken = 0;
    while let Some(next) = pending.get(taken) {
        bytes += next.entry.batch.len();
        if 0 < taken && GROUP_BYTES < bytes {
            break;
        }
        taken += 1;
    }
    pending.drain(..taken).collect()
}
