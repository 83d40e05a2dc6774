//! The running service: load, take over, answer, keep house.

mod away;
mod clock;
mod copies;
mod driver;
mod feed;
mod handler;
mod housekeeping;
mod load;
mod unsaved;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metadata_api::proto::metadata_server::MetadataServer;
use metadata_api::{GrpcClient, MAX_MESSAGE_BYTES, MetadataClient};
use runtime::{Clock, Random, Shutdown, Tasks};
use store::{ClaimError, GatedStore, ObjectStore, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use types::{ClusterId, Revision, Timestamp};

use crate::journal::{Journal, JournalError};
use crate::state::{ImageChanges, Rules};

pub use clock::{SecondOpinion, StoreTime};

use away::Comparison;
use copies::Copies;
pub(crate) use driver::append_entry;
use driver::{Driver, QUEUE};
use feed::ImageFeed;
use handler::{Handle, Handler};
use housekeeping::{Housekeeping, Schedule, watch_sessions};
use unsaved::Unsaved;

/// How the service behaves. The defaults are those of a broker's configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// Deadline of every call of the in-process client.
    pub deadline: Duration,
    /// `broker.session.timeout.ms`: a broker elsewhere that is silent for longer has lost its session.
    pub session_timeout: Duration,
    /// From the moment an object is retired to its deletion: longer than the longest read.
    pub deletion_grace: Duration,
    /// `log.retention.ms`; `None` keeps for ever.
    pub retention: Option<Duration>,
    /// `log.retention.bytes`; `None` sets no bound.
    pub retention_bytes: Option<u64>,
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
    /// `metadata.max.segments`: brokers are slowed as the number of segment entries comes near it.
    pub max_segments: u64,
    /// A snapshot is taken after this much journal.
    pub snapshot_bytes: u64,
    /// `metadata.snapshot.max.interval.ms`: a snapshot is taken when the newest is this old, if anything was written since.
    pub snapshot_interval: Duration,
    /// A snapshot is taken at most this often for garbage that waits for one.
    pub garbage_snapshot_interval: Duration,
    /// How often the store is listed for objects that nothing references; also once the grace has passed since a broker came back.
    pub orphan_interval: Duration,
    /// How often a second source of time is asked while the clock is not believed.
    pub opinion_interval: Duration,
    /// How often housekeeping looks.
    pub tick: Duration,
    /// The store is not on this machine: what is asked for and no object tells of, such as a topic's creation, is in it before it is
    /// answered (rule R15).
    pub remote_store: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            session_timeout: Duration::from_secs(3),
            deletion_grace: Duration::from_secs(60),
            retention: Some(Duration::from_secs(7 * 86_400)),
            retention_bytes: None,
            retention_interval: Duration::from_secs(300),
            producer_expiration: Duration::from_secs(86_400),
            max_segments: 50_000_000,
            snapshot_bytes: 64 << 20,
            snapshot_interval: Duration::from_secs(600),
            garbage_snapshot_interval: Duration::from_secs(60),
            orphan_interval: Duration::from_secs(3600),
            opinion_interval: Duration::from_secs(10),
            tick: Duration::from_millis(500),
            remote_store: false,
        }
    }
}

impl Options {
    fn rules(&self) -> Rules {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Rules {
            grace_ms: ms(self.deletion_grace),
            max_segments: self.max_segments,
            retention_ms: self.retention.map_or(-1, ms),
            retention_bytes: self.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            producer_expiration_ms: ms(self.producer_expiration),
            clock_trusted: true,
        }
    }
}

/// Why the gate to the store is closed before anything was asked of it.
const STARTING: &str = "starting";

/// Why the service does not start. Nothing in the store was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store does not answer, and the data directory cannot do without it.
    #[error(
        "the store is not available ({store}), and the data directory cannot do without it: {why}; \
         start the broker again once the store answers"
    )]
    StoreNeeded {
        /// What the store was asked for and how that failed.
        store: StoreError,
        /// What only the store has.
        why: String,
    },
    /// The store is another cluster's, or cannot be told.
    #[error(transparent)]
    Claim(ClaimError),
    /// The metadata directory is empty, the store is not (rule R7).
    #[error(
        "the metadata directory is empty, but the store belongs to cluster {cluster}; \
         restore the metadata directory, run siltstone store rebuild, or use an empty store"
    )]
    StoreInUse {
        /// Whose it is.
        cluster: ClusterId,
    },
    /// The store had this cluster's marker once, and has it no more: it is another store.
    #[error("the store does not carry the marker of cluster {cluster}; correct store.url, or restore the store")]
    StoreUnmarked {
        /// Whose marker is missing.
        cluster: ClusterId,
    },
    /// The journal ends below what the store holds of it (rule R8).
    #[error(
        "metadata was rolled back: there is a snapshot or a topic of revision {stored}, and the journal ends below it; \
         restore the newer metadata directory, or move this one away and run siltstone store rebuild"
    )]
    RolledBack {
        /// The newest revision in the store, or among the copies of its snapshots.
        stored: Revision,
    },
    /// The snapshot that the journal continues is missing.
    #[error(
        "the metadata journal goes on at slot {found} where {expected} is needed: the snapshot before it is missing or damaged in the \
         store; restore the store's newest state, or go on from what it has as docs/operations/recovery.md says"
    )]
    Gap {
        /// First slot after the newest usable snapshot.
        expected: u64,
        /// First slot there is.
        found: u64,
    },
    /// An entry cannot be read.
    #[error("metadata journal entry {slot}: {detail}")]
    Unreadable {
        /// Its slot.
        slot: u64,
        /// What is wrong.
        detail: String,
    },
    /// The journal could not be written.
    #[error("the metadata service could not take over: {detail}")]
    Takeover {
        /// What failed.
        detail: String,
    },
}

