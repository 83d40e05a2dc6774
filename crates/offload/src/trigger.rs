//! When the next range is sealed, and how large it may be. Pure: time is passed in.

use std::time::Duration;

use tokio::time::Instant;
use types::{Lsn, Timestamp};

use crate::Options;

/// What is known of entries that no range holds yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unsealed {
    /// Batches among them. Without one there is nothing to seal.
    pub(crate) batches: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// When the oldest was noticed.
    pub(crate) since: Option<Instant>,
    /// When the first that somebody waits for was noticed.
    pub(crate) waiting_since: Option<Instant>,
    /// The broker's clock when the oldest was appended, or earlier.
    pub(crate) oldest: Option<Timestamp>,
}

impl Unsealed {
    /// One more batch was appended.
    pub(crate) fn add(&mut self, bytes: u64, now: Instant, append_time: Timestamp) {
        self.batches += 1;
        self.bytes += bytes;
        self.since.get_or_insert(now);
        self.oldest.get_or_insert(append_time);
    }

    /// Entries below `wanted` are waited for; these here begin at `from`.
    pub(crate) fn wanted(&mut self, wanted: Lsn, from: Lsn, now: Instant) {
        if from < wanted {
            self.waiting_since.get_or_insert(now);
        }
    }

    /// What is left after a range took `batches` of `bytes`, the last of them appended at `newest`. It keeps its age: those that wait
    /// since before may be among it.
    pub(crate) fn without(self, batches: u64, bytes: u64, newest: Option<Timestamp>, wanted_left: bool) -> Self {
        let left = self.batches - batches;
        if left == 0 {
            return Self::default();
        }
        let waiting_since = self.waiting_since.filter(|_| wanted_left);
        Self { batches: left, bytes: self.bytes - bytes, waiting_since, oldest: newest.or(self.oldest), ..self }
    }

    /// Together with `later` ones.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            batches: self.batches + later.batches,
            bytes: self.bytes + later.bytes,
            since: self.since.or(later.since),
            waiting_since: self.waiting_since.or(later.waiting_since),
            oldest: self.oldest.or(later.oldest),
        }
    }
}

/// How long an early upload waits for what the same client sends in the same breath.
const GATHER: Duration = Duration::from_millis(10);

/// Early uploads that may follow each other at once after a quiet time.
const BURST: u32 = 10;

/// How many uploads there may be before one that does not wait for the interval: a token bucket that every upload takes from, as the
/// time at which its next token is due (the generic cell rate algorithm). So uploads that are due anyway use up what early ones would
/// cost, and a broker that makes as many as its budget makes none early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EarlyUploads {
    /// Between two tokens; `None`: there are none.
    period: Option<Duration>,
    /// When the bucket is full.
    full_at: Instant,
}

impl EarlyUploads {
    /// A full bucket of [`BURST`], refilled by so many uploads per minute.
    pub(crate) fn new(per_minute: u32, now: Instant) -> Self {
        Self { period: Duration::from_secs(60).checked_div(per_minute), full_at: now }
    }

    /// An upload begins. One that finds the bucket empty owes nothing.
    pub(crate) fn take(&mut self, now: Instant) {
        if let Some(period) = self.period {
            self.full_at = (self.full_at.max(now) + period).min(now + period * BURST);
        }
    }

    /// When there is a token.
    fn next(&self, now: Instant) -> Option<Instant> {
        let filling = self.period? * (BURST - 1);
        Some(self.full_at.checked_sub(filling).map_or(now, |next| next.max(now)))
    }
}

/// How large a range is that nobody waits for. The log writes to disk a second time what it cannot keep in memory until it is published
/// and trimmed. So ranges are large only while it is known that producers are slow beside the store: what is appended while a range is
/// uploaded is in proportion to its size, and so is what is there when it is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FittedSize {
    bytes: u64,
}

/// A range is made no smaller than one part in so many of the largest.
const LEAST_SHARE: u64 = 4;

/// What is appended during an upload is appended again while the log waits for the next answer, and once more until it has let go.
const APPENDED_SHARE: u64 = 3;

