//! Answers: never before the journal has what they say, always within the deadline.

use metadata_api::{GrpcClient, HeartbeatRequest};
use types::{CoordinatorKind, CoordinatorSlot, SaveSequence, SlotEpoch};

use super::*;

/// A journal whose appends fail or hang from some slot on.
struct Stuck {
    inner: MemoryJournal,
    from: u64,
    hangs: bool,
}

#[async_trait]
impl Journal for Stuck {
    async fn append(&self, slot: u64, entry: Bytes) -> Appended {
        if slot < self.from {
            return self.inner.append(slot, entry).await;
        }
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Appended::Unknown { detail: "injected".to_owned() }
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, JournalError> {
        self.inner.read(from, max_bytes).await
    }

    async fn trim(&self, before: u64) -> Result<(), JournalError> {
        self.inner.trim(before).await
    }
}

impl Machine {
    /// A service that can append no more than is in the journal after a broker registered.
    async fn start_stuck(&self, hangs: bool) -> (MetadataService, Broker) {
        let service = self.start().await.unwrap();
        Broker::register(&service).await;
        drop(service);
        let from = self.journal.slots().last().unwrap() + 3;
        let service = self.start_on(Arc::new(Stuck { inner: self.journal.clone(), from, hangs })).await.unwrap();
        let broker = Broker::register(&service).await;
        (service, broker)
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_stops_the_service_and_the_outcome_is_unknown() {
    let machine = Machine::new();
    let (service, broker) = machine.start_stuck(false).await;
    let (write, read) = tokio::join!(
        broker.client.create_topic(create_request("orders")),
        broker.client.segments(TopicPartition::new(TopicId::default(), 0), Offset(0), 1),
    );
    assert!(matches!(&write, Err(MetadataError::Unknown { detail }) if detail.contains("cannot be written: injected")), "{write:?}");
    assert!(matches!(read, Err(MetadataError::Unavailable { .. } | MetadataError::UnknownTopic { .. })), "{read:?}");
    let reason = service.stopped().wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(reason.contains("cannot be written"), "{reason}");
    let later = broker.client.create_topic(create_request("later")).await;
    assert!(matches!(later, Err(MetadataError::Unavailable { .. })), "{later:?}");
    assert!(!machine.events().await.iter().any(|event| matches!(event, Event::TopicCreated { .. })));
}

#[tokio::test(start_paused = true)]
async fn reads_are_answered_only_when_what_they_saw_is_written() {
    let machine = Machine::new();
    let (_service, broker) = machine.start_stuck(false).await;
    let revision = broker.registration.revision;
    let (_, seen) = tokio::join!(
        broker.client.allocate_producer_ids(1),
        broker.client.heartbeat(HeartbeatRequest {
            broker: BrokerId(1),
            epoch: broker.registration.epoch,
            synced: Lsn(0),
            unoffloaded_bytes: 0
        }),
    );
    // It may have been decided before the write; after it, it must not be answered.
    match seen {
        Ok(answer) => assert_eq!(answer.revision, revision),
        Err(err) => assert!(matches!(err, MetadataError::Unavailable { .. }), "{err}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_journal_is_resolved_by_reading() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    for fault in [AppendFault::LostBefore, AppendFault::LostAfter] {
        machine.journal.fail_appends([fault]);
        broker.create(&format!("{fault:?}")).await;
    }
    let created = machine.events().await.iter().filter(|event| matches!(event, Event::TopicCreated { .. })).count();
    assert_eq!(created, 2, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_finds_its_slot_taken_is_deposed_and_answers_nothing() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    let successor = machine.start().await.unwrap();
    let answer = broker.client.create_topic(create_request("orders")).await;
    assert!(matches!(&answer, Err(MetadataError::Unknown { detail }) if detail.contains("deposed")), "{answer:?}");
    assert!(service.stopped().borrow().as_ref().unwrap().contains("deposed"));
    Broker::register(&successor).await.create("orders").await;
}

#[tokio::test(start_paused = true)]
async fn t28_every_call_ends_within_its_deadline() {
    let machine = Machine::new();
    let (_service, broker) = machine.start_stuck(true).await;
    let started = tokio::time::Instant::now();
    let write = broker.client.create_topic(create_request("orders")).await;
    assert!(matches!(&write, Err(MetadataError::Unknown { detail }) if detail.contains("no answer within 15000 ms")), "{write:?}");
    let partition = TopicPartition::new(TopicId::default(), 0);
    let (client, epoch) = (&broker.client, broker.registration.epoch);
    let heartbeat = HeartbeatRequest { broker: BrokerId(1), epoch, synced: Lsn(0), unoffloaded_bytes: 0 };
    let advance = metadata_api::AdvanceLogStart { broker: BrokerId(1), epoch, partition, log_start: Offset(0) };
    let topic = TopicId::default();
    let grow = metadata_api::CreatePartitions { topic, total: 2, durability: Durability::Wal, validate_only: false };
    let alter = metadata_api::AlterTopicConfigs { topic, expected: Revision(0), configs: BTreeMap::new() };
    let resource = metadata_api::ConfigResource::AllBrokers;
    let set = metadata_api::AlterResourceConfigs { resource, expected: Revision(0), configs: BTreeMap::new() };
    let slot = CoordinatorSlot::new(CoordinatorKind::Group, 0).unwrap();
    let take = metadata_api::TakeSlot { broker: BrokerId(1), epoch, slot };
    let rows = metadata_api::SlotRows { slot, slot_epoch: SlotEpoch(1), after_key: None, limit_bytes: 1 };
    let (slot_epoch, sequence) = (SlotEpoch(1), SaveSequence(1));
    let save = metadata_api::SaveRows { broker: BrokerId(1), epoch, slot, slot_epoch, sequence, rows: Vec::new() };
    let calls = tokio::join!(
        async { client.register_broker(register_request()).await.err() },
        async { client.heartbeat(heartbeat).await.err() },
        async { client.resign_broker(BrokerId(1), epoch).await.err() },
        async { client.publish(broker.request(1, partition, NOW)).await.err() },
        async { client.create_partitions(grow).await.err() },
        async { client.delete_topic(topic).await.err() },
        async { client.alter_topic_configs(alter).await.err() },
        async { client.alter_resource_configs(set).await.err() },
        async { client.alter_client_quotas(metadata_api::AlterClientQuotas::default()).await.err() },
        async { client.advance_log_start(advance).await.err() },
        async { client.elect_unclean(vec![partition]).await.err() },
        async { client.allocate_producer_ids(1).await.err() },
        async { client.take_slot(take).await.err() },
        async { client.save_rows(save).await.err() },
        async { client.slot_rows(rows).await.err() },
        async { client.partition_states(BrokerId(1), epoch, vec![partition]).await.err() },
        async { client.segments(partition, Offset(0), 1).await.err() },
        async { client.segment_at(partition, Timestamp(0)).await.err() },
        async { client.segment_of_max_timestamp(partition).await.err() },
    );
    let unknown = |err: Option<MetadataError>| assert!(matches!(err, Some(MetadataError::Unknown { .. })), "{err:?}");
    let unavailable = |err: Option<MetadataError>| assert!(matches!(err, Some(MetadataError::Unavailable { .. })), "{err:?}");
    let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s) = calls;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n].into_iter().for_each(unknown);
    [o, p, q, r, s].into_iter().for_each(unavailable);
    assert_eq!(started.elapsed(), machine.options.deadline * 2);
}

#[tokio::test(start_paused = true)]
async fn a_step_of_many_partitions_lies_in_parts_and_counts_when_the_last_is_in() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    let slots = machine.journal.slots().len();
    let request = |name| CreateTopic { partitions: 40_000, ..create_request(name) };
    broker.client.create_topic(request("large")).await.unwrap();
    assert_eq!(machine.journal.slots().len(), slots + 2);
    assert_eq!(machine.state().await.topics.values().next().unwrap().partitions, 40_000);
    drop(service);

    // Of the next step in parts only the first is written.
    let from = machine.journal.slots().last().unwrap() + 4;
    let service = machine.start_on(Arc::new(Stuck { inner: machine.journal.clone(), from, hangs: false })).await.unwrap();
    let broker = Broker::register(&service).await;
    let cut = broker.client.create_topic(request("cut")).await;
    assert!(matches!(cut, Err(MetadataError::Unknown { .. })), "{cut:?}");
    assert_eq!(*machine.journal.slots().last().unwrap(), from - 1);
    for _ in 0..2 {
        let service = machine.start().await.unwrap();
        let again = service.client().image().wait_for(|image| Revision(0) < image.revision).await.unwrap().clone();
        assert!(again.topic_named("large").is_some() && again.topic_named("cut").is_none());
    }
}

/// A client whose brokers live elsewhere.
fn elsewhere(service: &MetadataService) -> Arc<dyn MetadataClient> {
    let server = server(&service.handle, &service.feed, &service.random, false);
    Arc::new(GrpcClient::over(server, service.deadline()))
}

#[tokio::test(start_paused = true)]
async fn r26_a_silent_broker_elsewhere_loses_its_session_and_a_heard_one_keeps_it() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let local = Broker::register(&service).await;
    let client = elsewhere(&service);
    let remote = |broker, log| RegisterBroker { broker: BrokerId(broker), wal: WalId::from_bytes([log; 16]), ..register_request() };
    let heard = client.register_broker(remote(2, 2)).await.unwrap();
    client.register_broker(remote(3, 3)).await.unwrap();
    for _ in 0..20 {
        pass(Duration::from_millis(500)).await;
        let beat = HeartbeatRequest { broker: BrokerId(2), epoch: heard.epoch, synced: Lsn(0), unoffloaded_bytes: 0 };
        client.heartbeat(beat).await.unwrap();
    }
    let alive: Vec<_> = machine.state().await.brokers.into_iter().map(|(id, broker)| (id.0, broker.alive)).collect();
    // The restart that this looks through ends the session within the process.
    assert_eq!(alive, [(1, false), (2, true), (3, false)]);
    let image = local.client.image();
    let shown: Vec<_> = image.borrow().brokers.values().map(|broker| (broker.id.0, broker.alive)).collect();
    assert_eq!(shown, [(1, true), (2, true), (3, false)]);
}

#[tokio::test(start_paused = true)]
async fn r26_expiry_drains_queued_heartbeats_first() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let client = elsewhere(&service);
    let session = client.register_broker(register_request()).await.unwrap();
    // The machine was suspended: everybody seems silent, and heartbeats wait in the queue.
    machine.clock.advance(Duration::from_secs(600));
    let beat = HeartbeatRequest { broker: BrokerId(1), epoch: session.epoch, synced: Lsn(0), unoffloaded_bytes: 0 };
    let expire = crate::state::Command::ExpireBroker { broker: BrokerId(1), epoch: session.epoch };
    let (beaten, expired) = tokio::join!(client.heartbeat(beat), async {
        tokio::task::yield_now().await;
        service.handle.call(expire).await
    });
    beaten.unwrap();
    expired.unwrap();
    assert!(machine.state().await.brokers[&BrokerId(1)].alive);
}

