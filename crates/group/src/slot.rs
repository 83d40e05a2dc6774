//! Which coordinator slot a group belongs to.

/// The slot of `slots` that coordinates `group_id`: Kafka's choice of a partition of `__consumer_offsets`, the string's hash as Java
/// reckons it without its sign.
pub fn slot_of(group_id: &str, slots: u32) -> u32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's abs answers 0 for the one number that has no positive counterpart.
    hash.checked_abs().unwrap_or(0).cast_unsigned() % slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_that_kafka_chooses() {
        // What Java's "…".hashCode() answers: 0, 97, 96354, and Integer.MIN_VALUE for the last.
        for (group_id, slot) in [("", 0), ("a", 47), ("abc", 4), ("polygenelubricants", 0)] {
            assert_eq!(slot_of(group_id, 50), slot, "{group_id}");
        }
        // A character outside the basic plane counts as two: 0xd83d * 31 + 0xde00 = 1772899.
        assert_eq!(slot_of("\u{1f600}", 50), 1_772_899 % 50);
    }
}
