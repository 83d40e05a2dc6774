//! R5: durability altered while there is data. What the leader does by itself; when a level comes into force is for metadata to say.

use futures::FutureExt;
use types::Durability::{Object, Wal};
use wal::WriteAheadLog;

use super::harness::*;
use crate::*;

/// The leader sees the newest image.
fn see_image(bench: &Bench, partition: &std::sync::Arc<Partition>) {
    partition.follow_durability(bench.metadata.levels(partition.id()));
}

fn alter(bench: &Bench, partition: &std::sync::Arc<Partition>, level: types::Durability) {
    bench.metadata.alter(partition.id(), level);
    see_image(bench, partition);
}

/// What is pending comes into force, and the leader sees it.
fn enforce(bench: &Bench, partition: &std::sync::Arc<Partition>) {
    let pending = partition.pending_durability().unwrap();
    assert!(bench.metadata.enforce(pending.change), "{pending:?}");
    see_image(bench, partition);
}

#[tokio::test(start_paused = true)]
async fn r5_the_high_watermark_stays_when_a_topic_is_altered_to_object() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"]), Acks::All).unwrap();
    bench.publish().await;
    append(&partition, &batch_of(&["b"]), Acks::All).unwrap().ticket.await.unwrap();
    alter(&bench, &partition, Object);
    assert_eq!((partition.offsets().high_watermark.0, partition.offsets().published_end.0), (2, 1));
    assert_eq!(values(&partition, 0).await, ["a", "b"]);

    let mut later = append(&partition, &batch_of(&["c"]), Acks::All).unwrap().ticket;
    bench.settle().await;
    assert!((&mut later).now_or_never().is_none(), "the sync is not enough any more");
    assert_eq!(partition.offsets().high_watermark.0, 2);
    let pending = partition.pending_durability().unwrap();
    let second = bench.wal.progress().borrow().appended.0 - 1;
    assert_eq!((pending.change.log_end.0, pending.publish_below.map(|lsn| lsn.0)), (2, Some(second)));
    assert!(!bench.metadata.enforce(pending.change), "b is acknowledged and not published");

    bench.publish().await;
    later.await.unwrap();
    assert_eq!(partition.offsets().high_watermark.0, 3);
    enforce(&bench, &partition);
    assert_eq!((partition.pending_durability(), partition.durability()), (None, Object));
}

#[tokio::test(start_paused = true)]
async fn r5_a_batch_that_waits_keeps_the_stronger_level() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    bench.wal.hold_syncs();
    let mut all = append(&partition, &batch_of(&["a"]), Acks::All).unwrap().ticket;
    let leader = append(&partition, &batch_of(&["b"]), Acks::Leader).unwrap().ticket;
    alter(&bench, &partition, Object);
    bench.wal.release_syncs();
    bench.settle().await;
    assert!((&mut all).now_or_never().is_none(), "it waits for the publish now");
    leader.await.unwrap();
    bench.publish().await;
    all.await.unwrap();
    enforce(&bench, &partition);

    let mut all = append(&partition, &batch_of(&["c"]), Acks::All).unwrap().ticket;
    alter(&bench, &partition, Wal);
    enforce(&bench, &partition);
    bench.settle().await;
    assert_eq!(partition.offsets().high_watermark.0, 3, "visible: it is synced");
    assert!((&mut all).now_or_never().is_none(), "and still waits for the publish");
    append(&partition, &batch_of(&["d"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    all.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r5_nothing_is_acknowledged_by_the_sync_before_wal_is_in_force() {
    let bench = Bench::new();
    let partition = bench.open(0, Object);
    alter(&bench, &partition, Wal);
    let mut waits = append(&partition, &batch_of(&["a"]), Acks::All).unwrap().ticket;
    bench.settle().await;
    assert!((&mut waits).now_or_never().is_none());
    assert_eq!((partition.durability(), partition.offsets().high_watermark.0), (Object, 0));
    assert_eq!(partition.pending_durability().unwrap().publish_below, None, "nothing need be published for the weaker level");
    enforce(&bench, &partition);
    bench.settle().await;
    assert_eq!(partition.offsets().high_watermark.0, 1);
}

#[tokio::test(start_paused = true)]
async fn r5_what_nobody_waited_for_becomes_visible_by_its_sync_when_a_topic_is_altered_to_wal() {
    let bench = Bench::new();
    let partition = bench.open(0, Object);
    bench.wal.hold_syncs();
    append(&partition, &batch_of(&["a"]), Acks::None).unwrap();
    append(&partition, &batch_of(&["b"]), Acks::None).unwrap();
    alter(&bench, &partition, Wal);
    enforce(&bench, &partition);
    assert_eq!(partition.offsets().high_watermark.0, 0, "not synced");
    bench.wal.release_syncs();
    bench.settle().await;
    assert_eq!(values(&partition, 0).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn r5_a_crash_between_the_alteration_and_the_publish_takes_nothing_back() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a", "b"]), Acks::All).unwrap().ticket.await.unwrap();
    alter(&bench, &partition, Object);
    bench.crash(0);
    bench.recovered();
    let again = bench.partition(0);
    assert_eq!(again.offsets().high_watermark.0, 2, "it counts by the level in force, before the configured one is known");
    see_image(&bench, &again);
    assert_eq!((again.offsets().high_watermark.0, again.durability()), (2, Object));
    assert_eq!(again.pending_durability().unwrap().change.log_end.0, 2);
    bench.publish().await;
    enforce(&bench, &again);
    bench.crash(0);
    bench.recovered();
    assert_eq!((bench.partition(0).durability(), bench.partition(0).offsets().high_watermark.0), (Object, 2));
}

#[tokio::test(start_paused = true)]
async fn r5_an_alteration_that_is_taken_back_does_not_come_into_force_late() {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    append(&partition, &batch_of(&["a"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.publish().await;
    alter(&bench, &partition, Object);
    let late = partition.pending_durability().unwrap().change;
    alter(&bench, &partition, Wal);
    assert_eq!((partition.pending_durability(), partition.durability()), (None, Wal));
    append(&partition, &batch_of(&["b"]), Acks::All).unwrap().ticket.await.unwrap();
    bench.metadata.enforce(late);
    see_image(&bench, &partition);
    assert_eq!((partition.durability(), bench.metadata.levels(partition.id()).in_force), (Wal, Wal));
}
