//! What tells answers that wait that they should not.

use tokio::sync::watch;

/// Resolves when an answer that waits for more data should go out with what there is.
#[derive(Clone)]
pub(crate) struct Hurry(watch::Receiver<bool>);

impl Hurry {
    /// There is a reason to hurry once `hurry` is true.
    pub(crate) fn new(hurry: watch::Receiver<bool>) -> Self {
        Self(hurry)
    }

    /// Waits until there is a reason to hurry: the peer is gone, the broker stops, or so many requests queue up behind this one that
    /// the connection is no longer read, which would hide the peer's end.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the connection; without one there is nobody left to wait for.
        let _ = self.0.wait_for(|hurry| *hurry).await;
    }
}
