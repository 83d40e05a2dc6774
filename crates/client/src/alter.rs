//! Administration of topics that exist: their configs, the number of their partitions, the leader of one that has none.

use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{CreatePartitionsRequest, DescribeConfigsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest};

use crate::admin::{TOPIC_TIMEOUT_MS, text};
use crate::client::topic_name;
use crate::{Client, ClientError};

/// `ConfigResource.Type` of a topic.
const TOPIC: i8 = 2;
/// `ConfigEntry.ConfigSource` of a config that was set on the topic.
const SET_ON_TOPIC: i8 = 1;
/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// `ElectionType` that gives up what only a lost log holds.
const UNCLEAN: i8 = 1;

/// A config in force for a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where the broker keeps it to itself.
    pub value: Option<String>,
    /// Whether it was set on the topic; else it is the broker's, or built in.
    pub is_set: bool,
}

/// A change of one config of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    /// Gives it a value.
    Set {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
    /// Lets it follow the broker again.
    Unset {
        /// Its name.
        name: String,
    },
}

impl Client {
    /// Every config in force for a topic, by name.
    ///
    /// # Errors
    /// The broker's refusal, or a failed connection.
    pub async fn topic_configs(&self, topic: &str) -> Result<Vec<TopicConfigEntry>, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<DescribeConfigsRequest>()?;
        let resource =
            DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic)).with_configuration_keys(None);
        let response = connection.request(version, &DescribeConfigsRequest::default().with_resources(vec![resource])).await?;
        let what = || format!("configs of topic {topic}");
        let result = response.results.into_iter().next().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        let mut entries: Vec<_> = result.configs.into_iter().map(TopicConfigEntry::read).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes configs of a topic: all of them, or none if one is refused.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which the same changes again resolve.
    pub async fn alter_topic_configs(&self, topic: &str, changes: &[ConfigChange]) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<IncrementalAlterConfigsRequest>()?;
        let configs = changes.iter().map(ConfigChange::write).collect();
        let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic)).with_configs(configs);
        let response = connection.request(version, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).await?;
        let what = || format!("altering topic {topic}");
        let result = response.responses.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())
    }

    /// Grows a topic to `total` partitions.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which describing the topic resolves.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<CreatePartitionsRequest>()?;
        let grown = CreatePartitionsTopic::default().with_name(topic_name(topic)).with_count(total).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(TOPIC_TIMEOUT_MS);
        let response = connection.request(version, &request).await?;
        let what = || format!("growing topic {topic} to {total} partitions");
        let result = response.results.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(topic).await;
        Ok(())
    }

    /// Gives a partition that has lost its leader another, although what the old one had not published is lost by that.
    ///
    /// # Errors
    /// The broker's refusal, also where the partition has a leader; an unknown outcome when the connection fails.
    pub async fn elect_unclean_leader(&self, topic: &str, partition: i32) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<ElectLeadersRequest>()?;
        let what = || format!("electing a leader of {topic}-{partition}");
        // A broker that does not know the kind of election would take the request for a harmless one.
        if version < 1 {
            return Err(ClientError::NoCommonVersion { address: connection.address().to_owned(), api: "ElectLeaders 1".to_owned() });
        }
        let partitions = TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = ElectLeadersRequest::default()
            .with_election_type(UNCLEAN)
            .with_topic_partitions(Some(vec![partitions]))
            .with_timeout_ms(TOPIC_TIMEOUT_MS);
        let response = connection.request(version, &request).await?;
        ClientError::check(what, response.error_code, None)?;
        let mut results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let result = results.next().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        self.forget(topic).await;
        Ok(())
    }
}

impl TopicConfigEntry {
    fn read(config: DescribeConfigsResourceResult) -> Self {
        Self {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            is_set: config.config_source == SET_ON_TOPIC,
        }
    }
}

impl ConfigChange {
    fn write(&self) -> AlterableConfig {
        match self {
            Self::Set { name, value } => {
                AlterableConfig::default().with_name(text(name)).with_config_operation(SET).with_value(Some(text(value)))
            }
            Self::Unset { name } => AlterableConfig::default().with_name(text(name)).with_config_operation(DELETE).with_value(None),
        }
    }
}
