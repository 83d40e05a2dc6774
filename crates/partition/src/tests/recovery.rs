use types::Durability::{Object, Wal};
use types::{LeaderEpoch, Lsn, Offset};

use super::harness::*;
use crate::*;

#[tokio::test]
async fn r2_the_next_offset_is_the_larger_of_metadatas_and_the_logs() {
    let mut bench = Bench::new();
    let (wal, object) = (bench.open(0, Wal), bench.open(1, Object));
    append(&wal, &batch_of(&["a", "b"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.wal.hold_syncs();
    append(&object, &batch_of(&["c", "d", "e"]), Acks::All).unwrap();
    // Published from memory, and lost from the log by the power cut.
    bench.publish().await;
    append(&wal, &batch_of(&["never synced"]), Acks::All).unwrap();
    bench.crash(0);
    bench.recovered();
    let ends = [0, 1].map(|index| bench.partition(index).offsets().log_end.0);
    assert_eq!(ends, [2, 3]);
    let appended = append(&bench.partition(1), &batch_of(&["f"]), Acks::All).unwrap();
    assert_eq!(appended.base_offset.0, 3);
    assert_eq!(values(&bench.partition(1), 0).await, ["c", "d", "e"]);
}

#[tokio::test]
async fn t3_a_retry_after_a_restart_gets_its_original_offset_from_log_and_metadata() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    let (published, in_log) = (idempotent(7, 0, 0, 2), idempotent(7, 0, 2, 3));
    append(&partition, &published, Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    bench.trim();
    append(&partition, &in_log, Acks::All).unwrap().ticket.await.unwrap();
    bench.crash(0);
    bench.recovered();
    let partition = bench.partition(0);
    for (batch, base) in [(&published, 0), (&in_log, 2)] {
        let retry = append(&partition, batch, Acks::All).unwrap();
        assert_eq!((retry.base_offset.0, retry.duplicate), (base, true));
        retry.ticket.await.unwrap();
    }
    assert_eq!(append(&partition, &idempotent(7, 0, 5, 1), Acks::All).unwrap().base_offset.0, 5);
}

#[tokio::test]
async fn a_retry_of_an_unpublished_batch_of_an_object_topic_waits_for_its_publish_after_a_restart_too() {
    let mut bench = Bench::new();
    let batch = idempotent(7, 0, 0, 2);
    append(&bench.open(0, Object), &batch, Acks::Leader).unwrap().ticket.await.unwrap();
    bench.crash(0);
    bench.recovered();
    let mut retry = append(&bench.partition(0), &batch, Acks::All).unwrap();
    bench.settle().await;
    assert!(retry.duplicate && futures::FutureExt::now_or_never(&mut retry.ticket).is_none());
    bench.publish().await;
    retry.ticket.await.unwrap();
}

#[tokio::test]
async fn r17_while_recovering_no_offset_is_out_of_range() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a", "b"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.crash(0);
    let partition = bench.partition(0);
    for offset in [0, 1, 2, 1000] {
        assert!(matches!(partition.read(from_offset(offset)).await, Err(ReadError::Recovering { .. })));
    }
    assert!(matches!(partition.epoch_end_offset(LeaderEpoch(1)), Err(ReadError::Recovering { .. })));
    assert!(matches!(partition.readable_offsets(), Err(ReadError::Recovering { .. })));
    let seek = partition.offset_for_timestamp(types::Timestamp(0), Isolation::ReadUncommitted).await;
    assert!(matches!(seek, Err(ReadError::Recovering { .. })));
    assert!(matches!(append(&partition, &batch_of(&["c"]), Acks::All), Err(AppendError::Recovering { .. })));
    bench.recovered();
    assert_eq!(values(&partition, 0).await, ["a", "b"]);
    assert!(matches!(partition.read(from_offset(1000)).await, Err(ReadError::OutOfRange { .. })));
}

#[tokio::test]
async fn r17_a_new_epoch_begins_at_its_first_batch_and_not_at_the_published_end() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"; 100]), Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    append(&partition, &batch_of(&["b"; 100]), Acks::All).unwrap().ticket.await.unwrap();
    bench.crash(0);
    bench.recovered();
    let partition = bench.partition(0);
    let end = |epoch| partition.epoch_end_offset(LeaderEpoch(epoch)).unwrap().map(|end| (end.epoch.0, end.end.0));
    // A consumer at 150 that read epoch 1 is not told to go back.
    assert_eq!((end(1), end(2), end(3)), (Some((1, 200)), Some((2, 200)), None));
    append(&partition, &batch_of(&["c"; 10]), Acks::All).unwrap().ticket.await.unwrap();
    assert_eq!((end(1), end(2)), (Some((1, 200)), Some((2, 210))));
}

#[tokio::test]
async fn r12_entries_whose_offsets_are_taken_are_kept_aside_and_served_from_where_they_are_published() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a", "b"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    // The same offsets again, under a higher LSN: only the LSN says what is published, so these are somebody else's.
    let stale = bench.entry(id(0), 1, 0, &batch_of(&["x", "y"]));
    bench.crash(0);
    assert_eq!(bench.partitions.recover(Lsn(77), &stale).unwrap(), Recovered::KeptAside);
    bench.recovered();
    assert_eq!(values(&bench.partition(0), 0).await, ["a", "b"]);
}

