//! Fetch for consumers that do not know record batches: what was read is turned into a message set (magic 0 for Fetch 0 and 1, magic 1
//! for 2 and 3).
//!
//! Such a consumer goes on behind the last message that it was given. Where a read brought nothing that it can be given, only control
//! batches, it would ask for the same offset for ever; so the read goes on behind them, and at the end of the log the fetch waits
//! there.
//!
//! A conversion holds what a batch decompresses to and the messages made of it. The messages are charged to the budget for answers;
//! what comes and goes within a conversion is bounded by how many of them run at a time.

use std::sync::Arc;

use bytes::Bytes;
use partition::{ReadClass, ReadError, ReadRequest, ReadResult};
use records::{BatchHeader, Codec, DownConversionError, DownConversionLimits, DownConverted, MessageFormat};
use runtime::Random;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use types::Offset;

use crate::fetch_wait::{self, Target, Wanted, turns};
use crate::hurry::Hurry;
use crate::memory_budget::{Charge, MemoryBudget};

/// Large conversions at one time.
const CONVERSIONS_AT_ONCE: usize = 2;
/// Uncompressed batches of up to this many bytes are converted without a thread of their own.
const SMALL: usize = 32 << 10;
/// A message set takes no more than this many times the bytes of an uncompressed batch of the same records: 34 for an empty message,
/// which is a record of 7.
pub(crate) const MOST_GROWTH: usize = 5;
/// How much is read at a time behind what has no messages.
const READ_ON: usize = 1 << 20;
/// Bound of what one batch is opened to: what Produce lets in too.
const MAX_DECOMPRESSED: usize = 64 << 20;

/// The format of the messages that a version of Fetch carries; `None` where it carries record batches.
pub(crate) fn message_format(version: i16) -> Option<MessageFormat> {
    match version {
        ..=1 => Some(MessageFormat::V0),
        2..=3 => Some(MessageFormat::V1),
        _ => None,
    }
}

/// What a partition's part of an answer is made of.
pub(crate) struct Records {
    /// Its batches, or one message set in their place.
    pub(crate) read: ReadResult,
    /// Number of records in them.
    pub(crate) count: u64,
}

impl Records {
    /// As they were read.
    pub(crate) fn unchanged(read: ReadResult) -> Self {
        let headers = read.batches.iter().filter_map(|batch| BatchHeader::parse(batch).ok());
        Self { count: headers.map(|header| u64::from(header.records)).sum(), read }
    }
}

/// Why a partition has no part of the answer.
pub(crate) enum Unreadable {
    Read(ReadError),
    Conversion(DownConversionError),
}

/// Where conversions take their turn.
pub(crate) struct DownConversions {
    slots: Arc<Semaphore>,
}

