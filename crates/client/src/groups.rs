//! Administration of groups: which there are, who is in them, and what they have committed. A group's coordinator is asked, and looked
//! for again while it moves.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use protocol::ErrorCode;
use protocol::messages::consumer_group_describe_response::{Assignment, DescribedGroup as ConsumerGroup};
use protocol::messages::describe_groups_response::DescribedGroup as ClassicGroup;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest,
};

use crate::admin::text;
use crate::client::{address, topic_name};
use crate::{Client, ClientError, Connection};

/// The first version of OffsetFetch that asks for groups by name (KIP-709), Kafka 3.0's.
const FIRST_FETCH_BY_GROUP: i16 = 8;

/// A group as its coordinator lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// `classic` or `consumer` (KIP-848); empty from brokers that do not say.
    pub group_type: String,
    /// Its state, by Kafka's name; empty from brokers that do not say.
    pub state: String,
    /// `consumer` for consumers; empty for a group that only has offsets.
    pub protocol_type: String,
}

/// A group and its members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Its state, by Kafka's name.
    pub state: String,
    /// Who assigns partitions: the assignor's name; empty where nobody does.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// Its partitions, by topic; empty where its assignment is not a consumer's.
    pub assignment: BTreeMap<String, Vec<i32>>,
}

/// What a group committed for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 where it is not known.
    pub leader_epoch: i32,
    /// What the group keeps with it.
    pub metadata: String,
}

/// Offsets by topic and partition.
pub type GroupOffsets = BTreeMap<String, BTreeMap<i32, CommittedOffset>>;

impl Client {
    /// Every group of the cluster, by id.
    ///
    /// # Errors
    /// When one of the brokers cannot be asked.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = Vec::new();
        for connection in self.all_connections().await? {
            let version = connection.version::<ListGroupsRequest>()?;
            let mut attempts = self.attempts();
            let response = loop {
                let response = connection.request(version, &ListGroupsRequest::default()).await?;
                match ClientError::check(|| "listing groups".to_owned(), response.error_code, None) {
                    Ok(()) => break response,
                    Err(error) => attempts.wait_after(error).await?,
                }
            };
            groups.extend(response.groups.into_iter().map(|group| GroupListing {
                group_id: group.group_id.to_string(),
                group_type: group.group_type.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
            }));
        }
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(groups)
    }

    /// A group and its members.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` when it does not exist.
    pub async fn describe_group(&self, group_id: &str) -> Result<GroupDescription, ClientError> {
        let described = self.with_coordinator(group_id, async |connection| describe_consumer_group(&connection, group_id).await).await;
        match described {
            Err(error) if is_no_consumer_group(&error) => {
                self.with_coordinator(group_id, async |connection| describe_classic_group(&connection, group_id).await).await
            }
            described => described,
        }
    }

    /// What a group has committed. A group that does not exist has committed nothing.
    ///
    /// # Errors
    /// The coordinator's refusal.
    pub async fn committed_offsets(&self, group_id: &str) -> Result<GroupOffsets, ClientError> {
        self.with_coordinator(group_id, async |connection| fetch_offsets(&connection, group_id).await).await
    }

    /// Commits offsets for a group from outside it.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` while the group has members; the first partition's error.
    pub async fn commit_offsets(&self, group_id: &str, offsets: &BTreeMap<String, BTreeMap<i32, i64>>) -> Result<(), ClientError> {
        self.with_coordinator(group_id, async |connection| Committer::NOBODY.commit(&connection, group_id, offsets).await).await
    }

    /// Deletes a group without members, with its offsets.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` while it has members, `GROUP_ID_NOT_FOUND` when it does not exist.
    pub async fn delete_group(&self, group_id: &str) -> Result<(), ClientError> {
        let delete = async |connection: Connection| {
            let version = connection.version::<DeleteGroupsRequest>()?;
            let request = DeleteGroupsRequest::default().with_groups_names(vec![named(group_id)]);
            let response = connection.request(version, &request).await?;
            let what = || format!("deleting group {group_id}");
            let result = response.results.first().ok_or_else(|| ClientError::Missing { what: what() })?;
            ClientError::check(what, result.error_code, None)
        };
        self.with_coordinator(group_id, delete).await
    }

    /// Asks the group's coordinator, again while it is not there or has moved.
    async fn with_coordinator<T>(&self, group_id: &str, ask: impl AsyncFn(Connection) -> Result<T, ClientError>) -> Result<T, ClientError> {
        let mut attempts = self.attempts();
        loop {
            let asked = match self.coordinator(group_id).await {
                Ok(connection) => ask(connection).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// The group's coordinator, waited for while there is none.
    pub(crate) async fn coordinator_when_ready(&self, group_id: &str) -> Result<Connection, ClientError> {
        self.with_coordinator(group_id, async |connection| Ok(connection)).await
    }

    async fn coordinator(&self, group_id: &str) -> Result<Connection, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<FindCoordinatorRequest>()?;
        let request = if version < 4 {
            FindCoordinatorRequest::default().with_key(text(group_id))
        } else {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group_id)])
        };
        let response = connection.request(version, &request).await?;
        let what = || format!("the coordinator of group {group_id}");
        if version < 4 {
            ClientError::check(what, response.error_code, response.error_message.as_deref())?;
            return self.connection_to(&address(&response.host, response.port)).await;
        }
        let found = response.coordinators.first().ok_or_else(|| ClientError::Missing { what: what() })?;
        ClientError::check(what, found.error_code, found.error_message.as_deref())?;
        self.connection_to(&address(&found.host, found.port)).await
    }
}

