//! Byte rates by client id (KIP-13): who takes more than its share per second is asked to pause, and its connection is not read for
//! that long (KIP-219).
//!
//! Kafka measures over a sliding window of eleven samples of a second. Here a client owes time: every byte costs its share of a second,
//! and up to [`BURST`] may be owed before there is a pause, which is what Kafka's window allows a client that was idle. The mean rate is
//! the same, a client costs one number instead of eleven, and the pause does not depend on where a sample happens to begin.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use parking_lot::Mutex;

/// What an idle client may take at once, in seconds of its rate: the ten whole samples of Kafka's window.
const BURST: Duration = Duration::from_secs(10);
/// Longest pause, below clients' request time-out of 30 s: requests that are on their way when it begins must not time out in it. What
/// is owed beyond is forgiven, so a client whose single requests take longer than this at its rate is faster than the rate.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Client ids that are told apart. An id that owes nothing takes no place, so they are those of the last seconds.
const MAX_CLIENTS: usize = 10_000;
/// Ids above this length share one account: they would make the table as large as a peer likes.
const LONGEST_ID: usize = 256;
/// A full table is searched for ids that owe nothing no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// One direction's limit, the same for every client id. Clients without an id share one account, as in Kafka.
pub(crate) struct ClientQuota {
    bytes_per_second: Box<dyn Fn() -> u64 + Send + Sync>,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    by_client: HashMap<String, Account>,
    /// Of all that find no place in the table.
    others: Account,
    next_sweep: Duration,
}

/// The time at which everything taken is paid for.
#[derive(Clone, Copy, Default)]
struct Account {
    paid_at: Duration,
}

impl ClientQuota {
    /// Bytes per second and client id, 0 for no limit; asked for whenever something is counted, as it may change.
    pub(crate) fn new(bytes_per_second: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { bytes_per_second: Box::new(bytes_per_second), accounts: Mutex::default() }
    }

    fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new((self.bytes_per_second)())
    }

    /// Counts `bytes` and returns the pause after them.
    pub(crate) fn charge(&self, client: Option<&str>, bytes: usize, now: Duration) -> Duration {
        let Some(rate) = self.rate() else { return Duration::ZERO };
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate.get() as f64).unwrap_or(Duration::MAX);
        let mut accounts = self.accounts.lock();
        let account = accounts.open(client.unwrap_or_default(), now);
        account.charge(cost, now);
        account.pause(now)
    }

    /// The pause that is left of what was counted before.
    pub(crate) fn pause(&self, client: Option<&str>, now: Duration) -> Duration {
        if self.rate().is_none() {
            return Duration::ZERO;
        }
        self.accounts.lock().find(client.unwrap_or_default()).pause(now)
    }

    /// Most that one answer should hold, as in Kafka: an answer of more than the burst is a pause by itself.
    pub(crate) fn most_at_once(&self) -> usize {
        let bytes = self.rate().map(|rate| rate.get().saturating_mul(BURST.as_secs()));
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }
}

impl Accounts {
    /// The account that a client's bytes are counted on, as it stands.
    fn find(&self, client: &str) -> Account {
        match self.by_client.get(client) {
            Some(account) => *account,
            None if self.has_place_for(client) => Account::default(),
            None => self.others,
        }
    }

    fn has_place_for(&self, client: &str) -> bool {
        self.by_client.len() < MAX_CLIENTS && client.len() <= LONGEST_ID
    }

    /// A client's account, or that of all others when the table has no place for it.
    fn open(&mut self, client: &str, now: Duration) -> &mut Account {
        if self.by_client.contains_key(client) {
            return self.by_client.get_mut(client).expect("it is there");
        }
        if MAX_CLIENTS <= self.by_client.len() && self.next_sweep <= now {
            self.by_client.retain(|_, account| now < account.paid_at);
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        if self.has_place_for(client) { self.by_client.entry(client.to_owned()).or_default() } else { &mut self.others }
    }
}

impl Account {
    fn charge(&mut self, cost: Duration, now: Duration) {
        self.paid_at = self.paid_at.max(now).saturating_add(cost).min(now + BURST + LONGEST_PAUSE);
    }

