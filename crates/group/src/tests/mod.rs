//! The coordinator from outside: what is asked, what is answered, what is saved.

mod harness;

mod both_protocols;
mod configs;
mod generations;
mod golden;
mod groups;
mod members;
mod migration;
mod offsets;
mod properties;
mod static_members;
mod types;
