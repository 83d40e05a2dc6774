//! Seeking: every offset and every time leads to the right batch, in gaps and across 2^32.

use std::ops::Range;

use proptest::prelude::*;
use records::batches;
use segment::{INDEX_INTERVAL_BYTES, Index, ObjectError, SegmentEntry, index_range};

use super::*;

const BLOCK_RECORD: usize = 100_000;

struct Segment {
    object: Bytes,
    entry: SegmentEntry,
    index: Index,
}

impl Segment {
    fn new(base: i64, end: i64, batches: Vec<Bytes>) -> Self {
        let mut builder = ObjectBuilder::new(header());
        // Another partition first, so that positions in the object and in the segment differ.
        builder.add_segment(input(partition(1, 0), 0, 1), [(batch(0, 1, 0), Timestamp(0))]).unwrap();
        builder.add_segment(input(partition(2, 0), base, end), batches.into_iter().map(at(0))).unwrap();
        let object = joined(&builder.finish(key()));
        let entry = contents(&object).segments.remove(1);
        let index = Index::parse(&bytes(&object, index_range(&entry.segment)), &entry.segment).unwrap();
        Self { object, entry, index }
    }

    fn bytes(&self, range: Range<u64>) -> Bytes {
        bytes(&self.object, range)
    }

    /// What a reader at `offset` finds first in the range that the index gives.
    fn first_from(&self, offset: i64, max_bytes: u64) -> Option<i64> {
        batches(self.bytes(self.index.range_for(Offset(offset), max_bytes)))
            .map(Result::unwrap)
            .find(|batch| offset <= batch.header.last_offset().0)
            .map(|batch| batch.header.base_offset.0)
    }
}

fn bytes(object: &Bytes, range: Range<u64>) -> Bytes {
    object.slice(range.start as usize..range.end as usize)
}

/// Batches of two records, one a block's length and more apart.
fn large(bases: &[i64]) -> Vec<Bytes> {
    bases.iter().map(|base| batch_of(*base, 2, 0, BLOCK_RECORD)).collect()
}

#[test]
fn entries_lie_at_batch_boundaries_at_most_256_kib_apart() {
    let segment = Segment::new(0, 4000, (0..400).map(|n| batch_of(n * 10, 10, 0, 1000)).collect());
    let entries = segment.index.entries();
    assert!(entries.len() > 10);
    let mut records = 0;
    for (n, entry) in entries.iter().enumerate() {
        let end = entries.get(n + 1).map_or(segment.entry.segment.bytes, |next| next.position);
        assert!(end - entry.position <= INDEX_INTERVAL_BYTES);
        assert_eq!(entry.records, records);
        let start = segment.entry.segment.position;
        for batch in batches(segment.bytes(start + entry.position..start + end)) {
            records += u64::from(batch.unwrap().header.records);
        }
        assert_eq!(entry.max_timestamp.0 + 1, records as i64);
    }
    assert_eq!(records, segment.entry.segment.records);
}

