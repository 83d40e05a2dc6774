//! What stops the bars that are missed, as far as it was found out, for docs/performance.md. Shares are of samples of the broker's CPU time,
//! taken with `perf record -g` during the case, on a busy machine.

const STOPS: &[(&str, &str)] = &[
    (
        "produce, 16 partitions, to Kafka not fsync'd",
        "two cores. At 1.5 times Kafka's rate they have 2.8 CPU seconds per GiB for broker and load together, and the load alone takes 1.9: 0.9 would \
         be the broker's, which takes 1.63 (where they go, the third row from here). The disk would take more (`disk-recycled`).",
    ),
    ("the same to Kafka fsync'd", "the same two cores: at twice that rate 1.5 CPU seconds per GiB would be the broker's."),
    (
        "produce to the lesser of raw append and client",
        "the same two cores: at 0.8 of what the client does against a broker that throws all away, 0.1 CPU seconds per GiB would be the \
         broker's.",
    ),
    (
        "broker's CPU per GiB in, to Kafka",
        "each byte goes into the page cache twice: 28 % of the CPU time for the store's directory in memory, 6 % for the log. Receiving is 5 % \
         and checksums, of batches and of the log, are 11 %: together 0.8 CPU seconds per GiB, and the bar is 0.73. Kafka's log is its store, \
         and one copy. Of the rest, copies within the process are 9 %, generations of the log that are made and dropped 11 % (of twice their size, \
         with twice the memory, the broker took 1 to 9 % less and was no faster), and waking each other 14 %. On a bucket the second \
         copy is one to a socket.",
    ),
    (
        "broker's CPU per GiB out, to Kafka",
        "31 % of the CPU time is sending, and 26 % the copy out of the page cache, which Kafka spares itself with sendfile: those two are the \
         bar already. 15 % are checksums, which Kafka leaves to its clients: a store may answer with damage. Mapped files would spare the \
         copy, but what a disk cannot read would then end the process instead of failing a request.",
    ),
    (
        "consume from the beginning, warm, to Kafka",
        "two cores: at 1.2 times Kafka's rate they have 1.4 CPU seconds per GiB, and the load takes 1.0 and the broker 0.55. And a consumer has one \
         Fetch under way: until its answer of 16 MiB is gathered, 0.2 to 0.3 s per GiB go by in which its connection waits (by \
         `siltstone_request_duration_seconds`; 98 % of the bytes are in memory by then, 0.08 s are their checksums), and sending, receiving and \
         taking it apart come one after the other.",
    ),
    (
        "the same, cold, to S3's own ranged GETs",
        "two cores: at 0.9 of what the store's GETs reach when they have the machine to themselves there would be 0.5 CPU seconds per GiB \
         for store, broker and client, and the client alone takes 0.8 or more. Where the store's delay is the limit and not the processor, \
         the same is 0.89 (`make bench CASES=read-s3-30`). 1.2 to 1.35 bytes are fetched for each that is read ([cold reads](decisions/2026-11-29-cold-reads.md)).",
    ),
    (
        "p99 at 2,000/s to a raw fdatasync",
        "librdkafka's linger of 5 ms: its p99 against its own mock broker, which answers at once, is as far above the bar. The next row is \
         without linger.",
    ),
    (
        "bytes written to disk per byte accepted",
        "headers and control rows of the log are 0.5 %, which is all that `make guard` finds. The rest are memtables that spill once in a \
         while, when an upload is late.",
    ),
];

/// Of the bar of that name.
pub(crate) fn of(bar: &str) -> &'static str {
    STOPS.iter().find(|(name, _)| *name == bar).map_or("not found out yet.", |(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::BARS;

    #[test]
    fn every_text_is_of_a_bar() {
        for (name, _) in STOPS {
            assert!(BARS.iter().any(|bar| bar.what == *name), "no bar is called {name}");
        }
    }
}
