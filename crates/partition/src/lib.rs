//! One partition's log: order, epochs, producer state, high watermark, reads. Knows neither error codes nor sockets.
//!
//! [`Partitions`] holds what the broker leads, [`Partition::append`] and [`Partition::read`] are the two ways of a record. A partition
//! is a struct with a short mutex and no task of its own; one task, [`Partitions::run`], follows the write-ahead log for all of them
//! (`docs/decisions/2026-11-24-partition-without-a-task.md`).
//!
//! Invariants: nothing above the high watermark is ever answered; an offset, its producer sequence and its place in the write-ahead
//! log come into being in one step; the high watermark never moves back while a partition is open.

mod partition;
mod partitions;
mod shared;

mod durability;
mod epochs;
mod log;
mod producers;
mod tail;

mod completion;
mod ticket;
mod watch;

mod read_plan;
mod reader;

mod in_order;
mod segments;

mod damage;
mod delete_records;
mod location;
mod timestamps;

mod error;

#[cfg(test)]
mod tests;

pub use damage::{DamageObserver, NoDamageObserver};
pub use delete_records::Flusher;
pub use durability::{DurabilityLevels, PendingDurability};
pub use epochs::EpochEnd;
pub use error::{AppendError, CloseReason, DeleteRecordsError, NotLed, ReadError, RecoverError};
pub use location::Location;
pub use partition::{Acks, AppendRequest, Appended, Offsets, Partition};
pub use partitions::{Deps, LogConfig, PartitionUsage, Partitions, Published, Recovered};
pub use reader::{Isolation, ReadRequest, ReadResult, ReadSources};
pub use shared::Limits;
pub use store::ReadClass;
pub use ticket::AppendTicket;
pub use timestamps::TimestampOffset;
pub use wal::Origin;
pub use watch::ProgressWatch;
