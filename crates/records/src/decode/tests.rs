use proptest::prelude::*;

use super::*;
use crate::header::field;
use crate::{BatchBuilder, Codec};

type Simple = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn any_record() -> impl Strategy<Value = Simple> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
    let optional = move || proptest::option::of(bytes());
    (-1i64..1 << 50, optional(), optional(), proptest::collection::vec((bytes(), optional()), 0..4))
}

fn build(codec: Codec, base: Offset, records: &[Simple]) -> (Bytes, Vec<Record>) {
    let mut builder = BatchBuilder::new(codec).base_offset(base);
    let mut expected = Vec::new();
    for (n, (timestamp, key, value, headers)) in records.iter().enumerate() {
        let headers: Vec<_> = headers
            .iter()
            .map(|(key, value)| RecordHeader { key: Bytes::copy_from_slice(key), value: value.clone().map(Bytes::from) })
            .collect();
        builder.push(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
        expected.push(Record {
            offset: base + n as i64,
            timestamp: Timestamp(*timestamp),
            key: key.clone().map(Bytes::from),
            value: value.clone().map(Bytes::from),
            headers,
        });
    }
    (builder.build(), expected)
}

fn times(codec: Codec, timestamps: &[i64]) -> Bytes {
    let records: Vec<Simple> = timestamps.iter().map(|timestamp| (*timestamp, None, None, Vec::new())).collect();
    build(codec, Offset(100), &records).0
}

/// Laid out by hand after the message format page of Kafka's documentation, checksum from another implementation: one record `k`=`v`, header `h`=null, timestamp 1,600,000,000,000, from an idempotent producer.
#[test]
fn golden_bytes_are_written_and_read() {
    let golden: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0, // base offset
        0, 0, 0, 61, // length
        255, 255, 255, 255, // leader epoch
        2,   // magic
        47, 191, 180, 128, // checksum
        0, 0, // attributes
        0, 0, 0, 0, // last offset delta
        0, 0, 1, 116, 135, 110, 128, 0, // base timestamp
        0, 0, 1, 116, 135, 110, 128, 0, // max timestamp
        0, 0, 0, 0, 0, 0, 3, 232, // producer id 1000
        0, 7, // producer epoch
        0, 0, 0, 9, // base sequence
        0, 0, 0, 1, // records
        22, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 1, // the record
    ];
    let mut builder = BatchBuilder::new(Codec::None).producer(1000, 7, 9);
    let headers = [RecordHeader { key: Bytes::from_static(b"h"), value: None }];
    builder.push(Timestamp(1_600_000_000_000), Some(b"k"), Some(b"v"), &headers);
    assert_eq!(builder.build(), golden);
    assert_eq!(decode_records(&Bytes::from_static(golden), 0).unwrap()[0].headers, headers);
}

#[test]
fn header_keys_may_repeat_and_need_not_be_text() {
    let headers = vec![(vec![0xFF], Some(vec![1])), (b"a".to_vec(), None), (vec![0xFF], Some(vec![2]))];
    let (batch, expected) = build(Codec::Lz4, Offset(0), &[(0, None, Some(vec![]), headers)]);
    assert_eq!(decode_records(&batch, 1000).unwrap(), expected);
    assert_eq!(expected[0].headers.len(), 3);
}

#[test]
fn offsets_left_by_compaction_stay_open() {
    let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(10));
    builder.skip_offsets(2);
    builder.push(Timestamp(1), None, None, &[]);
    builder.skip_offsets(3);
    builder.push(Timestamp(1), None, None, &[]);
    builder.skip_offsets(1);
    let batch = builder.build();
    assert_eq!(decode_records(&batch, 0).unwrap().iter().map(|r| r.offset.0).collect::<Vec<_>>(), [12, 16]);
    assert_eq!(BatchHeader::parse(&batch).unwrap().last_offset(), Offset(17));
    let mut empty = BatchBuilder::new(Codec::None);
    empty.skip_offsets(5);
    assert!(decode_records(&empty.build(), 0).unwrap().is_empty());
}

