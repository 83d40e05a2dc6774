//! Members of the classic protocol in a consumer group, while an application moves from one protocol to the other (KIP-848, online
//! migration). Their subscription and what they own come with JoinGroup, their assignment goes with SyncGroup, and a rebalance is a
//! heartbeat's error; the server assigns for them as for everybody else.

use std::sync::Arc;

use bytes::Bytes;
use types::{TopicId, TopicPartition};

use super::assignment;
use super::group::ConsumerGroup;
use super::member::{ClassicMember, Current, Member, MemberState, Subscription};
use super::rows;
use crate::deadlines::Timer;
use crate::effects::Context;
use crate::embedded::{self, Assignment, CONSUMER};
use crate::{GroupError, HeartbeatRequest, JoinRequest, Joined, LeavingMember, SyncRequest, Synced, Topics};

/// A classic group of consumers, on its way to the other type or back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClassicConsumers {
    pub(crate) generation: i32,
    pub(crate) members: Vec<ClassicConsumer>,
}

/// A member of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClassicConsumer {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// What it offers, with its subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// What it has.
    pub(crate) assignment: Bytes,
}

impl ConsumerGroup {
    /// A classic group becomes a consumer group, because a member of the new protocol joins; everybody keeps what it has. The group's
    /// classic rows and waiting requests are the caller's. If it is refused, nothing is to be saved.
    pub(crate) fn from_classic(
        id: Arc<str>,
        classic: ClassicConsumers,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<Self, GroupError> {
        let cannot = |why: &str| GroupError::GroupIdNotFound(format!("Cannot upgrade classic group {id} to consumer group because {why}."));
        let mut members = Vec::with_capacity(classic.members.len());
        for member in classic.members {
            let subscription = member.protocols.first().and_then(|(_, metadata)| embedded::read_subscription(metadata.clone()));
            let assignment = embedded::read_assignment(member.assignment.clone());
            let (Some(subscription), Some(Assignment { partitions, has_user_data })) = (subscription, assignment) else {
                return Err(cannot("the embedded consumer protocol is malformed"));
            };
            if has_user_data {
                return Err(cannot(
                    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor \
                     before re-attempting the upgrade",
                ));
            }
            members.push((member, subscription, assignment::from_named(partitions, topics)));
        }
        let mut group = Self::new(id.clone());
        group.epoch = classic.generation;
        group.set_assignment_epoch(context);
        for (member, subscription, mut target) in members {
            let member_id: Arc<str> = member.member_id.as_str().into();
            // An assignor of the clients may have given a partition to two of them: the second one has to give it up.
            target.retain(|topic, partitions| {
                partitions.retain(|partition| group.is_free_for(&member_id, TopicPartition::new(*topic, *partition)));
                !partitions.is_empty()
            });
            let since = |partition: &i32| (*partition, classic.generation);
            let current = Current {
                state: MemberState::Stable,
                epoch: classic.generation,
                previous_epoch: classic.generation,
                assigned: target.iter().map(|(topic, partitions)| (*topic, partitions.iter().map(since).collect())).collect(),
                revoking: Default::default(),
            };
            let subscription = Subscription {
                instance_id: member.instance_id,
                rack_id: subscription.rack_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                topics: subscription.topics,
                regex: String::new(),
                assignor: None,
                classic: Some(ClassicMember { session_timeout_ms: member.session_timeout_ms, protocols: member.protocols }),
            };
            context.save(rows::subscription(&id, &member_id, &subscription));
            context.save(rows::target(&id, &member_id, &target));
            context.save(rows::current(&id, &member_id, &current));
            group.set_subscription(&member_id, subscription);
            group.set_current(&member_id, current);
            if let Some(member) = group.members.get_mut(&member_id) {
                member.target = target;
            }
            group.set_session_timer(&member_id, context);
        }
        group.follow_topics(true, topics, context);
        Ok(group)
    }

    /// What the group is as a classic one, once only members of the classic protocol are left; `None` while there are others, or nobody.
    pub(crate) fn to_classic(&self, topics: &dyn Topics) -> Option<ClassicConsumers> {
        // Asked whenever somebody leaves, and mostly in vain.
        if self.members.values().any(|member| member.subscription.classic.is_none()) {
            return None;
        }
        let mut members = Vec::with_capacity(self.members.len());
        for (member_id, member) in &self.members {
            let Subscription { instance_id, client_id, client_host, rebalance_timeout_ms, classic, .. } = member.subscription.clone();
            let classic = classic?;
            members.push(ClassicConsumer {
                member_id: member_id.to_string(),
                instance_id,
                client_id,
                client_host,
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms,
                assignment: written(&classic, &member.current, topics),
                protocols: classic.protocols,
            });
        }
        (!members.is_empty()).then_some(ClassicConsumers { generation: self.epoch, members })
    }

    /// JoinGroup: answered at once. If it is refused, nothing has changed.
    pub(crate) fn classic_join(
        &mut self,
        request: JoinRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<Joined, GroupError> {
        let is_new = request.member_id.is_empty();
        let member_id: Arc<str> = if is_new { request.new_member_id() } else { request.member_id.clone() }.into();
        let rebalance_timeout_ms = request.time_to_rejoin_ms();
        let limit = context.options.consumer_max_size;
        if limit <= self.members.len() && !self.members.contains_key(&member_id) {
            return Err(GroupError::GroupMaxSizeReached { limit });
        }
        let offered: Vec<_> = request.protocols.into_iter().map(|protocol| (protocol.name, protocol.metadata)).collect();
        let subscription = offered.first().and_then(|(_, metadata)| embedded::read_subscription(metadata.clone()));
        let Some(embedded) = subscription.filter(|_| request.protocol_type == CONSUMER && self.supports(&member_id, &offered)) else {
            return Err(GroupError::InconsistentGroupProtocol);
        };
        if is_new && request.instance_id.is_none() && request.needs_member_id {
            return Err(GroupError::MemberIdRequired { member_id: member_id.to_string() });
        }
        let mut replaced = None;
        if let Some(instance_id) = &request.instance_id {
            match self.instances.get(instance_id) {
                Some(owner) if is_new => replaced = Some(owner.clone()),
                None if is_new => {}
                _ => self.check_member(&member_id, Some(instance_id))?,
            }
        }

        // From here on nothing is refused.
        if let Some(old) = replaced {
            self.replace(&old, &member_id, context);
        }
        let embedded::Subscription { topics: names, owned, rack_id, .. } = embedded;
        let owned = owned.unwrap_or_default();
        let classic = ClassicMember { session_timeout_ms: request.session_timeout_ms, protocols: offered };
        let protocol = classic.protocols.first().map(|(name, _)| name.clone());
        let former = self.members.get(&member_id).map(|member| &member.subscription);
        let subscription = Subscription {
            instance_id: request.instance_id.or_else(|| former.and_then(|former| former.instance_id.clone())),
            rack_id: rack_id.or_else(|| former.and_then(|former| former.rack_id.clone())),
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms,
            topics: names,
            regex: String::new(),
            assignor: None,
            classic: Some(classic),
        };
        let owned: Vec<(TopicId, Vec<i32>)> = assignment::from_named(owned, topics)
            .into_iter()
            .map(|(topic, partitions)| (topic, partitions.into_iter().collect()))
            .collect();
        let resubscribed = self.subscribe(&member_id, Some(subscription), topics, context);
        self.follow_epoch(topics, context);
        self.reconcile_member(&member_id, Some(&owned), resubscribed, topics, context);
        self.set_session_timer(&member_id, context);
        self.set_rebalance_timer(&member_id, context);
        self.stop_awaiting_join(&member_id, context);
        let member = &self.members[&member_id];
        let millis = u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0);
        context.set_timer(&self.id, Timer::ConsumerSync(member_id.clone()), millis);
        Ok(Joined {
            member_id: member_id.to_string(),
            generation: member.current.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol,
            // Nobody leads: the server assigns.
            leader: String::new(),
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// SyncGroup: answered at once.
    pub(crate) fn classic_sync(
        &mut self,
        request: &SyncRequest,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<Synced, GroupError> {
        let member_id = self.check_generation(&request.member_id, request.instance_id.as_deref(), request.generation)?;
        let member = &self.members[&member_id];
        let Some(classic) = &member.subscription.classic else { return Err(self.unknown(&request.member_id)) };
        let protocol = classic.protocols.first().map(|(name, _)| name.clone());
        if request.protocol_type.as_deref().is_some_and(|of_request| of_request != CONSUMER)
            || (request.protocol.is_some() && request.protocol != protocol)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let assignment = written(classic, &member.current, topics);
        // A member that is to give up has joined for this epoch already: first it learns what it has left.
        if member.current.epoch < self.epoch && member.current.state != MemberState::UnrevokedPartitions {
            self.await_join(&member_id, context);
            return Err(GroupError::RebalanceInProgress);
        }
        context.cancel_timer(&self.id, &Timer::ConsumerSync(member_id.clone()));
        self.set_session_timer(&member_id, context);
        Ok(Synced { protocol_type: Some(CONSUMER.to_owned()), protocol, assignment })
    }

    /// Heartbeat: an error tells the member to join again, when there is something to give up or to get.
    pub(crate) fn classic_heartbeat(&mut self, request: &HeartbeatRequest, context: &mut Context<'_>) -> Result<(), GroupError> {
        let member_id = self.check_generation(&request.member_id, request.instance_id.as_deref(), request.generation)?;
        self.set_session_timer(&member_id, context);
        let current = &self.members[&member_id].current;
        let must_join = current.epoch < self.epoch
            || match current.state {
                MemberState::Stable => false,
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(&member_id),
            };
        if must_join {
            self.await_join(&member_id, context);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup, of one member. An administrator names only the instance id, and may put out members of both protocols.
    pub(crate) fn classic_leave(
        &mut self,
        leaving: &LeavingMember,
        topics: &dyn Topics,
        context: &mut Context<'_>,
    ) -> Result<(), GroupError> {
        let owner = leaving.instance_id.as_deref().and_then(|instance_id| self.instances.get(instance_id)).cloned();
        let member_id = match owner {
            Some(owner) if leaving.member_id.is_empty() => owner,
            _ => {
                self.check_member(&leaving.member_id, leaving.instance_id.as_deref())?;
                let member_id: Arc<str> = leaving.member_id.as_str().into();
                if self.members[&member_id].subscription.classic.is_none() {
                    return Err(self.unknown(&member_id));
                }
                member_id
            }
        };
        self.fence(&[member_id], topics, context);
        Ok(())
    }

    fn check_generation(&self, member_id: &str, instance_id: Option<&str>, generation: i32) -> Result<Arc<str>, GroupError> {
        self.check_member(member_id, instance_id)?;
        match self.members.get_key_value(member_id) {
            Some((id, Member { subscription: Subscription { classic: Some(_), .. }, current, .. })) => {
                if current.epoch == generation {
                    Ok(id.clone())
                } else {
                    Err(GroupError::IllegalGeneration)
                }
            }
            _ => Err(self.unknown(member_id)),
        }
    }

    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(self.unknown(member_id)),
                Some(owner) if **owner != *member_id => return Err(super::heartbeat::fenced_instance(member_id, instance_id, owner)),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(self.unknown(member_id)) }
    }

    fn unknown(&self, member_id: &str) -> GroupError {
        GroupError::unknown_member(&self.id, member_id)
    }

    /// Whether the other members of the classic protocol offer one of these too.
    fn supports(&self, member_id: &str, offered: &[(String, Bytes)]) -> bool {
        let others =
            self.members.iter().filter(|(id, _)| ***id != *member_id).filter_map(|(_, member)| member.subscription.classic.as_ref());
        let others: Vec<_> = others.collect();
        offered.iter().any(|(name, _)| others.iter().all(|other| other.protocols.iter().any(|(of_other, _)| of_other == name)))
    }

    /// Whether something that the member shall have is another's still.
    fn waits_for_others(&self, member_id: &Arc<str>) -> bool {
        let member = &self.members[member_id];
        let lacks = |topic: &TopicId, partition: &i32| !member.current.assigned.get(topic).is_some_and(|held| held.contains_key(partition));
        member.target.iter().any(|(topic, partitions)| {
            partitions
                .iter()
                .any(|partition| lacks(topic, partition) && !self.is_free_for(member_id, TopicPartition::new(*topic, *partition)))
        })
    }

    /// The member was told to join, and has its rebalance timeout from the first time on.
    fn await_join(&mut self, member_id: &Arc<str>, context: &mut Context<'_>) {
        if self.awaited.insert(member_id.clone()) {
            let millis = u64::try_from(self.members[member_id].subscription.rebalance_timeout_ms).unwrap_or(0);
            context.set_timer(&self.id, Timer::ConsumerJoin(member_id.clone()), millis);
        }
    }

    /// The member joined, or is gone.
    pub(super) fn stop_awaiting_join(&mut self, member_id: &Arc<str>, context: &mut Context<'_>) {
        if self.awaited.remove(member_id) {
            context.cancel_timer(&self.id, &Timer::ConsumerJoin(member_id.clone()));
        }
    }
}

/// What the member has, in the version of the embedded protocol that it speaks.
fn written(classic: &ClassicMember, current: &Current, topics: &dyn Topics) -> Bytes {
    let metadata = classic.protocols.first().map(|(_, metadata)| metadata.clone()).unwrap_or_default();
    let version = embedded::read_subscription(metadata).map_or(0, |subscription| subscription.version);
    embedded::write_assignment(version, &assignment::to_named(&current.assigned, topics))
}
