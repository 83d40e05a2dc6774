//! Points between the steps where a test may end the offload as if the process had been killed.

use types::PublishSequence;

/// A point that a range passes on its way from the log to the store. Nothing that a later step does has happened yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// The log holds new batches and they were looked at; the range that will hold them is open.
    Appended,
    /// The range is closed, nothing is built.
    Sealed,
    /// The object's bytes, length and checksum are fixed.
    Built,
    /// The object is known to be in the store as built.
    Uploaded,
    /// It is the range's turn; the request is made but not sent.
    PublishReady,
    /// The metadata service has recorded the publish, but its answer got lost on the way: nothing that was refused is kept aside.
    PublishSent,
    /// The answer is in and what must be is kept aside; nobody was told.
    Answered,
    /// The observer was told, the log holds everything.
    Observed,
    /// The log was told.
    Trimmed,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 9] = [
        Self::Appended,
        Self::Sealed,
        Self::Built,
        Self::Uploaded,
        Self::PublishReady,
        Self::PublishSent,
        Self::Answered,
        Self::Observed,
        Self::Trimmed,
    ];
}

/// Decides at which step of which range the offload ends as if the process had been killed: whatever it holds in memory is dropped,
/// nothing is finished, other uploads break off where they are. Scoped to one [`crate::Offload`].
pub trait Failpoints: Send + Sync {
    /// Whether to stop at `step` of the range that is to be published as `sequence`.
    fn stop_at(&self, step: Step, sequence: PublishSequence) -> bool;
}

/// Never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFailpoints;

impl Failpoints for NoFailpoints {
    fn stop_at(&self, _step: Step, _sequence: PublishSequence) -> bool {
        false
    }
}
