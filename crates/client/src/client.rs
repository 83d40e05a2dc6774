//! What a client knows of its cluster: brokers, connections to them, topics and the leaders of their partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use protocol::{ErrorCode, StrBytes};
use runtime::Random;
use tokio::sync::Mutex;
use types::TopicId;

use crate::ClientError;
use crate::connection::{Connection, ConnectionOptions};
use crate::retry::Attempts;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// For every connection.
    pub connection: ConnectionOptions,
    /// How long an operation is repeated while its error may pass.
    pub retry_timeout: Duration,
    /// Whether asking for a topic that does not exist creates it, where the broker allows that.
    pub auto_create_topics: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { connection: ConnectionOptions::default(), retry_timeout: Duration::from_secs(30), auto_create_topics: false }
    }
}

/// A topic, as a broker described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id; zero from brokers that have none.
    pub id: TopicId,
    /// Whether it is the cluster's own.
    pub is_internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition, as a broker described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionMetadata {
    /// Its index.
    pub partition: i32,
    /// Broker id of its leader, if it has one.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 from brokers that do not say.
    pub leader_epoch: i32,
    /// Broker ids of its replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub in_sync_replicas: Vec<i32>,
}

/// A client of one cluster. Clones share connections and what is known.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    bootstrap: Vec<String>,
    options: ClientOptions,
    random: Random,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By address.
    connections: HashMap<String, Connection>,
    /// Addresses by broker id.
    brokers: BTreeMap<i32, String>,
    topics: HashMap<String, Arc<TopicMetadata>>,
}

impl Client {
    /// Connects to one of the brokers in `bootstrap` (`host:port`, several separated by commas).
    ///
    /// # Errors
    /// When none of them can be reached; the first one's error.
    pub async fn connect(bootstrap: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let bootstrap = parse_bootstrap(bootstrap)?;
        let shared = Shared { bootstrap, options, random: Random::from_os(), known: Mutex::default() };
        let client = Self { shared: Arc::new(shared) };
        client.any_connection().await?;
        Ok(client)
    }

