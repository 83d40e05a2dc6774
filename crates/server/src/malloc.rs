//! The allocator of the whole process, RocksDB's C++ included: jemalloc, because what one range of the log has used serves the next one
//! without the kernel finding and clearing pages for it again (docs/decisions/2026-11-29-jemalloc.md).
//!
//! On Linux it also is the C library's `malloc`; elsewhere Rust's allocations alone are its, with its own options.
#![allow(unsafe_code)] // jemalloc finds its options by the name of a symbol

use std::ffi::{CStr, c_char};

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// An arena for each core instead of four: more of them only leave more holes. Huge pages, where the kernel gives them to who asks. What was
/// not used for a second goes back to the kernel, by a thread of its own, so that an idle broker gives back as well.
/// What the environment's `MALLOC_CONF` says goes before this.
const OPTIONS: &CStr = c"narenas_ratio:1,thp:always,background_thread:true,dirty_decay_ms:1000";

/// A pointer that may be shared: what it points to is constant.
#[repr(transparent)]
struct Options(*const c_char);

// SAFETY: nobody writes to what it points to, which lives as long as the program.
unsafe impl Sync for Options {}

/// Read before the first allocation.
// SAFETY: no other symbol of this name is there: jemalloc's own is weak, for programs to define theirs.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Options = Options(OPTIONS.as_ptr());
