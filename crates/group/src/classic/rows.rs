//! A classic group as a row.

use std::sync::Arc;

use bytes::Bytes;
use types::Timestamp;

use super::member::{Member, Waiter};
use super::{ClassicGroup, State};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::row::{Kind, MAX_EPOCH, Writer};
use crate::{Protocol, Row, RowError};

const VERSION: u8 = 1;

impl ClassicGroup {
    /// The group with its members. Only a group that is stable or empty is saved.
    pub(super) fn row(&self) -> Row {
        let mut value = Writer::value(VERSION);
        value.i32(self.generation);
        value.i64(self.since.unwrap_or(Timestamp::NONE).0);
        value.optional_string(self.protocol_type.as_deref());
        value.optional_string(self.protocol.as_deref());
        value.optional_string(self.leader.as_deref());
        value.length(self.members.len());
        let protocol = self.protocol.as_deref().unwrap_or_default();
        for (id, member) in &self.members {
            value.string(id);
            value.optional_string(member.instance_id.as_deref());
            value.string(&member.client_id);
            value.string(&member.client_host);
            value.i32(member.rebalance_timeout_ms);
            value.i32(member.session_timeout_ms);
            value.bytes(&member.metadata(protocol));
            value.bytes(&member.assignment);
        }
        Row { key: Self::key(&self.id), value: Some(value.finish()) }
    }

    /// The group, which has no members, ends.
    pub(crate) fn end(self, cx: &mut Context<'_>) {
        cx.save(Row { key: Self::key(&self.id), value: None });
        for id in self.pending {
            cx.cancel_timer(&self.id, &Timer::Pending(id));
        }
    }

    fn key(group_id: &str) -> Bytes {
        Kind::ClassicGroup.key(group_id).finish()
    }

    /// The group as it was saved. Nobody waits.
    pub(crate) fn read(id: Arc<str>, value: Bytes) -> Result<Self, RowError> {
        let mut reader = Kind::ClassicGroup.open(value, VERSION)?;
        let mut group = Self::new(id);
        group.generation = reader.i32()?;
        group.since = Some(Timestamp(reader.i64()?)).filter(|since| *since != Timestamp::NONE);
        let protocol_type = reader.optional_string()?;
        group.protocol = reader.optional_string()?;
        let leader: Option<Arc<str>> = reader.optional_string()?.map(Into::into);
        for _ in 0..reader.length()? {
            let id: Arc<str> = reader.string()?.into();
            let member = Member {
                instance_id: reader.optional_string()?,
                client_id: reader.string()?,
                client_host: reader.string()?,
                rebalance_timeout_ms: reader.i32()?,
                session_timeout_ms: reader.i32()?,
                protocols: vec![Protocol { name: group.protocol.clone().unwrap_or_default(), metadata: reader.bytes()? }],
                assignment: reader.bytes()?,
                join: Waiter::default(),
                sync: Waiter::default(),
                is_new: false,
            };
            let is_there = member.instance_id.as_ref().is_some_and(|instance_id| group.static_members.contains_key(instance_id));
            if id.is_empty() {
                return Err(RowError::Damaged("a member has no id"));
            }
            if is_there || group.members.contains_key(&id) {
                return Err(RowError::Damaged("a member, or its instance id, is in its group twice"));
            }
            group.add(id, member, protocol_type.as_deref().unwrap_or_default());
        }
        reader.end()?;
        if !(0..=MAX_EPOCH).contains(&group.generation) {
            return Err(RowError::Damaged("a generation is one that no group comes to"));
        }
        if !group.members.is_empty() {
            if group.protocol.is_none() || !leader.as_ref().is_some_and(|leader| group.members.contains_key(leader)) {
                return Err(RowError::Damaged("a group with members has no protocol or no leader"));
            }
            group.state = State::Stable;
        }
        group.protocol_type = protocol_type;
        group.leader = leader;
        group.read_subscriptions();
        Ok(group)
    }

    /// After the load: sessions begin, and a group that a smaller limit made too large rebalances.
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>) {
        for id in self.members.keys() {
            self.renew_session(id, cx);
        }
        if cx.options.max_size < self.members.len() {
            self.prepare_rebalance(cx);
        }
    }
}
