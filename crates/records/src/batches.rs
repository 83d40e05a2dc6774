//! Walks over batches that lie one after another, as in a segment or in a Fetch answer.

use bytes::Bytes;
use types::Offset;

use crate::header::{BatchHeader, HeaderError, batch_bytes};

/// One batch out of several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    /// The whole batch, a slice of what was walked over.
    pub bytes: Bytes,
}

/// The walk cannot go on: where the next batch begins is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DamagedBatch {
    /// No header can be read there.
    #[error("at byte {position} after offset {after:?}: {source}")]
    Header {
        /// Where the batch begins.
        position: usize,
        /// Offset after the last good batch.
        after: Option<Offset>,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The batch is longer than what is left. At the end of a Fetch answer from another broker this is legal.
    #[error("at byte {position} after offset {after:?}: batch of {length} bytes, only {found} there")]
    Truncated {
        /// Where the batch begins.
        position: usize,
        /// Offset after the last good batch.
        after: Option<Offset>,
        /// Its length by its header.
        length: usize,
        /// Bytes there.
        found: usize,
    },
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: usize,
    after: Option<Offset>,
}

/// The batches in `bytes`, in order, as slices of it. Stops with an error at the first that cannot be read and returns nothing
/// after it. Checksums are not verified.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, position: 0, after: None }
}

impl Batches {
    fn take_batch(&mut self) -> Result<Batch, DamagedBatch> {
        let (position, after) = (self.position, self.after);
        let damaged = |source| DamagedBatch::Header { position, after, source };
        let truncated = |length| DamagedBatch::Truncated { position, after, length, found: self.rest.len() };
        let length = match batch_bytes(&self.rest) {
            Ok(length) => length,
            // A tail too short to tell its own length was cut, whatever it was.
            Err(HeaderError::Short { .. }) => return Err(truncated(crate::HEADER_BYTES)),
            Err(source) => return Err(damaged(source)),
        };
        if self.rest.len() < length {
            return Err(truncated(length));
        }
        let header = BatchHeader::parse(&self.rest).map_err(damaged)?;
        self.position += length;
        self.after = Some(header.next_offset());
        Ok(Batch { header, bytes: self.rest.split_to(length) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DamagedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.take_batch();
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::Timestamp;

    use super::*;
    use crate::{BatchBuilder, Codec};

    fn two() -> (Bytes, usize) {
        let mut first = BatchBuilder::new(Codec::None);
        first.push(Timestamp(1), Some(b"k"), Some(b"v"), &[]);
        let mut second = BatchBuilder::new(Codec::Gzip).base_offset(Offset(1));
        second.push(Timestamp(2), None, None, &[]);
        let (first, second) = (first.build(), second.build());
        (Bytes::from([first.as_ref(), second.as_ref()].concat()), first.len())
    }

    #[test]
    fn every_batch_is_a_slice_of_what_was_given() {
        let (bytes, first) = two();
        let found: Vec<_> = batches(bytes.clone()).map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].bytes.as_ptr(), bytes.as_ptr());
        assert_eq!(found[1].bytes.as_ptr(), bytes[first..].as_ptr());
        assert_eq!(found[1].header.base_offset, Offset(1));
    }

    #[test]
    fn the_walk_ends_at_damage_and_says_where() {
        let (bytes, first) = two();
        let mut damaged = bytes.to_vec();
        damaged[first + 16] = 9;
        let found: Vec<_> = batches(damaged.into()).collect();
        assert!(found[0].is_ok());
        assert_eq!(found[1], Err(DamagedBatch::Header { position: first, after: Some(Offset(1)), source: HeaderError::Magic(9) }));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_cut_batch_is_told_apart_from_a_damaged_one() {
        let (bytes, first) = two();
        for cut in first + 1..bytes.len() {
            let last = batches(bytes.slice(..cut)).last().unwrap();
            assert!(matches!(last, Err(DamagedBatch::Truncated { position, found, .. }) if position == first && found == cut - first));
        }
    }

    proptest! {
        #[test]
        fn a_walk_over_any_bytes_ends(mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
            let (bytes, _) = two();
            let mut bytes = bytes.to_vec();
            for (at, value) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let length = bytes.len();
            let good: usize = batches(bytes.into()).filter_map(Result::ok).map(|batch| batch.bytes.len()).sum();
            prop_assert!(good <= length);
        }
    }
}
