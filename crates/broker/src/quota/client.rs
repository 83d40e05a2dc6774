//! Rates by user and client id (KIP-13): who takes more than its share per second is asked to pause, and its connection is not read for
//! that long (KIP-219).

use std::time::Duration;

use parking_lot::Mutex;

use super::account::{Accounts, Rate};

/// Names above this length in all share one account: they would make the table as large as a peer likes.
const LONGEST_NAMES: usize = 256;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Client<'a> {
    /// The principal's name without its type.
    pub(crate) user: &'a str,
    /// Empty where the client has none: in Kafka too they are one.
    pub(crate) id: &'a str,
}

/// Whose requests count together: those of a client id, of a user, or of a client id of a user.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct AccountKey {
    user: Option<String>,
    client_id: Option<String>,
}

impl AccountKey {
    fn fits(&self) -> bool {
        self.user.as_ref().map_or(0, String::len) + self.client_id.as_ref().map_or(0, String::len) <= LONGEST_NAMES
    }
}

/// The quota that counts for a client.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ClientLimit {
    rate: Rate,
    account: AccountKey,
}

impl ClientLimit {
    /// The same for every client id; none where the rate is 0.
    pub(crate) fn static_rate(per_second: u64, client: Client<'_>) -> Option<Self> {
        (per_second != 0).then(|| Self::of_client_id(Rate(per_second as f64), client))
    }

    pub(super) fn of_client_id(rate: Rate, client: Client<'_>) -> Self {
        Self { rate, account: AccountKey { user: None, client_id: Some(client.id.to_owned()) } }
    }

    pub(super) fn of_user(rate: Rate, client: Client<'_>) -> Self {
        Self { rate, account: AccountKey { user: Some(client.user.to_owned()), client_id: None } }
    }

    pub(super) fn of_user_and_client_id(rate: Rate, client: Client<'_>) -> Self {
        Self { rate, account: AccountKey { user: Some(client.user.to_owned()), client_id: Some(client.id.to_owned()) } }
    }
}

