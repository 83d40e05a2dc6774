//! What a bucket costs: `docs/operations/costs.md` is reckoned here from its own price table and from what the program does by default,
//! so that neither a price nor a default changes without the page.

use std::collections::BTreeMap;
use std::fs;

use audit::REQUEST_BYTES;
use store::RangeReaderOptions;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;
const TIB: f64 = 1024.0 * GIB;
/// A month of AWS's calculator.
const MONTH_SECONDS: f64 = 730.0 * 3600.0;

const BEGIN: &str = "<!-- from here on reckoned by crates/server/tests/program/costs.rs -->\n";
const END: &str = "<!-- to here -->\n";

fn page(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The second cell of every row whose first is code.
fn second_cells(page: &str) -> BTreeMap<&str, &str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter_map(|(key, rest)| Some((key, rest.split_once(" |")?.0.trim_matches('`')))).collect()
}

struct Prices(BTreeMap<String, f64>);

impl Prices {
    fn of(page: &str) -> Self {
        Self(second_cells(page).into_iter().filter_map(|(key, price)| Some((key.to_owned(), price.parse().ok()?))).collect())
    }

    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("docs/operations/costs.md has no price {name}"))
    }

    fn puts(&self, count: f64) -> f64 {
        count / 1000.0 * self.get("put")
    }

    fn gets(&self, count: f64) -> f64 {
        count / 1000.0 * self.get("get")
    }

    fn stored(&self, bytes: f64) -> f64 {
        bytes / GIB * self.get("storage")
    }
}

/// When a broker uploads: at so many bytes or after so long, whichever is first.
struct Uploads {
    bytes: f64,
    seconds: f64,
}

impl Uploads {
    /// The defaults while somebody waits for the upload, and while nobody does.
    fn by_default(defaults: &BTreeMap<&str, &str>) -> (Self, Self) {
        let get = |key: &str| number(defaults.get(key).unwrap_or_else(|| panic!("docs/configuration.md has no {key}")));
        (
            Self { bytes: get("upload.bytes"), seconds: get("upload.interval.ms") / 1000.0 },
            Self { bytes: get("upload.max.bytes"), seconds: get("upload.max.age.ms") },
        )
    }

    fn size(&self, bytes_per_second: f64) -> f64 {
        self.bytes.min(bytes_per_second * self.seconds)
    }

    fn puts(&self, bytes: f64, bytes_per_second: f64) -> f64 {
        bytes / self.size(bytes_per_second)
    }
}

/// A number as the configuration page writes it: of bytes, of seconds where it ends in s, else as it stands.
fn number(text: &str) -> f64 {
    let units = [("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("s", 1.0), ("", 1.0)];
    let (digits, unit) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor))).unwrap();
    digits.parse::<f64>().unwrap_or_else(|_| panic!("not a number: {text}")) * unit
}

fn dollars(amount: f64) -> String {
    format!("${amount:.2}")
}

fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|part| str::from_utf8(part).unwrap()).collect();
    parts.join(",")
}

/// In three digits, as far as they are not 0.
fn size(bytes: f64) -> String {
    let (unit, name) = if bytes < MIB { (KIB, "KiB") } else { (MIB, "MiB") };
    let digits = format!("{:.1}", bytes / unit);
    format!("{} {name}", digits.strip_suffix(".0").unwrap_or(&digits))
}

