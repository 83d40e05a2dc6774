//! The `siltstone` program from outside: what a person at a terminal sees, what a crash leaves, and what the sources must hold to.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod auditing;
mod backfill;
mod bucket;
mod cli;
mod configs;
mod connections;
mod costs;
mod crash;
mod deploy;
mod durability;
mod faults;
mod golden_stores;
mod groups;
mod harness;
mod inspect;
mod proxy;
mod quotas;
mod rebuild;
mod records;
mod reference;
mod retries;
mod rewriting;
mod rollback;
mod small_disk;
mod soak;
mod stoppable_store;
mod store_away;
mod store_faults;
mod tidy;
