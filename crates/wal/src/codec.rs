//! Bytes of keys and entries, as `docs/formats-wal.md` lays them out.

use bytes::Bytes;
use types::{BrokerEpoch, LeaderEpoch, Lsn, Offset, Revision, Timestamp, TopicId, TopicPartition};

use crate::{Entry, EntryKind, EpochStart, Origin};

/// Version in an entry's first byte.
pub const FORMAT_VERSION: u8 = 1;
/// Length of a key: stream and LSN.
pub const KEY_LEN: usize = 12;
/// The broker's own stream.
const STREAM: u32 = 0;
/// Set in a kind that a reader may skip without knowing it.
const MAY_SKIP: u8 = 0x80;
const KIND_BATCH: u8 = 1;
const KIND_EPOCH_START: u8 = 2;

/// Length of what precedes the kind's fields.
const FIXED_LEN: usize = 32;
const BATCH_FIELDS_LEN: usize = 40;
const EPOCH_START_FIELDS_LEN: usize = 24;
/// What a record batch has before the part that its own CRC covers, that CRC included.
const BATCH_PREFIX_LEN: usize = 21;

/// Why bytes are not an entry. Recovery stops at the first such entry, whatever the reason.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Fewer or more bytes than the header says.
    #[error("{found} bytes where {expected} belong")]
    Length {
        /// What the header says, or the least there can be.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Written by a newer release, or damaged.
    #[error("format version {0} is not known")]
    Version(u8),
    /// Written by a newer release: this one must not go on without understanding it.
    #[error("entry kind {0} is not known and must be understood")]
    Kind(u8),
    /// Not one of the documented values.
    #[error("origin {0} is not known")]
    Origin(u8),
    /// Header, key or the batch's first bytes are not what was written.
    #[error("checksum {found:#010x} where {expected:#010x} was written")]
    Checksum {
        /// What the entry carries.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
}

/// A decoded entry with what only the log itself needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// `None` for a kind that is not known and may be skipped; it still takes up its LSN.
    pub entry: Option<Entry>,
    /// End (exclusive) of what was synced when the entry was written.
    pub synced: Lsn,
    /// Goes into its generation's digest.
    pub checksum: u32,
    /// Length of the batch in bytes.
    pub batch_len: usize,
}

/// The key of the entry at `lsn`.
pub fn key(lsn: Lsn) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..4].copy_from_slice(&STREAM.to_be_bytes());
    key[4..].copy_from_slice(&lsn.0.to_be_bytes());
    key
}

/// The reverse of [`key`]; `None` for another stream or length.
pub fn lsn_of(key: &[u8]) -> Option<Lsn> {
    let (stream, lsn) = key.split_first_chunk::<4>()?;
    (u32::from_be_bytes(*stream) == STREAM).then_some(Lsn(u64::from_be_bytes(lsn.try_into().ok()?)))
}

/// Appends the entry's bytes to `out` and returns the entry's checksum.
///
/// # Panics
/// If the batch is 4 GiB or longer: no request can carry one.
pub fn encode(lsn: Lsn, entry: &Entry, synced: Lsn, out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    let (kind, origin, fields) = match &entry.kind {
        EntryKind::Batch { origin: Origin::Client, .. } => (KIND_BATCH, 1, BATCH_FIELDS_LEN),
        EntryKind::Batch { origin: Origin::Coordinator, .. } => (KIND_BATCH, 2, BATCH_FIELDS_LEN),
        EntryKind::EpochStart(_) => (KIND_EPOCH_START, 0, EPOCH_START_FIELDS_LEN),
    };
    let batch_len = u32::try_from(entry.batch.len()).expect("a request is shorter than 2 GiB");
    let fields_len = u16::try_from(fields).expect("the lengths above are small");
    out.reserve(FIXED_LEN + fields + entry.batch.len());
    out.extend_from_slice(&[FORMAT_VERSION, kind, origin, 0]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&synced.0.to_be_bytes());
    out.extend_from_slice(&entry.append_time.0.to_be_bytes());
    out.extend_from_slice(&batch_len.to_be_bytes());
    out.extend_from_slice(&fields_len.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    match &entry.kind {
        EntryKind::Batch { partition, leader_epoch, base_offset, last_offset, .. } => {
            out.extend_from_slice(partition.topic.as_bytes());
            out.extend_from_slice(&partition.partition.to_be_bytes());
            out.extend_from_slice(&leader_epoch.0.to_be_bytes());
            out.extend_from_slice(&base_offset.0.to_be_bytes());
            out.extend_from_slice(&last_offset.0.to_be_bytes());
        }
        EntryKind::EpochStart(begun) => {
            out.extend_from_slice(&begun.epoch.0.to_be_bytes());
            out.extend_from_slice(&begun.previous_end.0.to_be_bytes());
            out.extend_from_slice(&begun.metadata_revision.0.to_be_bytes());
        }
    }
    out.extend_from_slice(&entry.batch);
    let checksum = checksum(&key(lsn), &out[start..], FIXED_LEN + fields);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_be_bytes());
    checksum
}

