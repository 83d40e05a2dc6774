//! Random lives of a broker's log against a model that only remembers what was said to producers and consumers.
//!
//! What must hold whatever happens: an acknowledged record is at the offset that was answered, once; an offset below any high
//! watermark ever reported names the same record for good; the high watermark never moves back while a partition is open, and not
//! over a crash either; and whatever the topic's durability is altered to meanwhile, each acknowledgement survives what the level promised
//! when it was given (rule R5).

use std::collections::{BTreeMap, HashMap, VecDeque};

use futures::FutureExt;
use metadata_api::DurabilityChange;
use proptest::prelude::*;
use types::Durability::{self, Object, Wal};
use types::{Lsn, Offset};
use wal::WriteAheadLog;

use super::harness::*;
use crate::*;

/// A topic that begins as `wal`, and one that begins as `object`.
const LEVELS: [Durability; 2] = [Wal, Object];
/// One idempotent producer for each partition.
const PRODUCERS: [i64; 2] = [70, 71];

#[derive(Clone, Debug)]
enum Step {
    Append {
        partition: usize,
        records: usize,
        acks: Acks,
    },
    AppendIdempotent {
        partition: usize,
        records: usize,
        acks: Acks,
    },
    /// Again the idempotent batch that was sent so many batches ago.
    Retry {
        partition: usize,
        back: usize,
        acks: Acks,
    },
    HoldSyncs,
    ReleaseSyncs,
    SyncSome {
        entries: u64,
    },
    PublishSome {
        entries: u64,
    },
    Trim,
    /// Somebody alters the topic's durability.
    Alter {
        partition: usize,
        level: Durability,
    },
    /// The leader sees the next image. It may be outdated.
    SeeImage {
        partition: usize,
    },
    /// The leader asks for the configured level, published enough or not.
    Ask {
        partition: usize,
    },
    /// One of the requests arrives, late and out of order as it may be, or once more.
    Arrive {
        request: prop::sample::Index,
        again: bool,
    },
    /// With so many unsynced entries still on the disk.
    Crash {
        kept: usize,
    },
}

fn acks() -> impl Strategy<Value = Acks> {
    prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::All)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 1..4usize, acks()).prop_map(|(partition, records, acks)| Step::Append { partition, records, acks }),
        4 => (0..2usize, 1..4usize, acks()).prop_map(|(partition, records, acks)| Step::AppendIdempotent { partition, records, acks }),
        3 => (0..2usize, 0..6usize, acks()).prop_map(|(partition, back, acks)| Step::Retry { partition, back, acks }),
        1 => Just(Step::HoldSyncs),
        1 => Just(Step::ReleaseSyncs),
        2 => (1..4u64).prop_map(|entries| Step::SyncSome { entries }),
        3 => (1..6u64).prop_map(|entries| Step::PublishSome { entries }),
        1 => Just(Step::Trim),
        2 => (0..2usize, prop_oneof![Just(Wal), Just(Object)]).prop_map(|(partition, level)| Step::Alter { partition, level }),
        3 => (0..2usize).prop_map(|partition| Step::SeeImage { partition }),
        3 => (0..2usize).prop_map(|partition| Step::Ask { partition }),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(request, again)| Step::Arrive { request, again }),
        2 => (0..4usize).prop_map(|kept| Step::Crash { kept }),
    ]
}

/// Steps of one partition whose durability is altered again and again.
fn alteration() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => acks().prop_map(|acks| Step::Append { partition: 0, records: 1, acks }),
        3 => Just(Step::PublishSome { entries: 1000 }),
        3 => prop_oneof![Just(Wal), Just(Object)].prop_map(|level| Step::Alter { partition: 0, level }),
        6 => Just(Step::SeeImage { partition: 0 }),
        4 => Just(Step::Ask { partition: 0 }),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(request, again)| Step::Arrive { request, again }),
        1 => (0..4usize).prop_map(|kept| Step::Crash { kept }),
    ]
}

