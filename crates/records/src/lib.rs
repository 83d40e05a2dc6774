//! Record batch v2 (KIP-98), the one form in which records are stored: a borrowed view of the header, validation of what
//! clients send, stamping of offsets, lookups by time, and encoding and decoding of the records themselves. The message sets of
//! clients older than batches are converted to one and from them.
//!
//! A batch is carried as `Bytes` and never re-encoded: the broker reads the 61-byte header, writes at most its base offset,
//! leader epoch and append time, and opens the records only where the header cannot answer, or for a client that cannot read them.

mod batches;
mod builder;
mod compression;
mod decode;
mod header;
mod message_set;
mod raw_record;
mod stamp;
mod validate;
mod varint;

pub use batches::{Batch, Batches, DamagedBatch, batches};
pub use builder::BatchBuilder;
pub use compression::DecompressError;
pub use decode::{DecodeError, Record, RecordHeader, decode_records, first_at_or_after, first_with_max_timestamp};
pub use header::{BatchHeader, Codec, CrcMismatch, HEADER_BYTES, HeaderError, TimestampType, verify_crc};
pub use message_set::{
    CorruptMessage, DownConversionError, DownConversionLimits, DownConverted, InvalidMessage, MessageFormat, MessagePosition,
    MessageSetError, UpConversionLimits, down_convert, up_convert,
};
pub use raw_record::{RecordError, RecordFault};
pub use stamp::stamp;
pub use validate::{BatchError, InvalidRecord, MAX_RECORD_ERRORS, ValidationLimits, check_records, validate};
