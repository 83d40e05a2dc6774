//! What is deleted from the store, and never too early: grace is 0 throughout.

use std::collections::BTreeSet;
use std::ops::Range;

use parking_lot::Mutex;
use store::{ObjectMeta, Operation, StoreError, faults::Fault};

use super::*;

/// Retention, snapshots and sweeps every minute.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.options.snapshot_interval = MINUTE;
    machine.options.garbage_snapshot_interval = MINUTE;
    machine.options.orphan_interval = MINUTE;
    machine
}

/// A store that notes which segment objects were deleted although the journal did not say so before.
struct Watched {
    inner: Arc<FaultyStore>,
    journal: MemoryJournal,
    early: Mutex<Vec<String>>,
    deleted: Mutex<BTreeSet<String>>,
}

impl Watched {
    /// Keys that the journal has retired or declared dead.
    async fn garbage(&self) -> BTreeSet<String> {
        let (mut state, mut assembler) = (State::default(), Assembler::default());
        for (slot, bytes) in self.journal.read(FIRST_SLOT, usize::MAX).await.unwrap() {
            if let Some(step) = assembler.push(slot, &bytes).unwrap() {
                decode_events(step.body).unwrap().iter().for_each(|event| state.apply(event, step.now));
            }
        }
        state.garbage().map(|(key, _)| key.to_string()).collect()
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put(&self, key: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.inner.put(key, parts).await
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(key, range).await
    }
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.inner.get(key, limit).await
    }
    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.inner.head(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let garbage = self.garbage().await;
        let segments: Vec<_> = keys.iter().filter(|key| !key.starts_with("meta/")).cloned().collect();
        self.early.lock().extend(segments.iter().filter(|key| !garbage.contains(*key)).cloned());
        self.deleted.lock().extend(segments);
        self.inner.delete(keys).await
    }
}

async fn start_watched(machine: &Machine) -> (MetadataService, Arc<Watched>) {
    let watched = Arc::new(Watched {
        inner: machine.store.clone(),
        journal: machine.journal.clone(),
        early: Mutex::default(),
        deleted: Mutex::default(),
    });
    let journal = Arc::new(Untrimmed(machine.journal.clone()));
    let service = MetadataService::start(machine.options, journal, watched.clone(), None, machine.clock.clone(), machine.random());
    (service.await.unwrap(), watched)
}

