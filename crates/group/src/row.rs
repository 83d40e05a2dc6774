//! What a coordinator saves: rows of opaque bytes, the last value of a key counts. `docs/formats-group.md` describes them.
//!
//! A key is the row's kind, the group id and what else tells rows of that kind apart; a value is a version and the fields of it. Rows
//! come back in any order, each key once.

use bytes::{BufMut, Bytes, BytesMut};
use types::TopicId;

/// One saved value, or its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which value.
    pub key: Bytes,
    /// What it is now; `None` takes it away.
    pub value: Option<Bytes>,
}

impl Row {
    /// Whether it may be saved apart from the other rows of its call. Only a committed offset may: the others of a group say one thing
    /// together.
    pub fn stands_alone(&self) -> bool {
        self.key.first() == Some(&(Kind::Offset as u8))
    }
}

/// A row that this version cannot read. The coordinator is not loaded: what it would not know of would be lost.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RowError {
    /// Written by a later version.
    #[error("a group row is of kind {0}, which is not known")]
    UnknownKind(u8),
    /// Written by a later version.
    #[error("a group row of kind {kind} has version {version}, which is not known")]
    UnknownVersion {
        /// Its kind.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// Shorter or longer than its fields, or with a field that cannot be.
    #[error("a group row is damaged: {0}")]
    Damaged(&'static str),
}

/// No group comes so far in its life: a row that says so is damaged, and the changes to come would go beyond what there is.
pub(crate) const MAX_EPOCH: i32 = i32::MAX - (1 << 20);

/// The first byte of a key. Numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// A classic group with its members.
    ClassicGroup = 1,
    /// A committed offset.
    Offset = 2,
    /// A consumer group's epoch.
    ConsumerGroup = 3,
    /// What a member of a consumer group said of itself.
    ConsumerMember = 4,
    /// What a member of a consumer group has.
    CurrentAssignment = 5,
    /// The epoch of a consumer group's target assignment.
    TargetEpoch = 6,
    /// What a member of a consumer group shall have.
    TargetAssignment = 7,
    /// The topics that a regular expression stood for.
    Regex = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::ClassicGroup,
        Self::Offset,
        Self::ConsumerGroup,
        Self::ConsumerMember,
        Self::CurrentAssignment,
        Self::TargetEpoch,
        Self::TargetAssignment,
        Self::Regex,
    ];

    /// The start of a key: kind and group.
    pub(crate) fn key(self, group_id: &str) -> Writer {
        let mut writer = Writer::default();
        writer.u8(self as u8);
        writer.string(group_id);
        writer
    }

    /// Reads the start of a key; the rest of it is left in the reader.
    pub(crate) fn read(key: Bytes) -> Result<(Self, String, Reader), RowError> {
        let mut reader = Reader::new(key);
        let number = reader.u8()?;
        let kind = Self::ALL.into_iter().find(|kind| *kind as u8 == number).ok_or(RowError::UnknownKind(number))?;
        let group_id = reader.string()?;
        Ok((kind, group_id, reader))
    }

    /// Opens a value whose version must be `version`.
    pub(crate) fn open(self, value: Bytes, version: u8) -> Result<Reader, RowError> {
        let mut reader = Reader::new(value);
        match reader.u8()? {
            found if found == version => Ok(reader),
            found => Err(RowError::UnknownVersion { kind: self as u8, version: found }),
        }
    }
}

/// Puts a key or value together. Numbers are little-endian; lengths and counts are variable-length, seven bits a byte, low bits first.
#[derive(Default, Debug)]
pub(crate) struct Writer(BytesMut);

