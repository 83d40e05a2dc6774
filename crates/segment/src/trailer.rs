//! The two fixed parts: the head, which names the format to whoever looks at the first bytes, and the trailer, which leads a
//! reader that has only the object's end to the footer.

use std::ops::Range;

use crate::error::{ObjectError, check_crc};
use crate::wire::{Fields, PutFields};

/// Length of the trailer, the last bytes of every object.
pub const TRAILER_BYTES: usize = 96;
/// Length of the head, the first bytes of every object.
pub const HEAD_BYTES: usize = 16;

const HEAD_MAGIC: &[u8; 8] = b"SILTSEGM";
const TRAILER_MAGIC: &[u8; 8] = b"MGESTLIS";
const FORMAT_VERSION: u32 = 1;
/// Key id (16), nonce (24) and 12 bytes more, for encryption.
const RESERVED_BYTES: usize = 52;
const NOT_ENCRYPTED: u16 = 0;

/// Where the footer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// Length of the whole object.
    pub object_bytes: u64,
    /// Where the footer begins; it ends where the trailer begins.
    pub footer_position: u64,
    /// Length of the footer.
    pub footer_bytes: u32,
    /// CRC-32C of the footer.
    pub footer_crc: u32,
}

impl Trailer {
    /// Reads the trailer from the end of `tail`, which ends where the object ends and is at least [`TRAILER_BYTES`] long.
    pub fn parse(tail: &[u8]) -> Result<Self, ObjectError> {
        const PART: &str = "trailer";
        let short = ObjectError::Short { part: PART, needed: TRAILER_BYTES as u64, found: tail.len() as u64 };
        let bytes: &[u8; TRAILER_BYTES] = tail.last_chunk().ok_or(short)?;
        if !bytes.ends_with(TRAILER_MAGIC) {
            return Err(ObjectError::Magic { part: PART });
        }
        let (covered, rest) = bytes.split_at(TRAILER_BYTES - 12);
        check_crc(PART, Fields::new(PART, rest).u32()?, covered)?;
        let mut fields = Fields::new(PART, covered);
        let trailer =
            Self { object_bytes: fields.u64()?, footer_position: fields.u64()?, footer_bytes: fields.u32()?, footer_crc: fields.u32()? };
        let encryption = fields.u16()?;
        let _unused = fields.u16()?;
        let _reserved = fields.bytes(RESERVED_BYTES)?;
        // The version is read last because it stands last, next to the magic; it is judged first.
        let version = fields.u32()?;
        if version != FORMAT_VERSION {
            return Err(ObjectError::Version { part: PART, found: version });
        }
        if encryption != NOT_ENCRYPTED {
            return Err(ObjectError::Encrypted(encryption));
        }
        let end = trailer.footer_position.checked_add(u64::from(trailer.footer_bytes) + TRAILER_BYTES as u64);
        fields.require(
            HEAD_BYTES as u64 <= trailer.footer_position && end == Some(trailer.object_bytes),
            "footer and trailer do not fill the object's end",
        )?;
        fields.finish()?;
        Ok(trailer)
    }

    /// Where the footer lies in the object.
    pub fn footer_range(&self) -> Range<u64> {
        self.footer_position..self.footer_position + u64::from(self.footer_bytes)
    }

    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.put_u64(self.object_bytes);
        out.put_u64(self.footer_position);
        out.put_u32(self.footer_bytes);
        out.put_u32(self.footer_crc);
        out.put_u16(NOT_ENCRYPTED);
        out.put_u16(0);
        out.put(&[0; RESERVED_BYTES]);
        out.put_u32(FORMAT_VERSION);
        out.put_u32(crc32c::crc32c(&out));
        out.put(TRAILER_MAGIC);
        out.try_into().expect("the fields above are TRAILER_BYTES long")
    }
}

pub(crate) fn encode_head() -> [u8; HEAD_BYTES] {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.put(HEAD_MAGIC);
    out.put_u32(FORMAT_VERSION);
    out.put_u32(crc32c::crc32c(&out));
    out.try_into().expect("the fields above are HEAD_BYTES long")
}

/// Checks the head at the beginning of `object`, of which the first [`HEAD_BYTES`] are enough.
///
/// # Errors
/// If it is damaged or of a format version that this program does not know.
pub fn check_head(object: &[u8]) -> Result<(), ObjectError> {
    const PART: &str = "head";
    let mut fields = Fields::new(PART, object);
    let covered = fields.bytes(HEAD_BYTES - 4)?;
    if !covered.starts_with(HEAD_MAGIC) {
        return Err(ObjectError::Magic { part: PART });
    }
    check_crc(PART, fields.u32()?, covered)?;
    let version = Fields::new(PART, &covered[HEAD_MAGIC.len()..]).u32()?;
    if version == FORMAT_VERSION { Ok(()) } else { Err(ObjectError::Version { part: PART, found: version }) }
}
