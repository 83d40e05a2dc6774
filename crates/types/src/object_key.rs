//! Keys of segment objects. A key is broker id, broker epoch and a number that only rises, so it is never reused; the folder
//! says the kind, so that rights can be granted by prefix, and two hash digits spread a bucket's load.
//!
//! ```text
//! shared/<2 hex>/<broker>-<epoch>-<number>                              a range: many partitions
//! topic/<topic id>/<partition>/<base offset>-<broker>-<epoch>-<number>  a rewritten segment: one partition
//! ```
//!
//! Numbers are decimal without leading zeros, except the base offset, which has 20 digits so that a listing is in offset order.
//! No key is another's folder: some stores refuse such a pair.

use std::fmt;
use std::str::FromStr;

use crate::{BrokerEpoch, BrokerId, Offset, TopicId, TopicPartition};

/// Rises with each object that a broker begins within one broker epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ObjectNumber(pub u64);

/// How the batches of a segment came into their object; shown as one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectOrigin {
    /// A range of a broker's write-ahead log.
    Range,
    /// A merge of older segments.
    Rewrite,
    /// Prepared outside the broker and published later.
    Bulk,
    /// Made from segments for another reader.
    Derived,
}

impl fmt::Display for ObjectOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Range => "range",
            Self::Rewrite => "rewrite",
            Self::Bulk => "bulk",
            Self::Derived => "derived",
        })
    }
}

/// Name of a segment object below the store's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKey {
    /// A range of a broker's write-ahead log, many partitions.
    Shared {
        /// Who wrote it.
        broker: BrokerId,
        /// In which of its epochs.
        epoch: BrokerEpoch,
        /// Which of that epoch's objects.
        number: ObjectNumber,
    },
    /// A rewritten segment of one partition.
    Topic {
        /// Whose records it holds.
        partition: TopicPartition,
        /// Offset of its first record.
        base: Offset,
        /// Who wrote it.
        broker: BrokerId,
        /// In which of its epochs.
        epoch: BrokerEpoch,
        /// Which of that epoch's objects.
        number: ObjectNumber,
    },
}

/// Not a key of this grammar.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a segment object's key: {0}")]
pub struct ObjectKeyError(pub String);

impl ObjectKey {
    /// The writer: its broker id and epoch, and the number within that epoch.
    pub fn writer(&self) -> (BrokerId, BrokerEpoch, ObjectNumber) {
        match *self {
            Self::Shared { broker, epoch, number } | Self::Topic { broker, epoch, number, .. } => (broker, epoch, number),
        }
    }
}

/// Spreads consecutive numbers over 256 prefixes (Fibonacci hashing); part of the format.
fn spread(broker: BrokerId, epoch: BrokerEpoch, number: ObjectNumber) -> u8 {
    let mixed = number.0 ^ epoch.0.rotate_left(20) ^ u64::from(broker.0.cast_unsigned()).rotate_left(40);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shared { broker, epoch, number } => {
                write!(f, "shared/{:02x}/{broker}-{epoch}-{}", spread(broker, epoch, number), number.0)
            }
            Self::Topic { partition, base, broker, epoch, number } => {
                write!(f, "topic/{}/{}/{:020}-{broker}-{epoch}-{}", partition.topic, partition.partition, base.0, number.0)
            }
        }
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    /// Accepts exactly what `Display` writes: another spelling of the same numbers would be a second key for one object.
    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        let key = parse(text).ok_or_else(|| ObjectKeyError(text.to_owned()))?;
        if key.to_string() == text { Ok(key) } else { Err(ObjectKeyError(text.to_owned())) }
    }
}

fn parse(text: &str) -> Option<ObjectKey> {
    let mut parts = text.split('/');
    let key = match parts.next()? {
        "shared" => {
            let _spread = parts.next()?;
            let (broker, epoch, number) = parse_writer(parts.next()?)?;
            ObjectKey::Shared { broker, epoch, number }
        }
        "topic" => {
            let topic = TopicId(parts.next()?.parse().ok()?);
            let partition = parts.next()?.parse().ok()?;
            let (base, writer) = parts.next()?.split_once('-')?;
            let (broker, epoch, number) = parse_writer(writer)?;
            ObjectKey::Topic { partition: TopicPartition { topic, partition }, base: Offset(base.parse().ok()?), broker, epoch, number }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(key)
}

fn parse_writer(text: &str) -> Option<(BrokerId, BrokerEpoch, ObjectNumber)> {
    let mut numbers = text.split('-');
    let broker = BrokerId(numbers.next()?.parse().ok()?);
    let epoch = BrokerEpoch(numbers.next()?.parse().ok()?);
    let number = ObjectNumber(numbers.next()?.parse().ok()?);
    numbers.next().is_none().then_some((broker, epoch, number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_the_documented_form() {
        let shared = ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(7), number: ObjectNumber(42) };
        assert_eq!(shared.to_string(), "shared/80/1-7-42");
        let topic = ObjectKey::Topic {
            partition: TopicPartition::new(TopicId::from_bytes([7; 16]), 3),
            base: Offset(1000),
            broker: BrokerId(1),
            epoch: BrokerEpoch(7),
            number: ObjectNumber(42),
        };
        assert_eq!(topic.to_string(), "topic/07070707-0707-0707-0707-070707070707/3/00000000000000001000-1-7-42");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["", "shared", "shared/80/1-7-042", "shared/00/1-7-42", "shared/80/1-7-42/x", "meta/f9/1-7-42", "shared/80/1-7"] {
            assert_eq!(text.parse::<ObjectKey>(), Err(ObjectKeyError(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn every_key_reads_back(broker in 0..i32::MAX, epoch: u64, number: u64, base in 0..i64::MAX, topic: [u8; 16], partition in 0..i32::MAX, shared: bool) {
            let (broker, epoch, number) = (BrokerId(broker), BrokerEpoch(epoch), ObjectNumber(number));
            let key = if shared {
                ObjectKey::Shared { broker, epoch, number }
            } else {
                ObjectKey::Topic { partition: TopicPartition::new(TopicId::from_bytes(topic), partition), base: Offset(base), broker, epoch, number }
            };
            prop_assert_eq!(key.to_string().parse::<ObjectKey>(), Ok(key));
        }
    }
}
