//! A coordinator slot's rows: keys and values that mean something to the coordinator only.
//!
//! They lie in shards of their own, by the key's hash, so that a save after a snapshot copies the shards it touches and not the slot,
//! and so that the saves of busy groups leave the shards of partitions and objects as they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::sync::Arc;

use metadata_api::row_bytes;
use types::Revision;

/// Shards of one slot's rows; part of the snapshot format.
pub(crate) const ROW_SHARDS: usize = 32;

/// A key or a value. Shared between the state, its snapshots and the events that bring it, and never a slice of a larger buffer, which
/// would be kept for as long as the row.
pub(crate) type RowBytes = Arc<[u8]>;

/// Rows whose keys have one hash, by key.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct RowShard {
    /// Revision of the last change.
    pub(crate) changed: Revision,
    pub(crate) rows: BTreeMap<RowBytes, RowBytes>,
}

/// All rows of a slot.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rows {
    shards: Vec<Arc<RowShard>>,
    /// What they count for by [`row_bytes`].
    bytes: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); ROW_SHARDS], bytes: 0 }
    }
}

/// The shard of a row: CRC-32C of its key, modulo [`ROW_SHARDS`]. Part of the snapshot format.
pub(crate) fn shard_of_row(key: &[u8]) -> usize {
    crc32c::crc32c(key) as usize % ROW_SHARDS
}

impl Rows {
    /// A row's value.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&RowBytes> {
        self.shards[shard_of_row(key)].rows.get(key)
    }

    /// Puts a row, or removes it where there is no value.
    pub(crate) fn put(&mut self, key: &RowBytes, value: Option<&RowBytes>, revision: Revision) {
        let shard = Arc::make_mut(&mut self.shards[shard_of_row(key)]);
        shard.changed = revision;
        let before = match value {
            Some(value) => shard.rows.insert(key.clone(), value.clone()),
            None => shard.rows.remove(key),
        };
        self.bytes += value.map_or(0, |value| row_bytes(key, Some(value)) as u64);
        self.bytes -= before.map_or(0, |before| row_bytes(key, Some(&before)) as u64);
    }

    /// Rows in the order of their keys, from after `after` on: at least one, and no more than count for `limit`. Says whether more follow.
    pub(crate) fn page(&self, after: Option<&[u8]>, limit: usize) -> (Vec<(&RowBytes, &RowBytes)>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest: Vec<_> = self.shards.iter().map(|shard| shard.rows.range::<[u8], _>((from, Bound::Unbounded))).collect();
        let mut next: BinaryHeap<_> = BinaryHeap::with_capacity(ROW_SHARDS);
        for (index, rows) in rest.iter_mut().enumerate() {
            next.extend(rows.next().map(|(key, value)| Reverse((key, value, index))));
        }
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((key, value, index))) = next.pop() {
            bytes += row_bytes(key, Some(value));
            if limit < bytes && !page.is_empty() {
                return (page, true);
            }
            page.push((key, value));
            next.extend(rest[index].next().map(|(key, value)| Reverse((key, value, index))));
        }
        (page, false)
    }

    /// What all rows count for by [`row_bytes`].
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By their hash.
    pub(crate) fn shards(&self) -> &[Arc<RowShard>] {
        &self.shards
    }

    /// Puts a shard in the place of an empty one.
    pub(crate) fn load(&mut self, index: usize, shard: RowShard) {
        self.bytes += shard.rows.iter().map(|(key, value)| row_bytes(key, Some(value)) as u64).sum::<u64>();
        self.shards[index] = Arc::new(shard);
    }
}
