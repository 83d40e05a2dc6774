//! Which partition a record goes to: by its key as every Kafka client does it, else one partition for a while and then another.

use runtime::Random;

/// Kafka's variant of MurmurHash2, seed 0x9747b28c, on bytes in little-endian groups of four.
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;

    let (words, tail) = bytes.as_chunks::<4>();
    // Lengths are 32 bits in the reference; records are far below.
    let mut hash = SEED ^ bytes.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^= hash >> 15;
    hash as i32
}

/// The partition, of `partitions`, that Kafka's default partitioner gives to `key`.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX) % partitions
}

/// Records without a key stay on one partition until a batch's worth went there (KIP-794), so that batches fill.
#[derive(Debug)]
pub(crate) struct Sticky {
    partition: i32,
    bytes_left: usize,
}

impl Sticky {
    pub(crate) fn new() -> Self {
        Self { partition: 0, bytes_left: 0 }
    }

    /// The partition for a record of `bytes`, where a batch has `batch_bytes`.
    pub(crate) fn next(&mut self, bytes: usize, batch_bytes: usize, partitions: i32, random: &Random) -> i32 {
        if self.bytes_left == 0 {
            self.partition = i32::try_from(random.below(u64::from(partitions.unsigned_abs()))).expect("below an i32");
            self.bytes_left = batch_bytes;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_test() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_partition_is_never_negative() {
        assert_eq!(partition_for_key(b"21", 3), (-973_932_308 & i32::MAX) % 3);
    }

    #[test]
    fn records_without_a_key_fill_a_batch_before_they_move() {
        let (mut sticky, random) = (Sticky::new(), Random::seeded(7));
        let partitions: Vec<_> = (0..40).map(|_| sticky.next(100, 1000, 5, &random)).collect();
        for batch in partitions.chunks(10) {
            assert!(batch.iter().all(|partition| *partition == batch[0]), "{partitions:?}");
        }
        assert!(partitions.iter().any(|partition| *partition != partitions[0]), "{partitions:?}");
    }
}
