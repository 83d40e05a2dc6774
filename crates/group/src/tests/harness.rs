//! A driver that saves at once: every call's rows are durable before the next one, and time passes when a test says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use types::{Timestamp, TopicId};

use crate::{
    Answer, CommitPartition, CommitRequest, CommitTopic, Coordinator, FetchOffsetsRequest, FetchedOffsets, GroupError, GroupState,
    HeartbeatRequest, JoinRequest, Joined, LeaveRequest, LeavingMember, LeftMember, Moment, Now, Options, Protocol, Row, SyncRequest,
    Synced, Ticket, TopicInfo, Topics,
};

pub(super) const GROUP: &str = "readers";
/// When tests begin.
pub(super) const START: i64 = 1_700_000_000_000;

pub(super) struct Harness {
    pub(super) coordinator: Coordinator,
    pub(super) options: Options,
    pub(super) now: Now,
    pub(super) saved: BTreeMap<Bytes, Bytes>,
    pub(super) topics: &'static dyn Topics,
    answers: HashMap<Ticket, Answer>,
    tickets: u64,
}

/// Classic groups ask for nothing about topics.
pub(super) struct NoTopics;

impl Topics for NoTopics {
    fn by_name(&self, _: &str) -> Option<TopicInfo> {
        None
    }
    fn by_id(&self, _: TopicId) -> Option<TopicInfo> {
        None
    }
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::empty())
    }
    fn version(&self) -> u64 {
        0
    }
}

/// Without the first delay, which most tests would only wait for.
pub(super) fn prompt() -> Options {
    Options { initial_rebalance_delay_ms: 0, ..Options::default() }
}

impl Harness {
    pub(super) fn new(options: Options) -> Self {
        let now = Now { moment: Moment(1_000), wall: Timestamp(START) };
        let coordinator = Coordinator::new(options.clone());
        Self { coordinator, options, now, saved: BTreeMap::new(), topics: &NoTopics, answers: HashMap::new(), tickets: 0 }
    }

    /// Does what a driver does after a call.
    pub(super) fn settle(&mut self) {
        let effects = self.coordinator.take_effects();
        for Row { key, value } in effects.rows {
            match value {
                Some(value) => self.saved.insert(key, value),
                None => self.saved.remove(&key),
            };
        }
        for (ticket, answer) in effects.answers {
            assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered twice");
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.join(ticket, request, self.topics, self.now);
        self.settle();
        ticket
    }

    pub(super) fn sync(&mut self, request: SyncRequest) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.sync(ticket, request, self.topics, self.now);
        self.settle();
        ticket
    }

