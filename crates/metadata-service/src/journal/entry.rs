//! A journal entry's bytes: a header with checksum, then events. Events of one step that exceed [`MAX_ENTRY_BYTES`] lie in several
//! entries and count when the last part is in.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use types::{Revision, Timestamp};

/// Largest body of one entry; etcd takes no more than 1.5 MiB in a request.
pub(crate) const MAX_ENTRY_BYTES: usize = 1 << 20;

/// `SSMJ`.
const MAGIC: [u8; 4] = *b"SSMJ";
const VERSION: u16 = 1;
/// Magic, version, flags, slot, first revision, leader, nonce, now, part, last part, length, CRC.
const HEADER_BYTES: usize = 4 + 2 + 2 + 8 + 8 + 8 + 16 + 8 + 2 + 2 + 4 + 4;
/// Position of the CRC, which covers everything but itself.
const CRC_AT: usize = HEADER_BYTES - 4;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) slot: u64,
    /// Revision of the first event of the step.
    pub(crate) first: Revision,
    /// Revision of the writer's `LeaderStarted`.
    pub(crate) leader: Revision,
    /// Made for this step: tells one writer's entry from another's.
    pub(crate) nonce: [u8; 16],
    /// The journal's clock.
    pub(crate) now: Timestamp,
    pub(crate) part: u16,
    /// Number of the step's last part.
    pub(crate) last: u16,
    pub(crate) body: Bytes,
}

/// An entry that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("journal entry {slot}: {detail}")]
    Damaged { slot: u64, detail: String },
    #[error(
        "journal entry {slot} has format version {version}, this program reads {VERSION}; run the version that wrote it, or a newer one"
    )]
    Version { slot: u64, version: u16 },
}

/// The entry's bytes. All numbers little-endian.
pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + entry.body.len());
    out.put_slice(&MAGIC);
    out.put_u16_le(VERSION);
    out.put_u16_le(0);
    out.put_u64_le(entry.slot);
    out.put_u64_le(entry.first.0);
    out.put_u64_le(entry.leader.0);
    out.put_slice(&entry.nonce);
    out.put_i64_le(entry.now.0);
    out.put_u16_le(entry.part);
    out.put_u16_le(entry.last);
    out.put_u32_le(u32::try_from(entry.body.len()).expect("a part has at most MAX_ENTRY_BYTES"));
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &entry.body);
    out.put_u32_le(crc);
    out.put_slice(&entry.body);
    out.freeze()
}

/// The reverse of [`encode_entry`], for the entry found in `slot`.
pub(crate) fn decode_entry(slot: u64, bytes: &Bytes) -> Result<Entry, EntryError> {
    let damaged = |detail: &str| EntryError::Damaged { slot, detail: detail.to_owned() };
    if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC {
        return Err(damaged("not an entry"));
    }
    let mut header = &bytes[4..HEADER_BYTES];
    let version = header.get_u16_le();
    if version != VERSION {
        return Err(EntryError::Version { slot, version });
    }
    let body = bytes.slice(HEADER_BYTES..);
    let crc = u32::from_le_bytes(bytes[CRC_AT..HEADER_BYTES].try_into().expect("four bytes"));
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &body) != crc {
        return Err(damaged("checksum mismatch"));
    }
    let _flags = header.get_u16_le();
    let written_slot = header.get_u64_le();
    let (first, leader) = (Revision(header.get_u64_le()), Revision(header.get_u64_le()));
    let mut nonce = [0; 16];
    header.copy_to_slice(&mut nonce);
    let now = Timestamp(header.get_i64_le());
    let (part, last) = (header.get_u16_le(), header.get_u16_le());
    if written_slot != slot {
        return Err(damaged(&format!("it was written for slot {written_slot}")));
    }
    if header.get_u32_le() as usize != body.len() || last < part {
        return Err(damaged("its length or part number is wrong"));
    }
    Ok(Entry { slot, first, leader, nonce, now, part, last, body })
}

/// An entry that lies elsewhere than in its slot, as a mirrored step does.
pub(crate) fn decode_copy(bytes: &Bytes) -> Result<Entry, EntryError> {
    let slot = bytes.get(8..16).map_or(0, |slot| u64::from_le_bytes(slot.try_into().expect("eight bytes")));
    decode_entry(slot, bytes)
}

/// Puts the parts of steps together. Parts that are not followed by the rest are void: their writer was deposed or died, and its
/// successor has begun with an entry of its own.
#[derive(Default)]
pub(crate) struct Assembler {
    parts: Vec<Entry>,
}

impl Assembler {
    /// The step that `bytes` in `slot` completes, as one entry, if it does.
    pub(crate) fn push(&mut self, slot: u64, bytes: &Bytes) -> Result<Option<Entry>, EntryError> {
        let entry = decode_entry(slot, bytes)?;
        let continues = self.parts.last().is_some_and(|last| last.nonce == entry.nonce && last.part + 1 == entry.part);
        if !continues {
            self.parts.clear();
        }
        if usize::from(entry.part) != self.parts.len() {
            let detail = format!("part {} of a step does not follow its part {}", entry.part, self.parts.len());
            return Err(EntryError::Damaged { slot, detail });
        }
        if entry.part < entry.last {
            self.parts.push(entry);
            return Ok(None);
        }
        if self.parts.is_empty() {
            return Ok(Some(entry));
        }
        let mut body = BytesMut::new();
        for part in self.parts.drain(..) {
            body.put(part.body);
        }
        body.put(entry.body.clone());
        Ok(Some(Entry { body: body.freeze(), ..entry }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: u64, part: u16, last: u16, body: &'static [u8]) -> Entry {
        Entry {
            slot,
            first: Revision(7),
            leader: Revision(2),
            nonce: [9; 16],
            now: Timestamp(1_700_000_000_000),
            part,
            last,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn an_entry_has_the_documented_bytes() {
        let bytes = encode_entry(&entry(3, 0, 0, b"events"));
        assert_eq!(&bytes[..], include_bytes!("../../tests/golden/entry.bin"));
        assert_eq!(decode_entry(3, &bytes).unwrap(), entry(3, 0, 0, b"events"));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = encode_entry(&entry(3, 0, 0, b"events"));
        for at in 0..bytes.len() {
            let mut broken = bytes.to_vec();
            broken[at] ^= 1;
            assert!(decode_entry(3, &Bytes::from(broken)).is_err(), "byte {at}");
        }
        assert!(decode_entry(4, &bytes).is_err(), "in another slot");
        for length in 0..bytes.len() {
            assert!(decode_entry(3, &bytes.slice(..length)).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_step_in_parts_counts_when_its_last_part_is_in_and_is_void_without_it() {
        let mut assembler = Assembler::default();
        let mut push = |entry: Entry| assembler.push(entry.slot, &encode_entry(&entry)).unwrap().map(|step| step.body);
        assert_eq!(push(entry(1, 0, 1, b"ab")), None);
        assert_eq!(push(entry(2, 1, 1, b"cd")), Some(Bytes::from_static(b"abcd")));
        assert_eq!(push(entry(3, 0, 1, b"lost")), None);
        let successor = Entry { nonce: [1; 16], ..entry(4, 0, 0, b"next") };
        assert_eq!(push(successor), Some(Bytes::from_static(b"next")));
    }
}
