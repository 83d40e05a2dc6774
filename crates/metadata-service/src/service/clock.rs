//! The journal's clock (rule R22). It follows monotonic progress and slews towards the wall clock; it never goes back. A wall clock
//! that jumped by more than a minute is believed only after a second source agrees, and until then nothing may be retired by time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runtime::{Clock, Random};
use store::ObjectStore;
use types::Timestamp;

/// Largest difference that is slewed away instead of questioned.
const JUMP_MS: i64 = 60_000;
/// The clock gains or loses at most one part in this many while it slews.
const SLEW: i64 = 10;

/// A source of time other than this machine's wall clock.
#[async_trait]
pub trait SecondOpinion: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC; `None` if it cannot be asked now.
    async fn now_ms(&self) -> Option<i64>;
}

/// The store's clock: what it says itself, or else the time it gives to a small object. A directory store's clock is mostly the
/// machine's own: it agrees always, and there is nobody else to ask.
pub struct StoreTime {
    store: Arc<dyn ObjectStore>,
    random: Random,
}

impl StoreTime {
    /// Asks `store`.
    pub fn new(store: Arc<dyn ObjectStore>, random: Random) -> Self {
        Self { store, random }
    }
}

#[async_trait]
impl SecondOpinion for StoreTime {
    async fn now_ms(&self) -> Option<i64> {
        match self.store.date().await {
            Ok(Some(date)) => return Some(date.0),
            Ok(None) => {}
            Err(_) => return None,
        }
        let key = format!("meta/time/{:016x}", self.random.u64());
        let put = self.store.put(&key, vec![Bytes::from_static(b"?")]).await;
        let seen = self.store.head(&key).await;
        self.store.delete(&[key]).await;
        put.and(seen).ok().map(|object| object.modified.0)
    }
}

/// See the module's comment.
pub(crate) struct JournalClock {
    clock: Arc<dyn Clock>,
    now_us: i64,
    at: Duration,
    trusted: bool,
    /// The wall clock is right and behind: stand still until it has caught up.
    held: bool,
    /// Time that passed without being counted: before the start, and while the clock stood still.
    uncounted_us: i64,
}

impl JournalClock {
    /// Goes on from the journal's last `now`; a new journal begins at the wall clock.
    pub(crate) fn new(clock: Arc<dyn Clock>, last: Timestamp) -> Self {
        let now_ms = if last.0 == 0 { clock.wall_ms() } else { last.0 };
        let at = clock.monotonic();
        let uncounted_us = clock.wall_ms().saturating_sub(now_ms).max(0).saturating_mul(1000);
        let mut this = Self { clock, now_us: now_ms.saturating_mul(1000), at, trusted: true, held: false, uncounted_us };
        this.now();
        this
    }

    /// The time to stamp the next entry with.
    pub(crate) fn now(&mut self) -> Timestamp {
        let monotonic = self.clock.monotonic();
        let elapsed = i64::try_from(monotonic.saturating_sub(self.at).as_micros()).unwrap_or(i64::MAX);
        self.at = monotonic;
        let before = self.now_us;
        let next = if self.held { self.now_us } else { self.now_us.saturating_add(elapsed) };
        self.uncounted_us = self.uncounted_us.saturating_add(if self.held { elapsed } else { 0 });
        let ahead = self.clock.wall_ms().saturating_mul(1000).saturating_sub(next);
        self.trusted = ahead.saturating_abs() <= JUMP_MS * 1000;
        // Once the wall clock has caught up, or has jumped past, there is nothing to wait for.
        self.held &= ahead < -JUMP_MS * 1000;
        self.now_us = if self.trusted { next + ahead.clamp(-elapsed / SLEW, elapsed / SLEW) } else { next };
        self.now_us = self.now_us.max(before);
        Timestamp(self.now_us / 1000)
    }