fn reckon(prices: &Prices, defaults: &BTreeMap<&str, &str>) -> String {
    let (object, wal) = Uploads::by_default(defaults);
    let mut page = String::new();
    page += "### In\n\n";
    page +=
        "| a broker takes in | `object`: an upload | PUTs per TiB | price per TiB | `wal`: an upload | PUTs per TiB | price per TiB |\n";
    page += "|---|---|---|---|---|---|---|\n";
    for rate in [0.1, 1.0, 4.0, 10.0, 32.0, 100.0] {
        let cells = [&object, &wal].map(|uploads| {
            let puts = uploads.puts(TIB, rate * MIB);
            format!("{} | {} | {}", size(uploads.size(rate * MIB)), thousands(puts), dollars(prices.puts(puts)))
        });
        page += &format!("| {rate} MiB/s | {} |\n", cells.join(" | "));
    }
    let at_most = prices.puts(MONTH_SECONDS / object.seconds);
    page += &format!(
        "\nA broker below {:.0} MiB/s pays at most {} a month for PUTs, whatever its partitions; one that nobody writes to pays nothing.\n",
        object.bytes / object.seconds / MIB,
        dollars(at_most),
    );

    page += "\n### Out\n\n";
    page += "| an upload | partitions in it | a segment | GETs per TiB | price per TiB |\n|---|---|---|---|---|\n";
    for uploads in [&object, &wal] {
        for partitions in [1.0, 10.0, 100.0, 1000.0, 10_000.0] {
            let segment = uploads.bytes / partitions;
            // A reader of all partitions: half of each one's share of the read cache, which is an eighth of the memory, is a block.
            let half = number(defaults["memory.max.bytes"]) / 8.0 / partitions / 2.0;
            let block = half.log2().floor().exp2().clamp(MIB, RangeReaderOptions::default().block_bytes as f64);
            let gets = TIB / segment * (segment / block).round().max(1.0);
            let upload = size(uploads.bytes);
            let cells = [thousands(partitions), size(segment), thousands(gets), dollars(prices.gets(gets))];
            page += &format!("| {upload} | {} |\n", cells.join(" | "));
        }
    }

    page += "\n### Kept\n\n| | price |\n|---|---|\n";
    page += &format!("| 1 TiB for a month, in the bucket | {} |\n", dollars(prices.stored(TIB)));
    page += &format!("| 1 TiB to or from a client in another zone | {} |\n", dollars(2.0 * TIB / GIB * prices.get("zone")));

    page += &audited(prices, number(defaults["store.audit.max.bytes.per.second"]));

    page += "\n### A month of 10 MiB/s, kept for 7 days, read by consumers that keep up\n\n";
    page += "| | `object` | `wal` |\n|---|---|---|\n";
    let rate = 10.0 * MIB;
    let puts = [&object, &wal].map(|uploads| prices.puts(uploads.puts(rate * MONTH_SECONDS, rate)));
    let kept = prices.stored(rate * 7.0 * 86_400.0);
    let disk = number(defaults["wal.max.bytes"]) / GIB * prices.get("disk");
    page += &format!("| PUTs | {} | {} |\n| storage | {2} | {2} |\n", dollars(puts[0]), dollars(puts[1]), dollars(kept));
    page += &format!("| GETs | {0} | {0} |\n| disk for `wal.max.bytes` | {1} | {1} |\n", dollars(0.0), dollars(disk));
    page += &format!("| together | {} | {} |\n", dollars(puts[0] + kept + disk), dollars(puts[1] + kept + disk));
    page
}

/// What it costs that a broker reads its share of the store to check it, at so many bytes a second.
fn audited(prices: &Prices, rate: f64) -> String {
    let mut page =
        "\n### Audited\n\n| a broker's share, in objects of 64 MiB | read once in | GETs | price |\n|---|---|---|---|\n".to_owned();
    for (name, share) in [("100 GiB", 100.0 * GIB), ("1 TiB", TIB), ("10 TiB", 10.0 * TIB)] {
        let object = 64.0 * MIB;
        // One for its length and one for its end; these two count as more than they bring.
        let small = 2.0;
        let gets = share / object * (small + object / RangeReaderOptions::default().block_bytes as f64);
        let days = share / object * (small * REQUEST_BYTES as f64 + object) / rate / 86_400.0;
        page += &format!("| {name} | {days:.1} days | {} | {} |\n", thousands(gets), dollars(prices.gets(gets)));
    }
    let at_most = prices.gets(MONTH_SECONDS * rate / REQUEST_BYTES as f64);
    page + &format!("\nA broker pays at most {} a month for it, however small the objects are.\n", dollars(at_most))
}

#[test]
fn the_costs_page_is_what_its_prices_and_the_defaults_come_to() {
    let (costs, configuration) = (page("operations/costs.md"), page("configuration.md"));
    let (_, rest) = costs.split_once(BEGIN).expect("the line before the reckoned part");
    let (written, _) = rest.split_once(END).expect("the line after the reckoned part");
    let reckoned = reckon(&Prices::of(&costs), &second_cells(&configuration));
    assert!(written == reckoned, "docs/operations/costs.md is out of date; between its two marks belongs:\n{reckoned}");
}

#[test]
fn costs_reckoned_by_hand_come_out_the_same() {
    let prices = Prices([("put", 0.005), ("get", 0.0004), ("storage", 0.023)].map(|(name, price)| (name.to_owned(), price)).into());
    // 8 uploads of 4 MiB in a second's 32 MiB, 32,768 such seconds in a TiB.
    let uploads = Uploads { bytes: 4.0 * MIB, seconds: 0.25 };
    assert_eq!(uploads.puts(TIB, 32.0 * MIB), 262_144.0);
    assert_eq!(dollars(prices.puts(262_144.0)), "$1.31");
    // 1 MiB/s fills no more than 256 KiB in a quarter of a second.
    assert_eq!(uploads.puts(TIB, MIB), 4_194_304.0);
    assert_eq!((dollars(prices.stored(TIB)), dollars(prices.gets(1e6))), ("$23.55".to_owned(), "$0.40".to_owned()));
    assert_eq!((number("8MiB"), number("250"), number("10s")), (8.0 * MIB, 250.0, 10.0));
    assert_eq!((thousands(1_234_567.0), size(819.2 * KIB), size(8.0 * MIB)), ("1,234,567".into(), "819.2 KiB".into(), "8 MiB".into()));
}
