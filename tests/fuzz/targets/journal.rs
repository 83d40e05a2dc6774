//! What metadata keeps: journal entries, the events in them, and the parts of a snapshot.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metadata_service::decoders;

fuzz_target!(|data: &[u8]| {
    let data = Bytes::copy_from_slice(data);
    let _ = decoders::journal_entry(1, &data);
    let _ = decoders::events(data.clone());
    let _ = decoders::snapshot_root(data.clone());
    let _ = decoders::snapshot_rows(data.clone());
    let _ = decoders::snapshot_shard(data);
});
