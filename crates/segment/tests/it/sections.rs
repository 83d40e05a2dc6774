//! How a reader meets what it does not know: optional sections are skipped, needed ones refused.

use segment::ObjectError;

use super::*;

const MUST_UNDERSTAND: u8 = 1;

fn section(kind: u16, version: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = [&kind.to_be_bytes()[..], &[version, flags], &(payload.len() as u32).to_be_bytes()].concat();
    let crc = crc32c::crc32c(&[&out[..], payload].concat());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Type and bytes of each section.
fn split(mut footer: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut sections = Vec::new();
    while !footer.is_empty() {
        let length = 12 + u32::from_be_bytes(*footer[4..].first_chunk().unwrap()) as usize;
        sections.push((u16::from_be_bytes([footer[0], footer[1]]), footer[..length].to_vec()));
        footer = &footer[length..];
    }
    sections
}

fn footer(object: &Bytes) -> Bytes {
    object.slice(footer_range(&Trailer::parse(object).unwrap()))
}

fn parse(footer: &[u8]) -> Result<ObjectContents, ObjectError> {
    let object = with_footer(&joined(&sample()), footer);
    let trailer = Trailer::parse(&object).unwrap();
    ObjectContents::parse(&object[footer_range(&trailer)], &trailer)
}

/// The sample's footer with the section of `kind` replaced.
fn replaced(kind: u16, section: &[u8]) -> Vec<u8> {
    let sections = split(&footer(&joined(&sample())));
    sections.iter().flat_map(|(found, bytes)| if *found == kind { section } else { bytes.as_slice() }).copied().collect()
}

#[test]
fn unknown_optional_sections_are_skipped_wherever_they_stand() {
    let plain = footer(&joined(&sample()));
    for kind in [0, 6, 7, 8, 900] {
        let unknown = section(kind, 1, 0, b"of the future");
        for footer in [[unknown.as_slice(), &plain].concat(), [&plain, unknown.as_slice()].concat()] {
            assert_eq!(parse(&footer), Ok(contents(&joined(&sample()))), "type {kind}");
        }
    }
}

#[test]
fn unknown_sections_that_must_be_understood_are_refused() {
    let plain = footer(&joined(&sample()));
    for (kind, version) in [(6, 1), (900, 3), (2, 9)] {
        let footer = [&plain[..], &section(kind, version, MUST_UNDERSTAND, b"")].concat();
        assert_eq!(parse(&footer), Err(ObjectError::UnknownSection { kind, version }));
    }
}

#[test]
fn each_known_section_is_there_once() {
    for (kind, bytes) in split(&footer(&joined(&sample()))) {
        assert_eq!(parse(&replaced(kind, &[])), Err(ObjectError::SectionCount { kind, found: 0 }));
        assert_eq!(parse(&replaced(kind, &[&bytes[..], &bytes].concat())), Err(ObjectError::SectionCount { kind, found: 2 }));
    }
}

#[test]
fn what_is_reserved_is_refused_until_it_is_used() {
    let one = section(5, 1, MUST_UNDERSTAND, &[&1u32.to_be_bytes()[..], &[0; 32]].concat());
    assert_eq!(parse(&replaced(5, &one)), Err(ObjectError::Reserved { what: "the list of aborted transactions" }));
    let segments = split(&footer(&joined(&sample()))).remove(1).1;
    // Offset shift and leader epoch override of the first segment, by docs/formats-object.md.
    for (position, byte, what) in [(4 + 130 + 7, 1, "an offset shift"), (4 + 138, 0, "a leader epoch override")] {
        let mut payload = segments[12..].to_vec();
        payload[position] = byte;
        assert_eq!(parse(&replaced(2, &section(2, 1, MUST_UNDERSTAND, &payload))), Err(ObjectError::Reserved { what }));
    }
}

#[test]
fn a_count_of_four_billion_takes_no_memory() {
    for kind in [2, 3] {
        let huge = section(kind, 1, MUST_UNDERSTAND, &u32::MAX.to_be_bytes());
        assert!(parse(&replaced(kind, &huge)).is_err());
    }
}

#[test]
fn a_section_cut_by_the_footers_end_is_refused() {
    let plain = footer(&joined(&sample()));
    for cut in 1..plain.len() {
        assert!(parse(&plain[..cut]).is_err(), "{cut} bytes of the footer");
    }
}

#[test]
fn encryption_and_newer_formats_are_named() {
    let object = joined(&sample());
    let trailer = |position: usize, byte: u8| {
        let mut trailer = object[object.len() - TRAILER_BYTES..].to_vec();
        trailer[position] = byte;
        Trailer::parse(&resealed(trailer))
    };
    assert_eq!(trailer(25, 1), Err(ObjectError::Encrypted(1)));
    assert_eq!(trailer(83, 2), Err(ObjectError::Version { part: "trailer", found: 2 }));
    assert_eq!(trailer(68, 1), Trailer::parse(&object), "reserved bytes do not matter");
}
