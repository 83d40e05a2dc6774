//! Answers as trees: what kafka-protocol decoded, by way of its `Debug` form, which names every field of every answer. Trees of two
//! answers are compared path by path.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display, Write};
use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Result, bail};

/// Fields that tell one element of a list from the others, so that `topics[orders].partitions[0]` is the same element on both sides
/// wherever it stands: the order of most lists is that of a hash map in Apache Kafka. The first of these that is there is enough.
const KEY: &[&str] =
    &["name", "index", "partition_index", "partition", "partition_id", "api_key", "node_id", "broker_id", "group_id", "member_id"];

/// Of elements that have none of those: whichever of these are there, all together.
const KEYS: &[&str] = &["topic", "topic_name", "topic_id", "resource_type", "resource_name", "log_dir", "base_offset"];

/// What stands in a key field that says nothing.
const NO_KEY: &[&str] = &["None", "\"\"", "00000000-0000-0000-0000-000000000000"];

/// Stands for what one side does not have.
const ABSENT: &str = "(absent)";

/// A value of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number, a string with its quotes, a flag, an id, or `None`.
    Scalar(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// Fields with their names.
    Fields(Vec<(String, Value)>),
}

impl Value {
    /// The tree of an answer, or of a part of it.
    ///
    /// # Errors
    /// When its `Debug` form is not made of structures, lists, maps, options, numbers, strings and bytes.
    pub fn of(body: &impl Debug) -> Result<Self> {
        let text = format!("{body:?}");
        let mut parser = Parser { rest: text.chars().peekable() };
        let value = parser.value()?;
        match parser.rest.next() {
            None => Ok(value),
            Some(found) => bail!("{found:?} follows the end of a value"),
        }
    }

    /// A scalar.
    pub fn scalar(value: impl Display) -> Self {
        Self::Scalar(value.to_string())
    }

