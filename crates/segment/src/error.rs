//! What can be wrong with an object's bytes.

use records::{CrcMismatch, DamagedBatch};
use types::{Offset, TopicPartition};

use crate::summary::LayoutFault;

/// Bytes that are not a sound segment object, or one of a format that this program does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectError {
    /// Fewer bytes than the part has.
    #[error("{part} needs {needed} bytes, found {found}")]
    Short {
        /// Which part of the object.
        part: &'static str,
        /// Its length.
        needed: u64,
        /// Bytes there.
        found: u64,
    },
    /// The magic is missing: not a segment object, or cut at its end.
    #[error("no magic in the {part}: not a segment object, or a part of one")]
    Magic {
        /// Which part of the object.
        part: &'static str,
    },
    /// Written by a newer program.
    #[error("{part} has format version {found}, this program reads version 1; upgrade siltstone")]
    Version {
        /// Which part of the object.
        part: &'static str,
        /// Its version.
        found: u32,
    },
    /// Damaged.
    #[error("{part} checksum mismatch, expected {stored:#010x}, found {computed:#010x}")]
    Checksum {
        /// Which part of the object.
        part: &'static str,
        /// The value stored with it.
        stored: u32,
        /// The CRC-32C of the bytes there.
        computed: u32,
    },
    /// No method is supported yet.
    #[error("object is encrypted with method {0}, which this program does not know; upgrade siltstone")]
    Encrypted(u16),
    /// A section whose writer marked it as needed, and that this program does not know.
    #[error("footer section {kind} version {version} must be understood and is not; upgrade siltstone")]
    UnknownSection {
        /// Its type.
        kind: u16,
        /// Its version.
        version: u8,
    },
    /// A needed section is not there, or is there twice.
    #[error("footer has {found} sections of type {kind}, needs one")]
    SectionCount {
        /// Its type.
        kind: u16,
        /// How many there are.
        found: usize,
    },
    /// A field that contradicts others or lies outside its range, although checksums match.
    #[error("{part} is malformed: {what}")]
    Malformed {
        /// Which part of the object.
        part: &'static str,
        /// Which rule is broken.
        what: &'static str,
    },
    /// A reserved field is in use.
    #[error("{what} is in use, which this program does not support; upgrade siltstone")]
    Reserved {
        /// The field.
        what: &'static str,
    },
    /// A segment's data cannot be walked.
    #[error("segment {partition} from offset {base}: {source}")]
    Batches {
        /// Whose segment.
        partition: TopicPartition,
        /// Its base offset.
        base: Offset,
        /// Where and why.
        source: DamagedBatch,
    },
    /// A batch's content is damaged.
    #[error("segment {partition}, batch at offset {offset}: {source}")]
    Batch {
        /// Whose segment.
        partition: TopicPartition,
        /// The batch's base offset.
        offset: Offset,
        /// Expected and found.
        source: CrcMismatch,
    },
    /// Batches do not lie in the segment as they must.
    #[error("segment {partition}: {source}")]
    Layout {
        /// Whose segment.
        partition: TopicPartition,
        /// Which rule is broken.
        source: LayoutFault,
    },
    /// What footer or index say of a segment is not what its batches say.
    #[error("segment {partition} from offset {base}: {what} does not agree with the batches")]
    Disagrees {
        /// Whose segment.
        partition: TopicPartition,
        /// Its base offset.
        base: Offset,
        /// Which statement.
        what: &'static str,
    },
}

/// Compares a stored CRC-32C with that of `bytes`.
pub(crate) fn check_crc(part: &'static str, stored: u32, bytes: &[u8]) -> Result<(), ObjectError> {
    let computed = crc32c::crc32c(bytes);
    if stored == computed { Ok(()) } else { Err(ObjectError::Checksum { part, stored, computed }) }
}
