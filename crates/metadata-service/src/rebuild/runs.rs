//! Which published segments are a partition's log, and where unclean elections left gaps in it. Pure.
//!
//! Every ownership of a partition has leader epochs above those of the ownership before it, and begins at the published end (or, after
//! an unclean election, 2^32 above it). So segments in the order of their leader epochs are the log; where two logs claim the same
//! offsets, the higher leader epoch is right and the lower one was dropped. What the snapshot has is published for good.

use types::{EpochStart, LeaderEpoch, ObjectKey, Offset, SegmentRef};

use super::FoundSegment;

/// A segment that may be part of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) found: &'a FoundSegment,
    /// Its writer knew it to be accepted.
    pub(super) is_certain: bool,
}

/// An unclean election after the snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Election {
    pub(super) epoch: LeaderEpoch,
    /// Where its epoch begins to assign offsets.
    pub(super) next_offset: Offset,
}

impl Election {
    fn published_end(&self) -> Offset {
        Offset(self.next_offset.0.saturating_sub(Offset::UNCLEAN_GAP))
    }
}

/// A partition's log above what the snapshot has.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    /// The published end.
    pub(super) next: Offset,
    /// Each with the published end before it.
    pub(super) segments: Vec<(Offset, Candidate<'a>)>,
    /// All epochs, those of the snapshot included.
    pub(super) epochs: Vec<EpochStart>,
    /// Offsets that are in no segment although later ones are.
    pub(super) holes: Vec<(Offset, Offset)>,
    /// Certain, and claimed by others.
    pub(super) misfits: Vec<ObjectKey>,
}

/// Lays `candidates`, those of one log in its order, and `elections` above `next` and `epochs`.
pub(super) fn lay<'a>(next: Offset, epochs: &[EpochStart], mut candidates: Vec<Candidate<'a>>, mut elections: Vec<Election>) -> Runs<'a> {
    // Stable: those of one log stay in its order.
    candidates.sort_by_key(|candidate| first_epoch(&candidate.found.segment));
    elections.sort_by_key(|election| election.next_offset);
    let mut runs = Runs { next, segments: Vec::new(), epochs: Vec::new(), holes: Vec::new(), misfits: Vec::new() };
    let mut waiting = elections.iter().peekable();
    for candidate in candidates {
        while let Some(election) = waiting.next_if(|election| election.next_offset <= candidate.found.segment.base) {
            runs.elect(election);
        }
        runs.add(candidate);
    }
    waiting.for_each(|election| runs.elect(election));
    runs.epochs = history(epochs, &runs.segments, &elections);
    runs
}

/// Leader epoch of the segment's first batch.
pub(super) fn first_epoch(segment: &SegmentRef) -> Option<LeaderEpoch> {
    segment.leader_epochs.first().map(|start| start.epoch)
}

/// Leader epoch of its last batch.
pub(super) fn last_epoch(segment: &SegmentRef) -> Option<LeaderEpoch> {
    segment.leader_epochs.last().map(|start| start.epoch)
}

impl<'a> Runs<'a> {
    fn add(&mut self, candidate: Candidate<'a>) {
        let segment = &candidate.found.segment;
        self.cut(segment.base, first_epoch(segment));
        let follows = segment.base == self.next || segment.base.0 == self.next.0.saturating_add(Offset::UNCLEAN_GAP);
        let leaves_hole = candidate.is_certain && self.next < segment.base;
        if !(follows || leaves_hole) {
            if candidate.is_certain {
                self.misfits.push(segment.object);
            }
            return;
        }
        if !follows {
            self.holes.push((self.next, segment.base));
        }
        self.segments.push((self.next, candidate));
        self.next = segment.end;
    }

    /// A newer ownership begins at `end`: what an older one wrote above it was never published.
    fn cut(&mut self, end: Offset, epoch: Option<LeaderEpoch>) {
        let is_dropped = |last: &mut (Offset, Candidate<'_>)| {
            let segment = &last.1.found.segment;
            end < segment.end && !last.1.is_certain && last_epoch(segment) < epoch
        };
        while let Some((before, _)) = self.segments.pop_if(is_dropped) {
            self.next = before;
        }
    }

    fn elect(&mut self, election: &Election) {
        self.cut(election.published_end(), Some(election.epoch));
        self.next = self.next.max(election.next_offset);
    }
}

/// The epochs of `known`, of the segments, and of the elections, each at the end that was published when it was held.
fn history(known: &[EpochStart], segments: &[(Offset, Candidate<'_>)], elections: &[Election]) -> Vec<EpochStart> {
    let of_segments = segments.iter().flat_map(|(_, candidate)| &candidate.found.segment.leader_epochs).copied();
    let of_elections = elections.iter().map(|election| EpochStart { epoch: election.epoch, offset: election.published_end() });
    let mut starts: Vec<_> = of_segments.chain(of_elections).collect();
    starts.sort_by_key(|start| (start.offset, start.epoch));
    let mut epochs = known.to_vec();
    for start in starts {
        if epochs.last().is_none_or(|last| last.epoch < start.epoch) {
            epochs.push(start);
        }
    }
    epochs
}
