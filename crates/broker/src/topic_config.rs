//! Topic configs: the one table of their names, kinds, defaults and meanings (Kafka 4.3's `TopicConfig`, and `durability`), checked
//! when a topic is created and resolved against the broker's defaults when it is served.

use std::borrow::Cow;
use std::collections::BTreeMap;

use records::TimestampType;
use types::Durability;

use crate::broker_config::Running;

/// What a topic has where it does not say otherwise: the broker's own configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicDefaults {
    /// `durability`.
    pub durability: Durability,
    /// `log.retention.ms` after its older spellings; -1 keeps for ever.
    pub retention_ms: i64,
    /// `log.retention.bytes`; -1 keeps all.
    pub retention_bytes: i64,
    /// `message.max.bytes`.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `log.message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `log.message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
}

impl Default for TopicDefaults {
    /// Kafka's defaults, with durability `wal`.
    fn default() -> Self {
        Self {
            durability: Durability::Wal,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_insync_replicas: 1,
            unclean_leader_election: false,
        }
    }
}

/// What values a config takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// A whole number of 32 bits, both ends included.
    Int(i64, i64),
    /// A whole number of 64 bits, both ends included.
    Long(i64, i64),
    /// A number, both ends included.
    Double(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas; none, too.
    Words(&'static [&'static str]),
    /// A gzip level: 1 to 9, or -1 for the library's own.
    GzipLevel,
    /// Replicas as `partition:broker`, separated by commas, or `*` for all.
    Replicas,
    /// A durability level.
    Durability,
}

/// One topic config.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfigKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// Value where neither topic nor broker says otherwise; for keys of [`TopicDefaults`] the broker's counts.
    default: &'static str,
    /// What it does here, in one sentence.
    pub doc: &'static str,
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const KEPT: &str = "Kept and shown, without effect here.";
const COMPACTION: &str = "Kept and shown; steers compaction once there is one.";

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> TopicConfigKey {
    TopicConfigKey { name, kind, default, doc }
}

/// Every topic config, by name.
pub const TOPIC_CONFIGS: &[TopicConfigKey] = &[
    key(
        "cleanup.policy",
        Kind::Words(&["compact", "delete"]),
        "delete",
        "What happens to old records; with compact nothing is deleted or compacted yet.",
    ),
    key("compression.gzip.level", Kind::GzipLevel, "-1", KEPT),
    key("compression.lz4.level", Kind::Int(1, 17), "9", KEPT),
    key(
        "compression.type",
        Kind::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        "Kept and shown; batches stay as producers compressed them.",
    ),
    key("compression.zstd.level", Kind::Int(-131_072, 22), "3", KEPT),
    key("delete.retention.ms", Kind::Long(0, LONG), "86400000", COMPACTION),
    key(
        "durability",
        Kind::Durability,
        "",
        "What acks=all waits for: wal (fsync in the leader's write-ahead log) or object (uploaded and published). May be altered while there is data: durability.in.force follows.",
    ),
    key("file.delete.delay.ms", Kind::Long(0, LONG), "60000", KEPT),
    key("flush.messages", Kind::Long(1, LONG), "9223372036854775807", KEPT),
    key("flush.ms", Kind::Long(0, LONG), "9223372036854775807", KEPT),
    key("follower.replication.throttled.replicas", Kind::Replicas, "", KEPT),
    key("index.interval.bytes", Kind::Int(0, INT), "4096", KEPT),
    key("leader.replication.throttled.replicas", Kind::Replicas, "", KEPT),
    key("local.retention.bytes", Kind::Long(-2, LONG), "-2", KEPT),
    key("local.retention.ms", Kind::Long(-2, LONG), "-2", KEPT),
    key("max.compaction.lag.ms", Kind::Long(1, LONG), "9223372036854775807", COMPACTION),
    key("max.message.bytes", Kind::Int(0, INT), "", "Largest record batch, in bytes."),
    key("message.timestamp.after.max.ms", Kind::Long(0, LONG), "", "How far ahead of the broker's clock a CreateTime timestamp may be."),
    key("message.timestamp.before.max.ms", Kind::Long(0, LONG), "", "How far behind the broker's clock a CreateTime timestamp may be."),
    key("message.timestamp.type", Kind::Word(&["CreateTime", "LogAppendTime"]), "", "Whose clock a record's timestamp is."),
    key("min.cleanable.dirty.ratio", Kind::Double(0.0, 1.0), "0.5", COMPACTION),
    key("min.compaction.lag.ms", Kind::Long(0, LONG), "0", COMPACTION),
    key("min.insync.replicas", Kind::Int(1, INT), "", "Shown; has no effect before durability=quorum exists."),
    key("preallocate", Kind::Boolean, "false", KEPT),
    key("remote.log.copy.disable", Kind::Boolean, "false", KEPT),
    key("remote.log.delete.on.disable", Kind::Boolean, "false", KEPT),
    key("remote.storage.enable", Kind::Boolean, "false", "Kept and shown: every topic's log is in the store anyway."),
    key("retention.bytes", Kind::Long(i64::MIN, LONG), "", "How much of a partition is kept, -1 for all."),
    key("retention.ms", Kind::Long(-1, LONG), "", "How long records are kept, -1 for ever."),
    key(
        "segment.bytes",
        Kind::Int(1 << 20, INT),
        "1073741824",
        "Small segments are merged until they reach this, or 64 MiB if it is more.",
    ),
    key("segment.index.bytes", Kind::Int(4, INT), "10485760", KEPT),
    key("segment.jitter.ms", Kind::Long(0, LONG), "0", KEPT),
    key(
        "segment.ms",
        Kind::Long(1, LONG),
        "604800000",
        "What was appended within so long is merged into one segment afterwards, and with nothing older or newer; at least a minute.",
    ),
    key("unclean.leader.election.enable", Kind::Boolean, "", "Whether a wal topic is given up when its broker stays away."),
];

