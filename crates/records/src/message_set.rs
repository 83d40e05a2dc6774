//! Message sets: the formats of Kafka 0.8 to 0.10, before record batches. Format 0 has no timestamps, format 1 has them (KIP-32) and
//! relative offsets within what is compressed (KIP-31).
//!
//! A set is messages one after another. Compression is a message too: a wrapper, whose value is a compressed set. Nothing of this is
//! stored: producers' sets are converted to a batch before they are appended, and batches to sets after they were read.

mod down_convert;
mod error;
mod lz4_checksum;
mod parse;
mod up_convert;

pub use down_convert::{DownConversionError, DownConversionLimits, DownConverted, down_convert};
pub use error::{CorruptMessage, InvalidMessage, MessagePosition, MessageSetError};
pub use up_convert::{UpConversionLimits, up_convert};

/// Message format of a message set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageFormat {
    /// Magic 0: Kafka 0.8 and 0.9, Produce 0 and 1, Fetch 0 and 1.
    V0,
    /// Magic 1: Kafka 0.10, Produce 2, Fetch 2 and 3.
    V1,
}

impl MessageFormat {
    fn magic(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
        }
    }

    fn from_magic(magic: u8) -> Option<Self> {
        [Self::V0, Self::V1].into_iter().find(|format| format.magic() == magic)
    }

    /// What the size field of a message counts besides key and value: checksum, magic, attributes, timestamp, two lengths.
    fn overhead(self) -> usize {
        match self {
            Self::V0 => 14,
            Self::V1 => 22,
        }
    }
}

/// Offset and size field: what the size field itself does not count.
const SIZE_OVERHEAD: usize = 12;

/// Positions in a message, all fields big-endian. In format 1 the timestamp follows, in both then key and value, each behind its
/// length.
mod field {
    pub(super) const SIZE: usize = 8;
    pub(super) const CRC: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const ATTRIBUTES: usize = 17;
    pub(super) const AFTER_ATTRIBUTES: usize = 18;
}

/// Bits of the attributes field.
mod attribute {
    pub(super) const CODEC: u8 = 0b111;
    /// Format 1 only.
    pub(super) const LOG_APPEND_TIME: u8 = 1 << 3;
}

/// The checksum of messages: CRC-32 as in Ethernet, not the CRC-32C of batches. It covers everything from the magic on.
fn checksum(message: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(message);
    crc.sum()
}
