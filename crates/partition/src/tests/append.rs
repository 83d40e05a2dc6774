use futures::FutureExt;
use tokio::sync::watch;
use types::Durability::{Object, Wal};
use types::LeaderEpoch;
use wal::{MemoryOptions, Urgency, WriteAheadLog};

use super::harness::*;
use crate::*;

fn pending(ticket: &mut AppendTicket) -> bool {
    ticket.now_or_never().is_none()
}

#[tokio::test]
async fn offsets_follow_each_other_and_the_high_watermark_follows_the_sync() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.hold_syncs();
    let mut first = append(&partition, &batch_of(&["a", "b"]), Acks::All).unwrap();
    let mut second = append(&partition, &batch_of(&["c"]), Acks::Leader).unwrap();
    assert_eq!((first.base_offset.0, first.last_offset.0, second.base_offset.0), (0, 1, 2));
    bench.settle().await;
    assert!(pending(&mut first.ticket) && pending(&mut second.ticket));
    assert_eq!((partition.offsets().high_watermark.0, partition.offsets().log_end.0), (0, 3));

    bench.wal.sync_below(types::Lsn(2));
    first.ticket.await.unwrap();
    assert!(pending(&mut second.ticket));
    assert_eq!(partition.offsets().high_watermark.0, 2);
    bench.wal.release_syncs();
    second.ticket.await.unwrap();
    assert_eq!(partition.offsets().high_watermark.0, 3);
}

#[tokio::test]
async fn an_object_topic_is_acknowledged_and_visible_when_published() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    let mut appended = append(&partition, &batch_of(&["a"]), Acks::All).unwrap();
    bench.settle().await;
    assert!(pending(&mut appended.ticket));
    assert_eq!(partition.offsets().high_watermark.0, 0);
    bench.publish().await;
    appended.ticket.await.unwrap();
    assert_eq!(partition.offsets().high_watermark.0, 1);
}

#[tokio::test]
async fn t2_a_retry_of_a_batch_that_is_not_durable_waits_with_it() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.hold_syncs();
    let batch = idempotent(7, 0, 0, 3);
    let original = append(&partition, &batch, Acks::All).unwrap();
    let mut retry = append(&partition, &batch, Acks::All).unwrap();
    bench.settle().await;
    assert!(retry.duplicate && pending(&mut retry.ticket), "to answer now would acknowledge what a crash can still take");
    assert_eq!((retry.base_offset, retry.last_offset, partition.offsets().log_end.0), (original.base_offset, original.last_offset, 3));
    bench.wal.release_syncs();
    retry.ticket.await.unwrap();
}

#[tokio::test]
async fn t2_a_failed_sync_fails_the_retry_too_and_nothing_is_acknowledged_afterwards() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.hold_syncs();
    let batch = idempotent(7, 0, 0, 3);
    let original = append(&partition, &batch, Acks::All).unwrap();
    let retry = append(&partition, &batch, Acks::All).unwrap();
    bench.wal.fail_next_sync("disk on fire");
    bench.wal.release_syncs();
    for ticket in [original.ticket, retry.ticket] {
        assert!(matches!(ticket.await, Err(AppendError::LogStopped { reason }) if &*reason == "disk on fire"));
    }
    assert!(matches!(append(&partition, &idempotent(7, 0, 3, 1), Acks::None), Err(AppendError::LogStopped { .. })));
    assert_eq!(partition.offsets().high_watermark.0, 0);
}

#[tokio::test]
async fn r4_what_was_synced_before_the_log_stopped_is_still_acknowledged_by_its_publish() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    bench.wal.hold_syncs();
    let mut synced = append(&partition, &batch_of(&["a"]), Acks::All).unwrap();
    let lost = append(&partition, &batch_of(&["b"]), Acks::All).unwrap();
    let below = types::Lsn(2);
    bench.wal.sync_below(below);
    bench.wal.fail_next_sync("disk on fire");
    bench.wal.release_syncs();
    assert!(matches!(lost.ticket.await, Err(AppendError::LogStopped { .. })));
    assert!(pending(&mut synced.ticket));
    bench.publish_below(below).await;
    synced.ticket.await.unwrap();
}