/// A config that is refused; the text is Kafka's where Kafka has one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicConfigError {
    /// No such config.
    #[error("Unknown topic config name: {name}")]
    Unknown {
        /// As sent.
        name: String,
    },
    /// A null value.
    #[error("Null value not supported for topic configs: {name}")]
    Null {
        /// Of which config.
        name: String,
    },
    /// Not a value of its kind, or out of range.
    #[error("Invalid value {value} for configuration {name}: {detail}")]
    Invalid {
        /// Of which config.
        name: &'static str,
        /// As sent.
        value: String,
        /// What it must be.
        detail: String,
    },
    /// Two values that cannot both be.
    #[error("conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})")]
    CompactionLags {
        /// Of `min.compaction.lag.ms`.
        min: i64,
        /// Of `max.compaction.lag.ms`.
        max: i64,
    },
}

/// Where an effective value comes from, with Kafka's code (`ConfigEntry.ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set on the broker while it runs.
    DynamicBroker = 2,
    /// Set on all brokers while they run.
    DynamicDefaultBroker = 3,
    /// The configuration that the broker was started with.
    Broker = 4,
    /// Built in.
    Default = 5,
    /// Set on the group.
    Group = 8,
}

/// Kafka's type of a config (`ConfigEntry.ConfigType`), with its code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text, or one of some words.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 64 bits.
    Long = 5,
    /// A number.
    Double = 6,
    /// Separated by commas.
    List = 7,
}

impl Kind {
    /// As DescribeConfigs names it.
    pub fn config_type(self) -> ConfigType {
        match self {
            Self::Int(..) | Self::GzipLevel => ConfigType::Int,
            Self::Long(..) => ConfigType::Long,
            Self::Double(..) => ConfigType::Double,
            Self::Boolean => ConfigType::Boolean,
            Self::Word(_) | Self::Durability => ConfigType::String,
            Self::Words(_) | Self::Replicas => ConfigType::List,
        }
    }

    /// A value that passed its check as Kafka shows it, read and written again: lists name each item once, numbers have no leading zeros.
    fn shown(self, value: &str) -> String {
        let text = value.trim();
        match self.config_type() {
            ConfigType::Boolean => text.to_ascii_lowercase(),
            ConfigType::Int | ConfigType::Long => text.parse::<i64>().map_or_else(|_| text.to_owned(), |number| number.to_string()),
            ConfigType::Double => text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| format!("{number:?}")),
            ConfigType::List => {
                let mut items: Vec<&str> = Vec::new();
                for item in text.split(',').map(str::trim) {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                items.join(",")
            }
            ConfigType::String => text.to_owned(),
        }
    }
}

