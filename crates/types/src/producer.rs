//! What a partition remembers of idempotent producers (KIP-98): per producer id its epoch and its last five batches.
//!
//! The partition's leader updates a window at append, the object's footer and the metadata service hold it as of a segment's end;
//! all three do it with [`ProducerWindows::observe`], so that they cannot disagree.

use std::collections::{BTreeMap, VecDeque};

use crate::{Offset, Timestamp};

/// Number of batches kept per producer: as many as an idempotent producer may have in flight
/// (`max.in.flight.requests.per.connection` ≤ 5), so that a retry of any of them is recognised.
pub const WINDOW_BATCHES: usize = 5;

/// Given out in blocks by the metadata service, never reused; -1 in a batch of a plain producer.
pub type ProducerId = i64;
/// Rises when a producer is fenced; 0 or above.
pub type ProducerEpoch = i16;

/// One batch of an idempotent producer, as appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBatch {
    /// Sequence of the first record.
    pub first_sequence: i32,
    /// Sequence of the last record; smaller than the first where the sequence wrapped at 2^31-1.
    pub last_sequence: i32,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's wall clock at append; producer state expires by it.
    pub append_time: Timestamp,
}

/// What is remembered of one producer id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerWindow {
    /// The newest epoch seen.
    pub epoch: ProducerEpoch,
    /// At most [`WINDOW_BATCHES`] batches of that epoch, oldest first.
    pub batches: VecDeque<ProducerBatch>,
    /// Epoch of the transaction coordinator whose marker came last; -1 without transactions.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub open_transaction: Option<Offset>,
    /// The broker's wall clock at the last append.
    pub last_append_time: Timestamp,
}

impl ProducerWindow {
    /// Sequence of the last record appended, if a batch of this epoch is known.
    pub fn last_sequence(&self) -> Option<i32> {
        self.batches.back().map(|batch| batch.last_sequence)
    }
}

/// The windows of one partition, by producer id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerWindows {
    windows: BTreeMap<ProducerId, ProducerWindow>,
}

impl ProducerWindows {
    /// Records an appended batch. A newer epoch forgets the batches of the older one.
    pub fn observe(&mut self, producer: ProducerId, epoch: ProducerEpoch, batch: ProducerBatch) {
        let window = self.windows.entry(producer).or_insert_with(|| ProducerWindow {
            epoch,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            open_transaction: None,
            last_append_time: batch.append_time,
        });
        if window.epoch != epoch {
            window.epoch = epoch;
            window.batches.clear();
        }
        if window.batches.len() == WINDOW_BATCHES {
            window.batches.pop_front();
        }
        window.batches.push_back(batch);
        window.last_append_time = window.last_append_time.max(batch.append_time);
    }

    /// Puts a producer's whole window, as read from a footer or from metadata.
    pub fn insert(&mut self, producer: ProducerId, window: ProducerWindow) {
        self.windows.insert(producer, window);
    }

    /// The window of `producer`.
    pub fn get(&self, producer: ProducerId) -> Option<&ProducerWindow> {
        self.windows.get(&producer)
    }

    /// All windows, by producer id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerWindow)> {
        self.windows.iter().map(|(producer, window)| (*producer, window))
    }

    /// Forgets what was last appended before `expires_before` and has no open transaction
    /// (`producer.id.expiration.ms`, by the broker's append time).
    pub fn expire(&mut self, expires_before: Timestamp) {
        self.windows.retain(|_, window| window.open_transaction.is_some() || expires_before <= window.last_append_time);
    }

    /// Number of producers remembered.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sequence: i32, at: i64) -> ProducerBatch {
        ProducerBatch {
            first_sequence: sequence,
            last_sequence: sequence,
            base_offset: Offset(i64::from(sequence)),
            last_offset: Offset(i64::from(sequence)),
            append_time: Timestamp(at),
        }
    }

    #[test]
    fn five_batches_are_kept_and_the_oldest_goes_first() {
        let mut windows = ProducerWindows::default();
        for sequence in 0..7 {
            windows.observe(1, 0, batch(sequence, 10));
        }
        let kept: Vec<_> = windows.get(1).unwrap().batches.iter().map(|b| b.first_sequence).collect();
        assert_eq!(kept, [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_newer_epoch_forgets_the_batches_of_the_older_one() {
        let mut windows = ProducerWindows::default();
        windows.observe(1, 0, batch(41, 10));
        windows.observe(1, 1, batch(0, 11));
        let window = windows.get(1).unwrap();
        assert_eq!((window.epoch, window.batches.len(), window.last_sequence()), (1, 1, Some(0)));
    }

    #[test]
    fn expiry_goes_by_append_time_and_spares_open_transactions() {
        let mut windows = ProducerWindows::default();
        windows.observe(1, 0, batch(0, 10));
        windows.observe(2, 0, batch(0, 20));
        windows.observe(3, 0, batch(0, 5));
        let mut open = windows.get(3).unwrap().clone();
        open.open_transaction = Some(Offset(0));
        windows.insert(3, open);
        windows.expire(Timestamp(20));
        assert_eq!(windows.iter().map(|(id, _)| id).collect::<Vec<_>>(), [2, 3]);
    }
}
