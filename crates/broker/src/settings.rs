//! What the broker goes by now: the configuration it was started with, and over it what was set since, for brokers, groups
//! and clients.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use group::GroupConfigs;
use metadata_api::{ClientQuotaEntity, ClusterImage, ConfigResource, EntityQuotas, ResourceConfigs};
use parking_lot::RwLock;
use types::BrokerId;

use crate::broker_config::{Configuration, Running};
use crate::group_config;
use crate::options::BrokerOptions;
use crate::quota::QuotaRates;
use crate::topic_config::{TopicConfig, TopicDefaults};

/// What an image has of all this.
#[derive(Default)]
struct Set {
    /// On brokers and groups.
    configs: Arc<BTreeMap<ConfigResource, ResourceConfigs>>,
    client_quotas: Arc<BTreeMap<ClientQuotaEntity, EntityQuotas>>,
}

/// The options in force, from one change to the next.
pub(crate) struct InForce {
    options: BrokerOptions,
    /// What topics would have if nothing had been set since the start.
    started_with: TopicDefaults,
    pub(crate) running: Running,
    /// Those of groups, as their coordinators take them.
    pub(crate) group_options: Arc<group::Options>,
    /// What is set on single groups.
    pub(crate) group_configs: Arc<GroupConfigs>,
    /// Client quotas.
    pub(crate) quotas: Arc<QuotaRates>,
}

impl Deref for InForce {
    type Target = BrokerOptions;
    fn deref(&self) -> &BrokerOptions {
        &self.options
    }
}

impl InForce {
    /// A topic's configs over the broker's.
    pub(crate) fn topic<'a>(&'a self, set: &'a BTreeMap<String, String>) -> TopicConfig<'a> {
        TopicConfig::new(&self.options.topic_defaults, set).over(&self.started_with, &self.running)
    }
}

/// Keeps the options in force in step with the image.
pub(crate) struct Settings {
    id: BrokerId,
    pub(crate) configuration: Arc<dyn Configuration>,
    followed: RwLock<(Set, Arc<InForce>)>,
}

impl Settings {
    /// What the broker was started with; nothing is set yet.
    ///
    /// # Errors
    /// Says what of the configuration contradicts itself.
    pub(crate) fn new(configuration: Arc<dyn Configuration>) -> Result<Self, String> {
        let options = configuration.options(&BTreeMap::new())?;
        let (id, started_with) = (options.id, options.topic_defaults.clone());
        let group_options = Arc::new(options.groups.clone());
        let in_force = InForce {
            options,
            started_with,
            running: Running::default(),
            group_options,
            group_configs: Arc::default(),
            quotas: Arc::default(),
        };
        Ok(Self { id, configuration, followed: RwLock::new((Set::default(), Arc::new(in_force))) })
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.followed.read().1)
    }

    /// Takes over what is set in `image`; says whether topics may have other configs by it.
    pub(crate) fn follow(&self, image: &ClusterImage) -> bool {
        let (before, quotas) = {
            let followed = self.followed.read();
            let same_quotas = Arc::ptr_eq(&followed.0.client_quotas, &image.client_quotas);
            if same_quotas && Arc::ptr_eq(&followed.0.configs, &image.configs) {
                return false;
            }
            (Arc::clone(&followed.1), same_quotas.then(|| Arc::clone(&followed.1.quotas)))
        };
        let quotas = quotas.unwrap_or_else(|| Arc::new(QuotaRates::new(&image.client_quotas)));
        let set = |resource| image.configs.get(&resource).map(|set| set.configs.clone()).unwrap_or_default();
        let running = Running { own: set(ConfigResource::Broker(self.id)), all: set(ConfigResource::AllBrokers) };
        let options = if running == before.running { before.options.clone() } else { self.options(&running, &before) };
        let is_other = options.topic_defaults != before.topic_defaults;
        let group_options = Arc::new(options.groups.clone());
        let group_configs = Arc::new(group_config::of_groups(&image.configs));
        let started_with = before.started_with.clone();
        let in_force = InForce { options, started_with, running, group_options, group_configs, quotas };
        let set = Set { configs: Arc::clone(&image.configs), client_quotas: Arc::clone(&image.client_quotas) };
        *self.followed.write() = (set, Arc::new(in_force));
        is_other
    }

    /// As every change was checked by a broker before it was made, only another broker's configuration, a newer version or another file
    /// can make it impossible here.
    fn options(&self, running: &Running, before: &InForce) -> BrokerOptions {
        self.configuration.options(&running.merged()).unwrap_or_else(|why| {
            tracing::error!("what is set on brokers cannot be followed, what was in force before stays: {why}");
            before.options.clone()
        })
    }
}
