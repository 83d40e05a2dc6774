//! What of the configuration may change while the broker runs (KIP-226): its own keys, and those of Kafka's that mean nothing here.

use std::collections::BTreeMap;

use broker::topic_config::{ConfigType, Source as ShownSource};
use broker::{BrokerConfig, BrokerConfigError, BrokerOptions, Configuration};

use super::keys::{ALIASES, KEYS, Key};
use super::layers::{Raw, is_kafka_only};
use super::resolved::Config;

/// Keys that take effect at once when they are set on brokers; all others are read at the start only.
pub(crate) const DYNAMIC: &[&str] = &[
    "auto.create.topics.enable",
    "num.partitions",
    "default.replication.factor",
    "delete.topic.enable",
    "message.max.bytes",
    "message.timestamp.type",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.after.max.ms",
    "log.retention.ms",
    "log.retention.bytes",
    "compression.type",
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "fetch.max.bytes",
    "group.min.session.timeout.ms",
    "group.max.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.size",
    "offset.metadata.max.bytes",
    "offsets.retention.minutes",
    "offsets.retention.check.interval.ms",
    "group.consumer.session.timeout.ms",
    "group.consumer.min.session.timeout.ms",
    "group.consumer.max.session.timeout.ms",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.min.heartbeat.interval.ms",
    "group.consumer.max.heartbeat.interval.ms",
    "group.consumer.max.size",
    "group.consumer.assignors",
    "group.consumer.regex.refresh.interval.ms",
    "group.consumer.assignment.interval.ms",
    "group.consumer.min.assignment.interval.ms",
    "group.consumer.max.assignment.interval.ms",
    "group.consumer.migration.policy",
    "max.connections",
    "max.connections.per.ip",
    "quota.producer.default",
    "quota.consumer.default",
];

/// A key of Kafka's that means nothing here and that Kafka lets change while it runs. It is kept and shown, so that tools find it.
struct KafkaKey {
    name: &'static str,
    /// Kafka's; empty for none.
    default: &'static str,
    config_type: ConfigType,
}

const fn kafka(name: &'static str, default: &'static str, config_type: ConfigType) -> KafkaKey {
    KafkaKey { name, default, config_type }
}

const KAFKA: &[KafkaKey] = &[
    kafka("background.threads", "10", ConfigType::Int),
    kafka("compression.gzip.level", "-1", ConfigType::Int),
    kafka("compression.lz4.level", "9", ConfigType::Int),
    kafka("compression.zstd.level", "3", ConfigType::Int),
    kafka("log.cleaner.backoff.ms", "15000", ConfigType::Long),
    kafka("log.cleaner.dedupe.buffer.size", "134217728", ConfigType::Long),
    kafka("log.cleaner.delete.retention.ms", "86400000", ConfigType::Long),
    kafka("log.cleaner.io.buffer.load.factor", "0.9", ConfigType::Double),
    kafka("log.cleaner.io.buffer.size", "524288", ConfigType::Int),
    kafka("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308", ConfigType::Double),
    kafka("log.cleaner.max.compaction.lag.ms", "9223372036854775807", ConfigType::Long),
    kafka("log.cleaner.min.cleanable.ratio", "0.5", ConfigType::Double),
    kafka("log.cleaner.min.compaction.lag.ms", "0", ConfigType::Long),
    kafka("log.cleaner.threads", "1", ConfigType::Int),
    kafka("log.cleanup.policy", "delete", ConfigType::List),
    kafka("log.flush.interval.messages", "9223372036854775807", ConfigType::Long),
    kafka("log.flush.interval.ms", "", ConfigType::Long),
    kafka("log.index.interval.bytes", "4096", ConfigType::Int),
    kafka("log.index.size.max.bytes", "10485760", ConfigType::Int),
    kafka("log.local.retention.bytes", "-2", ConfigType::Long),
    kafka("log.local.retention.ms", "-2", ConfigType::Long),
    kafka("log.preallocate", "false", ConfigType::Boolean),
    kafka("log.roll.jitter.ms", "", ConfigType::Long),
    kafka("log.roll.ms", "", ConfigType::Long),
    kafka("log.segment.bytes", "1073741824", ConfigType::Int),
    kafka("max.connection.creation.rate", "2147483647", ConfigType::Int),
    kafka("max.connections.per.ip.overrides", "", ConfigType::String),
    kafka("metric.reporters", "", ConfigType::List),
    kafka("num.io.threads", "8", ConfigType::Int),
    kafka("num.network.threads", "3", ConfigType::Int),
    kafka("num.recovery.threads.per.data.dir", "2", ConfigType::Int),
    kafka("num.replica.fetchers", "1", ConfigType::Int),
    kafka("transaction.partition.verification.enable", "true", ConfigType::Boolean),
];

/// Families of more such keys, shown once they are set.
const KAFKA_PREFIXES: &[&str] = &["ssl.", "sasl.", "listener.name.", "remote.log."];

