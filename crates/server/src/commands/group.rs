//! `siltstone group list|describe|reset|delete`, over Kafka's protocol against any broker.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use clap::Subcommand;
use client::{Client, ClientError, ErrorCode, GroupDescription, GroupMember, GroupOffsets};
use serde_json::json;

use super::position::{Bounds, Position};
use super::topic::{Cluster, describe_topic};
use super::{print_json, print_line, print_table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List groups
    List {
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a group's members, and for each partition what it committed and how far that lies behind
    Describe {
        /// Its id
        group: String,
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Commit other offsets for a group without members
    Reset {
        /// Its id; a group that does not exist begins with these offsets
        group: String,
        /// Topic whose offsets are set
        topic: String,
        /// Set only this partition's; may be repeated
        #[arg(long = "partition", value_name = "PARTITION", value_delimiter = ',')]
        only: Vec<i32>,
        /// Where to: beginning, end, an offset, -N for the last N of each partition, or @TIME (RFC 3339, or milliseconds since 1970)
        #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = Position::parse)]
        to: Position,
        /// Only show what would be committed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        cluster: Cluster,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a group without members, and its offsets
    Delete {
        /// Its id
        group: String,
        #[command(flatten)]
        cluster: Cluster,
    },
}

pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List { cluster, json } => list(&cluster.connect(false).await?, json).await,
        Command::Describe { group, cluster, json } => describe(&cluster.connect(false).await?, &group, json).await,
        Command::Reset { group, topic, only, to, dry_run, cluster, json } => {
            let client = cluster.connect(false).await?;
            let reset = Reset { group, topic, only, to, dry_run };
            reset.run(&client, json).await
        }
        Command::Delete { group, cluster } => {
            let deleted = cluster.connect(false).await?.delete_group(&group).await;
            deleted.map_err(|error| explained(&group, error))?;
            Ok(print_line(format_args!("deleted group {group}"))?)
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let groups = client.list_groups().await?;
    if json {
        let groups = groups.iter().map(
            |group| json!({"group": group.group_id, "type": group.group_type, "state": group.state, "protocol_type": group.protocol_type}),
        );
        return Ok(print_json(&groups.collect())?);
    }
    let rows: Vec<_> = groups.into_iter().map(|group| vec![group.group_id, group.group_type, group.state, group.protocol_type]).collect();
    Ok(print_table(&["GROUP", "TYPE", "STATE", "PROTOCOL TYPE"], &rows)?)
}

/// A partition that a group has to do with.
struct Progress<'a> {
    topic: &'a str,
    partition: i32,
    committed: Option<i64>,
    /// The high watermark; `None` where the topic is gone.
    end: Option<i64>,
    member: Option<&'a GroupMember>,
}

impl Progress<'_> {
    /// By the rule of the metric `siltstone_group_lag_records`.
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

async fn describe(client: &Client, group: &str, json: bool) -> Result<()> {
    let described = client.describe_group(group).await.map_err(|error| explained(group, error))?;
    let committed = client.committed_offsets(group).await?;
    let ends = ends(client, &described, &committed).await?;
    let partitions = progress(&described, &committed, &ends);
    if json {
        let members = described.members.iter().map(|member| {
            json!({
                "member": member.member_id, "instance": member.instance_id, "client": member.client_id, "host": member.host,
                "partitions": member.assignment,
            })
        });
        let offsets = partitions.iter().map(|it| {
            json!({
                "topic": it.topic, "partition": it.partition, "committed": it.committed, "high_watermark": it.end, "lag": it.lag(),
                "metadata": committed.get(it.topic).and_then(|topic| topic.get(&it.partition)).map(|offset| &offset.metadata),
                "member": it.member.map(|member| &member.member_id),
            })
        });
        return Ok(print_json(&json!({
            "group": described.group_id, "state": described.state, "assignor": described.assignor,
            "members": members.collect::<Vec<_>>(), "offsets": offsets.collect::<Vec<_>>(),
        }))?);
    }
    let assignor = if described.assignor.is_empty() { String::new() } else { format!(", assigned by {}", described.assignor) };
    print_line(format_args!("group {}: {}, {} members{assignor}", described.group_id, described.state, described.members.len()))?;
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows: Vec<_> = partitions
        .iter()
        .map(|it| {
            let (client, host, member) = it.member.map_or(("-", "-", "-"), |member| (&member.client_id, &member.host, &member.member_id));
            let [committed, end, lag] = [it.committed, it.end, it.lag()].map(shown);
            vec![it.topic.to_owned(), it.partition.to_string(), committed, end, lag, client.to_owned(), host.to_owned(), member.to_owned()]
        })
        .collect();
    print_table(&["TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "CLIENT", "HOST", "MEMBER"], &rows)?;
    for member in described.members.iter().filter(|member| member.assignment.is_empty()) {
        print_line(format_args!("{} of {} has no partition", member.member_id, member.host))?;
    }
    Ok(())
}

/// High watermarks of every partition that the group has committed for or reads. A topic that is gone has none.
async fn ends(client: &Client, described: &GroupDescription, committed: &GroupOffsets) -> Result<BTreeMap<String, Bounds>> {
    let read = described.members.iter().flat_map(|member| member.assignment.keys());
    let topics: BTreeSet<&String> = committed.keys().chain(read).collect();
    let mut ends = BTreeMap::new();
    for topic in topics {
        match client.describe_topic(topic).await {
            Ok(described) => {
                let partitions: Vec<i32> = described.partitions.iter().map(|partition| partition.partition).collect();
                ends.insert(topic.clone(), Bounds::ask(client, topic, &partitions).await?);
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ends)
}

fn progress<'a>(described: &'a GroupDescription, committed: &'a GroupOffsets, ends: &BTreeMap<String, Bounds>) -> Vec<Progress<'a>> {
    let mut owners: BTreeMap<(&str, i32), Option<&GroupMember>> = BTreeMap::new();
    for (topic, partitions) in committed {
        owners.extend(partitions.keys().map(|partition| ((topic.as_str(), *partition), None)));
    }
    for member in &described.members {
        for (topic, partitions) in &member.assignment {
            owners.extend(partitions.iter().map(|partition| ((topic.as_str(), *partition), Some(member))));
        }
    }
    let each = owners.into_iter().map(|((topic, partition), member)| Progress {
        topic,
        partition,
        committed: committed.get(topic).and_then(|topic| topic.get(&partition)).map(|committed| committed.offset),
        end: ends.get(topic).and_then(|bounds| bounds.0.get(&partition)).map(|(_, end)| *end),
        member,
    });
    each.collect()
}

/// What `group reset` is asked for.
struct Reset {
    group: String,
    topic: String,
    only: Vec<i32>,
    to: Position,
    dry_run: bool,
}

impl Reset {
    async fn run(self, client: &Client, json: bool) -> Result<()> {
        let Self { group, topic, only, to, dry_run } = self;
        let described = describe_topic(client, &topic).await?;
        let partitions: Vec<i32> = match only.as_slice() {
            [] => described.partitions.iter().map(|partition| partition.partition).collect(),
            only => only.to_vec(),
        };
        let bounds = Bounds::ask(client, &topic, &partitions).await?;
        let mut offsets = to.resolve(client, &topic, &bounds).await?;
        // An offset that a partition does not have would be reset again by the consumer, to wherever its own settings say.
        for (partition, offset) in &mut offsets {
            let (start, end) = bounds.0[partition];
            *offset = (*offset).clamp(start, end);
        }
        let before = client.committed_offsets(&group).await?;
        let old = |partition: &i32| before.get(&topic).and_then(|topic| topic.get(partition)).map(|committed| committed.offset);
        if !dry_run {
            let asked = BTreeMap::from([(topic.clone(), offsets.clone())]);
            client.commit_offsets(&group, &asked).await.map_err(|error| explained(&group, error))?;
        }
        if json {
            let rows = offsets
                .iter()
                .map(|(partition, offset)| json!({"topic": topic, "partition": partition, "old": old(partition), "new": offset}));
            return Ok(print_json(&rows.collect())?);
        }
        let rows: Vec<_> = offsets
            .iter()
            .map(|(partition, offset)| {
                let old = old(partition).map_or_else(|| "-".to_owned(), |offset| offset.to_string());
                vec![topic.clone(), partition.to_string(), old, offset.to_string()]
            })
            .collect();
        Ok(print_table(&["TOPIC", "PARTITION", "OLD", "NEW"], &rows)?)
    }
}

/// A refusal with what to do about it.
fn explained(group: &str, error: ClientError) -> anyhow::Error {
    match error.code() {
        Some(ErrorCode::GroupIdNotFound) => anyhow!("group '{group}' does not exist; `siltstone group list` shows those that do"),
        Some(ErrorCode::NonEmptyGroup | ErrorCode::UnknownMemberId | ErrorCode::RebalanceInProgress) => {
            anyhow!("group '{group}' has members; stop them first, `siltstone group describe {group}` shows where they are")
        }
        _ => error.into(),
    }
}