    /// The answer, if there is one by now.
    pub(super) fn answer(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answers.remove(&ticket)
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answer(ticket) {
            Some(Answer::Join(Ok(joined))) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub(super) fn join_error(&mut self, ticket: Ticket) -> GroupError {
        match self.answer(ticket) {
            Some(Answer::Join(Err(error))) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> Synced {
        match self.answer(ticket) {
            Some(Answer::Sync(Ok(synced))) => synced,
            other => panic!("not synced: {other:?}"),
        }
    }

    pub(super) fn sync_error(&mut self, ticket: Ticket) -> GroupError {
        match self.answer(ticket) {
            Some(Answer::Sync(Err(error))) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), GroupError> {
        let request = HeartbeatRequest { group_id: GROUP.to_owned(), member_id: member_id.to_owned(), instance_id: None, generation };
        let result = self.coordinator.heartbeat(request, self.now);
        self.settle();
        result
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<LeftMember> {
        let leaving = |(member_id, instance_id): &(&str, Option<&str>)| LeavingMember {
            member_id: (*member_id).to_owned(),
            instance_id: instance_id.map(str::to_owned),
            reason: None,
        };
        let request = LeaveRequest { group_id: GROUP.to_owned(), members: members.iter().map(leaving).collect() };
        let left = self.coordinator.leave(request, self.topics, self.now).unwrap();
        self.settle();
        left.members
    }

    pub(super) fn commit(&mut self, request: CommitRequest) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let results = self.coordinator.commit_offsets(request, self.now);
        self.settle();
        Ok(results?.topics.into_iter().flat_map(|topic| topic.partitions).map(|(_, result)| result).collect())
    }

    /// All committed offsets of the group.
    pub(super) fn fetch_all(&self) -> FetchedOffsets {
        fetch_all(&self.coordinator, GROUP)
    }

    pub(super) fn state(&self) -> GroupState {
        self.coordinator.describe(GROUP).unwrap().state
    }

    /// Lets time pass, and does on the way what is due.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.moment + millis;
        for wakes in 0.. {
            assert!(wakes < 100_000, "the coordinator does not come to rest");
            match self.coordinator.next_deadline() {
                Some(deadline) if deadline <= end => self.set_time(deadline.max(self.now.moment)),
                _ => break,
            }
            self.coordinator.expire(self.topics, self.now);
            self.settle();
        }
        self.set_time(end);
    }

    pub(super) fn set_time(&mut self, moment: Moment) {
        self.now.wall.0 += (moment.0 - self.now.moment.0) as i64;
        self.now.moment = moment;
    }

    /// A coordinator that another process loads from what is saved.
    pub(super) fn loaded(&self) -> Coordinator {
        let rows = self.saved.iter().map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
        Coordinator::load(self.options.clone(), Arc::default(), rows, self.now).unwrap()
    }

    /// The coordinator is lost with everybody who waits, and loaded again.
    pub(super) fn reload(&mut self) {
        self.coordinator = self.loaded();
        self.answers.clear();
    }

    /// The members join (again) and sync; each gets its own id as assignment. Answers the generation.
    pub(super) fn make_stable(&mut self, members: &[&str]) -> i32 {
        let mut tickets: Vec<_> = members.iter().map(|member| self.join(join_as(member))).collect();
        if self.state() == GroupState::PreparingRebalance {
            // The first one of an empty group was in a generation of its own.
            self.joined(tickets[0]);
            tickets[0] = self.join(join_as(members[0]));
        }
        let joined: Vec<_> = tickets.into_iter().map(|ticket| self.joined(ticket)).collect();
        let assignments: Vec<_> = members.iter().map(|member| ((*member).to_owned(), Bytes::copy_from_slice(member.as_bytes()))).collect();
        let generation = joined[0].generation;
        let syncs: Vec<_> = members
            .iter()
            .map(|member| self.sync(SyncRequest { assignments: assignments.clone(), ..sync_as(member, generation) }))
            .collect();
        for (sync, member) in syncs.into_iter().zip(members) {
            assert_eq!(self.synced(sync).assignment, member.as_bytes());
        }
        assert_eq!(self.state(), GroupState::Stable);
        generation
    }

    /// A stable group of as many new members; their ids and the generation.
    pub(super) fn new_group(&mut self, members: usize) -> (Vec<String>, i32) {
        let ids: Vec<_> = (0..members).map(|number| self.new_id(&format!("m{number}"))).collect();
        let names: Vec<_> = ids.iter().map(String::as_str).collect();
        let generation = self.make_stable(&names);
        (ids, generation)
    }

    /// Has a new member be given its id.
    pub(super) fn new_id(&mut self, fresh_id: &str) -> String {
        let ticket = self.join(JoinRequest { fresh_id: fresh_id.to_owned(), needs_member_id: true, ..join_as("") });
        match self.join_error(ticket) {
            GroupError::MemberIdRequired { member_id } => member_id,
            other => panic!("{other}"),
        }
    }
}

/// The bytes of a consumer's subscription to `topics`.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

pub(super) fn protocol(name: &str, topics: &[&str]) -> Protocol {
    Protocol { name: name.to_owned(), metadata: subscription(topics) }
}

pub(super) fn join_as(member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        fresh_id: "fresh".to_owned(),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", &["orders"])],
        needs_member_id: false,
        can_skip_assignment: true,
        reason: None,
    }
}

pub(super) fn sync_as(member_id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: Vec::new(),
    }
}

pub(super) fn commit_as(member_id: &str, generation: i32, topic: &str, partition: i32, offset: i64) -> CommitRequest {
    CommitRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation_or_epoch: generation,
        knows_member_epochs: true,
        retention_ms: None,
        topics: vec![CommitTopic {
            name: topic.to_owned(),
            id: TopicId::default(),
            partitions: vec![CommitPartition { partition, offset, leader_epoch: 3, metadata: Some(format!("note {offset}")) }],
        }],
    }
}

pub(super) fn fetch_all(coordinator: &Coordinator, group_id: &str) -> FetchedOffsets {
    let request =
        FetchOffsetsRequest { group_id: group_id.to_owned(), member_id: None, member_epoch: -1, topics: None, require_stable: false };
    coordinator.fetch_offsets(&request).unwrap()
}
