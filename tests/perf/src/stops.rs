//! What stops the bars that are missed, as far as it was found out, for docs/performance.md. Shares are of samples of the broker's CPU time,
//! taken with `perf record -g` during the case, on a busy machine.

const STOPS: &[(&str, &str)] = &[
    (
        "produce, 16 partitions, to Kafka not fsync'd",
        "two cores, which broker and client use up: see the CPU seconds per GiB of both. The disk would take more (`disk-recycled`).",
    ),
    ("the same to Kafka fsync'd", "the same two cores."),
    (
        "produce to the lesser of raw append and client",
        "the same two cores. The log's thread copies each byte into an entry, a write batch, a memtable and a file, and waits while \
         generations are made and dropped; [taking those waits away](decisions/2026-11-29-ranges-that-memory-holds.md) made it slower.",
    ),
    (
        "broker's CPU per GiB in, to Kafka",
        "each byte goes into the page cache twice, for the store's directory in memory (31 % of the CPU time) and for the log (12 %). Pages that \
         the kernel finds and clears for memory are 10 %, copies within the process 8 %, checksums 8 %, generations that are made and dropped \
         13 %. Kafka's log is its store, and one copy. On a real bucket the second copy is one to a socket instead.",
    ),
    (
        "broker's CPU per GiB out, to Kafka",
        "28 % of the CPU time is sending, which Kafka has as well. 26 % is the copy out of the page cache, which it spares itself with sendfile, \
         and 16 % are checksums, which it leaves to its clients: a store may answer with damage.",
    ),
    (
        "consume from the beginning, warm, to Kafka",
        "two cores, half of which the client needs, and the CPU seconds per GiB of the row above.",
    ),
    (
        "the same, cold, to S3's own ranged GETs",
        "two cores: broker, store and client together take 2.6 CPU seconds per GiB, so no more than 790 MiB/s go through, a quarter of what \
         the store's GETs reach when they have the machine to themselves. 1.2 to 1.35 bytes are fetched for each that is read \
         ([cold reads](decisions/2026-11-29-cold-reads.md)).",
    ),
    ("p99 at 2,000/s to a raw fdatasync", "librdkafka's linger of 5 ms alone is eight times that. The next row is without it."),
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
