//! Random schedules of consumers of both protocols in one group, which changes its type as they come and go (KIP-848, online migration).
//!
//! Whatever happens: no two members read a partition; committed offsets are those that were committed last; a coordinator that is loaded
//! answers as the lost one did; and when everybody behaves for long enough, the group is stable, of the type that its members speak, and
//! every partition that somebody subscribes to is read by one who does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use types::TopicId;

use super::harness::{GROUP, Harness, commit_as, fetch_all, join_as, sync_as};
use crate::embedded;
use crate::{
    Answer, ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupError, GroupState, GroupType, JoinRequest, Joined, ListFilter, Options,
    Protocol, SyncRequest, Ticket, TopicInfo, Topics,
};

/// Names and partitions. A topic's id is its name's first byte.
const TOPICS: [(&str, i32); 2] = [("a", 4), ("b", 2)];

struct Both;

impl Topics for Both {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        let (name, partitions) = TOPICS.into_iter().find(|(topic, _)| *topic == name)?;
        Some(TopicInfo { id: id(name), name: name.to_owned(), partitions: partitions as u32 })
    }
    fn by_id(&self, wanted: TopicId) -> Option<TopicInfo> {
        TOPICS.into_iter().find(|(topic, _)| id(topic) == wanted).and_then(|(topic, _)| self.by_name(topic))
    }
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(TOPICS.into_iter().map(|(topic, _)| topic))
    }
    fn version(&self) -> u64 {
        1
    }
}

fn id(topic: &str) -> TopicId {
    TopicId::from_bytes([topic.as_bytes()[0]; 16])
}

type Partitions = BTreeSet<(String, i32)>;

fn by_topic(partitions: &Partitions) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

fn one_by_one(named: Vec<(String, Vec<i32>)>) -> Partitions {
    named.into_iter().flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic.clone(), partition))).collect()
}

/// A consumer of one protocol or the other, as the Java client is one.
#[derive(Debug)]
struct Client {
    number: usize,
    speaks: GroupType,
    is_static: bool,
    /// It gives up only what it has to, and keeps reading the rest while it joins (KIP-429). Of the consumer protocol all do.
    is_cooperative: bool,
    /// How many of the topics it subscribes to.
    topics: usize,
    starts: usize,
    member_id: String,
    /// What it reads.
    owned: Partitions,
    /// It was put out, and reads on until it hears of it. A consumer group takes it in again under the id that it had (as Kafka does,
    /// which does not keep the ids that it gives out), and tells it with the sync.
    is_out: bool,
    at: Step,
}

#[derive(Default, Debug)]
enum Step {
    /// It does nothing any more.
    #[default]
    Dead,
    /// Classic.
    ToJoin,
    /// Classic.
    Joining(Ticket),
    /// Classic.
    Joined(Joined),
    /// Classic.
    Syncing(Ticket, i32),
    /// Classic.
    Member(i32),
    /// Consumer.
    Beating {
        epoch: i32,
        /// What it was told to have.
        told: Partitions,
        /// What it last said that it owns, and of its subscription; `None` after a failure: then it says everything.
        said: Option<(Partitions, usize)>,
    },
}

#[derive(Clone, Debug)]
enum Event {
    /// The client does the next thing.
    Step(usize),
    /// All of them do.
    StepAll,
    /// The answer to the client's heartbeat is lost.
    Lose(usize),
    /// The client has given up, and begun to read, what it was told to.
    MoveOn(usize),
    /// It subscribes to something else.
    Change(usize),
    /// It leaves; stepping starts it again. A static member of the consumer protocol may say that it will be back.
    Leave(usize, bool),
    /// It is gone without a word.
    Die(usize),
    /// It is gone without a word, and comes back with the other protocol.
    Switch(usize),
    Commit(usize, usize, i32),
    Pass(u64),
    Reload,
}

fn event(clients: usize) -> impl Strategy<Value = Event> {
    let client = || 0..clients;
    prop_oneof![
        12 => client().prop_map(Event::Step),
        5 => Just(Event::StepAll),
        2 => client().prop_map(Event::Lose),
        6 => client().prop_map(Event::MoveOn),
        1 => client().prop_map(Event::Change),
        1 => (client(), any::<bool>()).prop_map(|(client, for_good)| Event::Leave(client, for_good)),
        1 => client().prop_map(Event::Die),
        2 => client().prop_map(Event::Switch),
        3 => (client(), 0..TOPICS.len(), 0..4).prop_map(|(client, topic, partition)| Event::Commit(client, topic, partition)),
        3 => (0_u64..4_000).prop_map(Event::Pass),
        1 => (4_000_u64..70_000).prop_map(Event::Pass),
        1 => Just(Event::Reload),
    ]
}