/// A metadata service that leads. Dropping it stops it as a crash would; [`MetadataService::stop`] ends it in order.
pub struct MetadataService {
    handle: Handle,
    feed: Arc<ImageFeed>,
    random: Arc<Random>,
    cluster: ClusterId,
    gate: Arc<GatedStore>,
    deadline: Duration,
    shutdown: Shutdown,
    tasks: Tasks,
    stopped: watch::Receiver<Option<String>>,
    unsaved_since: watch::Receiver<Option<Timestamp>>,
    segments: watch::Receiver<u64>,
    client: Arc<dyn MetadataClient>,
}

/// What a service stands on.
struct Seams {
    journal: Arc<dyn Journal>,
    /// Only for what decides whether the gate opens.
    store: Arc<dyn ObjectStore>,
    gate: Arc<GatedStore>,
    copies: Option<Arc<dyn ObjectStore>>,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    second_opinion: Arc<dyn SecondOpinion>,
}

impl MetadataService {
    /// Loads the state and takes over. The first start makes the cluster and claims the store for it.
    ///
    /// `copies` is a place on this machine for copies of the snapshots that the store holds. With it the service starts also while the
    /// store is away, if it has been there before; see [`Self::store_away`].
    pub async fn start(
        options: Options,
        journal: Arc<dyn Journal>,
        store: Arc<dyn ObjectStore>,
        copies: Option<Arc<dyn ObjectStore>>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Result<Self, StartError> {
        let gate = Arc::new(GatedStore::closed(store.clone(), STARTING));
        let second_opinion = Arc::new(StoreTime::new(gate.clone(), random.fork()));
        Self::start_on(options, Seams { journal, store, gate, copies, clock, random, second_opinion }).await
    }

    /// As [`Self::start`], with another second source of time than the store, and no copies.
    pub async fn start_with(
        options: Options,
        journal: Arc<dyn Journal>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
        second_opinion: Arc<dyn SecondOpinion>,
    ) -> Result<Self, StartError> {
        let gate = Arc::new(GatedStore::closed(store.clone(), STARTING));
        Self::start_on(options, Seams { journal, store, gate, copies: None, clock, random, second_opinion }).await
    }

    async fn start_on(options: Options, seams: Seams) -> Result<Self, StartError> {
        let Seams { journal, store, gate, copies, clock, random, second_opinion } = seams;
        let loaded = load::load(journal.as_ref(), store.as_ref(), copies.as_deref(), clock.clone(), &random).await?;
        let cluster = loaded.state.cluster;
        let copies = match copies {
            Some(directory) => Some(Copies::open(directory, journal.as_ref(), &loaded.state).await?),
            None => None,
        };
        let (snapshot_wanted, store_is_here) = (loaded.snapshot_wanted, loaded.away.is_none());
        let comparison = match loaded.away {
            Some(why) => {
                gate.explain(why);
                Some(Comparison { store, gate: gate.clone(), journal: loaded.found, random: random.fork() })
            }
            None => {
                gate.open();
                None
            }
        };
        let feed = Arc::new(ImageFeed::new(loaded.state.image()));
        let (messages, queue) = mpsc::channel(QUEUE);
        let (handle, shutdown, tasks) = (Handle::new(messages), Shutdown::new(), Tasks::new());
        let unsaved = Unsaved::new(loaded.unsaved_since);
        let unsaved_since = unsaved.watch();
        let (segment_count, segments) = watch::channel(loaded.state.segment_count());
        let mut housekeeping = Housekeeping {
            handle: handle.clone(),
            journal: journal.clone(),
            store: gate.clone(),
            copies,
            clock: clock.clone(),
            random: random.fork(),
            second_opinion,
            options,
            manifest: loaded.manifest,
            older: None,
            schedule: Schedule::starting_at(clock.monotonic()),
        };
        let driver = Driver {
            state: loaded.state,
            journal,
            store: gate.clone(),
            clock,
            journal_clock: loaded.clock,
            random: random.fork(),
            slot: loaded.slot,
            rules: options.rules(),
            session_timeout: options.session_timeout,
            remote_store: options.remote_store,
            feed: feed.clone(),
            segments: segment_count,
            tasks: tasks.clone(),
            changes: ImageChanges::default(),
            heard: HashMap::new(),
            journal_bytes: loaded.journal_bytes,
            unsaved,
            snapshot_wanted: watch::Sender::new(snapshot_wanted),
        };
        let (stopping, stopped) = watch::channel(None);
        if let Some(comparison) = comparison {
            let (stopping, stop) = (stopping.clone(), shutdown.clone());
            tasks.spawn("metadata-store", async move {
                if let Err(err) = comparison.run(stop.clone()).await {
                    end(&stopping, &stop, Err(err.to_string()));
                }
            });
        }
        let stop = shutdown.clone();
        tasks.spawn("metadata", async move {
            let ended = driver.run(queue, stop.clone()).await;
            end(&stopping, &stop, ended.map_err(|reason| reason.0));
        });
        tasks.spawn("metadata-sessions", watch_sessions(handle.clone(), options.tick, shutdown.clone()));
        if snapshot_wanted && store_is_here {
            // Before anybody is served: until then a rebuild would miss what only the journal has.
            match housekeeping.take_snapshot().await {
                Ok(Ok(())) => {}
                Ok(Err(err)) => tracing::warn!("what only the metadata journal holds is not in the store yet, tried again: {err}"),
                Err(err) => return Err(StartError::Takeover { detail: err.to_string() }),
            }
        }
        tasks.spawn("metadata-housekeeping", housekeeping.run(shutdown.clone()));
        let client = in_process(&handle, &feed, &random, options.deadline);
        let deadline = options.deadline;
        Ok(Self { handle, feed, random, cluster, gate, deadline, shutdown, tasks, stopped, unsaved_since, segments, client })
    }

    /// The store, for whatever belongs to the cluster. Until the store has been held against the journal every call is `Unavailable`.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.gate.clone()
    }

