//! Damaged and random frames: an error, never a panic, never memory beyond a small multiple of the frame.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{ApiKey, DecodeError, MalformedError, decode_request};

use crate::counting::peak_of;
use crate::draw::{Draw, request};

/// What a frame may cost: a base, 18 bytes for each of its first 2^20 bytes, 2 for each further one.
fn allowed(frame: usize) -> usize {
    64 * 1024 + 16 * frame.min(1 << 20) + 2 * frame + 1024
}

/// Decodes and checks the promises that hold for every input.
fn decode_within_bounds(frame: Vec<u8>) -> Result<(), DecodeError> {
    let allowed = allowed(frame.len());
    let frame = Bytes::from(frame);
    let (decoded, peak) = peak_of(|| decode_request(&frame));
    assert!(peak <= allowed, "{peak} bytes allocated for a frame of {} bytes: {:?}", frame.len(), frame);
    if let Err(error @ DecodeError::Undecodable { .. }) = &decoded {
        panic!("the guard let through what kafka-protocol refuses: {error}: {frame:?}");
    }
    decoded.map(|_| ())
}

/// A request header (correlation id 1, null client id, no tagged fields) and `body`.
fn frame(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = [api.key().to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
    if api.request_header_version(version) == 2 {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame
}

fn body_error(api: ApiKey, version: i16, body: &[u8]) -> MalformedError {
    match decode_within_bounds(frame(api, version, body)) {
        Err(DecodeError::Body { source, .. }) => source,
        other => panic!("expected a malformed body, got {other:?}"),
    }
}

#[test]
fn eight_bytes_that_claim_two_billion_topics_are_refused() {
    let error = body_error(ApiKey::Metadata, 0, b"\x7f\xff\xff\xff\x00\x00\x00\x00");
    assert_eq!(error, MalformedError::Short { position: 4, needed: 0x7fff_ffff, remaining: 4 });
}

#[test]
fn five_bytes_that_claim_54_million_topics_are_refused() {
    let error = body_error(ApiKey::Metadata, 0, b"\x03\x3c\x0c\x00\xb6");
    assert_eq!(error, MalformedError::Short { position: 4, needed: 0x033c_0c00, remaining: 1 });
}

#[test]
fn a_compact_array_of_four_billion_is_refused() {
    let error = body_error(ApiKey::Metadata, 12, b"\xff\xff\xff\xff\x0f\x00\x00\x00");
    assert_eq!(error, MalformedError::Short { position: 5, needed: 0xffff_fffe, remaining: 3 });
}

#[test]
fn a_number_of_tagged_fields_that_cannot_be_there_is_refused() {
    let error = body_error(ApiKey::ApiVersions, 3, b"\x01\x01\xff\xff\xff\xff\x0f");
    assert_eq!(error, MalformedError::Short { position: 7, needed: 2 * 0xffff_ffff, remaining: 0 });
}

#[test]
fn a_variable_length_number_of_more_than_32_bits_is_refused() {
    assert_eq!(body_error(ApiKey::Metadata, 12, b"\xff\xff\xff\xff\x1f\x00"), MalformedError::Varint { position: 0 });
    assert_eq!(body_error(ApiKey::Metadata, 12, b"\x80\x80\x80\x80\x80\x00"), MalformedError::Varint { position: 0 });
}

#[test]
fn a_null_where_a_value_is_required_is_refused() {
    assert_eq!(body_error(ApiKey::Metadata, 0, b"\xff\xff\xff\xff"), MalformedError::Length { position: 4, length: -1 });
    assert_eq!(body_error(ApiKey::ApiVersions, 3, b"\x00\x00\x00"), MalformedError::Length { position: 1, length: -1 });
}

#[test]
fn a_structure_is_there_or_null_and_nothing_else() {
    let body = |present: u8| [b"\x01\0\0\0\x05", &[present][..], b"\0"].concat();
    for present in [0, 2, 0x7f] {
        let error = body_error(ApiKey::DescribeTopicPartitions, 0, &body(present));
        assert_eq!(error, MalformedError::Length { position: 6, length: i64::from(present) });
    }
    for null in [0x80, 0xff] {
        decode_within_bounds(frame(ApiKey::DescribeTopicPartitions, 0, &body(null))).unwrap();
    }
}

#[test]
fn a_string_that_is_not_utf_8_is_refused() {
    assert_eq!(body_error(ApiKey::FindCoordinator, 0, b"\x00\x02\xc3\x28"), MalformedError::NotUtf8 { position: 2 });
}

#[test]
fn a_known_tagged_field_has_the_size_and_the_version_it_should() {
    // Fetch 12 without topics; its tagged field 0 is a cluster id, 1 begins with version 15.
    let body = |tags: &[u8]| [&[0xff; 4][..], &[0; 12], &[0], &[0; 4], &[0xff; 4], &[1, 1, 1], tags].concat();
    decode_within_bounds(frame(ApiKey::Fetch, 12, &body(b"\x01\x00\x03\x03ab"))).unwrap();
    assert!(matches!(body_error(ApiKey::Fetch, 12, &body(b"\x01\x00\x04\x03abc")), MalformedError::Tag { tag: 0, .. }));
    assert!(matches!(body_error(ApiKey::Fetch, 12, &body(b"\x01\x01\x02ab")), MalformedError::Tag { tag: 1, .. }));
}

#[test]
fn many_tiny_elements_cost_no_more_than_their_frame_may() {
    // Empty topic names: 2 bytes become 72.
    let count = 1_000_000u32;
    let body = [count.to_be_bytes().to_vec(), vec![0; 2 * count as usize]].concat();
    assert!(matches!(body_error(ApiKey::Metadata, 0, &body), MalformedError::Amplification { .. }));
    // An empty partition list per topic, three bytes each, and one tagged field in each.
    let topics = b"\x01\x01\x01\x63\x00".repeat(100_000);
    let body = [&[0xff; 4][..], &[0; 12], &[0], &[0; 4], &[0xff; 4], b"\xa1\x8d\x06", &topics].concat();
    assert!(matches!(body_error(ApiKey::Fetch, 12, &body), MalformedError::Amplification { .. }));
}

#[test]
fn a_metadata_request_for_every_topic_name_of_three_letters_is_served() {
    let letters = b'a'..=b'z';
    let mut body = (26 * 26 * 26u32).to_be_bytes().to_vec();
    for first in letters.clone() {
        for second in letters.clone() {
            for third in letters.clone() {
                body.extend_from_slice(&[0, 3, first, second, third]);
            }
        }
    }
    decode_within_bounds(frame(ApiKey::Metadata, 1, &body)).unwrap();
}

fn any_api_version() -> impl Strategy<Value = (ApiKey, i16)> {
    proptest::sample::select(ApiKey::ALL).prop_flat_map(|api| {
        let range = api.versions();
        (Just(api), range.min..=range.max)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_within_bounds(bytes);
    }

    #[test]
    fn random_bodies_never_panic((api, version) in any_api_version(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_within_bounds(frame(api, version, &body));
    }

    /// Bytes near those of small lengths and counts get further into a body than random ones.
    #[test]
    fn bodies_of_small_numbers_never_panic((api, version) in any_api_version(), body in proptest::collection::vec(0..5u8, 0..300)) {
        let _ = decode_within_bounds(frame(api, version, &body));
    }

    #[test]
    fn damaged_requests_never_panic((api, version) in any_api_version(), seed: u64) {
        let mut draw = Draw(seed);
        let (_, valid) = request(&mut draw, api, version);
        for _ in 0..8 {
            let mut damaged = valid.to_vec();
            for _ in 0..=draw.below(3) {
                let at = draw.below(damaged.len());
                match draw.below(4) {
                    0 => damaged[at] = draw.number() as u8,
                    1 => damaged[at] ^= 1 << draw.below(8),
                    2 => damaged.insert(at, [0, 1, 0x7f, 0xff][draw.below(4)]),
                    _ => damaged[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                }
            }
            let _ = decode_within_bounds(damaged);
        }
    }

    #[test]
    fn every_cut_of_a_request_is_an_error((api, version) in any_api_version(), seed: u64) {
        let mut draw = Draw(seed);
        let (_, valid) = request(&mut draw, api, version);
        let cut = draw.below(valid.len());
        prop_assert!(decode_within_bounds(valid[..cut].to_vec()).is_err(), "{:?} {} cut at {} of {}", api, version, cut, valid.len());
    }
}
