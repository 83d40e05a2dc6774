//! Which object comes next in a round. Metadata has no index from objects to segments, and a list of all segments does not fit into
//! memory; but the segments of a shared object were added by one publish, and a partition's publishes are in the order of its offsets. So
//! the partitions' lists are merged by publish, and every list is gone through once, whatever its length. What is kept is one segment of
//! each partition, and those of the object that is being put together.
//!
//! A rewritten object is of one partition, and comes behind the shared ones, in its partition's order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Bound, RangeBounds};

use metadata_api::{MetadataError, SegmentPage};
use types::{ObjectKey, Offset, Revision, SegmentRef, TopicPartition};

use crate::problem::Reference;

/// Segments asked for at once where the next one need not do.
const PAGE: u32 = 16;

/// Where a segment comes in a round; all segments of an object have the same place, or follow each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place {
    Shared { added: Revision, object: ObjectKey },
    Rewritten { partition: TopicPartition, base: Offset },
}

impl Place {
    pub(crate) fn of(partition: TopicPartition, segment: &SegmentRef) -> Self {
        match segment.object {
            object @ ObjectKey::Shared { .. } => Self::Shared { added: segment.added, object },
            ObjectKey::Topic { .. } => Self::Rewritten { partition, base: segment.base },
        }
    }
}

/// A part of a round.
pub(crate) type PlaceRange = (Bound<Place>, Bound<Place>);

/// An object with all segments that metadata has in it.
pub(crate) type Object = (ObjectKey, Vec<Reference>);

/// Lists segments as the metadata service does.
pub(crate) trait SegmentList {
    /// At most `limit` segments from the one that answers for `from` on; `None` if the partition is deleted.
    async fn page(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<Option<SegmentPage>, MetadataError>;
}

/// The next segment in a shared object of a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    added: Revision,
    object: ObjectKey,
    partition: TopicPartition,
    base: Offset,
    /// What is published later is the next round's.
    end: Offset,
}

impl Head {
    /// `None` if the segment is rewritten.
    fn of(partition: TopicPartition, segment: &SegmentRef, end: Offset) -> Option<Self> {
        let SegmentRef { added, object, base, .. } = *segment;
        matches!(object, ObjectKey::Shared { .. }).then_some(Self { added, object, partition, base, end })
    }

    fn place(&self) -> Place {
        Place::Shared { added: self.added, object: self.object }
    }
}

/// Goes through a range of places once. Segments that change their place meanwhile are met once, twice or not at all; an object whose
/// segments come in several places is given as often, each time with those that are there.
pub(crate) struct Sweep {
    range: PlaceRange,
    /// Whose first segment in a shared object is still to be found.
    unbegun: Vec<TopicPartition>,
    heads: BinaryHeap<Reverse<Head>>,
    /// What there is so far of the object at the top of the heap.
    object: Option<Object>,
    /// Whose rewritten objects are still to come, the next partition last.
    rewritten: Vec<TopicPartition>,
    cursor: Cursor,
}

/// A place in a partition's list.
#[derive(Default)]
struct Cursor {
    from: Offset,
    end: Option<Offset>,
}

impl Sweep {
    pub(crate) fn new(partitions: impl Iterator<Item = TopicPartition>, range: PlaceRange) -> Self {
        let mut partitions: Vec<_> = partitions.collect();
        partitions.sort_unstable_by_key(|partition| Reverse(*partition));
        let begins_behind_shared = matches!(range.0, Bound::Included(Place::Rewritten { .. }) | Bound::Excluded(Place::Rewritten { .. }));
        let ends_in_shared = matches!(range.1, Bound::Included(Place::Shared { .. }) | Bound::Excluded(Place::Shared { .. }));
        Self {
            range,
            unbegun: if begins_behind_shared { Vec::new() } else { partitions.clone() },
            heads: BinaryHeap::new(),
            object: None,
            rewritten: if ends_in_shared { Vec::new() } else { partitions },
            cursor: Cursor::default(),
        }
    }