    /// Whether the last [`Self::now`] agreed with the wall clock.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Hears a second source. If it agrees with the wall clock, that is adopted: at once if it is ahead, by standing still if it is
    /// behind. Answers how many milliseconds were skipped that did not pass, or `None` if it disagrees.
    pub(crate) fn hear(&mut self, second_ms: i64) -> Option<i64> {
        let wall = self.clock.wall_ms();
        self.now();
        if JUMP_MS < wall.saturating_sub(second_ms).saturating_abs() {
            self.held = false;
            return None;
        }
        let ahead = wall.saturating_mul(1000).saturating_sub(self.now_us);
        if self.trusted || ahead <= 0 {
            self.held = !self.trusted;
            return Some(0);
        }
        self.now_us = wall.saturating_mul(1000);
        self.now();
        let skipped_ms = ahead.saturating_sub(std::mem::take(&mut self.uncounted_us)) / 1000;
        Some(if JUMP_MS < skipped_ms { skipped_ms } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;

    const START: i64 = 1_700_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;

    fn clocks() -> (Arc<ManualClock>, JournalClock) {
        let clock = Arc::new(ManualClock::new(START));
        (clock.clone(), JournalClock::new(clock, Timestamp(0)))
    }

    #[test]
    fn r22_a_jump_of_a_year_is_not_followed_until_a_second_source_agrees() {
        let (clock, mut journal) = clocks();
        clock.advance(Duration::from_secs(10));
        clock.set_wall_ms(START + YEAR);
        assert_eq!(journal.now(), Timestamp(START + 10_000));
        assert!(!journal.is_trusted());
        assert_eq!(journal.hear(START + 10_000), None, "the store has another time");
        assert_eq!(journal.now(), Timestamp(START + 10_000));
        assert!(!journal.is_trusted());
        assert_eq!(journal.hear(START + YEAR + 30_000), Some(YEAR - 10_000));
        assert_eq!(journal.now(), Timestamp(START + YEAR));
        assert!(journal.is_trusted());
    }

    #[test]
    fn r22_small_differences_are_slewed_and_the_clock_never_goes_back() {
        let (clock, mut journal) = clocks();
        clock.set_wall_ms(START - 30_000);
        let mut last = journal.now();
        for _ in 0..1000 {
            clock.advance(Duration::from_millis(1));
            let now = journal.now();
            assert!(last <= now && journal.is_trusted());
            last = now;
        }
        assert_eq!(last, Timestamp(START + 900));
        clock.advance(Duration::from_secs(600));
        assert_eq!(journal.now(), Timestamp(clock.wall_ms()));
    }

    #[test]
    fn r22_a_clock_that_went_back_rightly_is_waited_for() {
        let (clock, mut journal) = clocks();
        clock.set_wall_ms(START - 3_600_000);
        journal.now();
        assert_eq!(journal.hear(START - 3_600_000), Some(0));
        clock.advance(Duration::from_secs(1800));
        assert_eq!((journal.now(), journal.is_trusted()), (Timestamp(START), false));
        clock.advance(Duration::from_secs(1800));
        assert!(Timestamp(START) <= journal.now() && journal.is_trusted());
    }

    #[test]
    fn r22_time_while_the_clock_stood_still_or_nobody_counted_is_not_skipped() {
        let (clock, mut journal) = clocks();
        clock.set_wall_ms(START - YEAR);
        journal.now();
        assert_eq!(journal.hear(START - YEAR), Some(0));
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(journal.now(), Timestamp(START));
        clock.set_wall_ms(START + 86_400_000);
        assert_eq!(journal.hear(START + 86_400_000), Some(0), "the day that the clock stood still");
        assert_eq!(journal.now(), Timestamp(START + 86_400_000));

        let mut restarted = JournalClock::new(clock.clone(), Timestamp(START));
        assert!(!restarted.is_trusted());
        assert_eq!(restarted.hear(clock.wall_ms()), Some(0), "the day that the server was down");
        clock.set_wall_ms(clock.wall_ms() + YEAR);
        assert_eq!(restarted.hear(clock.wall_ms()), Some(YEAR), "but every later jump");
    }
}
