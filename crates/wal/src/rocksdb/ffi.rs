//! Two RocksDB options that the `rocksdb` crate has no setter for.
#![allow(unsafe_code)] // calls into the C API that the crate links; nothing else of this crate needs it

use std::ffi::{c_uchar, c_void};

use ::rocksdb::{AsRawPtr, Options};

unsafe extern "C" {
    fn rocksdb_options_set_track_and_verify_wals(options: *mut c_void, value: c_uchar);
    fn rocksdb_options_set_avoid_flush_during_recovery(options: *mut c_void, value: c_uchar);
}

/// Each WAL file names its predecessor, so that a deleted one is noticed at the next opening instead of leaving a hole.
pub(crate) fn track_and_verify_wals(options: &mut Options, value: bool) {
    // SAFETY: the pointer is that of a live `rocksdb_options_t`, borrowed exclusively for the call, which only stores the flag.
    unsafe { rocksdb_options_set_track_and_verify_wals(options.as_raw_ptr().cast(), c_uchar::from(value)) }
}

/// Recovered entries stay in memtables and WAL files instead of being written a second time.
pub(crate) fn avoid_flush_during_recovery(options: &mut Options, value: bool) {
    // SAFETY: as above.
    unsafe { rocksdb_options_set_avoid_flush_during_recovery(options.as_raw_ptr().cast(), c_uchar::from(value)) }
}
