//! Kafka's `group.*` and `offsets.*` configs, as far as a coordinator needs them.

use std::collections::HashMap;
use std::ops::RangeInclusive;

/// For all groups; the defaults are Kafka's. See [`Coordinator::configure`](crate::Coordinator::configure).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`: members of a classic group.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval_ms: i32,
    /// What a group may set in place of the session timeout: `group.consumer.min.session.timeout.ms` to
    /// `group.consumer.max.session.timeout.ms`.
    pub consumer_session_timeouts_ms: RangeInclusive<i32>,
    /// What a group may set in place of the heartbeat interval: `group.consumer.min.heartbeat.interval.ms` to
    /// `group.consumer.max.heartbeat.interval.ms`.
    pub consumer_heartbeat_intervals_ms: RangeInclusive<i32>,
    /// `group.consumer.max.size`: members of a consumer group.
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`; the first is the default.
    pub consumer_assignors: Vec<AssignorName>,
    /// `group.consumer.regex.refresh.interval.ms`: when regular expressions are resolved again although nothing seems to have changed.
    pub consumer_regex_refresh_interval_ms: u64,
    /// `group.consumer.assignment.interval.ms`: how long a target assignment stands before another one is made (KIP-1263).
    pub consumer_assignment_interval_ms: u64,
    /// What a group may set in its place: `group.consumer.min.assignment.interval.ms` to `group.consumer.max.assignment.interval.ms`.
    pub consumer_assignment_intervals_ms: RangeInclusive<u64>,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_session_timeouts_ms: 45_000..=60_000,
            consumer_heartbeat_intervals_ms: 5_000..=15_000,
            consumer_max_size: i32::MAX as usize,
            consumer_assignors: vec![AssignorName::Uniform, AssignorName::Range],
            consumer_regex_refresh_interval_ms: 600_000,
            consumer_assignment_interval_ms: 1_000,
            consumer_assignment_intervals_ms: 0..=15_000,
            migration_policy: MigrationPolicy::Bidirectional,
        }
    }
}

/// What is set on one group, in place of the options for all (Kafka's group configs, KIP-848). What lies outside the bounds that the
/// options have now counts as the nearest bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GroupConfig {
    /// `consumer.session.timeout.ms`.
    pub consumer_session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval_ms: Option<i32>,
    /// `consumer.assignment.interval.ms`.
    pub consumer_assignment_interval_ms: Option<u64>,
}

/// What is set on groups, by their ids.
pub type GroupConfigs = HashMap<String, GroupConfig>;

/// An assignor of the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AssignorName {
    /// Spreads partitions evenly and keeps them where they are.
    Uniform,
    /// Gives the members the same partitions of every topic.
    Range,
}

impl AssignorName {
    /// As clients and configs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The reverse.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.as_str() == name)
    }
}

/// Whether groups with members may change their type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MigrationPolicy {
    /// Both ways.
    Bidirectional,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Not at all.
    Disabled,
}

impl MigrationPolicy {
    /// Whether a classic group with members may become a consumer group.
    pub fn allows_upgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// Whether a consumer group with members may become a classic group.
    pub fn allows_downgrade(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}
