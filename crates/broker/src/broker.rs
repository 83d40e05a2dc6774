//! The broker: what all handlers share, and its start and stop.

use std::sync::Arc;
use std::time::Duration;

use metadata_api::{ClusterImage, MetadataClient, PartitionState};
use partition::{Flusher, Partition, Partitions};
use prometheus::Registry;
use protocol::ErrorCode;
use runtime::{Clock, Random, Shutdown, Tasks};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use types::{BrokerId, Revision, TopicId, TopicPartition};

use crate::broker_config::Configuration;
use crate::connection::Limits;
use crate::connection_slots::{ConnectionLimits, ConnectionSlots};
use crate::coordinator::{CoordinatorDeps, Coordinators};
use crate::dispatch::Dispatch;
use crate::down_conversion::DownConversions;
use crate::durability::{Altered, Enforcer};
use crate::fetch_session::FetchSessions;
use crate::group_lag::GroupLag;
use crate::leadership::Leadership;
use crate::listener::{Acceptor, BindError, BoundListener};
use crate::memory_budget::MemoryBudget;
use crate::metrics::{BrokerMetrics, ConnectionMetrics, FetchSessionMetrics, TrafficMetrics, register_budgets};
use crate::producer_ids::ProducerIds;
use crate::quota::{ClientLimit, ClientQuota, ClientRates, ConnectionQuota, QuotaRates};
use crate::settings::{InForce, Settings};
use crate::topics::{ServedTopic, Topics};

/// Within a frame without a byte, and for an unread answer while others wait for its memory.
const STALL: Duration = Duration::from_secs(30);
/// For the answers that are still owed when a peer has closed its side or sent what cannot be served.
const DRAIN: Duration = Duration::from_secs(10);
/// No request waits longer for what it changed, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the broker works with.
pub struct Deps {
    /// Registered, recovered, and with their completion task running.
    pub partitions: Arc<Partitions>,
    /// Topics, brokers, leaders, producer ids.
    pub metadata: Arc<dyn MetadataClient>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Random,
    /// At least one.
    pub listeners: Vec<BoundListener>,
    /// What the broker goes by, and what of it may change.
    pub configuration: Arc<dyn Configuration>,
    /// Where metrics are registered; each name at most once.
    pub registry: Registry,
    /// How much of `wal.max.bytes` is used, 0 to 1: producers are slowed before they are refused.
    pub log_fill: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Gets records published before they are deleted.
    pub flusher: Arc<dyn Flusher>,
    /// Told of the state of a partition that this broker comes to lead while it runs, before the first append: the offload's side of it.
    pub began_to_lead: Arc<dyn Fn(&PartitionState) + Send + Sync>,
    /// Runs what goes on in the background. A panic in a request only closes its connection.
    pub tasks: Tasks,
}

