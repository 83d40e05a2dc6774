//! The one function that writes into a client's batch.

use bytes::{Bytes, BytesMut};
use types::{LeaderEpoch, Offset, Timestamp};

use crate::header::{HEADER_BYTES, attribute, field};

/// Spare memory that a stamped batch may keep alive besides its own length.
const PINNED_SLACK: usize = 1024;

/// Gives a validated batch its place in a partition: base offset and leader epoch, and, for `message.timestamp.type=LogAppendTime`,
/// the append time, which every record then has.
///
/// Offset and epoch lie outside the checksum, so they cost 12 bytes of writing; an append time changes the checksum too. Written
/// in place where nobody else holds the memory and the memory is about the batch's size, else into one copy: the result never
/// keeps a request's whole frame alive.
///
/// # Panics
/// If `batch` is shorter than a header, which `validate` refuses.
pub fn stamp(batch: Bytes, base_offset: Offset, leader_epoch: LeaderEpoch, log_append_time: Option<Timestamp>) -> Bytes {
    assert!(HEADER_BYTES <= batch.len(), "a batch has {HEADER_BYTES} bytes at least, found {}", batch.len());
    let mut bytes = into_owned(batch);
    put(&mut bytes, field::BASE_OFFSET, &base_offset.0.to_be_bytes());
    put(&mut bytes, field::LEADER_EPOCH, &leader_epoch.0.to_be_bytes());
    if let Some(time) = log_append_time {
        bytes[field::ATTRIBUTES + 1] |= attribute::LOG_APPEND_TIME as u8;
        put(&mut bytes, field::MAX_TIMESTAMP, &time.0.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[field::ATTRIBUTES..]);
        put(&mut bytes, field::CRC, &crc.to_be_bytes());
    }
    bytes.freeze()
}

fn into_owned(batch: Bytes) -> BytesMut {
    let mut bytes = match batch.try_into_mut() {
        Ok(bytes) => bytes,
        Err(shared) => return BytesMut::from(&shared[..]),
    };
    let spare = bytes.capacity() - bytes.len();
    let allowed = bytes.len().max(PINNED_SLACK);
    // Memory behind the batch shows as capacity. Memory before it does not, but it can be reclaimed, which proves it is there.
    if allowed < spare || bytes.try_reclaim(allowed + 1) { BytesMut::from(&bytes[..]) } else { bytes }
}

fn put(bytes: &mut BytesMut, position: usize, value: &[u8]) {
    bytes[position..position + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, BatchHeader, Codec, TimestampType, decode_records, verify_crc};

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None);
        for n in 0..100 {
            builder.push(Timestamp(n), Some(b"key"), Some(&[7; 100]), &[]);
        }
        builder.build()
    }

    /// A batch of its own within a frame that holds `before` and `after` other bytes.
    fn framed(before: usize, after: usize) -> Bytes {
        let frame = [vec![0; before], batch().to_vec(), vec![0; after]].concat();
        let length = frame.len();
        Bytes::from(frame).slice(before..length - after)
    }

    #[test]
    fn offset_and_epoch_are_written_and_nothing_else_changes() {
        let before = batch();
        let after = stamp(before.clone(), Offset(1 << 40), LeaderEpoch(9), None);
        let header = BatchHeader::parse(&after).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(1 << 40), LeaderEpoch(9)));
        assert_eq!(verify_crc(&after), Ok(()));
        assert_eq!((&after[8..12], &after[16..]), (&before[8..12], &before[16..]));
    }

    #[test]
    fn an_append_time_is_every_records_time_and_under_the_checksum() {
        let after = stamp(batch(), Offset(5), LeaderEpoch(1), Some(Timestamp(12345)));
        let header = BatchHeader::parse(&after).unwrap();
        assert_eq!((header.timestamp_type, header.max_timestamp), (TimestampType::LogAppendTime, Timestamp(12345)));
        assert_eq!(verify_crc(&after), Ok(()));
        assert!(decode_records(&after, usize::MAX).unwrap().iter().all(|record| record.timestamp == Timestamp(12345)));
    }

    #[test]
    fn a_batch_that_nobody_else_holds_is_stamped_in_place() {
        for batch in [batch(), framed(100, 50), framed(0, 900)] {
            let before = batch.as_ptr();
            assert_eq!(stamp(batch, Offset(1), LeaderEpoch(0), None).as_ptr(), before);
        }
    }

    #[test]
    fn a_batch_that_somebody_else_holds_is_left_alone() {
        let shared = batch();
        let copy = shared.clone();
        let stamped = stamp(shared, Offset(1), LeaderEpoch(0), None);
        assert_ne!(stamped.as_ptr(), copy.as_ptr());
        assert_eq!(BatchHeader::parse(&copy).unwrap().base_offset, Offset(0));
    }

    #[test]
    fn a_much_larger_frame_is_not_kept_alive() {
        for (before, after) in [(1 << 20, 0), (0, 1 << 20), (1 << 19, 1 << 19)] {
            let stamped = stamp(framed(before, after), Offset(1), LeaderEpoch(0), None);
            let mut memory = stamped.try_into_mut().unwrap();
            assert!(!memory.try_reclaim(2 * memory.len() + PINNED_SLACK), "{before} bytes before, {after} after");
        }
    }
}
