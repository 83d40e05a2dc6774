//! Readers of history that go on in order, and those who do not: what is asked of the store for them.

use std::sync::Arc;
use std::time::Duration;

use store::faults::Fault;
use store::{Operation, RangeReader, ReadClass, ReadCounts};
use types::Durability::Wal;
use types::Offset;

use super::harness::*;
use crate::*;

const SECOND: Duration = Duration::from_secs(1);

/// A partition whose batches lie in the store and nowhere else, so many in each segment, a record of so many bytes in each batch. All of
/// it is older than what the tail's readers ask for.
async fn history(segments: usize, batches: usize, bytes: usize) -> (Bench, Arc<Partition>) {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    for segment in 0..segments {
        for batch in 0..batches {
            append(&partition, &batch_of(&[&value(segment * batches + batch, bytes)]), Acks::None).unwrap();
        }
        bench.publish().await;
    }
    bench.trim();
    bench.settle().await;
    bench.clock.advance(Duration::from_secs(600));
    (bench, partition)
}

fn value(offset: usize, bytes: usize) -> String {
    format!("{offset:010}").repeat(bytes / 10)
}

fn ranges(partition: &Partition) -> &RangeReader {
    partition.shared.segments.ranges()
}

fn counts(partition: &Partition) -> ReadCounts {
    ranges(partition).counts(ReadClass::CatchUp)
}

/// What is read ahead needs no time here, only its turns.
async fn background_ends(partition: &Partition) {
    for _ in 0..1000 {
        if ranges(partition).fetches() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} fetches are still under way", ranges(partition).fetches());
}

/// The next batch alone.
async fn read_one(partition: &Partition, offset: i64) -> (i64, String) {
    let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(offset) }).await.unwrap();
    let mut records = records_in(&read.batches);
    assert_eq!((records.len(), read.next_offset.0), (1, records[0].0 + 1));
    records.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_order_of_small_segments_has_as_many_gets_under_way_as_its_class_may() {
    let (bench, partition) = history(30, 1, 100).await;
    assert_eq!(read_one(&partition, 0).await, (0, value(0, 100)));
    background_ends(&partition).await;
    // Nobody knows yet that it goes on.
    assert_eq!((counts(&partition).gets, counts(&partition).read_ahead_gets), (1, 0));

    bench.store.script(Operation::GetRange, std::iter::repeat_n(Fault::Delay(SECOND), 30));
    let started = tokio::time::Instant::now();
    assert_eq!(read_one(&partition, 1).await, (1, value(1, 100)));
    assert_eq!((started.elapsed(), ranges(&partition).fetches()), (SECOND, 16));
    for offset in 2..18 {
        assert_eq!(read_one(&partition, offset).await, (offset, value(offset as usize, 100)));
    }
    // All of them were under way at once, and reading goes on ahead of the reader.
    assert_eq!(started.elapsed(), 2 * SECOND);
    for offset in 18..30 {
        assert_eq!(read_one(&partition, offset).await, (offset, value(offset as usize, 100)));
    }
    assert_eq!((started.elapsed(), counts(&partition).gets, counts(&partition).read_ahead_gets), (3 * SECOND, 2, 28));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_ends_after_so_many_bytes_in_whatever_segment() {
    let (bench, partition) = history(30, 1, 100).await;
    let page = partition.shared.segments.page(partition.id(), Offset(0)).await.unwrap();
    bench.store.script(Operation::GetRange, std::iter::repeat_n(Fault::Delay(SECOND), 30));
    let bytes = page.segments[0].bytes;
    let pace = in_order::Pace { block_bytes: 1 << 20, read_ahead: 2 * bytes + 1 };
    let (segment, following) = page.segments.split_first().unwrap();
    let request = segments::SegmentRequest {
        segment,
        offset: Offset(0),
        start: None,
        room: 1000,
        at_least_one: true,
        class: ReadClass::CatchUp,
        pace,
        following,
    };
    partition.shared.segments.read(partition.id(), request).await.unwrap();
    assert_eq!((ranges(&partition).fetches(), counts(&partition).read_ahead_gets), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_ahead_of_readers_that_do_not_go_on_in_order() {
    let (_bench, partition) = history(8, 1, 100).await;
    for offset in [6, 2, 4, 0] {
        assert_eq!(read_one(&partition, offset).await.0, offset);
        background_ends(&partition).await;
    }
    assert_eq!((counts(&partition).gets, counts(&partition).read_ahead_gets), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_order_needs_no_index_and_one_that_seeks_does() {
    const BATCH: usize = 100_000;
    let (_bench, partition) = history(1, 30, BATCH).await;
    let mut next = 0;
    while next < 30 {
        let read = partition.read(ReadRequest { at_least_one: false, ..from_offset(next) }).await.unwrap();
        let expected: Vec<_> = (next..read.next_offset.0).map(|offset| (offset, value(offset as usize, BATCH))).collect();
        assert_eq!(records_in(&read.batches), expected);
        assert_eq!(expected.len(), if next < 20 { 10 } else { 30 - next as usize });
        next = read.next_offset.0;
    }
    // The segment is a block.
    assert_eq!((counts(&partition).gets, counts(&partition).read_ahead_gets), (1, 0));
    // The index says where offset 15 begins, and is asked for once.
    for _ in 0..2 {
        assert_eq!(read_one(&partition, 15).await.0, 15);
        partition.read(from_offset(25)).await.unwrap();
        assert_eq!(counts(&partition).gets, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn t21_a_batch_larger_than_the_room_is_answered_whole_or_not_at_all() {
    const BATCH: usize = 1_500_000;
    let (_bench, partition) = history(2, 2, BATCH).await;
    for offset in 0..4 {
        let read = partition.read(ReadRequest { at_least_one: false, ..from_offset(offset) }).await.unwrap();
        assert_eq!((read.batches.len(), read.next_offset.0), (0, offset));
        let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(offset) }).await.unwrap();
        assert_eq!((read.batches.len(), read.next_offset.0), (1, offset + 1));
        let records = records::decode_records(&read.batches[0], 2 << 20).unwrap();
        assert_eq!(records[0].value.as_deref(), Some(value(offset as usize, BATCH).as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_for_what_it_was_answered_is_answered_the_same() {
    let (_bench, partition) = history(3, 4, 1000).await;
    let read = |offset, max_bytes| partition.read(ReadRequest { max_bytes, at_least_one: false, ..from_offset(offset) });
    for offset in 0..12 {
        for max_bytes in [1100, 2500, 5000, 100_000] {
            let (first, second) = (read(offset, max_bytes).await.unwrap(), read(offset, max_bytes).await.unwrap());
            assert_eq!((&first.batches, first.next_offset), (&second.batches, second.next_offset));
            assert_eq!(records_in(&first.batches)[0], (offset, value(offset as usize, 1000)));
        }
    }
}
