//! What a group answers.

use std::fmt;

use bytes::Bytes;
use types::TopicId;

use crate::GroupError;

/// An answer that had to wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Of a join.
    Join(Result<Joined, GroupError>),
    /// Of a sync.
    Sync(Result<Synced, GroupError>),
}

/// A member is in the group's generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The member.
    pub member_id: String,
    /// The generation.
    pub generation: i32,
    /// What the group is for.
    pub protocol_type: Option<String>,
    /// What its members agreed on.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: String,
    /// For the leader: there is nothing to assign, its sync brings what it had (KIP-814).
    pub skip_assignment: bool,
    /// For the leader: everybody. Empty for others.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Its metadata for the protocol agreed on.
    pub metadata: Bytes,
}

/// What a member got in its generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// What the group is for.
    pub protocol_type: Option<String>,
    /// What its members agreed on.
    pub protocol: Option<String>,
    /// The leader's word; empty if it had none for the member.
    pub assignment: Bytes,
}

/// The answer for each member that was to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// In the order of the request.
    pub members: Vec<LeftMember>,
}

/// The answer for one member that was to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: String,
    /// As in the request.
    pub instance_id: Option<String>,
    /// Whether it left.
    pub result: Result<(), GroupError>,
}

/// The answer of a commit, or of a deletion of offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionResults {
    /// In the order of the request.
    pub topics: Vec<TopicResults>,
}

/// What became of one topic's partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicResults {
    /// The topic's name.
    pub name: String,
    /// Its id, as in the request; all zero where that has none.
    pub id: TopicId,
    /// In the order of the request.
    pub partitions: Vec<(i32, Result<(), GroupError>)>,
}

/// Committed offsets of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffsets {
    /// In the order of the request; by name if all were asked for.
    pub topics: Vec<FetchedTopic>,
}

/// Committed offsets in one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: String,
    /// Its id: as in the request; if all were asked for, the one that was committed last.
    pub id: TopicId,
    /// In the order of the request; by number if all were asked for.
    pub partitions: Vec<FetchedPartition>,
}

/// The committed offset of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedPartition {
    /// Which.
    pub partition: i32,
    /// The committed offset; -1 if there is none.
    pub offset: i64,
    /// As committed; -1 if it was not known.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: String,
}

/// Which of the two protocols a group speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupType {
    /// JoinGroup and SyncGroup, or only committed offsets.
    Classic,
    /// KIP-848.
    Consumer,
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        })
    }
}

/// A state of a group, of either type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Classic: members are to join.
    PreparingRebalance,
    /// Classic: members joined, the leader is to assign.
    CompletingRebalance,
    /// Consumer: the target assignment is to be made.
    Assigning,
    /// Consumer: members are on their way to it.
    Reconciling,
    /// Everybody has what it should.
    Stable,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        })
    }
}

/// A classic group, for DescribeGroups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Which group.
    pub group_id: String,
    /// Its state.
    pub state: GroupState,
    /// Empty if it has none.
    pub protocol_type: String,
    /// What its members agreed on; empty unless the group is stable.
    pub protocol: String,
    /// Its members, by id.
    pub members: Vec<DescribedMember>,
}

/// A member of a classic group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// Its metadata for the protocol agreed on; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it got last.
    pub assignment: Bytes,
}

/// An offset that a group has committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedOffset<'a> {
    /// Which group.
    pub group_id: &'a str,
    /// Name of the topic.
    pub topic: &'a str,
    /// Its id when the offset was committed; all zero if it was not known.
    pub topic_id: TopicId,
    /// Which partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

/// A group, for ListGroups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Which group.
    pub group_id: String,
    /// Empty if it has none.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
    /// Its type.
    pub group_type: GroupType,
}

/// The answer of a ConsumerGroupHeartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerHeartbeat {
    /// The member.
    pub member_id: String,
    /// Its epoch from now on.
    pub member_epoch: i32,
    /// When it shall call again, milliseconds.
    pub heartbeat_interval_ms: i32,
    /// What it shall have; `None` if that did not change.
    pub assignment: Option<Vec<(TopicId, Vec<i32>)>>,
}

/// A consumer group, for ConsumerGroupDescribe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerDescribed {
    /// Which group.
    pub group_id: String,
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub group_epoch: i32,
    /// The epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// Name of the assignor that makes it.
    pub assignor: String,
    /// Its members, by id.
    pub members: Vec<ConsumerDescribedMember>,
}

/// A member of a consumer group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerDescribedMember {
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// Its epoch.
    pub member_epoch: i32,
    /// `client.id`.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// Topics that it subscribed to by name.
    pub subscribed_topics: Vec<String>,
    /// The regular expression that it subscribed to; empty if there is none.
    pub subscribed_regex: String,
    /// What it has.
    pub assignment: Vec<DescribedPartitions>,
    /// What it shall have.
    pub target_assignment: Vec<DescribedPartitions>,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// Its name.
    pub topic_name: String,
    /// Which partitions.
    pub partitions: Vec<i32>,
}

/// About what an answer takes beside its texts, for each element that it lists: a member, a group, a topic.
const ELEMENT_BYTES: usize = 32;
/// As [`ELEMENT_BYTES`], for a partition and its offset.
const OFFSET_BYTES: usize = 24;

fn optional(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

impl Joined {
    /// About how many bytes it will have in an answer.
    pub fn bytes(&self) -> usize {
        let members = self.members.iter();
        members.map(|it| ELEMENT_BYTES + it.member_id.len() + optional(it.instance_id.as_ref()) + it.metadata.len()).sum()
    }
}

impl FetchedOffsets {
    /// About how many bytes it will have in an answer.
    pub fn bytes(&self) -> usize {
        let partitions = |topic: &FetchedTopic| topic.partitions.iter().map(|it| OFFSET_BYTES + it.metadata.len()).sum::<usize>();
        self.topics.iter().map(|topic| ELEMENT_BYTES + topic.name.len() + partitions(topic)).sum()
    }
}

impl Described {
    /// About how many bytes it will have in an answer.
    pub fn bytes(&self) -> usize {
        let member = |it: &DescribedMember| {
            let texts = it.member_id.len() + optional(it.instance_id.as_ref()) + it.client_id.len() + it.client_host.len();
            ELEMENT_BYTES + texts + it.metadata.len() + it.assignment.len()
        };
        ELEMENT_BYTES + self.group_id.len() + self.members.iter().map(member).sum::<usize>()
    }
}

impl Listed {
    /// About how many bytes it will have in an answer.
    pub fn bytes(&self) -> usize {
        ELEMENT_BYTES + self.group_id.len() + self.protocol_type.len()
    }
}

impl ConsumerDescribed {
    /// About how many bytes it will have in an answer.
    pub fn bytes(&self) -> usize {
        ELEMENT_BYTES + self.group_id.len() + self.members.iter().map(ConsumerDescribedMember::bytes).sum::<usize>()
    }
}

impl ConsumerDescribedMember {
    fn bytes(&self) -> usize {
        let partitions = self.assignment.iter().chain(&self.target_assignment);
        let partitions = partitions.map(|it| ELEMENT_BYTES + it.topic_name.len() + size_of_val(it.partitions.as_slice()));
        let texts = self.member_id.len() + self.client_id.len() + self.client_host.len() + self.subscribed_regex.len();
        let optional = optional(self.instance_id.as_ref()) + optional(self.rack_id.as_ref());
        let subscribed = self.subscribed_topics.iter().map(|name| 2 + name.len());
        ELEMENT_BYTES + texts + optional + subscribed.sum::<usize>() + partitions.sum::<usize>()
    }
}
