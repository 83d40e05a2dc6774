//! Message sets as producers of their time write them, and the way from a batch to a set and back.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use records::{
    BatchBuilder, BatchHeader, Codec, DownConversionLimits, MessageFormat, UpConversionLimits, decode_records, down_convert, up_convert,
};
use types::{Offset, Timestamp};

const T: i64 = 1_500_000_000_000;
/// Timestamp, key, value.
type Simple<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

const RECORDS: [Simple<'_>; 5] = [
    (T, Some(b"key"), Some(b"value 0")),
    (T + 5, None, Some(b"no key")),
    (T + 2, Some(b"gone"), None),
    (T + 3, Some(b""), Some(b"")),
    (T + 1, Some(b"large"), Some(&[b'x'; 200])),
];

/// What these clients' producers made of [`RECORDS`], captured once: `MemoryRecords` of kafka-clients, `LegacyRecordBatchBuilder` of
/// kafka-python, `produceSet` of sarama set to Kafka 0.8.2 (which had no LZ4 there) and 0.10.0.
const CLIENTS: [(&str, &[MessageFormat]); 4] = [
    ("kafka-clients-0.9.0.1", &[MessageFormat::V0]),
    ("kafka-clients-0.10.2.2", &[MessageFormat::V1]),
    ("kafka-python-2.0.2", &FORMATS),
    ("sarama-1.22.1", &FORMATS),
];

const FORMATS: [MessageFormat; 2] = [MessageFormat::V0, MessageFormat::V1];
const UP: UpConversionLimits = UpConversionLimits { max_decompressed_bytes: 1 << 20 };
const DOWN: DownConversionLimits = DownConversionLimits { max_bytes: 1 << 20, max_decompressed_bytes: 1 << 20 };

fn golden(client: &str, format: MessageFormat, codec: Codec) -> PathBuf {
    let name = format!("{client}-{format:?}-{codec:?}.bin").to_lowercase();
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &name].iter().collect()
}

#[test]
fn sets_of_real_producers_are_read() {
    for (client, formats) in CLIENTS {
        for (format, codec) in formats.iter().flat_map(|format| Codec::ALL[..4].iter().map(move |codec| (*format, *codec))) {
            if (client, format, codec) == ("sarama-1.22.1", MessageFormat::V0, Codec::Lz4) {
                continue;
            }
            let path = golden(client, format, codec);
            let set = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let batch = up_convert(&set.into(), &UP).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!(BatchHeader::parse(&batch).unwrap().codec, codec, "{path:?}");
            let records = decode_records(&batch, 1 << 20).unwrap();
            assert_eq!(records.len(), RECORDS.len(), "{path:?}");
            for (record, (timestamp, key, value)) in records.iter().zip(RECORDS) {
                let timestamp = if format == MessageFormat::V0 { -1 } else { timestamp };
                assert_eq!((record.timestamp.0, record.key.as_deref(), record.value.as_deref()), (timestamp, key, value), "{path:?}");
            }
        }
    }
}

fn any_record() -> impl Strategy<Value = (i64, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50));
    (-1i64..i64::MAX, bytes(), bytes())
}

proptest! {
    #[test]
    fn what_is_converted_down_converts_up_to_the_same_records(
        codec in prop::sample::select(&Codec::ALL[..]),
        format in prop::sample::select(&FORMATS[..]),
        base in 0i64..1 << 60,
        gaps in proptest::collection::vec(0i32..3, 30),
        records in proptest::collection::vec(any_record(), 1..30),
        skipped in 0usize..30,
    ) {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(base));
        for ((timestamp, key, value), gap) in records.iter().zip(gaps) {
            builder.skip_offsets(gap);
            builder.push(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &[]);
        }
        let batch = builder.build();
        let stored = decode_records(&batch, 1 << 20).unwrap();
        let skipped = skipped.min(stored.len() - 1);
        let down = down_convert(std::slice::from_ref(&batch), format, stored[skipped].offset, &DOWN).unwrap();
        prop_assert_eq!(down.messages as usize, stored.len() - skipped);
        prop_assert_eq!(down.next_offset, BatchHeader::parse(&batch).unwrap().next_offset());
        let up = up_convert(&down.set, &UP).unwrap();
        prop_assert_eq!(BatchHeader::parse(&up).unwrap().codec, if codec == Codec::Zstd { Codec::None } else { codec });
        let back = decode_records(&up, 1 << 20).unwrap();
        let back: Vec<Simple<'_>> = back.iter().map(|r| (r.timestamp.0, r.key.as_deref(), r.value.as_deref())).collect();
        let kept = |timestamp| if format == MessageFormat::V0 { -1 } else { timestamp };
        let expected: Vec<Simple<'_>> =
            records[skipped..].iter().map(|(timestamp, key, value)| (kept(*timestamp), key.as_deref(), value.as_deref())).collect();
        prop_assert_eq!(back, expected);
    }
}
