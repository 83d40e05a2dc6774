//! Who may commit and fetch offsets of a consumer group: its members, by their epoch.

use types::TopicPartition;

use super::group::ConsumerGroup;
use super::member::Member;
use crate::{CommitRequest, FetchOffsetsRequest, GroupError};

/// What a commit that was let in may commit.
#[derive(Debug)]
pub(crate) enum CommitScope<'a> {
    /// Any partition.
    All,
    /// It names an epoch before the member's own: what the member has had since then without a break (KIP-1251). The member's epoch
    /// rises without the client's doing, and a commit on its way must not be lost by that.
    HeldSince { member: &'a Member, epoch: i32 },
}

impl CommitScope<'_> {
    /// Whether the partition's offset may be committed.
    pub(crate) fn check(&self, partition: TopicPartition) -> Result<(), GroupError> {
        match self {
            Self::All => Ok(()),
            Self::HeldSince { member, epoch } => match member.current.since(partition) {
                Some(since) if since <= *epoch => Ok(()),
                _ => Err(wrong_epoch(member, *epoch)),
            },
        }
    }
}

impl ConsumerGroup {
    /// Whether a commit comes from somebody who may commit, and what.
    pub(crate) fn check_commit(&self, request: &CommitRequest) -> Result<CommitScope<'_>, GroupError> {
        let epoch = request.generation_or_epoch;
        // Tools commit in a group without members.
        if epoch < 0 && self.is_empty() {
            return Ok(CommitScope::All);
        }
        let Some(member) = self.members.get(request.member_id.as_str()) else {
            return Err(GroupError::unknown_member(&self.id, &request.member_id));
        };
        if member.subscription.classic.is_none() && !request.knows_member_epochs {
            let text = "OffsetCommit version 9 or above must be used by members using the modern group protocol";
            return Err(GroupError::UnsupportedVersion(text.to_owned()));
        }
        match epoch.cmp(&member.current.epoch) {
            std::cmp::Ordering::Equal => Ok(CommitScope::All),
            std::cmp::Ordering::Less => Ok(CommitScope::HeldSince { member, epoch }),
            std::cmp::Ordering::Greater => Err(wrong_epoch(member, epoch)),
        }
    }

    /// Whether a fetch of offsets comes from somebody who may fetch them.
    pub(crate) fn check_fetch(&self, request: &FetchOffsetsRequest) -> Result<(), GroupError> {
        let Some(member_id) = request.member_id.as_deref() else {
            return if request.member_epoch < 0 { Ok(()) } else { Err(GroupError::unknown_member(&self.id, "")) };
        };
        match self.members.get(member_id) {
            None => Err(GroupError::unknown_member(&self.id, member_id)),
            Some(member) if member.current.epoch == request.member_epoch => Ok(()),
            Some(member) => Err(wrong_epoch(member, request.member_epoch)),
        }
    }
}

fn wrong_epoch(member: &Member, named: i32) -> GroupError {
    if member.subscription.classic.is_some() {
        return GroupError::IllegalGeneration;
    }
    let expected = member.current.epoch;
    GroupError::StaleMemberEpoch(format!("The received member epoch {named} does not match the expected member epoch {expected}."))
}