impl DownConversions {
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(CONVERSIONS_AT_ONCE)) }
    }

    /// Converts on a thread that may block, unless that would cost more than the conversion.
    async fn convert(
        &self,
        batches: Vec<Bytes>,
        format: MessageFormat,
        from: Offset,
        max_bytes: usize,
    ) -> Result<DownConverted, DownConversionError> {
        let limits = DownConversionLimits { max_bytes, max_decompressed_bytes: MAX_DECOMPRESSED };
        if is_small(&batches) {
            return records::down_convert(&batches, format, from, &limits);
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        let conversion = tokio::task::spawn_blocking(move || {
            // Held here, because a fetch that is given up does not end its conversion.
            let _slot = slot;
            records::down_convert(&batches, format, from, &limits)
        });
        conversion.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

fn is_small(batches: &[Bytes]) -> bool {
    let is_plain = |batch: &Bytes| BatchHeader::parse(batch).is_ok_and(|header| header.codec == Codec::None);
    batches.iter().map(Bytes::len).sum::<usize>() <= SMALL && batches.iter().all(is_plain)
}

/// A fetch of a consumer that wants messages in `format`.
pub(crate) struct OldFetch<'a> {
    pub(crate) format: MessageFormat,
    pub(crate) wanted: Wanted,
    pub(crate) conversions: &'a DownConversions,
    pub(crate) answers: &'a Arc<MemoryBudget>,
    pub(crate) random: &'a Random,
    pub(crate) hurry: Hurry,
}

impl OldFetch<'_> {
    /// Reads, waits and converts. What comes back is in the order of `targets`, with what it holds of the budget.
    pub(crate) async fn run(mut self, mut targets: Vec<Target>) -> (Vec<Result<Records, Unreadable>>, Option<Charge>) {
        loop {
            let fetched = fetch_wait::fetch(&targets, self.wanted, self.answers, self.random, self.hurry.clone()).await;
            let mut charge = fetched.charge.unwrap_or_else(|| self.answers.charge());
            let before: Vec<_> = targets.iter().map(|target| target.offset).collect();
            let parts = self.parts(&mut targets, fetched.partitions, &mut charge).await;
            let is_answer = parts.iter().any(|part| part.as_ref().map_or(true, |records| 0 < records.count));
            let has_moved = targets.iter().zip(before).any(|(target, before)| before < target.offset);
            if is_answer || !has_moved || self.wanted.deadline <= Instant::now() {
                return (parts, Some(charge));
            }
        }
    }

    /// Converts what was read, beginning anywhere, as reads do: the room may not reach all.
    async fn parts(
        &mut self,
        targets: &mut [Target],
        reads: Vec<Option<Result<ReadResult, ReadError>>>,
        charge: &mut Charge,
    ) -> Vec<Result<Records, Unreadable>> {
        let mut parts: Vec<_> = reads
            .into_iter()
            .zip(&*targets)
            .map(|(read, target)| read.unwrap_or_else(|| target.empty()).map_err(Unreadable::Read))
            .map(|read| read.map(|read| Records { read, count: 0 }))
            .collect();
        let (read_bytes, mut given) = (charge.bytes(), 0);
        for index in turns(targets.len(), self.wanted.in_turn, self.random) {
            let Ok(Records { read, .. }) = &mut parts[index] else { continue };
            let batches = std::mem::take(&mut read.batches);
            read.bytes = 0;
            if batches.is_empty() || 0 < given && self.wanted.max_bytes <= given {
                continue;
            }
            let room = self.wanted.max_bytes.saturating_sub(given);
            match self.part(&mut targets[index], batches, room, charge).await {
                Ok(Some(converted)) => {
                    let Ok(part) = &mut parts[index] else { continue };
                    given += converted.set.len();
                    part.count = u64::from(converted.messages);
                    part.read.bytes = converted.set.len();
                    part.read.batches = vec![converted.set];
                }
                Ok(None) => {}
                Err(error) => parts[index] = Err(error),
            }
            charge.shrink_to(read_bytes + given);
        }
        charge.shrink_to(given);
        parts
    }

    /// Converts what was read of one partition, and reads on behind what has no messages. `None` where nothing has any, up to the end
    /// of the log or of the client's patience.
    async fn part(
        &mut self,
        target: &mut Target,
        batches: Vec<Bytes>,
        room: usize,
        charge: &mut Charge,
    ) -> Result<Option<DownConverted>, Unreadable> {
        let room = target.max_bytes.min(room);
        let reserved = room.min(MOST_GROWTH.saturating_mul(batches.iter().map(Bytes::len).sum()));
        charge.grow(reserved).await;
        let mut batches = batches;
        while !batches.is_empty() {
            let converted = self.conversions.convert(batches, self.format, target.offset, room).await.map_err(Unreadable::Conversion)?;
            if 0 < converted.messages {
                // The first batch is given whatever its size, and zstd comes out uncompressed.
                charge.grow(converted.set.len().saturating_sub(reserved)).await;
                return Ok(Some(converted));
            }
            target.offset = converted.next_offset;
            let request = ReadRequest {
                offset: target.offset,
                max_bytes: target.max_bytes.min(READ_ON),
                at_least_one: true,
                isolation: self.wanted.isolation,
                class: ReadClass::CatchUp,
                answer_by: Some(self.wanted.deadline),
            };
            let charged = charge.bytes();
            charge.grow(READ_ON).await;
            batches = tokio::select! {
                biased;
                read = target.partition.read(request) => read.map_err(Unreadable::Read)?.batches,
                () = self.hurry.wait() => Vec::new(),
            };
            charge.shrink_to(charged + batches.iter().map(Bytes::len).sum::<usize>());
        }
        Ok(None)
    }
}
