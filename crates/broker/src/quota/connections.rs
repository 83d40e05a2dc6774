//! Rates of new connections by address (KIP-612). Kafka lets who comes too often wait before it closes the connection; here it is closed
//! at once, so that it holds nothing, and clients wait by themselves before they connect again.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::account::{Accounts, Rate};

/// Connections per second, for all addresses.
pub(crate) struct ConnectionQuota {
    rate: Box<dyn Fn(IpAddr) -> Option<Rate> + Send + Sync>,
    accounts: Mutex<Accounts<IpAddr>>,
}

impl ConnectionQuota {
    /// What counts for an address, if anything does; asked for whenever a connection comes, as it may change.
    pub(crate) fn new(rate: impl Fn(IpAddr) -> Option<Rate> + Send + Sync + 'static) -> Self {
        Self { rate: Box::new(rate), accounts: Mutex::default() }
    }

    /// Whether one more connection may come from `ip`; if so it is counted.
    pub(crate) fn admits(&self, ip: IpAddr, now: Duration) -> bool {
        let Some(rate) = (self.rate)(ip) else { return true };
        let mut accounts = self.accounts.lock();
        let account = accounts.open(ip, true, rate, now);
        let is_admitted = account.pause(now).is_zero();
        if is_admitted {
            account.charge(1.0, now);
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_connects_at_its_rate_after_a_burst_and_refused_connections_cost_nothing() {
        let quota = ConnectionQuota::new(|ip| ip.is_loopback().then_some(Rate(2.0)));
        let (limited, other) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([10, 0, 0, 1]));
        let mut now = Duration::from_secs(1);
        let admitted = |now| (0..100).filter(|_| quota.admits(limited, now)).count();
        // What ten seconds allow, and one that is paid for afterwards.
        assert_eq!(admitted(now), 21);
        for _ in 0..5 {
            now += Duration::from_secs(1);
            assert_eq!(admitted(now), 2);
        }
        assert!((0..1000).all(|_| quota.admits(other, now)));
    }
}
