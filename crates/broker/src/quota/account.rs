//! What is owed for what was taken (KIP-13). Kafka measures over a sliding window of eleven samples of a second. Here an account owes
//! time: what it takes costs its share of a second, and up to [`BURST`] may be owed before there is a pause, which is what Kafka's window
//! allows a client that was idle. The mean rate is the same, an account is two numbers instead of eleven samples, and the pause does not
//! depend on where a sample happens to begin.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// What an idle account may take at once, in seconds of its rate: the ten whole samples of Kafka's window.
pub(crate) const BURST: Duration = Duration::from_secs(10);
/// Longest pause, below clients' request time-out of 30 s: requests that are on their way when it begins must not time out in it. What
/// is owed beyond is forgiven, so a client whose single requests take longer than this at its rate is faster than the rate.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Accounts that are told apart. One that owes nothing takes no place, so they are those of the last seconds.
pub(super) const MAX_ACCOUNTS: usize = 10_000;
/// A full table is searched for accounts that owe nothing no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How much may be taken per second; above 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Rate(pub(super) f64);

impl Rate {
    /// The most that may be taken at once without a pause.
    pub(super) fn burst(self) -> f64 {
        self.0 * BURST.as_secs_f64()
    }
}

/// The time at which everything taken is paid for, at the rate at which it was taken.
#[derive(Clone, Copy)]
pub(super) struct Account {
    paid_at: Duration,
    rate: Rate,
}

impl Account {
    fn new(rate: Rate) -> Self {
        Self { paid_at: Duration::ZERO, rate }
    }

    /// The account at another rate: as much is owed as before, and paid for in another time.
    fn at(self, rate: Rate, now: Duration) -> Self {
        if rate == self.rate {
            return self;
        }
        let owed = self.paid_at.saturating_sub(now).as_secs_f64() * (self.rate.0 / rate.0);
        Self { paid_at: now + capped(owed), rate }
    }

    /// Counts `amount`.
    pub(super) fn charge(&mut self, amount: f64, now: Duration) {
        let owed = self.paid_at.saturating_sub(now).saturating_add(capped(amount / self.rate.0));
        self.paid_at = now + owed.min(BURST + LONGEST_PAUSE);
    }

    /// The pause after all that was counted.
    pub(super) fn pause(self, now: Duration) -> Duration {
        self.paid_at.saturating_sub(now + BURST)
    }
}

/// Seconds, no more than can be owed.
fn capped(seconds: f64) -> Duration {
    let most = BURST + LONGEST_PAUSE;
    Duration::try_from_secs_f64(seconds).map_or(most, |owed| owed.min(most))
}

/// The accounts of all that have the same quota.
pub(super) struct Accounts<K> {
    by_key: HashMap<K, Account>,
    /// Of all that find no place in the table.
    others: Account,
    next_sweep: Duration,
}

impl<K> Default for Accounts<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), others: Account::new(Rate(1.0)), next_sweep: Duration::ZERO }
    }
}

impl<K: Eq + Hash> Accounts<K> {
    /// The account as it stands, at the rate in force. One that `fits` not would make the table as large as a peer likes.
    pub(super) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q, fits: bool, rate: Rate, now: Duration) -> Account
    where
        K: Borrow<Q>,
    {
        match self.by_key.get(key) {
            Some(account) => account.at(rate, now),
            None if self.has_place(fits) => Account::new(rate),
            None => self.others.at(rate, now),
        }
    }

    fn has_place(&self, fits: bool) -> bool {
        self.by_key.len() < MAX_ACCOUNTS && fits
    }

    /// The account to count on at the rate in force, or that of all others when the table has no place for it.
    pub(super) fn open(&mut self, key: K, fits: bool, rate: Rate, now: Duration) -> &mut Account {
        if MAX_ACCOUNTS <= self.by_key.len() && self.next_sweep <= now && !self.by_key.contains_key(&key) {
            self.by_key.retain(|_, account| now < account.paid_at);
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        let account = if self.by_key.contains_key(&key) || self.has_place(fits) {
            self.by_key.entry(key).or_insert(Account::new(rate))
        } else {
            &mut self.others
        };
        *account = account.at(rate, now);
        account
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn at_another_rate_as_much_is_owed_as_before() {
        let now = 1000 * SECOND;
        let mut account = Account::new(Rate(1000.0));
        account.charge(20_000.0, now);
        assert_eq!(account.pause(now), 10 * SECOND);
        assert_eq!(account.at(Rate(2000.0), now).pause(now), Duration::ZERO, "ten seconds of the new rate");
        assert_eq!(account.at(Rate(1600.0), now).pause(now), SECOND * 5 / 2);
        assert_eq!(account.at(Rate(1.0), now).pause(now), LONGEST_PAUSE);
        // What was paid for stays so.
        assert_eq!(account.at(Rate(1.0), now + 20 * SECOND).pause(now + 20 * SECOND), Duration::ZERO);
    }

    #[test]
    fn no_rate_and_no_amount_is_too_large() {
        for (rate, amount) in [(f64::MIN_POSITIVE, f64::MAX), (f64::INFINITY, f64::MAX), (f64::MAX, 1.0), (f64::INFINITY, f64::INFINITY)] {
            let mut account = Account::new(Rate(1.0)).at(Rate(rate), SECOND);
            account.charge(amount, SECOND);
            assert!(account.pause(SECOND) <= LONGEST_PAUSE);
        }
    }
}
