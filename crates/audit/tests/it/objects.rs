//! One object: every kind of damage is found, told apart, and laid to the segments that it concerns.

use std::sync::atomic::Ordering;
use std::time::Duration;

use audit::{ExamineError, Problem, ProblemKind, Reference, examine};
use metadata_api::{GrpcClient, MetadataError};
use segment::{TRAILER_BYTES, Trailer, data_range, index_range};
use store::faults::Fault;
use store::{Operation, StoreError};
use types::{ClusterId, Offset, SegmentRef};

use crate::world::{World, segment_of};

/// Kind and partition of each problem.
fn kinds(problems: &[Problem]) -> Vec<(ProblemKind, i32)> {
    problems.iter().map(|problem| (problem.kind, problem.reference.partition.partition)).collect()
}

/// Small enough to be read whole, and too large for that.
const SIZES: [usize; 2] = [100, 600_000];

#[tokio::test]
async fn what_is_sound_has_no_problem_and_is_read_once() {
    for (value_bytes, requests) in SIZES.into_iter().zip([2, 5]) {
        let mut world = World::new(2).await;
        let key = world.publish(&[0, 1], value_bytes).await;
        assert_eq!(world.verify(key).await, []);
        let length = world.object(key).await.len() as u64;
        let (asked, bytes) = (world.pace.requests.load(Ordering::Relaxed), world.pace.bytes.load(Ordering::Relaxed));
        assert_eq!(asked, requests, "the length, then blocks");
        assert!(length - 1000 <= bytes && bytes <= length + (64 << 10), "{bytes} of {length}");
    }
}

#[tokio::test]
async fn only_what_metadata_has_there_is_read() {
    let mut world = World::new(2).await;
    let key = world.publish(&[0, 1], 600_000).await;
    let references = world.references(key).await;
    world.flip(key, data_range(&segment_of(&references, 0)).start + 1000).await;
    let second = &references[1..];
    assert_eq!(world.reader().verify(key, None, second).await.unwrap(), []);
    assert!(world.pace.bytes.load(Ordering::Relaxed) < 7 << 20, "6 MB of the 12");
}

#[tokio::test]
async fn a_missing_object_is_missing_for_each_of_its_segments() {
    let mut world = World::new(2).await;
    let key = world.publish(&[0, 1], 100).await;
    let references = world.references(key).await;
    world.remove(key).await;
    let problems = world.reader().verify(key, None, &references).await.unwrap();
    assert_eq!(kinds(&problems), [(ProblemKind::Missing, 0), (ProblemKind::Missing, 1)]);
    assert_eq!(problems[0].detail, "the object is missing");
    // Also one that a listing had.
    let problems = world.reader().verify(key, Some(10_000), &references).await.unwrap();
    assert_eq!(kinds(&problems), [(ProblemKind::Missing, 0), (ProblemKind::Missing, 1)]);
}

#[tokio::test]
async fn an_object_cut_anywhere_is_noticed() {
    for value_bytes in SIZES {
        let mut world = World::new(1).await;
        let key = world.publish(&[0], value_bytes).await;
        let whole = world.object(key).await;
        let end = index_range(&segment_of(&world.references(key).await, 0)).end as usize;
        for length in [0, 10, 96, end, end + TRAILER_BYTES - 1] {
            world.put(key, whole[..length].to_vec()).await;
            assert_eq!(kinds(&world.verify(key).await), [(ProblemKind::Length, 0)], "{length} of {}", whole.len());
        }
        // Within the footer: what is left is long enough for the segments, and has no trailer.
        world.put(key, whole[..whole.len() - 1].to_vec()).await;
        assert_eq!(kinds(&world.verify(key).await), [(ProblemKind::Damage, 0)]);
        let mut longer = whole[..16].to_vec();
        longer.extend_from_slice(&whole);
        world.put(key, longer).await;
        assert_eq!(kinds(&world.verify(key).await), [(ProblemKind::Length, 0)]);
    }
}

#[tokio::test]
async fn a_flipped_bit_is_laid_to_the_segment_that_it_is_in() {
    for value_bytes in SIZES {
        let mut world = World::new(3).await;
        let key = world.publish(&[0, 1, 2], value_bytes).await;
        let references = world.references(key).await;
        for index in 0..3 {
            let segment = segment_of(&references, index);
            let (data, entries) = (data_range(&segment), index_range(&segment));
            // Base offset, magic and value of batches; head and end of the index.
            for position in [data.start, data.start + 16, data.start + 80, data.end - 1, entries.start, entries.end - 1] {
                world.flip(key, position).await;
                assert_eq!(kinds(&world.verify(key).await), [(ProblemKind::Damage, index)], "byte {position}");
                world.flip(key, position).await;
            }
        }
        // Whoever cannot read the footer knows nothing of any of them.
        let object = world.object(key).await;
        let trailer = Trailer::parse(&object).unwrap();
        for position in [0, 15, trailer.footer_position, trailer.footer_position + 40, trailer.object_bytes - 20] {
            world.flip(key, position).await;
            let all = [0, 1, 2].map(|index| (ProblemKind::Damage, index));
            assert_eq!(kinds(&world.verify(key).await), all, "byte {position}");
            world.flip(key, position).await;
        }
        assert_eq!(world.verify(key).await, []);
    }
}

