//! What the auditor has found and counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metadata_api::ClusterImage;
use parking_lot::Mutex;
use runtime::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;
use types::ObjectKey;

use crate::examine::ExamineError;
use crate::problem::{Problem, ProblemKind, Reference};
use crate::status::AuditStatus;

/// Damaged objects that are kept; more are not looked for.
pub(crate) const MAX_DAMAGED: usize = 1000;
/// Damaged segments that are kept, and looked at again, of each: they stand for the rest of the object.
const MAX_OF_OBJECT: usize = 32;
/// Suspected segments that wait to be looked at. What is not kept is met again, or found by a round.
const MAX_SUSPECTS: usize = 64;

/// A damaged object.
struct Damaged {
    problems: Vec<Problem>,
    /// What to tell people.
    described: String,
    look_again: Instant,
}

pub(crate) struct Register {
    clock: Arc<dyn Clock>,
    segments: AtomicU64,
    bytes: AtomicU64,
    rounds: AtomicU64,
    state: Mutex<State>,
    /// Something is suspected.
    suspected: Notify,
}

struct State {
    /// By the monotonic clock; the auditor's start before the first round is done.
    last_round: Duration,
    damaged: BTreeMap<ObjectKey, Damaged>,
    /// Of each object one segment.
    suspects: VecDeque<Reference>,
    failing: Option<String>,
}

impl State {
    fn can_look_at_suspect(&self) -> bool {
        !self.suspects.is_empty() && self.damaged.len() < MAX_DAMAGED
    }
}

impl Register {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { last_round: clock.monotonic(), damaged: BTreeMap::new(), suspects: VecDeque::new(), failing: None };
        let zero = || AtomicU64::new(0);
        Self { clock, segments: zero(), bytes: zero(), rounds: zero(), state: Mutex::new(state), suspected: Notify::new() }
    }

    pub(crate) fn status(&self) -> AuditStatus {
        let state = self.state.lock();
        let problems = || state.damaged.values().flat_map(|damaged| &damaged.problems);
        AuditStatus {
            segments: self.segments.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Relaxed),
            round_age: self.clock.monotonic().saturating_sub(state.last_round),
            problems: ProblemKind::ALL.map(|kind| (kind, problems().filter(|problem| problem.kind == kind).count() as u64)),
            damage: state.damaged.values().next().map(|first| {
                let (segments, objects) = (problems().count(), state.damaged.len());
                format!("segments not as metadata has them: {segments}, in objects: {objects}; first {}", first.described)
            }),
            failing: state.failing.clone(),
        }
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn round_done(&self) {
        self.state.lock().last_round = self.clock.monotonic();
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing is found out for now.
    pub(crate) fn failed(&self, error: &ExamineError) {
        let was_failing = self.state.lock().failing.replace(error.to_string()).is_some();
        if !was_failing {
            tracing::warn!("audit: {error}; it goes on when there is an answer");
        }
    }

    /// These segments of an object were looked at. Those with problems are damaged; all others are not, or are no segments any more. Of
    /// segments that were not looked at what was known stays.
    pub(crate) fn examined(
        &self,
        image: &ClusterImage,
        key: ObjectKey,
        segments: &[Reference],
        mut problems: Vec<Problem>,
        look_again: Instant,
    ) {
        self.segments.fetch_add(segments.len() as u64, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.failing = None;
        let place = |reference: &Reference| (reference.partition, reference.segment.base);
        if let Some(known) = state.damaged.get(&key) {
            let was_looked_at = |problem: &Problem| segments.iter().any(|segment| place(segment) == place(&problem.reference));
            problems.extend(known.problems.iter().filter(|problem| !was_looked_at(problem)).cloned());
        }
        problems.sort_unstable_by_key(|problem| place(&problem.reference));
        if problems.is_empty() {
            if state.damaged.remove(&key).is_some() {
                tracing::info!("audit: object {key} is sound again, or nothing refers to it any more");
            }
            return;
        }
        let described = describe(image, key, &problems);
        problems.truncate(MAX_OF_OBJECT);
        problems.shrink_to_fit();
        if state.damaged.get(&key).is_some_and(|known| known.problems == problems) {
            return;
        }
        tracing::error!("audit: {described}; docs/operations/recovery.md says what to do");
        state.damaged.insert(key, Damaged { problems, described, look_again });
    }

    /// Number of damaged objects.
    pub(crate) fn damaged(&self) -> usize {
        self.state.lock().damaged.len()
    }

    /// A segment is to be looked at before the round goes on, unless its object is suspected already or known to be damaged.
    pub(crate) fn suspect(&self, reference: Reference) {
        let mut state = self.state.lock();
        let key = reference.segment.object;
        let is_known = state.damaged.contains_key(&key) || state.suspects.iter().any(|suspect| suspect.segment.object == key);
        if is_known || MAX_SUSPECTS <= state.suspects.len() {
            return;
        }
        state.suspects.push_back(reference);
        self.suspected.notify_one();
    }

    /// Returns once there is a suspect, and room for what comes of it.
    pub(crate) async fn wait_for_suspect(&self) {
        while !self.state.lock().can_look_at_suspect() {
            self.suspected.notified().await;
        }
    }

    /// The suspect that waits the longest, if there is room for what comes of it.
    pub(crate) fn take_suspect(&self) -> Option<Reference> {
        let mut state = self.state.lock();
        if !state.can_look_at_suspect() {
            return None;
        }
        // What a round has found damaged meanwhile it has looked at as a whole.
        loop {
            let suspect = state.suspects.pop_front()?;
            if !state.damaged.contains_key(&suspect.segment.object) {
                return Some(suspect);
            }
        }
    }

    /// When the next of them is to be looked at.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.state.lock().damaged.values().map(|damaged| damaged.look_again).min()
    }

    /// One that is to be looked at by now, with what is damaged of it. Its next time is so much later.
    pub(crate) fn take_due(&self, now: Instant, again_after: Duration) -> Option<(ObjectKey, Vec<Reference>)> {
        let mut state = self.state.lock();
        let (key, damaged) = state.damaged.iter_mut().min_by_key(|(_, damaged)| damaged.look_again)?;
        if now < damaged.look_again {
            return None;
        }
        damaged.look_again = now + again_after;
        Some((*key, damaged.problems.iter().map(|problem| problem.reference.clone()).collect()))
    }
}

