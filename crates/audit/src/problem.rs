//! What can be wrong with a segment that metadata references.

use segment::ObjectError;
use types::{SegmentRef, TopicPartition};

/// A segment as metadata has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Whose segment.
    pub partition: TopicPartition,
    /// Which offsets, and where they are.
    pub segment: SegmentRef,
}

/// Kinds of problems; they differ by what a person does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProblemKind {
    /// The object is not there.
    Missing,
    /// It is shorter or longer than it must be.
    Length,
    /// A checksum or a rule of the format is broken.
    Damage,
    /// It is sound, and another one than metadata references.
    Mismatch,
    /// It is of a format that this program does not know.
    Unsupported,
}

impl ProblemKind {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Missing, Self::Length, Self::Damage, Self::Mismatch, Self::Unsupported];

    /// The name in listings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Length => "length",
            Self::Damage => "damage",
            Self::Mismatch => "mismatch",
            Self::Unsupported => "unsupported",
        }
    }

    pub(crate) fn of(error: &ObjectError) -> Self {
        match error {
            ObjectError::Version { .. } | ObjectError::Encrypted(_) | ObjectError::UnknownSection { .. } | ObjectError::Reserved { .. } => {
                Self::Unsupported
            }
            ObjectError::Short { .. }
            | ObjectError::Magic { .. }
            | ObjectError::Checksum { .. }
            | ObjectError::SectionCount { .. }
            | ObjectError::Malformed { .. }
            | ObjectError::Batches { .. }
            | ObjectError::Batch { .. }
            | ObjectError::Layout { .. }
            | ObjectError::Disagrees { .. } => Self::Damage,
        }
    }
}

/// A segment that is not in the store as metadata has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Which segment.
    pub reference: Reference,
    /// What a person has to deal with.
    pub kind: ProblemKind,
    /// What was found, in words.
    pub detail: String,
}
