//! Snapshots: taken, found again, damaged, behind a journal or ahead of it.

use metadata_api::AdvanceLogStart;
use store::{Operation, faults::Fault, faults::FaultRates};

use super::*;

/// A snapshot is due a minute after the last, if anything was written.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.options.snapshot_interval = MINUTE;
    machine
}

/// One more topic and one more object, then time enough for a snapshot.
async fn write_and_snapshot(machine: &Machine, broker: &mut Broker, number: u64) {
    let partition = broker.create(&format!("topic-{number}")).await;
    broker.add(machine, number, partition, NOW).await;
    pass(MINUTE + Duration::from_secs(5)).await;
}

fn same(left: &State, right: &State) -> bool {
    let shards = |state: &State| state.shards.iter().map(|shard| crate::snapshot::encode_shard(shard)).collect::<Vec<_>>();
    crate::snapshot::encode_root(left) == crate::snapshot::encode_root(right) && shards(left) == shards(right)
}

#[tokio::test(start_paused = true)]
async fn t29_from_snapshot_and_journal_comes_the_same_state_as_from_the_whole_journal() {
    let machine = machine();
    let service = machine.start_on(Arc::new(Untrimmed(machine.journal.clone()))).await.unwrap();
    let mut broker = Broker::register(&service).await;
    for number in 1..=3 {
        write_and_snapshot(&machine, &mut broker, number).await;
    }
    broker.create("after-the-snapshot").await;
    let live = live(&service).await;
    let mut untrimmed = machine.state().await;
    let takeover = std::mem::replace(&mut untrimmed.leader, live.leader);
    untrimmed.brokers.get_mut(&BrokerId(1)).unwrap().alive = true;
    assert!(same(&untrimmed, &live), "but for the takeover the state that was replayed is the one that was lived");
    untrimmed.leader = takeover;
    untrimmed.brokers.get_mut(&BrokerId(1)).unwrap().alive = false;
    let trimmed = machine.with_journal(machine.journal.copy());
    trimmed.journal.trim(untrimmed.snapshots[0].slot + 1).await.unwrap();
    assert!(same(&trimmed.state().await, &untrimmed), "no event before the snapshot counts again");
    for key in machine.keys(MANIFESTS).await {
        machine.store.delete(&[key]).await;
    }
    let whole = machine.state().await;
    assert!(same(&whole, &untrimmed));
    assert_eq!((whole.topics.len(), whole.segment_count()), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn two_snapshots_are_kept_and_the_journal_is_trimmed_below_the_older() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    write_and_snapshot(&machine, &mut broker, 1).await;
    assert_eq!(machine.journal.slots()[0], FIRST_SLOT, "one snapshot trims nothing");
    for number in 2..=4 {
        write_and_snapshot(&machine, &mut broker, number).await;
    }
    drop(service);
    let kept = machine.state().await.snapshots;
    assert_eq!(machine.keys(MANIFESTS).await, kept.iter().map(|snapshot| snapshot.manifest.clone()).collect::<Vec<_>>());
    assert_eq!(machine.journal.slots()[0], kept[0].slot + 1);
    let service = machine.start().await.unwrap();
    assert_eq!(Broker::register(&service).await.registration.partitions.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    for damage_chunk in [false, true] {
        let machine = machine();
        let service = machine.start().await.unwrap();
        let mut broker = Broker::register(&service).await;
        for number in 1..=3 {
            write_and_snapshot(&machine, &mut broker, number).await;
        }
        let before = machine.state().await;
        drop(service);
        let key = machine.keys(if damage_chunk { CHUNKS } else { MANIFESTS }).await.pop().unwrap();
        let object = machine.store.get(&key, 1 << 20).await.unwrap();
        machine.store.delete(std::slice::from_ref(&key)).await;
        machine.store.put(&key, vec![object.slice(..object.len() - 1), Bytes::from_static(b"!")]).await.unwrap();
        assert!(same(&before, &machine.state().await), "chunk {damage_chunk}");
        let service = machine.start().await.unwrap();
        let mut broker = Broker::register(&service).await;
        write_and_snapshot(&machine, &mut broker, 4).await;
        assert_eq!(machine.state().await.topics.len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_without_the_snapshot_that_it_continues_is_refused() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    for number in 1..=2 {
        write_and_snapshot(&machine, &mut broker, number).await;
    }
    drop(service);
    for key in machine.keys(MANIFESTS).await {
        machine.store.delete(&[key]).await;
    }
    let refused = machine.refused().await;
    assert!(matches!(refused, StartError::Gap { expected: 1, .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r8_a_journal_that_ends_below_the_newest_snapshot_is_refused() {
    for damaged in [false, true] {
        let machine = machine();
        let service = machine.start().await.unwrap();
        let mut broker = Broker::register(&service).await;
        let older = machine.journal.copy();
        write_and_snapshot(&machine, &mut broker, 1).await;
        drop(service);
        let key = machine.keys(MANIFESTS).await.pop().unwrap();
        if damaged {
            machine.store.delete(std::slice::from_ref(&key)).await;
            machine.store.put(&key, vec![Bytes::from_static(b"!")]).await.unwrap();
        }
        let rolled_back = machine.with_journal(older);
        let refused = rolled_back.refused().await;
        let stored = crate::snapshot::revision_of_key(&key).unwrap();
        assert!(matches!(refused, StartError::RolledBack { stored: found } if found == stored), "{refused}");
        assert!(refused.to_string().contains("restore the newer metadata directory"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn r8_a_journal_that_ends_below_a_topic_in_the_store_is_refused() {
    let mut machine = machine();
    machine.options.remote_store = true;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    let older = machine.journal.copy();
    broker.create("orders").await;
    drop(service);
    assert_eq!(machine.keys(TOPICS).await.len(), 2, "the registration and the topic");
    let stored = machine.state().await.revision;
    let refused = machine.with_journal(older).refused().await;
    assert!(matches!(refused, StartError::RolledBack { stored: found } if found == stored), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn r15_on_a_remote_store_a_topic_is_in_the_bucket_before_it_is_answered() {
    let mut machine = Machine::new();
    machine.options.remote_store = true;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(Duration::from_secs(1)).await;
    machine.store.script(Operation::Put, [Fault::Delay(Duration::from_secs(3))]);
    let client = broker.client.clone();
    let creation = tokio::spawn(async move { client.create_topic(create_request("orders")).await });
    pass(Duration::from_secs(2)).await;
    assert!(!creation.is_finished(), "it is not answered before the store has it");
    broker.client.allocate_producer_ids(1).await.unwrap();
    pass(Duration::from_secs(2)).await;
    let created = creation.await.unwrap().unwrap();
    let entry = machine.store.get(machine.keys(TOPICS).await.last().unwrap(), 1 << 20).await.unwrap();
    let step = Assembler::default().push(machine.journal.slots().last().unwrap() - 1, &entry).unwrap().unwrap();
    let events = decode_events(step.body).unwrap();
    assert!(matches!(&events[..], [Event::TopicCreated { topic, name, .. }] if *topic == created.topic && name == "orders"));
}

#[tokio::test(start_paused = true)]
async fn r15_a_topic_that_could_not_be_put_is_unknown_and_a_snapshot_makes_up_for_it() {
    let mut machine = Machine::new();
    machine.options.remote_store = true;
    machine.options.garbage_snapshot_interval = MINUTE;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(Duration::from_secs(1)).await;
    machine.store.script(Operation::Put, [Fault::Deny]);
    let answer = broker.client.create_topic(create_request("orders")).await;
    assert!(matches!(&answer, Err(MetadataError::Unknown { detail }) if detail.contains("not yet in the store")), "{answer:?}");
    assert_eq!(machine.keys(TOPICS).await.len(), 1, "the registration");
    pass(MINUTE + Duration::from_secs(5)).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1);
    let revision = machine.state().await.revision;
    pass(MINUTE * 3).await;
    assert_eq!(machine.state().await.revision, revision, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn r15_log_starts_and_elections_wait_for_a_remote_store_and_registrations_do_not() {
    let mut machine = Machine::new();
    machine.options.remote_store = true;
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    let before = machine.keys(TOPICS).await.len();
    machine.store.script(Operation::Put, [Fault::Delay(Duration::from_secs(3))]);
    let request = AdvanceLogStart { broker: BrokerId(1), epoch: broker.registration.epoch, partition: orders, log_start: Offset(5) };
    let client = broker.client.clone();
    let moved = tokio::spawn(async move { client.advance_log_start(request).await });
    pass(Duration::from_secs(2)).await;
    assert!(!moved.is_finished(), "what was deleted by request must not come back");
    moved.await.unwrap().unwrap();
    assert_eq!(machine.keys(TOPICS).await.len(), before + 1);

    machine.store.set_outage(true);
    let again = Broker::register(&service).await;
    assert!(broker.registration.epoch < again.registration.epoch, "a broker starts while the store is away");
    again.client.resign_broker(BrokerId(1), again.registration.epoch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_stops_no_answer_and_the_snapshot_follows_it() {
    let mut machine = machine();
    machine.options.snapshot_interval = MINUTE * 60;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    machine.store.set_outage(true);
    for number in 0..20 {
        broker.create(&format!("topic-{number}")).await;
        pass(MINUTE * 5).await;
    }
    machine.store.set_outage(false);
    assert_eq!(machine.keys(MANIFESTS).await, [] as [String; 0]);
    // The pause after a refusal is a minute at the most.
    pass(MINUTE + Duration::from_secs(5)).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1, "without waiting for another interval");
    assert_eq!(machine.state().await.topics.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_to_snapshots_every_restart_finds_the_whole_state() {
    for seed in 0..10 {
        let machine = machine();
        let mut expected = 0;
        for _ in 0..4 {
            let service = machine.start().await.unwrap();
            let mut broker = Broker::register(&service).await;
            let rates = FaultRates {
                refuse: 0.1,
                lose_request: 0.1,
                lose_answer: 0.2,
                late: 0.1,
                damage: 0.05,
                short: 0.05,
                max_delay: Duration::from_millis(50),
                ..FaultRates::default()
            };
            machine.store.by_chance(rates, Random::seeded(seed));
            for _ in 0..3 {
                expected += 1;
                let partition = broker.create(&format!("topic-{expected}")).await;
                broker.publish(broker.request(expected, partition, NOW)).await.unwrap();
                pass(MINUTE * 2).await;
            }
            drop(service);
            machine.store.by_chance(FaultRates::default(), Random::seeded(0));
            machine.store.land().await;
            let state = machine.state().await;
            assert_eq!((state.topics.len() as u64, state.segment_count()), (expected, expected), "seed {seed}");
        }
        assert!(1 < machine.journal.slots()[0], "seed {seed}: snapshots were taken all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_due_by_journal_bytes_too_and_never_without_news() {
    let mut machine = Machine::new();
    machine.options.snapshot_bytes = 2000;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(MINUTE).await;
    assert_eq!(machine.keys(MANIFESTS).await, [] as [String; 0]);
    for number in 0..20 {
        broker.create(&format!("topic-{number}")).await;
    }
    pass(MINUTE).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1);
    let slots = machine.journal.slots();
    pass(MINUTE * 100).await;
    assert_eq!(machine.journal.slots(), slots);
}

#[tokio::test(start_paused = true)]
async fn restarts_do_not_put_a_snapshot_off_that_is_due() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let newest = async || machine.keys(MANIFESTS).await.pop();
    assert_eq!(newest().await, None);
    Broker::register(&service).await.create("orders").await;
    pass(MINUTE + Duration::from_secs(5)).await;
    let first = newest().await;
    assert!(first.is_some());
    drop(service);
    for _ in 0..4 {
        let service = machine.start().await.unwrap();
        Broker::register(&service).await;
        pass(MINUTE / 3).await;
    }
    assert!(first < newest().await);
}

/// How long ago the oldest change was that no snapshot in the store holds.
fn unsaved_for(machine: &Machine, service: &MetadataService) -> Option<Duration> {
    service.unsaved_since().map(|since| Duration::from_millis(Timestamp(machine.clock.wall_ms()).millis_since(since)))
}

#[tokio::test(start_paused = true)]
async fn a_change_is_unsaved_until_a_snapshot_holds_it_and_what_does_not_change_never_is() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(MINUTE / 2).await;
    broker.create("orders").await;
    assert_eq!(unsaved_for(&machine, &service), Some(MINUTE / 2), "since the start, the oldest change");
    pass(MINUTE).await;
    assert_eq!(unsaved_for(&machine, &service), None);
    pass(MINUTE * 100).await;
    assert_eq!(unsaved_for(&machine, &service), None, "nothing is older than the snapshot that holds it");

    // What comes while a snapshot is written is not in it. The topic's own step is put first.
    machine.store.script(Operation::Put, [Fault::Delay(MINUTE / 3); 2]);
    broker.create("payments").await;
    pass(MINUTE / 6).await;
    broker.create("refunds").await;
    pass(MINUTE / 3).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 2);
    assert_eq!(unsaved_for(&machine, &service), Some(MINUTE / 3));
    pass(MINUTE).await;
    assert_eq!(unsaved_for(&machine, &service), None);

    // The store refuses what is written meanwhile.
    machine.store.set_outage(true);
    broker.create("claims").await;
    pass(MINUTE * 5).await;
    assert_eq!(unsaved_for(&machine, &service), Some(MINUTE * 5));
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_the_oldest_unsaved_change_and_does_not_count_the_time_when_nothing_changed() {
    for away in [false, true] {
        let mut machine = machine();
        machine.copies = Some(Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(machine.clock.clone())))));
        let restarted = async |machine: &Machine| {
            machine.store.set_outage(away);
            let service = machine.start().await.unwrap();
            assert_eq!(service.store_away().is_some(), away);
            service
        };
        Broker::register(&machine.start().await.unwrap()).await;
        // The journal's clock goes on from the last change: it catches up slowly, or once the store agrees that it was a day.
        for stopped in [MINUTE / 2, DAY] {
            let service = machine.start().await.unwrap();
            pass(MINUTE * 3).await;
            assert_eq!(unsaved_for(&machine, &service), None);
            drop(service);
            pass(stopped).await;
            // That a server takes over is no change.
            drop(restarted(&machine).await);
            let service = restarted(&machine).await;
            assert_eq!(unsaved_for(&machine, &service), None, "stopped for {stopped:?}, away: {away}");
            Broker::register(&service).await;
            assert_eq!(unsaved_for(&machine, &service), Some(Duration::ZERO), "stopped for {stopped:?}, away: {away}");
            machine.store.set_outage(false);
            pass(MINUTE * 3).await;
            assert_eq!(unsaved_for(&machine, &service), None);
        }

        // What comes while a snapshot is written is in the data directory's copy, and not in the store.
        let service = machine.start().await.unwrap();
        let broker = Broker::register(&service).await;
        pass(MINUTE * 3).await;
        machine.store.script(Operation::Put, [Fault::Delay(MINUTE / 3); 2]);
        broker.create("orders").await;
        pass(MINUTE / 6).await;
        broker.create("payments").await;
        pass(MINUTE / 4).await;
        assert_eq!(unsaved_for(&machine, &service), Some(MINUTE / 4));
        drop((broker, service));
        pass(MINUTE / 4).await;
        let service = restarted(&machine).await;
        assert_eq!(unsaved_for(&machine, &service), Some(MINUTE / 2), "away: {away}");
    }
}

#[tokio::test(start_paused = true)]
async fn unchanged_shards_are_referenced_again_and_only_what_is_named_is_kept() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let mut most = 0;
    for number in 1..=30 {
        write_and_snapshot(&machine, &mut broker, number).await;
        most = most.max(machine.keys(CHUNKS).await.len());
    }
    assert_eq!(machine.keys(MANIFESTS).await.len(), 2);
    assert!((3..=12).contains(&most), "{most} chunks");
    assert_eq!(machine.state().await.topics.len(), 30);
}
