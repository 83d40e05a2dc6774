//! What an auditor shows of itself.

use std::sync::Arc;
use std::time::Duration;

use crate::problem::{ProblemKind, Reference};
use crate::register::Register;

/// What was read since the start, and what is damaged as far as is known now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditStatus {
    /// Segments held against metadata, sound ones and others.
    pub segments: u64,
    /// Bytes that came from the store for it.
    pub bytes: u64,
    /// Rounds over all objects of the broker's share.
    pub rounds: u64,
    /// Since the last of them ended, or since the start before there is one.
    pub round_age: Duration,
    /// Segments that are not in the store as metadata has them, by kind; of one object 32 at most. They are looked at again every ten
    /// minutes.
    pub problems: [(ProblemKind, u64); ProblemKind::ALL.len()],
    /// The same for people, in one line; `None` if there is none.
    pub damage: Option<String>,
    /// Why nothing can be found out for now: the store or the metadata service does not answer.
    pub failing: Option<String>,
}

/// Shows what an auditor does, and tells it where to look. Clones are one and the same.
#[derive(Clone)]
pub struct AuditHandle(Arc<Register>);

impl AuditHandle {
    pub(crate) fn new(register: Arc<Register>) -> Self {
        Self(register)
    }

    /// Has the auditor look at a segment next, whichever broker's share its object is, because somebody could not read it. Reported is what
    /// the auditor then finds itself. Returns at once; a segment that is told again before that counts once, and of more than 64 objects
    /// the rest is left to be told again.
    pub fn suspect(&self, reference: Reference) {
        self.0.suspect(reference);
    }

    /// As of now.
    pub fn status(&self) -> AuditStatus {
        self.0.status()
    }
}
