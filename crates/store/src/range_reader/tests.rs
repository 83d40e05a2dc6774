use std::time::Duration;

use futures::future::join_all;
use runtime::{ManualClock, Random};
use tokio::time::Instant;

use super::*;
use crate::faults::{Fault, FaultRates, FaultyStore};
use crate::{CountingStore, DiskCacheCounts, MemoryStore, Operation, Outcome, StoreCounters};

const LENGTH: u64 = 1000;
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    faulty: Arc<FaultyStore>,
    counters: Arc<StoreCounters>,
    store: Arc<dyn ObjectStore>,
    reader: RangeReader,
    body: Vec<u8>,
}

/// An object `a` of 1000 bytes, and blocks of 100.
async fn rig(options: RangeReaderOptions) -> Rig {
    let clock = Arc::new(ManualClock::following_tokio(0));
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new(clock.clone()))));
    let body: Vec<u8> = (0..LENGTH).map(|position| (position % 251) as u8).collect();
    faulty.put("a", vec![Bytes::from(body.clone())]).await.unwrap();
    let counting = CountingStore::new(faulty.clone(), clock);
    let counters = counting.counters();
    let store: Arc<dyn ObjectStore> = Arc::new(counting);
    Rig { faulty, counters, reader: RangeReader::new(store.clone(), options), store, body }
}

fn options() -> RangeReaderOptions {
    RangeReaderOptions { cache_bytes: LENGTH, block_bytes: 100, tail_requests: 2, catch_up_requests: 2, rewrite_requests: 2 }
}

fn request(range: Range<u64>, class: ReadClass) -> RangeRequest<'static> {
    RangeRequest { key: "a", extent: 0..LENGTH, range, block_bytes: u64::MAX, read_ahead: 0, class }
}

impl Rig {
    async fn read(&self, range: Range<u64>, class: ReadClass) -> Result<RangeRead, StoreError> {
        self.reader.read(request(range, class)).await
    }

    fn gets(&self) -> u64 {
        self.counters.get(Operation::GetRange).outcome(Outcome::Ok)
    }

    /// The background needs no time here, only its turns.
    async fn background_ends(&self) {
        for _ in 0..100 {
            if self.reader.fetches() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} fetches are still under way", self.reader.fetches());
    }

    fn delay(&self, delays: usize) {
        self.faulty.script(Operation::GetRange, std::iter::repeat_n(Fault::Delay(SECOND), delays));
    }
}