    /// How it behaves.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    pub(crate) fn random(&self) -> &Random {
        &self.shared.random
    }

    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts::within(self.shared.options.retry_timeout, &self.shared.random)
    }

    /// A connection to any broker.
    ///
    /// # Errors
    /// When none can be reached.
    pub async fn any_connection(&self) -> Result<Connection, ClientError> {
        let mut known = self.shared.known.lock().await;
        let addresses: Vec<_> = self.shared.bootstrap.iter().chain(known.brokers.values()).cloned().collect();
        let open = addresses.iter().find_map(|address| known.open_connection(address));
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut first_error = None;
        for address in &addresses {
            match known.connection(address, &self.shared.options.connection).await {
                Ok(connection) => return Ok(connection),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.expect("there is at least one bootstrap address"))
    }

    /// A connection to the broker with this id.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub(crate) async fn connection_to_broker(&self, id: i32) -> Result<Connection, ClientError> {
        let response = self.request_metadata(None).await?;
        let broker = response.brokers.iter().find(|broker| broker.node_id.0 == id);
        let broker = broker.ok_or_else(|| ClientError::Missing { what: format!("asking for broker {id}") })?;
        self.connection_to(&address(&broker.host, broker.port)).await
    }

    /// A connection to every broker.
    pub(crate) async fn all_connections(&self) -> Result<Vec<Connection>, ClientError> {
        let response = self.request_metadata(None).await?;
        let mut connections = Vec::with_capacity(response.brokers.len());
        for broker in &response.brokers {
            connections.push(self.connection_to(&address(&broker.host, broker.port)).await?);
        }
        Ok(connections)
    }

    /// A connection to the broker at `address`.
    pub(crate) async fn connection_to(&self, address: &str) -> Result<Connection, ClientError> {
        self.shared.known.lock().await.connection(address, &self.shared.options.connection).await
    }

    /// A connection to the leader of a partition, the topic's description, and the leader's epoch.
    ///
    /// # Errors
    /// When the topic or partition does not exist, has no leader now, or the leader cannot be reached.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<(Connection, Arc<TopicMetadata>, i32), ClientError> {
        let topic = self.topic(topic).await?;
        let partitions = i32::try_from(topic.partitions.len()).expect("partitions are numbered in 31 bits");
        let leader = topic.partitions.iter().find(|known| known.partition == partition).ok_or_else(|| ClientError::NoSuchPartition {
            topic: topic.name.clone(),
            partition,
            partitions,
        })?;
        let no_leader =
            || ClientError::Refused { what: format!("{}-{partition}", topic.name), code: ErrorCode::LeaderNotAvailable, message: None };
        let broker = leader.leader.ok_or_else(no_leader)?;
        let mut known = self.shared.known.lock().await;
        let address = known.brokers.get(&broker).cloned().ok_or_else(no_leader)?;
        let connection = known.connection(&address, &self.shared.options.connection).await?;
        Ok((connection, topic.clone(), leader.leader_epoch))
    }

    /// A topic, from memory where it is known.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        if let Some(topic) = self.shared.known.lock().await.topics.get(name) {
            return Ok(topic.clone());
        }
        let mut topics = self.fetch_metadata(Some(name)).await?;
        topics.pop().ok_or_else(|| ClientError::Missing { what: format!("topic {name}") })
    }

    /// As [`Self::topic`], repeated while it or its leaders are not there yet.
    pub(crate) async fn topic_when_ready(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        let mut attempts = self.attempts();
        loop {
            match self.topic(name).await {
                Ok(topic) => return Ok(topic),
                // A topic that nobody will create does not come by waiting.
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) && !self.options().auto_create_topics => {
                    return Err(error);
                }
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// Forgets what is known of a topic, because a broker said otherwise.
    pub(crate) async fn forget(&self, topic: &str) {
        self.shared.known.lock().await.topics.remove(topic);
    }

    /// Asks for `topic`, or for all topics, and remembers the answer.
    pub(crate) async fn fetch_metadata(&self, topic: Option<&str>) -> Result<Vec<Arc<TopicMetadata>>, ClientError> {
        let response = self.request_metadata(topic).await?;
        let mut known = self.shared.known.lock().await;
        known.brokers = response.brokers.iter().map(|broker| (*broker.node_id, address(&broker.host, broker.port))).collect();
        let mut topics = Vec::with_capacity(response.topics.len());
        for described in response.topics {
            let described = match TopicMetadata::read(described) {
                // Among all topics one that is just being created or deleted is left out.
                Err(_) if topic.is_none() => continue,
                described => Arc::new(described?),
            };
            known.topics.insert(described.name.clone(), described.clone());
            topics.push(described);
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub(crate) async fn request_metadata(&self, topic: Option<&str>) -> Result<MetadataResponse, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<MetadataRequest>()?;
        let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let topics = match topic {
            Some(name) => Some(vec![named(name)]),
            None if version == 0 => Some(Vec::new()),
            None => None,
        };
        let auto_create = version < 4 || topic.is_some() && self.shared.options.auto_create_topics;
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(auto_create);
        connection.request(version, &request).await
    }
}

impl Known {
    fn open_connection(&self, address: &str) -> Option<Connection> {
        self.connections.get(address).filter(|connection| !connection.is_closed()).cloned()
    }

    async fn connection(&mut self, address: &str, options: &ConnectionOptions) -> Result<Connection, ClientError> {
        if let Some(connection) = self.open_connection(address) {
            return Ok(connection);
        }
        let connection = Connection::connect(address, options).await?;
        self.connections.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }
}

impl TopicMetadata {
    fn read(topic: MetadataResponseTopic) -> Result<Self, ClientError> {
        let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
        ClientError::check(|| format!("topic {name}"), topic.error_code, None)?;
        let mut partitions: Vec<_> = topic.partitions.into_iter().map(PartitionMetadata::read).collect();
        partitions.sort_by_key(|partition| partition.partition);
        Ok(Self { name, id: TopicId(topic.topic_id), is_internal: topic.is_internal, partitions })
    }
}

impl PartitionMetadata {
    fn read(partition: MetadataResponsePartition) -> Self {
        let ids = |brokers: Vec<protocol::messages::BrokerId>| brokers.into_iter().map(|broker| *broker).collect();
        Self {
            partition: partition.partition_index,
            leader: (0 <= *partition.leader_id).then_some(*partition.leader_id),
            leader_epoch: partition.leader_epoch,
            replicas: ids(partition.replica_nodes),
            in_sync_replicas: ids(partition.isr_nodes),
        }
    }
}

pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `name` as the protocol carries it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn parse_bootstrap(text: &str) -> Result<Vec<String>, ClientError> {
    let address = |part: &str| {
        let valid = part.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if valid { Ok(part.to_owned()) } else { Err(ClientError::Address(part.to_owned())) }
    };
    text.split(',').map(|part| address(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_addresses_are_hosts_with_ports() {
        assert_eq!(parse_bootstrap("a:1, [::1]:9092").unwrap(), ["a:1", "[::1]:9092"]);
        for text in ["", "a", "a:", ":1", "a:70000", "a:1,"] {
            assert!(matches!(parse_bootstrap(text), Err(ClientError::Address(_))), "{text}");
        }
    }
}
