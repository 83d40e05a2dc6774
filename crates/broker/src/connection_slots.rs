//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// What keeps a connection out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// `max.connections`.
    Total,
    /// `max.connections.per.ip`.
    PerIp,
    /// The address's quota `connection_creation_rate`.
    CreationRate,
}

impl Limit {
    pub(crate) const ALL: [Self; 3] = [Self::Total, Self::PerIp, Self::CreationRate];

    /// The label it is counted under.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Total => "max_connections",
            Self::PerIp => "max_connections_per_ip",
            Self::CreationRate => "connection_creation_rate",
        }
    }
}

/// How many connections there may be, over all listeners.
pub(crate) struct ConnectionSlots {
    limits: Box<dyn Fn() -> ConnectionLimits + Send + Sync>,
    taken: Mutex<Taken>,
}

/// Connections at once.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) total: usize,
    pub(crate) per_ip: usize,
}

#[derive(Default)]
struct Taken {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it frees the place.
pub(crate) struct Slot {
    slots: Arc<ConnectionSlots>,
    ip: IpAddr,
}

impl ConnectionSlots {
    /// The limits are asked for whenever a connection comes, as they may change.
    pub(crate) fn new(limits: impl Fn() -> ConnectionLimits + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { limits: Box::new(limits), taken: Mutex::default() })
    }

    /// A place for a connection from `ip`, or the limit that leaves it none.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr) -> Result<Slot, Limit> {
        let limits = (self.limits)();
        let mut taken = self.taken.lock();
        let of_ip = taken.per_ip.get(&ip).copied().unwrap_or(0);
        if limits.total <= taken.total {
            return Err(Limit::Total);
        }
        if limits.per_ip <= of_ip {
            return Err(Limit::PerIp);
        }
        taken.total += 1;
        taken.per_ip.insert(ip, of_ip + 1);
        Ok(Slot { slots: self.clone(), ip })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.total -= 1;
        let of_ip = taken.per_ip.get_mut(&self.ip).expect("a slot is counted until it is dropped");
        *of_ip -= 1;
        if *of_ip == 0 {
            taken.per_ip.remove(&self.ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn slots_are_limited_in_all_and_per_address_and_come_back() {
        let slots = ConnectionSlots::new(|| ConnectionLimits { total: 3, per_ip: 2 });
        let (first, second) = (IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)));
        let kept = [slots.take(first), slots.take(first)];
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(slots.take(first).err(), Some(Limit::PerIp));
        let other = slots.take(second);
        assert!(other.is_ok());
        assert_eq!(slots.take(second).err(), Some(Limit::Total));
        drop(kept);
        assert!(slots.take(first).is_ok() && slots.take(second).is_ok());
        drop(other);
        assert!(slots.taken.lock().per_ip.is_empty());
    }
}
