//! docs/performance.md, made of the saved report: bars with pass or miss, then every case.

use std::collections::BTreeSet;

use crate::bench::{BenchReport, Sample};
use crate::cases::{BARS, Bar, CASES, Limit, Peer, Term};
use crate::machine;
use crate::markdown::{number, percent, table};
use crate::statistics::Spread;
use crate::stops;

/// A result above this share of the client's ceiling says more of the client than of the broker.
const CLIENT_SHARE: f64 = 0.8;

/// What lies between the marks.
pub(crate) fn render(report: &BenchReport) -> String {
    let kafka = if report.kafka.is_empty() { "without Apache Kafka".to_owned() } else { format!("beside Apache Kafka {}", report.kafka) };
    let rounds = if report.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", report.rounds) };
    let mut text = format!("{} {rounds} of {} s for each case, {kafka}.", report.run.sentence(), report.seconds);
    if report.rounds_without_bar < report.rounds {
        text += &format!(" Cases without a bar: {}.", report.rounds_without_bar);
    }
    text += "\n";
    text += &machine::warning(report.samples.iter().map(|sample| sample.shares));
    text += "\n### Bars\n\n";
    text += &table(&["measure", "bar", "found", "least", "most", ""], BARS.iter().map(|bar| bar_row(report, bar)));
    text += &stops(report);
    text += "\n### Cases\n\nMedians, and the least and the most of the rounds.\n\n";
    text += &table(&["case", "what", "on", "measure", "median", "least", "most", "others"], case_rows(report));
    if !report.failures.is_empty() {
        text += "\n### What could not be measured\n\n";
        let rows = report.failures.iter().map(|failure| {
            let told = [&failure.case, &failure.peer, &failure.why].map(|text| text.replace('|', "/"));
            let [case, peer, why] = told;
            [case, peer, failure.round.to_string(), why]
        });
        text += &table(&["case", "on", "round", "why"], rows);
    }
    text
}

/// The measure in a round.
fn value(report: &BenchReport, Term(case, peer, measure): Term, round: u32) -> Option<f64> {
    let sample = report.samples.iter().find(|sample| sample.case == case && sample.peer == peer.name() && sample.round == round)?;
    sample.measures.get(measure).copied()
}

/// The ratio in each round in which all of it was measured.
fn found(report: &BenchReport, bar: &Bar) -> Option<Spread> {
    let ratio = |round| {
        let of = value(report, bar.of, round)?;
        let to: Option<Vec<f64>> = bar.to.iter().map(|term| value(report, *term, round)).collect();
        let to = to?.into_iter().reduce(f64::min).unwrap_or(1.0);
        (0.0 < to).then(|| of / to)
    };
    Spread::of((1..=report.rounds).filter_map(ratio))
}

/// What stops the bars that were missed.
fn stops(report: &BenchReport) -> String {
    let missed = BARS.iter().filter(|bar| found(report, bar).is_some_and(|spread| !bar.limit.holds(spread.median)));
    let lines: Vec<String> = missed.map(|bar| format!("- *{}*: {}\n", bar.what, stops::of(bar.what))).collect();
    if lines.is_empty() { String::new() } else { format!("\n### What stops the missed ones\n\n{}", lines.concat()) }
}

fn bar_row(report: &BenchReport, bar: &Bar) -> [String; 6] {
    let limit = match bar.limit {
        Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
        Limit::AtMost(limit) => format!("≤ {}", number(limit)),
    };
    match found(report, bar) {
        None => [bar.what.to_owned(), limit, String::new(), String::new(), String::new(), "not measured".to_owned()],
        Some(spread) => {
            let verdict = if bar.limit.holds(spread.median) { "pass" } else { "**miss**" };
            let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
            [bar.what.to_owned(), limit, median, min, max, verdict.to_owned()]
        }
    }
}

fn case_rows(report: &BenchReport) -> Vec<[String; 8]> {
    let mut rows = Vec::new();
    for case in CASES {
        for peer in case.peers {
            let samples: Vec<&Sample> =
                report.samples.iter().filter(|sample| sample.case == case.name && sample.peer == peer.name()).collect();
            let names: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.measures.keys()).collect();
            let others = Spread::of(samples.iter().map(|sample| sample.shares.of_others()));
            for (index, name) in names.into_iter().enumerate() {
                let values = samples.iter().filter_map(|sample| sample.measures.get(name).copied());
                let (Some(spread), Some(others)) = (Spread::of(values), others) else { continue };
                let mark = if is_the_clients(report, case.name, *peer, name, spread.median) { " (the client's)" } else { "" };
                // A case is named once, and a peer once in it.
                let (case_name, what) = if index == 0 { (case.name, case.what) } else { ("", "") };
                let peer = if index == 0 { peer.name() } else { "" };
                let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
                let cells = [case_name, what, peer].map(str::to_owned);
                let [case_name, what, peer] = cells;
                rows.push([case_name, what, peer, unit(name), median + mark, min, max, percent(others.median)]);
            }
        }
    }
    rows
}

