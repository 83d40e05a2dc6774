use proptest::prelude::*;
use types::{BrokerEpoch, BrokerId, MinTimestamp, ObjectKey, ObjectNumber, ObjectOrigin, Offset, Revision, SegmentFlags};

use super::*;

const HOUR: i64 = 3_600_000;
const MIB: u64 = 1 << 20;
const POLICY: Policy = Policy { target: 64 * MIB, window_ms: HOUR, window_offset_ms: 0, max_segments: 1024 };

fn segment(base: i64, bytes: u64, appended: (i64, i64)) -> SegmentRef {
    SegmentRef {
        base: Offset(base),
        end: Offset(base + 1),
        object: ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(1) },
        position: 16,
        bytes,
        index_bytes: 44,
        records: 1,
        batches: 1,
        max_timestamp: Timestamp(appended.1),
        min_timestamp: MinTimestamp { value: Timestamp(appended.0), exact: true },
        append_times: (Timestamp(appended.0), Timestamp(appended.1)),
        leader_epochs: Vec::new(),
        stable_end: Offset(base + 1),
        aborted: 0,
        flags: SegmentFlags::default(),
        state_from: Offset(0),
        origin: ObjectOrigin::Range,
        offset_shift: 0,
        leader_epoch: None,
        added: Revision(0),
    }
}

/// Segments of these sizes, all appended at once.
fn sized(sizes: impl IntoIterator<Item = u64>) -> Vec<SegmentRef> {
    (0..).zip(sizes).map(|(base, bytes)| segment(base, bytes, (0, 0))).collect()
}

fn picked(sizes: impl IntoIterator<Item = u64>) -> Option<Range<usize>> {
    pick(&sized(sizes), &POLICY, Timestamp(0))
}

#[test]
fn segments_that_reach_the_target_together_are_merged() {
    assert_eq!(picked([8 * MIB; 7]), None);
    assert_eq!(picked([8 * MIB; 8]), Some(0..8));
    assert_eq!(picked([8 * MIB; 20]), Some(0..8), "no more than that");
    assert_eq!(picked([40 * MIB, 31 * MIB, 31 * MIB, 2 * MIB, 100]), Some(1..4), "what is large already is left alone");
    assert_eq!(picked([31 * MIB, 40 * MIB, 31 * MIB, 40 * MIB, 31 * MIB]), None, "they do not follow one another");
    assert_eq!(picked([32 * MIB; 10]), None);
    assert_eq!(picked([]), None);
}

#[test]
fn many_small_segments_rise_a_tier_at_a_time() {
    assert_eq!(picked(vec![1000; 16]), None, "they reach no tier");
    assert_eq!(picked(vec![1100; 15]), None);
    assert_eq!(picked(vec![1100; 16]), Some(0..16));
    assert_eq!(picked(vec![15_000; 15]), None, "too few");
    assert_eq!(picked(vec![20_000; 52]), None);
    assert_eq!(picked(vec![20_000; 53]), Some(0..53));
    let mixed = [2 * MIB].into_iter().chain(vec![1100; 16]).chain([2 * MIB]).chain(vec![100; 3]);
    assert_eq!(picked(mixed), Some(1..17), "the larger ones beside them are spared");
    assert_eq!(picked(vec![70; 5000]), Some(0..1024), "one merge is bounded");
    assert_eq!(picked(vec![MIB - 1; 40]), Some(0..32), "what is not yet at the target stays small");
}

#[test]
fn what_was_appended_in_a_window_is_merged_when_it_is_over_and_then_left_alone() {
    let at = |hour: i64, minute: i64| hour * HOUR + minute * 60_000;
    let mut segments: Vec<_> = (0..3).map(|index| segment(index, 100, (at(5, 10 * index), at(5, 10 * index)))).collect();
    segments.extend((3..6).map(|index| segment(index, 100, (at(6, index), at(6, index)))));
    let pick = |segments: &[SegmentRef], now| pick(segments, &POLICY, Timestamp(now));
    assert_eq!(pick(&segments, at(6, 0) - 1), None);
    assert_eq!(pick(&segments, at(6, 30)), Some(0..3));
    segments.splice(0..3, [segment(0, 300, (at(5, 0), at(5, 20)))]);
    assert_eq!(pick(&segments, at(6, 30)), None);
    assert_eq!(pick(&segments, at(7, 0)), Some(1..4));
    segments.splice(1..4, [segment(3, 300, (at(6, 3), at(6, 5)))]);
    assert_eq!(pick(&segments, at(100, 0)), None);
    assert_eq!(POLICY.window_end(&segments[1]), Timestamp(at(7, 0)));
    let shifted = Policy { window_offset_ms: 120_000, ..POLICY };
    assert_eq!(shifted.window_end(&segments[1]), Timestamp(at(7, 2)));
}