/// Why the broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("{0}")]
    Configuration(String),
    /// A listener's port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A metric of the same name is registered already.
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Everything that handlers share.
pub struct Broker {
    pub(crate) id: BrokerId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metadata: Arc<dyn MetadataClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) leadership: Arc<Leadership>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) coordinators: Arc<Coordinators>,
    pub(crate) fetch_sessions: Arc<FetchSessions>,
    pub(crate) producer_quota: ClientQuota,
    pub(crate) consumer_quota: ClientQuota,
    pub(crate) mutation_quota: ClientQuota,
    /// Budget for answers.
    pub(crate) answers: Arc<MemoryBudget>,
    pub(crate) conversions: DownConversions,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) partitions: Arc<Partitions>,
    topics: Arc<Topics>,
    images: watch::Receiver<Arc<ClusterImage>>,
    pub(crate) flusher: Arc<dyn Flusher>,
    log_fill: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Broker {
    /// Takes over the newest cluster image, listens and begins to accept. Nothing runs on when this fails.
    pub async fn start(deps: Deps) -> Result<BrokerHandle, StartError> {
        let Deps { partitions, metadata, clock, random, listeners, configuration, registry, log_fill, flusher, began_to_lead, tasks } =
            deps;
        let settings = Arc::new(Settings::new(configuration).map_err(StartError::Configuration)?);
        let options = settings.in_force();
        let connections = ConnectionMetrics::new(&registry)?;
        let (requests, answers) = (MemoryBudget::new(options.request_memory_bytes), MemoryBudget::new(options.answer_memory_bytes));
        register_budgets(&registry, &requests, &answers)?;
        let topics = Arc::new(Topics::new(Arc::clone(&settings), TrafficMetrics::new(&registry)?));
        let altered = Arc::new(Altered::default());
        let leadership =
            Arc::new(Leadership::new(options.id, Arc::clone(&partitions), Arc::clone(&topics), began_to_lead, Arc::clone(&altered)));
        let fetch_sessions = FetchSessions::new(options.fetch_session_slots, random.fork(), FetchSessionMetrics::new(&registry)?);
        let asked = Arc::clone(&settings);
        let slots = ConnectionSlots::new(move || {
            let options = asked.in_force();
            ConnectionLimits { total: options.max_connections, per_ip: options.max_connections_per_ip }
        });
        let asked = Arc::clone(&settings);
        let connection_quota = Arc::new(ConnectionQuota::new(move |ip| asked.in_force().quotas.connections.of(ip)));
        let limits = Limits { largest_frame: options.request_max_bytes, idle: options.max_idle, stall: STALL, drain: DRAIN };

        let listening = listeners.into_iter().map(BoundListener::listen).collect::<Result<Vec<_>, _>>()?;
        let images = metadata.image();
        let first_image = images.borrow().clone();
        leadership.begin(&first_image);
        let following = Shutdown::new();
        let follow = Arc::clone(&leadership).follow(Arc::clone(&metadata), first_image, following.child());
        drop(tasks.spawn("follow metadata", follow));
        let enforcer = Enforcer {
            id: options.id,
            altered,
            partitions: Arc::clone(&partitions),
            metadata: Arc::clone(&metadata),
            flusher: Arc::clone(&flusher),
        };
        drop(tasks.spawn("enforce durability", enforcer.run(following.child())));

        let metrics = BrokerMetrics::new(&registry)?;
        let group_lag = GroupLag::register(&registry)?;
        let coordinators = CoordinatorDeps {
            id: options.id,
            settings: Arc::clone(&settings),
            metadata: Arc::clone(&metadata),
            clock: Arc::clone(&clock),
            random: random.fork(),
            metrics: Arc::clone(&metrics.groups),
        };
        let coordinators = Coordinators::start(coordinators, &tasks, &following);
        let reckon = group_lag.follow(Arc::clone(&coordinators), Arc::clone(&partitions), images.clone(), following.child());
        drop(tasks.spawn("reckon the lag of groups", reckon));

        let broker = Arc::new(Self {
            metadata,
            clock,
            random,
            leadership,
            producer_ids: ProducerIds::new(),
            coordinators,
            fetch_sessions,
            producer_quota: quota(&settings, |quotas| &quotas.producer, |options| options.producer_bytes_per_second),
            consumer_quota: quota(&settings, |quotas| &quotas.consumer, |options| options.consumer_bytes_per_second),
            mutation_quota: quota(&settings, |quotas| &quotas.mutations, |_| 0),
            answers,
            conversions: DownConversions::new(),
            metrics,
            partitions,
            topics,
            images,
            flusher,
            log_fill,
            id: options.id,
            settings,
        });
        let stopping = Shutdown::new();
        let (stop_by, deadline) = watch::channel(None);
        let mut acceptors = JoinSet::new();
        for (listener, socket) in listening {
            let acceptor = Acceptor {
                name: Arc::from(listener.name),
                first_stage: listener.first_stage,
                service: Arc::new(Dispatch(Arc::clone(&broker))),
                slots: Arc::clone(&slots),
                quota: Arc::clone(&connection_quota),
                clock: Arc::clone(&broker.clock),
                requests: Arc::clone(&requests),
                limits,
                metrics: connections.clone(),
                shutdown: stopping.child(),
            };
            acceptors.spawn(acceptor.accept(socket, deadline.clone()));
        }
        Ok(BrokerHandle { stopping, following, stop_by, acceptors })
    }

    /// What the broker goes by now.
    pub(crate) fn options(&self) -> Arc<InForce> {
        self.settings.in_force()
    }

    /// The newest cluster image known here.
    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        self.images.borrow().clone()
    }

    /// See [`Deps::log_fill`].
    pub(crate) fn log_fill(&self) -> f64 {
        (self.log_fill)()
    }

    /// Waits until this broker serves by metadata as of `revision`, at most the `timeout_ms` of a request. False when it took longer.
    pub(crate) async fn has_applied(&self, revision: Revision, timeout_ms: i32) -> bool {
        let wait = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(LONGEST_WAIT);
        tokio::time::timeout(wait, self.leadership.applied(revision)).await.is_ok()
    }

    pub(crate) fn topic_named(&self, image: &ClusterImage, name: &str) -> Result<Arc<ServedTopic>, ErrorCode> {
        let topic = image.topic_named(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.topics.get(topic.id).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    pub(crate) fn topic_with_id(&self, id: TopicId) -> Result<Arc<ServedTopic>, ErrorCode> {
        self.topics.get(id).ok_or(ErrorCode::UnknownTopicId)
    }

    /// A partition that this broker leads.
    pub(crate) fn partition(&self, topic: &ServedTopic, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let exists = usize::try_from(index).is_ok_and(|index| index < topic.image.partitions.len());
        if !exists {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        self.partitions.get(TopicPartition::new(topic.image.id, index)).map_err(|_| ErrorCode::NotLeaderOrFollower)
    }

    /// Whether the client knows the leader epoch in force (KIP-320); -1 is "do not check".
    pub(crate) fn check_leader_epoch(&self, partition: &Partition, known: i32) -> Result<(), ErrorCode> {
        match known {
            -1 => Ok(()),
            known if known < partition.leader_epoch().0 => Err(ErrorCode::FencedLeaderEpoch),
            known if partition.leader_epoch().0 < known => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

/// A quota that counts as it is set in metadata and, for whom nothing is, in the options.
fn quota(settings: &Arc<Settings>, set: fn(&QuotaRates) -> &ClientRates, otherwise: fn(&InForce) -> u64) -> ClientQuota {
    let settings = Arc::clone(settings);
    ClientQuota::new(move |client| {
        let in_force = settings.in_force();
        set(&in_force.quotas).of(client).or_else(|| ClientLimit::static_rate(otherwise(&in_force), client))
    })
}

/// A running broker.
pub struct BrokerHandle {
    stopping: Shutdown,
    following: Shutdown,
    stop_by: watch::Sender<Option<Instant>>,
    acceptors: JoinSet<()>,
}

impl BrokerHandle {
    /// Stops: no connection is accepted and no request read any more; what is begun is answered, waiting fetches at once. Connections
    /// that are not done after `within` are dropped. Appends that were not answered may be in the log.
    pub async fn stop(mut self, within: Duration) {
        self.stop_by.send_replace(Some(Instant::now() + within));
        self.stopping.trigger();
        while let Some(ended) = self.acceptors.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a listener ended badly: {error}");
            }
        }
        self.following.trigger();
    }
}
