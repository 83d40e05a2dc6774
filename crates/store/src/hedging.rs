//! When a GET is so slow that a second one for the same range is worth it. Pure: it is told how long requests took, and asked.
//!
//! A request is slow when it takes longer than 95 of 100 recent ones of about its size. A second one is sent then, once, and whichever
//! answers first wins (the "hedged requests" of Dean and Barroso, The Tail at Scale, 2013). They may be 5 of 100 requests at most, in the
//! long run: when the store slows down as a whole nearly every request looks slow, and twice as many would make it worse.

use std::time::Duration;

/// Requests up to so many bytes are compared with each other; the last size is above all of them.
const SIZES: [u64; 2] = [64 << 10, 1 << 20];

/// How many requests of a size are remembered.
const RECENT: usize = 128;

/// With fewer of a size nothing is known about it.
const ENOUGH: usize = 32;

/// Sooner than this a second request would not be back before the first.
const SHORTEST: Duration = Duration::from_millis(10);

/// Requests that earn one second request: 5 of 100.
const PRICE: u32 = 20;

/// Second requests that may be saved up, to be sent in a row.
const SAVED: u32 = 8;

/// What is known of recent requests, and what they earned.
#[derive(Debug, Default)]
pub(crate) struct Hedging {
    sizes: [Recent; SIZES.len() + 1],
    earned: u32,
}

/// A ring of durations.
#[derive(Debug, Default)]
struct Recent {
    took: Vec<Duration>,
    next: usize,
    slow: Option<Duration>,
}

impl Hedging {
    /// After how long a request for so many bytes is slow; `None` while too few of that size were seen.
    pub(crate) fn slow_after(&self, bytes: u64) -> Option<Duration> {
        self.sizes[size(bytes)].slow
    }

    /// A range of so many bytes came after this time, since its first request.
    pub(crate) fn came(&mut self, bytes: u64, took: Duration) {
        self.earned = (self.earned + 1).min(PRICE * SAVED);
        self.sizes[size(bytes)].add(took);
    }

    /// Whether a second request may be sent, which is then counted as sent.
    pub(crate) fn pay(&mut self) -> bool {
        match self.earned.checked_sub(PRICE) {
            Some(rest) => {
                self.earned = rest;
                true
            }
            None => false,
        }
    }
}

fn size(bytes: u64) -> usize {
    SIZES.partition_point(|size| *size < bytes)
}

impl Recent {
    fn add(&mut self, took: Duration) {
        if self.took.len() < RECENT {
            self.took.push(took);
        } else {
            self.took[self.next] = took;
            self.next = (self.next + 1) % RECENT;
        }
        if ENOUGH <= self.took.len() {
            let mut took = self.took.clone();
            let index = took.len() * 95 / 100;
            self.slow = Some((*took.select_nth_unstable(index).1).max(SHORTEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_request_is_slow_after_the_95th_percentile_of_recent_ones_of_its_size() {
        let mut hedging = Hedging::default();
        for took in 1..=100 {
            hedging.came(4 << 20, ms(took * 10));
        }
        assert_eq!(hedging.slow_after(4 << 20), Some(ms(960)));
        assert_eq!((hedging.slow_after(1 << 20), hedging.slow_after(1)), (None, None), "of other sizes nothing is known");
        // The store became faster: what was is forgotten.
        for _ in 0..RECENT {
            hedging.came(4 << 20, ms(20));
        }
        assert_eq!(hedging.slow_after(4 << 20), Some(ms(20)));
    }

    #[test]
    fn nothing_is_slow_before_enough_was_seen_or_in_less_than_the_shortest_time() {
        let mut hedging = Hedging::default();
        for seen in 0..ENOUGH {
            assert_eq!(hedging.slow_after(1), None, "after {seen}");
            hedging.came(1, ms(1));
        }
        assert_eq!(hedging.slow_after(1), Some(SHORTEST));
    }

    #[test]
    fn five_of_a_hundred_requests_may_be_second_ones_and_only_so_many_in_a_row() {
        let mut hedging = Hedging::default();
        assert!(!hedging.pay(), "nothing is earned yet");
        let mut sent = 0;
        for _ in 0..10_000 {
            hedging.came(1, ms(10));
            sent += u32::from(hedging.pay());
        }
        assert_eq!(sent, 500);
        for _ in 0..10_000 {
            hedging.came(1, ms(10));
        }
        let in_a_row = std::iter::repeat_with(|| hedging.pay()).take_while(|paid| *paid).count();
        assert_eq!(in_a_row, 8);
    }
}
