//! A whole broker in this process, put together as `serve` does it: the real write-ahead log in a directory, the store and the
//! metadata journal in memory, and threads of its own. What a test changes by hand is what would make its counts depend on time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::{
    BoundListener, Broker, BrokerConfigError, BrokerHandle, BrokerOptions, Configuration, Flusher, ListenerOptions, Principal, Stage,
};
use metadata_api::{Endpoint, RegisterBroker};
use metadata_service::{MemoryJournal, MetadataService};
use offload::{LostDirectory, NoFailpoints, Offload, OffloadHandle, PublishObserver};
use parking_lot::Mutex;
use partition::{Limits, LogConfig, NoDamageObserver, Partitions};
use prometheus::Registry;
use records::TimestampType;
use runtime::{Background, Clock, Random, Shutdown, SystemClock, Tasks};
use store::{CountingStore, MemoryStore, ObjectStore, Operation, RangeReader, RangeReaderOptions, StoreCounters};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use types::{BrokerId, Lsn, Revision};
use wal::{Faults, RocksDbWal, WriteAheadLog};

use crate::allocations;
use crate::client::{Client, PATIENCE};

const BROKER: BrokerId = BrokerId(1);
const LISTENER: &str = "PLAINTEXT";
/// Until who waits for an upload is served: long enough for all that one request appended to be in it.
const UPLOAD_INTERVAL: Duration = Duration::from_millis(500);
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Counts are of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What outlives a broker, and where it is counted.
pub(crate) struct Machine {
    directory: TempDir,
    journal: MemoryJournal,
    store: Arc<dyn ObjectStore>,
    counters: Arc<StoreCounters>,
    clock: Arc<dyn Clock>,
    _alone: parking_lot::MutexGuard<'static, ()>,
}

/// A broker that serves, on threads of its own.
pub(crate) struct World {
    running: Running,
    threads: Runtime,
}

struct Running {
    wal: Arc<RocksDbWal>,
    faults: Arc<Faults>,
    address: SocketAddr,
    offload: OffloadHandle,
    broker: BrokerHandle,
    metadata: MetadataService,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let alone = ALONE.lock();
        allocations::exempt_this_thread();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = CountingStore::new(Arc::new(MemoryStore::new(Arc::clone(&clock))), Arc::clone(&clock));
        Self {
            // Below the build's output rather than in /tmp, which may be memory.
            directory: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            journal: MemoryJournal::new(),
            counters: store.counters(),
            store: Arc::new(store),
            clock,
            _alone: alone,
        }
    }

    /// Calls of an operation on the store so far, and the bytes they moved.
    pub(crate) fn store_calls(&self, operation: Operation) -> (u64, u64) {
        let counts = self.counters.get(operation);
        (counts.outcomes.iter().sum(), counts.bytes)
    }

    /// Starts a broker on what the one before left, which must be nothing unpublished.
    pub(crate) fn start(&self) -> World {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = threads.block_on(self.run());
        World { running, threads }
    }

    async fn run(&self) -> Running {
        let random = Arc::new(Random::seeded(1));
        let options = metadata_service::Options { retention: None, orphan_interval: NEVER, ..metadata_service::Options::default() };
        let journal = Arc::new(self.journal.clone());
        let service = MetadataService::start(options, journal, Arc::clone(&self.store), None, Arc::clone(&self.clock), Arc::clone(&random));
        let service = service.await.unwrap();
        let (metadata, store) = (service.client(), service.store());

        let faults: Arc<Faults> = Arc::default();
        let wal_options = wal::Options {
            faults: Arc::clone(&faults),
            generation_age: NEVER,
            reserve_bytes: 0,
            ..wal::Options::new(Arc::clone(&self.clock), Arc::clone(&random))
        };
        let wal = Arc::new(RocksDbWal::open(&self.directory.path().join("wal"), wal_options, &mut |_, _| {}).unwrap());
        let log: Arc<dyn WriteAheadLog> = Arc::clone(&wal) as Arc<dyn WriteAheadLog>;

        let listener = ListenerOptions {
            name: LISTENER.to_owned(),
            address: ([127, 0, 0, 1], 0).into(),
            first_stage: Stage::Authenticated(Principal::anonymous()),
        };
        let listener = BoundListener::bind(listener).unwrap();
        let address = listener.address();
        let endpoint = Endpoint { listener: LISTENER.to_owned(), host: address.ip().to_string(), port: address.port() };
        let registration = RegisterBroker {
            broker: BROKER,
            wal: wal.id(),
            cluster: None,
            endpoints: vec![endpoint],
            rack: None,
            revision_seen: Revision(0),
            unpublished: Vec::new(),
        };
        let registration = metadata.register_broker(registration).await.unwrap();
        wal.verify_end(registration.synced_seen).unwrap();
        let end = wal.progress().borrow().appended;
        assert!(end <= registration.last_published.next().max(wal.start()), "there are entries to replay");
        wal.begin_epoch(registration.epoch, registration.last_published, registration.revision).unwrap();

        let partitions = Partitions::new(partition::Deps {
            wal: Arc::clone(&log),
            metadata: Arc::clone(&metadata),
            ranges: RangeReader::new(Arc::clone(&store), RangeReaderOptions::default()),
            background: Background::default(),
            damage: Arc::new(NoDamageObserver),
            clock: Arc::clone(&self.clock),
            broker: BROKER,
            epoch: registration.epoch,
            limits: Limits::default(),
        });
        for state in &registration.partitions {
            partitions.open(state.clone(), LogConfig { timestamp_type: TimestampType::CreateTime });
        }
        partitions.finish_recovery();
        drop(runtime::spawn("partitions", Arc::clone(&partitions).run()));

        let offload = Offload::new(
            offload::Deps {
                wal: Arc::clone(&log),
                store,
                metadata: Arc::clone(&metadata),
                clock: Arc::clone(&self.clock),
                random: Arc::clone(&random),
                observer: Arc::new(PublishedToPartitions(Arc::clone(&partitions))),
                lost: Arc::new(LostDirectory::new(self.directory.path().join("lost"))),
                failpoints: Arc::new(NoFailpoints),
                broker: BROKER,
            },
            &registration,
            // What nobody waits for is uploaded at the stop, and not while others are counted.
            offload::Options {
                interval: UPLOAD_INTERVAL,
                early_per_minute: 0,
                max_age: NEVER,
                memory_bytes: u64::MAX,
                ..offload::Options::default()
            },
        );
        let handle = offload.handle();
        drop(runtime::spawn("offload", offload.run(Shutdown::new())));

        let opening = handle.clone();
        let broker = Broker::start(broker::Deps {
            partitions,
            metadata,
            clock: Arc::clone(&self.clock),
            random: random.fork(),
            listeners: vec![listener],
            configuration: Arc::new(Fixed),
            registry: Registry::new(),
            log_fill: Arc::new(|| 0.0),
            flusher: Arc::new(NoFlusher),
            began_to_lead: Arc::new(move |state| opening.open(state)),
            tasks: Tasks::new(),
        });
        let broker = broker.await.unwrap();
        Running { wal, faults, address, offload: handle, broker, metadata: service }
    }
}

