//! What is measured, and what is demanded of it: the tables of the bench.

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Siltstone,
    /// With its default flushing: acknowledged once in the page cache.
    Kafka,
    /// With `log.flush.interval.messages=1`: acknowledged once on disk, as Siltstone does it.
    KafkaFsync,
    /// librdkafka against its own mock broker in the same process: what the client can do at all.
    Client,
    /// The disk, the loopback, the store: no broker.
    Machine,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Siltstone => "siltstone",
            Self::Kafka => "kafka",
            Self::KafkaFsync => "kafka-fsync",
            Self::Client => "client",
            Self::Machine => "machine",
        }
    }
}

/// Where Siltstone's objects go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A directory in memory: the disk has the write-ahead log to itself.
    Memory,
    /// A directory beside the write-ahead log, as by default: every byte is written twice.
    SharedDisk,
    /// An S3 in memory, every request so many milliseconds late.
    S3(u64),
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Shape {
    pub(crate) record_bytes: usize,
    pub(crate) partitions: i32,
    /// Producers, a connection each.
    pub(crate) clients: usize,
    /// Records that go to one partition before the next has its turn.
    pub(crate) run: u64,
    /// Records per second of all; `None` for as many as go.
    pub(crate) rate: Option<f64>,
    /// The topic's, of Siltstone alone.
    pub(crate) durability: &'static str,
    /// librdkafka's.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// 1 KiB in turns to 16 partitions, acks=all, by one producer.
const SHAPE: Shape = Shape { record_bytes: 1024, partitions: 16, clients: 1, run: 1, rate: None, durability: "wal", settings: &[] };

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Work {
    Produce(Shape),
    /// Delays at a fixed rate.
    Delay(Shape),
    /// Written first, then read from the beginning by a consumer while all of it is warm.
    Consume(Shape),
    /// Read as it is written, at a fixed rate, by so many consumers that each read all.
    Tail(Shape, usize),
    /// Written and read from the beginning at once.
    Both(Shape),
    /// Read after a restart, from the store, beside the store's own ranged GETs.
    ColdRead,
    /// A consumer reads after a restart what only the write-ahead log holds.
    WalRead,
    /// The p99 of `object` beside interval + 1.5 PUTs, with so many records in a run.
    ObjectDelay(u64),
    /// Producers as Java's default one is, a partition each: 5 batches of 16 KiB in flight; on `object` with this interval in milliseconds.
    Defaults {
        partitions: i32,
        interval_ms: u64,
    },
    /// From nothing to the first acknowledged record, and the memory then.
    Start,
    /// CPU and memory of a broker with so many partitions that nobody uses.
    Idle {
        partitions: i32,
    },
    /// From a kill to the first acknowledged record, with so many MiB that only the write-ahead log holds.
    Recovery {
        mib: u64,
    },
    DiskFresh,
    DiskRecycled,
    DiskSync,
    Loopback,
    StorePut,
    StoreGet,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Part of the ten minutes' selection.
    pub(crate) is_quick: bool,
    pub(crate) peers: &'static [Peer],
    pub(crate) place: Place,
    pub(crate) work: Work,
}

impl Case {
    /// Whether a bar is held against it.
    pub(crate) fn has_bar(&self) -> bool {
        BARS.iter().any(|bar| bar.to.iter().chain([&bar.of]).any(|term| term.0 == self.name))
    }
}

use Peer::{Client, Kafka, KafkaFsync, Machine, Siltstone};

const OURS: &[Peer] = &[Siltstone];
const BROKERS: &[Peer] = &[Siltstone, Kafka, KafkaFsync];
const ALL: &[Peer] = &[Siltstone, Kafka, KafkaFsync, Client];
const NONE: &[Peer] = &[Machine];

const fn case(name: &'static str, what: &'static str, peers: &'static [Peer], work: Work) -> Case {
    Case { name, what, is_quick: false, peers, place: Place::Memory, work }
}

const fn quick(case: Case) -> Case {
    Case { is_quick: true, ..case }
}

const fn on(place: Place, case: Case) -> Case {
    Case { place, ..case }
}

const fn produce(shape: Shape) -> Work {
    Work::Produce(shape)
}

const fn at(rate: f64) -> Work {
    Work::Delay(Shape { rate: Some(rate), ..SHAPE })
}

/// Every record is sent when it is due: librdkafka's linger of 5 ms, which the others have, would be most of what is measured.
const fn at_once(rate: f64) -> Work {
    Work::Delay(Shape { rate: Some(rate), settings: &[("linger.ms", "0")], ..SHAPE })
}

/// One record in each batch, whatever waits.
const SINGLE: &[(&str, &str)] = &[("batch.num.messages", "1")];
const LARGE: &[(&str, &str)] = &[("batch.size", "1000000"), ("linger.ms", "50")];
/// MessageSet of Kafka 0.10, converted to record batches where it is kept.
const OLD: &[(&str, &str)] = &[("api.version.request", "false"), ("broker.version.fallback", "0.10.0.0")];

pub(crate) const CASES: &[Case] = &[
    quick(case("disk-fresh", "1 MiB appends to a fresh file, fdatasync each", NONE, Work::DiskFresh)),
    quick(case("disk-recycled", "1 MiB appends over an old file, fdatasync each", NONE, Work::DiskRecycled)),
    quick(case("disk-sync", "4 KiB appends, fdatasync each, 200 a second", NONE, Work::DiskSync)),
    quick(case("loopback", "a TCP connection, 64 KiB writes", NONE, Work::Loopback)),
    on(Place::S3(0), case("store-put", "8 MiB PUTs, 4 at once", NONE, Work::StorePut)),
    on(Place::S3(0), case("store-get", "4 MiB ranged GETs, 4 at once", NONE, Work::StoreGet)),
    quick(case("produce-16", "1 KiB, 16 partitions", ALL, produce(SHAPE))),
    on(Place::SharedDisk, case("produce-16-shared-disk", "the same, store and log on one disk", OURS, produce(SHAPE))),
    case("produce-1", "1 KiB, 1 partition", ALL, produce(Shape { partitions: 1, ..SHAPE })),
    case("produce-1000", "1 KiB, 1,000 partitions, in runs of 16", ALL, produce(Shape { partitions: 1000, run: 16, ..SHAPE })),
    case("produce-10000", "1 KiB, 10,000 partitions, in runs of 16", OURS, produce(Shape { partitions: 10_000, run: 16, ..SHAPE })),
    case("produce-50-clients", "1 KiB, 16 partitions, 50 connections", BROKERS, produce(Shape { clients: 50, ..SHAPE })),
    case("produce-acks-0", "1 KiB, 16 partitions, acks=0", BROKERS, produce(Shape { settings: &[("acks", "0")], ..SHAPE })),
    case("produce-acks-1", "1 KiB, 16 partitions, acks=1", BROKERS, produce(Shape { settings: &[("acks", "1")], ..SHAPE })),
    case(
        "produce-idempotent",
        "1 KiB, 16 partitions, idempotent",
        ALL,
        produce(Shape { settings: &[("enable.idempotence", "true")], ..SHAPE }),
    ),
    case("produce-lz4", "1 KiB, 16 partitions, lz4", ALL, produce(Shape { settings: &[("compression.type", "lz4")], ..SHAPE })),
    case("produce-zstd", "1 KiB, 16 partitions, zstd", ALL, produce(Shape { settings: &[("compression.type", "zstd")], ..SHAPE })),
    case("produce-large", "1 KiB, 16 partitions, batches of 1 MB", ALL, produce(Shape { settings: LARGE, ..SHAPE })),
    case("produce-100", "100 B, 16 partitions", ALL, produce(Shape { record_bytes: 100, ..SHAPE })),
    quick(case("produce-single", "100 B, a record in each batch", ALL, produce(Shape { record_bytes: 100, settings: SINGLE, ..SHAPE }))),
    case("produce-old", "1 KiB, 16 partitions, message sets of Kafka 0.10", OURS, produce(Shape { settings: OLD, ..SHAPE })),
    on(Place::S3(10), case("produce-object", "1 KiB, 16 partitions, `object`", OURS, produce(Shape { durability: "object", ..SHAPE }))),
    case("delay-500", "1 KiB, 500 records/s", BROKERS, at(500.0)),
    quick(case("delay-2000", "1 KiB, 2,000 records/s", ALL, at(2000.0))),
    quick(case("delay-2000-at-once", "the same, sent without linger", &[Siltstone, KafkaFsync, Client], at_once(2000.0))),
    case("delay-10000", "1 KiB, 10,000 records/s", BROKERS, at(10_000.0)),
    quick(case("consume-16", "1 KiB, 16 partitions, from the beginning, warm", &[Siltstone, Kafka], Work::Consume(SHAPE))),
    case("consume-old", "the same as message sets of Kafka 0.10", OURS, Work::Consume(Shape { settings: OLD, ..SHAPE })),
    case("tail-1", "20 MB/s in, 1 reader", &[Siltstone, Kafka], Work::Tail(Shape { rate: Some(20_000.0), ..SHAPE }, 1)),
    case("tail-10", "20 MB/s in, 10 readers", &[Siltstone, Kafka], Work::Tail(Shape { rate: Some(20_000.0), ..SHAPE }, 10)),
    case("both", "in and out from the beginning at once", &[Siltstone, Kafka], Work::Both(SHAPE)),
    on(Place::S3(0), case("both-object", "the same on `object`", OURS, Work::Both(Shape { durability: "object", ..SHAPE }))),
    case("read-wal", "after a restart, from the write-ahead log", OURS, Work::WalRead),
    case("read-directory", "after a restart, from a directory in memory", OURS, Work::ColdRead),
    quick(on(Place::S3(0), case("read-s3", "after a restart, from S3", OURS, Work::ColdRead))),
    on(Place::S3(30), case("read-s3-30", "after a restart, from S3 with 30 ms", OURS, Work::ColdRead)),
    quick(on(
        Place::S3(30),
        case("object-delay-30", "`object`, 2,000 records/s in runs of 16, PUTs of 30 ms", OURS, Work::ObjectDelay(16)),
    )),
    on(Place::S3(30), case("object-delay-30-spread", "the same, each record to the next partition", OURS, Work::ObjectDelay(1))),
    on(Place::S3(30), case("defaults-1-20", "1 default producer, interval 20 ms", OURS, Work::Defaults { partitions: 1, interval_ms: 20 })),
    on(Place::S3(30), case("defaults-16-20", "16 of them", OURS, Work::Defaults { partitions: 16, interval_ms: 20 })),
    on(Place::S3(30), case("defaults-64-20", "64 of them", OURS, Work::Defaults { partitions: 64, interval_ms: 20 })),
    on(
        Place::S3(30),
        case("defaults-1-250", "1 default producer, interval 250 ms", OURS, Work::Defaults { partitions: 1, interval_ms: 250 }),
    ),
    on(Place::S3(30), case("defaults-16-250", "16 of them", OURS, Work::Defaults { partitions: 16, interval_ms: 250 })),
    on(Place::S3(30), case("defaults-64-250", "64 of them", OURS, Work::Defaults { partitions: 64, interval_ms: 250 })),
    on(Place::S3(0), case("puts-10", "8 MiB/s on `object`, 10 partitions", OURS, puts(10))),
    on(Place::S3(0), case("puts-10000", "8 MiB/s on `object`, 10,000 partitions", OURS, puts(10_000))),
    quick(case("start", "empty start to the first acknowledged record", &[Siltstone, Kafka], Work::Start)),
    case("idle-10", "10 partitions that nobody uses", &[Siltstone, Kafka], Work::Idle { partitions: 10 }),
    case("idle-10000", "10,000 partitions that nobody uses", OURS, Work::Idle { partitions: 10_000 }),
    on(Place::S3(0), case("recovery-256", "256 MiB that only the log holds", OURS, Work::Recovery { mib: 256 })),
    on(Place::S3(0), case("recovery-4096", "4 GiB that only the log holds", OURS, Work::Recovery { mib: 4096 })),
];

const fn puts(partitions: i32) -> Work {
    Work::Delay(Shape { partitions, run: 16, rate: Some(8192.0), durability: "object", ..SHAPE })
}

/// A measure of a case and a peer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Term(pub(crate) &'static str, pub(crate) Peer, pub(crate) &'static str);

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => limit <= value,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// What is demanded: the ratio of a measure to the least of others in the same round, or the measure itself where there are none.
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    pub(crate) of: Term,
    pub(crate) to: &'static [Term],
    pub(crate) limit: Limit,
}