    /// The next object; `None` at the end. After an error it is asked for again.
    pub(crate) async fn next(&mut self, list: &impl SegmentList) -> Result<Option<Object>, MetadataError> {
        while let Some(partition) = self.unbegun.last() {
            let head = next_head(list, *partition, Cursor::default()).await?;
            self.unbegun.pop();
            self.heads.extend(head.map(Reverse));
        }
        while let Some(Reverse(head)) = self.heads.peek().copied() {
            if self.object.as_ref().is_some_and(|(key, _)| *key != head.object) {
                return Ok(self.object.take());
            }
            let (segment, next) = step(list, head).await?;
            self.heads.pop();
            self.heads.extend(next.map(Reverse));
            if let Some(segment) = segment.filter(|_| self.range.contains(&head.place())) {
                let (_, references) = self.object.get_or_insert((head.object, Vec::new()));
                references.push(Reference { partition: head.partition, segment });
            }
        }
        match self.object.take() {
            Some(object) => Ok(Some(object)),
            None => self.next_rewritten(list).await,
        }
    }

    async fn next_rewritten(&mut self, list: &impl SegmentList) -> Result<Option<Object>, MetadataError> {
        while let Some(partition) = self.rewritten.last().copied() {
            let page = list.page(partition, self.cursor.from, PAGE).await?;
            let Some(page) = page.filter(|page| self.cursor.has_more(page)) else {
                self.rewritten.pop();
                self.cursor = Cursor::default();
                continue;
            };
            let mut found: Option<Object> = None;
            for segment in page.segments {
                let key = segment.object;
                if found.as_ref().is_some_and(|(found, _)| *found != key) || !self.cursor.is_before_end(&segment) {
                    break;
                }
                self.cursor.from = segment.end;
                let place = Place::of(partition, &segment);
                if matches!(place, Place::Rewritten { .. }) && self.range.contains(&place) {
                    found.get_or_insert((key, Vec::new())).1.push(Reference { partition, segment });
                }
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Cursor {
    /// Whether the page has a segment that is this round's. The end is where the partition ends when it is looked at first.
    fn has_more(&mut self, page: &SegmentPage) -> bool {
        self.end.get_or_insert(page.next_offset);
        page.segments.first().is_some_and(|first| self.is_before_end(first))
    }

    fn is_before_end(&self, segment: &SegmentRef) -> bool {
        self.end.is_none_or(|end| segment.base < end)
    }
}

/// The first segment from `cursor` on that lies in a shared object.
async fn next_head(list: &impl SegmentList, partition: TopicPartition, mut cursor: Cursor) -> Result<Option<Head>, MetadataError> {
    while let Some(page) = list.page(partition, cursor.from, PAGE).await? {
        if !cursor.has_more(&page) {
            break;
        }
        let end = cursor.end.unwrap_or(page.next_offset);
        for segment in page.segments.iter().take_while(|segment| segment.base < end) {
            if let Some(head) = Head::of(partition, segment, end) {
                return Ok(Some(head));
            }
            cursor.from = segment.end;
        }
    }
    Ok(None)
}

/// The segment at `head` if it is still there, and the head behind it.
async fn step(list: &impl SegmentList, head: Head) -> Result<(Option<SegmentRef>, Option<Head>), MetadataError> {
    let Head { partition, base, end, .. } = head;
    let Some(page) = list.page(partition, base, 2).await? else { return Ok((None, None)) };
    let mut segments = page.segments.into_iter();
    let Some(first) = segments.next().filter(|first| first.base == base && Place::of(partition, first) == head.place()) else {
        return Ok((None, next_head(list, partition, Cursor { from: base, end: Some(end) }).await?));
    };
    let next = match segments.next() {
        Some(second) if second.base < end => match Head::of(partition, &second, end) {
            Some(next) => Some(next),
            None => next_head(list, partition, Cursor { from: second.end, end: Some(end) }).await?,
        },
        Some(_) | None => None,
    };
    Ok((Some(first), next))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use types::{BrokerEpoch, BrokerId, MinTimestamp, ObjectNumber, ObjectOrigin, SegmentFlags, Timestamp, TopicId};

    use super::*;

    pub(crate) fn shared(number: u64) -> ObjectKey {
        ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(number) }
    }

    pub(crate) fn partition(index: i32) -> TopicPartition {
        TopicPartition::new(TopicId::from_bytes([1; 16]), index)
    }

    /// Ten offsets from `base` on.
    pub(crate) fn segment(base: i64, object: ObjectKey, added: u64) -> SegmentRef {
        SegmentRef {
            base: Offset(base),
            end: Offset(base + 10),
            object,
            position: 16,
            bytes: 100,
            index_bytes: 0,
            records: 1,
            batches: 1,
            max_timestamp: Timestamp::NONE,
            min_timestamp: MinTimestamp { value: Timestamp::NONE, exact: true },
            append_times: (Timestamp::NONE, Timestamp::NONE),
            leader_epochs: Vec::new(),
            stable_end: Offset(base + 10),
            aborted: 0,
            flags: SegmentFlags::default(),
            state_from: Offset(0),
            origin: ObjectOrigin::Range,
            offset_shift: 0,
            leader_epoch: None,
            added: Revision(added),
        }
    }

    /// Metadata as a map, and what was asked of it.
    #[derive(Default)]
    struct Fake {
        lists: RefCell<BTreeMap<TopicPartition, Vec<SegmentRef>>>,
        listed: Cell<usize>,
        /// So many calls fail.
        failures: Cell<usize>,
    }

    impl SegmentList for Fake {
        async fn page(&self, partition: TopicPartition, from: Offset, limit: u32) -> Result<Option<SegmentPage>, MetadataError> {
            if 0 < self.failures.get() {
                self.failures.set(self.failures.get() - 1);
                return Err(MetadataError::Unavailable { detail: "away".to_owned() });
            }
            let lists = self.lists.borrow();
            let Some(list) = lists.get(&partition) else { return Ok(None) };
            let first = list.partition_point(|segment| segment.end <= from);
            let segments: Vec<_> = list[first..].iter().take(limit as usize).cloned().collect();
            self.listed.set(self.listed.get() + segments.len());
            let end = |segments: &[SegmentRef]| segments.last().map_or(Offset::ZERO, |last| last.end);
            let more = end(&segments) < end(list);
            Ok(Some(SegmentPage { revision: Revision(1), log_start: Offset::ZERO, next_offset: end(list), segments, more }))
        }
    }

    impl Fake {
        /// Publishes an object with the next offsets of these partitions.
        fn publish(&self, object: ObjectKey, added: u64, partitions: impl IntoIterator<Item = i32>) {
            let mut lists = self.lists.borrow_mut();
            for index in partitions {
                let list = lists.entry(partition(index)).or_default();
                let base = list.last().map_or(0, |last| last.end.0);
                list.push(segment(base, object, added));
            }
        }

        /// A segment is rewritten into an object of its own.
        fn rewrite(&self, index: i32, nth: usize, added: u64) {
            let mut lists = self.lists.borrow_mut();
            let old = &mut lists.get_mut(&partition(index)).unwrap()[nth];
            let (broker, epoch, number) = (BrokerId(1), BrokerEpoch(1), ObjectNumber(added));
            old.object = ObjectKey::Topic { partition: partition(index), base: old.base, broker, epoch, number };
            old.added = Revision(added);
        }

        fn sweep(&self, range: PlaceRange) -> Sweep {
            Sweep::new(self.lists.borrow().keys().copied(), range)
        }

        async fn rest(&self, mut sweep: Sweep) -> Vec<Object> {
            let mut objects = Vec::new();
            loop {
                match sweep.next(self).await {
                    Ok(Some(object)) => objects.push(object),
                    Ok(None) => return objects,
                    Err(_) => {}
                }
            }
        }

        async fn all(&self) -> Vec<Object> {
            self.rest(self.sweep(EVERYTHING)).await
        }

        /// By object, as many segments as each has.
        fn expected(&self) -> BTreeMap<ObjectKey, usize> {
            let mut objects = BTreeMap::new();
            for segment in self.lists.borrow().values().flatten() {
                *objects.entry(segment.object).or_default() += 1;
            }
            objects
        }
    }

    const EVERYTHING: PlaceRange = (Bound::Unbounded, Bound::Unbounded);

    /// Fails if an object comes twice.
    fn counted(objects: &[Object]) -> BTreeMap<ObjectKey, usize> {
        let counted: BTreeMap<_, _> = objects.iter().map(|(key, references)| (*key, references.len())).collect();
        assert_eq!(counted.len(), objects.len());
        counted
    }

    /// Shared objects of many partitions, numbers not in order because an upload was repeated, and some of it rewritten.
    fn history() -> Fake {
        let fake = Fake::default();
        for number in 0..60 {
            fake.publish(shared(number ^ 1), 10 + number, (0..7).filter(|index| !(number + *index as u64).is_multiple_of(3)));
        }
        for index in 0..7 {
            for nth in [0, 1, 2, 10, 39] {
                fake.rewrite(index, nth, 100 + nth as u64);
            }
        }
        fake
    }

    #[tokio::test]
    async fn every_object_comes_once_with_all_of_its_segments() {
        let fake = history();
        assert_eq!(counted(&fake.all().await), fake.expected());
        // After a rebuild all were added by one event.
        for segment in fake.lists.borrow_mut().values_mut().flatten() {
            segment.added = Revision(1);
        }
        let parts = fake.all().await;
        assert_eq!(parts.iter().map(|(_, references)| references.len()).sum::<usize>(), fake.expected().into_values().sum::<usize>());
    }

    #[tokio::test]
    async fn the_two_parts_of_a_round_come_to_all_of_it_wherever_it_begins() {
        let fake = history();
        let all = fake.all().await;
        for (_, references) in &all {
            let start = Place::of(references[0].partition, &references[0].segment);
            let mut round = fake.rest(fake.sweep((Bound::Included(start), Bound::Unbounded))).await;
            assert_eq!(round[0].1, *references, "it begins with what it is to begin with");
            round.extend(fake.rest(fake.sweep((Bound::Unbounded, Bound::Excluded(start)))).await);
            assert_eq!(counted(&round), counted(&all));
        }
    }

    #[tokio::test]
    async fn a_sweep_lists_each_segment_so_many_times_however_many_there_are() {
        for objects in [500, 2000, 8000] {
            let fake = Fake::default();
            for number in 0..objects {
                fake.publish(shared(number), number, [0, 1, 2, 3]);
            }
            assert_eq!(fake.all().await.len(), objects as usize);
            // Two for each step of the merge, and one when it is passed by in search of what is rewritten.
            let (listed, segments) = (fake.listed.get(), 4 * objects as usize);
            assert!(listed <= 3 * segments + 4 * PAGE as usize, "{listed} listed of {segments}");
        }
    }

    #[tokio::test]
    async fn what_fails_is_asked_for_again_and_nothing_is_left_out() {
        let fake = history();
        let expected = fake.expected();
        let mut sweep = fake.sweep(EVERYTHING);
        let mut objects = Vec::new();
        loop {
            fake.failures.set(1);
            assert!(sweep.next(&fake).await.is_err());
            match sweep.next(&fake).await.unwrap() {
                Some(object) => objects.push(object),
                None => break,
            }
        }
        assert_eq!(counted(&objects), expected);
    }

    #[tokio::test]
    async fn a_sweep_ends_though_segments_are_published_rewritten_and_deleted_meanwhile() {
        let fake = history();
        let mut sweep = fake.sweep(EVERYTHING);
        let (mut added, mut objects) = (1000, 0);
        while sweep.next(&fake).await.unwrap().is_some() {
            objects += 1;
            added += 1;
            fake.publish(shared(added), added, 0..6);
            fake.rewrite((added % 6) as i32, (added % 40) as usize, added);
            if objects == 30 {
                fake.lists.borrow_mut().remove(&partition(6));
            }
        }
        assert!(30 < objects && objects < 300, "{objects}");
    }
}