impl World {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.running.address)
    }

    pub(crate) fn wal(&self) -> &RocksDbWal {
        &self.running.wal
    }

    /// Of the disk under the log.
    pub(crate) fn faults(&self) -> &Faults {
        &self.running.faults
    }

    /// Waits until the log reaches `end`.
    pub(crate) fn wait_appended(&self, end: Lsn) {
        let mut progress = self.running.wal.progress();
        self.threads.block_on(async {
            let appended = progress.wait_for(|progress| end <= progress.appended);
            drop(tokio::time::timeout(PATIENCE, appended).await.expect("appended in time").expect("the log is open"));
        });
    }

    /// Publishes everything and stops. Nothing is in use any more afterwards.
    pub(crate) fn stop(self) {
        let Self { running: Running { wal, offload, broker, metadata, .. }, threads } = self;
        threads.block_on(async {
            broker.stop(PATIENCE).await;
            offload.stop(PATIENCE).await.unwrap();
            wal.close();
            metadata.stop().await;
        });
        drop((offload, metadata, threads));
        assert!(Arc::into_inner(wal).is_some(), "somebody still holds the log");
    }
}

/// As the program tells its partitions.
struct PublishedToPartitions(Arc<Partitions>);

impl PublishObserver for PublishedToPartitions {
    fn published(&self, revision: Revision, end_lsn: Lsn, partitions: &[offload::Published]) {
        let parts = partitions.iter().map(|part| partition::Published {
            partition: part.partition,
            base: part.base,
            end: part.end,
            verdict: part.verdict.clone(),
        });
        self.0.published(revision, end_lsn, &parts.collect::<Vec<_>>());
    }
}

/// Nothing is deleted here.
struct NoFlusher;

#[async_trait::async_trait]
impl Flusher for NoFlusher {
    async fn flush(&self, _: Lsn) -> Result<(), String> {
        Err("nothing is deleted here".to_owned())
    }
}

/// The broker's defaults, for good.
struct Fixed;

impl Configuration for Fixed {
    fn key<'a>(&self, name: &'a str) -> &'a str {
        name
    }

    fn check(&self, key: &str, _: &str) -> Result<String, BrokerConfigError> {
        Err(BrokerConfigError::ReadOnly { name: key.to_owned() })
    }

    fn options(&self, _: &BTreeMap<String, String>) -> Result<BrokerOptions, String> {
        Ok(BrokerOptions { id: BROKER, ..BrokerOptions::default() })
    }
}