/// The object, and the first of its damaged segments.
fn describe(image: &ClusterImage, key: ObjectKey, problems: &[Problem]) -> String {
    let Problem { reference: Reference { partition, segment }, detail, .. } = &problems[0];
    let topic = image.topics.get(&partition.topic).map_or_else(|| partition.topic.to_string(), |topic| topic.name.clone());
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} segments more)"),
    };
    let (index, first, last) = (partition.partition, segment.base, segment.end.0 - 1);
    format!("object {key}, {topic}-{index} offsets {first} to {last}{more}: {detail}")
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;
    use crate::sweep::tests::{partition, segment, shared};

    #[tokio::test]
    async fn what_is_known_of_an_object_stays_while_only_other_parts_of_it_are_looked_at() {
        let register = Register::new(Arc::new(ManualClock::new(0)));
        let part = |index| Reference { partition: partition(index), segment: segment(0, shared(1), 1) };
        let damaged = |index| Problem { reference: part(index), kind: ProblemKind::Damage, detail: "turned".to_owned() };
        let examined = |parts: &[i32], problems: &[i32]| {
            let parts: Vec<_> = parts.iter().map(|index| part(*index)).collect();
            let problems = problems.iter().map(|index| damaged(*index)).collect();
            register.examined(&ClusterImage::default(), shared(1), &parts, problems, Instant::now());
            register.status().problems.iter().map(|(_, count)| count).sum::<u64>()
        };
        assert_eq!(examined(&[0, 1], &[1]), 1);
        assert_eq!(examined(&[2, 3], &[]), 1);
        assert_eq!(examined(&[2, 3], &[3]), 2);
        assert_eq!(examined(&[1], &[]), 1);
        assert_eq!(examined(&[3], &[]), 0);
        assert_eq!(register.damaged(), 0);
    }
}
