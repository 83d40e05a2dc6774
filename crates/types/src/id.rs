//! Identifiers. Each is a newtype, so that a broker's epoch cannot be passed where a leader's is meant.

use std::fmt;

use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The sixteen bytes as they are stored, most significant first.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The reverse of [`Self::as_bytes`].
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

uuid_id! {
    /// Names a topic for good: a topic that is deleted and created again under its old name has another id (KIP-516).
    TopicId
}
uuid_id! {
    /// Made with a write-ahead log. A broker that comes back with another WAL id comes back without its unpublished entries.
    WalId
}
uuid_id! {
    /// Made by the metadata service at its first start; data directories and buckets are marked with it.
    ClusterId
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// `node.id`: 0 or above, stable across restarts.
    BrokerId(i32)
}
number_id! {
    /// Rises with every registration of any broker: it is the journal index of the registration. Every write to metadata
    /// carries it, and a stale one is refused there.
    BrokerEpoch(u64)
}
number_id! {
    /// Index of a write in the metadata journal; every answer of the metadata service names the one it saw.
    Revision(u64)
}
number_id! {
    /// Dense number of a broker's publishes within one broker epoch, from 1.
    PublishSequence(u64)
}
number_id! {
    /// Rises each time that a coordinator slot is taken, from 1; 0 before the first. What was read or sent in an older one is refused.
    SlotEpoch(i32)
}
number_id! {
    /// Dense number of the saves within one epoch of a coordinator slot, from 1.
    SaveSequence(u64)
}

/// A partition of a topic, by the topic's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index within the topic, 0 or above.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: TopicId, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
