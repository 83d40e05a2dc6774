//! A broker's seal, upload, publish, trim, and recovery after a crash: the one owner of that order. Knows neither Kafka's protocol
//! nor sockets.
//!
//! ```text
//!            trimmed      published end     sealed end          appended
//! log   ────────┬───────────────┬───────────────┬──────────────────┬──▶ LSN
//!               │ whole         │ in flight:    │ followed, not    │
//!               │ generations   │ ≤ `uploads`   │ yet sealed       │
//! ```
//!
//! [`Offload::run`] follows the log and takes every entry through the same steps, those of an earlier life of the process first:
//! 1. **seal** (`seal`): a range of LSNs is closed, when `trigger` says so; everything in it belongs to it, whatever the topic;
//! 2. **upload** (`upload`): the range, regrouped by partition, becomes one object, several at once;
//! 3. **publish** (`publish`): in the log's order, one in flight, repeated until it is answered;
//! 4. the [`PublishObserver`] is told, so that readers find the entries in the object;
//! 5. **trim**: the log lets them go.
//!
//! Beside it, a [`Rewriter`] merges what was published into larger segments.
//!
//! Killed between any two steps it begins again at the end that the metadata service recorded, and nowhere else.

mod error;
mod failpoint;
mod handle;
mod lost;
mod numbers;
mod offload;
mod publish;
mod retry;
mod rewrite;
mod seal;
mod status;
mod trigger;
mod upload;

pub use error::OffloadError;
pub use failpoint::{Failpoints, NoFailpoints, Step};
pub use handle::OffloadHandle;
pub use lost::{LostDirectory, LostEntries};
pub use offload::{Deps, Offload};
pub use rewrite::{
    NoRewriteFailpoints, RewriteDeps, RewriteFailpoints, RewriteHandle, RewriteOptions, RewriteStatus, RewriteStep, Rewriter,
};
pub use status::Status;

use std::time::Duration;

use metadata_api::PartitionVerdict;
use types::{Lsn, Offset, Revision, TopicPartition};

/// One partition's part of a finished publish, as its leader needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Which partition.
    pub partition: TopicPartition,
    /// The offsets that were to be published.
    pub base: Offset,
    /// After the last of them.
    pub end: Offset,
    /// What became of them.
    pub verdict: PartitionVerdict,
}

/// Told of every finished publish, in order, before anything is trimmed.
pub trait PublishObserver: Send + Sync {
    /// The metadata service has answered. `revision` is that of the publish; everything below `end_lsn` is done.
    ///
    /// Once this returns the log may drop the entries: whoever reads must by then look for the accepted ones in their object
    /// (rule R23). `partitions` names every partition that has entries in the range, sorted; those of a deleted topic and of a
    /// stopped partition are there as refused. Called on the task of [`Offload::run`]: it must not wait for anything.
    fn published(&self, revision: Revision, end_lsn: Lsn, partitions: &[Published]);
}

/// When a range is sealed, and how much may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// `upload.interval.ms`: age from the first waiter while somebody waits.
    pub interval: Duration,
    /// `upload.early.per.minute`: uploads, whatever their reason, up to which one need not wait for the interval while no other is
    /// under way; 0 for none. A token bucket: so many a minute, ten at once after a quiet time.
    pub early_per_minute: u32,
    /// `upload.bytes`: size while somebody waits.
    pub bytes: u64,
    /// `upload.max.age.ms`: age of the oldest entry while nobody waits.
    pub max_age: Duration,
    /// `upload.max.bytes`: size while nobody waits, and the largest range (one batch may be larger). `uploads` ranges of this size
    /// are the most that the offload keeps in memory.
    pub max_bytes: u64,
    /// What the log keeps in memory of what is not published: ranges that nobody waits for are made smaller than `max_bytes`, down to a
    /// quarter of it, so that there is no more.
    pub memory_bytes: u64,
    /// Uploads under way at once; they are published in order. At least 1.
    pub uploads: usize,
    /// `producer.id.expiration.ms`: objects no longer carry a producer that appended nothing for so long.
    pub producer_expiration: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            early_per_minute: 60,
            bytes: 8 << 20,
            max_age: Duration::from_secs(10),
            max_bytes: 64 << 20,
            memory_bytes: 64 << 20,
            uploads: 4,
            producer_expiration: Duration::from_secs(24 * 60 * 60),
        }
    }
}
