//! A background task's own share of what the store and the network carry.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// What is not used for so long is not saved up.
const BURST: Duration = Duration::from_secs(1);

/// A token bucket over bytes. A transfer larger than the bucket waits for as long as it is large, and so does whoever comes next.
pub struct IoBudget {
    bytes_per_second: u64,
    /// When all that was taken is paid for.
    paid_at: Mutex<Instant>,
}

impl IoBudget {
    /// `bytes_per_second` is at least 1.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Mutex::new(Instant::now()) }
    }

    /// Returns when `bytes` may be transferred.
    pub async fn take(&self, bytes: u64) {
        let until = {
            let mut paid_at = self.paid_at.lock();
            let now = Instant::now();
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            *paid_at = (*paid_at).max(earliest) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            *paid_at
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transfers_keep_to_the_rate_after_a_burst_of_a_second() {
        let budget = IoBudget::new(1000);
        let started = Instant::now();
        let mut taken = 0;
        for bytes in [10, 500, 3000, 1, 7000, 489] {
            budget.take(bytes).await;
            taken += bytes;
            assert!(Duration::from_millis(taken) <= started.elapsed() + BURST, "{taken} bytes after {:?}", started.elapsed());
        }
        assert!(started.elapsed() <= Duration::from_millis(taken), "it does not wait for longer than that");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let after_idling = Instant::now();
        budget.take(1000).await;
        assert_eq!(after_idling.elapsed(), Duration::ZERO);
        budget.take(2000).await;
        assert_eq!(after_idling.elapsed(), Duration::from_secs(2), "an hour of idling is worth a second");
    }
}
