use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use records::BatchHeader;
use store::faults::Fault;
use store::{ObjectStore, Operation, ReadClass};
use tokio::time::Instant;
use types::Durability::{Object, Wal};
use types::{BrokerEpoch, BrokerId, LeaderEpoch, Lsn, ObjectKey, ObjectNumber, Offset, SegmentRef, Timestamp};
use wal::{MemoryOptions, TailLimits, WriteAheadLog};

use super::harness::*;
use crate::*;

/// Two segments of two batches each, trimmed, and one more batch in the write-ahead log: offsets 0 to 9.
async fn history(durability: types::Durability) -> (Bench, Arc<Partition>) {
    let mut bench = Bench::new();
    let partition = bench.open(0, durability);
    for values in [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]] {
        append(&partition, &batch_of(&values), Acks::None).unwrap();
        if values[0] == "2" || values[0] == "6" {
            bench.publish().await;
        }
    }
    bench.trim();
    append(&partition, &batch_of(&["8", "9"]), Acks::None).unwrap();
    bench.settle().await;
    (bench, partition)
}

#[tokio::test]
async fn one_read_goes_on_from_segments_into_the_write_ahead_log() {
    let (_bench, partition) = history(Wal).await;
    let read = partition.read(from_offset(0)).await.unwrap();
    let expected: Vec<_> = (0..10).map(|n| (n, n.to_string())).collect();
    assert_eq!(records_in(&read.batches), expected);
    assert_eq!((read.next_offset.0, read.offsets.high_watermark.0), (10, 10));
    let lengths: Vec<_> = read.batches.iter().map(|batch| batch.len() as u64).collect();
    assert_eq!(read.sources, ReadSources { memory: lengths[4], wal: 0, cache: 0, store: lengths[..4].iter().sum() });
    assert_eq!(read.bytes as u64, lengths.iter().sum::<u64>());
}

#[tokio::test]
async fn t31_sources_are_counted_where_the_bytes_came_from() {
    let (_bench, partition) = history(Wal).await;
    let first = partition.read(from_offset(0)).await.unwrap().sources;
    let again = partition.read(from_offset(0)).await.unwrap().sources;
    assert_eq!((again.store, again.cache, again.memory), (0, first.store, first.memory));

    let tail = TailLimits { keep_bytes: 0, max_bytes: u64::MAX };
    let mut bench = Bench::with(Limits::default(), MemoryOptions { tail, ..MemoryOptions::default() });
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"]), Acks::None).unwrap();
    bench.publish().await;
    bench.wal.release_memory(Lsn(u64::MAX));
    let from_disk = partition.read(from_offset(0)).await.unwrap();
    assert_eq!(from_disk.sources, ReadSources { wal: from_disk.bytes as u64, ..ReadSources::default() });
}

#[tokio::test]
async fn t23_a_consumer_that_is_a_little_behind_reads_on_the_budget_of_the_tail() {
    for (later, expected) in [(Duration::ZERO, ReadClass::Tail), (Duration::from_secs(120), ReadClass::CatchUp)] {
        let (bench, partition) = history(Wal).await;
        bench.clock.advance(later);
        let read = partition.read(from_offset(0)).await.unwrap();
        for class in ReadClass::ALL {
            let bytes = if class == expected { read.sources.store } else { 0 };
            assert_eq!(partition.shared.segments.ranges().counts(class).store_bytes, bytes, "{class:?} after {later:?}");
        }
    }
}

#[tokio::test]
async fn t1_nothing_is_served_before_it_is_durable_at_the_topics_level() {
    let mut bench = Bench::new();
    let (wal, object) = (bench.open(0, Wal), bench.open(1, Object));
    bench.wal.hold_syncs();
    for partition in [&wal, &object] {
        append(partition, &batch_of(&["a"]), Acks::All).unwrap();
    }
    bench.settle().await;
    assert!(values(&wal, 0).await.is_empty() && values(&object, 0).await.is_empty());
    bench.wal.release_syncs();
    bench.settle().await;
    assert_eq!(values(&wal, 0).await, ["a"]);
    assert!(values(&object, 0).await.is_empty(), "a crash may still take it");
    bench.publish().await;
    bench.trim();
    // Visible means readable: from the object now.
    assert_eq!(values(&object, 0).await, ["a"]);
}

