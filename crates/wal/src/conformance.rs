//! The contract of [`WriteAheadLog`] as checks that every implementation must pass, wrappers and doubles included.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use types::{BrokerEpoch, LeaderEpoch, Lsn, Offset, Revision, Timestamp, TopicId, TopicPartition};

use crate::{Entry, EntryKind, EpochStart, Origin, Progress, ReadFrom, TailLimits, Urgency, WalError, WriteAheadLog};

/// No check waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a check needs of the log it is given.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Batch bytes after which a generation is closed.
    pub generation_bytes: u64,
    /// Batch bytes that may wait to be trimmed.
    pub max_bytes: u64,
    /// How much is kept in memory.
    pub tail: TailLimits,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { generation_bytes: 1 << 20, max_bytes: 1 << 30, tail: TailLimits { keep_bytes: 1 << 20, max_bytes: 1 << 24 } }
    }
}

/// Makes empty logs.
pub trait Factory {
    /// A new empty log.
    fn create(&self, sizes: Sizes) -> Box<dyn Subject>;
}

/// A log under test, with its faults.
pub trait Subject {
    /// The log as it is now; another one after [`Self::crash`].
    fn wal(&self) -> Arc<dyn WriteAheadLog>;
    /// Nothing becomes synced until released.
    fn hold_syncs(&self);
    /// Ends [`Self::hold_syncs`].
    fn release_syncs(&self);
    /// The next sync fails.
    fn fail_next_sync(&self, reason: &str);
    /// Stops without syncing anything more, and opens again. What was not synced may be lost or kept.
    fn crash(&mut self);
}

/// A batch entry of one record at `offset` whose batch is `len` bytes that depend on both. Not a valid record batch: the log does
/// not look into batches.
pub fn batch_entry(offset: i64, len: usize) -> Entry {
    let seed = offset.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let batch = (0..len).map(|at| (seed.wrapping_add(at as u64).wrapping_mul(0xD134_2543_DE82_EF95) >> 56) as u8).collect::<Vec<_>>();
    Entry {
        kind: EntryKind::Batch {
            partition: TopicPartition::new(TopicId::from_bytes([5; 16]), 3),
            origin: Origin::Client,
            leader_epoch: LeaderEpoch(4),
            base_offset: Offset(offset),
            last_offset: Offset(offset),
        },
        append_time: Timestamp(1_700_000_000_000),
        batch: Bytes::from(batch),
    }
}

/// The entry that begins broker epoch 2 after a log that ended at `previous_end`.
pub fn epoch_entry(previous_end: Lsn) -> Entry {
    let start = EpochStart { epoch: BrokerEpoch(2), previous_end, metadata_revision: Revision(77) };
    Entry { kind: EntryKind::EpochStart(start), append_time: Timestamp(1_700_000_000_000), batch: Bytes::new() }
}

/// Waits, at most [`PATIENCE`], until the log's progress satisfies `condition`, and returns it.
///
/// # Panics
/// If it does not in that time.
pub fn wait_for(wal: &dyn WriteAheadLog, what: &str, condition: impl FnMut(&Progress) -> bool) -> Progress {
    let mut progress = wal.progress();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime for waiting");
    let found = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, progress.wait_for(condition)).await.map(|found| found.map(|p| p.clone())) });
    match found {
        Ok(Ok(progress)) => progress,
        _ => panic!("waited {PATIENCE:?} for {what}, progress is {:?}", wal.progress().borrow()),
    }
}

