//! The footer: typed sections, each with length, checksum and a bit that says whether a reader may skip it.

use std::collections::VecDeque;

use types::{
    BrokerEpoch, ClusterId, EpochStart, LeaderEpoch, Lsn, MinTimestamp, ObjectKey, ObjectOrigin, Offset, ProducerBatch, ProducerWindow,
    PublishSequence, Revision, SegmentFlags, SegmentRef, Timestamp, WINDOW_BATCHES, WalId,
};

use crate::contents::{ObjectContents, ObjectHeader, ProducerState, RefusedPublish, SegmentEntry, data_range, index_range};
use crate::error::{ObjectError, check_crc};
use crate::trailer::{HEAD_BYTES, Trailer};
use crate::wire::{Fields, PutFields};

/// Types of sections. 6 to 8 are reserved: key index, column statistics, encodings.
mod kind {
    pub(super) const OBJECT: u16 = 1;
    pub(super) const SEGMENTS: u16 = 2;
    pub(super) const PRODUCERS: u16 = 3;
    pub(super) const OPEN_TRANSACTIONS: u16 = 4;
    pub(super) const ABORTED_TRANSACTIONS: u16 = 5;
}

const SECTION_VERSION: u8 = 1;
const MUST_UNDERSTAND: u8 = 1;
const NO_EPOCH: i32 = -1;
const NO_OFFSET: i64 = -1;

/// Shortest encodings, to bound what a count may reserve.
const MIN_SEGMENT_BYTES: usize = 146;
const MIN_REFUSED_BYTES: usize = 20;
const PARTITION_BYTES: usize = 20;
const EPOCH_START_BYTES: usize = 12;
const MIN_WINDOW_BYTES: usize = 31;

pub(crate) fn encode(contents: &ObjectContents) -> Vec<u8> {
    let mut out = Vec::new();
    put_section(&mut out, kind::OBJECT, &encode_object(contents));
    put_section(&mut out, kind::SEGMENTS, &encode_segments(&contents.segments));
    put_section(&mut out, kind::PRODUCERS, &encode_producers(&contents.segments));
    put_section(&mut out, kind::OPEN_TRANSACTIONS, &0u32.to_be_bytes());
    put_section(&mut out, kind::ABORTED_TRANSACTIONS, &0u32.to_be_bytes());
    out
}

/// Every section known today is needed for a correct answer, so each is marked.
fn put_section(out: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    let start = out.len();
    out.put_u16(kind);
    out.put_u8(SECTION_VERSION);
    out.put_u8(MUST_UNDERSTAND);
    out.put_count(payload.len());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), payload);
    out.put_u32(crc);
    out.put(payload);
}

impl ObjectContents {
    /// Parses the bytes at [`Trailer::footer_range`]. Sections that this program does not know are skipped where their writer allows
    /// it and refused where not.
    pub fn parse(footer: &[u8], trailer: &Trailer) -> Result<Self, ObjectError> {
        if footer.len() as u64 != u64::from(trailer.footer_bytes) {
            let needed = u64::from(trailer.footer_bytes);
            return Err(ObjectError::Short { part: "footer", needed, found: footer.len() as u64 });
        }
        check_crc("footer", trailer.footer_crc, footer)?;
        let sections = Sections::parse(footer)?;
        let (key, header) = parse_object(Fields::new("object section", sections.object))?;
        let mut segments = parse_segments(Fields::new("segments section", sections.segments), key)?;
        parse_producers(Fields::new("producers section", sections.producers), &mut segments)?;
        require_empty(Fields::new("open transactions section", sections.open_transactions), "the list of open transactions")?;
        require_empty(Fields::new("aborted transactions section", sections.aborted_transactions), "the list of aborted transactions")?;
        check_places(&segments, trailer)?;
        Ok(Self { key, header, segments })
    }
}

/// The payloads of the sections known today.
#[derive(Default)]
struct Sections<'a> {
    object: &'a [u8],
    segments: &'a [u8],
    producers: &'a [u8],
    open_transactions: &'a [u8],
    aborted_transactions: &'a [u8],
}

