//! The topic config `durability`: what `acks=all` waits for.

use std::fmt;
use std::str::FromStr;

/// When a batch sent with `acks=all` is acknowledged, and how far the high watermark may go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// After the fsync of the leader's write-ahead log: survives a crash and a power cut, not the loss of the disk.
    Wal,
    /// After upload and publish: survives the loss of every broker and disk.
    Object,
}

impl Durability {
    /// The value of the topic config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a durability level that exists.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseDurabilityError {
    /// Planned, and refused until it exists.
    #[error("durability=quorum is not supported yet; use wal or object")]
    Quorum,
    /// Any other word.
    #[error("durability must be wal or object, got {0}")]
    Unknown(String),
}

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        match value {
            "wal" => Ok(Self::Wal),
            "object" => Ok(Self::Object),
            "quorum" => Err(ParseDurabilityError::Quorum),
            other => Err(ParseDurabilityError::Unknown(other.to_owned())),
        }
    }
}
