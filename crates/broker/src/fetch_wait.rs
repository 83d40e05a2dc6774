//! The one place that waits for data: Kafka's delayed fetch. Reads the partitions of a fetch, and while they hold less than `min_bytes`
//! waits until one of them moves, `max_wait` has passed, or the connection is in a hurry.
//!
//! Reads run side by side under one budget of bytes. A store slower than `max_wait` still makes progress: a read that is left behind
//! goes on into the read cache, and a fetch that has nothing else to answer stays with it.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use partition::{Isolation, Partition, ProgressWatch, ReadClass, ReadError, ReadRequest, ReadResult};
use runtime::Random;
use tokio::time::{Instant, timeout_at};
use types::Offset;

use crate::hurry::Hurry;
use crate::memory_budget::{Charge, MemoryBudget};

/// Partitions of one fetch that are read at the same time.
const READS_AT_ONCE: usize = 32;
/// A fetch begins to read when it has room for this much, so that the first batch hardly ever exceeds what is charged for it.
const MIN_ROOM: usize = 1 << 20;
/// How long an answer that has enough waits for reads that are still under way, and what was read of a partition for what follows it, where
/// the client does not wait longer.
const STRAGGLERS: Duration = Duration::from_millis(50);
/// How long a fetch that has nothing yet waits for memory and stays with a slow store: below clients' request time-out of 30 s.
const LONGEST_READ: Duration = Duration::from_secs(20);
/// A fetch that wants much looks again no more often than this, however many small appends wake it.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// One partition of a fetch.
pub(crate) struct Target {
    pub(crate) partition: Arc<Partition>,
    pub(crate) offset: Offset,
    pub(crate) max_bytes: usize,
}

/// What a fetch asks for besides its partitions.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) isolation: Isolation,
    pub(crate) min_bytes: usize,
    pub(crate) max_bytes: usize,
    /// Until when to wait for `min_bytes`.
    pub(crate) deadline: Instant,
    /// Whether the targets come in the order of their turns.
    pub(crate) in_turn: bool,
}

/// What was read, in the order of the targets.
pub(crate) struct Fetched {
    /// `None` where the budget was used up, or the read was left behind.
    pub(crate) partitions: Vec<Option<Result<ReadResult, ReadError>>>,
    /// What the batches hold of the budget for answers.
    pub(crate) charge: Option<Charge>,
}

/// Reads and waits.
pub(crate) async fn fetch(targets: &[Target], wanted: Wanted, answers: &Arc<MemoryBudget>, random: &Random, mut hurry: Hurry) -> Fetched {
    let mut look = Look { targets, wanted, answers, random };
    let mut fetched = look.read(&mut hurry).await;
    let watch = ProgressWatch::new();
    while !look.is_enough(&fetched) && Instant::now() < wanted.deadline {
        // Registered before looking: what moves in between wakes the wait at once.
        targets.iter().for_each(|target| target.partition.register(&watch));
        fetched = look.read(&mut hurry).await;
        if look.is_enough(&fetched) {
            break;
        }
        // What is not enough is read again: it must not keep others from the memory meanwhile.
        fetched.charge = None;
        tokio::select! {
            () = watch.changed() => {}
            () = tokio::time::sleep_until(wanted.deadline) => {}
            () = hurry.wait() => look.wanted.deadline = Instant::now(),
        }
        if look.wanted.deadline <= Instant::now() {
            return look.read(&mut hurry).await;
        }
        if 1 < wanted.min_bytes {
            tokio::time::sleep_until(wanted.deadline.min(Instant::now() + LOOK_INTERVAL)).await;
        }
    }
    fetched
}

struct Look<'a> {
    targets: &'a [Target],
    wanted: Wanted,
    answers: &'a Arc<MemoryBudget>,
    random: &'a Random,
}

impl Look<'_> {
    fn is_enough(&self, fetched: &Fetched) -> bool {
        let failed = fetched.partitions.iter().flatten().any(Result::is_err);
        failed || self.wanted.min_bytes <= fetched.bytes()
    }

    /// Reads whatever is there, once.
    async fn read(&self, hurry: &mut Hurry) -> Fetched {
        let mut partitions: Vec<Option<Result<ReadResult, ReadError>>> = self.targets.iter().map(|_| None).collect();
        let with_data: Vec<usize> = turns(self.targets.len(), self.wanted.in_turn, self.random)
            .filter(|index| self.targets[*index].has_data(self.wanted.isolation))
            .collect();
        if with_data.is_empty() {
            for (target, partition) in self.targets.iter().zip(&mut partitions) {
                *partition = Some(target.empty());
            }
            return Fetched { partitions, charge: None };
        }
        let want = with_data.iter().map(|index| self.targets[*index].max_bytes).fold(0, usize::saturating_add).min(self.wanted.max_bytes);
        // Answers of history are large, and clients that store them read them slowly: a consumer at the tail must not wait for that.
        let is_history = with_data.iter().any(|index| self.targets[*index].is_history(self.wanted.isolation));
        let leave_at = Instant::now() + LONGEST_READ;
        let charge = async {
            if is_history {
                self.answers.up_to_of_half(want.max(1), MIN_ROOM).await
            } else {
                self.answers.up_to(want.max(1), MIN_ROOM).await
            }
        };
        let mut charge = timeout_at(leave_at, charge).await.unwrap_or_else(|_| self.answers.charge());
        // Without memory the marks go out alone.
        if 0 < charge.bytes() {
            let room = self.wanted.max_bytes.min(charge.bytes());
            Reads::new(self, &mut partitions, with_data, room, leave_at).run(hurry).await;
        }
        for (target, partition) in self.targets.iter().zip(&mut partitions) {
            // Its marks go out all the same.
            partition.get_or_insert_with(|| target.empty());
        }
        let fetched = Fetched { partitions, charge: None };
        charge.shrink_to(fetched.bytes());
        Fetched { charge: Some(charge), ..fetched }
    }
}

