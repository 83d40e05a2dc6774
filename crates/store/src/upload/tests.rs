use std::sync::Arc;

use runtime::ManualClock;

use super::*;
use crate::faults::{Fault, FaultRates, FaultyStore};
use crate::{MemoryStore, Operation};

const KEY: &str = "shared/80/1-7-42";

fn store() -> (Arc<MemoryStore>, FaultyStore) {
    let memory = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0))));
    (memory.clone(), FaultyStore::new(memory))
}

fn body(text: &'static str) -> Body {
    let (front, back) = text.split_at(text.len() / 2);
    Body::new(vec![Bytes::from_static(front.as_bytes()), Bytes::from_static(back.as_bytes())])
}

async fn upload(store: &FaultyStore, body: &Body) -> Result<(), StoreError> {
    put_verified(store, KEY, body, UPLOAD_BACKOFF, &Random::seeded(1)).await
}

async fn stored(memory: &MemoryStore) -> Option<Bytes> {
    memory.get(KEY, 1000).await.ok()
}

#[test]
fn a_body_knows_length_and_checksum_of_its_concatenated_parts() {
    let body = body("123456789");
    assert_eq!((body.length(), body.crc(), body.parts().len()), (9, 0xE306_9283, 2));
}

#[tokio::test(start_paused = true)]
async fn t5_every_attempt_carries_the_whole_body() {
    for fault in [Fault::Refuse, Fault::LoseRequest, Fault::LoseAnswer, Fault::Late] {
        let (memory, store) = store();
        store.script(Operation::Put, [fault, fault, fault]);
        upload(&store, &body("siltstone")).await.unwrap();
        assert_eq!(stored(&memory).await.unwrap(), "siltstone", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r9_a_late_put_never_overwrites() {
    let (memory, store) = store();
    store.script(Operation::Put, [Fault::Late]);
    // The first attempt's owner gives up at once; another body is tried under the same key, which is what must never happen.
    let impatient = Backoff { budget: Duration::ZERO, ..UPLOAD_BACKOFF };
    let first = put_verified(&store, KEY, &body("first"), impatient, &Random::seeded(1)).await;
    assert!(matches!(first, Err(StoreError::Unknown { .. })), "{first:?}");
    upload(&store, &body("other")).await.unwrap();
    assert_eq!(store.land().await, 1);
    assert_eq!(stored(&memory).await.unwrap(), "other");
    assert!(matches!(upload(&store, &body("first")).await, Err(StoreError::AlreadyExists { .. })));
}

#[tokio::test(start_paused = true)]
async fn r9_what_exists_already_is_ours_only_with_the_same_length_and_checksum() {
    let (memory, store) = store();
    memory.put(KEY, vec![Bytes::from_static(b"siltstone")]).await.unwrap();
    upload(&store, &body("siltstone")).await.unwrap();
    for other in ["siltstons", "siltston", ""] {
        assert!(matches!(upload(&store, &body(other)).await, Err(StoreError::AlreadyExists { .. })), "{other}");
    }
    assert_eq!(stored(&memory).await.unwrap(), "siltstone");
}

#[tokio::test(start_paused = true)]
async fn r9_a_large_object_is_compared_to_its_last_byte() {
    let (memory, store) = store();
    let mut bytes = vec![7; COMPARE_BYTES as usize + 10];
    memory.put(KEY, vec![Bytes::from(bytes.clone())]).await.unwrap();
    upload(&store, &Body::new(vec![Bytes::from(bytes.clone())])).await.unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(upload(&store, &Body::new(vec![Bytes::from(bytes)])).await, Err(StoreError::AlreadyExists { .. })));
}

#[tokio::test(start_paused = true)]
async fn t6_once_in_doubt_no_later_answer_is_taken_for_absence() {
    for later in [Fault::Refuse, Fault::Deny] {
        let (memory, store) = store();
        store.script(Operation::Put, [Fault::Late]);
        store.script(Operation::Put, std::iter::repeat_n(later, 1000));
        let answer = upload(&store, &body("siltstone")).await;
        assert!(matches!(answer, Err(StoreError::Unknown { .. })), "{later:?}: {answer:?}");
        assert!(stored(&memory).await.is_none());
        store.land().await;
        assert_eq!(stored(&memory).await.unwrap(), "siltstone");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_within_the_budget_and_nothing_was_stored() {
    let (memory, store) = store();
    store.set_outage(true);
    let start = tokio::time::Instant::now();
    assert!(matches!(upload(&store, &body("siltstone")).await, Err(StoreError::Unavailable { .. })));
    assert!(start.elapsed() <= UPLOAD_BACKOFF.budget);
    assert!(stored(&memory).await.is_none());
    store.set_outage(false);
    upload(&store, &body("siltstone")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_not_repeated() {
    let (_, store) = store();
    store.script(Operation::Put, [Fault::Deny, Fault::Deny]);
    assert!(matches!(upload(&store, &body("siltstone")).await, Err(StoreError::Refused { .. })));
    assert_eq!(store.scripted(), 1);
}

#[tokio::test(start_paused = true)]
async fn r9_whatever_strikes_success_means_that_our_bytes_are_there_and_stay() {
    let rates = FaultRates {
        refuse: 0.2,
        lose_request: 0.1,
        lose_answer: 0.2,
        late: 0.2,
        short: 0.1,
        max_delay: Duration::from_secs(2),
        ..FaultRates::default()
    };
    let mut succeeded = 0;
    for seed in 0..300 {
        let (memory, store) = store();
        store.by_chance(rates, Random::seeded(seed));
        let random = Random::seeded(seed);
        let first = put_verified(&store, KEY, &body("first"), UPLOAD_BACKOFF, &random).await;
        let second = put_verified(&store, KEY, &body("other"), UPLOAD_BACKOFF, &random).await;
        store.land().await;
        let there = stored(&memory).await;
        match (&first, &second) {
            (Ok(()), Ok(())) => panic!("seed {seed}: two bodies under one key"),
            (Ok(()), Err(_)) => assert_eq!(there.unwrap(), "first", "seed {seed}"),
            (Err(_), Ok(())) => assert_eq!(there.unwrap(), "other", "seed {seed}"),
            (Err(_), Err(_)) => {}
        }
        succeeded += usize::from(first.is_ok());
    }
    assert!(200 < succeeded, "{succeeded}");
}
