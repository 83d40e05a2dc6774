//! From journal and snapshots to a state that may lead: the newest snapshot that verifies, the journal after it, then `LeaderStarted`.
//! Nothing is written before it is clear that journal and store belong together.
//!
//! While the store is away, a copy of a snapshot in the data directory does as well (`copies`), or a journal that was never trimmed.
//! What can then not be compared yet is compared before the store is used (`away`).
//!
//! Steps that are to be in the store beside the snapshots may be in the journal alone: an earlier program kept fewer of them there, or one
//! was killed before it had put them. A snapshot makes up for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::{Clock, Random};
use store::{ClaimError, MARKER_KEY, ObjectStore, Operation, StoreError, claim, is_empty, read_marker};
use types::{ClusterId, Revision, Timestamp};

use super::StartError;
use super::append_entry;
use super::clock::JournalClock;
use super::unsaved::oldest_change_after;
use crate::journal::{Assembler, Entry, FIRST_SLOT, Journal, encode_entry};
use crate::proto;
use crate::snapshot::{self, MANIFESTS, TOPICS, newest_first, revision_of_key};
use crate::state::{Event, State, decode_events, encode_event};

/// Bytes of journal read at once.
const READ_BYTES: usize = 4 << 20;
/// How long the store's first answer is waited for, if the data directory may do without it.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// A state that leads.
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// Slot of the next entry.
    pub(crate) slot: u64,
    pub(crate) clock: JournalClock,
    /// The store's snapshot that was loaded.
    pub(crate) manifest: Option<proto::Manifest>,
    pub(crate) journal_bytes: u64,
    /// When the oldest change was that the store's newest snapshot lacks, by the journal's clock.
    pub(crate) unsaved_since: Option<Timestamp>,
    /// The journal holds what a rebuild would miss: a snapshot is wanted.
    pub(crate) snapshot_wanted: bool,
    /// How the journal was found.
    pub(crate) found: JournalEnd,
    /// Why the store has not been compared with the journal; `None` if it was.
    pub(crate) away: Option<String>,
}

/// What a journal says of the store it belongs to, before this server writes to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalEnd {
    pub(crate) cluster: ClusterId,
    /// The store was given the cluster's marker.
    store_claimed: bool,
    revision: Revision,
}

impl JournalEnd {
    fn of(state: &State) -> Self {
        Self { cluster: state.cluster, store_claimed: state.store_claimed, revision: state.revision }
    }
}

