//! Decides who coordinates, and what coordinators save.

use std::collections::BTreeMap;

use bytes::Bytes;
use metadata_api::{MAX_SAVE_BYTES, MAX_SLOT_BYTES, MetadataError, RowPage, SaveRows, SlotRows, SlotTaken, TakeSlot, proto, row_bytes};
use prost::Message;
use types::{BrokerEpoch, BrokerId, CoordinatorSlot, Revision, SaveSequence, SlotEpoch};

use super::State;
use super::command::Answer;
use super::decision::{Decision, Reply, next_revision, unfenced};
use super::event::{Event, RowsSaved};
use super::rows::{RowBytes, Rows};

/// Most bytes of rows in one page.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A coordinator slot that somebody took.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Slot {
    pub(crate) epoch: SlotEpoch,
    /// Who took it last, whether its session lives or not.
    pub(crate) broker: BrokerId,
    /// In which broker epoch.
    pub(crate) broker_epoch: BrokerEpoch,
    /// Of this slot epoch.
    pub(crate) last_save: Option<LastSave>,
    pub(crate) rows: Rows,
}

/// The last save of a slot epoch, to answer its repeat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct LastSave {
    pub(crate) sequence: SaveSequence,
    pub(crate) digest: u64,
    pub(crate) revision: Revision,
}

pub(super) fn take(state: &State, request: &TakeSlot) -> Result<Decision, MetadataError> {
    let TakeSlot { broker, epoch: broker_epoch, slot } = *request;
    unfenced(state, broker, broker_epoch)?;
    let last = state.slots.get(&slot).map_or(SlotEpoch(0), |found| found.epoch);
    let epoch = last.0.checked_add(1).map(SlotEpoch).ok_or_else(|| invalid(format!("epochs of {slot} are used up at {last}")))?;
    let answer = SlotTaken { slot_epoch: epoch, revision: next_revision(state) };
    Ok(Decision::event(Reply::Ready(Answer::SlotTaken(answer)), Event::SlotTaken { slot, epoch, broker, broker_epoch }))
}

pub(super) fn page(state: &State, request: &SlotRows) -> Result<Decision, MetadataError> {
    let slot = unfenced_slot(state, request.slot, request.slot_epoch)?;
    let limit = usize::try_from(request.limit_bytes).map_or(MAX_PAGE_BYTES, |limit| limit.min(MAX_PAGE_BYTES));
    let (rows, more) = slot.rows.page(request.after_key.as_deref(), limit);
    let rows = rows.into_iter().map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))).collect();
    Ok(Decision::answer(Answer::RowPage(RowPage { revision: state.revision, rows, more })))
}

pub(super) fn save(state: &State, request: &SaveRows) -> Result<Decision, MetadataError> {
    unfenced(state, request.broker, request.epoch)?;
    let slot = unfenced_slot(state, request.slot, request.slot_epoch)?;
    if (slot.broker, slot.broker_epoch) != (request.broker, request.epoch) {
        let detail = format!(
            "{} was taken by broker {} in its epoch {}, not by broker {} in its epoch {}",
            request.slot, slot.broker, slot.broker_epoch, request.broker, request.epoch
        );
        return Err(invalid(detail));
    }
    let digest = digest(request);
    let last_sequence = slot.last_save.map_or(SaveSequence(0), |last| last.sequence);
    if let Some(last) = slot.last_save.filter(|last| last.sequence == request.sequence) {
        return if last.digest == digest {
            Ok(Decision::answer(Answer::Revision(last.revision)))
        } else {
            Err(invalid(format!("save {} of {} was sent before with other content", request.sequence, request.slot)))
        };
    }
    // An older one that comes late would undo what was saved since.
    if request.sequence.0 != last_sequence.0 + 1 {
        return Err(invalid(format!("save {} of {} follows save {last_sequence}", request.sequence, request.slot)));
    }
    check_rows(request)?;
    let rows: BTreeMap<&Bytes, Option<&Bytes>> = request.rows.iter().map(|(key, value)| (key, value.as_ref())).collect();
    check_room(request.slot, &slot.rows, &rows)?;
    let rows = rows.into_iter().map(|(key, value)| (RowBytes::from(&key[..]), value.map(|value| RowBytes::from(&value[..])))).collect();
    let saved = RowsSaved { slot: request.slot, epoch: request.slot_epoch, sequence: request.sequence, digest, rows };
    Ok(Decision::revision_of(state, Event::RowsSaved(Box::new(saved))))
}

fn invalid(detail: String) -> MetadataError {
    MetadataError::Invalid { detail }
}

/// The slot, if somebody took it and `epoch` is the one in force.
fn unfenced_slot(state: &State, slot: CoordinatorSlot, epoch: SlotEpoch) -> Result<&Slot, MetadataError> {
    let found = state.slots.get(&slot);
    found.filter(|found| found.epoch == epoch).ok_or_else(|| MetadataError::SlotFenced {
        slot,
        epoch,
        current: found.map_or(SlotEpoch(0), |found| found.epoch),
    })
}

/// What makes two saves the same: length and CRC-32C of the message.
fn digest(request: &SaveRows) -> u64 {
    let bytes = proto::SaveRowsRequest::from(request).encode_to_vec();
    (bytes.len() as u64) << 32 | u64::from(crc32c::crc32c(&bytes))
}

fn check_rows(request: &SaveRows) -> Result<(), MetadataError> {
    if request.rows.iter().any(|(key, _)| key.is_empty()) {
        return Err(invalid(format!("save {} of {} has a row without a key", request.sequence, request.slot)));
    }
    let bytes: usize = request.rows.iter().map(|(key, value)| row_bytes(key, value.as_deref())).sum();
    if MAX_SAVE_BYTES < bytes {
        let detail =
            format!("save {} of {} has {bytes} bytes of rows: split it into saves of {MAX_SAVE_BYTES}", request.sequence, request.slot);
        return Err(invalid(detail));
    }
    Ok(())
}

/// A slot that is full takes what makes it no larger.
fn check_room(slot: CoordinatorSlot, held: &Rows, rows: &BTreeMap<&Bytes, Option<&Bytes>>) -> Result<(), MetadataError> {
    let (mut more, mut less) = (0, 0);
    for (key, value) in rows {
        more += value.map_or(0, |value| row_bytes(key, Some(value)) as u64);
        less += held.get(key).map_or(0, |value| row_bytes(key, Some(value)) as u64);
    }
    let bytes = held.bytes() + more - less;
    if less < more && MAX_SLOT_BYTES < bytes {
        let detail = format!("{slot} would hold {bytes} bytes of rows, at most {MAX_SLOT_BYTES} are kept");
        return Err(MetadataError::Unavailable { detail });
    }
    Ok(())
}
