//! AlterClientQuotas (KIP-546): sets and removes quotas. Each entity is checked by itself, and those that pass are altered in one step.

use std::collections::BTreeSet;
use std::net::IpAddr;

use metadata_api::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, QuotaEntityName};
use protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use protocol::messages::alter_client_quotas_response::{EntityData as AnsweredEntity, EntryData as AnsweredEntry};
use protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use protocol::{ErrorCode, StrBytes};
use types::Revision;

use super::refusal::{Refusal, outcome};
use crate::broker::Broker;
use crate::config_change::{APPLY_MS, named_twice};
use crate::quota;
use crate::session::RequestContext;

/// Changes that one request may make, as in Kafka (KRaft's records per operation); an entity counts as one at least.
const MAX_CHANGES: usize = 10_000;
/// About what an entity takes in an answer beside its names.
const ENTRY_BYTES: usize = 128;

/// About how many bytes the answer will have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(request: &AlterClientQuotasRequest) -> usize {
    request.entries.len() * ENTRY_BYTES
}

pub(crate) async fn handle(broker: &Broker, context: &RequestContext, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let changes: usize = request.entries.iter().map(|entry| entry.ops.len().max(1)).sum();
    if MAX_CHANGES < changes {
        broker.metrics.requests.error(context.header.api_key, ErrorCode::PolicyViolation);
        let words = StrBytes::from_static_str("Unable to perform excessively large batch operation.");
        let refused = |entry: EntryData| answered(entry.entity, ErrorCode::PolicyViolation.code(), Some(words.clone()));
        return AlterClientQuotasResponse::default().with_entries(request.entries.into_iter().map(refused).collect());
    }
    let entities: Vec<_> = request.entries.iter().map(|entry| entity(&entry.entity)).collect();
    let twice = named_twice(entities.iter().flatten().cloned());
    let checked = entities.into_iter().zip(&request.entries).map(|(entity, entry)| match entity? {
        entity if twice.contains(&entity) => Err(invalid(format!("Ignoring duplicate entity {entity}"))),
        entity => alteration(entity, &entry.ops),
    });
    let checked: Vec<Result<ClientQuotaAlteration, Refusal>> = checked.collect();
    let alterations: Vec<_> = checked.iter().flatten().cloned().collect();
    let altered = if request.validate_only || alterations.is_empty() {
        Ok(Revision::default())
    } else {
        broker.metadata.alter_client_quotas(AlterClientQuotas { alterations }).await
    };
    if let Ok(revision) = altered {
        broker.has_applied(revision, APPLY_MS).await;
    }
    let entries = request.entries.into_iter().zip(checked).map(|(EntryData { entity, .. }, checked)| {
        let done = checked.and_then(|_| altered.clone().map(|_| ()).map_err(Refusal::from));
        let (code, message) = outcome(broker, context, done);
        answered(entity, code, message)
    });
    AlterClientQuotasResponse::default().with_entries(entries.collect())
}

fn answered(entity: Vec<EntityData>, code: i16, message: Option<StrBytes>) -> AnsweredEntry {
    let named = |part: EntityData| AnsweredEntity::default().with_entity_type(part.entity_type).with_entity_name(part.entity_name);
    AnsweredEntry::default().with_error_code(code).with_error_message(message).with_entity(entity.into_iter().map(named).collect())
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}

/// The entity that the parts of an entry name.
fn entity(parts: &[EntityData]) -> Result<ClientQuotaEntity, Refusal> {
    let (mut user, mut client_id, mut ip) = (None, None, None);
    for EntityData { entity_type, entity_name, .. } in parts {
        let part = match &**entity_type {
            ClientQuotaEntity::USER => &mut user,
            ClientQuotaEntity::CLIENT_ID => &mut client_id,
            ClientQuotaEntity::IP => &mut ip,
            other => return Err(invalid(format!("Unhandled client quota entity type: {other}"))),
        };
        let name = match entity_name.as_deref() {
            None => QuotaEntityName::Default,
            Some("") => return Err(invalid(format!("Empty {} not supported", &**entity_type))),
            Some(name) => QuotaEntityName::Named(name.to_owned()),
        };
        if part.replace(name).is_some() {
            return Err(invalid(format!("Invalid client quota entity, duplicate entity entry {}", &**entity_type)));
        }
    }
    match (user, client_id, ip) {
        (None, None, None) => Err(invalid("Invalid empty client quota entity")),
        (Some(user), None, None) => Ok(ClientQuotaEntity::User(user)),
        (None, Some(client_id), None) => Ok(ClientQuotaEntity::ClientId(client_id)),
        (Some(user), Some(client_id), None) => Ok(ClientQuotaEntity::UserClientId(user, client_id)),
        (None, None, Some(QuotaEntityName::Named(ip))) if ip.parse::<IpAddr>().is_err() => {
            Err(invalid(format!("{ip} is not a valid IP; give the address, host names are not resolved.")))
        }
        (None, None, Some(ip)) => Ok(ClientQuotaEntity::Ip(ip)),
        (_, _, Some(_)) => Err(invalid("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")),
    }
}

fn alteration(entity: ClientQuotaEntity, ops: &[OpData]) -> Result<ClientQuotaAlteration, Refusal> {
    if let Some(key) = named_twice(ops.iter().map(|op| &*op.key)).into_iter().next() {
        return Err(invalid(format!("Duplicate quota key {key} not updating quota for this entity {entity}")));
    }
    let (mut set, mut removed) = (EntityQuotas::new(), BTreeSet::new());
    for op in ops {
        // What is removed need not be a key that could be set.
        if op.remove {
            removed.insert(op.key.to_string());
        } else {
            set.insert(op.key.to_string(), quota::check(&entity, &op.key, op.value)?);
        }
    }
    Ok(ClientQuotaAlteration { entity, set, removed })
}
