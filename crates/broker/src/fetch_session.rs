//! Incremental fetch sessions (KIP-227): a client names its partitions once, later requests name what changed, and answers carry the
//! partitions that have something new. Between two fetches the broker holds, in memory only, what the client wants and was last told.
//!
//! A fetch takes its session's partitions out of the cache and brings them back when it is answered, so no lock is held while it
//! waits. Requests of one session are in turn by their epochs; one that comes while another is under way has a wrong epoch. A fetch
//! that is dropped unanswered closes its session: its client was not told what the session would count as told, and begins anew.
//!
//! Sessions belong to no connection. They are bounded in number and, all together, in partitions; whoever finds no room is answered
//! in full with session id 0 and asks in full again, as before version 7.

mod cache;
mod partitions;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::messages::FetchRequest;
use protocol::{ErrorCode, FetchResponse};
use runtime::Random;

use crate::metrics::FetchSessionMetrics;
use crate::topics::LONGEST_TOPIC_NAME;
use cache::{Cache, INITIAL_EPOCH};
use partitions::Partitions;

/// The session id of a fetch without a session.
const NO_SESSION: i32 = 0;
/// The epoch of a fetch that wants no session, and closes the one it names.
const FINAL_EPOCH: i32 = -1;
/// The first version that names topics by id (KIP-516). A session knows its topics one way or the other.
const FIRST_WITH_IDS: i16 = 13;
/// Partitions of all sessions together: at some 50 bytes each and their topics' names, a bound in tens of megabytes.
const MAX_PARTITIONS: usize = 200_000;

/// The sessions of a broker.
pub(crate) struct FetchSessions {
    cache: Mutex<Cache>,
    random: Random,
    metrics: FetchSessionMetrics,
}

impl FetchSessions {
    /// Room for `slots` sessions, Kafka's `max.incremental.fetch.session.cache.slots`; 0 turns them off. Their ids are drawn from
    /// `random`.
    pub(crate) fn new(slots: usize, random: Random, metrics: FetchSessionMetrics) -> Arc<Self> {
        Self::bounded(slots, MAX_PARTITIONS, random, metrics)
    }

    fn bounded(slots: usize, max_partitions: usize, random: Random, metrics: FetchSessionMetrics) -> Arc<Self> {
        Arc::new(Self { cache: Mutex::new(Cache::new(slots, max_partitions)), random, metrics })
    }

    /// Begins a fetch: puts the partitions that it stands for into `request.topics`, in the order of their turns.
    ///
    /// An error is one of the whole request, which is answered with it and session id 0: FETCH_SESSION_ID_NOT_FOUND,
    /// INVALID_FETCH_SESSION_EPOCH, or FETCH_SESSION_TOPIC_ID_ERROR when a session that was begun with topic names goes on with ids, or
    /// the other way round. The session itself stays; clients answer all three by asking in full.
    pub(crate) fn begin(self: &Arc<Self>, version: i16, request: &mut FetchRequest, now: Duration) -> Result<SessionFetch, ErrorCode> {
        let (id, epoch, uses_ids) = (request.session_id, request.session_epoch, FIRST_WITH_IDS <= version);
        let (topics, forgotten) = (std::mem::take(&mut request.topics), std::mem::take(&mut request.forgotten_topics_data));
        let mut fetch = SessionFetch { sessions: Arc::clone(self), uses_ids, kept: None };
        let is_whole = matches!(epoch, INITIAL_EPOCH | FINAL_EPOCH);
        // Longer names, which are no topic's, would make a session as large as a peer likes, so there is none with them.
        let is_keepable = topics.iter().all(|topic| topic.topic.len() <= LONGEST_TOPIC_NAME);
        let is_off = self.with(|cache| {
            if is_whole || !is_keepable {
                cache.remove(id);
            }
            cache.is_off()
        });
        if epoch == FINAL_EPOCH || (is_whole && (is_off || !is_keepable)) {
            request.topics = topics;
            return Ok(fetch);
        }
        let (id, mut partitions) = match is_whole {
            true => (None, Partitions::default()),
            false => (Some(id), self.with(|cache| cache.take(id, epoch, uses_ids, now))?),
        };
        partitions.update(topics, &forgotten);
        request.topics = partitions.topics();
        match id {
            Some(id) if partitions.is_empty() => self.with(|cache| cache.remove(id)),
            None if partitions.is_empty() => {}
            _ => fetch.kept = Some(Kept { id, partitions }),
        }
        Ok(fetch)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.cache.lock();
        let result = act(&mut cache);
        self.metrics.show(cache.sessions(), cache.partitions(), cache.take_evictions());
        result
    }
}

/// A fetch under way, with its session's partitions if it has or wants one.
pub(crate) struct SessionFetch {
    sessions: Arc<FetchSessions>,
    uses_ids: bool,
    kept: Option<Kept>,
}

struct Kept {
    /// `None` for a session that is still to be made.
    id: Option<i32>,
    partitions: Partitions,
}

impl SessionFetch {
    /// Whether the partitions come in the order of their turns: those that were served last are last.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.kept.is_some()
    }

    /// Makes the answer that of the session: takes out the partitions that have nothing new, and sets the session id. The answer holds
    /// one part for each partition of the request that [`FetchSessions::begin`] left, in the same order.
    pub(crate) fn finish(mut self, response: &mut FetchResponse, now: Duration) {
        let Some(Kept { id, mut partitions }) = self.kept.take() else { return };
        let room = self.room(id, &partitions, now);
        // Of a client whose session is new or lost it is not known what it was told.
        let topics = std::mem::take(&mut response.topics);
        response.topics = partitions.settle(topics, id.is_none() || room.is_none());
        response.session_id = self.give_back(room, partitions);
    }

    /// Leaves the session as it was: the answer has no partitions, and so tells nothing of them. A session that was wanted is not made,
    /// as in Kafka.
    pub(crate) fn finish_unanswered(mut self, response: &mut FetchResponse, now: Duration) {
        let Some(Kept { id: id @ Some(_), partitions }) = self.kept.take() else { return };
        let room = self.room(id, &partitions, now);
        response.session_id = self.give_back(room, partitions);
    }

    /// The session that has room for the partitions, made if need be.
    fn room(&self, id: Option<i32>, partitions: &Partitions, now: Duration) -> Option<i32> {
        self.sessions.with(|cache| match id {
            Some(id) => cache.resize(id, partitions.len(), now).then_some(id),
            None => cache.create(partitions.len(), self.uses_ids, &self.sessions.random, now),
        })
    }

    fn give_back(&self, room: Option<i32>, partitions: Partitions) -> i32 {
        let Some(id) = room else { return NO_SESSION };
        self.sessions.with(|cache| cache.put(id, partitions));
        id
    }
}

impl Drop for SessionFetch {
    fn drop(&mut self) {
        if let Some(Kept { id: Some(id), .. }) = self.kept {
            self.sessions.with(|cache| cache.remove(id));
        }
    }
}

#[cfg(test)]
mod tests;
