//! `siltstone config list|check`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::{print_json, print_table};
use crate::Settings;
use crate::config::{Config, KEYS};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every key with default, unit and meaning
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
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

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::List { json: true } => {
            let keys = KEYS.iter().map(|key| json!({"key": key.name, "default": key.default, "unit": key.kind.unit(), "meaning": key.doc}));
            print_json(&keys.collect())?;
        }
        Command::List { json: false } => {
            let rows: Vec<_> =
                KEYS.iter().map(|key| [key.name, key.default, key.kind.unit(), key.doc].map(str::to_owned).to_vec()).collect();
            print_table(&["KEY", "DEFAULT", "UNIT", "MEANING"], &rows)?;
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
