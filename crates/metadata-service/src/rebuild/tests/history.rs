//! Any history, rebuilt at any moment from either snapshot: the index is the live one, and the brokers' logs go on from it.

use std::collections::BTreeMap;

use metadata_api::{
    AdvanceLogStart, AlterClientQuotas, AlterResourceConfigs, AlterTopicConfigs, ClientQuotaAlteration, ClientQuotaEntity, ConfigResource,
    CreatePartitions, CreateTopic, DurabilityChange, EnforceDurability, QuotaEntityName, QuotaValue,
};
use proptest::prelude::*;
use types::{BrokerId, Durability, Offset, Revision};

use super::life::{Life, partition, topic};
use crate::state::{Command, State};

#[derive(Clone, Debug)]
enum Step {
    Register { broker: i32, log: u8 },
    Return { broker: i32 },
    End { broker: i32, in_order: bool },
    Create { topic: u8, partitions: i32, object: bool },
    Grow { topic: u8, total: i32 },
    Alter { topic: u8, value: u8 },
    Configure { value: Option<u8> },
    Limit { client: u8, value: Option<u8> },
    Enforce { broker: i32, partition: (u8, i32), object: bool },
    Delete { topic: u8 },
    Append { broker: i32, partition: (u8, i32), records: i64, producer: i64 },
    Seal { broker: i32 },
    Upload { broker: i32, index: usize },
    Publish { broker: i32, is_heard: bool },
    AdvanceLogStart { broker: i32, partition: (u8, i32), log_start: i64 },
    Elect { partition: (u8, i32) },
    AllocateProducerIds,
    Snapshot,
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..3_i32;
    let id = || (1..4_u8, 0..2_i32);
    prop_oneof![
        2 => (broker(), 1..4_u8).prop_map(|(broker, log)| Step::Register { broker, log }),
        3 => broker().prop_map(|broker| Step::Return { broker }),
        1 => (broker(), any::<bool>()).prop_map(|(broker, in_order)| Step::End { broker, in_order }),
        4 => (1..4_u8, 1..3_i32, any::<bool>()).prop_map(|(topic, partitions, object)| Step::Create { topic, partitions, object }),
        1 => (1..4_u8, 1..3_i32).prop_map(|(topic, total)| Step::Grow { topic, total }),
        1 => (1..4_u8, any::<u8>()).prop_map(|(topic, value)| Step::Alter { topic, value }),
        1 => any::<Option<u8>>().prop_map(|value| Step::Configure { value }),
        1 => (0..3_u8, any::<Option<u8>>()).prop_map(|(client, value)| Step::Limit { client, value }),
        1 => (broker(), id(), any::<bool>()).prop_map(|(broker, partition, object)| Step::Enforce { broker, partition, object }),
        1 => (1..4_u8).prop_map(|topic| Step::Delete { topic }),
        16 => (broker(), id(), 1..5_i64, 1..4_i64)
            .prop_map(|(broker, partition, records, producer)| Step::Append { broker, partition, records, producer }),
        10 => broker().prop_map(|broker| Step::Seal { broker }),
        10 => (broker(), 0..4_usize).prop_map(|(broker, index)| Step::Upload { broker, index }),
        10 => (broker(), prop::bool::weighted(0.7)).prop_map(|(broker, is_heard)| Step::Publish { broker, is_heard }),
        2 => (broker(), id(), 0..30_i64)
            .prop_map(|(broker, partition, log_start)| Step::AdvanceLogStart { broker, partition, log_start }),
        1 => id().prop_map(|partition| Step::Elect { partition }),
        1 => Just(Step::AllocateProducerIds),
        2 => Just(Step::Snapshot),
        2 => Just(Step::Sweep),
    ]
}

