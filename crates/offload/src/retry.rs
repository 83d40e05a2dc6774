//! What is said about a call that is tried without end.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// One of the two calls that are tried until they succeed. Failures show in the status; the log hears of the 1st, 2nd, 4th, … attempt,
/// so that an outage of hours is neither silent nor a flood.
#[derive(Clone)]
pub(crate) struct Failing {
    what: &'static str,
    shown: Arc<Mutex<Option<String>>>,
}

impl Failing {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, shown: Arc::default() }
    }

    /// The attempt after `before` earlier ones failed.
    pub(crate) fn report(&self, before: u32, error: &dyn fmt::Display) {
        let message = format!("{}: {error}", self.what);
        if (before + 1).is_power_of_two() {
            tracing::warn!(attempt = before + 1, "{message}; trying again");
        }
        *self.shown.lock() = Some(message);
    }

    /// It succeeded.
    pub(crate) fn over(&self) {
        *self.shown.lock() = None;
    }

    /// The last failure, if it goes on failing.
    pub(crate) fn shown(&self) -> Option<String> {
        self.shown.lock().clone()
    }
}
