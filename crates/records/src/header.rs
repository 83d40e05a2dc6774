//! The 61-byte header of a record batch v2, as fields.

use types::{LeaderEpoch, Offset, Timestamp};

/// Length of the header: everything before the records.
pub const HEADER_BYTES: usize = 61;

/// Base offset and length field: what the length field itself does not count.
const LENGTH_OVERHEAD: usize = 12;

/// Positions of the fields, all big-endian.
pub(crate) mod field {
    pub(crate) const BASE_OFFSET: usize = 0;
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const LEADER_EPOCH: usize = 12;
    pub(crate) const MAGIC: usize = 16;
    pub(crate) const CRC: usize = 17;
    pub(crate) const ATTRIBUTES: usize = 21;
    pub(crate) const LAST_OFFSET_DELTA: usize = 23;
    pub(crate) const BASE_TIMESTAMP: usize = 27;
    pub(crate) const MAX_TIMESTAMP: usize = 35;
    pub(crate) const PRODUCER_ID: usize = 43;
    pub(crate) const PRODUCER_EPOCH: usize = 51;
    pub(crate) const BASE_SEQUENCE: usize = 53;
    pub(crate) const RECORDS: usize = 57;
}

/// Bits of the attributes field. The three lowest are the codec.
pub(crate) mod attribute {
    pub(crate) const CODEC: u16 = 0b111;
    pub(crate) const LOG_APPEND_TIME: u16 = 1 << 3;
    pub(crate) const TRANSACTIONAL: u16 = 1 << 4;
    pub(crate) const CONTROL: u16 = 1 << 5;
}

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// Not at all.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// A raw block, or blocks in xerial's framing, as Java writes them.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878; only clients that speak Produce 7 or above may send it (KIP-110).
    Zstd,
}

impl Codec {
    /// Every codec, in the order of its number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in the attributes field.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The reverse of [`Self::id`].
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }
}

/// Who set the timestamps of a batch; the topic config `message.timestamp.type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimestampType {
    /// The producer, record by record.
    CreateTime,
    /// The broker: every record has the batch's maximum timestamp.
    LogAppendTime,
}

/// The header of one batch. A header that parses can be served and indexed: its offsets do not overflow, its codec is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record, also where compaction has removed that record.
    pub base_offset: Offset,
    /// Length of the whole batch in bytes, header included; at least [`HEADER_BYTES`].
    pub bytes: usize,
    /// Epoch of the leader that appended it; -1 from a client.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on, as stored.
    pub crc: u32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Who set the timestamps.
    pub timestamp_type: TimestampType,
    /// Part of a transaction.
    pub transactional: bool,
    /// Holds a transaction marker and no client's records.
    pub control: bool,
    /// Distance of the last record's offset from `base_offset`; 0 or above.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to: as a rule the first record's, which need not be the smallest.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records; with [`TimestampType::LogAppendTime`] that of every record.
    pub max_timestamp: Timestamp,
    /// -1 from a plain producer.
    pub producer_id: i64,
    /// -1 from a plain producer.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 from a plain producer.
    pub base_sequence: i32,
    /// Number of records; compaction may leave fewer than the offsets span, down to 0.
    pub records: u32,
}

/// Not the header of a batch this code can handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("a record batch header has 61 bytes, found {found}")]
    Short {
        /// Bytes there.
        found: usize,
    },
    /// The length field is below what a header takes.
    #[error("batch length {0} is below the 49 bytes that a header takes")]
    Length(i32),
    /// An old message set (0, 1) or a format of the future.
    #[error("record format {0} is not supported, only 2")]
    Magic(i8),
    /// Not one of the five codecs.
    #[error("compression codec {0} is unknown")]
    Codec(u8),
    /// The offset range is empty or ends beyond 2^63-1.
    #[error("base offset {base} with last offset delta {delta} is not a range of offsets")]
    Offsets {
        /// The base offset field.
        base: i64,
        /// The last offset delta field.
        delta: i32,
    },
    /// The number of records is negative.
    #[error("record count {0} is negative")]
    Records(i32),
}

