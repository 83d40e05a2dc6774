//! What many measurements come to.

use serde::{Deserialize, Serialize};

/// The nearest-rank quantile of values in ascending order: the smallest that at least the share `q` (0 to 1) of them does not exceed;
/// `None` of none.
pub(crate) fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Quantiles of delays, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Delays {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// How many delays there were.
    pub(crate) count: u64,
}

impl Delays {
    /// Of delays in microseconds, in any order; `None` of none.
    pub(crate) fn of(mut micros: Vec<u64>) -> Option<Self> {
        micros.sort_unstable();
        let ms = |q| quantile(&micros, q).map(|micros| micros as f64 / 1000.0);
        Some(Self { p50_ms: ms(0.5)?, p99_ms: ms(0.99)?, p999_ms: ms(0.999)?, max_ms: ms(1.0)?, count: micros.len() as u64 })
    }
}

/// One measure over several rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of no values. The median of an even number of values is the mean of the middle two.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!([0.0, 0.5, 0.99, 0.999, 1.0].map(|q| quantile(&hundred, q)), [1, 50, 99, 100, 100].map(Some));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }

    #[test]
    fn delays_are_told_in_milliseconds_whatever_their_order() {
        let delays = Delays::of((1..=1000).rev().map(|ms| ms * 1000).collect()).unwrap();
        assert_eq!(delays, Delays { p50_ms: 500.0, p99_ms: 990.0, p999_ms: 999.0, max_ms: 1000.0, count: 1000 });
        assert_eq!(Delays::of(Vec::new()), None);
    }

    #[test]
    fn a_median_lies_in_the_middle_of_odd_and_even_rounds() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