impl<'a> Sections<'a> {
    fn parse(footer: &'a [u8]) -> Result<Self, ObjectError> {
        const KNOWN: usize = kind::ABORTED_TRANSACTIONS as usize;
        let mut found: [(usize, &[u8]); KNOWN] = [(0, &[]); KNOWN];
        let mut rest = Fields::new("footer", footer);
        while !rest.is_empty() {
            let (kind, version, flags, payload) = take_section(&mut rest)?;
            let known = (1..=KNOWN).contains(&usize::from(kind)) && version == SECTION_VERSION;
            if !known && flags & MUST_UNDERSTAND != 0 {
                return Err(ObjectError::UnknownSection { kind, version });
            }
            if !known {
                continue;
            }
            let (count, place) = &mut found[usize::from(kind) - 1];
            *count += 1;
            *place = payload;
        }
        let one = |kind: u16| match found[usize::from(kind) - 1] {
            (1, payload) => Ok(payload),
            (found, _) => Err(ObjectError::SectionCount { kind, found }),
        };
        Ok(Self {
            object: one(kind::OBJECT)?,
            segments: one(kind::SEGMENTS)?,
            producers: one(kind::PRODUCERS)?,
            open_transactions: one(kind::OPEN_TRANSACTIONS)?,
            aborted_transactions: one(kind::ABORTED_TRANSACTIONS)?,
        })
    }
}

/// Type, version, flags and payload of the next section.
fn take_section<'a>(footer: &mut Fields<'a>) -> Result<(u16, u8, u8, &'a [u8]), ObjectError> {
    const PART: &str = "footer section";
    let before_crc = footer.bytes(8)?;
    let mut fields = Fields::new(PART, before_crc);
    let (kind, version, flags, length) = (fields.u16()?, fields.u8()?, fields.u8()?, fields.u32()?);
    let stored = footer.u32()?;
    let payload = footer.bytes(length as usize)?;
    let computed = crc32c::crc32c_append(crc32c::crc32c(before_crc), payload);
    if stored == computed { Ok((kind, version, flags, payload)) } else { Err(ObjectError::Checksum { part: PART, stored, computed }) }
}

fn encode_object(contents: &ObjectContents) -> Vec<u8> {
    let (key, header) = (contents.key.to_string(), &contents.header);
    let mut out = Vec::new();
    out.put_u16(u16::try_from(key.len()).expect("a key is shorter than 64 KiB"));
    out.put(key.as_bytes());
    out.put(header.cluster.as_bytes());
    out.put(header.wal.as_bytes());
    out.put_u64(header.first_lsn.0);
    out.put_u64(header.end_lsn.0);
    out.put_u64(header.sequence.0);
    out.put_u64(header.metadata_revision.0);
    out.put_i64(header.created_at.0);
    out.put_u64(header.answered_through.0);
    out.put_count(header.refused.len());
    for refused in &header.refused {
        out.put_u64(refused.epoch.0);
        out.put_u64(refused.sequence.0);
        out.put_count(refused.partitions.len());
        for partition in &refused.partitions {
            out.put_partition(*partition);
        }
    }
    out
}

fn parse_object(mut fields: Fields<'_>) -> Result<(ObjectKey, ObjectHeader), ObjectError> {
    let key_bytes = fields.u16()?;
    let key = std::str::from_utf8(fields.bytes(usize::from(key_bytes))?).ok().and_then(|text| text.parse().ok());
    let key = key.ok_or_else(|| fields.malformed("its key is not a segment object's"))?;
    let mut header = ObjectHeader {
        cluster: ClusterId::from_bytes(fields.array()?),
        wal: WalId::from_bytes(fields.array()?),
        first_lsn: Lsn(fields.u64()?),
        end_lsn: Lsn(fields.u64()?),
        sequence: PublishSequence(fields.u64()?),
        metadata_revision: Revision(fields.u64()?),
        created_at: Timestamp(fields.i64()?),
        answered_through: PublishSequence(fields.u64()?),
        refused: Vec::new(),
    };
    let refused = fields.u32()? as usize;
    header.refused = fields.room_for(refused, MIN_REFUSED_BYTES);
    for _ in 0..refused {
        let (epoch, sequence) = (BrokerEpoch(fields.u64()?), PublishSequence(fields.u64()?));
        let count = fields.u32()? as usize;
        let mut partitions = fields.room_for(count, PARTITION_BYTES);
        for _ in 0..count {
            partitions.push(fields.partition()?);
        }
        header.refused.push(RefusedPublish { epoch, sequence, partitions });
    }
    fields.finish()?;
    Ok((key, header))
}

