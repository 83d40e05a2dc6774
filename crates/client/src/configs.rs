//! Configs of topics, brokers and groups: what is in force, and changes of it.

use std::fmt;

use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::admin::text;
use crate::connection::Connection;
use crate::{Client, ClientError};

/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// What configs belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by id. Only it can be asked.
    Broker(i32),
    /// Every broker that does not say otherwise.
    AllBrokers,
    /// A group, whether it exists or not.
    Group(String),
}

impl ConfigResource {
    /// `ConfigResource.Type`, and the name.
    fn on_the_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::AllBrokers => (4, String::new()),
            Self::Group(id) => (32, id.clone()),
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::AllBrokers => f.write_str("all brokers"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}

/// Who says what a config is (`ConfigEntry.ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the broker while it runs.
    Broker,
    /// Set on all brokers while they run.
    AllBrokers,
    /// The broker's configuration when it started.
    Start,
    /// Built in.
    Default,
    /// Set on the group.
    Group,
    /// One that this client does not know, by its number.
    Other(i8),
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => f.write_str("topic"),
            Self::Broker => f.write_str("broker"),
            Self::AllBrokers => f.write_str("all brokers"),
            Self::Start => f.write_str("start"),
            Self::Default => f.write_str("default"),
            Self::Group => f.write_str("group"),
            Self::Other(source) => write!(f, "source {source}"),
        }
    }
}

/// A config in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where there is none, or the broker keeps it to itself.
    pub value: Option<String>,
    /// Who says so.
    pub source: ConfigSource,
    /// It cannot be changed while the broker runs.
    pub read_only: bool,
}

/// A change of one config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    /// Gives it a value.
    Set {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
    /// Lets it follow what stands behind it again.
    Unset {
        /// Its name.
        name: String,
    },
}

impl Client {
    /// Every config in force for a resource, by name; of all brokers only what is set on them.
    ///
    /// # Errors
    /// The broker's refusal, or a failed connection.
    pub async fn configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, ClientError> {
        let connection = self.connection_for(resource).await?;
        let version = connection.version::<DescribeConfigsRequest>()?;
        let (kind, name) = resource.on_the_wire();
        let asked =
            DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(&name)).with_configuration_keys(None);
        let response = connection.request(version, &DescribeConfigsRequest::default().with_resources(vec![asked])).await?;
        let what = || format!("configs of {resource}");
        let result = response.results.into_iter().next().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())?;
        let mut entries: Vec<_> = result.configs.into_iter().map(ConfigEntry::read).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes configs of a resource: all of them, or none if one is refused.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which the same changes again resolve.
    pub async fn alter_configs(&self, resource: &ConfigResource, changes: &[ConfigChange]) -> Result<(), ClientError> {
        let connection = self.connection_for(resource).await?;
        let version = connection.version::<IncrementalAlterConfigsRequest>()?;
        let (kind, name) = resource.on_the_wire();
        let configs = changes.iter().map(ConfigChange::write).collect();
        let altered = AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(&name)).with_configs(configs);
        let response = connection.request(version, &IncrementalAlterConfigsRequest::default().with_resources(vec![altered])).await?;
        let what = || format!("altering {resource}");
        let result = response.responses.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())
    }

    async fn connection_for(&self, resource: &ConfigResource) -> Result<Connection, ClientError> {
        match resource {
            ConfigResource::Broker(id) => self.connection_to_broker(*id).await,
            ConfigResource::Topic(_) | ConfigResource::AllBrokers | ConfigResource::Group(_) => self.any_connection().await,
        }
    }
}

impl ConfigEntry {
    fn read(config: DescribeConfigsResourceResult) -> Self {
        let source = match config.config_source {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::AllBrokers,
            4 => ConfigSource::Start,
            5 => ConfigSource::Default,
            8 => ConfigSource::Group,
            other => ConfigSource::Other(other),
        };
        let value = config.value.map(|value| value.to_string());
        Self { name: config.name.to_string(), value, source, read_only: config.read_only }
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