struct World {
    group: Harness,
    clients: Vec<Client>,
    committed: BTreeMap<(String, i32), i64>,
    next_offset: i64,
}

impl World {
    /// Clients by what they speak. Static members are eager: a cooperative leader believes what a static member that is away said it owns.
    fn new(clients: &[GroupType], is_cooperative: bool, initial_rebalance_delay_ms: u64, consumer_assignment_interval_ms: u64) -> Self {
        let client = |(number, speaks): (usize, &GroupType)| Client {
            number,
            speaks: *speaks,
            is_static: !is_cooperative && number % 3 == 2,
            is_cooperative,
            topics: TOPICS.len(),
            starts: 0,
            member_id: String::new(),
            owned: Partitions::new(),
            is_out: false,
            at: Step::Dead,
        };
        let options = Options { initial_rebalance_delay_ms, consumer_assignment_interval_ms, ..Options::default() };
        let mut group = Harness::new(options);
        group.topics = &Both;
        Self { group, clients: clients.iter().enumerate().map(client).collect(), committed: BTreeMap::new(), next_offset: 0 }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Step(client) => self.step(client, false),
            Event::StepAll => (0..self.clients.len()).for_each(|client| self.step(client, false)),
            Event::Lose(client) => self.step(client, true),
            Event::MoveOn(client) => self.clients[client].move_on(),
            Event::Change(client) => self.clients[client].change(),
            Event::Leave(client, for_good) => self.leave(client, for_good),
            Event::Die(client) => self.die(client),
            Event::Switch(client) => {
                self.die(client);
                let client = &mut self.clients[client];
                client.speaks = if client.speaks == GroupType::Classic { GroupType::Consumer } else { GroupType::Classic };
            }
            Event::Commit(client, topic, partition) => self.commit(client, TOPICS[topic].0, partition),
            Event::Pass(millis) => self.group.pass(millis),
            Event::Reload => {
                self.group.reload();
                for client in &mut self.clients {
                    // Whoever waited hears that the coordinator is not here any more, and asks again.
                    if let Step::Joining(_) | Step::Syncing(..) = client.at {
                        client.at = Step::ToJoin;
                    }
                }
            }
        }
    }

    fn step(&mut self, number: usize, lost: bool) {
        self.take_step(number, lost);
        self.check_owners();
    }

    fn take_step(&mut self, number: usize, lost: bool) {
        let client = &mut self.clients[number];
        match std::mem::take(&mut client.at) {
            Step::Dead => client.start(),
            Step::ToJoin => client.at = Step::Joining(self.group.join(client.join())),
            Step::Joining(ticket) => match self.group.answer(ticket) {
                None => client.at = Step::Joining(ticket),
                Some(Answer::Join(Ok(joined))) => {
                    client.member_id.clone_from(&joined.member_id);
                    client.at = Step::Joined(joined);
                }
                Some(Answer::Join(Err(error))) => client.refused(error),
                Some(Answer::Sync(_)) => panic!("the answer of a sync for a join"),
            },
            Step::Joined(joined) => {
                let assignments = share_out(&joined, client.is_cooperative);
                let request = SyncRequest { assignments, instance_id: client.instance(), ..sync_as(&client.member_id, joined.generation) };
                client.at = Step::Syncing(self.group.sync(request), joined.generation);
            }
            Step::Syncing(ticket, generation) => match self.group.answer(ticket) {
                None => client.at = Step::Syncing(ticket, generation),
                Some(Answer::Sync(Ok(synced))) => client.assigned(generation, synced.assignment),
                Some(Answer::Sync(Err(error))) => client.refused(error),
                Some(Answer::Join(_)) => panic!("the answer of a join for a sync"),
            },
            Step::Member(generation) => match self.group.heartbeat(&client.member_id, generation) {
                Ok(()) => client.at = Step::Member(generation),
                Err(error) => client.refused(error),
            },
            Step::Beating { epoch, told, said } => {
                let request = client.beat(epoch, said.as_ref());
                let answer = self.group.coordinator.consumer_heartbeat(request, self.group.topics, self.group.now);
                self.group.settle();
                client.at = Step::Beating { epoch, told, said: None };
                if !lost {
                    client.answered(answer);
                }
            }
        }
    }

    fn leave(&mut self, number: usize, for_good: bool) {
        let client = &mut self.clients[number];
        match client.at {
            Step::Beating { .. } => {
                let epoch = if client.is_static && !for_good { -2 } else { -1 };
                let request = client.beat(epoch, Some(&(client.owned.clone(), client.topics)));
                // Who is no member any more hears it.
                let _ = self.group.coordinator.consumer_heartbeat(request, self.group.topics, self.group.now);
                self.group.settle();
            }
            _ if client.member_id.is_empty() => {}
            _ => {
                let left = self.group.leave(&[(&client.member_id, client.instance().as_deref())]);
                assert_eq!(left.len(), 1);
            }
        }
        self.die(number);
    }

    fn die(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if let Step::Joining(ticket) | Step::Syncing(ticket, _) = client.at {
            self.group.coordinator.forget(ticket);
        }
        client.at = Step::Dead;
        client.owned.clear();
    }

    fn commit(&mut self, number: usize, topic: &str, partition: i32) {
        let client = &self.clients[number];
        let (Step::Member(epoch) | Step::Beating { epoch, .. }) = client.at else { return };
        self.next_offset += 1;
        let mut request = commit_as(&client.member_id, epoch, topic, partition, self.next_offset);
        request.topics[0].id = id(topic);
        if self.group.commit(request).is_ok() {
            self.committed.insert((topic.to_owned(), partition), self.next_offset);
        }
    }

    /// The group's type and state, and its members; nothing of a group that does not exist.
    fn described(&self) -> Option<(GroupType, GroupState, BTreeSet<String>)> {
        let listed = self.group.coordinator.list(&ListFilter::default()).pop()?;
        let members = match listed.group_type {
            GroupType::Classic => {
                self.group.coordinator.describe(GROUP).unwrap().members.into_iter().map(|member| member.member_id).collect()
            }
            GroupType::Consumer => {
                let described = self.group.coordinator.consumer_describe(GROUP, &Both).unwrap();
                described.members.into_iter().map(|member| member.member_id).collect()
            }
        };
        Some((listed.group_type, listed.state, members))
    }

    fn check(&mut self) {
        let fetched = self.group.fetch_all();
        let found: BTreeMap<_, _> = fetched
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|it| ((topic.name.clone(), it.partition), it.offset)))
            .collect();
        assert_eq!(found, self.committed);

        let loaded = self.group.loaded();
        assert_eq!(fetch_all(&loaded, GROUP), fetched);
        match self.described() {
            Some((GroupType::Consumer, ..)) => {
                assert_eq!(loaded.consumer_describe(GROUP, &Both), self.group.coordinator.consumer_describe(GROUP, &Both));
            }
            Some((GroupType::Classic, GroupState::Stable, _)) => {
                assert_eq!(loaded.describe(GROUP), self.group.coordinator.describe(GROUP));
            }
            _ => {}
        }
        self.check_owners();
    }

    /// No two members read a partition.
    fn check_owners(&mut self) {
        let members = self.described().map(|(_, _, members)| members).unwrap_or_default();
        for client in &mut self.clients {
            client.is_out = !client.owned.is_empty() && (client.is_out || !members.contains(&client.member_id));
        }
        let mut owners = BTreeMap::new();
        for client in self.clients.iter().filter(|client| !client.is_out) {
            for partition in &client.owned {
                if let Some(other) = owners.insert(partition, client) {
                    panic!("{partition:?} is read by {client:?} and {other:?}");
                }
            }
        }
    }

    /// Everybody behaves from now on, for longer than any session or rebalance takes.
    fn come_to_rest(&mut self) {
        for _ in 0..300 {
            for number in 0..self.clients.len() {
                self.step(number, false);
                self.clients[number].move_on();
            }
            self.group.pass(700);
            self.check_owners();
        }
        let speaks_consumer = self.clients.iter().any(|client| client.speaks == GroupType::Consumer);
        let group_type = if speaks_consumer { GroupType::Consumer } else { GroupType::Classic };
        let members = self.clients.iter().map(|client| client.member_id.clone()).collect();
        assert_eq!(self.described(), Some((group_type, GroupState::Stable, members)), "{:?}", self.clients);
        let mut wanted = Partitions::new();
        let mut owned = Vec::new();
        for client in &self.clients {
            assert!(matches!(client.at, Step::Member(_) | Step::Beating { .. }), "{client:?}");
            let subscribed = client.subscribed();
            assert!(client.owned.iter().all(|(topic, _)| subscribed.contains(&topic.as_str())), "{client:?}");
            owned.extend(client.owned.iter().cloned());
            let partitions =
                |(topic, count): (&str, i32)| (0..count).map(move |partition| (topic.to_owned(), partition)).collect::<Vec<_>>();
            wanted.extend(TOPICS.into_iter().filter(|(topic, _)| subscribed.contains(topic)).flat_map(partitions));
        }
        owned.sort_unstable();
        assert_eq!(owned, wanted.into_iter().collect::<Vec<_>>(), "{:?}", self.clients);
    }
}

