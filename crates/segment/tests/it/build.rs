//! Building, and reading back what was built.

use segment::{BuildError, LayoutFault, ObjectError, data_range, index_range, verify};
use types::{EpochStart, MinTimestamp, SegmentFlags};

use super::*;

#[test]
fn everything_metadata_keeps_is_rebuilt_from_the_object_alone() {
    let built = sample();
    let object = joined(&built);
    let contents = contents(&object);
    assert_eq!((contents.key, &contents.header), (key(), &header()));
    assert_eq!(contents.segments, built.segments);

    let first = &contents.segments[0];
    let segment = &first.segment;
    assert_eq!((first.partition, segment.base, segment.end), (partition(3, 0), Offset(100), Offset(130)));
    assert_eq!((segment.records, segment.batches, segment.object, segment.position), (11, 4, key(), 16));
    assert_eq!((segment.max_timestamp, segment.append_times), (Timestamp(90_000), (Timestamp(70), Timestamp(70))));
    assert_eq!(segment.min_timestamp, MinTimestamp { value: Timestamp(100), exact: false });
    let epochs = [(4, 100), (5, 110), (6, 120)].map(|(epoch, offset)| EpochStart { epoch: LeaderEpoch(epoch), offset: Offset(offset) });
    assert_eq!(segment.leader_epochs, epochs);
    assert_eq!((segment.stable_end, segment.state_from, segment.flags), (Offset(130), Offset(40), SegmentFlags(1)));
    assert_eq!(first.producers.windows, [(1000, window(0, 2, Some(100))), (2000, window(1, 5, None))]);

    let second = &contents.segments[1];
    assert_eq!(second.segment.flags, SegmentFlags(1 << 4 | SegmentFlags::TRANSACTIONAL));
    assert_eq!((second.segment.origin, second.producers.full), (ObjectOrigin::Rewrite, true));
}

#[test]
fn r15_the_object_names_the_refused_partitions_of_earlier_publishes() {
    let contents = contents(&joined(&sample()));
    assert_eq!(contents.header.answered_through, PublishSequence(11));
    assert_eq!(contents.header.refused[1].partitions, [partition(8, 1)]);
    assert_eq!((contents.header.cluster, contents.header.wal), (header().cluster, header().wal));
    assert_eq!((contents.header.first_lsn, contents.header.end_lsn), (Lsn(1000), Lsn(1007)));
}

#[test]
fn r9_building_twice_gives_identical_bytes() {
    let (a, b) = (sample(), sample());
    assert_eq!(joined(&a), joined(&b));
    assert_eq!((a.length, a.crc), (b.length, b.crc));
}

#[test]
fn r9_producers_in_another_order_give_identical_bytes() {
    let build = |reverse: bool| {
        let mut input = input(partition(1, 0), 0, 1);
        input.producers = (0..20).map(|producer| (producer, window(0, 1, None))).collect();
        if reverse {
            input.producers.reverse();
        }
        let mut builder = ObjectBuilder::new(header());
        builder.add_segment(input, [(batch(0, 1, 0), Timestamp(0))]).unwrap();
        joined(&builder.finish(key()))
    };
    assert_eq!(build(false), build(true));
}

#[test]
fn r12_another_publish_of_the_same_batches_is_another_object() {
    let build = |sequence| {
        let mut builder = ObjectBuilder::new(ObjectHeader { sequence: PublishSequence(sequence), ..header() });
        builder.add_segment(input(partition(1, 0), 0, 1), [(batch(0, 1, 0), Timestamp(0))]).unwrap();
        builder.finish(key()).crc
    };
    assert_ne!(build(1), build(2));
}

#[test]
fn length_and_checksum_are_those_of_the_bytes() {
    let built = sample();
    let object = joined(&built);
    assert_eq!((built.length, built.crc), (object.len() as u64, crc32c::crc32c(&object)));
    assert_eq!(Trailer::parse(&object).unwrap().object_bytes, built.length);
}

#[test]
fn batches_are_gathered_and_not_copied() {
    let given = batch(0, 3, 0);
    let mut builder = ObjectBuilder::new(header());
    builder.add_segment(input(partition(1, 0), 0, 3), [(given.clone(), Timestamp(0))]).unwrap();
    assert!(builder.finish(key()).parts.iter().any(|part| part.as_ptr() == given.as_ptr()));
}

