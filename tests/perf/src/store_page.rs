//! The numbers of docs/operations/store.md, made of the saved report and of the prices of docs/operations/costs.md.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::machine;
use crate::markdown::{dollars, number, percent, table};
use crate::store_numbers::{Requests, StoreReport};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MIB: f64 = 1024.0 * 1024.0;
/// The rate whose price is told.
const PRICED_MIB_PER_SECOND: f64 = 8.0;

/// US dollars, by the names that the costs page gives them.
pub(crate) struct Prices(BTreeMap<String, f64>);

impl Prices {
    /// The rows of the costs page whose first cell is a name in code and whose second is a number.
    pub(crate) fn of(costs: &str) -> Self {
        let rows = costs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        Self(rows.filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once(" |")?.0.parse().ok()?))).collect())
    }

    fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("docs/operations/costs.md has no price {name}"))
    }
}

/// What lies between the marks.
pub(crate) fn render(report: &StoreReport, prices: &Prices) -> Result<String> {
    ensure!(!report.requests.is_empty(), "the report has no measurements of requests");
    let shares = report.requests.iter().map(|row| row.shares).chain(report.delays.iter().map(|row| row.shares));
    let shares = shares.chain(report.cold_reads.iter().map(|row| row.shares));
    let sentence = format!("{} Random records of 1 KiB, one librdkafka producer with batches of up to 16 KiB.\n", report.run.sentence());
    let parts = [sentence + &machine::warning(shares), requests(report), delays(report), cold_reads(report), costs(report, prices)?];
    let failures = report.failures.iter().map(|failure| format!("\nNot measured: {failure}.\n"));
    Ok(parts.join("\n") + &failures.collect::<String>())
}

fn rate(row: &Requests) -> f64 {
    row.bytes_in / MIB / row.seconds
}

fn per_gib(count: f64, bytes: f64) -> f64 {
    count / (bytes / GIB)
}

fn requests(report: &StoreReport) -> String {
    let mut text = "### Requests, bytes and metadata\n\n".to_owned();
    let head = [
        "durability",
        "partitions",
        "sent, MiB/s",
        "taken in, MiB/s",
        "PUTs/s",
        "PUTs per GiB",
        "rewriting's",
        "GETs per GiB",
        "bytes put per byte",
        "segments per GiB",
        "GETs per GiB read",
        "others",
    ];
    let rows = report.requests.iter().map(|row| {
        [
            format!("`{}`", row.durability),
            number(f64::from(row.partitions)),
            number(row.asked_mib_per_second),
            number(rate(row)),
            number(row.puts / row.seconds),
            number(per_gib(row.puts, row.bytes_in)),
            number(per_gib(row.rewrites, row.bytes_in)),
            number(per_gib(row.gets, row.bytes_in)),
            number(row.put_bytes / row.bytes_in),
            number(per_gib(row.segments, row.bytes_in)),
            number(per_gib(row.read_gets, row.read_bytes)),
            percent(row.shares.of_others()),
        ]
    });
    text += &table(&head, rows);
    let most = |durability: &str, partitions| {
        let rows = report.requests.iter().filter(|row| row.durability == durability && row.partitions == partitions);
        rows.map(|row| row.puts / row.seconds).fold(0.0, f64::max)
    };
    let (few, many) = (most("object", 10), most("object", 10_000));
    if 0.0 < few {
        text += &format!(
            "\nMost PUTs per second on `object`, 10,000 partitions to 10: {} to {}, {}.\n",
            number(many),
            number(few),
            number(many / few)
        );
    }
    text
}

fn delays(report: &StoreReport) -> String {
    let mut text = "### Delay of `object`\n\n".to_owned();
    let head = [
        "store",
        "records in a run",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "a PUT ms",
        "interval + PUT ms",
        "p99 to it",
        "p99 to interval + 1.5 PUT",
        "others",
    ];
    let rows = report.delays.iter().map(|row| {
        let limit = row.interval_ms + row.put_mean_ms;
        let told = [row.run as f64, row.delays.p50_ms, row.delays.p99_ms, row.delays.p999_ms, row.put_mean_ms, limit];
        let ratios = [row.delays.p99_ms / limit, row.delays.p99_ms / row.bar_ms()];
        let numbers = told.into_iter().chain(ratios).map(number);
        let cells: Vec<_> = [row.store.clone()].into_iter().chain(numbers).chain([percent(row.shares.of_others())]).collect();
        cells
    });
    text += &table(&head, rows);
    text
}

