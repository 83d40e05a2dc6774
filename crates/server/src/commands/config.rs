//! `siltstone config list|check`, and of running brokers and of groups `describe|alter`.

use std::collections::BTreeMap;

use anyhow::Result;
use broker::GROUP_CONFIGS;
use broker::TopicDefaults;
use broker::topic_config::{self, TOPIC_CONFIGS, TopicConfig, TopicConfigKey};
use clap::{Args, Subcommand};
use client::{ConfigEntry, ConfigResource, ConfigSource};
use serde_json::json;

use super::topic::{Cluster, config_changes};
use super::{WrongUse, print_json, print_line, print_table};
use crate::Settings;
use crate::config::{Config, DYNAMIC, KEYS, is_dynamic};

/// What stands on the page before its first table.
const PAGE_HEAD: &str = "\
# Configuration

This page is what `siltstone config list --markdown` prints; a test holds the two together.

## The broker

`key=value` lines in a file (`--config FILE`), over it the environment (`SILTSTONE_` and the key in capitals, dots as underscores), over
it `--set KEY=VALUE`. `siltstone config check` shows what is in force and where it came from. Keys have Kafka's names where Kafka has them.

";

/// What stands before the list of keys that may change.
const PAGE_DYNAMIC: &str = "
### While the broker runs

These may be set on a running broker with Kafka's own means (`kafka-configs --entity-type brokers`, AlterConfigs), for one broker or as the
default of all. They take effect at once, are kept in the metadata through restarts, and go before the file: what is set on one broker
counts first, then what is set on all, then what the broker was started with. Every other key is refused until the next start.

";

/// What stands before the topics' table.
const PAGE_TOPICS: &str = "
## Topics

Given with `siltstone topic create --config KEY=VALUE`, changed with `siltstone topic alter --set KEY=VALUE`, shown by `siltstone topic
describe`. The defaults here are those of a broker that does not say otherwise; `durability` follows the store.

";

/// What stands before the groups' rows.
const PAGE_GROUPS: &str = "
## Groups

Set with `kafka-configs --entity-type groups`, AlterConfigs or IncrementalAlterConfigs on a group, whether it exists or not. They concern
groups of the consumer protocol (KIP-848), take effect with each member's next heartbeat, and lie within bounds that the broker sets.

