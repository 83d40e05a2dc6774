//! Kafka's first LZ4 frames. Until 0.10 the one-byte checksum of the frame descriptor was computed from the frame's magic number on,
//! instead of from behind it (KAFKA-3160). Java's clients and brokers of that age refuse right ones, so format 0 has stayed so: there
//! the checksum is not looked at when reading, and written wrong.

use bytes::Bytes;
use twox_hash::XxHash32;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];
const FLAGS: usize = MAGIC.len();
const CONTENT_SIZE_FLAG: u8 = 1 << 3;
const DICTIONARY_FLAG: u8 = 1;

/// The frame with a right descriptor checksum. What does not begin like a frame is returned as it is; the decompressor will say so.
pub(super) fn mended(frame: Bytes) -> Bytes {
    let Some(position) = position(&frame) else { return frame };
    let right = byte(&frame[FLAGS..position]);
    if frame[position] == right {
        return frame;
    }
    let mut mended = frame.to_vec();
    mended[position] = right;
    mended.into()
}

/// Gives a frame the descriptor checksum of format 0.
pub(super) fn spoil(frame: &mut [u8]) {
    if let Some(position) = position(frame) {
        frame[position] = byte(&frame[..position]);
    }
}

/// Where the checksum stands: behind flags, block size, and what the flags announce.
fn position(frame: &[u8]) -> Option<usize> {
    let flags = *frame.get(FLAGS).filter(|_| frame.starts_with(&MAGIC))?;
    let content_size = if flags & CONTENT_SIZE_FLAG == 0 { 0 } else { 8 };
    let dictionary = if flags & DICTIONARY_FLAG == 0 { 0 } else { 4 };
    Some(FLAGS + 2 + content_size + dictionary).filter(|position| *position < frame.len())
}

fn byte(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags 0x60 (independent blocks), 64 KiB blocks: the descriptor that every Kafka client writes.
    const RIGHT: [u8; 7] = [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82];
    /// As Kafka's 0.9 client writes it.
    const SPOILT: [u8; 7] = [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x1A];

    #[test]
    fn the_two_checksums_are_those_of_kafkas_clients() {
        let mut frame = RIGHT;
        spoil(&mut frame);
        assert_eq!(frame, SPOILT);
        assert_eq!(mended(Bytes::from_static(&SPOILT)), &RIGHT[..]);
    }

    #[test]
    fn a_right_frame_is_not_copied() {
        let frame = Bytes::from_static(&RIGHT);
        assert_eq!(mended(frame.clone()).as_ptr(), frame.as_ptr());
    }

    #[test]
    fn optional_fields_stand_before_the_checksum() {
        let mut data = vec![7; 1000];
        data.extend(0..200);
        for content_size in [0, data.len() as u64] {
            let mut encoder = lz4::EncoderBuilder::new().content_size(content_size).build(Vec::new()).unwrap();
            std::io::Write::write_all(&mut encoder, &data).unwrap();
            let right = encoder.finish().0;
            let mut frame = right.clone();
            spoil(&mut frame);
            assert_eq!(frame.iter().zip(&right).filter(|(a, b)| a != b).count(), 1, "content size {content_size}");
            assert_eq!(mended(frame.into()), right);
        }
    }

    #[test]
    fn what_is_no_frame_is_left_alone() {
        for bytes in [&b""[..], &RIGHT[..4], &RIGHT[..6], &[0x04, 0x22, 0x4D, 0x18, 0x68, 0x40, 0, 0, 0, 0, 0, 0, 0, 0], b"something else"]
        {
            assert_eq!(mended(Bytes::from_static(bytes)), bytes);
            let mut copy = bytes.to_vec();
            spoil(&mut copy);
            assert_eq!(copy, bytes);
        }
    }
}
