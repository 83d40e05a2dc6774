//! How segments are found.

use proptest::prelude::*;

use super::*;
use crate::state::Segments;

const P0: fn() -> TopicPartition = || partition(1, 0);

fn page(world: &mut World, command: Command) -> metadata_api::SegmentPage {
    match world.run(command).unwrap() {
        Answer::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn bases(page: &metadata_api::SegmentPage) -> Vec<i64> {
    page.segments.iter().map(|segment| segment.base.0).collect()
}

/// Segments of ten offsets with these timestamps; between the second and the third lies a gap of ten.
fn world() -> World {
    let mut world = World::with_topic(1);
    for (number, (base, timestamp)) in [(0, 500), (10, 300), (30, 900), (40, 700)].into_iter().enumerate() {
        let mut request = world.next_publish(number as u64, &[(P0(), base, base + 10)]);
        request.partitions[0].gap = true;
        request.partitions[0].segment.max_timestamp = Timestamp(timestamp);
        world.publish(request).unwrap();
    }
    world
}

#[test]
fn a_page_begins_with_the_segment_that_answers_for_the_offset_or_the_next_above() {
    let mut world = world();
    let mut from = |offset, limit| {
        let page = page(&mut world, Command::Segments { partition: P0(), from: Offset(offset), limit });
        assert_eq!((page.log_start, page.next_offset, page.revision), (Offset(0), Offset(50), world.state.revision));
        (bases(&page), page.more)
    };
    assert_eq!(from(0, 10), (vec![0, 10, 30, 40], false));
    assert_eq!(from(19, 1), (vec![10], true));
    assert_eq!(from(20, 2), (vec![30, 40], false), "within the gap");
    assert_eq!(from(49, 1), (vec![40], false));
    assert_eq!(from(50, 1), (vec![], false));
    assert_eq!(from(-5, 0), (vec![0], true), "at least one");
}

#[test]
fn a_timestamp_finds_the_first_segment_that_reaches_it() {
    let mut world = world();
    let mut at = |timestamp| bases(&page(&mut world, Command::SegmentAt { partition: P0(), timestamp: Timestamp(timestamp) }));
    assert_eq!(at(0), [0]);
    assert_eq!(at(500), [0]);
    assert_eq!(at(501), [30]);
    assert_eq!(at(901), Vec::<i64>::new());
    assert_eq!(bases(&page(&mut world, Command::SegmentOfMaxTimestamp(P0()))), [30]);
}

#[test]
fn a_segment_that_is_kept_only_for_its_state_is_not_found() {
    let mut world = world();
    let epoch = world.epoch(1);
    let request = metadata_api::AdvanceLogStart { broker: BrokerId(1), epoch, partition: P0(), log_start: Offset(50) };
    world.run(Command::AdvanceLogStart(request)).unwrap();
    assert_eq!(world.state.partition(P0()).unwrap().segments.len(), 1);
    assert_eq!(bases(&page(&mut world, Command::Segments { partition: P0(), from: Offset(0), limit: 10 })), Vec::<i64>::new());
    assert_eq!(bases(&page(&mut world, Command::SegmentAt { partition: P0(), timestamp: Timestamp(0) })), Vec::<i64>::new());
    assert_eq!(bases(&page(&mut world, Command::SegmentOfMaxTimestamp(P0()))), Vec::<i64>::new());
}

#[test]
fn a_partition_that_is_not_there_is_named() {
    let mut world = world();
    let ask = |id| Command::Segments { partition: id, from: Offset(0), limit: 1 };
    assert_eq!(world.run(ask(partition(1, 1))), Err(MetadataError::UnknownPartition { topic: topic(1), partition: 1 }));
    assert_eq!(world.run(ask(partition(9, 0))), Err(MetadataError::UnknownTopic { topic: topic(9) }));
}

proptest! {
    /// Against lookups that go through all segments, over any timestamps, gaps and removals from the front.
    #[test]
    fn lookups_agree_with_a_search_through_all(
        steps in prop::collection::vec((0..3_i64, 1..4_i64, -1..8_i64, prop::bool::weighted(0.3)), 1..40),
    ) {
        let key = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(1) };
        let (mut segments, mut all, mut end) = (Segments::default(), Vec::<SegmentRef>::new(), 0);
        for (gap, length, timestamp, pop) in steps {
            let (base, until) = (Offset(end + gap), Offset(end + gap + length));
            end = until.0;
            let added = segment(key, base, until, Timestamp(timestamp));
            segments.push(added.clone());
            all.push(added);
            if pop {
                let removed = segments.pop_first().map(|segment| segment.as_ref().clone());
                prop_assert_eq!(removed, Some(all.remove(0)));
            }
            prop_assert_eq!((segments.len(), segments.bytes()), (all.len(), all.len() as u64 * 1000));
            for timestamp in -1..9 {
                let first = all.iter().find(|segment| timestamp <= segment.max_timestamp.0);
                prop_assert_eq!(segments.at(Timestamp(timestamp)).map(AsRef::as_ref), first);
            }
            let largest = all.iter().map(|segment| segment.max_timestamp).max();
            let first = all.iter().find(|segment| Some(segment.max_timestamp) == largest);
            prop_assert_eq!(segments.of_max_timestamp().map(AsRef::as_ref), first);
            for offset in 0..=end {
                let found: Vec<_> = segments.from(Offset(offset)).map(|segment| segment.base).collect();
                let above: Vec<_> = all.iter().filter(|segment| Offset(offset) < segment.end).map(|segment| segment.base).collect();
                prop_assert_eq!(found, above);
            }
            // What a snapshot rebuilds is the same value, with the same orders.
            let mut rebuilt = Segments::default();
            all.iter().for_each(|segment| rebuilt.push(segment.clone()));
            prop_assert_eq!(&rebuilt, &segments);
        }
    }
}
