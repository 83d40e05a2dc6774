//! Merges segments into one object. Pure, and long enough to need a thread that may block.

use std::collections::BTreeMap;

use bytes::Bytes;
use records::batches;
use segment::{BuildError, BuiltObject, ObjectBuilder, ObjectHeader, SegmentInput};
use types::{ObjectKey, ObjectOrigin, Offset, ProducerId, ProducerWindow, SegmentRef, Timestamp, TopicPartition};

use super::read::{OldSegment, Place};

/// Segments of one partition that become one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) partition: TopicPartition,
    /// Adjacent, in order.
    pub(super) segments: Vec<SegmentRef>,
    /// Batches below need not be kept.
    pub(super) log_start: Offset,
}

impl Candidate {
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// What was read is not what it should be: it is left as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("partition {partition}: {detail}")]
    Batches { partition: TopicPartition, detail: String },
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A segment's batches, each checked, with the broker's clock at their appends as far as that is known.
pub(super) struct Sound {
    parts: Vec<SoundPart>,
}

struct SoundPart {
    input: SegmentInput,
    batches: Vec<(Bytes, Timestamp)>,
}

/// Checks every batch and puts together what each new segment holds. `candidates` ascend by partition.
pub(super) fn check(candidates: &[Candidate], mut old: BTreeMap<Place, OldSegment>) -> Result<Sound, MergeError> {
    let parts = candidates.iter().map(|candidate| {
        let take = |segment: &SegmentRef| old.remove(&(candidate.partition, segment.base)).expect("every segment was read");
        let old: Vec<_> = candidate.segments.iter().map(take).collect();
        check_part(candidate, &old)
    });
    Ok(Sound { parts: parts.collect::<Result<_, _>>()? })
}

fn check_part(candidate: &Candidate, old: &[OldSegment]) -> Result<SoundPart, MergeError> {
    let &Candidate { partition, log_start, .. } = candidate;
    let damaged = |detail: String| MergeError::Batches { partition, detail };
    let mut kept: Vec<(Bytes, Timestamp)> = Vec::new();
    for OldSegment { entry, data } in old {
        let (first, last) = entry.segment.append_times;
        let mut is_first = true;
        for batch in batches(data.clone()) {
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            let offset = batch.header.base_offset;
            records::verify_crc(&batch.bytes).map_err(|error| damaged(format!("batch at offset {offset}: {error}")))?;
            let append_time = if std::mem::take(&mut is_first) && 1 < entry.segment.batches { first } else { last };
            if log_start < batch.header.next_offset() {
                kept.push((batch.bytes, append_time));
            }
        }
    }
    let (base, end) = (old[0].entry.segment.base, old[old.len() - 1].entry.segment.end);
    let (producers_full, producers) = producers(old);
    let state_from = if producers_full { base } else { old[old.len() - 1].entry.segment.state_from };
    let origin = ObjectOrigin::Rewrite;
    let input = SegmentInput { partition, base, end, origin, state_from, producers, producers_full };
    Ok(SoundPart { input, batches: kept })
}

/// Producer state at the end of the last segment: a later segment's window replaces an earlier one's, and one with all windows
/// leaves nothing of those before it.
fn producers(old: &[OldSegment]) -> (bool, Vec<(ProducerId, ProducerWindow)>) {
    let mut full = false;
    let mut windows = BTreeMap::new();
    for OldSegment { entry, .. } in old {
        if entry.producers.full {
            full = true;
            windows.clear();
        }
        windows.extend(entry.producers.windows.iter().cloned());
    }
    (full, windows.into_iter().collect())
}

/// The object, its bytes fixed. Batches are the slices that were read.
pub(super) fn build(sound: Sound, header: ObjectHeader, key: ObjectKey) -> Result<BuiltObject, MergeError> {
    let mut builder = ObjectBuilder::new(header);
    for SoundPart { input, batches } in sound.parts {
        builder.add_segment(input, batches)?;
    }
    Ok(builder.finish(key))
}
