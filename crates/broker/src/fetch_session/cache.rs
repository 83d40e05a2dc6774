//! Which sessions there are, whose turn it is, and which one goes when there is no room.

use std::collections::HashMap;
use std::time::Duration;

use protocol::ErrorCode;
use runtime::Random;

use super::partitions::Partitions;

/// The epoch of a fetch that wants a new session.
pub(super) const INITIAL_EPOCH: i32 = 0;
/// Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`: a session unused for longer goes before any other, and one that is younger is
/// not put out for a larger one.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Sessions by id. Kafka's privileged sessions, those of its followers, do not exist here: anyone can claim a replica id.
pub(super) struct Cache {
    slots: usize,
    max_partitions: usize,
    sessions: HashMap<i32, Session>,
    /// Sum of the sessions' sizes.
    partitions: usize,
    evictions: u64,
}

struct Session {
    /// That of the next request.
    epoch: i32,
    uses_ids: bool,
    /// Its partitions, those under way included.
    size: usize,
    created: Duration,
    last_used: Duration,
    /// `None` while a fetch has them.
    partitions: Option<Partitions>,
}

impl Cache {
    pub(super) fn new(slots: usize, max_partitions: usize) -> Self {
        Self { slots, max_partitions, sessions: HashMap::new(), partitions: 0, evictions: 0 }
    }

    pub(super) fn is_off(&self) -> bool {
        self.slots == 0
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Sessions that were put out since this was last asked.
    pub(super) fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }

    /// Makes a session of `size` partitions whose first request is under way; `None` when there is no room.
    pub(super) fn create(&mut self, size: usize, uses_ids: bool, random: &Random, now: Duration) -> Option<i32> {
        let has_room = self.make_room(size, now) && (self.sessions.len() < self.slots || self.evict_for(size, now));
        if !has_room {
            return None;
        }
        let id = loop {
            // Positive, as Kafka's are.
            let id = i32::try_from(random.below(i32::MAX as u64)).expect("below the largest") + 1;
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Session { epoch: next_epoch(INITIAL_EPOCH), uses_ids, size, created: now, last_used: now, partitions: None };
        self.sessions.insert(id, session);
        self.partitions += size;
        Some(id)
    }

    /// The partitions of the session that a request belongs to, for as long as it is under way.
    pub(super) fn take(&mut self, id: i32, epoch: i32, uses_ids: bool, now: Duration) -> Result<Partitions, ErrorCode> {
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch || session.partitions.is_none() {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_ids != uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = next_epoch(epoch);
        session.last_used = now;
        session.partitions.take().ok_or(ErrorCode::InvalidFetchSessionEpoch)
    }

    /// Whether the session is still there and may hold `size` partitions; one that may not is put out.
    pub(super) fn resize(&mut self, id: i32, size: usize, now: Duration) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        self.partitions -= std::mem::take(&mut session.size);
        // In use, so it is not the stale one that has to go.
        session.last_used = now;
        if !self.make_room(size, now) {
            self.evict(id);
            return false;
        }
        let session = self.sessions.get_mut(&id).expect("a session just used is not stale");
        session.size = size;
        self.partitions += size;
        true
    }

    /// Ends a request's time with the partitions. They are dropped when the session was closed meanwhile.
    pub(super) fn put(&mut self, id: i32, partitions: Partitions) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.partitions = Some(partitions);
        }
    }

    /// Closes a session, if there is one.
    pub(super) fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.size;
        }
    }

    /// Whether `size` more partitions may be held, once stale sessions have gone if need be.
    fn make_room(&mut self, size: usize, now: Duration) -> bool {
        if self.max_partitions < size {
            return false;
        }
        while self.max_partitions - size < self.partitions {
            if !self.evict_stale(now) {
                return false;
            }
        }
        true
    }

    /// Frees a slot by Kafka's rule: the stalest session, or else the smallest that is neither young nor as large as the new one.
    fn evict_for(&mut self, size: usize, now: Duration) -> bool {
        if self.evict_stale(now) {
            return true;
        }
        let old = self.sessions.iter().filter(|(_, session)| EVICTION_AGE < now.saturating_sub(session.created));
        let smallest = old.map(|(id, session)| (session.size, *id)).min();
        let Some((_, id)) = smallest.filter(|(smallest, _)| *smallest < size) else { return false };
        self.evict(id);
        true
    }

    fn evict_stale(&mut self, now: Duration) -> bool {
        let oldest = self.sessions.iter().map(|(id, session)| (session.last_used, *id)).min();
        let Some((_, id)) = oldest.filter(|(last_used, _)| EVICTION_AGE < now.saturating_sub(*last_used)) else { return false };
        self.evict(id);
        true
    }

    fn evict(&mut self, id: i32) {
        self.remove(id);
        self.evictions += 1;
    }
}

