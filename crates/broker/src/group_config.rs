//! Configs of single groups (KIP-848): the table of their names, checked when they are set and given to the groups' coordinators.

use std::collections::BTreeMap;

use group::{GroupConfig, GroupConfigs, Options};
use metadata_api::{ConfigResource, ResourceConfigs};

use crate::broker_config::Running;
use crate::topic_config::{EffectiveValue, Kind, Source, Synonym, check_kind};

/// One config of a group.
pub struct GroupConfigKey {
    /// Kafka's name.
    pub name: &'static str,
    /// The broker's key that gives it to groups which do not say.
    pub broker_key: &'static str,
    /// Without the bounds that the broker sets.
    pub(crate) kind: Kind,
    /// What it does, in one sentence.
    pub(crate) doc: &'static str,
    /// What groups have that do not say, and the least and most that one may set.
    of_broker: fn(&Options) -> (i64, i64, i64),
}

const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";
const INT: i64 = i32::MAX as i64;

/// Every config of a group, by name.
pub const GROUP_CONFIGS: &[GroupConfigKey] = &[
    GroupConfigKey {
        name: ASSIGNMENT_INTERVAL,
        broker_key: "group.consumer.assignment.interval.ms",
        kind: Kind::Int(0, INT),
        doc: "How long a group of the consumer protocol keeps an assignment at least before the next is made.",
        of_broker: |options| {
            let bounds = &options.consumer_assignment_intervals_ms;
            let number = |ms: u64| i64::try_from(ms).unwrap_or(INT);
            (number(options.consumer_assignment_interval_ms), number(*bounds.start()), number(*bounds.end()))
        },
    },
    GroupConfigKey {
        name: HEARTBEAT_INTERVAL,
        broker_key: "group.consumer.heartbeat.interval.ms",
        kind: Kind::Int(1, INT),
        doc: "How often a member of a group of the consumer protocol is to call.",
        of_broker: |options| {
            let bounds = &options.consumer_heartbeat_intervals_ms;
            (options.consumer_heartbeat_interval_ms.into(), (*bounds.start()).into(), (*bounds.end()).into())
        },
    },
    GroupConfigKey {
        name: SESSION_TIMEOUT,
        broker_key: "group.consumer.session.timeout.ms",
        kind: Kind::Int(1, INT),
        doc: "How long a member of a group of the consumer protocol may be silent.",
        of_broker: |options| {
            let bounds = &options.consumer_session_timeouts_ms;
            (options.consumer_session_timeout_ms.into(), (*bounds.start()).into(), (*bounds.end()).into())
        },
    },
];

/// A group's config that is refused; the texts are Kafka's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum GroupConfigError {
    #[error("Unknown group config name: {name}")]
    Unknown { name: String },
    #[error("Invalid value {value} for configuration {name}: {detail}")]
    Invalid { name: &'static str, value: String, detail: String },
    #[error("{name} must be in the range {min} to {max} inclusive.")]
    OutOfBounds { name: &'static str, min: i64, max: i64 },
    #[error("{SESSION_TIMEOUT} must be greater than {HEARTBEAT_INTERVAL}")]
    Heartbeat,
}

pub(crate) fn find(name: &str) -> Option<&'static GroupConfigKey> {
    GROUP_CONFIGS.iter().find(|key| key.name == name)
}

/// Checks all that a group is to have, names first.
pub(crate) fn check(set: &BTreeMap<String, String>, options: &Options) -> Result<(), GroupConfigError> {
    if let Some(name) = set.keys().find(|name| find(name).is_none()) {
        return Err(GroupConfigError::Unknown { name: name.clone() });
    }
    for key in GROUP_CONFIGS {
        let Some(value) = set.get(key.name) else { continue };
        check_kind(key.kind, value).map_err(|detail| GroupConfigError::Invalid { name: key.name, value: value.clone(), detail })?;
        let (_, min, max) = (key.of_broker)(options);
        if !number(set, key.name).is_some_and(|number| (min..=max).contains(&number)) {
            return Err(GroupConfigError::OutOfBounds { name: key.name, min, max });
        }
    }
    let says = |name| set.contains_key(name);
    let session = number(set, SESSION_TIMEOUT).unwrap_or(options.consumer_session_timeout_ms.into());
    let heartbeat = number(set, HEARTBEAT_INTERVAL).unwrap_or(options.consumer_heartbeat_interval_ms.into());
    if (says(SESSION_TIMEOUT) || says(HEARTBEAT_INTERVAL)) && session <= heartbeat { Err(GroupConfigError::Heartbeat) } else { Ok(()) }
}

fn number(set: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    set.get(name)?.trim().parse().ok()
}

