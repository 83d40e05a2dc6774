//! A group of classic consumers on its way to a consumer group, or back from one (KIP-848, online migration).

use std::sync::Arc;

use super::member::{Member, Waiter};
use super::{ClassicGroup, State};
use crate::consumer::{ClassicConsumer, ClassicConsumers};
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::embedded::CONSUMER;
use crate::{GroupError, Protocol};

impl ClassicGroup {
    /// The members, if they are consumers and may become members of a consumer group.
    pub(crate) fn consumers(&self, limit: usize) -> Option<ClassicConsumers> {
        if self.is_empty() || !self.is_of_consumers() || limit < self.members.len() {
            return None;
        }
        let member = |(id, member): (&Arc<str>, &Member)| ClassicConsumer {
            member_id: id.to_string(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: member.protocols.iter().map(|protocol| (protocol.name.clone(), protocol.metadata.clone())).collect(),
            assignment: member.assignment.clone(),
        };
        Some(ClassicConsumers { generation: self.generation, members: self.members.iter().map(member).collect() })
    }

    /// The members go on in a group of the other type: whoever waits joins again, there.
    pub(crate) fn dismiss(&mut self, cx: &mut Context<'_>) {
        for (id, member) in &mut self.members {
            member.answer_join(Err(GroupError::RebalanceInProgress), cx);
            member.answer_sync(Err(GroupError::RebalanceInProgress), cx);
            cx.cancel_timer(&self.id, &Timer::Session(id.clone()));
        }
        cx.cancel_timer(&self.id, &Timer::Join);
        cx.cancel_timer(&self.id, &Timer::Sync);
    }

    /// The group that is left when nobody speaks the consumer protocol any more; `None` if its members have nothing in common.
    pub(crate) fn of_consumers(id: Arc<str>, consumers: ClassicConsumers) -> Option<Self> {
        let mut group = Self::new(id);
        group.generation = consumers.generation;
        for consumer in consumers.members {
            let member = Member {
                instance_id: consumer.instance_id,
                client_id: consumer.client_id,
                client_host: consumer.client_host,
                rebalance_timeout_ms: consumer.rebalance_timeout_ms,
                session_timeout_ms: consumer.session_timeout_ms,
                protocols: consumer.protocols.into_iter().map(|(name, metadata)| Protocol { name, metadata }).collect(),
                assignment: consumer.assignment,
                join: Waiter::default(),
                sync: Waiter::default(),
                is_new: false,
            };
            group.add(consumer.member_id.into(), member, CONSUMER);
        }
        group.protocol = Some(group.vote()?);
        group.read_subscriptions();
        Some(group)
    }

    /// Takes up its members' sessions. Nobody assigns for them any more but one of them, so they rebalance.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) {
        self.enter(State::Stable, cx);
        cx.save(self.row());
        for id in self.members.keys() {
            self.renew_session(id, cx);
        }
        self.prepare_rebalance(cx);
    }
}