#[test]
fn data_and_index_lie_together_and_apart_from_other_partitions() {
    let object = joined(&sample());
    let mut position = 16;
    for entry in contents(&object).segments {
        assert_eq!(data_range(&entry.segment).start, position);
        assert_eq!(index_range(&entry.segment).start, data_range(&entry.segment).end);
        position = index_range(&entry.segment).end;
    }
    assert_eq!(position, Trailer::parse(&object).unwrap().footer_position);
}

#[test]
fn t13_an_object_knows_the_key_it_was_written_under() {
    let other = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(7), number: ObjectNumber(43) };
    let build = |key| {
        let mut builder = ObjectBuilder::new(header());
        builder.add_segment(input(partition(1, 0), 0, 1), [(batch(0, 1, 0), Timestamp(0))]).unwrap();
        joined(&builder.finish(key))
    };
    assert_eq!(contents(&build(key())).key, key());
    assert_eq!(contents(&build(other)).key, other);
    assert!(contents(&build(other)).segments.iter().all(|entry| entry.segment.object == other));
}

#[test]
fn an_object_that_is_sound_verifies() {
    let built = sample();
    assert_eq!(verify(&joined(&built)).unwrap().segments, built.segments);
    let empty = ObjectBuilder::new(header()).finish(key());
    assert!(verify(&joined(&empty)).unwrap().segments.is_empty());
}

#[test]
fn a_segment_without_batches_is_an_explicit_range() {
    let mut builder = ObjectBuilder::new(header());
    builder.add_segment(input(partition(1, 0), 5, 9), []).unwrap();
    let contents = verify(&joined(&builder.finish(key()))).unwrap();
    let segment = &contents.segments[0].segment;
    assert_eq!((segment.base, segment.end, segment.bytes, segment.records), (Offset(5), Offset(9), 0, 0));
}

#[test]
fn batches_that_do_not_fit_their_segment_are_refused() {
    let add = |base, end, batches: Vec<Bytes>| {
        let result = ObjectBuilder::new(header()).add_segment(input(partition(1, 0), base, end), batches.into_iter().map(at(0)));
        match result {
            Err(BuildError::Layout { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(add(5, 5, vec![]), LayoutFault::Range { .. }));
    assert!(matches!(add(1, 9, vec![batch(0, 2, 0)]), LayoutFault::Offsets { from: Offset(1), .. }));
    assert!(matches!(add(0, 2, vec![batch(0, 3, 0)]), LayoutFault::Offsets { end: Offset(2), .. }));
    assert!(matches!(add(0, 9, vec![batch(0, 3, 0), batch(2, 1, 0)]), LayoutFault::Offsets { from: Offset(3), .. }));
    assert!(matches!(add(0, 9, vec![batch(0, 1, 3), batch(1, 1, 2)]), LayoutFault::LeaderEpoch { found: LeaderEpoch(2), .. }));
    assert!(matches!(add(0, 9, vec![batch(0, 1, 0).slice(..40)]), LayoutFault::Header { .. }));
    let two = Bytes::from([batch(0, 1, 0), batch(1, 1, 0)].concat());
    assert!(matches!(add(0, 9, vec![two]), LayoutFault::Length { .. }));
}

#[test]
fn segments_are_added_in_order_and_each_producer_once() {
    let mut builder = ObjectBuilder::new(header());
    builder.add_segment(input(partition(2, 0), 0, 5), [(batch(0, 5, 0), Timestamp(0))]).unwrap();
    for (topic, base) in [(1, 9), (2, 4)] {
        let error = builder.add_segment(input(partition(topic, 0), base, base + 1), []).unwrap_err();
        assert_eq!(error, BuildError::Order { partition: partition(topic, 0), base: Offset(base) });
    }
    let mut twice = input(partition(3, 0), 0, 1);
    twice.producers = vec![(7, window(0, 1, None)), (7, window(1, 1, None))];
    assert!(matches!(builder.add_segment(twice, []), Err(BuildError::Producer { producer: 7, .. })));
}

#[test]
fn a_part_of_an_object_is_not_an_object() {
    let object = joined(&sample());
    assert_eq!(verify(&object.slice(1..)), Err(ObjectError::Magic { part: "head" }));
    assert_eq!(verify(&object.slice(..object.len() - 1)), Err(ObjectError::Magic { part: "trailer" }));
    let joined_to_another = Bytes::from([object.as_ref(), object.as_ref()].concat());
    assert!(matches!(verify(&joined_to_another), Err(ObjectError::Short { part: "object", .. })));
}
