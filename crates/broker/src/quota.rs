//! Client quotas (KIP-13): who takes more per second than it may is slowed down. Which rate counts for whom `rates` knows, what is owed
//! `account`.

mod account;
mod client;
mod connections;
mod keys;
mod mutations;
mod rates;

pub(crate) use client::{Client, ClientLimit, ClientQuota};
pub(crate) use connections::ConnectionQuota;
pub(crate) use keys::check;
pub(crate) use mutations::Mutations;
pub(crate) use rates::{ClientRates, QuotaRates};
