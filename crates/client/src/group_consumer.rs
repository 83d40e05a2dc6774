//! Reads a topic as a member of a consumer group, in the classic protocol, which every broker speaks. Partitions come from the group's
//! leader; where this member is the leader, by the range assignor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::ErrorCode;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest};
use tokio::time::Instant;

use crate::admin::text;
use crate::groups::{Committer, named, read_assignment, read_topics};
use crate::{Client, ClientError, Connection, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec};

/// How long the group waits for a member that says nothing.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it waits for a member to join again. Below a request's timeout, because the join's answer waits for the others.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(20);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// The protocol type and the assignor that consumers of all languages have.
const CONSUMER: &str = "consumer";
const RANGE: &str = "range";

/// A member of a consumer group that reads one topic.
pub struct GroupConsumer {
    client: Client,
    group_id: String,
    topic: String,
    options: ConsumerOptions,
    /// Where a partition is begun for which the group has committed nothing.
    start: OffsetSpec,
    coordinator: Connection,
    member_id: String,
    generation: i32,
    heartbeat_at: Instant,
    consumer: Consumer,
}

impl GroupConsumer {
    /// Joins the group and waits for partitions.
    ///
    /// # Errors
    /// When the topic does not exist, or the coordinator refuses.
    pub async fn join(
        client: Client,
        group_id: &str,
        topic: &str,
        start: OffsetSpec,
        options: ConsumerOptions,
    ) -> Result<Self, ClientError> {
        client.topic_when_ready(topic).await?;
        let coordinator = client.coordinator_when_ready(group_id).await?;
        let consumer = Consumer::at(client.clone(), topic, BTreeMap::new(), options.clone());
        let mut member = Self {
            group_id: group_id.to_owned(),
            topic: topic.to_owned(),
            options,
            start,
            coordinator,
            member_id: String::new(),
            generation: -1,
            heartbeat_at: Instant::now(),
            consumer,
            client,
        };
        member.rejoin().await?;
        Ok(member)
    }

    /// The next records of the member's partitions; empty when nothing came within [`ConsumerOptions::max_wait`]. To be called at
    /// least every ten seconds: the member's heartbeats go with it. When the group rebalances, records that were given out and not
    /// committed come again, here or at another member.
    ///
    /// # Errors
    /// The coordinator's refusal, or a partition that cannot be read.
    pub async fn poll(&mut self) -> Result<Vec<ConsumerRecord>, ClientError> {
        if self.heartbeat_at <= Instant::now() && !self.is_current().await? {
            self.rejoin().await?;
        }
        if self.consumer.positions().is_empty() {
            tokio::time::sleep(self.options.max_wait).await;
            return Ok(Vec::new());
        }
        self.consumer.poll().await
    }

