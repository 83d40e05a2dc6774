//! What a broker counts, from its /metrics.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Series of one scrape, or what they rose by between two.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks the broker whose HTTP is at host:port.
    pub(crate) fn scrape(http: &str) -> Result<Self> {
        let mut connection = TcpStream::connect(http).with_context(|| format!("connect to {http}"))?;
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        // In HTTP 1.0 a body ends with the connection.
        write!(connection, "GET /metrics HTTP/1.0\r\nHost: {http}\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).context("read metrics")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("read metrics: the answer has no body")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "read metrics: {}", head.lines().next().unwrap_or_default());
        Ok(Self::of(body))
    }

    /// Of Prometheus' text form.
    fn of(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            series
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// What each series has risen by since an earlier scrape.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.clone(), value - earlier.0.get(name).copied().unwrap_or(0.0))).collect())
    }

    /// The sum of a metric's series that have these labels; 0 of none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.0.range(name.to_owned()..).take_while(|(series, _)| series.starts_with(name));
        let fits = |series: &str| {
            let rest = &series[name.len()..];
            let inner = if rest.is_empty() { Some("") } else { rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) };
            inner.is_some_and(|inner| labels.iter().all(|label| inner.split(',').any(|one| one == label)))
        };
        series.filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total So many\n# TYPE a_total counter\na_total{operation=\"put\",outcome=\"ok\"} 5\n\
                        a_total{operation=\"put\",outcome=\"busy\"} 2\na_total{operation=\"get\",outcome=\"ok\"} 1e3\na_total_more 7\nb 1.5\n";

    #[test]
    fn series_are_added_up_by_name_and_labels() {
        let metrics = Metrics::of(TEXT);
        assert_eq!(metrics.sum("a_total", &[]), 1007.0);
        assert_eq!(metrics.sum("a_total", &[("operation", "put")]), 7.0);
        assert_eq!(metrics.sum("a_total", &[("operation", "put"), ("outcome", "ok")]), 5.0);
        assert_eq!((metrics.sum("b", &[]), metrics.sum("a", &[])), (1.5, 0.0));
    }

    #[test]
    fn a_series_that_is_new_rose_from_nothing() {
        let risen = Metrics::of("b 4\nc 1\n").since(&Metrics::of("b 1.5\n"));
        assert_eq!((risen.sum("b", &[]), risen.sum("c", &[])), (2.5, 1.0));
    }
}
