//! Rule R22 through the whole service: jumps of the wall clock, with and without a second source that agrees.

use parking_lot::Mutex;

use super::super::clock::SecondOpinion;
use super::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Another machine's clock.
struct Other(Mutex<Option<i64>>);

#[async_trait]
impl SecondOpinion for Other {
    async fn now_ms(&self) -> Option<i64> {
        *self.0.lock()
    }
}

/// Never answers.
struct Silent;

#[async_trait]
impl SecondOpinion for Silent {
    async fn now_ms(&self) -> Option<i64> {
        std::future::pending().await
    }
}

/// Everything is kept for a week.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.options.retention = Some(WEEK);
    machine.options.retention_interval = MINUTE;
    // Weeks pass here.
    machine.options.tick = Duration::from_secs(30);
    machine
}

async fn start_with(machine: &Machine, opinion: Arc<dyn SecondOpinion>) -> MetadataService {
    let (journal, store) = (Arc::new(machine.journal.clone()), machine.store.clone());
    MetadataService::start_with(machine.options, journal, store, machine.clock.clone(), machine.random(), opinion).await.unwrap()
}

fn wall_ms(machine: &Machine) -> i64 {
    machine.clock.wall_ms()
}

fn jump(machine: &Machine, time: Duration) {
    machine.clock.set_wall_ms(wall_ms(machine) + i64::try_from(time.as_millis()).unwrap());
}

async fn log_start(broker: &Broker, partition: TopicPartition) -> Offset {
    broker.client.segments(partition, Offset(0), 1).await.unwrap().log_start
}

#[tokio::test(start_paused = true)]
async fn retention_retires_what_is_old() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    pass(WEEK - Duration::from_secs(120)).await;
    assert_eq!(log_start(&broker, orders).await, Offset(0));
    pass(Duration::from_secs(240)).await;
    assert_eq!(log_start(&broker, orders).await, Offset(10));
}

#[tokio::test(start_paused = true)]
async fn r22_nothing_is_retired_after_a_jump_until_somebody_confirms_it() {
    let mut machine = machine();
    machine.options.retention_bytes = Some(0);
    let other = Arc::new(Other(Mutex::new(None)));
    let service = start_with(&machine, other.clone()).await;
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    jump(&machine, YEAR);
    for opinion in [None, Some(NOW)] {
        *other.0.lock() = opinion;
        pass(MINUTE * 60).await;
        assert_eq!(log_start(&broker, orders).await, Offset(0), "not even by size");
    }
    let entry = live(&service).await.now;
    assert!(entry.0 < NOW + 3 * 3_600_000, "entries are not stamped with the doubtful time: {entry:?}");
    *other.0.lock() = Some(wall_ms(&machine));
    pass(MINUTE * 3).await;
    assert_eq!(log_start(&broker, orders).await, Offset(10));
}

#[tokio::test(start_paused = true)]
async fn r22_after_a_confirmed_jump_nothing_is_older_than_the_time_that_passed() {
    // The store of this machine has no clock of its own, and agrees with every jump.
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    pass(DAY).await;
    jump(&machine, YEAR);
    pass(DAY).await;
    assert_eq!(log_start(&broker, orders).await, Offset(0));
    let (lived, replayed) = (live(&service).await, machine.state().await);
    assert_eq!((replayed.now, &replayed.jumps), (lived.now, &lived.jumps));
    broker.add(&machine, 2, orders, wall_ms(&machine)).await;
    assert!(NOW + i64::try_from(YEAR.as_millis()).unwrap() < live(&service).await.now.0, "the jump is adopted");
    drop(service);

    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(4 * DAY).await;
    assert_eq!(log_start(&broker, orders).await, Offset(0), "a restart forgets no jump");
    pass(DAY + Duration::from_secs(600)).await;
    assert_eq!(log_start(&broker, orders).await, Offset(10), "a week has passed since the first");
    pass(2 * DAY).await;
    assert_eq!(log_start(&broker, orders).await, Offset(20), "and since the second");
}

#[tokio::test(start_paused = true)]
async fn r22_time_while_the_service_was_down_did_pass() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    drop(service);
    pass(2 * WEEK).await;
    let service = machine.start().await.unwrap();
    let broker = Broker::register(&service).await;
    pass(Duration::from_secs(300)).await;
    assert_eq!(log_start(&broker, orders).await, Offset(10));
    assert!(machine.state().await.jumps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn r22_a_clock_that_goes_back_a_year_and_returns_retires_nothing() {
    let machine = machine();
    let service = machine.start().await.unwrap();
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    machine.clock.set_wall_ms(NOW - i64::try_from(YEAR.as_millis()).unwrap());
    pass(DAY).await;
    machine.clock.set_wall_ms(NOW + i64::try_from(DAY.as_millis()).unwrap());
    pass(DAY).await;
    assert_eq!(log_start(&broker, orders).await, Offset(0));
    pass(6 * DAY).await;
    assert_eq!(log_start(&broker, orders).await, Offset(10), "all progress resumes");
}

#[tokio::test(start_paused = true)]
async fn r22_no_garbage_is_deleted_while_the_clock_is_in_doubt() {
    let mut machine = machine();
    machine.options.snapshot_interval = Duration::from_secs(60);
    machine.options.garbage_snapshot_interval = Duration::from_secs(60);
    let other = Arc::new(Other(Mutex::new(Some(NOW))));
    let service = start_with(&machine, other.clone()).await;
    let mut broker = Broker::register(&service).await;
    let orders = broker.create("orders").await;
    broker.add(&machine, 1, orders, NOW).await;
    jump(&machine, YEAR);
    broker.client.delete_topic(orders.topic).await.unwrap();
    pass(Duration::from_secs(3600)).await;
    assert!(machine.has(broker.key(1)).await);
    *other.0.lock() = Some(wall_ms(&machine));
    pass(Duration::from_secs(60)).await;
    assert!(!machine.has(broker.key(1)).await);
}

#[tokio::test(start_paused = true)]
async fn t28_a_second_source_that_never_answers_holds_up_nothing() {
    let mut machine = machine();
    machine.options.snapshot_interval = Duration::from_secs(60);
    let service = start_with(&machine, Arc::new(Silent)).await;
    let broker = Broker::register(&service).await;
    jump(&machine, YEAR);
    broker.create("orders").await;
    pass(Duration::from_secs(120)).await;
    assert_eq!(machine.keys(MANIFESTS).await.len(), 1);
}
