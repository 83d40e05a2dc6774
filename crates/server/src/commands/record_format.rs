//! How `consume` shows a record: columns of text, a line of JSON, or a format string with tokens as kcat has them.

use std::io::{self, Write};

use bytes::Bytes;
use client::{ConsumerRecord, RecordHeader};

use super::record_json;

/// A way to show records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RecordFormat {
    /// The chosen columns, separated by tabs, then the value, a line a record.
    Text,
    /// A JSON object a line.
    Json,
    /// What the format string says, and nothing between records.
    Template(Vec<Part>),
}

/// A part of a format string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Key,
    KeyLength,
    Value,
    ValueLength,
}

/// What stands before a value in text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) partition: bool,
    pub(crate) offset: bool,
    pub(crate) timestamp: bool,
    pub(crate) headers: bool,
    pub(crate) key: bool,
}

/// Writes records in one format.
pub(crate) struct RecordWriter {
    pub(crate) topic: String,
    pub(crate) format: RecordFormat,
    pub(crate) columns: Columns,
    /// Between key and value in text.
    pub(crate) key_separator: String,
    /// Stands for a key, value or header value that is null.
    pub(crate) null: String,
}

impl RecordFormat {
    /// Reads one, for clap.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ if text.contains(['%', '\\']) => parse_template(text).map(Self::Template),
            _ => Err("must be text, json, or a format string with tokens such as '%p %o %k %s\\n'".to_owned()),
        }
    }
}

fn parse_template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => match characters.next() {
                Some('%') => literal.push(b'%'),
                token => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(parse_token(token)?);
                }
            },
            '\\' => literal.push(parse_escape(&mut characters)?),
            other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn parse_token(token: Option<char>) -> Result<Part, String> {
    Ok(match token {
        Some('t') => Part::Topic,
        Some('p') => Part::Partition,
        Some('o') => Part::Offset,
        Some('T') => Part::Timestamp,
        Some('h') => Part::Headers,
        Some('k') => Part::Key,
        Some('K') => Part::KeyLength,
        Some('s') => Part::Value,
        Some('S') => Part::ValueLength,
        _ => {
            return Err(format!(
                "%{} is not a token; there are %t topic, %p partition, %o offset, %T timestamp, %h headers, %k key, %K its length, %s value, %S its length, %%",
                token.map(String::from).unwrap_or_default()
            ));
        }
    })
}

fn parse_escape(characters: &mut std::str::Chars<'_>) -> Result<u8, String> {
    Ok(match characters.next() {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits: String = characters.by_ref().take(2).collect();
            let valid = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| valid);
            byte.ok_or_else(|| format!("\\x{digits} is not a byte; write two hexadecimal digits, as in \\x1f"))?
        }
        other => {
            let other = other.map(String::from).unwrap_or_default();
            return Err(format!("\\{other} is not an escape; there are \\n, \\t, \\r, \\0, \\\\ and \\xNN"));
        }
    })
}

impl RecordWriter {
    /// Writes one record, its bytes as they are.
    pub(crate) fn write(&self, out: &mut impl Write, record: &ConsumerRecord) -> io::Result<()> {
        match &self.format {
            RecordFormat::Text => self.write_text(out, record),
            RecordFormat::Json => {
                serde_json::to_writer(&mut *out, &record_json::to_json(&self.topic, record))?;
                out.write_all(b"\n")
            }
            RecordFormat::Template(parts) => parts.iter().try_for_each(|part| self.write_part(out, part, record)),
        }
    }

    fn write_text(&self, out: &mut impl Write, record: &ConsumerRecord) -> io::Result<()> {
        let Columns { partition, offset, timestamp, headers, key } = self.columns;
        let numbers = [(partition, i64::from(record.partition)), (offset, record.offset), (timestamp, record.timestamp)];
        for (_, number) in numbers.iter().filter(|(shown, _)| *shown) {
            write!(out, "{number}\t")?;
        }
        if headers {
            self.write_headers(out, &record.headers)?;
            out.write_all(b"\t")?;
        }
        if key {
            out.write_all(self.or_null(&record.key))?;
            out.write_all(self.key_separator.as_bytes())?;
        }
        out.write_all(self.or_null(&record.value))?;
        out.write_all(b"\n")
    }

    fn write_part(&self, out: &mut impl Write, part: &Part, record: &ConsumerRecord) -> io::Result<()> {
        match part {
            Part::Literal(bytes) => out.write_all(bytes),
            Part::Topic => out.write_all(self.topic.as_bytes()),
            Part::Partition => write!(out, "{}", record.partition),
            Part::Offset => write!(out, "{}", record.offset),
            Part::Timestamp => write!(out, "{}", record.timestamp),
            Part::Headers => self.write_headers(out, &record.headers),
            Part::Key => out.write_all(self.or_null(&record.key)),
            Part::KeyLength => write_length(out, &record.key),
            Part::Value => out.write_all(self.or_null(&record.value)),
            Part::ValueLength => write_length(out, &record.value),
        }
    }

    /// As `name=value,name=value`.
    fn write_headers(&self, out: &mut impl Write, headers: &[RecordHeader]) -> io::Result<()> {
        for (index, header) in headers.iter().enumerate() {
            if 0 < index {
                out.write_all(b",")?;
            }
            out.write_all(&header.key)?;
            out.write_all(b"=")?;
            out.write_all(self.or_null(&header.value))?;
        }
        Ok(())
    }

    fn or_null<'a>(&'a self, bytes: &'a Option<Bytes>) -> &'a [u8] {
        bytes.as_deref().unwrap_or(self.null.as_bytes())
    }
}

/// -1 for null, as in Kafka's own format and in kcat.
fn write_length(out: &mut impl Write, bytes: &Option<Bytes>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str, columns: Columns, record: &ConsumerRecord) -> String {
        let format = RecordFormat::parse(format).unwrap();
        let writer = RecordWriter { topic: "events".to_owned(), format, columns, key_separator: ":".to_owned(), null: "NULL".to_owned() };
        let mut out = Vec::new();
        writer.write(&mut out, record).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    fn record() -> ConsumerRecord {
        let headers = vec![
            RecordHeader { key: "a".to_owned().into(), value: Some(Bytes::from("1")) },
            RecordHeader { key: "b".to_owned().into(), value: None },
        ];
        ConsumerRecord { partition: 1, offset: 42, timestamp: 1000, key: None, value: Some(Bytes::from("value")), headers }
    }

    #[test]
    fn text_has_the_chosen_columns() {
        assert_eq!(shown("text", Columns::default(), &record()), "value\n");
        let all = Columns { partition: true, offset: true, timestamp: true, headers: true, key: true };
        assert_eq!(shown("text", all, &record()), "1\t42\t1000\ta=1,b=NULL\tNULL:value\n");
    }

    #[test]
    fn tokens_and_escapes_are_replaced_and_nothing_is_added() {
        let all = r"%t-%p@%o %T [%h] %K/%k %S/%s 100%%\t\x41\\\n";
        assert_eq!(shown(all, Columns::default(), &record()), "events-1@42 1000 [a=1,b=NULL] -1/NULL 5/value 100%\tA\\\n");
    }

    #[test]
    fn what_is_no_format_says_what_there_is() {
        for (format, expected) in [
            ("jsno", "must be text, json"),
            ("%q", "%q is not a token"),
            ("%", "% is not a token"),
            (r"\q", "not an escape"),
            (r"\x4", "two"),
        ] {
            let error = RecordFormat::parse(format).unwrap_err();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }
}
