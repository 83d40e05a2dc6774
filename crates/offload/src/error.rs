//! Why the offload ended.

use std::sync::Arc;
use std::time::Duration;

use metadata_api::MetadataError;
use types::{BrokerEpoch, BrokerId, Lsn};
use wal::WalError;

use crate::Step;

/// Why [`crate::Offload::run`] ended before everything was published, or a flush will never be answered. What was not published
/// is still in the log: the next start goes on from there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OffloadError {
    /// Another process registered as this broker: nothing of this epoch is ever published again.
    #[error("broker {broker} stopped publishing: its epoch {epoch} is superseded by {current}")]
    Fenced {
        /// Who.
        broker: BrokerId,
        /// The epoch of this process.
        epoch: BrokerEpoch,
        /// The epoch in force.
        current: BrokerEpoch,
    },
    /// A write or sync of the log failed. What was synced is published below `published_end`.
    #[error("the write-ahead log stopped: {reason}; synced up to {synced}, published up to {published_end}")]
    WalStopped {
        /// The log's reason.
        reason: Arc<str>,
        /// Everything below was synced.
        synced: Lsn,
        /// Everything below is published; below `synced` if that was not possible in time, and the rest is still in the log.
        published_end: Lsn,
    },
    /// The log lacks an entry that was appended, or holds one that cannot be read. Publishing past it would hide the loss.
    #[error("cannot publish past LSN {lsn}: {detail}")]
    Damaged {
        /// The first entry that is wrong.
        lsn: Lsn,
        /// What is wrong.
        detail: String,
    },
    /// The log could not be read.
    #[error("read what is to be uploaded: {0}")]
    Wal(#[from] WalError),
    /// The metadata service refuses for a reason that does not pass by itself.
    #[error("publish {first_lsn} to {end_lsn}: {source}")]
    Refused {
        /// First LSN of the range.
        first_lsn: Lsn,
        /// After its last.
        end_lsn: Lsn,
        /// What it said.
        source: MetadataError,
    },
    /// An orderly stop ran out of time.
    #[error("stopped after {waited:?} with entries {published_end} to {end} not published: they stay in the write-ahead log")]
    Unfinished {
        /// Everything below is published.
        published_end: Lsn,
        /// The end of the log.
        end: Lsn,
        /// The time that was allowed.
        waited: Duration,
    },
    /// A fail point stopped it as if the process had been killed.
    #[error("killed by a fail point at {0:?}")]
    Killed(Step),
    /// The task was told to end at once, or dropped.
    #[error("the offload has ended")]
    Ended,
}
