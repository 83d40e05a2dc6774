//! Faults of the disk, at a call: for tests of this crate and of those above it. Belongs to one log, never to the process.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Given to a log with its options; without a call it does nothing.
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    closing: bool,
    fail_sync: Option<Arc<str>>,
    fail_write: Option<Arc<str>>,
}

impl Faults {
    /// The next sync fails for `reason`, without having synced.
    pub fn fail_next_sync(&self, reason: &str) {
        self.state.lock().fail_sync = Some(reason.into());
    }

    /// The next write fails for `reason`, without having written.
    pub fn fail_next_write(&self, reason: &str) {
        self.state.lock().fail_write = Some(reason.into());
    }

    /// Syncs wait until [`Self::release_syncs`], or until the log is closed.
    pub fn hold_syncs(&self) {
        self.state.lock().held = true;
    }

    /// Ends [`Self::hold_syncs`].
    pub fn release_syncs(&self) {
        self.state.lock().held = false;
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_all();
    }

    pub(crate) fn before_sync(&self) -> Result<(), Arc<str>> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.held && !state.closing);
        state.fail_sync.take().map_or(Ok(()), Err)
    }

    pub(crate) fn before_write(&self) -> Result<(), Arc<str>> {
        self.state.lock().fail_write.take().map_or(Ok(()), Err)
    }
}
