//! Copies of the state in the data directory, for a start while the store is away: the journal keeps only the tail since a snapshot,
//! and the snapshots are in the store.
//!
//! A copy is a snapshot like those in the store, in a directory store of its own, `<data.dir>/metadata/snapshots`. It is read only while
//! the store does not answer. The newest two are kept, so that one that is damaged can be passed over; the journal goes on from either,
//! because each is written before the journal is trimmed for the snapshot of the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use runtime::Random;
use store::{ObjectStore, StoreError};

use crate::journal::{FIRST_SLOT, Journal, JournalError};
use crate::proto;
use crate::snapshot::{self, CHUNKS, MANIFESTS, newest_first};
use crate::state::State;

/// The data directory's copies.
pub(crate) struct Copies {
    directory: Arc<dyn ObjectStore>,
    newest: Option<Copy>,
    /// The journal goes on from none of them, and one has not been tried to make yet.
    wanted: bool,
}

struct Copy {
    key: String,
    manifest: proto::Manifest,
}

impl Copies {
    /// Looks for the newest copy of what `state` was. A directory that cannot be read counts as empty: the first copy is made anew.
    pub(crate) async fn open(directory: Arc<dyn ObjectStore>, journal: &dyn Journal, state: &State) -> Result<Self, JournalError> {
        let newest = newest_copy(directory.as_ref(), state).await.unwrap_or_else(|err| {
            tracing::warn!("the metadata snapshots in the data directory cannot be read: {err}");
            None
        });
        let first_slot = journal.read(FIRST_SLOT, 1).await?.first().map_or(FIRST_SLOT, |(slot, _)| *slot);
        let reaches = newest.as_ref().map_or(FIRST_SLOT, |copy| copy.manifest.slot + 1);
        Ok(Self { directory, newest, wanted: reaches < first_slot })
    }

    /// A start would not do without the store, and nothing was done about it yet.
    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Writes a copy of `state`, which is the one after journal slot `slot`, and deletes all but it and the one before.
    pub(crate) async fn write(&mut self, random: &Random, state: &State, slot: u64) -> Result<(), StoreError> {
        // One that fails is not tried again before the next snapshot.
        self.wanted = false;
        let directory = self.directory.as_ref();
        let previous = self.newest.as_ref().map(|copy| &copy.manifest);
        let (taken, manifest) = snapshot::write(directory, random, state, slot, previous).await?;
        let older = self.newest.replace(Copy { key: taken.manifest, manifest });
        let kept: Vec<_> = self.newest.iter().chain(&older).collect();
        let mut named: BTreeSet<_> = kept.iter().flat_map(|copy| snapshot::chunk_keys(&copy.manifest)).collect();
        named.extend(kept.iter().map(|copy| copy.key.as_str()));
        for prefix in [MANIFESTS, CHUNKS] {
            let mut found = newest_first(directory, prefix).await?;
            found.retain(|key| !named.contains(key.as_str()));
            for deleted in directory.delete(&found).await {
                deleted?;
            }
        }
        Ok(())
    }
}

/// The newest that can be read and is not of a time that `state` has not come to.
async fn newest_copy(directory: &dyn ObjectStore, state: &State) -> Result<Option<Copy>, StoreError> {
    for key in newest_first(directory, MANIFESTS).await? {
        if snapshot::revision_of_key(&key).is_none_or(|revision| state.revision < revision) {
            continue;
        }
        match snapshot::read_manifest(directory, &key).await {
            Ok(manifest) => return Ok(Some(Copy { key, manifest })),
            Err(snapshot::SnapshotError::Store(err)) => return Err(err),
            Err(err @ snapshot::SnapshotError::Damaged { .. }) => tracing::warn!("a metadata snapshot in the data directory: {err}"),
        }
    }
    Ok(None)
}
