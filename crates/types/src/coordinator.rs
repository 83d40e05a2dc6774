//! Coordinator slots: what Kafka calls the partitions of `__consumer_offsets` and `__transaction_state`, without a topic behind them.

use std::fmt;

/// Slots of each kind: Kafka's default for `offsets.topic.num.partitions` and `transaction.state.log.num.partitions`. Part of the
/// snapshot format.
pub const COORDINATOR_SLOTS: u8 = 50;

/// What the slots of a kind coordinate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CoordinatorKind {
    /// Groups: members' generations and committed offsets.
    Group,
    /// Transactional ids.
    Transaction,
}

impl fmt::Display for CoordinatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Transaction => "transaction",
        })
    }
}

/// One slot of a kind: what hashes to it is coordinated by the broker that took it last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CoordinatorSlot {
    kind: CoordinatorKind,
    number: u8,
}

impl CoordinatorSlot {
    /// Slot `number` of `kind`, if it is below [`COORDINATOR_SLOTS`].
    pub fn new(kind: CoordinatorKind, number: u8) -> Option<Self> {
        (number < COORDINATOR_SLOTS).then_some(Self { kind, number })
    }

    /// Every slot of `kind`, in order.
    pub fn all(kind: CoordinatorKind) -> impl Iterator<Item = Self> {
        (0..COORDINATOR_SLOTS).map(move |number| Self { kind, number })
    }

    /// What it coordinates.
    pub fn kind(self) -> CoordinatorKind {
        self.kind
    }

    /// Its number within the kind.
    pub fn number(self) -> u8 {
        self.number
    }
}

impl fmt::Display for CoordinatorSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slot {}", self.kind, self.number)
    }
}