#[test]
fn a_batch_longer_than_the_interval_has_an_entry_of_its_own() {
    let segment = Segment::new(0, 9, vec![batch(0, 1, 0), batch_of(1, 1, 0, 400_000), batch(2, 1, 0)]);
    assert_eq!(segment.index.entries().iter().map(|entry| entry.offset.0).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn t19_an_offset_inside_a_batch_finds_that_batch_and_inside_a_gap_the_next() {
    let segment = Segment::new(5, 70, large(&[10, 12, 20, 40, 42, 60]));
    assert!(segment.index.entries().len() > 3);
    for offset in 5..70 {
        let expected = [10, 12, 20, 40, 42, 60].into_iter().find(|base| offset <= base + 1);
        for max_bytes in [0, 1, 300_000, u64::MAX] {
            assert_eq!(segment.first_from(offset, max_bytes), expected, "offset {offset}, {max_bytes} bytes");
        }
    }
}

#[test]
fn t11_offsets_more_than_32_bits_apart_are_kept() {
    let far = 1 << 40;
    let segment = Segment::new(0, far + far, large(&[0, far, far + 2]));
    assert_eq!(segment.first_from(1, 0), Some(0));
    assert_eq!(segment.first_from(2, 0), Some(far));
    assert_eq!(segment.first_from(i64::from(u32::MAX) + 1, 0), Some(far));
    assert_eq!(segment.first_from(far + 3, 0), Some(far + 2));
    assert_eq!(segment.index.entries()[1].offset, Offset(2));
}

#[test]
fn a_range_holds_whole_blocks_within_the_bytes_asked_for_and_one_at_least() {
    let segment = Segment::new(0, 12, large(&[0, 2, 4, 6, 8, 10]));
    let (start, end) = (segment.entry.segment.position, index_range(&segment.entry.segment).start);
    let block = segment.index.range_for(Offset(0), 0);
    let length = block.end - block.start;
    assert_eq!(block.start, start);
    assert_eq!(segment.index.range_for(Offset(0), length), block);
    assert_eq!(segment.index.range_for(Offset(0), 2 * length + 10).end, start + 2 * length);
    assert_eq!(segment.index.range_for(Offset(0), u64::MAX), start..end);
    assert_eq!(segment.index.range_for(Offset(11), 1), segment.index.seek(Offset(11))..end);
}

#[test]
fn times_lead_to_the_first_block_that_may_hold_them() {
    // Timestamps are the offsets, so the block of 20 holds nothing later than the block of 40 before it.
    let mut batches = large(&[0, 40]);
    batches.push(records::stamp(batch_of(20, 2, 0, BLOCK_RECORD), Offset(50), LeaderEpoch(0), None));
    batches.extend(large(&[60]));
    let segment = Segment::new(0, 70, batches);
    let find = |time| {
        segment.index.seek_timestamp(Timestamp(time)).map(|range| {
            segment.index.entries().iter().position(|entry| segment.entry.segment.position + entry.position == range.start).unwrap()
        })
    };
    assert_eq!(
        [find(-1), find(0), find(1), find(2), find(41), find(42), find(61), find(62)],
        [Some(0), Some(0), Some(0), Some(1), Some(1), Some(3), Some(3), None]
    );
    assert_eq!(find(segment.entry.segment.max_timestamp.0), Some(3));
}

#[test]
fn a_segment_without_batches_has_nothing_to_fetch() {
    let segment = Segment::new(5, 9, vec![]);
    assert!(segment.index.range_for(Offset(6), u64::MAX).is_empty());
    assert_eq!(segment.index.seek(Offset(6)), segment.entry.segment.position);
    assert_eq!(segment.index.seek_timestamp(Timestamp(0)), None);
}

#[test]
fn t13_the_index_of_another_segment_is_refused() {
    // Alike in all that an index says but the offset.
    let stamped = |base| vec![records::stamp(batch(base, 2, 0), Offset(base), LeaderEpoch(0), Some(Timestamp(9)))];
    let (ours, other) = (Segment::new(0, 9, stamped(0)), Segment::new(1, 9, stamped(1)));
    assert_eq!(ours.entry.segment.index_bytes, other.entry.segment.index_bytes);
    let index = other.bytes(index_range(&other.entry.segment));
    assert!(matches!(Index::parse(&index, &ours.entry.segment), Err(ObjectError::Malformed { part: "index", .. })));
}

#[test]
fn every_flipped_bit_of_an_index_is_refused() {
    let segment = Segment::new(0, 12, large(&[0, 2, 4, 6, 8, 10]));
    let index = segment.bytes(index_range(&segment.entry.segment));
    for position in 0..index.len() {
        for bit in 0..8 {
            let mut damaged = index.to_vec();
            damaged[position] ^= 1 << bit;
            let result = Index::parse(&damaged, &segment.entry.segment);
            assert!(matches!(result, Err(ObjectError::Checksum { part: "index", .. })), "byte {position} bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn every_offset_finds_the_first_batch_that_ends_above_it(
        shape in proptest::collection::vec((0i64..6, 1i64..4, prop::sample::select(&[8usize, 60_000, 150_000][..])), 1..25),
        tail in 1i64..5,
        max_bytes in 0u64..1_000_000,
    ) {
        let mut next = 3;
        let mut spans = Vec::new();
        let mut data = Vec::new();
        for (gap, count, value_bytes) in shape {
            let base = next + gap;
            data.push(batch_of(base, count, 0, value_bytes));
            next = base + count;
            spans.push((base, next));
        }
        let segment = Segment::new(3, next + tail, data);
        for offset in 3..next + tail {
            let expected = spans.iter().find(|(_, end)| offset < *end).map(|(base, _)| *base);
            prop_assert_eq!(segment.first_from(offset, max_bytes), expected);
            let range = segment.index.range_for(Offset(offset), max_bytes);
            prop_assert!(range.end - range.start <= max_bytes.max(INDEX_INTERVAL_BYTES).max(500_000));
        }
    }
}