/// Reads an entry whose value is all of `value`. The batch is a slice of it.
pub fn decode(key: &[u8; KEY_LEN], value: &Bytes) -> Result<Decoded, DecodeError> {
    let Header { kind, synced, checksum, batch_len, fields_end } = Header::read(key, value)?;
    let expected = fields_end + batch_len;
    if value.len() != expected {
        return Err(DecodeError::Length { expected, found: value.len() });
    }
    let fields = &value[FIXED_LEN..fields_end];
    let kind = match kind {
        KIND_BATCH => Some(batch_fields(value[2], fields)?),
        KIND_EPOCH_START => Some(epoch_start_fields(fields)?),
        kind if kind & MAY_SKIP != 0 => None,
        kind => return Err(DecodeError::Kind(kind)),
    };
    let entry =
        kind.map(|kind| Entry { kind, append_time: Timestamp(i64::from_be_bytes(array(value, 16))), batch: value.slice(fields_end..) });
    Ok(Decoded { entry, synced, checksum, batch_len })
}

/// Length of the value that `value` begins, and what was synced when it was written, if its header and the batch's first bytes are
/// intact; the rest of the batch need not be there. For reading a damaged file.
pub fn intact_prefix(key: &[u8; KEY_LEN], value: &[u8]) -> Option<Lsn> {
    Header::read(key, value).ok().map(|header| header.synced)
}

/// The bytes of a value that [`intact_prefix`] may need.
pub const PREFIX_LEN: usize = FIXED_LEN + BATCH_FIELDS_LEN + BATCH_PREFIX_LEN;

struct Header {
    kind: u8,
    synced: Lsn,
    checksum: u32,
    batch_len: usize,
    fields_end: usize,
}

impl Header {
    fn read(key: &[u8; KEY_LEN], value: &[u8]) -> Result<Self, DecodeError> {
        if value.len() < FIXED_LEN {
            return Err(DecodeError::Length { expected: FIXED_LEN, found: value.len() });
        }
        if value[0] != FORMAT_VERSION {
            return Err(DecodeError::Version(value[0]));
        }
        let batch_len = u32::from_be_bytes(array(value, 24)) as usize;
        let fields_end = FIXED_LEN + usize::from(u16::from_be_bytes(array(value, 28)));
        let needed = fields_end + batch_len.min(BATCH_PREFIX_LEN);
        if value.len() < needed {
            return Err(DecodeError::Length { expected: needed, found: value.len() });
        }
        let expected = u32::from_be_bytes(array(value, 4));
        let found = checksum(key, &value[..needed], fields_end);
        if found != expected {
            return Err(DecodeError::Checksum { expected, found });
        }
        Ok(Self { kind: value[1], synced: Lsn(u64::from_be_bytes(array(value, 8))), checksum: expected, batch_len, fields_end })
    }
}

fn checksum(key: &[u8; KEY_LEN], value: &[u8], fields_end: usize) -> u32 {
    let covered = value.len().min(fields_end + BATCH_PREFIX_LEN);
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, &value[..4]);
    crc32c::crc32c_append(crc, &value[8..covered])
}

fn batch_fields(origin: u8, fields: &[u8]) -> Result<EntryKind, DecodeError> {
    if fields.len() != BATCH_FIELDS_LEN {
        return Err(DecodeError::Length { expected: BATCH_FIELDS_LEN, found: fields.len() });
    }
    let origin = match origin {
        1 => Origin::Client,
        2 => Origin::Coordinator,
        other => return Err(DecodeError::Origin(other)),
    };
    Ok(EntryKind::Batch {
        partition: TopicPartition::new(TopicId::from_bytes(array(fields, 0)), i32::from_be_bytes(array(fields, 16))),
        origin,
        leader_epoch: LeaderEpoch(i32::from_be_bytes(array(fields, 20))),
        base_offset: Offset(i64::from_be_bytes(array(fields, 24))),
        last_offset: Offset(i64::from_be_bytes(array(fields, 32))),
    })
}