#[tokio::test]
async fn offsets_beyond_the_log_are_out_of_range_and_those_above_the_high_watermark_are_not() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    append(&partition, &batch_of(&["a", "b"]), Acks::None).unwrap();
    assert!(values(&partition, 0).await.is_empty() && values(&partition, 2).await.is_empty());
    let error = partition.read(from_offset(3)).await.unwrap_err();
    assert!(matches!(error, ReadError::OutOfRange { log_end: Offset(2), log_start: Offset(0), .. }));
    bench.publish().await;
    assert!(matches!(partition.read(from_offset(-1)).await, Err(ReadError::OutOfRange { .. })));
}

#[tokio::test]
async fn t19_an_offset_inside_a_batch_returns_that_batch_from_wal_and_segment() {
    let (_bench, partition) = history(Wal).await;
    for offset in [1, 3, 5, 7, 9] {
        let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(offset) }).await.unwrap();
        let expected = [(offset - 1, (offset - 1).to_string()), (offset, offset.to_string())];
        assert_eq!(records_in(&read.batches), expected);
    }
}

#[tokio::test]
async fn t19_an_offset_in_a_gap_returns_the_next_batch() {
    let bench = Bench::new();
    bench.metadata.begin_at(id(0), 0);
    let key = |number| ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(number) };
    // Compaction left offsets 10-11 and 20-21 of a segment, and 40-41 of the next, which begins at 40; the published end is 42.
    for (number, bases) in [(1, vec![10, 20]), (2, vec![40])] {
        let stamped = |base| records::stamp(batch_of(&["x", "y"]), Offset(base), LeaderEpoch(1), None);
        let batches: Vec<_> = bases.iter().map(|base| (stamped(*base), Timestamp(START_MS))).collect();
        let parts = put_object(&bench.store, key(number), BTreeMap::from([(id(0), batches)])).await;
        for (partition, mut segment, batches) in parts {
            segment.end = if number == 1 { Offset(30) } else { segment.end };
            bench.metadata.publish(partition, segment, &batches);
        }
    }
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["z"]), Acks::All).unwrap().ticket.await.unwrap();
    for (offset, expected) in [(0, 10), (9, 10), (12, 20), (19, 20), (22, 40), (30, 40), (39, 40), (42, 42)] {
        let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(offset) }).await.unwrap();
        assert_eq!(records_in(&read.batches).first().map(|record| record.0), Some(expected), "offset {offset}");
    }
}

#[tokio::test]
async fn t19_a_gap_that_nothing_follows_is_read_as_batches_without_records() {
    let bench = Bench::new();
    let end = 5 + (1_i64 << 32);
    bench.metadata.leave_gap(id(0), 5, end, 7);
    let partition = bench.open(0, Wal);
    let mut next = 5;
    for expected in [i64::from(i32::MAX), 2 * i64::from(i32::MAX), 1 << 32] {
        let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(next) }).await.unwrap();
        let header = BatchHeader::parse(&read.batches[0]).unwrap();
        assert_eq!((read.batches.len(), header.records, header.leader_epoch), (1, 0, LeaderEpoch(7)));
        assert_eq!((header.base_offset.0, header.next_offset().0), (next, 5 + expected));
        assert_eq!(read.next_offset, header.next_offset());
        next = read.next_offset.0;
    }
    assert_eq!(partition.read(from_offset(5)).await.unwrap().batches.len(), 3, "as many as fit");
    assert_eq!(partition.read(from_offset(end)).await.unwrap().batches.len(), 0);
    append(&partition, &batch_of(&["z"]), Acks::All).unwrap().ticket.await.unwrap();
    let read = partition.read(from_offset(5)).await.unwrap();
    assert_eq!(records_in(&read.batches), [(end, "z".to_owned())], "and what follows it in its place");
}

