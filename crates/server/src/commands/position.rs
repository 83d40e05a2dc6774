//! Places in a topic as a user writes them: `beginning`, `end`, an offset, `-N` for the last N, `@TIME`.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::DateTime;
use client::{Client, OffsetSpec};

/// What a position may be, for messages.
const FORMS: &str = "must be beginning, end, an offset, -N for the last N, or @TIME as 2026-01-31T12:00:00Z or in milliseconds since 1970";

/// A place in every partition of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    /// The log start offset.
    Beginning,
    /// The high watermark.
    End,
    /// This offset.
    Offset(i64),
    /// So many offsets before the end, or the beginning.
    Last(i64),
    /// The first record at or after this time, in milliseconds since 1970; the end where there is none.
    Time(i64),
}

impl Position {
    /// Reads one, for clap.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let position = match text {
            "beginning" => Some(Self::Beginning),
            "end" => Some(Self::End),
            _ => match (text.strip_prefix('-'), text.strip_prefix('@')) {
                (Some(last), _) => number(last).map(Self::Last),
                (_, Some(time)) => {
                    let at = || DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis());
                    number(time).or_else(at).map(Self::Time)
                }
                (None, None) => number(text).map(Self::Offset),
            },
        };
        position.ok_or_else(|| FORMS.to_owned())
    }

    /// Its offset in each of the partitions that lie in `bounds`.
    pub(crate) async fn resolve(self, client: &Client, topic: &str, bounds: &Bounds) -> Result<BTreeMap<i32, i64>> {
        let each = |offset: &dyn Fn(i64, i64) -> i64| {
            bounds.0.iter().map(|(partition, (start, end))| (*partition, offset(*start, *end))).collect::<BTreeMap<_, _>>()
        };
        Ok(match self {
            Self::Beginning => each(&|start, _| start),
            Self::End => each(&|_, end| end),
            Self::Offset(offset) => each(&|_, _| offset),
            Self::Last(count) => each(&|start, end| start.max(end.saturating_sub(count))),
            Self::Time(time) => {
                let asked: Vec<_> = bounds.0.keys().map(|partition| (*partition, OffsetSpec::Timestamp(time))).collect();
                let listed = client.list_offsets(topic, &asked).await?;
                let found = |partition: i32, end: i64| listed.get(&partition).and_then(|listed| listed.offset).unwrap_or(end);
                bounds.0.iter().map(|(partition, (_, end))| (*partition, found(*partition, *end))).collect()
            }
        })
    }
}

/// Log start offset and high watermark of partitions, as of one moment.
pub(crate) struct Bounds(pub(crate) BTreeMap<i32, (i64, i64)>);

impl Bounds {
    /// Asks for those of `partitions`.
    pub(crate) async fn ask(client: &Client, topic: &str, partitions: &[i32]) -> Result<Self> {
        let each = |spec| partitions.iter().map(|partition| (*partition, spec)).collect::<Vec<_>>();
        let starts = client.list_offsets(topic, &each(OffsetSpec::Earliest)).await?;
        let ends = client.list_offsets(topic, &each(OffsetSpec::Latest)).await?;
        let offset = |listed: &BTreeMap<i32, client::ListedOffset>, partition| {
            listed.get(&partition).and_then(|listed: &client::ListedOffset| listed.offset).unwrap_or(0)
        };
        Ok(Self(partitions.iter().map(|partition| (*partition, (offset(&starts, *partition), offset(&ends, *partition)))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (text, expected) in [
            ("beginning", Position::Beginning),
            ("end", Position::End),
            ("0", Position::Offset(0)),
            ("-10", Position::Last(10)),
            ("@1700000000000", Position::Time(1_700_000_000_000)),
            ("@2023-11-14T22:13:20Z", Position::Time(1_700_000_000_000)),
            ("@2023-11-14T23:13:20.5+01:00", Position::Time(1_700_000_000_500)),
        ] {
            assert_eq!(Position::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "start", "-", "--1", "+1", "1.5", "@", "@yesterday", "@2023-11-14", "99999999999999999999"] {
            assert!(Position::parse(text).is_err(), "{text}");
        }
    }
}
