//! Damage that a reader meets is told; what was only in its way is not.

use std::sync::Arc;

use parking_lot::Mutex;
use store::faults::Fault;
use store::{ObjectStore, Operation, StoreError};
use types::Durability::Wal;
use types::{BrokerEpoch, BrokerId, LeaderEpoch, ObjectKey, ObjectNumber, SegmentRef, TopicPartition};

use super::harness::*;
use crate::*;

#[derive(Default)]
struct Met(Mutex<Vec<(TopicPartition, SegmentRef)>>);

impl DamageObserver for Met {
    fn met(&self, partition: TopicPartition, segment: &SegmentRef) {
        self.0.lock().push((partition, segment.clone()));
    }
}

/// A partition with two published segments of two records each, its reader's caches empty, and what that meets.
async fn observed() -> (Bench, Arc<Partition>, Arc<Met>) {
    let mut bench = Bench::new();
    let partition = bench.open(0, Wal);
    for values in [["0", "1"], ["2", "3"]] {
        append(&partition, &batch_of(&values), Acks::None).unwrap();
        bench.publish().await;
    }
    bench.trim();
    let met = Arc::new(Met::default());
    let deps = deps_over(bench.wal.clone(), &bench.store, &bench.metadata, &bench.clock, bench.limits);
    let partitions = Partitions::new(Deps { damage: met.clone(), ..deps });
    partitions.finish_recovery();
    let partition = partitions.open(bench.metadata.state(id(0), LeaderEpoch(1), Wal), create_time());
    (bench, partition, met)
}

/// One segment is read, and no more.
fn one_batch_from(offset: i64) -> ReadRequest {
    ReadRequest { max_bytes: 1, ..from_offset(offset) }
}

#[tokio::test]
async fn a_segment_that_comes_damaged_three_times_is_told() {
    let (bench, partition, met) = observed().await;
    bench.store.script(Operation::GetRange, [Fault::Damage; 2]);
    partition.read(one_batch_from(0)).await.unwrap();
    assert_eq!(*met.0.lock(), [], "the third time it was sound");

    bench.store.script(Operation::GetRange, [Fault::Damage; 3]);
    assert!(matches!(partition.read(one_batch_from(2)).await, Err(ReadError::Damaged { .. })));
    assert_eq!(*met.0.lock(), [(id(0), bench.metadata.segments_of(id(0))[1].clone())]);
}

#[tokio::test]
async fn an_object_that_is_missing_is_told_and_one_that_was_replaced_is_not() {
    let (bench, partition, met) = observed().await;
    let [first, second] = bench.metadata.segments_of(id(0)).try_into().unwrap();
    // From here on the reader has a list of the segments.
    partition.read(one_batch_from(0)).await.unwrap();
    let moved = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(100) };
    let object = bench.store.get(&second.object.to_string(), u64::MAX).await.unwrap();
    bench.store.put(&moved.to_string(), vec![object]).await.unwrap();
    bench.metadata.replace_segments(id(0), vec![first, SegmentRef { object: moved, ..second.clone() }]);
    bench.store.delete(&[second.object.to_string()]).await;
    partition.read(one_batch_from(2)).await.unwrap();
    assert_eq!(*met.0.lock(), []);

    let (bench, partition, met) = observed().await;
    let lost = bench.metadata.segments_of(id(0))[0].clone();
    bench.store.delete(&[lost.object.to_string()]).await;
    let read = partition.read(one_batch_from(0)).await;
    assert!(matches!(read, Err(ReadError::Store { source: StoreError::NotFound { .. }, .. })));
    assert_eq!(*met.0.lock(), [(id(0), lost)]);
}
