//! The offload from the outside, over an in-memory log, a faulty store and a strict metadata service.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod crash;
mod ledger;
mod publishing;
mod scale;
mod sealing;
mod stopping;
mod uploading;
mod watched;
mod world;
