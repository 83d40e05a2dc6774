//! What a group can be asked. Plain values: the broker makes them of whatever version of Kafka's request came.

use bytes::Bytes;
use types::TopicId;

/// JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Which group.
    pub group_id: String,
    /// Empty for somebody who has no id yet.
    pub member_id: String,
    /// A random UUID for a member that needs an id: it becomes `<client id>-<fresh id>`, or `<instance id>-<fresh id>`.
    pub fresh_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where the client is, as Kafka shows it: `/10.0.0.1`.
    pub client_host: String,
    /// How long the member may be silent, milliseconds.
    pub session_timeout_ms: i32,
    /// How long the member may take to join again, milliseconds. Below 0 if JoinGroup 0 said none: the session timeout then.
    pub rebalance_timeout_ms: i32,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// What the member can do, what it likes best first.
    pub protocols: Vec<Protocol>,
    /// From JoinGroup 4 on a new dynamic member joins only with an id that it was given before (KIP-394).
    pub needs_member_id: bool,
    /// From JoinGroup 9 on a leader can be told that there is nothing to assign (KIP-814).
    pub can_skip_assignment: bool,
    /// Why the member joins, for people.
    pub reason: Option<String>,
}

impl JoinRequest {
    /// The id of a member that has none yet.
    pub(crate) fn new_member_id(&self) -> String {
        let prefix = self.instance_id.as_deref().unwrap_or(&self.client_id);
        format!("{prefix}-{}", self.fresh_id)
    }

    /// The member's rebalance timeout, milliseconds: where the request has none, the session timeout is one.
    pub(crate) fn time_to_rejoin_ms(&self) -> i32 {
        if self.rebalance_timeout_ms < 0 { self.session_timeout_ms } else { self.rebalance_timeout_ms }
    }
}

/// One of the protocols that a classic member offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// For consumers the assignor's name.
    pub name: String,
    /// For consumers the subscription. Opaque to the group, but for the topics of a consumer's subscription.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Which group.
    pub group_id: String,
    /// Who asks.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The generation that the member joined.
    pub generation: i32,
    /// Must be the group's; not sent before SyncGroup 5.
    pub protocol_type: Option<String>,
    /// Must be the group's; not sent before SyncGroup 5.
    pub protocol: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(String, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// Which group.
    pub group_id: String,
    /// Who lives.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The generation that the member is in.
    pub generation: i32,
}

/// LeaveGroup, of one or more members.
#[derive(Clone, Debug)]
pub struct LeaveRequest {
    /// Which group.
    pub group_id: String,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// Somebody who leaves.
#[derive(Clone, Debug)]
pub struct LeavingMember {
    /// Empty if the instance id says who it is.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// OffsetCommit. The broker has refused topics and partitions that do not exist.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Which group.
    pub group_id: String,
    /// Empty for somebody outside the group.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The member's generation, or member epoch; below 0 for somebody outside the group.
    pub generation_or_epoch: i32,
    /// From OffsetCommit 9 on a client understands STALE_MEMBER_EPOCH.
    pub knows_member_epochs: bool,
    /// How long the offsets shall live, milliseconds: OffsetCommit 2 to 4, where it was not -1. `None`: as long as the broker says.
    pub retention_ms: Option<i64>,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// The offsets to commit in one topic.
#[derive(Clone, Debug)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: String,
    /// Its id; all zero if the broker does not know it.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// The offset to commit in one partition.
#[derive(Clone, Debug)]
pub struct CommitPartition {
    /// Which.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 if not known.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub metadata: Option<String>,
}

/// OffsetFetch, of one group.
#[derive(Clone, Debug)]
pub struct FetchOffsetsRequest {
    /// Which group.
    pub group_id: String,
    /// Who asks, from OffsetFetch 9 on (KIP-848).
    pub member_id: Option<String>,
    /// The asking member's epoch; -1 if it says none.
    pub member_epoch: i32,
    /// What is asked for; `None` for all that there is.
    pub topics: Option<Vec<FetchTopic>>,
    /// Whether the answer may not pass over offsets of open transactions. No offset is committed by a transaction here: without effect.
    pub require_stable: bool,
}

/// The partitions of one topic whose offsets are asked for.
#[derive(Clone, Debug)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: String,
    /// Its id; all zero if the broker does not know it. Offsets that were committed for another id are not answered.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// OffsetDelete.
#[derive(Clone, Debug)]
pub struct DeleteOffsetsRequest {
    /// Which group.
    pub group_id: String,
    /// Topics by name, and which of their partitions.
    pub topics: Vec<(String, Vec<i32>)>,
}

/// ListGroups. Names are compared without regard to case; an empty list lets everything pass.
#[derive(Clone, Default, Debug)]
pub struct ListFilter {
    /// Names of states.
    pub states: Vec<String>,
    /// Names of types: `classic`, `consumer`.
    pub types: Vec<String>,
}

/// ConsumerGroupHeartbeat (KIP-848).
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeatRequest {
    /// Which group.
    pub group_id: String,
    /// Made by the client, or by the broker for a client of version 0 that joins.
    pub member_id: String,
    /// 0 to join, -1 to leave, -2 to leave as a static member that will be back.
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where the client is, as Kafka shows it: `/10.0.0.1`.
    pub client_host: String,
    /// How long the member may take to give partitions up, milliseconds; -1 if it did not change.
    pub rebalance_timeout_ms: i32,
    /// Names of topics; `None` if they did not change.
    pub subscribed_topics: Option<Vec<String>>,
    /// A regular expression for names; `None` if it did not change, empty to give it up.
    pub subscribed_regex: Option<String>,
    /// The assignor of the server that the member wants; `None` if that did not change.
    pub assignor: Option<String>,
    /// What the member has; `None` if that did not change.
    pub owned: Option<Vec<(TopicId, Vec<i32>)>>,
}