#[tokio::test]
async fn t3_a_duplicate_returns_the_original_offset() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    let batches: Vec<_> = (0..7).map(|n| idempotent(7, 0, n * 2, 2)).collect();
    for batch in &batches {
        append(&partition, batch, Acks::All).unwrap().ticket.await.unwrap();
        append(&partition, &batch_of(&["somebody else's"]), Acks::All).unwrap().ticket.await.unwrap();
    }
    bench.publish().await;
    bench.trim();
    for (n, batch) in batches.iter().enumerate().skip(2) {
        let retry = append(&partition, batch, Acks::All).unwrap();
        assert_eq!((retry.base_offset.0, retry.last_offset.0, retry.duplicate), (n as i64 * 3, n as i64 * 3 + 1, true));
        retry.ticket.await.unwrap();
    }
    assert!(matches!(append(&partition, &batches[1], Acks::All), Err(AppendError::DuplicateSequence { kept: 5, .. })));
    assert_eq!(partition.offsets().log_end.0, 21);
}

#[tokio::test]
async fn t4_a_refused_batch_leaves_no_trace_and_says_why() {
    let options = MemoryOptions { max_bytes: 200, ..MemoryOptions::default() };
    let bench = Bench::with(Limits::default(), options);
    let partition = bench.open(0, Wal);
    let batch = idempotent(7, 0, 0, 1);
    let (mut accepted, mut refused) = (0, 0);
    for n in 0..5 {
        match append(&partition, &idempotent(7, 0, n, 1), Acks::All) {
            Ok(_) => accepted += 1,
            Err(AppendError::LogFull { limit: 200, .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        if refused == 1 {
            break;
        }
    }
    assert!(0 < accepted && refused == 1 && batch.len() < 200);
    assert_eq!(partition.offsets().log_end.0, i64::from(accepted));
    // The sequence has not moved either: after making room the same batch is new.
    let partitions = bench.partitions.usage();
    assert_eq!(partitions[0].unoffloaded_bytes, accepted as u64 * batch.len() as u64);
    bench.wal.set_free_space(10, 20);
    assert!(matches!(append(&partition, &batch_of(&["x"]), Acks::All), Err(AppendError::LogFull { .. } | AppendError::DiskFull { .. })));
}

#[tokio::test]
async fn a_batch_refused_for_want_of_space_is_new_when_there_is_room() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.set_free_space(10, 20);
    let batch = idempotent(7, 0, 0, 2);
    assert!(matches!(append(&partition, &batch, Acks::All), Err(AppendError::DiskFull { free: 10, reserve: 20 })));
    bench.wal.set_free_space(30, 20);
    let appended = append(&partition, &batch, Acks::All).unwrap();
    assert_eq!((appended.base_offset.0, appended.duplicate), (0, false));
    appended.ticket.await.unwrap();
    bench.publish().await;
    assert_eq!(bench.partitions.usage()[0].unoffloaded_bytes, 0);
}

#[tokio::test]
async fn r5_the_level_in_force_is_the_one_the_partition_was_opened_with() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"]), Acks::All).unwrap().ticket.await.unwrap();
    assert_eq!(partition.offsets().high_watermark.0, 1);
    // The topic's config says `object` now; the epoch in force is the same, and so is the level.
    let again = bench.open(0, Object);
    assert!(std::sync::Arc::ptr_eq(&partition, &again));
    assert_eq!((again.durability(), again.offsets().high_watermark.0), (Wal, 1));
    append(&again, &batch_of(&["b"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    assert_eq!(again.offsets().high_watermark.0, 2);
}

#[tokio::test]
async fn r19_new_producers_are_refused_over_the_cap_and_live_ones_go_on() {
    let limits = Limits { producers_per_partition: 2, ..Limits::default() };
    let bench = Bench::with(limits, MemoryOptions::default());
    let partition = bench.open(0, Wal);
    for producer in [1, 2] {
        append(&partition, &idempotent(producer, 0, 0, 1), Acks::All).unwrap();
    }
    assert!(matches!(append(&partition, &idempotent(3, 0, 0, 1), Acks::All), Err(AppendError::TooManyProducers { limit: 2 })));
    append(&partition, &idempotent(1, 0, 1, 1), Acks::All).unwrap();
    assert!(append(&partition, &idempotent(2, 0, 0, 1), Acks::All).unwrap().duplicate);
    append(&partition, &batch_of(&["a plain producer needs no place"]), Acks::All).unwrap();
    bench.clock.set_wall_ms(START_MS + 365 * 24 * 3_600_000);
    assert!(matches!(append(&partition, &idempotent(3, 0, 0, 1), Acks::All), Err(AppendError::TooManyProducers { .. })));
    bench.clock.advance(limits.producer_expiration);
    append(&partition, &idempotent(3, 0, 0, 1), Acks::All).unwrap();
}

#[tokio::test]
async fn r20_acks_1_on_an_object_topic_answers_after_the_sync_and_shows_nothing() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Object);
    append(&partition, &batch_of(&["a"]), Acks::Leader).unwrap().ticket.await.unwrap();
    assert_eq!(partition.offsets().high_watermark.0, 0);
    assert!(values(&partition, 0).await.is_empty());
    bench.crash(0);
    bench.recovered();
    // Nobody else led: the record is kept, under its offset.
    assert_eq!(bench.partition(0).offsets().log_end.0, 1);
    bench.publish().await;
    assert_eq!(values(&bench.partition(0), 0).await, ["a"]);
}

#[tokio::test]
async fn r24_publishing_satisfies_who_waits_for_the_sync() {
    let mut bench = Bench::new();
    let (wal, object) = (bench.open(0, Wal), bench.open(1, Object));
    bench.wal.hold_syncs();
    let on_wal = append(&wal, &batch_of(&["a"]), Acks::All).unwrap();
    let on_object = append(&object, &batch_of(&["b"]), Acks::Leader).unwrap();
    bench.publish().await;
    on_wal.ticket.await.unwrap();
    on_object.ticket.await.unwrap();
    assert_eq!((wal.offsets().high_watermark.0, object.offsets().high_watermark.0), (1, 1));
}

#[tokio::test]
async fn r24_every_append_says_who_waits_for_it() {
    let log = UrgencyLog::new();
    let bench = Bench::new();
    let partitions = new_partitions_over(log.clone(), &bench.store, &bench.metadata, &bench.clock, bench.limits);
    partitions.finish_recovery();
    let open = |index, durability| partitions.open(bench.metadata.state(id(index), LeaderEpoch(1), durability), create_time());
    let (wal, object) = (open(0, Wal), open(1, Object));
    for partition in [&wal, &object] {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            append(partition, &batch_of(&["a"]), acks).unwrap();
        }
    }
    let watch = ProgressWatch::new();
    wal.register(&watch);
    append(&wal, &batch_of(&["a consumer waits at the high watermark"]), Acks::None).unwrap();
    drop(watch);
    append(&wal, &batch_of(&["and has gone"]), Acks::None).unwrap();
    let expected = [[Urgency::Lazy, Urgency::Sync, Urgency::Sync], [Urgency::Upload, Urgency::SyncAndUpload, Urgency::Upload]];
    assert_eq!(log.seen.lock()[..6], expected.concat());
    assert_eq!(log.seen.lock()[6..], [Urgency::Sync, Urgency::Lazy]);
}

#[tokio::test]
async fn acks_0_does_not_wait_and_becomes_visible_all_the_same() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.hold_syncs();
    append(&partition, &batch_of(&["a"]), Acks::None).unwrap().ticket.await.unwrap();
    let watch = ProgressWatch::new();
    partition.register(&watch);
    assert_eq!(partition.offsets().high_watermark.0, 0);
    bench.wal.release_syncs();
    watch.changed().await;
    assert_eq!(values(&partition, 0).await, ["a"]);
}

