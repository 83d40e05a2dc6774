//! A record as a line of JSON: what `consume --format json` writes and `produce --format json` reads.
//!
//! Keys and values are bytes. They are written as strings where they are UTF-8, else in base64 under a name of their own, so that no
//! byte is lost and none has to be guessed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use client::{ConsumerRecord, RecordHeader};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a line gives a record. Where a record was (`topic`, `partition`, `offset`) may stand there and does not say where it goes.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct JsonRecord {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<RecordHeader>,
    pub(crate) timestamp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, rename = "topic")]
    _topic: Value,
    #[serde(default, rename = "partition")]
    _partition: Value,
    #[serde(default, rename = "offset")]
    _offset: Value,
    timestamp: Option<i64>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
}

/// The record as one JSON value.
pub(crate) fn to_json(topic: &str, record: &ConsumerRecord) -> Value {
    let mut line = Map::new();
    line.insert("topic".to_owned(), json!(topic));
    line.insert("partition".to_owned(), json!(record.partition));
    line.insert("offset".to_owned(), json!(record.offset));
    line.insert("timestamp".to_owned(), json!(record.timestamp));
    put_bytes(&mut line, "key", record.key.as_ref());
    put_bytes(&mut line, "value", record.value.as_ref());
    let headers = record.headers.iter().map(|header| {
        let mut pair = Map::new();
        put_bytes(&mut pair, "key", Some(&header.key));
        put_bytes(&mut pair, "value", header.value.as_ref());
        Value::Object(pair)
    });
    line.insert("headers".to_owned(), headers.collect());
    Value::Object(line)
}

/// The record that a line gives, or what is wrong with the line.
pub(crate) fn from_json(line: &[u8]) -> Result<JsonRecord, String> {
    // Every line is line 1 to the parser; which one it is in the input, the caller knows.
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string().replace(" at line 1 column ", " at byte "))?;
    let header = |header: Header| {
        let key = take_bytes("key", header.key, header.key_base64)?.ok_or("a header needs a key")?;
        Ok(RecordHeader { key, value: take_bytes("value", header.value, header.value_base64)? })
    };
    Ok(JsonRecord {
        key: take_bytes("key", line.key, line.key_base64)?,
        value: take_bytes("value", line.value, line.value_base64)?,
        headers: line.headers.into_iter().map(header).collect::<Result<_, String>>()?,
        // -1 is how a record without a timestamp shows.
        timestamp: line.timestamp.filter(|timestamp| 0 <= *timestamp),
    })
}

fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    let (name, value) = match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (name.to_owned(), Value::Null),
        Some((Ok(text), _)) => (name.to_owned(), json!(text)),
        Some((Err(_), bytes)) => (format!("{name}_base64"), json!(BASE64.encode(bytes))),
    };
    object.insert(name, value);
}

fn take_bytes(name: &str, text: Option<String>, encoded: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(format!("give {name} or {name}_base64, not both")),
        (text, None) => Ok(text.map(Bytes::from)),
        (None, Some(encoded)) => match BASE64.decode(encoded) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(format!("{name}_base64 is not base64: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
        let header = |key: &str, value| RecordHeader { key: key.to_owned().into(), value };
        let record = ConsumerRecord {
            partition: 3,
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: bytes(b"\xff\0key"),
            value: bytes("a \"line\"\nand another, ä".as_bytes()),
            headers: vec![header("twice", bytes(b"1")), header("twice", None), header("raw", bytes(b"\xc3\x28"))],
        };
        let line = to_json("events", &record).to_string();
        assert!(!line.contains('\n'), "{line}");
        let read = from_json(line.as_bytes()).unwrap();
        let expected = JsonRecord { key: record.key, value: record.value, headers: record.headers, timestamp: Some(record.timestamp) };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_null_is_not_an_empty_value() {
        assert_eq!(from_json(br#"{"key":"","value":null}"#).unwrap().key, Some(Bytes::new()));
        assert_eq!(from_json(br#"{"key":"","value":null}"#).unwrap().value, None);
    }

    #[test]
    fn lines_that_are_no_records_say_why() {
        for (line, expected) in [
            (r#"{"val":"x"}"#, "unknown field `val`"),
            (r#"{"value":"x","value_base64":"eA=="}"#, "give value or value_base64, not both"),
            (r#"{"value_base64":"*"}"#, "value_base64 is not base64"),
            ("plain text", "expected value"),
        ] {
            let error = from_json(line.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
