use proptest::prelude::*;
use types::Offset;

use super::super::down_convert::put;
use super::super::error::CorruptMessage;
use super::super::{SIZE_OVERHEAD, checksum, field};
use super::*;
use crate::compression::compress;
use crate::{BatchHeader, Record, decode_records};

const FORMATS: [MessageFormat; 2] = [MessageFormat::V0, MessageFormat::V1];
const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];
const NO_LIMIT: UpConversionLimits = UpConversionLimits { max_decompressed_bytes: 1 << 20 };

fn message(format: MessageFormat, attributes: u8, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, 77, &Message { format, attributes, timestamp: Timestamp(timestamp), key, value }).unwrap();
    out
}

fn plain(format: MessageFormat, value: &str) -> Vec<u8> {
    message(format, 0, 5, Some(b"key"), Some(value.as_bytes()))
}

fn wrapper(format: MessageFormat, codec: Codec, inner_set: &[u8]) -> Vec<u8> {
    message(format, codec.id(), 9, None, Some(&compress(codec, inner_set.to_vec())))
}

fn set(messages: &[Vec<u8>]) -> Bytes {
    messages.concat().into()
}

/// Writes into the first message of a set and makes its checksum right again.
fn changed(set: &[u8], position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut set = set.to_vec();
    set[position..position + bytes.len()].copy_from_slice(bytes);
    let crc = checksum(&set[field::MAGIC..]);
    set[field::CRC..field::MAGIC].copy_from_slice(&crc.to_be_bytes());
    set
}

fn converted(set: &Bytes) -> (BatchHeader, Vec<Record>) {
    let batch = up_convert(set, &NO_LIMIT).unwrap();
    (BatchHeader::parse(&batch).unwrap(), decode_records(&batch, 1 << 20).unwrap())
}

fn values(set: &Bytes) -> Vec<Bytes> {
    converted(set).1.into_iter().map(|record| record.value.unwrap()).collect()
}

fn refused(set: &Bytes) -> MessageSetError {
    up_convert(set, &NO_LIMIT).expect_err("the set is bad")
}

fn corrupt(set: &Bytes) -> (MessagePosition, CorruptMessage) {
    match refused(set) {
        MessageSetError::Corrupt { at, fault } => (at, fault),
        other => panic!("{other}"),
    }
}

fn invalid(set: &Bytes) -> (MessagePosition, InvalidMessage) {
    match refused(set) {
        MessageSetError::Invalid { at, fault } => (at, fault),
        other => panic!("{other}"),
    }
}

fn at(byte: usize) -> MessagePosition {
    MessagePosition { byte, inner: None }
}

fn inside(byte: usize, inner: usize) -> MessagePosition {
    MessagePosition { byte, inner: Some(inner) }
}

#[test]
fn one_batch_comes_of_a_set_as_a_plain_producer_sends_it() {
    for format in FORMATS {
        let (header, records) = converted(&set(&[plain(format, "one"), plain(format, "two")]));
        assert_eq!((header.base_offset, header.leader_epoch.0, header.records, header.last_offset_delta), (Offset(0), -1, 2, 1));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, -1));
        let timestamp = if format == MessageFormat::V0 { Timestamp::NONE } else { Timestamp(5) };
        assert_eq!((header.codec, header.max_timestamp, header.base_timestamp), (Codec::None, timestamp, timestamp));
        assert!(records.iter().all(|record| record.timestamp == timestamp && record.headers.is_empty()));
    }
}

#[test]
fn null_is_kept_apart_from_empty() {
    for format in FORMATS {
        let messages = [message(format, 0, 1, None, None), message(format, 0, 1, Some(b""), Some(b""))];
        let records = converted(&set(&messages)).1;
        assert_eq!((&records[0].key, &records[0].value), (&None, &None));
        assert_eq!((&records[1].key, &records[1].value), (&Some(Bytes::new()), &Some(Bytes::new())));
    }
}

