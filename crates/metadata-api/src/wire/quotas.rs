//! Client quotas.

use super::{WireError, required, wrong};
use crate::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, QuotaEntityName, QuotaValue, proto};

impl From<&QuotaEntityName> for proto::QuotaEntityName {
    fn from(value: &QuotaEntityName) -> Self {
        match value {
            QuotaEntityName::Default => Self { name: None },
            QuotaEntityName::Named(name) => Self { name: Some(name.clone()) },
        }
    }
}

impl TryFrom<proto::QuotaEntityName> for QuotaEntityName {
    type Error = WireError;
    fn try_from(value: proto::QuotaEntityName) -> Result<Self, WireError> {
        match value.name {
            None => Ok(Self::Default),
            Some(name) if name.is_empty() => Err(wrong("a quota for an empty name")),
            Some(name) => Ok(Self::Named(name)),
        }
    }
}

impl From<&ClientQuotaEntity> for proto::ClientQuotaEntity {
    fn from(value: &ClientQuotaEntity) -> Self {
        let (user, client_id, ip) = match value {
            ClientQuotaEntity::ClientId(id) => (None, Some(id), None),
            ClientQuotaEntity::User(user) => (Some(user), None, None),
            ClientQuotaEntity::UserClientId(user, id) => (Some(user), Some(id), None),
            ClientQuotaEntity::Ip(ip) => (None, None, Some(ip)),
        };
        Self { user: user.map(Into::into), client_id: client_id.map(Into::into), ip: ip.map(Into::into) }
    }
}

impl TryFrom<proto::ClientQuotaEntity> for ClientQuotaEntity {
    type Error = WireError;
    fn try_from(value: proto::ClientQuotaEntity) -> Result<Self, WireError> {
        match (value.user, value.client_id, value.ip) {
            (None, Some(id), None) => Ok(Self::ClientId(id.try_into()?)),
            (Some(user), None, None) => Ok(Self::User(user.try_into()?)),
            (Some(user), Some(id), None) => Ok(Self::UserClientId(user.try_into()?, id.try_into()?)),
            (None, None, Some(ip)) => Ok(Self::Ip(ip.try_into()?)),
            (None, None, None) => Err(wrong("a quota for nobody")),
            (_, _, Some(_)) => Err(wrong("a quota for an address and a user or client id")),
        }
    }
}

fn quotas_to_proto(quotas: &EntityQuotas) -> Vec<proto::ClientQuota> {
    quotas.iter().map(|(key, value)| proto::ClientQuota { key: key.clone(), value: value.get() }).collect()
}

fn quotas_from_proto(quotas: Vec<proto::ClientQuota>) -> Result<EntityQuotas, WireError> {
    let quota = |quota: proto::ClientQuota| match QuotaValue::new(quota.value) {
        Some(value) => Ok((quota.key, value)),
        None => Err(wrong(format!("quota {} of {}", quota.key, quota.value))),
    };
    quotas.into_iter().map(quota).collect()
}

/// What is set for an entity as messages carry it; without quotas where nothing is.
pub fn entity_quotas_to_proto(entity: &ClientQuotaEntity, quotas: &EntityQuotas) -> proto::EntityQuotas {
    proto::EntityQuotas { entity: Some(entity.into()), quotas: quotas_to_proto(quotas) }
}

/// The reverse of [`entity_quotas_to_proto`].
pub fn entity_quotas_from_proto(value: proto::EntityQuotas) -> Result<(ClientQuotaEntity, EntityQuotas), WireError> {
    Ok((required(value.entity, "entity")?.try_into()?, quotas_from_proto(value.quotas)?))
}

impl From<&AlterClientQuotas> for proto::AlterClientQuotasRequest {
    fn from(value: &AlterClientQuotas) -> Self {
        let alteration = |alteration: &ClientQuotaAlteration| proto::ClientQuotaAlteration {
            entity: Some((&alteration.entity).into()),
            set: quotas_to_proto(&alteration.set),
            removed: alteration.removed.iter().cloned().collect(),
        };
        Self { alterations: value.alterations.iter().map(alteration).collect() }
    }
}

impl TryFrom<proto::AlterClientQuotasRequest> for AlterClientQuotas {
    type Error = WireError;
    fn try_from(value: proto::AlterClientQuotasRequest) -> Result<Self, WireError> {
        let alteration = |alteration: proto::ClientQuotaAlteration| {
            Ok(ClientQuotaAlteration {
                entity: required(alteration.entity, "entity")?.try_into()?,
                set: quotas_from_proto(alteration.set)?,
                removed: alteration.removed.into_iter().collect(),
            })
        };
        Ok(Self { alterations: value.alterations.into_iter().map(alteration).collect::<Result<_, WireError>>()? })
    }
}
