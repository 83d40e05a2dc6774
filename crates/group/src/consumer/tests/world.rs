//! A group, its topics, its timers and what was saved of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use types::{Timestamp, TopicId};

use crate::consumer::{ConsumerGroup, ConsumerGroupLoader, Loaded, check_request};
use crate::deadlines::Deadlines;
use crate::effects::{Context, Effects};
use crate::row::Kind;
use crate::{
    ConsumerDescribed, ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupConfigs, GroupError, Moment, Now, Options, Row, TopicInfo, Topics,
};

#[derive(Clone, Default)]
pub(super) struct Names {
    topics: BTreeMap<String, TopicInfo>,
    version: u64,
}

impl Names {
    /// Makes a topic, or gives it more partitions. Its id is its name's first byte.
    pub(super) fn set(&mut self, name: &str, partitions: u32) -> TopicId {
        let id = TopicId::from_bytes([name.as_bytes()[0]; 16]);
        self.topics.insert(name.to_owned(), TopicInfo { id, name: name.to_owned(), partitions });
        self.version += 1;
        id
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.topics.remove(name);
        self.version += 1;
    }
}

impl Topics for Names {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.topics.get(name).cloned()
    }

    fn by_id(&self, id: TopicId) -> Option<TopicInfo> {
        self.topics.values().find(|topic| topic.id == id).cloned()
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.topics.keys().map(String::as_str))
    }

    fn version(&self) -> u64 {
        self.version
    }
}

pub(super) struct World {
    pub(super) group: ConsumerGroup,
    pub(super) topics: Names,
    pub(super) options: Options,
    pub(super) now: u64,
    pub(super) timers: Deadlines,
    pub(super) saved: HashMap<Bytes, Bytes>,
}

impl World {
    /// A group `g`, and topics as `name:partitions`. Every change is assigned at once.
    pub(super) fn new(topics: &[(&str, u32)]) -> Self {
        let mut names = Names::default();
        for (name, partitions) in topics {
            names.set(name, *partitions);
        }
        Self {
            group: ConsumerGroup::new("g".into()),
            topics: names,
            options: Options { consumer_assignment_interval_ms: 0, ..Options::default() },
            now: 1_000_000,
            timers: Deadlines::default(),
            saved: HashMap::new(),
        }
    }

    /// Runs one call and saves what it leaves behind.
    pub(super) fn call<T>(&mut self, call: impl FnOnce(&mut ConsumerGroup, &Names, &mut Context<'_>) -> T) -> T {
        let mut effects = Effects::default();
        let now = Now { moment: Moment(self.now), wall: Timestamp(self.now as i64) };
        let groups = GroupConfigs::new();
        let mut context = Context { now, options: &self.options, groups: &groups, timers: &mut self.timers, effects: &mut effects };
        let answer = call(&mut self.group, &self.topics, &mut context);
        self.save(effects.rows);
        answer
    }

    fn save(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => self.saved.insert(row.key, value),
                None => self.saved.remove(&row.key),
            };
        }
    }

    pub(super) fn send(&mut self, request: &ConsumerHeartbeatRequest) -> Result<ConsumerHeartbeat, GroupError> {
        check_request(request, &self.options)?;
        self.call(|group, topics, context| {
            let answer = group.heartbeat(request, topics, context);
            assert!(answer.is_ok() || context.effects.rows.is_empty(), "a refused request left something to save");
            answer
        })
    }

    /// The time passes, and what is due happens.
    pub(super) fn pass(&mut self, millis: u64) {
        self.now += millis;
        while let Some((_, timer)) = self.timers.pop(Moment(self.now)) {
            self.call(|group, topics, context| group.expire(&timer, topics, context));
        }
    }

    /// Another coordinator takes over.
    pub(super) fn reload(&mut self) {
        let mut loader = ConsumerGroupLoader::default();
        for (key, value) in &self.saved {
            let (kind, group_id, key) = Kind::read(key.clone()).unwrap();
            assert_eq!(group_id, "g");
            loader.add(Loaded::read(kind, key, value.clone()).unwrap());
        }
        self.timers = Deadlines::default();
        let loaded = self.call(|_, _, context| loader.finish(Arc::from("g"), context)).unwrap();
        self.group = loaded;
    }

    pub(super) fn describe(&self) -> ConsumerDescribed {
        self.group.describe(&self.options.consumer_assignors, &self.topics)
    }
}

/// What a member sends that only lives.
pub(super) fn beat(member_id: &str, epoch: i32) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        member_epoch: epoch,
        instance_id: None,
        rack_id: None,
        client_id: "c".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        rebalance_timeout_ms: -1,
        subscribed_topics: None,
        subscribed_regex: None,
        assignor: None,
        owned: None,
    }
}

/// What a member sends that joins.
pub(super) fn join(member_id: &str, topics: &[&str]) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        rebalance_timeout_ms: 30_000,
        subscribed_topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Vec::new()),
        ..beat(member_id, 0)
    }
}

/// What a member sends that joins with a regular expression.
pub(super) fn join_regex(member_id: &str, regex: &str) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest { subscribed_regex: Some(regex.to_owned()), subscribed_topics: None, ..join(member_id, &[]) }
}

/// What a member sends that has given up all but these.
pub(super) fn owns(member_id: &str, epoch: i32, owned: &[(TopicId, &[i32])]) -> ConsumerHeartbeatRequest {
    let owned = owned.iter().map(|(topic, partitions)| (*topic, partitions.to_vec())).collect();
    ConsumerHeartbeatRequest { owned: Some(owned), ..beat(member_id, epoch) }
}

/// The same as a static member.
pub(super) fn by_instance(instance_id: &str, request: ConsumerHeartbeatRequest) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest { instance_id: Some(instance_id.to_owned()), ..request }
}

/// Partition numbers by topic's first letter: `a0 a1`.
pub(super) fn shown(assignment: &[(TopicId, Vec<i32>)]) -> String {
    let each = assignment
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| format!("{}{partition}", char::from(topic.as_bytes()[0]))));
    each.collect::<Vec<_>>().join(" ")
}
