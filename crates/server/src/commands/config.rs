//! `siltstone config list|check`.

use std::collections::BTreeMap;

use anyhow::Result;
use broker::TopicDefaults;
use broker::topic_config::{self, TOPIC_CONFIGS, TopicConfig, TopicConfigKey};
use clap::Subcommand;
use serde_json::json;

use super::{print_json, print_line, print_table};
use crate::Settings;
use crate::config::{Config, KEYS};

/// What stands on the page before its first table.
const PAGE_HEAD: &str = "\
# Configuration

This page is what `siltstone config list --markdown` prints; a test holds the two together.

## The broker

`key=value` lines in a file (`--config FILE`), over it the environment (`SILTSTONE_` and the key in capitals, dots as underscores), over
it `--set KEY=VALUE`. `siltstone config check` shows what is in force and where it came from. Keys have Kafka's names where Kafka has them.

";

/// What stands between its tables.
const PAGE_TOPICS: &str = "
## Topics

Given with `siltstone topic create --config KEY=VALUE`, changed with `siltstone topic alter --set KEY=VALUE`, shown by `siltstone topic
describe`. The defaults here are those of a broker that does not say otherwise; `durability` follows the store.

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
    /// The effective configuration, with where each value came from; status 2 if it cannot be used
    Check {
        #[command(flatten)]
        settings: Settings,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// A key as it is listed.
struct Listed {
    key: &'static str,
    default: String,
    unit: &'static str,
    meaning: &'static str,
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::List { markdown: true, .. } => print_line(reference_page().trim_end())?,
        Command::List { topics, json, .. } => list(if topics { topic_configs() } else { keys() }, json)?,
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

fn keys() -> Vec<Listed> {
    let listed = KEYS.iter().map(|key| Listed { key: key.name, default: key.default.to_owned(), unit: key.kind.unit(), meaning: key.doc });
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
            &keys.map(|key| json!({"key": key.key, "default": key.default, "unit": key.unit, "meaning": key.meaning})).collect(),
        );
    }
    let row = |key: Listed| vec![key.key.to_owned(), key.default, key.unit.to_owned(), key.meaning.to_owned()];
    print_table(&["KEY", "DEFAULT", "UNIT", "MEANING"], &listed.into_iter().map(row).collect::<Vec<_>>())
}

/// The whole of `docs/configuration.md`.
fn reference_page() -> String {
    let mut page = PAGE_HEAD.to_owned();
    put_markdown_table(&mut page, &keys());
    page += PAGE_TOPICS;
    put_markdown_table(&mut page, &topic_configs());
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
