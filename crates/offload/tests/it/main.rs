//! The offload from the outside, over an in-memory log, a faulty store and a strict metadata service; rewriting over the real one.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure

mod crash;
mod ledger;
mod publishing;
mod rewrite_world;
mod rewriting;
mod scale;
mod sealing;
mod stopping;
mod uploading;
mod watched;
mod world;
