//! The wish to stop, as everybody who works in the background hears it.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// Tells tasks that they should finish. Clones are one and the same; it cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not yet triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop. Repeating it does nothing.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether somebody asked.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves once somebody asks, at once if that has happened. Safe to drop and ask again.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// One that is triggered with this one and can be triggered alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `future` to its end, or drops it and answers `None` when asked to stop first.
    pub async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_stops_with_its_parent_but_not_the_other_way() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.trigger();
        assert!(first.is_triggered() && !parent.is_triggered() && !second.is_triggered());
        parent.trigger();
        second.wait().await;
        assert_eq!(second.or(std::future::pending::<()>()).await, None);
    }
}
