//! What every store promises, asked of every implementation.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, stream};
use runtime::{ManualClock, Random, SystemClock};

use crate::faults::FaultyStore;
use crate::{CountingStore, DirectoryStore, MAX_KEY_BYTES, MemoryStore, ObjectStore, S3Options, StoreError, open};

/// Asks an empty store for all it promises, and leaves it empty.
pub(crate) async fn check(store: &dyn ObjectStore, refuses_folder_keys: bool) {
    bodies_come_back_whole_and_in_ranges(store).await;
    an_object_is_never_replaced(store).await;
    what_is_not_there_is_not_found(store).await;
    what_is_not_a_key_is_refused(store).await;
    of_concurrent_puts_one_wins(store).await;
    listings_are_in_key_order_and_complete(store).await;
    if refuses_folder_keys {
        t33_a_key_that_is_anothers_folder_is_refused(store).await;
    }
    assert_eq!(keys(store, "", None, 100).await, [""; 0]);
}

async fn put(store: &dyn ObjectStore, key: &str, body: &[u8]) {
    store.put(key, vec![Bytes::copy_from_slice(body)]).await.unwrap();
}

async fn remove(store: &dyn ObjectStore, keys: &[&str]) {
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    for answer in store.delete(&keys).await {
        answer.unwrap();
    }
}

async fn keys(store: &dyn ObjectStore, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.list(prefix, after, limit).await.unwrap().into_iter().map(|meta| meta.key).collect()
}

async fn bodies_come_back_whole_and_in_ranges(store: &dyn ObjectStore) {
    let parts = [&b"silt"[..], b"", b"stone, ", b"settled"].map(Bytes::from_static);
    store.put("shared/0a/1-2-3", parts.to_vec()).await.unwrap();
    put(store, "empty", b"").await;
    assert_eq!(store.get("shared/0a/1-2-3", 18).await.unwrap(), "siltstone, settled");
    assert_eq!(store.get("empty", 0).await.unwrap(), "");
    assert_eq!(store.get_range("shared/0a/1-2-3", 4..9).await.unwrap(), "stone");
    assert_eq!(store.get_range("shared/0a/1-2-3", 0..18).await.unwrap(), "siltstone, settled");
    assert_eq!(store.get_range("shared/0a/1-2-3", 7..7).await.unwrap(), "");

    let meta = store.head("shared/0a/1-2-3").await.unwrap();
    assert_eq!((meta.key.as_str(), meta.length), ("shared/0a/1-2-3", 18));
    let listed = store.list("shared/", None, 10).await.unwrap();
    let [listed] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((listed.key.as_str(), listed.length), ("shared/0a/1-2-3", 18));
    // A HEAD over HTTP has whole seconds, a listing may have more.
    assert!(listed.modified.millis_since(meta.modified) < 1000, "{listed:?} {meta:?}");

    for range in [0..19, 17..19, 18..19, 30..40] {
        assert!(matches!(store.get_range("shared/0a/1-2-3", range).await, Err(StoreError::Corrupt { .. })));
    }
    let backwards = std::ops::Range { start: 9, end: 4 };
    assert!(matches!(store.get_range("shared/0a/1-2-3", backwards).await, Err(StoreError::Refused { .. })));
    assert!(matches!(store.get("shared/0a/1-2-3", 17).await, Err(StoreError::Corrupt { .. })));
    remove(store, &["shared/0a/1-2-3", "empty"]).await;
}

async fn an_object_is_never_replaced(store: &dyn ObjectStore) {
    put(store, "a/b", b"first").await;
    for body in ["first", "other", ""] {
        let answer = store.put("a/b", vec![Bytes::from_static(body.as_bytes())]).await;
        assert!(matches!(&answer, Err(StoreError::AlreadyExists { key }) if key == "a/b"), "{answer:?}");
    }
    assert_eq!(store.get("a/b", 10).await.unwrap(), "first");
    remove(store, &["a/b"]).await;
    put(store, "a/b", b"second").await;
    assert_eq!(store.get("a/b", 10).await.unwrap(), "second");
    remove(store, &["a/b"]).await;
}

async fn what_is_not_there_is_not_found(store: &dyn ObjectStore) {
    put(store, "a/b", b"x").await;
    for key in ["b", "a", "a/c", "a/b/c"] {
        assert!(matches!(store.get(key, 10).await, Err(StoreError::NotFound { .. })), "{key}");
        assert!(matches!(store.get_range(key, 0..1).await, Err(StoreError::NotFound { .. })), "{key}");
        assert!(matches!(store.head(key).await, Err(StoreError::NotFound { .. })), "{key}");
    }
    remove(store, &["b", "a", "a/c", "a/b/c"]).await;
    assert_eq!(keys(store, "", None, 10).await, ["a/b"]);
    remove(store, &["a/b", "a/b"]).await;
}