    /// The offset to be read next, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        self.consumer.positions()
    }

    /// Commits offsets, each the next one to read, again while the group's coordinator moves. Says whether it did: not when the group
    /// rebalances meanwhile, the next poll then joins again.
    ///
    /// # Errors
    /// The coordinator's refusal.
    pub async fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<bool, ClientError> {
        let offsets = BTreeMap::from([(self.topic.clone(), offsets.clone())]);
        let committer = Committer { member_id: &self.member_id, generation: self.generation };
        let mut attempts = self.client.attempts();
        loop {
            match committer.commit(&self.coordinator, &self.group_id, &offsets).await {
                Ok(()) => return Ok(true),
                Err(error) if must_rejoin(&error) => {
                    self.heartbeat_at = Instant::now();
                    return Ok(false);
                }
                Err(error) => attempts.wait_after(error).await?,
            }
            self.coordinator = self.client.coordinator_when_ready(&self.group_id).await?;
        }
    }

    /// Leaves the group, so that the others need not wait for the session to end.
    ///
    /// # Errors
    /// The coordinator's refusal.
    pub async fn leave(self) -> Result<(), ClientError> {
        let version = self.coordinator.version::<LeaveGroupRequest>()?;
        let mut request = LeaveGroupRequest::default().with_group_id(named(&self.group_id));
        if version < 3 {
            request.member_id = text(&self.member_id);
        } else {
            request.members = vec![MemberIdentity::default().with_member_id(text(&self.member_id))];
        }
        let response = self.coordinator.request(version, &request).await?;
        ClientError::check(|| format!("leaving group {}", self.group_id), response.error_code, None)
    }

    /// Tells the coordinator that the member lives. False when it has to join again.
    async fn is_current(&mut self) -> Result<bool, ClientError> {
        let request = HeartbeatRequest::default()
            .with_group_id(named(&self.group_id))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id));
        let heartbeat = async {
            let version = self.coordinator.version::<HeartbeatRequest>()?;
            let response = self.coordinator.request(version, &request).await?;
            ClientError::check(|| format!("heartbeat in group {}", self.group_id), response.error_code, None)
        };
        match heartbeat.await {
            Ok(()) => {
                self.heartbeat_at = Instant::now() + HEARTBEAT_INTERVAL;
                Ok(true)
            }
            Err(error) if must_rejoin(&error) || error.is_retriable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Joins, again until it is in a generation or the time for retries is up, and reads on from what the group has committed. A member
    /// that the coordinator still knows keeps its id: a second one would leave the group waiting for the first.
    async fn rejoin(&mut self) -> Result<(), ClientError> {
        let client = self.client.clone();
        let mut attempts = client.attempts();
        let partitions = loop {
            let error = match self.try_join().await {
                Ok(partitions) => break partitions,
                Err(error) => error,
            };
            if error.code() == Some(ErrorCode::UnknownMemberId) {
                self.member_id.clear();
            }
            if must_rejoin(&error) {
                attempts.wait_after_any(error).await?;
            } else {
                attempts.wait_after(error).await?;
            }
            self.coordinator = client.coordinator_when_ready(&self.group_id).await?;
        };
        self.heartbeat_at = Instant::now() + HEARTBEAT_INTERVAL;
        let mut positions = BTreeMap::new();
        let committed = client.committed_offsets(&self.group_id).await?;
        let committed = committed.get(&self.topic);
        for partition in &partitions {
            if let Some(committed) = committed.and_then(|topic| topic.get(partition)) {
                positions.insert(*partition, committed.offset);
            }
        }
        let missing: Vec<_> =
            partitions.iter().filter(|partition| !positions.contains_key(partition)).map(|partition| (*partition, self.start)).collect();
        if !missing.is_empty() {
            let begun = Consumer::assign(client.clone(), &self.topic, &missing, self.options.clone()).await?;
            positions.extend(begun.positions());
        }
        self.consumer = Consumer::at(client, &self.topic, positions, self.options.clone());
        Ok(())
    }

    /// Joins and syncs once. Returns the member's partitions of its topic.
    async fn try_join(&mut self) -> Result<Vec<i32>, ClientError> {
        let mut joined = self.send_join().await?;
        if ErrorCode::from_code(joined.error_code) == Some(ErrorCode::MemberIdRequired) {
            self.member_id = joined.member_id.to_string();
            joined = self.send_join().await?;
        }
        ClientError::check(|| format!("joining group {}", self.group_id), joined.error_code, None)?;
        self.member_id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let assignments = if leads { self.assign(&joined.members).await? } else { Vec::new() };
        let mut sync = SyncGroupRequest::default()
            .with_group_id(named(&self.group_id))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id))
            .with_assignments(assignments);
        let version = self.coordinator.version::<SyncGroupRequest>()?;
        if 5 <= version {
            sync.protocol_type = Some(text(CONSUMER));
            sync.protocol_name = Some(text(RANGE));
        }
        let synced = self.coordinator.request(version, &sync).await?;
        ClientError::check(|| format!("the assignment of group {}", self.group_id), synced.error_code, None)?;
        let mut assigned = read_assignment(synced.assignment).unwrap_or_default();
        Ok(assigned.remove(&self.topic).unwrap_or_default())
    }

    async fn send_join(&self) -> Result<JoinGroupResponse, ClientError> {
        let version = self.coordinator.version::<JoinGroupRequest>()?;
        let mut request = JoinGroupRequest::default()
            .with_group_id(named(&self.group_id))
            .with_session_timeout_ms(millis(SESSION_TIMEOUT))
            .with_member_id(text(&self.member_id))
            .with_protocol_type(text(CONSUMER))
            .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(text(RANGE)).with_metadata(subscription(&self.topic))]);
        if 1 <= version {
            request.rebalance_timeout_ms = millis(REBALANCE_TIMEOUT);
        }
        self.coordinator.request(version, &request).await
    }

    /// As the leader: every member's part, of all topics that anybody subscribed to.
    async fn assign(&self, members: &[JoinGroupResponseMember]) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut subscribers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for member in members {
            for topic in read_topics(member.metadata.clone()).unwrap_or_default() {
                subscribers.entry(topic).or_default().insert(&member.member_id);
            }
        }
        let mut parts: BTreeMap<&str, BTreeMap<String, Vec<i32>>> =
            members.iter().map(|member| (member.member_id.as_str(), BTreeMap::new())).collect();
        for (topic, subscribers) in subscribers {
            let partitions = match self.client.topic(&topic).await {
                Ok(described) => described.partitions.len(),
                // Somebody subscribed to a topic that is not there yet.
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => continue,
                Err(error) => return Err(error),
            };
            for (member, range) in subscribers.iter().zip(ranges(partitions, subscribers.len())) {
                if !range.is_empty() {
                    parts.entry(member).or_default().insert(topic.clone(), range);
                }
            }
        }
        let parts = parts.into_iter().map(|(member, part)| {
            SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(write_assignment(&part))
        });
        Ok(parts.collect())
    }
}

