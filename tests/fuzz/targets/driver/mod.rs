//! Drives a group coordinator as the broker does, every call's rows durable before the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use group::{
    Answer, ConsumerHeartbeatRequest, Coordinator, Effects, FetchOffsetsRequest, FetchedOffsets, GroupState, GroupType, JoinRequest,
    Joined, ListFilter, Moment, Now, Options, Protocol, Row, RowError, SyncRequest, Ticket, TopicInfo, Topics,
};
use types::{Timestamp, TopicId};

/// The topics of the golden files.
const TOPICS: [(&str, u8, u32); 2] = [("orders", 1, 3), ("other", 2, 1)];

pub struct TwoTopics;

impl Topics for TwoTopics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        let (name, number, partitions) = TOPICS.into_iter().find(|(topic, ..)| *topic == name)?;
        Some(TopicInfo { id: TopicId::from_bytes([number; 16]), name: name.to_owned(), partitions })
    }
    fn by_id(&self, id: TopicId) -> Option<TopicInfo> {
        TOPICS.into_iter().filter_map(|(topic, ..)| self.by_name(topic)).find(|topic| topic.id == id)
    }
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(TOPICS.into_iter().map(|(topic, ..)| topic))
    }
    fn version(&self) -> u64 {
        1
    }
}

pub struct Driver {
    pub coordinator: Coordinator,
    pub now: Now,
    saved: BTreeMap<Bytes, Bytes>,
    tickets: u64,
}

fn options() -> Options {
    Options { initial_rebalance_delay_ms: 0, consumer_assignment_interval_ms: 0, ..Options::default() }
}

fn load(saved: &BTreeMap<Bytes, Bytes>, now: Now) -> Result<Coordinator, RowError> {
    Coordinator::load(options(), Arc::default(), saved.iter().map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) }), now)
}

impl Driver {
    /// Loads what is there.
    pub fn new(saved: BTreeMap<Bytes, Bytes>) -> Result<Self, RowError> {
        let now = Now { moment: Moment(1_000), wall: Timestamp(1_700_000_000_000) };
        Ok(Self { coordinator: load(&saved, now)?, now, saved, tickets: 0 })
    }

    /// Saves what the last call left behind; who was answered.
    pub fn settle(&mut self) -> Vec<(Ticket, Answer)> {
        let Effects { rows, answers } = self.coordinator.take_effects();
        for Row { key, value } in rows {
            match value {
                Some(value) => self.saved.insert(key, value),
                None => self.saved.remove(&key),
            };
        }
        answers
    }

    pub fn join(&mut self, request: JoinRequest) -> Option<Joined> {
        self.tickets += 1;
        self.coordinator.join(Ticket(self.tickets), request, &TwoTopics, self.now);
        self.settle().into_iter().find_map(|(ticket, answer)| match answer {
            Answer::Join(joined) if ticket == Ticket(self.tickets) => joined.ok(),
            _ => None,
        })
    }

    /// The member's assignment, if it is answered at once.
    pub fn sync(&mut self, request: SyncRequest) -> Option<Bytes> {
        self.tickets += 1;
        self.coordinator.sync(Ticket(self.tickets), request, &TwoTopics, self.now);
        self.settle().into_iter().find_map(|(ticket, answer)| match answer {
            Answer::Sync(synced) if ticket == Ticket(self.tickets) => synced.ok().map(|synced| synced.assignment),
            _ => None,
        })
    }

    /// The member's epoch, if it is let in.
    pub fn beat(&mut self, group_id: &str, member_id: &str, member_epoch: i32) -> Option<i32> {
        let joins = member_epoch == 0;
        let request = ConsumerHeartbeatRequest {
            group_id: group_id.to_owned(),
            member_id: member_id.to_owned(),
            member_epoch,
            instance_id: None,
            rack_id: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: if joins { 30_000 } else { -1 },
            subscribed_topics: joins.then(|| vec!["orders".to_owned()]),
            subscribed_regex: joins.then(|| "o.*".to_owned()),
            assignor: None,
            owned: joins.then(Vec::new),
        };
        let answer = self.coordinator.consumer_heartbeat(request, &TwoTopics, self.now);
        self.settle();
        answer.ok().map(|answer| answer.member_epoch)
    }

    /// Another coordinator takes over.
    pub fn reload(&mut self) {
        self.check();
        self.coordinator = load(&self.saved, self.now).expect("what was saved can be loaded");
    }

    /// What was saved is what there is, but for what is on its way in classic groups.
    pub fn check(&self) {
        let loaded = load(&self.saved, self.now).expect("what was saved can be loaded");
        for listed in self.coordinator.list(&ListFilter::default()) {
            let id = listed.group_id.as_str();
            assert_eq!(fetch(&loaded, id), fetch(&self.coordinator, id));
            match (listed.group_type, listed.state) {
                (GroupType::Consumer, _) => {
                    assert_eq!(loaded.consumer_describe(id, &TwoTopics), self.coordinator.consumer_describe(id, &TwoTopics));
                }
                (GroupType::Classic, GroupState::Stable) => assert_eq!(loaded.describe(id), self.coordinator.describe(id)),
                (GroupType::Classic, _) => {}
            }
        }
    }
}

fn fetch(coordinator: &Coordinator, group_id: &str) -> Option<FetchedOffsets> {
    let request =
        FetchOffsetsRequest { group_id: group_id.to_owned(), member_id: None, member_epoch: -1, topics: None, require_stable: true };
    coordinator.fetch_offsets(&request).ok()
}

/// A classic consumer that offers `metadata`.
pub fn join_as(group_id: &str, member_id: &str, metadata: Bytes) -> JoinRequest {
    JoinRequest {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
        fresh_id: "fresh".to_owned(),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata }],
        needs_member_id: false,
        can_skip_assignment: true,
        reason: None,
    }
}

pub fn sync_as(group_id: &str, member_id: &str, generation: i32, assignment: Bytes) -> SyncRequest {
    SyncRequest {
        group_id: group_id.to_owned(),
        member_id: member_id.to_owned(),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.to_owned(), assignment)],
    }
}

/// The next field of an input, after its length in four bytes; the last one may be shorter than that says, or have none.
pub fn field(input: &mut Bytes) -> Bytes {
    let length = input.try_get_u32_le().map_or(input.len(), |length| length as usize);
    input.split_to(length.min(input.len()))
}
