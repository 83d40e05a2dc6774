//! The two clocks of a machine, behind one seam: wall time, which may jump either way, and monotonic time, which may not.

use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Where the time comes from. Deadlines and ages are measured by [`Clock::monotonic`]; wall time is only for what is stored or
/// shown, because it jumps.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC, as the machine believes. May go back.
    fn wall_ms(&self) -> i64;

    /// Time since an arbitrary fixed point. Never goes back, and counts the time a machine was suspended: a deadline that a sleeping
    /// machine missed is missed (rule R22).
    fn monotonic(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Counts suspend, unlike CLOCK_MONOTONIC on Linux; elsewhere CLOCK_MONOTONIC is what does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        let now = clock_gettime(ClockId::Realtime);
        now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(MONOTONIC);
        Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("nanoseconds are below one second"))
    }
}

/// A clock that a test sets. It stands still between calls, or follows tokio's clock, which `#[tokio::test(start_paused)]` moves on
/// whenever every task waits.
#[derive(Debug)]
pub struct ManualClock {
    set: Mutex<Set>,
    follows: Option<Instant>,
}

#[derive(Debug)]
struct Set {
    /// Wall time less monotonic time.
    offset_ms: i64,
    monotonic: Duration,
}

impl ManualClock {
    /// Shows `wall_ms` until it is told otherwise; its monotonic time begins at 0.
    pub fn new(wall_ms: i64) -> Self {
        Self { set: Mutex::new(Set { offset_ms: wall_ms, monotonic: Duration::ZERO }), follows: None }
    }

    /// Shows `wall_ms` now and moves on with tokio's clock.
    pub fn following_tokio(wall_ms: i64) -> Self {
        Self { follows: Some(Instant::now()), ..Self::new(wall_ms) }
    }

    /// Lets `time` pass: both clocks move.
    pub fn advance(&self, time: Duration) {
        self.set.lock().monotonic += time;
    }

    /// Sets the wall clock, as an administrator or NTP would: monotonic time knows nothing of it.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        let mut set = self.set.lock();
        set.offset_ms = wall_ms - as_ms(self.elapsed(&set));
    }

    fn elapsed(&self, set: &Set) -> Duration {
        set.monotonic + self.follows.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        let set = self.set.lock();
        set.offset_ms + as_ms(self.elapsed(&set))
    }

    fn monotonic(&self) -> Duration {
        self.elapsed(&self.set.lock())
    }
}

fn as_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("a test's clock stays below 292 million years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_this_century_and_does_not_go_back() {
        let clock = SystemClock;
        assert!((1_600_000_000_000..4_102_444_800_000).contains(&clock.wall_ms()), "{}", clock.wall_ms());
        let before = clock.monotonic();
        assert!(before <= clock.monotonic());
    }

    #[test]
    fn r22_setting_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = ManualClock::new(1_000_000);
        clock.advance(Duration::from_secs(5));
        assert_eq!((clock.wall_ms(), clock.monotonic()), (1_005_000, Duration::from_secs(5)));
        clock.set_wall_ms(7);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (7, Duration::from_secs(5)));
        clock.advance(Duration::from_millis(3));
        assert_eq!((clock.wall_ms(), clock.monotonic()), (10, Duration::from_millis(5003)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_following_clock_moves_with_tokios_paused_time() {
        let clock = ManualClock::following_tokio(50);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((clock.wall_ms(), clock.monotonic()), (60_050, Duration::from_secs(60)));
    }
}
