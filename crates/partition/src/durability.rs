//! Which durability a partition acts by while the configured one is not in force yet (rule R5).
//!
//! ```text
//! configured   in force      acks=all waits for, and the high watermark follows
//! wal          wal           the sync
//! object       wal           the publish; what the sync promised before is published before `object` comes into force
//! object       object        the publish
//! wal          object        the publish; `wal` comes into force first
//! ```
//!
//! The stronger of the two, always: whatever the metadata service does with the partition meanwhile, no promise is broken.

use metadata_api::DurabilityChange;
use types::{Durability, Lsn, Offset, Revision};

/// A partition's two levels, of one cluster image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurabilityLevels {
    /// What metadata goes by when another log could take the partition over.
    pub in_force: Durability,
    /// What the topic's config, or the broker's default, asks for.
    pub configured: Durability,
    /// Revision of the topic's configs.
    pub config_revision: Revision,
}

impl DurabilityLevels {
    /// The level that acknowledgements and the high watermark go by.
    pub(crate) fn effective(&self) -> Durability {
        match (self.in_force, self.configured) {
            (Durability::Wal, Durability::Wal) => Durability::Wal,
            (Durability::Object, _) | (_, Durability::Object) => Durability::Object,
        }
    }
}

/// What is left to be done until the configured level is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingDurability {
    /// What metadata is to be asked for.
    pub change: DurabilityChange,
    /// Everything below has to be published before it is asked.
    pub publish_below: Option<Lsn>,
}

/// The levels, and how far the weaker one's promises reach.
#[derive(Debug)]
pub(crate) struct DurabilityState {
    levels: DurabilityLevels,
    /// Where the log ended when `object` was configured: below it records may be acknowledged, and seen, by their sync.
    synced_promises_end: Offset,
}

impl DurabilityState {
    /// A partition as metadata hands it over: what is read back for it counts by the level in force, for that is what was promised.
    pub(crate) fn new(in_force: Durability) -> Self {
        let levels = DurabilityLevels { in_force, configured: in_force, config_revision: Revision::default() };
        Self { levels, synced_promises_end: Offset::ZERO }
    }

    pub(crate) fn effective(&self) -> Durability {
        self.levels.effective()
    }

    /// Takes over newer levels; the log ends at `end`.
    pub(crate) fn follow(&mut self, levels: DurabilityLevels, end: Offset) {
        if (self.effective(), levels.effective()) == (Durability::Wal, Durability::Object) {
            self.synced_promises_end = end;
        }
        self.levels = levels;
    }

    /// The level to bring into force, the revision of the configs that ask for it, and what must be published before.
    pub(crate) fn pending(&self) -> Option<(Durability, Revision, Offset)> {
        let DurabilityLevels { in_force, configured, config_revision } = self.levels;
        let log_end = match configured {
            Durability::Wal => Offset::ZERO,
            Durability::Object => self.synced_promises_end,
        };
        (in_force != configured).then_some((configured, config_revision, log_end))
    }
}
