//! Bytes that connections may hold together, for requests on the way in or answers on the way out.
//!
//! Bytes are charged as they arrive and not as they are announced, so a peer that announces 90 MB and holds them back costs nothing.
//! That alone could stop for good: every unit held by frames of which no one can finish. So one charge at a time may overdraw the
//! budget; whoever holds that right always finishes, and gives everything back. The budget is therefore exceeded by at most the
//! largest frame.
//!
//! Who would always take all there is may be held to half of it, so that others find room: see [`MemoryBudget::up_to_of_half`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units of this size, because a semaphore's permits are 32 bits wide.
const UNIT: usize = 1024;

/// A budget of bytes, shared by all connections.
pub(crate) struct MemoryBudget {
    total_units: u32,
    units: Arc<Semaphore>,
    /// Of the units, what [`MemoryBudget::up_to_of_half`] may hand out.
    half: Semaphore,
    overdraft: Arc<Semaphore>,
    overdrawn_bytes: AtomicUsize,
    waiting: AtomicUsize,
}

/// Bytes taken from a [`MemoryBudget`]; dropping it gives them back.
pub(crate) struct Charge {
    budget: Arc<MemoryBudget>,
    bytes: usize,
    units: u32,
    /// So many of the units are of the half.
    of_half: u32,
    overdraft: Option<Overdraft>,
}

struct Overdraft {
    budget: Arc<MemoryBudget>,
    bytes: usize,
    _right: OwnedSemaphorePermit,
}

impl Drop for Overdraft {
    fn drop(&mut self) {
        self.budget.overdrawn_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts a waiter for as long as it lives, so that a cancelled wait is not counted for ever.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl MemoryBudget {
    /// A budget of `bytes`, at least one unit.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let total_units = units(bytes).clamp(1, u32::MAX >> 4);
        Arc::new(Self {
            total_units,
            units: Arc::new(Semaphore::new(total_units as usize)),
            half: Semaphore::new(total_units.div_ceil(2) as usize),
            overdraft: Arc::new(Semaphore::new(1)),
            overdrawn_bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Nothing yet; to be grown as bytes arrive.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: 0, units: 0, of_half: 0, overdraft: None }
    }

    /// As much of `want` bytes as is free, and no less than `floor` (or the whole budget, if that is smaller), waiting for it in the
    /// order of arrival.
    pub(crate) async fn up_to(self: &Arc<Self>, want: usize, floor: usize) -> Charge {
        let taken = take(want, floor, self.units.available_permits(), self.total_units);
        let mut charge = self.charge();
        charge.take(taken).await;
        charge
    }

    /// The same from one half of the budget, whatever is free of the other: all who take so hold no more than that together.
    pub(crate) async fn up_to_of_half(self: &Arc<Self>, want: usize, floor: usize) -> Charge {
        let free = self.half.available_permits().min(self.units.available_permits());
        let taken = take(want, floor, free, self.total_units.div_ceil(2));
        let mut charge = self.charge();
        {
            let _waiting = Waiting::new(&self.waiting);
            self.half.acquire_many(taken).await.expect("the semaphore is never closed").forget();
        }
        // From here on dropping the charge gives it back.
        charge.of_half = taken;
        charge.take(taken).await;
        charge
    }

    /// Bytes held now, in whole units.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.total_units as usize - self.units.available_permits().min(self.total_units as usize)) * UNIT
            + self.overdrawn_bytes.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for bytes that others hold.
    pub(crate) fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Units for `want` bytes of `total`: as much as is free, and no less than `floor` bytes.
fn take(want: usize, floor: usize, free: usize, total: u32) -> u32 {
    let (floor, free) = (units(floor.min(want)), u32::try_from(free).unwrap_or(u32::MAX));
    units(want).min(free.max(floor)).min(total)
}

impl Charge {
    /// Waits for so many units, as the first of this charge.
    async fn take(&mut self, taken: u32) {
        let _waiting = Waiting::new(&self.budget.waiting);
        self.budget.units.acquire_many(taken).await.expect("the semaphore is never closed").forget();
        (self.units, self.bytes) = (taken, taken as usize * UNIT);
    }

    /// Charges `bytes` more, waiting for them; dropping the future midway charges nothing.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        let total = self.bytes.saturating_add(bytes);
        if let Some(overdraft) = &mut self.overdraft {
            overdraft.bytes += bytes;
            self.budget.overdrawn_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.bytes = total;
            return;
        }
        let missing = units(total).saturating_sub(self.units);
        if missing > 0 {
            let taken = self.budget.units.try_acquire_many(missing).map(|permits| permits.forget()).is_ok();
            if taken {
                self.units += missing;
            } else {
                self.grow_waiting(missing, bytes).await;
            }
        }
        self.bytes = total;
    }

    async fn grow_waiting(&mut self, missing: u32, bytes: usize) {
        let budget = self.budget.clone();
        let _waiting = Waiting::new(&budget.waiting);
        tokio::select! {
            biased;
            permits = budget.units.acquire_many(missing) => {
                permits.expect("the semaphore is never closed").forget();
                self.units += missing;
            }
            right = budget.overdraft.clone().acquire_owned() => {
                budget.overdrawn_bytes.fetch_add(bytes, Ordering::Relaxed);
                let right = right.expect("the semaphore is never closed");
                self.overdraft = Some(Overdraft { budget: budget.clone(), bytes, _right: right });
            }
        }
    }

    /// Gives back what is above `bytes`. A charge below that stays as it is.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            let keep = units(bytes).min(self.units);
            self.budget.units.add_permits((self.units - keep) as usize);
            self.budget.half.add_permits(self.of_half.saturating_sub(keep) as usize);
            (self.units, self.of_half) = (keep, self.of_half.min(keep));
            self.bytes = bytes;
        }
    }

