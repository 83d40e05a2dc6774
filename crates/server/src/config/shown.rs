//! The broker's configuration as Kafka's tools see it (DescribeConfigs).

use broker::BrokerConfig;
use broker::topic_config::{ConfigType, Source as ShownSource};

use super::dynamic::{is_dynamic, shown_of_kafka};
use super::keys::KEYS;
use super::layers::{Raw, Source};
use super::value::Kind;

/// Every key in the order of its name, and those of Kafka's that may be set and mean nothing here; `derived` are the values of those that
/// mean "what follows from others" when they are empty.
pub(super) fn shown(raw: &Raw, derived: &[(&str, String)]) -> Vec<BrokerConfig> {
    let mut shown: Vec<BrokerConfig> = KEYS
        .iter()
        .map(|key| {
            let value = derived.iter().find(|(name, _)| *name == key.name).map_or(raw.get(key.name), |(_, value)| value);
            BrokerConfig {
                name: key.name.to_owned(),
                value: value.to_owned(),
                default: key.kind.parse(key.default).expect("a test holds defaults to their kinds"),
                source: if *raw.source(key.name) == Source::Default { ShownSource::Default } else { ShownSource::Broker },
                config_type: config_type(key.kind),
                read_only: !is_dynamic(key.name),
                doc: key.doc.to_owned(),
            }
        })
        .chain(shown_of_kafka(raw))
        .collect();
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    shown
}

fn config_type(kind: Kind) -> ConfigType {
    match kind {
        Kind::Bool => ConfigType::Boolean,
        Kind::Int { max, .. } if max <= i64::from(i32::MAX) => ConfigType::Int,
        Kind::Int { .. } | Kind::Millis { .. } | Kind::Bytes { .. } => ConfigType::Long,
        Kind::Text | Kind::Word(_) => ConfigType::String,
    }
}