/// Whether a rate of records lies so close to what the client can do at all that it says little of the broker.
fn is_the_clients(report: &BenchReport, case: &'static str, peer: Peer, measure: &str, median: f64) -> bool {
    if peer == Peer::Client || measure != "mb_per_second" {
        return false;
    }
    let ceilings = (1..=report.rounds).filter_map(|round| value(report, Term(case, Peer::Client, "mb_per_second"), round));
    Spread::of(ceilings).is_some_and(|ceiling| CLIENT_SHARE * ceiling.median < median)
}

/// A measure's name in words.
fn unit(name: &str) -> String {
    let words = [
        ("mb_per_second", "MB/s"),
        ("in_mb_per_second", "in, MB/s"),
        ("out_mb_per_second", "out, MB/s"),
        ("store_mb_per_second", "the store's own, MB/s"),
        ("limit_mb_per_second", "its limit, MB/s"),
        ("mib_per_second", "MiB/s"),
        ("records_per_second", "records/s"),
        ("puts_per_second", "PUTs/s"),
        ("cpu_s_per_gib", "CPU s per GiB"),
        ("cpu_s_per_million", "CPU s per million records"),
        ("load_cpu_s_per_gib", "the load's CPU s per GiB"),
        ("cpu_percent", "% of a core"),
        ("memory_mib", "memory, MiB"),
        ("written_per_byte", "bytes to disk per byte of values, by process"),
        ("written_per_accepted", "bytes to disk per byte of batches, by disk"),
        ("first_ms", "first acknowledged, ms"),
        ("p50_ms", "p50, ms"),
        ("p99_ms", "p99, ms"),
        ("p999_ms", "p99.9, ms"),
        ("put_ms", "a PUT, ms"),
        ("mib_per_core", "MiB/s per core used"),
        ("to_store", "to the store's own"),
        ("to_limit", "to its limit"),
        ("to_bar", "p99 to interval + 1.5 PUT"),
        ("gets_at_once", "GETs at once"),
        ("from_wal_percent", "% from the write-ahead log"),
    ];
    words.iter().find(|(word, _)| *word == name).map_or_else(|| name.to_owned(), |(_, told)| (*told).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, Shares};
    use crate::report::Run;

    fn report(values: &[(&str, Peer, u32, &str, f64)]) -> BenchReport {
        let shares = Shares { ours: 0.5, others: 0.2, stolen: 0.1 };
        let samples = values.iter().map(|(case, peer, round, measure, value)| Sample {
            case: (*case).to_owned(),
            peer: peer.name().to_owned(),
            round: *round,
            measures: [((*measure).to_owned(), *value)].into(),
            shares,
        });
        let machine =
            Machine { cores: 2, processor: "fast".to_owned(), memory_bytes: 8 << 30, kernel: "6.1".to_owned(), returns_free_pages: false };
        let run = Run { date: "2026-01-01T00:00:00Z".to_owned(), program: "siltstone 1".to_owned(), revision: String::new(), machine };
        BenchReport {
            run,
            kafka: "4".to_owned(),
            rounds: 3,
            rounds_without_bar: 3,
            seconds: 6,
            samples: samples.collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_bar_is_the_median_of_the_ratios_within_rounds() {
        let rate = "mb_per_second";
        let of =
            |round, ours, theirs| [("produce-16", Peer::Siltstone, round, rate, ours), ("produce-16", Peer::Kafka, round, rate, theirs)];
        let rounds = [of(1, 200.0, 100.0), of(2, 100.0, 100.0), of(3, 320.0, 200.0)].concat();
        let row = bar_row(&report(&rounds), &BARS[0]);
        assert_eq!(row[1..], ["≥ 1.5", "1.6", "1", "2", "pass"].map(str::to_owned));
        let row = bar_row(&report(&rounds[2..4]), &BARS[0]);
        assert_eq!(row[2..], ["1", "1", "1", "**miss**"].map(str::to_owned));
        assert_eq!(bar_row(&report(&rounds[..1]), &BARS[0])[5], "not measured", "a round without the other peer says nothing");
    }

    #[test]
    fn a_missed_bar_says_what_stops_it() {
        let rate = "mb_per_second";
        let values = |ours| [("produce-16", Peer::Siltstone, 1, rate, ours), ("produce-16", Peer::Kafka, 1, rate, 100.0)];
        assert!(stops(&report(&values(149.0))).contains(&format!("- *{}*: {}", BARS[0].what, stops::of(BARS[0].what))));
        assert_eq!(stops(&report(&values(150.0))), "");
    }

    #[test]
    fn the_lesser_of_two_is_what_counts() {
        let rate = "mb_per_second";
        let values = [
            ("produce-16", Peer::Siltstone, 1, rate, 80.0),
            ("disk-recycled", Peer::Machine, 1, rate, 100.0),
            ("produce-16", Peer::Client, 1, rate, 500.0),
        ];
        assert_eq!(found(&report(&values), &BARS[2]).unwrap().median, 0.8);
    }

    #[test]
    fn what_comes_close_to_the_clients_ceiling_is_marked() {
        let values = [("produce-16", Peer::Siltstone, 1, "mb_per_second", 81.0), ("produce-16", Peer::Client, 1, "mb_per_second", 100.0)];
        let page = render(&report(&values));
        assert!(page.contains("| MB/s | 81 (the client's) | 81 | 81 | 30 % |"), "{page}");
        assert!(page.contains("| client | MB/s | 100 | 100 | 100 | 30 % |"), "{page}");
    }
}
