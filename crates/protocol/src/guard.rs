//! Stands before the decoders. kafka-protocol's reserves memory for as many elements as an array claims to have: eight bytes can
//! make it ask for 154 GB, and the process ends. A body is walked along its shape first; whatever passes can be decoded
//! without an error and within a bound on memory.

use crate::ApiKey;
use crate::shapes::{self, Kind, KnownTag, Shape};
use crate::wire::{MalformedError, Reader};

/// Decoding may always take this much, whatever the body's length.
const ALLOWED_BASE: usize = 64 * 1024;
/// For each of the first [`STEEP_BYTES`] of a body decoding may take this many bytes: enough for a Metadata request of topic names
/// of three letters, whose 5 bytes become a structure of 72.
const STEEP_FACTOR: usize = 16;
const STEEP_BYTES: usize = 1024 * 1024;
/// For each byte of a body decoding may take this many in addition. Records and long names are slices of the frame and cost nothing.
const FACTOR: usize = 2;

/// Unknown tagged fields are kept in a B-tree: its first node, and what one more entry takes in nodes that are half full.
const FIRST_UNKNOWN_TAG_BYTES: usize = 512;
const NEXT_UNKNOWN_TAG_BYTES: usize = 128;

/// Bytes that decoding a body of `length` bytes may allocate.
fn allowed(length: usize) -> usize {
    ALLOWED_BASE + STEEP_FACTOR * length.min(STEEP_BYTES) + FACTOR * length
}

/// Walks `body` and returns an upper bound of what decoding it allocates, in bytes. Bytes behind the last field are let through, as
/// Kafka does.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<usize, MalformedError> {
    let mut walk = Walk {
        reader: Reader::new(body),
        version,
        flexible: api.first_flexible_version() <= version,
        body: body.len(),
        allocated: 0,
        allowed: allowed(body.len()),
    };
    walk.structure(shapes::of(api))?;
    Ok(walk.allocated)
}

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    body: usize,
    allocated: usize,
    allowed: usize,
}

impl Walk<'_> {
    fn structure(&mut self, shape: &Shape) -> Result<(), MalformedError> {
        for field in shape.fields {
            if field.min <= self.version && self.version <= field.max {
                self.value(&field.kind)?;
            }
        }
        match shape.tags {
            Some(known) if self.flexible => self.tagged_fields(known),
            _ => Ok(()),
        }
    }

    fn value(&mut self, kind: &Kind) -> Result<(), MalformedError> {
        match kind {
            Kind::Fixed(bytes) => self.reader.take(*bytes).map(|_| ()),
            Kind::String => self.string()?.ok_or_else(|| self.reader.null()),
            Kind::NullableString => self.string().map(|_| ()),
            Kind::Bytes => {
                let length = self.reader.length(self.flexible)?.ok_or_else(|| self.reader.null())?;
                self.reader.take(length).map(|_| ())
            }
            Kind::NullableBytes => match self.reader.length(self.flexible)? {
                Some(length) => self.reader.take(length).map(|_| ()),
                None => Ok(()),
            },
            Kind::Array(element) => self.array(element)?.ok_or_else(|| self.reader.null()),
            Kind::NullableArray(element) => self.array(element).map(|_| ()),
            Kind::Struct(shape) => self.structure(shape),
            Kind::NullableStruct(shape) => match self.reader.i8()? {
                1 => self.structure(shape),
                ..=-1 => Ok(()),
                // Kafka reads a structure behind these and kafka-protocol reads null; no client writes them.
                present => Err(MalformedError::Length { position: self.reader.position(), length: i64::from(present) }),
            },
        }
    }

    /// `None` is null.
    fn string(&mut self) -> Result<Option<()>, MalformedError> {
        match self.reader.string_length(self.flexible)? {
            Some(length) => self.reader.utf8(length).map(|_| Some(())),
            None => Ok(None),
        }
    }

    /// `None` is null.
    fn array(&mut self, element: &Shape) -> Result<Option<()>, MalformedError> {
        let Some(count) = self.reader.length(self.flexible)? else { return Ok(None) };
        // No element is empty on the wire, so this bounds the product below as well.
        if self.reader.remaining() < count {
            return Err(self.reader.short(count as u64));
        }
        self.allocate(count * element.size)?;
        for _ in 0..count {
            self.structure(element)?;
        }
        Ok(Some(()))
    }

    fn tagged_fields(&mut self, known: &[KnownTag]) -> Result<(), MalformedError> {
        let mut unknown_tag_bytes = FIRST_UNKNOWN_TAG_BYTES;
        for _ in 0..self.reader.tag_count()? {
            let (tag, size) = self.reader.tag()?;
            let start = self.reader.position();
            match known.iter().find(|known| known.tag == tag) {
                Some(known) => {
                    let mismatch = MalformedError::Tag { position: start, tag };
                    if self.version < known.min {
                        return Err(mismatch);
                    }
                    self.value(&known.kind)?;
                    if self.reader.position() - start != size {
                        return Err(mismatch);
                    }
                }
                None => {
                    self.reader.take(size)?;
                    self.allocate(unknown_tag_bytes)?;
                    unknown_tag_bytes = NEXT_UNKNOWN_TAG_BYTES;
                }
            }
        }
        Ok(())
    }

    fn allocate(&mut self, bytes: usize) -> Result<(), MalformedError> {
        self.allocated += bytes;
        if self.allocated <= self.allowed {
            return Ok(());
        }
        Err(MalformedError::Amplification { position: self.reader.position(), body: self.body, allowed: self.allowed })
    }
}