impl FittedSize {
    /// As if as much were appended during an upload as it has.
    pub(crate) fn new(options: &Options) -> Self {
        let fitted = options.memory_bytes / (1 + APPENDED_SHARE);
        Self { bytes: fitted.clamp(options.max_bytes / LEAST_SHARE, options.max_bytes) }
    }

    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }

    /// A range of `range` bytes was published, and `behind` bytes were appended since it was sealed. One that was sealed for its age says
    /// nothing of how fast producers are.
    pub(crate) fn published(&mut self, range: u64, behind: u64, options: &Options) {
        let least = options.max_bytes / LEAST_SHARE;
        if least <= range {
            let peak = u128::from(range) + u128::from(APPENDED_SHARE * behind);
            let fitted = u128::from(options.memory_bytes) * u128::from(range) / peak.max(1);
            self.bytes = u64::try_from(fitted).unwrap_or(u64::MAX).clamp(least, options.max_bytes);
        }
    }
}

/// Whether to seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Now, a range of at most `limit` bytes.
    Now {
        /// Bytes.
        limit: u64,
    },
    /// Not before this, unless something happens meanwhile.
    At(Instant),
    /// When something happens.
    Never,
}

/// Decides by size and age. `at_once`: a flush, a stop or a recovery wants all of it. `early`: nothing is under way, so that who waits
/// may be served before the interval is over. `pressure` stretches the interval in percent, when the metadata service has more segments
/// than it likes.
pub(crate) fn due(unsealed: &Unsealed, at_once: bool, early: Option<&EarlyUploads>, now: Instant, options: &Options, pressure: u32) -> Due {
    if unsealed.batches == 0 {
        return Due::Never;
    }
    if at_once {
        return Due::Now { limit: options.max_bytes };
    }
    let by_age = unsealed.since.map(|since| since + options.max_age);
    let Some(waiting_since) = unsealed.waiting_since else {
        return by_size_or_time(unsealed.bytes, options.max_bytes, by_age, now);
    };
    let by_interval = waiting_since + stretched(options.interval, pressure);
    let early = early.filter(|_| pressure == 0).and_then(|early| early.next(now)).map(|token| token.max(waiting_since + GATHER));
    let first = [by_age, early].into_iter().flatten().fold(by_interval, Instant::min);
    by_size_or_time(unsealed.bytes, options.bytes.min(options.max_bytes), Some(first), now)
}

fn by_size_or_time(bytes: u64, limit: u64, at: Option<Instant>, now: Instant) -> Due {
    match at {
        _ if limit <= bytes => Due::Now { limit },
        Some(at) if at <= now => Due::Now { limit },
        Some(at) => Due::At(at),
        None => Due::Never,
    }
}

