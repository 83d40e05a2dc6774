//! Small segments become large ones, and nothing else changes: whatever fails, whoever is killed, and whatever happens meanwhile.

use std::time::Duration;

use metadata_api::MetadataClient;
use offload::{RewriteOptions, RewriteStep};
use runtime::Random;
use store::faults::{Fault, FaultRates};
use store::{ObjectStore, Operation};
use types::{ObjectKey, ObjectOrigin, Offset, TopicPartition};

use crate::rewrite_world::*;
use crate::world::until;

fn options() -> RewriteOptions {
    RewriteOptions { bytes_per_second: 1 << 40, ..RewriteOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn many_small_segments_become_few_and_hold_the_same() {
    let mut world = RewriteWorld::new(1).await;
    let topic = world.create("orders", 1).await;
    let life = world.start(KillAt(None), options()).await;
    // More than a target of 1 MiB, twice.
    world.publish_segments(&life, 300, 8_000).await;
    world.settle(&life).await;
    world.check().await;
    let (_, segments) = world.segments(TopicPartition::new(topic, 0)).await;
    assert!(segments.len() <= 40, "{} segments", segments.len());
    let large: Vec<_> = segments.iter().filter(|segment| 1 << 20 <= segment.bytes).collect();
    assert_eq!(large.len(), 2);
    for segment in large {
        assert_eq!(segment.origin, ObjectOrigin::Rewrite);
        let ObjectKey::Topic { partition, base, .. } = segment.object else { panic!("{}", segment.object) };
        assert_eq!((partition, base), (TopicPartition::new(topic, 0), segment.base), "it has the object for itself");
    }
    let status = life.rewrites.status();
    assert_eq!((status.failures, status.failing), (0, None));
    assert_eq!(status.segments_replaced - status.segments_written, 300 - segments.len() as u64);
    let appended = 300 * 8_000;
    assert!(appended * 2 / 3 < status.written_bytes && status.written_bytes < 3 * appended, "{}", status.written_bytes);
    world.check_no_garbage().await;
}

#[tokio::test(start_paused = true)]
async fn small_partitions_share_objects_and_requests() {
    let mut world = RewriteWorld::new(2).await;
    world.create("many", 100).await;
    let life = world.start(KillAt(None), options()).await;
    world.publish_segments(&life, 32, 1_000).await;
    rewritten(&life, 1).await;
    world.settle(&life).await;
    world.check().await;
    let mut objects = std::collections::BTreeSet::new();
    for partition in world.partitions() {
        let (_, segments) = world.segments(partition).await;
        assert!(segments.len() <= 17, "{} segments of {partition}", segments.len());
        objects.extend(segments.iter().filter(|segment| segment.origin == ObjectOrigin::Rewrite).map(|segment| segment.object));
    }
    assert!(objects.len() <= 10, "{} objects for 100 partitions", objects.len());
    assert!(objects.iter().all(|key| matches!(key, ObjectKey::Shared { .. })));
    let status = life.rewrites.status();
    let gets = life.counters.get(Operation::GetRange).outcome(store::Outcome::Ok);
    assert!(1600 <= status.segments_replaced, "{}", status.segments_replaced);
    assert!(gets <= 32 * 2 * status.rewrites, "{gets} requests for {} rewrites of {} segments", status.rewrites, status.segments_replaced);
    world.check_no_garbage().await;
}

#[tokio::test(start_paused = true)]
async fn t15_killed_at_every_step_nothing_is_lost_and_nothing_is_left() {
    for (seed, (step, rewrite)) in (10..).zip(RewriteStep::ALL.into_iter().flat_map(|step| [(step, 1), (step, 2)])) {
        let mut world = RewriteWorld::new(seed).await;
        world.create("orders", 2).await;
        let mut life = world.start(KillAt(Some((step, rewrite))), options()).await;
        for _ in 0..60 {
            world.publish_segments(&life, 2, 12_000).await;
            if life.rewriter.is_finished() {
                break;
            }
        }
        until("the fail point", || life.rewriter.is_finished()).await;
        // The rest of the process does not live on.
        world.kill(life).await;
        world.lose_answers(usize::try_from(rewrite).unwrap());
        life = world.start(KillAt(None), options()).await;
        world.publish_segments(&life, 40, 12_000).await;
        world.settle(&life).await;
        world.check().await;
        world.check_no_garbage().await;
        assert!(0 < life.rewrites.status().rewrites, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t5_t6_a_store_that_does_its_worst_and_deletion_without_grace_lose_nothing() {
    let mut failures = 0;
    for seed in 30..33 {
        let mut world = RewriteWorld::new(seed).await;
        world.create("orders", 3).await;
        let rates = FaultRates {
            refuse: 0.1,
            lose_request: 0.05,
            lose_answer: 0.1,
            late: 0.05,
            damage: 0.01,
            short: 0.02,
            max_delay: Duration::from_millis(30),
            ..FaultRates::default()
        };
        world.store.by_chance(rates, Random::seeded(seed));
        let life = world.start(KillAt(None), options()).await;
        world.lose_answers(3);
        for _ in 0..6 {
            world.publish_segments(&life, 20, 9_000).await;
            world.store.land().await;
            world.check().await;
        }
        world.store.by_chance(FaultRates::default(), Random::seeded(seed));
        // What was found damaged is looked at again.
        tokio::time::sleep(Duration::from_secs(1200)).await;
        world.store.land().await;
        world.settle(&life).await;
        world.check().await;
        world.check_no_garbage().await;
        let status = life.rewrites.status();
        assert!(0 < status.rewrites, "{status:?}");
        failures += status.failures;
    }
    assert!(3 < failures, "{failures} rewrites failed");
}

#[tokio::test(start_paused = true)]
async fn r6_publishes_go_on_during_a_slow_rewrite_and_do_not_make_its_key_dead() {
    let mut world = RewriteWorld::new(50).await;
    world.create("orders", 1).await;
    let life = world.start(KillAt(None), RewriteOptions { bytes_per_second: 20_000, ..options() }).await;
    world.publish_segments(&life, 40, 8_000).await;
    for _ in 0..1000 {
        world.publish_segments(&life, 1, 500).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        if 0 < life.rewrites.status().rewrites + life.rewrites.status().failures {
            break;
        }
    }
    let status = life.rewrites.status();
    assert_eq!((status.rewrites, status.failures), (1, 0), "{status:?}");
    world.check().await;
    world.settle(&life).await;
    world.check_no_garbage().await;
}

#[tokio::test(start_paused = true)]
async fn t12_t17_records_deleted_meanwhile_are_not_brought_back() {
    let mut world = RewriteWorld::new(60).await;
    let topic = world.create("orders", 1).await;
    let partition = TopicPartition::new(topic, 0);
    let life = world.start(KillAt(None), options()).await;
    world.delete_records_before_replace(partition, Offset(21));
    world.publish_segments(&life, 120, 9_000).await;
    until("the rewrite that comes too late", || 0 < life.rewrites.status().failures).await;
    rewritten(&life, 1).await;
    world.settle(&life).await;
    world.check().await;
    let (log_start, segments) = world.segments(partition).await;
    // Offset 20 is in the batch that holds 21; everything before it is gone.
    assert_eq!((log_start, segments[0].base), (Offset(21), Offset(20)));
    world.check_no_garbage().await;

    // A log start within a rewritten segment: the next rewrite leaves out what lies below.
    world.delete_records(partition, Offset(40)).await;
    let before = segments[0].clone();
    assert!(before.contains(Offset(40)));
    world.publish_segments(&life, 120, 9_000).await;
    world.settle(&life).await;
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn what_lies_below_the_log_start_is_left_out() {
    let mut world = RewriteWorld::new(70).await;
    let topic = world.create("orders", 1).await;
    let partition = TopicPartition::new(topic, 0);
    let life = world.start(KillAt(None), options()).await;
    // One segment of many batches, of which the first half is deleted.
    (0..20).for_each(|_| world.append(partition, 500));
    world.publish(&life).await;
    world.delete_records(partition, Offset(21)).await;
    world.publish_segments(&life, 30, 2_000).await;
    rewritten(&life, 1).await;
    world.settle(&life).await;
    world.check().await;
    let (_, segments) = world.segments(partition).await;
    assert_eq!((segments[0].origin, segments[0].base), (ObjectOrigin::Rewrite, Offset(0)), "it answers for the same offsets");
    let offsets = segments[0].end.0.unsigned_abs();
    assert_eq!(segments[0].records, offsets - 20, "without the ten batches that are below");
    assert_eq!(u64::from(segments[0].batches), offsets / 2 - 10);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_frees_everything_also_while_it_is_rewritten() {
    let mut world = RewriteWorld::new(80).await;
    let topic = world.create("orders", 4).await;
    world.create("others", 1).await;
    let life = world.start(KillAt(None), RewriteOptions { bytes_per_second: 400_000, ..options() }).await;
    world.publish_segments(&life, 100, 8_000).await;
    until("a rewrite", || 0 < life.rewrites.status().read_bytes).await;
    world.delete_topic(topic).await;
    world.settle(&life).await;
    world.check().await;
    world.check_no_garbage().await;
    let left = world.memory.list("topic/", None, 1000).await.unwrap();
    assert!(left.iter().all(|object| !object.key.contains(&topic.to_string())), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn damage_is_left_as_it_is_and_told() {
    let mut world = RewriteWorld::new(90).await;
    let topic = world.create("orders", 1).await;
    let life = world.start(KillAt(None), options()).await;
    // The first reads are damaged.
    world.store.script(Operation::GetRange, [Fault::Damage; 2]);
    world.publish_segments(&life, 30, 9_000).await;
    until("the failure", || life.rewrites.status().failing.is_some()).await;
    let (_, segments) = world.segments(TopicPartition::new(topic, 0)).await;
    assert!(segments.iter().all(|segment| segment.origin == ObjectOrigin::Range));
    world.check().await;
    let failed = life.rewrites.status().failures;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(life.rewrites.status().failures, failed, "it is not tried again at once");
    // It was the way from the store: the objects are sound.
    tokio::time::sleep(Duration::from_secs(1300)).await;
    let status = life.rewrites.status();
    assert!(0 < status.rewrites && status.failing.is_none(), "{status:?}");
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lost_its_epoch_rewrites_no_more() {
    let mut world = RewriteWorld::new(100).await;
    world.create("orders", 1).await;
    let old = world.start(KillAt(None), RewriteOptions { bytes_per_second: 100_000, ..options() }).await;
    world.publish_segments(&old, 60, 8_000).await;
    until("a rewrite", || 0 < old.rewrites.status().read_bytes).await;
    world.metadata.register_broker(registration_of(types::WalId::from_bytes([5; 16]))).await.unwrap();
    until("the end of the rewriter", || old.rewriter.is_finished()).await;
    assert_eq!(old.rewrites.status().rewrites, 0);
}
