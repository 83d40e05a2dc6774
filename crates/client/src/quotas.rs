//! Client quotas (KIP-546): what is set for users, client ids and addresses, and changes of it.

use std::fmt;

use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use crate::admin::text;
use crate::{Client, ClientError};

/// Whom quotas are set for: parts by Kafka's names of their types (`user`, `client-id`, `ip`), each with a name, or without one for all
/// that have no quota of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QuotaEntity(pub Vec<(String, Option<String>)>);

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |(kind, name): &(String, Option<String>)| match name {
            Some(name) => format!("{kind} {name}"),
            None => format!("default {kind}"),
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// A quota that is set.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientQuota {
    /// For whom.
    pub entity: QuotaEntity,
    /// Kafka's name of what is limited.
    pub key: String,
    /// How much of it, in the key's unit.
    pub value: f64,
}

/// A change of one quota.
#[derive(Clone, PartialEq, Debug)]
pub enum QuotaChange {
    /// Gives it a value.
    Set {
        /// Its key.
        key: String,
        /// The value.
        value: f64,
    },
    /// Takes it away.
    Unset {
        /// Its key.
        key: String,
    },
}

impl Client {
    /// All quotas that are set, by entity and key.
    ///
    /// # Errors
    /// The broker's refusal, or a failed connection.
    pub async fn client_quotas(&self) -> Result<Vec<ClientQuota>, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<DescribeClientQuotasRequest>()?;
        let response = connection.request(version, &DescribeClientQuotasRequest::default()).await?;
        ClientError::check(|| "client quotas".to_owned(), response.error_code, response.error_message.as_deref())?;
        let mut quotas = Vec::new();
        for entry in response.entries.unwrap_or_default() {
            let part = |part: protocol::messages::describe_client_quotas_response::EntityData| {
                (part.entity_type.to_string(), part.entity_name.map(|name| name.to_string()))
            };
            let entity = QuotaEntity(entry.entity.into_iter().map(part).collect());
            let quota = |value: protocol::messages::describe_client_quotas_response::ValueData| ClientQuota {
                entity: entity.clone(),
                key: value.key.to_string(),
                value: value.value,
            };
            quotas.extend(entry.values.into_iter().map(quota));
        }
        quotas.sort_by(|a, b| (&a.entity, &a.key).cmp(&(&b.entity, &b.key)));
        Ok(quotas)
    }

    /// Changes quotas of one entity: all of them, or none if one is refused.
    ///
    /// # Errors
    /// The broker's refusal; an unknown outcome when the connection fails, which the same changes again resolve.
    pub async fn alter_client_quotas(&self, entity: &QuotaEntity, changes: &[QuotaChange]) -> Result<(), ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<AlterClientQuotasRequest>()?;
        let part = |(kind, name): &(String, Option<String>)| {
            EntityData::default().with_entity_type(text(kind)).with_entity_name(name.as_deref().map(text))
        };
        let op = |change: &QuotaChange| match change {
            QuotaChange::Set { key, value } => OpData::default().with_key(text(key)).with_value(*value),
            QuotaChange::Unset { key } => OpData::default().with_key(text(key)).with_remove(true),
        };
        let entry = EntryData::default().with_entity(entity.0.iter().map(part).collect()).with_ops(changes.iter().map(op).collect());
        let response = connection.request(version, &AlterClientQuotasRequest::default().with_entries(vec![entry])).await?;
        let what = || format!("altering quotas of {entity}");
        let result = response.entries.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, result.error_code, result.error_message.as_deref())
    }
}
