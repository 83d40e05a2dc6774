//! The janitor thread: whatever takes file operations and must not hold up an append. It makes generations ahead, drops those that
//! are trimmed, looks at the free space and keeps the mark file.

use std::time::Duration;

use super::mark::MarkFile;
use super::shared::Shared;

/// How often free space is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often the mark file may be written.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

enum Chore {
    Make(u64),
    Drop(u64),
    Tick,
    Stop,
}

/// Runs until the log is closed.
pub(crate) fn run(shared: &Shared, mut mark: MarkFile) {
    let clock = &shared.options.clock;
    let mut looked = clock.monotonic();
    let mut marked = clock.monotonic();
    let mut sees_free_space = true;
    loop {
        match next_chore(shared) {
            Chore::Make(number) => match shared.engine.create_generation(number, &shared.settings) {
                Ok(()) => shared.generation_made(number),
                Err(err) => shared.stop(&format!("make generation {number}: {err}")),
            },
            Chore::Drop(number) => {
                // RocksDB may report a failure after it has dropped it; what is left is dropped at the next opening.
                if let Err(err) = shared.engine.drop_generation(number) {
                    tracing::warn!(generation = number, error = %err, "could not drop a trimmed generation of the write-ahead log");
                }
                shared.generation_dropped();
            }
            Chore::Tick => {}
            Chore::Stop => {
                keep_mark(shared, &mut mark);
                return;
            }
        }
        let now = clock.monotonic();
        if TICK <= now.saturating_sub(looked) {
            looked = now;
            let seen = shared.look_at_free_space();
            // Once, and not five times a second.
            if let (Err(err), true) = (&seen, sees_free_space) {
                tracing::warn!(error = %err, dir = %shared.dir.display(), "could not read the free space of the write-ahead log's disk");
            }
            sees_free_space = seen.is_ok();
        }
        if MARK_INTERVAL <= now.saturating_sub(marked) {
            marked = now;
            keep_mark(shared, &mut mark);
        }
    }
}

/// Making comes first: an append may wait for it.
fn next_chore(shared: &Shared) -> Chore {
    let mut chores = shared.chores.lock();
    loop {
        if let Some(number) = chores.make.take() {
            return Chore::Make(number);
        }
        if chores.closing {
            return Chore::Stop;
        }
        if let Some(number) = chores.drop.pop_front() {
            return Chore::Drop(number);
        }
        if shared.chores_changed.wait_for(&mut chores, TICK).timed_out() {
            return Chore::Tick;
        }
    }
}

fn keep_mark(shared: &Shared, mark: &mut MarkFile) {
    let synced = shared.progress.borrow().synced;
    if let Err(err) = mark.advance(synced) {
        shared.stop(&format!("write the mark file: {err}"));
    }
}
