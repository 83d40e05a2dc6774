//! Configs that are set while brokers run and are no topic's: those of brokers, and those of groups (KIP-226, KIP-848).

use std::collections::BTreeMap;
use std::fmt;

use types::{BrokerId, Revision};

/// What such configs belong to; Kafka's `ConfigResource` without topics.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigResource {
    /// Every broker that does not say otherwise.
    AllBrokers,
    /// One broker.
    Broker(BrokerId),
    /// A group, whether it exists or not; never empty.
    Group(String),
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllBrokers => f.write_str("all brokers"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Group(id) => write!(f, "group '{id}'"),
        }
    }
}

/// What is set on a resource. There is none where nothing is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceConfigs {
    /// By name; not empty.
    pub configs: BTreeMap<String, String>,
    /// Revision of their last change.
    pub revision: Revision,
}

/// Replaces what is set on a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterResourceConfigs {
    /// On which.
    pub resource: ConfigResource,
    /// Refused unless the last change is still of this revision; 0 where nothing is set.
    pub expected: Revision,
    /// The new set, whole; empty to remove all.
    pub configs: BTreeMap<String, String>,
}
