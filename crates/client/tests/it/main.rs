//! The client against a broker that keeps its log in memory and misbehaves on request.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod admin;
mod connection;
mod consume;
mod fake_broker;
mod fake_group;
mod group;
mod produce;
