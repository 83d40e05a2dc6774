//! Coordinator slots: who coordinates groups, and the rows that a coordinator keeps. What the rows mean is the coordinator's business.
//!
//! A broker takes a slot, which raises the slot's epoch, reads the rows, and from then on saves what changes. Saves of an older slot
//! epoch that arrive after the slot was taken are refused, so the taker misses none and is overtaken by none.

use bytes::Bytes;
use types::{BrokerEpoch, BrokerId, CoordinatorSlot, Revision, SaveSequence, SlotEpoch};

/// Most bytes of one save's rows, counted by [`row_bytes`]. A larger one is refused as invalid: the caller splits it. Room for what one
/// call changes in the largest group; saves of more than one call do better to stay below an entry of the journal, 1 MiB.
pub const MAX_SAVE_BYTES: usize = 16 << 20;

/// Most bytes of a slot's rows, counted by [`row_bytes`]. A save that would make them more is refused as unavailable: nothing is
/// written, and a save that removes rows may come in its place.
pub const MAX_SLOT_BYTES: u64 = 256 << 20;

/// Bytes counted for a row besides its key and value.
pub const ROW_OVERHEAD: usize = 16;

/// What a row counts for wherever bytes of rows are bounded; without value for one that is removed.
pub fn row_bytes(key: &[u8], value: Option<&[u8]>) -> usize {
    ROW_OVERHEAD + key.len() + value.map_or(0, <[u8]>::len)
}

/// A broker becomes the coordinator of a slot. Any live broker may take any slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TakeSlot {
    /// Who takes it.
    pub broker: BrokerId,
    /// In which broker epoch.
    pub epoch: BrokerEpoch,
    /// Which slot.
    pub slot: CoordinatorSlot,
}

/// Answer to [`TakeSlot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotTaken {
    /// The slot's new epoch.
    pub slot_epoch: SlotEpoch,
    /// Journal index.
    pub revision: Revision,
}

/// Asks for rows in the order of their keys. Refused unless the slot's epoch is still this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRows {
    /// Which slot.
    pub slot: CoordinatorSlot,
    /// As it was taken.
    pub slot_epoch: SlotEpoch,
    /// The last key of the page before; `None` for the first page.
    pub after_key: Option<Bytes>,
    /// A page is closed before the row that would exceed it, counted by [`row_bytes`]; the service may close it sooner, but never
    /// before the first row.
    pub limit_bytes: u32,
}

/// Rows of a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowPage {
    /// The state that this page is of.
    pub revision: Revision,
    /// Keys, ascending, with their values.
    pub rows: Vec<(Bytes, Bytes)>,
    /// More follow after the last one.
    pub more: bool,
}

/// Puts and removes rows of a slot, all or none. Sent again with the same sequence and content it is answered, never redone: not even
/// if it arrives after a later one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaveRows {
    /// Who took the slot.
    pub broker: BrokerId,
    /// In which broker epoch it did.
    pub epoch: BrokerEpoch,
    /// Which slot.
    pub slot: CoordinatorSlot,
    /// As it was taken; a stale one is refused.
    pub slot_epoch: SlotEpoch,
    /// Dense within the slot epoch, from 1; one in flight.
    pub sequence: SaveSequence,
    /// Keys, not empty, with their new values; `None` removes a row. Of several values of a key the last counts. At most
    /// [`MAX_SAVE_BYTES`].
    pub rows: Vec<(Bytes, Option<Bytes>)>,
}