/// Whether another way of describing the group is left.
fn is_no_consumer_group(error: &ClientError) -> bool {
    matches!(error, ClientError::NoCommonVersion { .. })
        || matches!(error.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
}

async fn describe_consumer_group(connection: &Connection, group_id: &str) -> Result<GroupDescription, ClientError> {
    let version = connection.version::<ConsumerGroupDescribeRequest>()?;
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![named(group_id)]);
    let response = connection.request(version, &request).await?;
    let what = || format!("describing group {group_id}");
    let group = response.groups.into_iter().next().ok_or_else(|| ClientError::Missing { what: what() })?;
    ClientError::check(what, group.error_code, group.error_message.as_deref())?;
    Ok(group.into())
}

async fn describe_classic_group(connection: &Connection, group_id: &str) -> Result<GroupDescription, ClientError> {
    let version = connection.version::<DescribeGroupsRequest>()?;
    let response = connection.request(version, &DescribeGroupsRequest::default().with_groups(vec![named(group_id)])).await?;
    let what = || format!("describing group {group_id}");
    let group = response.groups.into_iter().next().ok_or_else(|| ClientError::Missing { what: what() })?;
    ClientError::check(what, group.error_code, group.error_message.as_deref())?;
    // Before version 6 this is how a group is answered that does not exist.
    if group.group_state.as_str() == "Dead" {
        return Err(ClientError::Refused { what: what(), code: ErrorCode::GroupIdNotFound, message: None });
    }
    Ok(group.into())
}

async fn fetch_offsets(connection: &Connection, group_id: &str) -> Result<GroupOffsets, ClientError> {
    let version = connection.version::<OffsetFetchRequest>()?;
    if version < FIRST_FETCH_BY_GROUP {
        let api = format!("OffsetFetch {FIRST_FETCH_BY_GROUP} or newer");
        return Err(ClientError::NoCommonVersion { address: connection.address().to_owned(), api });
    }
    let asked = OffsetFetchRequestGroup::default().with_group_id(named(group_id)).with_member_epoch(-1).with_topics(None);
    let response = connection.request(version, &OffsetFetchRequest::default().with_groups(vec![asked])).await?;
    let what = || format!("offsets of group {group_id}");
    let group = response.groups.into_iter().next().ok_or_else(|| ClientError::Missing { what: what() })?;
    ClientError::check(what, group.error_code, None)?;
    let mut offsets = GroupOffsets::new();
    for topic in group.topics {
        for partition in topic.partitions {
            let index = partition.partition_index;
            ClientError::check(|| format!("offset of group {group_id} in {}-{index}", *topic.name), partition.error_code, None)?;
            if 0 <= partition.committed_offset {
                let committed = CommittedOffset {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.metadata.map(|metadata| metadata.to_string()).unwrap_or_default(),
                };
                offsets.entry(topic.name.to_string()).or_default().insert(index, committed);
            }
        }
    }
    Ok(offsets)
}