    /// A field by its name, if this has fields.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Self> {
        match self {
            Self::Fields(fields) => fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What tells an element of a list from the others; `None` when nothing does.
    pub fn key(&self) -> Option<String> {
        let Self::Fields(fields) = self else { return None };
        let of = |name: &str| {
            fields.iter().find(|(field, _)| field == name).and_then(|(_, value)| match value {
                Self::Scalar(text) if !NO_KEY.contains(&&**text) => Some(text.trim_matches('"').to_owned()),
                _ => None,
            })
        };
        KEY.iter().find_map(|name| of(name)).or_else(|| {
            let keys: Vec<String> = KEYS.iter().filter_map(|name| of(name)).collect();
            (!keys.is_empty()).then(|| keys.join("/"))
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(text) => f.write_str(text),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Self::Fields(fields) => {
                f.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// One place in which two answers differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Where: fields joined by dots, elements of lists by their keys in brackets, or by their positions where they have none.
    pub path: String,
    /// The one side's value.
    pub left: String,
    /// The other side's.
    pub right: String,
}

/// Every place in which `left` and `right` differ.
pub fn compare(left: &Value, right: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare_at(String::new(), Some(left), Some(right), &mut found);
    found
}

fn compare_at(path: String, left: Option<&Value>, right: Option<&Value>, found: &mut Vec<Difference>) {
    match (left, right) {
        (Some(Value::Fields(left)), Some(Value::Fields(right))) => {
            let dot = if path.is_empty() { "" } else { "." };
            compare_named(left.iter().cloned().collect(), right.iter().cloned().collect(), |name| format!("{path}{dot}{name}"), found);
        }
        (Some(Value::List(left)), Some(Value::List(right))) => {
            let keyed = left.iter().chain(right).all(|value| value.key().is_some());
            compare_named(by_key(left, keyed), by_key(right, keyed), |key| format!("{path}[{key}]"), found);
        }
        _ if left == right => {}
        _ => {
            let shown = |value: Option<&Value>| value.map_or_else(|| ABSENT.to_owned(), Value::to_string);
            found.push(Difference { path, left: shown(left), right: shown(right) });
        }
    }
}

fn compare_named(
    left: BTreeMap<String, Value>,
    right: BTreeMap<String, Value>,
    path: impl Fn(&str) -> String,
    found: &mut Vec<Difference>,
) {
    for (name, value) in &left {
        compare_at(path(name), Some(value), right.get(name), found);
    }
    for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
        compare_at(path(name), None, Some(value), found);
    }
}

/// A list's elements by what tells them apart; those with the same key are numbered.
fn by_key(list: &[Value], keyed: bool) -> BTreeMap<String, Value> {
    let mut elements = BTreeMap::new();
    for (index, value) in list.iter().enumerate() {
        let key = value.key().filter(|_| keyed).unwrap_or_else(|| index.to_string());
        let mut unique = key.clone();
        for again in 2.. {
            if !elements.contains_key(&unique) {
                break;
            }
            unique = format!("{key}#{again}");
        }
        elements.insert(unique, value.clone());
    }
    elements
}

/// Reads Rust's `Debug` form on one line.
struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Value> {
        match self.rest.peek() {
            Some('[') => self.list(),
            Some('{') => self.map(),
            Some('"') => Ok(Value::Scalar(self.quoted()?)),
            Some(_) => self.word(),
            None => bail!("a value is missing"),
        }
    }

    fn list(&mut self) -> Result<Value> {
        self.expect('[')?;
        let mut values = Vec::new();
        while !self.ends(']') {
            values.push(self.value()?);
        }
        Ok(Value::List(values))
    }

    fn map(&mut self) -> Result<Value> {
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.ends('}') {
            let name = match self.value()? {
                Value::Scalar(name) => name,
                other => bail!("{other} cannot be a key"),
            };
            self.expect(':')?;
            self.skip_spaces();
            fields.push((name, self.value()?));
        }
        Ok(Value::Fields(fields))
    }

    /// Whether `close` comes next, and takes it, or the comma before the next element.
    fn ends(&mut self, close: char) -> bool {
        while self.rest.next_if(|next| matches!(next, ' ' | ',')).is_some() {}
        self.rest.next_if_eq(&close).is_some()
    }

    /// A number or an identifier, and what an identifier begins: a structure, an option, a type around another, bytes.
    fn word(&mut self) -> Result<Value> {
        let mut word = String::new();
        while let Some(next) = self.rest.next_if(|next| !matches!(next, ',' | ']' | '}' | ')' | '(' | '{' | ' ' | ':' | '"')) {
            word.push(next);
        }
        match self.rest.peek().copied() {
            Some('"') if word == "b" => {
                let quoted = self.quoted()?;
                Ok(Value::Bytes(unescape(&quoted[1..quoted.len() - 1])?))
            }
            Some('(') => {
                self.expect('(')?;
                let value = self.value()?;
                self.expect(')')?;
                Ok(value)
            }
            Some(' ') if self.begins_fields() => {
                self.skip_spaces();
                self.map()
            }
            _ => Ok(Value::Scalar(word)),
        }
    }

    /// Whether fields come after the spaces, and not the end of those that a scalar is the last of.
    fn begins_fields(&self) -> bool {
        self.rest.clone().find(|next| *next != ' ') == Some('{')
    }

    /// A string with its quotes and escapes.
    fn quoted(&mut self) -> Result<String> {
        self.expect('"')?;
        let mut text = String::from('"');
        loop {
            match self.rest.next() {
                Some('"') => break,
                Some('\\') => {
                    text.push('\\');
                    text.extend(self.rest.next());
                }
                Some(next) => text.push(next),
                None => bail!("a string does not end"),
            }
        }
        text.push('"');
        Ok(text)
    }

    fn expect(&mut self, expected: char) -> Result<()> {
        match self.rest.next() {
            Some(found) if found == expected => Ok(()),
            found => bail!("{found:?} instead of {expected:?}"),
        }
    }

    fn skip_spaces(&mut self) {
        while self.rest.next_if_eq(&' ').is_some() {}
    }
}

/// The bytes of a byte string's `Debug` form.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            bytes.push(u8::try_from(next)?);
            continue;
        }
        bytes.push(match rest.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some(same @ ('\\' | '"' | '\'')) => u8::try_from(same)?,
            Some('x') => u8::from_str_radix(&rest.by_ref().take(2).collect::<String>(), 16)?,
            other => bail!("unknown escape {other:?}"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::fetch_response::PartitionData;
    use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
    use kafka_protocol::messages::offset_delete_response::OffsetDeleteResponsePartition;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn topic(name: &'static str, partitions: &[(i32, i16)]) -> MetadataResponseTopic {
        let partitions = partitions
            .iter()
            .map(|(index, error)| MetadataResponsePartition::default().with_partition_index(*index).with_error_code(*error));
        MetadataResponseTopic::default().with_name(Some(TopicName(StrBytes::from_static_str(name)))).with_partitions(partitions.collect())
    }

    #[test]
    fn every_kind_of_field_is_read() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut value = Value::of(&PartitionData::default().with_records(Some(Bytes::from(every_byte.clone())))).unwrap();
        assert_eq!(value.field_mut("records"), Some(&mut Value::Bytes(every_byte)));
        assert_eq!(value.field_mut("error_code"), Some(&mut Value::scalar(0)));

        let mut value = Value::of(&OffsetDeleteResponsePartition::default().with_error_code(3)).unwrap();
        assert_eq!(value.field_mut("error_code"), Some(&mut Value::scalar(3)), "the last field of an API without tagged ones");

        let mut value = Value::of(&topic("a \"quoted\" {name}, (of) [sorts]", &[])).unwrap();
        assert_eq!(value.field_mut("name"), Some(&mut Value::scalar("\"a \\\"quoted\\\" {name}, (of) [sorts]\"")));
        assert_eq!(value.field_mut("topic_id"), Some(&mut Value::scalar("00000000-0000-0000-0000-000000000000")));
        assert_eq!(value.field_mut("partitions"), Some(&mut Value::List(Vec::new())));
        assert_eq!(value.field_mut("unknown_tagged_fields"), Some(&mut Value::Fields(Vec::new())));
    }

    #[test]
    fn elements_are_compared_with_those_of_the_same_key_wherever_they_stand() {
        let left = Value::of(&vec![topic("a", &[(0, 0), (1, 0)]), topic("b", &[(0, 3)])]).unwrap();
        let right = Value::of(&vec![topic("b", &[(0, 5)]), topic("a", &[(1, 0)])]).unwrap();
        let paths: Vec<_> = compare(&left, &right).into_iter().map(|found| (found.path, found.right)).collect();
        assert_eq!(
            paths,
            [("[a].partitions[0]".to_owned(), "(absent)".to_owned()), ("[b].partitions[0].error_code".to_owned(), "5".to_owned())]
        );
        assert_eq!(compare(&left, &left), []);
    }
}
