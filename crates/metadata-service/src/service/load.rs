//! From journal and snapshots to a state that may lead: the newest snapshot that verifies, the journal after it, then `LeaderStarted`.
//! Nothing is written before it is clear that journal and store belong together.

use std::sync::Arc;

use bytes::Bytes;
use runtime::{Clock, Random};
use store::{ClaimError, ObjectStore, StoreError, claim, is_empty, read_marker};
use types::{ClusterId, Revision, Timestamp};

use super::StartError;
use super::append_entry;
use super::clock::JournalClock;
use crate::journal::{Assembler, Entry, FIRST_SLOT, Journal, encode_entry};
use crate::proto;
use crate::snapshot::{self, MANIFESTS, TOPICS, newest_first, revision_of_key};
use crate::state::{Event, State, decode_events, encode_event};

/// Bytes of journal read at once.
const READ_BYTES: usize = 4 << 20;

/// A state that leads.
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// Slot of the next entry.
    pub(crate) slot: u64,
    pub(crate) clock: JournalClock,
    /// The snapshot that was loaded.
    pub(crate) manifest: Option<proto::Manifest>,
    pub(crate) journal_bytes: u64,
}

pub(crate) async fn load(
    journal: &dyn Journal,
    store: &dyn ObjectStore,
    clock: Arc<dyn Clock>,
    random: &Random,
) -> Result<Loaded, StartError> {
    let mut loaded = if journal.read(FIRST_SLOT, 1).await?.is_empty() {
        create(journal, store, clock, random).await?
    } else {
        recover(journal, store, clock, random).await?
    };
    if !loaded.state.store_claimed {
        claim(store, loaded.state.cluster, random).await?;
        loaded.append(journal, random, &[Event::StoreClaimed]).await?;
    }
    Ok(loaded)
}

/// A new cluster. An empty journal beside a store that is not empty is a lost journal, or another cluster's store: everything there
/// would look orphaned (rule R7).
async fn create(journal: &dyn Journal, store: &dyn ObjectStore, clock: Arc<dyn Clock>, random: &Random) -> Result<Loaded, StartError> {
    if let Some(marker) = read_marker(store).await? {
        return Err(StartError::StoreInUse { cluster: marker.cluster });
    }
    if !is_empty(store, "").await? {
        // Says what lies there.
        claim(store, ClusterId::default(), random).await?;
    }
    let cluster = ClusterId::from_bytes(random.uuid_bytes());
    let state = State::default();
    let clock = JournalClock::new(clock, Timestamp(0));
    let mut loaded = Loaded { state, slot: FIRST_SLOT, clock, manifest: None, journal_bytes: 0 };
    loaded.append(journal, random, &[Event::ClusterCreated { cluster }, Event::LeaderStarted]).await?;
    Ok(loaded)
}

async fn recover(journal: &dyn Journal, store: &dyn ObjectStore, clock: Arc<dyn Clock>, random: &Random) -> Result<Loaded, StartError> {
    // Another cluster's snapshot must not be taken for this journal's beginning (rule R7).
    if let Some(cluster) = cluster_of(journal).await?
        && read_marker(store).await?.is_some()
    {
        claim(store, cluster, random).await?;
    }
    let manifests = newest_first(store, MANIFESTS).await?;
    let (state, slot, manifest) = newest_snapshot(store, &manifests).await?;
    let snapshot = state.revision;
    let mut replay = Replay { state, snapshot, slot: slot + 1, bytes: 0, assembler: Assembler::default() };
    replay.read_on(journal).await?;
    // A journal that ends below what it once wrote was rolled back, and would write it again with another meaning (rule R8).
    let topics = newest_first(store, TOPICS).await?;
    let stored = [&manifests, &topics].into_iter().filter_map(|keys| revision_of_key(keys.first()?)).max().unwrap_or(Revision(0));
    let reaches_snapshot = slot + 1 < replay.slot || !journal.read(slot, 1).await?.is_empty();
    if !reaches_snapshot || replay.state.revision < stored {
        return Err(StartError::RolledBack { stored });
    }
    if replay.state.store_claimed {
        match read_marker(store).await? {
            Some(_) => claim(store, replay.state.cluster, random).await?,
            None => return Err(StartError::StoreUnmarked { cluster: replay.state.cluster }),
        }
    }
    let clock = JournalClock::new(clock, replay.state.now);
    let Replay { state, slot, bytes, .. } = replay;
    let mut loaded = Loaded { state, slot, clock, manifest, journal_bytes: bytes };
    loaded.append(journal, random, &[Event::LeaderStarted]).await?;
    Ok(loaded)
}

