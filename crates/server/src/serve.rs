//! `siltstone serve`: puts a broker together in the order that recovery needs, says that it is ready, waits for the end, and takes it
//! apart again.
//!
//! The order of the start is the order of trust: the directory is this broker's, the store is this cluster's, metadata knows what was
//! published, the write-ahead log is whole and synced, its leftovers are back in their partitions; only then does anybody connect. A
//! store that is away is trusted later, before its first use, if the directory has what a start takes without it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use audit::{AuditDeps, AuditHandle, Auditor, Reference};
use broker::{BoundListener, Broker, BrokerHandle, BrokerOptions, Flusher, TopicDefaults};
use metadata_api::{ClusterImage, Endpoint, HeartbeatRequest, MetadataClient, MetadataError, Registration};
use offload::{
    LostDirectory, NoFailpoints, NoRewriteFailpoints, Offload, OffloadError, OffloadHandle, RewriteDeps, RewriteOptions, Rewriter,
};
use partition::{DamageObserver, Limits, NoDamageObserver, Partitions};
use records::TimestampType;
use runtime::{Background, Clock, Random, Shutdown, SystemClock, Tasks};
use store::{CountingStore, DiskCache, RangeReader, RangeReaderOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use types::{BrokerId, ClusterId, Durability, Lsn, SegmentRef, TopicPartition};
use wal::{RocksDbWal, WriteAheadLog};

use crate::commands::DEFAULT_BOOTSTRAP;
use crate::config::{Config, Listener, StartedWith};
use crate::data_dir::DataDir;
use crate::health::{Health, Part};
use crate::http::{self, Sources};
use crate::metadata::Embedded;
use crate::metrics::{Metrics, Parts};
use crate::ports::Ports;
use crate::recovery::{self, PublishedToPartitions};
use crate::whereabouts::Whereabouts;

/// How often the session shows a sign of life and health is looked at.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often the data directory notes how far metadata has come (rule R8).
const NOTE_REVISION: Duration = Duration::from_secs(10);
/// Uploads under way at once.
const UPLOADS: usize = 4;
/// After everything is stopped: for tasks that hold nothing of value.
const LEAVE: Duration = Duration::from_millis(500);

/// The write-ahead log stopped: the process ends with a status of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}; look at the disk before you start the broker again")]
pub(crate) struct WalStopped(OffloadError);

/// Serves until a signal or a failure ends it.
pub(crate) fn run(config: Config, warnings: Vec<String>) -> Result<()> {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the I/O runtime")?;
    let background = Background::start().context("start the background's threads")?;
    let outcome = threads.block_on(serve(config, background.clone()));
    threads.shutdown_timeout(LEAVE);
    // Only now: nobody waits any more for what it was doing.
    drop(background);
    outcome
}

async fn serve(config: Config, background: Background) -> Result<()> {
    let ports = Ports::bind(&config)?;
    let mut stop = StopSignals::listen()?;
    let data_dir = DataDir::open(&config.data_dir, config.node_id)?;
    let health = Health::default();
    health.obstruct(Part::Recovery, "starting");
    let metrics = Metrics::new()?;
    let sources = Arc::new(Sources { health: health.clone(), metrics: metrics.clone(), whereabouts: OnceLock::new() });
    let endpoints = ports.endpoints(&config);
    let announcement = Announcement::new(&config, &ports)?;
    http::start(ports.http, Arc::clone(&sources))?;
    let access = Access { listeners: ports.kafka, endpoints, metadata: ports.metadata };
    let running = tokio::select! {
        running = Running::start(&config, data_dir, access, background, &metrics, &sources) => running?,
        () = stop.wait() => return Ok(()),
    };
    health.clear(Part::Recovery);
    let away = running.metadata_service.store_away();
    if let Some(why) = &away {
        running.show_store_away(&health, why);
        tracing::warn!("the store {} is away, the broker has started from its data directory: {why}", config.store.url);
    }
    announcement.print(running.registration.cluster, away.as_deref());
    running.until_the_end(&mut stop, &health, config.shutdown_timeout).await
}

/// What the broker says on standard output once it is ready, for people and for whoever started the process.
struct Announcement {
    node: BrokerId,
    listeners: Vec<Listener>,
    http: SocketAddr,
    metadata: SocketAddr,
    store: String,
    durability: Durability,
}

impl Announcement {
    fn new(config: &Config, ports: &Ports) -> Result<Self> {
        let listeners = config.listeners.iter().zip(&ports.kafka);
        Ok(Self {
            node: config.node_id,
            listeners: listeners.map(|(listener, bound)| Listener { port: bound.address().port(), ..listener.clone() }).collect(),
            http: ports.http.local_addr().context("ask for the HTTP port")?,
            metadata: ports.metadata.local_addr().context("ask for the metadata port")?,
            store: config.store.url.clone(),
            durability: config.durability,
        })
    }

    #[expect(clippy::print_stdout, reason = "this is what the command prints")]
    fn print(&self, cluster: ClusterId, store_away: Option<&str>) {
        println!("siltstone {}, broker {} of cluster {cluster}", env!("CARGO_PKG_VERSION"), self.node);
        for listener in &self.listeners {
            println!("listening    {listener}");
        }
        println!("http         http://{}", self.http);
        println!("metadata     http://{}", self.metadata);
        match store_away {
            None => println!("store        {}", self.store),
            Some(why) => println!("store        {}, away ({why}): uploads wait for it, wal topics do not", self.store),
        }
        println!(
            "durability   {}",
            match self.durability {
                Durability::Wal => "wal: acks=all returns after an fsync of the write-ahead log; not proof against the loss of this disk",
                Durability::Object => "object: acks=all returns once the records are uploaded and published",
            }
        );
        println!();
        let address = self.listeners.first().map(Listener::local_address).filter(|address| address != DEFAULT_BOOTSTRAP);
        let bootstrap = address.map_or_else(String::new, |address| format!(" --bootstrap {address}"));
        println!("try          siltstone topic create first --partitions 4{bootstrap}");
        println!("             ls -1 / | siltstone produce first{bootstrap}");
        println!("             siltstone consume first{bootstrap}");
    }
}

/// Where others reach the broker.
struct Access {
    listeners: Vec<BoundListener>,
    endpoints: Vec<Endpoint>,
    metadata: TcpListener,
}

/// Everything that runs, in the order of its start.
struct Running {
    data_dir: DataDir,
    metadata_service: Embedded,
    metadata: Arc<dyn MetadataClient>,
    wal: Arc<RocksDbWal>,
    registration: Registration,
    offload: OffloadHandle,
    offload_ended: JoinHandle<Result<(), OffloadError>>,
    /// Ends rewriting and auditing.
    maintenance: Shutdown,
    /// `None`: the store is not audited.
    audit: Option<AuditHandle>,
    broker: BrokerHandle,
    config: Config,
    revision_noted: tokio::time::Instant,
    started: tokio::time::Instant,
}

impl Running {
    async fn start(
        config: &Config,
        mut data_dir: DataDir,
        access: Access,
        background: Background,
        metrics: &Metrics,
        sources: &Sources,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random = Arc::new(Random::from_os());
        let store = store::open_unasked(&config.store.url, &config.store.s3_options(), Arc::clone(&clock), Arc::clone(&random)).await?;
        let counting = CountingStore::new(store, Arc::clone(&clock));
        let counters = counting.counters();

        let Access { listeners, endpoints, metadata } = access;
        let journal = data_dir.folder("metadata");
        let metadata_service = Embedded::start(config, metadata, &journal, Arc::new(counting), Arc::clone(&clock), &random).await?;
        let (metadata, store) = (metadata_service.client(), metadata_service.store());
        // After metadata has made sure that the store is this cluster's: nothing is written into another's. One that is away was asked
        // when it was here.
        if metadata_service.store_away().is_none() {
            let relied_on = store::check_reliance(Arc::clone(&store), Arc::clone(&random)).await;
            relied_on.with_context(|| format!("use store {}", config.store.url))?;
        }

        let wal = recovery::open_wal(config, data_dir.folder("wal"), &clock, &random).await?;
        let found = recovery::survey(wal.as_ref())?;
        let registration = recovery::register(config, endpoints, &data_dir, metadata.as_ref(), wal.as_ref(), found).await?;
        data_dir.bind(registration.cluster)?;
        data_dir.note_revision(registration.revision)?;
        wal.verify_end(registration.synced_seen)?;
        wal.begin_epoch(registration.epoch, registration.last_published, registration.revision)?;

        let disk_cache = open_disk_cache(&data_dir.folder("cache"), config.cache_disk_bytes)?;
        let range_options = RangeReaderOptions { cache_bytes: config.memory.read_cache, ..RangeReaderOptions::default() };
        let ranges = RangeReader::with_disk(Arc::clone(&store), range_options, disk_cache.clone());
        let auditor = config.audit.map(|options| {
            let deps = AuditDeps {
                store: Arc::clone(&store),
                metadata: Arc::clone(&metadata),
                clock: Arc::clone(&clock),
                random: Arc::clone(&random),
                broker: config.node_id,
                cluster: registration.cluster,
            };
            Auditor::new(deps, options)
        });
        let damage: Arc<dyn DamageObserver> = match &auditor {
            Some(auditor) => Arc::new(DamageToAuditor(auditor.handle())),
            None => Arc::new(NoDamageObserver),
        };
        let log: Arc<dyn WriteAheadLog> = Arc::clone(&wal) as Arc<dyn WriteAheadLog>;
        let partitions = Partitions::new(partition::Deps {
            wal: Arc::clone(&log),
            metadata: Arc::clone(&metadata),
            ranges: ranges.clone(),
            background: background.clone(),
            damage,
            clock: Arc::clone(&clock),
            broker: config.node_id,
            epoch: registration.epoch,
            limits: Limits { producer_expiration: config.topics.producer_id_expiration, ..Limits::default() },
        });
        recovery::replay(&partitions, metadata.as_ref(), log.as_ref(), &registration, &topic_defaults(config)).await?;
        drop(runtime::spawn("partitions", Arc::clone(&partitions).run()));

        let offload = Offload::new(
            offload::Deps {
                wal: Arc::clone(&log),
                store: Arc::clone(&store),
                metadata: Arc::clone(&metadata),
                clock: Arc::clone(&clock),
                random: Arc::clone(&random),
                observer: Arc::new(PublishedToPartitions(Arc::clone(&partitions))),
                lost: Arc::new(LostDirectory::new(data_dir.folder("lost"))),
                failpoints: Arc::new(NoFailpoints),
                broker: config.node_id,
            },
            &registration,
            offload::Options {
                interval: config.upload.interval,
                early_per_minute: config.upload.early_per_minute,
                bytes: config.upload.bytes,
                max_age: config.upload.max_age,
                max_bytes: config.upload.max_bytes,
                memory_bytes: config.memory.unpublished(),
                uploads: UPLOADS,
                producer_expiration: config.topics.producer_id_expiration,
            },
        );
        let handle = offload.handle();
        let rewriter = config.rewrite.map(|rewrite| {
            let deps = RewriteDeps {
                store,
                ranges: ranges.clone(),
                metadata: Arc::clone(&metadata),
                clock: Arc::clone(&clock),
                random: Arc::clone(&random),
                failpoints: Arc::new(NoRewriteFailpoints),
                broker: config.node_id,
                wal: log.id(),
            };
            let options = RewriteOptions { bytes_per_second: rewrite.bytes_per_second, memory_bytes: config.memory.rewrite };
            Rewriter::new(deps, &registration, &handle, options)
        });
        let offload_ended = runtime::spawn("offload", offload.run(Shutdown::new()));

        let fill_of = Arc::clone(&wal);
        let opening = handle.clone();
        let max_bytes = config.wal.max_bytes as f64;
        let broker = Broker::start(broker::Deps {
            partitions: Arc::clone(&partitions),
            metadata: Arc::clone(&metadata),
            clock: Arc::clone(&clock),
            random: random.fork(),
            listeners,
            configuration: Arc::new(StartedWith::new(config, broker_options)),
            registry: metrics.registry(),
            log_fill: Arc::new(move || fill_of.usage().bytes as f64 / max_bytes),
            flusher: Arc::new(FlushOffload(handle.clone())),
            began_to_lead: Arc::new(move |state| opening.open(state)),
            tasks: Tasks::new(),
        })
        .await?;

        metrics.show(Parts {
            wal: log,
            offload: handle.clone(),
            partitions: Arc::clone(&partitions),
            metadata: Arc::clone(&metadata),
            metadata_service: metadata_service.service(),
            store: counters,
            ranges,
            disk_cache,
            rewrites: rewriter.as_ref().map(Rewriter::handle),
            clock: Arc::clone(&clock),
        });
        let maintenance = Shutdown::new();
        if let Some(rewriter) = rewriter {
            drop(background.spawn("rewrite", rewriter.run(maintenance.clone())));
        }
        let audit = auditor.as_ref().map(Auditor::handle);
        if let Some(auditor) = auditor {
            metrics.show_audit(auditor.handle())?;
            drop(background.spawn("audit", auditor.run(maintenance.clone())));
        }
        let whereabouts = Whereabouts { metadata: Arc::clone(&metadata), partitions, wal: Arc::clone(&wal), clock };
        assert!(sources.whereabouts.set(whereabouts).is_ok(), "a broker starts once");
        Ok(Self {
            data_dir,
            metadata_service,
            metadata,
            wal,
            registration,
            offload: handle,
            offload_ended,
            maintenance,
            audit,
            broker,
            config: config.clone(),
            revision_noted: tokio::time::Instant::now(),
            started: tokio::time::Instant::now(),
        })
    }

    /// Keeps the session alive until a signal or a failure, then stops what still runs.
    async fn until_the_end(mut self, stop: &mut StopSignals, health: &Health, within: Duration) -> Result<()> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                () = stop.wait() => break,
                ended = &mut self.offload_ended => return Err(offload_failed(ended)),
                error = self.metadata_service.failed() => return Err(error),
                _ = heartbeat.tick() => self.beat(health).await?,
            }
        }
        tracing::info!("stopping: what is not uploaded yet goes up first, for at most {} s", within.as_secs());
        health.obstruct(Part::Shutdown, "stopping");
        self.stop(within).await
    }

    async fn beat(&mut self, health: &Health) -> Result<()> {
        let progress = self.wal.progress().borrow().clone();
        let status = self.offload.status();
        match (self.metadata_service.store_away(), &status.failing) {
            (Some(why), _) => self.show_store_away(health, &why),
            (None, Some(why)) => health.obstruct(Part::Store, why.as_str()),
            (None, None) => health.clear(Part::Store),
        }
        match self.audit.as_ref().and_then(|audit| audit.status().damage) {
            Some(damage) => health.note(Part::Store, damage),
            None => health.clear_note(Part::Store),
        }
        let leaderless = without_leader(&self.metadata.image().borrow());
        match leaderless {
            Some(told) => health.note(Part::Partitions, told),
            None => health.clear_note(Part::Partitions),
        }
        if let Some(reason) = &progress.stopped {
            health.obstruct(Part::WriteAheadLog, reason.as_ref());
        }
        let request = HeartbeatRequest {
            broker: self.config.node_id,
            epoch: self.registration.epoch,
            synced: progress.synced,
            unoffloaded_bytes: status.unoffloaded_bytes,
        };
        match self.metadata.heartbeat(request).await {
            Err(error @ MetadataError::Fenced { .. }) => Err(error).context("stop serving"),
            Err(error) => {
                tracing::warn!("heartbeat: {error}");
                Ok(())
            }
            Ok(answer) if NOTE_REVISION <= self.revision_noted.elapsed() => {
                self.revision_noted = tokio::time::Instant::now();
                // Without it an older metadata directory that is put back may go unnoticed, which is no reason to end.
                match tokio::task::block_in_place(|| self.data_dir.note_revision(answer.revision)) {
                    Ok(()) => health.clear_note(Part::DataDirectory),
                    Err(error) => {
                        tracing::warn!("{error:#}; tried again in {} s", NOTE_REVISION.as_secs());
                        health.note(Part::DataDirectory, format!("{error:#}; make room on the disk, or mend it"));
                    }
                }
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn show_store_away(&self, health: &Health, why: &str) {
        health.obstruct(Part::Store, format!("no answer since the start {} s ago: {why}", self.started.elapsed().as_secs()));
    }

    async fn stop(self, within: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + within;
        // A rewrite that is dropped leaves an object that nothing refers to.
        self.maintenance.trigger();
        self.broker.stop(within / 4).await;
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        match self.offload.stop(left).await {
            Ok(()) => {
                // Everything is published: nothing here is of value to anybody else.
                if let Err(error) = self.metadata.resign_broker(self.config.node_id, self.registration.epoch).await {
                    tracing::warn!("resign: {error}");
                }
            }
            // Not a failure: what is left is safe in the log, and the next start publishes it.
            Err(error @ OffloadError::Unfinished { .. }) => tracing::warn!("{error}"),
            Err(error @ OffloadError::WalStopped { .. }) => return Err(WalStopped(error).into()),
            Err(error) => return Err(error).context("stop the offload"),
        }
        let wal = Arc::clone(&self.wal);
        tokio::task::spawn_blocking(move || wal.close()).await.context("close the write-ahead log")?;
        self.metadata_service.stop().await;
        drop(self.data_dir);
        Ok(())
    }
}

/// What a person has to know of partitions whose log is not here: who leads them gives up what only that log holds.
fn without_leader(image: &ClusterImage) -> Option<String> {
    let topics = image.names.iter().filter_map(|(name, id)| Some((name, image.topics.get(id)?)));
    let mut found = topics.flat_map(|(name, topic)| {
        let indices = (0..).zip(&topic.partitions).filter(|(_, partition)| partition.leader.is_none());
        indices.map(move |(index, _): (i32, _)| (name, index))
    });
    let (name, index) = found.next()?;
    let count = 1 + found.count();
    Some(format!(
        "{count} have no leader, because the write-ahead log that may hold records of theirs is not here; first {name}-{index}; \
         docs/operations/recovery.md says what to do"
    ))
}

fn offload_failed(ended: Result<Result<(), OffloadError>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Err(error @ OffloadError::WalStopped { .. })) => WalStopped(error).into(),
        Ok(Err(error)) => anyhow::Error::new(error).context("serve"),
        Ok(Ok(())) => anyhow::anyhow!("the offload ended without being asked to"),
        Err(error) => anyhow::Error::new(error).context("run the offload"),
    }
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The cache of `max_bytes` on disk, if there is to be one. What an earlier start kept goes in any case.
fn open_disk_cache(folder: &Path, max_bytes: u64) -> Result<Option<DiskCache>> {
    let opened = match max_bytes {
        0 => DiskCache::clear(folder).map(|()| None),
        _ => DiskCache::open(folder, max_bytes).map(Some),
    };
    opened.with_context(|| format!("empty the disk cache in {}; cache.disk.max.bytes=0 goes without one", folder.display()))
}

fn topic_defaults(config: &Config) -> TopicDefaults {
    let topics = &config.topics;
    TopicDefaults {
        durability: config.durability,
        retention_ms: topics.retention_ms,
        retention_bytes: topics.retention_bytes,
        max_message_bytes: u32::try_from(topics.max_message_bytes).unwrap_or(u32::MAX),
        timestamp_type: if topics.log_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: topics.timestamp_before_max_ms,
        timestamp_after_max_ms: topics.timestamp_after_max_ms,
        min_insync_replicas: topics.min_insync_replicas,
        unclean_leader_election: topics.unclean_leader_election,
    }
}

pub(crate) fn broker_options(config: &Config) -> BrokerOptions {
    let (topics, requests) = (&config.topics, &config.requests);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    BrokerOptions {
        id: config.node_id,
        auto_create_topics: topics.auto_create,
        delete_topics: topics.deletable,
        num_partitions: topics.partitions,
        default_replication_factor: topics.replication_factor,
        topic_defaults: topic_defaults(config),
        fetch_max_bytes: bytes(requests.fetch_max_bytes),
        fetch_session_slots: requests.fetch_session_slots as usize,
        request_max_bytes: bytes(requests.max_request_bytes),
        request_memory_bytes: bytes(config.memory.requests / 2).max(bytes(requests.max_request_bytes)),
        answer_memory_bytes: bytes(config.memory.requests / 2),
        max_idle: requests.max_idle.unwrap_or(Duration::MAX),
        max_connections: requests.max_connections as usize,
        max_connections_per_ip: requests.max_connections_per_ip as usize,
        producer_bytes_per_second: requests.producer_quota_bytes,
        consumer_bytes_per_second: requests.consumer_quota_bytes,
        groups: config.groups.clone(),
        data_dir: std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone()),
        configs: config.shown.clone(),
    }
}

/// Gets records published before DeleteRecords deletes them.
struct FlushOffload(OffloadHandle);

#[async_trait]
impl Flusher for FlushOffload {
    async fn flush(&self, below: Lsn) -> Result<(), String> {
        self.0.flush(below).await.map_err(|error| error.to_string())
    }
}

/// What a reader cannot read the auditor looks into: `partition` knows no auditor, and `audit` no reader.
struct DamageToAuditor(AuditHandle);

impl DamageObserver for DamageToAuditor {
    fn met(&self, partition: TopicPartition, segment: &SegmentRef) {
        self.0.suspect(Reference { partition, segment: segment.clone() });
    }
}

/// Ten thousand connections and the files of a log take more than the usual soft limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit on open files stays as it is: {error}");
    }
}