fn encode_segments(segments: &[SegmentEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_count(segments.len());
    for SegmentEntry { partition, segment, data_crc, .. } in segments {
        out.put_partition(*partition);
        out.put_i64(segment.base.0);
        out.put_i64(segment.end.0);
        out.put_u64(segment.position);
        out.put_u64(segment.bytes);
        out.put_u32(segment.index_bytes);
        out.put_u32(*data_crc);
        out.put_u64(segment.records);
        out.put_u32(segment.batches);
        out.put_u32(segment.flags.0);
        out.put_i64(segment.max_timestamp.0);
        out.put_i64(segment.min_timestamp.value.0);
        out.put_u8(u8::from(segment.min_timestamp.exact));
        out.put_u8(origin_id(segment.origin));
        out.put_i64(segment.append_times.0.0);
        out.put_i64(segment.append_times.1.0);
        out.put_i64(segment.stable_end.0);
        out.put_i64(segment.state_from.0);
        out.put_u32(segment.aborted);
        out.put_i64(segment.offset_shift);
        out.put_i32(segment.leader_epoch.map_or(NO_EPOCH, |epoch| epoch.0));
        out.put_count(segment.leader_epochs.len());
        for start in &segment.leader_epochs {
            out.put_i32(start.epoch.0);
            out.put_i64(start.offset.0);
        }
    }
    out
}

fn parse_segments(mut fields: Fields<'_>, object: ObjectKey) -> Result<Vec<SegmentEntry>, ObjectError> {
    let count = fields.u32()? as usize;
    let mut segments = fields.room_for(count, MIN_SEGMENT_BYTES);
    for _ in 0..count {
        segments.push(parse_segment(&mut fields, object)?);
    }
    fields.finish()?;
    Ok(segments)
}

fn parse_segment(fields: &mut Fields<'_>, object: ObjectKey) -> Result<SegmentEntry, ObjectError> {
    let partition = fields.partition()?;
    let (base, end) = (fields.offset()?, fields.offset()?);
    fields.require(Offset::ZERO <= base && base < end, "offset range of a segment")?;
    let (position, bytes, index_bytes) = (fields.u64()?, fields.u64()?, fields.u32()?);
    let data_crc = fields.u32()?;
    let (records, batches) = (fields.u64()?, fields.u32()?);
    let flags = SegmentFlags(fields.u32()?);
    let max_timestamp = Timestamp(fields.i64()?);
    let min_timestamp = MinTimestamp { value: Timestamp(fields.i64()?), exact: fields.u8()? != 0 };
    let origin = origin_from_id(fields.u8()?).ok_or_else(|| fields.malformed("origin of a segment"))?;
    let append_times = (Timestamp(fields.i64()?), Timestamp(fields.i64()?));
    let (stable_end, state_from) = (fields.offset()?, fields.offset()?);
    let aborted = fields.u32()?;
    let (offset_shift, leader_epoch) = (fields.i64()?, fields.i32()?);
    if offset_shift != 0 {
        return Err(ObjectError::Reserved { what: "an offset shift" });
    }
    if leader_epoch != NO_EPOCH {
        return Err(ObjectError::Reserved { what: "a leader epoch override" });
    }
    let count = fields.u32()? as usize;
    let mut leader_epochs = fields.room_for(count, EPOCH_START_BYTES);
    for _ in 0..count {
        leader_epochs.push(EpochStart { epoch: LeaderEpoch(fields.i32()?), offset: fields.offset()? });
    }
    let rising = |pair: &[EpochStart]| pair[0].epoch < pair[1].epoch && pair[0].offset < pair[1].offset;
    fields.require(leader_epochs.windows(2).all(rising), "leader epochs of a segment")?;
    let segment = SegmentRef {
        base,
        end,
        object,
        position,
        bytes,
        index_bytes,
        records,
        batches,
        max_timestamp,
        min_timestamp,
        append_times,
        leader_epochs,
        stable_end,
        aborted,
        flags,
        state_from,
        origin,
        offset_shift,
        leader_epoch: None,
        added: Revision(0),
    };
    Ok(SegmentEntry { partition, segment, data_crc, producers: ProducerState::default() })
}

fn encode_producers(segments: &[SegmentEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_count(segments.len());
    for SegmentEntry { producers, .. } in segments {
        out.put_u8(u8::from(producers.full));
        out.put_count(producers.windows.len());
        for (producer, window) in &producers.windows {
            out.put_i64(*producer);
            out.put_i16(window.epoch);
            out.put_i32(window.coordinator_epoch);
            out.put_i64(window.open_transaction.map_or(NO_OFFSET, |offset| offset.0));
            out.put_i64(window.last_append_time.0);
            out.put_u8(u8::try_from(window.batches.len()).expect("a window holds at most five batches"));
            for batch in &window.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset.0);
                out.put_i64(batch.last_offset.0);
                out.put_i64(batch.append_time.0);
            }
        }
    }
    out
}