fn stretched(interval: Duration, pressure: u32) -> Duration {
    interval.saturating_add(interval.saturating_mul(pressure) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { bytes: 8, max_bytes: 64, memory_bytes: 64, ..Options::default() }
    }

    fn unsealed(bytes: u64, since: Instant, waiting_since: Option<Instant>) -> Unsealed {
        Unsealed { batches: 1, bytes, since: Some(since), waiting_since, ..Unsealed::default() }
    }

    #[test]
    fn while_nobody_waits_a_range_is_sealed_by_the_large_size_or_the_long_age() {
        let (start, options) = (Instant::now(), options());
        let open = unsealed(63, start, None);
        assert_eq!(due(&open, false, None, start, &options, 0), Due::At(start + options.max_age));
        assert_eq!(due(&open, false, None, start + options.max_age, &options, 0), Due::Now { limit: 64 });
        assert_eq!(due(&unsealed(64, start, None), false, None, start, &options, 0), Due::Now { limit: 64 });
    }

    #[test]
    fn r24_the_interval_runs_from_the_first_waiter() {
        let (start, options) = (Instant::now(), options());
        let mut open = unsealed(7, start, None);
        let (first, second) = (start + Duration::from_secs(3), start + Duration::from_secs(4));
        open.wanted(Lsn(5), Lsn(5), start);
        assert_eq!(open.waiting_since, None, "what is waited for is sealed");
        open.wanted(Lsn(6), Lsn(5), first);
        open.wanted(Lsn(7), Lsn(5), second);
        assert_eq!(due(&open, false, None, second, &options, 0), Due::Now { limit: 8 });
        assert_eq!(due(&open, false, None, first, &options, 0), Due::At(first + options.interval));
        open.bytes = 8;
        assert_eq!(due(&open, false, None, first, &options, 0), Due::Now { limit: 8 });
    }

    #[test]
    fn a_waiter_never_makes_a_range_later_than_its_age_would() {
        let (start, options) = (Instant::now(), options());
        let late = start + options.max_age - Duration::from_millis(1);
        assert_eq!(due(&unsealed(1, start, Some(late)), false, None, late, &options, 0), Due::At(start + options.max_age));
    }

    #[test]
    fn t26_pressure_stretches_the_interval() {
        let (start, options) = (Instant::now(), options());
        let open = unsealed(1, start, Some(start));
        assert_eq!(due(&open, false, None, start, &options, 300), Due::At(start + options.interval * 4));
    }

    #[test]
    fn nothing_is_sealed_without_a_batch_and_everything_at_once_when_asked() {
        let (start, options) = (Instant::now(), options());
        assert_eq!(due(&Unsealed::default(), true, None, start, &options, 0), Due::Never);
        assert_eq!(due(&unsealed(1, start, None), true, None, start, &options, 0), Due::Now { limit: 64 });
    }

    #[test]
    fn what_a_range_leaves_behind_keeps_its_age() {
        let start = Instant::now();
        let mut open = Unsealed::default();
        for n in 1..=3 {
            open.add(10, start, Timestamp(n));
        }
        open.wanted(Lsn(4), Lsn(1), start);
        let left = open.without(2, 20, Some(Timestamp(2)), true);
        let expected = Unsealed { batches: 1, bytes: 10, since: Some(start), waiting_since: Some(start), oldest: Some(Timestamp(2)) };
        assert_eq!(left, expected);
        assert_eq!(open.without(2, 20, Some(Timestamp(2)), false), Unsealed { waiting_since: None, ..expected });
        assert_eq!(left.without(1, 10, Some(Timestamp(3)), false), Unsealed::default());
    }

    #[test]
    fn what_was_appended_while_a_range_was_sealed_has_an_age_of_its_own() {
        let (start, later) = (Instant::now(), Instant::now() + Duration::from_millis(300));
        let (mut taken, mut open) = (Unsealed::default(), Unsealed::default());
        taken.add(10, start, Timestamp(1));
        open.add(20, later, Timestamp(2));
        open.wanted(Lsn(3), Lsn(2), later);
        assert_eq!(taken.without(1, 10, Some(Timestamp(1)), true).and(open), open);
        let both = Unsealed { batches: 2, bytes: 30, since: Some(start), waiting_since: Some(later), oldest: Some(Timestamp(1)) };
        assert_eq!(taken.and(open), both);
    }

    #[test]
    fn a_lone_waiter_is_served_early_while_there_are_tokens() {
        let (start, options) = (Instant::now(), options());
        let (open, mut early) = (unsealed(1, start, Some(start)), EarlyUploads::new(60, start));
        assert_eq!(due(&open, false, Some(&early), start, &options, 0), Due::At(start + GATHER));
        assert_eq!(due(&open, false, None, start, &options, 0), Due::At(start + options.interval), "something is under way");
        assert_eq!(due(&open, false, Some(&early), start, &options, 1), Due::At(start + options.interval * 101 / 100), "T26");
        let unwanted = due(&unsealed(1, start, None), false, Some(&early), start, &options, 0);
        assert_eq!(unwanted, Due::At(start + options.max_age), "nobody waits");
        for _ in 0..BURST {
            assert_eq!(due(&open, false, Some(&early), start + GATHER, &options, 0), Due::Now { limit: 8 });
            early.take(start + GATHER);
        }
        assert_eq!(due(&open, false, Some(&early), start + GATHER, &options, 0), Due::At(start + options.interval));
        let later = start + Duration::from_secs(1) + GATHER;
        assert_eq!(due(&unsealed(1, later, Some(later)), false, Some(&early), later, &options, 0), Due::At(later + GATHER));
    }

    #[test]
    fn a_token_that_comes_before_the_interval_ends_is_waited_for() {
        let (start, options) = (Instant::now(), Options { interval: Duration::from_secs(5), ..options() });
        let mut early = EarlyUploads::new(60, start);
        (0..BURST).for_each(|_| early.take(start));
        let open = unsealed(1, start, Some(start));
        assert_eq!(due(&open, false, Some(&early), start, &options, 0), Due::At(start + Duration::from_secs(1)));
    }

    #[test]
    fn no_tokens_is_no_early_upload() {
        let (start, options) = (Instant::now(), options());
        let mut none = EarlyUploads::new(0, start);
        none.take(start);
        assert_eq!(due(&unsealed(1, start, Some(start)), false, Some(&none), start, &options, 0), Due::At(start + options.interval));
    }

    /// Sizes of ranges one after the other, when `per_range` times a range's size is appended while it is uploaded, and `beside` bytes.
    fn fitted(per_range: f64, beside: f64) -> Vec<u64> {
        let (options, mut size) = (options(), FittedSize::new(&options()));
        let next = |_| {
            let range = size.bytes();
            size.published(range, (range as f64 * per_range + beside) as u64, &options);
            range
        };
        (0..6).map(next).collect()
    }

    #[test]
    fn ranges_become_as_large_as_memory_allows_for_what_comes_meanwhile() {
        assert_eq!(fitted(0.0, 0.0), [16, 64, 64, 64, 64, 64], "slow producers");
        assert_eq!(fitted(0.25, 0.0), [16, 36, 36, 36, 36, 36]);
        assert_eq!(fitted(0.0, 8.0), [16, 25, 32, 36, 38, 39]);
        assert_eq!(fitted(1.0, 0.0), [16; 6]);
        assert_eq!(fitted(9.0, 0.0), [16; 6], "no smaller than a quarter");
    }

    #[test]
    fn ranges_shrink_at_once_and_those_of_age_tell_nothing() {
        let (options, mut size) = (options(), FittedSize::new(&options()));
        size.published(16, 0, &options);
        assert_eq!(size.bytes(), 64);
        size.published(1, 640, &options);
        assert_eq!(size.bytes(), 64);
        size.published(64, 640, &options);
        assert_eq!(size.bytes(), 16);
        size.published(15, 0, &options);
        assert_eq!(size.bytes(), 16);
        size.published(100, 0, &options);
        assert_eq!(size.bytes(), 64, "one batch may be larger than a range");
    }

    /// Uploads in an hour, one record at a time: the next comes `pause` after the one before is uploaded.
    fn uploads_in_an_hour(per_minute: u32, pause: Duration, upload: Duration) -> u32 {
        let (start, options) = (Instant::now(), options());
        let (mut now, mut early, mut uploads) = (start, EarlyUploads::new(per_minute, start), 0);
        while now < start + Duration::from_secs(3600) {
            let open = unsealed(1, now, Some(now));
            now = match due(&open, false, Some(&early), now, &options, 0) {
                Due::At(at) => at,
                Due::Now { .. } | Due::Never => now,
            };
            early.take(now);
            uploads += 1;
            now += upload + pause;
        }
        uploads
    }

    #[test]
    fn early_uploads_never_make_the_bill_larger_than_the_interval_or_the_budget() {
        let put = Duration::from_millis(30);
        for pause in [0, 1, 20, 100, 200, 500, 700, 900, 2000, 10_000].map(Duration::from_millis) {
            let (interval, early) = (uploads_in_an_hour(0, pause, put), uploads_in_an_hour(60, pause, put));
            assert!(early <= interval.max(60 * 60) + BURST, "{early} uploads instead of {interval} with {pause:?} between records");
        }
    }
}
