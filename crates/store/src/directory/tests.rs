use std::collections::BTreeSet;

use super::*;
use crate::{Body, UPLOAD_BACKOFF, put_verified};

/// Everything synced by any test of this process, in order.
static SYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub(super) fn note_sync(path: &Path) {
    SYNCED.lock().push(path.to_owned());
}

/// What was synced below `root`, as paths relative to it, since this was last asked; staging files by their folder's name.
fn synced(root: &Path) -> Vec<String> {
    let mut all = SYNCED.lock();
    let ours: Vec<_> = all.iter().filter_map(|path| Some(path.strip_prefix(root).ok()?.to_str()?.to_owned())).collect();
    all.retain(|path| !path.starts_with(root));
    ours.into_iter().map(|path| if path.starts_with(STAGING) { STAGING.to_owned() } else { path }).collect()
}

fn random() -> Arc<Random> {
    Arc::new(Random::from_os())
}

async fn opened(folder: &tempfile::TempDir) -> (DirectoryStore, PathBuf) {
    let root = folder.path().join("store");
    let store = DirectoryStore::open(&root, random()).await.unwrap();
    synced(&root);
    (store, root)
}

async fn put(store: &DirectoryStore, key: &str) -> Result<(), StoreError> {
    store.put(key, vec![Bytes::from_static(b"body")]).await
}

fn staged(root: &Path) -> usize {
    fs::read_dir(root.join(STAGING)).unwrap().count()
}

#[tokio::test]
async fn t32_a_put_syncs_the_file_then_its_folder_and_every_new_folder_up_to_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = opened(&folder).await;
    put(&store, "shared/0a/1").await.unwrap();
    assert_eq!(synced(&root), [STAGING, "shared/0a", "shared", ""]);
    // Folders that are known to be on the disk are not synced again, but for the new entry's.
    put(&store, "shared/0a/2").await.unwrap();
    assert_eq!(synced(&root), [STAGING, "shared/0a"]);
    put(&store, "shared/0b/1").await.unwrap();
    assert_eq!(synced(&root), [STAGING, "shared/0b", "shared"]);
    put(&store, "top").await.unwrap();
    assert_eq!(synced(&root), [STAGING, ""]);
    assert_eq!(staged(&root), 0);
}

#[tokio::test]
async fn r1_an_object_that_is_found_is_synced_before_anybody_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = opened(&folder).await;
    // As an earlier process left it that was killed between the link and the sync of the folder.
    fs::create_dir_all(root.join("shared/0a")).unwrap();
    fs::write(root.join("shared/0a/1"), b"body").unwrap();
    assert!(matches!(put(&store, "shared/0a/1").await, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(synced(&root), ["shared/0a/1", "shared/0a", "shared", ""]);
    let body = Body::new(vec![Bytes::from_static(b"body")]);
    put_verified(&store, "shared/0a/1", &body, UPLOAD_BACKOFF, &random()).await.unwrap();
    assert_eq!(synced(&root), ["shared/0a/1", "shared/0a"]);
}

#[tokio::test]
async fn t32_a_folder_that_was_removed_is_synced_again_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = opened(&folder).await;
    put(&store, "topic/a/1").await.unwrap();
    store.delete(&["topic/a/1".to_owned()]).await.pop().unwrap().unwrap();
    assert!(!root.join("topic").exists(), "empty folders go");
    synced(&root);
    put(&store, "topic/a/2").await.unwrap();
    assert_eq!(synced(&root), [STAGING, "topic/a", "topic", ""]);
}

#[tokio::test]
async fn leftovers_of_a_dead_writer_are_swept_and_those_of_a_living_one_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (_, root) = opened(&folder).await;
    fs::write(root.join(STAGING).join("dead"), b"half").unwrap();
    let living = root.join(STAGING).join("living");
    let file = File::create(&living).unwrap();
    file.lock().unwrap();
    let store = DirectoryStore::open(&root, random()).await.unwrap();
    assert!(!root.join(STAGING).join("dead").exists() && living.exists());
    assert_eq!(store.list("", None, 10).await.unwrap(), [], "staging files are not objects");
    drop(file);
    DirectoryStore::open(&root, random()).await.unwrap();
    assert!(!living.exists());
}

#[tokio::test]
async fn a_put_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = opened(&folder).await;
    put(&store, "a").await.unwrap();
    assert!(matches!(put(&store, "a/b").await, Err(StoreError::Refused { .. })));
    fs::remove_dir_all(root.join(STAGING)).unwrap();
    assert!(matches!(put(&store, "b").await, Err(StoreError::Unavailable { .. })));
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_beside_deletions_that_empty_their_folder_are_there_and_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = opened(&folder).await;
    let workers = (0..4).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let key = format!("topic/a/{worker}-{round}");
                put(&store, &key).await.unwrap();
                assert_eq!(store.get(&key, 10).await.unwrap(), "body");
                if round < 49 {
                    store.delete(&[key]).await.pop().unwrap().unwrap();
                }
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(store.list("topic/a/", None, 100).await.unwrap().len(), 4);
    assert_eq!(*store.0.durable.lock(), ["topic", "topic/a"].map(|path| root.join(path)).into_iter().collect());
    let left: BTreeSet<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["topic", STAGING].map(Into::into).into());
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for (root, expected) in [
        (folder.path().join("absent/store"), "the directory above it does not exist"),
        (file.clone(), "is a file; name a directory"),
        (file.join("store"), "cannot make the directory"),
    ] {
        let error = DirectoryStore::open(&root, random()).await.err().expect("not opened").to_string();
        assert!(error.contains(expected) && error.contains(root.to_str().unwrap()) && !error.contains('\n'), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was touched");
}

#[test]
fn t32_a_directory_that_is_made_is_durable_with_those_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/store");
    assert_eq!(DirectoryStore::create(&root).unwrap(), Created::Made);
    assert!(root.is_dir());
    assert_eq!(synced(folder.path()), ["a/b", "a", ""]);
    assert_eq!(DirectoryStore::create(&root).unwrap(), Created::WasThere);
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(DirectoryStore::create(&folder.path().join("file/store")).is_err());
}
