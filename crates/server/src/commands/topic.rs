//! `siltstone topic create|list|describe|delete`, over Kafka's protocol against any broker.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use client::{Client, ClientOptions, NewTopic, OffsetSpec};
use serde_json::json;

use super::{DEFAULT_BOOTSTRAP, print_json, print_line, print_table};

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
    /// Show a topic's partitions with their offsets
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
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
            let mut parsed = BTreeMap::new();
            for config in configs {
                let (key, value) = config.split_once('=').with_context(|| format!("--config {config}: write --config KEY=VALUE"))?;
                parsed.insert(key.to_owned(), value.to_owned());
            }
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
        Command::Delete { name, cluster } => {
            cluster.connect(false).await?.delete_topic(&name).await?;
            print_line(format_args!("deleted topic {name}"))?;
        }
    }
    Ok(())
}

async fn describe(name: &str, cluster: &Cluster, json: bool) -> Result<()> {
    let client = cluster.connect(false).await?;
    let topic = client.describe_topic(name).await?;
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
        return Ok(print_json(&json!({"name": topic.name, "id": topic.id.to_string(), "partitions": partitions.collect::<Vec<_>>()}))?);
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
    Ok(print_table(&["PARTITION", "LEADER", "EPOCH", "LOG START", "HIGH WATERMARK"], &rows)?)
}
