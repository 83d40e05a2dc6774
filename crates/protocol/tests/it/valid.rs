//! What kafka-protocol encodes passes the guard and reads back the same.

use proptest::prelude::*;
use protocol::{ApiKey, decode_request};

use crate::counting::peak_of;
use crate::draw::{Draw, request};

/// Sharing a frame for the first time takes a small block.
const SHARING_BYTES: usize = 64;

proptest! {
    #[test]
    fn every_advertised_version_decodes_what_a_client_encodes_within_the_promised_memory(seed: u64) {
        let mut draw = Draw(seed);
        for &api in ApiKey::ALL {
            let range = api.versions();
            for version in range.min..=range.max {
                let (body, frame) = request(&mut draw, api, version);
                let (decoded, peak) = peak_of(|| decode_request(&frame));
                let decoded = match decoded {
                    Ok(decoded) => decoded,
                    Err(error) => return Err(TestCaseError::fail(format!("{api:?} {version}: {error}"))),
                };
                prop_assert_eq!((decoded.header.api_key, decoded.header.version), (api, version));
                prop_assert_eq!(&decoded.request, &body, "version {}", version);
                prop_assert!(peak <= decoded.decoded_bytes + SHARING_BYTES, "{:?} {}: {} > {}", api, version, peak, decoded.decoded_bytes);
            }
        }
    }
}

#[test]
fn versions_outside_the_table_are_not_decoded() {
    let mut draw = Draw(1);
    for &api in ApiKey::ALL {
        let range = api.versions();
        let (_, frame) = request(&mut draw, api, range.min);
        for version in [range.min - 1, range.max + 1, i16::MIN, i16::MAX] {
            let mut frame = frame.to_vec();
            frame[2..4].copy_from_slice(&version.to_be_bytes());
            let error = decode_request(&frame.into()).unwrap_err();
            assert!(
                matches!(error, protocol::DecodeError::UnsupportedVersion { .. } | protocol::DecodeError::UnsupportedApiVersions { .. }),
                "{api:?} {version}: {error}"
            );
        }
    }
}

#[test]
fn the_reference_page_lists_what_is_served() {
    let page = include_str!("../../../../docs/kafka-apis.md");
    let listed: Vec<String> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let key: i16 = cells.next()?.parse().ok()?;
            Some(format!("{key} {} {}", cells.next()?, cells.next()?))
        })
        .collect();
    let served: Vec<String> =
        ApiKey::ALL.iter().map(|api| format!("{} {} {}-{}", api.key(), api.name(), api.versions().min, api.versions().max)).collect();
    assert_eq!(listed, served);
}
