//! Metadata from the store alone, after the journal was lost: the newest snapshot that can be read, the mirrored steps after it, and
//! what the segment objects after it say of themselves (rule R15).
//!
//! ```text
//! snapshot ──► mirrored steps ──► objects: log by log (`chain`) ──► partition by partition (`runs`) ──► log starts ──► counters jump
//! ```
//!
//! [`Rebuild::begin`] reads the first two and says which objects are newer; whoever can read segment objects hands over what they say;
//! [`Rebuild::finish`] is pure; [`Rebuilt::write`] begins a new journal with the result.
//!
//! What only the journal knew and nothing needs for correctness is as old as the snapshot: rows of coordinators (committed offsets of
//! groups among them), and which objects are garbage. What the journal gave out since the snapshot and nobody can tell any more, every
//! counter jumps over: 64-bit ones by 2^32, epochs of leaders and coordinator slots by 2^20.

mod chain;
mod replay;
mod runs;
mod source;

#[cfg(test)]
mod tests;

use metadata_api::ProducerDelta;
use store::{ClaimError, ObjectStore, StoreError};
use types::{
    BrokerEpoch, ClusterId, Lsn, ObjectKey, Offset, PublishSequence, Revision, SegmentRef, Timestamp, TopicId, TopicPartition, WalId,
};

pub use source::Rebuild;

use crate::journal::Journal;
use crate::state::State;

/// What a segment object says of itself: its key and the header and segments of its footer.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundObject {
    /// The key that it was written under.
    pub key: ObjectKey,
    /// The log that its range comes from.
    pub wal: WalId,
    /// First LSN of the range.
    pub first_lsn: Lsn,
    /// The LSN after the range.
    pub end_lsn: Lsn,
    /// The publish that was to add it.
    pub sequence: PublishSequence,
    /// Newest metadata revision that the writer had seen.
    pub metadata_revision: Revision,
    /// Publishes of its epoch up to this one were answered when it was built.
    pub answered_through: PublishSequence,
    /// Partitions that were refused, by publish.
    pub refused: Vec<(BrokerEpoch, PublishSequence, Vec<TopicPartition>)>,
    /// What lies in it.
    pub segments: Vec<FoundSegment>,
}

/// A segment as its object's footer has it.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundSegment {
    /// Whose.
    pub partition: TopicPartition,
    /// All that metadata keeps of it; `added` does not count.
    pub segment: SegmentRef,
    /// Windows of producers as of its end.
    pub producers: Vec<ProducerDelta>,
}

/// Why metadata cannot be rebuilt. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its marker is of another format, or damaged.
    #[error(transparent)]
    Claim(ClaimError),
    /// There is no marker: nothing says whose store it is.
    #[error("the store carries no marker of a cluster: there is nothing to rebuild; correct store.url")]
    NoCluster,
    /// There are snapshots, and none can be read.
    #[error("none of the {count} snapshots of the metadata in the store can be used, the newest because of: {newest}")]
    NoSnapshot {
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: String,
    },
    /// A mirrored step cannot be read.
    #[error("{key}: {detail}")]
    Step {
        /// The step's key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The new journal could not be written; what is in the store already does no harm, and the next attempt begins from it.
    #[error("the new journal cannot be written: {detail}")]
    Journal {
        /// What failed.
        detail: String,
    },
}

/// What a rebuild found, and what it could not find.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Revision of the snapshot, and the journal's time of the last change that it holds; `None` where there never was one. What it
    /// alone could tell and was changed later is lost. The store does not say when the last change of all was.
    pub snapshot: Option<(Revision, Timestamp)>,
    /// Mirrored steps after it.
    pub steps: u64,
    /// Objects in the store that the snapshot does not know and that were looked at.
    pub objects: u64,
    /// Of these, those that are part of a partition now.
    pub used: u64,
    /// Topics, partitions and segments that there are now.
    pub topics: u64,
    /// See `topics`.
    pub partitions: u64,
    /// See `topics`.
    pub segments: u64,
    /// Topics of which objects were found, but neither name nor configs: their objects are left where they are.
    pub unknown_topics: Vec<TopicId>,
    /// Offsets that segments around them show to be missing.
    pub holes: Vec<(TopicPartition, Offset, Offset)>,
    /// Segments that were published, and fit nowhere.
    pub misfits: Vec<(TopicPartition, ObjectKey)>,
}

/// A state that is not written yet.
pub struct Rebuilt {
    pub(super) state: State,
    pub(super) report: Report,
}

impl Rebuilt {
    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Puts a snapshot of the state into the store and begins `journal`, which must be empty, with it. A crash in between leaves the
    /// journal empty; the next rebuild begins from this one's snapshot. Answers the revision that the journal begins at.
    pub async fn write(self, journal: &dyn Journal, store: &dyn ObjectStore, random: &runtime::Random) -> Result<Revision, RebuildError> {
        source::write(self.state, journal, store, random).await
    }
}

/// The store says whose it is.
fn claimed(marker: Option<store::Marker>) -> Result<ClusterId, RebuildError> {
    marker.map(|marker| marker.cluster).ok_or(RebuildError::NoCluster)
}