#[tokio::test(start_paused = true)]
async fn t20_a_store_slower_than_its_readers_patience_makes_progress() {
    let (bench, partition) = history(Object).await;
    bench.store.script(Operation::GetRange, [Fault::Delay(Duration::from_secs(2)); 2]);
    let patience = Duration::from_millis(500);
    let mut tries = 0;
    let read = loop {
        tries += 1;
        match tokio::time::timeout(patience, partition.read(from_offset(0))).await {
            Ok(read) => break read.unwrap(),
            Err(_) => assert!(tries < 20, "the reader begins anew each time"),
        }
    };
    assert_eq!(records_in(&read.batches).len(), 8);
    assert!(1 < tries);
}

/// With many small segments and a slow store a reader would else hear nothing until all of a large answer is there.
#[tokio::test(start_paused = true)]
async fn t20_an_answer_goes_out_in_time_with_what_there_is_of_it() {
    for (delays, hears_after) in [([0, 60_000], 500), ([60_000, 90_000], 60_000)] {
        let (bench, partition) = history(Object).await;
        bench.store.script(Operation::GetRange, delays.map(|ms| Fault::Delay(Duration::from_millis(ms))));
        let started = Instant::now();
        let answer_by = Some(started + Duration::from_millis(500));
        let read = partition.read(ReadRequest { answer_by, ..from_offset(0) }).await.unwrap();
        assert_eq!((records_in(&read.batches).len(), read.next_offset.0), (4, 4), "the first segment, after {delays:?}");
        assert_eq!(started.elapsed(), Duration::from_millis(hears_after));
    }
}

#[tokio::test]
async fn t21_budgets_are_kept_and_the_first_batch_comes_whatever_its_size() {
    let (_bench, partition) = history(Wal).await;
    let size = partition.read(from_offset(8)).await.unwrap().bytes;
    let count = async |offset, max_bytes, at_least_one| {
        let request = ReadRequest { max_bytes, at_least_one, ..from_offset(offset) };
        partition.read(request).await.unwrap().batches.len()
    };
    for offset in [0, 8] {
        assert_eq!(count(offset, 0, true).await, 1);
        assert_eq!(count(offset, size - 1, false).await, 0);
        assert_eq!(count(offset, size, false).await, 1);
    }
    assert_eq!(count(0, 3 * size, false).await, 3);
    assert_eq!(count(0, 3 * size - 1, true).await, 2);
    assert_eq!(count(6, 10 * size, false).await, 2);
}

