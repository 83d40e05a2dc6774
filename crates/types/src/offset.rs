//! Positions: offsets in a partition, log sequence numbers in a broker's write-ahead log, leader epochs, and timestamps.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Position of a record in a partition. Negative values are Kafka's special offsets and never name a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of every new partition.
    pub const ZERO: Self = Self(0);

    /// Offsets that an unclean election leaves free: whatever the lost log assigned lies in them (rule R18).
    pub const UNCLEAN_GAP: i64 = 1 << 32;
}

impl Add<i64> for Offset {
    type Output = Self;
    fn add(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

impl Sub for Offset {
    /// Distance in offsets.
    type Output = i64;
    fn sub(self, other: Self) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Log sequence number: position of an entry in a broker's write-ahead log. Dense within a broker epoch, from 1; 0 means
/// "before the first entry".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The number that follows.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Add<u64> for Lsn {
    type Output = Self;
    fn add(self, entries: u64) -> Self {
        Self(self.0 + entries)
    }
}

impl AddAssign<u64> for Lsn {
    fn add_assign(&mut self, entries: u64) {
        self.0 += entries;
    }
}

impl Sub for Lsn {
    /// Distance in entries.
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Fencing number of a partition's leader (KIP-101); rises at every registration of the broker that leads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaderEpoch(pub i32);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Milliseconds since 1970-01-01 UTC, as in Kafka's records; -1 is "no timestamp".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Kafka's NO_TIMESTAMP.
    pub const NONE: Self = Self(-1);

    /// Milliseconds from `earlier` to `self`; 0 when the clock went back.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
