//! Messages as they lie in a set: borrowed, sizes and checksums verified, compression not yet opened.

use types::Timestamp;

use super::error::{CorruptMessage, InvalidMessage, MessagePosition, MessageSetError};
use super::{MessageFormat, SIZE_OVERHEAD, attribute, checksum, field};

/// One message. Its offset is left out: nobody may trust it.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) format: MessageFormat,
    pub(super) attributes: u8,
    /// None in format 0.
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl Message<'_> {
    /// The number of its codec, known or not; 0 for a message that is no wrapper.
    pub(super) fn codec_id(&self) -> u8 {
        self.attributes & attribute::CODEC
    }
}

/// The messages of a set, with their positions. Ends after the first error.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
    position: usize,
    wrapper: Option<usize>,
}

impl<'a> Messages<'a> {
    pub(super) fn new(set: &'a [u8]) -> Self {
        Self { rest: set, position: 0, wrapper: None }
    }

    /// The messages of what the wrapper at byte `wrapper` held.
    pub(super) fn inside(wrapper: MessagePosition, set: &'a [u8]) -> Self {
        Self { rest: set, position: 0, wrapper: Some(wrapper.byte) }
    }

    fn place(&self) -> MessagePosition {
        match self.wrapper {
            None => MessagePosition { byte: self.position, inner: None },
            Some(byte) => MessagePosition { byte, inner: Some(self.position) },
        }
    }

    fn take_message(&mut self) -> Result<Message<'a>, MessageSetError> {
        let at = self.place();
        let corrupt = |fault| MessageSetError::Corrupt { at, fault };
        let truncated = |bytes| corrupt(CorruptMessage::Truncated { bytes, found: self.rest.len() });
        let least = MessageFormat::V0.overhead();
        let (_offset, sized) = self.rest.split_at_checked(field::SIZE).ok_or(truncated(SIZE_OVERHEAD + least))?;
        let (size, _) = sized.split_first_chunk().ok_or(truncated(SIZE_OVERHEAD + least))?;
        let size = i32::from_be_bytes(*size);
        let length = match usize::try_from(size) {
            Ok(size) if least <= size => SIZE_OVERHEAD.saturating_add(size),
            _ => return Err(corrupt(CorruptMessage::Size { size, least })),
        };
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(truncated(length))?;
        let magic = bytes[field::MAGIC];
        // Its magic stands in the same place and its checksum in another, so it would look like a damaged message.
        if magic == 2 {
            return Err(MessageSetError::Invalid { at, fault: InvalidMessage::RecordBatch });
        }
        verify_crc(bytes).map_err(corrupt)?;
        let format = MessageFormat::from_magic(magic);
        let format = format.ok_or(MessageSetError::Invalid { at, fault: InvalidMessage::Magic(magic.cast_signed()) })?;
        let least = format.overhead();
        if length < SIZE_OVERHEAD + least {
            return Err(corrupt(CorruptMessage::Size { size, least }));
        }
        let message = parse_message(format, bytes).ok_or(corrupt(CorruptMessage::Lengths))?;
        self.rest = rest;
        self.position += length;
        Ok(message)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(MessagePosition, Message<'a>), MessageSetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.place();
        let message = self.take_message();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message.map(|message| (at, message)))
    }
}

/// `message` has at least the bytes of an empty one.
fn verify_crc(message: &[u8]) -> Result<(), CorruptMessage> {
    let stored = message[field::CRC..field::MAGIC].iter().fold(0, |crc, byte| crc << 8 | u32::from(*byte));
    let computed = checksum(&message[field::MAGIC..]);
    if stored == computed { Ok(()) } else { Err(CorruptMessage::Crc { stored, computed }) }
}

fn parse_message(format: MessageFormat, bytes: &[u8]) -> Option<Message<'_>> {
    let attributes = bytes[field::ATTRIBUTES];
    let mut rest = &bytes[field::AFTER_ATTRIBUTES..];
    let timestamp = match format {
        MessageFormat::V0 => Timestamp::NONE,
        MessageFormat::V1 => Timestamp(i64::from_be_bytes(take(&mut rest)?)),
    };
    let key = take_nullable(&mut rest)?;
    let value = take_nullable(&mut rest)?;
    rest.is_empty().then_some(Message { format, attributes, timestamp, key, value })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// A length of -1 is null; what is below is malformed.
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = i32::from_be_bytes(take(bytes)?);
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
