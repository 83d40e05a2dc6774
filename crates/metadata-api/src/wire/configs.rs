//! Configs of brokers and groups.

use types::{BrokerId, Revision};

use super::{WireError, configs_from_proto, configs_to_proto, required, wrong};
use crate::{AlterResourceConfigs, ConfigResource, ResourceConfigs, proto};

impl From<&ConfigResource> for proto::ConfigResource {
    fn from(value: &ConfigResource) -> Self {
        let (kind, name) = match value {
            ConfigResource::AllBrokers => (proto::ConfigResourceType::Broker, String::new()),
            ConfigResource::Broker(id) => (proto::ConfigResourceType::Broker, id.0.to_string()),
            ConfigResource::Group(id) => (proto::ConfigResourceType::Group, id.clone()),
        };
        Self { r#type: kind.into(), name }
    }
}

impl TryFrom<proto::ConfigResource> for ConfigResource {
    type Error = WireError;
    fn try_from(value: proto::ConfigResource) -> Result<Self, WireError> {
        match proto::ConfigResourceType::try_from(value.r#type) {
            Ok(proto::ConfigResourceType::Broker) if value.name.is_empty() => Ok(Self::AllBrokers),
            Ok(proto::ConfigResourceType::Broker) => {
                value.name.parse().map(|id| Self::Broker(BrokerId(id))).map_err(|_| wrong(format!("broker {:?} is no number", value.name)))
            }
            Ok(proto::ConfigResourceType::Group) if value.name.is_empty() => Err(wrong("a group without a name")),
            Ok(proto::ConfigResourceType::Group) => Ok(Self::Group(value.name)),
            Ok(proto::ConfigResourceType::Unspecified) | Err(_) => Err(wrong(format!("type of resource {} is unknown", value.r#type))),
        }
    }
}

/// What is set on a resource as messages carry it; `None` is that nothing is.
pub fn resource_configs_to_proto(resource: &ConfigResource, set: Option<&ResourceConfigs>) -> proto::ResourceConfigs {
    proto::ResourceConfigs {
        resource: Some(resource.into()),
        configs: set.map(|set| configs_to_proto(&set.configs)).unwrap_or_default(),
        revision: set.map_or(0, |set| set.revision.0),
    }
}

/// The reverse of [`resource_configs_to_proto`].
pub fn resource_configs_from_proto(value: proto::ResourceConfigs) -> Result<(ConfigResource, Option<ResourceConfigs>), WireError> {
    let resource = required(value.resource, "resource")?.try_into()?;
    let configs = configs_from_proto(value.configs);
    Ok((resource, (!configs.is_empty()).then_some(ResourceConfigs { configs, revision: Revision(value.revision) })))
}

impl From<&AlterResourceConfigs> for proto::AlterResourceConfigsRequest {
    fn from(value: &AlterResourceConfigs) -> Self {
        Self { resource: Some((&value.resource).into()), expected: value.expected.0, configs: configs_to_proto(&value.configs) }
    }
}

impl TryFrom<proto::AlterResourceConfigsRequest> for AlterResourceConfigs {
    type Error = WireError;
    fn try_from(value: proto::AlterResourceConfigsRequest) -> Result<Self, WireError> {
        Ok(Self {
            resource: required(value.resource, "resource")?.try_into()?,
            expected: Revision(value.expected),
            configs: configs_from_proto(value.configs),
        })
    }
}
