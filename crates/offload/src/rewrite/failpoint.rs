//! Points between the steps where a test may end the rewriter as if the process had been killed.

/// A point that a rewrite passes. Nothing that a later step does has happened yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RewriteStep {
    /// It is decided what is merged.
    Chosen,
    /// The old segments are read and were found sound.
    Read,
    /// The object's bytes, length and checksum are fixed.
    Built,
    /// The object is known to be in the store as built.
    Uploaded,
    /// The metadata service has recorded the replacement, but its answer got lost on the way.
    ReplaceSent,
    /// The answer is in.
    Replaced,
}

impl RewriteStep {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [Self::Chosen, Self::Read, Self::Built, Self::Uploaded, Self::ReplaceSent, Self::Replaced];
}

/// Decides where the rewriter ends as if the process had been killed. Scoped to one [`crate::Rewriter`].
pub trait RewriteFailpoints: Send + Sync {
    /// Whether to stop at `step` of the rewrite with this number, from 1.
    fn stop_at(&self, step: RewriteStep, rewrite: u64) -> bool;
}

/// Never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRewriteFailpoints;

impl RewriteFailpoints for NoRewriteFailpoints {
    fn stop_at(&self, _step: RewriteStep, _rewrite: u64) -> bool {
        false
    }
}