/// Indexes of `count` targets in the order of their turns. Where that is not known (`in_turn`) it begins anywhere: clients that always
/// ask in the same order get every partition served when the budget does not reach all of them.
pub(crate) fn turns(count: usize, in_turn: bool, random: &Random) -> impl Iterator<Item = usize> + use<> {
    let first = if in_turn || count < 2 { 0 } else { random.below(count as u64) as usize };
    (first..count).chain(0..first)
}

impl Target {
    /// Whether a read would do more than answer the marks. A partition that cannot be read is: the read says why.
    fn has_data(&self, isolation: Isolation) -> bool {
        self.partition.readable_offsets().map_or(true, |offsets| self.offset != offsets.visible_end(isolation))
    }

    /// Whether a read begins in segments.
    fn is_history(&self, isolation: Isolation) -> bool {
        self.partition.is_in_segments(self.offset, isolation)
    }

    /// The marks alone.
    pub(crate) fn empty(&self) -> Result<ReadResult, ReadError> {
        let offsets = self.partition.readable_offsets()?;
        Ok(ReadResult { batches: Vec::new(), bytes: 0, next_offset: self.offset, offsets, sources: partition::ReadSources::default() })
    }

    async fn read(&self, isolation: Isolation, max_bytes: usize, at_least_one: bool, answer_by: Instant) -> Result<ReadResult, ReadError> {
        let (offset, class, answer_by) = (self.offset, ReadClass::CatchUp, Some(answer_by));
        self.partition.read(ReadRequest { offset, max_bytes, at_least_one, isolation, class, answer_by }).await
    }
}

impl Fetched {
    pub(crate) fn bytes(&self) -> usize {
        self.partitions.iter().flatten().flatten().map(|read| read.bytes).sum()
    }
}

/// The reads of one look under one budget.
struct Reads<'a> {
    look: &'a Look<'a>,
    results: &'a mut [Option<Result<ReadResult, ReadError>>],
    /// Targets that have data, in the order of their turn.
    order: Vec<usize>,
    /// How many of them are begun.
    begun: usize,
    /// Bytes that no finished or running read has taken.
    room: usize,
    bytes: usize,
    /// When a partition's read answers with what it has.
    answer_by: Instant,
    /// When nothing is waited for any more, though nothing was read.
    leave_at: Instant,
    enough_since: Option<Instant>,
}

struct Done {
    index: usize,
    room: usize,
    result: Result<ReadResult, ReadError>,
}

impl<'a> Reads<'a> {
    fn new(
        look: &'a Look<'a>,
        results: &'a mut [Option<Result<ReadResult, ReadError>>],
        order: Vec<usize>,
        room: usize,
        leave_at: Instant,
    ) -> Self {
        let answer_by = look.wanted.deadline.max(Instant::now() + STRAGGLERS);
        Self { look, results, order, begun: 0, room, bytes: 0, answer_by, leave_at, enough_since: None }
    }

    async fn run(mut self, hurry: &mut Hurry) {
        let isolation = self.look.wanted.isolation;
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < READS_AT_ONCE
                && let Some((index, room)) = self.next()
            {
                let read = self.look.targets[index].read(isolation, room, false, self.answer_by);
                running.push(read.map(move |result| Done { index, room, result }));
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(done) = running.next() => self.finish(done),
                () = tokio::time::sleep_until(self.leave_at()) => return,
                () = hurry.wait() => return,
            }
        }
        // No first batch fits its share: one of them goes out whole, else a consumer would never get past it.
        for index in std::mem::take(&mut self.order) {
            if 0 < self.bytes {
                return;
            }
            if self.results[index].as_ref().is_some_and(Result::is_err) {
                continue;
            }
            let result = tokio::select! {
                biased;
                result = self.look.targets[index].read(isolation, 0, true, self.answer_by) => result,
                () = tokio::time::sleep_until(self.leave_at) => return,
                () = hurry.wait() => return,
            };
            self.finish(Done { index, room: 0, result });
        }
    }

    /// The next partition to read, with its share of the room.
    fn next(&mut self) -> Option<(usize, usize)> {
        let index = *self.order.get(self.begun).filter(|_| 0 < self.room)?;
        let room = self.look.targets[index].max_bytes.min(self.room);
        self.begun += 1;
        self.room -= room;
        Some((index, room))
    }

    fn finish(&mut self, done: Done) {
        let Done { index, room, result } = done;
        let bytes = result.as_ref().map_or(0, |read| read.bytes);
        self.room += room.saturating_sub(bytes);
        self.bytes += bytes;
        self.results[index] = Some(result);
        if self.enough_since.is_none() && self.look.wanted.min_bytes <= self.bytes {
            self.enough_since = Some(Instant::now());
        }
    }

    /// When the reads that are still under way are left behind.
    fn leave_at(&self) -> Instant {
        match self.enough_since {
            Some(since) => since + STRAGGLERS,
            None if 0 < self.bytes => self.look.wanted.deadline,
            None => self.leave_at,
        }
    }
}