/// Who commits.
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) generation: i32,
}

impl Committer<'_> {
    /// Somebody outside the group.
    const NOBODY: Self = Self { member_id: "", generation: -1 };

    pub(crate) async fn commit(
        &self,
        connection: &Connection,
        group_id: &str,
        offsets: &BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Result<(), ClientError> {
        let version = connection.version::<OffsetCommitRequest>()?;
        let partition = |(partition, offset): (&i32, &i64)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(text("")))
        };
        let topic = |(name, partitions): (&String, &BTreeMap<i32, i64>)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions.iter().map(partition).collect())
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(named(group_id))
            .with_member_id(text(self.member_id))
            .with_generation_id_or_member_epoch(self.generation)
            .with_topics(offsets.iter().map(topic).collect());
        let response = connection.request(version, &request).await?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                let what = || format!("committing for group {group_id} in {}-{}", *topic.name, partition.partition_index);
                ClientError::check(what, partition.error_code, None)?;
            }
        }
        Ok(())
    }
}

impl From<ConsumerGroup> for GroupDescription {
    fn from(group: ConsumerGroup) -> Self {
        let members = group.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: partitions_by_topic(member.assignment),
        });
        Self {
            group_id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            assignor: group.assignor_name.to_string(),
            members: members.collect(),
        }
    }
}

fn partitions_by_topic(assignment: Assignment) -> BTreeMap<String, Vec<i32>> {
    assignment.topic_partitions.into_iter().map(|topic| (topic.topic_name.to_string(), topic.partitions)).collect()
}

impl From<ClassicGroup> for GroupDescription {
    fn from(group: ClassicGroup) -> Self {
        let consumers = group.protocol_type.as_str() == "consumer";
        let members = group.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: if consumers { read_assignment(member.member_assignment).unwrap_or_default() } else { BTreeMap::new() },
        });
        Self {
            group_id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            assignor: group.protocol_data.to_string(),
            members: members.collect(),
        }
    }
}

/// What a classic consumer got from its leader: of Kafka's `ConsumerProtocolAssignment` the version and the partitions, which are the
/// same in every version. Any member may have written it, so no count in it is believed before its bytes are there.
pub(crate) fn read_assignment(mut bytes: Bytes) -> Option<BTreeMap<String, Vec<i32>>> {
    bytes.try_get_i16().ok()?;
    let mut assignment = BTreeMap::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let name = read_string(&mut bytes)?;
        let mut partitions = Vec::new();
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push(bytes.try_get_i32().ok()?);
        }
        assignment.insert(name, partitions);
    }
    Some(assignment)
}

/// The topics of a classic consumer's metadata, of Kafka's `ConsumerProtocolSubscription`.
pub(crate) fn read_topics(mut bytes: Bytes) -> Option<Vec<String>> {
    bytes.try_get_i16().ok()?;
    let mut topics = Vec::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        topics.push(read_string(&mut bytes)?);
    }
    Some(topics)
}

fn read_string(bytes: &mut Bytes) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let text = bytes.get(..length).and_then(|text| std::str::from_utf8(text).ok())?.to_owned();
    bytes.advance(length);
    Some(text)
}

/// `group_id` as the protocol carries it.
pub(crate) fn named(group_id: &str) -> GroupId {
    GroupId(text(group_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_classic_consumers_are_read_in_every_version() {
        for version in [0u8, 1, 3, 9] {
            let bytes = [&[0, version], &b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x03\0\0\0\x04\xff\xff\xff\xff"[..]].concat();
            assert_eq!(read_assignment(bytes.into()), Some(BTreeMap::from([("t".to_owned(), vec![3, 4])])), "version {version}");
        }
        for bytes in [&b""[..], b"\0", b"\0\0\0\0", b"\0\0\x7f\xff\xff\xff"] {
            assert_eq!(read_assignment(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
