//! The domain's words as types, and the few values that several crates carry: producer windows, segment references and object
//! keys. Nothing here is async, does I/O, or knows how a value is stored or sent.

mod coordinator;
mod durability;
mod id;
mod object_key;
mod offset;
mod producer;
mod segment_ref;

pub use coordinator::{COORDINATOR_SLOTS, CoordinatorKind, CoordinatorSlot};
pub use durability::{Durability, ParseDurabilityError};
pub use id::{BrokerEpoch, BrokerId, ClusterId, PublishSequence, Revision, SaveSequence, SlotEpoch, TopicId, TopicPartition, WalId};
pub use object_key::{ObjectKey, ObjectKeyError, ObjectNumber, ObjectOrigin};
pub use offset::{LeaderEpoch, Lsn, Offset, Timestamp};
pub use producer::{ProducerBatch, ProducerEpoch, ProducerId, ProducerWindow, ProducerWindows, WINDOW_BATCHES};
pub use segment_ref::{EpochStart, MinTimestamp, SegmentFlags, SegmentRef};