/// Every config of a group that `set` was set on, by name, with where it comes from.
pub(crate) fn effective(
    set: &BTreeMap<String, String>,
    options: &Options,
    started_with: &[crate::BrokerConfig],
    running: &Running,
) -> Vec<EffectiveValue> {
    let effective = |key: &GroupConfigKey| {
        let own = set.get(key.name).map(|value| Synonym { name: key.name.into(), value: value.trim().to_owned(), source: Source::Group });
        let broker = |value: &str, source| Synonym { name: key.broker_key.into(), value: value.to_owned(), source };
        let running = running.given(key.broker_key).map(|(value, source)| broker(value, source));
        let file = started_with.iter().filter(|config| config.name == key.broker_key && config.source != Source::Default);
        let file = file.map(|config| broker(&config.value, config.source));
        let default = broker(&(key.of_broker)(&Options::default()).0.to_string(), Source::Default);
        let synonyms: Vec<_> = own.into_iter().chain(running).chain(file).chain([default]).collect();
        let value = if set.contains_key(key.name) { synonyms[0].value.clone() } else { (key.of_broker)(options).0.to_string() };
        EffectiveValue { name: key.name.into(), value, source: synonyms[0].source, synonyms }
    };
    GROUP_CONFIGS.iter().map(effective).collect()
}

/// What is set on groups, as their coordinators take it. What does not parse was let in by another version and counts as not set.
pub(crate) fn of_groups(set: &BTreeMap<ConfigResource, ResourceConfigs>) -> GroupConfigs {
    let of_group = |(resource, set): (&ConfigResource, &ResourceConfigs)| match resource {
        ConfigResource::Group(id) => {
            let number = |name| number(&set.configs, name);
            let config = GroupConfig {
                consumer_session_timeout_ms: number(SESSION_TIMEOUT).and_then(|ms| i32::try_from(ms).ok()),
                consumer_heartbeat_interval_ms: number(HEARTBEAT_INTERVAL).and_then(|ms| i32::try_from(ms).ok()),
                consumer_assignment_interval_ms: number(ASSIGNMENT_INTERVAL).and_then(|ms| u64::try_from(ms).ok()),
            };
            Some((id.clone(), config))
        }
        ConfigResource::AllBrokers | ConfigResource::Broker(_) => None,
    };
    set.iter().filter_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(set: &[(&str, &str)], options: &Options) -> Option<String> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check(&set, options).err().map(|error| error.to_string())
    }

    #[test]
    fn values_are_held_to_their_kind_to_the_brokers_bounds_and_to_each_other() {
        let options = Options::default();
        let refused = |set: &[(&str, &str)]| refusal(set, &options).unwrap();
        assert_eq!(refusal(&[(SESSION_TIMEOUT, "45000"), (HEARTBEAT_INTERVAL, "15000"), (ASSIGNMENT_INTERVAL, "0")], &options), None);
        assert_eq!(
            refused(&[(SESSION_TIMEOUT, "50000"), ("share.session.timeout.ms", "1")]),
            "Unknown group config name: share.session.timeout.ms"
        );
        assert_eq!(
            refused(&[(SESSION_TIMEOUT, "long")]),
            "Invalid value long for configuration consumer.session.timeout.ms: Not a number of type INT"
        );
        assert_eq!(
            refused(&[(HEARTBEAT_INTERVAL, "0")]),
            "Invalid value 0 for configuration consumer.heartbeat.interval.ms: Value must be at least 1"
        );
        assert_eq!(refused(&[(SESSION_TIMEOUT, "44999")]), "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.");
        assert_eq!(
            refused(&[(HEARTBEAT_INTERVAL, "15001")]),
            "consumer.heartbeat.interval.ms must be in the range 5000 to 15000 inclusive."
        );
        assert_eq!(
            refused(&[(ASSIGNMENT_INTERVAL, "15001")]),
            "consumer.assignment.interval.ms must be in the range 0 to 15000 inclusive."
        );
        let short = Options { consumer_session_timeouts_ms: 1..=60_000, ..options };
        let said = Some("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms".to_owned());
        assert_eq!(refusal(&[(SESSION_TIMEOUT, "5000")], &short), said, "the broker's own interval counts where the group has none");
        assert_eq!(refusal(&[(SESSION_TIMEOUT, "6000"), (HEARTBEAT_INTERVAL, "6000")], &short), said);
    }

    #[test]
    fn a_value_of_another_version_counts_as_not_set() {
        let set = |entries: &[(&str, &str)]| ResourceConfigs {
            configs: entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            revision: types::Revision(1),
        };
        let configs = [
            (ConfigResource::AllBrokers, set(&[(SESSION_TIMEOUT, "1")])),
            (ConfigResource::Group("g".to_owned()), set(&[(SESSION_TIMEOUT, "50000"), (HEARTBEAT_INTERVAL, "5s"), ("newer", "1")])),
        ];
        let own = GroupConfig { consumer_session_timeout_ms: Some(50_000), ..GroupConfig::default() };
        assert_eq!(of_groups(&configs.into()), [("g".to_owned(), own)].into());
    }

    #[test]
    fn keys_are_in_the_order_of_their_names() {
        assert!(GROUP_CONFIGS.is_sorted_by_key(|key| key.name));
    }
}
