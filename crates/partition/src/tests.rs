//! Partitions over an in-memory write-ahead log, an in-memory store that can fail, and metadata as plain maps.

mod append;
mod damage;
mod durability;
mod harness;
mod in_order;
mod model;
mod read;
mod recovery;
mod timestamps;
