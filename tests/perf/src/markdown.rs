//! Tables and numbers as the pages have them, and the part of a page that is made.

use anyhow::{Context, Result};

/// A table; each row has as many cells as the head.
pub(crate) fn table<R: AsRef<[String]>>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        debug_assert_eq!(row.as_ref().len(), head.len(), "a cell for each column");
        text += &format!("| {} |\n", row.as_ref().join(" | "));
    }
    text
}

/// With three significant digits, at most so many after the point, and commas between thousands.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    let digits = match magnitude {
        _ if magnitude == 0.0 || 100.0 <= magnitude => 0,
        _ if 10.0 <= magnitude => 1,
        _ => 2,
    };
    let text = format!("{magnitude:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction.trim_end_matches('0')));
    let groups: Vec<_> = whole.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    let sign = if value < 0.0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", groups.join(","))
}

pub(crate) fn dollars(amount: f64) -> String {
    format!("${amount:.2}")
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The page with what lies between the two lines `begin` and `end` replaced.
pub(crate) fn replace_between(page: &str, begin: &str, end: &str, made: &str) -> Result<String> {
    let (before, rest) = page.split_once(&format!("{begin}\n")).with_context(|| format!("the page has no line {begin}"))?;
    let (_, after) = rest.split_once(&format!("{end}\n")).with_context(|| format!("the page has no line {end} after {begin}"))?;
    Ok(format!("{before}{begin}\n{made}{end}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_thousands_a_comma() {
        let shown = [0.0, 0.123, 1.5, 12.34, 123.4, 1234.5, 1_234_567.0, -2.0].map(number);
        assert_eq!(shown, ["0", "0.12", "1.5", "12.3", "123", "1,234", "1,234,567", "-2"]);
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        assert_eq!(table(&["a", "b"], [["1".to_owned(), "2".to_owned()]]), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = "head\n<a>\nold\n<b>\ntail\n";
        assert_eq!(replace_between(page, "<a>", "<b>", "new\n").unwrap(), "head\n<a>\nnew\n<b>\ntail\n");
        assert!(replace_between(page, "<c>", "<b>", "").unwrap_err().to_string().contains("no line <c>"));
        assert!(replace_between("<b>\n<a>\n", "<a>", "<b>", "").is_err());
    }
}
