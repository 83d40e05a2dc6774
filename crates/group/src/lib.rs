//! The group coordinator: members, generations and committed offsets of consumer groups, as a state machine that does nothing by
//! itself. Time and topics come in with every call, what has to be saved and who has to be answered goes out as [`Effects`].
//!
//! [`Coordinator`] holds the groups of one slot ([`slot_of`]). Groups of the classic protocol (JoinGroup, SyncGroup) are in `classic`,
//! those of KIP-848 in `consumer`; committed offsets, which both have, in `offsets`. What is saved is opaque to everybody else
//! (`docs/formats-group.md`).
//!
//! Invariants: no clock, no randomness and no I/O in here; requests and answers are this crate's own and know no Kafka version; a
//! coordinator that is loaded from the saved rows answers for offsets and stable members as the old one did; committed offsets change
//! by commits, deletions and expiry only.

mod coordinator;

mod classic;
mod consumer;
mod entry;
mod offsets;

mod embedded;

mod answers;
mod error;
mod requests;

mod moment;
mod options;
mod slot;
mod topics;

mod deadlines;
mod effects;
mod row;

#[cfg(test)]
mod tests;

pub use answers::{
    Answer, CommittedOffset, ConsumerDescribed, ConsumerDescribedMember, ConsumerHeartbeat, Described, DescribedMember,
    DescribedPartitions, FetchedOffsets, FetchedPartition, FetchedTopic, GroupState, GroupType, Joined, JoinedMember, Left, LeftMember,
    Listed, PartitionResults, Synced, TopicResults,
};
pub use coordinator::Coordinator;
pub use effects::{Effects, Ticket};
pub use error::GroupError;
pub use moment::{Moment, Now};
pub use options::{AssignorName, GroupConfig, GroupConfigs, MigrationPolicy, Options};
pub use requests::{
    CommitPartition, CommitRequest, CommitTopic, ConsumerHeartbeatRequest, DeleteOffsetsRequest, FetchOffsetsRequest, FetchTopic,
    HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, ListFilter, Protocol, SyncRequest,
};
pub use row::{Row, RowError};
pub use slot::slot_of;
pub use topics::{TopicInfo, Topics};
