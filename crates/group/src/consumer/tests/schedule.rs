//! Random schedules of clients that beat, lose answers, are slow to give up, leave, crash and come back, while time passes, topics grow
//! and the coordinator restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use types::{TopicId, TopicPartition};

use super::world::*;
use crate::{CommitRequest, ConsumerHeartbeat, ConsumerHeartbeatRequest, GroupError, GroupState};

const TOPICS: [&str; 3] = ["a", "b", "c"];

/// A consumer as the Java client is one: it reads what it owns, and moves towards what it was told last.
#[derive(Debug)]
struct Client {
    member_id: String,
    instance_id: Option<String>,
    topics: Vec<&'static str>,
    regex: Option<&'static str>,
    epoch: i32,
    told: BTreeSet<TopicPartition>,
    owned: BTreeSet<TopicPartition>,
    /// What it last said it owns, and the subscription it last sent; `None` after a failure: then it says everything.
    said: Option<(BTreeSet<TopicPartition>, Vec<&'static str>, Option<&'static str>)>,
    /// What it may have sent commits for, and in which epoch.
    sent: BTreeSet<(i32, TopicPartition)>,
    /// What it was about to take when it said that it did not have it, in a heartbeat whose answer it did not get. The group takes its
    /// word, as Kafka's does: another member may have got it in a later epoch, and it gives it up after the next answer.
    denied: BTreeSet<TopicPartition>,
}

impl Client {
    fn new(member_id: String, instance_id: Option<String>, subscription: Subscription) -> Self {
        let (topics, regex) = subscription;
        Self {
            member_id,
            instance_id,
            topics,
            regex,
            epoch: 0,
            told: BTreeSet::new(),
            owned: BTreeSet::new(),
            said: None,
            sent: BTreeSet::new(),
            denied: BTreeSet::new(),
        }
    }

    fn request(&self, epoch: i32) -> ConsumerHeartbeatRequest {
        let is_full = self.said.is_none();
        let (said_owned, said_topics, said_regex) = self.said.clone().unwrap_or_default();
        let mut request = ConsumerHeartbeatRequest { instance_id: self.instance_id.clone(), ..beat(&self.member_id, epoch) };
        if is_full || said_owned != self.owned {
            let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
            for partition in &self.owned {
                owned.entry(partition.topic).or_default().push(partition.partition);
            }
            request.owned = Some(owned.into_iter().collect());
        }
        if is_full || said_topics != self.topics || said_regex != self.regex {
            request.subscribed_topics = Some(self.topics.iter().map(|topic| (*topic).to_owned()).collect());
            request.subscribed_regex = Some(self.regex.unwrap_or_default().to_owned());
        }
        if is_full {
            request.rebalance_timeout_ms = 20_000;
        }
        request
    }

    fn accept(&mut self, answer: ConsumerHeartbeat) {
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let each =
                assignment.into_iter().flat_map(|(topic, partitions)| partitions.into_iter().map(move |p| TopicPartition::new(topic, p)));
            self.told = each.collect();
            self.denied.retain(|partition| !self.told.contains(partition));
        }
    }

    /// It was put out, or is to start anew: it gives everything up.
    fn start_over(&mut self) {
        (self.epoch, self.said) = (0, None);
        self.told.clear();
        self.owned.clear();
        self.denied.clear();
    }

    fn move_on(&mut self) {
        self.owned = self.told.clone();
    }
}

type Subscription = (Vec<&'static str>, Option<&'static str>);

#[derive(Clone, Debug)]
enum Step {
    /// A client beats, and the answer comes, or is lost.
    Beat {
        client: usize,
        lost: bool,
    },
    /// A client has given up, and begun to read, what it was told to.
    MoveOn {
        client: usize,
    },
    Subscribe {
        client: usize,
        subscription: Subscription,
    },
    /// A client leaves and another one comes in its place. It may say that it leaves, and be a static member that will be back.
    Replace {
        client: usize,
        says_so: bool,
        for_good: bool,
    },
    Pass {
        millis: u64,
    },
    /// A topic is made or grows.
    Grow {
        topic: usize,
    },
    Reload,
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let names = prop::sample::subsequence(TOPICS.to_vec(), 0..=3);
    let regex = prop::option::weighted(0.3, prop::sample::select(vec!["[ab]", "c|z", "z"]));
    (names, regex)
}

