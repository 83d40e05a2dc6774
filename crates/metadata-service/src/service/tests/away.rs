//! Starts while the store is away: from the data directory, with what can only be compared later compared later.

use store::{ClaimError, Operation, StoreError, faults::Fault};

use super::*;

/// As on a remote store: copies are made, and a snapshot is due a minute after the last, if anything was written.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.options.snapshot_interval = MINUTE;
    machine.copies = Some(Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(machine.clock.clone())))));
    machine
}

/// The copies' manifests.
async fn copies(machine: &Machine) -> Vec<String> {
    let copies = machine.copies.as_ref().unwrap();
    copies.list(MANIFESTS, None, 100).await.unwrap().into_iter().map(|object| object.key).collect()
}

/// One life: so many topics with an object each, and a snapshot after every one.
async fn live_with_snapshots(machine: &Machine, topics: std::ops::RangeInclusive<u64>) {
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    for number in topics {
        let partition = broker.create(&format!("topic-{number}")).await;
        broker.add(machine, number, partition, NOW).await;
        pass(MINUTE + Duration::from_secs(5)).await;
    }
}

async fn start_away(machine: &Machine) -> MetadataService {
    machine.store.set_outage(true);
    let service = machine.start().await.unwrap();
    assert_eq!(service.store_away().as_deref(), Some("injected: refused"));
    service
}

/// Lets the store answer again, and waits for the comparison.
async fn come_back(machine: &Machine, service: &MetadataService) {
    machine.store.set_outage(false);
    pass(Duration::from_secs(6)).await;
    assert_eq!(service.store_away(), None);
}

/// Why the service stopped after the store came back, which it left as it was.
async fn stops(machine: &Machine, service: &MetadataService) -> String {
    let mut stopped = service.stopped();
    assert_eq!(*stopped.borrow(), None);
    machine.store.set_outage(false);
    let before = machine.keys("").await;
    let reason = tokio::time::timeout(MINUTE, stopped.wait_for(Option::is_some)).await.expect("it stops").unwrap().clone().unwrap();
    pass(MINUTE * 3).await;
    assert!(service.store_away().is_some(), "the gate stays closed");
    assert_eq!(machine.keys("").await, before);
    reason
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_was_never_trimmed_starts_alone_and_snapshots_follow_the_stores_return() {
    let machine = machine();
    drop(machine.start().await.unwrap());
    let service = start_away(&machine).await;
    let broker = Broker::register(&service).await;
    broker.create("orders").await;
    pass(MINUTE * 10).await;
    assert!(service.store().put("shared/00/1-1-1", Vec::new()).await.is_err());
    come_back(&machine, &service).await;
    pass(MINUTE).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1);
    service.store().put("shared/00/1-1-1", Vec::new()).await.unwrap();
    assert_eq!(machine.state().await.topics.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_journal_starts_from_the_copy_in_the_data_directory_with_all_that_was_answered() {
    let machine = machine();
    live_with_snapshots(&machine, 1..=4).await;
    assert_ne!(machine.journal.slots()[0], FIRST_SLOT);
    let before = machine.state().await;

    let service = start_away(&machine).await;
    let mut broker = Broker::register(&service).await;
    assert_eq!(broker.registration.partitions.len(), 4);
    assert_eq!(live(&service).await.segment_count(), before.segment_count());
    let partition = broker.create("topic-5").await;
    come_back(&machine, &service).await;
    broker.add(&machine, 5, partition, NOW).await;
    pass(MINUTE * 2).await;
    drop(service);

    // The store's snapshot stands by itself: it names nothing that only the data directory has.
    let newest = machine.keys(MANIFESTS).await.pop().unwrap();
    let manifest = crate::snapshot::read_manifest(machine.store.as_ref(), &newest).await.unwrap();
    let chunks = machine.keys(CHUNKS).await;
    assert!(crate::snapshot::chunk_keys(&manifest).into_iter().all(|key| chunks.iter().any(|chunk| chunk == key)));
    let mut elsewhere = machine.with_journal(machine.journal.copy());
    elsewhere.copies = None;
    let service = elsewhere.start().await.unwrap();
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 5);
    assert_eq!(machine.keys(MANIFESTS).await.len(), 2, "the older ones are swept as ever");
}

#[tokio::test(start_paused = true)]
async fn two_copies_are_kept_and_the_older_serves_where_the_newer_is_damaged() {
    let machine = machine();
    live_with_snapshots(&machine, 1..=4).await;
    let kept = copies(&machine).await;
    assert_eq!(kept.len(), 2);
    let directory = machine.copies.as_ref().unwrap();
    directory.delete(&kept[1..]).await;
    directory.put(&kept[1], vec![Bytes::from_static(b"!")]).await.unwrap();
    let service = start_away(&machine).await;
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 4);
    drop(service);
    machine.store.set_outage(false);
    live_with_snapshots(&machine, 5..=6).await;
    let service = start_away(&machine).await;
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 6);
    assert_eq!(copies(&machine).await.len(), 2, "the damaged one is gone");
}

#[tokio::test(start_paused = true)]
async fn without_a_copy_that_the_journal_continues_the_store_is_needed() {
    let machine = machine();
    live_with_snapshots(&machine, 1..=3).await;
    let directory = machine.copies.as_ref().unwrap();
    for key in copies(&machine).await {
        directory.delete(&[key]).await;
    }
    machine.store.set_outage(true);
    let before = machine.journal.slots();
    let refused = machine.start().await.err().unwrap();
    assert!(matches!(&refused, StartError::StoreNeeded { store: StoreError::Unavailable { .. }, .. }), "{refused}");
    assert!(refused.to_string().contains("start the broker again once the store answers"), "{refused}");
    assert_eq!(machine.journal.slots(), before);
}

