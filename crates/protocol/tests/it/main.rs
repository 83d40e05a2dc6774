//! The decoder against valid, damaged and random input, in one binary because it counts every allocation.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod counting;
mod draw;
mod draw_admin;
mod draw_groups;
mod hostile;
mod legacy;
mod valid;
