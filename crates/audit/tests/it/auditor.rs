//! The auditor's rounds, on tokio's paused clock: what it finds, what it must not call damage, and how much it reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use audit::{AuditDeps, AuditHandle, AuditOptions, AuditStatus, Auditor, ProblemKind, REQUEST_BYTES};
use runtime::{Random, Shutdown};
use segment::data_range;
use store::faults::{Fault, FaultRates};
use store::{ObjectStore, Operation};
use tokio::task::JoinHandle;
use types::{BrokerId, ObjectKey};

use crate::world::{BROKER, World, registration_of, segment_of};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// So fast that only waiting takes time.
const FAST: u64 = 1 << 40;

struct Auditing {
    handle: AuditHandle,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Auditing {
    fn status(&self) -> AuditStatus {
        self.handle.status()
    }

    fn problems(&self) -> Vec<(ProblemKind, u64)> {
        self.status().problems.into_iter().filter(|(_, count)| 0 < *count).collect()
    }

    /// Returns once so many rounds are done.
    async fn rounds(&self, rounds: u64) {
        self.until(|status| rounds <= status.rounds).await;
    }

    async fn until(&self, is_so: impl Fn(&AuditStatus) -> bool) {
        let waiting = async {
            while !is_so(&self.status()) {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::time::timeout(10 * HOUR, waiting).await.unwrap_or_else(|_| panic!("{:?}", self.status()));
    }

    async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap();
    }
}

impl World {
    fn audit_as(&self, broker: BrokerId, bytes_per_second: u64, seed: u64) -> Auditing {
        let deps = AuditDeps {
            store: self.store.clone(),
            metadata: self.metadata.clone(),
            clock: self.clock.clone(),
            random: Arc::new(Random::seeded(seed)),
            broker,
            cluster: self.registration.cluster,
        };
        let auditor = Auditor::new(deps, AuditOptions { bytes_per_second, round_every: HOUR });
        let (handle, shutdown) = (auditor.handle(), Shutdown::new());
        Auditing { handle, task: tokio::spawn(auditor.run(shutdown.clone())), shutdown }
    }

    fn audit(&self, bytes_per_second: u64) -> Auditing {
        self.audit_as(BROKER, bytes_per_second, 1)
    }

    async fn lengths(&self) -> u64 {
        self.memory.list("shared/", None, 10_000).await.unwrap().iter().map(|object| object.length).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_reads_every_object_once_and_the_next_begins_an_hour_later() {
    let mut world = World::new(2).await;
    for _ in 0..20 {
        world.publish(&[0, 1], 100).await;
    }
    let all = world.lengths().await;
    let audit = world.audit(FAST);
    audit.rounds(1).await;
    let status = audit.status();
    assert_eq!((status.segments, status.bytes, status.damage), (40, all, None));
    tokio::time::sleep(HOUR - 10 * MINUTE).await;
    let status = audit.status();
    assert_eq!((status.rounds, status.bytes), (1, all));
    assert!(HOUR - 11 * MINUTE < status.round_age && status.round_age < HOUR, "{status:?}");
    world.publish(&[0], 100).await;
    audit.rounds(2).await;
    assert_eq!((audit.status().segments, audit.status().bytes), (81, all + world.lengths().await));
    assert!(audit.status().round_age < MINUTE);
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_damage_is_found_and_is_over_once_the_object_is_back() {
    let mut world = World::new(2).await;
    let mut objects = Vec::new();
    for _ in 0..6 {
        let key = world.publish(&[0, 1], 100).await;
        objects.push((key, world.object(key).await));
    }
    let keys: Vec<_> = objects.iter().map(|(key, _)| *key).collect();
    let [missing, short, flipped, wrong, ..] = keys[..] else { unreachable!() };
    let references = world.references(flipped).await;
    world.remove(missing).await;
    world.put(short, objects[1].1[..200].to_vec()).await;
    world.flip(flipped, data_range(&segment_of(&references, 1)).start + 70).await;
    // Sound, and the segments end where others do than metadata has.
    world.put(wrong, world.build(wrong, &[(0, 31), (1, 31)], 100).parts.concat()).await;

    let audit = world.audit(FAST);
    audit.rounds(1).await;
    let expected = [(ProblemKind::Missing, 2), (ProblemKind::Length, 2), (ProblemKind::Damage, 1), (ProblemKind::Mismatch, 2)];
    assert_eq!(audit.problems(), expected);
    let damage = audit.status().damage.unwrap();
    let told = format!(
        "segments not as metadata has them: 7, in objects: 4; first object {missing}, orders-0 offsets 0 to 9 \
         (and 1 segments more): the object is missing"
    );
    assert_eq!(damage, told);

    // One after the other comes back, and is believed when it has been read again.
    for (key, bytes) in &objects[..3] {
        if *key != missing {
            world.remove(*key).await;
        }
        world.memory.put(&key.to_string(), vec![bytes.clone().into()]).await.unwrap();
    }
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(audit.problems(), [(ProblemKind::Mismatch, 2)]);
    assert_eq!(audit.status().rounds, 1, "long before the next round");
    // What nothing refers to any more is nobody's damage.
    world.metadata.delete_topic(world.topic).await.unwrap();
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!((audit.problems(), audit.status().damage), (vec![], None));
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_could_not_read_is_looked_at_long_before_the_next_round() {
    let mut world = World::new(1).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(world.publish(&[0], 100).await);
    }
    let audit = world.audit(FAST);
    audit.rounds(1).await;
    let [sound, turned, missing] = keys[..] else { unreachable!() };
    let object = world.object(turned).await;
    world.flip(turned, data_range(&segment_of(&world.references(turned).await, 0)).start + 70).await;
    world.remove(missing).await;
    let segments = audit.status().segments;
    for key in [sound, turned, missing, turned, missing] {
        audit.handle.suspect(world.references(key).await.remove(0));
    }
    audit.until(|status| segments + 3 <= status.segments).await;
    assert_eq!(audit.problems(), [(ProblemKind::Missing, 1), (ProblemKind::Damage, 1)]);
    assert!(audit.status().damage.unwrap().contains(&format!("object {turned}, orders-0 offsets 10 to 19")));
    // A reader that goes on trying adds nothing.
    audit.handle.suspect(world.references(turned).await.remove(0));
    tokio::time::sleep(MINUTE).await;
    assert_eq!((audit.status().segments, audit.status().rounds), (segments + 3, 1));

    world.put(turned, object).await;
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(audit.problems(), [(ProblemKind::Missing, 1)]);
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn suspects_of_no_more_than_64_objects_wait_and_a_round_goes_on_between_them() {
    let mut world = World::new(1).await;
    for _ in 0..100 {
        world.publish(&[0], 100).await;
    }
    let references = world.all_references().await;
    let audit = world.audit(FAST);
    // Before it is its turn to do anything.
    references.iter().cycle().take(1000).for_each(|reference| audit.handle.suspect(reference.clone()));
    audit.rounds(1).await;
    assert_eq!((audit.status().segments, audit.status().damage), (100 + 64, None));
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_an_object_with_many_segments_some_are_kept_and_all_are_told() {
    let mut world = World::new(40).await;
    let key = world.publish(&Vec::from_iter(0..40), 10).await;
    let object = world.object(key).await;
    world.remove(key).await;
    let audit = world.audit(FAST);
    audit.rounds(1).await;
    assert_eq!(audit.problems(), [(ProblemKind::Missing, 32)]);
    assert!(audit.status().damage.unwrap().contains("orders-0 offsets 0 to 9 (and 39 segments more)"));
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(audit.problems(), [(ProblemKind::Missing, 32)]);
    world.memory.put(&key.to_string(), vec![object.into()]).await.unwrap();
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!((audit.problems(), audit.status().segments), (vec![], 40 + 2 * 32));
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_while_a_round_is_under_way_is_no_damage() {
    for seed in 0..20 {
        let mut world = World::new(4).await;
        for _ in 0..10 {
            world.publish(&[0, 1, 2, 3], 100).await;
        }
        // Eight objects take a minute or more: what a slice names is long gone when it is its turn.
        let audit = world.audit_as(BROKER, REQUEST_BYTES / 4, seed);
        let random = Random::seeded(seed);
        let mut log_starts = [0i64; 4];
        while audit.status().rounds == 0 {
            tokio::time::sleep(random.jitter(Duration::from_secs(20), 1.0)).await;
            let index = random.below(4) as i32;
            match random.below(3) {
                0 => drop(world.publish(&[index], 100).await),
                1 => {
                    let start = &mut log_starts[index as usize];
                    let page = world.metadata.segments(world.partition(index), types::Offset::ZERO, 10).await.unwrap();
                    *start = (*start + 10).min(page.next_offset.0);
                    world.advance_log_start(index, *start).await;
                }
                _ => {
                    let page = world.metadata.segments(world.partition(index), types::Offset::ZERO, 1).await.unwrap();
                    if page.segments.first().is_some_and(|first| first.base.0 == log_starts[index as usize]) {
                        world.rewrite(index, 50).await;
                    }
                }
            }
            world.remove_unreferenced().await;
            assert_eq!(audit.status().damage, None, "seed {seed}");
        }
        audit.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_is_no_damage() {
    let mut world = World::new(1).await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(world.publish(&[0], 100).await);
    }
    let audit = world.audit(REQUEST_BYTES / 4);
    audit.until(|status| 2 <= status.segments).await;
    world.metadata.delete_topic(world.topic).await.unwrap();
    for key in keys {
        world.remove(key).await;
    }
    audit.rounds(1).await;
    assert_eq!((audit.problems(), audit.status().damage), (vec![], None));
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_no_damage_and_the_round_goes_on_when_it_is_back() {
    let mut world = World::new(1).await;
    for _ in 0..20 {
        world.publish(&[0], 100).await;
    }
    let all = world.lengths().await;
    let audit = world.audit(REQUEST_BYTES);
    audit.until(|status| 2 <= status.segments).await;
    world.store.set_outage(true);
    audit.until(|status| status.failing.is_some()).await;
    let read = audit.status().segments;
    tokio::time::sleep(20 * MINUTE).await;
    let status = audit.status();
    assert_eq!((status.segments, status.damage), (read, None));
    world.store.set_outage(false);
    audit.rounds(1).await;
    let status = audit.status();
    assert_eq!((status.segments, status.bytes, status.damage, status.failing), (20, all, None, None), "none twice, none left out");
    // Faults of every kind by chance: damage on the way as well.
    let rates = FaultRates { refuse: 0.1, lose_answer: 0.1, damage: 0.05, short: 0.05, ..FaultRates::default() };
    world.store.by_chance(rates, Random::seeded(3));
    audit.rounds(2).await;
    // Damaged twice in a row is damage as far as anybody can tell; it is over after the next look.
    world.store.by_chance(FaultRates::default(), Random::seeded(3));
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(audit.status().damage, None);
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_the_store_refuses_to_give_is_passed_over_and_the_round_does_not_count() {
    let mut world = World::new(1).await;
    for _ in 0..3 {
        world.publish(&[0], 100).await;
    }
    world.store.script(Operation::Head, [Fault::Deny; 11]);
    let audit = world.audit(FAST);
    audit.until(|status| status.segments == 2).await;
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!((audit.status().rounds, audit.status().damage, world.store.scripted()), (0, None, 0));
    audit.rounds(1).await;
    assert_eq!(audit.status().segments, 5, "an hour later");
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_to_its_rate_and_small_requests_count_as_more() {
    let mut world = World::new(1).await;
    for _ in 0..50 {
        world.publish(&[0], 100).await;
    }
    for _ in 0..3 {
        world.publish(&[0], 900_000).await;
    }
    // For a small object one request asks for the length and one for the bytes. A large one of 9 MB takes a length, an end of 64 KiB and
    // two blocks of 4 MiB with what is left of it.
    let cost = 50 * 2 * REQUEST_BYTES + 3 * (2 * REQUEST_BYTES + (8 << 20) + REQUEST_BYTES);
    let started = tokio::time::Instant::now();
    let audit = world.audit(REQUEST_BYTES);
    audit.rounds(1).await;
    let (taken, expected) = (started.elapsed(), Duration::from_secs(cost / REQUEST_BYTES));
    assert!(expected <= taken + Duration::from_secs(2) && taken <= expected + Duration::from_secs(6), "{taken:?} for {expected:?}");
    audit.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rounds_of_several_brokers_read_every_object_between_them_once() {
    let mut world = World::new(1).await;
    for _ in 0..60 {
        world.publish(&[0], 100).await;
    }
    let other = BrokerId(2);
    world.metadata.register_broker(registration_of(other)).await.unwrap();
    let mut image = world.metadata.image();
    image.wait_for(|image| image.brokers.get(&other).is_some_and(|broker| broker.alive)).await.unwrap();
    let audits = [world.audit_as(BROKER, FAST, 1), world.audit_as(other, FAST, 2)];
    for audit in &audits {
        audit.rounds(1).await;
        assert!(10 <= audit.status().segments, "{:?}", audit.status());
    }
    assert_eq!(audits.iter().map(|audit| audit.status().bytes).sum::<u64>(), world.lengths().await);
    // What nobody leads is audited as well: the first is gone, and its share falls to the other.
    world.metadata.resign_broker(BROKER, world.registration.epoch).await.unwrap();
    image.wait_for(|image| image.brokers.get(&BROKER).is_some_and(|broker| !broker.alive)).await.unwrap();
    let [gone, stays] = audits;
    gone.stop().await;
    let before = stays.status().segments;
    stays.rounds(2).await;
    assert_eq!(stays.status().segments - before, 60);
    stays.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_somewhere_each_byte_being_as_likely() {
    let mut world = World::new(1).await;
    let mut keys: Vec<ObjectKey> = Vec::new();
    for index in 0..10 {
        // Half of all bytes are in one object.
        keys.push(world.publish(&[0], if index == 6 { 9000 } else { 900 }).await);
        // Each is damaged: the first to be told of is the first that is read.
        world.flip(keys[index], 100).await;
    }
    let mut firsts = Vec::new();
    for seed in 0..200 {
        // Slow enough to be stopped after the first.
        let audit = world.audit_as(BROKER, REQUEST_BYTES / 10, seed);
        audit.until(|status| status.damage.is_some()).await;
        let damage = audit.status().damage.unwrap();
        firsts.push(keys.iter().position(|key| damage.contains(&format!("first object {key},"))).unwrap());
        audit.stop().await;
    }
    let of_large = firsts.iter().filter(|first| **first == 6).count();
    assert!((80..130).contains(&of_large), "{of_large} of 200");
    assert_eq!(firsts.into_iter().collect::<BTreeSet<_>>().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_looked_for_while_a_thousand_objects_are_damaged() {
    let mut world = World::new(1).await;
    let mut objects = Vec::new();
    for _ in 0..1010 {
        let key = world.publish(&[0], 10).await;
        objects.push((key, world.object(key).await));
        world.remove(key).await;
    }
    let audit = world.audit(FAST);
    tokio::time::sleep(HOUR).await;
    assert_eq!((audit.problems(), audit.status().rounds), (vec![(ProblemKind::Missing, 1000)], 0));
    for (key, bytes) in objects.drain(..1000) {
        world.memory.put(&key.to_string(), vec![bytes.into()]).await.unwrap();
    }
    audit.rounds(1).await;
    tokio::time::sleep(20 * MINUTE).await;
    assert_eq!(audit.problems(), [(ProblemKind::Missing, 10)]);
    audit.stop().await;
}
