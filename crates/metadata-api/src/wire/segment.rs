//! Segment references, objects, leader epochs and producer windows.

use std::str::FromStr;

use types::{
    EpochStart, LeaderEpoch, MinTimestamp, ObjectKey, ObjectOrigin, Offset, ProducerBatch, ProducerWindow, Revision, SegmentFlags,
    SegmentRef, Timestamp, WINDOW_BATCHES,
};

use super::{WireError, wrong};
use crate::{ProducerDelta, PublishedObject, proto};

use proto::segment::Origin;

impl From<EpochStart> for proto::EpochStart {
    fn from(value: EpochStart) -> Self {
        Self { epoch: value.epoch.0, offset: value.offset.0 }
    }
}

impl From<proto::EpochStart> for EpochStart {
    fn from(value: proto::EpochStart) -> Self {
        Self { epoch: LeaderEpoch(value.epoch), offset: Offset(value.offset) }
    }
}

impl From<PublishedObject> for proto::PublishedObject {
    fn from(value: PublishedObject) -> Self {
        Self { key: value.key.to_string(), length: value.length, crc: value.crc }
    }
}

impl TryFrom<proto::PublishedObject> for PublishedObject {
    type Error = WireError;
    fn try_from(value: proto::PublishedObject) -> Result<Self, WireError> {
        Ok(Self { key: key(&value.key)?, length: value.length, crc: value.crc })
    }
}

fn key(text: &str) -> Result<ObjectKey, WireError> {
    ObjectKey::from_str(text).map_err(|err| wrong(err.to_string()))
}

fn span(from: i64, to: i64) -> u64 {
    to.abs_diff(from)
}

fn plus(base: i64, span: u64, what: &str) -> Result<i64, WireError> {
    base.checked_add_unsigned(span).ok_or_else(|| wrong(format!("{what} {base} + {span} is beyond 2^63")))
}

/// The message of a segment; without the object's key where the surrounding message names it.
pub fn segment_to_proto(value: &SegmentRef, with_object: bool) -> proto::Segment {
    proto::Segment {
        base: value.base.0,
        span: span(value.base.0, value.end.0),
        object: if with_object { value.object.to_string() } else { String::new() },
        position: value.position,
        bytes: value.bytes,
        index_bytes: value.index_bytes,
        records: value.records,
        batches: value.batches,
        max_timestamp: value.max_timestamp.0,
        min_timestamp_delta: value.min_timestamp.value.0.wrapping_sub(value.max_timestamp.0),
        min_timestamp_exact: value.min_timestamp.exact,
        first_append_time: value.append_times.0.0,
        last_append_time_delta: value.append_times.1.0.wrapping_sub(value.append_times.0.0),
        leader_epochs: value.leader_epochs.iter().map(|start| (*start).into()).collect(),
        unstable_span: span(value.stable_end.0, value.end.0),
        aborted: value.aborted,
        flags: value.flags.0,
        state_from_back: value.base.0.wrapping_sub(value.state_from.0),
        origin: match value.origin {
            ObjectOrigin::Range => Origin::Range,
            ObjectOrigin::Rewrite => Origin::Rewrite,
            ObjectOrigin::Bulk => Origin::Bulk,
            ObjectOrigin::Derived => Origin::Derived,
        }
        .into(),
        offset_shift: value.offset_shift,
        leader_epoch: value.leader_epoch.map(|epoch| epoch.0),
        added: value.added.0,
    }
}

