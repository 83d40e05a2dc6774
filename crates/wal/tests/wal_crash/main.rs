//! The log on disk against crashes: power cuts, damaged files, failed syncs, full disks, directories put back or copied.
//!
//! `WAL_CRASH_CUTS` and `WAL_CRASH_DAMAGES` ask for more cases than an ordinary run has, `WAL_CRASH_SEED` for others;
//! `WAL_CRASH_EVERY=n` damages one log at every n-th place, `WAL_CRASH_FILE=text` only in files whose path contains the text. A failure
//! tells the command that repeats it.
#![cfg(target_os = "linux")] // the shim replaces glibc's calls
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod child;
mod disk;
mod expected;
mod scenario;
mod trace;
mod workload;

mod damage;
mod failure;
mod power_cut;
mod rollback;

#[test]
#[ignore = "a process of its own, which other tests start"]
fn child_workload() {
    workload::run();
}

#[test]
#[ignore = "a process of its own, which other tests start; repeats a failed case"]
fn child_cuts() {
    scenario::check_cuts();
}

#[test]
#[ignore = "a process of its own, which other tests start; repeats a failed case"]
fn child_damages() {
    damage::check_damages();
}

#[test]
#[ignore = "a process of its own, which other tests start"]
fn child_open() {
    rollback::open_and_tell();
}
