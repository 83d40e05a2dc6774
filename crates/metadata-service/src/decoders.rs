//! The decoders of everything metadata keeps, as functions of bytes alone: for fuzzing.

use bytes::Bytes;

use crate::journal::Assembler;
use crate::{snapshot, state};

/// An entry of the journal as it lies in `slot`, without its events.
pub fn journal_entry(slot: u64, bytes: &Bytes) -> Result<(), String> {
    Assembler::default().push(slot, bytes).map(drop).map_err(|error| error.to_string())
}

/// The events of an entry.
pub fn events(bytes: Bytes) -> Result<(), String> {
    state::decode_events(bytes).map(drop).map_err(|error| error.to_string())
}

/// The root of a snapshot.
pub fn snapshot_root(bytes: Bytes) -> Result<(), String> {
    snapshot::decode_root(bytes).map(drop).map_err(|error| error.to_string())
}

/// A shard of a coordinator slot's rows in a snapshot.
pub fn snapshot_rows(bytes: Bytes) -> Result<(), String> {
    snapshot::decode_rows(bytes).map(drop).map_err(|error| error.to_string())
}

/// A shard of a snapshot.
pub fn snapshot_shard(bytes: Bytes) -> Result<(), String> {
    snapshot::decode_shard(bytes).map(drop).map_err(|error| error.to_string())
}
