//! CPU time of produced bytes beside that of the least there is to do with them: one CRC-32C and two copies, from the socket and to the
//! file. Both are measured in the same process, by turns, so that a slow machine slows both.

use std::hint::black_box;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::client::Client;
use crate::world::Machine;
use crate::{IN_FLIGHT, bulk, hold};

const ROUNDS: usize = 5;

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time of the broker's threads for these requests, without the client's.
fn broker(client: &mut Client, frames: &[Bytes]) -> f64 {
    let spent = || seconds(ClockId::ProcessCPUTime) - seconds(ClockId::ThreadCPUTime);
    let before = spent();
    client.produce_all(frames, IN_FLIGHT);
    spent() - before
}

fn least(frames: &[Bytes]) -> f64 {
    let before = seconds(ClockId::ThreadCPUTime);
    for frame in frames {
        let received = frame.to_vec();
        black_box(crc32c::crc32c(&received));
        black_box(received.clone());
    }
    seconds(ClockId::ThreadCPUTime) - before
}

#[test]
fn produce_takes_a_bounded_multiple_of_the_least_cpu_time() {
    if std::env::var_os("SILTSTONE_TEST_GUARD_CPU").is_none() {
        println!("measured by `make guard` only");
        return;
    }
    let machine = Machine::new();
    let world = machine.start();
    let mut client = world.connect();
    client.create_topic("bulk", 1, "wal");
    let (frames, _) = bulk();
    let (mut spent, mut needed) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        spent = spent.min(broker(&mut client, &frames));
        needed = needed.min(least(&frames));
    }
    hold(&[("CPU time of Produces to that of one CRC-32C and two copies", spent / needed, 120.0)]);
    world.stop();
}
