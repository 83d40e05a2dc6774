//! Record batches as producers send them. Whatever is accepted uncompressed can be read back, record by record, and searched by time; what
//! is compressed is not opened on its way in, and may turn out to be unreadable.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use records::{BatchHeader, Codec, TimestampType, ValidationLimits, batches, decode_records, first_at_or_after, validate};
use types::Timestamp;

const LIMIT: usize = 1 << 20;
/// Where the checksum is, and where what it covers begins.
const CRC: std::ops::Range<usize> = 17..21;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    if CRC.end < data.len() {
        // A random checksum is hardly ever right, and nothing behind it would be reached.
        let crc = crc32c::crc32c(&data[CRC.end..]);
        data[CRC].copy_from_slice(&crc.to_be_bytes());
    }
    let data = Bytes::from(data);
    batches(data.clone()).for_each(drop);
    let limits = ValidationLimits {
        max_message_bytes: LIMIT,
        zstd: true,
        now: Timestamp(1_700_000_000_000),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: data.len() % 2 == 1,
        max_decompressed_bytes: LIMIT,
    };
    let Ok(header) = validate(&data, &limits) else {
        let _ = decode_records(&data, LIMIT);
        return;
    };
    assert_eq!(BatchHeader::parse(&data).expect("it was accepted"), header);
    if header.codec != Codec::None {
        let _ = decode_records(&data, LIMIT);
        return;
    }
    let records = decode_records(&data, LIMIT).expect("what is accepted can be read");
    assert_eq!(records.len() as u64, u64::from(header.records));
    for record in records.iter().take(3) {
        let _ = first_at_or_after(&data, record.timestamp, LIMIT).expect("what is accepted can be searched");
    }
});