#[test]
fn every_damaged_byte_of_an_uncompressed_set_is_refused_except_in_offsets() {
    for format in FORMATS {
        let first = plain(format, "one");
        let whole = set(&[first.clone(), plain(format, "two")]);
        let expected = converted(&whole);
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 1 << bit;
                let in_offset = position % first.len() < field::SIZE;
                match up_convert(&damaged.into(), &NO_LIMIT) {
                    Ok(batch) => assert!(in_offset && decode_records(&batch, 0).unwrap() == expected.1, "byte {position} bit {bit}"),
                    Err(error) => assert!(!in_offset, "byte {position} bit {bit}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_cut_set_is_corrupt_wherever_it_is_cut() {
    for format in FORMATS {
        let first = plain(format, "one");
        let whole = set(&[first.clone(), plain(format, "two")]);
        assert!(matches!(refused(&whole.slice(..0)), MessageSetError::Empty));
        for cut in 1..whole.len() {
            if cut == first.len() {
                assert_eq!(values(&whole.slice(..cut)), ["one"]);
                continue;
            }
            let begin = if cut < first.len() { 0 } else { first.len() };
            let (position, fault) = corrupt(&whole.slice(..cut));
            assert_eq!(position, at(begin));
            assert!(matches!(fault, CorruptMessage::Truncated { found, .. } if found == cut - begin), "{fault}");
        }
    }
}

#[test]
fn impossible_sizes_are_corrupt() {
    let sized = |size: i32| Bytes::from(changed(&plain(MessageFormat::V0, "value"), field::SIZE, &size.to_be_bytes()));
    for size in [i32::MIN, -1, 0, 13] {
        assert_eq!(corrupt(&sized(size)), (at(0), CorruptMessage::Size { size, least: 14 }));
    }
    let found = plain(MessageFormat::V0, "value").len();
    assert_eq!(corrupt(&sized(i32::MAX)), (at(0), CorruptMessage::Truncated { bytes: SIZE_OVERHEAD + 0x7FFF_FFFF, found }));
    // Long enough for format 0 only.
    for size in 14..22 {
        let cut = &plain(MessageFormat::V1, "value")[..SIZE_OVERHEAD + size];
        let short = changed(cut, field::SIZE, &(size as i32).to_be_bytes());
        assert_eq!(corrupt(&short.into()), (at(0), CorruptMessage::Size { size: size as i32, least: 22 }));
    }
}

#[test]
fn lengths_that_do_not_fill_the_message_are_corrupt() {
    for format in FORMATS {
        let good = plain(format, "value");
        let key = SIZE_OVERHEAD + format.overhead() - 8;
        let value = key + 4 + "key".len();
        for position in [key, value] {
            for length in [i32::MIN, -2, -1, 0, 4, 6, i32::MAX] {
                let bad = changed(&good, position, &length.to_be_bytes());
                assert_eq!(corrupt(&bad.into()), (at(0), CorruptMessage::Lengths), "{format:?} byte {position} length {length}");
            }
        }
        // Only -1 is null.
        let nulls = message(format, 0, 5, None, None);
        for position in [key, key + 4] {
            let bad = changed(&nulls, position, &(-2i32).to_be_bytes());
            assert_eq!(corrupt(&bad.into()), (at(0), CorruptMessage::Lengths), "{format:?} byte {position}");
        }
    }
}

#[test]
fn other_formats_are_invalid_and_a_batch_is_named() {
    for magic in [3, 127, -1] {
        let bad = changed(&plain(MessageFormat::V0, "value"), field::MAGIC, &[magic as u8]);
        assert_eq!(invalid(&bad.into()), (at(0), InvalidMessage::Magic(magic)));
    }
    let batch = up_convert(&set(&[plain(MessageFormat::V1, "value")]), &NO_LIMIT).unwrap();
    assert_eq!(invalid(&batch), (at(0), InvalidMessage::RecordBatch));
    let after = plain(MessageFormat::V1, "value");
    assert_eq!(invalid(&set(&[after.clone(), batch.to_vec()])), (at(after.len()), InvalidMessage::RecordBatch));
    assert_eq!(invalid(&wrapper(MessageFormat::V1, Codec::Gzip, &batch).into()), (inside(0, 0), InvalidMessage::RecordBatch));
}

#[test]
fn a_set_has_one_format() {
    let (old, new) = (plain(MessageFormat::V0, "old"), plain(MessageFormat::V1, "new"));
    let mixed = |expected, found| InvalidMessage::MixedFormats { expected, found };
    assert_eq!(invalid(&set(&[old.clone(), new.clone()])), (at(old.len()), mixed(0, 1)));
    assert_eq!(invalid(&set(&[new.clone(), old.clone()])), (at(new.len()), mixed(1, 0)));
    assert_eq!(invalid(&wrapper(MessageFormat::V1, Codec::Lz4, &old).into()), (inside(0, 0), mixed(1, 0)));
}

#[test]
fn a_wrapper_holds_messages_and_no_wrappers() {
    for format in FORMATS {
        let message_and_wrapper = [plain(format, "value"), wrapper(format, Codec::Snappy, &plain(format, "value"))];
        let nested = wrapper(format, Codec::Gzip, &message_and_wrapper.concat());
        assert_eq!(invalid(&nested.into()), (inside(0, message_and_wrapper[0].len()), InvalidMessage::Nested));
        for codec in CODECS {
            assert_eq!(invalid(&message(format, codec.id(), 0, None, None).into()), (at(0), InvalidMessage::NullWrapper));
            assert_eq!(invalid(&wrapper(format, codec, b"").into()), (at(0), InvalidMessage::EmptyWrapper));
        }
    }
}

#[test]
fn codecs_that_message_sets_never_had_are_unsupported() {
    for format in FORMATS {
        for codec in 4..8 {
            let error = refused(&message(format, codec, 0, None, Some(&compress(Codec::Zstd, plain(format, "value")))).into());
            assert!(matches!(error, MessageSetError::UnsupportedCodec { codec: found, .. } if found == codec), "{error}");
        }
    }
}

#[test]
fn producers_do_not_set_append_times() {
    let bit = attribute::LOG_APPEND_TIME;
    let stamped = |format, attributes| message(format, attributes, 5, None, Some(b"value"));
    assert!(matches!(refused(&stamped(MessageFormat::V1, bit).into()), MessageSetError::TimestampType { .. }));
    let value = compress(Codec::Gzip, plain(MessageFormat::V1, "value"));
    let stamped_wrapper = message(MessageFormat::V1, Codec::Gzip.id() | bit, 5, None, Some(&value));
    assert!(matches!(refused(&stamped_wrapper.into()), MessageSetError::TimestampType { .. }));
    // The bit means nothing in format 0 and inside a wrapper.
    assert_eq!(values(&stamped(MessageFormat::V0, bit).into()), ["value"]);
    assert_eq!(values(&wrapper(MessageFormat::V1, Codec::Gzip, &stamped(MessageFormat::V1, bit)).into()), ["value"]);
}

#[test]
fn timestamps_are_kept_to_the_extremes_and_others_are_invalid() {
    let timed = |timestamps: &[i64]| {
        let messages: Vec<_> = timestamps.iter().map(|timestamp| message(MessageFormat::V1, 0, *timestamp, None, None)).collect();
        set(&messages)
    };
    for timestamps in [[i64::MAX - 1, -1, 0], [-1, i64::MAX - 1, -1], [-1, -1, -1]] {
        let (header, records) = converted(&timed(&timestamps));
        assert_eq!(records.iter().map(|record| record.timestamp.0).collect::<Vec<_>>(), timestamps);
        assert_eq!(Some(header.max_timestamp.0), timestamps.into_iter().max());
    }
    for timestamp in [-2, i64::MIN, i64::MAX] {
        assert_eq!(invalid(&timed(&[0, timestamp])).1, InvalidMessage::Timestamp(timestamp));
    }
}

#[test]
fn a_wrappers_own_key_and_timestamp_mean_nothing() {
    let inner = message(MessageFormat::V1, 0, 5, Some(b"inner"), Some(b"value"));
    let value = compress(Codec::Gzip, inner);
    let odd = message(MessageFormat::V1, Codec::Gzip.id(), -7, Some(b"outer"), Some(&value));
    let records = converted(&odd.into()).1;
    assert_eq!((records[0].timestamp, records[0].key.as_deref()), (Timestamp(5), Some(&b"inner"[..])));
}

#[test]
fn wrappers_and_messages_may_alternate_and_the_last_codec_stays() {
    for format in FORMATS {
        let mixed = set(&[
            plain(format, "1"),
            wrapper(format, Codec::Gzip, &[plain(format, "2"), plain(format, "3")].concat()),
            plain(format, "4"),
            wrapper(format, Codec::Lz4, &plain(format, "5")),
            plain(format, "6"),
        ]);
        assert_eq!(values(&mixed), ["1", "2", "3", "4", "5", "6"]);
        let header = converted(&mixed).0;
        assert_eq!((header.codec, header.records), (Codec::Lz4, 6));
    }
}

#[test]
fn the_bound_is_for_all_wrappers_together() {
    for format in FORMATS {
        for codec in CODECS {
            let zeros = message(format, 0, 1, None, Some(&[0; 5000]));
            let two = set(&[wrapper(format, codec, &zeros), wrapper(format, codec, &zeros)]);
            let limited = |max_decompressed_bytes| up_convert(&two, &UpConversionLimits { max_decompressed_bytes });
            assert!(limited(2 * zeros.len()).is_ok());
            for (limit, begin) in [(2 * zeros.len() - 1, two.len() / 2), (zeros.len() - 1, 0), (0, 0)] {
                match limited(limit) {
                    Err(MessageSetError::TooLarge { at: found, limit: l }) => assert_eq!((found, l), (at(begin), limit), "{codec:?}"),
                    other => panic!("{codec:?}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_batch_grows_to_its_bound_and_no_further() {
    for format in FORMATS {
        let messages = [plain(format, "one"), wrapper(format, Codec::Gzip, &plain(format, "two")), plain(format, "three")];
        let whole = set(&messages);
        let bytes = up_convert(&set(&[plain(format, "one"), plain(format, "two"), plain(format, "three")]), &NO_LIMIT).unwrap().len();
        assert!(convert(&whole, &NO_LIMIT, bytes).is_ok());
        match convert(&whole, &NO_LIMIT, bytes - 1) {
            Err(MessageSetError::TooLarge { at: found, limit }) => {
                assert_eq!((found, limit), (at(messages[0].len() + messages[1].len()), bytes - 1));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn both_lz4_checksums_are_read_in_format_0_and_only_the_right_one_in_format_1() {
    for format in FORMATS {
        let right = compress(Codec::Lz4, plain(format, "value"));
        let mut spoilt = right.clone();
        lz4_checksum::spoil(&mut spoilt);
        let wrapped = |frame: &[u8]| Bytes::from(message(format, Codec::Lz4.id(), 0, None, Some(frame)));
        assert_eq!(values(&wrapped(&right)), ["value"]);
        match format {
            MessageFormat::V0 => assert_eq!(values(&wrapped(&spoilt)), ["value"]),
            MessageFormat::V1 => assert!(matches!(refused(&wrapped(&spoilt)), MessageSetError::Undecodable { .. })),
        }
    }
}

#[test]
fn raw_snappy_is_read_as_well_as_framed() {
    for format in FORMATS {
        let raw = snap::raw::Encoder::new().compress_vec(&plain(format, "as sarama writes it")).unwrap();
        assert_eq!(values(&message(format, Codec::Snappy.id(), 0, None, Some(&raw)).into()), ["as sarama writes it"]);
    }
}

#[test]
fn damage_inside_a_wrapper_is_found_behind_a_right_checksum() {
    for format in FORMATS {
        let messages = [plain(format, "one"), plain(format, "two")].concat();
        let second = messages.len() / 2;
        for codec in CODECS {
            let mut flipped = messages.clone();
            *flipped.last_mut().unwrap() ^= 1;
            let (position, fault) = corrupt(&wrapper(format, codec, &flipped).into());
            assert!(position == inside(0, second) && matches!(fault, CorruptMessage::Crc { .. }), "{position}: {fault}");
            let (position, fault) = corrupt(&wrapper(format, codec, &messages[..messages.len() - 1]).into());
            assert!(position == inside(0, second) && matches!(fault, CorruptMessage::Truncated { .. }), "{position}: {fault}");
            let error = refused(&message(format, codec.id(), 0, None, Some(b"not compressed")).into());
            assert!(matches!(error, MessageSetError::Undecodable { .. }), "{error}");
        }
    }
}

#[test]
fn errors_say_what_and_where_in_one_line() {
    let bad_inner = wrapper(MessageFormat::V1, Codec::Gzip, &plain(MessageFormat::V0, "value"));
    let error = refused(&set(&[plain(MessageFormat::V1, ""), bad_inner])).to_string();
    assert_eq!(error, "message at byte 0 inside the one at byte 37: message format 0 in a set of format 1");
}

fn any_message() -> impl Strategy<Value = (i64, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    (-1i64..1 << 50, bytes(), bytes())
}

fn any_set() -> impl Strategy<Value = Vec<u8>> {
    let format = prop::sample::select(&FORMATS[..]);
    let codec = prop::sample::select(&[Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4][..]);
    (format, codec, proptest::collection::vec(any_message(), 1..8)).prop_map(|(format, codec, messages)| {
        let messages = messages.iter().map(|(timestamp, key, value)| message(format, 0, *timestamp, key.as_deref(), value.as_deref()));
        let messages = messages.collect::<Vec<_>>().concat();
        if codec == Codec::None { messages } else { wrapper(format, codec, &messages) }
    })
}

fn any_mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = up_convert(&bytes.into(), &NO_LIMIT);
    }

    #[test]
    fn mutated_sets_never_panic_nor_put_out_more_than_the_bound(
        set in any_set(),
        mutations in any_mutations(),
        repair: bool,
        max_decompressed_bytes in 0usize..500,
    ) {
        let mut set = set;
        for (at, value) in mutations {
            let at = at.index(set.len());
            set[at] = value;
        }
        // Half of the time behind a right checksum, so that the checks behind it are reached.
        if repair {
            set = changed(&set, 0, &[]);
        }
        let set = Bytes::from(set);
        if let Ok(batch) = up_convert(&set, &UpConversionLimits { max_decompressed_bytes }) {
            let records = decode_records(&batch, 1 << 20).unwrap();
            let bytes = records.iter().flat_map(|record| [&record.key, &record.value]).flatten().map(Bytes::len).sum::<usize>();
            prop_assert!(bytes <= set.len() + max_decompressed_bytes);
        }
    }

    #[test]
    fn mutations_inside_a_wrapper_never_panic(set in any_set(), mutations in any_mutations(), codec in prop::sample::select(&CODECS[..])) {
        let mut set = set;
        for (at, value) in mutations {
            let at = at.index(set.len());
            set[at] = value;
        }
        let set = changed(&set, 0, &[]);
        for format in FORMATS {
            let _ = up_convert(&wrapper(format, codec, &set).into(), &NO_LIMIT);
        }
    }
}