#[tokio::test]
async fn r16_a_newer_ownership_serves_nothing_of_the_older_ones_log() {
    let bench = Bench::new();
    let ours = bench.open(0, Wal);
    append(&ours, &batch_of(&["ours", "ours"]), Acks::All).unwrap().ticket.await.unwrap();
    // Another broker led in between and published other records at these offsets.
    let theirs = records::stamp(batch_of(&["theirs", "theirs"]), Offset(0), LeaderEpoch(5), None);
    let key = types::ObjectKey::Shared { broker: types::BrokerId(2), epoch: types::BrokerEpoch(4), number: types::ObjectNumber(1) };
    let batches = std::collections::BTreeMap::from([(id(0), vec![(theirs, types::Timestamp(START_MS))])]);
    for (partition, segment, batches) in put_object(&bench.store, key, batches).await {
        bench.metadata.publish(partition, segment, &batches);
    }
    let again = bench.partitions.open(bench.metadata.state(id(0), LeaderEpoch(6), Wal), create_time());
    assert!(matches!(append(&ours, &batch_of(&["late"]), Acks::All), Err(AppendError::Closed { .. })));
    assert_eq!(values(&again, 0).await, ["theirs", "theirs"]);
    assert_eq!(append(&again, &batch_of(&["next"]), Acks::All).unwrap().base_offset.0, 2);
    // An older state that arrives late changes nothing.
    let late = bench.partitions.open(bench.metadata.state(id(0), LeaderEpoch(5), Wal), create_time());
    assert!(std::sync::Arc::ptr_eq(&again, &late));
}

#[tokio::test]
async fn entries_of_unknown_topics_are_an_error_and_those_of_unled_partitions_are_kept_aside() {
    let bench = Bench::new();
    let entry = bench.entry(id(3), 1, 0, &batch_of(&["a"]));
    assert_eq!(bench.partitions.recover(Lsn(1), &entry).unwrap(), Recovered::KeptAside);
    bench.metadata.forget_topic();
    let error = bench.partitions.recover(Lsn(1), &entry).unwrap_err();
    assert_eq!(error, RecoverError::UnknownTopic { lsn: Lsn(1), partition: id(3) });
}

#[tokio::test]
async fn an_entry_that_contradicts_its_batch_is_damage() {
    let bench = Bench::new();
    bench.open(0, Wal);
    let mut entry = bench.entry(id(0), 1, 0, &batch_of(&["a"]));
    entry.batch = records::stamp(entry.batch, Offset(5), LeaderEpoch(1), None);
    assert!(matches!(bench.partitions.recover(Lsn(1), &entry), Err(RecoverError::Damaged { .. })));
    entry.batch.truncate(30);
    assert!(matches!(bench.partitions.recover(Lsn(1), &entry), Err(RecoverError::Damaged { .. })));
}

#[tokio::test]
async fn what_waits_for_the_store_is_counted_until_it_is_published_and_not_until_it_is_trimmed() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    let batch = batch_of(&["a", "b"]);
    for _ in 0..3 {
        append(&partition, &batch, Acks::All).unwrap().ticket.await.unwrap();
    }
    let usage = partition.usage();
    assert_eq!((usage.unoffloaded_bytes, usage.oldest_append), (3 * batch.len() as u64, Some(types::Timestamp(START_MS))));
    bench.publish_below(Lsn(3)).await;
    assert_eq!(partition.usage().unoffloaded_bytes, batch.len() as u64);
    bench.crash(0);
    bench.recovered();
    assert_eq!(bench.partition(0).usage().unoffloaded_bytes, batch.len() as u64);
    bench.publish().await;
    assert_eq!((bench.partition(0).usage().unoffloaded_bytes, bench.partition(0).usage().oldest_append), (0, None));
}
