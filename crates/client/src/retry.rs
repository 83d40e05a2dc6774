//! When to try again.

use std::time::Duration;

use runtime::{Backoff, Random, Retries};

use crate::ClientError;

/// Short at first: a leader that moves is back in milliseconds.
pub(crate) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(20), max: Duration::from_secs(1), jitter: 0.2, budget: Duration::MAX };

/// Attempts at one thing, within a budget of time.
pub(crate) struct Attempts<'a> {
    retries: Retries,
    random: &'a Random,
}

impl<'a> Attempts<'a> {
    pub(crate) fn within(budget: Duration, random: &'a Random) -> Self {
        Self { retries: Backoff { budget, ..BACKOFF }.start(), random }
    }

    /// Waits before the next attempt; gives `error` back when it is final or the time is up.
    pub(crate) async fn wait_after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if error.is_retriable() { self.wait_after_any(error).await } else { Err(error) }
    }

    /// The same for an error that its caller has an answer to, although the same request would not succeed.
    pub(crate) async fn wait_after_any(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !self.retries.wait(self.random).await {
            return Err(error);
        }
        tracing::debug!(%error, "trying again");
        Ok(())
    }
}
