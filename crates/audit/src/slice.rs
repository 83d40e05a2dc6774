//! Which objects come next, and whose they are. Pure.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use types::{BrokerId, ObjectKey};

use crate::problem::Reference;

/// Segments in the objects of a slice, if it is more than one object: some MiB.
const MAX_SEGMENTS: usize = 16_384;

/// The broker that audits an object: of `brokers`, each of which comes to the same answer, by rendezvous hashing. A broker that comes or
/// goes changes the answer only for what it gets or had. So every object is read by one broker, also those of partitions that
/// nobody leads.
pub(crate) fn auditor_of(key: &ObjectKey, brokers: &[BrokerId]) -> Option<BrokerId> {
    let object = u64::from(crc32c::crc32c(key.to_string().as_bytes()));
    brokers.iter().copied().max_by_key(|broker| (mixed(object << 32 | u64::from(broker.0.cast_unsigned())), *broker))
}

/// SplitMix64's finalizer (Steele, Lea and Flood, 2014).
fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// Collects the objects with the smallest keys of a range out of segments that come in any order.
pub(crate) struct Slice {
    /// What has no room any more is cut off its end, and so is whatever else comes from there.
    range: (Bound<ObjectKey>, Bound<ObjectKey>),
    objects: BTreeMap<ObjectKey, Vec<Reference>>,
    segments: usize,
}

impl Slice {
    pub(crate) fn new(range: (Bound<ObjectKey>, Bound<ObjectKey>)) -> Self {
        Self { range, objects: BTreeMap::new(), segments: 0 }
    }

    pub(crate) fn offer(&mut self, reference: Reference) {
        let key = reference.segment.object;
        if !self.range.contains(&key) {
            return;
        }
        self.objects.entry(key).or_default().push(reference);
        self.segments += 1;
        while MAX_SEGMENTS < self.segments && 1 < self.objects.len() {
            let Some((key, references)) = self.objects.pop_last() else { break };
            self.segments -= references.len();
            self.range.1 = Bound::Excluded(key);
        }
    }

    /// Objects in the order of their keys, each with every segment that was offered.
    pub(crate) fn into_objects(self) -> BTreeMap<ObjectKey, Vec<Reference>> {
        self.objects
    }
}

#[cfg(test)]
mod tests {
    use types::{
        BrokerEpoch, MinTimestamp, ObjectNumber, ObjectOrigin, Offset, Revision, SegmentFlags, SegmentRef, Timestamp, TopicId,
        TopicPartition,
    };

    use super::*;

    fn key(number: u64) -> ObjectKey {
        ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(number) }
    }

    fn reference(partition: i32, object: u64) -> Reference {
        let segment = SegmentRef {
            base: Offset(0),
            end: Offset(1),
            object: key(object),
            position: 16,
            bytes: 100,
            index_bytes: 0,
            records: 1,
            batches: 1,
            max_timestamp: Timestamp::NONE,
            min_timestamp: MinTimestamp { value: Timestamp::NONE, exact: true },
            append_times: (Timestamp::NONE, Timestamp::NONE),
            leader_epochs: Vec::new(),
            stable_end: Offset(1),
            aborted: 0,
            flags: SegmentFlags::default(),
            state_from: Offset(0),
            origin: ObjectOrigin::Range,
            offset_shift: 0,
            leader_epoch: None,
            added: Revision::default(),
        };
        Reference { partition: TopicPartition::new(TopicId::from_bytes([1; 16]), partition), segment }
    }

    /// Objects of all slices, each with its number of segments.
    fn slices(references: &[Reference]) -> Vec<Vec<(u64, usize)>> {
        let (mut from, mut slices) = (Bound::Unbounded, Vec::new());
        loop {
            let mut slice = Slice::new((from, Bound::Unbounded));
            references.iter().cloned().for_each(|reference| slice.offer(reference));
            let objects = slice.into_objects();
            let Some((last, _)) = objects.last_key_value() else { return slices };
            from = Bound::Excluded(*last);
            slices.push(objects.iter().map(|(key, references)| (key.writer().2.0, references.len())).collect());
        }
    }

    #[test]
    fn slices_have_every_object_once_with_all_of_its_segments() {
        // In an order in which every object comes back after later ones were there.
        let count = MAX_SEGMENTS as u64 + 5;
        let references: Vec<_> =
            (0..3).flat_map(|partition| (0..count).map(move |number| reference(partition, number * 769 % count))).collect();
        let slices = slices(&references);
        assert_eq!(slices.concat(), (0..count).map(|number| (number, 3)).collect::<Vec<_>>());
        assert!(slices.iter().all(|slice| 3 * slice.len() <= MAX_SEGMENTS) && slices.len() <= 5, "{}", slices.len());
    }

    #[test]
    fn an_object_of_many_segments_is_a_slice_of_its_own() {
        let many = MAX_SEGMENTS as i32 + 10;
        let references: Vec<_> = (0..many).map(|partition| reference(partition, 2)).chain([reference(0, 1), reference(0, 3)]).collect();
        let slices = slices(&references);
        assert_eq!(slices.concat(), [(1, 1), (2, many as usize), (3, 1)]);
        assert_eq!(slices.len(), 3);
    }

    #[test]
    fn brokers_share_the_objects_and_one_that_goes_leaves_the_others_theirs() {
        let brokers = [1, 2, 3].map(BrokerId);
        let mut shares = [0; 3];
        for number in 0..3000 {
            let auditor = auditor_of(&key(number), &brokers).unwrap();
            shares[auditor.0 as usize - 1] += 1;
            let without_third = auditor_of(&key(number), &brokers[..2]).unwrap();
            assert!(auditor == BrokerId(3) || without_third == auditor);
            assert_eq!(auditor_of(&key(number), &[BrokerId(3), BrokerId(1), BrokerId(2)]), Some(auditor), "in any order");
        }
        assert!(shares.iter().all(|share| (900..1100).contains(share)), "{shares:?}");
        assert_eq!(auditor_of(&key(1), &[]), None);
    }
}