/// One kind of quota, for all clients.
pub(crate) struct ClientQuota {
    limit: Box<dyn Fn(Client<'_>) -> Option<ClientLimit> + Send + Sync>,
    accounts: Mutex<Accounts<AccountKey>>,
}

impl ClientQuota {
    /// What counts for a client, if anything does; asked for whenever something is counted, as it may change.
    pub(crate) fn new(limit: impl Fn(Client<'_>) -> Option<ClientLimit> + Send + Sync + 'static) -> Self {
        Self { limit: Box::new(limit), accounts: Mutex::default() }
    }

    /// Counts `amount` and returns the pause after it.
    pub(crate) fn charge(&self, client: Client<'_>, amount: usize, now: Duration) -> Duration {
        let Some(ClientLimit { rate, account }) = (self.limit)(client) else { return Duration::ZERO };
        let fits = account.fits();
        let mut accounts = self.accounts.lock();
        let account = accounts.open(account, fits, rate, now);
        account.charge(amount as f64, now);
        account.pause(now)
    }

    /// The pause that is left of what was counted before.
    pub(crate) fn pause(&self, client: Client<'_>, now: Duration) -> Duration {
        let Some(ClientLimit { rate, account }) = (self.limit)(client) else { return Duration::ZERO };
        self.accounts.lock().find(&account, account.fits(), rate, now).pause(now)
    }

    /// Most that one answer should hold, as in Kafka: an answer of more than the burst is a pause by itself.
    pub(crate) fn most_at_once(&self, client: Client<'_>) -> usize {
        // A cast of what is too large is the largest there is.
        (self.limit)(client).map_or(usize::MAX, |limit| limit.rate.burst() as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::quota::account::{LONGEST_PAUSE, MAX_ACCOUNTS};

    const RATE: usize = 1000;
    const SECOND: Duration = Duration::from_secs(1);
    const ME: Client<'_> = client("me");

    const fn client(id: &str) -> Client<'_> {
        Client { user: "u", id }
    }

    fn quota_of(rate: f64) -> ClientQuota {
        ClientQuota::new(move |client| Some(ClientLimit::of_client_id(Rate(rate), client)))
    }

    fn quota() -> ClientQuota {
        quota_of(RATE as f64)
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
    fn clients_do_not_pay_for_each_other() {
        let (quota, now) = (quota(), SECOND);
        quota.charge(ME, 100 * RATE, now);
        assert_eq!(quota.pause(ME, now), LONGEST_PAUSE);
        assert_eq!(quota.charge(client("you"), RATE, now), Duration::ZERO);
    }

    #[test]
    fn without_a_rate_nobody_pauses_and_nothing_is_kept() {
        let quota = ClientQuota::new(|_| None);
        assert_eq!(quota.charge(ME, usize::MAX, SECOND), Duration::ZERO);
        assert_eq!((quota.pause(ME, SECOND), quota.most_at_once(ME)), (Duration::ZERO, usize::MAX));
        assert_eq!(quota.accounts.lock().len(), 0);
        let fastest = quota_of(u64::MAX as f64);
        assert_eq!((fastest.charge(ME, usize::MAX, SECOND), fastest.most_at_once(ME)), (Duration::ZERO, usize::MAX));
    }

    #[test]
    fn the_table_is_bounded_and_ids_that_owe_nothing_leave_it() {
        let (quota, now) = (quota(), SECOND);
        for number in 0..MAX_ACCOUNTS + 100 {
            quota.charge(client(&number.to_string()), RATE, now);
        }
        assert_eq!(quota.accounts.lock().len(), MAX_ACCOUNTS);
        assert_eq!(quota.pause(client("never seen"), now), LONGEST_PAUSE, "those without a place share one account");
        quota.charge(ME, RATE, now + 2 * SECOND);
        assert_eq!(quota.accounts.lock().len(), 1, "all others have paid");
        // Who sends ids that are too long makes only its like pause.
        let long = "x".repeat(LONGEST_NAMES + 1);
        quota.charge(client(&long), 100 * RATE, now + 2 * SECOND);
        assert_eq!(quota.accounts.lock().len(), 1);
        assert_eq!(quota.pause(client(&long), now + 2 * SECOND), LONGEST_PAUSE);
        assert_eq!(quota.pause(client("never seen"), now + 2 * SECOND), Duration::ZERO);
    }

    #[test]
    fn a_user_pays_for_all_its_client_ids_and_a_client_id_for_all_its_users() {
        let other = Client { user: "other", id: "me" };
        let of = |limit: fn(Rate, Client<'_>) -> ClientLimit| {
            let quota = ClientQuota::new(move |client| Some(limit(Rate(RATE as f64), client)));
            quota.charge(ME, 100 * RATE, SECOND);
            [client("you"), other].map(|client| quota.pause(client, SECOND) == LONGEST_PAUSE)
        };
        assert_eq!(of(ClientLimit::of_user), [true, false]);
        assert_eq!(of(ClientLimit::of_client_id), [false, true]);
        assert_eq!(of(ClientLimit::of_user_and_client_id), [false, false]);
    }

    #[test]
    fn a_changed_rate_counts_at_once_and_what_is_owed_stays() {
        let rate = Arc::new(AtomicUsize::new(RATE));
        let asked = Arc::clone(&rate);
        let quota = ClientQuota::new(move |client| {
            let rate = asked.load(Ordering::Relaxed);
            (rate != 0).then(|| ClientLimit::of_client_id(Rate(rate as f64), client))
        });
        let now = 100 * SECOND;
        assert_eq!(quota.charge(ME, 20 * RATE, now), 10 * SECOND);
        rate.store(2 * RATE, Ordering::Relaxed);
        assert_eq!((quota.pause(ME, now), quota.most_at_once(ME)), (Duration::ZERO, 20 * RATE));
        assert_eq!(quota.charge(ME, 2 * RATE, now), SECOND);
        rate.store(0, Ordering::Relaxed);
        assert_eq!((quota.pause(ME, now), quota.charge(ME, RATE, now)), (Duration::ZERO, Duration::ZERO));
        rate.store(RATE, Ordering::Relaxed);
        assert_eq!(quota.pause(ME, now), 12 * SECOND, "nothing was counted without a rate");
    }
}
