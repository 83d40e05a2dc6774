//! Objects get into the store as they were built, whatever the store answers.

use std::time::Duration;

use bytes::Bytes;
use store::faults::Fault;
use store::{ObjectStore, Operation};
use types::*;
use wal::Urgency;

use crate::world::*;

fn p() -> TopicPartition {
    partition(1, 0)
}

async fn one_partition() -> (World, Life) {
    let mut world = World::new(1);
    world.create(p(), Durability::Wal);
    let life = world.start(small()).await;
    (world, life)
}

#[tokio::test(start_paused = true)]
async fn t5_every_attempt_sends_the_whole_object_again() {
    let (mut world, life) = one_partition().await;
    world.store.script(Operation::Put, [Fault::Refuse, Fault::LoseRequest, Fault::LoseRequest, Fault::LoseAnswer]);
    world.append_many(p(), 3, Urgency::Sync);
    // The metadata service of these tests compares the object's length and checksum at every publish.
    life.handle.flush(world.end()).await.unwrap();
    assert_eq!((world.store.scripted(), world.stored().await.len()), (0, 1));
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn r9_a_late_put_never_overwrites() {
    let (mut world, life) = one_partition().await;
    world.store.script(Operation::Put, [Fault::Late, Fault::Late]);
    world.append_many(p(), 3, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    let key = world.ledger.recorded()[0].object.unwrap().key.to_string();
    let published = world.memory.get(&key, 1 << 20).await.unwrap();
    assert_eq!(world.store.land().await, 2);
    assert_eq!(world.memory.get(&key, 1 << 20).await.unwrap(), published);
    assert_eq!(world.stored().await.len(), 1);
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn r9_other_bytes_under_our_key_are_left_alone_and_another_key_is_taken() {
    let (mut world, life) = one_partition().await;
    let key = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(2) };
    world.store.set_outage(true);
    world.append_many(p(), 12, Urgency::Sync);
    until("every number is given out", || life.handle.status().ranges_in_flight == 3).await;
    world.memory.put(&key.to_string(), vec![Bytes::from_static(b"somebody else's")]).await.unwrap();
    world.store.set_outage(false);
    life.handle.flush(world.end()).await.unwrap();
    assert_eq!(world.memory.get(&key.to_string(), 100).await.unwrap(), "somebody else's");
    let recorded = world.ledger.recorded();
    let numbers: Vec<_> = recorded.iter().map(|request| request.object.unwrap().key.writer().2.0).collect();
    assert_eq!((numbers[0], numbers[2]), (1, 3));
    assert!(3 < numbers[1], "R6: {numbers:?}, above every number that was given out");
    let floors: Vec<_> = recorded.iter().map(|request| request.object_floor.0).collect();
    assert_eq!(floors, [1, 2, 3], "R6: no key of a range that is still to be published is declared dead");
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn t13_two_lives_never_use_one_key() {
    let (mut world, life) = one_partition().await;
    world.append_many(p(), 2, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    world.crash(life, 0).await;
    let life = world.start(small()).await;
    world.append_many(p(), 2, Urgency::Sync);
    life.handle.flush(world.end()).await.unwrap();
    let keys: Vec<_> = world.ledger.recorded().iter().map(|request| request.object.unwrap().key).collect();
    assert_eq!((keys.len(), keys[0].writer().2, keys[1].writer().2), (2, ObjectNumber(1), ObjectNumber(1)));
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_ten_minutes_is_survived_unaided() {
    let (mut world, life) = one_partition().await;
    world.store.set_outage(true);
    world.append_many(p(), 30, Urgency::Sync);
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.store.set_outage(false);
    let back = tokio::time::Instant::now();
    life.handle.flush(world.end()).await.unwrap();
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    world.check_all_published().await;
}