#[test]
fn a_segment_without_batches_goes_with_the_one_before_it() {
    let gap = SegmentRef { batches: 0, bytes: 0, append_times: (Timestamp::NONE, Timestamp::NONE), ..segment(1, 0, (0, 0)) };
    let segments = [segment(0, 100, (5 * HOUR, 5 * HOUR)), gap, segment(2, 100, (5 * HOUR, 5 * HOUR))];
    assert_eq!(pick(&segments, &POLICY, Timestamp(6 * HOUR)), Some(0..3));
}

/// Arrivals one after the other, each merge done at once; what was written and what is left.
#[derive(Default)]
struct Partition {
    segments: Vec<SegmentRef>,
    arrived: u64,
    rewritten: u64,
    most: usize,
}

impl Partition {
    fn arrive(&mut self, bytes: u64, at: i64) {
        let base = self.segments.last().map_or(0, |last| last.end.0);
        self.segments.push(segment(base, bytes, (at, at)));
        self.arrived += bytes;
        while let Some(range) = pick(&self.segments, &POLICY, Timestamp(at)) {
            assert!(2 <= range.len() && range.len() <= POLICY.max_segments);
            let old = &self.segments[range.clone()];
            let (first, last) = (&old[0], &old[old.len() - 1]);
            let bytes: u64 = old.iter().map(|segment| segment.bytes).sum();
            assert!(bytes <= POLICY.max_bytes());
            assert!(old.iter().all(|segment| segment.bytes < POLICY.large()));
            self.rewritten += bytes;
            let merged = SegmentRef { end: last.end, ..segment(first.base.0, bytes, (first.append_times.0.0, last.append_times.1.0)) };
            self.segments.splice(range, [merged]);
        }
        self.most = self.most.max(self.segments.len());
    }

    /// The bound that the module promises.
    fn check(&self, windows: usize) {
        let large = usize::try_from(self.arrived / POLICY.large()).unwrap();
        assert!(self.most <= CROWDED + (FEW + 1) * (large + windows + 1), "{} segments of {} bytes", self.most, self.arrived);
    }
}

#[test]
fn t26_however_small_the_segments_a_byte_is_rewritten_three_times_at_most() {
    for bytes in [70, 300, 2_000, 10_000, 60_000, 400_000, 3_000_000, 20_000_000, 40_000_000] {
        let mut partition = Partition::default();
        let arrivals = (200 * MIB / bytes).clamp(3, 30_000);
        (0..arrivals).for_each(|_| partition.arrive(bytes, 0));
        partition.check(1);
        assert!(partition.rewritten <= 3 * partition.arrived, "{bytes}: {} of {}", partition.rewritten, partition.arrived);
        assert!(partition.most <= 500, "{bytes}: {}", partition.most);
    }
}

#[test]
fn a_record_a_second_for_two_days_leaves_a_segment_an_hour() {
    let mut partition = Partition::default();
    (0..2 * 24 * 360).for_each(|step| partition.arrive(700, step * 10_000));
    let last_hour = 360;
    assert!(partition.most <= 2 * 24 + last_hour, "{}", partition.most);
    assert!(partition.rewritten <= 3 * partition.arrived);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Sizes from all tiers in any order, repeated for long, with pauses.
    #[test]
    fn t26_segments_are_bounded_whatever_the_arrivals(
        pattern in prop::collection::vec(
            (prop_oneof![Just(70_u64), 61..20_000_u64, 10_000..2_000_000_u64, MIB..70 * MIB], 1..300_u64),
            1..6,
        ),
        pause in prop_oneof![Just(0_i64), 1..HOUR],
        rounds in 1..60_usize,
    ) {
        let (mut partition, mut now) = (Partition::default(), 0);
        'arrivals: for _ in 0..rounds {
            for (bytes, count) in &pattern {
                for _ in 0..*count {
                    partition.arrive(*bytes, now);
                    if 4_000 < partition.segments.last().map_or(0, |last| last.end.0) {
                        break 'arrivals;
                    }
                }
            }
            now += pause;
        }
        partition.check(usize::try_from(now / HOUR).unwrap() + 1);
    }
}