/// What was said of one partition.
#[derive(Default)]
struct Said {
    /// Records of which an acknowledgement was given or a consumer has seen them, by offset.
    settled: BTreeMap<i64, String>,
    high_watermark: i64,
    /// Idempotent batches sent: first sequence and number of records.
    sent: Vec<(i32, usize)>,
    /// Records below were promised to outlive whoever does not own the partition's log.
    promised_end: i64,
    /// Images that the leader has not seen.
    images: VecDeque<DurabilityLevels>,
}

struct Waiting {
    partition: usize,
    base: i64,
    values: Vec<String>,
    ticket: AppendTicket,
    acks: Acks,
    /// The strongest level while it waited.
    level: Durability,
}

struct Model {
    bench: Bench,
    said: [Said; 2],
    waiting: Vec<Waiting>,
    /// Where batches of idempotent producers were answered to be, by value of their first record.
    answered: HashMap<String, i64>,
    next_value: usize,
    published: Lsn,
    /// Requests of the leader's epoch for another level.
    asked: Vec<DurabilityChange>,
}

impl Model {
    fn new() -> Self {
        let bench = Bench::new();
        for (index, level) in LEVELS.into_iter().enumerate() {
            bench.open(index as i32, level);
        }
        Self {
            bench,
            said: Default::default(),
            waiting: Vec::new(),
            answered: HashMap::new(),
            next_value: 0,
            published: Lsn(1),
            asked: Vec::new(),
        }
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Append { partition, records, acks } => {
                let values: Vec<_> = (0..records).map(|n| format!("plain/{}", self.next_value + n)).collect();
                self.next_value += records;
                let batch = batch_of(&values.iter().map(String::as_str).collect::<Vec<_>>());
                let appended = append(&self.bench.partition(partition as i32), &batch, acks).unwrap();
                self.wait(partition, values, acks, appended);
            }
            Step::AppendIdempotent { partition, records, acks } => {
                let first = self.said[partition].sent.last().map_or(0, |(first, records)| first + *records as i32);
                self.said[partition].sent.push((first, records));
                self.send(partition, first, records, acks);
            }
            Step::Retry { partition, back, acks } => {
                let sent = &self.said[partition].sent;
                let Some((first, records)) = sent.len().checked_sub(back + 1).map(|at| sent[at]) else { return };
                self.send(partition, first, records, acks);
            }
            Step::HoldSyncs => self.bench.wal.hold_syncs(),
            Step::ReleaseSyncs => self.bench.wal.release_syncs(),
            Step::SyncSome { entries } => {
                let synced = self.bench.wal.progress().borrow().synced;
                self.bench.wal.sync_below(synced + entries);
            }
            Step::PublishSome { entries } => {
                let end = self.bench.wal.progress().borrow().appended.min(self.published + entries);
                if self.published < end {
                    self.bench.publish_below(end).await;
                    self.published = end;
                }
            }
            Step::Trim => self.bench.trim(),
            Step::Alter { partition, level } => {
                self.bench.metadata.alter(id(partition as i32), level);
                self.show_image(partition);
            }
            Step::SeeImage { partition } => self.see_image(partition),
            Step::Ask { partition } => {
                self.asked.extend(self.bench.partition(partition as i32).pending_durability().map(|pending| pending.change));
            }
            Step::Arrive { request, again } if !self.asked.is_empty() => {
                let at = request.index(self.asked.len());
                let change = if again { self.asked[at] } else { self.asked.remove(at) };
                self.bench.metadata.enforce(change);
                self.show_image(change.partition.partition as usize);
            }
            Step::Arrive { .. } => {}
            Step::Crash { kept } => self.crash(kept).await,
        }
    }

    fn show_image(&mut self, partition: usize) {
        self.said[partition].images.push_back(self.bench.metadata.levels(id(partition as i32)));
    }

    fn see_image(&mut self, partition: usize) {
        let Some(levels) = self.said[partition].images.pop_front() else { return };
        let open = self.bench.partition(partition as i32);
        open.follow_durability(levels);
        if open.durability() == Object {
            self.waiting.iter_mut().filter(|waiting| waiting.partition == partition).for_each(|waiting| waiting.level = Object);
        }
    }

    fn send(&mut self, partition: usize, first: i32, records: usize, acks: Acks) {
        let producer = PRODUCERS[partition];
        let values: Vec<_> = (0..records).map(|n| format!("{producer}/0/{}", first + n as i32)).collect();
        match append(&self.bench.partition(partition as i32), &idempotent(producer, 0, first, records), acks) {
            Ok(appended) => {
                // A repeat of what is acknowledged or visible must be recognised, and get the offset it has.
                if let Some((offset, _)) = self.said[partition].settled.iter().find(|(_, value)| **value == values[0]) {
                    assert_eq!((appended.duplicate, appended.base_offset.0), (true, *offset), "{values:?}");
                }
                if appended.duplicate {
                    assert_eq!(self.answered.get(&values[0]), Some(&appended.base_offset.0), "{values:?}");
                }
                self.answered.insert(values[0].clone(), appended.base_offset.0);
                self.wait(partition, values, acks, appended);
            }
            Err(AppendError::DuplicateSequence { .. }) => {
                assert!(self.answered.contains_key(&values[0]), "{values:?} was called a duplicate and never sent");
            }
            // A crash took a batch that was not settled, so that this one has no predecessor.
            Err(AppendError::OutOfOrderSequence { .. }) => {
                let settled = self.said[partition].settled.values().any(|value| *value == values[0]);
                assert!(!settled, "{values:?} is settled and was called out of order");
            }
            Err(other) => panic!("{values:?}: {other}"),
        }
    }

    fn wait(&mut self, partition: usize, values: Vec<String>, acks: Acks, appended: Appended) {
        let level = self.bench.partition(partition as i32).durability();
        self.waiting.push(Waiting { partition, base: appended.base_offset.0, values, ticket: appended.ticket, acks, level });
    }

    /// Kills the broker and starts it again. Producers go on after the last batch that is still known.
    async fn crash(&mut self, kept: usize) {
        self.collect().await;
        self.bench.crash(kept);
        self.bench.recovered();
        self.waiting.clear();
        // Those that are under way are of an epoch that is over; the next leader begins with the newest image.
        self.asked.clear();
        for partition in 0..LEVELS.len() {
            self.said[partition].images.clear();
            self.show_image(partition);
        }
        let end = self.bench.wal.progress().borrow().appended;
        // The epoch's first entry is no batch; publishing goes on where it ended.
        self.published = self.published.max(self.bench.wal.start()).min(end);
        for (partition, producer) in PRODUCERS.into_iter().enumerate() {
            let open = self.bench.partition(partition as i32);
            // A probe with a hole before it tells the next sequence that would be accepted.
            if let Err(AppendError::OutOfOrderSequence { expected, .. }) = append(&open, &idempotent(producer, 0, 1_000_000, 1), Acks::None)
            {
                self.said[partition].sent.retain(|(first, records)| first + *records as i32 <= expected);
            } else {
                panic!("the producer is forgotten, or was never there");
            }
        }
    }

    /// Takes in what was acknowledged and what can be seen, and compares it with what was said before.
    async fn collect(&mut self) {
        self.bench.settle().await;
        let mut still = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match (&mut waiting.ticket).now_or_never() {
                None => still.push(waiting),
                // A crash may take it all the same: acks=0 waits for nothing.
                Some(Ok(())) if waiting.acks == Acks::None => {}
                Some(Ok(())) => self.settle_acknowledged(&waiting),
                Some(Err(error)) => panic!("{:?}: {error}", waiting.values),
            }
        }
        self.waiting = still;
        for partition in 0..LEVELS.len() {
            self.compare(partition).await;
            self.keep_promises(partition);
        }
    }

    /// R5: where `object` is in force another log may take over at any moment, and begins at the published end.
    fn keep_promises(&mut self, index: usize) {
        let (partition, said) = (id(index as i32), &mut self.said[index]);
        said.promised_end = said.promised_end.max(said.high_watermark);
        let (levels, published) = (self.bench.metadata.levels(partition), self.bench.metadata.published_end(partition).0);
        if levels.in_force == Object {
            assert!(said.promised_end <= published, "promised to {}, published to {published}: {levels:?}", said.promised_end);
        }
    }

    fn settle_acknowledged(&mut self, waiting: &Waiting) {
        let end = waiting.base + waiting.values.len() as i64;
        let open = self.bench.partition(waiting.partition as i32);
        match (waiting.acks, waiting.level) {
            (Acks::All, Object) => {
                let published = open.offsets().published_end.0;
                assert!(end <= published, "acknowledged to {end}, published to {published}");
            }
            // acks=1 on an `object` topic is lost if another log takes over (rule R20).
            (Acks::Leader, _) if open.durability() == Object => {}
            _ => self.said[waiting.partition].promised_end = self.said[waiting.partition].promised_end.max(end),
        }
        // acks=1 on an `object` topic outlives a crash here too: nobody else can lead.
        for (offset, value) in (waiting.base..).zip(&waiting.values) {
            let known = self.said[waiting.partition].settled.entry(offset).or_insert_with(|| value.clone());
            assert_eq!(known, value, "offset {offset} was answered for two records");
        }
    }

    async fn compare(&mut self, index: usize) {
        let partition = self.bench.partition(index as i32);
        let said = &mut self.said[index];
        let mut seen = Vec::new();
        let mut next = Offset(0);
        loop {
            let read = partition.read(ReadRequest { max_bytes: 300, ..from_offset(next.0) }).await.unwrap();
            if read.batches.is_empty() {
                break;
            }
            seen.extend(records_in(&read.batches));
            next = read.next_offset;
        }
        let high_watermark = partition.offsets().high_watermark.0;
        assert!(said.high_watermark <= high_watermark, "the high watermark went from {} to {high_watermark}", said.high_watermark);
        said.high_watermark = high_watermark;
        let offsets: Vec<_> = seen.iter().map(|record| record.0).collect();
        assert_eq!(offsets, (0..high_watermark).collect::<Vec<_>>(), "no hole, nothing twice, nothing above the high watermark");
        for (offset, value) in seen {
            let known = said.settled.entry(offset).or_insert_with(|| value.clone());
            assert_eq!(*known, value, "offset {offset} names two records");
        }
        let mut values: Vec<_> = said.settled.values().collect();
        values.sort_unstable();
        assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "a record is there twice");
    }
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new();
        // So that every producer is known from the start.
        for partition in 0..LEVELS.len() {
            model.apply(Step::AppendIdempotent { partition, records: 1, acks: Acks::Leader }).await;
        }
        for step in steps {
            model.apply(step).await;
            model.collect().await;
        }
        // In the end everything settles: nothing acknowledged is missing.
        model.bench.wal.release_syncs();
        model.bench.publish().await;
        model.collect().await;
        assert!(model.waiting.is_empty());
        for (index, said) in model.said.iter().enumerate() {
            let end = model.bench.partition(index as i32).offsets().high_watermark.0;
            assert!(said.settled.keys().all(|offset| *offset < end), "an acknowledged record is missing");
        }
        // And whatever is configured comes into force.
        for partition in 0..LEVELS.len() {
            while !model.said[partition].images.is_empty() {
                model.apply(Step::SeeImage { partition }).await;
                model.collect().await;
            }
            if let Some(pending) = model.bench.partition(partition as i32).pending_durability() {
                assert_eq!(pending.publish_below, None, "everything is published");
                assert!(model.bench.metadata.enforce(pending.change), "{pending:?}");
                model.show_image(partition);
                model.apply(Step::SeeImage { partition }).await;
                model.collect().await;
            }
            assert_eq!(model.bench.partition(partition as i32).pending_durability(), None);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_keep_their_offsets_through_syncs_publishes_trims_and_crashes(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
    #[test]
    fn r5_acknowledgements_and_the_high_watermark_outlive_altered_durability(steps in prop::collection::vec(alteration(), 20..60)) {
        run(steps);
    }
}