    fn pause(self, now: Duration) -> Duration {
        self.paid_at.saturating_sub(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 1000;
    const SECOND: Duration = Duration::from_secs(1);
    const ME: Option<&str> = Some("me");

    fn quota() -> ClientQuota {
        ClientQuota::new(|| RATE as u64)
    }

    #[test]
    fn a_burst_is_free_and_what_is_above_it_is_paid_in_time() {
        let (quota, now) = (quota(), 1000 * SECOND);
        assert_eq!(quota.charge(ME, 10 * RATE, now), Duration::ZERO);
        assert_eq!(quota.charge(ME, RATE / 2, now), SECOND / 2);
        assert_eq!(quota.pause(ME, now + SECOND / 4), SECOND / 4);
        assert_eq!(quota.pause(ME, now + SECOND / 2), Duration::ZERO);
        // At its rate there is nothing more to free; idle, it has the burst again.
        assert_eq!(quota.charge(ME, RATE, now + SECOND / 2), SECOND);
        assert_eq!(quota.charge(ME, 10 * RATE, now + 12 * SECOND), Duration::ZERO);
    }

    #[test]
    fn a_client_that_keeps_its_pauses_comes_to_its_rate_whatever_it_takes_at_once() {
        for bytes in [1, 77, RATE, 3 * RATE, 15 * RATE] {
            let (quota, mut now, mut taken) = (quota(), SECOND, 0);
            while now < 1000 * SECOND {
                now += quota.charge(ME, bytes, now);
                // Never without time at all, so that the smallest end too.
                now += Duration::from_micros(10);
                taken += bytes;
            }
            let rate = (taken - 10 * RATE) as f64 / now.as_secs_f64();
            assert!((0.95..1.05).contains(&(rate / RATE as f64)), "{bytes} at once: {rate}");
        }
    }

    #[test]
    fn clients_do_not_pay_for_each_other_and_those_without_an_id_do() {
        let (quota, now) = (quota(), SECOND);
        quota.charge(ME, 100 * RATE, now);
        assert_eq!(quota.pause(ME, now), LONGEST_PAUSE);
        assert_eq!(quota.charge(Some("you"), RATE, now), Duration::ZERO);
        quota.charge(None, 11 * RATE, now);
        assert_eq!(quota.pause(Some(""), now), SECOND);
    }

    #[test]
    fn without_a_rate_nobody_pauses_and_nothing_is_kept() {
        let quota = ClientQuota::new(|| 0);
        assert_eq!(quota.charge(ME, usize::MAX, SECOND), Duration::ZERO);
        assert_eq!((quota.pause(ME, SECOND), quota.most_at_once()), (Duration::ZERO, usize::MAX));
        assert!(quota.accounts.lock().by_client.is_empty());
        let fastest = ClientQuota::new(|| u64::MAX);
        assert_eq!((fastest.charge(ME, usize::MAX, SECOND), fastest.most_at_once()), (Duration::ZERO, usize::MAX));
    }

    #[test]
    fn the_table_is_bounded_and_ids_that_owe_nothing_leave_it() {
        let (quota, now) = (quota(), SECOND);
        for number in 0..MAX_CLIENTS + 100 {
            quota.charge(Some(&number.to_string()), RATE, now);
        }
        assert_eq!(quota.accounts.lock().by_client.len(), MAX_CLIENTS);
        assert_eq!(quota.pause(Some("never seen"), now), LONGEST_PAUSE, "those without a place share one account");
        quota.charge(ME, RATE, now + 2 * SECOND);
        assert_eq!(quota.accounts.lock().by_client.len(), 1, "all others have paid");
        // Who sends ids that are too long makes only its like pause.
        let long = "x".repeat(LONGEST_ID + 1);
        quota.charge(Some(&long), 100 * RATE, now + 2 * SECOND);
        assert_eq!(quota.accounts.lock().by_client.len(), 1);
        assert_eq!(quota.pause(Some(&long), now + 2 * SECOND), LONGEST_PAUSE);
        assert_eq!(quota.pause(Some("never seen"), now + 2 * SECOND), Duration::ZERO);
    }
}