/// The member has no place in the generation any more.
fn must_rejoin(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId))
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Neighbouring partitions for each of `members`, the first ones one more where it does not come out even.
fn ranges(partitions: usize, members: usize) -> impl Iterator<Item = Vec<i32>> {
    let bound = move |member: usize| member * (partitions / members) + member.min(partitions % members);
    (0..members).map(move |member| (bound(member)..bound(member + 1)).filter_map(|partition| i32::try_from(partition).ok()).collect())
}

/// Kafka's `ConsumerProtocolSubscription` in version 0: the version, the topics, no user data.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_string(&mut bytes, topic);
    bytes.put_i32(-1);
    bytes.freeze()
}

/// Kafka's `ConsumerProtocolAssignment` in version 0: the version, the partitions by topic, no user data.
fn write_assignment(part: &BTreeMap<String, Vec<i32>>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    put_length(&mut bytes, part.len());
    for (topic, partitions) in part {
        put_string(&mut bytes, topic);
        put_length(&mut bytes, partitions.len());
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_length(bytes: &mut BytesMut, length: usize) {
    bytes.put_i32(i32::try_from(length).expect("a group has fewer than 2^31 topics and partitions"));
}

/// Topics have names of at most 249 bytes.
fn put_string(bytes: &mut BytesMut, text: &str) {
    bytes.put_i16(i16::try_from(text.len()).expect("a topic's name is short"));
    bytes.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_in_one_range() {
        let of = |partitions, members| ranges(partitions, members).collect::<Vec<_>>();
        assert_eq!(of(7, 3), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(of(1, 2), [vec![0], vec![]]);
        for (partitions, members) in (0..20).flat_map(|partitions| (1..9).map(move |members| (partitions, members))) {
            let all: Vec<i32> = of(partitions, members).concat();
            assert_eq!(all, (0..partitions as i32).collect::<Vec<_>>(), "{partitions} partitions, {members} members");
        }
    }

    #[test]
    fn what_is_written_for_a_group_is_read_again() {
        let part = BTreeMap::from([("a".to_owned(), vec![0, 5]), ("b".to_owned(), vec![])]);
        assert_eq!(read_assignment(write_assignment(&part)), Some(part));
        assert_eq!(read_topics(subscription("events")), Some(vec!["events".to_owned()]));
    }
}
