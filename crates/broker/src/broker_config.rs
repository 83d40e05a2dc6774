//! The broker's own configuration as it can be changed while it runs (KIP-226): what is set on one broker goes before what is set on all,
//! and that before what the broker was started with.

use std::collections::BTreeMap;

use crate::options::{BrokerConfig, BrokerOptions};
use crate::topic_config::{ConfigType, EffectiveValue, Source, Synonym};

/// The configuration that the broker was started with, and what of it may change while it runs. Whoever starts the broker knows the keys.
pub trait Configuration: Send + Sync {
    /// The key that a name stands for: another spelling of it, or the name itself.
    fn key<'a>(&self, name: &'a str) -> &'a str;

    /// Checks a value that shall be set while the broker runs, and gives it in its plain form.
    fn check(&self, key: &str, value: &str) -> Result<String, BrokerConfigError>;

    /// What the broker goes by if `set` goes before what it was started with; values passed [`Self::check`], maybe of another version.
    ///
    /// # Errors
    /// Says which values contradict each other, in one line.
    fn options(&self, set: &BTreeMap<String, String>) -> Result<BrokerOptions, String>;
}

/// A broker's config that is refused; the texts are Kafka's where Kafka has one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BrokerConfigError {
    /// No such key.
    #[error("Unknown broker config name: {name}")]
    Unknown {
        /// As sent.
        name: String,
    },
    /// Only a start reads it.
    #[error("Cannot update these configs dynamically: [{name}]")]
    ReadOnly {
        /// The key.
        name: String,
    },
    /// Not one of its values.
    #[error("Invalid value {value} for configuration {name}: {detail}")]
    Invalid {
        /// The key.
        name: String,
        /// As sent.
        value: String,
        /// What it must be.
        detail: String,
    },
}

/// What is set while brokers run, as far as it concerns this one.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Running {
    /// Set on this broker.
    pub(crate) own: BTreeMap<String, String>,
    /// Set on all brokers.
    pub(crate) all: BTreeMap<String, String>,
}

impl Running {
    /// What counts of both.
    pub(crate) fn merged(&self) -> BTreeMap<String, String> {
        let mut merged = self.all.clone();
        merged.extend(self.own.clone());
        merged
    }

    /// A key's values, the stronger first.
    pub(crate) fn given(&self, key: &str) -> impl Iterator<Item = (&String, Source)> {
        let own = self.own.get(key).map(|value| (value, Source::DynamicBroker));
        own.into_iter().chain(self.all.get(key).map(|value| (value, Source::DynamicDefaultBroker)))
    }

    fn keys(&self) -> impl Iterator<Item = &String> {
        self.own.keys().chain(self.all.keys().filter(|key| !self.own.contains_key(*key)))
    }
}

/// A broker's config in force, as DescribeConfigs shows it.
pub(crate) struct Described {
    pub(crate) value: EffectiveValue,
    pub(crate) config_type: ConfigType,
    pub(crate) read_only: bool,
    pub(crate) doc: String,
}

/// What is shown of a key that is none of this program's.
const KEPT: &str = "Kept and shown, without effect here.";

/// Every config of a broker, by name.
pub(crate) fn describe(started_with: &[BrokerConfig], running: &Running) -> Vec<Described> {
    let mut described: Vec<_> = started_with.iter().map(|config| known(config, running)).collect();
    let is_known = |key: &str| started_with.iter().any(|config| config.name == key);
    described.extend(running.keys().filter(|key| !is_known(key)).map(|key| Described {
        value: effective(key, running.given(key).map(|(value, source)| (value.as_str(), source))),
        config_type: ConfigType::String,
        read_only: false,
        doc: KEPT.to_owned(),
    }));
    described.sort_by(|a, b| a.value.name.cmp(&b.value.name));
    described
}

/// What is set on all brokers and nothing else, by name.
pub(crate) fn describe_all(started_with: &[BrokerConfig], running: &Running) -> Vec<Described> {
    let only_all = Running { own: BTreeMap::new(), all: running.all.clone() };
    let mut described = describe(started_with, &only_all);
    described.retain(|config| config.value.source == Source::DynamicDefaultBroker);
    for config in &mut described {
        config.value.synonyms.truncate(1);
    }
    described
}

fn known(config: &BrokerConfig, running: &Running) -> Described {
    let set = (config.source != Source::Default).then_some((config.value.as_str(), config.source));
    // An empty value is one that is not there.
    let default = (!config.default.is_empty()).then_some((config.default.as_str(), Source::Default));
    let given = running.given(&config.name).map(|(value, source)| (value.as_str(), source));
    let mut value = effective(&config.name, given.chain(set).chain(default));
    if value.source == Source::Default {
        // What follows from other keys is no default that could be named.
        value.value.clone_from(&config.value);
    }
    Described { value, config_type: config.config_type, read_only: config.read_only, doc: config.doc.clone() }
}

fn effective<'a>(key: &str, given: impl Iterator<Item = (&'a str, Source)>) -> EffectiveValue {
    let synonym = |(value, source): (&str, Source)| Synonym { name: key.to_owned().into(), value: value.to_owned(), source };
    let synonyms: Vec<_> = given.map(synonym).collect();
    let (value, source) =
        synonyms.first().map_or((String::new(), Source::Default), |strongest| (strongest.value.clone(), strongest.source));
    EffectiveValue { name: key.to_owned().into(), value, source, synonyms }
}