#[tokio::test(start_paused = true)]
async fn a_new_server_grants_everyone_elsewhere_a_full_session() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    elsewhere(&service).register_broker(register_request()).await.unwrap();
    drop(service);
    pass(Duration::from_secs(600)).await;
    let _service = machine.start().await.unwrap();
    pass(Duration::from_millis(2900)).await;
    assert!(machine.state().await.brokers[&BrokerId(1)].alive);
    pass(Duration::from_secs(2)).await;
    assert!(!machine.state().await.brokers[&BrokerId(1)].alive);
}

#[tokio::test(start_paused = true)]
async fn stopping_in_order_says_so() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let client = service.client();
    service.stop().await;
    assert_eq!(service.stopped().borrow().as_deref(), Some("asked to stop"));
    let late = client.allocate_producer_ids(1).await;
    assert!(matches!(late, Err(MetadataError::Unavailable { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn segments_are_counted_before_the_publish_is_answered_and_again_after_a_restart() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    assert_eq!(service.segments(), 0);
    let mut broker = Broker::register(&service).await;
    let topic = broker.create("orders").await;
    for number in 1..=3 {
        broker.add(&machine, number, topic, 0).await;
        assert_eq!(service.segments(), number);
    }
    drop(service);
    assert_eq!(machine.start().await.unwrap().segments(), 3);
}
