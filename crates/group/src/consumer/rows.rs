//! Rows of a consumer group (`docs/formats-group.md`): its epoch, and of each member what it said, has, and shall have.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::assignment::{Held, Partitions};
use super::member::{ClassicMember, Current, MemberState, Subscription};
use crate::row::{Kind, Reader, Writer};
use crate::{AssignorName, Row, RowError};

const VERSION: u8 = 1;

/// The group's epoch, and the hash of the topics that it was raised for.
pub(crate) fn group(group_id: &str, epoch: i32, metadata_hash: u64) -> Row {
    let mut value = Writer::value(VERSION);
    value.i32(epoch);
    value.i64(metadata_hash.cast_signed());
    of_group(Kind::ConsumerGroup, group_id, value)
}

/// The epoch of the target assignment.
pub(crate) fn target_epoch(group_id: &str, epoch: i32) -> Row {
    let mut value = Writer::value(VERSION);
    value.i32(epoch);
    of_group(Kind::TargetEpoch, group_id, value)
}

/// What a member said of itself.
pub(crate) fn subscription(group_id: &str, member_id: &str, subscription: &Subscription) -> Row {
    let mut value = Writer::value(VERSION);
    value.optional_string(subscription.instance_id.as_deref());
    value.optional_string(subscription.rack_id.as_deref());
    value.string(&subscription.client_id);
    value.string(&subscription.client_host);
    value.i32(subscription.rebalance_timeout_ms);
    strings(&mut value, &subscription.topics);
    value.string(&subscription.regex);
    value.optional_string(subscription.assignor.map(AssignorName::as_str));
    value.bool(subscription.classic.is_some());
    if let Some(classic) = &subscription.classic {
        value.i32(classic.session_timeout_ms);
        value.length(classic.protocols.len());
        for (name, metadata) in &classic.protocols {
            value.string(name);
            value.bytes(metadata);
        }
    }
    of_member(Kind::ConsumerMember, group_id, member_id, Some(value))
}

/// What a member has.
pub(crate) fn current(group_id: &str, member_id: &str, current: &Current) -> Row {
    let mut value = Writer::value(VERSION);
    value.u8(current.state as u8);
    value.i32(current.epoch);
    value.i32(current.previous_epoch);
    for held in [&current.assigned, &current.revoking] {
        value.length(held.len());
        for (topic, partitions) in held {
            value.topic_id(*topic);
            value.length(partitions.len());
            for (partition, since) in partitions {
                value.i32(*partition);
                value.i32(*since);
            }
        }
    }
    of_member(Kind::CurrentAssignment, group_id, member_id, Some(value))
}

/// What a member shall have.
pub(crate) fn target(group_id: &str, member_id: &str, target: &Partitions) -> Row {
    let mut value = Writer::value(VERSION);
    value.length(target.len());
    for (topic, partitions) in target {
        value.topic_id(*topic);
        value.length(partitions.len());
        for partition in partitions {
            value.i32(*partition);
        }
    }
    of_member(Kind::TargetAssignment, group_id, member_id, Some(value))
}

/// The names that a regular expression stood for.
pub(crate) fn regex(group_id: &str, regex: &str, topics: &BTreeSet<String>) -> Row {
    let mut value = Writer::value(VERSION);
    strings(&mut value, topics);
    of_member(Kind::Regex, group_id, regex, Some(value))
}

/// Nobody subscribes to the regular expression any more.
pub(crate) fn no_regex(group_id: &str, regex: &str) -> Row {
    of_member(Kind::Regex, group_id, regex, None)
}

/// The member is gone.
pub(crate) fn no_member(group_id: &str, member_id: &str) -> [Row; 3] {
    [Kind::CurrentAssignment, Kind::TargetAssignment, Kind::ConsumerMember].map(|kind| of_member(kind, group_id, member_id, None))
}

/// The group is gone; its members went before.
pub(crate) fn no_group(group_id: &str) -> [Row; 2] {
    [Kind::TargetEpoch, Kind::ConsumerGroup].map(|kind| Row { key: kind.key(group_id).finish(), value: None })
}

