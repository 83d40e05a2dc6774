//! Coordinator slots and their rows.

use bytes::Bytes;
use types::{BrokerEpoch, BrokerId, CoordinatorKind, CoordinatorSlot, Revision, SaveSequence, SlotEpoch};

use super::{WireError, required, wrong};
use crate::{RowPage, SaveRows, SlotOwner, SlotRows, SlotTaken, TakeSlot, proto};

impl From<CoordinatorSlot> for proto::CoordinatorSlot {
    fn from(value: CoordinatorSlot) -> Self {
        let kind = match value.kind() {
            CoordinatorKind::Group => proto::CoordinatorKind::Group,
            CoordinatorKind::Transaction => proto::CoordinatorKind::Transaction,
        };
        Self { kind: kind.into(), number: value.number().into() }
    }
}

impl TryFrom<proto::CoordinatorSlot> for CoordinatorSlot {
    type Error = WireError;
    fn try_from(value: proto::CoordinatorSlot) -> Result<Self, WireError> {
        let kind = match proto::CoordinatorKind::try_from(value.kind) {
            Ok(proto::CoordinatorKind::Group) => CoordinatorKind::Group,
            Ok(proto::CoordinatorKind::Transaction) => CoordinatorKind::Transaction,
            Ok(proto::CoordinatorKind::Unspecified) | Err(_) => {
                return Err(wrong(format!("coordinator kind {} is unknown", value.kind)));
            }
        };
        let slot = u8::try_from(value.number).ok().and_then(|number| Self::new(kind, number));
        slot.ok_or_else(|| wrong(format!("{kind} slot {} does not exist", value.number)))
    }
}

/// The key and value of a row that is there.
pub fn row_with_value(row: proto::Row) -> Result<(Vec<u8>, Vec<u8>), WireError> {
    Ok((row.key, required(row.value, "value of a row")?))
}

impl From<TakeSlot> for proto::TakeSlotRequest {
    fn from(value: TakeSlot) -> Self {
        Self { broker: value.broker.0, epoch: value.epoch.0, slot: Some(value.slot.into()) }
    }
}

impl TryFrom<proto::TakeSlotRequest> for TakeSlot {
    type Error = WireError;
    fn try_from(value: proto::TakeSlotRequest) -> Result<Self, WireError> {
        Ok(Self { broker: BrokerId(value.broker), epoch: BrokerEpoch(value.epoch), slot: required(value.slot, "slot")?.try_into()? })
    }
}

impl From<SlotTaken> for proto::TakeSlotResponse {
    fn from(value: SlotTaken) -> Self {
        Self { slot_epoch: value.slot_epoch.0, revision: value.revision.0 }
    }
}

impl From<proto::TakeSlotResponse> for SlotTaken {
    fn from(value: proto::TakeSlotResponse) -> Self {
        Self { slot_epoch: SlotEpoch(value.slot_epoch), revision: Revision(value.revision) }
    }
}

impl From<&SlotRows> for proto::SlotRowsRequest {
    fn from(value: &SlotRows) -> Self {
        Self {
            slot: Some(value.slot.into()),
            slot_epoch: value.slot_epoch.0,
            after_key: value.after_key.as_deref().map(<[u8]>::to_vec),
            limit_bytes: value.limit_bytes,
        }
    }
}

impl TryFrom<proto::SlotRowsRequest> for SlotRows {
    type Error = WireError;
    fn try_from(value: proto::SlotRowsRequest) -> Result<Self, WireError> {
        Ok(Self {
            slot: required(value.slot, "slot")?.try_into()?,
            slot_epoch: SlotEpoch(value.slot_epoch),
            after_key: value.after_key.map(Bytes::from),
            limit_bytes: value.limit_bytes,
        })
    }
}

impl From<&RowPage> for proto::RowPage {
    fn from(value: &RowPage) -> Self {
        let row = |(key, value): &(Bytes, Bytes)| proto::Row { key: key.to_vec(), value: Some(value.to_vec()) };
        Self { revision: value.revision.0, rows: value.rows.iter().map(row).collect(), more: value.more }
    }
}

impl TryFrom<proto::RowPage> for RowPage {
    type Error = WireError;
    fn try_from(value: proto::RowPage) -> Result<Self, WireError> {
        let row = |row| row_with_value(row).map(|(key, value)| (Bytes::from(key), Bytes::from(value)));
        Ok(Self { revision: Revision(value.revision), rows: value.rows.into_iter().map(row).collect::<Result<_, _>>()?, more: value.more })
    }
}

impl From<&SaveRows> for proto::SaveRowsRequest {
    fn from(value: &SaveRows) -> Self {
        let row = |(key, value): &(Bytes, Option<Bytes>)| proto::Row { key: key.to_vec(), value: value.as_deref().map(<[u8]>::to_vec) };
        Self {
            broker: value.broker.0,
            epoch: value.epoch.0,
            slot: Some(value.slot.into()),
            slot_epoch: value.slot_epoch.0,
            sequence: value.sequence.0,
            rows: value.rows.iter().map(row).collect(),
        }
    }
}

impl TryFrom<proto::SaveRowsRequest> for SaveRows {
    type Error = WireError;
    fn try_from(value: proto::SaveRowsRequest) -> Result<Self, WireError> {
        Ok(Self {
            broker: BrokerId(value.broker),
            epoch: BrokerEpoch(value.epoch),
            slot: required(value.slot, "slot")?.try_into()?,
            slot_epoch: SlotEpoch(value.slot_epoch),
            sequence: SaveSequence(value.sequence),
            rows: value.rows.into_iter().map(|row| (row.key.into(), row.value.map(Bytes::from))).collect(),
        })
    }
}

impl From<(CoordinatorSlot, SlotOwner)> for proto::SlotImage {
    fn from((slot, owner): (CoordinatorSlot, SlotOwner)) -> Self {
        Self { slot: Some(slot.into()), broker: owner.broker.0, slot_epoch: owner.epoch.0 }
    }
}

impl TryFrom<proto::SlotImage> for (CoordinatorSlot, SlotOwner) {
    type Error = WireError;
    fn try_from(value: proto::SlotImage) -> Result<Self, WireError> {
        let owner = SlotOwner { broker: BrokerId(value.broker), epoch: SlotEpoch(value.slot_epoch) };
        Ok((required(value.slot, "slot")?.try_into()?, owner))
    }
}
