//! How a waiting fetch hears of many partitions at once: one watch, registered with each of them, woken by any.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// Wakes when one of the partitions it was registered with moved its high watermark or log start, or was closed.
///
/// A registration ends with the first wake-up: register again, look at the partitions, and only then wait, so that nothing is
/// missed in between. Dropping the watch ends all its registrations.
#[derive(Clone, Default, Debug)]
pub struct ProgressWatch(Arc<Notify>);

impl ProgressWatch {
    /// A watch without registrations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a change since the last call; returns at once if there was one meanwhile.
    pub async fn changed(&self) {
        self.0.notified().await;
    }
}

/// A partition's side: who is to be woken.
#[derive(Default, Debug)]
pub(crate) struct Watchers {
    waiting: Vec<Weak<Notify>>,
    /// Dropped watches and repeated registrations are looked for when the list has grown to this, so that it stays within twice the
    /// live watches.
    sweep_at: usize,
}

/// The list is not searched for dropped watches below this length.
const FIRST_SWEEP: usize = 16;

impl Watchers {
    pub(crate) fn register(&mut self, watch: &ProgressWatch) {
        if self.sweep_at.max(FIRST_SWEEP) <= self.waiting.len() {
            self.waiting.retain(|watch| watch.strong_count() != 0);
            self.waiting.sort_unstable_by_key(Weak::as_ptr);
            self.waiting.dedup_by(|one, other| one.ptr_eq(other));
            self.sweep_at = 2 * self.waiting.len();
        }
        self.waiting.push(Arc::downgrade(&watch.0));
    }

    /// Whether somebody waits.
    pub(crate) fn any(&self) -> bool {
        self.waiting.iter().any(|watch| watch.strong_count() != 0)
    }

    pub(crate) fn wake(&mut self) {
        for watch in std::mem::take(&mut self.waiting) {
            if let Some(notify) = watch.upgrade() {
                notify.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_change_between_registering_and_waiting_is_not_missed() {
        let (mut one, mut other) = (Watchers::default(), Watchers::default());
        let watch = ProgressWatch::new();
        one.register(&watch);
        other.register(&watch);
        assert!(watch.changed().now_or_never().is_none());
        other.wake();
        assert!(watch.changed().now_or_never().is_some());
        assert!(watch.changed().now_or_never().is_none());
    }

    #[test]
    fn abandoned_watches_and_repeated_registrations_do_not_pile_up() {
        let mut watchers = Watchers::default();
        let kept = ProgressWatch::new();
        watchers.register(&kept);
        for _ in 0..10_000 {
            watchers.register(&ProgressWatch::new());
            watchers.register(&kept);
        }
        assert!(watchers.any() && watchers.waiting.len() <= FIRST_SWEEP);
        drop(kept);
        assert!(!watchers.any());
    }
}
