//! What becomes a range, when, and what is published of each partition in it.

use std::time::Duration;

use offload::Options;
use store::ObjectStore;
use tokio::time::Instant;
use types::*;
use wal::Urgency;

use crate::world::*;

fn p() -> TopicPartition {
    partition(1, 0)
}

fn never_early() -> Options {
    Options { early_per_minute: 0, ..Options::default() }
}

async fn one_partition(durability: Durability, options: Options) -> (World, Life) {
    let mut world = World::new(1);
    world.create(p(), durability);
    let life = world.start(options).await;
    (world, life)
}

/// Waits until `count` publishes were recorded, and says how long that took.
async fn published(world: &World, count: usize) -> u128 {
    let started = Instant::now();
    until("everything is published", || count <= world.ledger.recorded().len()).await;
    started.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn r24_an_entry_of_an_object_topic_is_published_without_anybody_asking() {
    let (mut world, _life) = one_partition(Durability::Object, never_early()).await;
    world.wal.inner.hold_syncs();
    world.append(p(), Urgency::Upload);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.append(p(), Urgency::Upload);
    let took = published(&world, 1).await;
    assert!((50..80).contains(&took), "{took} ms after 200: the interval runs from the first that waits");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn r24_what_is_appended_while_a_range_is_sealed_has_an_interval_of_its_own() {
    let (mut world, _life) = one_partition(Durability::Object, never_early()).await;
    world.append(p(), Urgency::Upload);
    world.wal.during_seal.lock().replace((world.next_entry(p()), Urgency::Upload));
    let took = [published(&world, 1).await, published(&world, 2).await];
    assert!(took.iter().all(|took| (245..260).contains(took)), "{took:?}: no upload is paid for twice");
    assert_eq!(world.ledger.published_end(), world.end());
}

#[tokio::test(start_paused = true)]
async fn who_waits_alone_is_served_before_the_interval_until_the_budget_is_used_up() {
    let (mut world, _life) = one_partition(Durability::Object, Options::default()).await;
    let mut took = Vec::new();
    for count in 1..=11 {
        world.append(p(), Urgency::Upload);
        took.push(published(&world, count).await);
    }
    assert!(took[..10].iter().all(|took| *took < 50), "{took:?}");
    assert!((245..260).contains(&took[10]), "{took:?}: the interval is the rule");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.append(p(), Urgency::Upload);
    assert!(published(&world, 12).await < 50, "one a second");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_life_and_a_flush_that_have_nothing_to_do_hurry_nothing_that_comes_later() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.append_many(p(), 3, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    world.crash(life, 0).await;
    let life = world.start(Options::default()).await;
    life.handle.flush(world.end()).await.unwrap();
    world.append(p(), Urgency::Sync);
    let took = published(&world, 2).await;
    assert!((10_000..10_050).contains(&took), "{took}");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn t10_an_image_that_goes_back_is_no_deletion() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.append(p(), Urgency::Sync);
    world.ledger.show_image_from_before();
    life.handle.flush(world.end()).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_published_at_its_age_together_with_what_came_later() {
    let (mut world, _life) = one_partition(Durability::Wal, Options::default()).await;
    world.append(p(), Urgency::Sync);
    tokio::time::sleep(Duration::from_secs(9)).await;
    world.append(p(), Urgency::Lazy);
    let took = published(&world, 1).await;
    assert!((1000..1050).contains(&took), "{took}");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn a_range_is_sealed_by_size_and_never_larger_than_its_limit() {
    let (mut world, _life) = one_partition(Durability::Wal, small()).await;
    world.append_many(p(), 30, Urgency::Sync);
    let took = published(&world, 6).await;
    assert!(took < 100, "{took}");
    for request in world.ledger.recorded() {
        assert!(request.partitions.iter().map(|part| part.segment.bytes).sum::<u64>() <= small().max_bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_a_range_is_a_range_of_its_own() {
    let (mut world, life) = one_partition(Durability::Wal, Options { bytes: 1, max_bytes: 1, ..small() }).await;
    world.append_many(p(), 5, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    assert_eq!(world.ledger.recorded().len(), 5);
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn one_range_holds_every_topic_grouped_by_partition() {
    let mut world = World::new(1);
    let all = [partition(1, 0), partition(1, 1), partition(2, 0), partition(3, 0)];
    for partition in all {
        world.create(partition, if partition == p() { Durability::Object } else { Durability::Wal });
    }
    let life = world.start(Options::default()).await;
    for _ in 0..3 {
        all.iter().rev().for_each(|partition| _ = world.append(*partition, Urgency::Sync));
    }
    life.handle.flush(world.end()).await.unwrap();
    let recorded = world.ledger.recorded();
    assert_eq!((recorded.len(), recorded[0].first_lsn, recorded[0].end_lsn), (1, Lsn(1), world.end()));
    assert_eq!(recorded[0].partitions.iter().map(|part| part.partition).collect::<Vec<_>>(), all);
    assert_eq!(recorded[0].synced.next(), world.end(), "R11: the highest LSN synced");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn r15_an_object_answers_for_the_ranges_before_it_that_needed_none() {
    let mut world = World::new(1);
    let gone = partition(2, 0);
    world.create(p(), Durability::Wal);
    world.create(gone, Durability::Wal);
    let life = world.start(small()).await;
    let mut append_and_publish = async |partition| {
        world.append(partition, Urgency::Sync);
        if partition == gone {
            world.ledger.delete(gone.topic);
        }
        life.handle.flush(world.end()).await.unwrap();
    };
    append_and_publish(p()).await;
    append_and_publish(gone).await;
    append_and_publish(p()).await;
    append_and_publish(p()).await;
    let mut headers = Vec::new();
    for request in world.ledger.recorded() {
        if let Some(object) = request.object {
            let contents = segment::contents(&world.memory.get(&object.key.to_string(), 1 << 20).await.unwrap()).unwrap();
            headers.push((contents.header.first_lsn, contents.header.end_lsn));
        }
    }
    // The log begins with the start of the epoch.
    assert_eq!(headers, [(Lsn(1), Lsn(3)), (Lsn(3), Lsn(5)), (Lsn(5), Lsn(6))]);
}

#[tokio::test(start_paused = true)]
async fn an_object_alone_gives_back_all_that_was_published() {
    let (mut world, life) = one_partition(Durability::Wal, small()).await;
    world.append_many(p(), 8, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    for request in world.ledger.recorded() {
        let key = request.object.unwrap().key;
        let contents = segment::verify(&world.memory.get(&key.to_string(), 1 << 20).await.unwrap()).unwrap();
        assert_eq!((contents.header.first_lsn, contents.header.end_lsn), (request.first_lsn, request.end_lsn));
        assert_eq!((contents.key, contents.header.sequence), (key, request.sequence));
        let [part] = &request.partitions[..] else { panic!("one partition") };
        assert_eq!(contents.segments[0].segment, part.segment);
        assert_eq!(contents.segments[0].producers.windows, [(100, part.producers[0].window.clone())]);
    }
}

#[tokio::test(start_paused = true)]
async fn t2_t3_r19_producer_windows_are_whole_and_as_of_the_segments_end() {
    let (mut world, life) = one_partition(Durability::Wal, small()).await;
    world.append_many(p(), 8, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    world.crash(life, 0).await;
    let life = world.start(small()).await;
    world.append_many(p(), 3, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();

    for request in world.ledger.recorded() {
        let part = &request.partitions[0];
        let window = &part.producers[0].window;
        assert_eq!(window.batches.back().unwrap().last_offset + 1, part.segment.end);
        // Two records in each batch: sequences are offsets here. The window reaches back beyond the segment, and the restart.
        let expected = (part.segment.end.0 / 2).min(5);
        assert_eq!(window.batches.len() as i64, expected, "up to {}", part.segment.end);
        assert!(window.batches.iter().all(|batch| i64::from(batch.first_sequence) == batch.base_offset.0));
    }
}

#[tokio::test(start_paused = true)]
async fn r18_only_a_new_leader_epoch_may_leave_a_gap() {
    let (mut world, life) = one_partition(Durability::Wal, small()).await;
    world.append_many(p(), 2, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    world.crash(life, 0).await;
    let life = world.start(small()).await;
    world.skip_offsets(p(), 1 << 32);
    world.append(p(), Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    let after = &world.ledger.recorded()[1].partitions[0];
    assert!(after.gap && after.segment.base == Offset(4 + (1 << 32)));
    assert_eq!(world.ledger.partition(p()).unwrap().next, after.segment.end);

    // The same within an epoch is a hole: it is not declared harmless, and so it is refused.
    world.skip_offsets(p(), 10);
    world.append(p(), Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    assert!(!world.ledger.recorded()[2].partitions[0].gap);
    assert_eq!(life.handle.status().stopped_partitions, 1);
}

#[tokio::test(start_paused = true)]
async fn the_status_counts_what_only_the_log_holds() {
    let mut world = World::new(1);
    world.create(p(), Durability::Wal);
    world.create(partition(2, 0), Durability::Wal);
    let life = world.start(small()).await;
    world.store.set_outage(true);
    world.append_many(p(), 20, Urgency::Sync);
    world.append(partition(2, 0), Urgency::Sync);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = life.handle.status();
    let by_topic: Vec<_> = status.unoffloaded_by_topic.values().copied().collect();
    assert_eq!(status.unoffloaded_bytes, by_topic.iter().sum::<u64>());
    assert_eq!(by_topic[0], by_topic[1] * 20);
    assert_eq!(status.oldest, Some(Timestamp(1_700_000_000_000)));
    world.store.set_outage(false);
    life.handle.flush(world.end()).await.unwrap();
    let status = life.handle.status();
    assert_eq!((status.unoffloaded_bytes, status.unoffloaded_by_topic.len(), status.oldest), (0, 0, None));
    assert_eq!((status.published_end, status.ranges_in_flight), (world.end(), 0));
}
