//! Objects and their parts: trailer, footer, and a whole object as a reader gets it from the store.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use segment::{Index, ObjectContents, Trailer, verify};

fuzz_target!(|data: &[u8]| {
    let _ = verify(&Bytes::copy_from_slice(data));
    let _ = Trailer::parse(data);
    // As a footer, with the checksum that it should have: a random one is hardly ever right.
    let Ok(footer_bytes) = u32::try_from(data.len()) else { return };
    let trailer = Trailer {
        object_bytes: (1 << 40) + u64::from(footer_bytes) + 96,
        footer_position: 1 << 40,
        footer_bytes,
        footer_crc: crc32c::crc32c(data),
    };
    let Ok(contents) = ObjectContents::parse(data, &trailer) else { return };
    for entry in &contents.segments {
        let _ = Index::parse(data, &entry.segment);
    }
});