impl Client {
    fn instance(&self) -> Option<String> {
        self.is_static.then(|| format!("instance-{}", self.number))
    }

    fn subscribed(&self) -> Vec<&'static str> {
        TOPICS.into_iter().map(|(topic, _)| topic).take(self.topics).collect()
    }

    /// As a process that starts anew.
    fn start(&mut self) {
        self.starts += 1;
        self.owned.clear();
        match self.speaks {
            GroupType::Classic => {
                self.member_id.clear();
                self.at = Step::ToJoin;
            }
            GroupType::Consumer => {
                self.member_id = format!("m-{}-{}", self.number, self.starts);
                self.at = Step::Beating { epoch: 0, told: Partitions::new(), said: None };
            }
        }
    }

    /// Static members do not: a classic group takes the new one of them in without a rebalance, whatever it subscribes to.
    fn change(&mut self) {
        if self.is_static {
            return;
        }
        match self.at {
            Step::Member(_) => self.join_again(),
            Step::Beating { .. } => {}
            _ => return,
        }
        self.topics = TOPICS.len() + 1 - self.topics;
    }

    fn join_again(&mut self) {
        if !self.is_cooperative {
            self.owned.clear();
        }
        self.at = Step::ToJoin;
    }

    /// Only the consumer protocol takes time for it.
    fn move_on(&mut self) {
        if let Step::Beating { told, .. } = &self.at {
            self.owned.clone_from(told);
        }
    }

    fn join(&self) -> JoinRequest {
        let mut metadata = BytesMut::from(&[0, 1][..]);
        let topics = self.subscribed();
        metadata.put_i32(topics.len() as i32);
        for topic in topics {
            metadata.put_i16(topic.len() as i16);
            metadata.put_slice(topic.as_bytes());
        }
        metadata.put_i32(-1);
        // What is owned looks as an assignment does, between its version and its user data.
        let owned = assignment(&self.owned);
        metadata.put_slice(&owned[2..owned.len() - 4]);
        JoinRequest {
            instance_id: self.instance(),
            fresh_id: format!("{}-{}", self.number, self.starts),
            needs_member_id: !self.is_static,
            protocols: vec![Protocol { name: "range".to_owned(), metadata: metadata.freeze() }],
            ..join_as(&self.member_id)
        }
    }

    fn assigned(&mut self, generation: i32, assignment: Bytes) {
        let assigned = one_by_one(embedded::read_assignment(assignment).unwrap().partitions);
        let revoked = !self.owned.is_subset(&assigned);
        (self.owned, self.is_out) = (assigned, false);
        // Who gave something up joins again, so that another one gets it.
        self.at = if revoked { Step::ToJoin } else { Step::Member(generation) };
    }

    /// What a classic request was refused with.
    fn refused(&mut self, error: GroupError) {
        match error {
            GroupError::MemberIdRequired { member_id } => {
                self.member_id = member_id;
                self.at = Step::ToJoin;
            }
            GroupError::UnknownMemberId { .. } | GroupError::FencedInstanceId(_) => self.start(),
            GroupError::RebalanceInProgress => self.join_again(),
            GroupError::IllegalGeneration => {
                // What it had is lost.
                self.owned.clear();
                self.at = Step::ToJoin;
            }
            other => panic!("{other:?} for {self:?}"),
        }
    }

    fn beat(&self, epoch: i32, said: Option<&(Partitions, usize)>) -> ConsumerHeartbeatRequest {
        let owned = || by_topic(&self.owned).into_iter().map(|(topic, partitions)| (id(topic), partitions)).collect();
        let topics = || self.subscribed().into_iter().map(str::to_owned).collect();
        ConsumerHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: self.member_id.clone(),
            member_epoch: epoch,
            instance_id: self.instance(),
            rack_id: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: if said.is_none() { 30_000 } else { -1 },
            subscribed_topics: said.is_none_or(|(_, topics)| *topics != self.topics).then(topics),
            subscribed_regex: None,
            assignor: None,
            owned: said.is_none_or(|(owned, _)| *owned != self.owned).then(owned),
        }
    }

    /// What a consumer heartbeat was answered.
    fn answered(&mut self, answer: Result<ConsumerHeartbeat, GroupError>) {
        let Step::Beating { epoch, told, said } = &mut self.at else { panic!("{self:?} did not beat") };
        match answer {
            Ok(heartbeat) => {
                *epoch = heartbeat.member_epoch;
                if let Some(assignment) = heartbeat.assignment {
                    *told = one_by_one(assignment.into_iter().map(|(topic, it)| (Both.by_id(topic).unwrap().name, it)).collect());
                }
                *said = Some((self.owned.clone(), self.topics));
            }
            // It was put out, and the group may be without members of its protocol since.
            Err(GroupError::UnknownMemberId { .. } | GroupError::FencedMemberEpoch(_)) => self.start(),
            Err(GroupError::GroupIdNotFound(_)) if *epoch != 0 => self.start(),
            // The one before it left without a word: it has to wait for its session to end.
            Err(GroupError::UnreleasedInstanceId(_)) if *epoch == 0 => {}
            Err(other) => panic!("{other:?} for {self:?}"),
        }
    }
}

