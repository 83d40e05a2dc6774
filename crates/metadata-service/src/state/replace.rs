//! Rewritten objects take the place of older segments: decided for the object as a whole, then for each partition by itself, and
//! applied. Only the place of batches changes; offsets, leader epochs and producer windows are what they were.

use std::sync::Arc;

use metadata_api::{MetadataError, PartitionReplacement, ReplaceAnswer, ReplaceSegments, ReplaceVerdict};
use types::{SegmentRef, Timestamp, TopicPartition, WalId};

use super::command::{Answer, Rules};
use super::decision::{Decision, Reply, next_revision, unfenced};
use super::event::{Event, Replaced, SegmentsReplaced};
use super::publish::{MAX_OBJECT_BYTES, check_place};
use super::{State, shard_of_object};

/// `metadata.max.segments` is not asked: a replacement makes segments fewer (rule R27).
pub(super) fn decide(state: &State, rules: &Rules, request: &ReplaceSegments, now: Timestamp) -> Result<Decision, MetadataError> {
    let wal = unfenced(state, request.broker, request.epoch)?.wal;
    check_request(request)?;
    let key = request.object.key;
    // Keys are never reused: an object that is referenced was put there by this very request.
    if state.is_referenced(&key) {
        let verdicts = request.partitions.iter().map(|part| state.verdict_of_repeat(part)).collect();
        return Ok(Decision::answer(Answer::SegmentsReplaced(ReplaceAnswer { revision: state.revision, verdicts })));
    }
    if state.is_dead(&key) || state.is_garbage(&key) {
        return Err(invalid(format!("object {key} is dead: its number is below the floor, or nothing refers to it any more")));
    }
    let verdicts: Vec<_> = request.partitions.iter().map(|part| state.verdict(request, wal, part)).collect();
    let parts = request.partitions.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == ReplaceVerdict::Replaced);
    let replaced: Vec<_> = parts
        .map(|(part, _)| Replaced {
            partition: part.partition,
            old: u32::try_from(part.old.len()).expect("a message holds fewer than 2^32 segments"),
            new: part.new.clone(),
        })
        .collect();
    if replaced.is_empty() {
        return Ok(Decision::answer(Answer::SegmentsReplaced(ReplaceAnswer { revision: state.revision, verdicts })));
    }
    let answer = ReplaceAnswer { revision: next_revision(state), verdicts };
    let event = SegmentsReplaced {
        broker: request.broker,
        object: request.object,
        object_floor: request.object_floor,
        not_before: rules.not_before(now),
        replaced,
    };
    Ok(Decision::event(Reply::Ready(Answer::SegmentsReplaced(answer)), Event::SegmentsReplaced(Box::new(event))))
}

fn invalid(detail: String) -> MetadataError {
    MetadataError::Invalid { detail }
}

fn check_request(request: &ReplaceSegments) -> Result<(), MetadataError> {
    let object = &request.object;
    let (broker, epoch, number) = object.key.writer();
    if (broker, epoch) != (request.broker, request.epoch) {
        return Err(invalid(format!("object {} was not written by broker {} in its epoch {}", object.key, request.broker, request.epoch)));
    }
    if number < request.object_floor {
        return Err(invalid(format!("object {} lies below the object floor {} that is sent with it", object.key, request.object_floor.0)));
    }
    if MAX_OBJECT_BYTES < object.length {
        return Err(invalid(format!("object {} of {} bytes: at most {MAX_OBJECT_BYTES} are possible", object.key, object.length)));
    }
    if request.partitions.is_empty() {
        return Err(invalid(format!("object {} replaces nothing", object.key)));
    }
    let mut previous: Option<TopicPartition> = None;
    for part in &request.partitions {
        if previous.is_some_and(|previous| part.partition <= previous) {
            return Err(invalid(format!("partition {} is not in order", part.partition)));
        }
        previous = Some(part.partition);
        check_place(Some(request.object), &part.new)
            .and_then(|()| check_offsets(part))
            .map_err(|what| invalid(format!("partition {}: {what}", part.partition)))?;
    }
    Ok(())
}

/// The new segment answers for what the old ones answered for, and holds nothing that was in none of them.
fn check_offsets(part: &PartitionReplacement) -> Result<(), &'static str> {
    let PartitionReplacement { old, new, .. } = part;
    let (Some(first), Some(last)) = (old.first(), old.last()) else { return Err("it names no segment to be replaced") };
    if !old.windows(2).all(|pair| pair[0].end <= pair[1].base) {
        return Err("the segments to be replaced do not follow one another");
    }
    if (new.base, new.end) != (first.base, last.end) {
        return Err("its segment does not answer for the offsets of those it replaces");
    }
    let sum = |part: fn(&SegmentRef) -> u64| old.iter().map(part).fold(0, u64::saturating_add);
    let batches = sum(|segment| segment.batches.into());
    // The order by timestamps relies on it.
    if old.iter().all(|segment| segment.max_timestamp < new.max_timestamp) {
        return Err("its segment has a larger timestamp than those it replaces");
    }
    if sum(|segment| segment.bytes) < new.bytes || sum(|segment| segment.records) < new.records || batches < new.batches.into() {
        return Err("its segment holds more than those it replaces");
    }
    Ok(())
}

impl State {
    fn verdict(&self, request: &ReplaceSegments, wal: WalId, part: &PartitionReplacement) -> ReplaceVerdict {
        let Some(partition) = self.partition(part.partition) else { return ReplaceVerdict::Gone };
        if partition.leader != request.broker || partition.owner != wal {
            return ReplaceVerdict::NotLeader;
        }
        let there = partition.segments.within(part.new.base, part.new.end).map(Arc::as_ref);
        if there.eq(&part.old) { ReplaceVerdict::Replaced } else { ReplaceVerdict::Changed }
    }

    /// What became of a part whose object is referenced.
    fn verdict_of_repeat(&self, part: &PartitionReplacement) -> ReplaceVerdict {
        let Some(partition) = self.partition(part.partition) else { return ReplaceVerdict::Gone };
        let mut there = partition.segments.within(part.new.base, part.new.end);
        let is_new = |there: &Arc<SegmentRef>| SegmentRef { added: there.added, ..part.new.clone() } == **there;
        if there.next().is_some_and(is_new) && there.next().is_none() { ReplaceVerdict::Replaced } else { ReplaceVerdict::Changed }
    }

    pub(super) fn segments_replaced(&mut self, event: &SegmentsReplaced) {
        let revision = self.revision;
        let key = event.object.key;
        let segments = u32::try_from(event.replaced.len()).expect("a message holds fewer than 2^32 partitions");
        self.shard_mut(shard_of_object(&key), revision).objects.insert(key, segments);
        let writer = self.broker_mut(event.broker);
        writer.published.insert(key.writer().2);
        writer.raise_object_floor(event.object_floor);
        for Replaced { partition, old, new } in &event.replaced {
            let new = SegmentRef { added: revision, ..new.clone() };
            let removed = self.partition_mut(*partition).segments.replace(new);
            assert_eq!(removed.len(), *old as usize, "the segments that are replaced are those that were");
            self.segments = self.segments + 1 - removed.len() as u64;
            for segment in removed {
                self.release(segment.object, event.not_before);
            }
        }
    }
}