/// The cluster that the journal says it is of, as long as its first entry is not trimmed.
async fn cluster_of(journal: &dyn Journal) -> Result<Option<ClusterId>, StartError> {
    let first = journal.read(FIRST_SLOT, 1).await?;
    let Some((FIRST_SLOT, bytes)) = first.first() else { return Ok(None) };
    let unreadable = |detail: String| StartError::Unreadable { slot: FIRST_SLOT, detail };
    let Some(step) = Assembler::default().push(FIRST_SLOT, bytes).map_err(|err| unreadable(err.to_string()))? else { return Ok(None) };
    let events = decode_events(step.body).map_err(|err| unreadable(err.to_string()))?;
    Ok(events.iter().find_map(|event| match event {
        Event::ClusterCreated { cluster } | Event::Rebuilt { cluster, .. } => Some(*cluster),
        _ => None,
    }))
}

/// A store that cannot be read is not a damaged snapshot: that is told at once.
async fn newest_snapshot(store: &dyn ObjectStore, keys: &[String]) -> Result<(State, u64, Option<proto::Manifest>), StartError> {
    for key in keys {
        match snapshot::load(store, key).await {
            Ok((state, manifest)) => return Ok((state, manifest.slot, Some(manifest))),
            Err(snapshot::SnapshotError::Store(
                err @ (StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Unknown { .. }),
            )) => {
                return Err(StartError::Store(err));
            }
            Err(err) => tracing::warn!("a metadata snapshot cannot be used, trying an older one: {err}"),
        }
    }
    Ok((State::default(), FIRST_SLOT - 1, None))
}

struct Replay {
    state: State,
    /// Of the snapshot that the journal goes on from.
    snapshot: Revision,
    /// Slot of the next entry.
    slot: u64,
    bytes: u64,
    assembler: Assembler,
}

impl Replay {
    async fn read_on(&mut self, journal: &dyn Journal) -> Result<(), StartError> {
        loop {
            let entries = journal.read(self.slot, READ_BYTES).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for (slot, bytes) in entries {
                if slot != self.slot {
                    return Err(StartError::Gap { expected: self.slot, found: slot });
                }
                self.slot += 1;
                self.bytes += bytes.len() as u64;
                self.apply(slot, &bytes)?;
            }
        }
    }

    fn apply(&mut self, slot: u64, bytes: &Bytes) -> Result<(), StartError> {
        let unreadable = |detail: String| StartError::Unreadable { slot, detail };
        let Some(step) = self.assembler.push(slot, bytes).map_err(|err| unreadable(err.to_string()))? else { return Ok(()) };
        let events = decode_events(step.body).map_err(|err| unreadable(err.to_string()))?;
        if let Some(Event::Rebuilt { snapshot, .. }) = events.first() {
            return Err(unreadable(format!("it goes on from snapshot {}, which is missing or damaged in the store", snapshot.manifest)));
        }
        if self.state.revision == self.snapshot && step.first <= self.snapshot {
            // The snapshot is not this journal's: it was made of what the store held, after this journal was lost.
            return Err(StartError::RolledBack { stored: self.snapshot });
        }
        if step.first.0 != self.state.revision.0 + 1 {
            return Err(unreadable(format!("its first revision is {}, after revision {}", step.first, self.state.revision)));
        }
        for event in events {
            self.state.apply(&event, step.now);
        }
        Ok(())
    }
}

impl Loaded {
    async fn append(&mut self, journal: &dyn Journal, random: &Random, events: &[Event]) -> Result<(), StartError> {
        let now = self.clock.now();
        let first = Revision(self.state.revision.0 + 1);
        let mut body = Vec::new();
        for event in events {
            encode_event(event, &mut body);
            self.state.apply(event, now);
        }
        let (nonce, leader) = (random.uuid_bytes(), self.state.leader);
        let entry = encode_entry(&Entry { slot: self.slot, first, leader, nonce, now, part: 0, last: 0, body: body.into() });
        append_entry(journal, random, self.slot, &entry).await.map_err(|stop| StartError::Takeover { detail: stop.0 })?;
        self.slot += 1;
        self.journal_bytes += entry.len() as u64;
        Ok(())
    }
}

impl From<ClaimError> for StartError {
    fn from(err: ClaimError) -> Self {
        match err {
            ClaimError::Store(err) => Self::Store(err),
            err => Self::Claim(err),
        }
    }
}