#[tokio::test(start_paused = true)]
async fn a_data_directory_without_copies_gets_one_at_once() {
    let mut machine = machine();
    let directory = machine.copies.take();
    live_with_snapshots(&machine, 1..=3).await;
    machine.copies = directory;
    let service = machine.start().await.unwrap();
    pass(Duration::from_secs(1)).await;
    assert_ne!(copies(&machine).await.len(), 0, "a snapshot that is due brings one more");
    drop(service);
    let service = start_away(&machine).await;
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_written_stops_nothing_and_the_next_is_made() {
    let machine = machine();
    let directory = machine.copies.clone().unwrap();
    directory.set_outage(true);
    live_with_snapshots(&machine, 1..=3).await;
    assert_ne!(machine.journal.slots()[0], FIRST_SLOT, "snapshots were taken and the journal was trimmed");
    directory.set_outage(false);
    assert_eq!(copies(&machine).await.len(), 0);
    live_with_snapshots(&machine, 4..=4).await;
    assert_ne!(copies(&machine).await.len(), 0);
    let service = start_away(&machine).await;
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn r8_a_journal_that_was_rolled_back_stops_when_the_store_comes_back_however_far_it_has_come_since() {
    let machine = machine();
    live_with_snapshots(&machine, 1..=1).await;
    let older = machine.journal.copy();
    live_with_snapshots(&machine, 2..=3).await;
    let newest = crate::snapshot::revision_of_key(machine.keys(MANIFESTS).await.last().unwrap()).unwrap();
    let mut rolled_back = machine.with_journal(older);
    rolled_back.copies = self::machine().copies;
    let service = start_away(&rolled_back).await;
    let broker = Broker::register(&service).await;
    for number in 0..100 {
        broker.create(&format!("written-again-{number}")).await;
    }
    assert!(newest < live(&service).await.revision, "by now the journal is longer than what the store holds of it");
    let reason = stops(&rolled_back, &service).await;
    assert!(reason.contains("metadata was rolled back"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn r8_an_older_journal_beside_newer_copies_is_refused_without_the_store() {
    let machine = machine();
    live_with_snapshots(&machine, 1..=1).await;
    let older = machine.journal.copy();
    live_with_snapshots(&machine, 2..=3).await;
    machine.store.set_outage(true);
    let refused = machine.with_journal(older).start().await.err().unwrap();
    assert!(matches!(refused, StartError::RolledBack { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r7_a_store_that_turns_out_to_be_anothers_or_nobodys_stops_the_service_and_is_left_alone() {
    let (machine, other) = (machine(), Machine::new());
    other.seed.store(50, Ordering::Relaxed);
    drop(machine.start().await.unwrap());
    drop(other.start().await.unwrap());
    let elsewhere = |store: &Arc<FaultyStore>| Machine { store: store.clone(), ..machine.with_journal(machine.journal.copy()) };

    let wrong = elsewhere(&other.store);
    let service = start_away(&wrong).await;
    let reason = stops(&wrong, &service).await;
    assert!(reason.contains("the store belongs to cluster"), "{reason}");

    let empty = elsewhere(&Machine::new().store);
    let service = start_away(&empty).await;
    let reason = stops(&empty, &service).await;
    assert!(reason.contains("does not carry the marker"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn only_a_store_that_may_answer_later_counts_as_away() {
    let machine = machine();
    drop(machine.start().await.unwrap());
    machine.store.script(Operation::Get, [Fault::Deny]);
    let refused = machine.start().await.err().unwrap();
    assert!(matches!(&refused, StartError::Store(StoreError::Refused { .. })), "{refused}");

    machine.store.script(Operation::Get, [Fault::Delay(DAY)]);
    let service = machine.start().await.unwrap();
    assert_eq!(service.store_away().as_deref(), Some("no answer within 5 s"));
    pass(Duration::from_secs(1)).await;
    assert_eq!(service.store_away(), None);

    machine.store.set_outage(true);
    let new = machine.with_journal(MemoryJournal::new()).start().await.err().unwrap();
    assert!(matches!(&new, StartError::Store(StoreError::Unavailable { .. })), "a new cluster needs its store: {new}");
}

#[tokio::test(start_paused = true)]
async fn r7_a_store_that_was_never_claimed_is_needed() {
    let machine = machine();
    machine.store.script(Operation::Put, [Fault::Deny]);
    assert!(matches!(machine.start().await, Err(StartError::Store(_))));
    machine.store.set_outage(true);
    let refused = machine.start().await.err().unwrap();
    assert!(matches!(&refused, StartError::StoreNeeded { .. }), "{refused}");
    machine.store.set_outage(false);
    machine.start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_the_start_is_waited_out_as_silence_is() {
    let machine = machine();
    drop(machine.start().await.unwrap());
    let service = start_away(&machine).await;
    machine.store.script(Operation::List, [Fault::Deny; 3]);
    machine.store.set_outage(false);
    let mut waited = Duration::ZERO;
    while machine.store.scripted() != 0 && waited < MINUTE {
        pass(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
    }
    assert_eq!(service.store_away().as_deref(), Some("injected: denied"));
    pass(Duration::from_secs(6)).await;
    assert_eq!(service.store_away(), None);
    let marker = store::read_marker(service.store().as_ref()).await;
    assert!(!matches!(marker, Err(ClaimError::Store(_))), "{marker:?}");
}