    /// Why the store has not been held against the journal since the start; `None` once it has. The service stops by itself if the
    /// store turns out not to be the journal's.
    pub fn store_away(&self) -> Option<String> {
        self.gate.why_closed()
    }

    /// A client in this process. It sends the same messages as one elsewhere, encoded and decoded; brokers that register through it
    /// have a session that ends only with the process.
    pub fn client(&self) -> Arc<dyn MetadataClient> {
        self.client.clone()
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Deadline of the in-process client's calls.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// When the oldest change was that no snapshot in the store holds; `None` if they hold all. A rebuild from the store may lack what
    /// was changed since and no object says, such as the offsets that groups committed.
    pub fn unsaved_since(&self) -> Option<Timestamp> {
        *self.unsaved_since.borrow()
    }

    /// Segment entries held for all partitions; [`Options::max_segments`] bounds them.
    pub fn segments(&self) -> u64 {
        *self.segments.borrow()
    }

    /// Answers gRPC on `listener` until the service or `shutdown` stops.
    pub async fn serve_grpc(&self, listener: TcpListener, shutdown: Shutdown) -> Result<(), tonic::transport::Error> {
        let service = server(&self.handle, &self.feed, &self.random, false);
        let ended = self.shutdown.clone();
        let until = async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = ended.wait() => {}
            }
        };
        tonic::transport::Server::builder().add_service(service).serve_with_incoming_shutdown(TcpListenerStream::new(listener), until).await
    }

    /// Why the service stopped, once it has: a metadata service that cannot write its journal does not go on.
    pub fn stopped(&self) -> watch::Receiver<Option<String>> {
        self.stopped.clone()
    }

    /// Stops; what is being written is finished first.
    pub async fn stop(&self) {
        self.shutdown.trigger();
        self.tasks.wait().await;
    }
}

impl Drop for MetadataService {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// One of the service's tasks ended; all do. The first reason stays.
fn end(stopping: &watch::Sender<Option<String>>, shutdown: &Shutdown, ended: Result<(), String>) {
    if let Err(reason) = &ended {
        tracing::error!("the metadata service stopped: {reason}");
    }
    stopping.send_if_modified(|stopped| {
        let is_first = stopped.is_none();
        stopped.get_or_insert_with(|| ended.err().unwrap_or_else(|| "asked to stop".to_owned()));
        is_first
    });
    shutdown.trigger();
}

fn server(handle: &Handle, feed: &Arc<ImageFeed>, random: &Arc<Random>, local: bool) -> MetadataServer<Handler> {
    MetadataServer::new(Handler { handle: handle.clone(), feed: feed.clone(), random: random.clone(), local })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn in_process(handle: &Handle, feed: &Arc<ImageFeed>, random: &Arc<Random>, deadline: Duration) -> Arc<dyn MetadataClient> {
    Arc::new(GrpcClient::over(server(handle, feed, random, true), deadline))
}

#[cfg(test)]
mod tests;
