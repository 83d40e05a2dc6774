//! Time as it comes in: nothing here reads a clock.

use std::ops::Add;

use types::Timestamp;

/// Milliseconds of a clock that never goes back. What is due is reckoned with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(pub u64);

impl Add<u64> for Moment {
    type Output = Self;
    /// `millis` later.
    fn add(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// The time of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For deadlines.
    pub moment: Moment,
    /// For what is saved.
    pub wall: Timestamp,
}