/// Else the bytes of a producer that waits for nothing are bounded by nobody.
#[tokio::test]
async fn acks_0_counts_as_answered_once_it_is_written_or_never_will_be() {
    let bench = Bench::new();
    let log = UrgencyLog::new();
    let partitions = new_partitions_over(log.clone(), &bench.store, &bench.metadata, &bench.clock, Limits::default());
    partitions.finish_recovery();
    let partition = partitions.open(bench.metadata.state(id(0), LeaderEpoch(1), Wal), create_time());
    let (told, shown) = watch::channel(log.wal.progress().borrow().clone());
    *log.progress.lock() = Some(shown);
    let mut tickets = ["a", "b", "c"].map(|value| append(&partition, &batch_of(&[value]), Acks::None).unwrap().ticket);
    let mut resolved = || tickets.each_mut().map(|ticket| ticket.now_or_never().is_some());
    assert_eq!(resolved(), [false, false, false]);
    told.send_modify(|progress| progress.appended = progress.appended.next());
    assert_eq!(resolved(), [true, false, false]);
    told.send_modify(|progress| progress.stopped = Some("the disk is gone".into()));
    assert!(tickets[1..].iter_mut().all(|ticket| ticket.now_or_never().is_some()));
}

#[tokio::test]
async fn log_append_time_is_stamped_and_returned_for_duplicates_too() {
    let bench = Bench::new();
    let partition = bench.open_with_append_time(0, Wal);
    let batch = idempotent(7, 0, 0, 2);
    let mut later = request(&batch, Acks::All);
    later.now = types::Timestamp(START_MS + 5000);
    let appended = partition.append(later).unwrap();
    assert_eq!(appended.log_append_time, Some(types::Timestamp(START_MS + 5000)));
    appended.ticket.await.unwrap();
    let retry = append(&partition, &batch, Acks::All).unwrap();
    assert_eq!(retry.log_append_time, Some(types::Timestamp(START_MS + 5000)));
    let read = partition.read(from_offset(0)).await.unwrap();
    let records = records::decode_records(&read.batches[0], 1 << 20).unwrap();
    assert!(records.iter().all(|record| record.timestamp.0 == START_MS + 5000));
}