fn epoch_start_fields(fields: &[u8]) -> Result<EntryKind, DecodeError> {
    if fields.len() != EPOCH_START_FIELDS_LEN {
        return Err(DecodeError::Length { expected: EPOCH_START_FIELDS_LEN, found: fields.len() });
    }
    Ok(EntryKind::EpochStart(EpochStart {
        epoch: BrokerEpoch(u64::from_be_bytes(array(fields, 0))),
        previous_end: Lsn(u64::from_be_bytes(array(fields, 8))),
        metadata_revision: Revision(u64::from_be_bytes(array(fields, 16))),
    }))
}

/// `N` bytes at `at`.
///
/// # Panics
/// If they are not there: callers have checked the length.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conformance::{batch_entry, epoch_entry};

    fn encoded(lsn: Lsn, entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        encode(lsn, entry, Lsn(3), &mut out);
        out
    }

    fn check(lsn: Lsn, value: Vec<u8>) -> Result<Decoded, DecodeError> {
        decode(&key(lsn), &Bytes::from(value))
    }

    #[test]
    fn golden_entries_have_not_changed() {
        for (entry, golden) in [
            (batch_entry(7, 40), include_bytes!("../tests/golden/batch.bin").as_slice()),
            (epoch_entry(Lsn(5)), include_bytes!("../tests/golden/epoch_start.bin").as_slice()),
        ] {
            let mut bytes = key(Lsn(9)).to_vec();
            encode(Lsn(9), &entry, Lsn(3), &mut bytes);
            assert_eq!(bytes, golden);
            let decoded = check(Lsn(9), golden[KEY_LEN..].to_vec()).unwrap();
            assert_eq!((decoded.entry, decoded.synced), (Some(entry), Lsn(3)));
        }
    }

    #[test]
    fn every_flipped_bit_under_the_checksum_is_found() {
        let value = encoded(Lsn(9), &batch_entry(7, 40));
        for bit in 0..(72 + BATCH_PREFIX_LEN) * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check(Lsn(9), flipped).is_err(), "bit {bit}");
        }
        assert!(matches!(check(Lsn(10), value), Err(DecodeError::Checksum { .. })), "an entry under another's key");
    }

    #[test]
    fn every_cut_is_found() {
        let value = encoded(Lsn(9), &batch_entry(7, 40));
        for len in 0..value.len() {
            assert!(check(Lsn(9), value[..len].to_vec()).is_err(), "{len} bytes");
        }
        let mut longer = value;
        longer.push(0);
        assert!(matches!(check(Lsn(9), longer), Err(DecodeError::Length { .. })));
    }

    /// Rewrites the kind and makes the checksum right again, as a newer release would have written it.
    fn with_kind(kind: u8) -> Vec<u8> {
        let mut value = encoded(Lsn(9), &batch_entry(7, 40));
        value[1] = kind;
        let sum = checksum(&key(Lsn(9)), &value, FIXED_LEN + BATCH_FIELDS_LEN);
        value[4..8].copy_from_slice(&sum.to_be_bytes());
        value
    }

    #[test]
    fn t9_an_unknown_kind_stops_the_reader_unless_it_may_be_skipped() {
        assert_eq!(check(Lsn(9), with_kind(3)), Err(DecodeError::Kind(3)));
        assert_eq!(check(Lsn(9), with_kind(3 | MAY_SKIP)).unwrap().entry, None);
    }

    proptest! {
        #[test]
        fn every_entry_reads_back(lsn: u64, offset in 0..i64::MAX, len in 0..200usize, synced: u64) {
            let entry = batch_entry(offset, len);
            let mut value = Vec::new();
            let sum = encode(Lsn(lsn), &entry, Lsn(synced), &mut value);
            prop_assert_eq!(lsn_of(&key(Lsn(lsn))), Some(Lsn(lsn)));
            prop_assert_eq!(check(Lsn(lsn), value), Ok(Decoded { entry: Some(entry), synced: Lsn(synced), checksum: sum, batch_len: len }));
        }

        #[test]
        fn no_input_panics(value: Vec<u8>) {
            let _ = check(Lsn(1), value.clone());
            let _ = intact_prefix(&key(Lsn(1)), &value);
        }
    }
}
