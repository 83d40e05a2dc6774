//! DescribeClientQuotas (KIP-546): what is set for the entities that a filter lets through.

use metadata_api::{ClientQuotaEntity, EntityQuotas, QuotaEntityName};
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use protocol::{ErrorCode, StrBytes};

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::session::RequestContext;

/// About what an entity, or one of its quotas, takes in an answer beside its names.
const ITEM_BYTES: usize = 32;

/// What a filter asks of one part of an entity.
enum Match<'a> {
    /// That it is this one.
    Name(&'a str),
    /// That it is the default.
    Default,
    /// That it is there.
    Any,
}

/// About how many bytes the answer may have, so that room for it can be taken before it is made.
pub(crate) fn answer_bytes(broker: &Broker) -> usize {
    let name = |(_, name): (&str, &QuotaEntityName)| match name {
        QuotaEntityName::Default => ITEM_BYTES,
        QuotaEntityName::Named(name) => name.len() + ITEM_BYTES,
    };
    let image = broker.image();
    let entity = |(entity, quotas): (&ClientQuotaEntity, &EntityQuotas)| {
        let names = entity.parts().into_iter().map(name).sum::<usize>();
        names + quotas.keys().map(|key| key.len() + ITEM_BYTES).sum::<usize>()
    };
    image.client_quotas.iter().map(entity).sum()
}

pub(crate) fn handle(broker: &Broker, context: &RequestContext, request: &DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let filter = match filter(&request.components) {
        Ok(filter) => filter,
        Err(refusal) => {
            let (code, message) = refusal.answered(broker, context);
            return DescribeClientQuotasResponse::default().with_error_code(code).with_error_message(message).with_entries(None);
        }
    };
    let image = broker.image();
    let matching = image.client_quotas.iter().filter(|(entity, _)| matches(entity, &filter, request.strict));
    DescribeClientQuotasResponse::default().with_entries(Some(matching.map(|(entity, quotas)| entry(entity, quotas)).collect()))
}

fn filter(components: &[ComponentData]) -> Result<Vec<(&str, Match<'_>)>, Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let mut filter: Vec<(&str, Match<'_>)> = Vec::new();
    for ComponentData { entity_type, match_type, _match: name, .. } in components {
        let kind = &**entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filter.iter().any(|(other, _)| *other == kind) {
            return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if ![ClientQuotaEntity::USER, ClientQuotaEntity::CLIENT_ID, ClientQuotaEntity::IP].contains(&kind) {
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
        }
        let wanted = match (match_type, name.as_deref()) {
            (0, Some(name)) => Match::Name(name),
            (0, None) => return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned()),
            (1, None) => Match::Default,
            (1, Some(_)) => return invalid("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.".to_owned()),
            (2, None) => Match::Any,
            (2, Some(_)) => return invalid("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.".to_owned()),
            (unknown, _) => return invalid(format!("Unknown match type {unknown}")),
        };
        filter.push((kind, wanted));
    }
    if 1 < filter.len() && filter.iter().any(|(kind, _)| *kind == ClientQuotaEntity::IP) {
        let text =
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.";
        return invalid(text.to_owned());
    }
    Ok(filter)
}

/// Whether the entity has all parts that the filter asks for and, where it is strict, no other.
fn matches(entity: &ClientQuotaEntity, filter: &[(&str, Match<'_>)], strict: bool) -> bool {
    let parts = entity.parts();
    let has = |(kind, wanted): &(&str, Match<'_>)| {
        parts.iter().any(|(part, name)| {
            part == kind
                && match (wanted, name) {
                    (Match::Any, _) | (Match::Default, QuotaEntityName::Default) => true,
                    (Match::Name(wanted), QuotaEntityName::Named(name)) => wanted == name,
                    (Match::Default, QuotaEntityName::Named(_)) | (Match::Name(_), QuotaEntityName::Default) => false,
                }
        })
    };
    (!strict || parts.len() == filter.len()) && filter.iter().all(has)
}

fn entry(entity: &ClientQuotaEntity, quotas: &EntityQuotas) -> EntryData {
    let part = |(kind, name): (&'static str, &QuotaEntityName)| {
        let name = match name {
            QuotaEntityName::Default => None,
            QuotaEntityName::Named(name) => Some(StrBytes::from_string(name.clone())),
        };
        EntityData::default().with_entity_type(StrBytes::from_static_str(kind)).with_entity_name(name)
    };
    let values =
        quotas.iter().map(|(key, value)| ValueData::default().with_key(StrBytes::from_string(key.clone())).with_value(value.get()));
    EntryData::default().with_entity(entity.parts().into_iter().map(part).collect()).with_values(values.collect())
}