#[tokio::test]
async fn transactional_and_control_batches_of_clients_are_refused() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    let build = |builder: records::BatchBuilder| {
        let mut builder = builder.producer(7, 0, 0);
        builder.push(types::Timestamp(START_MS), None, Some(b"x"), &[]);
        builder.build()
    };
    let new = || records::BatchBuilder::new(records::Codec::None);
    let transactional = append(&partition, &build(new().transactional()), Acks::All);
    assert!(matches!(transactional, Err(AppendError::InvalidTransactionState { producer: 7 })));
    assert!(matches!(append(&partition, &build(new().control()), Acks::All), Err(AppendError::ControlFromClient)));
    assert_eq!(partition.offsets().log_end.0, 0);
}

#[tokio::test]
async fn closing_answers_everybody_who_waits_with_the_reason() {
    let bench = Bench::new();
    let (wal, object) = (bench.open(0, Wal), bench.open(1, Object));
    bench.wal.hold_syncs();
    let waiting = append(&wal, &batch_of(&["a"]), Acks::All).unwrap();
    let published = append(&object, &batch_of(&["a"]), Acks::All).unwrap();
    let watch = ProgressWatch::new();
    wal.register(&watch);
    let reason = CloseReason::LeadershipLost { current: LeaderEpoch(9) };
    assert!(bench.partitions.close(id(0), reason) && bench.partitions.close(id(1), CloseReason::Deleted));
    watch.changed().await;
    assert!(matches!(waiting.ticket.await, Err(AppendError::Closed { reason: found, .. }) if found == reason));
    assert!(matches!(published.ticket.await, Err(AppendError::Closed { reason: CloseReason::Deleted, .. })));
    assert!(matches!(append(&wal, &batch_of(&["b"]), Acks::All), Err(AppendError::Closed { .. })));
    assert!(matches!(wal.read(from_offset(0)).await, Err(ReadError::Closed { .. })));
    assert_eq!(bench.partitions.get(id(0)).err(), Some(NotLed { partition: id(0) }));
    bench.wal.release_syncs();
    bench.settle().await;
}

