//! Which rate counts for whom. Of all quotas that fit a client the most specific one counts, in Kafka's order: a user's client id, then
//! the user, then the client id, each before its default.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use metadata_api::{ClientQuotaEntity, EntityQuotas, QuotaEntityName};

use super::account::Rate;
use super::client::{Client, ClientLimit};
use super::keys::{CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, PRODUCER_BYTE_RATE};

/// What is set, by key.
#[derive(Default)]
pub(crate) struct QuotaRates {
    pub(crate) producer: ClientRates,
    pub(crate) consumer: ClientRates,
    pub(crate) mutations: ClientRates,
    pub(crate) connections: IpRates,
}

impl QuotaRates {
    /// From what is set in metadata.
    pub(crate) fn new(set: &BTreeMap<ClientQuotaEntity, EntityQuotas>) -> Self {
        Self {
            producer: ClientRates::new(set, PRODUCER_BYTE_RATE),
            consumer: ClientRates::new(set, CONSUMER_BYTE_RATE),
            mutations: ClientRates::new(set, CONTROLLER_MUTATION_RATE),
            connections: IpRates::new(set),
        }
    }
}

/// Something for names, and for whoever is not named.
struct ByName<T> {
    named: HashMap<String, T>,
    default: Option<T>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { named: HashMap::new(), default: None }
    }
}

impl<T> ByName<T> {
    fn set(&mut self, name: &QuotaEntityName, value: T) {
        match name {
            QuotaEntityName::Default => self.default = Some(value),
            QuotaEntityName::Named(name) => drop(self.named.insert(name.clone(), value)),
        }
    }

    fn entry(&mut self, name: &QuotaEntityName) -> &mut T
    where
        T: Default,
    {
        match name {
            QuotaEntityName::Default => self.default.get_or_insert_default(),
            QuotaEntityName::Named(name) => self.named.entry(name.clone()).or_default(),
        }
    }

    /// What counts for `name`, the most specific first.
    fn of(&self, name: &str) -> impl Iterator<Item = &T> {
        self.named.get(name).into_iter().chain(&self.default)
    }
}

/// What is set under one key for users and client ids.
#[derive(Default)]
pub(crate) struct ClientRates {
    users: ByName<UserRates>,
    client_ids: ByName<Rate>,
}

#[derive(Default)]
struct UserRates {
    client_ids: ByName<Rate>,
    /// Of all that the user does, whatever the client id.
    all: Option<Rate>,
}

impl ClientRates {
    fn new(set: &BTreeMap<ClientQuotaEntity, EntityQuotas>, key: &str) -> Self {
        let mut rates = Self::default();
        for (entity, quotas) in set {
            let Some(rate) = quotas.get(key).map(|value| Rate(value.get())) else { continue };
            match entity {
                ClientQuotaEntity::ClientId(id) => rates.client_ids.set(id, rate),
                ClientQuotaEntity::User(user) => rates.users.entry(user).all = Some(rate),
                ClientQuotaEntity::UserClientId(user, id) => rates.users.entry(user).client_ids.set(id, rate),
                ClientQuotaEntity::Ip(_) => {}
            }
        }
        rates
    }

    /// The quota that counts for a client. A default is not shared: each has an account of its own for it.
    pub(crate) fn of(&self, client: Client<'_>) -> Option<ClientLimit> {
        for user in self.users.of(client.user) {
            if let Some(rate) = user.client_ids.of(client.id).next() {
                return Some(ClientLimit::of_user_and_client_id(*rate, client));
            }
            if let Some(rate) = user.all {
                return Some(ClientLimit::of_user(rate, client));
            }
        }
        self.client_ids.of(client.id).next().map(|rate| ClientLimit::of_client_id(*rate, client))
    }
}

/// What is set for addresses.
#[derive(Default)]
pub(crate) struct IpRates {
    named: HashMap<IpAddr, Rate>,
    default: Option<Rate>,
}

impl IpRates {
    fn new(set: &BTreeMap<ClientQuotaEntity, EntityQuotas>) -> Self {
        let mut rates = Self::default();
        for (entity, quotas) in set {
            let ClientQuotaEntity::Ip(name) = entity else { continue };
            let Some(rate) = quotas.get(CONNECTION_CREATION_RATE).map(|value| Rate(value.get())) else { continue };
            match name {
                QuotaEntityName::Default => rates.default = Some(rate),
                // Nothing else was let in.
                QuotaEntityName::Named(ip) => rates.named.extend(ip.parse().map(|ip: IpAddr| (ip.to_canonical(), rate))),
            }
        }
        rates
    }