#[tokio::test]
async fn a_sound_object_that_is_another_one_is_a_mismatch() {
    let mut world = World::new(2).await;
    let first = world.publish(&[0, 1], 100).await;
    let second = world.publish(&[0, 1], 100).await;
    let whole = world.object(second).await;
    // A copy of another object.
    world.put(second, world.object(first).await).await;
    let problems = world.verify(second).await;
    assert_eq!(kinds(&problems), [(ProblemKind::Mismatch, 0), (ProblemKind::Mismatch, 1)]);
    assert_eq!(problems[0].detail, format!("the object is a copy of {first}"));
    world.put(second, whole).await;

    // A footer that says otherwise than metadata of one segment.
    let mut references = world.references(second).await;
    let asked = |change: fn(&mut SegmentRef), references: &[Reference]| {
        let mut references = references.to_vec();
        change(&mut references[1].segment);
        references
    };
    for (change, expected) in [
        ((|segment| segment.base = Offset(11)) as fn(&mut SegmentRef), "holds no segment from offset 11"),
        (|segment| segment.end = Offset(21), "ends at 20, metadata has 21"),
        (|segment| segment.records += 1, "do not agree"),
        (|segment| segment.position += 1, "do not agree"),
    ] {
        let problems = world.reader().verify(second, None, &asked(change, &references)).await.unwrap();
        assert_eq!(kinds(&problems), [(ProblemKind::Mismatch, 1)]);
        assert!(problems[0].detail.contains(expected), "{problems:?}");
    }

    // Of another cluster.
    references.truncate(1);
    let mut reader = world.reader();
    reader.cluster = ClusterId::from_bytes([9; 16]);
    assert_eq!(kinds(&reader.verify(second, None, &references).await.unwrap()), [(ProblemKind::Mismatch, 0)]);
}

#[tokio::test]
async fn a_newer_format_is_no_damage() {
    let mut world = World::new(1).await;
    let key = world.publish(&[0], 100).await;
    let mut object = world.object(key).await;
    let trailer = object.len() - TRAILER_BYTES;
    object[trailer + 83] = 2;
    let crc = crc32c::crc32c(&object[trailer..trailer + 84]);
    object[trailer + 84..trailer + 88].copy_from_slice(&crc.to_be_bytes());
    world.put(key, object).await;
    let problems = world.verify(key).await;
    assert_eq!(kinds(&problems), [(ProblemKind::Unsupported, 0)]);
    assert!(problems[0].detail.contains("upgrade siltstone"), "{problems:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_has_no_problem() {
    let mut world = World::new(1).await;
    let key = world.publish(&[0], 600_000).await;
    let references = world.references(key).await;
    for operation in [Operation::Head, Operation::GetRange] {
        for fault in [Fault::Refuse, Fault::Deny, Fault::LoseAnswer] {
            world.store.script(operation, [fault]);
            let answer = world.reader().verify(key, None, &references).await;
            assert!(
                matches!(answer, Err(StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Unknown { .. })),
                "{operation} {fault:?}: {answer:?}"
            );
        }
    }
    assert_eq!(world.store.scripted(), 0);
}

#[tokio::test]
async fn what_was_damaged_on_its_way_is_read_again() {
    let mut world = World::new(1).await;
    let key = world.publish(&[0], 100).await;
    let references = world.references(key).await;
    for fault in [Fault::Damage, Fault::Short] {
        world.store.script(Operation::GetRange, [fault]);
        assert_eq!(examine(&world.reader(), world.metadata.as_ref(), key, None, &references).await.unwrap(), []);
    }
    // And what a listing lacks or has otherwise is asked for.
    for length in [0, 1_000_000] {
        assert_eq!(examine(&world.reader(), world.metadata.as_ref(), key, Some(length), &references).await.unwrap(), []);
    }
    world.store.script(Operation::GetRange, [Fault::Damage; 2]);
    let problems = examine(&world.reader(), world.metadata.as_ref(), key, None, &references).await.unwrap();
    assert_eq!(kinds(&problems), [(ProblemKind::Damage, 0)]);
}

#[tokio::test]
async fn what_metadata_has_let_go_of_is_no_problem() {
    let mut world = World::new(3).await;
    let key = world.publish(&[0, 1, 2], 100).await;
    let references = world.references(key).await;
    world.remove(key).await;
    let examined = async |world: &World| {
        let found = examine(&world.reader(), world.metadata.as_ref(), key, None, &references).await.unwrap();
        kinds(&found)
    };
    assert_eq!(examined(&world).await, [0, 1, 2].map(|index| (ProblemKind::Missing, index)));
    world.advance_log_start(0, 10).await;
    assert_eq!(examined(&world).await, [1, 2].map(|index| (ProblemKind::Missing, index)), "retention");
    world.rewrite(1, 100).await;
    assert_eq!(examined(&world).await, [(ProblemKind::Missing, 2)], "a rewrite");
    world.metadata.delete_topic(world.topic).await.unwrap();
    assert_eq!(examined(&world).await, [], "a deleted topic");
}

#[tokio::test]
async fn nothing_is_concluded_while_metadata_does_not_answer() {
    let mut world = World::new(1).await;
    let key = world.publish(&[0], 100).await;
    let references = world.references(key).await;
    world.remove(key).await;
    // Nobody listens there.
    let away = GrpcClient::connect("http://127.0.0.1:1".to_owned(), Duration::from_secs(5)).unwrap();
    let answer = examine(&world.reader(), &away, key, None, &references).await;
    assert!(matches!(answer, Err(ExamineError::Metadata(MetadataError::Unavailable { .. }))), "{answer:?}");
}
