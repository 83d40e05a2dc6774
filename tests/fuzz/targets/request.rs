//! Requests of every API and version. Whatever passes the length guard is decoded without an error, and within the memory that the
//! guard allows.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::{DecodeError, decode_request};

fuzz_target!(|data: &[u8]| {
    match decode_request(&Bytes::copy_from_slice(data)) {
        Ok(decoded) => assert!(decoded.decoded_bytes <= 64 * 1024 + 18 * data.len(), "more memory than the guard allows"),
        Err(error @ DecodeError::Undecodable { .. }) => panic!("the guard let through what cannot be decoded: {error}"),
        Err(_) => {}
    }
});
