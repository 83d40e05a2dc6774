//! Leader epochs of a partition's batches (KIP-101): what a consumer asks to find out whether its position is still in the log.

use types::{EpochStart, LeaderEpoch, Offset};

/// Where the batches of an epoch end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The largest epoch at or below the one asked for; the one asked for where all known ones are newer.
    pub epoch: LeaderEpoch,
    /// Offset after its last batch.
    pub end: Offset,
}

/// Each epoch with the base offset of its first batch, ascending in both.
#[derive(Debug)]
pub(crate) struct Epochs(Vec<EpochStart>);

impl Epochs {
    pub(crate) fn new(history: Vec<EpochStart>) -> Self {
        Self(history)
    }

    /// A batch was appended. An epoch begins with its first batch, never with its election: offsets between the published end and
    /// that batch belong to the older epoch (rule R17).
    pub(crate) fn observe(&mut self, epoch: LeaderEpoch, base: Offset) {
        if self.0.last().is_none_or(|last| last.epoch < epoch) {
            self.0.push(EpochStart { epoch, offset: base });
        }
    }

    /// Forgets epochs that end at or below the log start, so that the history stays as long as the log needs it.
    pub(crate) fn prune(&mut self, log_start: Offset) {
        let kept = self.0.partition_point(|start| start.offset <= log_start).saturating_sub(1);
        self.0.drain(..kept);
    }

    /// The epoch that `offset` belongs to; -1 below every known one.
    pub(crate) fn at(&self, offset: Offset) -> LeaderEpoch {
        let after = self.0.partition_point(|start| start.offset <= offset);
        after.checked_sub(1).map_or(LeaderEpoch(-1), |index| self.0[index].epoch)
    }

    /// Where `epoch` ends; `None` for one above every known one. The epoch in force ends at the log's end, also while it has no batch.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, in_force: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if in_force < epoch {
            return None;
        }
        if epoch == in_force {
            return Some(EpochEnd { epoch, end: log_end });
        }
        let after = self.0.partition_point(|start| start.epoch <= epoch);
        let end = self.0.get(after).map_or(log_end, |next| next.offset);
        let floor = after.checked_sub(1).map_or(epoch, |index| self.0[index].epoch);
        Some(EpochEnd { epoch: floor, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> Epochs {
        let mut epochs = Epochs::new(vec![EpochStart { epoch: LeaderEpoch(2), offset: Offset(0) }]);
        for (epoch, base) in [(2, 50), (5, 100), (5, 150), (9, 200)] {
            epochs.observe(LeaderEpoch(epoch), Offset(base));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_with_batches_begins() {
        let epochs = epochs();
        let end = |epoch| epochs.end_of(LeaderEpoch(epoch), LeaderEpoch(12), Offset(300)).map(|end| (end.epoch.0, end.end.0));
        assert_eq!([end(2), end(3), end(5), end(8)], [Some((2, 100)), Some((2, 100)), Some((5, 200)), Some((5, 200))]);
        assert_eq!([end(9), end(11), end(12), end(13)], [Some((9, 300)), Some((9, 300)), Some((12, 300)), None]);
        assert_eq!(end(1), Some((1, 0)));
        assert_eq!([-1, 0, 99, 100, 250].map(|offset| epochs.at(Offset(offset)).0), [-1, 2, 2, 5, 9]);
    }

    #[test]
    fn pruning_keeps_the_epoch_that_holds_the_log_start() {
        let mut epochs = epochs();
        epochs.prune(Offset(150));
        assert_eq!(epochs.0.iter().map(|start| start.epoch.0).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(epochs.end_of(LeaderEpoch(5), LeaderEpoch(9), Offset(300)).unwrap().end, Offset(200));
    }
}
