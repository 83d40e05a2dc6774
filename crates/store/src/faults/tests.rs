use runtime::ManualClock;

use super::*;
use crate::MemoryStore;

fn store() -> (Arc<MemoryStore>, FaultyStore) {
    let memory = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0))));
    (memory.clone(), FaultyStore::new(memory))
}

async fn put(store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
    store.put(key, vec![Bytes::from_static(b"body")]).await
}

async fn keys(store: &dyn ObjectStore) -> Vec<String> {
    store.list("", None, 100).await.unwrap().into_iter().map(|meta| meta.key).collect()
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_put_has_the_effect_and_the_answer_it_says() {
    for (fault, happens, unknown) in [
        (Fault::Refuse, false, false),
        (Fault::Deny, false, false),
        (Fault::LoseRequest, false, true),
        (Fault::LoseAnswer, true, true),
        (Fault::Late, false, true),
    ] {
        let (memory, store) = store();
        store.script(Operation::Put, [fault]);
        let answer = put(&store, "a").await;
        assert_eq!(matches!(answer, Err(StoreError::Unknown { .. })), unknown, "{fault:?}");
        assert!(answer.is_err());
        assert_eq!(!keys(&*memory).await.is_empty(), happens, "{fault:?}");
        assert_eq!(store.land().await, usize::from(fault == Fault::Late));
        assert_eq!(!keys(&*memory).await.is_empty(), happens || fault == Fault::Late, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_deletion_hits_what_was_put_meanwhile() {
    let (memory, store) = store();
    put(&store, "a").await.unwrap();
    store.script(Operation::Delete, [Fault::Late]);
    let answers = store.delete(&["a".to_owned(), "b".to_owned()]).await;
    assert!(matches!(answers[..], [Err(StoreError::Unknown { .. }), Ok(())]), "{answers:?}");
    assert_eq!(keys(&*memory).await, ["a"]);
    store.land().await;
    assert_eq!(keys(&*memory).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn bodies_come_back_damaged_or_short_and_listings_cut() {
    let (_, store) = store();
    put(&store, "a").await.unwrap();
    put(&store, "b").await.unwrap();
    store.script(Operation::Get, [Fault::Damage, Fault::Short]);
    assert_eq!(store.get("a", 10).await.unwrap(), "boey");
    assert!(matches!(store.get("a", 10).await, Err(StoreError::Corrupt { .. })));
    assert_eq!(store.get("a", 10).await.unwrap(), "body");
    store.script(Operation::List, [Fault::PartialList]);
    assert_eq!(keys(&store).await, ["a"]);
    assert_eq!(keys(&store).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_listing_hides_what_is_new_until_it_catches_up() {
    let (_, store) = store();
    put(&store, "a").await.unwrap();
    store.set_lagging_list(true);
    put(&store, "b").await.unwrap();
    assert_eq!(keys(&store).await, ["a"]);
    assert!(store.head("b").await.is_ok());
    store.set_lagging_list(false);
    assert_eq!(keys(&store).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_refuses_everything_and_scripts_wait_for_its_end() {
    let (_, store) = store();
    store.script(Operation::Put, [Fault::LoseAnswer]);
    store.set_outage(true);
    assert!(matches!(put(&store, "a").await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.list("", None, 1).await, Err(StoreError::Unavailable { .. })));
    assert!(store.date().await.is_err());
    assert_eq!(store.scripted(), 1);
    store.set_outage(false);
    assert!(matches!(put(&store, "a").await, Err(StoreError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_brings_the_same_faults_at_the_same_times() {
    async fn history(seed: u64) -> Vec<(bool, Duration)> {
        let (_, store) = store();
        let rates = FaultRates { refuse: 0.3, lose_answer: 0.3, max_delay: Duration::from_secs(1), ..FaultRates::default() };
        store.by_chance(rates, Random::seeded(seed));
        let start = tokio::time::Instant::now();
        let mut history = Vec::new();
        for number in 0..50 {
            let answer = put(&store, &format!("k{number}")).await;
            history.push((answer.is_ok(), start.elapsed()));
        }
        history
    }
    assert_eq!(history(7).await, history(7).await);
    assert_ne!(history(7).await, history(8).await);
}
