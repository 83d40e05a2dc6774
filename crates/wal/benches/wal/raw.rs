//! A log that is nothing but files: the limit that the real one is compared with.

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{FILE_BYTES, Log, OBJECT_BYTES, Waiters};

/// Before each batch, in place of an entry's own fields.
const HEADER: [u8; 72] = [7; 72];
/// Written at once.
const GROUP_BYTES: usize = 16 << 20;

/// Two threads: one appends everything that waits, one syncs everything appended.
pub(crate) struct RawLog {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    queue_changed: Condvar,
    sync: Mutex<Sync>,
    sync_changed: Condvar,
}

#[derive(Default)]
struct Queue {
    batches: Vec<Bytes>,
    /// Position of the next batch.
    next: u64,
    closing: bool,
}

#[derive(Default)]
struct Sync {
    /// Everything below is written.
    written: u64,
    /// The files that hold it, oldest first; all but the last are full.
    files: Vec<(PathBuf, Arc<File>)>,
    closing: bool,
    /// Files to write over again.
    free: Vec<PathBuf>,
}

impl RawLog {
    pub(crate) fn open(dir: &Path, recycle: bool, waiters: &Arc<Waiters>) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            sync: Mutex::default(),
            sync_changed: Condvar::new(),
        });
        let (appends, syncs) = (shared.clone(), shared.clone());
        let (dir, waiters) = (dir.to_owned(), waiters.clone());
        let append = runtime::spawn_thread("raw-append", move || append(&appends, &dir));
        let (full, to_upload) = mpsc::sync_channel(4);
        let uploads = shared.clone();
        let upload = runtime::spawn_thread("raw-upload", move || upload(&uploads, recycle, &to_upload));
        let sync = runtime::spawn_thread("raw-sync", move || sync(&syncs, &full, &waiters));
        Self { shared, threads: [append, sync, upload].map(|thread| thread.expect("start a thread")).into() }
    }
}

impl Log for RawLog {
    fn append(&self, batch: &Bytes) -> u64 {
        let mut queue = self.shared.queue.lock();
        queue.batches.push(batch.clone());
        queue.next += 1;
        self.shared.queue_changed.notify_one();
        queue.next - 1
    }
}

impl Drop for RawLog {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.queue_changed.notify_all();
        self.shared.sync.lock().closing = true;
        self.shared.sync_changed.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread of the log");
        }
    }
}

fn append(shared: &Shared, dir: &Path) {
    let mut number = 0;
    let mut file = next_file(shared, dir, &mut number);
    let mut bytes = 0;
    let mut written = 0;
    loop {
        let group = {
            let mut queue = shared.queue.lock();
            shared.queue_changed.wait_while(&mut queue, |queue| queue.batches.is_empty() && !queue.closing);
            if queue.batches.is_empty() {
                return;
            }
            std::mem::take(&mut queue.batches)
        };
        let mut group = group.as_slice();
        while !group.is_empty() {
            let mut chunk = 0;
            let count = group.iter().take_while(|batch| {
                chunk += batch.len();
                chunk <= GROUP_BYTES || chunk == batch.len()
            });
            let (now, later) = group.split_at(count.count());
            let mut parts: Vec<_> = now.iter().flat_map(|batch| [IoSlice::new(&HEADER), IoSlice::new(batch)]).collect();
            write_all(&file, &mut parts);
            bytes += now.iter().map(|batch| batch.len() as u64).sum::<u64>();
            written += now.len() as u64;
            shared.sync.lock().written = written;
            shared.sync_changed.notify_all();
            group = later;
        }
        if FILE_BYTES <= bytes {
            (file, bytes) = (next_file(shared, dir, &mut number), 0);
        }
    }
}

fn write_all(mut file: &File, mut parts: &mut [IoSlice<'_>]) {
    while !parts.is_empty() {
        let written = file.write_vectored(parts).expect("write");
        IoSlice::advance_slices(&mut parts, written);
    }
}

fn next_file(shared: &Shared, dir: &Path, number: &mut u64) -> Arc<File> {
    let mut sync = shared.sync.lock();
    let path = sync.free.pop().unwrap_or_else(|| {
        *number += 1;
        dir.join(number.to_string())
    });
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).expect("open a file");
    file.seek(SeekFrom::Start(0)).expect("seek");
    let file = Arc::new(file);
    sync.files.push((path, file.clone()));
    file
}

fn sync(shared: &Shared, full: &mpsc::SyncSender<PathBuf>, waiters: &Waiters) {
    let mut synced = 0;
    loop {
        let (written, files) = {
            let mut sync = shared.sync.lock();
            shared.sync_changed.wait_while(&mut sync, |sync| sync.written == synced && !sync.closing);
            if sync.written == synced {
                return;
            }
            (sync.written, sync.files.clone())
        };
        for (_, file) in &files {
            file.sync_data().expect("sync");
        }
        synced = written;
        waiters.release(synced);
        let done: Vec<_> = shared.sync.lock().files.drain(..files.len() - 1).collect();
        for (path, _) in done {
            full.send(path).expect("the other thread ends after this one");
        }
    }
}

/// Reads full files back, and gives their space back.
fn upload(shared: &Shared, recycle: bool, full: &mpsc::Receiver<PathBuf>) {
    let mut part = vec![0; OBJECT_BYTES];
    let mut object = Vec::new();
    for path in full {
        let mut file = File::open(&path).expect("open a file");
        loop {
            let read = file.read(&mut part).expect("read");
            if read == 0 {
                break;
            }
            object.clear();
            object.extend_from_slice(&part[..read]);
            std::hint::black_box(&object);
        }
        if recycle {
            shared.sync.lock().free.push(path);
        } else {
            fs::remove_file(path).expect("remove a file");
        }
    }
}
