//! What is set on brokers and groups while they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata_api::{AlterResourceConfigs, ConfigResource, MetadataError, ResourceConfigs};
use types::{BrokerId, Revision};

use super::State;
use super::decision::Decision;
use super::event::Event;
use super::topics::check_configs;

/// Most bytes of what is set on all brokers and groups together: every broker holds it, and every snapshot's root.
const MAX_BYTES: usize = 4 << 20;
/// Counted for a resource beside its name and its configs.
const OVERHEAD: usize = 32;

pub(super) fn alter(state: &State, request: &AlterResourceConfigs) -> Result<Decision, MetadataError> {
    let AlterResourceConfigs { resource, expected, configs } = request;
    if state.configs.get(resource).map_or(Revision(0), |set| set.revision) != *expected {
        return Err(MetadataError::ResourceConfigConflict { resource: resource.clone() });
    }
    check_configs(configs)?;
    if !configs.is_empty() {
        let others = state.configs.iter().filter(|(other, _)| *other != resource).map(|(other, set)| bytes(other, &set.configs));
        let total = bytes(resource, configs) + others.sum::<usize>();
        if MAX_BYTES < total {
            let detail = format!("the configs of brokers and groups have {total} bytes, at most {MAX_BYTES} are allowed; delete some");
            return Err(MetadataError::Invalid { detail });
        }
    }
    Ok(Decision::revision_of(state, Event::ResourceConfigsAltered { resource: resource.clone(), configs: configs.clone() }))
}

fn bytes(resource: &ConfigResource, configs: &BTreeMap<String, String>) -> usize {
    let name = match resource {
        ConfigResource::AllBrokers | ConfigResource::Broker(_) => 0,
        ConfigResource::Group(id) => id.len(),
    };
    OVERHEAD + name + configs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl State {
    pub(super) fn set_configs(&mut self, resource: &ConfigResource, configs: &BTreeMap<String, String>) {
        let revision = self.revision;
        let held = Arc::make_mut(&mut self.configs);
        if configs.is_empty() {
            held.remove(resource);
        } else {
            held.insert(resource.clone(), ResourceConfigs { configs: configs.clone(), revision });
        }
    }

    /// A broker's config that is set while it runs: its own before that of all brokers.
    pub(super) fn broker_config(&self, broker: BrokerId, name: &str) -> Option<&str> {
        let of = |resource| self.configs.get(&resource).and_then(|set| set.configs.get(name)).map(String::as_str);
        of(ConfigResource::Broker(broker)).or_else(|| of(ConfigResource::AllBrokers))
    }
}
