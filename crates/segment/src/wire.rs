//! Big-endian fields, written to a vector and read with every length checked first.

use types::{Offset, TopicId, TopicPartition};

use crate::error::ObjectError;

/// Reads fields off the front of a part of the object.
pub(crate) struct Fields<'a> {
    part: &'static str,
    rest: &'a [u8],
}

macro_rules! numbers {
    ($($name:ident)*) => {
        $(pub(crate) fn $name(&mut self) -> Result<$name, ObjectError> {
            Ok($name::from_be_bytes(self.array()?))
        })*
    };
}

impl<'a> Fields<'a> {
    pub(crate) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { part, rest: bytes }
    }

    numbers! { u8 u16 u32 u64 i16 i32 i64 }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ObjectError> {
        let bytes = self.bytes(N)?;
        Ok(*bytes.first_chunk().expect("N bytes were just taken"))
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], ObjectError> {
        let short = ObjectError::Short { part: self.part, needed: length as u64, found: self.rest.len() as u64 };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn offset(&mut self) -> Result<Offset, ObjectError> {
        self.i64().map(Offset)
    }

    pub(crate) fn partition(&mut self) -> Result<TopicPartition, ObjectError> {
        Ok(TopicPartition::new(TopicId::from_bytes(self.array()?), self.i32()?))
    }

    /// A vector for `count` things of at least `each` bytes, with no more room than the bytes left can fill.
    pub(crate) fn room_for<T>(&self, count: usize, each: usize) -> Vec<T> {
        Vec::with_capacity(count.min(self.rest.len() / each))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn malformed(&self, what: &'static str) -> ObjectError {
        ObjectError::Malformed { part: self.part, what }
    }

    pub(crate) fn require(&self, holds: bool, what: &'static str) -> Result<(), ObjectError> {
        if holds { Ok(()) } else { Err(self.malformed(what)) }
    }

    /// Nothing may follow the fields of a known version.
    pub(crate) fn finish(self) -> Result<(), ObjectError> {
        self.require(self.is_empty(), "bytes follow its last field")
    }
}

/// Appends fields; the counterpart of [`Fields`].
pub(crate) trait PutFields {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }
    fn put_i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }
    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }
    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }
    /// A number of things that follow.
    fn put_count(&mut self, count: usize) {
        self.put_u32(u32::try_from(count).expect("an object holds fewer than 2^32 of anything"));
    }
    fn put_partition(&mut self, partition: TopicPartition) {
        self.put(partition.topic.as_bytes());
        self.put_i32(partition.partition);
    }
}

impl PutFields for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
