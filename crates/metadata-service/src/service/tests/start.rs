//! From journal and store to a service that leads, or a refusal.

use store::{ClaimError, Operation, faults::Fault, read_marker};

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_start_makes_a_cluster_and_claims_the_store() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    assert_eq!(read_marker(machine.store.as_ref()).await.unwrap().unwrap().cluster, service.cluster());
    let created = Event::ClusterCreated { cluster: service.cluster() };
    assert_eq!(machine.events().await, [created, Event::LeaderStarted, Event::StoreClaimed]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_brings_back_what_was_answered() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    let first = broker.registration.epoch;
    let ids = broker.client.allocate_producer_ids(10).await.unwrap();
    let cluster = service.cluster();
    drop(service);

    let service = machine.start().await.unwrap();
    assert_eq!(service.cluster(), cluster);
    let broker = Broker::register(&service).await;
    assert!(first < broker.registration.epoch);
    assert_eq!(broker.registration.last_published, Lsn(10));
    assert_eq!(broker.registration.partitions[0].next_offset, Offset(10));
    assert_eq!(broker.client.segments(orders, Offset(0), 10).await.unwrap().segments.len(), 1);
    assert_eq!(broker.client.allocate_producer_ids(1).await.unwrap(), ids.end..ids.end + 1);
    assert_eq!(broker.client.create_topic(create_request("orders")).await, Err(MetadataError::TopicExists { name: "orders".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn r26_a_session_within_the_former_process_is_over_after_a_restart() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    drop(service);
    let service = machine.start().await.unwrap();
    let image = service.client().image().wait_for(|image| Revision(0) < image.revision).await.unwrap().clone();
    assert!(!image.brokers[&BrokerId(1)].alive);
    let refused = service.client().publish(broker.request(1, TopicPartition::default(), NOW)).await;
    let epoch = broker.registration.epoch;
    assert_eq!(refused, Err(MetadataError::Fenced { broker: BrokerId(1), epoch, current: epoch }));
}

#[tokio::test(start_paused = true)]
async fn r7_an_empty_journal_beside_a_claimed_store_is_refused() {
    let mut machine = Machine::new();
    let cluster = machine.start().await.unwrap().cluster();
    machine.journal = MemoryJournal::new();
    let refused = machine.refused().await;
    assert!(matches!(refused, StartError::StoreInUse { cluster: found } if found == cluster), "{refused}");
    assert!(refused.to_string().contains("siltstone store rebuild"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r7_an_empty_journal_beside_objects_without_a_marker_is_refused() {
    let machine = Machine::new();
    machine.store.put("shared/80/1-7-42", vec![Bytes::from_static(b"x")]).await.unwrap();
    let refused = machine.refused().await;
    assert!(matches!(&refused, StartError::Claim(ClaimError::NotEmpty { .. })), "{refused}");
    assert_eq!(machine.journal.slots(), [] as [u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn r7_the_store_of_another_cluster_is_refused_although_its_snapshots_fit_the_journal() {
    let (mut machine, other) = (Machine::new(), Machine::new());
    machine.options.snapshot_interval = MINUTE;
    other.seed.store(50, Ordering::Relaxed);
    for machine in [&machine, &other] {
        Broker::register(&machine.start().await.unwrap()).await.create("orders").await;
    }
    let service = machine.start().await.unwrap();
    pass(MINUTE * 2).await;
    drop(service);
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1);
    drop(other.start().await.unwrap());
    let refused = machine.with_journal(other.journal.copy()).refused().await;
    assert!(matches!(&refused, StartError::Claim(ClaimError::OtherCluster { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r7_a_store_that_lost_its_marker_is_another_store() {
    let machine = Machine::new();
    drop(machine.start().await.unwrap());
    machine.store.delete(&[MARKER_KEY.to_owned()]).await.pop().unwrap().unwrap();
    let refused = machine.refused().await;
    assert!(matches!(refused, StartError::StoreUnmarked { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r7_a_crash_between_the_journals_first_entry_and_the_marker_is_made_good() {
    let machine = Machine::new();
    machine.store.script(Operation::Put, [Fault::Deny]);
    let refused = machine.start().await.err().unwrap();
    assert!(matches!(refused, StartError::Store(_)), "{refused}");
    assert_eq!(machine.events().await.len(), 2);
    let service = machine.start().await.unwrap();
    assert_eq!(read_marker(machine.store.as_ref()).await.unwrap().unwrap().cluster, service.cluster());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_no_damaged_snapshot() {
    let machine = Machine::new();
    drop(machine.start().await.unwrap());
    machine.store.set_outage(true);
    let before = machine.journal.slots();
    assert!(matches!(machine.start().await.err().unwrap(), StartError::Store(_)));
    assert_eq!(machine.journal.slots(), before);
}

#[tokio::test(start_paused = true)]
async fn t29_an_entry_that_is_damaged_unknown_or_repeated_stops_the_start() {
    let machine = Machine::new();
    let service = machine.start().await.unwrap();
    Broker::register(&service).await;
    drop(service);
    let entries = machine.journal.read(FIRST_SLOT, usize::MAX).await.unwrap();
    let slot = entries.len() as u64 + 1;
    let why = |bytes: Bytes| {
        let machine = machine.with_journal(machine.journal.copy());
        async move {
            assert_eq!(machine.journal.append(slot, bytes).await, Appended::Done);
            machine.refused().await.to_string()
        }
    };
    let (_, last) = entries.last().unwrap();
    assert!(why(last.clone()).await.contains("it was written for slot"));
    assert!(why(last.slice(1..)).await.contains("not an entry"));
    let (leader, nonce, now) = (Revision(2), [3; 16], Timestamp(NOW));
    let again = Entry { slot, first: Revision(4), leader, nonce, now, part: 0, last: 0, body: Bytes::new() };
    let repeated = why(encode_entry(&again)).await;
    assert!(repeated.contains("its first revision is 4, after revision 4"), "{repeated}");
    let unknown = Entry { first: Revision(5), body: Bytes::from_static(&[99, 0, 1, 0, 0, 0, 0, 0]), ..again };
    let unknown = why(encode_entry(&unknown)).await;
    assert!(unknown.contains("event kind 99 version 1 is not known"), "{unknown}");
}

/// Names of the topics in each snapshot of the store.
async fn topics_in_snapshots(machine: &Machine) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for manifest in machine.keys(MANIFESTS).await {
        let (state, _) = crate::snapshot::load(machine.store.as_ref(), &manifest).await.unwrap();
        found.push(state.topics.values().map(|topic| topic.name.clone()).collect());
    }
    found
}

#[tokio::test(start_paused = true)]
async fn r15_what_only_the_journal_holds_is_in_a_snapshot_before_anybody_is_served() {
    let mut machine = Machine::new();
    machine.options.garbage_snapshot_interval = MINUTE;
    let service = machine.start().await.unwrap();
    Broker::register(&service).await.create("orders").await;
    service.stop().await;
    machine.start().await.unwrap().stop().await;
    assert_eq!(topics_in_snapshots(&machine).await, [[""; 0]; 0], "all of it is in the store beside the snapshots");

    // As an earlier program left it, or one that was killed before it had put them there.
    for key in machine.keys(TOPICS).await {
        machine.store.delete(&[key]).await;
    }
    let before = machine.with_journal(machine.journal.copy());
    machine.store.script(Operation::Put, [Fault::Deny]);
    let service = before.start().await.unwrap();
    assert_eq!(topics_in_snapshots(&machine).await, [[""; 0]; 0]);
    pass(2 * MINUTE).await;
    assert_eq!(topics_in_snapshots(&machine).await, [["orders"]], "a store that refuses it is asked again");
    service.stop().await;
    for prefix in [MANIFESTS, CHUNKS] {
        for key in machine.keys(prefix).await {
            machine.store.delete(&[key]).await;
        }
    }

    machine.start().await.unwrap().stop().await;
    assert_eq!(topics_in_snapshots(&machine).await, [["orders"]]);
    machine.start().await.unwrap().stop().await;
    assert_eq!(topics_in_snapshots(&machine).await.len(), 1, "nothing is new since");
}