#[tokio::test(start_paused = true)]
async fn every_range_of_every_extent_is_exactly_its_bytes() {
    let rig = rig(options()).await;
    for extent in [0..1000, 0..250, 130..999, 995..1000] {
        for (start, end) in [(0, 0), (0, 1), (0, 100), (50, 150), (99, 101), (100, 200), (0, 869), (3, 4), (4, 5)] {
            let range = (extent.start + start).min(extent.end)..(extent.start + end).min(extent.end);
            let request = RangeRequest { extent: extent.clone(), range: range.clone(), ..request(0..0, ReadClass::Tail) };
            let read = rig.reader.read(request).await.unwrap();
            assert_eq!(read.bytes, rig.body[range.start as usize..range.end as usize], "{range:?} of {extent:?}");
        }
    }
    for range in [5..11, 3..20, 0..4] {
        let outside = RangeRequest { extent: 4..10, ..request(range, ReadClass::Tail) };
        assert!(matches!(rig.reader.read(outside).await, Err(StoreError::Refused { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn many_waiting_readers_share_one_get() {
    let rig = rig(options()).await;
    rig.delay(1);
    let reads = join_all((0..50).map(|reader| rig.read(reader..100, ReadClass::CatchUp))).await;
    assert!(reads.iter().all(Result::is_ok));
    let counts = rig.reader.counts(ReadClass::CatchUp);
    assert_eq!((rig.gets(), counts.gets, counts.joined, rig.reader.fetches()), (1, 1, 49, 0));
}

#[tokio::test(start_paused = true)]
async fn t31_a_hit_is_counted_only_where_the_bytes_were_in_memory() {
    let rig = rig(options()).await;
    let read = rig.read(50..150, ReadClass::Tail).await.unwrap();
    assert_eq!(read.cached, 0);
    let read = rig.read(150..250, ReadClass::Tail).await.unwrap();
    assert_eq!(read.cached, 50);
    rig.delay(1);
    // Who joins a GET waits for the store, however little it asks for itself.
    let (first, second) = tokio::join!(rig.read(300..400, ReadClass::Tail), rig.read(300..310, ReadClass::Tail));
    assert_eq!((first.unwrap().cached, second.unwrap().cached), (0, 0));
    let expected = ReadCounts { cache_bytes: 50, store_bytes: 100 + 50 + 110, gets: 4, joined: 1, ..ReadCounts::default() };
    assert_eq!(rig.reader.counts(ReadClass::Tail), expected);
    assert_eq!(rig.reader.counts(ReadClass::CatchUp), ReadCounts::default());
}

#[tokio::test(start_paused = true)]
async fn t24_a_reader_that_goes_away_leaves_no_fetch_and_no_permit_behind() {
    let rig = rig(RangeReaderOptions { catch_up_requests: 1, ..options() }).await;
    rig.delay(1);
    for range in [0..1, 0..500] {
        // The later ones of its blocks wait for a permit when it goes.
        tokio::time::timeout(SECOND / 2, rig.read(range, ReadClass::CatchUp)).await.unwrap_err();
        assert_eq!(rig.reader.fetches(), 0);
        rig.delay(1);
    }
    let start = Instant::now();
    rig.read(0..1, ReadClass::CatchUp).await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn t24_a_read_that_is_never_polled_leaves_nothing_behind() {
    let rig = rig(options()).await;
    let Block::Fetched(fetching) = rig.reader.0.find_or_fetch(BlockId { key: "a".into(), range: 0..100 }, ReadClass::Tail) else {
        panic!("nothing was read yet")
    };
    assert_eq!(rig.reader.fetches(), 1);
    drop(fetching);
    assert_eq!(rig.reader.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_get_goes_on_while_one_of_its_readers_is_left() {
    let rig = rig(options()).await;
    rig.delay(1);
    let start = Instant::now();
    let first = tokio::time::timeout(SECOND / 2, rig.read(0..10, ReadClass::CatchUp));
    let (first, second) = tokio::join!(first, rig.read(0..10, ReadClass::CatchUp));
    assert!(first.is_err());
    assert_eq!((second.unwrap().bytes.len(), start.elapsed(), rig.gets()), (10, SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn each_class_has_its_own_budget_of_gets() {
    let rig = rig(options()).await;
    rig.delay(9);
    let start = Instant::now();
    let history = async {
        rig.read(0..800, ReadClass::CatchUp).await.unwrap();
        start.elapsed()
    };
    let tail = async {
        rig.read(900..1000, ReadClass::Tail).await.unwrap();
        start.elapsed()
    };
    assert_eq!(tokio::join!(history, tail), (4 * SECOND, SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_tail_does_not_wait_behind_history_for_a_block_that_history_asked_for_first() {
    let rig = rig(RangeReaderOptions { catch_up_requests: 1, ..options() }).await;
    rig.delay(3);
    let start = Instant::now();
    let history = rig.read(0..300, ReadClass::CatchUp);
    let tail = async {
        tokio::task::yield_now().await;
        rig.read(200..300, ReadClass::Tail).await.unwrap();
        start.elapsed()
    };
    let (history, tail) = tokio::join!(history, tail);
    history.unwrap();
    assert_eq!((tail, start.elapsed(), rig.gets()), (SECOND, 2 * SECOND, 3));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_history_does_not_wait_behind_rewrites_for_a_block_that_a_rewrite_asked_for_first() {
    let rig = rig(RangeReaderOptions { rewrite_requests: 1, ..options() }).await;
    rig.delay(3);
    let start = Instant::now();
    let rewrite = rig.read(0..300, ReadClass::Rewrite);
    let history = async {
        tokio::task::yield_now().await;
        rig.read(200..300, ReadClass::CatchUp).await.unwrap();
        start.elapsed()
    };
    let (rewrite, history) = tokio::join!(rewrite, history);
    rewrite.unwrap();
    assert_eq!((history, start.elapsed(), rig.gets()), (SECOND, 2 * SECOND, 3));
    // And what others than the rewrite waited for is kept.
    assert_eq!(rig.reader.cached_bytes(), 100);
}

#[tokio::test(start_paused = true)]
async fn t23_a_backfill_of_many_times_the_cache_leaves_what_the_tail_reads_in_memory() {
    let rig = rig(RangeReaderOptions { cache_bytes: 400, ..options() }).await;
    rig.read(800..1000, ReadClass::Tail).await.unwrap();
    for _ in 0..10 {
        rig.read(0..800, ReadClass::CatchUp).await.unwrap();
        assert_eq!(rig.read(800..1000, ReadClass::Tail).await.unwrap().cached, 200);
    }
    assert_eq!(rig.reader.cached_bytes(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_failure_reaches_all_who_wait_and_is_not_kept() {
    let rig = rig(options()).await;
    let refuse_later = FaultRates { refuse: 1.0, max_delay: SECOND, ..FaultRates::default() };
    rig.faulty.by_chance(refuse_later, Random::seeded(1));
    let (first, second) = tokio::join!(rig.read(0..10, ReadClass::Tail), rig.read(5..10, ReadClass::Tail));
    assert!(matches!(first, Err(StoreError::Unavailable { .. })) && matches!(second, Err(StoreError::Unavailable { .. })));
    let counts = rig.reader.counts(ReadClass::Tail);
    assert_eq!((counts.gets, counts.joined, rig.reader.fetches(), rig.reader.cached_bytes()), (1, 1, 0, 0));
    rig.faulty.by_chance(FaultRates::default(), Random::seeded(1));
    rig.read(0..10, ReadClass::Tail).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_cache_keeps_to_its_bytes_and_rewrites_leave_it_alone() {
    let rig = rig(RangeReaderOptions { cache_bytes: 250, ..options() }).await;
    rig.read(0..1000, ReadClass::Rewrite).await.unwrap();
    assert_eq!(rig.reader.cached_bytes(), 0);
    rig.read(0..1000, ReadClass::CatchUp).await.unwrap();
    assert_eq!(rig.reader.cached_bytes(), 200);
    assert_eq!(rig.read(800..1000, ReadClass::Rewrite).await.unwrap().cached, 200);
}

#[tokio::test(start_paused = true)]
async fn read_ahead_fetches_what_comes_next_within_the_extent_and_the_budget() {
    let rig = rig(options()).await;
    let ahead = RangeRequest { extent: 0..350, read_ahead: 500, ..request(0..100, ReadClass::CatchUp) };
    rig.reader.read(ahead.clone()).await.unwrap();
    // Two permits: two blocks, begun in the background.
    assert_eq!(rig.reader.fetches(), 2);
    rig.background_ends().await;
    assert_eq!(rig.reader.counts(ReadClass::CatchUp).read_ahead_gets, 2);
    let next = RangeRequest { range: 100..200, ..ahead.clone() };
    assert_eq!(rig.reader.read(next).await.unwrap().cached, 100);
    rig.background_ends().await;
    let last = RangeRequest { range: 300..350, ..ahead };
    assert_eq!(rig.reader.read(last).await.unwrap().cached, 50);
    assert_eq!((rig.gets(), rig.reader.cached_bytes()), (4, 350));
}

#[tokio::test(start_paused = true)]
async fn an_extent_is_cut_evenly_by_the_smaller_of_two_sizes() {
    for (extent, block_bytes, expected) in [(0..149, u64::MAX, 1), (0..150, u64::MAX, 2), (10..340, 200, 3), (0..149, 50, 3), (0..1, 50, 1)]
    {
        let rig = rig(options()).await;
        let request = RangeRequest { extent: extent.clone(), block_bytes, ..request(extent.clone(), ReadClass::Tail) };
        assert_eq!(rig.reader.read(request).await.unwrap().bytes, rig.body[extent.start as usize..extent.end as usize]);
        assert_eq!(rig.gets(), expected, "{extent:?} by {block_bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_to_its_end_is_dropped_before_what_was_fetched_ahead() {
    let rig = rig(RangeReaderOptions { cache_bytes: 300, ..options() }).await;
    let read = async |range| rig.reader.read(RangeRequest { read_ahead: 100, ..request(range, ReadClass::CatchUp) }).await.unwrap();
    read(0..50).await;
    rig.background_ends().await;
    read(50..100).await;
    // Others come by turns.
    for range in [500..550, 700..750] {
        rig.read(range, ReadClass::CatchUp).await.unwrap();
    }
    assert_eq!(read(100..200).await.cached, 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_ahead_is_fetched_within_the_budget_and_said_to_be() {
    let rig = rig(options()).await;
    rig.delay(3);
    assert!(rig.reader.read_ahead(&request(0..150, ReadClass::CatchUp)));
    assert!(
        rig.reader.read_ahead(&RangeRequest { extent: 200..200, ..request(200..300, ReadClass::CatchUp) }),
        "there is nothing to fetch"
    );
    assert!(!rig.reader.read_ahead(&request(300..400, ReadClass::CatchUp)), "both permits are taken");
    tokio::time::sleep(2 * SECOND).await;
    assert!(rig.reader.read_ahead(&request(300..400, ReadClass::CatchUp)));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(rig.read(0..200, ReadClass::CatchUp).await.unwrap().cached, 200);
    assert_eq!(rig.reader.counts(ReadClass::CatchUp).read_ahead_gets, 3);
}

/// Keeps nothing, and has seen requests that took a tenth of a second: after that one is slow.
async fn used_to_a_tenth() -> Rig {
    let rig = rig(RangeReaderOptions { cache_bytes: 0, ..options() }).await;
    rig.faulty.script(Operation::GetRange, std::iter::repeat_n(Fault::Delay(SECOND / 10), 100));
    for _ in 0..100 {
        rig.read(0..100, ReadClass::Tail).await.unwrap();
    }
    rig
}

fn hedges(rig: &Rig, class: ReadClass) -> (u64, u64) {
    let counts = rig.reader.counts(class);
    (counts.hedges, counts.hedges_won)
}

#[tokio::test(start_paused = true)]
async fn a_slow_get_is_asked_a_second_time_and_the_first_answer_wins() {
    for class in [ReadClass::Tail, ReadClass::CatchUp] {
        let rig = used_to_a_tenth().await;
        rig.faulty.script(Operation::GetRange, [Fault::Delay(30 * SECOND), Fault::Delay(SECOND / 10)]);
        let start = Instant::now();
        assert_eq!(rig.read(0..100, class).await.unwrap().bytes, rig.body[0..100]);
        assert_eq!((start.elapsed(), hedges(&rig, class)), (SECOND / 5, (1, 1)));

        rig.faulty.script(Operation::GetRange, [Fault::Delay(SECOND / 2), Fault::Delay(30 * SECOND)]);
        let start = Instant::now();
        rig.read(0..100, class).await.unwrap();
        assert_eq!((start.elapsed(), hedges(&rig, class)), (SECOND / 2, (2, 1)), "the first one may still be the first");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewrite_waits_for_its_slow_get() {
    let rig = used_to_a_tenth().await;
    rig.delay(1);
    let start = Instant::now();
    rig.read(0..100, ReadClass::Rewrite).await.unwrap();
    assert_eq!((start.elapsed(), hedges(&rig, ReadClass::Rewrite)), (SECOND, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_get_that_fails_leaves_the_answer_to_the_other_one() {
    let rig = used_to_a_tenth().await;
    let refuse_later = FaultRates { refuse: 1.0, max_delay: SECOND, ..FaultRates::default() };
    let read = async {
        let start = Instant::now();
        let read = rig.read(0..100, ReadClass::Tail).await;
        (read, start.elapsed())
    };
    let store = async {
        tokio::time::sleep(SECOND / 20).await;
        rig.faulty.by_chance(FaultRates::default(), Random::seeded(1));
        rig.delay(1);
    };
    // Its first GET is refused between a tenth of a second and a whole one, its second takes a second.
    rig.faulty.by_chance(refuse_later, Random::seeded(4));
    let ((read, elapsed), ()) = tokio::join!(read, store);
    assert_eq!(read.unwrap().bytes, rig.body[0..100]);
    assert_eq!((elapsed, hedges(&rig, ReadClass::Tail)), (SECOND + SECOND / 10, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_as_a_whole_is_asked_five_percent_more_and_no_more() {
    let rig = used_to_a_tenth().await;
    for n in 0..1000 {
        // Slower than all that was seen.
        let slow = Fault::Delay(SECOND + n * SECOND / 10);
        rig.faulty.script(Operation::GetRange, [slow, slow].into_iter().skip(rig.faulty.scripted()));
        rig.read(0..100, ReadClass::CatchUp).await.unwrap();
    }
    let (sent, _) = hedges(&rig, ReadClass::CatchUp);
    assert!((50..=55).contains(&sent), "{sent} second requests for 1100 first ones");
}

#[tokio::test(start_paused = true)]
async fn a_second_get_keeps_to_the_budget_of_its_class() {
    let rig = rig(RangeReaderOptions { cache_bytes: 0, tail_requests: 1, ..options() }).await;
    for _ in 0..100 {
        rig.read(0..100, ReadClass::Tail).await.unwrap();
    }
    rig.delay(1);
    let start = Instant::now();
    rig.read(0..100, ReadClass::Tail).await.unwrap();
    assert_eq!((start.elapsed(), hedges(&rig, ReadClass::Tail)), (SECOND, (0, 0)));
}

/// Nothing is kept in memory, so that what does not come from the store comes from the disk.
async fn rig_with_disk(folder: &std::path::Path) -> (Rig, DiskCache) {
    let disk = DiskCache::open(folder, 100_000).unwrap();
    let rig = rig(RangeReaderOptions { cache_bytes: 0, ..options() }).await;
    let reader = RangeReader::with_disk(rig.store.clone(), RangeReaderOptions { cache_bytes: 0, ..options() }, Some(disk.clone()));
    (Rig { reader, ..rig }, disk)
}

#[tokio::test(start_paused = true)]
async fn what_one_reader_fetched_comes_from_the_disk_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, disk) = rig_with_disk(folder.path()).await;
    rig.read(0..250, ReadClass::CatchUp).await.unwrap();
    disk.written().await;
    let read = rig.read(50..250, ReadClass::CatchUp).await.unwrap();
    assert_eq!((read.bytes, read.cached, rig.gets()), (Bytes::copy_from_slice(&rig.body[50..250]), 200, 3));
    let expected = ReadCounts { disk_bytes: 200, store_bytes: 250, gets: 3, ..ReadCounts::default() };
    assert_eq!(rig.reader.counts(ReadClass::CatchUp), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_on_the_disk_is_fetched_anew_and_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, disk) = rig_with_disk(folder.path()).await;
    rig.read(0..100, ReadClass::CatchUp).await.unwrap();
    disk.written().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::write(file.unwrap().path(), [0xff; 100]).unwrap();
    }
    assert_eq!(rig.read(0..100, ReadClass::CatchUp).await.unwrap().bytes, rig.body[0..100]);
    assert_eq!((rig.gets(), disk.counts().damaged, rig.reader.counts(ReadClass::CatchUp).disk_bytes), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rewrite_puts_nothing_on_the_disk_and_uses_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, disk) = rig_with_disk(folder.path()).await;
    rig.read(0..1000, ReadClass::Rewrite).await.unwrap();
    assert_eq!(disk.counts(), DiskCacheCounts::default());
    rig.read(0..100, ReadClass::CatchUp).await.unwrap();
    disk.written().await;
    assert_eq!(rig.read(0..100, ReadClass::Rewrite).await.unwrap().cached, 100);
}

/// Who joins a fetch tells it his class under the lock of the table; a fetch that ends must not take the two in the other order.
#[test]
fn readers_join_a_fetch_in_the_moment_in_which_it_ends() {
    let (done, is_done) = std::sync::mpsc::channel();
    // By itself, because a runtime whose threads wait for each other cannot even be dropped.
    let readers = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            // Nothing is kept, so that each read is a fetch or joins one.
            let rig = rig(RangeReaderOptions { cache_bytes: 0, ..options() }).await;
            let readers = (0..8).map(|_| {
                let reader = rig.reader.clone();
                tokio::spawn(async move {
                    for _ in 0..20_000 {
                        reader.read(request(0..100, ReadClass::Tail)).await.unwrap();
                    }
                })
            });
            join_all(readers).await.into_iter().for_each(Result::unwrap);
        });
        done.send(()).unwrap();
    };
    std::thread::Builder::new().name("readers".to_owned()).spawn(readers).unwrap();
    is_done.recv_timeout(Duration::from_secs(60)).expect("no reader waits for ever");
}