/// A check, and its name.
pub type Check = (&'static str, fn(&dyn Factory));

/// Every check by name.
pub const CHECKS: &[Check] = &[
    ("numbers_are_dense_and_in_call_order", numbers_are_dense_and_in_call_order),
    ("what_is_appended_reads_back", what_is_appended_reads_back),
    ("a_scan_keeps_to_its_bounds", a_scan_keeps_to_its_bounds),
    ("nothing_is_synced_while_syncs_are_held", nothing_is_synced_while_syncs_are_held),
    ("an_entry_nobody_waits_for_is_synced_too", an_entry_nobody_waits_for_is_synced_too),
    ("uploads_that_somebody_waits_for_are_told", uploads_that_somebody_waits_for_are_told),
    ("a_failed_sync_stops_the_log_for_good", a_failed_sync_stops_the_log_for_good),
    ("a_crash_keeps_every_synced_entry_and_leaves_no_hole", a_crash_keeps_every_synced_entry_and_leaves_no_hole),
    ("r2_a_new_epoch_begins_above_everything_published", r2_a_new_epoch_begins_above_everything_published),
    ("trim_drops_whole_generations_and_nothing_at_or_above_its_argument", trim_drops_whole_generations),
    ("a_trimmed_log_goes_on_where_it_ended", a_trimmed_log_goes_on_where_it_ended),
    ("a_full_log_refuses_and_recovers_by_trimming", a_full_log_refuses_and_recovers_by_trimming),
    ("entries_released_from_memory_are_read_from_disk", entries_released_from_memory_are_read_from_disk),
];

/// Runs every check, naming each on stderr before it runs.
pub fn check_all(factory: &dyn Factory) {
    for (name, check) in CHECKS {
        eprintln!("conformance: {name}");
        check(factory);
    }
}

fn append(wal: &dyn WriteAheadLog, offset: i64, len: usize) -> Lsn {
    wal.append(batch_entry(offset, len), Urgency::Sync).expect("append")
}

fn wait_synced(wal: &dyn WriteAheadLog, lsn: Lsn) {
    wait_for(wal, &format!("{lsn} to be synced"), |progress| lsn < progress.synced);
}

fn read(wal: &dyn WriteAheadLog, lsn: Lsn) -> Option<Arc<Entry>> {
    wal.read(lsn).expect("read").map(|(entry, _)| entry)
}

fn numbers_are_dense_and_in_call_order(factory: &dyn Factory) {
    const PER_THREAD: u64 = 500;
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    let mut all: Vec<Lsn> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let wal = wal.clone();
                scope.spawn(move || {
                    let given: Vec<Lsn> = (0..PER_THREAD).map(|n| append(&*wal, (thread * 10_000 + n).cast_signed(), 20)).collect();
                    assert!(given.is_sorted(), "one caller's numbers rise");
                    given
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("an appending thread")).collect()
    });
    all.sort();
    assert_eq!(all, (1..=4 * PER_THREAD).map(Lsn).collect::<Vec<_>>());
    let progress = wait_for(&*wal, "all to be synced", |progress| progress.synced == Lsn(4 * PER_THREAD + 1));
    assert_eq!((progress.appended, progress.appended_bytes), (progress.synced, 4 * PER_THREAD * 20));
}

fn what_is_appended_reads_back(factory: &dyn Factory) {
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    for (n, len) in [0, 1, 20, 21, 22, 1000, 200_000].into_iter().enumerate() {
        let entry = batch_entry(n as i64, len);
        let lsn = wal.append(entry.clone(), Urgency::Sync).expect("append");
        wait_for(&*wal, "the append", |progress| lsn < progress.appended);
        assert_eq!(read(&*wal, lsn).as_deref(), Some(&entry));
    }
    assert_eq!(read(&*wal, Lsn::ZERO), None);
    assert_eq!(read(&*wal, Lsn(100)), None);
}

fn a_scan_keeps_to_its_bounds(factory: &dyn Factory) {
    // Two entries fit in memory, so that a scan crosses from disk to memory.
    let subject = factory.create(Sizes { tail: TailLimits { keep_bytes: 600, max_bytes: 600 }, generation_bytes: 350, ..Sizes::default() });
    let wal = subject.wal();
    for n in 1..=9 {
        let lsn = append(&*wal, n, 100);
        wait_synced(&*wal, lsn);
    }
    let scan = |from, below, max| -> Vec<u64> {
        let found = wal.scan(Lsn(from), Lsn(below), max).expect("scan");
        for (lsn, entry) in &found {
            assert_eq!(**entry, batch_entry(lsn.0.cast_signed(), 100));
        }
        found.into_iter().map(|(lsn, _)| lsn.0).collect()
    };
    assert_eq!(scan(1, 100, 1 << 20), (1..10).collect::<Vec<_>>());
    assert_eq!(scan(3, 8, 1 << 20), [3, 4, 5, 6, 7]);
    assert_eq!(scan(3, 8, 250), [3, 4], "until the bytes are reached");
    assert_eq!(scan(7, 10, 1), [7], "at least one");
    assert!(scan(10, 20, 1000).is_empty());
    assert!(scan(5, 5, 1000).is_empty());
    let last = wal.begin_epoch(BrokerEpoch(2), Lsn(50), Revision(1)).expect("begin epoch");
    assert_eq!(last, Lsn(51));
    let after_jump = wal.scan(Lsn(10), Lsn(100), 1000).expect("scan");
    assert_eq!(after_jump.len(), 1, "a scan starts at the first entry at or above");
    assert_eq!(after_jump[0].0, last);
}

fn nothing_is_synced_while_syncs_are_held(factory: &dyn Factory) {
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    let first = append(&*wal, 0, 10);
    wait_synced(&*wal, first);
    subject.hold_syncs();
    let second = append(&*wal, 1, 10);
    let progress = wait_for(&*wal, "the append", |progress| second < progress.appended);
    assert_eq!(progress.synced, second, "held back");
    assert!(read(&*wal, second).is_some(), "readable all the same");
    subject.release_syncs();
    wait_synced(&*wal, second);
}

