//! The broker from its socket down: a real listener on the loopback, real partitions over a write-ahead log and a store in memory, and
//! a metadata service of a hundred lines. Requests are encoded and answers decoded by kafka-protocol's client side.

// Helpers outside of `#[test]` functions are tests too.
#![allow(clippy::unwrap_used)]

mod admin;
mod client_quotas;
mod configs;
mod configuration;
mod consume;
mod durability;
mod group_versions;
mod groups;
mod harness;
mod hostile;
mod legacy;
mod metadata;
mod partitions;
mod produce;
mod quotas;
mod sessions;
mod versions;
