//! What is said about a call that is tried without end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use types::PublishSequence;

/// One of the two calls that are tried until they succeed. Failures show in the status; the log hears of the 1st, 2nd, 4th, … attempt,
/// so that an outage of hours is neither silent nor a flood.
#[derive(Clone)]
pub(crate) struct Failing {
    what: &'static str,
    /// By range, as many as are in flight: one that succeeds says nothing of the others.
    shown: Arc<Mutex<BTreeMap<PublishSequence, String>>>,
}

impl Failing {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, shown: Arc::default() }
    }

    /// The attempt for this range after `before` earlier ones failed.
    pub(crate) fn report(&self, sequence: PublishSequence, before: u32, error: &dyn fmt::Display) {
        let message = format!("{}: {error}", self.what);
        if (before + 1).is_power_of_two() {
            tracing::warn!(attempt = before + 1, "{message}; trying again");
        }
        self.shown.lock().insert(sequence, message);
    }

    /// It succeeded.
    pub(crate) fn over(&self, sequence: PublishSequence) {
        self.shown.lock().remove(&sequence);
    }

    /// The last failure of the oldest range that goes on failing.
    pub(crate) fn shown(&self) -> Option<String> {
        self.shown.lock().first_key_value().map(|(_, message)| message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_succeeds_does_not_hide_another_that_fails() {
        let failing = Failing::new("upload");
        failing.report(PublishSequence(2), 0, &"slow down");
        failing.report(PublishSequence(1), 0, &"away");
        failing.over(PublishSequence(1));
        assert_eq!(failing.shown().as_deref(), Some("upload: slow down"));
        failing.over(PublishSequence(2));
        assert_eq!(failing.shown(), None);
    }
}
