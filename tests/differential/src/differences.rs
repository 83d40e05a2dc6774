//! The differences that are intended: a line each of API, versions, path and reason, all separated by spaces.
//!
//! Versions are `3`, `3-7` or `*`. A path names fields and elements as [`Difference`] does; a `*` in it stands for any characters but
//! brackets, and whatever lies below the path is declared with it. A path may end in `=LEFT/RIGHT`: the difference is declared only
//! between these values, Siltstone's and Kafka's, where a `*` stands for any.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::frame::Head;
use crate::value::Difference;

/// One intended difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declared {
    /// Its line in the file, from 1.
    pub line: usize,
    api: String,
    versions: Option<(i16, i16)>,
    path: String,
    values: Option<(String, String)>,
    /// Why it is there.
    pub reason: String,
}

/// Reads the file at `path`. Empty lines and those that begin with `#` are for people.
///
/// # Errors
/// When it cannot be read, or a line lacks a part.
pub fn read(path: &Path) -> Result<Vec<Declared>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| parse(number, line).with_context(|| format!("{}, line {number}", path.display()))).collect()
}

fn parse(line: usize, text: &str) -> Result<Declared> {
    let mut parts = text.split_whitespace();
    let (Some(api), Some(versions), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("an API, versions, a path and a reason are needed");
    };
    let reason = parts.collect::<Vec<_>>().join(" ");
    ensure!(!reason.is_empty(), "the reason is missing");
    let number = |text: &str| text.parse::<i16>().with_context(|| format!("{text} is not a version"));
    let versions = match versions.split_once('-') {
        _ if versions == "*" => None,
        Some((min, max)) => Some((number(min)?, number(max)?)),
        None => Some((number(versions)?, number(versions)?)),
    };
    let (path, values) = match path.split_once('=') {
        Some((path, values)) => (path, Some(values.split_once('/').context("two values with a / between them belong after =")?)),
        None => (path, None),
    };
    let values = values.map(|(left, right)| (left.to_owned(), right.to_owned()));
    Ok(Declared { line, api: api.to_owned(), versions, path: path.to_owned(), values, reason })
}

impl Declared {
    /// Whether a difference of two answers to a request is this one.
    pub fn covers(&self, head: &Head, found: &Difference) -> bool {
        let in_version = self.versions.is_none_or(|(min, max)| (min..=max).contains(&head.version));
        let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let between = self.values.as_ref().is_none_or(|(left, right)| is(left, &found.left) && is(right, &found.right));
        self.api == format!("{:?}", head.api) && in_version && between && covers(self.path.as_bytes(), found.path.as_bytes())
    }
}

fn covers(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (None, Some((next, _))) => matches!(next, b'.' | b'['),
        (Some((b'*', after)), None) => covers(after, path),
        (Some((b'*', after)), Some((next, rest))) => covers(after, path) || (!matches!(next, b'[' | b']') && covers(pattern, rest)),
        (Some((expected, after)), Some((next, rest))) => expected == next && covers(after, rest),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn a_path_covers_itself_what_lies_below_and_what_its_stars_stand_for() {
        for (pattern, path, expected) in [
            ("topics[*].error_code", "topics[orders].error_code", true),
            ("topics[*].error_code", "topics[orders].error_codes", false),
            ("topics[*].error_code", "topics[a].partitions[0].error_code", false),
            ("topics[*]", "topics[a].partitions[0].error_code", true),
            ("results[4/*].configs", "results[4/1].configs[log.dirs].value", true),
            ("results[4/*].configs", "results[2/a].configs[log.dirs].value", false),
            ("*", "error_code", true),
        ] {
            assert_eq!(covers(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_line_is_of_one_api_and_its_versions() {
        let declared = parse(7, "Fetch  4-11  session_id  for a  reason").unwrap();
        assert_eq!((declared.line, &*declared.reason), (7, "for a reason"));
        let head = |api, version| Head { api, version, correlation_id: 0 };
        let found = |left: &str| Difference { path: "session_id".to_owned(), left: left.to_owned(), right: "0".to_owned() };
        assert!(declared.covers(&head(ApiKey::Fetch, 11), &found("7")));
        assert!(!declared.covers(&head(ApiKey::Fetch, 12), &found("7")));
        assert!(!declared.covers(&head(ApiKey::Produce, 11), &found("7")));
        let declared = parse(1, "Fetch * session_id=7/* for a reason").unwrap();
        assert!(declared.covers(&head(ApiKey::Fetch, 11), &found("7")));
        assert!(!declared.covers(&head(ApiKey::Fetch, 11), &found("8")));
        assert!(parse(1, "Fetch 4-11 session_id").is_err());
        assert!(parse(1, "Fetch 4-11 session_id=7 for a reason").is_err());
    }
}