fn an_entry_nobody_waits_for_is_synced_too(factory: &dyn Factory) {
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    for urgency in [Urgency::Lazy, Urgency::Upload] {
        let lsn = wal.append(batch_entry(0, 10), urgency).expect("append");
        wait_synced(&*wal, lsn);
    }
}

fn uploads_that_somebody_waits_for_are_told(factory: &dyn Factory) {
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    let wanted = |urgency| {
        let lsn = wal.append(batch_entry(0, 10), urgency).expect("append");
        wait_for(&*wal, "the append", |progress| lsn < progress.appended).upload_wanted
    };
    assert_eq!(wanted(Urgency::Lazy), Lsn::ZERO);
    assert_eq!(wanted(Urgency::Sync), Lsn::ZERO);
    assert_eq!(wanted(Urgency::Upload), Lsn(4));
    assert_eq!(wanted(Urgency::Sync), Lsn(4));
    assert_eq!(wanted(Urgency::SyncAndUpload), Lsn(6));
}

fn a_failed_sync_stops_the_log_for_good(factory: &dyn Factory) {
    let subject = factory.create(Sizes::default());
    let wal = subject.wal();
    let first = append(&*wal, 0, 10);
    wait_synced(&*wal, first);
    subject.fail_next_sync("the disk is gone");
    append(&*wal, 1, 10);
    let stopped = wait_for(&*wal, "the log to stop", |progress| progress.stopped.is_some());
    assert_eq!(stopped.synced, first.next(), "nothing after the failure counts as synced");
    let reason = stopped.stopped.expect("it has stopped");
    assert!(reason.contains("the disk is gone"), "{reason}");
    subject.fail_next_sync("another reason");
    for _ in 0..3 {
        match wal.append(batch_entry(2, 10), Urgency::Sync) {
            Err(WalError::Stopped { reason: again }) => assert_eq!(again, reason, "the first reason wins"),
            other => panic!("appended after a failed sync: {other:?}"),
        }
    }
    assert!(matches!(wal.begin_epoch(BrokerEpoch(2), Lsn::ZERO, Revision(1)), Err(WalError::Stopped { .. })));
    assert_eq!(wal.progress().borrow().synced, first.next());
    assert!(read(&*wal, first).is_some(), "what was synced can still be read and published");
}

fn a_crash_keeps_every_synced_entry_and_leaves_no_hole(factory: &dyn Factory) {
    let mut subject = factory.create(Sizes { generation_bytes: 1000, ..Sizes::default() });
    let mut end = Lsn(1);
    for round in 0..4u64 {
        let wal = subject.wal();
        let mut synced = end;
        for n in 0..40 {
            synced = append(&*wal, (round * 1000 + n).cast_signed(), 100);
        }
        wait_synced(&*wal, synced);
        subject.hold_syncs();
        for n in 40..50 {
            append(&*wal, (round * 1000 + n).cast_signed(), 100);
        }
        drop(wal);
        subject.crash();
        let wal = subject.wal();
        let found = wal.scan(end, Lsn(u64::MAX), usize::MAX).expect("scan");
        let after = wal.progress().borrow().clone();
        assert!(synced < after.synced && after.synced == after.appended, "{synced} was synced, recovered: {after:?}");
        for (n, (lsn, entry)) in found.iter().enumerate() {
            assert_eq!(*lsn, end + n as u64);
            assert_eq!(**entry, batch_entry((round * 1000 + n as u64).cast_signed(), 100));
        }
        assert_eq!(end + found.len() as u64, after.appended);
        end = after.appended;
    }
}

fn r2_a_new_epoch_begins_above_everything_published(factory: &dyn Factory) {
    let mut subject = factory.create(Sizes::default());
    let wal = subject.wal();
    assert_eq!(wal.begin_epoch(BrokerEpoch(1), Lsn::ZERO, Revision(5)).expect("begin"), Lsn(1));
    assert_eq!(append(&*wal, 0, 10), Lsn(2));
    wait_synced(&*wal, Lsn(2));
    drop(wal);
    subject.crash();
    let wal = subject.wal();
    // 1000 was published from memory, and a power cut took what was not synced.
    let begun = wal.begin_epoch(BrokerEpoch(2), Lsn(1000), Revision(9)).expect("begin");
    assert_eq!(begun, Lsn(1001));
    assert!(begun < wal.progress().borrow().synced, "synced before it returns");
    let expected = EpochStart { epoch: BrokerEpoch(2), previous_end: Lsn(3), metadata_revision: Revision(9) };
    assert_eq!(read(&*wal, begun).expect("the entry").kind, EntryKind::EpochStart(expected));
    assert_eq!(append(&*wal, 1, 10), Lsn(1002));
    wait_synced(&*wal, Lsn(1002));
    drop(wal);
    subject.crash();
    let wal = subject.wal();
    assert_eq!(wal.progress().borrow().synced, Lsn(1003));
    assert_eq!(
        wal.begin_epoch(BrokerEpoch(3), Lsn(1000), Revision(9)).expect("begin"),
        Lsn(1003),
        "dense where nothing was published above"
    );
    let all: Vec<u64> = wal.scan(Lsn(1), Lsn(u64::MAX), usize::MAX).expect("scan").into_iter().map(|(lsn, _)| lsn.0).collect();
    assert_eq!(all, [1, 2, 1001, 1002, 1003]);
}

