//! Idempotent producers of one partition (KIP-98): whether a batch is new, a repeat or out of order, and which producers are still
//! remembered. Pure but for the monotonic time it is handed.

use std::collections::HashMap;
use std::time::Duration;

use types::{ProducerBatch, ProducerEpoch, ProducerId, ProducerWindow, ProducerWindows, Timestamp, WINDOW_BATCHES};

use crate::AppendError;

/// What a batch header says of its producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sequenced {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) first: i32,
    pub(crate) last: i32,
}

/// The producers a partition remembers.
///
/// A producer's age is what had passed between its last append and the newest one when the partition was opened, and what has
/// passed since by the monotonic clock: a wall clock that jumps makes nobody forgotten (rule R19).
#[derive(Debug)]
pub(crate) struct Producers {
    windows: ProducerWindows,
    /// Monotonic time of the last append; absent for those who have not appended since the partition was opened.
    seen: HashMap<ProducerId, Duration>,
    opened_at: Duration,
    /// The newest append time known when the partition was opened.
    newest_stored: Timestamp,
}

impl Producers {
    pub(crate) fn new(windows: ProducerWindows, opened_at: Duration) -> Self {
        let newest_stored = windows.iter().map(|(_, window)| window.last_append_time).max().unwrap_or(Timestamp::NONE);
        Self { windows, seen: HashMap::new(), opened_at, newest_stored }
    }

    /// Whether `batch` may be appended: `Ok(None)` yes; `Ok(Some)` it is there already, as this. The order of checks is Kafka's.
    pub(crate) fn check(&self, batch: Sequenced) -> Result<Option<ProducerBatch>, AppendError> {
        let Some(window) = self.windows.get(batch.producer) else { return Ok(None) };
        if window.epoch == batch.epoch
            && let Some(original) = find_exact(window, batch)
        {
            return Ok(Some(original));
        }
        if batch.epoch < window.epoch {
            return Err(AppendError::InvalidProducerEpoch { producer: batch.producer, current: window.epoch, found: batch.epoch });
        }
        let expected = match window.last_sequence() {
            _ if window.epoch < batch.epoch => 0,
            Some(last) => sequence_after(last, 1),
            // Its batches are forgotten and its epoch is not: as good as unknown.
            None => batch.first,
        };
        if batch.first != expected {
            return Err(refuse_sequence(window, batch, expected));
        }
        if window.open_transaction.is_some() {
            return Err(AppendError::InvalidTransactionState { producer: batch.producer });
        }
        Ok(None)
    }

    /// Whether the producer's batch may be remembered. Live producers are never forgotten to make room for a new one: a retry of
    /// theirs would become a second record.
    pub(crate) fn make_room_for(&mut self, producer: ProducerId, limit: usize, expiration: Duration, now: Duration) -> bool {
        if self.windows.len() < limit || self.windows.get(producer).is_some() {
            return true;
        }
        self.expire(expiration, now);
        self.windows.len() < limit
    }

    /// A batch was appended at the monotonic time `now`.
    pub(crate) fn appended(&mut self, batch: Sequenced, appended: ProducerBatch, now: Duration) {
        self.windows.observe(batch.producer, batch.epoch, appended);
        self.seen.insert(batch.producer, now);
    }

    /// A batch was read back from the write-ahead log.
    pub(crate) fn recovered(&mut self, batch: Sequenced, appended: ProducerBatch) {
        self.windows.observe(batch.producer, batch.epoch, appended);
        self.newest_stored = self.newest_stored.max(appended.append_time);
    }

    /// Forgets who has not appended for `expiration` and has no open transaction.
    pub(crate) fn expire(&mut self, expiration: Duration, now: Duration) {
        let expired = |producer: ProducerId, window: &ProducerWindow| {
            window.open_transaction.is_none() && expiration <= self.idle(producer, window, now)
        };
        if !self.windows.iter().any(|(producer, window)| expired(producer, window)) {
            return;
        }
        let mut kept = ProducerWindows::default();
        for (producer, window) in self.windows.iter().filter(|(producer, window)| !expired(*producer, window)) {
            kept.insert(producer, window.clone());
        }
        self.windows = kept;
        self.seen.retain(|producer, _| self.windows.get(*producer).is_some());
    }