/// The content of a batch is not what its producer checksummed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("batch checksum mismatch, expected {stored:#010x}, found {computed:#010x}")]
pub struct CrcMismatch {
    /// The value in the header.
    pub stored: u32,
    /// The CRC-32C of the bytes there.
    pub computed: u32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may be longer or shorter than the batch.
    ///
    /// # Errors
    /// See [`HeaderError`]. The checksum is not looked at: [`verify_crc`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let total = batch_bytes(bytes)?;
        if bytes.len() < HEADER_BYTES {
            return Err(HeaderError::Short { found: bytes.len() });
        }
        let attributes = u16::from_be_bytes(array(bytes, field::ATTRIBUTES));
        let codec = (attributes & attribute::CODEC) as u8;
        let codec = Codec::from_id(codec).ok_or(HeaderError::Codec(codec))?;
        let base = i64::from_be_bytes(array(bytes, field::BASE_OFFSET));
        let delta = i32::from_be_bytes(array(bytes, field::LAST_OFFSET_DELTA));
        // The offset after the last record must exist too.
        if delta < 0 || base.checked_add(i64::from(delta) + 1).is_none() {
            return Err(HeaderError::Offsets { base, delta });
        }
        let records = i32::from_be_bytes(array(bytes, field::RECORDS));
        Ok(Self {
            base_offset: Offset(base),
            bytes: total,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(array(bytes, field::LEADER_EPOCH))),
            crc: stored_crc(bytes),
            codec,
            timestamp_type: if attributes & attribute::LOG_APPEND_TIME == 0 {
                TimestampType::CreateTime
            } else {
                TimestampType::LogAppendTime
            },
            transactional: attributes & attribute::TRANSACTIONAL != 0,
            control: attributes & attribute::CONTROL != 0,
            last_offset_delta: delta,
            base_timestamp: Timestamp(i64::from_be_bytes(array(bytes, field::BASE_TIMESTAMP))),
            max_timestamp: Timestamp(i64::from_be_bytes(array(bytes, field::MAX_TIMESTAMP))),
            producer_id: i64::from_be_bytes(array(bytes, field::PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(array(bytes, field::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(array(bytes, field::BASE_SEQUENCE)),
            records: u32::try_from(records).map_err(|_| HeaderError::Records(records))?,
        })
    }

    /// Offset of the last record, also where compaction has removed that record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Whether an idempotent producer sent it.
    pub fn has_producer(&self) -> bool {
        0 <= self.producer_id
    }

    /// Sequence of the last record: sequences wrap from 2^31-1 to 0. -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX }
    }
}

/// Length of the batch that begins at `bytes`, from the first 17 bytes alone.
pub(crate) fn batch_bytes(bytes: &[u8]) -> Result<usize, HeaderError> {
    if bytes.len() <= field::MAGIC {
        return Err(HeaderError::Short { found: bytes.len() });
    }
    // The magic first: an old message is shorter than this header, and that is not its fault.
    let magic = i8::from_be_bytes([bytes[field::MAGIC]]);
    if magic != 2 {
        return Err(HeaderError::Magic(magic));
    }
    let length = i32::from_be_bytes(array(bytes, field::LENGTH));
    match usize::try_from(length) {
        Ok(length) if HEADER_BYTES - LENGTH_OVERHEAD <= length => Ok(length + LENGTH_OVERHEAD),
        _ => Err(HeaderError::Length(length)),
    }
}

/// Compares the checksum of one whole batch. It covers everything from the attributes on: base offset and leader epoch lie
/// outside it, and so do length and magic.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn verify_crc(batch: &[u8]) -> Result<(), CrcMismatch> {
    let (stored, computed) = (stored_crc(batch), crc32c::crc32c(&batch[field::ATTRIBUTES..]));
    if stored == computed { Ok(()) } else { Err(CrcMismatch { stored, computed }) }
}

fn stored_crc(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(array(bytes, field::CRC))
}

fn array<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    *bytes[position..].first_chunk().expect("callers check the length of the header first")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::BatchBuilder;

    fn batch() -> Vec<u8> {
        let mut builder =
            BatchBuilder::new(Codec::None).base_offset(Offset(1000)).leader_epoch(LeaderEpoch(7)).producer(42, 3, i32::MAX - 1);
        for n in 0..5 {
            builder.push(Timestamp(100 - n), None, Some(b"v"), &[]);
        }
        builder.build().to_vec()
    }

    #[test]
    fn fields_are_read_where_kafka_puts_them() {
        let bytes = batch();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (Offset(1000), Offset(1004), Offset(1005)));
        assert_eq!((header.bytes, header.records, header.leader_epoch), (bytes.len(), 5, LeaderEpoch(7)));
        assert_eq!((header.base_timestamp, header.max_timestamp), (Timestamp(100), Timestamp(100)));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (42, 3, i32::MAX - 1));
        assert!(!header.transactional && !header.control && header.has_producer());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let header = BatchHeader::parse(&batch()).unwrap();
        assert_eq!(header.last_sequence(), 2);
    }

    #[test]
    fn headers_that_cannot_be_served_are_refused() {
        let changed = |position: usize, bytes: &[u8]| {
            let mut batch = batch();
            batch[position..position + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&batch)
        };
        assert_eq!(changed(field::MAGIC, &[1]), Err(HeaderError::Magic(1)));
        assert_eq!(changed(field::LENGTH, &48i32.to_be_bytes()), Err(HeaderError::Length(48)));
        assert_eq!(changed(field::LENGTH, &(-1i32).to_be_bytes()), Err(HeaderError::Length(-1)));
        assert_eq!(changed(field::ATTRIBUTES, &[0, 5]), Err(HeaderError::Codec(5)));
        assert_eq!(changed(field::RECORDS, &(-1i32).to_be_bytes()), Err(HeaderError::Records(-1)));
        assert_eq!(changed(field::BASE_OFFSET, &i64::MAX.to_be_bytes()), Err(HeaderError::Offsets { base: i64::MAX, delta: 4 }));
        assert_eq!(changed(field::LAST_OFFSET_DELTA, &(-1i32).to_be_bytes()), Err(HeaderError::Offsets { base: 1000, delta: -1 }));
        assert_eq!(BatchHeader::parse(&batch()[..60]), Err(HeaderError::Short { found: 60 }));
        assert_eq!(BatchHeader::parse(&[]), Err(HeaderError::Short { found: 0 }));
    }

    #[test]
    fn the_checksum_covers_everything_from_the_attributes_on() {
        for position in 0..batch().len() {
            let mut batch = batch();
            batch[position] ^= 0x40;
            assert_eq!(verify_crc(&batch).is_err(), field::CRC <= position, "byte {position}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), magic: bool) {
            let mut bytes = bytes;
            if magic && field::MAGIC < bytes.len() {
                bytes[field::MAGIC] = 2;
            }
            if let Ok(header) = BatchHeader::parse(&bytes) {
                prop_assert!(header.base_offset < header.next_offset());
                prop_assert!(header.last_sequence() >= -1);
            }
        }
    }
}