impl Writer {
    /// A value of `version`.
    pub(crate) fn value(version: u8) -> Self {
        let mut writer = Self::default();
        writer.u8(version);
        writer
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.put_u8(u8::from(value));
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.put_i32_le(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.put_i64_le(value);
    }

    pub(crate) fn topic_id(&mut self, id: TopicId) {
        self.0.put_slice(id.as_bytes());
    }

    pub(crate) fn length(&mut self, mut value: usize) {
        while 0x80 <= value {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.put_slice(value);
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// One byte whether there is one, then the string.
    pub(crate) fn optional_string(&mut self, value: Option<&str>) {
        self.bool(value.is_some());
        if let Some(value) = value {
            self.string(value);
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Takes a key or value apart; never allocates past what it was given.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, RowError> {
        if length <= self.0.len() { Ok(self.0.split_to(length)) } else { Err(RowError::Damaged("it ends within a field")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let bytes = self.take(N)?;
        Ok(bytes.as_ref().try_into().expect("as many bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RowError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn bool(&mut self) -> Result<bool, RowError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RowError::Damaged("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RowError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RowError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn topic_id(&mut self) -> Result<TopicId, RowError> {
        self.array().map(TopicId::from_bytes)
    }

    /// A length or count. Everything counted takes a byte at least, so that more than there are bytes left cannot be.
    pub(crate) fn length(&mut self) -> Result<usize, RowError> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if byte == 0 && 0 < shift {
                    // A key has one way to be written: with another one, the row would outlive what it stands for.
                    return Err(RowError::Damaged("a length is written longer than need be"));
                }
                return if value <= self.0.len() { Ok(value) } else { Err(RowError::Damaged("a length goes beyond the end")) };
            }
        }
        Err(RowError::Damaged("a length has more than five bytes"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, RowError> {
        let length = self.length()?;
        // A copy of its own: a small field must not hold the whole row in memory.
        self.take(length).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    pub(crate) fn string(&mut self) -> Result<String, RowError> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| RowError::Damaged("a string is not UTF-8"))
    }

    pub(crate) fn optional_string(&mut self) -> Result<Option<String>, RowError> {
        if self.bool()? { self.string().map(Some) } else { Ok(None) }
    }

    /// Everything was read.
    pub(crate) fn end(self) -> Result<(), RowError> {
        if self.0.is_empty() { Ok(()) } else { Err(RowError::Damaged("it goes on after its last field")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_of_later_versions_are_refused() {
        assert_eq!(Kind::read(Bytes::from_static(&[99, 0])).unwrap_err(), RowError::UnknownKind(99));
        let opened = Kind::Offset.open(Bytes::from_static(&[2, 0]), 1);
        assert_eq!(opened.unwrap_err(), RowError::UnknownVersion { kind: 2, version: 2 });
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_taken() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]));
        assert_eq!(reader.string().unwrap_err(), RowError::Damaged("a length goes beyond the end"));
        let mut reader = Reader::new(Bytes::from_static(&[0xff; 9]));
        assert_eq!(reader.length().unwrap_err(), RowError::Damaged("a length has more than five bytes"));
    }

    #[test]
    fn a_length_is_written_in_one_way_only() {
        let mut reader = Reader::new(Bytes::from_static(&[0x81, 0x00, b'g']));
        assert_eq!(reader.string().unwrap_err(), RowError::Damaged("a length is written longer than need be"));
        assert_eq!(Reader::new(Bytes::from_static(&[0x00])).string().as_deref(), Ok(""));
    }

    proptest! {
        #[test]
        fn fields_read_back(group in "\\PC{0,300}", number: i64, small: i32, text: Option<String>, bytes: Vec<u8>) {
            let mut writer = Kind::Regex.key(&group);
            writer.i64(number);
            writer.i32(small);
            writer.optional_string(text.as_deref());
            writer.bytes(&bytes);
            let (kind, read, mut reader) = Kind::read(writer.finish()).unwrap();
            prop_assert_eq!((kind, read), (Kind::Regex, group));
            prop_assert_eq!(reader.i64().unwrap(), number);
            prop_assert_eq!(reader.i32().unwrap(), small);
            prop_assert_eq!(reader.optional_string().unwrap(), text);
            prop_assert_eq!(reader.bytes().unwrap(), bytes);
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
