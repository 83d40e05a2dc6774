//! The ends of an offload: asked for, or forced.

use std::sync::Arc;
use std::time::Duration;

use offload::{Failpoints, OffloadError, Options, Step};
use parking_lot::Mutex;
use store::ObjectStore;
use types::*;
use wal::{Entry, Urgency, WriteAheadLog};

use crate::watched::WatchedWal;
use crate::world::*;

fn p() -> TopicPartition {
    partition(1, 0)
}

async fn one_partition(durability: Durability, options: Options) -> (World, Life) {
    let mut world = World::new(1);
    world.create(p(), durability);
    let life = world.start(options).await;
    (world, life)
}

#[tokio::test(start_paused = true)]
async fn r4_after_a_failed_sync_what_was_synced_is_published_and_nothing_else() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.append_many(p(), 5, Urgency::Sync);
    let synced = world.end();
    world.wal.inner.hold_syncs();
    world.append_many(p(), 3, Urgency::Sync);
    until("all of it was looked at", || life.handle.status().unoffloaded_bytes == 8 * BATCH).await;
    world.wal.inner.fail_next_sync("disk failed");
    world.wal.inner.release_syncs();
    let handle = life.handle.clone();
    let ended = life.ended().await;
    let Err(OffloadError::WalStopped { reason, synced: told, published_end }) = &ended else { panic!("{ended:?}") };
    assert_eq!((&**reason, *told, *published_end), ("disk failed", synced, synced));
    assert_eq!(world.ledger.partition(p()).unwrap().next, Offset(10), "offsets 10 to 15 were never synced");
    assert!(matches!(handle.flush(synced.next()).await, Err(OffloadError::WalStopped { .. })));
    handle.flush(synced).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r4_a_failed_sync_with_the_store_away_ends_in_bounded_time_and_gives_nothing_away() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.append_many(p(), 5, Urgency::Sync);
    world.store.set_outage(true);
    world.wal.inner.hold_syncs();
    world.append(p(), Urgency::Sync);
    world.wal.inner.fail_next_sync("disk failed");
    world.wal.inner.release_syncs();
    let started = tokio::time::Instant::now();
    let mut life = life;
    let ended = (&mut life.task).await.unwrap();
    assert!(matches!(ended, Err(OffloadError::WalStopped { published_end: Lsn(1), .. })), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
    world.store.set_outage(false);
    // What was acknowledged is still in the log.
    let again = Life { task: tokio::spawn(async { Ok(()) }), ..life };
    world.crash(again, 0).await;
    let life = world.start(small()).await;
    life.handle.flush(world.end()).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_publishes_everything_first() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.append_many(p(), 9, Urgency::Sync);
    let handle = life.handle.clone();
    handle.stop(Duration::from_secs(5)).await.unwrap();
    life.ended().await.unwrap();
    world.check_all_published().await;
    handle.stop(Duration::from_secs(5)).await.unwrap();
}

/// Appends an entry when the first range is done.
struct AppendLate {
    wal: Arc<WatchedWal>,
    entry: Arc<Mutex<Option<Entry>>>,
}

impl Failpoints for AppendLate {
    fn stop_at(&self, step: Step, _: PublishSequence) -> bool {
        if step == Step::Trimmed
            && let Some(entry) = self.entry.lock().take()
        {
            self.wal.append(entry, Urgency::Sync).unwrap();
        }
        false
    }
}

#[tokio::test(start_paused = true)]
async fn r4_a_stop_ends_only_when_nothing_is_left() {
    let mut world = World::new(1);
    world.create(p(), Durability::Wal);
    let entry = Arc::default();
    let late = AppendLate { wal: world.wal.clone(), entry: Arc::clone(&entry) };
    let life = world.start_with(Options::default(), late).await;
    world.append_many(p(), 3, Urgency::Sync);
    entry.lock().replace(world.next_entry(p()));
    // Acknowledged after the stop was asked for: the partition must not be handed on without it.
    life.handle.stop(Duration::from_secs(5)).await.unwrap();
    assert!(entry.lock().is_none());
    assert_eq!((world.ledger.published_end(), world.end()), (Lsn(6), Lsn(6)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_anything_to_publish_needs_neither_store_nor_metadata() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.store.set_outage(true);
    life.handle.flush(world.end()).await.unwrap();
    life.handle.stop(Duration::from_secs(5)).await.unwrap();
    assert!(world.ledger.recorded().is_empty());
    world.append(p(), Urgency::Sync);
}

#[tokio::test(start_paused = true)]
async fn r4_a_stop_that_runs_out_of_time_says_so_and_leaves_the_rest_in_the_log() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.store.set_outage(true);
    world.append_many(p(), 9, Urgency::Sync);
    let stopped = life.handle.stop(Duration::from_secs(5)).await;
    assert!(matches!(stopped, Err(OffloadError::Unfinished { published_end: Lsn(1), end: Lsn(11), .. })), "{stopped:?}");
    world.store.set_outage(false);
    world.crash(life, 0).await;
    let life = world.start(small()).await;
    life.handle.flush(world.end()).await.unwrap();
    world.check_all_published().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_at_once_and_tells_who_waits() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.store.set_outage(true);
    world.append(p(), Urgency::Sync);
    let (handle, end) = (life.handle.clone(), world.end());
    let waiting = tokio::spawn(async move { handle.flush(end).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    life.shutdown.trigger();
    assert!(matches!(waiting.await.unwrap(), Err(OffloadError::Ended)));
    assert!(matches!(life.ended().await, Err(OffloadError::Ended)));
    assert!(world.memory.list("", None, 10).await.unwrap().is_empty());
    assert!(world.wal.progress().borrow().stopped.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_tells_who_waits() {
    let (mut world, life) = one_partition(Durability::Wal, Options::default()).await;
    world.store.set_outage(true);
    world.append(p(), Urgency::Sync);
    life.task.abort();
    assert!(matches!(life.handle.flush(world.end()).await, Err(OffloadError::Ended)));
}