    fn idle(&self, producer: ProducerId, window: &ProducerWindow, now: Duration) -> Duration {
        match self.seen.get(&producer) {
            Some(seen) => now.saturating_sub(*seen),
            None => {
                let stored = Duration::from_millis(self.newest_stored.millis_since(window.last_append_time));
                stored + now.saturating_sub(self.opened_at)
            }
        }
    }

    pub(crate) fn windows(&self) -> &ProducerWindows {
        &self.windows
    }

    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }
}

fn find_exact(window: &ProducerWindow, batch: Sequenced) -> Option<ProducerBatch> {
    window.batches.iter().find(|known| known.first_sequence == batch.first && known.last_sequence == batch.last).copied()
}

/// A batch of the window's epoch or a newer one that does not begin at `expected`.
///
/// "Duplicate" makes a producer count the batch as delivered, so it is said only where that is certain: the window is full, so it
/// has forgotten batches, and this one ends before those it remembers. Everything else is a hole in the producer's sequence.
fn refuse_sequence(window: &ProducerWindow, batch: Sequenced, expected: i32) -> AppendError {
    let forgotten = window.epoch == batch.epoch
        && window.batches.len() == WINDOW_BATCHES
        && window
            .batches
            .front()
            .is_some_and(|oldest| precedes(batch.first, oldest.first_sequence) && precedes(batch.last, oldest.first_sequence));
    if forgotten {
        AppendError::DuplicateSequence { producer: batch.producer, first: batch.first, last: batch.last, kept: WINDOW_BATCHES }
    } else {
        AppendError::OutOfOrderSequence { producer: batch.producer, expected, found: batch.first }
    }
}

/// The sequence `records` after `sequence`.
fn sequence_after(sequence: i32, records: i32) -> i32 {
    ((i64::from(sequence) + i64::from(records)) & i64::from(i32::MAX)) as i32
}

/// Whether `sequence` lies in the half circle before `other`.
fn precedes(sequence: i32, other: i32) -> bool {
    let ahead = (i64::from(other) - i64::from(sequence)) & i64::from(i32::MAX);
    0 < ahead && ahead < 1 << 30
}

#[cfg(test)]
mod tests {
    use types::Offset;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn batch(epoch: i16, first: i32, last: i32) -> Sequenced {
        Sequenced { producer: 7, epoch, first, last }
    }

    fn append(producers: &mut Producers, batch: Sequenced, base: i64) {
        let appended = ProducerBatch {
            first_sequence: batch.first,
            last_sequence: batch.last,
            base_offset: Offset(base),
            last_offset: Offset(base) + i64::from(batch.last.wrapping_sub(batch.first) & i32::MAX),
            append_time: Timestamp(1000 + base),
        };
        producers.appended(batch, appended, Duration::ZERO);
    }

    /// Seven batches of ten records, so that the window holds sequences 20 to 69.
    fn producers() -> Producers {
        let mut producers = Producers::new(ProducerWindows::default(), Duration::ZERO);
        for number in 0..7 {
            append(&mut producers, batch(3, number * 10, number * 10 + 9), i64::from(number) * 10);
        }
        producers
    }

