//! Random schedules of clients that behave, clients that die, time, and coordinators that are lost and loaded again.
//!
//! Whatever happens: a partition has one owner in a generation; committed offsets are those that were committed last; a coordinator that
//! is loaded answers as the lost one did; and when clients behave for long enough, all of them are in one generation in which every
//! partition has an owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use super::harness::{GROUP, Harness, commit_as, fetch_all, join_as, protocol, sync_as};
use crate::{Answer, GroupError, GroupState, JoinRequest, Joined, Options, SyncRequest, Ticket};

const PARTITIONS: u8 = 7;

/// A client that does what a consumer does: joins, syncs, heartbeats, and starts over when it is told to.
#[derive(Default, Debug)]
struct Client {
    number: usize,
    member_id: String,
    is_static: bool,
    starts: usize,
    /// Bumped when it subscribes to something else.
    subscription: usize,
    at: Step,
}

#[derive(Default, Debug)]
enum Step {
    /// It does nothing any more.
    Dead,
    #[default]
    ToJoin,
    Joining(Ticket),
    Joined(Joined),
    Syncing(Ticket, i32),
    Member(i32),
}

#[derive(Clone, Debug)]
enum Event {
    /// The client does the next thing.
    Step(usize),
    /// All of them do.
    StepAll,
    /// It wants another generation.
    Change(usize),
    /// It leaves and starts over.
    Leave(usize),
    /// It is gone without a word; stepping starts it again.
    Die(usize),
    Commit(usize, u8),
    Pass(u64),
    Reload,
}

fn event(clients: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => (0..clients).prop_map(Event::Step),
        5 => Just(Event::StepAll),
        1 => (0..clients).prop_map(Event::Change),
        1 => (0..clients).prop_map(Event::Leave),
        1 => (0..clients).prop_map(Event::Die),
        3 => (0..clients, 0..PARTITIONS).prop_map(|(client, partition)| Event::Commit(client, partition)),
        3 => (0_u64..4_000).prop_map(Event::Pass),
        1 => (4_000_u64..100_000).prop_map(Event::Pass),
        1 => Just(Event::Reload),
    ]
}

struct World {
    group: Harness,
    clients: Vec<Client>,
    /// Who got a partition in a generation.
    owners: HashMap<(i32, u8), String>,
    committed: BTreeMap<i32, i64>,
    next_offset: i64,
}

impl World {
    fn new(clients: usize, initial_rebalance_delay_ms: u64) -> Self {
        let client = |number| Client { number, is_static: number % 3 == 2, ..Client::default() };
        Self {
            group: Harness::new(Options { initial_rebalance_delay_ms, ..Options::default() }),
            clients: (0..clients).map(client).collect(),
            owners: HashMap::new(),
            committed: BTreeMap::new(),
            next_offset: 0,
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Step(client) => self.step(client),
            Event::StepAll => (0..self.clients.len()).for_each(|client| self.step(client)),
            Event::Change(client) => {
                let client = &mut self.clients[client];
                if let Step::Member(_) = client.at {
                    client.subscription += 1;
                    client.at = Step::ToJoin;
                }
            }
            Event::Leave(client) => {
                let client = &mut self.clients[client];
                if !client.member_id.is_empty() {
                    let left = self.group.leave(&[(&client.member_id, client.instance().as_deref())]);
                    drop(left);
                    client.start_over();
                }
            }
            Event::Die(client) => {
                let client = &mut self.clients[client];
                if let Step::Joining(ticket) | Step::Syncing(ticket, _) = client.at {
                    self.group.coordinator.forget(ticket);
                }
                client.at = Step::Dead;
            }
            Event::Commit(client, partition) => self.commit(client, partition),
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

    fn step(&mut self, number: usize) {
        let client = &mut self.clients[number];
        match std::mem::take(&mut client.at) {
            Step::Dead => client.start_over(),
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
                let assignments = share_out(&joined);
                let request = SyncRequest { assignments, instance_id: client.instance(), ..sync_as(&client.member_id, joined.generation) };
                client.at = Step::Syncing(self.group.sync(request), joined.generation);
            }
            Step::Syncing(ticket, generation) => match self.group.answer(ticket) {
                None => client.at = Step::Syncing(ticket, generation),
                Some(Answer::Sync(Ok(synced))) => {
                    for partition in synced.assignment {
                        let owner = self.owners.entry((generation, partition)).or_insert_with(|| client.name());
                        assert_eq!(*owner, client.name(), "partition {partition} in generation {generation}");
                    }
                    client.at = Step::Member(generation);
                }
                Some(Answer::Sync(Err(error))) => client.refused(error),
                Some(Answer::Join(_)) => panic!("the answer of a join for a sync"),
            },
            Step::Member(generation) => match self.group.heartbeat(&client.member_id, generation) {
                Ok(()) => client.at = Step::Member(generation),
                Err(error) => client.refused(error),
            },
        }
    }

    fn commit(&mut self, number: usize, partition: u8) {
        let Step::Member(generation) = self.clients[number].at else { return };
        self.next_offset += 1;
        let request = commit_as(&self.clients[number].member_id, generation, "orders", i32::from(partition), self.next_offset);
        if self.group.commit(request).is_ok() {
            self.committed.insert(i32::from(partition), self.next_offset);
        }
    }

    fn check(&self) {
        let fetched = self.group.fetch_all();
        let found: BTreeMap<_, _> =
            fetched.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| (partition.partition, partition.offset)).collect();
        assert_eq!(found, self.committed);
        let loaded = self.group.loaded();
        assert_eq!(fetch_all(&loaded, GROUP), fetched);
        if let Ok(described) = self.group.coordinator.describe(GROUP)
            && described.state == GroupState::Stable
        {
            assert_eq!(loaded.describe(GROUP), Ok(described));
        }
    }