/// The broker's key that a topic config falls back to, where it is given in the same unit (Kafka's `ServerTopicConfigSynonyms`).
pub fn broker_synonym(name: &str) -> Option<&'static str> {
    Some(match name {
        "cleanup.policy" => "log.cleanup.policy",
        "compression.gzip.level" => "compression.gzip.level",
        "compression.lz4.level" => "compression.lz4.level",
        "compression.type" => "compression.type",
        "compression.zstd.level" => "compression.zstd.level",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "durability" => "durability",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "min.insync.replicas" => "min.insync.replicas",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "unclean.leader.election.enable" => "unclean.leader.election.enable",
        _ => return None,
    })
}

/// The broker's key of this unit that may be set while it runs, as it is kept.
fn running_key(name: &str) -> Option<&'static str> {
    match name {
        "message.timestamp.type" => Some("message.timestamp.type"),
        "retention.ms" => Some("log.retention.ms"),
        name => broker_synonym(name),
    }
}

/// A value that would be in force if stronger ones were not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// The key that gives it.
    pub name: Cow<'static, str>,
    /// Its value as text.
    pub value: String,
    /// Who says so.
    pub source: Source,
}

/// A config in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectiveValue {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value as text.
    pub value: String,
    /// Who said so.
    pub source: Source,
    /// All values that were given, the one in force first.
    pub synonyms: Vec<Synonym>,
}

/// The config of this name.
pub fn find(name: &str) -> Option<&'static TopicConfigKey> {
    TOPIC_CONFIGS.binary_search_by(|key| key.name.cmp(name)).ok().map(|index| &TOPIC_CONFIGS[index])
}

/// Checks one config as a client sent it.
pub fn check(name: &str, value: Option<&str>) -> Result<(), TopicConfigError> {
    let key = find(name).ok_or_else(|| TopicConfigError::Unknown { name: name.to_owned() })?;
    let value = value.ok_or_else(|| TopicConfigError::Null { name: name.to_owned() })?;
    let invalid = |value: &str, detail| Err(TopicConfigError::Invalid { name: key.name, value: value.to_owned(), detail });
    let mut items = value.split(',').map(str::trim);
    match key.kind {
        // None at all is a list, too.
        Kind::Words(_) | Kind::Replicas if value.trim().is_empty() => Ok(()),
        // Kafka names the item of these, and all of those.
        Kind::Words(words) => match items.find(|item| !words.contains(item)) {
            Some(item) => invalid(item, format!("String must be one of: {}", words.join(", "))),
            None => Ok(()),
        },
        Kind::Replicas if value.trim() == "*" || items.clone().all(is_replica) => Ok(()),
        Kind::Replicas => {
            let format = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
            let detail = format!("{name} must be the literal '*' or a list of replicas in the following format: {format}");
            invalid(&format!("[{}]", items.collect::<Vec<_>>().join(", ")), detail)
        }
        kind => check_kind(kind, value).or_else(|detail| invalid(value, detail)),
    }
}

/// Checks values that depend on each other; each has passed [`check`].
pub fn check_together(set: &BTreeMap<String, String>) -> Result<(), TopicConfigError> {
    let number = |name: &str, default: i64| set.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default);
    let (min, max) = (number("min.compaction.lag.ms", 0), number("max.compaction.lag.ms", i64::MAX));
    if max < min { Err(TopicConfigError::CompactionLags { min, max }) } else { Ok(()) }
}

