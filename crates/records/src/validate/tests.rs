use proptest::prelude::*;
use types::Offset;

use super::*;
use crate::BatchBuilder;
use crate::header::field;

const NOW: Timestamp = Timestamp(1_000_000);

fn limits() -> ValidationLimits {
    ValidationLimits {
        max_message_bytes: 1 << 20,
        zstd: true,
        now: NOW,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 1000,
        compacted: false,
        max_decompressed_bytes: 1 << 20,
    }
}

fn batch_at(codec: Codec, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for timestamp in timestamps {
        builder.push(Timestamp(*timestamp), Some(b"key"), Some(b"value"), &[]);
    }
    builder.build()
}

fn batch() -> Bytes {
    batch_at(Codec::None, &[NOW.0, NOW.0 + 1, NOW.0 - 1])
}

/// Writes into a batch and makes its checksum right again.
fn changed(batch: &Bytes, position: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[position..position + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[field::ATTRIBUTES..]);
    batch[field::CRC..field::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

fn refused(batch: &Bytes, limits: &ValidationLimits) -> BatchError {
    validate(batch, limits).expect_err("the batch is bad")
}

fn invalid(batch: &Bytes) -> InvalidRecord {
    match refused(batch, &limits()) {
        BatchError::InvalidRecord(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_sound_batch_of_every_codec_is_accepted() {
    for codec in Codec::ALL {
        let header = validate(&batch_at(codec, &[NOW.0, NOW.0]), &limits()).unwrap();
        assert_eq!((header.codec, header.records, header.base_offset), (codec, 2, Offset(0)));
    }
}

#[test]
fn exactly_one_batch_is_expected() {
    assert!(matches!(refused(&Bytes::new(), &limits()), BatchError::Empty));
    let two = Bytes::from([batch().as_ref(), batch().as_ref()].concat());
    assert!(matches!(refused(&two, &limits()), BatchError::NotOneBatch { extra } if extra == batch().len()));
    for cut in 1..batch().len() {
        assert!(matches!(refused(&batch().slice(..cut), &limits()), BatchError::Truncated { found, .. } if found == cut));
    }
}

#[test]
fn any_changed_byte_under_the_checksum_is_corrupt_and_nothing_else() {
    for position in field::ATTRIBUTES..batch().len() {
        for bit in 0..8 {
            let mut damaged = batch().to_vec();
            damaged[position] ^= 1 << bit;
            assert!(matches!(refused(&damaged.into(), &limits()), BatchError::Corrupt(_)), "byte {position} bit {bit}");
        }
    }
}

#[test]
fn other_formats_and_codecs_are_named() {
    assert!(matches!(refused(&changed(&batch(), field::MAGIC, &[1]), &limits()), BatchError::UnsupportedMagic(1)));
    assert!(matches!(refused(&changed(&batch(), field::ATTRIBUTES, &[0, 7]), &limits()), BatchError::UnsupportedCompression(7)));
    let zstd = batch_at(Codec::Zstd, &[NOW.0]);
    assert!(matches!(refused(&zstd, &ValidationLimits { zstd: false, ..limits() }), BatchError::UnsupportedCompression(4)));
}

#[test]
fn a_batch_may_be_as_large_as_the_topic_allows() {
    let bytes = batch().len();
    assert!(validate(&batch(), &ValidationLimits { max_message_bytes: bytes, ..limits() }).is_ok());
    let limit = bytes - 1;
    let error = refused(&batch(), &ValidationLimits { max_message_bytes: limit, ..limits() });
    assert!(matches!(error, BatchError::TooLarge { bytes: b, limit: l } if (b, l) == (bytes, limit)));
}

#[test]
fn headers_that_contradict_themselves_are_invalid() {
    let with = |position, bytes: &[u8]| invalid(&changed(&batch(), position, bytes));
    assert_eq!(with(field::RECORDS, &0i32.to_be_bytes()), InvalidRecord::NoRecords);
    assert_eq!(with(field::RECORDS, &(-5i32).to_be_bytes()), InvalidRecord::NoRecords);
    assert_eq!(with(field::RECORDS, &2i32.to_be_bytes()), InvalidRecord::Count { records: 2, offsets: 3 });
    assert_eq!(with(field::LAST_OFFSET_DELTA, &i32::MAX.to_be_bytes()), InvalidRecord::Count { records: 3, offsets: 1 << 31 });
    assert_eq!(with(field::LAST_OFFSET_DELTA, &(-1i32).to_be_bytes()), InvalidRecord::Offsets { base: 0, delta: -1 });
    assert_eq!(with(field::ATTRIBUTES, &[0, attribute_control()]), InvalidRecord::Control);
}

fn attribute_control() -> u8 {
    crate::header::attribute::CONTROL as u8
}

#[test]
fn a_producer_id_needs_epoch_and_sequence() {
    let of = |id, epoch, sequence| {
        let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence);
        builder.push(NOW, None, None, &[]);
        builder.build()
    };
    assert!(validate(&of(5, 0, 0), &limits()).is_ok());
    assert!(validate(&of(-1, -1, -1), &limits()).is_ok());
    assert_eq!(invalid(&of(-2, 0, 0)), InvalidRecord::ProducerId(-2));
    assert_eq!(invalid(&of(5, -1, 0)), InvalidRecord::ProducerEpoch { producer_id: 5, epoch: -1 });
    assert_eq!(invalid(&of(5, 0, -1)), InvalidRecord::Sequence { producer_id: 5, sequence: -1 });
}

#[test]
fn t38_bad_records_of_an_uncompressed_batch_are_named() {
    // The first record: length, attributes, timestamp delta, offset delta, key length, …
    let first = HEADER_BYTES;
    let errors = |batch: Bytes| refused(&batch, &limits()).record_errors().to_vec();
    let wrong_offset = errors(changed(&batch(), first + 3, &[2]));
    assert_eq!(wrong_offset, [RecordError { index: 0, fault: RecordFault::OffsetDelta { expected: 0, found: 1 } }]);
    let key_outside = errors(changed(&batch(), first + 4, &[0x7E]));
    assert_eq!(key_outside, [RecordError { index: 0, fault: RecordFault::Malformed }]);
    let record_outside = errors(changed(&batch(), first, &[0xFE, 1]));
    assert_eq!(record_outside, [RecordError { index: 0, fault: RecordFault::Truncated }]);
    let mut longer = batch().to_vec();
    longer.push(0);
    let length = (longer.len() - 12) as i32;
    let trailing = errors(changed(&longer.into(), field::LENGTH, &length.to_be_bytes()));
    assert_eq!(trailing, [RecordError { index: 2, fault: RecordFault::Trailing(1) }]);
    let counts_more = changed(&changed(&batch(), field::RECORDS, &4i32.to_be_bytes()), field::LAST_OFFSET_DELTA, &3i32.to_be_bytes());
    assert_eq!(errors(counts_more), [RecordError { index: 3, fault: RecordFault::Missing }]);
}

#[test]
fn a_compressed_batch_that_counts_more_records_than_bytes_is_opened() {
    let batch = batch_at(Codec::Zstd, &[NOW.0; 3]);
    let lie = changed(&changed(&batch, field::RECORDS, &1_000_000i32.to_be_bytes()), field::LAST_OFFSET_DELTA, &999_999i32.to_be_bytes());
    assert_eq!(refused(&lie, &limits()).record_errors(), [RecordError { index: 3, fault: RecordFault::Missing }]);
}

#[test]
fn t38_timestamps_too_far_ahead_are_refused_record_by_record() {
    for codec in Codec::ALL {
        assert!(validate(&batch_at(codec, &[NOW.0 + 1000, -1]), &limits()).is_ok());
        let error = refused(&batch_at(codec, &[NOW.0, NOW.0 + 1001, NOW.0 + 5000]), &limits());
        assert!(matches!(error, BatchError::InvalidTimestamp { timestamp: Timestamp(t), .. } if t == NOW.0 + 1001), "{codec:?}");
        assert_eq!(error.record_errors().iter().map(|error| error.index).collect::<Vec<_>>(), [1, 2]);
    }
}

#[test]
fn timestamps_too_old_are_found_also_inside_a_compressed_batch() {
    let limits = ValidationLimits { timestamp_before_max_ms: 10, ..limits() };
    for codec in Codec::ALL {
        assert!(validate(&batch_at(codec, &[NOW.0, NOW.0 - 10, -1]), &limits).is_ok());
        let error = refused(&batch_at(codec, &[NOW.0, NOW.0 - 11, NOW.0]), &limits);
        assert_eq!(error.record_errors(), [RecordError { index: 1, fault: RecordFault::Timestamp(NOW.0 - 11) }]);
    }
}

#[test]
fn a_header_whose_maximum_is_wrong_is_refused_although_its_records_are_fine() {
    let error = refused(&changed(&batch(), field::MAX_TIMESTAMP, &i64::MAX.to_be_bytes()), &limits());
    assert!(matches!(error, BatchError::InvalidTimestamp { timestamp: Timestamp(i64::MAX), records, .. } if records.is_empty()));
}

#[test]
fn a_topic_with_append_times_takes_any_timestamp() {
    let limits = ValidationLimits { timestamp_type: TimestampType::LogAppendTime, timestamp_before_max_ms: 0, ..limits() };
    assert!(validate(&batch_at(Codec::Gzip, &[0, i64::MAX]), &limits).is_ok());
}

#[test]
fn a_compacted_topic_needs_keys_also_inside_a_compressed_batch() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for key in [Some(&b"a"[..]), None, Some(b""), None] {
            builder.push(NOW, key, None, &[]);
        }
        let batch = builder.build();
        assert!(validate(&batch, &limits()).is_ok());
        let error = refused(&batch, &ValidationLimits { compacted: true, ..limits() });
        assert_eq!(error.record_errors(), [1, 3].map(|index| RecordError { index, fault: RecordFault::NoKey }));
    }
}

#[test]
fn producers_do_not_set_append_times() {
    let stamped = crate::stamp(batch(), Offset(0), types::LeaderEpoch(0), Some(NOW));
    assert!(matches!(refused(&stamped, &limits()), BatchError::TimestampType));
}

#[test]
fn one_answer_names_a_bounded_number_of_records() {
    let error = refused(&batch_at(Codec::None, &[NOW.0 + 5000; 1000]), &limits());
    assert_eq!(error.record_errors().len(), MAX_RECORD_ERRORS);
}

#[test]
fn a_batch_that_must_be_opened_is_opened_within_the_bound() {
    let limits = ValidationLimits { timestamp_before_max_ms: 10, max_decompressed_bytes: 100, ..limits() };
    let error = refused(&batch_at(Codec::Zstd, &[NOW.0; 1000]), &limits);
    assert!(matches!(error, BatchError::Undecodable(DecompressError::TooLarge { limit: 100 })));
}

proptest! {
    #[test]
    fn any_mutation_is_judged_without_a_panic(
        codec in prop::sample::select(&Codec::ALL[..]),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        before in prop::sample::select(&[10, i64::MAX][..]),
    ) {
        let mut bytes = batch_at(codec, &[NOW.0, NOW.0 + 3, -1, i64::MIN / 4]).to_vec();
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Half of the time behind a right checksum, so that the checks behind it are reached.
        let limits = ValidationLimits { timestamp_before_max_ms: before, ..limits() };
        let _ = validate(&bytes.clone().into(), &limits);
        let repaired = changed(&bytes.into(), 0, &[]);
        if let Ok(header) = validate(&repaired, &limits) {
            prop_assert_eq!(i64::from(header.records), header.next_offset() - header.base_offset);
            prop_assert!(repaired.len() <= limits.max_message_bytes);
        }
    }
}
