//! `siltstone quota list|alter`, over Kafka's protocol against any broker.

use anyhow::Result;
use clap::{Args, Subcommand};
use client::{ClientQuota, QuotaChange, QuotaEntity};
use serde_json::{Map, Value, json};

use super::topic::Cluster;
use super::{WrongUse, print_json, print_line, print_table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every quota that is set while brokers run
    List {
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Set or take away quotas of a user, a client id, a client id of a user, or an address: at once, and kept through restarts
    Alter {
        #[command(flatten)]
        entity: Entity,
        /// Give a quota a value (producer_byte_rate, consumer_byte_rate, …); may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Take a quota away; may be repeated
        #[arg(long = "unset", value_name = "KEY")]
        unset: Vec<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
}

/// Whose quotas.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Entity {
    /// A user's; ANONYMOUS is whoever came by a listener without authentication
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Those of users that have none of their own
    #[arg(long, conflicts_with = "user")]
    default_user: bool,
    /// A client id's; with --user or --default-user, of that user only
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Those of client ids that have none of their own
    #[arg(long, conflicts_with = "client_id")]
    default_client_id: bool,
    /// An address's
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["user", "default_user", "client_id", "default_client_id"])]
    ip: Option<String>,
    /// Those of addresses that have none of their own
    #[arg(long, conflicts_with_all = ["user", "default_user", "client_id", "default_client_id", "ip"])]
    default_ip: bool,
}

impl Entity {
    fn named(self) -> QuotaEntity {
        let parts = [
            ("user", self.user, self.default_user),
            ("client-id", self.client_id, self.default_client_id),
            ("ip", self.ip, self.default_ip),
        ];
        let given = parts.into_iter().filter(|(_, name, is_default)| *is_default || name.is_some());
        QuotaEntity(given.map(|(kind, name, _)| (kind.to_owned(), name)).collect())
    }
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List { cluster, json } => list(cluster.connect(false).await?.client_quotas().await?, json),
        Command::Alter { entity, set, unset, cluster } => {
            let changes = changes(&set, unset)?;
            let entity = entity.named();
            cluster.connect(false).await?.alter_client_quotas(&entity, &changes).await?;
            Ok(print_line(format_args!("changed {} quotas of {entity}", changes.len()))?)
        }
    }
}

fn changes(set: &[String], unset: Vec<String>) -> Result<Vec<QuotaChange>, WrongUse> {
    let set = set.iter().map(|setting| {
        let wrong = || WrongUse(format!("--set {setting}: write --set KEY=NUMBER"));
        let (key, value) = setting.split_once('=').ok_or_else(wrong)?;
        Ok(QuotaChange::Set { key: key.to_owned(), value: value.parse().map_err(|_| wrong())? })
    });
    let changes: Vec<_> = set.chain(unset.into_iter().map(|key| Ok(QuotaChange::Unset { key }))).collect::<Result<_, _>>()?;
    if changes.is_empty() {
        return Err(WrongUse("nothing to change; give --set KEY=VALUE or --unset KEY".to_owned()));
    }
    Ok(changes)
}

fn list(quotas: Vec<ClientQuota>, json: bool) -> Result<()> {
    if json {
        let quota = |quota: ClientQuota| {
            let entity: Map<String, Value> = quota.entity.0.into_iter().map(|(kind, name)| (kind, json!(name))).collect();
            json!({"entity": entity, "key": quota.key, "value": quota.value})
        };
        return Ok(print_json(&quotas.into_iter().map(quota).collect())?);
    }
    let row = |quota: ClientQuota| vec![quota.entity.to_string(), quota.key, quota.value.to_string()];
    Ok(print_table(&["OF", "KEY", "VALUE"], &quotas.into_iter().map(row).collect::<Vec<_>>())?)
}