/// `partition:broker`.
fn is_replica(item: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    item.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// Checks a single value, of a kind that is no list.
pub(crate) fn check_kind(kind: Kind, value: &str) -> Result<(), String> {
    let text = value.trim();
    match kind {
        Kind::Int(min, max) => check_whole(text.parse::<i32>().map(i64::from).map_err(|_| "INT"), min, max),
        Kind::Long(min, max) => check_whole(text.parse::<i64>().map_err(|_| "LONG"), min, max),
        Kind::Double(min, max) => match text.parse::<f64>() {
            Err(_) => Err("Not a number of type DOUBLE".to_owned()),
            Ok(number) if number < min => Err(format!("Value must be at least {min}")),
            Ok(number) if number <= max => Ok(()),
            Ok(_) => Err(format!("Value must be no more than {max}")),
        },
        Kind::Boolean if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => Ok(()),
        Kind::Boolean => Err("Expected value to be either true or false".to_owned()),
        Kind::Word(words) if words.contains(&text) => Ok(()),
        Kind::Word(words) => Err(format!("String must be one of: {}", words.join(", "))),
        Kind::GzipLevel => match text.parse::<i32>() {
            Err(_) => Err("Not a number of type INT".to_owned()),
            Ok(-1 | 1..=9) => Ok(()),
            Ok(_) => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
        },
        // Checked item by item.
        Kind::Words(_) | Kind::Replicas => Ok(()),
        Kind::Durability => text.parse::<Durability>().map(|_| ()).map_err(|error| error.to_string()),
    }
}

fn check_whole(number: Result<i64, &str>, min: i64, max: i64) -> Result<(), String> {
    match number {
        Err(kind) => Err(format!("Not a number of type {kind}")),
        Ok(number) if number < min => Err(format!("Value must be at least {min}")),
        Ok(number) if number <= max => Ok(()),
        Ok(_) => Err(format!("Value must be no more than {max}")),
    }
}

/// A topic's configs, checked, over the broker's defaults.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfig<'a> {
    defaults: &'a TopicDefaults,
    set: &'a BTreeMap<String, String>,
    /// Of what the defaults are made: what the broker was started with, and what was set on it since.
    made_of: Option<(&'a TopicDefaults, &'a Running)>,
}

impl<'a> TopicConfig<'a> {
    /// `set` has passed [`check`].
    pub fn new(defaults: &'a TopicDefaults, set: &'a BTreeMap<String, String>) -> Self {
        Self { defaults, set, made_of: None }
    }

    /// The defaults are `started_with` and, over it, what of `running` concerns topics: the values' sources tell one from the other.
    pub(crate) fn over(self, started_with: &'a TopicDefaults, running: &'a Running) -> Self {
        Self { made_of: Some((started_with, running)), ..self }
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        self.set.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default)
    }

    /// `durability`; what is in force is in the partition's image.
    pub fn durability(&self) -> Durability {
        self.set.get("durability").and_then(|value| value.trim().parse().ok()).unwrap_or(self.defaults.durability)
    }

    /// `max.message.bytes`.
    pub fn max_message_bytes(&self) -> usize {
        usize::try_from(self.number("max.message.bytes", i64::from(self.defaults.max_message_bytes))).unwrap_or(0)
    }

    /// `message.timestamp.type`.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.set.get("message.timestamp.type") {
            Some(value) if value.trim() == "LogAppendTime" => TimestampType::LogAppendTime,
            Some(_) => TimestampType::CreateTime,
            None => self.defaults.timestamp_type,
        }
    }

    /// `message.timestamp.before.max.ms`.
    pub fn timestamp_before_max_ms(&self) -> i64 {
        self.number("message.timestamp.before.max.ms", self.defaults.timestamp_before_max_ms)
    }

    /// `message.timestamp.after.max.ms`.
    pub fn timestamp_after_max_ms(&self) -> i64 {
        self.number("message.timestamp.after.max.ms", self.defaults.timestamp_after_max_ms)
    }

    /// Whether records may be deleted from the start of the log: not where `cleanup.policy` only compacts.
    pub fn allows_delete_records(&self) -> bool {
        self.set.get("cleanup.policy").is_none_or(|policy| policy.trim().is_empty() || names(policy, "delete"))
    }

    /// Whether `cleanup.policy` compacts.
    pub fn compacts(&self) -> bool {
        self.set.get("cleanup.policy").is_some_and(|policy| names(policy, "compact"))
    }

    /// Every config with its value and where it comes from, by name.
    pub fn effective(&self) -> Vec<EffectiveValue> {
        TOPIC_CONFIGS.iter().map(|key| self.effective_value(key)).collect()
    }

    /// The value in force of one config.
    pub fn value(&self, key: &TopicConfigKey) -> String {
        self.effective_value(key).value
    }

    fn effective_value(&self, key: &TopicConfigKey) -> EffectiveValue {
        let built_in = TopicDefaults::default();
        let of = |defaults: &TopicDefaults| broker_value(defaults, key.name).unwrap_or_else(|| key.default.to_owned());
        let (broker, default) = (of(self.made_of.map_or(self.defaults, |(started_with, _)| started_with)), of(&built_in));
        let mut given = Vec::new();
        if let Some(value) = self.set.get(key.name) {
            given.push((Some(key.name), key.kind.shown(value), Source::Topic));
        }
        let synonym = broker_synonym(key.name);
        if let (Some((_, running)), Some(broker_key)) = (self.made_of, running_key(key.name)) {
            let shown = synonym.or(Some(broker_key));
            given.extend(running.given(broker_key).map(|(value, source)| (shown, key.kind.shown(value), source)));
        }
        if broker != default {
            given.push((synonym, broker, Source::Broker));
        }
        given.push((synonym, default, Source::Default));
        let (_, value, source) = given[0].clone();
        let synonyms = given.into_iter().filter_map(|(name, value, source)| Some(Synonym { name: name?.into(), value, source }));
        EffectiveValue { name: key.name.into(), value, source, synonyms: synonyms.collect() }
    }
}

