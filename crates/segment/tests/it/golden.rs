//! The bytes of version 1 stay what they are. `UPDATE_GOLDEN=1 cargo test -p segment golden` writes the file of a new version; the
//! file of a released one is never written again.

use segment::verify;

use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/range.object");

#[test]
fn an_object_of_version_1_is_built_byte_for_byte_as_ever() {
    let built = joined(&sample());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PATH, &built).unwrap();
    }
    let golden = std::fs::read(PATH).unwrap();
    let difference = golden.iter().zip(&built).position(|(a, b)| a != b);
    assert_eq!((difference, built.len()), (None, golden.len()));
}

#[test]
fn an_object_of_version_1_is_read_as_ever() {
    let golden = Bytes::from(std::fs::read(PATH).unwrap());
    let contents = verify(&golden).unwrap();
    assert_eq!((contents.key, contents.header), (key(), header()));
    assert_eq!(contents.segments, sample().segments);
}
