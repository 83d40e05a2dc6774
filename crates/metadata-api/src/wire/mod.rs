//! Domain values to messages and back. Messages come from other processes and from disk: everything is checked on the way in, so
//! that a value of the domain is always one that could have been made here.

mod configs;
mod error;
mod image;
mod publish;
mod quotas;
mod replace;
mod requests;
mod segment;
mod slots;

use std::collections::BTreeMap;

use types::{ClusterId, Durability, TopicId, TopicPartition, WalId};
use uuid::Uuid;

use crate::{Endpoint, proto};

pub use configs::{resource_configs_from_proto, resource_configs_to_proto};
pub use error::{error_from_status, status_from_error};
pub use image::{apply_delta, whole_image};
pub use quotas::{entity_quotas_from_proto, entity_quotas_to_proto};
pub use segment::{segment_from_proto, segment_to_proto};
pub use slots::row_with_value;

/// A message that no correct peer sends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct WireError(pub String);

impl From<WireError> for crate::MetadataError {
    fn from(err: WireError) -> Self {
        Self::Invalid { detail: err.to_string() }
    }
}

fn wrong(what: impl Into<String>) -> WireError {
    WireError(what.into())
}

/// The value of a field that must be there.
pub fn required<T>(field: Option<T>, name: &str) -> Result<T, WireError> {
    field.ok_or_else(|| wrong(format!("{name} is missing")))
}

fn uuid(bytes: &[u8]) -> Result<Uuid, WireError> {
    Uuid::from_slice(bytes).map_err(|_| wrong(format!("an id has {} bytes instead of 16", bytes.len())))
}

/// A topic id of 16 bytes.
pub fn topic_id(bytes: &[u8]) -> Result<TopicId, WireError> {
    uuid(bytes).map(TopicId)
}

/// A WAL id of 16 bytes.
pub fn wal_id(bytes: &[u8]) -> Result<WalId, WireError> {
    uuid(bytes).map(WalId)
}

/// A cluster id of 16 bytes.
pub fn cluster_id(bytes: &[u8]) -> Result<ClusterId, WireError> {
    uuid(bytes).map(ClusterId)
}

/// The sixteen bytes of an id, as messages carry it.
pub fn id_bytes(id: &[u8; 16]) -> Vec<u8> {
    id.to_vec()
}

impl From<TopicPartition> for proto::TopicPartition {
    fn from(value: TopicPartition) -> Self {
        Self { topic: id_bytes(value.topic.as_bytes()), partition: value.partition }
    }
}

impl TryFrom<proto::TopicPartition> for TopicPartition {
    type Error = WireError;
    fn try_from(value: proto::TopicPartition) -> Result<Self, WireError> {
        if value.partition < 0 {
            return Err(wrong(format!("partition {} is negative", value.partition)));
        }
        Ok(Self { topic: topic_id(&value.topic)?, partition: value.partition })
    }
}

impl From<Durability> for proto::Durability {
    fn from(value: Durability) -> Self {
        match value {
            Durability::Wal => Self::Wal,
            Durability::Object => Self::Object,
        }
    }
}

/// A durability level by its number.
pub fn durability(value: i32) -> Result<Durability, WireError> {
    match proto::Durability::try_from(value) {
        Ok(proto::Durability::Wal) => Ok(Durability::Wal),
        Ok(proto::Durability::Object) => Ok(Durability::Object),
        Ok(proto::Durability::Unspecified) | Err(_) => Err(wrong(format!("durability {value} is unknown"))),
    }
}

impl From<&Endpoint> for proto::Endpoint {
    fn from(value: &Endpoint) -> Self {
        Self { listener: value.listener.clone(), host: value.host.clone(), port: value.port.into() }
    }
}

impl TryFrom<proto::Endpoint> for Endpoint {
    type Error = WireError;
    fn try_from(value: proto::Endpoint) -> Result<Self, WireError> {
        let port = u16::try_from(value.port).map_err(|_| wrong(format!("port {} is above 65535", value.port)))?;
        Ok(Self { listener: value.listener, host: value.host, port })
    }
}

/// Endpoints as messages carry them.
pub fn endpoints_to_proto(endpoints: &[Endpoint]) -> Vec<proto::Endpoint> {
    endpoints.iter().map(proto::Endpoint::from).collect()
}

/// The reverse of [`endpoints_to_proto`].
pub fn endpoints_from_proto(endpoints: Vec<proto::Endpoint>) -> Result<Vec<Endpoint>, WireError> {
    endpoints.into_iter().map(Endpoint::try_from).collect()
}

/// Configs in the order of their names.
pub fn configs_to_proto(configs: &BTreeMap<String, String>) -> Vec<proto::Config> {
    configs.iter().map(|(name, value)| proto::Config { name: name.clone(), value: value.clone() }).collect()
}

/// The reverse of [`configs_to_proto`]; the last of several values of a name counts.
pub fn configs_from_proto(configs: Vec<proto::Config>) -> BTreeMap<String, String> {
    configs.into_iter().map(|config| (config.name, config.value)).collect()
}

#[cfg(test)]
mod tests;
