//! `siltstone topic create|list|describe|alter|elect|delete`, over Kafka's protocol against any broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use client::{
    Client, ClientError, ClientOptions, ConfigChange, ConfigResource, ConfigSource, ErrorCode, NewTopic, OffsetSpec, TopicMetadata,
};
use serde_json::json;

use super::{DEFAULT_BOOTSTRAP, WrongUse, print_json, print_line, print_table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// Number of partitions; the broker's num.partitions if not given
        #[arg(long)]
        partitions: Option<i32>,
        /// Shown as its replication factor; the store replicates
        #[arg(long)]
        replication_factor: Option<i16>,
        /// A topic config, for instance retention.ms=3600000; may be repeated
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// List topics
    List {
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a topic's partitions with their offsets, and the configs that were set on it
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a topic's configs and grow it
    Alter {
        /// Its name
        name: String,
        /// Give a topic config a value, for instance retention.ms=3600000; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Let a topic config follow the broker again; may be repeated
        #[arg(long = "unset", value_name = "KEY")]
        unset: Vec<String>,
        /// The new number of partitions; it can only grow, and keys may then go to other partitions than before
        #[arg(long)]
        partitions: Option<i32>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Give a partition that lost its leader another one
    Elect {
        /// The topic's name
        name: String,
        /// Partition index
        partition: i32,
        /// Yes: what the lost leader acknowledged and had not published is given up for good
        #[arg(long)]
        unclean: bool,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: Cluster,
    },
}

/// How to reach a cluster.
#[derive(Args)]
pub(crate) struct Cluster {
    /// A broker's host:port; several separated by commas
    #[arg(long, default_value = DEFAULT_BOOTSTRAP)]
    pub(crate) bootstrap: String,
}

impl Cluster {
    /// Connects. Commands other than `produce` never create a topic by asking for it.
    pub(crate) async fn connect(&self, auto_create_topics: bool) -> Result<Client> {
        let options = ClientOptions { auto_create_topics, ..ClientOptions::default() };
        Client::connect(&self.bootstrap, options).await.with_context(|| {
            format!("no broker answers on {}; start one with `siltstone serve`, or name it with --bootstrap", self.bootstrap)
        })
    }
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Create { name, partitions, replication_factor, configs, cluster } => {
            let parsed = configs.iter().map(|config| key_and_value("--config", config)).collect::<Result<_, _>>()?;
            let topic = NewTopic { name, partitions, replication_factor, configs: parsed };
            cluster.connect(false).await?.create_topic(&topic).await?;
            print_line(format_args!("created topic {}", topic.name))?;
        }
        Command::List { cluster, json } => {
            let topics = cluster.connect(false).await?.list_topics().await?;
            if json {
                print_json(
                    &topics
                        .iter()
                        .map(|topic| json!({"name": topic.name, "id": topic.id.to_string(), "partitions": topic.partitions.len()}))
                        .collect(),
                )?;
            } else {
                let rows: Vec<_> =
                    topics.iter().map(|topic| vec![topic.name.clone(), topic.partitions.len().to_string(), topic.id.to_string()]).collect();
                print_table(&["TOPIC", "PARTITIONS", "ID"], &rows)?;
            }
        }
        Command::Describe { name, cluster, json } => describe(&name, &cluster, json).await?,
        Command::Alter { name, set, unset, partitions, cluster } => alter(&name, &set, unset, partitions, &cluster).await?,
        Command::Elect { unclean: false, .. } => {
            return Err(WrongUse("a partition keeps the leader whose log holds its records, also while that is away; --unclean gives up what only that log holds".to_owned()).into());
        }
        Command::Elect { name, partition, unclean: true, cluster } => {
            let elected = cluster.connect(false).await?.elect_unclean_leader(&name, partition).await;
            elected.map_err(|error| match error.code() {
                Some(ErrorCode::ElectionNotNeeded) => anyhow!("{name}-{partition} has a leader; nothing is to be given up"),
                _ => missing_topic(&name, error),
            })?;
            print_line(format_args!("elected a leader of {name}-{partition}"))?;
        }
        Command::Delete { name, cluster } => {
            let deleted = cluster.connect(false).await?.delete_topic(&name).await;
            deleted.map_err(|error| missing_topic(&name, error))?;
            print_line(format_args!("deleted topic {name}"))?;
        }
    }
    Ok(())
}

fn key_and_value(flag: &str, text: &str) -> Result<(String, String), WrongUse> {
    let (key, value) = text.split_once('=').ok_or_else(|| WrongUse(format!("{flag} {text}: write {flag} KEY=VALUE")))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A topic as a broker describes it now.
pub(crate) async fn describe_topic(client: &Client, name: &str) -> Result<Arc<TopicMetadata>> {
    client.describe_topic(name).await.map_err(|error| missing_topic(name, error))
}

fn missing_topic(name: &str, error: ClientError) -> anyhow::Error {
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => {
            anyhow!("topic '{name}' does not exist; `siltstone topic list` shows those that do")
        }
        _ => error.into(),
    }
}

/// What `--set` and `--unset` ask for.
pub(super) fn config_changes(set: &[String], unset: Vec<String>) -> Result<Vec<ConfigChange>> {
    let mut changes = Vec::with_capacity(set.len() + unset.len());
    for text in set {
        let (name, value) = key_and_value("--set", text)?;
        changes.push(ConfigChange::Set { name, value });
    }
    changes.extend(unset.into_iter().map(|name| ConfigChange::Unset { name }));
    Ok(changes)
}

async fn alter(name: &str, set: &[String], unset: Vec<String>, partitions: Option<i32>, cluster: &Cluster) -> Result<()> {
    let changes = config_changes(set, unset)?;
    if changes.is_empty() && partitions.is_none() {
        return Err(WrongUse("nothing to change; give --set KEY=VALUE, --unset KEY or --partitions N".to_owned()).into());
    }
    let client = cluster.connect(false).await?;
    describe_topic(&client, name).await?;
    if !changes.is_empty() {
        client.alter_configs(&ConfigResource::Topic(name.to_owned()), &changes).await?;
        print_line(format_args!("changed {} configs of topic {name}", changes.len()))?;
    }
    if let Some(total) = partitions {
        client.create_partitions(name, total).await?;
        print_line(format_args!("topic {name} has {total} partitions"))?;
    }
    Ok(())
}

async fn describe(name: &str, cluster: &Cluster, json: bool) -> Result<()> {
    let client = cluster.connect(false).await?;
    let topic = describe_topic(&client, name).await?;
    let mut configs = client.configs(&ConfigResource::Topic(name.to_owned())).await?;
    let value = |name: &str| configs.iter().find(|config| config.name == name).and_then(|config| config.value.clone());
    // A broker of an older version does not say what is in force.
    let (durability, in_force) = (value("durability"), value("durability.in.force"));
    configs.retain(|config| config.source == ConfigSource::Topic);
    let led: Vec<i32> =
        topic.partitions.iter().filter(|partition| partition.leader.is_some()).map(|partition| partition.partition).collect();
    let ask = |spec: OffsetSpec| led.iter().map(|partition| (*partition, spec)).collect::<Vec<_>>();
    let earliest = client.list_offsets(name, &ask(OffsetSpec::Earliest)).await?;
    let latest = client.list_offsets(name, &ask(OffsetSpec::Latest)).await?;
    let offset = |offsets: &BTreeMap<i32, client::ListedOffset>, partition: i32| offsets.get(&partition).and_then(|listed| listed.offset);
    if json {
        let partitions = topic.partitions.iter().map(|partition| {
            json!({
                "partition": partition.partition, "leader": partition.leader, "leader_epoch": partition.leader_epoch, "replicas": partition.replicas,
                "log_start": offset(&earliest, partition.partition), "high_watermark": offset(&latest, partition.partition),
            })
        });
        let configs: serde_json::Map<_, _> = configs.into_iter().map(|config| (config.name, json!(config.value))).collect();
        return Ok(print_json(&json!({
            "name": topic.name, "id": topic.id.to_string(), "configs": configs,
            "durability": {"configured": durability, "in_force": in_force}, "partitions": partitions.collect::<Vec<_>>(),
        }))?);
    }
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| {
            let (start, end) = (offset(&earliest, partition.partition), offset(&latest, partition.partition));
            vec![
                partition.partition.to_string(),
                shown(partition.leader.map(i64::from)),
                partition.leader_epoch.to_string(),
                shown(start),
                shown(end),
            ]
        })
        .collect();
    print_line(format_args!("topic {} ({})", topic.name, topic.id))?;
    if let (Some(durability), Some(in_force)) = (durability, in_force) {
        let pending = if durability == in_force { String::new() } else { format!(", in force: {in_force}") };
        print_line(format_args!("durability: {durability}{pending}"))?;
    }
    for config in configs {
        print_line(format_args!("{}={}", config.name, config.value.as_deref().unwrap_or("(not shown)")))?;
    }
    Ok(print_table(&["PARTITION", "LEADER", "EPOCH", "LOG START", "HIGH WATERMARK"], &rows)?)
}