#[tokio::test]
async fn refused_publishes_close_or_halt_their_partition_and_spare_the_others() {
    let mut bench = Bench::new();
    let open: Vec<_> = (0..4).map(|index| bench.open(index, Object)).collect();
    let tickets: Vec<_> = open.iter().map(|partition| append(partition, &batch_of(&["a"]), Acks::All).unwrap().ticket).collect();
    use metadata_api::{PartitionRefusal, PartitionVerdict};
    let verdicts = [
        PartitionVerdict::Refused(PartitionRefusal::Gone),
        PartitionVerdict::Refused(PartitionRefusal::NotOwned { leader_epoch: LeaderEpoch(8) }),
        PartitionVerdict::Refused(PartitionRefusal::WrongOffset { next_offset: types::Offset(5) }),
    ];
    let part = |index: usize, verdict: &PartitionVerdict| Published {
        partition: id(index as i32),
        base: types::Offset(0),
        end: types::Offset(1),
        verdict: verdict.clone(),
    };
    let parts: Vec<_> = verdicts.iter().enumerate().map(|(index, verdict)| part(index, verdict)).collect();
    bench.partitions.published(types::Revision(3), types::Lsn(4), &parts);
    bench.publish().await;
    let answers: Vec<_> = futures::future::join_all(tickets).await;
    assert!(matches!(answers[0], Err(AppendError::Closed { reason: CloseReason::Deleted, .. })));
    assert!(matches!(answers[1], Err(AppendError::Closed { reason: CloseReason::LeadershipLost { current: LeaderEpoch(8) }, .. })));
    assert!(matches!(answers[2], Err(AppendError::Halted { .. })));
    assert!(answers[3].is_ok());
    assert!(matches!(append(&open[2], &batch_of(&["b"]), Acks::All), Err(AppendError::Halted { .. })));
    assert_eq!(values(&open[3], 0).await, ["a"]);
}

#[tokio::test]
async fn offsets_stay_within_reach_of_the_published_end() {
    let bench = Bench::new();
    let partition = bench.open(0, Wal);
    let far = bench.entry(id(0), 1, (1 << 32) - 1, &batch_of(&["far ahead"]));
    let header = records::BatchHeader::parse(&far.batch).unwrap();
    assert!(partition.recover(types::Lsn(1), LeaderEpoch(1), &header, &far));
    let refused = append(&partition, &batch_of(&["too far"]), Acks::All);
    assert!(matches!(refused, Err(AppendError::TooFarAhead { limit: 0x1_0000_0000, .. })));
}

#[tokio::test]
async fn waiting_appends_and_indexed_batches_are_bounded() {
    let limits = Limits { waiting_per_partition: 2, indexed_batches: 4, ..Limits::default() };
    let mut bench = Bench::with(limits, MemoryOptions::default());
    let partition = bench.open(0, Object);
    let first = append(&partition, &batch_of(&["a"]), Acks::All).unwrap();
    let _second = append(&partition, &batch_of(&["b"]), Acks::All).unwrap();
    assert!(matches!(append(&partition, &batch_of(&["c"]), Acks::All), Err(AppendError::TooManyWaiting { limit: 2 })));
    drop(first);
    let _third = append(&partition, &batch_of(&["c"]), Acks::All).unwrap();
    append(&partition, &batch_of(&["d"]), Acks::None).unwrap();
    assert!(matches!(append(&partition, &batch_of(&["e"]), Acks::None), Err(AppendError::TooManyUnpublished { entries: 4, limit: 4 })));
    // Published batches leave a crowded index at once, although nothing is trimmed.
    bench.publish().await;
    append(&partition, &batch_of(&["e"]), Acks::None).unwrap();
    assert_eq!(values(&partition, 0).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn ten_thousand_idle_partitions_cost_little() {
    assert!(size_of::<Partition>() <= 1024, "{} bytes", size_of::<Partition>());
}