pub(crate) async fn load(
    journal: &dyn Journal,
    store: &dyn ObjectStore,
    copies: Option<&dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    random: &Random,
) -> Result<Loaded, StartError> {
    let mut loaded = if journal.read(FIRST_SLOT, 1).await?.is_empty() {
        create(journal, store, clock, random).await?
    } else {
        recover(journal, store, copies, clock, random).await?
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
    let mut clock = JournalClock::new(clock, Timestamp(0));
    let now = clock.now();
    let found = JournalEnd { cluster, store_claimed: false, revision: state.revision };
    let mut loaded = Loaded {
        state,
        slot: FIRST_SLOT,
        clock,
        manifest: None,
        journal_bytes: 0,
        unsaved_since: Some(now),
        snapshot_wanted: false,
        found,
        away: None,
    };
    loaded.append(journal, random, &[Event::ClusterCreated { cluster }, Event::LeaderStarted]).await?;
    Ok(loaded)
}

async fn recover(
    journal: &dyn Journal,
    store: &dyn ObjectStore,
    copies: Option<&dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    random: &Random,
) -> Result<Loaded, StartError> {
    let Some(copies) = copies else {
        return recover_with_store(journal, store, clock, random).await;
    };
    let recovered = match tokio::time::timeout(FIRST_ANSWER, read_marker(store)).await {
        Ok(Ok(_)) => recover_with_store(journal, store, clock.clone(), random).await,
        Ok(Err(err)) => Err(err.into()),
        Err(_) => {
            let detail = format!("no answer within {} s", FIRST_ANSWER.as_secs());
            Err(StoreError::Unavailable { operation: Operation::Get, key: MARKER_KEY.to_owned(), detail }.into())
        }
    };
    match recovered {
        Err(StartError::Store(away)) if is_away(&away) => recover_without_store(journal, copies, away, clock, random).await,
        recovered => recovered,
    }
}

/// It may answer later without anybody's doing.
fn is_away(err: &StoreError) -> bool {
    matches!(err, StoreError::Unavailable { .. } | StoreError::Unknown { .. })
}

async fn recover_with_store(
    journal: &dyn Journal,
    store: &dyn ObjectStore,
    clock: Arc<dyn Clock>,
    random: &Random,
) -> Result<Loaded, StartError> {
    // Another cluster's snapshot must not be taken for this journal's beginning (rule R7).
    if let Some(cluster) = cluster_of(journal).await?
        && read_marker(store).await?.is_some()
    {
        claim(store, cluster, random).await?;
    }
    let manifests = newest_first(store, MANIFESTS).await?;
    let replayed = replay(journal, store, &manifests).await?;
    let topics = newest_first(store, TOPICS).await?;
    compare_with(store, &JournalEnd::of(&replayed.state), &manifests, &topics, random).await?;
    replayed.take_over(journal, clock, random, &topics, None).await
}

/// From what lies in the data directory alone.
async fn recover_without_store(
    journal: &dyn Journal,
    copies: &dyn ObjectStore,
    away: StoreError,
    clock: Arc<dyn Clock>,
    random: &Random,
) -> Result<Loaded, StartError> {
    let needed = |why: String| StartError::StoreNeeded { store: away.clone(), why };
    let manifests = newest_first(copies, MANIFESTS).await.map_err(|err| needed(err.to_string()))?;
    let replayed = match replay(journal, copies, &manifests).await {
        Err(StartError::Gap { .. }) => {
            return Err(needed("it holds no copy of the snapshot that the metadata journal continues".to_owned()));
        }
        Err(StartError::Store(err)) => return Err(needed(err.to_string())),
        replayed => replayed?,
    };
    let found = JournalEnd::of(&replayed.state);
    if !found.store_claimed {
        return Err(needed("the store has not been made this cluster's yet".to_owned()));
    }
    replayed.take_over(journal, clock, random, &[], Some(detail_of(&away))).await
}

/// What was seen, without the call that saw it.
pub(crate) fn detail_of(err: &StoreError) -> String {
    match err {
        StoreError::Unavailable { detail, .. } | StoreError::Unknown { detail, .. } | StoreError::Refused { detail, .. } => detail.clone(),
        err @ (StoreError::NotFound { .. } | StoreError::AlreadyExists { .. } | StoreError::Corrupt { .. }) => err.to_string(),
    }
}

/// The newest snapshot among `manifests` that can be used, and the journal after it.
async fn replay(journal: &dyn Journal, snapshots: &dyn ObjectStore, manifests: &[String]) -> Result<Replay, StartError> {
    let (state, slot, manifest) = newest_snapshot(snapshots, manifests).await?;
    let snapshot = state.revision;
    let (mirrored, assembler) = (BTreeSet::new(), Assembler::default());
    let mut replay = Replay { state, snapshot, slot: slot + 1, manifest, bytes: 0, mirrored, assembler };
    replay.read_on(journal).await?;
    let reaches_snapshot = slot + 1 < replay.slot || !journal.read(slot, 1).await?.is_empty();
    if !reaches_snapshot {
        return Err(StartError::RolledBack { stored: newest_revision(manifests) });
    }
    Ok(replay)
}

/// Holds a journal against the store: refuses another cluster's, one that lost its marker, and one that knows more than the journal.
/// Fails with [`StartError::Store`] where the store does not say.
pub(crate) async fn compare(store: &dyn ObjectStore, journal: &JournalEnd, random: &Random) -> Result<(), StartError> {
    let (manifests, topics) = (newest_first(store, MANIFESTS).await?, newest_first(store, TOPICS).await?);
    compare_with(store, journal, &manifests, &topics, random).await
}

async fn compare_with(
    store: &dyn ObjectStore,
    journal: &JournalEnd,
    manifests: &[String],
    topics: &[String],
    random: &Random,
) -> Result<(), StartError> {
    if journal.store_claimed {
        match read_marker(store).await? {
            Some(_) => claim(store, journal.cluster, random).await?,
            None => return Err(StartError::StoreUnmarked { cluster: journal.cluster }),
        }
    }
    // A journal that ends below what it once wrote was rolled back, and would write it again with another meaning (rule R8).
    let stored = newest_revision(manifests).max(newest_revision(topics));
    if journal.revision < stored { Err(StartError::RolledBack { stored }) } else { Ok(()) }
}

/// Of keys that are sorted, the newest first; zero where there is none.
fn newest_revision(keys: &[String]) -> Revision {
    keys.first().and_then(|key| revision_of_key(key)).unwrap_or(Revision(0))
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
    /// The snapshot that it began with.
    manifest: Option<proto::Manifest>,
    bytes: u64,
    /// Revisions of the steps that are to be in the store too.
    mirrored: BTreeSet<Revision>,
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
        for event in &events {
            self.state.apply(event, step.now);
        }
        if events.iter().any(Event::is_mirrored) {
            self.mirrored.insert(self.state.revision);
        }
        Ok(())
    }

    /// Writes to the journal that this server leads. `topics` are the keys of the steps that are in the store; `away` says why the store
    /// could not be compared with the journal.
    async fn take_over(
        self,
        journal: &dyn Journal,
        clock: Arc<dyn Clock>,
        random: &Random,
        topics: &[String],
        away: Option<String>,
    ) -> Result<Loaded, StartError> {
        let Self { state, slot, manifest, bytes, mut mirrored, .. } = self;
        topics.iter().filter_map(|key| revision_of_key(key)).for_each(|revision| {
            mirrored.remove(&revision);
        });
        // What the store's newest is, where it cannot be read, the journal has said.
        let saved = if away.is_none() { manifest.as_ref().map(|held| held.slot) } else { state.snapshots.last().map(|held| held.slot) };
        let unsaved_since = oldest_change_after(journal, saved.unwrap_or(FIRST_SLOT - 1)).await?;
        // A copy is no snapshot of the store: nothing in the store may refer to what it names.
        let manifest = manifest.filter(|_| away.is_none());
        let clock = JournalClock::new(clock, state.now);
        let found = JournalEnd::of(&state);
        let snapshot_wanted = !mirrored.is_empty();
        let mut loaded = Loaded { state, slot, clock, manifest, journal_bytes: bytes, unsaved_since, snapshot_wanted, found, away };
        loaded.append(journal, random, &[Event::LeaderStarted]).await?;
        Ok(loaded)
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
