//! The metadata service: one state machine in memory, driven by a journal of events in dense slots, with snapshots in the store. It
//! does not know the Kafka protocol.
//!
//! `journal` keeps what happened, `state` is what it adds up to, `snapshot` puts the state into the store, `rebuild`
//! brings it back from there alone, `service` runs them. Formats are documented in docs/formats-metadata.md.

#[doc(hidden)]
pub mod decoders;
pub mod journal;
mod rebuild;
mod service;
mod snapshot;
mod state;

#[cfg(test)]
mod golden;

/// Bodies of journal events and of a snapshot's parts.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod proto {
    tonic::include_proto!("siltstone.journal.v1");
}

#[cfg(feature = "rocksdb")]
pub use journal::RocksDbJournal;
pub use journal::{AppendFault, FIRST_SLOT, Journal, JournalError, MemoryJournal};
pub use rebuild::{FoundObject, FoundSegment, Rebuild, RebuildError, Rebuilt, Report};
pub use service::{MetadataService, Options, SecondOpinion, StartError, StoreTime};
