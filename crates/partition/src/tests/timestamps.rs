use std::sync::Arc;

use types::Durability::{Object, Wal};
use types::{Offset, Timestamp};

use super::harness::*;
use crate::*;

/// Timestamps 10 to 13 and 20 to 23 in two trimmed segments of two batches each, 30 to 31 in the write-ahead log; offsets 0 to 9.
async fn history() -> (Bench, Arc<Partition>) {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    for (first, publish) in [(10, false), (12, true), (20, false), (22, true)] {
        append(&partition, &batch_at([(first, "a"), (first + 1, "b")]), Acks::None).unwrap();
        if publish {
            bench.publish().await;
        }
    }
    bench.trim();
    append(&partition, &batch_at([(30, "a"), (31, "b")]), Acks::All).unwrap().ticket.await.unwrap();
    (bench, partition)
}

async fn found(partition: &Partition, timestamp: i64) -> Option<(i64, i64)> {
    let found = partition.offset_for_timestamp(Timestamp(timestamp), Isolation::ReadUncommitted).await.unwrap();
    found.map(|found| (found.offset.0, found.timestamp.0))
}

async fn latest(partition: &Partition) -> Option<(i64, i64)> {
    let found = partition.offset_of_max_timestamp(Isolation::ReadUncommitted).await.unwrap();
    found.map(|found| (found.offset.0, found.timestamp.0))
}

#[tokio::test]
async fn t25_the_first_record_at_or_after_a_time_is_found_in_segments_and_log() {
    let (_bench, partition) = history().await;
    let expected = [
        (0, Some((0, 10))),
        (11, Some((1, 11))),
        (13, Some((3, 13))),
        (14, Some((4, 20))),
        (23, Some((7, 23))),
        (24, Some((8, 30))),
        (31, Some((9, 31))),
        (32, None),
    ];
    for (timestamp, expected) in expected {
        assert_eq!(found(&partition, timestamp).await, expected, "timestamp {timestamp}");
    }
}

#[tokio::test]
async fn t25_deleted_records_are_not_found_by_their_time() {
    let (bench, partition) = history().await;
    // The log start lies in the first segment's second batch, then in the second segment; the last segment's entry outlives both.
    for (log_start, expected) in [(1, (1, 11)), (3, (3, 13)), (4, (4, 20)), (5, (5, 21)), (8, (8, 30))] {
        bench.metadata.retain_from(id(0), log_start);
        assert_eq!(found(&partition, 0).await, Some(expected), "log start {log_start}");
    }
    assert_eq!(partition.offsets().log_start.0, 8);
}

#[tokio::test]
async fn t25_a_late_record_in_the_log_is_found_although_segments_are_newer() {
    let (_bench, partition) = history().await;
    append(&partition, &batch_at([(5, "late"), (99, "far ahead")]), Acks::All).unwrap().ticket.await.unwrap();
    assert_eq!(found(&partition, 32).await, Some((11, 99)));
    assert_eq!(found(&partition, 5).await, Some((0, 10)));
}

#[tokio::test]
async fn t25_the_largest_timestamp_may_be_anywhere_and_deleted_ones_do_not_count() {
    let (mut bench, partition) = history().await;
    assert_eq!(latest(&partition).await, Some((9, 31)));
    append(&partition, &batch_at([(500, "far ahead"), (40, "c"), (500, "again")]), Acks::All).unwrap().ticket.await.unwrap();
    append(&partition, &batch_at([(50, "d")]), Acks::All).unwrap().ticket.await.unwrap();
    assert_eq!(latest(&partition).await, Some((10, 500)));
    bench.publish().await;
    bench.trim();
    append(&partition, &batch_at([(45, "e")]), Acks::All).unwrap().ticket.await.unwrap();
    assert_eq!(latest(&partition).await, Some((10, 500)));
    for (log_start, expected) in [(11, (12, 500)), (13, (13, 50)), (14, (14, 45))] {
        bench.metadata.retain_from(id(0), log_start);
        assert_eq!(latest(&partition).await, Some(expected), "log start {log_start}");
    }
}

#[tokio::test]
async fn records_that_may_not_be_seen_are_not_found_by_their_time() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    assert_eq!((found(&partition, 0).await, latest(&partition).await), (None, None));
    append(&partition, &batch_at([(10, "a")]), Acks::None).unwrap();
    bench.settle().await;
    assert_eq!((found(&partition, 0).await, latest(&partition).await), (None, None));
    bench.publish().await;
    assert_eq!((found(&partition, 0).await, latest(&partition).await), (Some((0, 10)), Some((0, 10))));
}

#[tokio::test]
async fn the_log_start_is_learnt_from_metadata() {
    let (bench, partition) = history().await;
    bench.metadata.retain_from(id(0), 6);
    assert_eq!(partition.offsets().log_start, Offset(0));
    assert_eq!(partition.refresh_log_start().await.unwrap(), Offset(6));
    assert!(matches!(partition.read(from_offset(5)).await, Err(ReadError::OutOfRange { log_start: Offset(6), .. })));
}

#[tokio::test]
async fn a_read_below_a_log_start_it_had_not_heard_of_is_out_of_range() {
    let (bench, partition) = history().await;
    bench.metadata.retain_from(id(0), 6);
    assert!(matches!(partition.read(from_offset(0)).await, Err(ReadError::OutOfRange { log_start: Offset(6), .. })));
    assert_eq!(values(&partition, 6).await.len(), 4);
}