/// Whether the list of policies has this one.
fn names(policies: &str, policy: &str) -> bool {
    policies.split(',').any(|named| named.trim() == policy)
}

/// The broker's value for a topic config that it has one for.
fn broker_value(defaults: &TopicDefaults, name: &str) -> Option<String> {
    Some(match name {
        "durability" => defaults.durability.to_string(),
        "max.message.bytes" => defaults.max_message_bytes.to_string(),
        "message.timestamp.after.max.ms" => defaults.timestamp_after_max_ms.to_string(),
        "message.timestamp.before.max.ms" => defaults.timestamp_before_max_ms.to_string(),
        "message.timestamp.type" => match defaults.timestamp_type {
            TimestampType::CreateTime => "CreateTime".to_owned(),
            TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
        },
        "min.insync.replicas" => defaults.min_insync_replicas.to_string(),
        "retention.bytes" => defaults.retention_bytes.to_string(),
        "retention.ms" => defaults.retention_ms.to_string(),
        "unclean.leader.election.enable" => defaults.unclean_leader_election.to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> String {
        check(name, Some(value)).expect_err(value).to_string()
    }

    #[test]
    fn the_table_is_in_order_and_every_default_passes_its_own_check() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        let (defaults, set) = (TopicDefaults::default(), BTreeMap::new());
        for value in TopicConfig::new(&defaults, &set).effective() {
            check(&value.name, Some(&value.value)).unwrap();
            assert_eq!(value.source, Source::Default, "{}", value.name);
        }
    }

    #[test]
    fn what_is_refused_is_said_in_kafkas_words() {
        assert_eq!(refusal("retention.msec", "1"), "Unknown topic config name: retention.msec");
        assert_eq!(refusal("retention.ms", "-2"), "Invalid value -2 for configuration retention.ms: Value must be at least -1");
        assert_eq!(refusal("retention.ms", "soon"), "Invalid value soon for configuration retention.ms: Not a number of type LONG");
        assert_eq!(
            refusal("segment.bytes", "3000000000"),
            "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT"
        );
        assert_eq!(
            refusal("min.cleanable.dirty.ratio", "1.5"),
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"
        );
        assert_eq!(
            refusal("cleanup.policy", "delete,shred"),
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete"
        );
        assert_eq!(
            refusal("preallocate", "maybe"),
            "Invalid value maybe for configuration preallocate: Expected value to be either true or false"
        );
        assert_eq!(
            refusal("compression.gzip.level", "0"),
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"
        );
        assert_eq!(refusal("segment.bytes", "13"), "Invalid value 13 for configuration segment.bytes: Value must be at least 1048576");
        assert_eq!(
            refusal("leader.replication.throttled.replicas", "0:1,all"),
            "Invalid value [0:1, all] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas \
             must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        );
        assert_eq!(check("retention.ms", None).unwrap_err().to_string(), "Null value not supported for topic configs: retention.ms");
        assert!(refusal("durability", "quorum").contains("not supported yet"));
        assert!(check("min.cleanable.dirty.ratio", Some("NaN")).is_err());
    }

    #[test]
    fn compaction_and_lists_of_policies_are_accepted() {
        for value in ["compact", "delete", "compact,delete", "delete, compact", "delete,delete", ""] {
            check("cleanup.policy", Some(value)).unwrap();
        }
        for value in ["*", "0:1", "0:1, 12:3", ""] {
            check("leader.replication.throttled.replicas", Some(value)).unwrap();
        }
    }

    #[test]
    fn a_record_is_not_kept_from_compaction_for_longer_than_at_most() {
        let set = |min: &str, max: &str| {
            let keys = [("min.compaction.lag.ms", min), ("max.compaction.lag.ms", max)];
            BTreeMap::from(keys.map(|(name, value)| (name.to_owned(), value.to_owned())))
        };
        check_together(&set("5", "5")).unwrap();
        check_together(&BTreeMap::new()).unwrap();
        let refused = check_together(&set("5", "4")).unwrap_err().to_string();
        assert_eq!(refused, "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)");
    }

    #[test]
    fn values_are_shown_as_they_were_read() {
        let shown = |name: &str, value: &str| find(name).unwrap().kind.shown(value);
        assert_eq!(shown("cleanup.policy", " delete, compact,delete"), "delete,compact");
        assert_eq!(shown("preallocate", "TRUE"), "true");
        assert_eq!(shown("segment.ms", "+007"), "7");
        assert_eq!(shown("min.cleanable.dirty.ratio", "1"), "1.0");
        assert_eq!(shown("message.timestamp.type", "CreateTime"), "CreateTime");
    }

    #[test]
    fn a_topic_overrides_its_broker_and_the_broker_the_built_in_value() {
        let defaults = TopicDefaults { retention_ms: 1000, max_message_bytes: 5000, ..TopicDefaults::default() };
        let set = BTreeMap::from([("max.message.bytes".to_owned(), "77".to_owned()), ("durability".to_owned(), "object".to_owned())]);
        let config = TopicConfig::new(&defaults, &set);
        assert_eq!((config.max_message_bytes(), config.durability()), (77, Durability::Object));
        let sources: BTreeMap<_, _> =
            config.effective().into_iter().map(|value| (value.name.into_owned(), (value.value, value.source))).collect();
        assert_eq!(sources["max.message.bytes"], ("77".to_owned(), Source::Topic));
        assert_eq!(sources["retention.ms"], ("1000".to_owned(), Source::Broker));
        assert_eq!(sources["segment.ms"], ("604800000".to_owned(), Source::Default));
    }

    #[test]
    fn every_value_that_was_given_is_told_the_strongest_first() {
        let defaults = TopicDefaults { max_message_bytes: 5000, ..TopicDefaults::default() };
        let set = BTreeMap::from([("max.message.bytes".to_owned(), "77".to_owned())]);
        let effective = TopicConfig::new(&defaults, &set).effective();
        let synonyms = |name: &str| {
            let value = effective.iter().find(|value| value.name == name).unwrap();
            value.synonyms.iter().map(|synonym| (&*synonym.name, &*synonym.value, synonym.source)).collect::<Vec<_>>()
        };
        assert_eq!(
            synonyms("max.message.bytes"),
            [
                ("max.message.bytes", "77", Source::Topic),
                ("message.max.bytes", "5000", Source::Broker),
                ("message.max.bytes", "1048588", Source::Default)
            ]
        );
        assert_eq!(synonyms("segment.bytes"), [("log.segment.bytes", "1073741824", Source::Default)]);
        assert_eq!(synonyms("retention.ms"), [], "the broker's keys for it have other units");
    }
}