#[tokio::test]
async fn t22_a_sequential_reader_asks_metadata_once_per_page_and_not_per_read() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    for n in 0..30 {
        append(&partition, &batch_of(&[&n.to_string()]), Acks::None).unwrap();
        bench.publish().await;
    }
    bench.trim();
    bench.settle().await;
    let before = bench.metadata.lookups.load(std::sync::atomic::Ordering::Relaxed);
    for n in 0..30 {
        let read = partition.read(ReadRequest { max_bytes: 1, ..from_offset(n) }).await.unwrap();
        assert_eq!(records_in(&read.batches), [(n, n.to_string())]);
    }
    assert_eq!(bench.metadata.lookups.load(std::sync::atomic::Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn a_segment_above_a_mebibyte_is_read_by_its_index() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    let long = "v".repeat(100_000);
    for n in 0..40 {
        append(&partition, &batch_at([(START_MS + n, long.as_str()), (START_MS + n, "end")]), Acks::None).unwrap();
    }
    bench.publish().await;
    bench.trim();
    bench.settle().await;
    for offset in [0, 1, 37, 78, 79] {
        let read = partition.read(ReadRequest { max_bytes: 300_000, ..from_offset(offset) }).await.unwrap();
        assert_eq!(records_in(&read.batches)[0].0, offset / 2 * 2);
        assert!(read.bytes <= 300_000 && (read.batches.len() == 2 || 78 <= offset), "{} batches", read.batches.len());
    }
    let mut offset = 0;
    let mut seen = Vec::new();
    while offset < 80 {
        let read = partition.read(ReadRequest { max_bytes: 300_000, ..from_offset(offset) }).await.unwrap();
        seen.extend(records_in(&read.batches).into_iter().map(|record| record.0));
        offset = read.next_offset.0;
    }
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
    let found = partition.offset_for_timestamp(Timestamp(START_MS + 33), Isolation::ReadUncommitted).await.unwrap().unwrap();
    assert_eq!((found.offset.0, found.timestamp.0), (66, START_MS + 33));
}

#[tokio::test]
async fn t13_an_object_that_was_replaced_is_found_under_its_new_key() {
    let (bench, partition) = history(Wal).await;
    assert_eq!(values(&partition, 0).await.len(), 10);
    let rewrite = rewritten(&bench).await;
    // A reader that has the old list, and nothing in its cache.
    let reader = another_reader(&bench);
    reader.refresh_log_start().await.unwrap();
    rewrite.replace(&bench).await;
    assert_eq!(values(&reader, 0).await, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

/// The same records in one object of another key.
struct Rewrite {
    old: Vec<SegmentRef>,
    new: Vec<SegmentRef>,
}

async fn rewritten(bench: &Bench) -> Rewrite {
    let old = bench.metadata.segments_of(id(0));
    let mut batches = Vec::new();
    for segment in &old {
        let range = segment.position..segment.position + segment.bytes;
        let bytes = bench.store.get_range(&segment.object.to_string(), range).await.unwrap();
        batches.extend(records::batches(bytes).map(|batch| (batch.unwrap().bytes, Timestamp(START_MS))));
    }
    let key = ObjectKey::Topic { partition: id(0), base: Offset(0), broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(99) };
    let parts = put_object(&bench.store, key, BTreeMap::from([(id(0), batches)])).await;
    Rewrite { old, new: parts.into_iter().map(|part| part.1).collect() }
}

impl Rewrite {
    /// The old objects are deleted without any grace.
    async fn replace(self, bench: &Bench) {
        bench.metadata.replace_segments(id(0), self.new);
        let keys: Vec<_> = self.old.iter().map(|segment| segment.object.to_string()).collect();
        bench.store.delete(&keys).await;
    }
}

/// The same partition with empty caches.
fn another_reader(bench: &Bench) -> Arc<Partition> {
    let other = new_partitions_over(bench.wal.clone(), &bench.store, &bench.metadata, &bench.clock, bench.limits);
    other.finish_recovery();
    other.open(bench.metadata.state(id(0), LeaderEpoch(1), Wal), create_time())
}

#[tokio::test(start_paused = true)]
async fn t12_an_object_that_is_replaced_and_deleted_while_it_is_read_is_no_error() {
    let (bench, _partition) = history(Wal).await;
    let rewrite = rewritten(&bench).await;
    let reader = another_reader(&bench);
    // The list is fresh; its objects are gone when the requests for them arrive.
    bench.store.script(Operation::GetRange, [Fault::Delay(Duration::from_secs(1)); 2]);
    let reading = tokio::spawn(async move { values(&reader, 0).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    rewrite.replace(&bench).await;
    assert_eq!(reading.await.unwrap(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(bench.store.scripted(), 0);
}

#[tokio::test]
async fn reads_go_on_from_an_old_segment_into_the_one_that_replaced_it() {
    let (bench, _partition) = history(Wal).await;
    let rewrite = rewritten(&bench).await;
    let reader = another_reader(&bench);
    // The first of the old segments is in the cache.
    let first = reader.read(ReadRequest { max_bytes: 1, ..from_offset(0) }).await.unwrap();
    assert_eq!(records_in(&first.batches).len(), 2);
    rewrite.replace(&bench).await;
    let mut seen = Vec::new();
    let mut offset = 0;
    while offset < 8 {
        let read = reader.read(from_offset(offset)).await.unwrap();
        seen.extend(records_in(&read.batches).into_iter().map(|record| record.0));
        offset = read.next_offset.0;
    }
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_segment_whose_object_is_missing_is_an_error_and_not_an_end() {
    let (bench, partition) = history(Object).await;
    let keys: Vec<_> = bench.metadata.segments_of(id(0)).iter().map(|segment| segment.object.to_string()).collect();
    bench.store.delete(&keys).await;
    let read = partition.read(from_offset(0)).await;
    assert!(matches!(read, Err(ReadError::Store { source: store::StoreError::NotFound { .. }, .. })));
    let sought = partition.offset_for_timestamp(Timestamp(0), Isolation::ReadUncommitted).await;
    assert!(matches!(sought, Err(ReadError::Store { source: store::StoreError::NotFound { .. }, .. })));
    bench.store.set_outage(true);
    let read = partition.read(from_offset(0)).await;
    assert!(matches!(read, Err(ReadError::Store { source: store::StoreError::Unavailable { .. }, .. })));
}

#[tokio::test]
async fn bytes_that_were_damaged_on_their_way_are_fetched_again_and_not_kept() {
    let (bench, partition) = history(Object).await;
    bench.store.script(Operation::GetRange, [Fault::Damage; 2]);
    assert_eq!(values(&partition, 0).await, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(bench.store.scripted(), 0);
    let reader = another_reader(&bench);
    bench.store.script(Operation::GetRange, [Fault::Damage; 6]);
    assert!(matches!(reader.read(ReadRequest { max_bytes: 1, ..from_offset(0) }).await, Err(ReadError::Damaged { .. })));
    while 0 < bench.store.scripted() {
        let _ = reader.read(from_offset(0)).await;
    }
    assert_eq!(values(&reader, 0).await, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn damaged_bytes_are_an_error_and_not_records() {
    let (bench, partition) = history(Object).await;
    let segment = &bench.metadata.segments_of(id(0))[0];
    let mut shifted = segment.clone();
    shifted.position += 3;
    bench.metadata.replace_segments(id(0), vec![shifted]);
    assert!(matches!(partition.read(from_offset(0)).await, Err(ReadError::Damaged { .. })));
}

#[tokio::test]
async fn r23_a_range_published_and_trimmed_between_plan_and_read_leaves_no_hole() {
    let log = UrgencyLog::new();
    let bench = Bench::new();
    let partitions = new_partitions_over(log.clone(), &bench.store, &bench.metadata, &bench.clock, bench.limits);
    partitions.finish_recovery();
    let follower = tokio::spawn(Arc::clone(&partitions).run());
    let partition = partitions.open(bench.metadata.state(id(0), LeaderEpoch(1), Wal), create_time());
    for values in [["0", "1"], ["2", "3"], ["4", "5"]] {
        append(&partition, &batch_of(&values), Acks::All).unwrap().ticket.await.unwrap();
        if values[0] == "2" {
            log.wal.rotate();
        }
    }
    // The first two batches are uploaded; they are published and trimmed while the reader is about to read the second entry.
    let below = Lsn(3);
    let entries = log.wal.scan(Lsn::ZERO, below, usize::MAX).unwrap();
    let batches: Vec<_> = entries.iter().map(|(_, entry)| (entry.batch.clone(), entry.append_time)).collect();
    let key = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(1) };
    let mut parts = put_object(&bench.store, key, BTreeMap::from([(id(0), batches)])).await;
    let (metadata, told, trimmed) = (bench.metadata.clone(), partitions.clone(), log.clone());
    let mut reads = 0;
    *log.before_read.lock() = Some(Box::new(move || {
        reads += 1;
        if reads == 2 {
            for (partition, segment, batches) in parts.drain(..) {
                let published = metadata.publish(partition, segment, &batches);
                told.published(types::Revision(1), below, &[published]);
            }
            trimmed.wal.trim(below);
        }
    }));
    assert_eq!(values(&partition, 0).await, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(log.wal.start(), below, "the entries were trimmed under the reader");
    follower.abort();
}

#[tokio::test]
async fn an_entry_that_is_gone_and_was_never_published_is_damage_and_not_the_end_of_the_log() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.wal.rotate();
    bench.wal.trim(Lsn(2));
    assert!(matches!(partition.read(from_offset(0)).await, Err(ReadError::Damaged { .. })));
}

#[tokio::test]
async fn a_waiting_reader_hears_of_many_partitions_by_one_watch() {
    let bench = Bench::new();
    let open: Vec<_> = (0..4).map(|index| bench.open(index, Wal)).collect();
    let watch = ProgressWatch::new();
    open.iter().for_each(|partition| partition.register(&watch));
    assert!(watch.changed().now_or_never().is_none());
    append(&open[3], &batch_of(&["a"]), Acks::None).unwrap();
    watch.changed().await;
    assert_eq!(values(&open[3], 0).await, ["a"]);
}

#[tokio::test]
async fn read_committed_readers_see_up_to_the_last_stable_offset() {
    let (_bench, partition) = history(Wal).await;
    let request = ReadRequest { isolation: Isolation::ReadCommitted, class: ReadClass::Tail, ..from_offset(0) };
    let read = partition.read(request).await.unwrap();
    assert_eq!((read.batches.len(), read.offsets.last_stable_offset), (5, read.offsets.high_watermark));
}

#[tokio::test]
async fn every_offset_can_be_located() {
    let (bench, partition) = history(Wal).await;
    bench.metadata.retain_from(id(0), 1);
    partition.refresh_log_start().await.unwrap();
    assert_eq!(partition.where_is(Offset(0)).await.unwrap(), Location::Deleted { log_start: Offset(1) });
    assert!(matches!(partition.where_is(Offset(5)).await.unwrap(), Location::Segment(segment) if segment.base == Offset(4)));
    let tail = partition.where_is(Offset(9)).await.unwrap();
    assert!(matches!(tail, Location::Wal { in_memory: true, base: Offset(8), last: Offset(9), segment: None, .. }));
    assert_eq!(partition.where_is(Offset(10)).await.unwrap(), Location::NotWritten { log_end: Offset(10) });
}

/// Publishes when it is asked to, or says why not.
struct TestFlusher(tokio::sync::Mutex<Option<Bench>>);

#[async_trait::async_trait]
impl Flusher for TestFlusher {
    async fn flush(&self, below: Lsn) -> Result<(), String> {
        match self.0.lock().await.as_mut() {
            Some(bench) => bench.publish_below(below).await,
            None => return Err("the store is away".to_owned()),
        }
        Ok(())
    }
}

#[tokio::test]
async fn r21_delete_records_above_the_published_end_publishes_first() {
    let (bench, partition) = history(Wal).await;
    let away = TestFlusher(tokio::sync::Mutex::new(None));
    let refused = partition.delete_records(Some(Offset(9)), &away).await;
    assert!(matches!(refused, Err(DeleteRecordsError::NotPublished { published: Offset(8), before: Offset(9), .. })));
    assert_eq!(partition.offsets().log_start.0, 0);
    assert_eq!(partition.delete_records(Some(Offset(3)), &away).await.unwrap().0, 3);

    let flusher = TestFlusher(tokio::sync::Mutex::new(Some(bench)));
    let above = partition.delete_records(Some(Offset(11)), &flusher).await;
    assert!(matches!(above, Err(DeleteRecordsError::Read(ReadError::OutOfRange { .. }))));
    assert_eq!(partition.delete_records(Some(Offset(9)), &flusher).await.unwrap().0, 9);
    let marks = partition.offsets();
    assert_eq!((marks.log_start.0, marks.published_end.0), (9, 10));
    assert_eq!(partition.delete_records(Some(Offset(2)), &flusher).await.unwrap().0, 9);
    assert_eq!(partition.delete_records(None, &flusher).await.unwrap().0, 10);
    assert!(matches!(partition.read(from_offset(9)).await, Err(ReadError::OutOfRange { .. })));
    assert!(values(&partition, 10).await.is_empty());
}