/// What Kafka's tools set on brokers around a reassignment; no file has them.
const THROTTLES: &[&str] =
    &["follower.replication.throttled.rate", "leader.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"];

/// The configuration that the broker was started with.
pub(crate) struct StartedWith {
    raw: Raw,
    shown: Vec<BrokerConfig>,
    options: fn(&Config) -> BrokerOptions,
}

impl StartedWith {
    /// `options` makes the broker's options of a resolved configuration.
    pub(crate) fn new(config: &Config, options: fn(&Config) -> BrokerOptions) -> Self {
        Self { raw: config.started_with.clone(), shown: config.shown.clone(), options }
    }
}

impl Configuration for StartedWith {
    fn key<'a>(&self, name: &'a str) -> &'a str {
        ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, key)| key)
    }

    fn check(&self, key: &str, value: &str) -> Result<String, BrokerConfigError> {
        let name = || key.to_owned();
        let invalid = |detail| BrokerConfigError::Invalid { name: name(), value: value.to_owned(), detail };
        if let Some(own) = find(key) {
            return if is_dynamic(key) {
                own.kind.parse(value).map_err(invalid)
            } else {
                Err(BrokerConfigError::ReadOnly { name: name() })
            };
        }
        if let Some(kafka) = KAFKA.iter().find(|kafka| kafka.name == key) {
            return check_type(kafka.config_type, value).map(|()| value.to_owned()).map_err(invalid);
        }
        let is_kept = (KAFKA_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && !is_secret(key)) || THROTTLES.contains(&key);
        if is_kept {
            Ok(value.to_owned())
        } else if is_kafka_only(key) {
            Err(BrokerConfigError::ReadOnly { name: name() })
        } else {
            Err(BrokerConfigError::Unknown { name: name() })
        }
    }

    fn options(&self, set: &BTreeMap<String, String>) -> Result<BrokerOptions, String> {
        let own = set.iter().filter(|(key, _)| find(key).is_some());
        let config = self.raw.with(own).and_then(|raw| Config::resolve(&raw)).map_err(|error| error.0)?;
        Ok(BrokerOptions { configs: self.shown.clone(), ..(self.options)(&config) })
    }
}

fn find(key: &str) -> Option<&'static Key> {
    KEYS.iter().find(|own| own.name == key)
}

/// Whether a key of the table takes effect when it is set on a running broker.
pub(crate) fn is_dynamic(key: &str) -> bool {
    DYNAMIC.contains(&key)
}

/// Passwords and keys would have no effect here, and everybody could read them.
fn is_secret(key: &str) -> bool {
    key.contains("password") || key.ends_with("jaas.config") || key.ends_with("keystore.key")
}

fn check_type(config_type: ConfigType, value: &str) -> Result<(), String> {
    let (is_right, what) = match config_type {
        ConfigType::Int => (value.parse::<i32>().is_ok(), "a whole number of 32 bits"),
        ConfigType::Long => (value.parse::<i64>().is_ok(), "a whole number of 64 bits"),
        ConfigType::Double => (value.parse::<f64>().is_ok(), "a number"),
        ConfigType::Boolean => (matches!(value.to_ascii_lowercase().as_str(), "true" | "false"), "true or false"),
        ConfigType::String | ConfigType::List => (true, ""),
    };
    if is_right { Ok(()) } else { Err(format!("must be {what}")) }
}

