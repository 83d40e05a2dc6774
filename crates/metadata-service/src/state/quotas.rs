//! Client quotas.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata_api::{AlterClientQuotas, ClientQuotaAlteration, ClientQuotaEntity, EntityQuotas, MetadataError, QuotaEntityName, QuotaValue};

use super::State;
use super::decision::Decision;
use super::event::Event;

/// Most bytes of all client quotas together: every broker holds them, and every snapshot's root.
const MAX_BYTES: usize = 4 << 20;
/// Counted for an entity beside its names and quotas.
const OVERHEAD: usize = 32;

/// What does not change anything is an event too: its answer, like any other, then waits until it is in the store (rule R15).
pub(super) fn alter(state: &State, request: &AlterClientQuotas) -> Result<Decision, MetadataError> {
    let mut altered: BTreeMap<ClientQuotaEntity, EntityQuotas> = BTreeMap::new();
    for ClientQuotaAlteration { entity, set, removed } in &request.alterations {
        let quotas = altered.entry(entity.clone()).or_insert_with(|| state.client_quotas.get(entity).cloned().unwrap_or_default());
        quotas.extend(set.iter().map(|(key, value)| (key.clone(), *value)));
        quotas.retain(|key, _| !removed.contains(key));
    }
    let (mut before, mut after) = (0, 0);
    for (entity, quotas) in state.client_quotas.iter() {
        before += bytes(entity, quotas);
        after += if altered.contains_key(entity) { 0 } else { bytes(entity, quotas) };
    }
    after += altered.iter().filter(|(_, quotas)| !quotas.is_empty()).map(|(entity, quotas)| bytes(entity, quotas)).sum::<usize>();
    if MAX_BYTES < after && before < after {
        let detail = format!("the client quotas have {after} bytes, at most {MAX_BYTES} are allowed; remove some");
        return Err(MetadataError::Invalid { detail });
    }
    Ok(Decision::revision_of(state, Event::ClientQuotasAltered { altered: altered.into_iter().collect() }))
}

fn bytes(entity: &ClientQuotaEntity, quotas: &EntityQuotas) -> usize {
    let name = |(_, name): (&str, &QuotaEntityName)| match name {
        QuotaEntityName::Default => 0,
        QuotaEntityName::Named(name) => name.len(),
    };
    let quotas = quotas.keys().map(|key| key.len() + size_of::<QuotaValue>()).sum::<usize>();
    OVERHEAD + entity.parts().into_iter().map(name).sum::<usize>() + quotas
}

impl State {
    pub(super) fn set_client_quotas(&mut self, altered: &[(ClientQuotaEntity, EntityQuotas)]) {
        let held = Arc::make_mut(&mut self.client_quotas);
        for (entity, quotas) in altered {
            if quotas.is_empty() {
                held.remove(entity);
            } else {
                held.insert(entity.clone(), quotas.clone());
            }
        }
    }
}
