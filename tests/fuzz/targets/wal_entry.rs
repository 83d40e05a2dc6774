//! Entries of the write-ahead log. What is decoded is the same after it was encoded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use types::Lsn;
use wal::codec::{DecodeError, decode, encode, intact_prefix, key};

/// Under which every entry here lies.
const LSN: Lsn = Lsn(9);

fuzz_target!(|data: &[u8]| {
    let key = key(LSN);
    let mut value = data.to_vec();
    if let Err(DecodeError::Checksum { found, .. }) = decode(&key, &value.clone().into()) {
        // A random checksum is hardly ever right, and nothing behind it would be reached.
        value[4..8].copy_from_slice(&found.to_be_bytes());
    }
    let value = Bytes::from(value);
    let _ = intact_prefix(&key, &value);
    let Ok(decoded) = decode(&key, &value) else { return };
    if let Some(entry) = &decoded.entry {
        let mut again = Vec::new();
        encode(LSN, entry, decoded.synced, &mut again);
        let again = decode(&key, &again.into()).expect("what was encoded can be read");
        assert_eq!((again.entry.as_ref(), again.synced), (Some(entry), decoded.synced));
    }
});