/// A row of a consumer group that was read back.
#[derive(Debug)]
pub(crate) enum Loaded {
    Group { epoch: i32, metadata_hash: u64 },
    TargetEpoch(i32),
    Subscription { member_id: String, subscription: Subscription },
    Current { member_id: String, current: Current },
    Target { member_id: String, target: Partitions },
    Regex { regex: String, topics: BTreeSet<String> },
}

impl Loaded {
    /// Reads a row of one of a consumer group's kinds; `key` stands after the group id.
    pub(crate) fn read(kind: Kind, mut key: Reader, value: Bytes) -> Result<Self, RowError> {
        let mut value = kind.open(value, VERSION)?;
        let loaded = match kind {
            Kind::ConsumerGroup => Self::Group { epoch: value.i32()?, metadata_hash: value.i64()?.cast_unsigned() },
            Kind::TargetEpoch => Self::TargetEpoch(value.i32()?),
            Kind::ConsumerMember => Self::Subscription { member_id: key.string()?, subscription: read_subscription(&mut value)? },
            Kind::CurrentAssignment => Self::Current { member_id: key.string()?, current: read_current(&mut value)? },
            Kind::TargetAssignment => Self::Target { member_id: key.string()?, target: read_target(&mut value)? },
            Kind::Regex => Self::Regex { regex: key.string()?, topics: read_strings(&mut value)? },
            Kind::ClassicGroup | Kind::Offset => return Err(RowError::Damaged("it is no row of a consumer group")),
        };
        key.end()?;
        value.end()?;
        Ok(loaded)
    }
}

fn of_group(kind: Kind, group_id: &str, value: Writer) -> Row {
    Row { key: kind.key(group_id).finish(), value: Some(value.finish()) }
}

fn of_member(kind: Kind, group_id: &str, member_id: &str, value: Option<Writer>) -> Row {
    let mut key = kind.key(group_id);
    key.string(member_id);
    Row { key: key.finish(), value: value.map(Writer::finish) }
}

fn strings(value: &mut Writer, strings: &BTreeSet<String>) {
    value.length(strings.len());
    for string in strings {
        value.string(string);
    }
}

fn read_strings(value: &mut Reader) -> Result<BTreeSet<String>, RowError> {
    (0..value.length()?).map(|_| value.string()).collect()
}

fn read_subscription(value: &mut Reader) -> Result<Subscription, RowError> {
    Ok(Subscription {
        instance_id: value.optional_string()?,
        rack_id: value.optional_string()?,
        client_id: value.string()?,
        client_host: value.string()?,
        rebalance_timeout_ms: value.i32()?,
        topics: read_strings(value)?,
        regex: value.string()?,
        assignor: match value.optional_string()? {
            Some(name) => Some(AssignorName::from_name(&name).ok_or(RowError::Damaged("an assignor is not known"))?),
            None => None,
        },
        classic: if value.bool()? { Some(read_classic(value)?) } else { None },
    })
}

fn read_classic(value: &mut Reader) -> Result<ClassicMember, RowError> {
    let session_timeout_ms = value.i32()?;
    let protocols = (0..value.length()?).map(|_| Ok((value.string()?, value.bytes()?))).collect::<Result<_, RowError>>()?;
    Ok(ClassicMember { session_timeout_ms, protocols })
}

fn read_current(value: &mut Reader) -> Result<Current, RowError> {
    Ok(Current {
        state: MemberState::from_number(value.u8()?).ok_or(RowError::Damaged("a member's state is not known"))?,
        epoch: value.i32()?,
        previous_epoch: value.i32()?,
        assigned: read_held(value)?,
        revoking: read_held(value)?,
    })
}

fn read_held(value: &mut Reader) -> Result<Held, RowError> {
    let mut held = Held::new();
    for _ in 0..value.length()? {
        let topic = value.topic_id()?;
        let partitions: BTreeMap<i32, i32> =
            (0..value.length()?).map(|_| Ok((value.i32()?, value.i32()?))).collect::<Result<_, RowError>>()?;
        held.insert(topic, partitions);
    }
    Ok(held)
}

fn read_target(value: &mut Reader) -> Result<Partitions, RowError> {
    let mut target = Partitions::new();
    for _ in 0..value.length()? {
        let topic = value.topic_id()?;
        target.insert(topic, (0..value.length()?).map(|_| value.i32()).collect::<Result<_, RowError>>()?);
    }
    Ok(target)
}
