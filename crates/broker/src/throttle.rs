//! How long clients are asked to pause, in milliseconds as answers say it; and how long producers are while the write-ahead log fills:
//! they slow down before they are refused.

use std::time::Duration;

/// Below this part of `wal.max.bytes` nobody pauses.
const BEGINS_AT: f64 = 0.8;
/// The pause just below the limit.
const LONGEST: Duration = Duration::from_secs(1);

/// The pause for a log that is filled to `fill` of what it may hold; grows evenly from nothing to [`LONGEST`].
pub(crate) fn of_log(fill: f64) -> Duration {
    LONGEST.mul_f64(((fill - BEGINS_AT) / (1.0 - BEGINS_AT)).clamp(0.0, 1.0))
}

/// A pause as answers say it. What is below a millisecond is one: a client that is told 0 does not pause, while its connection does.
pub(crate) fn as_ms(pause: Duration) -> i32 {
    i32::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// The pause that an answer says.
pub(crate) fn from_ms(throttle_time_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(throttle_time_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_pause_longer_the_fuller_the_log_is() {
        assert_eq!((of_log(0.0), of_log(BEGINS_AT)), (Duration::ZERO, Duration::ZERO));
        assert!(of_log(0.85) < of_log(0.95) && Duration::ZERO < of_log(0.85));
        assert_eq!((of_log(1.0), of_log(7.0)), (LONGEST, LONGEST));
    }
}
