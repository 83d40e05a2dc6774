//! What the answer of a publish means: for the partition, for the others, for the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata_api::{PartitionRefusal, PartitionVerdict};
use offload::{OffloadError, Options};
use store::ObjectStore;
use types::*;
use wal::{Urgency, WriteAheadLog};

use crate::ledger::PublishFault;
use crate::world::*;

const P: (u8, i32) = (1, 0);
const Q: (u8, i32) = (2, 0);

fn at((topic, index): (u8, i32)) -> TopicPartition {
    partition(topic, index)
}

fn refused(why: PartitionRefusal) -> PartitionVerdict {
    PartitionVerdict::Refused(why)
}

async fn two_partitions(seed: u64) -> (World, Life) {
    let mut world = World::new(seed);
    world.create(at(P), Durability::Wal);
    world.create(at(Q), Durability::Wal);
    let life = world.start(small()).await;
    (world, life)
}

fn append_both(world: &mut World, batches: usize) {
    for _ in 0..batches {
        world.append(at(P), Urgency::Sync);
        world.append(at(Q), Urgency::Sync);
    }
}

#[tokio::test(start_paused = true)]
async fn r12_an_unknown_outcome_is_asked_about_with_the_same_request() {
    use PublishFault::*;
    let (mut world, life) = two_partitions(1).await;
    world.ledger.fail_next(&[LostAnswer, LostAnswer, LostRequest, Unavailable, Hangs]);
    append_both(&mut world, 6);
    life.handle.flush(world.end()).await.unwrap();
    let sequences: Vec<_> = world.ledger.recorded().iter().map(|request| request.sequence.0).collect();
    assert_eq!(sequences, [1, 2, 3], "each once, densely");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn t6_an_unknown_outcome_leaves_the_object_alone() {
    let (mut world, life) = two_partitions(1).await;
    world.ledger.fail_next(&[PublishFault::LostAnswer; 20]);
    append_both(&mut world, 1);
    let end = world.end();
    let flush = life.handle.flush(end);
    tokio::time::timeout(Duration::from_millis(500), flush).await.expect_err("no answer yet");
    let key = world.ledger.recorded()[0].object.unwrap().key.to_string();
    world.memory.head(&key).await.unwrap();
    assert_eq!(life.handle.status().published_end, Lsn(1), "T1: nothing is said to be published before the answer");
    assert!(life.handle.status().failing.unwrap().contains("publish"));
    life.handle.flush(end).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn t1_nobody_is_told_before_the_object_is_there_and_the_answer_is_in() {
    let (mut world, life) = two_partitions(1).await;
    world.store.script(store::Operation::Put, [store::faults::Fault::Delay(Duration::from_secs(5))]);
    world.ledger.fail_next(&[PublishFault::Hangs]);
    append_both(&mut world, 1);
    let end = world.end();
    tokio::time::timeout(Duration::from_secs(4), life.handle.flush(end)).await.expect_err("the object is on its way");
    assert_eq!((world.stored().await.len(), world.ledger.recorded().len()), (0, 0));
    tokio::time::timeout(Duration::from_secs(4), life.handle.flush(end)).await.expect_err("the answer is");
    assert_eq!((world.stored().await.len(), world.ledger.recorded().len()), (1, 1));
    assert!(world.observer.told.lock().is_empty());
    assert_eq!((life.handle.status().published_end, world.wal.trimmed.load(Ordering::Relaxed)), (Lsn(1), 1));
    life.handle.flush(end).await.unwrap();
    assert_eq!(world.observer.told.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t28_a_publish_that_is_never_answered_is_given_up_and_repeated() {
    let (mut world, life) = two_partitions(1).await;
    world.ledger.fail_next(&[PublishFault::Hangs]);
    append_both(&mut world, 1);
    tokio::time::timeout(Duration::from_secs(20), life.handle.flush(world.end())).await.unwrap().unwrap();
    assert_eq!(world.ledger.recorded().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t7_a_fenced_broker_acknowledges_nothing_and_ends() {
    let (mut world, life) = two_partitions(1).await;
    world.store.script(store::Operation::Put, [store::faults::Fault::Delay(Duration::from_secs(5))]);
    append_both(&mut world, 1);
    let (end, handle) = (world.end(), life.handle.clone());
    let waiting = tokio::spawn(async move { handle.flush(end).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another process takes over while the object is on its way.
    let other = world.start(small()).await;
    let ended = life.ended().await;
    assert!(matches!(ended, Err(OffloadError::Fenced { epoch: BrokerEpoch(1), current: BrokerEpoch(2), .. })), "{ended:?}");
    assert!(matches!(waiting.await.unwrap(), Err(OffloadError::Fenced { .. })));
    let told = world.observer.told.lock().clone();
    assert!(told.iter().all(|(_, parts)| parts.iter().all(|part| matches!(part.verdict, PartitionVerdict::Accepted { .. }))));
    other.handle.flush(world.end()).await.unwrap();
    let writers: Vec<_> = world.ledger.recorded().iter().map(|request| request.epoch).collect();
    assert!(writers.iter().all(|epoch| *epoch == BrokerEpoch(2)));
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn r13_a_deleted_topic_holds_up_nobody() {
    let (mut world, life) = two_partitions(1).await;
    world.store.script(store::Operation::Put, [store::faults::Fault::Delay(Duration::from_secs(5))]);
    append_both(&mut world, 2);
    until("the first range is being uploaded", || world.store.scripted() == 0).await;
    append_both(&mut world, 4);
    until("the others wait for it", || life.handle.status().ranges_in_flight == 3).await;
    assert!(world.ledger.recorded().is_empty());
    let end = world.end();
    // T17: meanwhile.
    world.ledger.delete(at(P).topic);
    life.handle.flush(end).await.unwrap();
    let verdicts = world.observer.verdicts_of(at(P));
    assert!(verdicts.iter().all(|verdict| *verdict == refused(PartitionRefusal::Gone)));
    assert!(!verdicts.is_empty());
    world.check_published(at(Q)).await;
    assert!(world.lost.kept.lock().is_empty());
    assert_eq!(world.wal.trimmed.load(Ordering::Relaxed), world.end().0);
}

#[tokio::test(start_paused = true)]
async fn t17_a_range_of_a_deleted_topic_alone_is_let_go_without_an_object() {
    let (mut world, life) = two_partitions(1).await;
    append_both(&mut world, 1);
    life.handle.flush(world.end()).await.unwrap();
    world.append_many(at(P), 3, Urgency::Sync);
    world.ledger.delete(at(P).topic);
    life.handle.flush(world.end()).await.unwrap();
    let last = world.ledger.recorded().pop().unwrap();
    assert_eq!((last.object, last.partitions.len(), last.end_lsn), (None, 0, world.end()));
    assert_eq!(world.stored().await.len(), 1);
    assert_eq!(world.observer.verdicts_of(at(P)).last(), Some(&refused(PartitionRefusal::Gone)));
    world.append_many(at(Q), 1, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    world.check_published(at(Q)).await;
}

#[tokio::test(start_paused = true)]
async fn r13_a_partition_that_is_not_ours_is_kept_aside_and_holds_up_nobody() {
    let (mut world, life) = two_partitions(1).await;
    append_both(&mut world, 2);
    world.ledger.take_away(at(P));
    life.handle.flush(world.end()).await.unwrap();
    assert!(matches!(world.observer.verdicts_of(at(P))[..], [PartitionVerdict::Refused(PartitionRefusal::NotOwned { .. })]));
    assert_eq!(world.lost.kept.lock()[&at(P)].len(), 2, "acknowledged records are never thrown away");
    assert_eq!(world.wal.trimmed.load(Ordering::Relaxed), world.end().0);
    world.check_published(at(Q)).await;
    let (_, object) = (life, world.ledger.recorded()[0].object.unwrap());
    assert_eq!(object.key.writer().2, ObjectNumber(1));
}

#[tokio::test(start_paused = true)]
async fn r3_refused_entries_that_cannot_be_kept_aside_stay_in_the_log() {
    let (mut world, life) = two_partitions(1).await;
    *world.lost.fails.lock() = true;
    world.ledger.take_away(at(P));
    append_both(&mut world, 6);
    life.handle.flush(world.end()).await.unwrap();
    assert_eq!(life.handle.status().trim_held_at, Some(Lsn(1)));
    assert_eq!(world.wal.trimmed.load(Ordering::Relaxed), 1);
    assert!(world.wal.read(Lsn(2)).unwrap().is_some());
    world.check_published(at(Q)).await;
}

#[tokio::test(start_paused = true)]
async fn r13_a_refused_object_partition_was_acknowledged_to_nobody_and_is_dropped() {
    let mut world = World::new(1);
    world.create(at(P), Durability::Object);
    let life = world.start(small()).await;
    world.append(at(P), Urgency::Upload);
    world.ledger.take_away(at(P));
    life.handle.flush(world.end()).await.unwrap();
    assert!(world.lost.kept.lock().is_empty());
    assert_eq!(world.wal.trimmed.load(Ordering::Relaxed), world.end().0);
}

#[tokio::test(start_paused = true)]
async fn r13_a_wrong_offset_stops_the_partition_and_keeps_its_entries() {
    let (mut world, life) = two_partitions(1).await;
    append_both(&mut world, 2);
    life.handle.flush(world.end()).await.unwrap();
    let good_end = world.end();
    world.ledger.displace(at(P), Offset(3));
    append_both(&mut world, 8);
    life.handle.flush(world.end()).await.unwrap();
    // Even if metadata would take it now: what was refused first would be missing.
    world.ledger.displace(at(P), Offset(20));
    append_both(&mut world, 1);
    life.handle.flush(world.end()).await.unwrap();

    let stop = refused(PartitionRefusal::WrongOffset { next_offset: Offset(3) });
    let verdicts = world.observer.verdicts_of(at(P));
    assert!(matches!(verdicts[0], PartitionVerdict::Accepted { .. }));
    assert!(verdicts.len() > 3 && verdicts[1..].iter().all(|verdict| *verdict == stop), "{verdicts:?}");
    let asked = world.ledger.recorded().iter().filter(|request| request.partitions.iter().any(|part| part.partition == at(P))).count();
    assert_eq!(asked, 2, "a stopped partition is not asked for again");
    assert_eq!(world.lost.kept.lock()[&at(P)].len(), 9);
    assert!(world.wal.trimmed.load(Ordering::Relaxed) <= good_end.0);
    let status = life.handle.status();
    assert_eq!((status.stopped_partitions, status.trim_held_at), (1, Some(good_end)));
    world.check_published(at(Q)).await;
}

#[tokio::test(start_paused = true)]
async fn r15_later_objects_name_the_refused_partitions_of_earlier_ones() {
    let (mut world, life) = two_partitions(1).await;
    world.ledger.take_away(at(P));
    append_both(&mut world, 1);
    life.handle.flush(world.end()).await.unwrap();
    world.append(at(Q), Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    let object = world.ledger.recorded()[1].object.unwrap();
    let bytes = world.memory.get(&object.key.to_string(), 1 << 20).await.unwrap();
    let header = segment::verify(&bytes).unwrap().header;
    assert_eq!(header.answered_through, PublishSequence(1));
    let refused: Vec<_> = header.refused.iter().map(|refused| (refused.sequence, refused.partitions.clone())).collect();
    assert_eq!(refused, [(PublishSequence(1), vec![at(P)])]);
}

#[tokio::test(start_paused = true)]
async fn r23_the_observer_is_told_before_the_log_is_trimmed() {
    // The watched log panics otherwise; here it is made sure that it had something to watch.
    let (mut world, life) = two_partitions(1).await;
    append_both(&mut world, 10);
    life.handle.flush(world.end()).await.unwrap();
    let told: Vec<_> = world.observer.told.lock().iter().map(|(end, _)| *end).collect();
    assert!(told.len() > 3 && told.is_sorted());
    assert_eq!(told.last(), Some(&world.end()));
    assert!(Lsn(1) < world.wal.start());
}

#[tokio::test(start_paused = true)]
async fn r25_a_full_log_drains_and_takes_appends_again() {
    let (mut world, life) = two_partitions(1).await;
    world.store.set_outage(true);
    append_both(&mut world, 40);
    let (before, end) = (world.wal.usage().bytes, world.end());
    tokio::time::timeout(Duration::from_secs(600), life.handle.flush(end)).await.expect_err("the store is away");
    let status = life.handle.status();
    assert!(status.failing.unwrap().contains("upload"));
    assert_eq!(status.ranges_in_flight, 3, "no more ranges are in memory than uploads are allowed");
    assert_eq!((status.unoffloaded_bytes, world.wal.usage().bytes), (before, before), "nothing is lost");
    world.store.set_outage(false);
    life.handle.flush(end).await.unwrap();
    world.wal.inner.rotate();
    world.check_all_published().await;
    assert!(world.wal.usage().bytes < 8 * BATCH);
    assert_eq!(life.handle.status().failing, None);
    assert_eq!(life.handle.status().unoffloaded_by_topic.len(), 0);
}

/// The task never rests, so time does not go on by itself.
#[tokio::test(start_paused = true)]
async fn who_appends_faster_than_the_log_is_followed_does_not_keep_it_from_being_published() {
    let (mut world, life) = two_partitions(1).await;
    world.wal.one_by_one.store(true, Ordering::Relaxed);
    let started = tokio::time::Instant::now();
    while world.ledger.recorded().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is published of {} entries", world.end());
        append_both(&mut world, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(world.ledger.published_end() < world.end(), "appends went on");
    world.wal.one_by_one.store(false, Ordering::Relaxed);
    life.handle.flush(world.end()).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn publishing_keeps_the_order_of_the_log_whatever_the_uploads_do() {
    use store::faults::Fault::Delay;
    let (mut world, life) = two_partitions(1).await;
    world.store.script(store::Operation::Put, [Delay(Duration::from_secs(9)), Delay(Duration::from_secs(3))]);
    // Ranges are built on several threads: one after another, or nobody knows which of them is delayed.
    append_both(&mut world, 2);
    until("the first range is being uploaded", || world.store.scripted() == 1).await;
    append_both(&mut world, 2);
    until("so is the second", || world.store.scripted() == 0).await;
    append_both(&mut world, 4);
    let end = world.end();
    tokio::time::timeout(Duration::from_secs(8), life.handle.flush(end)).await.expect_err("the first is not there yet");
    assert_eq!((world.stored().await.len(), world.ledger.recorded().len()), (2, 0), "the later two wait, uploaded");
    life.handle.flush(end).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn pressure_of_the_metadata_service_stretches_the_interval() {
    let mut world = World::new(1);
    world.create(at(P), Durability::Object);
    let life = world.start(Options::default()).await;
    world.ledger.set_pressure(300);
    let mut took = Vec::new();
    for _ in 0..2 {
        let started = tokio::time::Instant::now();
        world.append(at(P), Urgency::Upload);
        let end = world.end();
        until("it is published", || end <= life.handle.status().published_end).await;
        took.push(started.elapsed().as_millis());
    }
    assert!(took[0] < 50 && (1000..1050).contains(&took[1]), "{took:?}: and under pressure nothing is uploaded early");
}
