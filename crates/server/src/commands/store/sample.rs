//! Which segments `store check --sample` reads.

use audit::Reference;
use runtime::Random;

/// Chooses `count` of `references`, or all if there are no more, one after the other, each time so that every byte of what is left is as
/// likely: a segment of twice the bytes is chosen with twice the probability. The same seed chooses the same as long as they are
/// there, whatever else came or went.
///
/// Each segment draws a key from the exponential distribution whose rate is its length; the smallest keys are chosen (Efraimidis and
/// Spirakis, Weighted random sampling with a reservoir, 2006).
pub(super) fn choose<'a>(references: impl Iterator<Item = &'a Reference>, count: usize, seed: u64) -> Vec<&'a Reference> {
    let draw = |reference: &Reference| {
        let bytes = (reference.segment.bytes + u64::from(reference.segment.index_bytes)).max(1);
        // In (0, 1], of the 53 bits that a double has.
        let uniform = ((Random::seeded(seed ^ place(reference)).u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln() / bytes as f64
    };
    let mut drawn: Vec<_> = references.map(|reference| (draw(reference), reference)).collect();
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
    drawn.truncate(count);
    drawn.into_iter().map(|(_, reference)| reference).collect()
}

/// A number of the segment's own: two that share one draw the same, which hurts nobody.
fn place(reference: &Reference) -> u64 {
    let Reference { partition, segment } = reference;
    let topic = u128::from_be_bytes(*partition.topic.as_bytes());
    (topic >> 64) as u64 ^ topic as u64 ^ u64::from(partition.partition.unsigned_abs()) << 40 ^ segment.base.0.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::segment;
    use super::*;
    use types::{TopicId, TopicPartition};

    /// Segment `index` is `bytes` long.
    fn references(bytes: &[u64]) -> Vec<Reference> {
        let partition = TopicPartition::new(TopicId::from_bytes([3; 16]), 0);
        let at = |(index, bytes): (i64, &u64)| {
            let segment = types::SegmentRef { bytes: *bytes, ..segment(10 * index, 10 * index + 10) };
            Reference { partition, segment }
        };
        (0..).zip(bytes).map(at).collect()
    }

    #[test]
    fn a_segment_is_chosen_as_often_as_its_bytes_are_many() {
        let references = references(&[1000, 3000, 0, 4000, 2000]);
        let mut chosen = [0_i32; 5];
        for seed in 0..10_000 {
            let first = choose(references.iter(), 1, seed)[0];
            chosen[(first.segment.base.0 / 10) as usize] += 1;
        }
        for (count, expected) in chosen.into_iter().zip([1000, 3000, 1, 4000, 2000]) {
            assert!((count - expected).abs() < 150, "{chosen:?}");
        }
    }

    #[test]
    fn a_seed_repeats_its_choice_also_when_other_segments_came_and_went() {
        let references = references(&[500; 100]);
        let chosen = choose(references.iter(), 10, 7);
        assert_eq!(chosen.len(), 10);
        assert_eq!(choose(references.iter().rev(), 10, 7), chosen);
        let others: Vec<_> = references.iter().filter(|reference| !chosen[1..].contains(reference)).collect();
        assert_eq!(choose(others.into_iter(), 1, 7), chosen[..1]);
        assert_ne!(choose(references.iter(), 10, 8), chosen);
        assert_eq!(choose(references.iter(), 1000, 7).len(), 100, "no segment is chosen twice");
    }
}
