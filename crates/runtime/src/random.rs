//! Chance from one source that a seed repeats.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// A source of randomness, shared by reference. Two sources with the same seed give the same values in the same order; tasks that
/// race for one source make a run unrepeatable, so each gets its own by [`Random::fork`].
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// Repeats what the same seed gave before.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A source of its own for another task, determined by this one's seed and by what was drawn before.
    pub fn fork(&self) -> Self {
        Self(Mutex::new(StdRng::from_rng(&mut *self.0.lock())))
    }

    /// Any 64 bits.
    pub fn u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// A number below `bound`, all equally likely. `bound` must not be 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.lock().random_range(0..bound)
    }

    /// True with this probability, which is cut to 0 to 1.
    pub fn chance(&self, probability: f64) -> bool {
        self.0.lock().random_bool(probability.clamp(0.0, 1.0))
    }

    /// The sixteen bytes of a random UUID (RFC 9562, version 4).
    pub fn uuid_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.lock().fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }

    /// `time`, shortened by a random part of at most `fraction` of it (cut to 0 to 1), so that those who failed together do not come
    /// back together.
    pub fn jitter(&self, time: Duration, fraction: f64) -> Duration {
        let part: f64 = self.0.lock().random();
        time.mul_f64(1.0 - fraction.clamp(0.0, 1.0) * part)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_gives_others() {
        let draw = |random: Random| (random.u64(), random.uuid_bytes(), random.below(1000), random.fork().u64());
        assert_eq!(draw(Random::seeded(7)), draw(Random::seeded(7)));
        assert_ne!(draw(Random::seeded(7)), draw(Random::seeded(8)));
        assert_ne!(draw(Random::from_os()), draw(Random::from_os()));
    }

    #[test]
    fn uuid_bytes_carry_version_and_variant() {
        let random = Random::seeded(1);
        for _ in 0..100 {
            let bytes = random.uuid_bytes();
            assert_eq!((bytes[6] >> 4, bytes[8] >> 6), (4, 2));
        }
    }

    #[test]
    fn jitter_shortens_by_no_more_than_its_fraction() {
        let random = Random::seeded(1);
        let whole = Duration::from_secs(10);
        let drawn: Vec<_> = (0..1000).map(|_| random.jitter(whole, 0.2)).collect();
        assert!(drawn.iter().all(|time| (Duration::from_secs(8)..=whole).contains(time)));
        assert!(drawn.iter().any(|time| *time < Duration::from_millis(8500)));
        assert_eq!(random.jitter(whole, 0.0), whole);
    }
}
