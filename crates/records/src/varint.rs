//! Zigzag varints (Protocol Buffers' `sint32` and `sint64`), as records use them.

/// Takes an `i32` off the front: at most five bytes. `None` where they end early or hold more than 32 bits.
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_i64(bytes)?).ok()
}

/// Takes an `i64` off the front: at most ten bytes. `None` where they end early or hold more than 64 bits.
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && 1 < bits {
            return None;
        }
        raw |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}

/// Appends `value`; an `i32` encodes the same as the `i64` of its value.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while 0x7F < raw {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values_have_known_bytes() {
        for (value, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (63, &[0x7E]), (-64, &[0x7F]), (64, &[0x80, 1]), (300, &[0xD8, 4])] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn more_bits_than_fit_are_refused() {
        assert_eq!(take_i64(&mut &[0x80; 11][..]), None);
        assert_eq!(take_i64(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02][..]), None);
        assert_eq!(take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x10][..]), None);
        assert_eq!(take_i32(&mut &[0x80][..]), None);
    }

    proptest! {
        #[test]
        fn every_value_reads_back(value: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut bytes = &out[..];
            prop_assert_eq!(take_i64(&mut bytes), Some(value));
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(take_i32(&mut &out[..]), i32::try_from(value).ok());
        }
    }
}
