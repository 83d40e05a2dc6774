//! The sync thread: one fdatasync for everything written before it, while the append thread writes on.

use std::time::Duration;

use super::shared::Shared;

/// How long an entry that nobody waits for may stay unsynced before its sync begins; the promise is 100 ms until it has ended.
const LAZY_SYNC: Duration = Duration::from_millis(50);

/// Runs until the log is closed and everything is synced, or until a sync fails.
pub(crate) fn run(shared: &Shared) {
    loop {
        let (end, retired) = {
            let mut sync = shared.sync.lock();
            shared.sync_changed.wait_while(&mut sync, |sync| !sync.dirty && !sync.closing && !sync.stopped);
            if sync.stopped || !sync.dirty {
                return;
            }
            if !sync.urgent && !sync.closing {
                shared.sync_changed.wait_while_for(&mut sync, |sync| !sync.urgent && !sync.closing && !sync.stopped, LAZY_SYNC);
            }
            if sync.stopped {
                return;
            }
            (sync.dirty, sync.urgent) = (false, false);
            (sync.written, std::mem::take(&mut sync.retired))
        };
        let outcome = shared.options.faults.before_sync().and_then(|()| shared.engine.sync().map_err(|err| err.to_string().into()));
        if let Err(reason) = outcome {
            // Never tried again: after a failed fdatasync the kernel may have dropped the pages it could not write.
            shared.stop(&format!("sync: {reason}"));
            return;
        }
        shared.synced(end, retired);
    }
}