fn step(clients: usize) -> impl Strategy<Value = Step> {
    let client = || 0..clients;
    prop_oneof![
        12 => (client(), prop::bool::weighted(0.2)).prop_map(|(client, lost)| Step::Beat { client, lost }),
        6 => client().prop_map(|client| Step::MoveOn { client }),
        1 => (client(), subscription()).prop_map(|(client, subscription)| Step::Subscribe { client, subscription }),
        1 => (client(), any::<bool>(), any::<bool>()).prop_map(|(client, says_so, for_good)| Step::Replace { client, says_so, for_good }),
        3 => prop_oneof![0..3_000_u64, 0..30_000_u64].prop_map(|millis| Step::Pass { millis }),
        1 => (0..TOPICS.len()).prop_map(|topic| Step::Grow { topic }),
        1 => Just(Step::Reload),
    ]
}

struct Run {
    world: World,
    clients: Vec<Client>,
    made: usize,
    partitions: [u32; TOPICS.len()],
}

impl Run {
    fn new(clients: Vec<(bool, Subscription)>, assignment_interval_ms: u64) -> Self {
        let mut world = World::new(&[("a", 3), ("z", 1)]);
        world.options.consumer_assignment_interval_ms = assignment_interval_ms;
        let clients: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(index, (is_static, subscription))| {
                Client::new(format!("m{index}"), is_static.then(|| format!("i{index}")), subscription)
            })
            .collect();
        Self { world, made: clients.len(), clients, partitions: [3, 0, 0] }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Beat { client, lost } => self.beat(*client, *lost),
            Step::MoveOn { client } => self.clients[*client].move_on(),
            Step::Subscribe { client, subscription } => {
                (self.clients[*client].topics, self.clients[*client].regex) = subscription.clone();
            }
            Step::Replace { client, says_so, for_good } => self.replace(*client, *says_so, *for_good),
            Step::Pass { millis } => self.world.pass(*millis),
            Step::Grow { topic } => {
                self.partitions[*topic] += 2;
                self.world.topics.set(TOPICS[*topic], self.partitions[*topic]);
            }
            Step::Reload => self.reload(),
        }
        self.check_owners();
        self.check_commits();
    }

    fn beat(&mut self, client: usize, lost: bool) {
        let client = &mut self.clients[client];
        let request = client.request(client.epoch);
        let answer = self.world.send(&request);
        if lost {
            client.said = None;
            if request.owned.is_some() {
                client.denied.extend(client.told.difference(&client.owned));
            }
            return;
        }
        match answer {
            Ok(answer) => {
                client.said = Some((client.owned.clone(), client.topics.clone(), client.regex));
                client.accept(answer);
            }
            Err(GroupError::UnknownMemberId { .. } | GroupError::FencedMemberEpoch(_)) => client.start_over(),
            // The one before it left without a word: it has to wait for its session to end.
            Err(GroupError::UnreleasedInstanceId(_)) if client.epoch == 0 => {}
            Err(other) => panic!("{other} for {client:?}"),
        }
    }

    fn replace(&mut self, index: usize, says_so: bool, for_good: bool) {
        let client = &mut self.clients[index];
        // A client that is gone reads nothing.
        client.start_over();
        if says_so {
            let epoch = if for_good || client.instance_id.is_none() { -1 } else { -2 };
            let request = ConsumerHeartbeatRequest { instance_id: client.instance_id.clone(), ..beat(&client.member_id, epoch) };
            let _ = self.world.send(&request);
        }
        let subscription = (client.topics.clone(), client.regex);
        self.clients[index] = Client::new(format!("m{}", self.made), client.instance_id.clone(), subscription);
        self.made += 1;
    }

    fn reload(&mut self) {
        if self.world.saved.is_empty() {
            return;
        }
        let before = self.world.describe();
        self.world.reload();
        assert_eq!(self.world.describe(), before);
    }

    /// No two members read one partition, in one epoch. Who was put out and does not know it is no member.
    fn check_owners(&self) {
        let mut owners = BTreeMap::new();
        let members: BTreeSet<_> = self.world.describe().members.into_iter().map(|member| member.member_id).collect();
        for client in self.clients.iter().filter(|client| members.contains(&client.member_id)) {
            for partition in client.owned.difference(&client.denied) {
                let other = owners.insert(*partition, &client.member_id);
                assert_eq!(other, None, "{partition:?} is read by {} too", client.member_id);
            }
        }
    }

    /// A commit that was long on its way, from an epoch that its member has left, changes nothing in a partition that went to another
    /// member meanwhile.
    fn check_commits(&mut self) {
        let members = self.world.describe().members;
        for client in &mut self.clients {
            client.sent.extend(client.owned.iter().map(|partition| (client.epoch, *partition)));
            let Some(member) = members.iter().find(|member| member.member_id == client.member_id) else { continue };
            for (epoch, partition) in client.sent.iter().filter(|(epoch, _)| *epoch < member.member_epoch) {
                let request = CommitRequest {
                    group_id: "g".to_owned(),
                    member_id: client.member_id.clone(),
                    instance_id: client.instance_id.clone(),
                    generation_or_epoch: *epoch,
                    knows_member_epochs: true,
                    retention_ms: None,
                    topics: Vec::new(),
                };
                let may_commit = self.world.group.check_commit(&request).unwrap().check(*partition).is_ok();
                let belongs_to_another = members.iter().filter(|other| other.member_id != client.member_id).any(|other| {
                    other.assignment.iter().any(|held| held.topic_id == partition.topic && held.partitions.contains(&partition.partition))
                });
                assert!(!may_commit || !belongs_to_another, "{client:?} may commit {partition:?} in epoch {epoch}");
            }
        }
    }

    /// Everybody behaves for longer than any session or refresh takes.
    fn settle(&mut self) {
        for _ in 0..120 {
            for client in 0..self.clients.len() {
                self.clients[client].move_on();
                self.beat(client, false);
                self.check_owners();
                self.check_commits();
            }
            self.world.pass(1_000);
        }
        self.clients.iter_mut().for_each(Client::move_on);
        let described = self.world.describe();
        let expected = if self.clients.is_empty() { GroupState::Empty } else { GroupState::Stable };
        assert_eq!(described.state, expected, "{described:?}");
        assert_eq!(described.members.len(), self.clients.len());
        let mut owners: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        for client in &self.clients {
            assert_eq!(client.epoch, described.assignment_epoch);
            client.owned.iter().for_each(|partition| *owners.entry(*partition).or_default() += 1);
        }
        let mut names: BTreeSet<&str> = self.clients.iter().flat_map(|client| client.topics.iter().copied()).collect();
        for regex in self.clients.iter().filter_map(|client| client.regex) {
            names.extend(match regex {
                "[ab]" => &["a", "b"][..],
                "c|z" => &["c", "z"],
                _ => &["z"],
            });
        }
        let counts = TOPICS.iter().copied().zip(self.partitions).chain([("z", 1)]).filter(|(name, _)| names.contains(name));
        let subscribed: BTreeMap<TopicPartition, usize> = counts
            .flat_map(|(name, count)| {
                let topic = TopicId::from_bytes([name.as_bytes()[0]; 16]);
                (0..count as i32).map(move |partition| (TopicPartition::new(topic, partition), 1))
            })
            .collect();
        assert_eq!(owners, subscribed);
    }
}

fn clients() -> impl Strategy<Value = Vec<(bool, Subscription)>> {
    prop::collection::vec((prop::bool::weighted(0.4), subscription()), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_has_two_owners_and_a_group_left_alone_becomes_stable(
        (clients, steps) in clients().prop_flat_map(|clients| {
            let count = clients.len();
            (Just(clients), prop::collection::vec(step(count), 0..120))
        }),
        interval in prop::sample::select(vec![0, 1_000]),
    ) {
        let mut run = Run::new(clients, interval);
        for step in &steps {
            run.take(step);
        }
        run.settle();
    }
}
