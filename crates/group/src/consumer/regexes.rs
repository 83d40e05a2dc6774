//! Subscriptions by regular expression (KIP-848): checked when they come, resolved to names by the server.
//!
//! Kafka has RE2 do it. The `regex` crate accepts the same language but for `\Q…\E`, which is put in here, and takes time in proportion
//! to the name as RE2 does.

use std::collections::BTreeSet;

use regex::Regex;

use crate::{GroupError, Topics};

/// The expressions of a group are not resolved again within this time, whatever changed (Kafka's REGEX_BATCH_REFRESH_MIN_INTERVAL_MS).
pub(crate) const REFRESH_MIN_MS: u64 = 10_000;

/// Compiles an expression that must match whole names.
pub(crate) fn compile(expression: &str) -> Result<Regex, GroupError> {
    let plain = without_quotes(expression);
    // First by itself: with what is put around it, something that is no expression might become one.
    Regex::new(&plain).and_then(|_| Regex::new(&format!("^(?:{plain})$"))).map_err(|error| {
        // The last line says what is wrong; the lines before show where, in several lines.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        GroupError::InvalidRegularExpression(format!("SubscribedTopicRegex `{expression}` is not a valid regular expression: {reason}."))
    })
}

/// The names that it matches.
pub(crate) fn resolve(regex: &Regex, topics: &dyn Topics) -> BTreeSet<String> {
    topics.names().filter(|name| regex.is_match(name)).map(str::to_owned).collect()
}

/// `\Q…\E` as single characters, each by itself.
fn without_quotes(expression: &str) -> String {
    let mut plain = String::with_capacity(expression.len());
    let mut chars = expression.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            plain.push(char);
            continue;
        }
        match chars.next() {
            Some('Q') => {
                let rest = chars.as_str();
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                plain.push_str(&regex::escape(quoted));
                chars = after.chars();
            }
            Some(escaped) => plain.extend(['\\', escaped]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, name: &str) -> bool {
        compile(expression).unwrap().is_match(name)
    }

    #[test]
    fn whole_names_are_matched() {
        assert!(matches("foo.*", "foo-1") && matches("foo|bar", "bar") && matches("foo|bar", "foo"));
        assert!(!matches("foo", "foo-1") && !matches("foo|bar", "foobar") && !matches("oo", "foo"));
        assert!(matches("", "") && !matches("", "foo"));
    }

    #[test]
    fn quoted_text_stands_for_itself() {
        assert!(matches(r"\Qa.b\E.", "a.bc") && !matches(r"\Qa.b\E.", "axbc"));
        assert!(matches(r"\Qa.*", "a.*") && matches(r"\d\.x", "1.x") && matches(r"\\Q", r"\Q"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["(", "[a", "*", r"\", "a{2,1}", "a)|(b", r"(a)\1", "(?=a)"] {
            let error = compile(expression).unwrap_err();
            let GroupError::InvalidRegularExpression(text) = error else { panic!("{error:?}") };
            let start = format!("SubscribedTopicRegex `{expression}` is not a valid regular expression: ");
            assert!(text.starts_with(&start) && text.ends_with('.') && !text.contains('\n'), "{text}");
        }
    }
}
