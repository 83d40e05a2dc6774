//! Bounds-checked reads of the protocol's primitives from a slice. Nothing here allocates or panics on any input.

/// Why bytes are not what the protocol says they must be. Positions count from the first byte of what was read: a header's from the
/// start of the frame, a body's from the start of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedError {
    /// A length or count that the remaining bytes cannot hold.
    #[error("byte {position}: {needed} bytes or more announced, {remaining} left")]
    Short {
        /// Where the announced bytes would begin.
        position: usize,
        /// How many are needed at least.
        needed: u64,
        /// How many there are.
        remaining: usize,
    },
    /// A length below -1, or -1 where null is not allowed; before a structure that may be null, a byte that says neither.
    #[error("byte {position}: length {length} is not allowed here")]
    Length {
        /// Where the length ends.
        position: usize,
        /// What it says; -1 is null.
        length: i64,
    },
    /// More than 32 bits in a variable-length number.
    #[error("byte {position}: a variable-length number of more than 32 bits")]
    Varint {
        /// Where it begins.
        position: usize,
    },
    /// A string that is not UTF-8.
    #[error("byte {position}: a string that is not UTF-8")]
    NotUtf8 {
        /// Where it begins.
        position: usize,
    },
    /// A known tagged field whose content is not as long as its size says, or that its version does not have.
    #[error("byte {position}: tagged field {tag} does not fit its size or this version")]
    Tag {
        /// Where its content begins.
        position: usize,
        /// Its number.
        tag: u32,
    },
    /// Decoding would take too much memory for the bytes received.
    #[error("byte {position}: decoding {body} bytes would take more than {allowed} bytes of memory")]
    Amplification {
        /// Where the bound is passed.
        position: usize,
        /// Length of the body.
        body: usize,
        /// What decoding may take.
        allowed: usize,
    },
}

/// Reads from the front of a slice.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The error for `needed` bytes that are not there.
    pub(crate) fn short(&self, needed: u64) -> MalformedError {
        MalformedError::Short { position: self.position, needed, remaining: self.remaining() }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], MalformedError> {
        match self.bytes[self.position..].get(..length) {
            Some(taken) => {
                self.position += length;
                Ok(taken)
            }
            None => Err(self.short(length as u64)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    pub(crate) fn i8(&mut self) -> Result<i8, MalformedError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, MalformedError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, MalformedError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, MalformedError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// An unsigned number in groups of seven bits, least significant first, at most five of them.
    pub(crate) fn varint(&mut self) -> Result<u32, MalformedError> {
        let position = self.position;
        let mut value = 0u32;
        for group in 0..5 {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if group == 4 && 0x0f < byte {
                break;
            }
            value |= bits << (7 * group);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(MalformedError::Varint { position })
    }

    /// A compact length: one more than the length, 0 for null.
    fn compact_length(&mut self) -> Result<Option<usize>, MalformedError> {
        Ok(self.varint()?.checked_sub(1).map(|length| length as usize))
    }

    /// The length before a string; `None` is null.
    pub(crate) fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, MalformedError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.i16()?;
        self.classic_length(i64::from(length))
    }

    /// The length before bytes, or the count before an array; `None` is null.
    pub(crate) fn length(&mut self, flexible: bool) -> Result<Option<usize>, MalformedError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.i32()?;
        self.classic_length(i64::from(length))
    }

    fn classic_length(&self, length: i64) -> Result<Option<usize>, MalformedError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| MalformedError::Length { position: self.position, length }),
        }
    }

    /// The error for a null that is not allowed.
    pub(crate) fn null(&self) -> MalformedError {
        MalformedError::Length { position: self.position, length: -1 }
    }

    /// `length` bytes of UTF-8.
    pub(crate) fn utf8(&mut self, length: usize) -> Result<&'a str, MalformedError> {
        let position = self.position;
        std::str::from_utf8(self.take(length)?).map_err(|_| MalformedError::NotUtf8 { position })
    }

    /// The number of tagged fields that follow; each has at least a tag and a size.
    pub(crate) fn tag_count(&mut self) -> Result<u32, MalformedError> {
        let count = self.varint()?;
        if (self.remaining() as u64) < 2 * u64::from(count) {
            return Err(self.short(2 * u64::from(count)));
        }
        Ok(count)
    }

    /// A tagged field's number and the size of its content, which is known to be there.
    pub(crate) fn tag(&mut self) -> Result<(u32, usize), MalformedError> {
        let tag = self.varint()?;
        let size = self.varint()? as usize;
        if self.remaining() < size {
            return Err(self.short(size as u64));
        }
        Ok((tag, size))
    }
}