#[test]
fn the_first_record_that_is_late_enough_is_found() {
    for codec in Codec::ALL {
        let batch = times(codec, &[50, 40, 70, 60, 70]);
        let find = |timestamp| first_at_or_after(&batch, Timestamp(timestamp), 1000).unwrap().map(|(offset, at)| (offset.0, at.0));
        assert_eq!(
            [find(0), find(50), find(51), find(70), find(71)],
            [Some((100, 50)), Some((100, 50)), Some((102, 70)), Some((102, 70)), None]
        );
    }
}

#[test]
fn the_first_of_the_latest_records_is_found() {
    let found = first_with_max_timestamp(&times(Codec::Zstd, &[50, 40, 70, 60, 70]), 1000).unwrap();
    assert_eq!(found, Some((Offset(102), Timestamp(70))));
    let stamped = crate::stamp(times(Codec::None, &[1, 2, 3]), Offset(7), types::LeaderEpoch(0), Some(Timestamp(9)));
    assert_eq!(first_with_max_timestamp(&stamped, 0).unwrap(), Some((Offset(7), Timestamp(9))));
}

#[test]
fn damage_and_excess_are_errors() {
    let batch = times(Codec::Gzip, &[1; 100]);
    assert!(matches!(decode_records(&batch, 10), Err(DecodeError::Decompress(DecompressError::TooLarge { limit: 10 }))));
    assert!(matches!(decode_records(&batch.slice(..batch.len() - 1), 1000), Err(DecodeError::Length { .. })));
    let mut flipped = batch.to_vec();
    flipped[70] ^= 1;
    assert!(matches!(decode_records(&flipped.into(), 1000), Err(DecodeError::Crc(_))));
}

#[test]
fn a_header_count_of_a_billion_takes_no_memory() {
    // Behind a right checksum: the record's header count is the varint of 2^30.
    let record = [0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x08];
    let mut batch = times(Codec::None, &[0]).slice(..HEADER_BYTES).to_vec();
    batch.push(2 * record.len() as u8);
    batch.extend_from_slice(&record);
    let length = (batch.len() - 12) as i32;
    batch[field::LENGTH..field::LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[field::ATTRIBUTES..]);
    batch[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    assert!(matches!(decode_records(&batch.into(), 0), Err(DecodeError::Record(RecordError { index: 0, fault: RecordFault::Malformed }))));
}

proptest! {
    #[test]
    fn records_read_back_as_they_were_built(
        codec in prop::sample::select(&Codec::ALL[..]),
        base in 0i64..1 << 60,
        records in proptest::collection::vec(any_record(), 1..30),
    ) {
        let (batch, expected) = build(codec, Offset(base), &records);
        prop_assert_eq!(decode_records(&batch, 1 << 20).unwrap(), expected);
        let header = BatchHeader::parse(&batch).unwrap();
        prop_assert_eq!(header.max_timestamp.0, records.iter().map(|record| record.0).max().unwrap());
    }

    #[test]
    fn mutated_batches_behind_a_right_checksum_never_panic(
        codec in prop::sample::select(&Codec::ALL[..]),
        records in proptest::collection::vec(any_record(), 1..10),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = build(codec, Offset(0), &records).0.to_vec();
        for (at, value) in mutations {
            let at = field::MAGIC + 1 + at.index(bytes.len() - field::MAGIC - 1);
            bytes[at] = value;
        }
        let crc = crc32c::crc32c(&bytes[field::ATTRIBUTES..]);
        bytes[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        let batch = Bytes::from(bytes);
        if let Ok(records) = decode_records(&batch, 4096) {
            prop_assert!(records.len() <= 4096 / MIN_RECORD_BYTES + batch.len());
        }
        let _ = first_at_or_after(&batch, Timestamp(5), 4096);
        let _ = first_with_max_timestamp(&batch, 4096);
    }
}
