//! Decides a publish: first the publisher and the object as a whole, then each partition for itself.

use metadata_api::{MetadataError, PartitionPublish, PartitionRefusal, PublishRequest, PublishedObject, proto};
use prost::Message;
use types::{EpochStart, LeaderEpoch, Lsn, Offset, PublishSequence, SegmentRef, Timestamp, WalId};

use super::command::{Answer, Rules};
use super::decision::{Decision, Reply, unfenced};
use super::event::{Accepted, Event, Published};
use super::{Partition, State};

/// Most numbers that may be published above the object floor: as many uploads as a broker can have in flight, many times over.
const MAX_ABOVE_FLOOR: usize = 65_536;

/// Longest object that any store takes; sums of such lengths do not overflow.
pub(super) const MAX_OBJECT_BYTES: u64 = 50 << 40;

/// Pressure begins at this share of `metadata.max.segments`, in percent, and reaches [`FULL_PRESSURE`] at the whole.
const PRESSURE_FROM: u64 = 80;
/// Percent by which upload intervals are stretched at `metadata.max.segments`; twice that at the most.
const FULL_PRESSURE: u64 = 400;

pub(super) fn decide(state: &State, rules: &Rules, request: &PublishRequest, now: Timestamp) -> Result<Decision, MetadataError> {
    let broker = unfenced(state, request.broker, request.epoch)?;
    let digest = digest(request);
    let last = broker.last_publish.as_ref();
    let last_sequence = last.map_or(PublishSequence(0), |last| last.sequence);
    if let Some(last) = last.filter(|last| last.sequence == request.sequence) {
        // The same sequence with other content would be answered for something that never happened (rule R12).
        return if last.digest == digest {
            Ok(Decision::answer(Answer::Publish(last.answer.clone())))
        } else {
            Err(invalid(format!("publish {} was sent before with other content", request.sequence)))
        };
    }
    if request.sequence.0 != last_sequence.0 + 1 {
        return Err(invalid(format!("publish {} follows publish {last_sequence}", request.sequence)));
    }
    check_log_range(state, broker.wal, request)?;
    check_object(state, request)?;
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    let mut previous = None;
    for part in &request.partitions {
        if previous.is_some_and(|previous| part.partition <= previous) {
            return Err(invalid(format!("partition {} is not in order", part.partition)));
        }
        previous = Some(part.partition);
        check_part(request, part)?;
        match verdict(state.partition(part.partition), broker.wal, part) {
            Ok(partition) => accepted.push(accept(partition, part)),
            Err(refusal) => refused.push((part.partition, refusal)),
        }
    }
    let published = Published {
        broker: request.broker,
        epoch: request.epoch,
        sequence: request.sequence,
        digest,
        object: request.object,
        end_lsn: request.end_lsn,
        object_floor: request.object_floor,
        synced: request.synced,
        pressure: pressure(state.segment_count(), rules.max_segments),
        producers_expire_before: if rules.clock_trusted {
            state.stamped_before(now, rules.producer_expiration_ms)
        } else {
            Timestamp(i64::MIN)
        },
        not_before: rules.not_before(now),
        accepted,
        refused,
    };
    Ok(Decision::event(Reply::LastPublishOf(request.broker), Event::Published(Box::new(published))))
}

fn invalid(detail: String) -> MetadataError {
    MetadataError::Invalid { detail }
}

/// What makes two publishes the same: length and CRC-32C of the message, without the two fields that only say how far the broker has
/// come meanwhile.
fn digest(request: &PublishRequest) -> u64 {
    let mut message = proto::PublishRequest::from(request);
    message.synced = 0;
    message.object_floor = 0;
    let bytes = message.encode_to_vec();
    (bytes.len() as u64) << 32 | u64::from(crc32c::crc32c(&bytes))
}

/// The range begins where the log's last published one ended. It may begin above it only because an epoch began there; never below,
/// where everything is published already (rules R2 and R12).
fn check_log_range(state: &State, wal: WalId, request: &PublishRequest) -> Result<(), MetadataError> {
    let published = state.wals.get(&wal).map_or(Lsn::ZERO, |wal| wal.last_published);
    if request.first_lsn <= published {
        return Err(invalid(format!("log range from {} begins below the published end {}", request.first_lsn, published.next())));
    }
    if request.end_lsn <= request.first_lsn {
        return Err(invalid(format!("log range from {} to {} is empty", request.first_lsn, request.end_lsn)));
    }
    Ok(())
}

