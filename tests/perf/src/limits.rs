//! What the machine can do at all: its disk, its loopback, its store, and the client without a broker.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rand::RngCore;
use tokio::task::JoinSet;

/// Of an append: what a group of batches comes to under load.
const APPEND_BYTES: usize = 1 << 20;
/// As large as the files together that the write-ahead log writes over by turns.
const RECYCLED_BYTES: u64 = 64 << 20;
const SOCKET_BYTES: usize = 64 << 10;

/// What becomes of the file that is appended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Append {
    /// It grows.
    Fresh,
    /// It was written before, and is written over.
    Recycled,
}

/// Bytes per second of appends of 1 MiB below `directory`, each followed by an fdatasync.
pub(crate) fn disk_append(directory: &Path, append: Append, time: Duration) -> Result<f64> {
    let mut block = vec![0; APPEND_BYTES];
    rand::rng().fill_bytes(&mut block);
    let path = directory.join("append");
    let mut file = create(&path)?;
    if append == Append::Recycled {
        for _ in 0..RECYCLED_BYTES / APPEND_BYTES as u64 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
    }
    let begun = Instant::now();
    let mut written = 0u64;
    while begun.elapsed() < time {
        if append == Append::Recycled && 0 < written && written.is_multiple_of(RECYCLED_BYTES) {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&block).and_then(|()| file.sync_data()).with_context(|| format!("append to {}", path.display()))?;
        written += APPEND_BYTES as u64;
    }
    let rate = written as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Microseconds of each of many appends of so many bytes below `directory`, its fdatasync included, at a rate that leaves the disk idle in
/// between.
pub(crate) fn disk_syncs(directory: &Path, bytes: usize, pause: Duration, time: Duration) -> Result<Vec<u64>> {
    let mut block = vec![0; bytes];
    rand::rng().fill_bytes(&mut block);
    let path = directory.join("syncs");
    let mut file = create(&path)?;
    let mut delays = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let one = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).with_context(|| format!("append to {}", path.display()))?;
        delays.push(one.elapsed().as_micros() as u64);
        thread::sleep(pause);
    }
    std::fs::remove_file(&path)?;
    Ok(delays)
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).open(path).with_context(|| format!("create {}", path.display()))
}

/// Bytes per second through a TCP connection of the loopback, in writes of 64 KiB.
pub(crate) fn loopback(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let draining = thread::spawn(move || {
        let mut buffer = vec![0; SOCKET_BYTES];
        let mut read = 0u64;
        while let Ok(bytes @ 1..) = receiver.read(&mut buffer) {
            read += bytes as u64;
        }
        read
    });
    let block = vec![0; SOCKET_BYTES];
    let begun = Instant::now();
    while begun.elapsed() < time {
        sender.write_all(&block)?;
    }
    drop(sender);
    let read = draining.join().map_err(|_| anyhow!("the receiver panicked"))?;
    Ok(read as f64 / begun.elapsed().as_secs_f64())
}

/// Bytes per second of ranged GETs of so many bytes each, so many at once, at random places of the store's objects.
pub(crate) async fn store_gets(store: Arc<dyn ObjectStore>, at_once: usize, bytes: u64, time: Duration) -> Result<f64> {
    let objects: Vec<_> = store.list(None).try_collect().await.context("list the store")?;
    let large: Arc<[_]> = objects.into_iter().filter(|object| bytes <= object.size).collect();
    ensure!(!large.is_empty(), "no object of the store holds {bytes} bytes");
    let get = move || {
        let (store, large) = (Arc::clone(&store), Arc::clone(&large));
        async move {
            let object = &large[rand::random_range(0..large.len())];
            let start = rand::random_range(0..=object.size - bytes);
            Ok(store.get_range(&object.location, start..start + bytes).await.context("read from the store")?.len())
        }
    };
    repeat(at_once, time, get).await
}

/// Bytes per second of PUTs of so many bytes each, so many at once, which replace each other's objects.
pub(crate) async fn store_puts(store: Arc<dyn ObjectStore>, at_once: usize, bytes: usize, time: Duration) -> Result<f64> {
    let mut block = vec![0; bytes];
    rand::rng().fill_bytes(&mut block);
    let body = PutPayload::from(block);
    let put = move || {
        let (store, body) = (Arc::clone(&store), body.clone());
        async move {
            let key = format!("put-{}", rand::random_range(0..64));
            store.put(&key.as_str().into(), body).await.context("write to the store")?;
            Ok(bytes)
        }
    };
    repeat(at_once, time, put).await
}

/// Bytes per second of `operation`, which says how many it moved, done again and again by so many tasks.
async fn repeat<F, A>(tasks: usize, time: Duration, operation: F) -> Result<f64>
where
    F: Fn() -> A + Clone + Send + 'static,
    A: Future<Output = Result<usize>> + Send,
{
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let operation = operation.clone();
        running.spawn(async move {
            let mut moved = 0;
            while begun.elapsed() < time {
                moved += operation().await?;
            }
            anyhow::Ok(moved)
        });
    }
    let mut moved = 0;
    while let Some(ended) = running.join_next().await {
        moved += ended.context("wait for a task")??;
    }
    Ok(moved as f64 / begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_disk_and_a_connection_move_bytes_and_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for append in [Append::Fresh, Append::Recycled] {
            assert!(0.0 < disk_append(directory.path(), append, SHORT).unwrap());
        }
        assert!(!disk_syncs(directory.path(), 4096, Duration::ZERO, SHORT).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(0.0 < loopback(SHORT).unwrap());
    }

    #[tokio::test]
    async fn a_store_is_read_only_where_objects_are_large_enough() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        assert!(0.0 < store_puts(Arc::clone(&store), 2, 1000, SHORT).await.unwrap());
        assert!(0.0 < store_gets(Arc::clone(&store), 2, 1000, SHORT).await.unwrap());
        let error = store_gets(store, 2, 1001, SHORT).await.unwrap_err();
        assert!(error.to_string().contains("no object of the store holds 1001 bytes"), "{error}");
    }
}