/// The section's entries follow the order of the segments.
fn parse_producers(mut fields: Fields<'_>, segments: &mut [SegmentEntry]) -> Result<(), ObjectError> {
    let count = fields.u32()? as usize;
    fields.require(count == segments.len(), "number of segments")?;
    for entry in segments {
        entry.producers.full = fields.u8()? != 0;
        let count = fields.u32()? as usize;
        let mut windows = fields.room_for(count, MIN_WINDOW_BYTES);
        for _ in 0..count {
            windows.push((fields.i64()?, parse_window(&mut fields)?));
        }
        fields.require(windows.windows(2).all(|pair| pair[0].0 < pair[1].0), "order of producer ids")?;
        entry.producers.windows = windows;
    }
    fields.finish()
}

fn parse_window(fields: &mut Fields<'_>) -> Result<ProducerWindow, ObjectError> {
    let (epoch, coordinator_epoch) = (fields.i16()?, fields.i32()?);
    let open_transaction = fields.offset()?;
    let last_append_time = Timestamp(fields.i64()?);
    let count = usize::from(fields.u8()?);
    fields.require(count <= WINDOW_BATCHES, "batches of a producer")?;
    let mut batches = VecDeque::with_capacity(count);
    for _ in 0..count {
        batches.push_back(ProducerBatch {
            first_sequence: fields.i32()?,
            last_sequence: fields.i32()?,
            base_offset: fields.offset()?,
            last_offset: fields.offset()?,
            append_time: Timestamp(fields.i64()?),
        });
    }
    let open_transaction = (open_transaction.0 != NO_OFFSET).then_some(open_transaction);
    Ok(ProducerWindow { epoch, batches, coordinator_epoch, open_transaction, last_append_time })
}

/// Transactions do not exist yet. A reader that passed over them would serve what was aborted.
fn require_empty(mut fields: Fields<'_>, what: &'static str) -> Result<(), ObjectError> {
    if fields.u32()? == 0 { fields.finish() } else { Err(ObjectError::Reserved { what }) }
}

/// Segments ascend and fill the object from head to footer, each with its index directly behind.
fn check_places(segments: &[SegmentEntry], trailer: &Trailer) -> Result<(), ObjectError> {
    let malformed = |what| Err(ObjectError::Malformed { part: "segments section", what });
    let mut position = HEAD_BYTES as u64;
    for SegmentEntry { segment, .. } in segments {
        let adjacent = segment.position == position && data_range(segment).end <= trailer.footer_position;
        if !adjacent {
            return malformed("segments do not lie one behind another");
        }
        position = index_range(segment).end;
    }
    if position != trailer.footer_position {
        return malformed("the last segment does not end where the footer begins");
    }
    if !segments.windows(2).all(|pair| in_order(&pair[0], &pair[1])) {
        return malformed("order of segments");
    }
    Ok(())
}

/// By partition, then by offset without overlap.
fn in_order(a: &SegmentEntry, b: &SegmentEntry) -> bool {
    a.partition < b.partition || (a.partition == b.partition && a.segment.end <= b.segment.base)
}

fn origin_id(origin: ObjectOrigin) -> u8 {
    match origin {
        ObjectOrigin::Range => 0,
        ObjectOrigin::Rewrite => 1,
        ObjectOrigin::Bulk => 2,
        ObjectOrigin::Derived => 3,
    }
}

fn origin_from_id(id: u8) -> Option<ObjectOrigin> {
    [ObjectOrigin::Range, ObjectOrigin::Rewrite, ObjectOrigin::Bulk, ObjectOrigin::Derived].get(usize::from(id)).copied()
}
