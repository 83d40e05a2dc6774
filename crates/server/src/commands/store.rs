//! `siltstone store check|create|probe|rebuild`: what lies in a store, and what a store is good for.

mod check;
mod create;
mod probe;
mod rebuild;
mod sample;

use anyhow::Result;
use clap::Subcommand;

use super::services::Store;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check that every object that metadata names is there and sound, and that no offset is missing; status 1 if not
    Check(check::Arguments),
    /// Make the directory of file://DIR or the bucket of s3://BUCKET/PREFIX; one that is there is left as it is
    Create {
        /// The store; that of the configuration if not given
        url: Option<String>,
        #[command(flatten)]
        store: Store,
    },
    /// Ask a store what it really does; status 1 if it lacks what a broker relies on. What is written is removed again
    Probe {
        /// The store; that of the configuration if not given
        url: Option<String>,
        #[command(flatten)]
        store: Store,
        /// Do not measure
        #[arg(long)]
        quick: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make new metadata of what the store holds, for a broker that is stopped and whose metadata directory is lost
    Rebuild(rebuild::Arguments),
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Check(arguments) => check::run(arguments).await,
        Command::Create { url, store } => create::run(store.named(url)?).await,
        Command::Probe { url, store, quick, json } => probe::run(store.named(url)?, quick, json).await,
        Command::Rebuild(arguments) => rebuild::run(arguments).await,
    }
}