/// Epochs count from 1 and begin at 1 again after the largest.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Sessions {
        cache: Cache,
        random: Random,
    }

    impl Sessions {
        fn new(slots: usize, max_partitions: usize) -> Self {
            Self { cache: Cache::new(slots, max_partitions), random: Random::seeded(7) }
        }

        fn create(&mut self, size: usize, now: Duration) -> Option<i32> {
            let id = self.cache.create(size, false, &self.random, now)?;
            self.cache.put(id, Partitions::default());
            Some(id)
        }

        fn has(&self, id: i32) -> bool {
            self.cache.sessions.contains_key(&id)
        }

        fn use_it(&mut self, id: i32, epoch: i32, now: Duration) -> Result<(), ErrorCode> {
            let partitions = self.cache.take(id, epoch, false, now)?;
            self.cache.put(id, partitions);
            Ok(())
        }
    }

    #[test]
    fn ids_are_positive_and_each_is_given_once() {
        let mut sessions = Sessions::new(500, 1000);
        let ids: std::collections::HashSet<_> = (0..500).map(|_| sessions.create(1, MINUTE).unwrap()).collect();
        assert!(ids.len() == 500 && ids.iter().all(|id| 0 < *id));
    }

    #[test]
    fn epochs_count_up_and_begin_at_one_again() {
        let mut sessions = Sessions::new(1, 10);
        let id = sessions.create(1, MINUTE).unwrap();
        assert_eq!(sessions.use_it(id, 1, MINUTE), Ok(()));
        for wrong in [1, 3, -2, i32::MIN, i32::MAX] {
            assert_eq!(sessions.use_it(id, wrong, MINUTE), Err(ErrorCode::InvalidFetchSessionEpoch), "{wrong}");
        }
        assert_eq!(sessions.use_it(id, 2, MINUTE), Ok(()));
        sessions.cache.sessions.get_mut(&id).unwrap().epoch = i32::MAX;
        assert_eq!(sessions.use_it(id, i32::MAX, MINUTE), Ok(()));
        assert_eq!(sessions.use_it(id, 1, MINUTE), Ok(()));
    }

    #[test]
    fn a_request_while_another_is_under_way_has_a_wrong_epoch_and_harms_nothing() {
        let mut sessions = Sessions::new(1, 10);
        let id = sessions.create(1, MINUTE).unwrap();
        let partitions = sessions.cache.take(id, 1, false, MINUTE).unwrap();
        for epoch in [1, 2] {
            assert_eq!(sessions.use_it(id, epoch, MINUTE), Err(ErrorCode::InvalidFetchSessionEpoch));
        }
        sessions.cache.put(id, partitions);
        assert_eq!(sessions.use_it(id, 2, MINUTE), Ok(()));
    }

    #[test]
    fn a_session_of_names_is_none_of_ids() {
        let mut sessions = Sessions::new(1, 10);
        let id = sessions.create(1, MINUTE).unwrap();
        assert_eq!(sessions.cache.take(id, 1, true, MINUTE).err(), Some(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(sessions.use_it(id, 1, MINUTE), Ok(()));
        assert_eq!(sessions.use_it(id + 1, 1, MINUTE), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn the_stalest_session_goes_first_whatever_its_size() {
        let mut sessions = Sessions::new(2, 1000);
        let first = sessions.create(100, Duration::ZERO).unwrap();
        let second = sessions.create(100, MINUTE).unwrap();
        // Exactly two minutes is not stale yet, and a smaller session puts nobody out.
        assert_eq!(sessions.create(1, 2 * MINUTE), None);
        sessions.use_it(first, 1, 2 * MINUTE).unwrap();
        let third = sessions.create(1, 4 * MINUTE).unwrap();
        assert!(sessions.has(first) && !sessions.has(second) && sessions.has(third));
        assert_eq!((sessions.cache.partitions(), sessions.cache.take_evictions(), sessions.cache.take_evictions()), (101, 1, 0));
    }

    #[test]
    fn a_larger_session_puts_out_the_smallest_old_one_that_is_in_use() {
        let mut sessions = Sessions::new(3, 1000);
        let ids: Vec<_> = [30, 10, 20].into_iter().map(|size| sessions.create(size, Duration::ZERO).unwrap()).collect();
        assert_eq!(sessions.create(50, MINUTE), None, "all are young");
        for (id, epoch) in ids.iter().map(|id| (*id, 1)) {
            sessions.use_it(id, epoch, 3 * MINUTE).unwrap();
        }
        assert_eq!(sessions.create(10, 3 * MINUTE), None, "as large is not larger");
        sessions.create(11, 3 * MINUTE).unwrap();
        assert_eq!(ids.iter().map(|id| sessions.has(*id)).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn partitions_of_all_sessions_are_bounded() {
        let mut sessions = Sessions::new(10, 100);
        let first = sessions.create(60, Duration::ZERO).unwrap();
        assert_eq!((sessions.create(41, MINUTE), sessions.create(101, MINUTE)), (None, None));
        let second = sessions.create(40, MINUTE).unwrap();
        assert!(sessions.cache.resize(second, 20, MINUTE) && sessions.cache.resize(second, 40, MINUTE));
        // The stale one makes room for what the other comes to want.
        assert!(sessions.cache.resize(second, 41, 5 * MINUTE));
        assert!(!sessions.has(first));
        assert_eq!(sessions.cache.partitions(), 41);
        // Whoever wants more than there is room for loses its session.
        assert!(!sessions.cache.resize(second, 101, 5 * MINUTE));
        assert_eq!((sessions.cache.sessions(), sessions.cache.partitions(), sessions.cache.take_evictions()), (0, 0, 2));
        assert!(!sessions.cache.resize(second, 1, 5 * MINUTE));
    }
}
