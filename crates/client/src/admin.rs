//! Administration: topics, offsets, the cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::StrBytes;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, ListOffsetsRequest};

use crate::client::{address, topic_name};
use crate::{Client, ClientError, Connection, TopicMetadata};

/// How long a broker may take over a change of topics, in milliseconds.
pub(crate) const TOPIC_TIMEOUT_MS: i32 = 30_000;

/// A topic to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replication factor; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Topic configs, by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The high watermark: the offset that the next visible record will have.
    Latest,
    /// The first record with this timestamp (milliseconds since 1970) or a later one.
    Timestamp(i64),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

/// An offset found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedOffset {
    /// The offset; `None` where no record matches.
    pub offset: Option<i64>,
    /// The record's timestamp; -1 where it was not asked for by time.
    pub timestamp: i64,
    /// Leader epoch of the record; -1 where it is not known.
    pub leader_epoch: i32,
}

/// A cluster and its brokers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: String,
    /// The controller's broker id.
    pub controller: i32,
    /// The brokers that are alive.
    pub brokers: Vec<BrokerInfo>,
}

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerInfo {
    /// Its id.
    pub id: i32,
    /// Where it listens: host:port.
    pub address: String,
    /// Where it stands.
    pub rack: Option<String>,
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(timestamp) => timestamp,
        }
    }
}

impl Client {
    /// Creates a topic.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which creating again resolves.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<CreateTopicsRequest>()?;
        let config =
            |(name, value): (&String, &String)| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let creatable = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions.unwrap_or(-1))
            .with_replication_factor(topic.replication_factor.unwrap_or(-1))
            .with_configs(topic.configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(TOPIC_TIMEOUT_MS);
        let response = connection.request(version, &request).await?;
        let what = || format!("creating topic {}", topic.name);
        let result = response.topics.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(&topic.name).await;
        Ok(())
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<DeleteTopicsRequest>()?;
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(TOPIC_TIMEOUT_MS);
        if version < 6 {
            request.topic_names = vec![topic_name(name)];
        } else {
            request.topics = vec![DeleteTopicState::default().with_name(Some(topic_name(name)))];
        }
        let response = connection.request(version, &request).await?;
        let what = || format!("deleting topic {name}");
        let result = response.responses.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(name).await;
        Ok(())
    }

    /// Every topic that can be described now, by name.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicMetadata>>, ClientError> {
        self.fetch_metadata(None).await
    }

    /// One topic, as a broker knows it now.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn describe_topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        self.forget(name).await;
        self.topic(name).await
    }

    /// The cluster's id, controller and brokers.
    ///
    /// # Errors
    /// The broker's refusal, or a failed connection.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<DescribeClusterRequest>()?;
        let response = connection.request(version, &DescribeClusterRequest::default()).await?;
        ClientError::check(|| "describing the cluster".to_owned(), response.error_code, response.error_message.as_deref())?;
        let mut brokers: Vec<_> = response
            .brokers
            .iter()
            .map(|broker| BrokerInfo {
                id: *broker.broker_id,
                address: address(&broker.host, broker.port),
                rack: broker.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription { cluster_id: response.cluster_id.to_string(), controller: *response.controller_id, brokers })
    }

    /// Offsets of partitions of a topic, by partition. Asks again, within the retry timeout, while a leader moves.
    ///
    /// # Errors
    /// The first partition's that cannot be answered.
    pub async fn list_offsets(&self, topic: &str, partitions: &[(i32, OffsetSpec)]) -> Result<BTreeMap<i32, ListedOffset>, ClientError> {
        let mut attempts = self.attempts();
        loop {
            match self.try_list_offsets(topic, partitions).await {
                Ok(offsets) => return Ok(offsets),
                Err(error) => {
                    self.forget(topic).await;
                    attempts.wait_after(error).await?;
                }
            }
        }
    }

    async fn try_list_offsets(&self, topic: &str, asked: &[(i32, OffsetSpec)]) -> Result<BTreeMap<i32, ListedOffset>, ClientError> {
        let mut by_leader: HashMap<String, (Connection, Vec<ListOffsetsPartition>)> = HashMap::new();
        for (partition, spec) in asked {
            let (connection, _, _) = self.leader(topic, *partition).await?;
            let (_, partitions) = by_leader.entry(connection.address().to_owned()).or_insert((connection, Vec::new()));
            partitions.push(ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(spec.timestamp()));
        }
        let mut offsets = BTreeMap::new();
        for (connection, partitions) in by_leader.into_values() {
            let version = connection.version::<ListOffsetsRequest>()?;
            let topics = vec![ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions)];
            let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(topics);
            let response = connection.request(version, &request).await?;
            for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
                offsets.insert(partition.partition_index, ListedOffset::read(topic, &partition)?);
            }
        }
        match asked.iter().find(|(partition, _)| !offsets.contains_key(partition)) {
            Some((partition, _)) => Err(ClientError::Missing { what: format!("offset of {topic}-{partition}") }),
            None => Ok(offsets),
        }
    }
}

impl ListedOffset {
    fn read(topic: &str, partition: &ListOffsetsPartitionResponse) -> Result<Self, ClientError> {
        ClientError::check(|| format!("offset of {topic}-{}", partition.partition_index), partition.error_code, None)?;
        Ok(Self {
            offset: (0 <= partition.offset).then_some(partition.offset),
            timestamp: partition.timestamp,
            leader_epoch: partition.leader_epoch,
        })
    }
}

/// `text` as the protocol carries it.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
