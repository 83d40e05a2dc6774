//! Damaged and hostile bytes: always refused or harmless, never a panic, never memory out of proportion.

use proptest::prelude::*;
use records::DamagedBatch;
use segment::{HEAD_BYTES, Index, ObjectError, SegmentEntry, SegmentVerifier, data_range, index_range, verify};

use super::*;

#[test]
fn every_flipped_bit_of_an_object_is_noticed() {
    let object = joined(&sample());
    for position in 0..object.len() {
        for bit in [0, 3, 7] {
            let mut damaged = object.to_vec();
            damaged[position] ^= 1 << bit;
            assert!(verify(&damaged.into()).is_err(), "byte {position} bit {bit}");
        }
    }
}

#[test]
fn every_cut_of_an_object_is_noticed() {
    let object = joined(&sample());
    for length in 0..object.len() {
        assert!(verify(&object.slice(..length)).is_err(), "{length} bytes");
    }
}

/// What the segments of `object` are found to be when their bytes come in pieces of `piece` bytes.
fn verify_in_pieces(object: &Bytes, entries: &[SegmentEntry], piece: usize) -> Result<(), ObjectError> {
    for entry in entries {
        let mut verifier = SegmentVerifier::new(entry)?;
        let bytes = object.slice(data_range(&entry.segment).start as usize..index_range(&entry.segment).end as usize);
        for start in (0..bytes.len()).step_by(piece) {
            verifier.push(bytes.slice(start..bytes.len().min(start + piece)))?;
        }
        verifier.finish()?;
    }
    Ok(())
}

#[test]
fn a_segment_in_pieces_of_any_size_is_judged_as_the_whole_one_is() {
    let object = joined(&sample());
    let contents = contents(&object);
    let ends = contents.segments.iter().map(|entry| index_range(&entry.segment).end as usize).max().unwrap();
    for piece in [1, 7, 16, 17, 61, 62, 100, 1000, object.len()] {
        assert_eq!(verify_in_pieces(&object, &contents.segments, piece), Ok(()), "pieces of {piece}");
        for position in HEAD_BYTES..ends {
            let mut damaged = object.to_vec();
            damaged[position] ^= 1 << (position % 8);
            let damaged: Bytes = damaged.into();
            let whole = verify(&damaged).map(drop);
            assert!(whole.is_err(), "byte {position}");
            assert_eq!(verify_in_pieces(&damaged, &contents.segments, piece), whole, "byte {position} in pieces of {piece}");
        }
    }
}

#[test]
fn a_segment_that_ends_within_a_batch_is_noticed_where_it_ends() {
    let object = joined(&sample());
    let entry = &contents(&object).segments[0];
    let data = object.slice(data_range(&entry.segment).start as usize..data_range(&entry.segment).end as usize);
    for length in [1, 61, data.len() - 1] {
        let mut verifier = SegmentVerifier::new(entry).unwrap();
        verifier.push(data.slice(..length)).unwrap();
        let result = verifier.finish();
        assert!(matches!(result, Err(ObjectError::Batches { source: DamagedBatch::Truncated { .. }, .. })), "{length}: {result:?}");
    }
}

/// One segment with a gap, and the same with the batch behind the gap moved inside it: sound batches, in order, within the range.
fn moved_within_a_gap() -> (Bytes, Bytes) {
    let mut builder = ObjectBuilder::new(header());
    builder.add_segment(input(partition(1, 0), 0, 20), [batch(0, 2, 0), batch(10, 1, 0)].map(at(0))).unwrap();
    let object = joined(&builder.finish(key()));
    let mut moved = object.to_vec();
    moved[16 + batch(0, 2, 0).len() + 7] = 11;
    (object, moved.into())
}

#[test]
fn an_offset_moved_within_a_gap_is_noticed() {
    let (object, moved) = moved_within_a_gap();
    assert!(verify(&object).is_ok());
    assert!(matches!(verify(&moved), Err(ObjectError::Checksum { part: "segment data", .. })));
}

#[test]
fn a_footer_that_counts_otherwise_than_the_batches_disagrees() {
    let (object, _) = moved_within_a_gap();
    let mut footer = object[footer_range(&Trailer::parse(&object).unwrap())].to_vec();
    let object_section = 12 + u32::from_be_bytes(*footer[4..].first_chunk().unwrap()) as usize;
    // Section header, count of segments, then up to the last byte of the record count, by docs/formats-object.md.
    footer[object_section + 12 + 4 + 67] += 1;
    reseal_sections(&mut footer);
    let result = verify(&with_footer(&object, &footer));
    assert!(matches!(result, Err(ObjectError::Disagrees { what: "its footer entry", .. })), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Checksums are made right again, so that the rules behind them are reached.
    #[test]
    fn a_mutated_footer_behind_right_checksums_never_panics(mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let object = joined(&sample());
        let trailer = Trailer::parse(&object).unwrap();
        let mut footer = object[footer_range(&trailer)].to_vec();
        for (at, value) in mutations {
            let at = at.index(footer.len());
            footer[at] = value;
        }
        reseal_sections(&mut footer);
        let object = with_footer(&object, &footer);
        if let Ok(contents) = verify(&object) {
            prop_assert!(contents.segments.len() <= footer.len());
        }
        let trailer = Trailer::parse(&object).unwrap();
        if let Ok(contents) = ObjectContents::parse(&object[footer_range(&trailer)], &trailer) {
            for entry in &contents.segments {
                let range = index_range(&entry.segment);
                prop_assert!(range.end <= trailer.footer_position);
                let _ = Index::parse(&object[range.start as usize..range.end as usize], &entry.segment);
            }
        }
    }

    #[test]
    fn a_mutated_index_behind_a_right_checksum_is_refused_or_safe_to_seek(
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        offset: i64,
        max_bytes: u64,
    ) {
        let object = joined(&sample());
        let segment = contents(&object).segments.remove(0).segment;
        let range = index_range(&segment);
        let mut index = object[range.start as usize..range.end as usize].to_vec();
        let covered = index.len() - 4;
        for (at, value) in mutations {
            let at = at.index(covered);
            index[at] = value;
        }
        let crc = crc32c::crc32c(&index[..covered]);
        index[covered..].copy_from_slice(&crc.to_be_bytes());
        if let Ok(index) = Index::parse(&index, &segment) {
            let fetched = index.range_for(Offset(offset), max_bytes);
            prop_assert!(segment.position <= fetched.start && fetched.start <= fetched.end && fetched.end <= range.start);
        }
    }

    #[test]
    fn any_bytes_are_no_trailer_or_a_consistent_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Trailer::parse(&bytes).is_err());
        let mut resealed = resealed(vec![0; TRAILER_BYTES]);
        for (place, byte) in resealed.iter_mut().zip(&bytes).take(24) {
            *place = *byte;
        }
        resealed[80..84].copy_from_slice(&1u32.to_be_bytes());
        resealed[88..].copy_from_slice(b"MGESTLIS");
        if let Ok(trailer) = Trailer::parse(&super::resealed(resealed)) {
            prop_assert!(trailer.footer_range().end < trailer.object_bytes);
        }
    }
}

/// Makes the checksum of every section right again, as far as lengths lead.
fn reseal_sections(footer: &mut [u8]) {
    let mut rest = footer;
    while 12 <= rest.len() {
        let length = u32::from_be_bytes(*rest[4..].first_chunk().unwrap()) as usize;
        let Some((section, behind)) = rest.split_at_mut_checked(12usize.saturating_add(length)) else { return };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&section[..8]), &section[12..]);
        section[8..12].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
}