const fn bar(what: &'static str, of: Term, to: &'static [Term], limit: Limit) -> Bar {
    Bar { what, of, to, limit }
}

use Limit::{AtLeast, AtMost};

pub(crate) const BARS: &[Bar] = &[
    bar(
        "produce, 16 partitions, to Kafka not fsync'd",
        Term("produce-16", Siltstone, "mb_per_second"),
        &[Term("produce-16", Kafka, "mb_per_second")],
        AtLeast(1.5),
    ),
    bar(
        "the same to Kafka fsync'd",
        Term("produce-16", Siltstone, "mb_per_second"),
        &[Term("produce-16", KafkaFsync, "mb_per_second")],
        AtLeast(2.0),
    ),
    bar(
        "produce to the lesser of raw append and client",
        Term("produce-16", Siltstone, "mb_per_second"),
        &[Term("disk-recycled", Machine, "mb_per_second"), Term("produce-16", Client, "mb_per_second")],
        AtLeast(0.8),
    ),
    bar(
        "broker's CPU per GiB in, to Kafka",
        Term("produce-16", Siltstone, "cpu_s_per_gib"),
        &[Term("produce-16", Kafka, "cpu_s_per_gib")],
        AtMost(0.5),
    ),
    bar(
        "broker's CPU per GiB out, to Kafka",
        Term("consume-16", Siltstone, "cpu_s_per_gib"),
        &[Term("consume-16", Kafka, "cpu_s_per_gib")],
        AtMost(0.7),
    ),
    bar(
        "100 B, a record in each batch: records/s to Kafka",
        Term("produce-single", Siltstone, "records_per_second"),
        &[Term("produce-single", Kafka, "records_per_second")],
        AtLeast(1.5),
    ),
    bar(
        "p99 at 2,000/s to Kafka fsync'd",
        Term("delay-2000", Siltstone, "p99_ms"),
        &[Term("delay-2000", KafkaFsync, "p99_ms")],
        AtMost(0.5),
    ),
    bar("p99 at 2,000/s to a raw fdatasync", Term("delay-2000", Siltstone, "p99_ms"), &[Term("disk-sync", Machine, "p99_ms")], AtMost(3.0)),
    bar("the same without linger", Term("delay-2000-at-once", Siltstone, "p99_ms"), &[Term("disk-sync", Machine, "p99_ms")], AtMost(3.0)),
    bar(
        "consume from the beginning, warm, to Kafka",
        Term("consume-16", Siltstone, "mb_per_second"),
        &[Term("consume-16", Kafka, "mb_per_second")],
        AtLeast(1.2),
    ),
    bar("the same, cold, to S3's own ranged GETs", Term("read-s3", Siltstone, "to_store"), &[], AtLeast(0.9)),
    bar("`object`, MiB/s in and out per core used", Term("both-object", Siltstone, "mib_per_core"), &[], AtLeast(150.0)),
    bar("1 default producer to its limit, 20 ms", Term("defaults-1-20", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("16 of them, 20 ms", Term("defaults-16-20", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("64 of them, 20 ms", Term("defaults-64-20", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("1 default producer to its limit, 250 ms", Term("defaults-1-250", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("16 of them, 250 ms", Term("defaults-16-250", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("64 of them, 250 ms", Term("defaults-64-250", Siltstone, "to_limit"), &[], AtLeast(0.8)),
    bar("`object` p99 to interval + 1.5 PUTs of 30 ms", Term("object-delay-30", Siltstone, "to_bar"), &[], AtMost(1.0)),
    bar("the same, each record to the next partition", Term("object-delay-30-spread", Siltstone, "to_bar"), &[], AtMost(1.0)),
    bar(
        "PUTs per second, 10,000 partitions to 10",
        Term("puts-10000", Siltstone, "puts_per_second"),
        &[Term("puts-10", Siltstone, "puts_per_second")],
        AtMost(1.1),
    ),
    bar("memory at start, MiB", Term("start", Siltstone, "memory_mib"), &[], AtMost(40.0)),
    bar("memory with 10,000 partitions, MiB", Term("idle-10000", Siltstone, "memory_mib"), &[], AtMost(150.0)),
    bar("memory at full load, MiB", Term("produce-16", Siltstone, "memory_mib"), &[], AtMost(700.0)),
    bar("start to the first acknowledged record, ms", Term("start", Siltstone, "first_ms"), &[], AtMost(200.0)),
    bar("recovery within the memory budget, MiB/s", Term("recovery-256", Siltstone, "mib_per_second"), &[], AtLeast(500.0)),
    bar("recovery above it, MiB/s", Term("recovery-4096", Siltstone, "mib_per_second"), &[], AtLeast(200.0)),
    bar("bytes written to disk per byte accepted", Term("produce-16", Siltstone, "written_per_accepted"), &[], AtMost(1.03)),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_given_once_and_bars_name_what_is_measured() {
        let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        for bar in BARS {
            for Term(case, peer, _) in bar.to.iter().chain([&bar.of]) {
                let found = CASES.iter().find(|found| found.name == *case);
                assert!(found.is_some_and(|found| found.peers.contains(peer)), "{}: {case} of {}", bar.what, peer.name());
            }
        }
    }

    #[test]
    fn a_limit_is_reached_at_its_value() {
        assert!(AtLeast(1.5).holds(1.5) && !AtLeast(1.5).holds(1.49));
        assert!(AtMost(0.5).holds(0.5) && !AtMost(0.5).holds(0.51));
    }
}
