//! A guard against regressions of speed that measures no time: what the produce path and the two fetch paths cost in allocations, bytes
//! written, syncs and requests to the store is counted in one process, and held to a bound. The same code counts the same on a busy machine.
//! `docs/hacking.md` says what to do when a bound is passed.
//!
//! The one measurement, of CPU time beside that of the least there is to do, is made by `make guard` alone.
#![allow(clippy::unwrap_used)] // as in unit tests: a failure is a failure
#![allow(clippy::print_stdout)] // the counts, for whoever asks for them

mod allocations;
mod client;
mod cpu;
mod world;

use bytes::Bytes;
use store::Operation;
use types::Lsn;
use wal::WriteAheadLog;

use crate::client::{batch, produce};
use crate::world::Machine;

/// 256 records of 1 KiB.
const BATCH_RECORDS: usize = 256;
/// All of them are within the memory that the log keeps for readers.
const BATCHES: usize = 128;
const END: i64 = (BATCHES * BATCH_RECORDS) as i64;
const IN_FLIGHT: usize = 5;

/// Says of each cost what was found, and fails if one is above its bound: what, found, at most.
fn hold(costs: &[(&str, f64, f64)]) {
    let line = |(what, found, bound): &(&str, f64, f64)| format!("{what}: {found:.3}, at most {bound}");
    costs.iter().for_each(|cost| println!("{}", line(cost)));
    let above: Vec<_> = costs.iter().filter(|(_, found, bound)| bound < found).map(line).collect();
    assert!(above.is_empty(), "costs above their bounds, docs/hacking.md says what to do: {above:#?}");
}

/// What `work` allocates on other threads: how often, and how many bytes.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (calls, bytes) = allocations::so_far();
    let done = work();
    let (calls_after, bytes_after) = allocations::so_far();
    (done, (calls_after - calls) as f64, (bytes_after - bytes) as f64)
}

/// Bytes that this process gave to write(2) and its like: all that goes to the disk, and answers that are gathered of parts.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux counts what a process writes");
    let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("a line wchar");
    bytes.parse().unwrap()
}

/// [`BATCHES`] requests of one batch each, for one partition, and the bytes of all batches.
fn bulk() -> (Vec<Bytes>, f64) {
    let batch = batch(BATCH_RECORDS, 1 << 10);
    let bytes = batch.len() * BATCHES;
    (vec![produce("bulk", [(0, batch)]); BATCHES], bytes as f64)
}

#[test]
fn a_byte_that_is_produced_is_written_once() {
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("bulk", 1, "wal");
    let (frames, bytes) = bulk();
    client.produce_all(&frames[..IN_FLIGHT], IN_FLIGHT);

    let before = written();
    let ((), _, allocated) = allocated(|| client.produce_all(&frames, IN_FLIGHT));
    hold(&[
        ("bytes allocated for each byte produced", allocated / bytes, 4.1),
        ("bytes written for each byte produced", (written() - before) as f64 / bytes, 1.03),
    ]);
    world.stop();
}

#[test]
fn a_small_produce_takes_few_allocations() {
    const REQUESTS: usize = 500;
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("small", 1, "wal");
    let frames = vec![produce("small", [(0, batch(1, 100))]); REQUESTS];
    client.produce_all(&frames, IN_FLIGHT);

    let ((), calls, bytes) = allocated(|| client.produce_all(&frames, IN_FLIGHT));
    hold(&[
        ("allocations for each Produce of one record", calls / REQUESTS as f64, 26.0),
        ("bytes allocated for each Produce of one record", bytes / REQUESTS as f64, 5200.0),
    ]);
    world.stop();
}

#[test]
fn one_sync_serves_all_who_wait() {
    const PRODUCERS: u64 = 32;
    let machine = Machine::new();
    let world = machine.start();
    let mut clients: Vec<_> = (0..PRODUCERS).map(|_| world.connect()).collect();
    clients[0].create_topic("shared", 1, "wal");
    let frame = produce("shared", [(0, batch(1, 100))]);

    let (appended, syncs) = (world.wal().progress().borrow().appended, world.wal().usage().syncs);
    world.faults().hold_syncs();
    clients.iter_mut().for_each(|client| client.send(&frame));
    world.wait_appended(Lsn(appended.0 + PRODUCERS));
    world.faults().release_syncs();
    clients.iter_mut().for_each(|client| client.acknowledged());
    // One was under way when the rest came, one is for the rest, and one may be a sync that nobody waits for.
    hold(&[("syncs for 32 Produces at once", (world.wal().usage().syncs - syncs) as f64, 3.0)]);
    world.stop();
}

#[test]
fn one_upload_serves_all_partitions() {
    const PARTITIONS: i32 = 64;
    const REQUESTS: usize = 5;
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("wide", PARTITIONS, "object");
    let frame = produce("wide", (0..PARTITIONS).map(|partition| (partition, batch(1, 100))));
    client.produce_all(std::slice::from_ref(&frame), 1);

    let (puts, _) = machine.store_calls(Operation::Put);
    client.produce_all(&vec![frame; REQUESTS], 1);
    let (puts_after, _) = machine.store_calls(Operation::Put);
    // One for each interval; more where the machine takes longer than that to append one request. One for each partition are 320.
    hold(&[("PUTs for 5 Produces to 64 partitions", (puts_after - puts) as f64, 32.0)]);
    world.stop();
}

#[test]
fn a_byte_that_is_fetched_from_memory_is_not_copied() {
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("bulk", 1, "wal");
    let (frames, bytes) = bulk();
    client.produce_all(&frames, IN_FLIGHT);
    client.read_to(END, "bulk", 0);

    let ((requests, served), calls, allocated) = allocated(|| client.read_to(END, "bulk", 0));
    assert_eq!(served as f64, bytes);
    hold(&[
        ("bytes allocated for each byte fetched from memory", allocated / bytes, 0.02),
        ("allocations for each Fetch from memory", calls / requests as f64, 35.0),
    ]);
    world.stop();
}

#[test]
fn a_byte_that_is_fetched_from_the_store_is_asked_for_once() {
    const GIB: f64 = (1 << 30) as f64;
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("bulk", 1, "wal");
    let (frames, bytes) = bulk();
    client.produce_all(&frames, IN_FLIGHT);
    world.stop();

    // A broker that has started anew has nothing of it but in the store.
    let world = machine.start();
    let mut client = world.connect();
    let (gets, got) = machine.store_calls(Operation::GetRange);
    let ((requests, served), calls, allocated) = allocated(|| client.read_to(END, "bulk", 0));
    let (gets_after, got_after) = machine.store_calls(Operation::GetRange);
    assert_eq!(served as f64, bytes);
    hold(&[
        ("GETs for each GiB fetched from the store", (gets_after - gets) as f64 / (bytes / GIB), 350.0),
        ("bytes got for each byte fetched from the store", (got_after - got) as f64 / bytes, 1.02),
        ("bytes allocated for each byte fetched from the store", allocated / bytes, 0.26),
        ("allocations for each Fetch from the store", calls / requests as f64, 65.0),
    ]);
    world.stop();
}
