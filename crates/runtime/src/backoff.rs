//! How long to wait before trying again, and when to stop trying.

use std::time::Duration;

use tokio::time::Instant;

use crate::Random;

/// A policy of growing waits: `first`, twice that, and so on up to `max`, each shortened by chance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// The part of a wait, 0 to 1, that chance may take off it.
    pub jitter: f64,
    /// No wait ends later than this after [`Backoff::start`], the time of the attempts included. `Duration::MAX` tries for ever.
    pub budget: Duration,
}

impl Backoff {
    /// Begins one series of attempts; its budget runs from here, by tokio's clock.
    pub fn start(self) -> Retries {
        Retries { policy: self, started: Instant::now(), attempt: 0 }
    }
}

/// One series of attempts under a [`Backoff`].
#[derive(Debug)]
pub struct Retries {
    policy: Backoff,
    started: Instant,
    attempt: u32,
}

impl Retries {
    /// Waits before the next attempt. False, at once, when the budget does not allow another: the caller gives up.
    pub async fn wait(&mut self, random: &Random) -> bool {
        match self.next_delay(random) {
            Some(delay) => {
                tokio::time::sleep(delay).await;
                true
            }
            None => false,
        }
    }

    /// The wait before the next attempt, counted as taken; `None` when it would end past the budget.
    pub fn next_delay(&mut self, random: &Random) -> Option<Duration> {
        let doubled = self.policy.first.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        let delay = random.jitter(doubled.min(self.policy.max), self.policy.jitter);
        self.attempt = self.attempt.saturating_add(1);
        (self.started.elapsed().saturating_add(delay) <= self.policy.budget).then_some(delay)
    }

    /// How many waits were asked for.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Backoff =
        Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1), jitter: 0.0, budget: Duration::from_secs(4) };

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_until_the_budget_is_spent() {
        let random = Random::seeded(1);
        let mut retries = POLICY.start();
        let start = Instant::now();
        let mut ends = Vec::new();
        while retries.wait(&random).await {
            ends.push(start.elapsed().as_millis());
        }
        assert_eq!(ends, [100, 300, 700, 1500, 2500, 3500]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_attempts_use_up_the_budget_too() {
        let random = Random::seeded(1);
        let mut retries = POLICY.start();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(!retries.wait(&random).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_policy_goes_on_past_every_power_of_two() {
        let random = Random::seeded(1);
        let mut retries = Backoff { budget: Duration::MAX, jitter: 0.5, ..POLICY }.start();
        for _ in 0..100 {
            assert!(retries.wait(&random).await);
        }
        let delay = retries.next_delay(&random).unwrap();
        assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&delay), "{delay:?}");
    }
}
