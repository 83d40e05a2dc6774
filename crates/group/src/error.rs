//! What can be wrong with a request to a group. Variants say what happened; the broker alone knows which Kafka code each becomes.
//! The texts reach clients of requests whose answers have a place for them.

/// Why a request to a group, or to one of its members or partitions, was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    /// The group has no such member.
    #[error("Member {member_id} is not a member of group {group_id}.")]
    UnknownMemberId {
        /// Which group.
        group_id: String,
        /// Who was looked for; empty if the request named nobody.
        member_id: String,
    },
    /// The request names another generation than the group's.
    #[error("Specified group generation id is not valid.")]
    IllegalGeneration,
    /// The member must join again.
    #[error("The group is rebalancing, so a rejoin is needed.")]
    RebalanceInProgress,
    /// A new member has to ask again with the id that it is given here (KIP-394).
    #[error("The group member needs to have a valid member id before actually entering a consumer group.")]
    MemberIdRequired {
        /// The id it was given.
        member_id: String,
    },
    /// Another member joined with the same instance id and took its place (KIP-345).
    #[error("{0}")]
    FencedInstanceId(String),
    /// The instance id belongs to a member that has not left (KIP-848).
    #[error("{0}")]
    UnreleasedInstanceId(String),
    /// The group has as many members as it may.
    #[error("The group has reached its maximum capacity of {limit} members.")]
    GroupMaxSizeReached {
        /// How many it may have.
        limit: usize,
    },
    /// The group's members would take more memory than a group may.
    #[error("The members' metadata and assignments would exceed the {limit} bytes that a group may have.")]
    GroupTooLarge {
        /// How many bytes it may have.
        limit: usize,
    },
    /// The member shares no protocol with the group's others, or names none.
    #[error("The group member's supported protocols are incompatible with those of existing members.")]
    InconsistentGroupProtocol,
    /// The session timeout is outside what the broker allows.
    #[error(
        "The session timeout is not within the range allowed by the broker (group.min.session.timeout.ms and group.max.session.timeout.ms)."
    )]
    InvalidSessionTimeout,
    /// The group id may not be used for this request.
    #[error("The group id is invalid.")]
    InvalidGroupId,
    /// No such group, or one of another type.
    #[error("{0}")]
    GroupIdNotFound(String),
    /// The group has members.
    #[error("The group is not empty.")]
    NonEmptyGroup,
    /// A partition's committed offset stays while the group is subscribed to its topic.
    #[error("The consumer group is actively subscribed to the topic.")]
    GroupSubscribedToTopic,
    /// What one commit brings would take more room than a commit may.
    #[error("The offsets of one commit would exceed the {limit} bytes that it may have: commit fewer partitions at a time.")]
    CommitTooLarge {
        /// How many bytes it may have.
        limit: usize,
    },
    /// The string that goes with a committed offset is too long.
    #[error("The metadata field of the offset request was too large.")]
    OffsetMetadataTooLarge,
    /// The member was put out of the group, or its epoch is one that it cannot have (KIP-848).
    #[error("{0}")]
    FencedMemberEpoch(String),
    /// The member epoch is older than the member's: it has to heartbeat first (KIP-848).
    #[error("{0}")]
    StaleMemberEpoch(String),
    /// The server has no such assignor.
    #[error("{0}")]
    UnsupportedAssignor(String),
    /// The subscription is no regular expression.
    #[error("{0}")]
    InvalidRegularExpression(String),
    /// The request contradicts itself, or lacks something.
    #[error("{0}")]
    InvalidRequest(String),
    /// The request's version cannot be used with this group.
    #[error("{0}")]
    UnsupportedVersion(String),
}

impl GroupError {
    /// `member_id` is not in `group_id`.
    pub fn unknown_member(group_id: &str, member_id: &str) -> Self {
        Self::UnknownMemberId { group_id: group_id.to_owned(), member_id: member_id.to_owned() }
    }

    /// There is no `group_id`.
    pub fn no_such_group(group_id: &str) -> Self {
        Self::GroupIdNotFound(format!("Group {group_id} not found."))
    }

    /// `group_id` is of the classic protocol.
    pub(crate) fn not_a_consumer_group(group_id: &str) -> Self {
        Self::GroupIdNotFound(format!("Group {group_id} is not a consumer group."))
    }
}
