//! What the store holds of a lost journal, and the new journal.

use bytes::Bytes;
use runtime::Random;
use store::{ObjectStore, StoreError, read_marker};
use types::{ObjectKey, Revision};

use super::replay::{Mirrored, is_newer, replay};
use super::{FoundObject, RebuildError, Rebuilt, Report};
use crate::journal::{Entry, FIRST_SLOT, Journal, decode_copy, encode_entry};
use crate::service::append_entry;
use crate::snapshot::{self, MANIFESTS, TOPICS, newest_first, revision_of_key};
use crate::state::{Event, State, decode_events, encode_event};

/// Where ranges lie.
const RANGES: &str = "shared/";
/// Keys listed at once.
const LIST_PAGE: usize = 1000;
/// Longest mirrored step: a message and what else came with it.
const STEP_LIMIT: u64 = 256 << 20;

/// What the store says of the metadata before any object is read.
pub struct Rebuild {
    base: State,
    mirrored: Vec<Mirrored>,
    objects: Vec<(ObjectKey, u64)>,
    report: Report,
}

impl Rebuild {
    /// Reads the newest snapshot that can be read and the steps after it, and lists the objects. Changes nothing.
    pub async fn begin(store: &dyn ObjectStore) -> Result<Self, RebuildError> {
        let cluster = super::claimed(read_marker(store).await.map_err(RebuildError::Claim)?)?;
        let (mut base, snapshot) = newest_state(store, cluster).await?;
        (base.cluster, base.store_claimed) = (cluster, true);
        let mut mirrored = Vec::new();
        let mut steps = 0;
        for key in newest_first(store, TOPICS).await?.into_iter().rev() {
            if revision_of_key(&key).is_some_and(|revision| base.revision < revision) {
                steps += 1;
                mirrored.extend(read_step(store, &key).await?);
            }
        }
        let mut objects = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.list(RANGES, after.as_deref(), LIST_PAGE).await?;
            let is_last = page.len() < LIST_PAGE;
            after = page.last().map(|last| last.key.clone());
            let keys = page.iter().filter_map(|object| Some((object.key.parse().ok()?, object.length)));
            objects.extend(keys.filter(|(key, _)| is_newer(&base, key)));
            if is_last {
                break;
            }
        }
        let report = Report { snapshot, steps, objects: objects.len() as u64, ..Report::default() };
        Ok(Self { base, mirrored, objects, report })
    }

    /// The objects to be read, with their lengths: all that a publish after the snapshot may have added.
    pub fn objects(&self) -> &[(ObjectKey, u64)] {
        &self.objects
    }

    /// Whose metadata it is: objects of another cluster must be left out.
    pub fn cluster(&self) -> types::ClusterId {
        self.base.cluster
    }

    /// The state, of those of [`Self::objects`] that could be read; the others are never deleted.
    pub fn finish(self, found: &[FoundObject], unreadable: &[ObjectKey]) -> Rebuilt {
        replay(self.base, self.mirrored, found, unreadable, self.report)
    }
}

/// The newest snapshot that can be read; nothing where there never was one.
async fn newest_state(
    store: &dyn ObjectStore,
    cluster: types::ClusterId,
) -> Result<(State, Option<(Revision, types::Timestamp)>), RebuildError> {
    let manifests = newest_first(store, MANIFESTS).await?;
    let mut newest: Option<String> = None;
    for key in &manifests {
        let why = match snapshot::load(store, key).await {
            Ok((state, _)) if state.cluster == cluster => {
                let taken = (state.revision, state.now);
                return Ok((state, Some(taken)));
            }
            Ok((state, _)) => format!("snapshot {key} is of cluster {}", state.cluster),
            // A store that cannot be read is no damaged snapshot.
            Err(snapshot::SnapshotError::Store(
                err @ (StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Unknown { .. }),
            )) => return Err(err.into()),
            Err(err) => err.to_string(),
        };
        tracing::warn!("{why}; trying an older one");
        newest.get_or_insert(why);
    }
    match newest {
        Some(newest) => Err(RebuildError::NoSnapshot { count: manifests.len(), newest }),
        None => Ok((State::default(), None)),
    }
}

/// The events of a mirrored step that a rebuild needs.
async fn read_step(store: &dyn ObjectStore, key: &str) -> Result<Vec<Mirrored>, RebuildError> {
    let wrong = |detail: String| RebuildError::Step { key: key.to_owned(), detail };
    let bytes = store.get(key, STEP_LIMIT).await?;
    let step = decode_copy(&bytes).map_err(|err| wrong(err.to_string()))?;
    let events = decode_events(step.body).map_err(|err| wrong(err.to_string()))?;
    let numbered = (step.first.0..).map(Revision).zip(events).filter(|(_, event)| event.is_mirrored());
    Ok(numbered.map(|(revision, event)| Mirrored { revision, now: step.now, event }).collect())
}

/// Writes the snapshot and a journal that goes on from it.
pub(super) async fn write(state: State, journal: &dyn Journal, store: &dyn ObjectStore, random: &Random) -> Result<Revision, RebuildError> {
    let failed = |detail: String| RebuildError::Journal { detail };
    if !journal.read(FIRST_SLOT, 1).await.map_err(|err| failed(err.to_string()))?.is_empty() {
        return Err(failed("it is not empty".to_owned()));
    }
    let (taken, _) = snapshot::write(store, random, &state, FIRST_SLOT, None).await?;
    let rebuilt = Event::Rebuilt { cluster: state.cluster, snapshot: taken.clone() };
    // That it was taken is a step of its own: the snapshot is the state before it.
    let steps = [rebuilt, Event::SnapshotTaken { snapshot: taken }];
    for (after, event) in (0..).zip(steps) {
        let mut body = Vec::new();
        encode_event(&event, &mut body);
        let (slot, first) = (FIRST_SLOT + after, Revision(state.revision.0 + after));
        let nonce = random.uuid_bytes();
        let entry = Entry { slot, first, leader: state.leader, nonce, now: state.now, part: 0, last: 0, body: Bytes::from(body) };
        append_entry(journal, random, slot, &encode_entry(&entry)).await.map_err(|stop| failed(stop.0))?;
    }
    Ok(state.revision)
}