fn assignment(partitions: &Partitions) -> Bytes {
    embedded::write_assignment(1, &by_topic(partitions).into_iter().map(|(topic, partitions)| (topic.to_owned(), partitions)).collect())
}

/// The leader deals each topic out to its subscribers. If they are cooperative, what one of them owns goes to no other in this generation.
fn share_out(joined: &Joined, is_cooperative: bool) -> Vec<(String, Bytes)> {
    let read = |metadata: &Bytes| embedded::read_subscription(metadata.clone()).unwrap();
    let subscriptions: Vec<_> = joined.members.iter().map(|member| read(&member.metadata)).collect();
    let owned: Vec<_> = subscriptions.iter().map(|subscription| one_by_one(subscription.owned.clone().unwrap_or_default())).collect();
    let mut shares = vec![Partitions::new(); joined.members.len()];
    for (topic, count) in TOPICS {
        let subscribers: Vec<_> = (0..shares.len()).filter(|index| subscriptions[*index].topics.contains(topic)).collect();
        for partition in 0..count {
            let Some(index) = subscribers.get(partition as usize % subscribers.len().max(1)) else { continue };
            let dealt = (topic.to_owned(), partition);
            let is_anothers = |other: usize| other != *index && owned[other].contains(&dealt);
            if !(is_cooperative && (0..shares.len()).any(is_anothers)) {
                shares[*index].insert(dealt);
            }
        }
    }
    joined.members.iter().zip(&shares).map(|(member, share)| (member.member_id.clone(), assignment(share))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn partitions_have_one_owner_while_the_group_changes_its_type_and_it_comes_to_rest(
        clients in prop::collection::vec(prop::sample::select(vec![GroupType::Classic, GroupType::Consumer]), 1..6),
        is_cooperative: bool,
        delay in prop::sample::select(vec![0, 3_000]),
        interval in prop::sample::select(vec![0, 1_000]),
        events in prop::collection::vec(event(5), 0..120),
    ) {
        let mut world = World::new(&clients, is_cooperative, delay, interval);
        for event in events {
            let client = match event {
                Event::Step(client) | Event::Lose(client) | Event::MoveOn(client) | Event::Change(client) | Event::Leave(client, _)
                | Event::Die(client) | Event::Switch(client) | Event::Commit(client, ..) => client,
                Event::StepAll | Event::Pass(_) | Event::Reload => 0,
            };
            if client < clients.len() {
                world.apply(&event);
                world.check();
            }
        }
        world.come_to_rest();
        world.check();
    }
}