    /// The quota that counts for an address; with a default each has an account of its own.
    pub(crate) fn of(&self, ip: IpAddr) -> Option<Rate> {
        self.named.get(&ip).copied().or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use metadata_api::QuotaValue;

    use super::*;

    fn named(name: &str) -> QuotaEntityName {
        QuotaEntityName::Named(name.to_owned())
    }

    type LimitOf = fn(Rate, Client<'_>) -> ClientLimit;

    /// Kafka's table (`ClientQuotaManager`): the entities that fit a client, in the order in which they count, and whose account it is.
    fn kafkas_table(client: Client<'_>) -> [(ClientQuotaEntity, LimitOf); 8] {
        use ClientQuotaEntity::{ClientId, User, UserClientId};
        let (user, id, default) = (|| named(client.user), || named(client.id), || QuotaEntityName::Default);
        [
            (UserClientId(user(), id()), ClientLimit::of_user_and_client_id),
            (UserClientId(user(), default()), ClientLimit::of_user_and_client_id),
            (User(user()), ClientLimit::of_user),
            (UserClientId(default(), id()), ClientLimit::of_user_and_client_id),
            (UserClientId(default(), default()), ClientLimit::of_user_and_client_id),
            (User(default()), ClientLimit::of_user),
            (ClientId(id()), ClientLimit::of_client_id),
            (ClientId(default()), ClientLimit::of_client_id),
        ]
    }

    #[test]
    fn whatever_is_set_the_most_specific_quota_counts_in_kafkas_order() {
        let entities = kafkas_table(Client { user: "a", id: "b" }).map(|(entity, _)| entity);
        // Every set of them has the one key, and the rest the other: what has another key only is as if it were not there.
        for chosen in 0..1_u32 << entities.len() {
            let quotas = |index: usize| {
                let key = if chosen >> index & 1 == 1 { PRODUCER_BYTE_RATE } else { CONSUMER_BYTE_RATE };
                EntityQuotas::from([(key.to_owned(), QuotaValue::new(1.0 + index as f64).unwrap())])
            };
            let set: BTreeMap<_, _> = entities.iter().enumerate().map(|(index, entity)| (entity.clone(), quotas(index))).collect();
            let rates = QuotaRates::new(&set);
            for (user, id) in [("a", "b"), ("a", "other"), ("other", "b"), ("other", "other"), ("b", "a"), ("a", "")] {
                let client = Client { user, id };
                let expected = |key: &str| {
                    kafkas_table(client)
                        .into_iter()
                        .find_map(|(entity, limit)| Some(limit(Rate(set.get(&entity)?.get(key)?.get()), client)))
                };
                assert_eq!(rates.producer.of(client), expected(PRODUCER_BYTE_RATE), "{client:?} of {set:?}");
                assert_eq!(rates.consumer.of(client), expected(CONSUMER_BYTE_RATE), "{client:?} of {set:?}");
            }
        }
    }

    #[test]
    fn an_address_goes_before_the_default_however_it_is_written() {
        let set = |name: Option<&str>, rate: f64| {
            let name = name.map_or(QuotaEntityName::Default, named);
            let quotas = EntityQuotas::from([(CONNECTION_CREATION_RATE.to_owned(), QuotaValue::new(rate).unwrap())]);
            (ClientQuotaEntity::Ip(name), quotas)
        };
        let rate = |rates: &QuotaRates, ip: &str| rates.connections.of(ip.parse().unwrap());
        let rates = QuotaRates::new(&[set(Some("127.0.0.1"), 1.0), set(Some("0:0::1"), 2.0)].into());
        assert_eq!([rate(&rates, "127.0.0.1"), rate(&rates, "::1"), rate(&rates, "10.0.0.1")], [Some(Rate(1.0)), Some(Rate(2.0)), None]);
        let rates = QuotaRates::new(&[set(None, 3.0), set(Some("::ffff:10.0.0.1"), 4.0)].into());
        assert_eq!([rate(&rates, "127.0.0.1"), rate(&rates, "10.0.0.1")], [Some(Rate(3.0)), Some(Rate(4.0))]);
    }
}
