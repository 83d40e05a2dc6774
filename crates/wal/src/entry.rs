//! What the log stores, and its bytes. The layout is documented in `docs/formats.md` and pinned by golden files.

use bytes::Bytes;
use types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

use crate::EpochStart;

/// Who wrote a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client's Produce.
    Client,
    /// A coordinator: control batches.
    Coordinator,
}

/// What an entry is. On disk each kind carries a bit that says whether a reader that does not know it may skip it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A record batch of a partition, offset and leader epoch already stamped.
    Batch {
        /// Whose log it extends.
        partition: TopicPartition,
        /// Who wrote it.
        origin: Origin,
        /// Stamped into the batch too.
        leader_epoch: LeaderEpoch,
        /// Offset of the first record.
        base_offset: Offset,
        /// Offset of the last record.
        last_offset: Offset,
    },
    /// A broker epoch begins.
    EpochStart(EpochStart),
}

/// One entry: the atomic step for offset, producer sequence and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The broker's clock at append.
    pub append_time: Timestamp,
    /// The record batch as it will be stored and served; empty for other kinds.
    pub batch: Bytes,
}
