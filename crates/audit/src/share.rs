//! Whose an object is to audit. Pure.

use types::{BrokerId, ObjectKey};

/// The broker that audits an object: of `brokers`, each of which comes to the same answer, by rendezvous hashing. A broker that comes or
/// goes changes the answer only for what it gets or had. So every object is read by one broker, also those of partitions that
/// nobody leads.
pub(crate) fn auditor_of(key: &ObjectKey, brokers: &[BrokerId]) -> Option<BrokerId> {
    let object = u64::from(crc32c::crc32c(key.to_string().as_bytes()));
    brokers.iter().copied().max_by_key(|broker| (mixed(object << 32 | u64::from(broker.0.cast_unsigned())), *broker))
}

/// SplitMix64's finalizer (Steele, Lea and Flood, 2014).
fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use types::{BrokerEpoch, ObjectNumber};

    use super::*;

    fn key(number: u64) -> ObjectKey {
        ObjectKey::Shared { broker: BrokerId(1), epoch: BrokerEpoch(1), number: ObjectNumber(number) }
    }

    #[test]
    fn brokers_share_the_objects_and_one_that_goes_leaves_the_others_theirs() {
        let brokers = [1, 2, 3].map(BrokerId);
        let mut shares = [0; 3];
        for number in 0..3000 {
            let auditor = auditor_of(&key(number), &brokers).unwrap();
            shares[auditor.0 as usize - 1] += 1;
            let without_third = auditor_of(&key(number), &brokers[..2]).unwrap();
            assert!(auditor == BrokerId(3) || without_third == auditor);
            assert_eq!(auditor_of(&key(number), &[BrokerId(3), BrokerId(1), BrokerId(2)]), Some(auditor), "in any order");
        }
        assert!(shares.iter().all(|share| (900..1100).contains(share)), "{shares:?}");
        assert_eq!(auditor_of(&key(1), &[]), None);
    }
}