#[tokio::test(start_paused = true)]
async fn r6_a_slow_publish_finds_its_object_however_often_the_sweep_went_by() {
    let machine = machine();
    let (service, watched) = start_watched(&machine).await;
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    let slow = broker.request(5, orders, NOW);
    machine.upload(broker.key(5)).await;
    pass(MINUTE * 10).await;
    assert!(machine.has(broker.key(5)).await, "it may still be published");
    broker.publish(slow).await.unwrap();
    pass(MINUTE * 10).await;
    assert!(machine.has(broker.key(5)).await, "it is published");
    assert!(watched.deleted.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r6_what_a_fenced_epoch_left_behind_is_deleted_after_the_journal_says_that_it_is_dead() {
    let machine = machine();
    let (service, watched) = start_watched(&machine).await;
    let fenced = Broker::register(&service).await;
    let orders = fenced.create("orders").await;
    machine.upload(fenced.key(1)).await;
    machine.upload(fenced.key(2)).await;
    let mut broker = Broker::register(&service).await;
    broker.add(&machine, 1, orders, NOW).await;
    pass(MINUTE * 10).await;
    assert!(!machine.has(fenced.key(1)).await && !machine.has(fenced.key(2)).await);
    assert!(machine.has(broker.key(1)).await);
    assert_eq!(watched.deleted.lock().len(), 2);
    assert_eq!(*watched.early.lock(), [] as [String; 0]);
    let late = fenced.client.publish(fenced.request(1, orders, NOW)).await;
    assert!(matches!(late, Err(MetadataError::Fenced { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn r7_what_this_journal_did_not_write_is_left_alone() {
    let machine = machine();
    let (service, watched) = start_watched(&machine).await;
    Broker::register(&service).await;
    let strangers = ["shared/80/1-7-42", "topic/07070707-0707-0707-0707-070707070707/3/00000000000000001000-1-7-42", "shared/other"];
    for key in strangers {
        machine.store.put(key, vec![Bytes::from_static(b"x")]).await.unwrap();
    }
    Broker::register(&service).await;
    pass(MINUTE * 10).await;
    assert_eq!(machine.keys("shared/").await.len() + machine.keys("topic/").await.len(), 3);
    assert!(watched.deleted.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r10_an_object_that_a_kept_snapshot_names_is_there() {
    let machine = machine();
    let (service, watched) = start_watched(&machine).await;
    let mut broker = Broker::register(&service).await;
    for number in 1..=6 {
        let partition = broker.create(&format!("topic-{number}")).await;
        broker.add(&machine, number, partition, NOW).await;
        pass(MINUTE + Duration::from_secs(1)).await;
        broker.client.delete_topic(partition.topic).await.unwrap();
        for _ in 0..12 {
            pass(Duration::from_secs(10)).await;
            for manifest in machine.state().await.snapshots.iter().map(|snapshot| &snapshot.manifest) {
                let (state, _) = crate::snapshot::load(machine.store.as_ref(), manifest).await.unwrap();
                let named: Vec<_> = state.shards.iter().flat_map(|shard| shard.objects.keys()).collect();
                for key in named {
                    assert!(machine.has(*key).await, "{manifest} names {key}");
                }
            }
        }
    }
    pass(MINUTE * 10).await;
    assert_eq!(machine.keys("shared/").await, [] as [String; 0], "all of it goes in the end");
    assert_eq!(watched.deleted.lock().len(), 6);
    assert_eq!(*watched.early.lock(), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn deletions_that_fail_are_repeated_until_the_store_is_clean() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    for number in 1..=20 {
        broker.add(&machine, number, orders, NOW).await;
    }
    machine.store.script(Operation::Delete, [Fault::Refuse, Fault::LoseRequest, Fault::LoseAnswer, Fault::Late].repeat(10));
    broker.client.delete_topic(orders.topic).await.unwrap();
    pass(MINUTE * 60).await;
    assert_eq!(machine.keys("shared/").await, [] as [String; 0]);
    assert_eq!(machine.state().await.garbage().count(), 0);
    machine.store.land().await;
    assert_eq!(machine.store.scripted(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_the_store_refused_is_repeated_soon() {
    let mut machine = machine();
    machine.options.orphan_interval = Duration::from_secs(3600);
    let service = machine.start().await.unwrap();
    let fenced = Broker::register(&service).await;
    machine.upload(fenced.key(1)).await;
    Broker::register(&service).await;
    machine.store.set_outage(true);
    pass(MINUTE * 5).await;
    machine.store.set_outage(false);
    assert!(machine.has(fenced.key(1)).await);
    pass(MINUTE * 10).await;
    assert!(!machine.has(fenced.key(1)).await);
}

#[tokio::test(start_paused = true)]
async fn t15_what_a_killed_broker_left_is_gone_once_it_is_back_and_the_grace_has_passed() {
    let mut machine = machine();
    machine.options.orphan_interval = Duration::from_secs(3600);
    machine.options.deletion_grace = MINUTE;
    for _ in 0..3 {
        // Neither the broker nor the service with it ever runs for an hour.
        let service = machine.start().await.unwrap();
        let broker = Broker::register(&service).await;
        let earlier = machine.keys("shared/").await;
        machine.upload(broker.key(1)).await;
        pass(Duration::from_secs(50)).await;
        assert_eq!(machine.keys("shared/").await.len(), earlier.len() + 1);
        pass(MINUTE * 3).await;
        assert_eq!(machine.keys("shared/").await, [broker.key(1).to_string()]);
        drop(service);
    }
}

#[tokio::test(start_paused = true)]
async fn t10_a_server_that_was_deposed_deletes_nothing_by_its_stale_view() {
    let machine = machine();
    let stale = machine.start().await.unwrap();
    let fenced = Broker::register(&stale).await;
    Broker::register(&stale).await;
    machine.upload(fenced.key(1)).await;
    let mut sleeping = machine.options;
    sleeping.orphan_interval = Duration::from_secs(1 << 40);
    sleeping.deletion_grace = Duration::from_secs(1 << 40);
    let successor = Machine { options: sleeping, ..machine.with_journal(machine.journal.clone()) };
    let leads = successor.start().await.unwrap();
    pass(MINUTE * 10).await;
    assert!(stale.stopped().borrow().as_ref().unwrap().contains("deposed"));
    assert!(machine.has(fenced.key(1)).await);
    assert!(leads.stopped().borrow().is_none());
    assert!(!machine.events().await.iter().any(|event| matches!(event, Event::ObjectsDead { .. })));
}

#[tokio::test(start_paused = true)]
async fn t10_a_metadata_directory_that_was_put_back_deletes_nothing() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    pass(MINUTE * 2).await;
    let older = machine.journal.copy();
    broker.add(&machine, 1, orders, NOW).await;
    pass(MINUTE * 5).await;
    drop(service);
    let put_back = machine.with_journal(older);
    assert!(matches!(put_back.refused().await, StartError::RolledBack { .. }));
    pass(MINUTE * 10).await;
    assert!(machine.has(broker.key(1)).await);
}