    /// Bytes charged.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget it is taken from.
    pub(crate) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.units.add_permits(self.units as usize);
        self.budget.half.add_permits(self.of_half as usize);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_comes_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut charge = budget.charge();
        charge.grow(1).await;
        charge.grow(UNIT).await;
        assert_eq!(budget.used_bytes(), 2 * UNIT);
        drop(charge);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn one_charge_at_a_time_overdraws_and_the_others_wait_for_its_end() {
        let budget = MemoryBudget::new(4 * UNIT);
        let (mut first, mut second) = (budget.charge(), budget.charge());
        first.grow(2 * UNIT).await;
        second.grow(2 * UNIT).await;
        first.grow(100 * UNIT).now_or_never().expect("the first may overdraw");
        first.grow(100 * UNIT).now_or_never().expect("and goes on doing so");
        assert_eq!(budget.used_bytes(), 204 * UNIT);
        assert!(second.grow(UNIT).now_or_never().is_none());
        drop(first);
        second.grow(UNIT).now_or_never().expect("there is room again");
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_cancelled_wait_is_forgotten() {
        let budget = MemoryBudget::new(UNIT);
        let mut holder = budget.charge();
        holder.grow(UNIT).await;
        holder.grow(UNIT).await;
        let mut late = budget.charge();
        assert!(late.grow(UNIT).now_or_never().is_none());
        assert!(!budget.is_contended());
        drop(holder);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn up_to_takes_what_is_free_but_no_less_than_its_floor() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.up_to(8 * UNIT, UNIT).await;
        let second = budget.up_to(8 * UNIT, UNIT).await;
        assert_eq!((first.bytes(), second.bytes()), (8 * UNIT, 2 * UNIT));
        assert!(budget.up_to(8 * UNIT, UNIT).now_or_never().is_none());
        first.shrink_to(UNIT + 1);
        assert_eq!(budget.up_to(8 * UNIT, UNIT).await.bytes(), 6 * UNIT);
        let whole = MemoryBudget::new(UNIT).up_to(100 * UNIT, 50 * UNIT).await;
        assert_eq!(whole.bytes(), UNIT);
    }

    #[tokio::test]
    async fn those_who_take_of_the_half_leave_the_other_to_the_rest() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.up_to_of_half(100 * UNIT, UNIT).await;
        assert_eq!(first.bytes(), 5 * UNIT);
        assert!(budget.up_to_of_half(100 * UNIT, UNIT).now_or_never().is_none());
        let other = budget.up_to(100 * UNIT, UNIT).now_or_never().expect("half is left");
        assert_eq!(other.bytes(), 5 * UNIT);

        first.shrink_to(2 * UNIT);
        // Of the half, and of the whole, three are free.
        let mut second = budget.up_to_of_half(100 * UNIT, UNIT).now_or_never().expect("what the first does not need");
        assert_eq!(second.bytes(), 3 * UNIT);
        second.grow(2 * UNIT).await;
        drop((first, second, other));
        assert_eq!((budget.used_bytes(), budget.half.available_permits()), (0, 5));
    }

    #[tokio::test]
    async fn a_wait_for_the_whole_that_is_cancelled_gives_the_half_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let holder = budget.up_to(10 * UNIT, UNIT).await;
        assert!(budget.up_to_of_half(UNIT, UNIT).now_or_never().is_none());
        assert!(!budget.is_contended());
        drop(holder);
        assert_eq!(budget.up_to_of_half(10 * UNIT, UNIT).await.bytes(), 5 * UNIT);
    }
}