| key | what a group has that does not say | bounds |
|---|---|---|
";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every key with default, unit and meaning
    List {
        /// Topic configs instead of the broker's keys
        #[arg(long)]
        topics: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Both, as the page of the documentation
        #[arg(long, conflicts_with_all = ["topics", "json"])]
        markdown: bool,
    },
    /// What running brokers, or a group, go by that is not the default, with where each value came from
    Describe {
        #[command(flatten)]
        owner: Owner,
        /// Defaults, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change what brokers, or a group, go by, while they run; it is kept through restarts
    Alter {
        #[command(flatten)]
        owner: Owner,
        /// Give a key a value; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Let a key follow what stands behind it again; may be repeated
        #[arg(long = "unset", value_name = "KEY")]
        unset: Vec<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// The effective configuration, with where each value came from; status 2 if it cannot be used
    Check {
        #[command(flatten)]
        settings: Settings,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Whose configs.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Owner {
    /// A broker's, by its node.id
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// Those that all brokers have in common
    #[arg(long)]
    all_brokers: bool,
    /// A group's, whether it exists or not
    #[arg(long, value_name = "ID")]
    group: Option<String>,
}

impl Owner {
    fn resource(self) -> ConfigResource {
        match (self.broker, self.group) {
            (Some(id), _) => ConfigResource::Broker(id),
            (None, Some(id)) => ConfigResource::Group(id),
            (None, None) => ConfigResource::AllBrokers,
        }
    }
}

/// A key as it is listed.
struct Listed {
    key: &'static str,
    default: String,
    unit: &'static str,
    /// Takes effect when it is set while the broker runs.
    dynamic: bool,
    meaning: &'static str,
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List { markdown: true, .. } => print_line(reference_page().trim_end())?,
        Command::List { topics, json, .. } => list(if topics { topic_configs() } else { keys() }, json)?,
        Command::Describe { owner, all, cluster, json } => describe(owner.resource(), all, &cluster, json).await?,
        Command::Alter { owner, set, unset, cluster } => {
            let changes = config_changes(&set, unset)?;
            if changes.is_empty() {
                return Err(WrongUse("nothing to change; give --set KEY=VALUE or --unset KEY".to_owned()).into());
            }
            let resource = owner.resource();
            cluster.connect(false).await?.alter_configs(&resource, &changes).await?;
            print_line(format_args!("changed {} configs of {resource}", changes.len()))?;
        }
        Command::Check { settings, json } => {
            let raw = settings.raw()?;
            Config::resolve(&raw)?;
            let values = KEYS.iter().map(|key| (key.name, raw.get(key.name), raw.source(key.name).to_string()));
            if json {
                print_json(&values.map(|(key, value, source)| json!({"key": key, "value": value, "source": source})).collect())?;
            } else {
                let rows: Vec<_> = values.map(|(key, value, source)| vec![key.to_owned(), value.to_owned(), source]).collect();
                print_table(&["KEY", "VALUE", "FROM"], &rows)?;
            }
            for warning in &raw.warnings {
                eprintln!("siltstone: {warning}");
            }
        }
    }
    Ok(())
}

async fn describe(resource: ConfigResource, all: bool, cluster: &Cluster, json: bool) -> Result<()> {
    let mut configs = cluster.connect(false).await?.configs(&resource).await?;
    configs.retain(|config| all || config.source != ConfigSource::Default);
    if json {
        let configs = configs.iter().map(
            |config| json!({"key": config.name, "value": config.value, "source": config.source.to_string(), "dynamic": !config.read_only}),
        );
        return Ok(print_json(&configs.collect())?);
    }
    let row = |config: ConfigEntry| vec![config.name, config.value.unwrap_or_default(), config.source.to_string()];
    Ok(print_table(&["KEY", "VALUE", "FROM"], &configs.into_iter().map(row).collect::<Vec<_>>())?)
}

fn keys() -> Vec<Listed> {
    let listed = KEYS.iter().map(|key| Listed {
        key: key.name,
        default: key.default.to_owned(),
        unit: key.kind.unit(),
        dynamic: is_dynamic(key.name),
        meaning: key.doc,
    });
    listed.collect()
}

/// As a broker with the default configuration has them.
fn topic_configs() -> Vec<Listed> {
    let (defaults, nothing) = (TopicDefaults::default(), BTreeMap::new());
    let effective = TopicConfig::new(&defaults, &nothing);
    let listed = TOPIC_CONFIGS.iter().map(|key| Listed {
        key: key.name,
        default: if key.kind == topic_config::Kind::Durability { String::new() } else { effective.value(key) },
        unit: topic_unit(key),
        dynamic: key.kind != topic_config::Kind::Durability,
        meaning: key.doc,
    });
    listed.collect()
}

/// The unit, in the same words as the broker's keys have. Kafka puts it last in the name.
fn topic_unit(key: &TopicConfigKey) -> &'static str {
    match key.kind {
        topic_config::Kind::Int(..) | topic_config::Kind::Long(..) if key.name.ends_with(".ms") => "ms",
        topic_config::Kind::Int(..) | topic_config::Kind::Long(..) if key.name.ends_with(".bytes") => "bytes",
        topic_config::Kind::Int(..) | topic_config::Kind::Long(..) | topic_config::Kind::Double(..) | topic_config::Kind::GzipLevel => {
            "number"
        }
        topic_config::Kind::Boolean => "boolean",
        topic_config::Kind::Word(_) | topic_config::Kind::Durability => "text",
        topic_config::Kind::Words(_) | topic_config::Kind::Replicas => "list",
    }
}

fn list(listed: Vec<Listed>, json: bool) -> std::io::Result<()> {
    if json {
        let keys = listed.iter();
        return print_json(
            &keys
                .map(
                    |key| json!({"key": key.key, "default": key.default, "unit": key.unit, "dynamic": key.dynamic, "meaning": key.meaning}),
                )
                .collect(),
        );
    }
    let row = |key: Listed| vec![key.key.to_owned(), key.default, key.unit.to_owned(), key.meaning.to_owned()];
    print_table(&["KEY", "DEFAULT", "UNIT", "MEANING"], &listed.into_iter().map(row).collect::<Vec<_>>())
}

/// The whole of `docs/configuration.md`.
fn reference_page() -> String {
    let mut page = PAGE_HEAD.to_owned();
    put_markdown_table(&mut page, &keys());
    page += PAGE_DYNAMIC;
    DYNAMIC.iter().for_each(|key| page.push_str(&format!("- `{key}`\n")));
    page += PAGE_TOPICS;
    put_markdown_table(&mut page, &topic_configs());
    page += PAGE_GROUPS;
    for key in GROUP_CONFIGS {
        let least = key.broker_key.replacen("consumer.", "consumer.min.", 1);
        page.push_str(&format!("| `{}` | `{}` | `{least}`, `…max…` |\n", key.name, key.broker_key));
    }
    page
}

fn put_markdown_table(page: &mut String, listed: &[Listed]) {
    // A bar would end the cell.
    let cell = |text: &str| text.replace('|', "\\|");
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) };
    page.push_str("| key | default | unit | meaning |\n|---|---|---|---|\n");
    for key in listed {
        let line = [code(key.key), code(&key.default), cell(key.unit), cell(key.meaning)].join(" | ");
        page.push_str(&format!("| {line} |\n"));
    }
}