/// Ten entries of 100 bytes in generations of three; every one synced before the next, so that groups do not blur the borders.
fn ten_entries(wal: &dyn WriteAheadLog) {
    for n in 1..=10 {
        let lsn = append(wal, n, 100);
        wait_synced(wal, lsn);
    }
}

fn trim_drops_whole_generations(factory: &dyn Factory) {
    let subject = factory.create(Sizes { generation_bytes: 300, ..Sizes::default() });
    let wal = subject.wal();
    ten_entries(&*wal);
    for below in 1..=11 {
        wal.trim(Lsn(below));
        let whole_generations_below = Lsn((below - 1) / 3 * 3 + 1);
        wait_until("the generations below to be dropped", || whole_generations_below == wal.start());
        for lsn in 1..=10 {
            assert_eq!(read(&*wal, Lsn(lsn)).is_some(), wal.start() <= Lsn(lsn), "entry {lsn} after trimming below {below}");
        }
    }
    assert_eq!(wal.usage().bytes, 100, "the generation being written stays");
    wal.trim(Lsn(1));
    assert_eq!(wal.start(), Lsn(10), "trimming never goes back");
}

fn a_trimmed_log_goes_on_where_it_ended(factory: &dyn Factory) {
    let mut subject = factory.create(Sizes { generation_bytes: 100, ..Sizes::default() });
    ten_entries(&*subject.wal());
    for _ in 0..2 {
        let wal = subject.wal();
        wal.trim(Lsn(11));
        wait_until("everything to be trimmed", || wal.start() == Lsn(11));
        assert_eq!(wal.usage().bytes, 0);
        drop(wal);
        subject.crash();
        let progress = subject.wal().progress().borrow().clone();
        assert_eq!((progress.appended, progress.synced), (Lsn(11), Lsn(11)));
    }
    let wal = subject.wal();
    assert_eq!(append(&*wal, 11, 100), Lsn(11));
    wait_synced(&*wal, Lsn(11));
    assert_eq!(wal.scan(Lsn(1), Lsn(100), usize::MAX).expect("scan").len(), (Lsn(12) - wal.start()) as usize);
}

fn a_full_log_refuses_and_recovers_by_trimming(factory: &dyn Factory) {
    let subject = factory.create(Sizes { generation_bytes: 100, max_bytes: 1000, ..Sizes::default() });
    let wal = subject.wal();
    ten_entries(&*wal);
    match wal.append(batch_entry(11, 100), Urgency::Sync) {
        Err(WalError::Full { used: 1000, limit: 1000 }) => {}
        other => panic!("a full log answered {other:?}"),
    }
    assert_eq!(wal.begin_epoch(BrokerEpoch(2), Lsn::ZERO, Revision(1)).expect("an epoch begins also when full"), Lsn(11));
    assert!(read(&*wal, Lsn(1)).is_some(), "reads go on");
    wal.trim(Lsn(3));
    wait_until("room", || wal.usage().bytes <= 900);
    assert_eq!(append(&*wal, 11, 100), Lsn(12), "a refused append has taken no number");
}

fn entries_released_from_memory_are_read_from_disk(factory: &dyn Factory) {
    let subject =
        factory.create(Sizes { tail: TailLimits { keep_bytes: 600, max_bytes: 5000 }, generation_bytes: 300, ..Sizes::default() });
    let wal = subject.wal();
    ten_entries(&*wal);
    let source = |lsn| {
        wal.read(Lsn(lsn)).expect("read").map(|(entry, from)| {
            assert_eq!(*entry, batch_entry(lsn.cast_signed(), 100));
            from
        })
    };
    assert_eq!(source(1), Some(ReadFrom::Memory), "an upload still needs it");
    wal.release_memory(Lsn(11));
    assert_eq!(source(1), Some(ReadFrom::Disk));
    assert_eq!(source(10), Some(ReadFrom::Memory), "readers keep the newest");
    assert!(wal.usage().memory_bytes < 600);
    assert_eq!(wal.scan(Lsn(1), Lsn(11), usize::MAX).expect("scan").len(), 10);
}

/// Waits for something that has no event, at most [`PATIENCE`].
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime for waiting");
    let met = runtime.block_on(async {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let polling = async {
            while !condition() {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, polling).await
    });
    assert!(met.is_ok(), "waited {PATIENCE:?} for {what}");
}
