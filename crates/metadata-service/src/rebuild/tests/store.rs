//! From a store to a service that leads, by way of a new journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata_api::{CreateTopic, MetadataClient, RegisterBroker};
use runtime::{ManualClock, Random};
use store::{MARKER_KEY, MemoryStore, ObjectStore};
use types::{BrokerId, Durability, Revision, WalId};

use super::life::NOW;
use crate::journal::{FIRST_SLOT, Journal};
use crate::snapshot::{CHUNKS, MANIFESTS, TOPICS};
use crate::{MemoryJournal, MetadataService, Options, Rebuild, RebuildError, Report, StartError};

const MINUTE: Duration = Duration::from_secs(60);

struct Site {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl Site {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::following_tokio(NOW));
        Self { store: Arc::new(MemoryStore::new(clock.clone())), clock }
    }

    async fn start(&self, journal: &MemoryJournal) -> Result<MetadataService, StartError> {
        let options = Options { snapshot_interval: MINUTE, ..Options::default() };
        MetadataService::start(
            options,
            Arc::new(journal.clone()),
            self.store.clone(),
            None,
            self.clock.clone(),
            Arc::new(Random::from_os()),
        )
        .await
    }

    async fn rebuild(&self, journal: &MemoryJournal) -> Result<Report, RebuildError> {
        let rebuilt = Rebuild::begin(self.store.as_ref()).await?.finish(&[], &[]);
        let report = rebuilt.report().clone();
        rebuilt.write(journal, self.store.as_ref(), &Random::from_os()).await?;
        Ok(report)
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.list(prefix, None, 1000).await.unwrap().into_iter().map(|object| object.key).collect()
    }

    async fn damage(&self, key: &str) {
        let object = self.store.get(key, 1 << 20).await.unwrap();
        self.store.delete(&[key.to_owned()]).await.pop().unwrap().unwrap();
        self.store.put(key, vec![object.slice(1..), Bytes::from_static(b"!")]).await.unwrap();
    }
}

async fn register(service: &MetadataService, revision_seen: Revision) -> Arc<dyn MetadataClient> {
    let client = service.client();
    let request = RegisterBroker {
        broker: BrokerId(1),
        wal: WalId::from_bytes([1; 16]),
        cluster: None,
        endpoints: Vec::new(),
        rack: None,
        revision_seen,
        unpublished: Vec::new(),
    };
    client.register_broker(request).await.unwrap();
    client
}

async fn create(client: &dyn MetadataClient, name: &str) {
    let request = CreateTopic {
        name: name.to_owned(),
        partitions: 3,
        replication_factor: 1,
        configs: BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
        durability: Durability::Wal,
        validate_only: false,
    };
    client.create_topic(request).await.unwrap();
}

async fn names(client: &dyn MetadataClient) -> Vec<String> {
    let mut image = client.image();
    let image = image.wait_for(|image| !image.topics.is_empty()).await.unwrap();
    image.names.keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn r15_without_any_snapshot_the_steps_in_the_store_are_enough() {
    let site = Site::new();
    let service = site.start(&MemoryJournal::new()).await.unwrap();
    let client = register(&service, Revision(0)).await;
    create(client.as_ref(), "a").await;
    service.stop().await;
    assert_eq!(site.keys(MANIFESTS).await, [] as [String; 0]);
    let journal = MemoryJournal::new();
    assert!(matches!(site.start(&journal).await, Err(StartError::StoreInUse { .. })));
    let report = site.rebuild(&journal).await.unwrap();
    assert_eq!((report.snapshot, report.steps, report.topics, report.partitions), (None, 2, 1, 3));
    let service = site.start(&journal).await.unwrap();
    let seen = client.image().borrow().revision;
    let client = register(&service, seen).await;
    assert_eq!(names(client.as_ref()).await, ["a"]);
    assert!(client.image().borrow().topics.values().all(|topic| topic.configs["retention.ms"] == "1"));
}

#[tokio::test(start_paused = true)]
async fn r15_the_newest_snapshot_and_what_came_after_it() {
    for damaged in [0, 1, 2] {
        let site = Site::new();
        let service = site.start(&MemoryJournal::new()).await.unwrap();
        let client = register(&service, Revision(0)).await;
        for name in ["a", "b"] {
            create(client.as_ref(), name).await;
            tokio::time::sleep(MINUTE * 2).await;
        }
        create(client.as_ref(), "c").await;
        service.stop().await;
        let manifests = site.keys(MANIFESTS).await;
        assert_eq!(manifests.len(), 2);
        for key in manifests.iter().rev().take(damaged) {
            site.damage(key).await;
        }
        let journal = MemoryJournal::new();
        let rebuilt = site.rebuild(&journal).await;
        if damaged == 2 {
            let refused = rebuilt.unwrap_err();
            assert!(matches!(refused, RebuildError::NoSnapshot { count: 2, .. }), "{refused}");
            assert_eq!(journal.slots(), [] as [u64; 0]);
            continue;
        }
        let report = rebuilt.unwrap();
        assert_eq!((report.topics, report.snapshot.is_some()), (3, true));
        assert!(damaged == 0 || 0 < report.steps);
        let service = site.start(&journal).await.unwrap();
        let client = register(&service, Revision(0)).await;
        assert_eq!(names(client.as_ref()).await, ["a", "b", "c"]);
        // The snapshots and steps from before go once two newer ones are there.
        for name in ["d", "e"] {
            create(client.as_ref(), name).await;
            tokio::time::sleep(MINUTE * 2).await;
        }
        let old = [MANIFESTS, CHUNKS, TOPICS].map(|prefix| format!("{prefix}{:011}", 0));
        for prefix in old {
            assert_eq!(site.keys(&prefix).await, [] as [String; 0], "revisions have jumped");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_was_cut_off_is_done_again_and_the_lost_journal_is_refused_after_it() {
    let site = Site::new();
    let lost = MemoryJournal::new();
    let service = site.start(&lost).await.unwrap();
    let client = register(&service, Revision(0)).await;
    create(client.as_ref(), "a").await;
    service.stop().await;
    site.rebuild(&MemoryJournal::new()).await.unwrap();
    let journal = MemoryJournal::new();
    let report = site.rebuild(&journal).await.unwrap();
    assert_eq!((report.steps, report.topics), (0, 1), "it begins from the snapshot of the first");
    assert!(matches!(site.rebuild(&journal).await, Err(RebuildError::Journal { .. })), "only an empty journal is begun");
    let refused = site.start(&lost).await.err().unwrap();
    assert!(matches!(refused, StartError::RolledBack { .. }), "{refused}");
    drop(site.start(&journal).await.unwrap());

    // Nobody else can take the journal for a whole one.
    for key in site.keys(MANIFESTS).await {
        site.damage(&key).await;
    }
    let refused = site.start(&journal).await.err().unwrap();
    assert!(refused.to_string().contains("which is missing or damaged in the store"), "{refused}");
    assert_eq!(journal.read(FIRST_SLOT, 1).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_nobodys_is_not_rebuilt() {
    let site = Site::new();
    assert!(matches!(site.rebuild(&MemoryJournal::new()).await, Err(RebuildError::NoCluster)));
    site.store.put(MARKER_KEY, vec![Bytes::from_static(b"?")]).await.unwrap();
    assert!(matches!(site.rebuild(&MemoryJournal::new()).await, Err(RebuildError::Claim(_))));
}
