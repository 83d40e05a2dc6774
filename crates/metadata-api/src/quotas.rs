//! Client quotas that are set while brokers run (KIP-13, KIP-546). What a key means, and whom a quota applies to, brokers know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A part of a quota's entity: one user, client id or address, or all that have no quota of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaEntityName {
    /// Whoever is not named; Kafka's null.
    Default,
    /// Only who is called so; never empty.
    Named(String),
}

/// Whom a quota is set for; the combinations that Kafka allows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientQuotaEntity {
    /// A client id, whoever uses it.
    ClientId(QuotaEntityName),
    /// A user, by the principal's name without its type.
    User(QuotaEntityName),
    /// A client id of a user.
    UserClientId(QuotaEntityName, QuotaEntityName),
    /// An address that connections come from.
    Ip(QuotaEntityName),
}

impl ClientQuotaEntity {
    /// Kafka's name of the type whose names are users.
    pub const USER: &'static str = "user";
    /// Kafka's name of the type whose names are client ids.
    pub const CLIENT_ID: &'static str = "client-id";
    /// Kafka's name of the type whose names are addresses.
    pub const IP: &'static str = "ip";

    /// Its parts with Kafka's names of their types.
    pub fn parts(&self) -> Vec<(&'static str, &QuotaEntityName)> {
        match self {
            Self::ClientId(id) => vec![(Self::CLIENT_ID, id)],
            Self::User(user) => vec![(Self::USER, user)],
            Self::UserClientId(user, id) => vec![(Self::USER, user), (Self::CLIENT_ID, id)],
            Self::Ip(ip) => vec![(Self::IP, ip)],
        }
    }
}

impl fmt::Display for QuotaEntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("null"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// As Kafka's texts name it.
impl fmt::Display for ClientQuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts().into_iter().map(|(kind, name)| format!("{kind}={name}")).collect();
        write!(f, "ClientQuotaEntity(entries={{{}}})", parts.join(", "))
    }
}

/// A quota's value: above 0 and a number, so that two of them are equal or not.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct QuotaValue(f64);

impl Eq for QuotaValue {}

impl QuotaValue {
    /// `None` if it is not above 0.
    pub fn new(value: f64) -> Option<Self> {
        (0.0 < value).then_some(Self(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// What is set for one entity, by Kafka's key. Where nothing is set there is none.
pub type EntityQuotas = BTreeMap<String, QuotaValue>;

/// Sets and removes quotas, all or none of them. What is removed and not there is no error, so the call may be repeated.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlterClientQuotas {
    /// In this order.
    pub alterations: Vec<ClientQuotaAlteration>,
}

/// A change of what is set for one entity; other keys stay as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientQuotaAlteration {
    /// For whom.
    pub entity: ClientQuotaEntity,
    /// New values.
    pub set: EntityQuotas,
    /// Keys that are set no more. One that is in `set` too is removed.
    pub removed: BTreeSet<String>,
}
