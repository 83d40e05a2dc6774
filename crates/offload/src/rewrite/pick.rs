//! Which segments of a partition to merge next. Pure.
//!
//! A segment of at least half the target size is left alone. Smaller ones that follow one another are merged
//! - when together they reach the target;
//! - when many of one tier together reach the next: the tiers are cut at 1/4096 and 1/64 of the target, so that a byte is rewritten at
//!   most three times on its way to the target, however small the segments are that it arrives in;
//! - when `segment.ms` is over: what was appended in one such window becomes one segment, and is not touched again;
//! - when there are too many of them all the same, whatever they cost.
//!
//! What remains is at most [`CROWDED`] small segments, and [`FEW`] for each large one and each window: bounded whatever the arrivals are.

use std::ops::Range;

use types::{SegmentRef, Timestamp};

/// Segments that are merged on the way to the next tier; fewer are not worth an object.
const MANY: usize = 16;
/// Small segments of a partition beyond which some are merged although they reach no tier.
pub(super) const CROWDED: usize = 512;
/// Segments that are merged then.
pub(super) const FEW: usize = 8;
/// Where the tiers are cut, in parts of the target.
const TIERS: [u64; 2] = [4096, 64];

/// What steers the choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Policy {
    /// Size that merged segments are to reach, in bytes.
    pub(super) target: u64,
    /// `segment.ms`: segments of different windows of this length are not merged.
    pub(super) window_ms: i64,
    /// Where windows begin, so that not all partitions' end at the same moment.
    pub(super) window_offset_ms: i64,
    /// Most segments merged at once.
    pub(super) max_segments: usize,
}

impl Policy {
    /// Segments of this size are left alone.
    pub(super) fn large(&self) -> u64 {
        (self.target / 2).max(1)
    }

    /// No merge holds more: below the target while the last segment, which is not large, is added.
    pub(super) fn max_bytes(&self) -> u64 {
        self.target + self.large()
    }

    /// The window that a segment belongs to, by its first append.
    fn window(&self, segment: &SegmentRef) -> i64 {
        segment.append_times.0.0.saturating_sub(self.window_offset_ms).div_euclid(self.window_ms)
    }

    /// When a segment's window is over.
    pub(super) fn window_end(&self, segment: &SegmentRef) -> Timestamp {
        let end = self.window(segment).saturating_add(1).saturating_mul(self.window_ms);
        Timestamp(end.saturating_add(self.window_offset_ms))
    }
}

/// The segments to merge next: at least two, adjacent. `segments` are a partition's in offset order.
pub(super) fn pick(segments: &[SegmentRef], policy: &Policy, now: Timestamp) -> Option<Range<usize>> {
    let runs = runs(segments, policy);
    let full = runs.iter().find_map(|run| fill(segments, run, policy));
    let closed = || runs.iter().find_map(|run| close(segments, run, policy, now));
    let tiered = || TIERS.iter().find_map(|part| runs.iter().find_map(|run| lift(segments, run, policy.target / part, policy)));
    full.or_else(closed).or_else(tiered).or_else(|| thin_out(segments, &runs, policy))
}

/// Small segments that follow one another and were appended in one window.
fn runs(segments: &[SegmentRef], policy: &Policy) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut window = None;
    for (index, segment) in segments.iter().enumerate() {
        if policy.large() <= segment.bytes {
            window = None;
            continue;
        }
        // A segment without batches has no times; it goes with the one before it.
        let own = if segment.batches == 0 { window.unwrap_or_else(|| policy.window(segment)) } else { policy.window(segment) };
        match runs.last_mut() {
            Some(run) if window == Some(own) => run.end = index + 1,
            _ => runs.push(index..index + 1),
        }
        window = Some(own);
    }
    runs
}

fn bytes(segments: &[SegmentRef]) -> u64 {
    segments.iter().map(|segment| segment.bytes).sum()
}

/// The beginning of `run` that fits into one merge of at most `max_bytes`.
fn fitting(segments: &[SegmentRef], run: Range<usize>, max_bytes: u64, policy: &Policy) -> Range<usize> {
    let mut sum = 0;
    let fits = |segment: &&SegmentRef| {
        sum += segment.bytes;
        sum <= max_bytes
    };
    let count = segments[run.clone()].iter().take(policy.max_segments).take_while(fits).count();
    run.start..run.start + count
}

fn worth(range: Range<usize>) -> Option<Range<usize>> {
    (2 <= range.len()).then_some(range)
}

/// The shortest beginning of the run that reaches the target.
fn fill(segments: &[SegmentRef], run: &Range<usize>, policy: &Policy) -> Option<Range<usize>> {
    let mut sum = 0;
    let reached = segments[run.clone()].iter().take(policy.max_segments).position(|segment| {
        sum += segment.bytes;
        policy.target <= sum
    });
    reached.map(|last| run.start..run.start + last + 1)
}

/// The whole run, once its window is over.
fn close(segments: &[SegmentRef], run: &Range<usize>, policy: &Policy, now: Timestamp) -> Option<Range<usize>> {
    let is_over = policy.window_end(&segments[run.start]) <= now && run.len() <= policy.max_segments;
    if is_over { worth(run.clone()) } else { None }
}

/// Parts of a run with segments below `boundary` only.
fn below(segments: &[SegmentRef], run: &Range<usize>, boundary: u64) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for index in run.clone().filter(|index| segments[*index].bytes < boundary) {
        match parts.last_mut() {
            Some(part) if part.end == index => part.end = index + 1,
            _ => parts.push(index..index + 1),
        }
    }
    parts
}

/// Many segments below `boundary` that reach it together. What comes of them stays small: it is on its way to the target.
fn lift(segments: &[SegmentRef], run: &Range<usize>, boundary: u64, policy: &Policy) -> Option<Range<usize>> {
    let reaches = |part: &Range<usize>| MANY <= part.len() && boundary <= bytes(&segments[part.clone()]);
    let part = below(segments, run, boundary).into_iter().find(reaches)?;
    worth(fitting(segments, part, policy.large() - 1, policy))
}

/// The longest part of the lowest tier that has any worth merging, when there are too many small segments.
fn thin_out(segments: &[SegmentRef], runs: &[Range<usize>], policy: &Policy) -> Option<Range<usize>> {
    if runs.iter().map(Range::len).sum::<usize>() <= CROWDED {
        return None;
    }
    let boundaries = TIERS.iter().map(|part| policy.target / part).chain([policy.large()]);
    let longest = |boundary: u64| {
        let parts = runs.iter().flat_map(|run| below(segments, run, boundary)).filter(|part| FEW <= part.len());
        parts.max_by_key(Range::len).and_then(|part| worth(fitting(segments, part, policy.max_bytes(), policy)))
    };
    boundaries.into_iter().find_map(longest)
}

#[cfg(test)]
mod tests;