fn cold_reads(report: &StoreReport) -> String {
    let mut text = "### Reading what no cache holds\n\n".to_owned();
    let head = [
        "store",
        "read, MiB/s",
        "broker's CPU s per GiB",
        "GETs",
        "a GET, MiB",
        "at once",
        "the store's own, MiB/s",
        "at once",
        "ratio",
        "others",
    ];
    let rows = report.cold_reads.iter().map(|row| {
        [
            row.store.clone(),
            number(row.mib_per_second),
            number(per_gib(row.cpu_seconds, row.bytes)),
            number(row.gets),
            number(row.get_bytes / row.gets / MIB),
            number(row.concurrency),
            number(row.store_mib_per_second),
            row.store_concurrency.to_string(),
            number(row.mib_per_second / row.store_mib_per_second),
            percent(row.shares.of_others()),
        ]
    });
    text += &table(&head, rows);
    text
}

fn costs(report: &StoreReport, prices: &Prices) -> Result<String> {
    let (put, get, storage) = (prices.get("put")? / 1000.0, prices.get("get")? / 1000.0, prices.get("storage")?);
    let mut text = format!("### Price of a TiB, of what was measured at {} MiB/s\n\n", number(PRICED_MIB_PER_SECOND));
    let head = ["durability", "partitions", "in: PUTs", "in: rewriting's GETs", "out, first time", "a month in the bucket"];
    let priced = report.requests.iter().filter(|row| row.asked_mib_per_second == PRICED_MIB_PER_SECOND);
    let rows = priced.map(|row| {
        let stored = row.stored_bytes / row.stored_of;
        [
            format!("`{}`", row.durability),
            number(f64::from(row.partitions)),
            dollars(per_gib(row.puts, row.bytes_in) * 1024.0 * put),
            dollars(per_gib(row.gets, row.bytes_in) * 1024.0 * get),
            dollars(per_gib(row.read_gets, row.read_bytes) * 1024.0 * get),
            dollars(stored * 1024.0 * storage),
        ]
    });
    text += &table(&head, rows);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, Shares};
    use crate::report::Run;

    const COSTS: &str = "| price | US dollars | for |\n|---|---|---|\n| `put` | 0.005 | 1,000 PUT |\n| `get` | 0.0004 | 1,000 GET |\n\
                         | `storage` | 0.023 | 1 GiB |\n";

    fn report() -> StoreReport {
        let machine =
            Machine { cores: 2, processor: "fast".to_owned(), memory_bytes: 8 << 30, kernel: "6.1".to_owned(), returns_free_pages: false };
        let run = Run { date: "2026-01-01T00:00:00Z".to_owned(), program: "siltstone 1".to_owned(), revision: String::new(), machine };
        let requests = [(10, 40.0), (10_000, 44.0)].map(|(partitions, puts)| Requests {
            durability: "object".to_owned(),
            partitions,
            asked_mib_per_second: 8.0,
            seconds: 10.0,
            bytes_in: 0.5 * GIB,
            puts,
            put_bytes: GIB,
            uploads: puts,
            rewrites: 10.0,
            stored_bytes: 1.5 * GIB,
            stored_of: GIB,
            gets: 5.0,
            segments: 1000.0,
            read_bytes: 0.25 * GIB,
            read_gets: 100.0,
            shares: Shares { ours: 0.5, others: 0.2, stolen: 0.1 },
        });
        StoreReport {
            run,
            requests: requests.into(),
            delays: Vec::new(),
            cold_reads: Vec::new(),
            failures: vec!["cold read: gone".to_owned()],
        }
    }

    #[test]
    fn counts_are_told_by_gib_and_by_second() {
        let page = render(&report(), &Prices::of(COSTS)).unwrap();
        assert!(page.contains("| `object` | 10 | 8 | 51.2 | 4 | 80 | 20 | 10 | 2 | 2,000 | 400 | 30 % |"), "{page}");
        assert!(page.contains("10,000 partitions to 10: 4.4 to 4, 1.1."), "{page}");
        assert!(page.ends_with("\nNot measured: cold read: gone.\n"), "{page}");
    }

    #[test]
    fn prices_are_those_of_the_page_and_what_is_stored_is_more_than_what_was_sent() {
        // 80 PUTs and 10 GETs in a GiB in, 400 GETs in a GiB out, 1.5 bytes stored for each.
        let page = render(&report(), &Prices::of(COSTS)).unwrap();
        assert!(page.contains("| `object` | 10 | $0.41 | $0.00 | $0.16 | $35.33 |"), "{page}");
        let error = render(&report(), &Prices::of("")).unwrap_err();
        assert_eq!(error.to_string(), "docs/operations/costs.md has no price put");
    }
}