/// A key that is dead may be deleted at any moment: it must never become referenced (rule R6).
fn check_object(state: &State, request: &PublishRequest) -> Result<(), MetadataError> {
    let Some(object) = request.object else {
        return if request.partitions.is_empty() { Ok(()) } else { Err(invalid("partitions without an object".to_owned())) };
    };
    if state.is_dead(&object.key) || state.is_garbage(&object.key) {
        return Err(invalid(format!("object {} is dead: its epoch is over or its number below the floor", object.key)));
    }
    if MAX_OBJECT_BYTES < object.length {
        return Err(invalid(format!("object {} of {} bytes: at most {MAX_OBJECT_BYTES} are possible", object.key, object.length)));
    }
    let above_floor = state.brokers.get(&object.key.writer().0).map_or(0, |writer| writer.published.range(request.object_floor..).count());
    if MAX_ABOVE_FLOOR <= above_floor {
        return Err(invalid(format!("{above_floor} objects above the object floor {}: raise it", request.object_floor.0)));
    }
    Ok(())
}

/// A segment lies within its object, and answers for offsets.
pub(super) fn check_place(object: Option<PublishedObject>, segment: &SegmentRef) -> Result<(), &'static str> {
    let Some(object) = object.filter(|object| object.key == segment.object) else { return Err("its segment lies in another object") };
    let end = segment.position.checked_add(segment.bytes).and_then(|end| end.checked_add(segment.index_bytes.into()));
    if end.is_none_or(|end| object.length < end) {
        return Err("its segment reaches beyond the object");
    }
    if segment.offset_shift != 0 || segment.leader_epoch.is_some() {
        return Err("offset shift and leader epoch of a segment are reserved");
    }
    if segment.base.0 < 0 || segment.end <= segment.base { Err("its segment is empty") } else { Ok(()) }
}

fn check_part(request: &PublishRequest, part: &PartitionPublish) -> Result<(), MetadataError> {
    let segment = &part.segment;
    let wrong = |what: &str| Err(invalid(format!("partition {}: {what}", part.partition)));
    check_place(request.object, segment).or_else(wrong)?;
    let mut end = segment.base;
    let mut epoch = LeaderEpoch(i32::MIN);
    for run in &part.runs {
        if run.base < end || run.end <= run.base || run.leader_epoch < epoch {
            return wrong("its runs are not ascending");
        }
        (end, epoch) = (run.end, run.leader_epoch);
    }
    if part.runs.is_empty() || segment.end < end {
        return wrong("its runs do not fit the segment");
    }
    Ok(())
}

fn verdict<'a>(partition: Option<&'a Partition>, wal: WalId, part: &PartitionPublish) -> Result<&'a Partition, PartitionRefusal> {
    let Some(partition) = partition else { return Err(PartitionRefusal::Gone) };
    let owned = partition.owned_from..=partition.leader_epoch;
    if partition.owner != wal || !part.runs.iter().all(|run| owned.contains(&run.leader_epoch)) {
        return Err(PartitionRefusal::NotOwned { leader_epoch: partition.leader_epoch });
    }
    let furthest = partition.next_offset.0.saturating_add(Offset::UNCLEAN_GAP);
    let is_next = part.segment.base == partition.next_offset;
    let is_gap = part.gap && !partition.refused && partition.next_offset < part.segment.base && part.segment.base <= Offset(furthest);
    if is_next || is_gap { Ok(partition) } else { Err(PartitionRefusal::WrongOffset { next_offset: partition.next_offset }) }
}

fn accept(partition: &Partition, part: &PartitionPublish) -> Accepted {
    let mut known = partition.epochs.last().map(|start| start.epoch);
    let mut epochs = Vec::new();
    for run in &part.runs {
        if known.is_none_or(|known| known < run.leader_epoch) {
            known = Some(run.leader_epoch);
            epochs.push(EpochStart { epoch: run.leader_epoch, offset: run.base });
        }
    }
    Accepted { partition: part.partition, segment: part.segment.clone(), epochs, producers: part.producers.clone() }
}

/// Nothing up to four fifths of the bound, then rising with the number of segments.
pub(super) fn pressure(segments: u64, max: u64) -> u32 {
    let from = max / 100 * PRESSURE_FROM;
    let above = segments.saturating_sub(from);
    let range = (max - from).max(1);
    let pressure = above.saturating_mul(FULL_PRESSURE) / range;
    u32::try_from(pressure.min(2 * FULL_PRESSURE)).expect("bounded by twice the full pressure")
}