    /// Everybody behaves from now on.
    fn come_to_rest(&mut self) {
        for _ in 0..600 {
            (0..self.clients.len()).for_each(|client| self.step(client));
            self.group.pass(500);
        }
        let generations: BTreeSet<_> = self
            .clients
            .iter()
            .map(|client| match client.at {
                Step::Member(generation) => generation,
                ref other => panic!("client {} is still {other:?}", client.number),
            })
            .collect();
        assert_eq!(generations.len(), 1);
        let described = self.group.coordinator.describe(GROUP).unwrap();
        assert_eq!((described.state, described.members.len()), (GroupState::Stable, self.clients.len()));
        let mut owned: Vec<u8> = described.members.iter().flat_map(|member| member.assignment.to_vec()).collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>());
    }
}

impl Client {
    fn name(&self) -> String {
        format!("{}", self.number)
    }

    fn instance(&self) -> Option<String> {
        self.is_static.then(|| format!("instance-{}", self.number))
    }

    /// As a process that starts anew.
    fn start_over(&mut self) {
        self.member_id.clear();
        self.starts += 1;
        self.at = Step::ToJoin;
    }

    fn join(&self) -> JoinRequest {
        let topics = format!("orders-{}", self.subscription);
        JoinRequest {
            instance_id: self.instance(),
            fresh_id: format!("{}-{}", self.number, self.starts),
            needs_member_id: !self.is_static,
            protocols: vec![protocol("range", &["orders", &topics])],
            ..join_as(&self.member_id)
        }
    }

    fn refused(&mut self, error: GroupError) {
        match error {
            GroupError::MemberIdRequired { member_id } => self.member_id = member_id,
            GroupError::UnknownMemberId { .. } | GroupError::FencedInstanceId(_) => self.start_over(),
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration => {}
            other => panic!("{other:?}"),
        }
        self.at = Step::ToJoin;
    }
}

/// The leader deals the partitions out.
fn share_out(joined: &Joined) -> Vec<(String, Bytes)> {
    let count = joined.members.len();
    let part = |index: usize| (0..PARTITIONS).filter(move |partition| usize::from(*partition) % count == index).collect::<Vec<_>>();
    joined.members.iter().enumerate().map(|(index, member)| (member.member_id.clone(), part(index).into())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn partitions_have_one_owner_offsets_stay_and_the_group_comes_to_rest(
        clients in 1_usize..7,
        delay in prop_oneof![Just(0_u64), Just(3_000)],
        events in prop::collection::vec(event(6), 0..120),
    ) {
        let mut world = World::new(clients, delay);
        for event in events {
            let client = match event {
                Event::Step(client) | Event::Change(client) | Event::Leave(client) | Event::Die(client) | Event::Commit(client, _) => client,
                Event::StepAll | Event::Pass(_) | Event::Reload => 0,
            };
            if client < clients {
                world.apply(&event);
                world.check();
            }
        }
        world.come_to_rest();
        world.check();
    }
}