    /// One word per outcome: the original's base offset, "new", or what was wrong.
    fn outcome(producers: &Producers, batch: Sequenced) -> String {
        match producers.check(batch) {
            Ok(Some(original)) => original.base_offset.to_string(),
            Ok(None) => "new".to_owned(),
            Err(AppendError::InvalidProducerEpoch { .. }) => "old epoch".to_owned(),
            Err(AppendError::DuplicateSequence { .. }) => "duplicate".to_owned(),
            Err(AppendError::OutOfOrderSequence { expected, .. }) => format!("expected {expected}"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn t3_each_of_the_five_kept_batches_is_answered_with_its_original_offset() {
        let producers = producers();
        for number in 2..7 {
            assert_eq!(outcome(&producers, batch(3, number * 10, number * 10 + 9)), (number * 10).to_string());
        }
    }

    #[test]
    fn t3_what_is_older_than_the_kept_batches_is_a_duplicate_and_not_out_of_order() {
        let producers = producers();
        assert_eq!(outcome(&producers, batch(3, 10, 19)), "duplicate");
        assert_eq!(outcome(&producers, batch(3, 0, 9)), "duplicate");
        assert_eq!(outcome(&producers, batch(3, 15, 24)), "expected 70");
        assert_eq!(outcome(&producers, batch(3, 25, 34)), "expected 70");
    }

    #[test]
    fn a_batch_before_a_window_that_has_forgotten_nothing_is_never_called_a_duplicate() {
        // The first batch was refused for want of space, the second one arrived: a retry of the first was never appended.
        let mut producers = Producers::new(ProducerWindows::default(), Duration::ZERO);
        append(&mut producers, batch(3, 10, 19), 0);
        assert_eq!(outcome(&producers, batch(3, 0, 9)), "expected 20");
    }

    #[test]
    fn epochs_and_gaps_are_checked_as_kafka_does() {
        let producers = producers();
        assert_eq!(outcome(&producers, batch(3, 70, 79)), "new");
        assert_eq!(outcome(&producers, batch(3, 71, 79)), "expected 70");
        assert_eq!(outcome(&producers, batch(2, 70, 79)), "old epoch");
        assert_eq!(outcome(&producers, batch(4, 0, 9)), "new");
        assert_eq!(outcome(&producers, batch(4, 70, 79)), "expected 0");
        assert_eq!(outcome(&producers, Sequenced { producer: 8, ..batch(0, 12345, 12350) }), "new");
    }

    fn wrapping(first: i32, last_offset_delta: i32) -> Sequenced {
        batch(0, first, sequence_after(first, last_offset_delta))
    }

    #[test]
    fn sequences_wrap_at_their_largest_value() {
        let mut producers = Producers::new(ProducerWindows::default(), Duration::ZERO);
        for (number, first) in (0..6).map(|number| (number, i32::MAX - 14 + number * 5)).take(3) {
            append(&mut producers, wrapping(first, 4), i64::from(number) * 5);
        }
        assert_eq!(producers.windows.get(7).unwrap().last_sequence(), Some(i32::MAX));
        assert_eq!(outcome(&producers, wrapping(0, 4)), "new");
        let across = wrapping(i32::MAX - 1, 3);
        assert_eq!((across.first, across.last), (i32::MAX - 1, 1));
        assert!(precedes(i32::MAX, 0) && precedes(i32::MAX - 3, 5) && !precedes(5, 5) && !precedes(0, i32::MAX));
    }

    #[test]
    fn r19_live_producers_are_never_evicted_for_new_ones() {
        let mut producers = producers();
        let day = 24 * HOUR;
        assert!(!producers.make_room_for(8, 1, day, day - HOUR));
        assert!(producers.make_room_for(7, 1, day, day - HOUR));
        assert_eq!(producers.len(), 1);
        assert!(producers.make_room_for(8, 1, day, day));
        assert_eq!(producers.len(), 0);
    }

    #[test]
    fn r19_expiry_counts_monotonic_time_on_top_of_what_was_stored() {
        let mut windows = ProducerWindows::default();
        let hour_ms = 3_600_000;
        for (producer, hours) in [(1, 0), (2, 10)] {
            let at = Timestamp(hours * hour_ms);
            let appended = ProducerBatch {
                first_sequence: 0,
                last_sequence: 0,
                base_offset: Offset(hours),
                last_offset: Offset(hours),
                append_time: at,
            };
            windows.observe(producer, 0, appended);
        }
        let mut producers = Producers::new(windows, 5 * HOUR);
        producers.expire(24 * HOUR, 5 * HOUR + 13 * HOUR);
        assert_eq!(producers.len(), 2);
        producers.expire(24 * HOUR, 5 * HOUR + 14 * HOUR);
        assert!(producers.windows.get(1).is_none() && producers.windows.get(2).is_some());
    }

    #[test]
    fn r19_a_jump_of_the_wall_clock_makes_nobody_forgotten() {
        let mut producers = producers();
        let far = Timestamp(400 * 24 * 3_600_000);
        let other = Sequenced { producer: 8, ..batch(0, 0, 0) };
        let appended =
            ProducerBatch { first_sequence: 0, last_sequence: 0, base_offset: Offset(70), last_offset: Offset(70), append_time: far };
        producers.appended(other, appended, HOUR);
        producers.expire(24 * HOUR, 2 * HOUR);
        assert_eq!(producers.len(), 2);
    }
}