/// The reverse of [`segment_to_proto`]; `object` is what the surrounding message names.
pub fn segment_from_proto(value: proto::Segment, object: Option<ObjectKey>) -> Result<SegmentRef, WireError> {
    let object = match object {
        Some(object) if value.object.is_empty() => object,
        Some(_) => return Err(wrong("a segment repeats its object's key")),
        None => key(&value.object)?,
    };
    if value.base < 0 || value.span == 0 {
        return Err(wrong(format!("segment at offset {} of span {}", value.base, value.span)));
    }
    let end = plus(value.base, value.span, "segment end")?;
    let stable_end = end
        .checked_sub_unsigned(value.unstable_span)
        .filter(|stable| 0 <= *stable)
        .ok_or_else(|| wrong(format!("stable end {end} - {}", value.unstable_span)))?;
    let origin = match Origin::try_from(value.origin) {
        Ok(Origin::Range) => ObjectOrigin::Range,
        Ok(Origin::Rewrite) => ObjectOrigin::Rewrite,
        Ok(Origin::Bulk) => ObjectOrigin::Bulk,
        Ok(Origin::Derived) => ObjectOrigin::Derived,
        Err(_) => return Err(wrong(format!("segment origin {} is unknown", value.origin))),
    };
    Ok(SegmentRef {
        base: Offset(value.base),
        end: Offset(end),
        object,
        position: value.position,
        bytes: value.bytes,
        index_bytes: value.index_bytes,
        records: value.records,
        batches: value.batches,
        max_timestamp: Timestamp(value.max_timestamp),
        min_timestamp: MinTimestamp {
            // Producers may send any timestamps: differences wrap, as they did on the way out.
            value: Timestamp(value.max_timestamp.wrapping_add(value.min_timestamp_delta)),
            exact: value.min_timestamp_exact,
        },
        append_times: (Timestamp(value.first_append_time), Timestamp(value.first_append_time.wrapping_add(value.last_append_time_delta))),
        leader_epochs: value.leader_epochs.into_iter().map(EpochStart::from).collect(),
        stable_end: Offset(stable_end),
        aborted: value.aborted,
        flags: SegmentFlags(value.flags),
        state_from: Offset(
            value
                .base
                .checked_sub(value.state_from_back)
                .filter(|state_from| (0..=value.base).contains(state_from))
                .ok_or_else(|| wrong(format!("state offset {} - {}", value.base, value.state_from_back)))?,
        ),
        origin,
        offset_shift: value.offset_shift,
        leader_epoch: value.leader_epoch.map(LeaderEpoch),
        added: Revision(value.added),
    })
}

impl From<ProducerBatch> for proto::ProducerBatch {
    fn from(value: ProducerBatch) -> Self {
        Self {
            first_sequence: value.first_sequence,
            last_sequence: value.last_sequence,
            base_offset: value.base_offset.0,
            span: span(value.base_offset.0, value.last_offset.0),
            append_time: value.append_time.0,
        }
    }
}

impl TryFrom<proto::ProducerBatch> for ProducerBatch {
    type Error = WireError;
    fn try_from(value: proto::ProducerBatch) -> Result<Self, WireError> {
        Ok(Self {
            first_sequence: value.first_sequence,
            last_sequence: value.last_sequence,
            base_offset: Offset(value.base_offset),
            last_offset: Offset(plus(value.base_offset, value.span, "last offset")?),
            append_time: Timestamp(value.append_time),
        })
    }
}

impl From<&ProducerDelta> for proto::Producer {
    fn from(value: &ProducerDelta) -> Self {
        let window = &value.window;
        Self {
            producer_id: value.producer,
            epoch: window.epoch.into(),
            batches: window.batches.iter().map(|batch| (*batch).into()).collect(),
            coordinator_epoch: window.coordinator_epoch,
            open_transaction: window.open_transaction.map(|offset| offset.0),
            last_append_time: window.last_append_time.0,
        }
    }
}

impl TryFrom<proto::Producer> for ProducerDelta {
    type Error = WireError;
    fn try_from(value: proto::Producer) -> Result<Self, WireError> {
        if value.batches.len() > WINDOW_BATCHES {
            return Err(wrong(format!("a producer's window holds {} batches", value.batches.len())));
        }
        let epoch = i16::try_from(value.epoch).map_err(|_| wrong(format!("producer epoch {}", value.epoch)))?;
        Ok(Self {
            producer: value.producer_id,
            window: ProducerWindow {
                epoch,
                batches: value.batches.into_iter().map(ProducerBatch::try_from).collect::<Result<_, _>>()?,
                coordinator_epoch: value.coordinator_epoch,
                open_transaction: value.open_transaction.map(Offset),
                last_append_time: Timestamp(value.last_append_time),
            },
        })
    }
}
