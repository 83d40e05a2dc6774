//! Message sets of Kafka 0.8 to 0.10. What converts to a batch is a batch that would be accepted, and converts back to the same records.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use records::{DownConversionLimits, MessageFormat, Record, UpConversionLimits, decode_records, down_convert, up_convert};
use types::Offset;

const LIMIT: usize = 1 << 20;

/// Gives every message on the outside the checksum that it should have: a random one is hardly ever right.
fn mend(set: &mut [u8]) {
    let mut at = 0;
    while let Some(size) = set.get(at + 8..at + 12) {
        let size = u32::from_be_bytes(size.try_into().expect("four bytes")) as usize;
        let Some(covered) = set.get(at + 16..(at + 12).saturating_add(size)) else { return };
        let mut crc = flate2::Crc::new();
        crc.update(covered);
        set[at + 12..at + 16].copy_from_slice(&crc.sum().to_be_bytes());
        at += 12 + size;
    }
}

fn contents(record: &Record) -> (Option<Bytes>, Option<Bytes>) {
    (record.key.clone(), record.value.clone())
}

fuzz_target!(|data: &[u8]| {
    convert(data.to_vec());
    let mut mended = data.to_vec();
    mend(&mut mended);
    convert(mended);
});

fn convert(set: Vec<u8>) {
    let Ok(batch) = up_convert(&set.into(), &UpConversionLimits { max_decompressed_bytes: LIMIT }) else { return };
    let records = decode_records(&batch, LIMIT).expect("a converted set can be read");
    let limits = DownConversionLimits { max_bytes: usize::MAX, max_decompressed_bytes: LIMIT };
    for format in [MessageFormat::V0, MessageFormat::V1] {
        let down = down_convert(std::slice::from_ref(&batch), format, Offset::ZERO, &limits).expect("a batch of ours converts");
        assert_eq!(down.messages as usize, records.len());
        let again = up_convert(&down.set, &UpConversionLimits { max_decompressed_bytes: 64 * LIMIT }).expect("a set of ours converts");
        let again = decode_records(&again, 64 * LIMIT).expect("a converted set can be read");
        assert!(again.iter().map(contents).eq(records.iter().map(contents)));
    }
}
