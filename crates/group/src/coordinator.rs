//! The groups of one coordinator slot.

use std::collections::HashMap;
use std::sync::Arc;

use crate::deadlines::Deadlines;
use crate::{
    CommitRequest, ConsumerDescribed, ConsumerHeartbeat, ConsumerHeartbeatRequest, DeleteOffsetsRequest, Described, Effects, FetchOffsetsRequest,
    FetchedOffsets, GroupError, HeartbeatRequest, JoinRequest, LeaveRequest, Left, ListFilter, Listed, Moment, Now, Options, PartitionResults, Row,
    RowError, SyncRequest, Ticket, Topics,
};

/// The groups of one slot: members, generations, committed offsets.
///
/// Contract with the driver: it calls one method at a time and then [`Coordinator::take_effects`]. It saves the rows, and gives out the
/// call's result and the answers when they are durable, in the order of the calls; further calls may be made meanwhile. If a save fails
/// for good, it drops the coordinator and everybody who waits, and loads another one: nothing here is ever undone.
#[derive(Debug)]
pub struct Coordinator {
    options: Options,
    groups: HashMap<Arc<str>, ()>,
    timers: Deadlines,
    effects: Effects,
}

#[allow(unused_variables, missing_docs)]
impl Coordinator {
    /// No groups yet.
    pub fn new(options: Options) -> Self {
        Self { options, groups: HashMap::new(), timers: Deadlines::default(), effects: Effects::default() }
    }

    /// What another coordinator saved: for every key its last value, in any order. Sessions of members begin anew.
    pub fn load(options: Options, rows: impl IntoIterator<Item = Row>, now: Now) -> Result<Self, RowError> {
        unimplemented!()
    }

    /// What the last call left behind.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// When [`Coordinator::expire`] wants to be called. It may come too early, never too late.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// Does what is due: sessions, rebalances, offsets that nobody needs.
    pub fn expire(&mut self, topics: &dyn Topics, now: Now) {
        unimplemented!()
    }

    /// Whoever holds the ticket is gone: it is not answered. A member stays until its session ends.
    pub fn forget(&mut self, ticket: Ticket) {
        unimplemented!()
    }

    /// JoinGroup; answered through the effects, of this call or of a later one.
    pub fn join(&mut self, ticket: Ticket, request: JoinRequest, topics: &dyn Topics, now: Now) {
        unimplemented!()
    }

    /// SyncGroup; answered through the effects, of this call or of a later one.
    pub fn sync(&mut self, ticket: Ticket, request: SyncRequest, topics: &dyn Topics, now: Now) {
        unimplemented!()
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, request: HeartbeatRequest, now: Now) -> Result<(), GroupError> {
        unimplemented!()
    }

    /// LeaveGroup.
    pub fn leave(&mut self, request: LeaveRequest, topics: &dyn Topics, now: Now) -> Result<Left, GroupError> {
        unimplemented!()
    }

    /// OffsetCommit.
    pub fn commit_offsets(&mut self, request: CommitRequest, now: Now) -> Result<PartitionResults, GroupError> {
        unimplemented!()
    }

    /// OffsetFetch, of one group.
    pub fn fetch_offsets(&self, request: &FetchOffsetsRequest) -> Result<FetchedOffsets, GroupError> {
        unimplemented!()
    }

    /// OffsetDelete.
    pub fn delete_offsets(&mut self, request: DeleteOffsetsRequest) -> Result<PartitionResults, GroupError> {
        unimplemented!()
    }

    /// The topics are gone, and so are the offsets committed in them.
    pub fn topics_deleted(&mut self, names: &[String]) {
        unimplemented!()
    }

    /// DescribeGroups, of one group. A consumer group is [`GroupError::GroupIdNotFound`].
    pub fn describe(&self, group_id: &str) -> Result<Described, GroupError> {
        unimplemented!()
    }

    /// ListGroups, by group id.
    pub fn list(&self, filter: &ListFilter) -> Vec<Listed> {
        unimplemented!()
    }

    /// DeleteGroups, of one group.
    pub fn delete(&mut self, group_id: &str) -> Result<(), GroupError> {
        unimplemented!()
    }

    /// ConsumerGroupHeartbeat (KIP-848).
    pub fn consumer_heartbeat(
        &mut self,
        request: ConsumerHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) -> Result<ConsumerHeartbeat, GroupError> {
        unimplemented!()
    }

    /// ConsumerGroupDescribe, of one group (KIP-848).
    pub fn consumer_describe(&self, group_id: &str, topics: &dyn Topics) -> Result<ConsumerDescribed, GroupError> {
        unimplemented!()
    }
}
