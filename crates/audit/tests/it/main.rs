//! Verification and the auditor over the real metadata service, whose journal is in memory, and a store in memory whose objects are
//! damaged by hand.

// Clippy takes only `#[test]` functions for tests, and this binary holds their helpers too.
#![allow(clippy::unwrap_used)]

mod auditor;
mod objects;
mod world;
