//! An answer's slices as one buffer, so that a vectored write sends them without copying them together.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Slices in order; what is written is dropped at once.
pub(crate) struct Gathered {
    /// In reverse, so that the next one is popped from the end.
    parts: Vec<Bytes>,
    remaining: usize,
}

impl Gathered {
    pub(crate) fn new(mut parts: Vec<Bytes>) -> Self {
        parts.retain(|part| !part.is_empty());
        parts.reverse();
        let remaining = parts.iter().map(Bytes::len).sum();
        Self { parts, remaining }
    }
}

impl Buf for Gathered {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.last().map_or(&[], |part| part)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance {count} of {} bytes", self.remaining);
        self.remaining -= count;
        while count > 0 {
            let part = self.parts.last_mut().expect("remaining is the sum of the parts");
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop();
        }
    }

    fn chunks_vectored<'a>(&'a self, target: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, part) in target.iter_mut().zip(self.parts.iter().rev()) {
            *slot = IoSlice::new(part);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered() -> Gathered {
        Gathered::new(["ab", "", "cde", "f"].map(|part| Bytes::from_static(part.as_bytes())).into())
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_steps() {
        for step in 1..=6 {
            let mut buffer = gathered();
            let mut seen = Vec::new();
            while buffer.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = buffer.chunks_vectored(&mut slices);
                let flat: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                assert_eq!(flat.len(), buffer.remaining());
                let taken = step.min(flat.len());
                seen.extend_from_slice(&flat[..taken]);
                buffer.advance(taken);
            }
            assert_eq!(seen, b"abcdef");
        }
    }

    #[test]
    fn a_short_target_gets_the_first_slices() {
        let buffer = gathered();
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(buffer.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1], buffer.chunk()), (&b"ab"[..], &b"cde"[..], &b"ab"[..]));
    }
}