fn act(life: &mut Life, step: Step) {
    life.now += 1000;
    let epoch = |life: &Life, broker| life.state.brokers.get(&BrokerId(broker)).map(|found| found.epoch).unwrap_or_default();
    match step {
        Step::Register { broker, log } => life.register(broker, 10 * broker as u8 + log),
        Step::Return { broker } => life.come_back(broker),
        Step::End { broker, in_order } => life.end(broker, in_order),
        Step::Create { topic: number, partitions, object } => {
            let request = CreateTopic {
                name: format!("t{number}"),
                partitions,
                replication_factor: 1,
                configs: BTreeMap::new(),
                durability: if object { Durability::Object } else { Durability::Wal },
                validate_only: false,
            };
            // An id is of one topic for good.
            let generation = life.created(number);
            life.run(Command::CreateTopic { request, topic: topic(number, generation) });
        }
        Step::Grow { topic: number, total } => {
            let Some(topic) = life.named(number) else { return };
            life.run(Command::CreatePartitions(CreatePartitions { topic, total, durability: Durability::Wal, validate_only: false }));
        }
        Step::Alter { topic: number, value } => {
            let Some(topic) = life.named(number) else { return };
            let expected = life.state.topics[&topic].config_revision;
            let configs = BTreeMap::from([("retention.ms".to_owned(), value.to_string())]);
            life.run(Command::AlterTopicConfigs(AlterTopicConfigs { topic, expected, configs }));
        }
        Step::Configure { value } => {
            let resource = ConfigResource::AllBrokers;
            let expected = life.state.configs.get(&resource).map_or(Revision(0), |set| set.revision);
            let configs = value.map(|value| ("log.retention.ms".to_owned(), value.to_string())).into_iter().collect();
            life.run(Command::AlterResourceConfigs(AlterResourceConfigs { resource, expected, configs }));
        }
        Step::Limit { client, value } => {
            let value = value.and_then(|value| QuotaValue::new(value.into()));
            let key = || "producer_byte_rate".to_owned();
            let alteration = ClientQuotaAlteration {
                entity: ClientQuotaEntity::User(QuotaEntityName::Named(client.to_string())),
                set: value.map(|value| (key(), value)).into_iter().collect(),
                removed: value.is_none().then(key).into_iter().collect(),
            };
            life.run(Command::AlterClientQuotas(AlterClientQuotas { alterations: vec![alteration] }));
        }
        Step::Enforce { broker, partition: (number, index), object } => {
            let Some(topic) = life.named(number) else { return };
            let change = DurabilityChange {
                partition: partition(topic, index),
                level: if object { Durability::Object } else { Durability::Wal },
                config_revision: life.state.topics[&topic].config_revision,
                log_end: Offset::ZERO,
            };
            let request = EnforceDurability { broker: BrokerId(broker), epoch: epoch(life, broker), changes: vec![change] };
            life.run(Command::EnforceDurability(request));
        }
        Step::Delete { topic: number } => {
            let Some(topic) = life.named(number) else { return };
            life.run(Command::DeleteTopic(topic));
        }
        Step::Append { broker, partition: (number, index), records, producer } => {
            let Some(topic) = life.named(number) else { return };
            life.append(broker, partition(topic, index), records, producer);
        }
        Step::Seal { broker } => life.seal(broker),
        Step::Upload { broker, index } => life.upload(broker, index),
        Step::Publish { broker, is_heard } => life.publish(broker, is_heard),
        Step::AdvanceLogStart { broker, partition: (number, index), log_start } => {
            let Some(topic) = life.named(number) else { return };
            let (epoch, partition) = (epoch(life, broker), partition(topic, index));
            let request = AdvanceLogStart { broker: BrokerId(broker), epoch, partition, log_start: Offset(log_start) };
            life.run(Command::AdvanceLogStart(request));
        }
        Step::Elect { partition: (number, index) } => {
            let Some(topic) = life.named(number) else { return };
            life.run(Command::ElectUnclean(vec![partition(topic, index)]));
        }
        Step::AllocateProducerIds => drop(life.run(Command::AllocateProducerIds { count: 10 })),
        Step::Snapshot => life.snapshot(),
        Step::Sweep => life.sweep(),
    }
}

/// What the lost journal gave out is never given out again.
fn check_counters(rebuilt: &State, live: &State) {
    assert!(live.revision < rebuilt.revision && live.next_producer_id < rebuilt.next_producer_id);
    assert!(live.registered.is_subset(&rebuilt.registered) || live.revision < rebuilt.revision);
    for (id, partition) in live.shards.iter().flat_map(|shard| &shard.partitions) {
        let rebuilt = rebuilt.partition(*id).unwrap();
        assert!(partition.leader_epoch < rebuilt.leader_epoch, "{id}");
        assert!(partition.log_start <= rebuilt.log_start, "{id}");
        assert!(rebuilt.owned_from <= partition.owned_from, "{id}: what the log holds is still accepted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn r15_a_rebuild_at_any_moment_is_the_live_index_and_every_log_goes_on_from_it(steps in prop::collection::vec(step(), 1..150)) {
        let mut life = Life::new();
        for step in steps {
            act(&mut life, step);
        }
        let none = State::default();
        let mut live = life.clone();
        live.settle();
        // The newest snapshot, and the one before, in case the newest is damaged.
        for base in life.snapshots.iter().chain(life.snapshots.is_empty().then_some(&none)) {
            let (mut rebuilt, report) = life.rebuilt(base.clone());
            check_counters(&rebuilt.state, &life.state);
            assert_eq!((&report.unknown_topics[..], &report.holes[..], &report.misfits[..]), (&[][..], &[][..], &[][..]));
            assert_eq!(rebuilt.state.configs, life.state.configs);
            assert_eq!(rebuilt.state.client_quotas, life.state.client_quotas);
            let mut derived = rebuilt.state.clone();
            derived.derive();
            assert!(derived == rebuilt.state);
            rebuilt.settle();
            assert_eq!(rebuilt.visible(), live.visible(), "from revision {}", base.revision);
            // Rebuilt once more: nothing is counted twice.
            let again = rebuilt.state.revision;
            let (mut twice, _) = rebuilt.rebuilt(rebuilt.state.clone());
            assert!(again < twice.state.revision);
            twice.settle();
            assert_eq!(twice.visible(), live.visible());
            assert!(Revision(1 << 32) < twice.state.revision);
        }
    }
}
