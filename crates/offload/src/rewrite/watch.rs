//! Which partitions to look at, and when: a look lists segments, so it is taken only once enough has been published to make a
//! difference. Pure: the caller says what time it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use types::{Offset, Timestamp, TopicPartition};

/// Segments published since the last look that are reason enough for the next.
const LOOK_AFTER: u32 = 16;
/// Otherwise the next look is taken after this time, if anything was published at all.
const LOOK_WITHIN: Duration = Duration::from_secs(600);

/// A partition that this broker leads.
struct Watched {
    /// Segments below are not listed again: nothing of them will ever be merged.
    from: Offset,
    /// Segments published since the last look.
    added: u32,
    /// So many are reason for the next.
    look_after: u32,
    /// `None` before the first look, and when one is wanted at once.
    looked_at: Option<Instant>,
    /// No look is taken before, whatever happens; one is taken then.
    put_off: Option<Instant>,
    /// When a window ends whose segments are to be merged.
    window_end: Option<Timestamp>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Watch {
    partitions: BTreeMap<TopicPartition, Watched>,
}

/// What a look found.
pub(super) struct Seen {
    /// Where the next look begins.
    pub(super) from: Offset,
    /// Segments that may be merged later.
    pub(super) small: usize,
    /// When a window ends whose segments are to be merged.
    pub(super) window_end: Option<Timestamp>,
}

impl Watch {
    /// These partitions are led now, and no others.
    pub(super) fn lead(&mut self, led: &BTreeSet<TopicPartition>) {
        self.partitions.retain(|partition, _| led.contains(partition));
        for partition in led {
            self.partitions.entry(*partition).or_insert(Watched {
                from: Offset::ZERO,
                added: 0,
                look_after: LOOK_AFTER,
                looked_at: None,
                put_off: None,
                window_end: None,
            });
        }
    }

    /// So many segments were published.
    pub(super) fn added(&mut self, partition: TopicPartition, segments: u32) {
        if let Some(watched) = self.partitions.get_mut(&partition) {
            watched.added = watched.added.saturating_add(segments);
        }
    }

    /// Partitions to look at now.
    pub(super) fn due(&self, now: Instant, wall: Timestamp) -> Vec<TopicPartition> {
        let is_due = |watched: &Watched| {
            if let Some(until) = watched.put_off {
                return until <= now;
            }
            let Some(looked_at) = watched.looked_at else { return true };
            let is_late = 0 < watched.added && LOOK_WITHIN <= now.saturating_duration_since(looked_at);
            watched.look_after <= watched.added || is_late || watched.window_end.is_some_and(|end| end <= wall)
        };
        self.partitions.iter().filter(|(_, watched)| is_due(watched)).map(|(partition, _)| *partition).collect()
    }

    /// Where to list from.
    pub(super) fn from(&self, partition: TopicPartition) -> Option<Offset> {
        self.partitions.get(&partition).map(|watched| watched.from)
    }

    /// A look found nothing to merge.
    pub(super) fn looked(&mut self, partition: TopicPartition, seen: &Seen, now: Instant) {
        if let Some(watched) = self.partitions.get_mut(&partition) {
            let half = u32::try_from(seen.small / 2).unwrap_or(u32::MAX);
            // The more there are, the more it takes to change the picture, and the longer the list is.
            *watched = Watched {
                from: seen.from,
                added: 0,
                look_after: LOOK_AFTER.max(half),
                looked_at: Some(now),
                put_off: None,
                window_end: seen.window_end,
            };
        }
    }

    /// Its segments were merged: there may be more to do.
    pub(super) fn look_again(&mut self, partition: TopicPartition) {
        if let Some(watched) = self.partitions.get_mut(&partition) {
            watched.looked_at = None;
            watched.put_off = None;
        }
    }

    /// Its segments could not be merged: it is looked at again, but not before `until`.
    pub(super) fn put_off(&mut self, partition: TopicPartition, until: Instant) {
        if let Some(watched) = self.partitions.get_mut(&partition) {
            watched.put_off = Some(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use types::TopicId;

    use super::*;

    const P: fn(i32) -> TopicPartition = |index| TopicPartition::new(TopicId::from_bytes([1; 16]), index);

    fn watch() -> (Watch, Instant) {
        let (mut watch, now) = (Watch::default(), Instant::now() + 2 * LOOK_WITHIN);
        watch.lead(&BTreeSet::from([P(0), P(1)]));
        assert_eq!(watch.due(now, Timestamp(0)), [P(0), P(1)], "nobody has looked yet");
        for index in [0, 1] {
            watch.looked(P(index), &Seen { from: Offset(100), small: 10, window_end: None }, now);
        }
        (watch, now)
    }

    #[test]
    fn a_look_is_taken_when_enough_was_published_or_a_little_long_ago() {
        let (mut watch, now) = watch();
        watch.added(P(0), LOOK_AFTER - 1);
        assert_eq!(watch.due(now, Timestamp(0)), []);
        watch.added(P(0), 1);
        watch.added(P(1), 1);
        assert_eq!(watch.due(now, Timestamp(0)), [P(0)]);
        assert_eq!(watch.due(now + LOOK_WITHIN, Timestamp(0)), [P(0), P(1)]);
        watch.looked(P(0), &Seen { from: Offset(200), small: 400, window_end: None }, now);
        watch.added(P(0), 199);
        assert_eq!((watch.due(now, Timestamp(0)), watch.from(P(0))), (vec![], Some(Offset(200))));
        watch.added(P(0), 1);
        assert_eq!(watch.due(now, Timestamp(0)), [P(0)]);
    }

    #[test]
    fn a_look_is_taken_when_a_window_ends() {
        let (mut watch, now) = watch();
        watch.looked(P(0), &Seen { from: Offset(0), small: 2, window_end: Some(Timestamp(500)) }, now);
        assert_eq!(watch.due(now + LOOK_WITHIN, Timestamp(499)), []);
        assert_eq!(watch.due(now, Timestamp(500)), [P(0)]);
    }

    #[test]
    fn a_failure_is_tried_again_later_and_a_success_looked_at_again_at_once() {
        let (mut watch, now) = watch();
        watch.put_off(P(0), now + Duration::from_secs(30));
        watch.added(P(0), 1000);
        assert_eq!(watch.due(now + Duration::from_secs(29), Timestamp(0)), []);
        assert_eq!(watch.due(now + Duration::from_secs(30), Timestamp(0)), [P(0)]);
        watch.look_again(P(1));
        assert_eq!(watch.due(now, Timestamp(0)), [P(1)]);
    }

    #[test]
    fn a_partition_that_comes_back_is_looked_at_from_the_beginning() {
        let (mut watch, now) = watch();
        watch.lead(&BTreeSet::from([P(0)]));
        watch.lead(&BTreeSet::from([P(0), P(1)]));
        assert_eq!((watch.due(now, Timestamp(0)), watch.from(P(1))), (vec![P(1)], Some(Offset(0))));
    }
}
