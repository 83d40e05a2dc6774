//! What a load costs in requests to the store, whatever the number of partitions that it is spread over.

use std::time::Duration;

use bytes::Bytes;
use offload::Options;
use records::{BatchBuilder, Codec, stamp};
use store::Operation;
use types::*;
use wal::{Entry, EntryKind, Origin, Urgency, WriteAheadLog};

use crate::world::*;

/// Batches of the load.
const BATCHES: usize = 10_000;
/// What is appended at once, and how long the producers pause then.
const AT_ONCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(40);
/// Partitions of one topic.
const PER_TOPIC: usize = 100;

/// The load in turn over so many partitions. Answers how many objects were put.
async fn puts_with(partitions: usize) -> u64 {
    let mut world = World::new(1);
    let all: Vec<_> = (0..partitions).map(|n| partition((n / PER_TOPIC) as u8, (n % PER_TOPIC) as i32)).collect();
    world.ledger.create_all(all.iter().copied(), Durability::Object);
    let life = world.start(Options::default()).await;
    let mut ends = vec![Offset::ZERO; partitions];
    for n in 0..BATCHES {
        let (partition, end) = (all[n % partitions], &mut ends[n % partitions]);
        world.wal.append(entry(&world, partition, *end), Urgency::Upload).unwrap();
        *end = *end + 1;
        if n % AT_ONCE == AT_ONCE - 1 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    life.handle.flush(world.end()).await.unwrap();
    for (partition, end) in all.iter().zip(&ends) {
        assert_eq!(world.ledger.partition(*partition).unwrap().next, *end, "{partition}");
    }
    world.counters.get(Operation::Put).outcomes.iter().sum()
}

fn entry(world: &World, partition: TopicPartition, base: Offset) -> Entry {
    let leader_epoch = world.ledger.partition(partition).unwrap().leader_epoch;
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(Timestamp(1_700_000_000_000), None, Some(b"as large as any other"), &[]);
    let batch: Bytes = stamp(builder.build(), base, leader_epoch, None);
    let kind = EntryKind::Batch { partition, origin: Origin::Client, leader_epoch, base_offset: base, last_offset: base };
    Entry { kind, append_time: Timestamp(1_700_000_000_000), batch }
}

#[tokio::test(start_paused = true)]
async fn one_object_holds_all_partitions_so_that_puts_do_not_grow_with_them() {
    let few = puts_with(10).await;
    assert!(50 < few, "{few}: the load is many uploads long");
    for partitions in [1000, 10_000] {
        let many = puts_with(partitions).await;
        assert!(many.abs_diff(few) * 10 <= few, "{many} puts with {partitions} partitions, {few} with 10");
    }
}
