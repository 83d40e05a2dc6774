//! A configuration of a few keys, in the form that the program's has.

use std::collections::BTreeMap;

use broker::topic_config::{ConfigType, Source};
use broker::{BrokerConfig, BrokerConfigError, BrokerOptions, Configuration};

/// What the broker was started with.
pub(crate) struct TestConfiguration(pub(crate) BrokerOptions);

/// One that may change, and what it changes.
type Dynamic = (&'static str, fn(&mut BrokerOptions, i64));

const DYNAMIC: &[Dynamic] = &[
    ("num.partitions", |options, value| options.num_partitions = i32::try_from(value).unwrap()),
    ("message.max.bytes", |options, value| options.topic_defaults.max_message_bytes = u32::try_from(value).unwrap()),
    ("log.retention.ms", |options, value| options.topic_defaults.retention_ms = value),
    ("max.connections", |options, value| options.max_connections = usize::try_from(value).unwrap()),
    ("quota.producer.default", |options, value| options.producer_bytes_per_second = u64::try_from(value).unwrap()),
    ("group.consumer.heartbeat.interval.ms", |options, value| {
        options.groups.consumer_heartbeat_interval_ms = i32::try_from(value).unwrap();
    }),
    // Kept and shown.
    ("log.segment.bytes", |_, _| {}),
];

impl Configuration for TestConfiguration {
    fn key<'a>(&self, name: &'a str) -> &'a str {
        if name == "partitions" { "num.partitions" } else { name }
    }

    fn check(&self, key: &str, value: &str) -> Result<String, BrokerConfigError> {
        let name = key.to_owned();
        match key {
            "broker.rack" | "node.id" => Err(BrokerConfigError::ReadOnly { name }),
            "log.cleanup.policy" | "sasl.mechanism" => Ok(value.to_owned()),
            _ if !DYNAMIC.iter().any(|(dynamic, _)| *dynamic == key) => Err(BrokerConfigError::Unknown { name }),
            _ => match value.parse::<i64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err(BrokerConfigError::Invalid { name, value: value.to_owned(), detail: "must be a number".to_owned() }),
            },
        }
    }

    fn options(&self, set: &BTreeMap<String, String>) -> Result<BrokerOptions, String> {
        let mut options = self.0.clone();
        for (key, change) in DYNAMIC {
            if let Some(value) = set.get(*key) {
                change(&mut options, value.parse().map_err(|_| format!("{key}={value}"))?);
            }
        }
        if options.groups.max_session_timeout_ms < options.groups.consumer_heartbeat_interval_ms {
            return Err("group.consumer.heartbeat.interval.ms must be at most group.max.session.timeout.ms".to_owned());
        }
        Ok(options)
    }
}

/// As DescribeConfigs shows it.
pub(crate) fn shown(name: &str, value: &str, default: &str, config_type: ConfigType, read_only: bool) -> BrokerConfig {
    BrokerConfig {
        name: name.to_owned(),
        value: value.to_owned(),
        default: default.to_owned(),
        source: if value == default { Source::Default } else { Source::Broker },
        config_type,
        read_only,
        doc: "How many.".to_owned(),
    }
}