/// Kafka's keys that may change, with what the file or the environment says.
pub(super) fn shown_of_kafka(raw: &Raw) -> impl Iterator<Item = BrokerConfig> {
    KAFKA.iter().map(|key| {
        let given = raw.kafka_only(key.name);
        BrokerConfig {
            name: key.name.to_owned(),
            value: given.unwrap_or(key.default).to_owned(),
            default: key.default.to_owned(),
            source: if given.is_some() { ShownSource::Broker } else { ShownSource::Default },
            config_type: key.config_type,
            read_only: false,
            doc: "Kept and shown, without effect here.".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::layers::Layers;
    use super::*;

    fn started_with(settings: &[(&str, &str)]) -> StartedWith {
        let command_line = settings.iter().map(|(key, value)| ((*key).into(), (*value).into(), format!("--set {key}={value}"))).collect();
        let config = Config::resolve(&Layers { command_line, ..Layers::default() }.merge().unwrap()).unwrap();
        StartedWith::new(&config, crate::serve::broker_options)
    }

    fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_name_is_there_once_and_what_may_change_is_a_key() {
        for (index, key) in DYNAMIC.iter().enumerate() {
            assert!(find(key).is_some() && !DYNAMIC[..index].contains(key), "{key}");
        }
        for key in KAFKA {
            assert!(is_kafka_only(key.name) && find(key.name).is_none(), "{}", key.name);
            assert!(key.default.is_empty() || check_type(key.config_type, key.default).is_ok(), "{}", key.name);
        }
    }

    #[test]
    fn what_is_set_while_the_broker_runs_goes_before_the_command_line() {
        let started_with = started_with(&[("num.partitions", "3"), ("message.max.bytes", "1MiB")]);
        let options = started_with.options(&set(&[("message.max.bytes", "2000"), ("sasl.kerberos.min.time.before.relogin", "1")])).unwrap();
        assert_eq!((options.num_partitions, options.topic_defaults.max_message_bytes), (3, 2000));
        let shown = options.configs.iter().find(|config| config.name == "message.max.bytes").unwrap();
        assert_eq!((&*shown.value, shown.source, shown.read_only), ("1048576", ShownSource::Broker, false), "what it was started with");
        assert_eq!(started_with.options(&BTreeMap::new()).unwrap().topic_defaults.max_message_bytes, 1 << 20);
    }

    #[test]
    fn every_key_that_may_change_changes_the_options() {
        let value = |key: &Key| match key.name {
            "auto.create.topics.enable" | "delete.topic.enable" => "false",
            "unclean.leader.election.enable" => "true",
            "message.timestamp.type" => "LogAppendTime",
            "group.consumer.assignors" => "range",
            "group.consumer.migration.policy" => "disabled",
            "default.replication.factor" => "2",
            "group.consumer.min.session.timeout.ms" | "group.consumer.session.timeout.ms" => "45001",
            "group.consumer.min.heartbeat.interval.ms" | "group.consumer.heartbeat.interval.ms" => "5001",
            "group.consumer.max.session.timeout.ms" => "55000",
            "group.consumer.min.assignment.interval.ms" => "1",
            "group.consumer.regex.refresh.interval.ms" | "group.max.session.timeout.ms" => "100000",
            _ => "7001",
        };
        let started_with = started_with(&[("group.consumer.session.timeout.ms", "50s"), ("group.consumer.heartbeat.interval.ms", "6s")]);
        let before = started_with.options(&BTreeMap::new()).unwrap();
        // Batches stay as producers compressed them: there is one value.
        for key in DYNAMIC.iter().filter(|key| **key != "compression.type").map(|key| find(key).unwrap()) {
            let value = started_with.check(key.name, value(key)).unwrap();
            let after = started_with.options(&set(&[(key.name, &value)])).unwrap();
            assert_ne!(format!("{before:?}"), format!("{after:?}"), "{}", key.name);
        }
    }

    #[test]
    fn what_cannot_be_set_is_said_why() {
        let started_with = started_with(&[]);
        assert_eq!(started_with.check("message.max.bytes", "2KiB"), Ok("2048".to_owned()));
        assert_eq!(started_with.check(started_with.key("log.message.timestamp.type"), "LogAppendTime"), Ok("LogAppendTime".to_owned()));
        assert_eq!(started_with.check("log.cleaner.backoff.ms", "15001"), Ok("15001".to_owned()));
        assert_eq!(started_with.check("listener.name.internal.ssl.keystore.type", "PEM"), Ok("PEM".to_owned()));
        let refusal = |key: &str, value: &str| started_with.check(key, value).unwrap_err().to_string();
        for key in ["data.dir", "log.retention.hours", "log.dirs", "group.share.max.size", "ssl.keystore.password", "sasl.jaas.config"] {
            assert_eq!(refusal(key, "1"), format!("Cannot update these configs dynamically: [{key}]"));
        }
        assert_eq!(refusal("message.max.byte", "1"), "Unknown broker config name: message.max.byte");
        let expected = "Invalid value much for configuration message.max.bytes: must be bytes of at least 0, such as 67108864 or 64MiB";
        assert_eq!(refusal("message.max.bytes", "much"), expected);
        assert_eq!(refusal("num.io.threads", "x"), "Invalid value x for configuration num.io.threads: must be a whole number of 32 bits");
        for (entries, expected) in [
            (&[("group.max.session.timeout.ms", "5000")][..], "must be at least group.min.session.timeout.ms, which is 6000"),
            (&[("group.consumer.session.timeout.ms", "70000")][..], "must be from group.consumer.min.session.timeout.ms"),
            (&[("log.retention.ms", "long")][..], "must be a whole number, or -1 for ever"),
        ] {
            let refusal = started_with.options(&set(entries)).unwrap_err();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn what_a_file_says_of_kafkas_keys_is_shown() {
        let options = started_with(&[("log.segment.bytes", "77")]).options(&BTreeMap::new()).unwrap();
        let shown = |name: &str| options.configs.iter().find(|config| config.name == name).map(|config| (&*config.value, config.source));
        assert_eq!(shown("log.segment.bytes"), Some(("77", ShownSource::Broker)));
        assert_eq!(shown("log.flush.interval.messages"), Some(("9223372036854775807", ShownSource::Default)));
    }
}
