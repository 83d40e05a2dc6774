//! Numbers of this broker epoch's objects. Ranges of the log and rewritten objects take theirs from here, so that no two have the same,
//! and so that the floor told with a publish spares every object that is still on its way (rule R6).

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use types::ObjectNumber;

/// Gives out numbers, rising from 1.
#[derive(Default)]
pub(crate) struct ObjectNumbers(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    last: u64,
    /// As many as there are ranges and rewritten objects in flight.
    held: BTreeSet<u64>,
}

impl ObjectNumbers {
    /// A number above all that were given out.
    pub(crate) fn take(self: &Arc<Self>) -> HeldNumber {
        let mut numbers = self.0.lock();
        numbers.last += 1;
        let number = numbers.last;
        numbers.held.insert(number);
        HeldNumber { numbers: Arc::clone(self), number: ObjectNumber(number) }
    }

    /// No object with a lower number is on its way, or will ever be.
    pub(crate) fn floor(&self) -> ObjectNumber {
        let numbers = self.0.lock();
        ObjectNumber(numbers.held.first().copied().unwrap_or(numbers.last + 1))
    }
}

/// A number whose object may still be published. Dropped when that is over, however it ended: from then on the key is dead unless it
/// was published.
pub(crate) struct HeldNumber {
    numbers: Arc<ObjectNumbers>,
    number: ObjectNumber,
}

impl HeldNumber {
    pub(crate) fn get(&self) -> ObjectNumber {
        self.number
    }
}

impl Drop for HeldNumber {
    fn drop(&mut self) {
        self.numbers.0.lock().held.remove(&self.number.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_the_floor_spares_every_number_that_is_held() {
        let numbers = Arc::new(ObjectNumbers::default());
        assert_eq!(numbers.floor(), ObjectNumber(1));
        let (first, second, third) = (numbers.take(), numbers.take(), numbers.take());
        assert_eq!([first.get(), second.get(), third.get()], [1, 2, 3].map(ObjectNumber));
        drop(second);
        assert_eq!(numbers.floor(), ObjectNumber(1));
        drop(first);
        assert_eq!(numbers.floor(), ObjectNumber(3));
        drop(third);
        assert_eq!(numbers.floor(), ObjectNumber(4), "the next one that is given out");
    }
}