async fn what_is_not_a_key_is_refused(store: &dyn ObjectStore) {
    let longest = ["x".repeat(255), "y".repeat(255)].join("/");
    assert!(longest.len() <= MAX_KEY_BYTES);
    put(store, &longest, b"x").await;
    remove(store, &[&longest]).await;
    for key in ["", "/", "a//b", "../a", ".staging/a", "a b", "a/", &format!("{longest}/z")] {
        assert!(matches!(store.put(key, Vec::new()).await, Err(StoreError::Refused { .. })), "{key}");
        assert!(matches!(store.get(key, 10).await, Err(StoreError::Refused { .. })), "{key}");
        assert!(matches!(store.get_range(key, 0..1).await, Err(StoreError::Refused { .. })), "{key}");
        assert!(matches!(store.head(key).await, Err(StoreError::Refused { .. })), "{key}");
        assert!(matches!(store.delete(&[key.to_owned()]).await[..], [Err(StoreError::Refused { .. })]), "{key}");
    }
}

async fn of_concurrent_puts_one_wins(store: &dyn ObjectStore) {
    let puts = (0..8u8).map(|writer| store.put("race/1", vec![Bytes::from(vec![writer; 100_000])]));
    let answers = join_all(puts).await;
    let winners: Vec<_> = (0..8u8).filter(|writer| answers[usize::from(*writer)].is_ok()).collect();
    let [winner] = winners[..] else { panic!("{answers:?}") };
    assert_eq!(store.get("race/1", 100_000).await.unwrap(), vec![winner; 100_000]);
    remove(store, &["race/1"]).await;
}

async fn listings_are_in_key_order_and_complete(store: &dyn ObjectStore) {
    // '-' and '.' sort before '/', digits and letters after it.
    let all = ["a-b", "a.b", "a/b/c", "a/b/d", "a/b0", "a0", "ab/x", "b", "b0/0", "b0/1"];
    let expected: BTreeSet<_> = all.into_iter().collect();
    for key in all.iter().rev() {
        put(store, key, key.as_bytes()).await;
    }
    assert!(all.iter().eq(&expected));
    assert_eq!(keys(store, "", None, 100).await, all);
    for prefix in ["a", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/", "b0/", "c", "a.", ".", "..", "a/.", "a//", "/", "b 0"] {
        let expected: Vec<_> = all.into_iter().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(keys(store, prefix, None, 100).await, expected, "{prefix}");
        for after in ["a", "a/b", "a/b/c", "a/b/zzz", "a0", "zzz", "a-b", "a/"] {
            let expected: Vec<_> = expected.iter().copied().filter(|key| after < *key).collect();
            assert_eq!(keys(store, prefix, Some(after), 100).await, expected, "{prefix} after {after}");
        }
    }
    for limit in 0..=all.len() + 1 {
        assert_eq!(keys(store, "", None, limit).await, all[..limit.min(all.len())]);
        assert_eq!(keys(store, "a", Some("a-b"), limit).await, all[1..7][..limit.min(6)]);
    }
    remove(store, &all).await;
}

async fn t33_a_key_that_is_anothers_folder_is_refused(store: &dyn ObjectStore) {
    put(store, "x/y/z", b"1").await;
    for key in ["x", "x/y", "x/y/z/w", "x/y/z/w/v"] {
        let answer = store.put(key, vec![Bytes::from_static(b"2")]).await;
        assert!(matches!(answer, Err(StoreError::Refused { .. })), "{key}: {answer:?}");
    }
    assert_eq!(keys(store, "", None, 10).await, ["x/y/z"]);
    remove(store, &["x/y/z"]).await;
    put(store, "x", b"3").await;
    remove(store, &["x"]).await;
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::new(Arc::new(ManualClock::new(5))))
}

#[tokio::test]
async fn memory_conforms() {
    check(&*memory(), true).await;
}

#[tokio::test]
async fn a_directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(&folder.path().join("store"), Arc::new(Random::from_os())).await.unwrap();
    check(&store, true).await;
}

#[tokio::test]
async fn wrappers_without_faults_conform() {
    check(&FaultyStore::new(memory()), true).await;
    check(&CountingStore::new(memory(), Arc::new(SystemClock)), true).await;
}

/// Against a real server: `SILTSTONE_TEST_S3_URL=s3://bucket`, `SILTSTONE_TEST_S3_ENDPOINT`, and credentials as AWS's tools take them.
#[tokio::test]
#[ignore = "needs a server: SILTSTONE_TEST_S3_URL, SILTSTONE_TEST_S3_ENDPOINT"]
async fn s3_conforms() {
    let url = std::env::var("SILTSTONE_TEST_S3_URL").unwrap();
    let random = Arc::new(Random::from_os());
    let url = format!("{}/conformance-{:016x}", url.trim_end_matches('/'), random.u64());
    let options = S3Options {
        endpoint: std::env::var("SILTSTONE_TEST_S3_ENDPOINT").ok(),
        region: std::env::var("SILTSTONE_TEST_S3_REGION").ok(),
        path_style: None,
    };
    let store = open(&url, &options, Arc::new(SystemClock), random).await.unwrap();
    check(&*store, false).await;
    let bulk: Vec<_> = (0..2100).map(|number| format!("bulk/{number:05}")).collect();
    stream::iter(&bulk).for_each_concurrent(16, async |key| put(&*store, key, b"x").await).await;
    assert_eq!(keys(&*store, "bulk/", None, 3000).await, bulk);
    assert!(store.delete(&bulk).await.iter().all(Result::is_ok));
    assert_eq!(keys(&*store, "", None, 10).await, [""; 0]);
    let date = store.date().await.unwrap().unwrap();
    assert!(1_600_000_000_000 < date.0, "{date}");
}
